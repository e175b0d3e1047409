//! One peer: bytes in until a request is whole, bytes out as it takes them.

use super::{IDLE, PAUSE, REQUEST_TIME, STREAM_WINDOW, Speech};
use mio::net::UnixStream;
use nix::sys::socket::{getsockopt, sockopt};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// What reading from a peer gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Nothing whole yet.
    Partial,
    /// A request.
    Request(Vec<u8>),
    /// A request longer than [`Speech::LONGEST`].
    TooLong,
    /// It has closed its side, or is gone.
    End,
}

/// A connected client.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) stream: UnixStream,
    /// Root's or the daemon's own user's.
    pub(super) is_root: bool,
    /// Its number, if the system says it.
    pub(super) process: Option<i32>,
    /// Whose it is, likewise.
    pub(super) user: Option<u32>,
    /// Whether it may say nothing for as long as it likes.
    may_be_silent: bool,
    /// Whether it keeps its place, however idle it is.
    pub(super) is_kept: bool,
    /// Descriptors that go with the next byte that is written.
    passed: Vec<OwnedFd>,
    input: Vec<u8>,
    /// Bytes of `input` that are known to hold no end of a request.
    searched: usize,
    output: Vec<u8>,
    /// Bytes of `output` that are written.
    written: usize,
    /// When a byte last went either way.
    active: Instant,
    /// When it last connected or took the end of an answer: since then it waits for nothing. Bytes of an unfinished
    /// request do not count.
    rests: Instant,
    /// Since when it owes the taking of an answer.
    owing: Option<Instant>,
    /// When the request that is being received began.
    request_began: Option<Instant>,
    /// There may be something to read.
    pub(super) readable: bool,
    /// A request is with the control thread: no other one is read before it is answered.
    pub(super) asking: bool,
    /// Nothing more is read; closed when everything is written.
    pub(super) closing: bool,
    /// The other end reads no more.
    gone: bool,
}

/// Bytes read from one peer in one turn.
const READ_AT_ONCE: usize = 256 << 10;
const CHUNK: usize = 16 << 10;
/// Descriptors that go with one answer (the kernel's `SCM_MAX_FD` is 253).
pub const MOST_PASSED: usize = 128;
/// The most that is held for a peer that takes a long answer in slices.
const LITTLE: usize = 2 * STREAM_WINDOW;

impl Peer {
    pub(super) fn new(stream: UnixStream, is_root: bool, may_be_silent: bool, now: Instant) -> Self {
        let peer = getsockopt(&stream, sockopt::PeerCredentials).ok();
        let (process, user) = (peer.map(|peer| peer.pid()), peer.map(|peer| peer.uid()));
        Self {
            stream,
            is_root,
            process,
            user,
            may_be_silent,
            is_kept: false,
            passed: Vec::new(),
            input: Vec::new(),
            searched: 0,
            output: Vec::new(),
            written: 0,
            active: now,
            rests: now,
            owing: None,
            request_began: None,
            readable: true,
            asking: false,
            closing: false,
            gone: false,
        }
    }

    /// Reads what there is, up to a whole request.
    pub(super) fn read<S: Speech>(&mut self, now: Instant) -> Input {
        let mut budget = READ_AT_ONCE;
        loop {
            if let Some(request) = self.whole::<S>(now) {
                return Input::Request(request);
            }
            if self.input.len() > S::LONGEST {
                return Input::TooLong;
            }
            let mut chunk = [0; CHUNK];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Input::End,
                Ok(length) => {
                    self.active = now;
                    self.request_began.get_or_insert(now);
                    self.input.extend_from_slice(&chunk[..length]);
                    budget = budget.saturating_sub(length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Input::Partial;
                }
                Err(_) => return Input::End,
            }
            if budget == 0 {
                // The end may be in the last chunk.
                return self.whole::<S>(now).map_or(Input::Partial, Input::Request);
            }
        }
    }

    fn whole<S: Speech>(&mut self, now: Instant) -> Option<Vec<u8>> {
        let Some(end) = S::end(&self.input, self.searched) else {
            self.searched = self.input.len();
            return None;
        };
        let rest = self.input.split_off(end);
        let request = std::mem::replace(&mut self.input, rest);
        self.searched = 0;
        self.request_began = (!self.input.is_empty()).then_some(now);
        Some(request)
    }

    /// Takes bytes to be written.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.output.is_empty() {
            self.output = bytes.to_vec();
        } else {
            self.output.extend_from_slice(bytes);
        }
    }

    /// Takes descriptors, at most [`MOST_PASSED`], that go with the next byte.
    pub(super) fn pass(&mut self, descriptors: Vec<OwnedFd>) {
        self.passed = descriptors;
    }

    /// Writes what is left of `output`, and descriptors with it.
    fn send(&mut self) -> io::Result<usize> {
        let bytes = &self.output[self.written..];
        if self.passed.is_empty() {
            return self.stream.write(bytes);
        }
        let passed: Vec<_> = self.passed.iter().map(OwnedFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_PASSED))];
        let mut with = SendAncillaryBuffer::new(&mut space);
        if !with.push(SendAncillaryMessage::ScmRights(&passed)) {
            return Err(io::Error::other("more descriptors than a message takes"));
        }
        let sent = sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut with, SendFlags::NOSIGNAL)?;
        self.passed.clear();
        Ok(sent)
    }

    /// Writes what the other end takes.
    pub(super) fn write(&mut self, now: Instant) {
        self.owing.get_or_insert(now);
        while self.written < self.output.len() && !self.gone {
            match self.send() {
                Ok(0) => self.gone = true,
                Ok(length) => {
                    self.written += length;
                    self.active = now;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.gone = true,
            }
        }
        if self.written == self.output.len() {
            if self.written > 0 {
                self.rests = now;
            }
            self.output = Vec::new();
            self.written = 0;
            self.owing = None;
        } else if self.written > self.output.len() / 2 {
            self.output.drain(..self.written);
            self.written = 0;
        }
    }

    /// Closes the peer as soon as it has taken what is written for it.
    pub(super) fn stop_reading(&mut self) {
        self.closing = true;
        self.input = Vec::new();
        self.searched = 0;
        self.request_began = None;
    }

    /// How long it has been idle; `None`: its request is being worked on.
    pub(super) fn idle(&self, now: Instant) -> Option<Duration> {
        if self.is_kept {
            return None;
        }
        let since = match (self.output_held() > 0, self.asking) {
            (true, _) => self.active,
            (false, true) => return None,
            (false, false) => self.rests,
        };
        Some(now.duration_since(since))
    }

    /// Bytes of a request that is not whole yet.
    pub(super) fn input_held(&self) -> usize {
        self.input.len()
    }

    /// Bytes that the other end has not taken yet.
    pub(super) fn output_held(&self) -> usize {
        self.output.len() - self.written
    }

    /// Whether a request is read from it as soon as there is one.
    pub(super) fn can_ask(&self) -> bool {
        self.readable && !self.asking && !self.closing && self.output_held() == 0
    }

    /// Whether it takes its answer too slowly, and so holds memory that others need.
    pub(super) fn hoards(&self, now: Instant) -> bool {
        self.hoards_from().is_some_and(|from| now > from)
    }

    fn hoards_from(&self) -> Option<Instant> {
        Some(self.owing.filter(|_| self.output_held() > STREAM_WINDOW)? + IDLE)
    }

    /// Whether it can be dropped.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.is_done() || self.over_from().is_some_and(|from| now > from)
    }

    fn is_done(&self) -> bool {
        self.gone || self.closing && !self.asking && self.output_held() == 0
    }

    /// When it will have been silent, or sending a request, for too long.
    fn over_from(&self) -> Option<Instant> {
        let patience = if matches!(self.output_held(), 1..=LITTLE) { PAUSE } else { IDLE };
        let may_be_silent = self.asking || self.may_be_silent || self.is_kept;
        let silent = (!may_be_silent || self.output_held() > 0).then(|| self.active + patience);
        silent.into_iter().chain(self.request_began.map(|began| began + REQUEST_TIME)).min()
    }

    /// When something is to be done for it although no event comes. `is_choked`: nothing is read from anyone, and what
    /// hoards goes.
    pub(super) fn due(&self, now: Instant, is_choked: bool) -> Option<Instant> {
        if self.is_done() || !is_choked && self.can_ask() {
            return Some(now);
        }
        self.over_from().into_iter().chain(self.hoards_from().filter(|_| is_choked)).min()
    }
}
