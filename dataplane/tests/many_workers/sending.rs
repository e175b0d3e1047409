//! Workers that send for others.

use super::*;

#[test]
fn a_worker_without_a_transmit_queue_sends_through_another() {
    let lab = one_real_each();
    let senders = [(1, DIP0, 0), (0, VIP0, 1)];
    let mut cluster = Cluster::with_senders(&lab, 2, Steering::Software, &senders);
    let client = cluster.client_of(1, 40000);
    let mut expected = Vec::new();
    for number in 0..50u8 {
        let packet = Packet::udp(client, at(VIP, 53), &[number]).macs(CLIENT_MAC, VIP_MAC);
        cluster.arrive(1, VIP0, &packet.frame());
        expected.push(number);
    }
    let out = cluster.settle();
    let seen: Vec<u8> = out.iter().map(|sent| read(&sent.bytes).payload[0]).collect();
    assert_eq!(seen, expected);
    assert!(out.iter().all(|sent| sent.port == DIP0));
    let counts = |worker: usize| {
        let counters = cluster.counters(worker);
        [counters.rx_packets.get(), counters.tx_packets.get(), counters.sent_by_others.get()]
    };
    assert_eq!((counts(0), counts(1)), ([0, 50, 0], [50, 0, 50]));
    // An ARP reply of worker 0 goes out by worker 1.
    let request =
        dataplane::wire::arp::request(CLIENT_MAC, CLIENT, VIP, dataplane::names::mac::Mac::BROADCAST);
    cluster.arrive(0, VIP0, &request);
    assert_eq!(cluster.settle().len(), 1);
    assert_eq!(cluster.counters(1).tx_packets.get(), 1);
}

/// A queue that the chip does not have takes nothing once its ring is full. It is reported, and another worker can
/// send.
#[test]
fn a_transmit_queue_that_stands_still_is_told_and_left() {
    let lab = one_real_each();
    let mut cluster = Cluster::with_senders(&lab, 2, Steering::Software, &[]);
    cluster.workers[1].io().stands = Some(DIP0.eth_port());
    let client = cluster.client_of(1, 40000);
    let send = |cluster: &mut Cluster, count: u8| {
        for number in 0..count {
            let packet = Packet::udp(client, at(VIP, 53), &[number]).macs(CLIENT_MAC, VIP_MAC);
            cluster.arrive(1, VIP0, &packet.frame());
        }
        cluster.settle()
    };
    let stands = |cluster: &Cluster| {
        let told = |worker: usize| {
            [VIP0, DIP0].map(|port| cluster.counters(worker).transmit_stands[port.index()].get())
        };
        [told(0), told(1)]
    };
    assert_eq!(send(&mut cluster, 60), []);
    let first = stands(&cluster);
    assert!(first[1][1] > 0 && first[0] == [0, 0] && first[1][0] == 0, "{first:?}");
    assert_eq!(cluster.counters(1).dropped(DropReason::TransmitFull).get(), 60 - 32);
    // It grows for as long as nothing is taken, whether more comes or not.
    assert_eq!(cluster.settle(), []);
    let second = stands(&cluster);
    assert!(second[1][1] > first[1][1], "{second:?}");
    // A slow device takes a little, which is no standing still.
    cluster.workers[1].io().stands = None;
    cluster.workers[1].io().transmit_limit = Some(1);
    cluster.turn();
    assert_eq!(stands(&cluster), [[0; 2]; 2]);
    cluster.workers[1].io().transmit_limit = None;
    assert_eq!(cluster.settle().len(), 31);

    cluster.workers[1].io().stands = Some(DIP0.eth_port());
    assert_eq!(send(&mut cluster, 20), []);
    assert!(stands(&cluster)[1][1] > 0);
    let order = Order::SendThrough { port: DIP0.eth_port(), worker: 0 };
    cluster.controls[1].orders.push(order).unwrap();
    let out = send(&mut cluster, 20);
    assert_eq!(out.len(), 40, "what waited leaves as well");
    assert!(out.iter().all(|sent| sent.port == DIP0));
    assert_eq!(stands(&cluster), [[0; 2]; 2]);
    // Orders that make no sense change nothing.
    for (port, worker) in [(DIP0, 2), (InterfaceId(200), 0), (VIP0, 1)] {
        cluster.controls[1].orders.push(Order::SendThrough { port: port.eth_port(), worker }).unwrap();
    }
    assert_eq!(send(&mut cluster, 5).len(), 5);
}

/// Otherwise the loop would put it to sleep, and its load would be shown as none.
#[test]
fn a_worker_that_only_sends_for_others_is_busy() {
    let lab = one_real_each();
    let mut cluster = Cluster::with_senders(&lab, 2, Steering::Software, &[(1, DIP0, 0)]);
    let client = cluster.client_of(1, 40000);
    let busy_before = cluster.counters(0).busy_turns.get();
    for turn in 1..=10 {
        cluster.arrive(1, VIP0, &Packet::udp(client, at(VIP, 53), b"?").macs(CLIENT_MAC, VIP_MAC).frame());
        cluster.turn_one(1);
        let now = Now { nanoseconds: lab.now().nanoseconds + turn * 1_000_000 };
        assert_eq!(cluster.workers[0].turn(now), 1);
    }
    assert_eq!(cluster.counters(0).busy_turns.get() - busy_before, 9, "of the last, the end is not known");
    assert_eq!(cluster.counters(0).taken_over.get(), 0, "it has not handled them");
}
