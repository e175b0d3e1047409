//! A client: a request in, an answer out, and the end of the connection.
//!
//! ```text
//! Reading ──request──► Answering ──all is said──► Writing ──all is taken──► Draining ──► (closed)
//!    └──────────refused, or too slow─────────────────▲
//! ```
//!
//! *Draining*: what the client has sent besides is read and thrown away. If it were left unread the kernel would reset
//! the connection, and the client could lose the answer.

use super::listener::Stream;
use super::request::Request;
use super::response::{LAST_CHUNK, Length, Status, TEXT, chunk, head};
use super::{ANSWER_TIME, LONGEST_REQUEST, PATIENCE};
use std::io::{self, Read, Write};
use std::time::Instant;

/// Bytes read at once, and at most in one turn.
const CHUNK: usize = 16 << 10;
const READ_AT_ONCE: usize = 64 << 10;
/// Bytes that are thrown away before the connection is closed all the same.
const MOST_DRAINED: usize = 1 << 20;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Client {
    stream: Stream,
    state: State,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Bytes of `output` that are written.
    written: usize,
    drained: usize,
    /// It has no place among those that are answered.
    is_refused: bool,
    is_head: bool,
    /// What is pushed is part of an answer in chunks.
    is_chunked: bool,
    takes_chunks: bool,
    /// When it connected, or last took a byte of its answer.
    active: Instant,
    /// When its answer began.
    began: Instant,
    /// There may be something to read.
    pub(super) readable: bool,
    /// The other end is gone.
    gone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    Answering,
    Writing,
    Draining,
}

/// What reading gave.
#[derive(Debug)]
pub(super) enum Input {
    Partial,
    Request(Request),
    Refused(Status, String),
}

impl Client {
    pub(super) fn new(stream: Stream, now: Instant) -> Self {
        Self {
            stream,
            state: State::Reading,
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            drained: 0,
            is_refused: false,
            is_head: false,
            is_chunked: false,
            takes_chunks: false,
            active: now,
            began: now,
            readable: true,
            gone: false,
        }
    }

    /// Reads what there is, up to a whole request.
    pub(super) fn read(&mut self) -> Input {
        let mut budget = READ_AT_ONCE;
        while self.readable && !self.gone && budget > 0 {
            let mut bytes = [0; CHUNK];
            match self.stream.read(&mut bytes) {
                Ok(0) => {
                    self.readable = false;
                    // Who asks may say at once that nothing more comes from there.
                    self.gone = matches!(self.state, State::Reading | State::Draining);
                }
                Ok(length) => {
                    budget = budget.saturating_sub(length);
                    if self.state != State::Reading {
                        self.drained += length;
                        continue;
                    }
                    self.input.extend_from_slice(&bytes[..length]);
                    match Request::read(&self.input) {
                        Ok(None) => {}
                        Ok(Some(request)) => return Input::Request(request),
                        Err((status, why)) => return Input::Refused(status, why),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(_) => self.gone = true,
            }
        }
        debug_assert!(self.input.len() <= LONGEST_REQUEST, "longer ones are refused");
        Input::Partial
    }

    /// The daemon works on its request.
    pub(super) fn answer_next(&mut self, request: &Request, now: Instant) {
        self.state = State::Answering;
        (self.is_head, self.takes_chunks) = (request.is_head, request.takes_chunks);
        (self.active, self.began) = (now, now);
        self.input = Vec::new();
    }

    /// A whole answer.
    pub(super) fn answer(&mut self, status: Status, content_type: &str, body: &[u8]) {
        self.output.extend_from_slice(head(status, content_type, Length::Of(body.len())).as_bytes());
        self.push(body);
        self.end();
    }

    /// Says why nothing else is answered.
    pub(super) fn refuse(&mut self, status: Status, why: &str) {
        self.input = Vec::new();
        self.is_refused = true;
        self.answer(status, TEXT, format!("{why}\n").as_bytes());
    }

    /// The beginning of an answer that comes in parts.
    pub(super) fn begin(&mut self, content_type: &str) {
        let length = if self.takes_chunks { Length::Chunked } else { Length::Unknown };
        self.output.extend_from_slice(head(Status::Ok, content_type, length).as_bytes());
        self.is_chunked = self.takes_chunks;
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        match (self.is_head, self.is_chunked) {
            (true, _) => {}
            (false, true) => chunk(bytes, &mut self.output),
            (false, false) => self.output.extend_from_slice(bytes),
        }
    }

    /// The answer is complete.
    pub(super) fn end(&mut self) {
        if self.is_chunked && !self.is_head {
            self.output.extend_from_slice(LAST_CHUNK);
        }
        self.state = State::Writing;
    }

    /// Writes what the other end takes.
    pub(super) fn write(&mut self, now: Instant) {
        while self.written < self.output.len() && !self.gone {
            match self.stream.write(&self.output[self.written..]) {
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
            self.output = Vec::new();
            self.written = 0;
            if self.state == State::Writing && !self.gone {
                self.state = State::Draining;
                self.active = now;
                self.stream.finish();
                self.readable = true;
            }
        } else if self.written > self.output.len() / 2 {
            self.output.drain(..self.written);
            self.written = 0;
        }
    }

    /// A request that takes too long to come is answered so.
    pub(super) fn end_in_time(&mut self, now: Instant) {
        if self.state == State::Reading && now > self.active + PATIENCE {
            self.refuse(Status::Timeout, "a request did not come in time");
            self.active = now;
            self.write(now);
        }
    }

    /// Whether it is one of those that are answered.
    pub(super) fn has_place(&self) -> bool {
        !self.is_refused && self.state != State::Draining
    }

    /// Bytes that the other end has not taken yet.
    pub(super) fn held(&self) -> usize {
        self.output.len() - self.written
    }

    /// Whether it can be dropped.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.gone || self.drained > MOST_DRAINED || self.over_from().is_some_and(|from| now > from)
    }

    /// When it will have taken too long.
    fn over_from(&self) -> Option<Instant> {
        match self.state {
            State::Reading => None,
            State::Answering if self.held() == 0 => None,
            State::Answering | State::Writing => Some((self.active + PATIENCE).min(self.began + ANSWER_TIME)),
            State::Draining => Some(self.active + PATIENCE),
        }
    }

    /// When something is to be done for it although no event comes.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if self.gone || self.drained > MOST_DRAINED {
            return Some(now);
        }
        let reads = self.readable && self.state != State::Answering;
        let late = match self.state {
            State::Reading => Some(self.active + PATIENCE),
            _ => self.over_from(),
        };
        reads.then_some(now).into_iter().chain(late).min()
    }
}
