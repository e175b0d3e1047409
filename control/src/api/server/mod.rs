//! A Unix socket: who may speak, and how much.
//!
//! Requests come in, and answers go out, in the form of a [`Speech`]. Everything is bounded, so that no peer can
//! disturb another or the control thread: their number, the length of a request, the memory of unfinished requests and
//! of unread answers, the time they may be silent. What is no request is answered so, and the peer is closed: the two
//! sides no longer agree on where requests begin.
//!
//! ```text
//! mod          the peers: accepting, reading, answering
//! json_lines   lbctl's speech: a JSON object a line
//! peer         one peer: bytes in until a request is whole, bytes out as it takes them
//! permission   who may speak
//! places       which place a new peer gets
//! socket       the listening socket: made, guarded and removed
//! ```

mod json_lines;
mod peer;
mod permission;
mod places;
mod socket;

pub use json_lines::{JsonLines, line};
pub use peer::MOST_PASSED;
pub use places::{KEPT, ROOT_PLACES};
pub(super) use socket::Socket;
pub use socket::SocketError;

use crate::handed::{Handed, Label};
use mio::{Interest, Registry, Token};
use nix::unistd::Group;
use peer::{Input, Peer};
use permission::Permission;
use places::{Holder, Place};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// Peers at once.
pub const MAX_PEERS: usize = 64;
/// How long a peer may neither send nor take a byte.
pub const IDLE: Duration = Duration::from_secs(30);
/// How long a peer that has little left to take may be silent: somebody reads a long answer in a pager.
pub const PAUSE: Duration = Duration::from_secs(3600);
/// How long a request may take from its first byte to its end.
const REQUEST_TIME: Duration = Duration::from_secs(60);
/// An unfinished request up to this length is always kept.
const SHORT_REQUEST: usize = 64 << 10;
/// Longer unfinished requests are kept while all peers' together are below this.
const INPUT_MEMORY: usize = 32 << 20;
/// While this much waits to be read by peers, no further request is taken.
const OUTPUT_MEMORY: usize = 32 << 20;
/// A peer with less than this unread takes more of a long answer. One more slice of it at most follows.
pub const STREAM_WINDOW: usize = 256 << 10;
/// Connections accepted in one turn.
const ACCEPT_AT_ONCE: usize = 128;
/// How long after one who could not be accepted that is tried again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);

/// Names a peer as long as it is connected; never given twice. Its token in the loop's `Poll` has this number.
pub type PeerId = usize;

/// How the peers of a socket speak.
pub trait Speech {
    /// What comes in.
    type Request;
    /// The longest request, in bytes.
    const LONGEST: usize;
    /// Whether a peer that is owed nothing may be silent for as long as it likes.
    const MAY_BE_SILENT: bool;

    /// Where the first request in `input` ends, of which the first `searched` bytes are known not to end it; `None`:
    /// it is not whole yet.
    fn end(input: &[u8], searched: usize) -> Option<usize>;

    /// Reads a whole request.
    ///
    /// # Errors
    /// The answer to what is none, after which the peer is closed.
    fn request(bytes: Vec<u8>) -> Result<Self::Request, Vec<u8>>;

    /// What a peer is told that is turned away.
    fn farewell(why: Farewell, message: String) -> Vec<u8>;
}

/// Why a peer is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// It may not speak.
    NotPermitted,
    /// Others have all the places, or all the memory.
    Busy,
    /// Its request is too long.
    TooLong,
}

/// Where answers go.
pub trait Outlet {
    /// Whether a peer takes more of a long answer now; `None`: it is gone.
    fn has_room(&self, peer: PeerId) -> Option<bool>;
    /// A part of an answer.
    fn push(&mut self, peer: PeerId, bytes: &[u8]);
    /// The answer is complete.
    fn end(&mut self, peer: PeerId, now: Instant);
    /// Closes a peer as soon as it has taken what is written for it.
    fn hang_up(&mut self, peer: PeerId);
    /// Drops a peer whose answer cannot be completed.
    fn close(&mut self, peer: PeerId);
}

/// The listening socket and its peers.
#[derive(Debug)]
pub struct Server<S = JsonLines> {
    registry: Registry,
    listener: Token,
    socket: Socket,
    permission: Permission,
    peers: BTreeMap<PeerId, Peer>,
    last: PeerId,
    accepting: bool,
    /// When somebody could not be accepted, though there was somebody.
    failed: Option<Instant>,
    /// Nobody is accepted: clients wait.
    is_deaf: bool,
    speech: PhantomData<S>,
}

impl<S: Speech> Server<S> {
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
        let socket = Socket::bind(path, group.as_ref())?;
        Self::on(socket, path, group.as_ref(), registry, listener)
    }

    /// The server of the socket at `path` that another process serves still, if that has handed it over. Nobody is
    /// accepted before [`own`](Self::own).
    ///
    /// # Errors
    /// There is no such group, or the system refuses.
    pub fn handed(
        path: &Path,
        group: Option<&str>,
        handed: &mut Handed,
        registry: &Registry,
        listener: Token,
    ) -> Result<Option<Self>, SocketError> {
        let group = group.map(find_group).transpose()?;
        let Some(socket) = Socket::handed(path, handed) else { return Ok(None) };
        let server = Self::on(socket, path, group.as_ref(), registry, listener)?;
        Ok(Some(Self { is_deaf: true, ..server }))
    }

    fn on(
        mut socket: Socket,
        path: &Path,
        group: Option<&Group>,
        registry: &Registry,
        listener: Token,
    ) -> Result<Self, SocketError> {
        let failed = |error| SocketError::Io { path: path.to_path_buf(), error };
        let registry = registry.try_clone().map_err(failed)?;
        registry.register(&mut socket.listener, listener, Interest::READABLE).map_err(failed)?;
        Ok(Self {
            registry,
            listener,
            socket,
            permission: Permission::new(group),
            peers: BTreeMap::new(),
            last: listener.0,
            accepting: false,
            failed: None,
            is_deaf: false,
            speech: PhantomData,
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
    pub fn turn(&mut self, now: Instant) -> Vec<(PeerId, S::Request)> {
        self.accept(now);
        let requests = self.read(now);
        self.write(now);
        requests
    }

    /// When [`turn`](Self::turn) is to be called next, if nothing becomes [ready](Self::ready) before.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let is_choked = self.is_choked();
        let again = self.failed.map(|failed| failed + ACCEPT_AGAIN);
        let accept = if self.accepting { Some(now) } else { again }.filter(|_| !self.is_deaf);
        self.peers.values().filter_map(|peer| peer.due(now, is_choked)).chain(accept).min()
    }

    /// The process that a peer was when it connected, if it is still connected.
    pub fn process(&self, peer: PeerId) -> Option<i32> {
        self.peers.get(&peer)?.process
    }

    /// The user whose process a peer was when it connected, if it is still connected.
    pub fn user(&self, peer: PeerId) -> Option<u32> {
        self.peers.get(&peer)?.user
    }

    /// Removes the socket: nobody finds it any more. Dropping does so too.
    pub fn remove_socket(&mut self) {
        self.socket.remove();
    }

    /// Descriptors of the socket, for another process.
    ///
    /// # Errors
    /// None is left.
    pub fn share(&self) -> io::Result<[(Label, OwnedFd); 2]> {
        self.socket.share()
    }

    /// The socket is this process's: clients are accepted, and it goes with this process.
    pub fn own(&mut self) {
        self.socket.own();
        self.set_deaf(false);
    }

    /// The socket is another process's now.
    pub fn disown(&mut self) {
        self.socket.disown();
    }

    /// Whether clients that connect wait, to be accepted later or by another process.
    pub fn set_deaf(&mut self, is_deaf: bool) {
        self.is_deaf = is_deaf;
        // Who came meanwhile is reported only once.
        self.accepting |= !is_deaf;
    }

    /// Has a peer keep its place, however long it says nothing, or not.
    pub fn set_kept(&mut self, peer: PeerId, is_kept: bool) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.is_kept = is_kept;
        }
    }

    /// Whether a peer is root's or the daemon's own user's; `None`: it is not connected any more.
    pub fn is_root(&self, peer: PeerId) -> Option<bool> {
        Some(self.peers.get(&peer)?.is_root)
    }

    /// Whether a peer has taken all that was written for it, or is gone.
    pub fn has_taken_all(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_none_or(|peer| peer.output_held() == 0)
    }

    /// Has descriptors go with the answer that a peer waits for: at most [`MOST_PASSED`].
    pub fn pass(&mut self, peer: PeerId, descriptors: Vec<OwnedFd>) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.pass(descriptors);
        }
    }

    /// Peers connected now.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    fn accept(&mut self, now: Instant) {
        self.accepting |= self.failed.is_some_and(|failed| now >= failed + ACCEPT_AGAIN);
        for _ in 0..ACCEPT_AT_ONCE {
            if !self.accepting || self.is_deaf {
                return;
            }
            let mut stream = match self.socket.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, say: whoever waits is not reported again, so it is tried again.
                    let is_refused = error.kind() != io::ErrorKind::WouldBlock;
                    if is_refused && self.failed.is_none() {
                        log::warn!("a connection to the control socket was not accepted: {error}");
                    }
                    self.failed = is_refused.then_some(now);
                    self.accepting = false;
                    return;
                }
            };
            let admitted = self.permission.check(&stream).map_err(|why| (Farewell::NotPermitted, why));
            let admitted = admitted.and_then(|is_root| match self.place(is_root, now) {
                Place::None => Err((Farewell::Busy, format!("{MAX_PEERS} clients are connected; try again"))),
                Place::Of(idle) => {
                    self.dismiss(idle);
                    Ok(is_root)
                }
                Place::Free => Ok(is_root),
            });
            let is_root = match admitted {
                Ok(is_root) => is_root,
                Err((why, message)) => {
                    // An empty socket buffer takes a short answer.
                    let _ = stream.write(&S::farewell(why, message));
                    continue;
                }
            };
            self.last += 1;
            let interests = Interest::READABLE | Interest::WRITABLE;
            if self.registry.register(&mut stream, Token(self.last), interests).is_ok() {
                self.peers.insert(self.last, Peer::new(stream, is_root, S::MAY_BE_SILENT, now));
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
        // In the middle of an answer another one would be none.
        if peer.output_held() == 0 {
            let why = format!("{MAX_PEERS} clients are connected, and this one has been idle the longest");
            let _ = peer.stream.write(&S::farewell(Farewell::Busy, why));
        }
    }

    fn read(&mut self, now: Instant) -> Vec<(PeerId, S::Request)> {
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
            match peer.read::<S>(now) {
                Input::Request(bytes) => match S::request(bytes) {
                    Ok(request) => {
                        peer.asking = true;
                        requests.push((*id, request));
                    }
                    Err(answer) => refuse(peer, &answer),
                },
                Input::TooLong => {
                    let why = format!("longer than {} bytes", S::LONGEST);
                    refuse(peer, &S::farewell(Farewell::TooLong, why));
                }
                Input::End => peer.stop_reading(),
                Input::Partial => {}
            }
            input = input + peer.input_held() - before;
            if input > INPUT_MEMORY && peer.input_held() > SHORT_REQUEST && !peer.closing {
                input -= peer.input_held();
                let why = "too many long requests at once; try again".to_owned();
                refuse(peer, &S::farewell(Farewell::Busy, why));
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

pub(super) fn find_group(name: &str) -> Result<Group, SocketError> {
    Group::from_name(name).ok().flatten().ok_or_else(|| SocketError::NoGroup(name.to_owned()))
}

impl<S: Speech> Outlet for Server<S> {
    fn has_room(&self, peer: PeerId) -> Option<bool> {
        Some(self.peers.get(&peer)?.output_held() < STREAM_WINDOW)
    }

    fn push(&mut self, peer: PeerId, bytes: &[u8]) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.push(bytes);
        }
    }

    fn end(&mut self, peer: PeerId, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.asking = false;
            peer.write(now);
        }
    }

    fn hang_up(&mut self, peer: PeerId) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.stop_reading();
        }
    }

    fn close(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
    }
}

fn refuse(peer: &mut Peer, answer: &[u8]) {
    peer.push(answer);
    peer.stop_reading();
}
