//! The Unix socket: who may speak, and how much.
//!
//! One object a line comes in ([`Request`]), one goes out ([`Answer`]). Everything is bounded, so that no
//! peer can disturb another or the control thread: their number, the length of a line, the memory of
//! unfinished lines and of unread answers, the time they may be silent. A line that is no request is answered
//! with `bad_request`, and the peer is closed: the two sides no longer agree on where lines begin.

mod peer;
mod permission;
mod places;
mod socket;

pub use places::{KEPT, ROOT_PLACES};
pub use socket::SocketError;

use crate::api::protocol::{
    Answer, Command, LONGEST_LINE, LONGEST_OTHER_LINE, Lines, Outcome, Refusal, Request, VERSION,
};
use mio::{Interest, Registry, Token};
use nix::unistd::Group;
use peer::{Input, Peer};
use permission::Permission;
use places::{Holder, Place};
use serde::Deserialize;
use socket::Socket;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Peers at once.
pub const MAX_PEERS: usize = 64;
/// How long a peer may neither send nor take a byte.
pub const IDLE: Duration = Duration::from_secs(30);
/// How long a peer that has little left to take may be silent: somebody reads a long answer in a pager.
pub const PAUSE: Duration = Duration::from_secs(3600);
/// How long a line may take from its first byte to its end.
const LINE_TIME: Duration = Duration::from_secs(60);
/// An unfinished line up to this length is always kept.
const SHORT_LINE: usize = LONGEST_OTHER_LINE;
/// Longer unfinished lines are kept while all peers' together are below this.
const INPUT_MEMORY: usize = 2 * LONGEST_LINE;
/// While this much waits to be read by peers, no further request is taken.
const OUTPUT_MEMORY: usize = 32 << 20;
/// A peer with less than this unread takes more of a long answer. One more slice of it at most follows.
pub const STREAM_WINDOW: usize = 256 << 10;
/// Connections accepted in one turn.
const ACCEPT_AT_ONCE: usize = 128;

/// Names a peer as long as it is connected; never given twice. Its token in the loop's `Poll` has this number.
pub type PeerId = usize;

/// The listening socket and its peers.
#[derive(Debug)]
pub struct Server {
    registry: Registry,
    listener: Token,
    socket: Socket,
    permission: Permission,
    peers: BTreeMap<PeerId, Peer>,
    last: PeerId,
    accepting: bool,
}

impl Server {
    /// Binds the socket at `path` with mode 0660; members of `group` may speak too. The tokens from `listener` on are
    /// the server's.
    ///
    /// # Errors
    /// Another daemon has it, or the system refuses.
    pub fn bind(
        path: &Path,
        group: Option<&str>,
        registry: &Registry,
        listener: Token,
    ) -> Result<Self, SocketError> {
        let group = group.map(find_group).transpose()?;
        let failed = |error| SocketError::Io { path: path.to_path_buf(), error };
        let mut socket = Socket::bind(path, group.as_ref())?;
        let registry = registry.try_clone().map_err(failed)?;
        registry.register(&mut socket.listener, listener, Interest::READABLE).map_err(failed)?;
        Ok(Self {
            registry,
            listener,
            socket,
            permission: Permission::new(group.as_ref()),
            peers: BTreeMap::new(),
            last: listener.0,
            accepting: false,
        })
    }

    /// There is something to do for the socket or a peer with this token. `Poll` reports it once only, so it is
    /// remembered until nothing is left to take.
    pub fn ready(&mut self, token: Token) {
        match self.peers.get_mut(&token.0) {
            Some(peer) => peer.readable = true,
            None => self.accepting |= token == self.listener,
        }
    }

    /// Does what can be done without waiting. Returns the requests that have come; each is to be answered.
    pub fn turn(&mut self, now: Instant) -> Vec<(PeerId, Command)> {
        self.accept(now);
        let requests = self.read(now);
        self.write(now);
        requests
    }

    /// When [`turn`](Self::turn) is to be called next, if nothing becomes [ready](Self::ready) before.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let is_choked = self.is_choked();
        let accept = self.accepting.then_some(now);
        self.peers.values().filter_map(|peer| peer.due(now, is_choked)).chain(accept).min()
    }

    /// Answers a request.
    pub fn answer(&mut self, peer: PeerId, outcome: Outcome, now: Instant) {
        self.push(peer, &line(outcome));
        self.end(peer, now);
    }

    /// Whether a peer takes more of a long answer now; `None`: it is gone.
    pub fn has_room(&self, peer: PeerId) -> Option<bool> {
        Some(self.peers.get(&peer)?.output_held() < STREAM_WINDOW)
    }

    /// A part of a long answer.
    pub fn push(&mut self, peer: PeerId, bytes: &[u8]) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.push(bytes);
        }
    }

    /// The answer is complete.
    pub fn end(&mut self, peer: PeerId, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.asking = false;
            peer.write(now);
        }
    }

    /// Drops a peer whose answer cannot be completed.
    pub fn close(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
    }

    /// Removes the socket: nobody finds it any more. Dropping does so too.
    pub fn remove_socket(&mut self) {
        self.socket.remove();
    }

    /// Peers connected now.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPT_AT_ONCE {
            if !self.accepting {
                return;
            }
            let mut stream = match self.socket.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    if error.kind() != io::ErrorKind::WouldBlock {
                        // Out of descriptors, say: tried again when somebody connects.
                        log::warn!("a connection to the control socket was not accepted: {error}");
                    }
                    self.accepting = false;
                    return;
                }
            };
            let admitted = self.permission.check(&stream).map_err(|why| ("not_permitted", why));
            let admitted = admitted.and_then(|is_root| match self.place(is_root, now) {
                Place::None => Err(("busy", format!("{MAX_PEERS} clients are connected; try again"))),
                Place::Of(idle) => {
                    self.dismiss(idle);
                    Ok(is_root)
                }
                Place::Free => Ok(is_root),
            });
            let is_root = match admitted {
                Ok(is_root) => is_root,
                Err((code, message)) => {
                    // An empty socket buffer takes a short line.
                    let _ = stream.write(&line(error(code, message)));
                    continue;
                }
            };
            self.last += 1;
            let interests = Interest::READABLE | Interest::WRITABLE;
            if self.registry.register(&mut stream, Token(self.last), interests).is_ok() {
                self.peers.insert(self.last, Peer::new(stream, is_root, now));
            }
        }
    }

    fn place(&self, is_root: bool, now: Instant) -> Place {
        let holders = self.peers.iter();
        let holders =
            holders.map(|(id, peer)| Holder { id: *id, is_root: peer.is_root, idle: peer.idle(now) });
        places::place(holders, is_root)
    }

    /// Drops a peer that has been idle, for another one.
    fn dismiss(&mut self, id: PeerId) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        // In the middle of an answer a line of its own would be none.
        if peer.output_held() == 0 {
            let why = format!("{MAX_PEERS} clients are connected, and this one has been idle the longest");
            let _ = peer.stream.write(&line(error("busy", why)));
        }
    }

    fn read(&mut self, now: Instant) -> Vec<(PeerId, Command)> {
        let mut requests = Vec::new();
        let mut input: usize = self.peers.values().map(Peer::input_held).sum();
        if self.is_choked() {
            self.peers.retain(|_, peer| !peer.hoards(now));
            return requests;
        }
        for (id, peer) in &mut self.peers {
            if !peer.can_ask() {
                continue;
            }
            let before = peer.input_held();
            match peer.read(now) {
                Input::Line(line) => match request(&line) {
                    Ok(command) => {
                        peer.asking = true;
                        requests.push((*id, command));
                    }
                    Err(why) => refuse(peer, "bad_request", why),
                },
                Input::TooLong => {
                    refuse(peer, "bad_request", format!("a line is longer than {LONGEST_LINE} bytes"));
                }
                Input::End => peer.stop_reading(),
                Input::Partial => {}
            }
            input = input + peer.input_held() - before;
            if input > INPUT_MEMORY && peer.input_held() > SHORT_LINE && !peer.closing {
                input -= peer.input_held();
                refuse(peer, "busy", "too many long requests at once; try again".into());
            }
        }
        requests
    }

    /// Whether peers leave so much unread that no request is taken.
    fn is_choked(&self) -> bool {
        self.peers.values().map(Peer::output_held).sum::<usize>() > OUTPUT_MEMORY
    }

    fn write(&mut self, now: Instant) {
        self.peers.retain(|_, peer| {
            peer.write(now);
            !peer.is_over(now)
        });
    }
}

fn find_group(name: &str) -> Result<Group, SocketError> {
    Group::from_name(name).ok().flatten().ok_or_else(|| SocketError::NoGroup(name.to_owned()))
}

fn refuse(peer: &mut Peer, code: &str, message: String) {
    peer.push(&line(error(code, message)));
    peer.stop_reading();
}

fn error(code: &str, message: String) -> Outcome {
    Outcome::Error(Refusal::new(code, message))
}

fn line(result: Outcome) -> Vec<u8> {
    let answer = Answer { v: VERSION, result };
    // Maps with text keys and numbers always have a JSON form.
    let mut bytes = serde_json::to_vec(&answer).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn request(line: &[u8]) -> Result<Command, String> {
    let wrong = |error| format!("not a request: {error}");
    let (v, command) = if line.len() > LONGEST_OTHER_LINE {
        let long: LongRequest<'_> = serde_json::from_slice(line).map_err(|error| {
            wrong(format!("longer than {LONGEST_OTHER_LINE} bytes, and no restore: {error}"))
        })?;
        if long.command != "restore" {
            return Err(wrong(format!("longer than {LONGEST_OTHER_LINE} bytes: {:?}", long.command)));
        }
        (long.v, Command::Restore { lines: long.lines, dry_run: long.dry_run })
    } else {
        let request: Request = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
        (request.v, request.command)
    };
    if v != VERSION {
        return Err(format!("version {v} of the protocol; this is version {VERSION}"));
    }
    Ok(command)
}

/// A request of megabytes, which is read straight into its place: on the way to a [`Request`] of any kind it would take
/// many times its bytes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongRequest<'a> {
    v: u32,
    #[serde(borrow)]
    command: Cow<'a, str>,
    lines: Lines,
    #[serde(default)]
    dry_run: bool,
}
