use super::*;
use crate::config;
use crate::model::{Draft, Settings, StateTimeouts};
use crate::text::services::Listen;
use crate::text::{masks, state_timeouts};
use dataplane::names::ids::{Protocol, RealKey};
use dataplane::names::mac::Mac;
use dataplane::schedule::Algorithm;
use dataplane::schedule::Flags;
use dataplane::snapshot::{OnRemoval, Persistence, Steering};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const FILE: &str = "[[port]]\nname = \"vip0\"\nside = \"vip\"\ndevice = \"a\"\naddresses = [\"192.0.2.100/24\"]\n\
                    [[port]]\nname = \"dip0\"\nside = \"dip\"\ndevice = \"b\"\naddresses = [\"10.0.0.8/24\"]\n";

fn network() -> Network {
    config::parse(FILE).unwrap().network(|_| (Mac([2, 0, 0, 0, 0, 1]), 1500, Steering::Software))
}

/// Of the same ports, which carry IPv6 too.
fn network_of_both() -> Network {
    let file =
        FILE.replace("/24\"]", "/24\", \"fd00:X::8/64\"]").replacen('X', "10", 1).replacen('X', "20", 1);
    let config = config::parse(&file).unwrap();
    config.network(|_| (Mac([2, 0, 0, 0, 0, 1]), 1500, Steering::Software))
}

fn empty() -> Model {
    Model::new([900, 120, 300].into())
}

/// Exact services, ranges that may overlap, and any port.
fn key() -> impl Strategy<Value = ServiceKey> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)];
    let ports = prop_oneof![2 => (1..9u16, Just(0)), 2 => (1..9u16, 1..5u16), 1 => Just((0, 0))];
    (protocol, 1..3u8, ports).prop_map(|(protocol, host, (first, more))| ServiceKey {
        protocol,
        listen: SocketAddr::new([192, 0, 2, host].into(), first),
        last_port: first + more,
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    let algorithm = prop::sample::select(&Algorithm::ALL[..]);
    let flags = prop::sample::subsequence(&Flags::ALL[..], 0..=3)
        .prop_map(|flags| flags.into_iter().fold(Flags::NONE, Flags::with));
    let persistence = prop::option::of((1..2_678_401u32, 1..=u32::MAX)).prop_map(|persistence| {
        let mask = |bits| IpAddr::V4(Ipv4Addr::from_bits(bits));
        persistence.map(|(seconds, bits)| Persistence { seconds, mask: mask(bits) })
    });
    let states: Vec<_> = StateTimeouts::states().collect();
    let timeouts = prop::collection::vec((prop::sample::select(states), 1..2_678_401u32), 0..4);
    let timeouts = timeouts.prop_map(|timeouts| {
        let mut all = StateTimeouts::NONE;
        timeouts.into_iter().for_each(|(state, seconds)| all.set(state, seconds));
        all
    });
    let on_removal = prop_oneof![Just(OnRemoval::Drop), Just(OnRemoval::Reset), Just(OnRemoval::Reschedule)];
    (algorithm, flags, persistence, any::<bool>(), timeouts, on_removal, 0..86_401u32).prop_map(
        |(algorithm, flags, persistence, one_packet, timeouts, on_removal, slow_start)| Settings {
            algorithm,
            flags,
            persistence,
            one_packet,
            timeouts,
            on_removal,
            slow_start,
        },
    )
}

/// With any port among theirs, and some that were drained.
fn real() -> impl Strategy<Value = Real> {
    let endpoint =
        (1..6u8, 0..3u16).prop_map(|(host, port)| SocketAddr::new([10, 0, 0, 10 + host].into(), port));
    (endpoint, 0..4u32, any::<bool>(), 0..9u32, 0..9u32).prop_map(
        |(endpoint, weight, is_drained, upper, more)| {
            let lower = upper.saturating_sub(more);
            let mut real = Real { thresholds: Thresholds { upper, lower }, ..Real::new(endpoint, weight) };
            if is_drained {
                real.set_weight(0);
            }
            real
        },
    )
}

/// Turns a service and its reals into IPv6 ones: each address keeps its last byte, and the mask has as many leading
/// bits as it had bits.
fn in_ipv6((key, settings, reals): &mut (ServiceKey, Settings, Vec<Real>)) {
    let low = |address: IpAddr| match address {
        IpAddr::V4(address) => u16::from(address.octets()[3]),
        IpAddr::V6(address) => address.segments()[7],
    };
    key.listen.set_ip(Ipv6Addr::from([0xfd00, 0x10, 0, 0, 0, 0, 0, low(key.listen.ip())]).into());
    for real in reals {
        real.endpoint.set_ip(Ipv6Addr::from([0xfd00, 0x20, 0, 0, 0, 0, 0, low(real.endpoint.ip())]).into());
    }
    if let Some(Persistence { mask, .. }) = &mut settings.persistence
        && let IpAddr::V4(bits) = *mask
    {
        let length = bits.to_bits().count_ones().to_string();
        *mask = masks::by_text(key.listen.ip(), &length).unwrap();
    }
}

/// What fits of some services and reals of both families.
fn model() -> impl Strategy<Value = Model> {
    let service = ((key(), settings(), prop::collection::vec(real(), 0..5)), any::<bool>());
    prop::collection::vec(service, 0..8).prop_map(|services| {
        let (network, mut draft) = (network_of_both(), Draft::default());
        for (mut service, is_ipv6) in services {
            if is_ipv6 {
                in_ipv6(&mut service);
            }
            let (key, settings, reals) = service;
            let settings =
                Settings { one_packet: settings.one_packet && key.protocol == Protocol::Udp, ..settings };
            rules::check_settings(&key, &settings).unwrap();
            if draft.add_service(&network, key, settings).is_ok() {
                for real in reals {
                    let _ = draft.add_real(&network, key, real);
                }
            }
        }
        let mut model = empty();
        draft.finish(&mut model);
        model
    })
}

/// All that lines can say of a model. What a real's weight was before it was 0 they say where it matters.
fn contents(model: &Model) -> Vec<(ServiceKey, Settings, Vec<Real>)> {
    let services = model.services().values();
    let contents = services.map(|service| {
        let goes_by_last_weight = service.settings.algorithm.name() == "mh";
        let told = |real: &Real| if goes_by_last_weight { *real } else { Real { last_weight: 0, ..*real } };
        (service.key, service.settings, service.reals.iter().map(told).collect())
    });
    contents.collect()
}

/// What is set of a real: its weight, and its upper and lower threshold.
type Set = (SocketAddr, u32, u32, u32);

/// The reals by their addresses, as far as they are set.
fn in_order(service: &Service) -> Vec<Set> {
    let mut reals = set(service);
    reals.sort_unstable();
    reals
}

fn set(service: &Service) -> Vec<Set> {
    let set = |real: &Real| (real.endpoint, real.weight, real.thresholds.upper, real.thresholds.lower);
    service.reals.iter().map(set).collect()
}

/// What is set, the order of reals included.
fn shown(model: &Model) -> Vec<(ServiceKey, Settings, Vec<Set>)> {
    model.services().values().map(|service| (service.key, service.settings, set(service))).collect()
}

/// What is set, whatever the order of reals.
fn unordered(model: &Model) -> Vec<(ServiceKey, Settings, Vec<Set>)> {
    model.services().values().map(|service| (service.key, service.settings, in_order(service))).collect()
}

fn restored<'a>(lines: impl IntoIterator<Item = &'a String>) -> Model {
    let lines: Vec<&str> = lines.into_iter().map(String::as_str).collect();
    restore(&empty(), &network_of_both(), lines).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn whatever_is_saved_is_restored(model in model()) {
        prop_assert_eq!(contents(&restored(&save(&model))), contents(&model));
    }

    #[test]
    fn the_steps_from_one_model_to_another_lead_there(before in model(), now in model()) {
        let (saved, steps) = (save(&before), steps(&before, &now));
        prop_assert_eq!(contents(&restored(saved.iter().chain(&steps))), contents(&now));
    }

    #[test]
    fn a_model_that_is_merged_is_the_target_and_the_edits_say_how(before in model(), target in model()) {
        let next = merged(&before, &target);
        prop_assert_eq!(unordered(&next), unordered(&target));
        let edits = edits(&before, &target);
        let lines: Vec<_> = edits.iter().map(|edit| edit.line.clone()).collect();
        // Those who type them get the same, in the same order.
        prop_assert_eq!(shown(&restored(save(&before).iter().chain(&lines))), shown(&next));
        prop_assert_eq!(edits.is_empty(), unordered(&before) == unordered(&target));
        prop_assert!(super::edits(&next, &target).is_empty());
        prop_assert_eq!(edits.is_empty(), fingerprint(&before) == fingerprint(&target));
        prop_assert_eq!(fingerprint_after(fingerprint(&before), &before, &next), fingerprint(&next));
        prop_assert_eq!(fingerprint(&next), fingerprint(&target));
        // What they are about is there before, and what they remove is not afterwards.
        for Edit { line, reals } in &edits {
            prop_assert!(reals.iter().all(|real| before.real(real).is_some()), "{}", line);
            let is_removal = line.starts_with("-d") || line.starts_with("-D");
            prop_assert!(!is_removal || reals.iter().all(|real| next.real(real).is_none()), "{}", line);
        }
    }

    #[test]
    fn what_does_not_differ_is_not_touched(before in model(), target in model()) {
        let next = merged(&before, &target);
        for (key, service) in before.services() {
            let same = |other: &Model| other.services().get(key).is_some_and(|other| {
                (other.settings, in_order(other)) == (service.settings, in_order(service))
            });
            if same(&target) {
                prop_assert!(std::sync::Arc::ptr_eq(service, &next.services()[key]), "{:?}", key);
            }
        }
        let count = next.services().values().map(|service| service.reals.len()).sum::<usize>();
        prop_assert_eq!(next.real_count(), count);
    }

    /// What is set by one command or by several is the same, and what is not named stays.
    #[test]
    fn settings_can_be_made_one_by_one(key in key(), wanted in settings()) {
        let wanted = Settings { one_packet: wanted.one_packet && key.protocol == Protocol::Udp, ..wanted };
        let mut model = empty();
        model.insert(Service::new(key, wanted, 1));
        let mut line = save(&model).remove(1);
        let whole = restored([&line]);
        prop_assert_eq!(whole.services()[&key].settings, wanted);
        // Each option with its value, one after the other, as requests.
        let mut desk = Desk::new();
        desk.does(json!({"command": "add-service", "service": Listen(key)}));
        let words: Vec<String> = line.split_off(line.find(" -s").unwrap()).split(' ').skip(1).map(String::from).collect();
        let mut words = words.into_iter();
        while let Some(option) = words.next() {
            let mut value = || words.next().unwrap();
            let set = match option.as_str() {
                "-s" => json!({"scheduler": value()}),
                "-p" => json!({"persistence": value().parse::<u32>().unwrap()}),
                "-M" => json!({"persistence_mask": value()}),
                "-o" => json!({"one_packet": true}),
                "-b" => json!({"flags": value().split(',').collect::<Vec<_>>()}),
                "--timeouts" => json!({"timeouts": state_timeouts::by_text(&value()).unwrap()}),
                "--on-removal" => json!({"on_removal": value()}),
                "--slow-start" => json!({"slow_start": value().parse::<u32>().unwrap()}),
                other => panic!("{other}"),
            };
            let mut request = json!({"command": "edit-service", "service": Listen(key)});
            request.as_object_mut().unwrap().extend(set.as_object().unwrap().clone());
            desk.does(request);
        }
        prop_assert_eq!(desk.model.services()[&key].settings, wanted);
    }
}

/// A model, and commands to it.
struct Desk {
    model: Model,
    network: Network,
}

impl Desk {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(lines: &[&str]) -> Self {
        Self::of(network(), lines)
    }

    fn of(network: Network, lines: &[&str]) -> Self {
        let restored = |lines: &[&str]| restore(&empty(), &network, lines.iter().copied()).unwrap();
        Self { model: if lines.is_empty() { empty() } else { restored(lines) }, network }
    }

    fn does(&mut self, command: Value) -> Effect {
        let command: Command = serde_json::from_value(command).unwrap();
        let (model, effect) = apply(&self.model, &self.network, &command).unwrap();
        self.model = model;
        effect
    }

    fn refuses(&self, command: Value) -> (&'static str, String) {
        let command: Command = serde_json::from_value(command).unwrap();
        let refused = apply(&self.model, &self.network, &command).unwrap_err();
        (refused.code(), refused.to_string())
    }

    fn saved(&self) -> Vec<String> {
        save(&self.model).split_off(1)
    }
}

const WEB: &str = "tcp://192.0.2.1:80";
const DNS: &str = "udp://192.0.2.1:53";
const LINES: [&str; 3] = [
    "-A -t 192.0.2.1:80 -s wrr -p 50",
    "-a -t 192.0.2.1:80 -r 10.0.0.7:80 -m -x 9 -y 5",
    "-A -u 192.0.2.1:53",
];

#[test]
fn what_cannot_be_is_refused_in_ipvsadms_words() {
    let desk = Desk::with(&LINES);
    let add = |service: &str, set: Value| {
        let mut command = json!({"command": "add-service", "service": service});
        command.as_object_mut().unwrap().extend(set.as_object().unwrap().clone());
        command
    };
    let edit = |service: &str, set: Value| {
        let mut command = add(service, set);
        command["command"] = "edit-service".into();
        command
    };
    let real = |command: &str, upper: Option<u32>, lower: Option<u32>| {
        let mut command = json!({"command": command, "service": WEB, "real": "10.0.0.7:80"});
        if command["command"] == "add-real" {
            command["real"] = "10.0.0.17:80".into();
        }
        let both = [("upper_threshold", upper), ("lower_threshold", lower)];
        for (key, threshold) in both.into_iter().filter_map(|(key, threshold)| Some((key, threshold?))) {
            command[key] = threshold.into();
        }
        command
    };
    let other = "tcp://192.0.2.1:81";
    let known = "known: sh-fallback, sh-port, mh-fallback, mh-port, flag-1, flag-2, flag-3";
    let mask = "illegal virtual server persistent mask specified: expected a mask as 255.255.255.0, found";
    let alone = "a persistence mask (-M) is only for persistent services (-p)";
    let range = "Numerical result out of range: the lower threshold";
    for (command, code, message) in [
        (
            add(other, json!({"one_packet": true})),
            "bad_one_packet",
            "One-Packet Scheduling is only for UDP virtual services".into(),
        ),
        (
            edit(WEB, json!({"one_packet": true})),
            "bad_one_packet",
            "One-Packet Scheduling is only for UDP virtual services".into(),
        ),
        (
            edit(WEB, json!({"flags": ["sh-port"]})),
            "bad_flag",
            "incompatible scheduler flag `sh-port': it is a flag of sh".into(),
        ),
        (
            add(other, json!({"flags": ["flag-1", "nosuch"]})),
            "bad_flag",
            format!("invalid scheduler flag `nosuch' ({known})"),
        ),
        (
            add(other, json!({"persistence": 2_678_401})),
            "bad_persistence",
            "invalid timeout value `2678401' specified: persistence is for 1 to 2678400 seconds".into(),
        ),
        (add(other, json!({"persistence_mask": "255.0.0.0"})), "bad_persistence", alone.into()),
        (edit(DNS, json!({"persistence_mask": "255.0.0.0"})), "bad_persistence", alone.into()),
        (
            edit(WEB, json!({"persistence": 0, "persistence_mask": "255.0.0.0"})),
            "bad_persistence",
            alone.into(),
        ),
        (edit(WEB, json!({"persistence_mask": "0.0.0.0"})), "bad_persistence", format!("{mask} \"0.0.0.0\"")),
        (edit(WEB, json!({"persistence_mask": "24"})), "bad_persistence", format!("{mask} \"24\"")),
        (
            edit(WEB, json!({"timeouts": {"udp": 2_678_401}})),
            "bad_timeout",
            "invalid timeout value `2678401' specified: at most 2678400 seconds (31 days)".into(),
        ),
        (
            edit(WEB, json!({"timeouts": {"tcp": 1, "ESTABLISHED": 1}})),
            "bad_timeout",
            "tcp: given twice".into(),
        ),
        (
            edit(WEB, json!({"on_removal": "wait"})),
            "bad_on_removal",
            "on_removal: expected drop, reset or reschedule, found \"wait\"".into(),
        ),
        (
            edit(WEB, json!({"slow_start": 86_401})),
            "bad_slow_start",
            "a slow start of 86401 seconds is too long: 86400 at most".into(),
        ),
        (
            real("add-real", Some(10), Some(20)),
            "bad_threshold",
            format!("{range} 20 is above the upper one 10"),
        ),
        (real("add-real", None, Some(1)), "bad_threshold", format!("{range} 1 is above the upper one 0")),
        (real("edit-real", Some(4), None), "bad_threshold", format!("{range} 5 is above the upper one 4")),
        (
            real("edit-real", Some(1 << 31), None),
            "bad_threshold",
            "illegal u_threshold specified: 2147483648 is above 2147483647".into(),
        ),
    ] {
        assert_eq!(desk.refuses(command.clone()), (code, message), "{command}");
    }
    let state = desk.refuses(edit(WEB, json!({"timeouts": {"open": 1}}))).1;
    assert!(state.starts_with("unknown state \"open\" (known: none, tcp, "), "{state}");
    assert_eq!(desk.saved().len(), 3);
}

#[test]
fn unknown_keys_of_a_request_are_refused() {
    for text in [
        r#"{"command":"add-service","service":"tcp://192.0.2.1:81","mask":"255.0.0.0"}"#,
        r#"{"command":"edit-service","service":"tcp://192.0.2.1:81","one_packet":1}"#,
        r#"{"command":"edit-service"}"#,
    ] {
        assert!(serde_json::from_str::<Command>(text).is_err(), "{text}");
        let request = text.replacen('{', "{\"v\":1,", 1);
        assert!(serde_json::from_str::<crate::api::protocol::Request>(&request).is_err(), "{text}");
    }
}

#[test]
fn ranges_of_one_vip_and_protocol_do_not_overlap() {
    let mut desk = Desk::with(&["-A -t 192.0.2.1:8000-8100"]);
    let add = |service: &str| json!({"command": "add-service", "service": service});
    let overlapping = "some of these ports are those of the service on ports 8000-8100";
    for ports in ["8100-8200", "7000-8000", "8050-8060", "1-65535"] {
        let refused = desk.refuses(add(&format!("tcp://192.0.2.1:{ports}")));
        assert_eq!(refused, ("bad_ports", overlapping.into()), "{ports}");
        let line = format!("-A -t 192.0.2.1:{ports}");
        let refused = restore(&empty(), &network(), ["-A -t 192.0.2.1:8000-8100", &line]).unwrap_err();
        assert_eq!(refused.to_string(), format!("line 2: {overlapping}"));
    }
    assert_eq!(desk.refuses(add("tcp://192.0.2.1:8000-8100")).0, "service_exists");
    for service in [
        "tcp://192.0.2.1:8101-8102",
        "tcp://192.0.2.1:8000",
        "tcp://192.0.2.1:8100",
        "tcp://192.0.2.1:0",
        "udp://192.0.2.1:8000-8100",
        "tcp://192.0.2.2:8000-8100",
    ] {
        desk.does(add(service));
    }
    desk.does(json!({"command": "del-service", "service": "tcp://192.0.2.1:8000-8100"}));
    desk.does(add("tcp://192.0.2.1:8050-8060"));
}

#[test]
fn what_is_not_named_stays() {
    let mut desk = Desk::with(&LINES);
    desk.does(json!({"command": "edit-service", "service": WEB, "persistence_mask": "255.255.0.0",
        "timeouts": {"tcp": 60, "SYN_RECV": 5}, "on_removal": "reset"}));
    let saved = |rest: &str| format!("-A -t 192.0.2.1:80 -s wrr{rest}");
    assert_eq!(
        desk.saved()[0],
        saved(" -p 50 -M 255.255.0.0 --timeouts tcp=60,syn_recv=5 --on-removal reset")
    );
    desk.does(json!({"command": "edit-service", "service": WEB, "persistence": 70,
        "timeouts": {"tcp": 0, "close": 3}}));
    assert_eq!(
        desk.saved()[0],
        saved(" -p 70 -M 255.255.0.0 --timeouts syn_recv=5,close=3 --on-removal reset")
    );
    desk.does(json!({"command": "edit-service", "service": WEB, "persistence": 0, "on_removal": "drop",
        "timeouts": {"syn_recv": 0, "close": 0}}));
    assert_eq!(desk.saved()[0], saved(""));
    let real = |set: &str| format!("-a -t 192.0.2.1:80 -r 10.0.0.7:80 -m {set}");
    for (set, expected) in [
        (json!({}), "-w 1 -x 9 -y 5"),
        (json!({"weight": 3}), "-w 3 -x 9 -y 5"),
        (json!({"upper_threshold": 20}), "-w 3 -x 20 -y 5"),
        (json!({"upper_threshold": 0, "lower_threshold": 0}), "-w 3"),
    ] {
        let mut command = json!({"command": "edit-real", "service": WEB, "real": "10.0.0.7:80"});
        command.as_object_mut().unwrap().extend(set.as_object().unwrap().clone());
        desk.does(command);
        assert_eq!(desk.saved()[1], real(expected));
    }
}

#[test]
fn only_another_scheduler_starts_anew_and_begins_without_flags() {
    let mut desk =
        Desk::with(&["-A -u 192.0.2.1:53 -s wrr -b flag-1,flag-3", "-a -u 192.0.2.1:53 -r 10.0.0.7 -m"]);
    let state = |desk: &Desk| {
        let service = desk.model.services().values().next().unwrap().clone();
        (service.generation, service.first_change + service.changes.len() as u64)
    };
    let before = state(&desk);
    for set in [
        json!({"flags": ["flag-2"]}),
        json!({"persistence": 9}),
        json!({"one_packet": true}),
        json!({"scheduler": "wrr", "slow_start": 7}),
    ] {
        let mut command = json!({"command": "edit-service", "service": DNS});
        command.as_object_mut().unwrap().extend(set.as_object().unwrap().clone());
        assert_eq!(desk.does(command.clone()), Effect::Changed, "{set}");
        assert_eq!(desk.does(command), Effect::None, "{set}");
        assert_eq!(state(&desk), before, "{set}");
    }
    assert_eq!(desk.saved()[0], "-A -u 192.0.2.1:53 -s wrr -p 9 -o -b flag-2 --slow-start 7");
    desk.does(json!({"command": "edit-service", "service": DNS, "scheduler": "rr"}));
    assert_eq!(desk.saved()[0], "-A -u 192.0.2.1:53 -s rr -p 9 -o --slow-start 7");
    assert!(state(&desk).0 > before.0 && state(&desk).1 == 1);
}

#[test]
fn a_line_that_edits_replaces_everything() {
    let edits = ["-E -t 192.0.2.1:80 -s rr -b flag-1", "-e -t 192.0.2.1:80 -r 10.0.0.7:80 -m -x 3"];
    let desk = Desk::with(&[&LINES[..], &edits].concat());
    let expected = ["-A -t 192.0.2.1:80 -s rr -b flag-1", "-a -t 192.0.2.1:80 -r 10.0.0.7:80 -m -w 1 -x 3"];
    assert_eq!(desk.saved()[..2], expected);
}

#[test]
fn a_drained_real_remembers_its_last_weight() {
    let mut desk = Desk::with(&["-A -t 192.0.2.1:80", "-a -t 192.0.2.1:80 -r 10.0.0.7:80 -m -w 3"]);
    let weights = |desk: &Desk| {
        let key = RealKey {
            service: desk.model.services().keys().next().copied().unwrap(),
            endpoint: "10.0.0.7:80".parse().unwrap(),
        };
        let real = desk.model.real(&key).unwrap();
        (real.weight, real.last_weight)
    };
    let real = |command: &str| json!({"command": command, "service": WEB, "real": "10.0.0.7:80"});
    desk.does(real("drain"));
    assert_eq!(weights(&desk), (0, 3));
    desk.does(real("edit-real"));
    assert_eq!(weights(&desk), (0, 3));
    desk.does(real("del-real"));
    let mut again = real("add-real");
    again["weight"] = 0.into();
    desk.does(again);
    assert_eq!(weights(&desk), (0, 0), "added anew it never had one");
}

/// A request names addresses of any family; what can be is for the model's rules to say.
#[test]
fn requests_of_both_families_are_judged_alike() {
    let mut tried = Desk::of(network_of_both(), &["-A -t 192.0.2.1:80 -s rr", "-A -t [fd00:10::1]:80 -s rr"]);
    let real = |command: &str, service: &str, real: &str| json!({"command": command, "service": service, "real": real});
    let (four, six) = ("tcp://192.0.2.1:80", "tcp://[fd00:10::1]:80");
    let mixed = "Different address family is allowed only for tunneling servers".to_owned();
    for command in ["add-real", "edit-real"] {
        for (service, endpoint) in [(four, "[fd00:20::7]:80"), (six, "10.0.0.7:80")] {
            assert_eq!(tried.refuses(real(command, service, endpoint)), ("bad_address", mixed.clone()));
        }
    }
    assert_eq!(tried.refuses(real("del-real", four, "[fd00:20::7]:80")).1, "no such real");
    assert_eq!(
        tried.refuses(real("add-real", "tcp://[fd00:10::2]:80", "[fd00:20::7]:80")).1,
        "no such service"
    );
    assert_eq!(tried.does(real("add-real", six, "[fd00:20::7]:80")), Effect::Changed);
    let add = |service: &str| json!({"command": "add-service", "service": service});
    assert_eq!(tried.does(add("tcp://[fd00:10::2]:80")), Effect::Changed);
}

/// Without an own address of IPv6 nothing takes its packets, and there is no room for its connections.
#[test]
fn a_service_needs_a_port_of_its_family_towards_clients() {
    let refused = |network: Network| {
        let add = json!({"command": "add-service", "service": "tcp://[fd00:10::1]:80"});
        Desk::of(network, &[]).refuses(add)
    };
    let why = "fd00:10::1 cannot be a VIP: no port towards clients has an IPv6 address";
    assert_eq!(refused(network()), ("bad_address", why.to_owned()));
    let behind = FILE.replace("8/24\"]", "8/24\", \"fd00:20::8/64\"]");
    let behind = config::parse(&behind).unwrap();
    let behind = behind.network(|_| (Mac([2, 0, 0, 0, 0, 1]), 1500, Steering::Software));
    assert_eq!(refused(behind), ("bad_address", why.to_owned()));
}

/// As `ipvsadm -Sn` printed them of its recorded session, but for schedulers' flags and what natlb does not have.
const LINES_OF_BOTH: [&str; 12] = [
    "-A -t 192.0.2.99:80 -s rr -p 60 -M 255.255.255.0",
    "-A -t 192.0.2.1:80 -s rr",
    "-a -t 192.0.2.1:80 -r 10.0.0.7:80 -m -w 1",
    "-A -t [fd00:10::99]:443 -s sh",
    "-A -t [fd00:10::100]:80 -s wrr",
    "-a -t [fd00:10::100]:80 -r [fd00:20::7]:80 -m -w 1",
    "-a -t [fd00:10::100]:80 -r [fd00:20::17]:80 -m -w 3",
    "-A -t [fd00:10::100]:81 -s rr -p 60 -M 64",
    "-A -t [fd00:10::100]:83 -s rr -p 120",
    "-A -u [fd00:10::100]:0 -s rr -p 10",
    "-A -u [fd00:10::100]:85 -s rr -o",
    "-A -u [fd00:10::100]:8000-8100 -s wlc",
];

#[test]
fn lines_of_both_families_are_restored_and_saved() {
    let network = network_of_both();
    let restored = |lines: &[&str]| restore(&empty(), &network, lines.iter().copied());
    let mut saved = save(&restored(&LINES_OF_BOTH).unwrap());
    saved.remove(0);
    let mut expected = LINES_OF_BOTH;
    // 192.0.2.1 comes before 192.0.2.99.
    expected[..3].rotate_left(1);
    assert_eq!(saved, expected);
    let refused = |line: &str| {
        let refused = restored(&[&LINES_OF_BOTH[..], &[line]].concat()).unwrap_err().to_string();
        refused.strip_prefix("line 13: ").unwrap().to_owned()
    };
    let mixed = "Different address family is allowed only for tunneling servers";
    for command in ["-a", "-e"] {
        assert_eq!(refused(&format!("{command} -t [fd00:10::100]:80 -r 10.0.0.7:80 -m")), mixed);
        assert_eq!(refused(&format!("{command} -t 192.0.2.1:80 -r [fd00:20::7]:80 -m")), mixed);
    }
    assert_eq!(refused("-d -t [fd00:10::100]:80 -r 10.0.0.7:80"), "no such real");
    assert_eq!(refused("-A -t [fd00:10:0:0:0:0:0:100]:80 -s rr"), "service exists");
    assert_eq!(refused("-a -t [fd00:10::100]:80 -r fd00:20::17 -m"), "real exists");
    let expected = "illegal real server address[:port] specified: expected RIP:PORT, found \"[fd00:20::27]\"";
    assert_eq!(refused("-a -t [fd00:10::100]:80 -r [fd00:20::27] -m"), expected);
    let expected = "illegal ipv6 netmask specified: expected a number of bits from 1 to 128, found \"129\"";
    assert_eq!(refused("-A -t [fd00:10::100]:86 -s rr -p 60 -M 129"), expected);
    let advice = " (a name: save numbers, with ipvsadm-save -n or ipvsadm -Sn)";
    assert!(refused("-A -t [fd00:10::100]:http -s rr").ends_with(advice));
    assert!(!refused("-A -t [fd00:10::100] -s rr").contains("a name"));
}
