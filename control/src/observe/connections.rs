//! The dump of connections: written to the peer slice by slice as it reads, so that neither a table of
//! millions of connections nor a slow reader occupies memory or the loop.

use crate::api::protocol::{ConnectionView, Outcome, Refusal};
use crate::api::server::{Outlet, PeerId, line};
use crate::ipvs::text::{self, ConnectionFacts};
use crate::publish::workers::{PATIENCE, Workers};
use dataplane::connection::Copied;
use dataplane::exchange::orders::Slice;
use dataplane::names::ids::{RealKey, ServiceKey};
use dataplane::persistence::CopiedTemplate;
use dataplane::snapshot::Snapshot;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

/// Around the rows; what `serde` makes of an `Answer` with `Connections`.
const HEAD: &[u8] = br#"{"v":1,"ok":{"connections":["#;
const TAIL: &[u8] = b"]}}\n";
/// Likewise, of what stands under `ok`.
const DOCUMENT_HEAD: &[u8] = br#"{"connections":["#;
const DOCUMENT_TAIL: &[u8] = b"]}\n";

/// How a dump is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The answer to `lbctl connections`.
    Json,
    /// What stands under `ok` of that, in a line.
    Document,
    /// The kernel's file `/proc/net/ip_vs_conn`. Behind its end the peer is closed: nothing else says that it is
    /// whole.
    Kernels,
}

/// A connection, or a persistence template, as it is listed.
#[derive(Clone, Copy, Debug)]
struct Listed {
    facts: ConnectionFacts<'static>,
    worker: usize,
}

/// All dumps under way. One slice at a time is with the workers, and the dumps take turns.
#[derive(Debug, Default)]
pub struct Dumps {
    queue: VecDeque<Dump>,
    out: Option<Out>,
    /// By worker: slices that were given up and will still come back.
    late: Vec<usize>,
}

#[derive(Debug)]
struct Dump {
    peer: PeerId,
    form: Form,
    only: Option<ServiceKey>,
    worker: usize,
    /// `None`: it is with the worker.
    slice: Option<Box<Slice>>,
    rows: u64,
    begun: bool,
}

/// The slice that is with a worker.
#[derive(Clone, Copy, Debug)]
struct Out {
    peer: PeerId,
    worker: usize,
    since: Instant,
}

impl Dumps {
    /// Writes all connections, or those of one service, to a peer that has asked.
    pub fn begin(&mut self, peer: PeerId, form: Form, only: Option<ServiceKey>) {
        let slice = Some(Slice::first());
        self.queue.push_back(Dump { peer, form, only, worker: 0, slice, rows: 0, begun: false });
    }

    /// Whether the loop should hurry.
    pub fn are_waiting(&self) -> bool {
        self.out.is_some()
    }

    /// Goes on as far as the workers have filled slices and the peers have read.
    pub fn turn(
        &mut self,
        peers: &mut impl Outlet,
        workers: &mut Workers,
        snapshot: &Snapshot,
        now: Instant,
    ) {
        self.late.resize(workers.len(), 0);
        while let Some((worker, slice)) = workers.exported() {
            self.take(worker, slice, peers, workers.len(), snapshot, now);
        }
        self.give_up(peers, now);
        self.queue.retain(|dump| peers.has_room(dump.peer).is_some());
        if self.out.is_none() {
            self.ask(peers, workers, now);
        }
    }

    /// A slice has come back.
    fn take(
        &mut self,
        worker: usize,
        slice: Box<Slice>,
        peers: &mut impl Outlet,
        workers: usize,
        snapshot: &Snapshot,
        now: Instant,
    ) {
        if self.late[worker] > 0 {
            self.late[worker] -= 1;
            return;
        }
        let Some(out) = self.out.take_if(|out| out.worker == worker) else { return };
        let Some(place) = self.queue.iter().position(|dump| dump.peer == out.peer) else { return };
        let Some(mut dump) = self.queue.remove(place) else { return };
        peers.push(dump.peer, &dump.text(&slice, snapshot));
        if slice.position.is_some() {
            dump.slice = Some(slice);
        } else {
            dump.worker += 1;
            dump.slice = Some(Slice::first());
        }
        if dump.worker < workers {
            self.queue.push_back(dump);
        } else {
            dump.end(peers, now);
        }
    }

    /// Lets the next dump whose peer reads have a slice filled.
    fn ask(&mut self, peers: &impl Outlet, workers: &mut Workers, now: Instant) {
        let ready = |dump: &&mut Dump| dump.slice.is_some() && peers.has_room(dump.peer) == Some(true);
        let Some(dump) = self.queue.iter_mut().find(ready) else { return };
        let Some(mut slice) = dump.slice.take() else { return };
        slice.rows.clear();
        slice.templates.clear();
        match workers.export(dump.worker, slice) {
            Ok(()) => self.out = Some(Out { peer: dump.peer, worker: dump.worker, since: now }),
            Err(slice) => dump.slice = Some(slice),
        }
    }

    /// A worker that keeps a slice too long is stuck: the dump ends.
    fn give_up(&mut self, peers: &mut impl Outlet, now: Instant) {
        let Some(out) = self.out.take_if(|out| now.duration_since(out.since) > PATIENCE) else { return };
        self.late[out.worker] += 1;
        let Some(place) = self.queue.iter().position(|dump| dump.peer == out.peer) else { return };
        let Some(dump) = self.queue.remove(place) else { return };
        if dump.begun {
            // An incomplete line tells the peer as much.
            peers.close(dump.peer);
            return;
        }
        let message = format!("worker {} does not answer", out.worker);
        match dump.form {
            Form::Json => {
                peers.push(dump.peer, &line(Outcome::Error(Refusal::new("worker_stuck", message))));
                peers.end(dump.peer, now);
            }
            Form::Document | Form::Kernels => peers.close(dump.peer),
        }
    }
}

impl Dump {
    /// The rows of a slice as JSON, with what goes before them.
    fn text(&mut self, slice: &Slice, snapshot: &Snapshot) -> Vec<u8> {
        let mut text = if self.begun { Vec::new() } else { self.form.head().to_vec() };
        self.begun = true;
        let (only, worker) = (self.only, self.worker);
        let key = |real| snapshot.real_key(real).filter(|key| only.is_none_or(|only| only == key.service));
        let rows = slice.rows.iter().filter_map(|row| Some(listed(row, &key(row.real)?, worker)));
        let templates = slice.templates.iter();
        let templates = templates.filter_map(|row| Some(listed_template(row, &key(row.real)?, worker)));
        for listed in rows.chain(templates) {
            self.form.write(&listed, self.rows == 0, &mut text);
            self.rows += 1;
        }
        text
    }

    /// All workers have been asked.
    fn end(&self, peers: &mut impl Outlet, now: Instant) {
        match self.form {
            Form::Json => peers.push(self.peer, TAIL),
            Form::Document => peers.push(self.peer, DOCUMENT_TAIL),
            Form::Kernels => peers.hang_up(self.peer),
        }
        peers.end(self.peer, now);
    }
}

impl Form {
    /// What stands before the rows.
    const fn head(self) -> &'static [u8] {
        match self {
            Self::Json => HEAD,
            Self::Document => DOCUMENT_HEAD,
            Self::Kernels => text::CONNECTIONS_HEAD.as_bytes(),
        }
    }

    fn write(self, listed: &Listed, is_first: bool, out: &mut Vec<u8>) {
        match self {
            Self::Json | Self::Document => {
                if !is_first {
                    out.push(b',');
                }
                // Writing plain fields to memory does not fail.
                let _ = serde_json::to_writer(out, &view(listed));
            }
            Self::Kernels => {
                let mut line = String::new();
                text::connection(&listed.facts, &mut line);
                out.extend_from_slice(line.as_bytes());
            }
        }
    }
}

fn view(Listed { facts, worker }: &Listed) -> ConnectionView {
    ConnectionView {
        protocol: facts.protocol.to_string(),
        state: facts.state.to_owned(),
        expires_s: facts.seconds,
        client: facts.client.to_string(),
        virtual_: facts.virtual_.to_string(),
        real: facts.real.to_string(),
        worker: *worker,
    }
}

/// A persistence template as the kernel lists it: the client has port 0; so has the real if the service is on several
/// ports; one that is in force no more has port 65535 on the sides of the service and the real.
fn listed_template(row: &CopiedTemplate, key: &RealKey, worker: usize) -> Listed {
    let (mut virtual_, mut real) = (key.service.listen, key.endpoint);
    if !key.service.is_exact() {
        real.set_port(0);
    }
    if row.spent {
        virtual_.set_port(u16::MAX);
        real.set_port(u16::MAX);
    }
    let (protocol, client) = (row.protocol, SocketAddr::new(row.client, 0));
    let (state, seconds) = (row.state_name(), row.seconds_left());
    Listed { facts: ConnectionFacts { protocol, client, virtual_, real, state, seconds }, worker }
}

fn listed(row: &Copied, key: &RealKey, worker: usize) -> Listed {
    let RealKey { service, endpoint } = key.at_port(row.port);
    let facts = ConnectionFacts {
        protocol: row.protocol,
        client: row.client,
        virtual_: service.listen,
        real: endpoint,
        state: row.state.name(),
        seconds: row.seconds_left(),
    };
    Listed { facts, worker }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::names::ids::{Protocol, RealId};

    #[test]
    fn a_template_is_listed_as_in_the_kernel() {
        let service = ServiceKey::new(Protocol::Tcp, "192.168.10.100:7600".parse().unwrap());
        let key = RealKey { service, endpoint: "10.0.0.7:7000".parse().unwrap() };
        let client = "192.168.10.12".parse().unwrap();
        let (protocol, real, ticks_left) = (Protocol::Tcp, RealId(3), 42 * 4 + 3);
        let template = CopiedTemplate { protocol, client, real, ticks_left, assured: true, spent: false };
        let listed = |template| {
            let view = view(&listed_template(&template, &key, 2));
            assert_eq!((view.protocol.as_str(), view.expires_s, view.worker), ("TCP", 42, 2));
            [view.state, view.client, view.virtual_, view.real]
        };
        let in_force = ["ASSURED", "192.168.10.12:0", "192.168.10.100:7600", "10.0.0.7:7000"];
        assert_eq!(listed(template), in_force);
        let spent = ["NONE", "192.168.10.12:0", "192.168.10.100:65535", "10.0.0.7:65535"];
        assert_eq!(listed(CopiedTemplate { assured: false, spent: true, ..template }), spent);
    }
}
