//! A clock that goes back, as a time stamp counter does that begins anew: nothing gets old by it, and nothing stands
//! still.

mod support;

use dataplane::names::ids::InterfaceId;

use dataplane::names::time::Now;
use support::packet::*;
use support::*;

const SECOND: u64 = 1_000_000_000;

/// Turns at times of its own.
struct Clocked {
    lab: Lab,
    now: u64,
}

impl Clocked {
    fn arrive(&mut self, port: InterfaceId, packet: Packet) -> usize {
        let (from, to) = if port == VIP0 { (CLIENT_MAC, VIP_MAC) } else { (RS1_MAC, DIP_MAC) };
        self.lab.worker.io().arrive(port, &packet.macs(from, to).frame());
        self.turn()
    }

    fn turn(&mut self) -> usize {
        self.now += 1000;
        self.lab.worker.turn(Now { nanoseconds: self.now });
        [VIP0, DIP0].map(|port| self.lab.worker.io().take_sent(port).len()).iter().sum()
    }

    /// An idle worker's turns for so long.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..4 * seconds {
            self.now += SECOND / 4;
            self.turn();
        }
    }

    fn ping(&mut self) -> usize {
        self.arrive(VIP0, Packet::icmp(CLIENT, VIP, [8, 0], [0; 4], b"ping"))
    }
}

/// By so much the clock goes back, from a thousand seconds on.
const STEPS: [u64; 5] = [1, SECOND / 4, 2 * SECOND, 500 * SECOND, 1000 * SECOND];

fn stepped_back(mut lab: Lab, by: u64, before: impl Fn(&mut Clocked)) -> Clocked {
    let now = lab.now().nanoseconds;
    lab.turn();
    let mut clocked = Clocked { lab, now: now + 2000 };
    before(&mut clocked);
    clocked.now -= by.min(clocked.now);
    clocked
}

#[test]
fn connections_live_on_and_time_out_when_it_is_their_time() {
    for by in STEPS {
        let mut lab = Lab::new();
        lab.configure(&[Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(RS1, 80), 1)] }]);
        let client = at(CLIENT, 40000);
        let (to_vip, to_client) = (
            |flags| Packet::tcp(client, at(VIP, 80), flags),
            |flags| Packet::tcp(at(RS1, 80), client, flags),
        );
        let mut clocked = stepped_back(lab, by, |clocked| {
            assert_eq!(clocked.arrive(VIP0, to_vip(SYN)), 1);
            assert_eq!(clocked.arrive(DIP0, to_client(SYN | ACK)), 1);
            assert_eq!(clocked.arrive(VIP0, to_vip(ACK)), 1);
        });
        assert_eq!(clocked.arrive(DIP0, to_client(ACK)), 1, "back by {by} ns");
        assert_eq!(clocked.arrive(VIP0, to_vip(ACK)), 1);
        // Swept, as an idle worker does.
        clocked.pass(898);
        assert_eq!(clocked.lab.worker.table().len(), 1, "back by {by} ns");
        clocked.pass(5);
        assert_eq!(clocked.lab.worker.table().len(), 0, "back by {by} ns");
    }
}

#[test]
fn limits_and_patience_go_on() {
    for by in STEPS {
        let mut clocked = stepped_back(Lab::serving(), by, |clocked| {
            // All that may be answered at once.
            while clocked.ping() > 0 {}
            let early = Packet::udp(at(CLIENT, 5000), at(VIP, 53), &[1; 64]);
            clocked.arrive(VIP0, Packet { fragment: 8, dont_fragment: false, ..early });
            let unresolved = at(std::net::Ipv4Addr::new(10, 0, 0, 99), 7);
            clocked.arrive(VIP0, Packet::udp(at(CLIENT, 5000), unresolved, b"?"));
            assert_eq!(clocked.lab.worker.frames_held(), 2);
        });
        assert_eq!(clocked.ping(), 0, "back by {by} ns: no time has passed");
        assert_eq!(clocked.lab.worker.frames_held(), 2, "back by {by} ns");
        clocked.pass(1);
        assert_eq!(clocked.ping(), 1, "back by {by} ns");
        clocked.pass(1);
        assert_eq!(
            clocked.lab.worker.frames_held(),
            1,
            "back by {by} ns: the fragment has waited for a second"
        );
        clocked.pass(5);
        assert_eq!(clocked.lab.worker.frames_held(), 0, "back by {by} ns");
        let counters = clocked.lab.counters();
        assert!(counters.total_nanoseconds.get() < 20 * SECOND);
    }
}
