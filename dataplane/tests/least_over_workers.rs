//! Least connections over several workers: how level the reals are where each worker sees its own connections as they
//! are, and the others' as they were when they were last added up.

mod support;

use dataplane::live::elsewhere::Load;
use dataplane::names::ids::{NeighbourKey, RealId, RealKey};
use dataplane::names::mac::Mac;
use dataplane::schedule::Algorithm;
use dataplane::snapshot::Steering;
use std::net::{Ipv4Addr, SocketAddrV4};
use support::cluster::Cluster;
use support::packet::{ACK, Packet, SYN};
use support::*;

/// The VIP and port of the service.
const SERVICE: SocketAddrV4 = SocketAddrV4::new(VIP, 80);
/// Connections that are opened between two additions of the workers' counts.
const BETWEEN: u16 = 40;

/// A service whose reals have equal weights, and clients that stay.
struct Held {
    lab: Lab,
    cluster: Cluster,
    last_port: u16,
}

impl Held {
    fn new(workers: usize, reals: u8) -> Self {
        let mut lab = Lab::new();
        lab.algorithm = Algorithm::WeightedLeastConnection;
        for last in 1..=9 {
            let key = NeighbourKey { interface: DIP0, address: address(last).into() };
            lab.reachable(key, Mac([2, 0, 0, 0, 0, last]));
        }
        configure(&mut lab, reals);
        let cluster = Cluster::new(&lab, workers, Steering::Software);
        Self { lab, cluster, last_port: 1024 }
    }

    fn have(&mut self, reals: u8) {
        configure(&mut self.lab, reals);
        self.cluster.adopt(&self.lab, Steering::Software);
    }

    fn ids(&mut self, reals: u8) -> Vec<RealId> {
        let key = |last| RealKey { service: tcp_service(SERVICE), endpoint: at(address(last), 80).into() };
        (1..=reals).map(|last| self.lab.real_id(key(last))).collect()
    }

    /// So many clients open connections, each with the worker that it belongs to, and these stay.
    fn open(&mut self, count: u16) {
        for _ in 0..count {
            self.last_port += 1;
            let client = at(CLIENT, self.last_port);
            let owner = self.cluster.owner(client);
            for flags in [SYN, ACK] {
                let packet = Packet::tcp(client, SERVICE, flags).macs(CLIENT_MAC, VIP_MAC);
                self.cluster.arrive(owner, VIP0, &packet.frame());
                let sent = self.cluster.turn_one(owner);
                assert_eq!(sent.iter().filter(|sent| sent.port == DIP0).count(), 1);
            }
        }
    }

    /// Each worker is told what the others have now, as the control thread does it every few milliseconds.
    fn add_up(&mut self, reals: &[RealId]) {
        for real in reals {
            let own = self.cluster.controls.iter().map(|control| Load::of(control.counters.real(*real)));
            let own: Vec<_> = own.collect();
            let all = own.iter().copied().fold(Load::default(), |sum, load| sum + load);
            for (control, own) in self.cluster.controls.iter().zip(own) {
                control.elsewhere.set(*real, all - own);
            }
        }
    }

    /// Connections of each real, over all workers.
    fn counts(&self, reals: &[RealId]) -> Vec<u64> {
        reals.iter().map(|real| self.cluster.sum(|counters| counters.real(*real).total.get())).collect()
    }
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 100 + last)
}

fn configure(lab: &mut Lab, reals: u8) {
    let reals = (1..=reals).map(|last| (at(address(last), 80), 1)).collect();
    lab.configure(&[Configured { key: tcp_service(SERVICE), reals }]);
}

fn apart(counts: &[u64]) -> u64 {
    counts.iter().max().unwrap() - counts.iter().min().unwrap()
}

#[test]
fn with_one_worker_reals_are_level_always() {
    let mut held = Held::new(1, 4);
    let reals = held.ids(4);
    for _ in 0..200 {
        held.open(1);
        assert!(apart(&held.counts(&reals)) <= 1, "{:?}", held.counts(&reals));
    }
}

/// Each worker evens out what it sees, so that several do too much of it; but no more than they open meanwhile.
#[test]
fn reals_are_level_within_what_is_opened_before_counts_are_added_up() {
    for workers in [2, 4, 8] {
        let mut held = Held::new(workers, 4);
        let reals = held.ids(4);
        let mut most = 0;
        for _ in 0..60 {
            held.open(BETWEEN);
            most = most.max(apart(&held.counts(&reals)));
            held.add_up(&reals);
        }
        println!("{workers} workers: at most {most} apart, of {:?}", held.counts(&reals));
        assert!(most <= BETWEEN.into(), "{workers} workers: {most} apart");
    }
}

#[test]
fn a_new_real_has_no_more_than_that_beyond_the_others() {
    for workers in [2, 4, 8] {
        let mut held = Held::new(workers, 4);
        let reals = held.ids(5);
        for _ in 0..20 {
            held.open(BETWEEN);
            held.add_up(&reals);
        }
        held.have(5);
        let (mut most, mut periods) = (0, 0);
        for period in 1..40 {
            held.open(BETWEEN);
            let counts = held.counts(&reals);
            let (least, greatest) = (counts[..4].iter().min().unwrap(), counts[..4].iter().max().unwrap());
            most = most.max(counts[4].saturating_sub(*greatest));
            if counts[4] >= *least && periods == 0 {
                periods = period;
            }
            held.add_up(&reals);
        }
        println!("{workers} workers: level after {periods}, at most {most} more than any other");
        // It lacked 200 of 800, and all new connections are its.
        assert!((5..=7).contains(&periods), "{workers} workers: level after {periods}");
        assert!(most <= BETWEEN.into(), "{workers} workers: {most} more than any other");
    }
}
