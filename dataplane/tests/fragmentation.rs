//! Packets longer than the MTU on the way out: cut where they may be.

mod support;

use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::InterfaceId;
use support::packet::{Packet, read, reassemble};
use support::*;

/// A lab whose `port` takes packets of `mtu` bytes at most.
fn with_mtu(port: InterfaceId, mtu: u16) -> Lab {
    let mut lab = Lab::serving();
    lab.description.interfaces[port.index()].mtu = mtu;
    lab.apply();
    lab
}

fn question(length: usize) -> Packet {
    let text: Vec<u8> = (0..length).map(|n| n as u8).collect();
    let packet = Packet::udp(at(CLIENT, 5000), at(VIP, 53), &text).macs(CLIENT_MAC, VIP_MAC);
    Packet { dont_fragment: false, ..packet }
}

fn frames(sent: Vec<Sent>, mtu: usize) -> Vec<Vec<u8>> {
    assert!(sent.iter().all(|sent| sent.bytes.len() <= 14 + mtu), "none is longer than the MTU");
    sent.into_iter().map(|sent| sent.bytes).collect()
}

#[test]
fn translated_packets_are_cut_in_both_directions() {
    let mut lab = with_mtu(DIP0, 600);
    let sent = frames(lab.arrive(VIP0, &question(1472).frame()), 600);
    assert_eq!(sent.len(), 3);
    let seen = read(&reassemble(&sent));
    assert_eq!((seen.source, seen.destination.port(), seen.ttl), (at(CLIENT, 5000), 5353, 63));
    assert_eq!(seen.payload, question(1472).payload);
    let counters = lab.counters();
    assert_eq!((counters.fragmented.get(), counters.fragments_made.get()), (1, 3));

    let mut lab = with_mtu(VIP0, 600);
    let seen = read(&lab.arrive(VIP0, &question(100).frame())[0].bytes);
    let reply = Packet::udp(seen.destination, seen.source, &[9; 1472]).macs(RS2_MAC, DIP_MAC);
    let reply = Packet { dont_fragment: false, ..reply };
    let seen = read(&reassemble(&frames(lab.arrive(DIP0, &reply.frame()), 600)));
    assert_eq!((seen.source, seen.destination), (at(VIP, 53), at(CLIENT, 5000)));
    assert_eq!((seen.payload, seen.to_mac), (reply.payload, CLIENT_MAC));
    assert_eq!(lab.worker.io().live_frames(), 0);
}

#[test]
fn routed_packets_and_fragments_are_cut_too() {
    let mut lab = with_mtu(DIP0, 600);
    let routed = Packet { destination: at(RS1, 9), ..question(1472) };
    let seen = read(&reassemble(&frames(lab.arrive(VIP0, &routed.frame()), 600)));
    assert_eq!((seen.destination, seen.payload), (at(RS1, 9), routed.payload));
    // The fragments of a datagram, each cut again.
    let large = question(4000);
    let sent: Vec<_> = large.fragments(1500).iter().flat_map(|frame| lab.arrive(VIP0, frame)).collect();
    let sent = frames(sent, 600);
    assert!(sent.len() > 6);
    assert_eq!(read(&reassemble(&sent)).payload, large.payload);
    assert_eq!(lab.counters().fragmented.get(), 4);
}

#[test]
fn with_df_the_sender_is_told_once_a_datagram() {
    let mut lab = with_mtu(DIP0, 600);
    let sent: Vec<_> = question(4000)
        .fragments(1500)
        .into_iter()
        .flat_map(|mut frame| {
            frame[20] |= 0x40;
            support::packet::seal(&mut frame);
            lab.arrive(VIP0, &frame)
        })
        .collect();
    assert_eq!(sent.len(), 1, "about the first fragment only (RFC 1122)");
    let seen = read(&sent[0].bytes);
    assert_eq!((seen.protocol, &seen.payload[..2], &seen.payload[6..8]), (1, &[3, 4][..], &[2, 88][..]));
    assert_eq!((lab.dropped(DropReason::TooBig), lab.dropped(DropReason::FragmentRefused)), (1, 2));
}

#[test]
fn options_are_copied_as_their_flag_says() {
    let mut lab = with_mtu(DIP0, 600);
    // Router alert is copied into all fragments, type 10 is not.
    let packet = Packet { options: vec![148, 4, 0, 0, 10, 3, 4, 0], ..question(1400) };
    let sent = frames(lab.arrive(VIP0, &packet.frame()), 600);
    assert_eq!(sent[0][34..42], packet.options);
    assert_eq!(sent[1][34..42], [148, 4, 0, 0, 1, 1, 1, 0]);
    assert_eq!(read(&reassemble(&sent)).payload, packet.payload);
}

#[test]
fn all_fragments_leave_or_none() {
    let mut lab = with_mtu(DIP0, 600);
    lab.worker.io().pool_size = Some(2); // the packet itself takes one
    assert_eq!(lab.arrive(VIP0, &question(1472).frame()), []);
    assert_eq!((lab.dropped(DropReason::NoBuffer), lab.worker.io().live_frames()), (1, 0));
    lab.worker.io().pool_size = Some(3);
    assert_eq!(lab.arrive(VIP0, &question(1472).frame()).len(), 3);
    // A device that takes nothing: some frames wait, the others are counted.
    lab.worker.io().pool_size = None;
    lab.worker.io().transmit_limit = Some(0);
    for _ in 0..20 {
        lab.arrive(VIP0, &question(1472).frame());
    }
    assert_eq!(lab.dropped(DropReason::TransmitFull), 60 - 32);
    assert_eq!(lab.worker.io().live_frames(), 32);
}
