//! Who asks: the peers of the control socket, which speak JSON, those of the socket for the tools of LVS, which speak
//! the kernel's netlink protocol, and those that speak HTTP.

use super::event_loop::{CONTROL_SOCKET, HTTP, IPVS_SOCKET};
use crate::api::http::{Http, Request, Status};
use crate::api::origin::{Origin, Way};
use crate::api::protocol::{Command, Outcome};
use crate::api::refusal::Refused;
use crate::api::server::{Farewell, Outlet, PeerId, Server, SocketError, Speech};
use crate::config::{Control, IpvsSocket};
use crate::handed::{Handed, Label};
use crate::ipvs::{self, Header, Refusal};
use mio::{Registry, Token};
use nix::errno::Errno;
use nix::unistd::{Uid, User};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

/// Names of users that are remembered.
const MOST_USERS: usize = 64;

/// What a peer asks.
pub(super) enum Incoming {
    Command(Command),
    /// A netlink message, of the family or not.
    Message(Vec<u8>),
    /// A path of HTTP.
    Page(Request),
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Peers {
    control: Server,
    ipvs: Option<Server<Netlink>>,
    http: Option<Http>,
    /// Messages of the tools of LVS that are carried out as commands, and so answered later.
    pending: BTreeMap<PeerId, Pending>,
    /// Names of users that were looked up.
    users: BTreeMap<u32, Option<String>>,
}

#[derive(Debug)]
struct Pending {
    header: Header,
}

/// A netlink message after the other, framed by their lengths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Netlink;

impl Speech for Netlink {
    /// A message as it came.
    type Request = Vec<u8>;
    const LONGEST: usize = ipvs::LONGEST_REQUEST;
    const MAY_BE_SILENT: bool = true;

    fn end(input: &[u8], _searched: usize) -> Option<usize> {
        match ipvs::frame_length(input)? {
            Ok(length) => (input.len() >= length).then_some(length),
            // Nothing says where the next one begins: what is there is taken, and refused.
            Err(_) => Some(input.len()),
        }
    }

    fn request(bytes: Vec<u8>) -> Result<Vec<u8>, Vec<u8>> {
        match ipvs::frame_length(&bytes) {
            Some(Err(refusal)) => Err(turned_away(&refusal)),
            _ => Ok(bytes),
        }
    }

    fn farewell(why: Farewell, message: String) -> Vec<u8> {
        let errno = match why {
            Farewell::NotPermitted => Errno::EPERM,
            Farewell::Busy => Errno::EBUSY,
            Farewell::TooLong => Errno::EMSGSIZE,
        };
        turned_away(&Refusal::new(errno, message))
    }
}

fn turned_away(refusal: &Refusal) -> Vec<u8> {
    let mut out = Vec::new();
    ipvs::turned_away(refusal, &mut out);
    out
}

impl Peers {
    /// Binds both sockets, or takes those that the daemon before has handed over.
    pub(super) fn bind(
        control: &Control,
        handed: &mut Handed,
        registry: &Registry,
    ) -> Result<Self, SocketError> {
        let group = control.group.as_deref();
        let of_lbctl = bind(&control.socket, group, handed, registry, CONTROL_SOCKET)?;
        let mut bind = |path: &Path| bind(path, group, handed, registry, IPVS_SOCKET);
        let ipvs = match control.ipvs_path().map(|path| bind(&path)) {
            None => None,
            Some(Err(SocketError::InUse(path))) if control.ipvs_socket == IpvsSocket::Beside => {
                let path = path.display();
                log::warn!(
                    "{path}: another lbd runs on this socket, so ipvsadm and keepalived do not reach this one; name another one as [control] ipvs_socket"
                );
                None
            }
            Some(bound) => Some(bound?),
        };
        let address = control.metrics.address.as_ref();
        let http = address.map(|address| Http::bind(address, group, handed, registry, HTTP)).transpose()?;
        if let Some(address) = address {
            log::info!("metrics are at {address}");
        }
        Ok(Self { control: of_lbctl, ipvs, http, pending: BTreeMap::new(), users: BTreeMap::new() })
    }

    /// Descriptors of the sockets, for a successor.
    pub(super) fn share(&self) -> io::Result<Vec<(Label, OwnedFd)>> {
        let mut all = Vec::from(self.control.share()?);
        if let Some(ipvs) = &self.ipvs {
            all.extend(ipvs.share()?);
        }
        if let Some(http) = &self.http {
            all.extend(http.share()?);
        }
        Ok(all)
    }

    /// The sockets that were handed over are this process's: clients are accepted.
    pub(super) fn own(&mut self) {
        self.control.own();
        self.ipvs.iter_mut().for_each(Server::own);
        self.http.iter_mut().for_each(Http::own);
    }

    /// The sockets are a successor's.
    pub(super) fn disown(&mut self) {
        self.control.disown();
        self.ipvs.iter_mut().for_each(Server::disown);
        self.http.iter_mut().for_each(Http::disown);
    }

    /// Whether those who connect wait.
    pub(super) fn set_deaf(&mut self, is_deaf: bool) {
        self.control.set_deaf(is_deaf);
        self.ipvs.iter_mut().for_each(|ipvs| ipvs.set_deaf(is_deaf));
        self.http.iter_mut().for_each(|http| http.set_deaf(is_deaf));
    }

    /// Has a peer of the control socket keep its place, however long it says nothing, or not.
    pub(super) fn set_kept(&mut self, peer: PeerId, is_kept: bool) {
        self.control.set_kept(peer, is_kept);
    }

    /// Whether a peer of the control socket is root's or the daemon's own user's; `None`: it is gone.
    pub(super) fn is_root(&self, peer: PeerId) -> Option<bool> {
        self.control.is_root(peer)
    }

    /// The process that a peer of the control socket is.
    pub(super) fn process(&self, peer: PeerId) -> Option<u32> {
        self.control.process(peer).and_then(|process| process.try_into().ok())
    }

    /// Has descriptors go with the answer that a peer of the control socket waits for.
    pub(super) fn pass(&mut self, peer: PeerId, descriptors: Vec<OwnedFd>) {
        self.control.pass(peer, descriptors);
    }

    /// Whether a peer of the control socket has all that was written for it, or is gone.
    pub(super) fn has_taken_all(&self, peer: PeerId) -> bool {
        self.control.has_taken_all(peer)
    }

    /// Whether clients of HTTP are connected: scrapes may be under way.
    pub(super) fn has_pages_under_way(&self) -> bool {
        self.http.as_ref().is_some_and(Http::has_clients)
    }

    /// There is something to do for a socket or a peer with this token.
    pub(super) fn ready(&mut self, token: Token) {
        match (&mut self.ipvs, &mut self.http) {
            (_, Some(http)) if token >= HTTP => http.ready(token),
            (Some(ipvs), _) if token >= IPVS_SOCKET => ipvs.ready(token),
            _ => self.control.ready(token),
        }
    }

    /// Does what can be done without waiting. Returns what has come; each is to be answered.
    pub(super) fn turn(&mut self, now: Instant) -> Vec<(PeerId, Incoming)> {
        let commands = self.control.turn(now).into_iter();
        let commands = commands.map(|(peer, command)| (peer, Incoming::Command(command)));
        let messages = self.ipvs.iter_mut().flat_map(|ipvs| ipvs.turn(now));
        let messages = messages.map(|(peer, message)| (peer, Incoming::Message(message)));
        let pages = self.http.iter_mut().flat_map(|http| http.turn(now));
        let pages = pages.map(|(peer, request)| (peer, Incoming::Page(request)));
        commands.chain(messages).chain(pages).collect()
    }

    /// When [`turn`](Self::turn) is to be called next, if nothing becomes ready before.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let ipvs = self.ipvs.as_ref().and_then(|ipvs| ipvs.due(now));
        let http = self.http.as_ref().and_then(|http| http.due(now));
        self.control.due(now).into_iter().chain(ipvs).chain(http).min()
    }

    /// Removes the sockets: nobody finds them any more.
    pub(super) fn remove_sockets(&mut self) {
        self.control.remove_socket();
        if let Some(ipvs) = &mut self.ipvs {
            ipvs.remove_socket();
        }
        if let Some(http) = &mut self.http {
            http.remove_socket();
        }
    }

    /// A message of this header is carried out as a command, whose [`reply`](Self::reply) answers it.
    pub(super) fn note(&mut self, peer: PeerId, header: Header) {
        self.pending.insert(peer, Pending { header });
    }

    /// Who a peer is, for the log and the history.
    pub(super) fn origin(&mut self, peer: PeerId) -> Origin {
        let is_of_ipvs = (IPVS_SOCKET.0..HTTP.0).contains(&peer);
        let of_ipvs = self.ipvs.as_ref().filter(|_| is_of_ipvs);
        let (by, process, uid) = match of_ipvs {
            Some(ipvs) => (Way::Ipvs, ipvs.process(peer), ipvs.user(peer)),
            None => (Way::Control, self.control.process(peer), self.control.user(peer)),
        };
        let user = uid.and_then(|uid| self.user(uid));
        let program = process.and_then(program);
        Origin { by, uid, user, process: process.and_then(|process| process.try_into().ok()), program }
    }

    /// A user's name. It is looked up once, for the look-up may take long.
    pub(super) fn user(&mut self, uid: u32) -> Option<String> {
        if self.users.len() >= MOST_USERS {
            self.users.clear();
        }
        let look_up = || User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
        self.users.entry(uid).or_insert_with(look_up).clone()
    }

    /// Answers a command.
    pub(super) fn reply(&mut self, peer: PeerId, result: Result<Value, Refused>, now: Instant) {
        let Some(Pending { header }) = self.pending.remove(&peer) else {
            let outcome = result.map_or_else(|refused| Outcome::Error(refused.into()), Outcome::Ok);
            self.control.answer(peer, outcome, now);
            return;
        };
        let mut out = Vec::new();
        match result {
            Ok(_) => ipvs::ack(&header, &mut out),
            Err(refused) => ipvs::error(&header, &Refusal::from(&refused), &mut out),
        }
        self.push(peer, &out);
        self.end(peer, now);
    }

    /// Answers a client of HTTP.
    pub(super) fn show(
        &mut self,
        peer: PeerId,
        status: Status,
        content_type: &str,
        body: &[u8],
        now: Instant,
    ) {
        if let Some(http) = &mut self.http {
            http.answer(peer, status, content_type, body, now);
        }
    }

    /// The beginning of an answer to a client of HTTP that comes in parts.
    pub(super) fn begin_to_show(&mut self, peer: PeerId, content_type: &str) {
        if let Some(http) = &mut self.http {
            http.begin(peer, content_type);
        }
    }

    fn outlet(&mut self, peer: PeerId) -> &mut dyn Outlet {
        match (&mut self.ipvs, &mut self.http) {
            (_, Some(http)) if peer >= HTTP.0 => http,
            (Some(ipvs), _) if peer >= IPVS_SOCKET.0 => ipvs,
            _ => &mut self.control,
        }
    }
}

fn bind<S: Speech>(
    path: &Path,
    group: Option<&str>,
    handed: &mut Handed,
    registry: &Registry,
    listener: Token,
) -> Result<Server<S>, SocketError> {
    match Server::handed(path, group, handed, registry, listener)? {
        Some(server) => Ok(server),
        None => Server::bind(path, group, registry, listener),
    }
}

impl Outlet for Peers {
    fn has_room(&self, peer: PeerId) -> Option<bool> {
        match (&self.ipvs, &self.http) {
            (_, Some(http)) if peer >= HTTP.0 => http.has_room(peer),
            (Some(ipvs), _) if peer >= IPVS_SOCKET.0 => ipvs.has_room(peer),
            _ => self.control.has_room(peer),
        }
    }

    fn push(&mut self, peer: PeerId, bytes: &[u8]) {
        self.outlet(peer).push(peer, bytes);
    }

    fn end(&mut self, peer: PeerId, now: Instant) {
        self.outlet(peer).end(peer, now);
    }

    fn hang_up(&mut self, peer: PeerId) {
        self.outlet(peer).hang_up(peer);
    }

    fn close(&mut self, peer: PeerId) {
        self.outlet(peer).close(peer);
    }
}

/// The name of a process, if it still runs.
fn program(process: i32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}
