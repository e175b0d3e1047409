use super::*;
use crate::text::services::Listen;
use dataplane::names::family::V4;
use dataplane::names::ids::Protocol;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};

/// Workers that have counted this much.
#[derive(Default)]
struct Counted {
    packets: RefCell<HashMap<RealId, u64>>,
    /// How often they were read.
    reads: Cell<usize>,
}

impl Counted {
    fn add(&self, id: u32, packets: u64) {
        *self.packets.borrow_mut().entry(RealId(id)).or_default() += packets;
    }
}

impl Reader for Counted {
    fn read(&self, id: RealId) -> Traffic {
        self.reads.set(self.reads.get() + 1);
        let in_packets = self.packets.borrow().get(&id).copied().unwrap_or(0);
        Traffic { in_packets, ..Traffic::default() }
    }
}

fn web() -> ServiceKey {
    "tcp://192.168.10.100:80".parse::<Listen>().unwrap().0
}

/// A real whose id is its last octet.
fn real(host: u8) -> RealKey {
    RealKey { service: web(), endpoint: format!("10.0.0.{host}:80").parse().unwrap() }
}

fn id(key: &RealKey) -> Option<RealId> {
    Some(RealId(V4::bits(key.endpoint.ip())? & 0xff))
}

/// With the service, if any, whose reals these are.
fn publish(statistics: &mut Statistics, hosts: Option<&[u8]>, counted: &Counted) {
    let open = statistics.services.get(&web());
    let was_there = open.is_some_and(|service| service.own.is_some());
    let before: Vec<RealKey> = open.into_iter().flat_map(in_service).collect();
    let now: Vec<RealKey> = hosts.into_iter().flatten().map(|host| real(*host)).collect();
    let is_there = hosts.is_some();
    let of_service = |is_so: bool| Vec::from_iter(is_so.then(web));
    let only_in = |one: &[RealKey], other: &[RealKey]| -> Vec<RealKey> {
        one.iter().filter(|key| !other.contains(key)).copied().collect()
    };
    let mut arrived = Arrived {
        services: of_service(is_there && !was_there),
        reals: only_in(&now, &before).iter().map(|key| (*key, id(key).unwrap())).collect(),
    };
    let mut left = Left { services: of_service(was_there && !is_there), reals: only_in(&before, &now) };
    // In slices of one.
    while !arrived.is_empty() {
        statistics.open(&mut arrived, 1, counted);
    }
    while !left.is_empty() {
        statistics.close(&mut left, 1, counted);
    }
    let mut open: Vec<RealKey> = statistics.services.get(&web()).into_iter().flat_map(in_service).collect();
    open.sort();
    assert_eq!(open, now.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
    assert!(open.iter().all(|key| statistics.id(key) == id(key)));
}

fn in_service(service: &ServiceAccount) -> impl Iterator<Item = RealKey> {
    let open = service.reals.iter().filter(|(_, real)| real.in_service);
    open.map(|(endpoint, _)| RealKey { service: web(), endpoint: *endpoint })
}

fn totals(statistics: &mut Statistics, counted: &Counted) -> (u64, u64, u64) {
    statistics.collect(None, counted);
    let real = |host| statistics.real(&real(host)).0.in_packets;
    (statistics.service(&web()).0.in_packets, real(7), real(17))
}

#[test]
fn traffic_counts_only_in_service_and_the_service_keeps_what_its_removed_reals_had() {
    let (mut statistics, counted) = (Statistics::default(), Counted::default());
    counted.add(7, 1000);
    publish(&mut statistics, Some(&[7, 17]), &counted);
    counted.add(7, 10);
    counted.add(17, 5);
    assert_eq!(totals(&mut statistics, &counted), (15, 10, 5));
    publish(&mut statistics, Some(&[17]), &counted);
    counted.add(7, 100);
    counted.add(17, 1);
    assert_eq!(totals(&mut statistics, &counted), (16, 10, 6), "stragglers of a removed real don't count");
    publish(&mut statistics, Some(&[17, 7]), &counted);
    counted.add(7, 2);
    assert_eq!(totals(&mut statistics, &counted), (18, 12, 6), "what it had is back with it");
}

#[test]
fn zero_is_a_new_beginning() {
    let (mut statistics, counted) = (Statistics::default(), Counted::default());
    publish(&mut statistics, Some(&[7, 17]), &counted);
    counted.add(7, 10);
    statistics.begin_renewal(Duration::from_secs(2));
    // Two reals, their service, and that there is nothing else.
    for _ in 0..4 {
        assert!(statistics.is_renewing());
        statistics.renew(1, &counted);
    }
    assert!(!statistics.is_renewing());
    assert_eq!(statistics.real(&real(7)).1.in_packets, 1, "a quarter of 5 a second");
    counted.add(17, 3);
    let other = ServiceKey::new(Protocol::Udp, web().listen);
    statistics.zero(Some(&other), &counted);
    assert_eq!(totals(&mut statistics, &counted), (13, 10, 3), "another service's");
    statistics.zero(Some(&web()), &counted);
    assert_eq!(totals(&mut statistics, &counted), (0, 0, 0));
    assert_eq!(statistics.real(&real(7)).1, Traffic::default());
    counted.add(7, 4);
    assert_eq!(totals(&mut statistics, &counted), (4, 4, 0));
}

#[test]
fn a_service_made_anew_begins_at_zero_but_a_restored_one_goes_on() {
    let (mut statistics, counted) = (Statistics::default(), Counted::default());
    publish(&mut statistics, Some(&[7]), &counted);
    counted.add(7, 10);
    publish(&mut statistics, Some(&[17, 7]), &counted);
    assert_eq!(totals(&mut statistics, &counted), (10, 10, 0));
    publish(&mut statistics, None, &counted);
    publish(&mut statistics, Some(&[7]), &counted);
    counted.add(7, 1);
    assert_eq!(totals(&mut statistics, &counted), (1, 1, 0));
}

#[test]
fn rates_of_all_services_are_renewed_slice_by_slice() {
    let (mut statistics, counted) = (Statistics::default(), Counted::default());
    let service =
        |port: u16| ServiceKey { listen: (std::net::Ipv4Addr::new(192, 0, 2, 1), port).into(), ..web() };
    let real = |number: u32| RealKey {
        service: service(1 + number as u16 / 2),
        endpoint: real(number as u8).endpoint,
    };
    let mut arrived = Arrived {
        services: (1..=5).map(service).collect(),
        reals: (0..10).map(|number| (real(number), RealId(number))).collect(),
    };
    statistics.open(&mut arrived, 100, &counted);
    (0..10).for_each(|number| counted.add(number, 40 + 8 * u64::from(number)));
    let renewed = |statistics: &Statistics| {
        (0..10).filter(|number| statistics.real(&real(*number)).1.in_packets > 0).count()
    };
    statistics.begin_renewal(Duration::from_secs(2));
    // Services count as if they were reals.
    for expected in [3, 6, 8, 10] {
        statistics.renew(4, &counted);
        assert_eq!(renewed(&statistics), expected);
        if expected == 3 {
            // One that it has come to goes, and one that it has not.
            let mut left = Left { services: vec![service(2), service(5)], reals: Vec::new() };
            statistics.close(&mut left, 100, &counted);
        }
    }
    assert!(!statistics.is_renewing());
    for number in 0..10 {
        assert_eq!(
            statistics.real(&real(number)).1.in_packets,
            5 + u64::from(number),
            "a quarter of all, a second"
        );
    }
    assert_eq!(statistics.service(&service(1)).1.in_packets, 11);
}

/// A turn of the control thread's loop reads a bounded number of reals, whatever service they are of.
#[test]
fn rates_of_one_large_service_are_renewed_slice_by_slice() {
    const REALS: u32 = 5000;
    let (mut statistics, counted) = (Statistics::default(), Counted::default());
    let real = |number: u32| RealKey {
        service: web(),
        endpoint: (std::net::Ipv4Addr::from(0x0a00_0000 + number), 80).into(),
    };
    let reals = (0..REALS).map(|number| (real(number), RealId(number))).collect();
    statistics.open(&mut Arrived { services: vec![web()], reals }, usize::MAX, &counted);
    (0..REALS).for_each(|number| counted.add(number, 8));
    for slice in [1, 256, 2048] {
        counted.reads.set(0);
        statistics.begin_renewal(Duration::from_secs(2));
        let mut turns = 0;
        while statistics.is_renewing() {
            let before = counted.reads.get();
            statistics.renew(slice, &counted);
            assert!(counted.reads.get() - before <= slice);
            turns += 1;
        }
        assert_eq!(counted.reads.get(), REALS as usize, "each of them once");
        assert_eq!(turns, (REALS as usize + 1) / slice + 1);
        if slice == 1 {
            assert!((0..REALS).all(|number| statistics.real(&real(number)).1.in_packets == 1));
            assert_eq!(statistics.service(&web()).1.in_packets, u64::from(REALS));
        }
    }
    assert_eq!(statistics.service(&web()).0.in_packets, 8 * u64::from(REALS));
    assert_eq!(statistics.all().in_packets, 8 * u64::from(REALS));
}
