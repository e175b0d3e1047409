//! Persistent services: a client's connections go to one real for as long as its template lives, and that lives as the
//! kernel's does, over one worker or several.

mod support;

use dataplane::names::drop_reason::DropReason;
use dataplane::persistence::CopiedTemplate;
use dataplane::snapshot::Steering;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use support::packet::{ACK, Packet, RST, SYN, read};
use support::persistent::*;
use support::*;

/// A small generator, which gives equal numbers each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % limit
    }
}

#[test]
fn all_connections_of_a_client_reach_one_real_with_two_hand_overs_each() {
    for workers in [1, 2, 4] {
        let mut world = World::new(workers, 4, persistence(50, ALONE));
        let mut random = Random(5);
        let mut ports = HashSet::new();
        let mut reals = HashSet::new();
        for opened in 1..=1000 {
            let port = std::iter::repeat_with(|| 1024 + random.below(64_000) as u16);
            let port = { port }.find(|port| ports.insert(*port)).unwrap();
            reals.insert(world.open(far(9, port)).expect("it reaches a real"));
            let handed =
                world.sum(|counters| counters.templates_asked.get() + counters.templates_answered.get());
            assert!(handed <= 2 * opened, "{workers} workers: {handed} for {opened} connections");
        }
        assert_eq!(reals.len(), 1, "{workers} workers");
        assert_eq!(world.sum(|counters| counters.connections_created.get()), 1000);
        let handed = world.sum(|counters| counters.templates_asked.get() + counters.templates_answered.get());
        assert_eq!(handed == 0, workers == 1, "{handed}");
        // Packets of connections stay where they are.
        let (asked, first) = (handed, *reals.iter().next().unwrap());
        for port in &ports {
            assert_eq!(world.client_sends(far(9, *port), ACK).len(), 1);
            world.real_sends(far(9, *port), first, ACK);
        }
        let handed = world.sum(|counters| counters.templates_asked.get() + counters.templates_answered.get());
        assert_eq!(handed, asked);
        assert!(DropReason::ALL.iter().all(|reason| world.cluster.dropped(*reason) == 0));
        let template = world.template();
        assert_eq!((template.client, template.assured), (IpAddr::V4(*far(9, 0).ip()), true));
        world.check();
    }
}

#[test]
fn clients_are_spread_and_each_keeps_its_real() {
    for workers in [1, 2, 4] {
        let mut world = World::new(workers, 4, persistence(50, ALONE));
        let mut kept = HashMap::new();
        for round in 0..4 {
            for host in 1..=200 {
                let real = world.open(far(host, 2000 + 777 * round)).expect("it reaches a real");
                assert_eq!(*kept.entry(host).or_insert(real), real, "{workers} workers, {host}");
            }
        }
        for real in 0..4 {
            let clients = kept.values().filter(|kept| **kept == real).count();
            assert!((40..=60).contains(&clients), "{workers} workers, real {real}: {clients}");
        }
        assert_eq!(world.cluster.templates().len(), 200);
        world.check();
    }
}

/// The recording `36-persistence`: `-p 50`, four clients with two short connections each; `-p 3` with a connection that
/// outlives the template's time.
#[test]
fn templates_live_and_are_listed_as_in_the_kernel() {
    for workers in [1, 2, 4] {
        let mut world = World::new(workers, 2, persistence(50, ALONE));
        let order: Vec<usize> = [11, 12, 13, 11, 12, 13, 14, 14]
            .iter()
            .enumerate()
            .map(|(number, host)| world.exchange(far(*host, 40_000 + 97 * number as u16)))
            .collect();
        if workers == 1 {
            assert_eq!(order, [1, 0, 1, 1, 0, 1, 0, 0], "the newest real first, and then each its own");
        }
        world.pass(7 * 4);
        let mut templates = world.cluster.templates();
        templates.sort_by_key(|template| template.client);
        for (template, host) in templates.iter().zip(11..) {
            assert_eq!(template.client, IpAddr::V4(*far(host, 0).ip()));
            assert_eq!((template.state_name(), template.seconds_left()), ("ASSURED", 42), "00:42");
        }
        assert_eq!(templates.len(), 4);
        if workers == 1 {
            for real in 0..2 {
                let id = world.id(real);
                assert_eq!(world.sum(|counters| counters.templates_of(id)), 2, "PersistConn");
            }
        }
        world.check();

        let mut world = World::new(workers, 2, persistence(3, ALONE));
        let real = world.exchange(far(21, 40_921));
        assert_eq!(world.exchange(far(21, 38_653)), real);
        assert_eq!(world.template().seconds_left(), 2, "00:02");
        world.pass(9 * 4);
        assert_eq!(world.template().seconds_left(), 53, "it has begun anew with a minute after 3 s");
        // Its timeout stays a minute, also for a new connection.
        assert_eq!(world.exchange(far(21, 40_922)), real);
        assert_eq!(world.template().seconds_left(), 59);
        // The last connection ends 120 s later, just after the second minute, and the third one is the last.
        world.pass(119 * 4);
        assert_eq!(world.template().seconds_left(), 0);
        world.pass(2 * 4);
        let left = world.cluster.templates();
        if let [template] = left[..] {
            assert!(template.seconds_left() >= 58, "{template:?}");
            world.pass(60 * 4);
        }
        assert_eq!(world.cluster.templates(), []);
        world.check();
    }
}

#[test]
fn a_template_goes_when_its_time_is_over_and_nothing_keeps_it() {
    for workers in [1, 3] {
        let mut world = World::new(workers, 4, persistence(200, ALONE));
        let client = |port| far(30, port);
        let real = world.exchange(client(1000));
        world.pass(150 * 4);
        assert_eq!(world.sum(|counters| counters.connections.get()), 0, "TIME_WAIT is over");
        assert_eq!(world.template().seconds_left(), 49);
        assert_eq!(world.exchange(client(1001)), real);
        assert_eq!(world.template().seconds_left(), 199, "a new connection has set it anew");
        world.pass(199 * 4);
        assert_eq!(world.template().ticks_left, 3);
        world.pass(4);
        assert_eq!(world.cluster.templates(), []);
        assert_eq!(world.sum(|counters| counters.templates_expired.get()), 1);
        world.check();
    }
}

#[test]
fn clients_that_are_one_under_the_mask_have_one_real() {
    for workers in [1, 2, 4] {
        let mut world = World::new(workers, 2, persistence(50, [255, 255, 255, 0]));
        let reals: HashSet<_> = (11..40).map(|host| world.open(far(host, 3000 + u16::from(host)))).collect();
        assert_eq!(reals.len(), 1);
        assert_eq!(world.template().client, IpAddr::V4(Ipv4Addr::new(198, 51, 100, 0)));

        let mut world = World::new(workers, 2, persistence(50, [255, 255, 255, 254]));
        let reals: Vec<_> = (12..20).map(|host| world.open(far(host, 3000)).unwrap()).collect();
        assert!(reals.chunks(2).all(|pair| pair[0] == pair[1]), "{reals:?}");
        if workers == 1 {
            assert_eq!(reals, [1, 1, 0, 0, 1, 1, 0, 0], "as in the recording");
        }
        // Another mask: other templates, and those of before are asked no more.
        world.persistence = Some(persistence(50, [255, 255, 0, 0]));
        world.adopt();
        let reals: HashSet<_> = (12..20).map(|host| world.open(far(host, 4000)).unwrap()).collect();
        assert_eq!((reals.len(), world.cluster.templates().len()), (1, 5));
        world.check();
    }
}

#[test]
fn a_template_is_unproven_until_its_real_has_taken_part() {
    for workers in [1, 2, 4] {
        let mut world = World::new(workers, 2, persistence(50, ALONE));
        let client = at(CLIENT, 4000);
        let real = world.open(client).unwrap();
        world.pass(8);
        assert_eq!(world.template().state_name(), "NONE");
        world.real_sends(client, real, RST | ACK);
        world.pass(8);
        assert_eq!(world.template().state_name(), "NONE", "refused");
        assert_eq!(world.open(at(CLIENT, 4001)), Some(real));
        world.real_sends(at(CLIENT, 4001), real, SYN | ACK);
        world.client_sends(at(CLIENT, 4001), ACK);
        assert_eq!(world.template().state_name(), "ASSURED", "at once");

        let mut world = World::new(workers, 2, persistence(50, ALONE));
        let question = Packet::udp(client, at(VIP, 53), b"?").macs(CLIENT_MAC, VIP_MAC).frame();
        world.cluster.arrive(0, VIP0, &question);
        let sent = world.cluster.settle();
        world.pass(8);
        assert_eq!(world.template().state_name(), "NONE");
        let real = read(&sent[0].bytes).destination;
        let answer = Packet::udp(real, client, b"!").macs(RS1_MAC, DIP_MAC).frame();
        world.cluster.arrive(workers - 1, DIP0, &answer);
        world.cluster.settle();
        assert_eq!(world.template().state_name(), "ASSURED");
        world.check();
    }
}

#[test]
fn a_quiescent_real_keeps_its_clients_only_where_that_is_wanted() {
    for (workers, keeps) in [(1, false), (1, true), (2, false), (4, true), (4, false)] {
        let mut world = World::new(workers, 2, persistence(50, ALONE));
        world.lab.description.keep_quiescent_templates = keeps;
        let first: Vec<_> = (31..39).map(|host| world.exchange(far(host, 5000))).collect();
        world.weights[1] = Some(0);
        world.adopt();
        let mut expected = first.clone();
        if !keeps {
            expected.fill(0);
        }
        for port in [5001, 5002] {
            let then: Vec<_> = (31..39).map(|host| world.exchange(far(host, port))).collect();
            assert_eq!(then, expected, "{workers} workers, {keeps}");
        }
        // Templates that are not in force any more are still listed, for as long as they live.
        let spent = world.cluster.templates().iter().filter(|template| template.spent).count();
        assert_eq!(spent, if keeps { 0 } else { first.iter().filter(|real| **real == 1).count() });
        // A new SYN on a connection that is over.
        let again: Vec<_> = (31..39).map(|host| world.open(far(host, 5000)).unwrap()).collect();
        assert_eq!(again, expected);
        world.check();
    }
}

#[test]
fn an_overloaded_real_keeps_its_clients_and_one_that_does_not_answer_does_not() {
    for workers in [1, 3] {
        let mut world = World::new(workers, 2, persistence(50, ALONE));
        let real = world.open(far(1, 1000)).unwrap();
        let id = world.id(real);
        world.lab.control.reals.set_overloaded(id, true);
        assert_eq!(world.open(far(1, 1001)), Some(real));
        assert_eq!(world.open(far(2, 1001)), Some(1 - real), "a client without template");
        world.lab.control.reals.set_overloaded(id, false);
        world.lab.control.reals.set_unavailable(id, true);
        assert_eq!(world.open(far(1, 1002)), Some(1 - real));
        world.lab.control.reals.set_unavailable(id, false);
        assert_eq!(world.open(far(1, 1003)), Some(1 - real), "it has another real now");
        world.check();
    }
}

#[test]
fn clients_of_a_removed_real_are_not_sent_to_it() {
    for workers in [1, 2, 4] {
        let mut world = World::new(workers, 2, persistence(50, ALONE));
        let first: Vec<_> = (1..20).map(|host| world.exchange(far(host, 6000))).collect();
        world.weights[1] = None;
        world.adopt();
        // One half comes while the real is away, the other half does not notice.
        for host in (1..20).step_by(2) {
            assert_eq!(world.exchange(far(host, 6001)), 0);
        }
        world.weights[1] = Some(1);
        world.adopt();
        for (host, first) in (1..20).zip(&first) {
            let expected = if host % 2 == 1 { 0 } else { *first };
            assert_eq!(world.exchange(far(host, 6002)), expected, "{workers} workers, {host}");
        }
        world.check();
    }
}

#[test]
fn without_a_real_the_client_hears_so_and_no_template_is_made() {
    for workers in [1, 2, 4] {
        let mut world = World::new(workers, 1, persistence(50, ALONE));
        world.weights[0] = Some(0);
        world.adopt();
        for port in 7000..7010 {
            let packet = Packet::tcp(at(CLIENT, port), at(VIP, 80), SYN).macs(CLIENT_MAC, VIP_MAC);
            world.cluster.arrive(usize::from(port) % workers, VIP0, &packet.frame());
            let sent = world.cluster.settle();
            assert_eq!(sent.len(), 1);
            assert_eq!((sent[0].port, read(&sent[0].bytes).protocol), (VIP0, 1));
        }
        assert_eq!(world.cluster.dropped(DropReason::NoReal), 10);
        assert_eq!(world.cluster.templates(), []);
        world.check();
    }
}

#[test]
fn a_syn_on_a_connection_that_is_over_goes_to_its_real() {
    for workers in [1, 2] {
        let mut world = World::new(workers, 4, persistence(50, ALONE));
        let client = far(50, 8000);
        let real = world.exchange(client);
        let created = world.sum(|counters| counters.connections_created.get());
        for _ in 0..5 {
            assert_eq!(world.exchange(client), real);
        }
        assert_eq!(world.sum(|counters| counters.connections_created.get()), created, "the entry stays");
    }
}

#[test]
fn edits_concern_templates_that_are_made_later() {
    for workers in [1, 2] {
        let mut world = World::new(workers, 2, persistence(50, ALONE));
        let real = world.open(far(60, 9000)).unwrap();
        world.persistence = Some(persistence(500, ALONE));
        world.adopt();
        assert_eq!(world.open(far(60, 9001)), Some(real));
        assert_eq!(world.template().seconds_left(), 49);
        world.open(far(61, 9000));
        assert_eq!(world.cluster.templates().iter().map(CopiedTemplate::seconds_left).max(), Some(499));
        // A service that is persistent no more does not look at them, and they run out.
        world.persistence = None;
        world.adopt();
        let reals: HashSet<_> = (0..20).map(|port| world.open(far(60, 9100 + port))).collect();
        assert_eq!(reals.len(), 2);
        world.pass(501 * 4);
        assert_eq!(world.cluster.templates(), []);
        world.check();
    }
}

#[test]
fn what_is_sent_again_while_the_owner_is_asked_opens_one_connection() {
    let mut world = World::new(2, 4, persistence(50, ALONE));
    let (mut lost, mut repeated) = (0, 0);
    for port in 10_000..10_100 {
        let client = far(7, port);
        let owner = world.cluster.owner(client);
        let frame = Packet::tcp(client, at(VIP, 80), SYN).macs(CLIENT_MAC, VIP_MAC).frame();
        let mut sent = Vec::new();
        for _ in 0..3 {
            world.cluster.arrive(owner, VIP0, &frame);
            sent.extend(world.cluster.turn_one(owner));
        }
        sent.extend(world.cluster.settle());
        repeated += sent.len();
        lost += usize::from(sent.is_empty());
        let reached: HashSet<_> = sent.iter().map(|sent| read(&sent.bytes).destination).collect();
        assert!(reached.len() < 2, "{reached:?}");
    }
    assert_eq!((lost, world.sum(|counters| counters.connections_created.get())), (0, 100));
    assert!(repeated > 100);
    world.check();
}

#[test]
fn where_the_owner_of_templates_stands_still_all_is_counted() {
    let mut world = World::new(2, 4, persistence(50, ALONE));
    let mut arrived = 0;
    // Worker 1 does not turn: its ring fills with clients whose templates it has.
    for number in 0..20_000u32 {
        let client = at(Ipv4Addr::from(0x0b00_0000 + number), 4000);
        if world.cluster.owner(client) != 0 {
            continue;
        }
        arrived += 1;
        let frame = Packet::tcp(client, at(VIP, 80), SYN).macs(CLIENT_MAC, VIP_MAC).frame();
        world.cluster.arrive(0, VIP0, &frame);
        world.cluster.turn_one(0);
    }
    let opened = |world: &World| world.sum(|counters| counters.connections_created.get());
    let without = opened(&world);
    let lost = world.cluster.dropped(DropReason::HandOverFull);
    assert!(lost > 1000 && without > 2000, "{lost} lost, {without} opened without the other");
    for _ in 0..2000 {
        world.cluster.turn();
    }
    let all = opened(&world) + world.cluster.dropped(DropReason::HandOverFull);
    let full = world.cluster.dropped(DropReason::TableFull);
    assert_eq!(all + full, arrived, "{} are lost now", world.cluster.dropped(DropReason::HandOverFull));
    world.check();
}

#[test]
fn workers_on_different_versions_lose_nothing_silently() {
    let mut world = World::new(2, 2, persistence(50, ALONE));
    // A client whose template the other worker has.
    let asks = |world: &mut World, host: u8| {
        let before = world.sum(|counters| counters.templates_asked.get());
        let client = (11_000..).map(|port| far(host, port));
        let client = { client }.find(|client| world.cluster.owner(*client) == 0).unwrap();
        let real = world.open(client);
        (real, world.sum(|counters| counters.templates_asked.get()) > before)
    };
    let host = (1..200).find(|host| asks(&mut world, *host).1).unwrap();
    let real = asks(&mut world, host).0.unwrap();
    // The worker with the connection knows that the real is gone, the one with the template does not.
    world.weights[real] = None;
    configure(&mut world.lab, &world.weights, world.persistence);
    world.cluster.begin(0..1, &world.lab, Steering::Software);
    world.cluster.settle();
    let client = far(host, 12_000);
    let client =
        (client.port()..).map(|port| far(host, port)).find(|c| world.cluster.owner(*c) == 0).unwrap();
    assert_eq!(world.open(client), None);
    assert_eq!(world.cluster.dropped(DropReason::PersistenceChanged), 1);
    world.cluster.begin(1..2, &world.lab, Steering::Software);
    world.cluster.settle();
    assert_eq!(world.open(client), Some(1 - real), "it is sent again");
    // The one with the template does not know that the service is persistent.
    world.persistence = None;
    configure(&mut world.lab, &world.weights, world.persistence);
    world.cluster.begin(1..2, &world.lab, Steering::Software);
    world.cluster.settle();
    let client = (13_000..).map(|port| far(host, port)).find(|c| world.cluster.owner(*c) == 0).unwrap();
    assert_eq!(world.open(client), None);
    assert_eq!(world.cluster.dropped(DropReason::PersistenceChanged), 2);
    let live: usize = world.cluster.workers.iter_mut().map(|worker| worker.io().live_frames()).sum();
    assert_eq!(live, 0);
}

/// 4,096 templates a worker. Clients that have not proven anything make room for each other, not those that have.
#[test]
fn a_flood_of_clients_leaves_those_with_proven_connections_alone() {
    let mut world = World::new(2, 4, persistence(500, ALONE));
    let known: Vec<_> = (1..100).map(|host| world.exchange(far(host, 2000))).collect();
    for number in 0..12_000u32 {
        let client = at(Ipv4Addr::from(0x0b00_0000 + number), 4000);
        let frame = Packet::tcp(client, at(VIP, 80), SYN).macs(CLIENT_MAC, VIP_MAC).frame();
        world.cluster.arrive(0, VIP0, &frame);
        world.cluster.turn();
    }
    world.cluster.settle();
    assert_eq!(world.sum(|counters| counters.templates.get()), 2 * 4096);
    assert_eq!(world.sum(|counters| counters.templates_evicted.get()), 12_000 + 99 - 2 * 4096);
    assert_eq!(world.sum(|counters| counters.templates_refused.get()), 0);
    let again: Vec<_> = (1..100).map(|host| world.exchange(far(host, 2001))).collect();
    assert_eq!(again, known);
    world.check();
}
