//! The rings between workers: their order, their bounds, and who waits for what.

use super::*;

/// Full rings drop; what is left is in order, also among frames that come and go meanwhile.
#[test]
fn a_slow_owner_costs_packets_but_not_their_order() {
    for steering in [Steering::Software, Steering::Device] {
        let lab = one_real_each();
        let mut cluster = Cluster::new(&lab, 2, steering);
        let clients = [cluster.client_of(0, 40000), cluster.client_of(0, 41000), cluster.client_of(0, 42000)];
        let mut random = Random(5);
        let mut last: HashMap<u16, u32> = HashMap::new();
        let (mut number, mut left) = (0u32, 0u64);
        for round in 0..400 {
            // Worker 1 receives; its owner, worker 0, turns now and then.
            for _ in 0..random.below(64) {
                let mut packet = Packet::udp(clients[random.below(3) as usize], at(VIP, 53), b"");
                packet.payload = number.to_be_bytes().to_vec();
                number += 1;
                cluster.arrive(1, VIP0, &packet.macs(CLIENT_MAC, VIP_MAC).frame());
            }
            let mut sent = cluster.turn_one(1);
            if round % 100 >= 90 || round > 380 {
                sent.extend(cluster.turn_one(0));
            }
            for sent in sent {
                let seen = read(&sent.bytes);
                let sequence = u32::from_be_bytes(seen.payload[..4].try_into().unwrap());
                let before = last.insert(seen.source.port(), sequence);
                assert!(before.is_none_or(|before| before < sequence), "{before:?} before {sequence}");
                left += 1;
            }
        }
        let rest: Vec<_> = (0..5).flat_map(|_| cluster.settle()).collect();
        for sent in rest {
            let seen = read(&sent.bytes);
            let sequence = u32::from_be_bytes(seen.payload[..4].try_into().unwrap());
            let before = last.insert(seen.source.port(), sequence);
            assert!(before.is_none_or(|before| before < sequence), "{before:?} before {sequence}");
            left += 1;
        }
        let dropped = cluster.dropped(DropReason::HandOverFull);
        assert!(dropped > 100, "the test is to fill the ring, {dropped} were dropped");
        assert_eq!(left + dropped, u64::from(number));
        assert_eq!(cluster.counters(1).connections_created.get(), 0);
    }
}

/// The first configuration reaches one worker before another, which may get frames before it.
#[test]
fn frames_wait_for_a_worker_that_has_no_configuration_yet() {
    let lab = one_real_each();
    let mut cluster = Cluster::unconfigured(&lab, 2, &[]);
    cluster.begin(0..1, &lab, Steering::Software);
    let client = cluster.client_of(1, 40000);
    cluster.turn_one(0);
    for number in 0..40u8 {
        let packet = Packet::udp(client, at(VIP, 53), &[number]).macs(CLIENT_MAC, VIP_MAC);
        cluster.arrive(0, VIP0, &packet.frame());
    }
    assert!(cluster.settle().is_empty());
    cluster.begin(1..2, &lab, Steering::Software);
    let seen: Vec<u8> = cluster.settle().iter().map(|sent| read(&sent.bytes).payload[0]).collect();
    assert_eq!(seen, (0..40).collect::<Vec<_>>());
}

/// However many others have frames for a worker, its turn ends; and all of them get their share.
#[test]
fn a_turn_takes_a_bounded_number_of_frames_fairly() {
    for busy in [7, 4, 3] {
        take_fairly(busy);
    }
}

/// So many of seven others have frames.
fn take_fairly(busy: usize) {
    const EACH: u32 = 896;
    let lab = one_real_each();
    let mut cluster = Cluster::new(&lab, 8, Steering::Software);
    let client = cluster.client_of(0, 40000);
    for peer in 1..=busy {
        for number in 0..EACH {
            let text = [peer as u32, number].map(u32::to_be_bytes).concat();
            let packet = Packet::udp(client, at(VIP, 53), &text).macs(CLIENT_MAC, VIP_MAC);
            cluster.arrive(peer, VIP0, &packet.frame());
        }
        (0..EACH / 32).for_each(|_| assert!(cluster.turn_one(peer).is_empty()));
    }
    let mut seen = [0; 8];
    let mut turns = 0;
    while seen.iter().sum::<u32>() < busy as u32 * EACH {
        turns += 1;
        let before = cluster.counters(0).taken_over.get();
        for sent in cluster.turn_one(0) {
            let payload = read(&sent.bytes).payload;
            let [peer, number] = [0, 4].map(|at| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap()));
            assert_eq!(number, seen[peer as usize], "in order");
            seen[peer as usize] += 1;
        }
        let taken = cluster.counters(0).taken_over.get() - before;
        assert!(taken <= 256, "{taken} in one turn");
        // One peer may be a turn ahead, and the last burst may not have left yet.
        let (most, least) = (seen[1..=busy].iter().max().unwrap(), seen[1..=busy].iter().min().unwrap());
        assert!(most - least <= 2 * 112, "{seen:?}");
        assert!(turns < 36, "{seen:?}");
    }
    assert_eq!(cluster.dropped(DropReason::HandOverFull), 0);
}

/// A full burst waits to be resolved until the next is decoded. If all that comes is handed over, none is.
#[test]
fn a_full_burst_does_not_wait_while_only_others_packets_come() {
    let lab = one_real_each();
    let mut cluster = Cluster::new(&lab, 2, Steering::Software);
    let [own, other] = [0, 1].map(|worker| {
        Packet::udp(cluster.client_of(worker, 40000), at(VIP, 53), b"?").macs(CLIENT_MAC, VIP_MAC).frame()
    });
    for _ in 0..dataplane::frame::BURST {
        cluster.arrive(0, VIP0, &own);
    }
    let mut sent = cluster.turn_one(0).len();
    cluster.arrive(0, VIP0, &other);
    sent += cluster.turn_one(0).len();
    assert_eq!(sent, dataplane::frame::BURST);
}
