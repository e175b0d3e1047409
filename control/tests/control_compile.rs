//! Ids and snapshots: what stays, what comes back, what is let go.

mod control_lab;

use dataplane::names::family::V4;
use dataplane::names::ids::InterfaceId;

use control::api::protocol::Command;
use control::api::refusal::Refused;
use control::change::{apply, restore};
use control::model::{Model, Network};
use control::publish::compile::Compiler;
use control::publish::ids::NoRoom;
use dataplane::connection::TimeoutSeconds;
use dataplane::names::ids::{MAX_REALS, NeighbourKey, NextHopId, REAL_IDS, RealId, RealKey, ServiceKey};
use dataplane::names::mac::Mac;
use dataplane::snapshot::{Snapshot, Steering};
use dataplane::translation::Record;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

fn network() -> Network {
    control_lab::without_default().network(|_| (Mac([2, 0, 0, 0, 0, 1]), 9216, Steering::Software))
}

struct Bench {
    model: Model,
    compiler: Compiler,
}

impl Bench {
    fn new() -> Self {
        let network = network();
        Self { model: Model::new(TimeoutSeconds::default()), compiler: Compiler::new(network) }
    }

    fn restore(&mut self, lines: &[&str]) -> Arc<Snapshot> {
        self.model = restore(&self.model, self.compiler.network(), lines.iter().copied()).unwrap();
        self.compile()
    }

    fn command(&mut self, command: &str) -> Arc<Snapshot> {
        let command: Command = serde_json::from_str(&format!("{{{command}}}")).unwrap();
        self.model = apply(&self.model, self.compiler.network(), &command).unwrap().0;
        self.compile()
    }

    fn compile(&mut self) -> Arc<Snapshot> {
        self.compiler.check(&self.model, |_| true).unwrap();
        self.compiler.compile(&self.model, way)
    }

    fn id(&self, endpoint: &str) -> Option<RealId> {
        self.compiler.ids().real(&real(endpoint))
    }
}

/// An id that tells the address.
fn way(key: NeighbourKey) -> NextHopId {
    NextHopId(u32::from(key.interface.0) << 8 | V4::bits(key.address).unwrap() & 0xff)
}

fn web() -> ServiceKey {
    "tcp://192.168.10.100:80".parse::<control::text::services::Listen>().unwrap().0
}

fn real(endpoint: &str) -> RealKey {
    RealKey { service: web(), endpoint: endpoint.parse().unwrap() }
}

const WEB: &str = "-A -t 192.168.10.100:80";
const RS1: &str = "-a -t 192.168.10.100:80 -r 10.0.0.7:80 -m";
const RS2: &str = "-a -t 192.168.10.100:80 -r 10.0.0.17:80 -m";
const FAR: &str = "-a -t 192.168.10.100:80 -r 172.16.0.9:80 -m";

#[test]
fn reals_lead_to_their_next_hops_and_schedules_are_newest_first() {
    let mut bench = Bench::new();
    let snapshot = bench.restore(&[WEB, RS1, FAR]);
    let near = bench.id("10.0.0.7:80").unwrap();
    let far = bench.id("172.16.0.9:80").unwrap();
    assert_eq!(snapshot.rewrite::<V4>(near).next_hop(), NextHopId(1 << 8 | 7));
    assert_eq!(snapshot.rewrite::<V4>(far).next_hop(), NextHopId(1 << 8 | 1), "by the route's gateway");
    let schedule = &snapshot.service(&web()).unwrap().1.schedule;
    let order: Vec<_> = schedule.candidates().iter().map(|candidate| candidate.real).collect();
    assert_eq!(order, [far, near]);
}

#[test]
fn a_removed_real_stays_known_until_its_connections_are_gone() {
    let mut bench = Bench::new();
    bench.restore(&[WEB, RS1, RS2]);
    let id = bench.id("10.0.0.7:80").unwrap();
    let del = r#""command":"del-real","service":"tcp://192.168.10.100:80","real":"10.0.0.7:80""#;
    let snapshot = bench.command(del);
    assert_eq!(snapshot.real_key(id), Some(real("10.0.0.7:80")));
    assert!(snapshot.is_endpoint(web().protocol, "10.0.0.7:80".parse().unwrap()));
    // Not before every worker runs on the version without it, nor while a connection lives.
    assert!(bench.compiler.release(snapshot.version - 1, |_| false).is_empty());
    assert!(bench.compiler.release(snapshot.version, |_| true).is_empty());
    assert_eq!(bench.compiler.release(snapshot.version, |_| false), [real("10.0.0.7:80")]);
    let add = |port| {
        format!(r#""command":"add-real","service":"tcp://192.168.10.100:80","real":"10.0.0.27:{port}""#)
    };
    let snapshot = bench.command(&add(80));
    assert_eq!(snapshot.real_key(id), None, "its id is not given again in the same step");
    let snapshot = bench.command(&add(81));
    assert_eq!(snapshot.real_key(id), Some(real("10.0.0.27:81")), "but in the next");
}

#[test]
fn adding_a_removed_real_again_brings_its_id_back() {
    let mut bench = Bench::new();
    bench.restore(&[WEB, RS1, RS2]);
    let ids = [bench.id("10.0.0.7:80"), bench.id("10.0.0.17:80")];
    let snapshot = bench.command(r#""command":"clear""#);
    assert!(snapshot.service(&web()).is_none());
    assert_eq!(snapshot.real_key(ids[0].unwrap()), Some(real("10.0.0.7:80")));
    bench.restore(&[WEB, RS2, FAR, RS1]);
    assert_eq!([bench.id("10.0.0.7:80"), bench.id("10.0.0.17:80")], ids);
}

#[test]
fn restoring_keeps_the_ids_of_what_stays() {
    let mut bench = Bench::new();
    let before = bench.restore(&[WEB, RS1, RS2]);
    let (id, service) = (bench.id("10.0.0.17:80"), before.service(&web()).unwrap().0);
    let after = bench.restore(&["-A -t 192.168.10.100:79", WEB, FAR, RS2]);
    assert_eq!(bench.id("10.0.0.17:80"), id);
    assert_eq!(after.service(&web()).unwrap().0, service);
    assert!(after.version > before.version);
}

#[test]
fn an_untouched_service_keeps_its_schedule() {
    let mut bench = Bench::new();
    let dns = "udp://192.168.10.100:53".parse::<control::text::services::Listen>().unwrap().0;
    let before = bench.restore(&[WEB, RS1, "-A -u 192.168.10.100:53"]);
    let edit = r#""command":"edit-real","service":"tcp://192.168.10.100:80","real":"10.0.0.7:80","weight":3"#;
    let after = bench.command(edit);
    let schedule = |snapshot: &Snapshot, key| Arc::clone(&snapshot.service(key).unwrap().1.schedule);
    assert!(Arc::ptr_eq(&schedule(&before, &dns), &schedule(&after, &dns)));
    assert!(!Arc::ptr_eq(&schedule(&before, &web()), &schedule(&after, &web())));
}

#[test]
fn all_reals_are_replaced_in_one_change_and_only_removed_ones_with_connections_take_room() {
    let mut bench = Bench::new();
    let network = network();
    let set = |host: &str, count: usize| -> Model {
        let reals = (1..=count).map(|port| format!("-a -t 192.168.10.100:80 -r {host}:{port} -m"));
        let lines: Vec<String> = std::iter::once(WEB.to_owned()).chain(reals).collect();
        restore(&Model::new([1, 1, 1].into()), &network, lines.iter().map(String::as_str)).unwrap()
    };
    let most = MAX_REALS - 1;
    let [blue, green, red] = ["10.0.0.7", "10.0.0.17", "10.0.0.27"].map(|host| set(host, most));
    bench.compiler.compile(&blue, way);
    bench.compiler.check(&green, |_| true).unwrap();
    let snapshot = bench.compiler.compile(&green, way);
    // Back again: the removed ones are known still.
    bench.compiler.check(&blue, |_| true).unwrap();
    // Nor is there room for a third set if all of the first have connections …
    let refused = bench.compiler.check(&red, |_| true).unwrap_err();
    assert_eq!(refused, NoRoom { wanted: most, replaced: most, removed: most });
    assert_eq!(Refused::from(refused).code(), "too_many");
    // … but for as many as those without one.
    let live = |id: RealId| id.0 < 1000;
    bench.compiler.check(&red, live).unwrap_err();
    bench.compiler.check(&set("10.0.0.27", most - 1000 + 2), live).unwrap();
    assert_eq!(bench.compiler.release(snapshot.version, live).len(), most - 1000);
    bench.compiler.compile(&green, way);
    let next = set("10.0.0.27", most - 1000 + 2);
    bench.compiler.check(&next, |_| true).unwrap();
    let snapshot = bench.compiler.compile(&next, way);
    let ids: HashSet<u32> = bench.compiler.ids().configured().map(|(_, id)| id.0).collect();
    assert!(ids.len() == most - 998 && ids.iter().all(|id| (1000..REAL_IDS as u32).contains(id)));
    assert_eq!(snapshot.real_key(RealId(999)).unwrap().endpoint.ip().to_string(), "10.0.0.7");
}

/// One step of a random operator.
#[derive(Clone, Debug)]
enum Step {
    Command(String),
    /// Every removed real without connections is let go; those with even ids still have some.
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    let service = (80..83u16).prop_map(|port| format!(r#""service":"tcp://192.168.10.100:{port}""#));
    let real = (service.clone(), 1..9u8)
        .prop_map(|(service, host)| format!(r#"{service},"real":"10.0.0.{}:80""#, host * 10));
    let on_service = (prop_oneof![Just("add-service"), Just("del-service")], service);
    let on_real = (prop_oneof![3 => Just("add-real"), 1 => Just("del-real"), 1 => Just("drain")], real);
    let command = |(name, rest)| Step::Command(format!(r#"{{"command":"{name}",{rest}}}"#));
    prop_oneof![
        3 => on_service.prop_map(command),
        9 => on_real.prop_map(command),
        1 => Just(Step::Command(r#"{"command":"clear"}"#.into())),
        2 => Just(Step::Release),
    ]
}

proptest! {
    #[test]
    fn ids_are_never_shared_and_never_change_while_they_are_known(steps in proptest::collection::vec(step(), 1..80)) {
        let mut bench = Bench::new();
        let mut known: HashMap<RealKey, RealId> = HashMap::new();
        for step in steps {
            match step {
                Step::Command(text) => {
                    let command: Command = serde_json::from_str(&text).unwrap();
                    // Refusals are part of the game.
                    if let Ok((model, _)) = apply(&bench.model, bench.compiler.network(), &command) {
                        bench.model = model;
                    }
                }
                Step::Release => {
                    for key in bench.compiler.release(bench.compiler.version(), |id| id.0 % 2 == 0) {
                        prop_assert!(bench.model.real(&key).is_none());
                        known.remove(&key);
                    }
                }
            }
            let snapshot = bench.compile();
            let ids = bench.compiler.ids();
            let removed = ids.removed().map(|(key, id, _)| (key, id));
            let now: HashMap<_, _> = ids.configured().chain(removed).collect();
            let distinct: HashSet<_> = now.values().collect();
            prop_assert_eq!(distinct.len(), now.len());
            for (key, id) in &known {
                prop_assert_eq!(now.get(key), Some(id));
            }
            prop_assert_eq!(ids.configured().count(), bench.model.real_count());
            for (key, id) in &now {
                prop_assert_eq!(snapshot.real_key(*id), Some(*key));
            }
            for (key, service) in bench.model.services() {
                let wanted: Vec<_> = service.real_keys().map(|key| ids.real(&key).unwrap()).collect();
                let schedule = &snapshot.service(key).unwrap().1.schedule;
                let found: Vec<_> = schedule.candidates().iter().map(|candidate| candidate.real).collect();
                prop_assert_eq!(found, wanted);
            }
            known = now;
        }
    }
}

#[test]
fn the_smaller_mtu_of_the_file_and_the_device_counts() {
    let mut config = control_lab::without_default();
    assert_eq!(config.eth_ports[0].interface.mtu, None);
    let cases = [(None, 1400, 1400), (None, 9216, 9216), (Some(1500), 1400, 1400), (Some(1500), 9216, 1500)];
    for (file, device, expected) in cases {
        config.eth_ports.iter_mut().for_each(|port| port.interface.mtu = file);
        let network = config.network(|_| (Mac([2, 0, 0, 0, 0, 1]), device, Steering::Software));
        assert!(network.interfaces.iter().all(|port| port.mtu == expected));
        assert_eq!(network.mtu(1, 1000), 1000);
        let mut compiler = Compiler::new(network);
        let snapshot = compiler.compile(&Model::new(TimeoutSeconds::default()), way);
        assert!(snapshot.interfaces.iter().all(|port| port.mtu == expected));
    }
}

#[test]
fn next_hops_outside_all_prefixes_are_reached_on_their_link() {
    let text =
        control_lab::FILE.replace("/24", "/32").replace("[[neighbour]]", "[[neighbour]]\nport = \"dip0\"");
    let text = text.replace("via = \"10.0.0.1\"", "via = \"10.0.0.1\"\nport = \"dip0\"");
    let network = &control::config::parse(&text).unwrap();
    let network = network.network(|_| (Mac([2, 0, 0, 0, 0, 1]), 1500, Steering::Software));
    let hop = |port, address: [u8; 4]| Some(NeighbourKey { interface: port, address: address.into() });
    assert_eq!(
        network.way_to_real([172, 16, 0, 1].into()),
        hop(InterfaceId(1), [10, 0, 0, 1]),
        "by its router"
    );
    assert_eq!(
        network.way_to_real([10, 0, 0, 7].into()),
        hop(InterfaceId(1), [10, 0, 0, 7]),
        "a fixed neighbour"
    );
    assert_eq!(
        network.way_to_real([10, 0, 0, 9].into()),
        hop(InterfaceId(0), [192, 168, 10, 1]),
        "by the default"
    );
    let routes = dataplane::snapshot::Routes::new(&network.interfaces, &network.routes);
    for (port, address) in [(0, [192, 168, 10, 1]), (1, [10, 0, 0, 1])] {
        assert_eq!(
            routes.next(address.into()),
            hop(InterfaceId(port), address),
            "a router itself is on its link"
        );
    }
}
