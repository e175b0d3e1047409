//! A frame leaves as long as its packet, and no shorter than a link allows (IEEE 802.3: 60 bytes without the check
//! sequence), however long it came in, and whatever way it takes. Tags that only carry a priority make no difference.

mod support;

use dataplane::frame::BURST;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::InterfaceId;
use dataplane::names::mac::Mac;
use support::packet::{ACK, FIN, Packet, RST, SYN, read, reassemble};
use support::*;

/// What may lie behind a packet: a check sequence, a switch's timestamp, remains of a buffer.
const BEHIND: [usize; 7] = [0, 1, 2, 3, 4, 5, 100];

fn from_client(packet: Packet) -> (InterfaceId, Vec<u8>) {
    (VIP0, packet.macs(CLIENT_MAC, VIP_MAC).frame())
}

fn from_rs1(packet: Packet) -> (InterfaceId, Vec<u8>) {
    (DIP0, packet.macs(RS1_MAC, DIP_MAC).frame())
}

/// An own address asked for.
fn arp_request() -> (InterfaceId, Vec<u8>) {
    let mut frame = [Mac::BROADCAST.0, CLIENT_MAC.0].concat();
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(CLIENT_MAC.0);
    frame.extend(CLIENT.octets());
    frame.extend([0; 6]);
    frame.extend(VIP.octets());
    (VIP0, frame)
}

/// Frames, each of which is answered or goes on, and what way they take. Client port 1000 and 1001 have connections,
/// which rs2 and rs1 serve.
fn on_every_way() -> Vec<(&'static str, (InterfaceId, Vec<u8>))> {
    let (client, other) = (at(CLIENT, 1000), at(CLIENT, 1001));
    let udp = |length| Packet::udp(client, at(VIP, 53), &vec![0x55; length]);
    let cut =
        |packet: Packet| Packet { dont_fragment: false, ..packet }.macs(CLIENT_MAC, VIP_MAC).fragments(60);
    let large = Packet { dont_fragment: false, ..Packet::udp(client, at(VIP, 53), &[0x55; 100]) };
    let quoted = Packet::udp(at(VIP, 53), client, &[1; 30]).datagram();
    let mut pieces = cut(large).into_iter();
    let mut all = vec![
        ("established, an empty datagram", from_client(udp(0))),
        ("established, shorter than a link's frame", from_client(udp(5))),
        ("established, as long as one", from_client(udp(18))),
        ("established, full size", from_client(udp(1472))),
        ("established, TCP", from_client(Packet::tcp(other, at(VIP, 80), ACK))),
        ("a reply", from_rs1(Packet::udp(at(RS1, 5353), other, b"answer"))),
        ("a new connection", from_client(Packet::tcp(at(CLIENT, 2000), at(VIP, 80), SYN))),
        ("a new datagram", from_client(Packet::udp(at(CLIENT, 2000), at(VIP, 53), b"question"))),
        ("with options", from_client(Packet { options: vec![1, 1, 1, 0], ..udp(3) })),
        ("an ICMP error", from_client(Packet::icmp(CLIENT, VIP, [3, 3], [0; 4], &quoted))),
        ("routed", from_client(Packet::udp(client, at(RS1, 9), b"x"))),
        (
            "another protocol, routed",
            from_client(Packet { protocol: 47, ..Packet::icmp(CLIENT, RS1, [0, 0], [0; 4], b"y") }),
        ),
        ("a ping", from_client(Packet::icmp(CLIENT, VIP, [8, 0], [0, 1, 0, 2], b"p"))),
        ("refused by RST", from_client(Packet::tcp(client, at(VIP, 81), SYN))),
        ("refused by ICMP", from_client(Packet::udp(client, at(VIP, 81), b"?"))),
        ("out of hops", from_client(udp(100).ttl(1))),
        ("asked for by ARP", arp_request()),
    ];
    all.extend(pieces.by_ref().take(2).map(|frame| ("a fragment", (VIP0, frame))));
    all.extend(pieces.map(|frame| ("a last fragment", (VIP0, frame))));
    all
}

fn lab_with_connections() -> Lab {
    let mut lab = Lab::serving();
    for port in [1000, 1001] {
        let (vip0, frame) = from_client(Packet::udp(at(CLIENT, port), at(VIP, 53), b"opens"));
        assert_eq!(lab.arrive(vip0, &frame).len(), 1);
        let (_, frame) = from_client(Packet::tcp(at(CLIENT, port), at(VIP, 80), SYN));
        assert_eq!(lab.arrive(vip0, &frame).len(), 1);
    }
    lab
}

/// As the rule says, from what the frame holds.
fn right_length(frame: &[u8]) -> usize {
    match frame[12..14] {
        [8, 0] => (14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]))).max(60),
        _ => 60,
    }
}

fn end_of_packet(frame: &[u8]) -> usize {
    if frame[12..14] == [8, 0] { 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]])) } else { 42 }
}

#[test]
fn a_frame_leaves_as_long_as_its_packet_whatever_way_it_takes() {
    let alone = |behind: usize| {
        let mut lab = lab_with_connections();
        let mut left = Vec::new();
        for (what, (port, frame)) in on_every_way() {
            let bytes = [frame, vec![0xee; behind]].concat();
            let sent = lab.arrive(port, &bytes);
            assert_eq!(sent.len(), 1, "{what}, {behind} behind");
            assert_eq!(sent[0].bytes.len(), right_length(&sent[0].bytes), "{what}, {behind} behind");
            left.push((what, sent[0].bytes[..end_of_packet(&sent[0].bytes)].to_vec()));
        }
        left
    };
    let expected = alone(0);
    for behind in BEHIND {
        assert_eq!(alone(behind), expected, "{behind} behind");
    }
}

/// All at once: those that take the fast path, and those that do not.
#[test]
fn so_do_frames_in_full_bursts() {
    for behind in BEHIND {
        let mut lab = lab_with_connections();
        let packet = |number: usize| {
            let payload = vec![0x55; number * 40];
            from_client(if number.is_multiple_of(2) {
                Packet::udp(at(CLIENT, 1000), at(VIP, 53), &payload)
            } else {
                Packet { payload, ..Packet::tcp(at(CLIENT, 1001), at(VIP, 80), ACK) }
            })
        };
        for number in 0..BURST {
            // Only some have a trailer.
            let behind = if number.is_multiple_of(3) { behind } else { 0 };
            lab.worker.io().arrive(VIP0, &[packet(number).1, vec![0xee; behind]].concat());
        }
        let left = [lab.turn(), lab.turn()].concat();
        assert_eq!(left.len(), BURST);
        for (number, sent) in left.iter().enumerate() {
            assert_eq!(sent.bytes.len(), right_length(&sent.bytes), "{number}, {behind} behind");
            assert_eq!(read(&sent.bytes).payload, vec![0x55; number * 40]);
        }
    }
}

/// The padding of what is made here, and what was cut, holds nothing of what the buffer held before.
#[test]
fn padding_that_we_make_is_zero() {
    let mut lab = lab_with_connections();
    for (what, (port, frame)) in on_every_way() {
        let makes_its_own = frame.len() < 60;
        for behind in [0, 100] {
            if what.starts_with("a new") && behind > 0 {
                continue;
            }
            let sent = lab.arrive(port, &[frame.clone(), vec![0xee; behind]].concat());
            for sent in sent.iter().filter(|_| makes_its_own) {
                let padding = &sent.bytes[end_of_packet(&sent.bytes)..];
                assert!(padding.iter().all(|byte| *byte == 0), "{what}, {behind} behind: {padding:x?}");
            }
        }
    }
}

/// A fragment made here may be short.
#[test]
fn fragments_made_here_are_no_shorter_than_a_link_allows() {
    let mut lab = lab_with_connections();
    lab.description.interfaces[1].mtu = 576;
    lab.apply();
    let packet = Packet { dont_fragment: false, ..Packet::udp(at(CLIENT, 1000), at(VIP, 53), &[0x55; 548]) };
    let sent = lab.arrive(VIP0, &[from_client(packet).1, vec![0xee; 4]].concat());
    assert_eq!(sent.len(), 1, "it fits");
    let packet = Packet { dont_fragment: false, ..Packet::udp(at(CLIENT, 1000), at(VIP, 53), &[0x55; 549]) };
    let sent = lab.arrive(VIP0, &[from_client(packet).1, vec![0xee; 4]].concat());
    let frames: Vec<_> = sent.into_iter().map(|sent| sent.bytes).collect();
    assert_eq!(frames.iter().map(Vec::len).collect::<Vec<_>>(), [14 + 572, 60]);
    assert!(frames[1][end_of_packet(&frames[1])..].iter().all(|byte| *byte == 0));
    assert_eq!(read(&reassemble(&frames)).payload, [0x55; 549]);
}

fn tagged(frame: &[u8], tags: &[[u8; 4]]) -> Vec<u8> {
    [&frame[..12], &tags.concat(), &frame[12..]].concat()
}

const PRIORITIES: [&[[u8; 4]]; 5] = [
    &[[0x81, 0, 0, 0]],
    &[[0x81, 0, 0x60, 0]],
    &[[0x81, 0, 0xf0, 0]],
    &[[0x88, 0xa8, 0x20, 0]],
    &[[0x88, 0xa8, 0, 0], [0x81, 0, 0xe0, 0]],
];

/// IEEE 802.1Q: VLAN number 0 is no VLAN.
#[test]
fn a_frame_with_a_priority_tag_is_one_without_a_tag() {
    let alone = |tags: &[[u8; 4]]| {
        let mut lab = lab_with_connections();
        let left: Vec<_> = on_every_way()
            .into_iter()
            .map(|(what, (port, frame))| (what, lab.arrive(port, &tagged(&frame, tags))))
            .collect();
        assert_eq!(lab.dropped(DropReason::Vlan), 0);
        left
    };
    let expected = alone(&[]);
    assert!(expected.iter().all(|(_, sent)| sent.len() == 1 && sent[0].bytes[12] == 8));
    for tags in PRIORITIES {
        assert_eq!(alone(tags), expected, "{tags:x?}");
    }
}

#[test]
fn a_frame_of_a_vlan_is_dropped() {
    let mut lab = lab_with_connections();
    let mut dropped = 0;
    for tags in [
        &[[0x81, 0, 0, 5]][..],
        &[[0x81, 0, 0xe0, 1]],
        &[[0x81, 0, 0x0f, 0xff]],
        &[[0x88, 0xa8, 0, 7]],
        &[[0x81, 0, 0, 0], [0x81, 0, 0, 5]],
        &[[0x88, 0xa8, 0, 5], [0x81, 0, 0, 0]],
    ] {
        for (what, (port, frame)) in on_every_way() {
            assert_eq!(lab.arrive(port, &tagged(&frame, tags)), [], "{what} {tags:x?}");
            dropped += 1;
            assert_eq!(lab.dropped(DropReason::Vlan), dropped);
        }
    }
}

/// Tagged and untagged ones of one connection stay in order.
#[test]
fn a_burst_with_tags_and_trailers_stays_in_order() {
    let mut lab = lab_with_connections();
    let flags = [ACK, ACK, ACK | FIN, ACK, RST];
    for number in 0..20_u32 {
        let flags = flags[number as usize / 4];
        let packet = Packet { sequence: number, ..Packet::tcp(at(CLIENT, 1000), at(VIP, 80), flags) };
        let (port, frame) = from_client(packet);
        let frame =
            if number.is_multiple_of(3) { tagged(&frame, PRIORITIES[number as usize % 5]) } else { frame };
        lab.worker.io().arrive(port, &[frame, vec![0xee; number as usize % 4]].concat());
    }
    let left: Vec<_> = lab.turn().iter().map(|sent| read(&sent.bytes).sequence).collect();
    assert_eq!(left, (0..20).collect::<Vec<_>>());
}
