//! A burst comes out as its frames do one at a time.

mod support;

use dataplane::connection::{Copied, TimeoutSeconds, Timeouts};
use dataplane::frame::BURST;
use dataplane::live::next_hops::NextHop;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{InterfaceId, NeighbourKey};
use dataplane::names::mac::Mac;
use dataplane::names::side::Side;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::packet::{ACK, FIN, Packet, RST, SYN};
use support::*;

/// What a frame is, and whose.
type Kind = (u8, u16, u16, u8, u8);

#[derive(Clone, Debug)]
enum Step {
    Burst(Vec<Kind>),
    /// Hundredths of a second, at once: what has timed out is not swept yet, and no tick ends within a burst.
    Leap(u64),
    Mute(usize),
    Reach(usize),
    /// Which reals are configured.
    Reconfigure(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = (0..24u8, 0..10u16, 0..3u16, 0..3u8, 0..8u8);
    prop_oneof![
        12 => prop::collection::vec(kind, 1..40).prop_map(Step::Burst),
        2 => prop_oneof![10..300u64, 300..7_000u64].prop_map(Step::Leap),
        1 => (0..5usize).prop_map(Step::Mute),
        2 => (0..5usize).prop_map(Step::Reach),
        1 => (0..8u8).prop_map(Step::Reconfigure),
    ]
}

const RS3: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 0, 0, 27);
/// With two ports; with one arm all are behind the first.
const NEIGHBOURS: [(NeighbourKey, Mac); 5] = [
    (NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(CLIENT) }, CLIENT_MAC),
    (NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(ROUTER) }, Mac([2, 0, 0, 0, 0x10, 1])),
    (NeighbourKey { interface: DIP0, address: std::net::IpAddr::V4(RS1) }, RS1_MAC),
    (NeighbourKey { interface: DIP0, address: std::net::IpAddr::V4(RS2) }, RS2_MAC),
    (NeighbourKey { interface: DIP0, address: std::net::IpAddr::V4(RS3) }, Mac([2, 0, 0, 0, 0, 0x27])),
];

fn neighbour(which: usize, is_one_arm: bool) -> (NeighbourKey, Mac) {
    let (key, mac) = NEIGHBOURS[which];
    (if is_one_arm { NeighbourKey { interface: VIP0, ..key } } else { key }, mac)
}

fn services(reals: u8) -> Vec<Configured> {
    let ends = |port| {
        let all = [(at(RS1, port), 3), (at(RS2, port), 1), (at(RS3, port), 2)];
        (0..).zip(all).filter(|(n, _)| reals >> n & 1 != 0).map(|(_, real)| real).collect::<Vec<_>>()
    };
    let mut all = Vec::new();
    for n in 0..3 {
        all.push(Configured { key: tcp_service(at(VIP, 80 + n)), reals: ends(80) });
        all.push(Configured { key: udp_service(at(VIP, 53 + n)), reals: ends(5353) });
    }
    all
}

/// Fragments wait for each other within a burst only: they may be given up between two turns.
fn frame(
    (kind, client, service, real, more): Kind,
    is_one_arm: bool,
    id: u16,
    burst: u16,
) -> (InterfaceId, Vec<u8>) {
    let client = at(if client % 2 == 0 { CLIENT } else { FAR_CLIENT }, 40_000 + client / 2);
    let real = [RS1, RS2, RS3][usize::from(real)];
    let flags = [SYN, ACK, ACK | FIN, RST, SYN | ACK, ACK, SYN, SYN][usize::from(more)];
    let payload = id.to_be_bytes();
    let own = |packet: Packet| (VIP0, Packet { id, ..packet }.macs(CLIENT_MAC, VIP_MAC).frame());
    let back = |packet: Packet| {
        let (port, mac) = if is_one_arm { (VIP0, VIP_MAC) } else { (DIP0, DIP_MAC) };
        (port, Packet { id, ..packet }.macs(RS1_MAC, mac).frame())
    };
    let tcp =
        |flags| Packet { payload: payload.to_vec(), ..Packet::tcp(client, at(VIP, 80 + service), flags) };
    let udp = || Packet::udp(client, at(VIP, 53 + service), &payload);
    let tcp_reply = |flags| Packet { payload: payload.to_vec(), ..Packet::tcp(at(real, 80), client, flags) };
    let udp_reply = || Packet::udp(at(real, 5353), client, &payload);
    match kind {
        0..4 => own(tcp(flags)),
        4..7 => own(tcp(SYN)),
        7..12 => own(udp()),
        12..14 => back(tcp_reply(flags)),
        14..17 => back(udp_reply()),
        17 => own(Packet { options: vec![1, 1, 1, 0], ..if more & 1 == 0 { tcp(SYN) } else { udp() } }),
        18 => own(if more & 1 == 0 { tcp(flags) } else { udp() }.ttl(1)),
        19 => {
            let whole = Packet { payload: vec![more; 40], dont_fragment: false, ..udp() };
            let packet = Packet { id: burst << 8 | client.port() & 0xff, ..whole }.macs(CLIENT_MAC, VIP_MAC);
            (VIP0, packet.fragments(44).swap_remove(usize::from(more % 2)))
        }
        20 => own(Packet::icmp(*client.ip(), VIP, [8, 0], [0, 1, 0, 2], &payload)),
        21 => {
            let quoted = Packet::udp(client, at(real, 5353), b"").datagram();
            back(Packet::icmp(real, *client.ip(), [3, 3], [0; 4], &quoted))
        }
        22 => own(Packet::tcp(client, at(VIP, 90), flags)),
        // Of a connection the header's checksum is not looked at on the fast path: this client has none.
        _ => {
            let (port, mut frame) = own(Packet::tcp(at(CLIENT, 50_000), at(VIP, 80 + service), flags));
            frame[25] ^= 0x40 | more;
            (port, frame)
        }
    }
}

/// What can be seen of a lab from outside, but for what left.
fn seen(lab: &Lab) -> Vec<u64> {
    let counters = lab.counters();
    let mut all: Vec<u64> = DropReason::ALL.iter().map(|reason| lab.dropped(*reason)).collect();
    all.extend([
        counters.connections_created.get(),
        counters.connections_evicted.get(),
        counters.answers.get(),
        counters.routed.get(),
    ]);
    for real in &lab.description.reals {
        let of = lab.counters().real(real.id);
        let traffic = [&of.connections, &of.in_packets, &of.in_bytes, &of.out_packets, &of.out_bytes];
        all.extend(traffic.iter().map(|counter| counter.get()));
    }
    all.push(lab.worker.frames_held() as u64);
    all
}

/// The gauges, which go down when the sweep comes by.
fn gauges(lab: &Lab) -> Vec<u64> {
    let of = |real| {
        let of = lab.counters().real(real);
        [of.total.get(), of.states.active(), of.states.closing()]
    };
    lab.description.reals.iter().flat_map(|real| of(real.id)).collect()
}

/// They are what the table holds.
fn assert_counted(lab: &Lab) {
    let reals: Vec<_> = lab.description.reals.iter().map(|real| real.id).collect();
    let total: u64 = reals.iter().map(|real| lab.counters().real(*real).total.get()).sum();
    assert_eq!(total, lab.worker.table().len() as u64);
    assert_eq!(total, lab.counters().connections.get());
}

/// Which code takes the bursts: as what the table is treated, and for which processor.
#[derive(Clone, Copy, Debug)]
enum Way {
    Near,
    Far,
    Vast,
    Older,
}

/// How two labs are set up, and what happens to them.
#[derive(Clone, Copy, Debug)]
struct Setting {
    capacity: usize,
    is_one_arm: bool,
    way: Way,
    /// Whether neighbours fall silent, or connections time out: a packet that waits for its next hop renews its
    /// connection on the fast path alone, so both together would tell the labs apart.
    is_patient: bool,
}

fn new_lab(Setting { capacity, is_one_arm, way, is_patient }: Setting) -> Lab {
    let mut lab = match way {
        Way::Near => Lab::with_near_table(capacity),
        Way::Far => Lab::with_capacity(capacity),
        Way::Vast => Lab::with_vast_table(capacity),
        Way::Older => Lab::on_an_older_processor(capacity),
    };
    if !is_patient {
        lab.description.timeouts = Timeouts::new(TimeoutSeconds { tcp: 30, fin: 5, udp: 2 });
    }
    if is_one_arm {
        let inside = lab.description.interfaces.remove(DIP0.index());
        let arm = &mut lab.description.interfaces[VIP0.index()];
        arm.side = Side::Both;
        arm.addresses.extend(inside.addresses);
    }
    lab.configure(&services(7));
    for (key, mac) in (0..NEIGHBOURS.len()).map(|which| neighbour(which, is_one_arm)) {
        lab.reachable(key, mac);
    }
    lab
}

fn run(setting: Setting, steps: Vec<Step>) {
    let Setting { is_one_arm, is_patient, .. } = setting;
    let mut labs = [new_lab(setting), new_lab(setting)];
    let mut id = 0;
    for (number, step) in (1..).zip(steps) {
        let mut left = [Vec::new(), Vec::new()];
        if let Step::Burst(kinds) = &step {
            let frames: Vec<_> = kinds
                .iter()
                .map(|kind| {
                    id += 1;
                    frame(*kind, is_one_arm, id, number)
                })
                .collect();
            // No limit of answers is reached within a burst, where it would matter when in it they come.
            labs.iter_mut().for_each(|lab| lab.skip(100_000_000));
            // One order for both: first all frames of one port, then those of the other.
            for port in [VIP0, DIP0] {
                let of_port: Vec<_> = frames.iter().filter(|(other, _)| *other == port).collect();
                for (_, bytes) in &of_port {
                    labs[0].worker.io().arrive(port, bytes);
                }
                for (_, bytes) in of_port {
                    left[0].extend(labs[0].turn());
                    left[1].extend(labs[1].arrive(port, bytes));
                }
                for (lab, left) in labs.iter_mut().zip(&mut left) {
                    left.extend(lab.turn());
                }
            }
        } else {
            for (lab, left) in labs.iter_mut().zip(&mut left) {
                match &step {
                    Step::Burst(_) => {}
                    Step::Leap(_) if is_patient => {}
                    Step::Leap(hundredths) => lab.skip(hundredths * 10_000_000),
                    Step::Mute(_) if !is_patient => {}
                    Step::Mute(which) => {
                        let (key, _) = neighbour(*which, is_one_arm);
                        let hop = lab.next_hop_id(key);
                        lab.next_hops.set(hop, NextHop::UNRESOLVED);
                        lab.unreachable(key);
                        left.extend(lab.turn());
                    }
                    Step::Reach(which) => {
                        let (key, mac) = neighbour(*which, is_one_arm);
                        left.extend(lab.reachable(key, mac));
                    }
                    Step::Reconfigure(reals) => lab.configure(&services(*reals)),
                }
            }
        }
        for port in [VIP0, DIP0] {
            let [burst, single] = left.each_ref().map(|left| {
                left.iter().filter(|sent| sent.port == port).map(|sent| &sent.bytes).collect::<Vec<_>>()
            });
            assert_eq!(burst, single, "port {port} after {step:?}");
        }
        for lab in &mut labs {
            while lab.control.neighbour_events.pop().is_ok() {}
            assert_counted(lab);
        }
        let [burst, single] = labs.each_ref().map(seen);
        assert_eq!(burst, single, "after {step:?}");
    }
    labs.iter_mut().for_each(|lab| lab.leap(0));
    assert_eq!(gauges(&labs[0]), gauges(&labs[1]));
    let rows = labs.each_mut().map(|lab| {
        let rows = lab.connections();
        let row = |row: &Copied| format!("{} {} {:?} {:?}", row.protocol, row.client, row.state, row.real);
        let mut rows: Vec<_> = rows.iter().map(row).collect();
        rows.sort();
        rows
    });
    assert_eq!(rows[0], rows[1]);
}

/// In tables in which most entries lie away from home, and in one that has room.
#[test]
fn a_burst_comes_out_as_its_frames_one_at_a_time() {
    let mut runner = TestRunner::new(Config { cases: 120, ..Config::default() });
    let steps = prop::collection::vec(step(), 1..25);
    let capacity = prop_oneof![Just(64usize), Just(1024)];
    let way = prop_oneof![Just(Way::Near), Just(Way::Far), Just(Way::Vast), Just(Way::Older)];
    runner
        .run(
            &(capacity, way, any::<[bool; 2]>(), steps),
            |(capacity, way, [is_one_arm, is_patient], steps)| {
                run(Setting { capacity, is_one_arm, way, is_patient }, steps);
                Ok(())
            },
        )
        .unwrap();
}

/// A full burst may have more behind it. With a small table that makes no difference.
#[test]
fn a_full_burst_is_kept_for_the_next_turn_where_the_table_is_large_alone() {
    let arrive = |mut lab: Lab| {
        lab.configure(&services(7));
        for (key, mac) in NEIGHBOURS {
            lab.reachable(key, mac);
        }
        for port in 0..BURST as u16 {
            let packet = Packet::udp(at(CLIENT, 40_000 + port), at(VIP, 53), b"a").macs(CLIENT_MAC, VIP_MAC);
            lab.queue(VIP0, &packet.frame());
        }
        let now = lab.turn().len();
        (now, lab.turn().len())
    };
    assert_eq!(arrive(Lab::with_capacity(1024)), (0, BURST));
    assert_eq!(arrive(Lab::with_near_table(1024)), (BURST, 0));
}
