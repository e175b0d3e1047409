//! HTTP for whoever looks: Prometheus, a probe, a browser. It is read only, on TCP or a Unix socket.
//!
//! Everything is bounded, so that no client can disturb the control thread: how many there are, how long and how slow a
//! request may be, how long an answer may take, the memory of unread answers. A connection has one request and one
//! answer.
//!
//! ```text
//! mod       the clients: accepting, reading, answering
//! listener  where they connect
//! client    one of them: a request in, an answer out, and the end of the connection
//! request   bytes → what is asked, or why that is refused
//! response  what stands before an answer, and around its parts
//! page      the page for people
//! ```

mod client;
mod listener;
pub mod page;
mod request;
mod response;

pub use request::Request;
pub use response::{HTML, JSON, Status, TEXT};

use super::server::{Outlet, PeerId, STREAM_WINDOW, SocketError};
use crate::config::metrics::Address;
use crate::handed::{Handed, Label};
use client::{Client, Input};
use listener::Listener;
use mio::{Interest, Registry, Token};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Clients at once.
pub const MAX_CLIENTS: usize = 8;
/// Connections at once, with those of clients that are told that they are too many, or that have their answer and do
/// not close. One more is closed without a word.
const MAX_CONNECTIONS: usize = 4 * MAX_CLIENTS;
/// The longest request, in bytes.
pub const LONGEST_REQUEST: usize = 64 << 10;
/// How long a request may take, from the connection on, and how long a client may take no byte of its answer.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer may take in all: a client that takes a byte now and then has its place for so long only.
pub const ANSWER_TIME: Duration = Duration::from_secs(60);
/// While this much waits to be read by clients, nothing more is answered.
const OUTPUT_MEMORY: usize = 32 << 20;
/// Connections accepted in one turn.
const ACCEPT_AT_ONCE: usize = 16;
/// How long after one who could not be accepted that is tried again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);

/// The listening socket and its clients.
#[derive(Debug)]
pub struct Http {
    registry: Registry,
    token: Token,
    listener: Listener,
    clients: BTreeMap<PeerId, Client>,
    last: PeerId,
    accepting: bool,
    /// When somebody could not be accepted, though there was somebody.
    failed: Option<Instant>,
    /// Nobody is accepted: clients wait.
    is_deaf: bool,
}

impl Http {
    /// Listens at this address, or goes on to where another process hands that over: then nobody is accepted before
    /// [`own`](Self::own). `group`: who may use a Unix socket, besides root. The tokens from `token` on are the
    /// server's.
    ///
    /// # Errors
    /// Another process has the address, or the system refuses.
    pub fn bind(
        address: &Address,
        group: Option<&str>,
        handed: &mut Handed,
        registry: &Registry,
        token: Token,
    ) -> Result<Self, SocketError> {
        let (mut listener, is_handed) = Listener::bind(address, group, handed)?;
        let failed = |error| SocketError::Io { path: address.to_string().into(), error };
        let registry = registry.try_clone().map_err(failed)?;
        registry.register(listener.source(), token, Interest::READABLE).map_err(failed)?;
        Ok(Self {
            registry,
            token,
            listener,
            clients: BTreeMap::new(),
            last: token.0,
            accepting: false,
            failed: None,
            is_deaf: is_handed,
        })
    }

    /// There is something to do for the socket or a client with this token.
    pub fn ready(&mut self, token: Token) {
        match self.clients.get_mut(&token.0) {
            Some(client) => client.readable = true,
            None => self.accepting |= token == self.token,
        }
    }

    /// Does what can be done without waiting. Returns the requests that have come; each is to be answered.
    pub fn turn(&mut self, now: Instant) -> Vec<(PeerId, Request)> {
        self.accept(now);
        let is_choked = self.clients.values().map(Client::held).sum::<usize>() > OUTPUT_MEMORY;
        let mut requests = Vec::new();
        for (id, client) in &mut self.clients {
            match client.read() {
                Input::Partial => {}
                Input::Request(_) if is_choked => {
                    let why = "others read too slowly what they have asked for; try again";
                    client.refuse(Status::Unavailable, why);
                }
                Input::Request(request) => {
                    client.answer_next(&request, now);
                    requests.push((*id, request));
                }
                Input::Refused(status, why) => client.refuse(status, &why),
            }
        }
        self.clients.retain(|_, client| {
            client.write(now);
            client.end_in_time(now);
            !client.is_over(now)
        });
        requests
    }

    /// When [`turn`](Self::turn) is to be called next, if nothing becomes [ready](Self::ready) before.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let again = self.failed.map(|failed| failed + ACCEPT_AGAIN);
        let accept = if self.accepting { Some(now) } else { again }.filter(|_| !self.is_deaf);
        self.clients.values().filter_map(|client| client.due(now)).chain(accept).min()
    }

    /// A whole answer.
    pub fn answer(&mut self, id: PeerId, status: Status, content_type: &str, body: &[u8], now: Instant) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.answer(status, content_type, body);
            client.write(now);
        }
    }

    /// The beginning of an answer that comes in parts.
    pub fn begin(&mut self, id: PeerId, content_type: &str) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.begin(content_type);
        }
    }

    /// Whether anybody is connected, who may be without an answer.
    pub fn has_clients(&self) -> bool {
        !self.clients.is_empty()
    }

    /// The socket is removed: nobody finds it any more.
    pub fn remove_socket(&mut self) {
        self.listener.remove();
    }

    /// Descriptors of the socket, for another process.
    ///
    /// # Errors
    /// None is left.
    pub fn share(&self) -> io::Result<Vec<(Label, OwnedFd)>> {
        self.listener.share()
    }

    /// The socket is this process's: clients are accepted.
    pub fn own(&mut self) {
        self.listener.own();
        self.set_deaf(false);
    }

    /// The socket is another process's now.
    pub fn disown(&mut self) {
        self.listener.disown();
    }

    /// Whether clients that connect wait, to be accepted later or by another process.
    pub fn set_deaf(&mut self, is_deaf: bool) {
        self.is_deaf = is_deaf;
        // Who came meanwhile is reported only once.
        self.accepting |= !is_deaf;
    }

    fn accept(&mut self, now: Instant) {
        self.accepting |= self.failed.is_some_and(|failed| now >= failed + ACCEPT_AGAIN);
        for _ in 0..ACCEPT_AT_ONCE {
            if !self.accepting || self.is_deaf {
                return;
            }
            let mut stream = match self.listener.accept() {
                Ok(stream) => stream,
                Err(error) => {
                    // Out of descriptors, say: whoever waits is not reported again, so it is tried again.
                    let is_refused = error.kind() != io::ErrorKind::WouldBlock;
                    if is_refused && self.failed.is_none() {
                        log::warn!("a connection for metrics was not accepted: {error}");
                    }
                    self.failed = is_refused.then_some(now);
                    self.accepting = false;
                    return;
                }
            };
            self.last += 1;
            let interests = Interest::READABLE | Interest::WRITABLE;
            if self.registry.register(stream.source(), Token(self.last), interests).is_err() {
                continue;
            }
            let mut client = Client::new(stream, now);
            if self.clients.len() >= MAX_CONNECTIONS {
                continue;
            }
            if self.clients.values().filter(|client| client.has_place()).count() >= MAX_CLIENTS {
                client.refuse(Status::Unavailable, "too many clients are connected; try again");
            }
            self.clients.insert(self.last, client);
        }
    }
}

impl Outlet for Http {
    fn has_room(&self, peer: PeerId) -> Option<bool> {
        Some(self.clients.get(&peer)?.held() < STREAM_WINDOW)
    }

    fn push(&mut self, peer: PeerId, bytes: &[u8]) {
        if let Some(client) = self.clients.get_mut(&peer) {
            client.push(bytes);
        }
    }

    fn end(&mut self, peer: PeerId, now: Instant) {
        if let Some(client) = self.clients.get_mut(&peer) {
            client.end();
            client.write(now);
        }
    }

    fn hang_up(&mut self, peer: PeerId) {
        if let Some(client) = self.clients.get_mut(&peer) {
            client.end();
        }
    }

    fn close(&mut self, peer: PeerId) {
        self.clients.remove(&peer);
    }
}
