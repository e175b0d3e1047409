//! Whatever arrives: no panic, no frame lost or leaked, and the counts agree.

mod support;

use dataplane::names::ids::InterfaceId;

use dataplane::exchange::orders::{NeighbourEvent, Order};
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{NeighbourKey, Protocol, RealId};
use dataplane::names::mac::Mac;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::packet::{ACK, Packet, SYN};
use support::*;

/// Every frame that came in has left, in fragments perhaps, was dropped under a reason, was taken in by
/// the ARP listener, or is still held.
fn assert_conserved(lab: &mut Lab, arrived: u64) {
    let dropped: u64 = DropReason::ALL.iter().map(|reason| lab.dropped(*reason)).sum();
    let counters = lab.counters();
    let (received, sent) = (counters.rx_packets.get(), counters.tx_packets.get());
    assert_eq!(received, arrived);
    let made = counters.fragments_made.get() - counters.fragmented.get();
    let accounted = sent + dropped + lab.worker.frames_held() as u64;
    let arrived = arrived + made;
    let answers = counters.answers.get();
    // An answer may count twice: the packet under its reason, and the answer as sent. A neighbour's
    // message may count as neither: it was passed to the control thread.
    assert!(accounted <= arrived + answers, "{accounted} of {arrived}, {answers} answers");
    assert!(accounted + heard(lab) >= arrived, "{accounted} of {arrived}");
    assert_eq!(lab.worker.io().live_frames(), lab.worker.frames_held());
}

/// ARP messages that were passed to the control thread instead of being dropped or answered.
fn heard(lab: &mut Lab) -> u64 {
    let mut heard = 0;
    while let Ok(event) = lab.control.neighbour_events.pop() {
        heard += u64::from(!matches!(event, NeighbourEvent::Wanted(_)));
    }
    heard
}

/// Plausible packets of all kinds, some of them belonging together.
fn plausible() -> impl Strategy<Value = (InterfaceId, Vec<u8>)> {
    let client = (0..4u8).prop_map(|n| std::net::Ipv4Addr::new(192, 168, 10, n + 5));
    let real = prop_oneof![Just(RS1), Just(RS2)];
    let flags = prop_oneof![Just(SYN), Just(ACK), any::<u8>()];
    let kind = (0..10u8, client, real, 0..6u16, flags, 0..3u8, 0..4usize);
    kind.prop_map(|(kind, client, real, port, flags, ttl, piece)| {
        // Of 80 bytes of payload in pieces of 24, and a TTL that is not worth losing them for.
        let fragment = |packet: Packet| {
            let whole =
                Packet { payload: vec![flags; 72], dont_fragment: false, id: port, ..packet.ttl(ttl + 1) };
            whole.fragments(44).swap_remove(piece)
        };
        let client_end = at(client, 40000 + port);
        let from_client = |packet: Packet| (VIP0, packet.ttl(ttl).macs(CLIENT_MAC, VIP_MAC).frame());
        let from_real = |packet: Packet| (DIP0, packet.ttl(ttl).macs(RS1_MAC, DIP_MAC).frame());
        match kind {
            0 => from_client(Packet::tcp(client_end, at(VIP, 80), flags)),
            1 => from_real(Packet::tcp(at(real, 80), client_end, flags)),
            2 => from_client(Packet::udp(client_end, at(VIP, 53), &[flags; 40])),
            3 => from_real(Packet::udp(at(real, 5353), client_end, &[flags; 40])),
            4 => from_client(Packet::icmp(client, VIP, [flags, 0], [0; 4], &[flags; 30])),
            5 => {
                let quoted = Packet::tcp(client_end, at(real, 80), ACK).datagram();
                from_real(Packet::icmp(real, client, [3, flags % 16], [0; 4], &quoted))
            }
            6 => {
                let message = dataplane::wire::arp::request(CLIENT_MAC, client, VIP, Mac::BROADCAST);
                (VIP0, message.to_vec())
            }
            7 => {
                let packet = Packet::udp(client_end, at(VIP, 53), &[]).macs(CLIENT_MAC, VIP_MAC);
                (VIP0, fragment(packet))
            }
            8 => (DIP0, fragment(Packet::udp(at(real, 5353), client_end, &[]).macs(RS1_MAC, DIP_MAC))),
            _ => from_real(Packet::tcp(at(real, 33000), client_end, flags)),
        }
    })
}

#[derive(Clone, Debug)]
enum Event {
    Frame(InterfaceId, Vec<u8>),
    /// Change these bytes of the frame before.
    Mutated(InterfaceId, Vec<u8>, Vec<(prop::sample::Index, u8)>, prop::sample::Index),
    Random(InterfaceId, Vec<u8>),
    Pass(u64),
    Reconfigure(u8),
    /// Whether each datagram is scheduled by itself.
    OnePacket(bool),
    Reachable(u8),
    Unreachable(u8),
    SlowDevice(Option<usize>),
    SmallPool(Option<usize>),
    /// The MTU of both ports.
    Mtu(u16),
    /// A packet that may be cut.
    Large(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let mutations = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    prop_oneof![
        20 => plausible().prop_map(|(port, frame)| Event::Frame(port, frame)),
        20 => (plausible(), mutations, any::<prop::sample::Index>())
            .prop_map(|((port, frame), changes, cut)| Event::Mutated(port, frame, changes, cut)),
        5 => (0..2u8, prop::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(port, bytes)| Event::Random(InterfaceId(port), bytes)),
        2 => (0..40u64).prop_map(Event::Pass),
        1 => (0..4u8).prop_map(Event::Reconfigure),
        1 => any::<bool>().prop_map(Event::OnePacket),
        1 => (0..4u8).prop_map(Event::Reachable),
        1 => (0..4u8).prop_map(Event::Unreachable),
        1 => prop::option::of(0..3usize).prop_map(Event::SlowDevice),
        1 => prop::option::of(0..3usize).prop_map(Event::SmallPool),
        1 => prop_oneof![Just(1500), 40..200u16].prop_map(Event::Mtu),
        2 => (0..1400usize).prop_map(Event::Large),
    ]
}

fn run(events: Vec<Event>) {
    let mut lab = Lab::serving();
    let mut arrived = 0;
    for event in events {
        match event {
            Event::Frame(port, frame) | Event::Random(port, frame) => {
                lab.arrive(port, &frame);
                arrived += 1;
            }
            Event::Mutated(port, mut frame, changes, cut) => {
                for (index, byte) in changes {
                    let index = index.index(frame.len());
                    frame[index] = byte;
                }
                // One in four is cut short.
                if cut.index(4) == 0 {
                    frame.truncate(cut.index(frame.len()));
                }
                lab.arrive(port, &frame);
                arrived += 1;
            }
            Event::Pass(seconds) => lab.leap(seconds),
            Event::Reconfigure(which) => {
                let reals = [(at(RS1, 80), 1), (at(RS2, 80), 2)];
                let udp = [(at(RS1, 5353), 1), (at(RS2, 5353), 0)];
                lab.configure(&[
                    Configured {
                        key: tcp_service(at(VIP, 80)),
                        reals: reals[usize::from(which % 2)..].to_vec(),
                    },
                    Configured {
                        key: udp_service(at(VIP, 53)),
                        reals: udp[..usize::from(which / 2)].to_vec(),
                    },
                ]);
            }
            Event::OnePacket(one_packet) => {
                let services = lab.description.services.iter_mut().flatten();
                for service in services.filter(|service| service.key.protocol == Protocol::Udp) {
                    service.policy.one_packet = one_packet;
                }
                lab.apply();
            }
            Event::Reachable(n) => {
                let key = NeighbourKey {
                    interface: VIP0,
                    address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 10, n + 5)),
                };
                lab.reachable(key, CLIENT_MAC);
            }
            Event::Unreachable(n) => {
                let key = NeighbourKey {
                    interface: VIP0,
                    address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 10, n + 5)),
                };
                lab.control.orders.push(Order::Unreachable(key)).unwrap();
                lab.turn();
            }
            Event::SlowDevice(limit) => lab.worker.io().transmit_limit = limit,
            Event::SmallPool(size) => lab.worker.io().pool_size = size,
            Event::Mtu(mtu) => {
                lab.description.interfaces.iter_mut().for_each(|port| port.mtu = mtu);
                lab.apply();
            }
            Event::Large(length) => {
                let packet = Packet::udp(at(CLIENT, 5000), at(VIP, 53), &vec![7; length]);
                let packet = Packet { dont_fragment: false, ..packet.macs(CLIENT_MAC, VIP_MAC) };
                lab.arrive(VIP0, &packet.frame());
                arrived += 1;
            }
        }
    }
    lab.worker.io().transmit_limit = None;
    lab.turn();
    assert_conserved(&mut lab, arrived);
    let live = lab.worker.table().len() as u64;
    let (mut active, mut inactive) = (0, 0);
    for id in 0..8 {
        let real = lab.counters().real(RealId(id));
        active += real.states.active();
        inactive += real.inactive();
    }
    assert_eq!(active + inactive, live, "the reals' counts are the table's");
    assert_eq!(lab.counters().connections.get(), live);
    let pairs = |lab: &Lab| (0..8).map(|id| lab.counters().pairs_of(RealId(id))).sum::<u64>();
    assert_eq!(lab.counters().pairs.get(), pairs(&lab));
    lab.leap(1000);
    assert_eq!((lab.worker.table().len(), pairs(&lab)), (0, 0), "everything times out");
    assert_eq!(lab.worker.io().live_frames(), 0, "and every buffer is back");
}

#[test]
fn nothing_that_arrives_does_harm() {
    // 400 sequences of up to 60 events: more than 10,000 packets.
    let mut runner = TestRunner::new(Config { cases: 400, ..Config::default() });
    runner
        .run(&prop::collection::vec(event(), 20..60), |events| {
            run(events);
            Ok(())
        })
        .unwrap();
}
