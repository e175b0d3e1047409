//! Changes of the model: what is refused and in which words, and what a change leaves alone.

mod control_lab;

use control::api::protocol::{Command, Refusal, ServiceOptions};
use control::api::refusal::Refused;
use control::change::{Effect, apply, save};
use control::model::{Model, Network};
use control::text::services::Listen;
use dataplane::connection::TimeoutSeconds;
use dataplane::names::mac::Mac;
use dataplane::schedule::Change;
use dataplane::snapshot::Steering;
use std::net::SocketAddrV4;
use std::sync::Arc;

const WEB: &str = "tcp://192.168.10.100:80";

struct Desk {
    model: Model,
    network: Network,
}

impl Desk {
    fn new() -> Self {
        let network =
            control_lab::without_default().network(|_| (Mac([2, 0, 0, 0, 0, 1]), 9216, Steering::Software));
        Self { model: Model::new(TimeoutSeconds::default()), network }
    }

    fn with_web() -> Self {
        let mut desk = Self::new();
        desk.does(&add_service(WEB, None));
        desk.does(&add_real(WEB, "10.0.0.7:80", 1));
        desk.does(&add_real(WEB, "10.0.0.17:80", 1));
        desk
    }

    fn does(&mut self, command: &Command) -> Effect {
        let (model, effect) = apply(&self.model, &self.network, command).unwrap();
        assert_eq!(effect == Effect::None, model == self.model, "{command:?}");
        self.model = model;
        effect
    }

    fn refuses(&self, command: &Command) -> Refusal {
        let before = self.model.clone();
        let refused: Refused = apply(&self.model, &self.network, command).unwrap_err();
        assert_eq!(self.model, before, "a refused command changes nothing");
        refused.into()
    }

    fn weights(&self, service: &str) -> Vec<(String, u32)> {
        let service = &self.model.services()[&listen(service).0];
        service.reals.iter().map(|real| (real.endpoint.to_string(), real.weight)).collect()
    }
}

fn listen(text: &str) -> Listen {
    text.parse().unwrap()
}

fn endpoint(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn add_service(service: &str, scheduler: Option<&str>) -> Command {
    let scheduler = scheduler.map(String::from);
    Command::AddService(ServiceOptions { scheduler, ..ServiceOptions::new(listen(service)) })
}

fn edit_service(service: &str, scheduler: Option<&str>) -> Command {
    let scheduler = scheduler.map(String::from);
    Command::EditService(ServiceOptions { scheduler, ..ServiceOptions::new(listen(service)) })
}

fn add_real(service: &str, real: &str, weight: u32) -> Command {
    Command::AddReal {
        service: listen(service),
        real: std::net::SocketAddr::V4(endpoint(real)),
        weight: Some(weight),
        upper_threshold: None,
        lower_threshold: None,
    }
}

fn edit_real(service: &str, real: &str, weight: Option<u32>) -> Command {
    Command::EditReal {
        service: listen(service),
        real: std::net::SocketAddr::V4(endpoint(real)),
        weight,
        upper_threshold: None,
        lower_threshold: None,
    }
}

fn drain(service: &str, real: &str) -> Command {
    Command::Drain { service: listen(service), real: std::net::SocketAddr::V4(endpoint(real)), reset: false }
}

fn del_real(service: &str, real: &str) -> Command {
    Command::DelReal { service: listen(service), real: std::net::SocketAddr::V4(endpoint(real)) }
}

fn restore(lines: &[&str]) -> Command {
    Command::Restore { lines: lines.iter().collect(), dry_run: false }
}

#[test]
fn every_refusal_has_its_code_and_words() {
    let desk = Desk::with_web();
    let none = "tcp://192.168.10.100:81";
    let threshold = |upper, lower| Command::AddReal {
        service: listen(WEB),
        real: std::net::SocketAddr::V4(endpoint("10.0.0.27:80")),
        weight: None,
        upper_threshold: upper,
        lower_threshold: lower,
    };
    let crossed = "Numerical result out of range: the lower threshold 2 is above the upper one 1";
    let cases = [
        (add_service(WEB, None), "service_exists", "service exists"),
        (edit_service(none, None), "no_such_service", "no such service"),
        (Command::DelService { service: listen(none) }, "no_such_service", "no such service"),
        (add_real(none, "10.0.0.7:80", 1), "no_such_service", "no such service"),
        (edit_real(none, "10.0.0.7:80", None), "no_such_service", "no such service"),
        (del_real(none, "10.0.0.7:80"), "no_such_service", "no such service"),
        (drain(none, "10.0.0.7:80"), "no_such_service", "no such service"),
        (add_real(WEB, "10.0.0.7:80", 1), "real_exists", "real exists"),
        (edit_real(WEB, "10.0.0.7:81", None), "no_such_real", "no such real"),
        (del_real(WEB, "10.0.0.7:81"), "no_such_real", "no such real"),
        (drain(WEB, "10.0.0.7:81"), "no_such_real", "no such real"),
        (
            add_service(none, Some("x")),
            "unknown_scheduler",
            "unknown scheduler \"x\" (known: rr, wrr, lc, wlc, sed, nq, fo, ovf, sh, mh, dh, twos, swrr)",
        ),
        (
            edit_service(WEB, Some("x")),
            "unknown_scheduler",
            "unknown scheduler \"x\" (known: rr, wrr, lc, wlc, sed, nq, fo, ovf, sh, mh, dh, twos, swrr)",
        ),
        (threshold(Some(1), Some(2)), "bad_threshold", crossed),
        (add_real(WEB, "10.9.9.9:80", 1), "no_route", "no route to 10.9.9.9"),
        (add_real(WEB, "10.0.0.27:80", 65_536), "bad_weight", "weight 65536 is above 65535"),
        (edit_real(WEB, "10.0.0.7:80", Some(65_536)), "bad_weight", "weight 65536 is above 65535"),
        (
            Command::Timeouts { set: Some([0, 2_678_401, 0].into()) },
            "bad_timeout",
            "timeout 2678401 is above 2678400 seconds (31 days)",
        ),
        (restore(&["", "# nothing"]), "bad_line", "no line to restore (to remove all services: lbctl clear)"),
        (
            restore(&["-A -t 192.168.10.100:80", "", "-a -t 192.168.10.100:81 -r 10.0.0.7 -m"]),
            "bad_line",
            "line 3: no such service",
        ),
        (
            restore(&["-A -t 192.168.10.100:80", "-a -t 192.168.10.100:80 -r 10.0.0.7 -m -x 1 -y 2"]),
            "bad_line",
            "line 2: Numerical result out of range: the lower threshold 2 is above the upper one 1",
        ),
        (
            restore(&["# twice", "-A -t 192.168.10.100:80", "-A -t 192.168.10.100:80"]),
            "bad_line",
            "line 3: service exists",
        ),
    ];
    for (command, code, message) in cases {
        let refusal = desk.refuses(&command);
        assert_eq!((refusal.code.as_str(), refusal.message.as_str()), (code, message), "{command:?}");
    }
    let later = desk.refuses(&add_service(none, Some("lblc")));
    assert_eq!(later.code, "not_supported");
    assert!(later.message.starts_with("not supported yet: scheduler \"lblc\""), "{later:?}");
}

#[test]
fn addresses_that_no_host_can_have_are_refused() {
    let desk = Desk::with_web();
    for vip in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "192.168.10.255",
        "10.0.0.0",
        "250.1.1.1",
    ] {
        let refusal = desk.refuses(&add_service(&format!("tcp://{vip}:80"), None));
        assert_eq!(refusal.code, "bad_address", "{refusal:?}");
        let refusal = desk.refuses(&add_real(WEB, &format!("{vip}:80"), 1));
        assert_eq!(refusal.code, "bad_address", "{refusal:?}");
    }
    for own in ["192.168.10.100:80", "192.168.10.100:8080", "10.0.0.8:80"] {
        assert_eq!(desk.refuses(&add_real(WEB, own, 1)).code, "bad_address", "{own}");
    }
    let refusal = desk.refuses(&add_service("udp://10.0.0.17:53", None));
    assert_eq!(refusal.message, "10.0.0.17 cannot be a VIP: it is the address of a real");
    // The gateway of a route, and a neighbour of the file.
    for other in ["10.0.0.1", "10.0.0.7"] {
        let expected = format!("{other} cannot be a VIP: it is the address of a gateway or neighbour");
        assert_eq!(desk.refuses(&add_service(&format!("udp://{other}:53"), None)).message, expected);
        let line = format!("-A -u {other}:53");
        assert_eq!(desk.refuses(&restore(&[&line])).message, format!("line 1: {expected}"));
    }
    let crossed = ["-A -t 1.1.1.1:1", "-A -t 10.0.0.50:1", "-a -t 1.1.1.1:1 -r 10.0.0.50:1 -m"];
    let expected = "line 3: 10.0.0.50 cannot be a real: it is an own address or VIP";
    assert_eq!(desk.refuses(&restore(&crossed)).message, expected);
}

#[test]
fn services_on_one_port_on_ranges_and_on_any_stand_beside_each_other() {
    let mut desk = Desk::with_web();
    let all = ["tcp://192.168.10.100:0", "tcp://192.168.10.100:80-90", "tcp://192.168.10.100:91-99"];
    for service in all {
        desk.does(&add_service(service, None));
        desk.does(&add_real(service, "10.0.0.7:0", 1));
        desk.does(&add_real(service, "10.0.0.7:8080", 1));
        assert_eq!(desk.refuses(&add_service(service, None)).code, "service_exists");
        assert_eq!(desk.refuses(&add_real(service, "10.0.0.7:0", 1)).code, "real_exists");
    }
    let refusal = desk.refuses(&add_service("tcp://192.168.10.100:90-91", None));
    let expected = "some of these ports are those of the service on ports 80-90";
    assert!(
        [expected, &expected.replace("80-90", "91-99")].contains(&refusal.message.as_str()),
        "{refusal:?}"
    );
    desk.does(&add_real(WEB, "10.0.0.27:0", 1));
    for service in all {
        desk.does(&Command::DelService { service: listen(service) });
    }
    assert_eq!(desk.weights(WEB)[0], ("10.0.0.27:0".into(), 1));
}

#[test]
fn the_newest_real_comes_first_and_each_step_is_noted_for_wrr() {
    let mut desk = Desk::with_web();
    assert_eq!(desk.weights(WEB), [("10.0.0.17:80".into(), 1), ("10.0.0.7:80".into(), 1)]);
    desk.does(&edit_real(WEB, "10.0.0.7:80", Some(4)));
    desk.does(&edit_real(WEB, "10.0.0.17:80", Some(6)));
    assert_eq!(desk.weights(WEB), [("10.0.0.17:80".into(), 6), ("10.0.0.7:80".into(), 4)]);
    let service = &desk.model.services()[&listen(WEB).0];
    // The service and two reals were added, one was edited: four steps before this one.
    assert_eq!((service.first_change, &service.changes[..]), (4, &[Change { divisor: 2, top: 5 }][..]));
}

#[test]
fn an_edit_that_changes_nothing_is_a_step_but_draining_twice_is_not() {
    let mut desk = Desk::with_web();
    let steps = |desk: &Desk| {
        let service = &desk.model.services()[&listen(WEB).0];
        service.first_change + service.changes.len() as u64
    };
    let before = steps(&desk);
    desk.does(&edit_real(WEB, "10.0.0.7:80", None));
    assert_eq!(steps(&desk), before + 1);
    assert_eq!(desk.does(&drain(WEB, "10.0.0.7:80")), Effect::Changed);
    assert_eq!(desk.does(&drain(WEB, "10.0.0.7:80")), Effect::None);
    assert_eq!(steps(&desk), before + 2);
    assert_eq!(desk.weights(WEB)[1].1, 0);
}

#[test]
fn a_drained_real_is_emptied_until_it_has_weight_again() {
    let mut desk = Desk::with_web();
    let emptied = |desk: &Desk| {
        let reals = &desk.model.services()[&listen(WEB).0].reals;
        reals.iter().map(|real| (real.endpoint.to_string(), real.is_emptied)).collect::<Vec<_>>()
    };
    let reset = match drain(WEB, "10.0.0.7:80") {
        Command::Drain { service, real, .. } => Command::Drain { service, real, reset: true },
        other => other,
    };
    desk.does(&drain(WEB, "10.0.0.7:80"));
    assert!(emptied(&desk).iter().all(|(_, is_emptied)| !is_emptied));
    assert_eq!(desk.does(&reset), Effect::Changed);
    assert_eq!(desk.does(&reset), Effect::None);
    assert_eq!(desk.does(&drain(WEB, "10.0.0.7:80")), Effect::None);
    let of = |name: &str| name == "10.0.0.7:80";
    assert!(emptied(&desk).iter().all(|(name, is_emptied)| of(name) == *is_emptied));
    desk.does(&edit_real(WEB, "10.0.0.7:80", Some(3)));
    assert!(emptied(&desk).iter().all(|(_, is_emptied)| !is_emptied));
}

#[test]
fn only_another_scheduler_starts_scheduling_anew() {
    let mut desk = Desk::with_web();
    let generation = |desk: &Desk| desk.model.services()[&listen(WEB).0].generation;
    let first = generation(&desk);
    assert_eq!(desk.does(&edit_service(WEB, Some("wrr"))), Effect::None);
    assert_eq!(desk.does(&edit_service(WEB, None)), Effect::None);
    assert_eq!(desk.does(&edit_service(WEB, Some("rr"))), Effect::Changed);
    let second = generation(&desk);
    assert_ne!(first, second);
    desk.does(&Command::DelService { service: listen(WEB) });
    desk.does(&add_service(WEB, Some("rr")));
    assert!(![first, second].contains(&generation(&desk)));
}

#[test]
fn what_is_saved_restores_to_the_same_order() {
    let mut desk = Desk::with_web();
    desk.does(&add_real(WEB, "10.0.0.3:8080", 5));
    desk.does(&add_service("udp://192.168.10.100:53", Some("rr")));
    desk.does(&Command::Timeouts { set: Some([600, 0, 30].into()) });
    let lines = save(&desk.model);
    assert_eq!(
        lines,
        [
            "--set 600 120 30",
            "-A -t 192.168.10.100:80 -s wrr",
            "-a -t 192.168.10.100:80 -r 10.0.0.7:80 -m -w 1",
            "-a -t 192.168.10.100:80 -r 10.0.0.17:80 -m -w 1",
            "-a -t 192.168.10.100:80 -r 10.0.0.3:8080 -m -w 5",
            "-A -u 192.168.10.100:53 -s rr",
        ]
    );
    let mut other = Desk::new();
    other.does(&add_service("tcp://192.168.10.100:443", None));
    other.does(&Command::Restore { lines: lines.iter().collect(), dry_run: false });
    assert_eq!(save(&other.model), lines);
    assert_eq!(other.weights(WEB), desk.weights(WEB));
    // As if added one by one: the service itself, then three reals.
    let service = &other.model.services()[&listen(WEB).0];
    let (one, three) = (Change { divisor: 1, top: 1 }, Change { divisor: 1, top: 5 });
    assert_eq!(service.changes, [Change::NONE, one, one, three]);
}

#[test]
fn a_change_shares_the_services_that_it_does_not_touch() {
    let mut desk = Desk::with_web();
    desk.does(&add_service("udp://192.168.10.100:53", None));
    let before = desk.model.clone();
    desk.does(&edit_real(WEB, "10.0.0.7:80", Some(9)));
    let dns = listen("udp://192.168.10.100:53").0;
    assert!(Arc::ptr_eq(&before.services()[&dns], &desk.model.services()[&dns]));
    assert!(!Arc::ptr_eq(&before.services()[&listen(WEB).0], &desk.model.services()[&listen(WEB).0]));
}

#[test]
fn the_time_of_a_restore_grows_with_its_lines_and_the_limit_holds() {
    let desk = Desk::new();
    let mut lines = vec!["-A -t 192.168.10.100:80".to_owned()];
    let line = |n: usize| format!("-a -t 192.168.10.100:80 -r 172.16.{}.{}:80 -m", n / 250, n % 250 + 1);
    lines.extend((0..10_000).map(line));
    // Of processor time, in nanoseconds: the machine may be busy with other things.
    let spent = || {
        let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        schedstat.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let restore = |reals: usize| {
        let command = Command::Restore { lines: lines[..=reals].iter().collect(), dry_run: false };
        let times = (0..5).map(|_| {
            let start = spent();
            let (model, _) = apply(&desk.model, &desk.network, &command).unwrap();
            assert_eq!(model.real_count(), reals);
            spent() - start
        });
        times.min().unwrap()
    };
    let (few, many) = (restore(1000), restore(10_000));
    assert!(many < 30 * few, "a time that grows with the square: {few} ns for 1,000, {many} ns for 10,000");
    let ports = (1..=65_535).map(|port| format!("-a -t 192.168.10.100:80 -r 10.0.0.7:{port} -m"));
    lines.extend(ports);
    let refusal = desk.refuses(&Command::Restore { lines: lines.iter().collect(), dry_run: false });
    assert_eq!(refusal.message, "line 65538: too many reals: 65536 at most (and 9998 more faulty lines)");
}
