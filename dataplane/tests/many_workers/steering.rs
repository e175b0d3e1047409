//! By device or by software: which worker gets a packet, and what is counted of it.

use super::*;

#[test]
fn steered_by_the_device_nothing_but_errors_is_handed_over() {
    for workers in [2, 3, 4] {
        let cluster = compare(workers, Spread::Right, Steering::Device);
        assert_eq!(misdirected(&cluster), 0);
        let handed_over = cluster.sum(|counters| counters.handed_over.get());
        assert!((1..1200).contains(&handed_over), "{handed_over} of 8000, the ICMP errors are some 1140");
    }
}

#[test]
fn what_the_device_puts_wrong_is_handed_over_and_counted() {
    for workers in [2, 4] {
        let cluster = compare(workers, Spread::ByFlow, Steering::Device);
        assert!(misdirected(&cluster) > 1600, "{}", misdirected(&cluster));
    }
    let cluster = compare(2, Spread::One, Steering::Device);
    assert_eq!(cluster.counters(1).rx_packets.get(), 0);
    assert!(cluster.counters(1).taken_over.get() > 1600);
}

#[test]
fn steered_by_software_every_spread_is_right() {
    for (workers, spread) in [(2, Spread::Right), (2, Spread::ByFlow), (3, Spread::ByFlow), (4, Spread::One)]
    {
        let cluster = compare(workers, spread, Steering::Software);
        assert_eq!(misdirected(&cluster), 0, "there is no device to blame");
        for worker in 0..workers {
            assert!(cluster.counters(worker).connections.get() > 20, "each has its share");
        }
    }
}

/// A device may put them anywhere, and a client that sends them would have its steering taken.
#[test]
fn what_no_device_can_tell_by_its_ports_is_not_held_against_it() {
    let lab = one_real_each();
    let mut cluster = Cluster::new(&lab, 2, Steering::Device);
    let client = cluster.client_of(1, 40000);
    let ask = || Packet::udp(client, at(VIP, 53), b"?").macs(CLIENT_MAC, VIP_MAC);
    let with_options = Packet { options: vec![1; 4], ..ask() }.frame();
    let mut wrong_checksum = ask().frame();
    wrong_checksum[24] ^= 1;
    let mut cut_short = Packet::tcp(client, at(VIP, 80), SYN).macs(CLIENT_MAC, VIP_MAC).datagram();
    cut_short.truncate(22);
    cut_short[2..4].copy_from_slice(&22u16.to_be_bytes());
    let check = support::packet::internet_checksum(&[&cut_short[..10], &cut_short[12..20]].concat(), 0);
    cut_short[10..12].copy_from_slice(&check.to_be_bytes());
    let cut_short = [&ask().frame()[..14], &cut_short].concat();
    for frame in [&with_options, &wrong_checksum, &cut_short] {
        cluster.arrive(0, VIP0, frame);
        cluster.settle();
    }
    assert_eq!(misdirected(&cluster), 0);
    assert_eq!(cluster.counters(0).handed_over.get(), 3);
    cluster.arrive(0, VIP0, &ask().frame());
    assert_eq!((cluster.settle().len(), misdirected(&cluster)), (1, 1));
}

/// On a one-arm port the device is blamed for either direction, and only for what it puts wrong.
#[test]
fn one_arm_packets_in_the_wrong_queue_are_handed_over_and_counted() {
    let mut lab = one_real_each();
    lab.description.interfaces[VIP0.index()].side = Side::Both;
    lab.description.interfaces[VIP0.index()].addresses.push("10.0.0.8/24".parse().unwrap());
    lab.description.interfaces.truncate(1);
    for real in &mut lab.description.reals {
        real.next_hop = NextHopId::UNKNOWN;
    }
    lab.apply();
    lab.reachable(NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(RS2) }, RS2_MAC);
    let mut cluster = Cluster::new(&lab, 3, Steering::Device);
    for port in 40000..40300 {
        let client = at(CLIENT, port);
        let (owner, wrong) = (cluster.owner(client), u64::from(port % 10 == 0));
        let queue = (owner + usize::from(wrong == 1)) % 3;
        let ask = Packet::udp(client, at(VIP, 53), b"?").macs(CLIENT_MAC, VIP_MAC);
        let answer = Packet::udp(at(RS2, 5353), client, b"!").macs(RS2_MAC, VIP_MAC);
        let before = misdirected(&cluster);
        for (packet, to) in [(ask, at(RS2, 5353)), (answer, client)] {
            cluster.arrive(queue, VIP0, &packet.frame());
            let sent = cluster.settle();
            assert_eq!(sent.iter().map(|sent| read(&sent.bytes).destination).collect::<Vec<_>>(), [to]);
        }
        assert_eq!(misdirected(&cluster) - before, 2 * wrong, "{client}");
    }
    assert_eq!(cluster.sum(|counters| counters.handed_over.get()), 60);
    assert_eq!(cluster.sum(|counters| counters.connections_created.get()), 300);
}

#[test]
fn few_connections_spread_whichever_workers_they_reach() {
    let lab = Lab::serving();
    let mut cluster = Cluster::new(&lab, 2, Steering::Software);
    let mut reals = Vec::new();
    for (worker, from) in [(0, 40000), (1, 40000), (0, 41000), (1, 41000)] {
        let client = cluster.client_of(worker, from);
        cluster.arrive(0, VIP0, &Packet::tcp(client, at(VIP, 80), SYN).macs(CLIENT_MAC, VIP_MAC).frame());
        reals.push(*read(&cluster.settle()[0].bytes).destination.ip());
    }
    assert_eq!(reals, [RS2, RS1, RS1, RS2], "each in the kernel's order, begun one pick apart");
}

#[test]
fn what_has_no_client_stays_where_it_lands() {
    let lab = one_real_each();
    for steering in [Steering::Software, Steering::Device] {
        let mut cluster = Cluster::new(&lab, 2, steering);
        let ping = Packet::icmp(CLIENT, VIP, [8, 0], [1, 2, 3, 4], b"ping").macs(CLIENT_MAC, VIP_MAC).frame();
        let far = Ipv4Addr::new(192, 168, 10, 7);
        let other = Packet::icmp(RS1, far, [8, 0], [0; 4], b"through").macs(RS1_MAC, DIP_MAC).frame();
        let arp =
            dataplane::wire::arp::request(CLIENT_MAC, CLIENT, VIP, dataplane::names::mac::Mac::BROADCAST);
        for worker in [0, 1] {
            cluster.arrive(worker, VIP0, &ping);
            cluster.arrive(worker, VIP0, &arp);
            cluster.arrive(worker, DIP0, &other);
            let out = cluster.turn_one(worker);
            assert_eq!(out.len(), 2, "{out:?}");
        }
        assert_eq!(cluster.sum(|counters| counters.handed_over.get()), 0);
    }
}

/// Falling back to software changes nothing for connections that are there.
#[test]
fn connections_live_on_when_steering_changes() {
    let lab = one_real_each();
    let mut cluster = Cluster::new(&lab, 2, Steering::Device);
    let clients = [cluster.client_of(0, 40000), cluster.client_of(1, 40000)];
    for steering in [Steering::Device, Steering::Software, Steering::Device] {
        cluster.adopt(&lab, steering);
        for (queue, client) in [(0, clients[0]), (0, clients[1]), (1, clients[0]), (1, clients[1])] {
            cluster.arrive(
                queue,
                VIP0,
                &Packet::udp(client, at(VIP, 53), b"?").macs(CLIENT_MAC, VIP_MAC).frame(),
            );
            cluster.arrive(
                queue,
                DIP0,
                &Packet::udp(at(RS2, 5353), client, b"!").macs(RS2_MAC, DIP_MAC).frame(),
            );
            assert_eq!(cluster.settle().len(), 2);
        }
    }
    assert_eq!(cluster.sum(|counters| counters.connections_created.get()), 2);
}

/// Walks all that workers write in steady state: no cache line belongs to two of them.
#[test]
fn no_cache_line_is_written_by_two_workers() {
    const LINE: usize = 64;
    let cluster = compare(4, Spread::ByFlow, Steering::Software);
    let mut lines: HashMap<usize, usize> = HashMap::new();
    for (worker, of) in cluster.workers.iter().enumerate() {
        let footprint = of.footprint();
        assert!(footprint.iter().all(|range| !range.is_empty()));
        for line in footprint.into_iter().flat_map(|range| range.start / LINE..range.end.div_ceil(LINE)) {
            let other = *lines.entry(line).or_insert(worker);
            assert_eq!(other, worker, "line {:#x}", line * LINE);
        }
    }
    // Tables, counters of 65,536 reals …: it is not an empty walk.
    assert!(lines.len() > 4 * 65_536, "{}", lines.len());
}

/// Fragments have no ports but in the first: all of a client meet on one worker, and go on to the one
/// that has its connection.
#[test]
fn fragments_reach_their_connections_worker() {
    for (workers, steering) in [(2, Steering::Software), (3, Steering::Device)] {
        let lab = one_real_each();
        let mut cluster = Cluster::new(&lab, workers, steering);
        let text: Vec<u8> = (0..4000u32).map(|n| (n * 31) as u8).collect();
        for (number, client) in (0..30u16).map(|n| (n, at(CLIENT, 40000 + n))) {
            let id = 100 + number;
            let question = Packet { id, dont_fragment: false, ..Packet::udp(client, at(VIP, 53), &text) };
            let answer = Packet { id, dont_fragment: false, ..Packet::udp(at(RS2, 5353), client, &text) };
            let ways = [
                (VIP0, question.macs(CLIENT_MAC, VIP_MAC), at(RS2, 5353)),
                (DIP0, answer.macs(RS2_MAC, DIP_MAC), client),
            ];
            for (port, packet, destination) in ways {
                let mut fragments = packet.fragments(1500);
                fragments.rotate_left(usize::from(number) % 3);
                for (index, fragment) in fragments.iter().enumerate() {
                    cluster.arrive((index + usize::from(number)) % workers, port, fragment);
                }
                let sent: Vec<_> = cluster.settle().into_iter().map(|sent| sent.bytes).collect();
                assert_eq!(sent.len(), 3, "{client}");
                let seen = read(&support::packet::reassemble(&sent));
                assert_eq!((seen.destination, &seen.payload), (destination, &text));
            }
            // A whole packet of that connection is found by its owner.
            let whole = Packet::udp(client, at(VIP, 53), b"?").macs(CLIENT_MAC, VIP_MAC);
            cluster.arrive(usize::from(number) % workers, VIP0, &whole.frame());
            assert_eq!(cluster.settle().len(), 1);
            let entry = cluster.counters(cluster.owner(client)).connections.get();
            assert!(entry > 0, "{client}");
        }
        assert_eq!(cluster.sum(|counters| counters.connections_created.get()), 30);
        assert!(DropReason::ALL.iter().all(|reason| cluster.dropped(*reason) == 0));
    }
}
