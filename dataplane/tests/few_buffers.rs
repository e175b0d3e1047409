//! A worker with few buffers holds few frames, whatever comes: others are to be received.

mod support;

use dataplane::worker::MOST_HELD;
use std::net::Ipv4Addr;
use support::packet::Packet;
use support::*;

/// A client's datagrams to `hosts` hosts behind natlb that are not there.
fn to_absent_hosts(lab: &mut Lab, hosts: u8) {
    for host in 0..hosts {
        for port in 1..4 {
            let far = at(Ipv4Addr::new(10, 0, 0, 50 + host), 9);
            let packet = Packet::udp(at(CLIENT, port), far, b"?").macs(CLIENT_MAC, VIP_MAC);
            lab.arrive(VIP0, &packet.frame());
        }
    }
}

/// A client's fragments, the first of each datagram left out.
fn without_the_first(lab: &mut Lab, datagrams: u16) {
    for id in 0..datagrams {
        let packet = Packet::udp(at(CLIENT, 5000), at(VIP, 53), &[1; 4000]);
        let packet = Packet { id, dont_fragment: false, ..packet.macs(CLIENT_MAC, VIP_MAC) };
        for fragment in &packet.fragments(1500)[1..] {
            lab.arrive(VIP0, fragment);
        }
    }
}

#[test]
fn what_waits_is_bounded_by_the_buffers_that_there_are() {
    for most in [48, 100, 384, MOST_HELD, 10 * MOST_HELD] {
        let mut lab = Lab::holding_at_most(most);
        lab.configure(&[Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(RS1, 53), 1)] }]);
        to_absent_hosts(&mut lab, 200);
        let waiting = lab.worker.frames_held();
        assert!(
            waiting <= most.min(MOST_HELD) && waiting > most.min(MOST_HELD) / 2,
            "{waiting} of {most} wait"
        );
        without_the_first(&mut lab, 200);
        let held = lab.worker.frames_held();
        assert!(held <= most.min(MOST_HELD) && held > waiting, "{held} of {most} are held");
        assert_eq!(lab.worker.io().live_frames(), held);
        lab.pass(10);
        assert_eq!((lab.worker.frames_held(), lab.worker.io().live_frames()), (0, 0));
    }
}
