//! HTTP: what stands under its paths, and clients that write malformed, oversized, slow and pipelined requests, or do
//! not read.

mod control_lab;
mod exposition;

use control::api::http::{LONGEST_REQUEST, MAX_CLIENTS};
use control::config::metrics::Address;
use control_lab::{Lab, PATIENCE, config_in, until};
use exposition::{Format, parse};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

const CONNECTIONS: usize = 30_000;

fn socket(directory: &Path) -> PathBuf {
    directory.join("run/metrics.sock")
}

fn start(directory: &Path, connections: usize) -> Lab {
    let mut config = config_in(directory);
    config.control.metrics.address = Some(Address::Unix(socket(directory)));
    let lab = Lab::start(config, 1, connections).unwrap();
    lab.ok(r#""command":"add-service","service":"tcp://192.168.10.100:80""#);
    lab.ok(r#""command":"add-real","service":"tcp://192.168.10.100:80","real":"10.0.0.7:80""#);
    lab
}

fn connect(directory: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket(directory)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn json(&self) -> Value {
        assert_eq!((self.status, self.header("content-type")), (200, "application/json"), "{}", self.body);
        assert!(self.body.ends_with('\n'));
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Reads an answer to the end of the connection, and takes it apart; `None`: it is not whole.
fn answer(mut stream: impl Read, is_head: bool) -> Option<Answer> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
    let headers: BTreeMap<_, _> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let body = match headers.get("content-length") {
        _ if is_head => {
            assert_eq!(body, "");
            String::new()
        }
        Some(length) => {
            assert_eq!(length.parse(), Ok(body.len()));
            body.to_owned()
        }
        None if headers.contains_key("transfer-encoding") => chunks(body)?,
        None => body.to_owned(),
    };
    assert_eq!(headers["connection"], "close");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    Some(Answer { status, headers, body })
}

/// What came in chunks; `None`: the last is missing.
fn chunks(mut body: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n")?;
        let length = usize::from_str_radix(length, 16).unwrap();
        whole.push_str(rest.get(..length)?);
        body = rest[length..].strip_prefix("\r\n")?;
        if length == 0 {
            assert_eq!(body, "", "behind the last chunk");
            return Some(whole);
        }
    }
}

/// What these bytes are answered with, from a client that then says nothing more.
fn asked(directory: &Path, bytes: &[u8]) -> Answer {
    let mut stream = connect(directory);
    // It may be refused, and closed, before everything is written.
    let _ = stream.write_all(bytes);
    answer(stream, bytes.starts_with(b"HEAD")).unwrap_or_else(|| {
        panic!("no whole answer to {}", String::from_utf8_lossy(&bytes[..bytes.len().min(80)]))
    })
}

fn get(directory: &Path, path: &str) -> Answer {
    asked(directory, format!("GET {path} HTTP/1.1\r\nHost: lbd\r\n\r\n").as_bytes())
}

#[test]
fn every_path_has_its_page() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let lab = start(directory, 3);
    for (path, request) in [
        ("list", r#""command":"list""#),
        ("stats", r#""command":"stats""#),
        ("rate", r#""command":"rate""#),
        ("timeouts", r#""command":"timeouts""#),
        ("connections", r#""command":"connections""#),
    ] {
        assert_eq!(get(directory, &format!("/api/v1/{path}")).json(), lab.ok(request), "{path}");
    }
    let status = get(directory, "/api/v1/status").json();
    let expected = lab.ok(r#""command":"status""#);
    assert_eq!(status["config_version"], expected["config_version"]);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&status), keys(&expected));

    let metrics = get(directory, "/metrics");
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let old = parse(&metrics.body, Format::Prometheus);
    let request = "GET /metrics HTTP/1.1\r\nHost: lbd\r\nAccept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n\r\n";
    let metrics = asked(directory, request.as_bytes());
    assert_eq!(metrics.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let new = parse(&metrics.body, Format::OpenMetrics);
    let samples = |scrape: &exposition::Scrape| -> Vec<_> {
        let all = scrape.0.values().flat_map(|family| &family.samples);
        let mut names: Vec<_> = all.map(|sample| (sample.name.clone(), sample.labels.clone())).collect();
        names.sort();
        names
    };
    assert_eq!(samples(&old), samples(&new), "both forms have the same series");
    assert_eq!(new.0["natlb_service_bytes"].unit, "bytes");

    let health = get(directory, "/healthz");
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    for path in [
        "//",
        "/index.html",
        "/favicon.ico",
        "/api/v1/",
        "/metrics/",
        "/api/v1/save",
        "/api/v1/clear",
        "/%2e%2e/etc/passwd",
        "*",
    ] {
        let none = get(directory, path);
        assert_eq!((none.status, none.header("content-type")), (404, "text/plain; charset=utf-8"), "{path}");
        assert!(none.body.contains("/metrics"), "{}", none.body);
    }
    let paths =
        ["/metrics", "/healthz", "/", "/none", "/api/v1/connections", "/api/v1/list", "/api/v1/services"];
    for path in [&paths[..], &["/api/v1/recent", "/api/v1/reasons", "/api/v1/services?count=0"]].concat() {
        let head = asked(directory, format!("HEAD {path} HTTP/1.1\r\nHost: lbd\r\n\r\n").as_bytes());
        let got = get(directory, path);
        assert_eq!((head.status, head.header("content-type")), (got.status, got.header("content-type")));
    }
    let old = asked(directory, b"GET /metrics HTTP/1.0\r\n\r\n");
    assert_eq!(old.header("transfer-encoding"), "");
    parse(&old.body, Format::Prometheus);

    let mode = std::fs::metadata(socket(directory)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    lab.stop();
    assert!(!socket(directory).exists());
}

#[test]
fn metrics_of_some_services_only() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut config = config_in(directory);
    config.control.metrics.address = Some(Address::Unix(socket(directory)));
    config.control.metrics.names.node_ipvs = true;
    config.control.metrics.most_reals = 2;
    let lab = Lab::start(config, 1, 0).unwrap();
    let lines = ["-A -t 192.168.10.100:80", "-A -u 192.168.10.100:80", "-A -t 192.168.10.100:8000-8100"]
        .into_iter()
        .flat_map(|service| {
            let reals = [7, 17].map(|host| format!("-a{} -r 10.0.0.{host}:80 -m", &service[2..]));
            [service.to_owned()].into_iter().chain(reals)
        });
    lab.ok(&format!(r#""command":"restore","lines":{}"#, serde_json::json!(lines.collect::<Vec<_>>())));
    lab.workers[0].counters.real(dataplane::names::ids::RealId(0)).connections.add(3);
    let all = parse(&get(directory, "/metrics").body, Format::Prometheus);
    assert_eq!(all.value("natlb_metrics_omitted_reals", &[]), 6.0);
    assert_eq!(all.samples("natlb_service_connections_total", &[]).len(), 3);
    for (query, count) in [
        ("service=tcp://192.168.10.100:80", 1),
        ("service=tcp%3A%2F%2F192.168.10.100%3A80", 1),
        ("service=192.168.10.100:8000-8100", 1),
        ("service=192.168.10.100:80", 2),
        ("service=udp://192.168.10.100:80&service=192.168.10.100:8000-8100", 2),
    ] {
        let part = get(directory, &format!("/metrics?{query}"));
        assert_eq!(part.status, 200, "{}", part.body);
        let part = parse(&part.body, Format::Prometheus);
        let services = part.samples("natlb_service_connections_total", &[]);
        assert_eq!(services.len(), count, "{query}");
        for sample in services {
            assert!(all.samples(&sample.name, &[]).contains(&sample), "{query}: {sample:?}");
        }
        // Nothing but these and their reals, and no more reals than others have.
        let omitted = part.value("natlb_metrics_omitted_reals", &[]);
        assert_eq!(omitted, if count == 1 { 0.0 } else { 4.0 }, "{query}");
        let reals = part.samples("natlb_real_weight", &[]).len();
        assert_eq!(reals, if count == 1 { 2 } else { 0 }, "{query}");
        assert_eq!(part.samples("node_ipvs_backend_weight", &[]).len(), reals, "{query}");
        for name in part.names() {
            let is_of_them = ["natlb_service_", "natlb_real_", "node_ipvs_backend_"]
                .iter()
                .any(|beginning| name.starts_with(beginning));
            assert!(is_of_them || name == "natlb_metrics_omitted_reals", "{query}: {name}");
        }
    }
    for (query, status, expected) in [
        ("service=", 400, "service: expected VIP:PORT, or tcp://VIP:PORT, found \"\""),
        ("service=web", 400, "service: expected VIP:PORT, or tcp://VIP:PORT, found \"web\""),
        ("service=http://192.168.10.100:80", 400, "service: expected tcp://VIP:PORT, "),
        ("service=192.168.10.100:http", 400, "service: expected VIP:PORT"),
        ("real=10.0.0.7", 400, "/metrics takes service=VIP:PORT, found real"),
        ("service=192.168.10.100:81", 404, "there is no service 192.168.10.100:81"),
        ("service=sctp://192.168.10.100:80", 404, "there is no service sctp://192.168.10.100:80"),
    ] {
        let answer = get(directory, &format!("/metrics?{query}"));
        assert_eq!((answer.status, answer.header("content-type")), (status, "text/plain; charset=utf-8"));
        assert!(answer.body.starts_with(expected), "{query}: {}", answer.body);
    }
    let answer = get(directory, "/healthz?service=192.168.10.100:80");
    assert_eq!((answer.status, &*answer.body), (400, "/healthz takes no parameters, found service\n"));
    lab.stop();
}

#[test]
fn the_page_is_one_file_that_may_ask_only_its_own_host() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let lab = start(directory, 0);
    let page = get(directory, "/");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    let policy = page.header("content-security-policy");
    for part in ["default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "script-src 'sha256-"]
    {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(page.body.starts_with("<!doctype html>") && page.body.ends_with("</html>\n"));
    assert_eq!(asked(directory, b"GET /? HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    assert_eq!(get(directory, "/?a=b").status, 400);
    // What is no page may do nothing in a browser.
    for path in ["/api/v1/status", "/metrics", "/none"] {
        assert!(
            get(directory, path).header("content-security-policy").starts_with("default-src 'none';"),
            "{path}"
        );
    }
    lab.stop();
}

#[test]
fn the_page_is_told_of_services_seconds_and_reasons() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let lab = start(directory, 3);
    lab.ok(r#""command":"add-service","service":"udp://192.168.10.101:53-60","scheduler":"sh""#);
    let all = get(directory, "/api/v1/services").json();
    assert_eq!(
        (&all["matching"], &all["service_count"], &all["real_count"]),
        (&2.into(), &2.into(), &1.into())
    );
    assert_eq!(all["config_version"], lab.ok(r#""command":"status""#)["config_version"]);
    let listed = lab.ok(r#""command":"rate""#);
    for (shown, listed) in
        all["services"].as_array().unwrap().iter().zip(listed["services"].as_array().unwrap())
    {
        for (name, value) in listed.as_object().unwrap() {
            assert_eq!(&shown[name], value, "{name}");
        }
    }
    let some = get(directory, "/api/v1/services?search=udp%3A%2F%2F192.168.10.101&count=1").json();
    assert_eq!((&some["matching"], &some["services"][0]["last_port"]), (&1.into(), &60.into()));
    let reasons = get(directory, "/api/v1/reasons").json();
    let known = |reason: &&Value| {
        reason["name"] == "no_service" && reason["text"].as_str().unwrap().contains("own address")
    };
    assert_eq!(reasons["reasons"].as_array().unwrap().iter().filter(known).count(), 1);
    let seconds = |path: &str| get(directory, path).json()["at_ms"].as_array().unwrap().len();
    until("two seconds have passed", || seconds("/api/v1/recent") >= 2);
    let all = get(directory, "/api/v1/recent").json();
    assert_eq!((&all["ready"], &all["first"]), (&true.into(), &0.into()));
    let next = all["next"].as_u64().unwrap();
    for name in ["span_ms", "rx_packets", "tx_bits", "rx_missed", "conns", "drops", "connections"] {
        assert_eq!(all[name].as_array().unwrap().len() as u64, next, "{name}");
    }
    assert_eq!(all["busy_share"].as_array().unwrap().len(), 1);
    let later = get(directory, &format!("/api/v1/recent?from={}", next - 1)).json();
    assert_eq!((&later["first"], &later["began_ms"]), (&(next - 1).into(), &all["began_ms"]));
    for path in
        ["services?x", "services?count=0", "recent?from=x", "recent?after=1", "reasons?a=b", "status?a"]
    {
        let refused = get(directory, &format!("/api/v1/{path}"));
        assert_eq!(
            (refused.status, refused.header("content-type")),
            (400, "text/plain; charset=utf-8"),
            "{path}"
        );
    }
    lab.stop();
}

#[test]
fn a_port_of_tcp_is_served_too_and_one_that_is_taken_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config_in(directory.path());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    config.control.metrics.address = Some(Address::Tcp(taken.local_addr().unwrap()));
    let error = Lab::start(config.clone(), 1, 0).map(|_| ()).unwrap_err().to_string();
    let begin = format!("[control] metrics: {}: Address already in use", taken.local_addr().unwrap());
    assert!(error.starts_with(&begin) && error.contains("; expected an address of this machine"), "{error}");
    let address = taken.local_addr().unwrap();
    drop(taken);
    let lab = Lab::start(config, 1, 0).unwrap();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // What is sent behind the request is not asked, and must not cost the client its answer.
        let pipelined = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
        stream.write_all(pipelined.as_bytes()).unwrap();
        let answer = answer(stream, false).expect("a whole answer");
        parse(&answer.body, Format::Prometheus);
    }
    lab.stop();
}

#[test]
fn what_is_no_request_is_answered_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let lab = start(directory, 0);
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(LONGEST_REQUEST));
    let endless = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}", "x".repeat(4 * LONGEST_REQUEST));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(1000));
    for (bytes, status) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01"[..], 400),
        (b"{\"v\":1,\"command\":\"status\"}\n", 400),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET /metrics HTTP/3.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"DELETE /api/v1/list HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (long.as_bytes(), 431),
        (endless.as_bytes(), 431),
        (many.as_bytes(), 431),
    ] {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let answer = asked(directory, bytes);
        assert_eq!(answer.status, status, "{shown}");
        assert!(answer.body.ends_with('\n') && answer.body.len() > 10, "{shown}: {}", answer.body);
        assert_eq!(answer.header("allow") == "GET, HEAD", status == 405);
    }
    // Bytes of any kind, whole or cut off: an answer or none, and the daemon goes on.
    let seed = b"GET /metrics HTTP/1.1\r\nHost: lbd\r\nAccept: */*\r\n\r\n";
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % below
    };
    for _ in 0..300 {
        let mut bytes = seed.to_vec();
        for _ in 0..1 + random(4) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = random(256) as u8,
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, random(256) as u8),
            }
        }
        let mut stream = connect(directory);
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        if let Some(answer) = answer(stream, false) {
            assert!([200, 400, 404, 405].contains(&answer.status), "{answer:?}");
        }
    }
    assert_eq!(get(directory, "/healthz").status, 200);
    lab.stop();
}

#[test]
fn clients_that_say_nothing_are_few_and_do_not_stay() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let lab = start(directory, 0);
    let mut silent = Vec::new();
    // On a machine that is busy they may have been sent away before the next one asks.
    until("they have all the places", || {
        silent.extend((0..MAX_CLIENTS).map(|_| connect(directory)));
        // A part of a request is none either.
        let _ = silent[0].write_all(b"GET /met");
        let answer = get(directory, "/healthz");
        assert!(answer.status == 200 || answer.body.contains("too many clients"), "{answer:?}");
        answer.status == 503
    });
    until("the silent ones are sent away", || get(directory, "/healthz").status == 200);
    for stream in silent.into_iter().take(MAX_CLIENTS) {
        assert_eq!(answer(stream, false).unwrap().status, 408);
    }
    lab.stop();
}

#[test]
fn a_client_that_does_not_read_holds_nothing_up_and_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let lab = start(directory, CONNECTIONS);
    let whole = get(directory, "/api/v1/connections").json();
    assert_eq!(whole["connections"].as_array().unwrap().len(), CONNECTIONS);
    let mut slow: Vec<_> = (0..MAX_CLIENTS - 1)
        .map(|_| {
            let mut stream = connect(directory);
            stream.write_all(b"GET /api/v1/connections HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            stream
        })
        .collect();
    // Others are served meanwhile, by both sockets.
    for _ in 0..20 {
        lab.turn();
        assert_eq!(get(directory, "/metrics").status, 200);
    }
    // All places are free again by themselves; what came of the answers is not whole.
    let free = || {
        let clients: Vec<_> = (0..MAX_CLIENTS).map(|_| connect(directory)).collect();
        let answers = clients.into_iter().map(|mut stream| {
            let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
            answer(stream, false).map(|answer| answer.status)
        });
        answers.collect::<Vec<_>>().iter().all(|status| *status == Some(200))
    };
    until("they are dropped", free);
    for stream in &mut slow {
        assert!(answer(stream, false).is_none());
    }
    lab.stop();
}

#[test]
fn a_worker_that_is_stuck_is_ill_health() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let lab = start(directory, 0);
    lab.workers[0].obey(false);
    let mut change = lab.sent(r#""command":"del-service","service":"tcp://192.168.10.100:80""#);
    until("it is given to the worker", || {
        lab.end_patience();
        get(directory, "/healthz").status == 503
    });
    let metrics = get(directory, "/metrics");
    assert_eq!(parse(&metrics.body, Format::Prometheus).value("natlb_ready", &[]), 0.0);
    drop(change.answer());
    lab.workers[0].obey(true);
    until("it is well again", || get(directory, "/healthz").status == 200);
    lab.stop();
}
