//! The tables that `ipvsadm` printed on a real kernel with services of both families, read back and printed again: the
//! transcripts in `control/testdata/ipv6`.
//!
//! What is left out: services by firewall mark; names of services (`-L` and `-S` without `-n`) and the kernel's own
//! files, which `lbctl` does not print; `--nosort`, whose order is that of the kernel's hash table; and the list of
//! connections with the columns of persistence engines.

use super::sorting::{list, rate, stats};
use super::*;
use std::net::SocketAddr;

const TRANSCRIPTS: [&str; 3] = [
    include_str!("../../../testdata/ipv6/listings.txt"),
    include_str!("../../../testdata/ipv6/long-addresses.txt"),
    include_str!("../../../../dataplane/testdata/persistence/ipv6.txt"),
];

/// A command of a transcript with what it printed: without the first line, which names the kernel's version, and
/// trailing blanks, as `lbctl` prints it.
struct Printed {
    options: String,
    lines: Vec<&'static str>,
}

/// The listings of the transcripts.
fn printed() -> Vec<Printed> {
    let mut all = Vec::new();
    for line in TRANSCRIPTS.iter().flat_map(|text| text.lines()) {
        let is_printed = !line.starts_with(['#', '[', '(']) && !line.starts_with("fd00:") && !line.is_empty();
        if let Some(command) = line.strip_prefix("[lb]# ") {
            let command = command.split(" | ").next().unwrap();
            let options = command.strip_prefix("ipvsadm ").unwrap_or_default().to_owned();
            all.push(Printed { options, lines: Vec::new() });
        } else if is_printed
            && !line.starts_with("IP Virtual Server version")
            && !line.starts_with("IPVS connection")
        {
            all.last_mut().unwrap().lines.push(line.trim_end());
        }
    }
    all
}

/// Those whose columns these options choose, of all services or of one, and without services by firewall mark.
fn listings(columns: &str) -> Vec<Vec<&'static str>> {
    let of_listings = |printed: Printed| {
        let rest = printed.options.strip_prefix("-Ln")?;
        let rest = rest.strip_suffix(" --exact").unwrap_or(rest);
        let rest =
            rest.split_once(" -t ").or_else(|| rest.split_once(" -u ")).map_or(rest, |(before, _)| before);
        (rest.trim_start() == columns).then(|| without_marks(printed.lines))
    };
    let found: Vec<_> = printed().into_iter().filter_map(of_listings).collect();
    assert!(!found.is_empty());
    found
}

fn without_marks(lines: Vec<&'static str>) -> Vec<&'static str> {
    let mut is_marked = false;
    let is_kept = |line: &&str| {
        is_marked = if line.starts_with("  ->") { is_marked } else { line.starts_with("FWM") };
        !is_marked
    };
    lines.into_iter().filter(is_kept).collect()
}

/// The services of a table in another order than it has, each filled in from its line's words behind its address, and
/// its reals.
fn services(
    lines: &[&str],
    of_service: impl Fn(&mut ServiceView, &[&str]),
    of_real: impl Fn(&mut RealView, &[&str]),
) -> Services {
    let mut services: Vec<ServiceView> = Vec::new();
    for line in &lines[2..] {
        let words: Vec<_> = line.split_whitespace().collect();
        let endpoint: SocketAddr = words[1].parse().unwrap();
        let (address, port) = (endpoint.ip().to_string(), endpoint.port());
        let numbers = serde_json::json!({ "address": address, "port": port, "forward": "Masq", "weight": 0,
            "upper_threshold": 0, "lower_threshold": 0, "active": 0, "inactive": 0 });
        if words[0] == "->" {
            let mut real: RealView = serde_json::from_value(numbers).unwrap();
            of_real(&mut real, &words[2..]);
            services[0].reals.insert(0, real);
        } else {
            let mut service: ServiceView = serde_json::from_value(serde_json::json!({ "protocol": words[0],
                "address": address, "port": port, "scheduler": "", "flags": [], "persistence_s": 0, "reals": [] }))
            .unwrap();
            of_service(&mut service, &words[2..]);
            services.insert(0, service);
        }
    }
    Services { services }
}

/// `mh (mh-fallback,mh-port) persistent 60 mask 64`
fn settings_of(service: &mut ServiceView, words: &[&str]) {
    words[0].clone_into(&mut service.scheduler);
    let mut words = words[1..].iter();
    while let Some(word) = words.next() {
        let mut value = || (*words.next().unwrap()).to_owned();
        match *word {
            "persistent" => service.persistence_s = value().parse().unwrap(),
            "mask" => service.persistence_mask = Some(value()),
            "ops" => service.one_packet = true,
            flags => {
                let flags = flags.strip_prefix('(').unwrap().strip_suffix(')').unwrap();
                service.flags = flags.split(',').map(str::to_owned).collect();
            }
        }
    }
}

fn as_printed(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// How many listings of these columns are printed as they were recorded.
fn compare_lists(options: &str, columns: Columns, of_real: impl Fn(&mut RealView, &[&str]) + Copy) -> usize {
    let all = listings(options);
    for lines in &all {
        assert_eq!(list(services(lines, settings_of, of_real), columns), as_printed(lines));
    }
    all.len()
}

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(word: &str) -> T {
    word.parse().unwrap()
}

#[test]
fn services_and_reals_of_both_families_list_as_recorded() {
    let compared = compare_lists("", Columns::Plain, |real, words| {
        words[0].clone_into(&mut real.forward);
        (real.weight, real.active, real.inactive) = (number(words[1]), number(words[2]), number(words[3]));
    });
    assert!(compared >= 20, "{compared}");
}

#[test]
fn thresholds_and_persistent_connections_of_both_families_list_as_recorded() {
    let compared = compare_lists("--thresholds", Columns::Thresholds, |real, words| {
        (real.upper_threshold, real.lower_threshold) = (number(words[0]), number(words[1]));
        (real.active, real.inactive) = (number(words[2]), number(words[3]));
    });
    assert!(compared >= 3, "{compared}");
    let compared = compare_lists("--persistent-conn", Columns::PersistentConnections, |real, words| {
        (real.weight, real.persistent_conns) = (number(words[0]), number(words[1]));
        (real.active, real.inactive) = (number(words[2]), number(words[3]));
    });
    assert!(compared >= 10, "{compared}");
}

#[test]
fn statistics_and_rates_of_both_families_print_as_recorded() {
    let of_words = |words: &[&str]| {
        let [conns, in_packets, out_packets, in_bytes, out_bytes] =
            <[&str; 5]>::try_from(words).unwrap().map(number);
        Some(Traffic { conns, in_packets, out_packets, in_bytes, out_bytes })
    };
    let mut compared = 0;
    for (options, print) in [("--stats", stats as fn(Services) -> String), ("--rate", rate)] {
        for lines in listings(options) {
            let read = services(
                &lines,
                |service, words| service.traffic = of_words(words),
                |real, words| real.traffic = of_words(words),
            );
            assert_eq!(print(read), as_printed(&lines));
            compared += 1;
        }
    }
    assert!(compared >= 12, "{compared}");
}

#[test]
fn connections_and_templates_of_both_families_list_as_recorded() {
    let mut compared = 0;
    for Printed { options, lines } in printed() {
        if options != "-Lnc" {
            continue;
        }
        assert_eq!(as_printed(&lines[..1]), CONNECTIONS_HEAD);
        for line in &lines[1..] {
            let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            let [protocol, expires, state, client, virtual_, real] = <[String; 6]>::try_from(words).unwrap();
            let (minutes, seconds) = expires.split_once(':').unwrap();
            let expires_s = number::<u32>(minutes) * 60 + number::<u32>(seconds);
            let view = ConnectionView { protocol, state, expires_s, client, virtual_, real, worker: 0 };
            assert_eq!(connection(&view), format!("{line}\n"));
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared}");
}
