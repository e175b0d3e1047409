//! Floods that ask for neighbours, claim to be some, or keep packets waiting for them.

use super::*;

/// Requests, answers to none and announcements, by hosts that are not there.
#[test]
fn arp_messages() {
    let packet = |n: u32| {
        let sender = Ipv4Addr::from_bits(0x0a00_0000 | n & 0xff_ffff | 0x100);
        let mac = Mac([2, 9, 0, (n >> 16) as u8, (n >> 8) as u8, n as u8]);
        let mut message =
            arp::request(mac, sender, if n.is_multiple_of(4) { sender } else { VIP }, Mac::BROADCAST)
                .to_vec();
        if n % 4 > 1 {
            message[21] = 2; // a reply
            message[..6].copy_from_slice(&VIP_MAC.0);
            message[32..38].copy_from_slice(&VIP_MAC.0);
        }
        vec![(VIP0, message)]
    };
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
}

/// An ARP reply to us of a host with this address and MAC.
fn arp_reply(sender: Ipv4Addr, mac: Mac, (target, target_mac): (Ipv4Addr, Mac)) -> Vec<u8> {
    let mut message = arp::request(mac, sender, target, target_mac).to_vec();
    message[21] = 2;
    message[..6].copy_from_slice(&target_mac.0);
    message[32..38].copy_from_slice(&target_mac.0);
    message
}

/// Whether a real still has its MAC is asked each half minute: its answers are heard beside those of a hundred thousand
/// hosts a second that are not there, on its own link too, also while the control thread is busy for a while.
#[test]
fn a_reals_answer_is_heard_among_answers_of_others() {
    for port in [VIP0, DIP0] {
        let mut lab = lab();
        let (us, net) =
            if port == VIP0 { ((VIP, VIP_MAC), 0xc0a8_0a00) } else { ((DIP, DIP_MAC), 0x0a00_0000) };
        let mut heard = 0;
        for round in 0..2_000u32 {
            lab.skip(MILLISECOND);
            for n in 0..100 {
                let host = Ipv4Addr::from_bits(net + 0x80 + n % 100);
                let mac = Mac([2, 9, 0, 0, (round >> 8) as u8, n as u8]);
                lab.worker.io().arrive(port, &arp_reply(host, mac, us));
            }
            lab.worker.io().arrive(DIP0, &arp_reply(RS1, RS1_MAC, (DIP, DIP_MAC)));
            for _ in 0..5 {
                lab.turn();
            }
            // The control thread looks each twenty milliseconds.
            while let Some(event) =
                Some(()).filter(|()| round % 20 == 19).and_then(|()| lab.control.neighbour_events.pop().ok())
            {
                let key = NeighbourKey { interface: DIP0, address: std::net::IpAddr::V4(RS1) };
                heard += u32::from(
                    matches!(event, NeighbourEvent::Heard { key: of, reply: true, .. } if of == key),
                );
            }
        }
        assert_eq!(heard, 2_000);
    }
}

/// Their answers wait for a next hop that is not there.
#[test]
fn clients_of_the_link_that_are_not_there() {
    let floods: [fn(u32) -> Frames; 2] = [
        |n| in_vip(Packet::tcp(of_the_link(n), FLOODED, SYN)),
        |n| in_vip(Packet::udp(of_the_link(n), FLOODED, b"?")),
    ];
    for packet in floods {
        let mut outcome = play(Flood {
            packet,
            answers: |seen| if seen.protocol == 17 { echo(seen) } else { listens(seen) },
        });
        outcome.assert_unharmed();
        let dropped = |reason| outcome.lab.dropped(reason);
        let unresolved = dropped(DropReason::NextHopQueueFull) + dropped(DropReason::NextHopUnresolved);
        let late = dropped(DropReason::RealWithoutConnection);
        assert_eq!(unresolved + late, ALL - u64::from(AT_ONCE), "each answer but those that came last");
        assert!(late < ALL / 20, "{late}");
    }
}

/// Packets that are routed through to hosts that are not there.
#[test]
fn packets_to_reals_that_are_not_there() {
    let packet = |n: u32| {
        let to = at(Ipv4Addr::from_bits(0x0a00_0080 + n % 100), 7);
        in_vip(Packet::udp(made_up(n), to, b"?"))
    };
    play(Flood { packet, answers: silence }).assert_unharmed();
}

/// A host of the link becomes known while such a flood goes on.
#[test]
fn a_neighbour_is_resolved_meanwhile() {
    let mut lab = lab();
    let host = at(Ipv4Addr::new(192, 168, 10, 77), 4000);
    let mut real = None;
    for n in 0..2_000u32 {
        lab.skip(MILLISECOND / 20);
        let to = at(Ipv4Addr::from_bits(0x0a00_0080 + n % 100), 7);
        let packet =
            if n == 1_990 { Packet::tcp(host, OPENING, SYN) } else { Packet::udp(made_up(n), to, b"?") };
        let sent = lab.arrive(VIP0, &from_client(packet));
        let sent = sent.iter().map(|sent| read(&sent.bytes));
        real = real.or(sent.filter(|seen| seen.source == host).map(|seen| seen.destination).next());
    }
    let answer = Packet::tcp(real.unwrap(), host, SYN | ACK);
    assert!(lab.arrive(DIP0, &from_real(answer)).is_empty());
    let back = lab.reachable(
        NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(*host.ip()) },
        Mac([2, 0, 0, 0, 0x10, 77]),
    );
    assert!(back.iter().any(|sent| sent.port == VIP0 && read(&sent.bytes).destination == host));
}
