use super::*;
use crate::model::{Real, Service, Settings};
use crate::text::services::Listen;
use dataplane::connection::TimeoutSeconds;
use dataplane::names::family::V4;
use dataplane::schedule::Algorithm;
use std::cell::RefCell;

/// Workers that have counted this much.
#[derive(Default)]
struct Counted(RefCell<HashMap<RealId, u64>>);

impl Counted {
    fn add(&self, id: u32, packets: u64) {
        *self.0.borrow_mut().entry(RealId(id)).or_default() += packets;
    }
}

impl Reader for Counted {
    fn read(&self, id: RealId) -> Traffic {
        Traffic { in_packets: self.0.borrow().get(&id).copied().unwrap_or(0), ..Traffic::default() }
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

fn model(hosts: &[u8]) -> Model {
    let mut model = Model::new(TimeoutSeconds::default());
    let reals = hosts.iter().map(|host| Real::new(real(*host).endpoint, 1)).collect();
    let service = Service::with_added(web(), Settings::new(Algorithm::RoundRobin), 1, reals);
    model.insert(service);
    model
}

fn publish(statistics: &mut Statistics, model: &Model, counted: &Counted) {
    statistics.open(model, id, counted);
    statistics.close(model, counted);
}

fn totals(statistics: &mut Statistics, counted: &Counted) -> (u64, u64, u64) {
    statistics.collect(counted);
    let real = |host| statistics.real(&real(host)).0.in_packets;
    (statistics.service(&web()).0.in_packets, real(7), real(17))
}

#[test]
fn traffic_counts_only_in_service_and_the_service_keeps_what_its_removed_reals_had() {
    let (mut statistics, counted) = (Statistics::default(), Counted::default());
    counted.add(7, 1000);
    publish(&mut statistics, &model(&[7, 17]), &counted);
    counted.add(7, 10);
    counted.add(17, 5);
    assert_eq!(totals(&mut statistics, &counted), (15, 10, 5));
    publish(&mut statistics, &model(&[17]), &counted);
    counted.add(7, 100);
    counted.add(17, 1);
    assert_eq!(totals(&mut statistics, &counted), (16, 10, 6), "stragglers of a removed real don't count");
    publish(&mut statistics, &model(&[17, 7]), &counted);
    counted.add(7, 2);
    assert_eq!(totals(&mut statistics, &counted), (18, 12, 6), "what it had is back with it");
}

#[test]
fn zero_is_a_new_beginning() {
    let (mut statistics, counted) = (Statistics::default(), Counted::default());
    publish(&mut statistics, &model(&[7, 17]), &counted);
    counted.add(7, 10);
    statistics.collect(&counted);
    statistics.estimate(Duration::from_secs(2));
    assert_eq!(statistics.real(&real(7)).1.in_packets, 1, "a quarter of 5 a second");
    counted.add(17, 3);
    statistics.zero(&counted);
    assert_eq!(totals(&mut statistics, &counted), (0, 0, 0));
    assert_eq!(statistics.real(&real(7)).1, Traffic::default());
    counted.add(7, 4);
    assert_eq!(totals(&mut statistics, &counted), (4, 4, 0));
}

#[test]
fn a_service_made_anew_begins_at_zero_but_a_restored_one_goes_on() {
    let (mut statistics, counted) = (Statistics::default(), Counted::default());
    publish(&mut statistics, &model(&[7]), &counted);
    counted.add(7, 10);
    publish(&mut statistics, &model(&[17, 7]), &counted);
    assert_eq!(totals(&mut statistics, &counted), (10, 10, 0));
    publish(&mut statistics, &Model::new(TimeoutSeconds::default()), &counted);
    publish(&mut statistics, &model(&[7]), &counted);
    counted.add(7, 1);
    assert_eq!(totals(&mut statistics, &counted), (1, 1, 0));
}
