//! The checksum of the IPv4 header (RFC 1812 §5.2.2) of packets of established connections; and transport checksums
//! that a sender has left to a device.

mod support;

use dataplane::connection::State;
use dataplane::frame::{BURST, HEADER_RIGHT, HEADER_WRONG};
use dataplane::names::direction::Direction;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::InterfaceId;
use support::packet::{ACK, FIN, Packet, RST, SYN, internet_checksum, read};
use support::*;

/// Client port 1000 has an established TCP connection with the real that gets it, and an answered UDP one.
fn established() -> Lab {
    let mut lab = Lab::new();
    lab.configure(&[
        Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(RS1, 80), 1)] },
        Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(RS1, 5353), 1)] },
    ]);
    for packet in [
        tcp(Direction::Forward, SYN),
        tcp(Direction::Reverse, SYN | ACK),
        tcp(Direction::Forward, ACK),
        udp(Direction::Forward),
        udp(Direction::Reverse),
    ] {
        assert_eq!(lab.arrive(packet.0, &packet.1).len(), 1);
    }
    assert_eq!(states(&mut lab), [State::Established, State::Udp]);
    lab
}

fn framed(direction: Direction, packet: Packet) -> (InterfaceId, Vec<u8>) {
    match direction {
        Direction::Forward => (VIP0, packet.macs(CLIENT_MAC, VIP_MAC).frame()),
        Direction::Reverse => (DIP0, packet.macs(RS1_MAC, DIP_MAC).frame()),
    }
}

fn tcp(direction: Direction, flags: u8) -> (InterfaceId, Vec<u8>) {
    let (source, destination) = match direction {
        Direction::Forward => (at(CLIENT, 1000), at(VIP, 80)),
        Direction::Reverse => (at(RS1, 80), at(CLIENT, 1000)),
    };
    framed(direction, Packet::tcp(source, destination, flags))
}

fn udp(direction: Direction) -> (InterfaceId, Vec<u8>) {
    let (source, destination) = match direction {
        Direction::Forward => (at(CLIENT, 1000), at(VIP, 53)),
        Direction::Reverse => (at(RS1, 5353), at(CLIENT, 1000)),
    };
    framed(direction, Packet::udp(source, destination, b"payload"))
}

fn states(lab: &mut Lab) -> [State; 2] {
    let mut rows = lab.connections();
    rows.sort_by_key(|row| row.protocol.number());
    assert_eq!(rows.len(), 2);
    [rows[0].state, rows[1].state]
}

/// Traffic that was counted.
fn counted(lab: &Lab) -> Vec<u64> {
    let of = |real| {
        let of = lab.counters().real(real);
        [of.in_packets.get(), of.out_packets.get(), of.states.active(), of.states.closing()]
    };
    lab.description.reals.iter().flat_map(|real| of(real.id)).collect()
}

/// A bit of the header, of those that leave the packet where it belongs: what is wrong is the checksum alone.
fn corrupted(frame: &[u8]) -> Vec<Vec<u8>> {
    let flip = |(at, bit): (usize, u8)| {
        let mut frame = frame.to_vec();
        frame[at] ^= 1 << bit;
        frame
    };
    // Type of service, identification, time to live, the checksum itself.
    [(15, 3), (18, 7), (19, 0), (22, 1), (24, 0), (25, 7)].into_iter().map(flip).collect()
}

const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Reverse];

fn packets() -> Vec<(InterfaceId, Vec<u8>)> {
    let all_flags = [ACK, RST, FIN | ACK, SYN, SYN | ACK, 0, RST | ACK];
    let tcp = DIRECTIONS.into_iter().flat_map(|direction| all_flags.map(|flags| tcp(direction, flags)));
    tcp.chain(DIRECTIONS.map(udp)).collect()
}

#[test]
fn a_packet_with_a_wrong_header_is_dropped_and_leaves_nothing_behind() {
    let mut lab = established();
    let before = counted(&lab);
    let mut dropped = 0;
    for (port, frame) in packets() {
        for wrong in corrupted(&frame) {
            assert_eq!(lab.arrive(port, &wrong), [], "{wrong:x?}");
            dropped += 1;
            assert_eq!(lab.dropped(DropReason::HeaderChecksum), dropped);
        }
    }
    assert_eq!(states(&mut lab), [State::Established, State::Udp]);
    assert_eq!(counted(&lab), before);
}

/// Beside packets that are right, which go on.
#[test]
fn so_it_is_in_a_burst() {
    let mut lab = established();
    let (port, right) = tcp(Direction::Forward, ACK);
    let (_, reset) = tcp(Direction::Forward, RST);
    for wrong in corrupted(&reset) {
        lab.worker.io().arrive(port, &right);
        lab.worker.io().arrive(port, &wrong);
    }
    assert_eq!(lab.turn().len(), 6);
    assert_eq!(lab.dropped(DropReason::HeaderChecksum), 6);
    assert_eq!(states(&mut lab)[0], State::Established);
}

/// A worker has no time to add up the headers of a full burst. A packet that would change a state is verified
/// nevertheless; others stay wrong, so that their receiver drops them.
#[test]
fn under_full_load_a_wrong_header_changes_no_state_and_stays_wrong() {
    for flags in [RST, FIN | ACK, RST | ACK, SYN] {
        for direction in DIRECTIONS {
            let mut lab = established();
            let (port, frame) = tcp(direction, flags);
            let wrong = &corrupted(&frame)[2];
            let (_, data) = tcp(direction, ACK);
            for _ in 0..BURST - 1 {
                lab.worker.io().arrive(port, &data);
            }
            lab.worker.io().arrive(port, wrong);
            let left = [lab.turn(), lab.turn()].concat();
            let changes = left.len() < BURST;
            assert_eq!(lab.dropped(DropReason::HeaderChecksum), u64::from(changes));
            assert_eq!(states(&mut lab)[0], State::Established, "{flags} {direction:?}");
            for sent in left {
                let is_right = internet_checksum(&sent.bytes[14..34], 0) == 0;
                assert_eq!(is_right, sent.bytes[14 + 20 + 13] == ACK, "a wrong one stays wrong");
            }
        }
    }
}

/// A device that looks at headers saves that, for full bursts too.
#[test]
fn what_a_device_finds_wrong_is_dropped_under_full_load_too() {
    let mut lab = established();
    let (port, right) = tcp(Direction::Forward, ACK);
    let wrong = corrupted(&right);
    for number in 0..BURST {
        match wrong.get(number) {
            Some(wrong) => lab.worker.io().arrive_flagged(port, wrong, HEADER_WRONG),
            None => lab.worker.io().arrive_flagged(port, &right, HEADER_RIGHT),
        }
    }
    assert_eq!([lab.turn(), lab.turn()].concat().len(), BURST - wrong.len());
    assert_eq!(lab.dropped(DropReason::HeaderChecksum), wrong.len() as u64);
}

/// Should a device be mistaken, or know only that the field is not filled in, the header itself decides.
#[test]
fn a_device_that_finds_a_right_header_wrong_is_not_believed() {
    let mut lab = established();
    let (port, right) = tcp(Direction::Forward, ACK);
    for flags in [HEADER_WRONG, HEADER_WRONG | HEADER_RIGHT] {
        lab.worker.io().arrive_flagged(port, &right, flags);
        assert_eq!(lab.turn().len(), 1);
        lab.worker.io().arrive_flagged(port, &corrupted(&right)[0], flags);
        assert_eq!(lab.turn(), []);
    }
    assert_eq!(lab.dropped(DropReason::HeaderChecksum), 2);
}

/// A client endpoint with several connections takes another way.
#[test]
fn so_it_is_with_several_connections_of_one_client_endpoint() {
    let mut lab = Lab::new();
    let listens: Vec<_> = (80..84).map(|port| at(VIP, port)).collect();
    let services: Vec<_> = listens
        .iter()
        .map(|listen| Configured { key: tcp_service(*listen), reals: vec![(at(RS1, listen.port()), 1)] })
        .collect();
    lab.configure(&services);
    for listen in &listens {
        let (port, frame) = framed(Direction::Forward, Packet::tcp(at(CLIENT, 1000), *listen, SYN));
        assert_eq!(lab.arrive(port, &frame).len(), 1);
    }
    for listen in &listens {
        let packet = || Packet::tcp(at(CLIENT, 1000), *listen, RST);
        for wrong in corrupted(&framed(Direction::Forward, packet()).1) {
            assert_eq!(lab.arrive(VIP0, &wrong), []);
        }
    }
    assert_eq!(lab.dropped(DropReason::HeaderChecksum), 24);
    assert!(lab.connections().iter().all(|row| row.state == State::SynRecv));
}

/// As a kernel leaves it for a device: the sum of the pseudo-header.
fn with_partial_checksum((port, mut frame): (InterfaceId, Vec<u8>)) -> (InterfaceId, Vec<u8>) {
    let length = u16::from_be_bytes([frame[16], frame[17]]) - 20;
    let pseudo = [&frame[26..34], &[0, frame[23]], &length.to_be_bytes()].concat();
    let check_at = if frame[23] == 6 { 50 } else { 40 };
    let partial = !internet_checksum(&pseudo, 0);
    frame[check_at..check_at + 2].copy_from_slice(&partial.to_be_bytes());
    (port, frame)
}

fn examined(lab: &Lab, port: InterfaceId) -> (u64, u64) {
    let (counters, port) = (lab.counters(), port.index());
    (counters.checksums_examined[port].get(), counters.partial_checksums[port].get())
}

#[test]
fn partial_checksums_are_noticed_of_both_protocols_and_on_both_sides() {
    for direction in DIRECTIONS {
        let packets = [tcp(direction, SYN | ACK), tcp(direction, ACK), udp(direction)];
        for packet in packets {
            let mut lab = established();
            let (before, none) = examined(&lab, packet.0);
            assert_eq!(none, 0);
            lab.arrive(packet.0, &packet.1);
            assert_eq!(examined(&lab, packet.0), (before + 1, 0));
            let (port, partial) = with_partial_checksum(packet);
            for number in 1..=3 {
                let left = lab.arrive(port, &partial);
                assert_eq!(left.len(), 1, "it goes on as it came");
                assert_eq!(examined(&lab, port), (before + 1 + number, number));
            }
        }
    }
}

/// The first packet of a connection, too.
#[test]
fn partial_checksums_of_openings_are_noticed() {
    let mut lab = established();
    let (before, _) = examined(&lab, VIP0);
    for packet in [
        Packet::tcp(at(CLIENT, 40000), at(VIP, 80), SYN),
        Packet::udp(at(CLIENT, 40000), at(VIP, 53), b"question"),
    ] {
        let (port, frame) = with_partial_checksum(framed(Direction::Forward, packet));
        assert_eq!(lab.arrive(port, &frame).len(), 1);
    }
    assert_eq!(examined(&lab, VIP0), (before + 2, 2));
    let (port, frame) = udp(Direction::Forward);
    assert_eq!(read(&lab.arrive(port, &frame)[0].bytes).payload, b"payload");
}
