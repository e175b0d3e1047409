//! What judges a packet needs no device and no worker.

use super::*;
use crate::connection::Timeouts;
use crate::connection::table::HashKey;
use crate::exchange::orders::{ControlEnd, NeighbourEvent, channel};
use crate::frame::plain::{PlainFrame, PlainIo};
use crate::live::next_hops::NextHops;
use crate::live::reals::Reals;
use crate::names::ids::{EthPortId, NeighbourKey};
use crate::names::mac::Mac;
use crate::names::side::Side;
use crate::snapshot::{Description, EthPort, Interface, IpOptions, Steering, Unmatched};
use crate::worker::tables::Tables;
use etherparse::PacketBuilder;
use std::sync::Arc;

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const HERS: Mac = Mac([2, 0, 0, 0, 0, 2]);
const HERE: InterfaceId = InterfaceId(0);

struct Parts {
    snapshot: Snapshot,
    flows: Flows,
    reach: Reach,
    held: Held<PlainFrame>,
    limits: Limits,
    peers: Peers<PlainFrame>,
    counters: Arc<WorkerCounters>,
    control: ControlEnd,
}

impl Parts {
    /// One interface, 10.0.0.1/24, and no service.
    fn new() -> Self {
        let interface = Interface {
            side: Side::Both,
            mac: OURS,
            mtu: 1500,
            addresses: vec!["10.0.0.1/24".parse().unwrap()],
        };
        let snapshot = Snapshot::compile(Description {
            version: 1,
            eth_ports: vec![EthPort { steering: Steering::Software }],
            interfaces: vec![interface],
            services: Vec::new(),
            reals: Vec::new(),
            routes: Vec::new(),
            timeouts: Timeouts::default(),
            unmatched: Unmatched::Route,
            ip_options: IpOptions::Filter,
            sloppy_tcp: false,
            sloppy_sctp: false,
            keep_quiescent_templates: false,
        });
        let reals = Arc::new(Reals::default());
        let (worker, control) = channel(Arc::new(NextHops::new([OURS])), Arc::clone(&reals));
        let (key, counters) = (HashKey { mask: 1, multiplier: 3 }, worker.counters);
        let tables = Tables::new(64, key, memory::Huge::Never).unwrap();
        Self {
            snapshot,
            flows: Flows::new(tables, key, (reals, Arc::default()), Arc::clone(&counters)),
            reach: Reach::new(worker.next_hops, worker.neighbour_events),
            held: Held::new(key, Arc::clone(&counters)),
            limits: Limits::new(),
            peers: Peers::none(),
            counters,
            control,
        }
    }

    fn slow(&mut self) -> Slow<'_, PlainFrame> {
        let Self { snapshot, flows, reach, held, limits, peers, counters, .. } = self;
        let now = Now { nanoseconds: 1_000_000_000 };
        Slow { snapshot, arrival: HERE, now, flows, reach, held, limits, peers, counters, scheduled: None }
    }
}

/// A datagram from 10.0.0.2 to here, or with our MAC to another host.
fn datagram(mac: Mac, to: [u8; 4], ttl: u8) -> PlainFrame {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2(HERS.0, mac.0).ipv4([10, 0, 0, 2], to, ttl).udp(1000, 2000);
    builder.write(&mut bytes, &[7; 20]).unwrap();
    let mut frame = PlainIo::new(1).allocate(EthPortId(0)).unwrap();
    assert!(frame.set_length(bytes.len()));
    frame.bytes_mut().copy_from_slice(&bytes);
    frame
}

#[test]
fn a_packet_is_judged_and_nothing_is_sent_or_counted_yet() {
    let mut parts = Parts::new();
    let answer = |reason| Ok(Fate::Answer { out: HERE, instead_of: Some(reason) });
    for (what, mac, to, ttl, expected) in [
        ("to another host", HERS, [10, 0, 0, 1], 64, Err(DropReason::OtherHost)),
        ("to us, where nobody listens", OURS, [10, 0, 0, 1], 64, answer(DropReason::NoService)),
        ("through us, without a route", OURS, [203, 0, 113, 1], 64, answer(DropReason::NoRoute)),
        (
            "to a host of the link that it came from, with no life left",
            OURS,
            [10, 0, 0, 9],
            1,
            answer(DropReason::TtlExceeded),
        ),
    ] {
        assert_eq!(parts.slow().judge(&mut datagram(mac, to, ttl)), expected, "{what}");
        for reason in DropReason::ALL {
            assert_eq!(parts.counters.dropped(*reason).get(), 0, "{what}: {}", reason.name());
        }
    }
    assert_eq!(parts.counters.answers.get(), 0);
}

#[test]
fn a_packet_whose_next_hop_is_not_known_stays_as_it_came_in_and_is_asked_for_once() {
    let mut parts = Parts::new();
    let to = NeighbourKey { interface: HERE, address: [10, 0, 0, 9].into() };
    let mut frame = datagram(OURS, [10, 0, 0, 9], 64);
    let before = frame.bytes().to_vec();
    assert_eq!(parts.slow().judge(&mut frame), Ok(Fate::Await(to)));
    assert_eq!(frame.bytes(), before);
    assert!(parts.slow().hold(to, frame).is_none());
    assert!(parts.slow().hold(to, datagram(OURS, [10, 0, 0, 9], 64)).is_none());
    assert_eq!(parts.control.neighbour_events.pop(), Ok(NeighbourEvent::Wanted(to)));
    assert!(parts.control.neighbour_events.pop().is_err());
}
