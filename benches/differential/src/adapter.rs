//! This build's packet path behind calls that every build has.

use crate::setting::{Bursts, Configuration, Key, Leads, Service, Setup};
use dataplane::connection::table::HashKey;
use dataplane::connection::{TimeoutSeconds, Timeouts};
use dataplane::counters::WorkerCounters;
use dataplane::exchange::orders::{ControlEnd, NeighbourEvent, Order, Return, SMALL_FRAME, Slice, channel};
use dataplane::exchange::peers::mesh;
use dataplane::frame::plain::PlainIo;
use dataplane::live::next_hops::{NextHop, NextHops};
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{
    EthPortId, InterfaceId, NeighbourKey, NextHopId, Protocol, RealId, RealKey, ServiceKey,
};
use dataplane::names::mac::Mac;
use dataplane::names::side::Side;
use dataplane::names::time::Now;
use dataplane::schedule::{Algorithm, Candidate, Change, Schedule};
use dataplane::snapshot::{self, Description, IpOptions, Snapshot, Steering, Unmatched};
use dataplane::steering::{ClientBits, Family, Indirection, OwnerMap};
use dataplane::worker::Worker;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// All workers of one build, and the control thread's ends.
pub struct Build {
    workers: Vec<Worker<PlainIo>>,
    controls: Vec<ControlEnd>,
    next_hops: Arc<NextHops>,
    /// By service: what it was made from, and the schedule, which stays the same as long as that does.
    schedules: Vec<Option<(u64, usize, Arc<Schedule>)>>,
}

impl Build {
    pub fn new(setup: &Setup) -> Self {
        let next_hops = Arc::new(NextHops::new(setup.macs.iter().map(|mac| Mac(*mac))));
        let (mut workers, mut controls) = (Vec::new(), Vec::new());
        for mut peers in mesh(&owners(setup.workers)) {
            let own = peers.own();
            for (_, port, sender) in setup.senders.iter().filter(|(worker, ..)| *worker == own) {
                peers.send_through(EthPortId(*port), *sender);
            }
            let (end, control) = channel(Arc::clone(&next_hops), Arc::default());
            let key = HashKey { mask: 0x1234_5678_9abc_def0, multiplier: 0x9e37_79b9_7f4a_7c15 };
            let io = PlainIo::new(setup.macs.len());
            let worker = Worker::new(io, end, setup.capacity, key, memory::Huge::Never).expect("memory");
            let worker = worker.with_peers(peers);
            let worker = match setup.bursts {
                Bursts::AsIs => worker,
                Bursts::Kept => worker.keeping_bursts(),
                Bursts::Vast => worker.keeping_bursts_as_if_vast(),
                Bursts::Older => worker.keeping_bursts().as_on_an_older_processor(),
            };
            workers.push(if setup.hold > 0 { worker.holding_at_most(setup.hold) } else { worker });
            controls.push(control);
        }
        Self { workers, controls, next_hops, schedules: Vec::new() }
    }

    pub fn adopt(&mut self, configuration: &Configuration) {
        let snapshot = Arc::new(Snapshot::compile(self.description(configuration)));
        for control in &mut self.controls {
            control.orders.push(Order::Adopt(Arc::clone(&snapshot))).expect("room for orders");
        }
    }

    fn description(&mut self, configuration: &Configuration) -> Description {
        let interface = |port: &crate::setting::Port| snapshot::Interface {
            side: match port.leads {
                Leads::Clients => Side::Vip,
                Leads::Reals => Side::Dip,
                Leads::Both => Side::Both,
            },
            mac: Mac(port.mac),
            mtu: port.mtu,
            addresses: port.addresses.iter().map(|address| address.parse().expect("a prefix")).collect(),
        };
        let eth_port = |port: &crate::setting::Port| snapshot::EthPort {
            steering: if port.by_device { Steering::Device } else { Steering::Software },
        };
        let real = |real: &crate::setting::Real| snapshot::Real {
            id: RealId(real.id),
            key: RealKey { service: service_key(real.service), endpoint: real.endpoint.into() },
            next_hop: NextHopId(real.next_hop),
            thresholds: snapshot::Thresholds::default(),
            removed: real.removed.then_some(snapshot::OnRemoval::Drop),
            is_emptied: false,
        };
        let route = |route: &crate::setting::Route| snapshot::Route {
            prefix: route.prefix.parse().expect("a prefix"),
            interface: InterfaceId(route.port),
            via: route.via.map(Into::into),
        };
        let [tcp, fin, udp] = configuration.timeouts;
        Description {
            version: configuration.version,
            eth_ports: configuration.ports.iter().map(eth_port).collect(),
            interfaces: configuration.ports.iter().map(interface).collect(),
            services: configuration
                .services
                .iter()
                .enumerate()
                .map(|(index, service)| service.as_ref().map(|service| self.service(index, service)))
                .collect(),
            reals: configuration.reals.iter().map(real).collect(),
            routes: configuration.routes.iter().map(route).collect(),
            timeouts: Timeouts::new(TimeoutSeconds { tcp, fin, udp }),
            unmatched: if configuration.route_unmatched { Unmatched::Route } else { Unmatched::Drop },
            ip_options: if configuration.filter_options { IpOptions::Filter } else { IpOptions::Pass },
            sloppy_tcp: false,
            sloppy_sctp: false,
            keep_quiescent_templates: false,
        }
    }

    fn service(&mut self, index: usize, service: &Service) -> snapshot::Service {
        let of = (service.generation, service.history.len());
        if self.schedules.len() <= index {
            self.schedules.resize(index + 1, None);
        }
        let schedule = match &self.schedules[index] {
            Some((generation, changes, schedule)) if (*generation, *changes) == of => Arc::clone(schedule),
            _ => Arc::new(schedule(service)),
        };
        self.schedules[index] = Some((of.0, of.1, Arc::clone(&schedule)));
        snapshot::Service {
            key: service_key(service.key),
            policy: snapshot::Policy::default(),
            timeouts: None,
            schedule,
        }
    }

    /// Sets what is known of a next hop.
    pub fn set_hop(&mut self, id: u32, reached: Option<(u8, [u8; 6])>) {
        let hop =
            reached.map_or(NextHop::UNRESOLVED, |(port, mac)| NextHop::resolved(InterfaceId(port), Mac(mac)));
        self.next_hops.set(NextHopId(id), hop);
    }

    pub fn reachable(&mut self, port: u8, address: Ipv4Addr, id: u32) {
        let key = NeighbourKey { interface: InterfaceId(port), address: address.into() };
        self.order_all(|| Order::Reachable(key, NextHopId(id)));
    }

    pub fn unreachable(&mut self, port: u8, address: Ipv4Addr) {
        self.order_all(|| {
            Order::Unreachable(NeighbourKey { interface: InterfaceId(port), address: address.into() })
        });
    }

    pub fn send_through(&mut self, worker: usize, port: u8, by: usize) {
        self.controls[worker]
            .orders
            .push(Order::SendThrough { port: EthPortId(port), worker: by })
            .expect("room for orders");
    }

    pub fn send(&mut self, worker: usize, port: u8, frame: &[u8]) {
        let mut bytes = [0; SMALL_FRAME];
        bytes[..frame.len()].copy_from_slice(frame);
        let order = Order::Send { interface: InterfaceId(port), length: frame.len() as u8, bytes };
        self.controls[worker].orders.push(order).expect("room for orders");
    }

    fn order_all(&mut self, order: impl Fn() -> Order) {
        for control in &mut self.controls {
            control.orders.push(order()).expect("room for orders");
        }
    }

    pub fn ask_for_connections(&mut self, worker: usize) {
        self.controls[worker].orders.push(Order::Export(Slice::first())).expect("room for orders");
    }

    /// What the worker gave back: connections, in lines; the rest of a dump is asked for.
    pub fn returned(&mut self, worker: usize, configuration: &Configuration) -> Vec<String> {
        let mut lines = Vec::new();
        while let Ok(returned) = self.controls[worker].returns.pop() {
            let Return::Exported(slice) = returned else { continue };
            for row in &slice.rows {
                let real = configuration.reals.iter().find(|real| real.id == row.real.0);
                let real = real.map(|real| (real.service.listen, real.endpoint));
                lines.push(format!(
                    "{} {:?} {} s {} {real:?}",
                    row.protocol,
                    row.state.shown(),
                    row.seconds_left(),
                    row.client
                ));
            }
            if slice.position.is_some() {
                self.controls[worker].orders.push(Order::Export(slice)).expect("room for orders");
            }
        }
        lines
    }

    /// What the worker said of neighbours.
    pub fn events(&mut self, worker: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while let Ok(event) = self.controls[worker].neighbour_events.pop() {
            lines.push(match event {
                NeighbourEvent::Wanted(key) => format!("wanted {} {}", key.interface, key.address),
                NeighbourEvent::Heard { key, mac, reply, .. } => {
                    format!("heard {} {} {mac} {reply}", key.interface, key.address)
                }
                NeighbourEvent::Conflict { key, mac } => {
                    format!("conflict {} {} {mac}", key.interface, key.address)
                }
                NeighbourEvent::GroupsAsked { interface, query } => format!("groups {interface} {query:?}"),
            });
        }
        lines
    }

    pub fn arrive(&mut self, worker: usize, port: u8, frame: &[u8], flags: u64) {
        self.workers[worker].io().arrive_flagged(EthPortId(port), frame, flags);
    }

    pub fn turn(&mut self, worker: usize, nanoseconds: u64) -> usize {
        self.workers[worker].turn(Now { nanoseconds })
    }

    pub fn sent(&mut self, worker: usize, port: u8) -> Vec<Vec<u8>> {
        self.workers[worker].io().take_sent(EthPortId(port))
    }

    /// Limits of the devices: frames taken at once, buffers, and a port that takes nothing.
    pub fn limit(&mut self, worker: usize, transmit: Option<usize>, pool: Option<usize>, stands: Option<u8>) {
        let io = self.workers[worker].io();
        (io.transmit_limit, io.pool_size, io.stands) = (transmit, pool, stands.map(EthPortId));
    }

    /// Frames that the worker holds, and those that exist.
    pub fn frames(&mut self, worker: usize) -> (usize, usize) {
        let held = self.workers[worker].frames_held();
        (held, self.workers[worker].io().live_frames())
    }

    /// Everything that is counted, by name; of reals below this id.
    pub fn counters(&self, worker: usize, reals: u32) -> Vec<(String, u64)> {
        let counters = &*self.controls[worker].counters;
        let mut all = named(counters);
        for reason in DropReason::ALL {
            all.push((format!("drop {}", reason.name()), counters.dropped(*reason).get()));
        }
        for id in 0..reals {
            let real = counters.real(RealId(id));
            let values = [
                ("connections", real.connections.get()),
                ("in packets", real.in_packets.get()),
                ("in bytes", real.in_bytes.get()),
                ("out packets", real.out_packets.get()),
                ("out bytes", real.out_bytes.get()),
                ("total", real.total.get()),
                ("active", real.states.active()),
                ("closing", real.states.closing()),
            ];
            all.extend(values.map(|(name, value)| (format!("real {id} {name}"), value)));
        }
        all.push(("table".to_owned(), self.workers[worker].table().len() as u64));
        all
    }
}

fn named(counters: &WorkerCounters) -> Vec<(String, u64)> {
    macro_rules! values {
        ($($name:ident)*) => {
            vec![$((stringify!($name).to_owned(), counters.$name.get())),*]
        };
    }
    let mut all = values! {
        snapshot_version rx_packets tx_packets handed_over taken_over sent_by_others bursts answers
        answers_suppressed routed fragmented fragments_made busy_turns busy_nanoseconds turns total_nanoseconds
        connections connections_created connections_expired connections_evicted entries_swept
        entries_moved most_swept most_expired most_created most_moved
    };
    let by_port = [
        ("transmit_stands", &counters.transmit_stands),
        ("misdirected", &counters.misdirected),
        ("checksums_examined", &counters.checksums_examined),
        ("partial_checksums", &counters.partial_checksums),
        ("merged_segments", &counters.merged_segments),
    ];
    for (name, ports) in by_port {
        let values = ports.iter().take(4).enumerate();
        all.extend(values.map(|(port, counter)| (format!("{name} {port}"), counter.get())));
    }
    all
}

fn service_key(key: Key) -> ServiceKey {
    ServiceKey::new(if key.tcp { Protocol::Tcp } else { Protocol::Udp }, key.listen.into())
}

fn schedule(service: &Service) -> Schedule {
    let algorithm = if service.weighted { Algorithm::WeightedRoundRobin } else { Algorithm::RoundRobin };
    let candidates =
        service.reals.iter().map(|(id, weight)| Candidate { real: RealId(*id), weight: *weight });
    let changes = service.history.iter().map(|weights| Change::of(weights.iter().copied()));
    Schedule::new(algorithm, service.generation, candidates.collect(), 0, changes.collect())
}

/// An owner map with a fixed key.
fn owners(workers: usize) -> Arc<OwnerMap> {
    let mut state = 7u64;
    let mut random = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        state
    };
    let table = Indirection::shuffled(64, workers, &mut random).expect("a table");
    let key = [0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67];
    let map = OwnerMap::random(table, random).expect("random enough");
    Arc::new(map.with_key(Family::V4, &key, ClientBits::ALONE).expect("a key"))
}
