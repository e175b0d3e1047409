//! The daemon whose place this process takes: the conversation with it, from the successor's side.
//!
//! ```text
//! successor                              the daemon that runs
//!   ask ─────────── prepare ──────────►  refuses changes, and ends those that are on their way
//!     ◄──── facts, descriptors ────────
//!   (starts, reads the state, compiles)
//!   pause ───────── pause ────────────►  finishes what it has received, and rests
//!     ◄──────────── done ──────────────
//!   (looks at what it left)
//!   taken ───────── taken ────────────►  ends
//!     ◄──────────── done ──────────────
//! ```
//!
//! Whatever ends the connection before the last step, the daemon goes on as if nothing had been.

use super::protocol::hand_over::{CONVERSATION, Prepared, Step};
use super::protocol::{Answer, Command, Outcome, Request, VERSION};
use super::server::MOST_PASSED;
use crate::handed::Handed;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::Value;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// How long an answer may take: the daemon finishes what is on its way before it pauses.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer: with 131,072 neighbours it has some 10 MiB.
const LONGEST: usize = 64 << 20;

/// Why a daemon is not taken over from.
#[derive(Debug, Error)]
pub enum NoPredecessor {
    /// There is none.
    #[error("{path}: no lbd is there to take over from ({error}): start lbd without --take-over")]
    NotThere {
        /// Of the control socket.
        path: PathBuf,
        /// Of connecting.
        error: io::Error,
    },
    /// It does not want.
    #[error("the lbd that runs refuses: {0}")]
    Refused(String),
    /// It is older, or newer.
    #[error("the lbd that runs knows no such hand-over ({0}): restart it instead")]
    Unknown(String),
    /// The conversation ended.
    #[error("the lbd that runs does not answer: {0}")]
    Gone(io::Error),
}

/// A daemon that has been asked. Dropping this lets it go on.
#[derive(Debug)]
pub struct Predecessor {
    stream: UnixStream,
    /// What it says of itself.
    pub facts: Prepared,
}

impl Predecessor {
    /// Asks the daemon on this control socket. Returns it with the descriptors that it hands over.
    ///
    /// # Errors
    /// See [`NoPredecessor`].
    pub fn ask(socket: &Path) -> Result<(Self, Handed), NoPredecessor> {
        let not_there = |error| NoPredecessor::NotThere { path: socket.to_path_buf(), error };
        let stream = UnixStream::connect(socket).map_err(not_there)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(not_there)?;
        let mut predecessor = Self { stream, facts: Prepared::default() };
        let (value, descriptors) = predecessor.say(Step::Prepare)?;
        let strange = |error: serde_json::Error| NoPredecessor::Unknown(error.to_string());
        predecessor.facts = serde_json::from_value(value).map_err(strange)?;
        let labels = predecessor.facts.descriptors.iter().cloned();
        if descriptors.len() != labels.len() {
            let counts = format!("{} descriptors came of {}", descriptors.len(), labels.len());
            return Err(NoPredecessor::Gone(io::Error::other(counts)));
        }
        let handed = Handed::new(labels.zip(descriptors), predecessor.facts.services.clone());
        Ok((predecessor, handed))
    }

    /// Has it stop to handle packets: it rests when this returns.
    ///
    /// # Errors
    /// It goes on, or has ended.
    pub fn pause(&mut self) -> Result<(), NoPredecessor> {
        self.say(Step::Pause).map(drop)
    }

    /// Its place is taken: when this returns it will do nothing more.
    ///
    /// # Errors
    /// It goes on, or has ended.
    pub fn taken(mut self) -> Result<(), NoPredecessor> {
        self.say(Step::Taken).map(drop)
    }

    fn say(&mut self, step: Step) -> Result<(Value, Vec<OwnedFd>), NoPredecessor> {
        let command = Command::HandOver { conversation: CONVERSATION, step };
        let mut line = serde_json::to_vec(&Request { v: VERSION, command }).unwrap_or_default();
        line.push(b'\n');
        self.stream.write_all(&line).map_err(NoPredecessor::Gone)?;
        let (line, descriptors) = self.hear().map_err(NoPredecessor::Gone)?;
        let answer: Answer =
            serde_json::from_slice(&line).map_err(|error| NoPredecessor::Unknown(error.to_string()))?;
        match answer.result {
            Outcome::Ok(value) => Ok((value, descriptors)),
            Outcome::Error(refusal) if refusal.code == "bad_request" => {
                Err(NoPredecessor::Unknown(refusal.message))
            }
            Outcome::Error(refusal) => Err(NoPredecessor::Refused(refusal.message)),
        }
    }

    /// A line, and the descriptors that came with it.
    fn hear(&mut self) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let (mut line, mut descriptors) = (Vec::new(), Vec::new());
        let mut chunk = vec![0; 64 << 10];
        while line.last() != Some(&b'\n') {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_PASSED))];
            let mut with = RecvAncillaryBuffer::new(&mut space);
            let mut into = [IoSliceMut::new(&mut chunk)];
            let received = match recvmsg(&self.stream, &mut into, &mut with, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => continue,
                received => received?.bytes,
            };
            for message in with.drain() {
                if let RecvAncillaryMessage::ScmRights(passed) = message {
                    descriptors.extend(passed);
                }
            }
            if received == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            line.extend_from_slice(&chunk[..received]);
            if line.len() > LONGEST {
                return Err(io::Error::other(format!("its answer is longer than {LONGEST} bytes")));
            }
        }
        Ok((line, descriptors))
    }
}
