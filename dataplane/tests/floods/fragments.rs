//! Floods of fragments.

use super::*;

fn fragment(n: u32, word: u16, payload: &[u8]) -> Frames {
    let packet = Packet { dont_fragment: false, id: n as u16, fragment: word, ..udp_to_flooded(n) };
    in_vip(Packet { payload: payload.to_vec(), ..packet })
}

#[test]
fn first_fragments() {
    let mut outcome = play(Flood { packet: |n| fragment(n, 0x2000, &[0; 24]), answers: silence });
    outcome.assert_unharmed();
    outcome.assert_dropped(&[]);
}

#[test]
fn later_fragments() {
    let mut outcome = play(Flood { packet: |n| fragment(n, 0x2000 | 185, &[0; 24]), answers: silence });
    outcome.assert_unharmed();
    let dropped = |reason| outcome.lab.dropped(reason);
    assert_eq!(dropped(DropReason::FragmentQueueFull) + dropped(DropReason::FragmentExpired), ALL);
}

#[test]
fn later_fragments_of_one_client() {
    let packet = |n| {
        let packet = Packet { dont_fragment: false, id: n as u16, fragment: 185, ..udp_to_flooded(0) };
        in_vip(packet)
    };
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    let dropped = |reason| outcome.lab.dropped(reason);
    assert_eq!(dropped(DropReason::FragmentQueueFull) + dropped(DropReason::FragmentExpired), ALL);
}

#[test]
fn fragments_that_overlap() {
    let packet = |n| fragment(n / 3, [0x2000, 2, 0x2000][n as usize % 3], &[n as u8; 24]);
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    assert!(outcome.lab.dropped(DropReason::FragmentOverlap) > ALL / 4);
}

/// A datagram whose fragments change places is put in order beside each of these floods.
#[test]
fn fragments_of_others_pass_meanwhile() {
    let floods: [fn(u32) -> Frames; 3] = [
        |n| fragment(n, 0x2000, &[0; 24]),
        |n| fragment(n, 0x2000 | 185, &[0; 24]),
        |n| fragment(n / 3, [0x2000, 2, 0x2000][n as usize % 3], &[n as u8; 24]),
    ];
    for packet in floods {
        let mut lab = lab();
        for round in 0..500u32 {
            lab.skip(MILLISECOND);
            let question = Packet::udp(at(CLIENT, 5000), UDP_BESIDE, &[7; 4000]);
            let question = Packet { dont_fragment: false, id: round as u16, ..question };
            let mut pieces = question.macs(CLIENT_MAC, VIP_MAC).fragments(1500);
            pieces.rotate_left(1 + round as usize % 2);
            let mut sent = Vec::new();
            for piece in pieces {
                for (port, frame) in (0..7).flat_map(|n| packet(round * 21 + n)) {
                    lab.worker.io().arrive(port, &frame);
                }
                lab.worker.io().arrive(VIP0, &piece);
                sent.extend(lab.turn());
            }
            let client = CLIENT.octets();
            let mine = sent.into_iter().filter(|sent| sent.port == DIP0 && sent.bytes[26..30] == client);
            let mine: Vec<_> = mine.map(|sent| sent.bytes).collect();
            assert_eq!(mine.len(), 3, "round {round}");
            assert_eq!(read(&reassemble(&mine)).payload, [7; 4000]);
        }
    }
}
