use super::*;
use crate::api::protocol::Command;
use crate::change;
use crate::config;
use crate::model::StateTimeouts;
use dataplane::names::family::{V4, V6};
use dataplane::names::ids::{InterfaceId, Protocol};
use dataplane::names::mac::Mac;
use dataplane::snapshot::{OnRemoval, Policy, Steering};
use proptest::prelude::*;
use std::net::SocketAddr;

/// Two ports towards clients and two towards reals; behind a gateway of clients there are reals, too.
const FILE: &str = r#"
[[port]]
name = "vip0"
side = "vip"
device = "a"
addresses = ["192.0.2.1/28", "2001:db8:1::1/64"]
gateway = ["192.0.2.14", "fe80::1"]

[[port]]
name = "vip1"
side = "vip"
device = "b"
addresses = ["198.51.100.1/28", "203.0.113.1/32", "2001:db8:2::1/64"]

[[port]]
name = "dip0"
side = "dip"
device = "c"
addresses = ["10.0.0.1/29", "fd00:20::1/64"]

[[port]]
name = "dip1"
side = "dip"
device = "d"
addresses = ["10.0.0.9/29"]

[[route]]
to = "172.16.0.0/24"
via = "10.0.0.2"

[[route]]
to = "fd00:172::/32"
via = "fe80::2"
port = "dip0"
"#;

/// VIPs on links, on none, and a port's own address.
const VIPS: [&str; 8] = [
    "192.0.2.2",
    "192.0.2.3",
    "198.51.100.2",
    "203.0.113.77",
    "203.0.113.1",
    "2001:db8:1::2",
    "2001:db8:77::2",
    "2001:db8:2::1",
];
/// Reals on links of either side, behind a route, and behind the gateway of clients.
const HOSTS: [&str; 10] = [
    "10.0.0.3",
    "10.0.0.4",
    "10.0.0.12",
    "172.16.0.9",
    "192.0.2.9",
    "100.64.0.1",
    "fd00:20::3",
    "fd00:172::9",
    "2001:db8:1::9",
    "2001:db8:f::1",
];

/// What is set of services.
const SETTINGS: [&str; 6] = [
    r#""scheduler":"rr""#,
    r#""scheduler":"wrr","flags":["flag-1"]"#,
    r#""on_removal":"reset""#,
    r#""on_removal":"reschedule","timeouts":{"tcp":0}"#,
    r#""timeouts":{"tcp":7,"syn_recv":3}"#,
    r#""persistence":9,"persistence_mask":"255.255.0.0""#,
];

#[derive(Clone, Copy, Debug)]
enum Step {
    AddService(usize, u16),
    DelService(usize, u16),
    AddReal(usize, u16, usize, u16),
    EditReal(usize, u16, usize, u16, u32),
    DelReal(usize, u16, usize, u16),
    /// One of the settings that what follows has.
    EditService(usize, u16, usize),
    Limit(usize, u16, usize, u16, u32),
    Timeouts(u32),
    Clear,
    /// Of the removed reals with an id that leaves this remainder, none has a connection any more.
    Release(u32),
    Mtu(u16),
    /// Nothing is done while a worker has the snapshot before.
    Hold,
}

fn step() -> impl Strategy<Value = Step> {
    let (vip, port, host) = (0..VIPS.len(), 1..3u16, 0..HOSTS.len());
    let service = (vip, port.clone());
    let real = (service.clone(), host, port);
    prop_oneof![
        3 => service.clone().prop_map(|(vip, port)| Step::AddService(vip, port)),
        3 => (service.clone(), 0..SETTINGS.len())
            .prop_map(|((vip, port), setting)| Step::EditService(vip, port, setting)),
        1 => service.prop_map(|(vip, port)| Step::DelService(vip, port)),
        8 => real.clone().prop_map(|((vip, port), host, of)| Step::AddReal(vip, port, host, of)),
        2 => (real.clone(), 0..4u32)
            .prop_map(|(((vip, port), host, of), weight)| Step::EditReal(vip, port, host, of, weight)),
        1 => (real.clone(), 0..3u32)
            .prop_map(|(((vip, port), host, of), upper)| Step::Limit(vip, port, host, of, upper)),
        3 => real.prop_map(|((vip, port), host, of)| Step::DelReal(vip, port, host, of)),
        1 => (1..1000u32).prop_map(Step::Timeouts),
        1 => Just(Step::Clear),
        2 => (0..3u32).prop_map(Step::Release),
        1 => (1000..1500u16).prop_map(Step::Mtu),
        1 => Just(Step::Hold),
    ]
}

impl Step {
    fn command(self) -> Option<Command> {
        let service = |vip: usize, port| format!(r#""service":"tcp://{}""#, endpoint(VIPS[vip], port));
        let real = |host: usize, port| format!(r#""real":"{}""#, endpoint(HOSTS[host], port));
        let text = match self {
            Self::AddService(vip, port) => format!(r#""command":"add-service",{}"#, service(vip, port)),
            Self::EditService(vip, port, setting) => {
                format!(r#""command":"edit-service",{},{}"#, service(vip, port), SETTINGS[setting])
            }
            Self::Limit(vip, port, host, of, upper) => {
                let real = real(host, of);
                format!(r#""command":"edit-real",{},{real},"upper_threshold":{upper}"#, service(vip, port))
            }
            Self::DelService(vip, port) => format!(r#""command":"del-service",{}"#, service(vip, port)),
            Self::AddReal(vip, port, host, of) => {
                format!(r#""command":"add-real",{},{}"#, service(vip, port), real(host, of))
            }
            Self::EditReal(vip, port, host, of, weight) => {
                let real = real(host, of);
                format!(r#""command":"edit-real",{},{real},"weight":{weight}"#, service(vip, port))
            }
            Self::DelReal(vip, port, host, of) => {
                format!(r#""command":"del-real",{},{}"#, service(vip, port), real(host, of))
            }
            Self::Timeouts(tcp) => format!(r#""command":"timeouts","set":[{tcp},0,0]"#),
            Self::Clear => r#""command":"clear""#.into(),
            Self::Release(_) | Self::Mtu(_) | Self::Hold => return None,
        };
        Some(serde_json::from_str(&format!("{{{text}}}")).unwrap())
    }
}

fn endpoint(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

/// An id that tells the hosts of this test apart.
fn way(key: NeighbourKey) -> NextHopId {
    let (family, host) = match key.address {
        IpAddr::V4(address) => (0, address.to_bits()),
        IpAddr::V6(address) => (1, address.to_bits() as u32),
    };
    NextHopId(family << 16 | u32::from(key.interface.0) << 8 | host & 0xff)
}

fn new_compiler() -> Compiler {
    let network = config::parse(FILE)
        .unwrap()
        .network(|port| (Mac([2, 0, 0, 0, 0, port as u8]), 1500, Steering::Software));
    Compiler::new(network)
}

/// What a model says of a service is what its snapshot says.
fn assert_as_configured(snapshot: &Snapshot, model: &Model) {
    for (key, service) in model.services() {
        let (_, found) = snapshot.service(key).unwrap();
        let Policy { on_removal, persistence, one_packet } = found.policy;
        let settings = &service.settings;
        assert_eq!(
            (on_removal, persistence, one_packet),
            (settings.on_removal, settings.persistence, settings.one_packet)
        );
        assert_eq!(found.timeouts.is_some(), !settings.timeouts.is_empty());
        let timeouts = found.timeouts.as_deref().unwrap_or(&snapshot.timeouts);
        for state in StateTimeouts::states() {
            let own = settings.timeouts.iter().find(|(of, _)| *of == state).map(|(_, seconds)| seconds);
            let expected = own.unwrap_or(snapshot.timeouts.seconds(state));
            assert_eq!(timeouts.seconds(state), expected, "{state:?}");
        }
        assert_eq!(found.schedule.algorithm(), settings.algorithm);
    }
}

/// Every look-up gives the same.
fn assert_alike(edited: &Snapshot, anew: &Snapshot) {
    assert_eq!(edited.version, anew.version);
    assert_eq!(edited.smallest_mtu, anew.smallest_mtu);
    assert_eq!(format!("{:?}", edited.timeouts), format!("{:?}", anew.timeouts));
    for id in (0..edited.real_ids().max(anew.real_ids()) + 2).map(RealId) {
        assert_eq!(edited.real_key(id), anew.real_key(id));
        assert_eq!(edited.service_of(id), anew.service_of(id));
        assert_eq!(edited.on_removal(id), anew.on_removal(id));
        assert_eq!(format!("{:?}", edited.rewrite::<V4>(id)), format!("{:?}", anew.rewrite::<V4>(id)));
        assert_eq!(format!("{:?}", edited.rewrite::<V6>(id)), format!("{:?}", anew.rewrite::<V6>(id)));
    }
    for (vip, port) in VIPS.into_iter().flat_map(|vip| (0..4).map(move |port| (vip, port))) {
        let key = ServiceKey::new(Protocol::Tcp, endpoint(vip, port));
        let found = |snapshot: &Snapshot| {
            let (id, service) = snapshot.service(&key)?;
            let snapshot::Service { key, policy, timeouts, schedule } = service;
            Some((id, *key, *policy, timeouts.as_deref().copied(), Arc::as_ptr(schedule)))
        };
        assert_eq!(found(edited), found(anew));
    }
    let own = |snapshot: &Snapshot| -> BTreeMap<IpAddr, u16> {
        snapshot.local_addresses().map(|(address, local)| (address, local.interfaces)).collect()
    };
    assert_eq!(own(edited), own(anew));
    for address in VIPS.into_iter().chain(HOSTS).flat_map(around) {
        assert_eq!(edited.is_own_or_broadcast(address), anew.is_own_or_broadcast(address));
        assert_eq!(edited.is_server(address), anew.is_server(address));
        for port in 0..5 {
            let interface = InterfaceId(port);
            let endpoint = SocketAddr::new(address, port.into());
            assert_eq!(
                edited.is_endpoint(Protocol::Tcp, endpoint),
                anew.is_endpoint(Protocol::Tcp, endpoint)
            );
            assert_eq!(
                edited.belongs_elsewhere(address, interface),
                anew.belongs_elsewhere(address, interface)
            );
            assert_eq!(
                edited.is_real_elsewhere(address, interface),
                anew.is_real_elsewhere(address, interface)
            );
        }
    }
}

fn around(address: &str) -> impl Iterator<Item = IpAddr> {
    let address = address.parse().unwrap();
    (0..3).map(move |step| match address {
        IpAddr::V4(address) => IpAddr::from((address.to_bits() + step).to_be_bytes()),
        IpAddr::V6(address) => IpAddr::from((address.to_bits() + u128::from(step)).to_be_bytes()),
    })
}

proptest! {
    /// Whatever has been changed, a snapshot that was brought up to date is as one that is compiled anew, and what is
    /// said of own addresses leads from one to the next.
    #[test]
    fn an_edited_snapshot_is_as_one_made_anew(steps in prop::collection::vec(step(), 1..60)) {
        let mut compiler = new_compiler();
        let mut model = Model::new([900, 120, 300].into());
        let mut own = BTreeMap::new();
        let mut held = Vec::new();
        for step in steps {
            match step {
                Step::Release(remainder) => {
                    let version = compiler.version();
                    compiler.release(version, |id| id.0 % 3 != remainder);
                }
                Step::Mtu(mtu) => {
                    let mut network = compiler.network().clone();
                    network.set_link(0, Mac([2, 0, 0, 0, 1, 0]), mtu);
                    compiler.follow_network(&Arc::new(network));
                }
                Step::Hold => held.push(Arc::clone(compiler.pair.current())),
                _ => {
                    let command = step.command().unwrap();
                    if let Ok((next, _)) = change::apply(&model, compiler.network(), &command) {
                        model = next;
                    }
                }
            }
            let edited = compiler.compile(&model, way);
            let anew = compiler.anew(&model, &mut way);
            assert_alike(&edited, &anew);
            assert_as_configured(&edited, &model);
            for (address, ports) in compiler.take_addresses() {
                own.insert(address, ports);
            }
            let all: BTreeMap<IpAddr, u16> =
                anew.local_addresses().map(|(address, local)| (address, local.interfaces)).collect();
            for (address, ports) in &all {
                prop_assert_eq!(own.get(address), Some(ports));
            }
            prop_assert!(own.iter().all(|(address, ports)| *ports == 0 || all.contains_key(address)));
            held.truncate(3);
        }
    }
}

fn done(model: &Model, compiler: &Compiler, command: &str) -> Model {
    let command: Command = serde_json::from_str(&format!("{{{command}}}")).unwrap();
    change::apply(model, compiler.network(), &command).unwrap().0
}

#[test]
fn a_removed_real_keeps_what_its_service_said_last_of_removals() {
    let mut compiler = new_compiler();
    let lines = [
        "-A -t 192.0.2.2:1 --on-removal reset",
        "-a -t 192.0.2.2:1 -r 10.0.0.3:1 -m",
        "-a -t 192.0.2.2:1 -r 10.0.0.4:1 -m",
    ];
    let model = change::restore(&Model::new([1; 3].into()), compiler.network(), lines).unwrap();
    compiler.compile(&model, way);
    let id = |compiler: &Compiler, host: u8| {
        let service = ServiceKey::new(Protocol::Tcp, SocketAddr::new([192, 0, 2, 2].into(), 1));
        compiler
            .ids()
            .real(&RealKey { service, endpoint: SocketAddr::new([10, 0, 0, host].into(), 1) })
            .unwrap()
    };
    let (first, second) = (id(&compiler, 3), id(&compiler, 4));
    let service = r#""service":"tcp://192.0.2.2:1""#;
    let model = done(&model, &compiler, &format!(r#""command":"del-real",{service},"real":"10.0.0.3:1""#));
    compiler.compile(&model, way);
    let edit = format!(r#""command":"edit-service",{service},"on_removal":"reschedule""#);
    let model = done(&model, &compiler, &edit);
    compiler.compile(&model, way);
    let model = done(&model, &compiler, &format!(r#""command":"del-service",{service}"#));
    for is_anew in [false, true] {
        compiler.has_other_network = is_anew;
        let snapshot = compiler.compile(&model, way);
        assert_eq!(snapshot.on_removal(first), Some(OnRemoval::Reset));
        assert_eq!(snapshot.on_removal(second), Some(OnRemoval::Reschedule));
    }
}

#[test]
fn thresholds_go_to_the_reals_that_have_others() {
    let mut compiler = new_compiler();
    let lines = [
        "-A -t 192.0.2.2:1",
        "-a -t 192.0.2.2:1 -r 10.0.0.3:1 -m -x 5",
        "-a -t 192.0.2.2:1 -r 10.0.0.4:1 -m",
    ];
    let mut model = change::restore(&Model::new([1; 3].into()), compiler.network(), lines).unwrap();
    let told = |compiler: &mut Compiler, model: &Model| -> Vec<(IpAddr, u32)> {
        compiler.version += 1;
        let followed = compiler.ids.follow(model, compiler.version);
        compiler.follow_schedules(model, &followed);
        let edit = compiler.edit(model, followed, &mut way);
        let reals = edit.reals.into_iter().filter_map(|(_, real)| real);
        let mut told: Vec<_> = reals.map(|real| (real.key.endpoint.ip(), real.thresholds.upper)).collect();
        told.sort();
        told
    };
    let (first, second) = (IpAddr::from([10, 0, 0, 3]), IpAddr::from([10, 0, 0, 4]));
    assert_eq!(told(&mut compiler, &model), [(first, 5), (second, 0)]);
    let edit = |of: &str, set: &str| {
        format!(r#""command":"edit-real","service":"tcp://192.0.2.2:1","real":"{of}:1",{set}"#)
    };
    for (of, set, expected) in [
        ("10.0.0.3", r#""weight":7"#, vec![]),
        ("10.0.0.4", r#""upper_threshold":9"#, vec![(second, 9)]),
        ("10.0.0.3", r#""upper_threshold":0"#, vec![(first, 0)]),
    ] {
        model = done(&model, &compiler, &edit(of, set));
        assert_eq!(told(&mut compiler, &model), expected, "{of} {set}");
    }
}

#[test]
fn services_of_both_families_are_looked_up_with_the_ways_to_their_reals() {
    let mut compiler = new_compiler();
    let lines = [
        "-A -t 192.0.2.2:1 -s rr",
        "-a -t 192.0.2.2:1 -r 10.0.0.3:1 -m",
        "-A -t [2001:db8:1::2]:1 -s rr",
        "-a -t [2001:db8:1::2]:1 -r [fd00:20::3]:1 -m",
        "-a -t [2001:db8:1::2]:1 -r [fd00:172::9]:1 -m",
        "-A -t [2001:db8:77::2]:1-9 -s rr",
    ];
    let model = change::restore(&Model::new([1; 3].into()), compiler.network(), lines).unwrap();
    let mut asked = Vec::new();
    let snapshot = compiler.compile(&model, |key| {
        asked.push(key);
        way(key)
    });
    let hop = |interface, address: &str| NeighbourKey {
        interface: InterfaceId(interface),
        address: address.parse().unwrap(),
    };
    asked.sort();
    assert_eq!(asked, [hop(2, "10.0.0.3"), hop(2, "fd00:20::3"), hop(2, "fe80::2")]);
    for (vip, port, is_there) in [
        ("192.0.2.2", 1, true),
        ("2001:db8:1::2", 1, true),
        ("2001:db8:1::2", 2, false),
        ("2001:db8:77::2", 9, true),
        ("2001:db8:77::2", 10, false),
    ] {
        let found = snapshot.service_for(Protocol::Tcp, endpoint(vip, port));
        assert_eq!(found.is_some(), is_there, "{vip} {port}");
    }
    // In the network of one port towards clients, and in none: then all of those that speak the family answer.
    let answering = |vip: &str| snapshot.local(vip.parse().unwrap()).unwrap().interfaces;
    assert_eq!((answering("2001:db8:1::2"), answering("2001:db8:77::2")), (0b01, 0b11));
    assert!(snapshot.is_endpoint(Protocol::Tcp, endpoint("fd00:20::3", 1)));
    assert!([0, 1, 2].iter().all(|port| snapshot.speaks_ipv6(InterfaceId(*port))));
    assert!(!snapshot.speaks_ipv6(InterfaceId(3)));
}
