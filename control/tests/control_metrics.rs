//! Metrics, as the control socket gives them: what is in a scrape, and that a large one delays nobody.

mod control_lab;
mod exposition;

use control::config::metrics::{Address, Names};
use control_lab::{Lab, PATIENCE, config_in};
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{MAX_REALS, RealId};
use exposition::{Format, Scrape, parse};
use saphyr::{LoadableYamlNode, Yaml};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write;
use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

const METRICS: &str = r#""command":"metrics""#;

fn scrape(lab: &Lab) -> Scrape {
    parse(lab.ok(METRICS)["text"].as_str().unwrap(), Format::Prometheus)
}

/// A service with two reals, the second of weight 0, and one on a range of ports.
const SERVICES: &str = r#""command":"restore","lines":["-A -t 192.168.10.100:80 -s wrr",
    "-a -t 192.168.10.100:80 -r 10.0.0.7:8080 -m -w 1","-a -t 192.168.10.100:80 -r 10.0.0.17:8080 -m -w 0",
    "-A -t 192.168.10.100:8000-8100 -s rr","-a -t 192.168.10.100:8000-8100 -r 10.0.0.7 -m -w 5"]"#;

fn services() -> String {
    SERVICES.replace('\n', " ")
}

const HTTP: [(&str, &str); 3] = [("protocol", "TCP"), ("address", "192.168.10.100"), ("port", "80")];

#[test]
fn a_scrape_has_what_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(config_in(directory.path()), 2, 0).unwrap();
    lab.ok(&services());
    let ids: Vec<RealId> = (0..3).map(RealId).collect();
    for (index, worker) in lab.workers.iter().enumerate() {
        let index = index as u64;
        for id in &ids {
            let real = worker.counters.real(*id);
            real.connections.add(1);
            real.in_packets.add(10);
            real.out_packets.add(20 + index);
            real.in_bytes.add(1000);
            real.out_bytes.add(2000);
            real.total.add(3);
            real.states.add(2);
        }
        worker.counters.rx_packets.add(7 + index);
        worker.counters.busy_nanoseconds.add(1_500_000_000);
        worker.counters.dropped(DropReason::NoService).add(5);
        worker.counters.misdirected[1].add(4);
    }
    let scrape = scrape(&lab);
    let value = |name: &str, labels: &[(&str, &str)]| scrape.value(name, labels);
    assert_eq!(value("natlb_service_connections_total", &HTTP), 4.0);
    assert_eq!(value("natlb_service_packets_total", &[&HTTP[..], &[("direction", "in")]].concat()), 40.0);
    assert_eq!(value("natlb_service_packets_total", &[&HTTP[..], &[("direction", "out")]].concat()), 82.0);
    assert_eq!(value("natlb_service_bytes_total", &[&HTTP[..], &[("direction", "out")]].concat()), 8000.0);
    assert_eq!((value("natlb_service_active", &HTTP), value("natlb_service_inactive", &HTTP)), (8.0, 4.0));
    assert_eq!(value("natlb_service_reals", &HTTP), 2.0);
    assert_eq!(value("natlb_service_reals_available", &HTTP), 1.0);
    assert_eq!(value("natlb_service_reals", &[("port", "8000-8100")]), 1.0);
    let real = [&HTTP[..], &[("real", "10.0.0.7"), ("real_port", "8080")]].concat();
    assert_eq!(value("natlb_real_connections_total", &real), 2.0);
    assert_eq!((value("natlb_real_active", &real), value("natlb_real_weight", &real)), (4.0, 1.0));
    assert_eq!(value("natlb_real_weight", &[("port", "8000-8100"), ("real_port", "0")]), 5.0);
    assert_eq!(value("natlb_worker_rx_packets_total", &[("worker", "1")]), 8.0);
    assert_eq!(value("natlb_worker_busy_seconds_total", &[("worker", "0")]), 1.5);
    assert_eq!(value("natlb_worker_cycles_total", &[("worker", "0")]), 3e9);
    assert_eq!(value("natlb_worker_capacity", &[("worker", "0")]), 1024.0);
    for reason in DropReason::ALL {
        let expected = if *reason == DropReason::NoService { 10.0 } else { 0.0 };
        assert_eq!(value("natlb_drops_total", &[("reason", reason.name())]), expected, "{reason:?}");
    }
    assert_eq!(value("natlb_port_misdirected_total", &[("port", "dip0"), ("side", "dip")]), 8.0);
    assert_eq!(value("natlb_port_rx_bytes_total", &[("port", "vip0")]), 60.0);
    assert_eq!(value("natlb_port_link_up", &[("port", "vip0")]), 1.0);
    assert_eq!(value("natlb_port_rx_nobuf_total", &[("port", "dip0"), ("side", "dip")]), 0.0);
    assert_eq!(scrape.samples("natlb_port_tx_errors_total", &[]), [] as [&exposition::Sample; 0]);
    assert_eq!(value("natlb_connections_kept", &[]), 0.0);
    assert_eq!(value("natlb_neighbours", &[("state", "fixed")]), 1.0);
    assert_eq!((value("natlb_services", &[]), value("natlb_reals", &[])), (2.0, 3.0));
    assert_eq!((value("natlb_ready", &[]), value("natlb_metrics_omitted_reals", &[])), (1.0, 0.0));
    assert_eq!(value("natlb_build_info", &[("dpdk", "DPDK 0")]), 1.0);
    let version = lab.ok(r#""command":"status""#)["config_version"].as_f64().unwrap();
    assert_eq!(value("natlb_config_version", &[]), version);
    assert!(scrape.names().iter().all(|name| name.starts_with("natlb_")));
    // A device that does not count says nothing, rather than 0.
    lab.state.lock().unwrap().is_silent = true;
    lab.state.lock().unwrap().has_no_link = true;
    let scrape = self::scrape(&lab);
    assert_eq!(scrape.samples("natlb_port_rx_missed_total", &[]), [] as [&exposition::Sample; 0]);
    assert_eq!(scrape.value("natlb_port_link_up", &[("port", "vip0")]), 0.0);
}

#[test]
fn names_of_node_exporter_and_a_limit_of_reals() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config_in(directory.path());
    config.control.metrics.names = Names { natlb: false, node_ipvs: true };
    config.control.metrics.most_reals = 3;
    let lab = Lab::start(config, 1, 0).unwrap();
    lab.ok(&services());
    lab.workers[0].counters.real(RealId(0)).in_bytes.add(77);
    lab.workers[0].counters.real(RealId(0)).connections.add(1);
    let scrape = |lab: &Lab| self::scrape(lab);
    let first = scrape(&lab);
    let backend = [
        ("local_address", "192.168.10.100"),
        ("local_port", "80"),
        ("remote_address", "10.0.0.7"),
        ("remote_port", "8080"),
        ("proto", "TCP"),
        ("local_mark", ""),
    ];
    assert_eq!(first.value("node_ipvs_backend_weight", &backend), 1.0);
    assert_eq!(first.value("node_ipvs_incoming_bytes_total", &[]), 77.0);
    for name in [
        "node_ipvs_connections_total",
        "node_ipvs_incoming_packets_total",
        "node_ipvs_outgoing_packets_total",
        "node_ipvs_outgoing_bytes_total",
        "node_ipvs_backend_connections_active",
        "node_ipvs_backend_connections_inactive",
    ] {
        assert!(first.names().contains(name), "{name}");
    }
    assert!(!first.names().iter().any(|name| name.starts_with("natlb_real")
        && *name != "natlb_reals"
        && *name != "natlb_reals_limit"));
    // Totals go on where a service is removed: a counter that falls is taken for one that began anew.
    lab.ok(r#""command":"del-service","service":"tcp://192.168.10.100:80""#);
    let second = scrape(&lab);
    assert_eq!(second.value("node_ipvs_connections_total", &[]), 1.0);
    assert_eq!(second.samples("node_ipvs_backend_weight", &[]).len(), 1);
    lab.ok(r#""command":"zero""#);
    assert_eq!(scrape(&lab).value("node_ipvs_connections_total", &[]), 0.0);
    // With more reals than there may be none is shown.
    lab.ok(&services());
    lab.ok(r#""command":"add-real","service":"tcp://192.168.10.100:80","real":"10.0.0.99:80""#);
    let third = scrape(&lab);
    assert_eq!(third.value("natlb_metrics_omitted_reals", &[]), 4.0);
    assert_eq!(third.samples("node_ipvs_backend_weight", &[]).len(), 0);
}

/// What stands in a file of `scripts/metrics`.
fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/metrics").join(name);
    fs::read_to_string(path).unwrap()
}

/// Expressions and legends of the dashboard.
fn of_dashboard(value: &Value, expressions: &mut Vec<String>, legends: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match (key.as_str(), value) {
                    ("expr", Value::String(text)) => expressions.push(text.clone()),
                    // What a variable is made of.
                    ("query", Value::String(text)) if text.contains('(') => expressions.push(text.clone()),
                    ("legendFormat", Value::String(text)) => legends.push(text.clone()),
                    _ => of_dashboard(value, expressions, legends),
                }
            }
        }
        Value::Array(array) => array.iter().for_each(|value| of_dashboard(value, expressions, legends)),
        _ => {}
    }
}

/// Expressions of the dashboard with their legends.
fn targets(value: &Value) -> Vec<(&str, &str)> {
    match value {
        Value::Object(object) => match (object.get("expr"), object.get("legendFormat")) {
            (Some(Value::String(expression)), Some(Value::String(legend))) => vec![(expression, legend)],
            _ => object.values().flat_map(targets).collect(),
        },
        Value::Array(array) => array.iter().flat_map(targets).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn lines_of_several_balancers_are_told_apart() {
    let dashboard: Value = serde_json::from_str(&shipped("grafana.json")).unwrap();
    let targets = targets(&dashboard);
    assert!(targets.len() >= 30, "{}", targets.len());
    for (expression, legend) in targets {
        let sums_up = words(expression).iter().any(|(word, rest)| {
            ["sum", "min", "max", "count"].contains(word) && !rest.starts_with(" without")
        });
        assert!(sums_up || legend.contains("{{instance}}"), "{expression}: {legend}");
    }
}

/// Expressions and texts of the alert rules.
fn of_alerts() -> (Vec<String>, Vec<String>) {
    let documents = Yaml::load_from_str(&shipped("alerts.yml")).unwrap();
    let (mut expressions, mut texts) = (Vec::new(), Vec::new());
    let mut names = BTreeSet::new();
    for group in documents[0]["groups"].as_sequence().unwrap() {
        for rule in group["rules"].as_sequence().unwrap() {
            let text = |value: &Yaml| value.as_str().unwrap().to_owned();
            assert!(names.insert(text(&rule["alert"])), "an alert twice");
            expressions.push(text(&rule["expr"]));
            assert!(["critical", "warning", "info"].contains(&&*text(&rule["labels"]["severity"])));
            texts.push(text(&rule["annotations"]["summary"]));
        }
    }
    (expressions, texts)
}

/// The words of an expression, without what stands in quotes, each with what follows it.
fn words(expression: &str) -> Vec<(&str, &str)> {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut words = Vec::new();
    let mut rest = expression;
    while let Some(begin) = rest.find(|c: char| is_of_word(c) || c == '"') {
        rest = &rest[begin..];
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted.split_once('"').unwrap().1;
            continue;
        }
        let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
        words.push(rest.split_at(end));
        rest = &rest[end..];
    }
    words
}

/// What is wrong with an expression, compared with a scrape.
fn fault(expression: &str, scrape: &Scrape) -> Option<String> {
    let known: BTreeMap<&str, Vec<&exposition::Sample>> =
        scrape.names().into_iter().map(|name| (name, scrape.samples(name, &[]))).collect();
    let mut count = 0;
    for (word, rest) in words(expression) {
        if word == "up" {
            count += 1;
        }
        if !word.starts_with("natlb_") {
            continue;
        }
        count += 1;
        let Some(samples) = known.get(word).filter(|samples| !samples.is_empty()) else {
            return Some(format!("{word} is not in a scrape"));
        };
        let selector = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |it| it.0);
        for matcher in selector.split(',').filter(|matcher| !matcher.is_empty()) {
            let (label, value) = matcher.split_once('=').unwrap();
            let mut values = value.trim_start_matches('~').trim_matches('"').split('|');
            let has = |value: &str| {
                samples.iter().any(|sample| {
                    let found = sample.labels.get(label);
                    found.is_some_and(|found| value.starts_with('$') || found == value)
                })
            };
            // Prometheus itself adds these.
            let missing = values.find(|value| label != "instance" && !has(value));
            if let Some(value) = missing {
                return Some(format!("{word} has no {label} {value}"));
            }
        }
    }
    (count == 0).then(|| "no metric".to_owned())
}

#[test]
fn the_dashboard_and_the_alerts_name_what_is_in_a_scrape() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(config_in(directory.path()), 1, 0).unwrap();
    lab.ok(&services());
    let scrape = scrape(&lab);
    let (mut expressions, mut legends) = of_alerts();
    assert!(expressions.len() >= 10);
    of_dashboard(&serde_json::from_str(&shipped("grafana.json")).unwrap(), &mut expressions, &mut legends);
    assert!(expressions.len() >= 50 && legends.len() >= 50, "{} {}", expressions.len(), legends.len());
    let faults: Vec<_> = expressions
        .iter()
        .filter_map(|expression| Some(format!("{expression}: {}", fault(expression, &scrape)?)))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let of_samples = scrape.0.values().flat_map(|family| &family.samples).flat_map(|it| it.labels.keys());
    let labels: BTreeSet<&str> = of_samples.map(String::as_str).chain(["instance"]).collect();
    for text in &legends {
        for named in text.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")) {
            let label = named.0.trim().trim_start_matches("$labels.");
            assert!(label.starts_with("$value") || labels.contains(label), "{text}");
        }
    }
    // What is wrong is found.
    for wrong in [
        "rate(natlb_nothing_total[5m])",
        "natlb_drops_total{reason=\"bad_luck\"}",
        "natlb_ready{port=\"vip0\"}",
        "rate(natlb_worker_busy_total[5m])",
        "sum(other)",
    ] {
        assert!(fault(wrong, &scrape).is_some(), "{wrong}");
    }
}

/// Lines that are written in a turn of the loop, at most: two of each of 256 reals, and what is said of a family.
const MOST_LINES: usize = 520;
/// Commands that are answered during a large scrape: there are some two thousand turns between which they can be.
const ANSWERS: usize = 20;
/// Services of the large configurations; the first has half of the reals.
const FEW: usize = 2;
const MANY: usize = 8192;

/// As a state file has it.
fn large(services: usize) -> String {
    let mut lines = String::new();
    for service in 0..services {
        let vip = format!("192.168.11.{}:{}", 1 + service % 250, 80 + service / 250);
        writeln!(lines, "-A -t {vip} -s wrr").unwrap();
        let half = MAX_REALS / 2;
        let rest = |service: usize| half + service * half / (services - 1);
        let reals = if service == 0 { 0..half } else { rest(service - 1)..rest(service) };
        for real in reals {
            let address = format!("172.{}.{}.{}", 16 + real / 62_500, real / 250 % 250, 1 + real % 250);
            writeln!(lines, "-a -t {vip} -r {address}:80 -m -w 1").unwrap();
        }
    }
    lines
}

/// The bodies of an answer's chunks.
fn chunks(answer: &str) -> Vec<&str> {
    let (head, mut body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Transfer-Encoding: chunked"), "{head}");
    let mut chunks = Vec::new();
    loop {
        let (length, rest) = body.split_once("\r\n").unwrap();
        let (chunk, rest) = rest.split_at(usize::from_str_radix(length, 16).unwrap());
        body = rest.strip_prefix("\r\n").unwrap();
        if chunk.is_empty() {
            return chunks;
        }
        chunks.push(chunk);
    }
}

#[test]
fn a_scrape_of_65_536_reals_of_few_services_delays_no_command() {
    scrape_of_all_reals(FEW);
}

#[test]
fn a_scrape_of_65_536_reals_of_many_services_delays_no_command() {
    scrape_of_all_reals(MANY);
}

/// What is written in a turn of the loop is a chunk of its own.
fn scrape_of_all_reals(services: usize) {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config_in(directory.path());
    let socket = directory.path().join("run/metrics.sock");
    config.control.metrics.address = Some(Address::Unix(socket.clone()));
    config.control.metrics.most_reals = MAX_REALS;
    let state = config.control.state.as_ref().unwrap();
    fs::create_dir_all(state.parent().unwrap()).unwrap();
    fs::write(state, large(services)).unwrap();
    let lab = Lab::start(config, 1, 0).unwrap();
    let mut client = lab.connect();
    let is_over = &AtomicBool::new(false);
    let (answer, answered, took) = thread::scope(|scope| {
        let began = Instant::now();
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: lbd\r\n\r\n").unwrap();
        let scrape = scope.spawn(move || {
            let mut answer = String::new();
            let read = stream.read_to_string(&mut answer);
            is_over.store(true, Ordering::Relaxed);
            read.map(|_| answer)
        });
        let mut answered = 0;
        while !is_over.load(Ordering::Relaxed) {
            client.ask(r#""command":"timeouts""#);
            answered += 1;
        }
        (scrape.join().unwrap().unwrap(), answered, began.elapsed())
    });
    println!(
        "{answered} commands were answered during a scrape of {} bytes, which took {took:?}",
        answer.len()
    );
    assert!(answered >= ANSWERS, "{answered}");
    let chunks = chunks(&answer);
    let longest = chunks.iter().map(|chunk| chunk.lines().count()).max().unwrap();
    assert!(longest <= MOST_LINES, "{longest} lines in a turn");
    let text = chunks.concat();
    for name in ["natlb_service_packets_total", "natlb_service_reals"] {
        let of_name = text.lines().filter(|line| line.starts_with(&format!("{name}{{"))).count();
        assert_eq!(of_name, services * if name.contains("packets") { 2 } else { 1 }, "{name}");
    }
    for name in ["natlb_real_connections_total", "natlb_real_packets_total", "natlb_real_weight"] {
        let of_name = format!("{name}{{");
        let lines = text.lines().filter(|line| line.starts_with(&of_name));
        let series: HashSet<_> = lines.map(|line| line.rsplit_once(' ').unwrap().0).collect();
        let directions = if name.contains("packets") { 2 } else { 1 };
        assert_eq!(series.len(), directions * MAX_REALS, "each real has lines of its own: {name}");
        assert_eq!(text.matches(&format!("# TYPE {name} ")).count(), 1, "{name}");
    }
}
