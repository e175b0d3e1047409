//! The dump of connections: written to the peer slice by slice as it reads, so that neither a table of
//! millions of connections nor a slow reader occupies memory or the loop.

use crate::api::protocol::{ConnectionView, Outcome, Refusal};
use crate::api::server::{PeerId, Server};
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
    pub fn begin(&mut self, peer: PeerId, only: Option<ServiceKey>) {
        let slice = Some(Slice::first());
        self.queue.push_back(Dump { peer, only, worker: 0, slice, rows: 0, begun: false });
    }

    /// Whether the loop should hurry.
    pub fn are_waiting(&self) -> bool {
        self.out.is_some()
    }

    /// Goes on as far as the workers have filled slices and the peers have read.
    pub fn turn(&mut self, server: &mut Server, workers: &mut Workers, snapshot: &Snapshot, now: Instant) {
        self.late.resize(workers.len(), 0);
        while let Some((worker, slice)) = workers.exported() {
            self.take(worker, slice, server, workers.len(), snapshot, now);
        }
        self.give_up(server, now);
        self.queue.retain(|dump| server.has_room(dump.peer).is_some());
        if self.out.is_none() {
            self.ask(server, workers, now);
        }
    }

    /// A slice has come back.
    fn take(
        &mut self,
        worker: usize,
        slice: Box<Slice>,
        server: &mut Server,
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
        server.push(dump.peer, &dump.text(&slice, snapshot));
        if slice.position.is_some() {
            dump.slice = Some(slice);
        } else {
            dump.worker += 1;
            dump.slice = Some(Slice::first());
        }
        if dump.worker < workers {
            self.queue.push_back(dump);
        } else {
            server.push(dump.peer, TAIL);
            server.end(dump.peer, now);
        }
    }

    /// Lets the next dump whose peer reads have a slice filled.
    fn ask(&mut self, server: &Server, workers: &mut Workers, now: Instant) {
        let ready = |dump: &&mut Dump| dump.slice.is_some() && server.has_room(dump.peer) == Some(true);
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
    fn give_up(&mut self, server: &mut Server, now: Instant) {
        let Some(out) = self.out.take_if(|out| now.duration_since(out.since) > PATIENCE) else { return };
        self.late[out.worker] += 1;
        let Some(place) = self.queue.iter().position(|dump| dump.peer == out.peer) else { return };
        let Some(dump) = self.queue.remove(place) else { return };
        if dump.begun {
            // An incomplete line tells the peer as much.
            server.close(dump.peer);
            return;
        }
        let message = format!("worker {} does not answer", out.worker);
        let refusal = Refusal::new("worker_stuck", message);
        server.answer(dump.peer, Outcome::Error(refusal), now);
    }
}

impl Dump {
    /// The rows of a slice as JSON, with what goes before them.
    fn text(&mut self, slice: &Slice, snapshot: &Snapshot) -> Vec<u8> {
        let mut text = if self.begun { Vec::new() } else { HEAD.to_vec() };
        self.begun = true;
        let (only, worker) = (self.only, self.worker);
        let key = |real| snapshot.real_key(real).filter(|key| only.is_none_or(|only| only == key.service));
        let rows = slice.rows.iter().filter_map(|row| Some(view(row, &key(row.real)?, worker)));
        let templates = slice.templates.iter();
        let templates = templates.filter_map(|row| Some(view_of_template(row, &key(row.real)?, worker)));
        for view in rows.chain(templates) {
            if self.rows > 0 {
                text.push(b',');
            }
            self.rows += 1;
            // Writing plain fields to memory does not fail.
            let _ = serde_json::to_writer(&mut text, &view);
        }
        text
    }
}

/// A persistence template as the kernel lists it: the client has port 0; so has the real if the service is on several
/// ports; one that is in force no more has port 65535 on the sides of the service and the real.
fn view_of_template(row: &CopiedTemplate, key: &RealKey, worker: usize) -> ConnectionView {
    let listed = |mut endpoint: SocketAddr| {
        if row.spent {
            endpoint.set_port(u16::MAX);
        }
        endpoint.to_string()
    };
    let mut real = key.endpoint;
    if !key.service.is_exact() {
        real.set_port(0);
    }
    ConnectionView {
        protocol: row.protocol.to_string(),
        state: row.state_name().to_owned(),
        expires_s: row.seconds_left(),
        client: SocketAddr::new(row.client, 0).to_string(),
        virtual_: listed(key.service.listen),
        real: listed(real),
        worker,
    }
}

fn view(row: &Copied, key: &RealKey, worker: usize) -> ConnectionView {
    let RealKey { service, endpoint } = key.at_port(row.port);
    ConnectionView {
        protocol: row.protocol.to_string(),
        state: row.state.name().to_owned(),
        expires_s: row.seconds_left(),
        client: row.client.to_string(),
        virtual_: service.listen.to_string(),
        real: endpoint.to_string(),
        worker,
    }
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
            let view = view_of_template(&template, &key, 2);
            assert_eq!((view.protocol.as_str(), view.expires_s, view.worker), ("TCP", 42, 2));
            [view.state, view.client, view.virtual_, view.real]
        };
        let in_force = ["ASSURED", "192.168.10.12:0", "192.168.10.100:7600", "10.0.0.7:7000"];
        assert_eq!(listed(template), in_force);
        let spent = ["NONE", "192.168.10.12:0", "192.168.10.100:65535", "10.0.0.7:65535"];
        assert_eq!(listed(CopiedTemplate { assured: false, spent: true, ..template }), spent);
    }
}
