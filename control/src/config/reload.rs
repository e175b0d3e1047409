//! The file is read again while `lbd` runs: what of it can change in place, and what needs a restart. Pure.
//!
//! Services and timeouts are in the model, which says by itself what changes. Here is all else.

use super::{Config, EthPort, StaticNeighbour, StaticRoute};
use crate::config::metrics::Metrics;
use crate::model::Forward;
use dataplane::snapshot::{IpOptions, Unmatched};
use std::net::IpAddr;

/// A file, held against what runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Reloaded {
    /// What runs when everything that can change in place has.
    pub config: Config,
    /// What changes besides services and timeouts, a line for each.
    pub changes: Vec<String>,
    /// What of the file is otherwise than what runs, and is so until a restart: a line for each.
    pub needs_restart: Vec<String>,
}

/// Holds what the file says now against what runs.
pub fn reloaded(running: &Config, file: Config) -> Reloaded {
    let mut needs_restart = Vec::new();
    let mut needs = |is_other: bool, what: &str| {
        if is_other {
            needs_restart.push(what.to_owned());
        }
    };
    let (old, new) = (&running.eal, &file.eal);
    needs(old.main_lcore != new.main_lcore, "[eal] main_lcore");
    needs(old.workers != new.workers, "[eal] workers");
    needs(old.hugepages != new.hugepages, "[eal] hugepages");
    needs(old.memory_mb != new.memory_mb, "[eal] memory_mb");
    needs(old.idle != new.idle, "[eal] idle");
    needs(old.args != new.args, "[eal] args");
    let (old, new) = (&running.buffers, &file.buffers);
    needs(old.count != new.count, "[buffers] count");
    needs(old.cache != new.cache, "[buffers] cache");
    needs(old.size != new.size, "[buffers] size");
    let (old, new) = (&running.control, &file.control);
    needs(old.socket != new.socket, "[control] socket");
    needs(old.ipvs_socket != new.ipvs_socket, "[control] ipvs_socket");
    needs(old.group != new.group, "[control] group");
    needs(old.state != new.state, "[control] state");
    needs(old.metrics.address != new.metrics.address, "[control] metrics");
    needs(running.capacity.ipv4 != file.capacity.ipv4, "[connections] capacity");
    needs(running.capacity.ipv6 != file.capacity.ipv6, "[connections] capacity_ipv6");
    needs(running.keep != file.keep, "[connections] keep");
    needs(running.steering.0 != file.steering.0, "[steering] mode");
    needs(running.steering.1 != file.steering.1, "[steering] prefer");
    let has_same_links = ports(&running.eth_ports, &file.eth_ports, &mut needs_restart);
    let mut config = Config { model: file.model.clone(), has_timeouts: file.has_timeouts, ..running.clone() };
    let of_file = file.control.metrics;
    config.control.metrics = Metrics { address: running.control.metrics.address.clone(), ..of_file };
    config.forward = file.forward;
    if has_same_links {
        for (port, of_file) in config.eth_ports.iter_mut().zip(file.eth_ports) {
            port.interface.gateways = of_file.interface.gateways;
            port.interface.announce_every = of_file.interface.announce_every;
        }
        (config.routes, config.neighbours) = (file.routes, file.neighbours);
    } else {
        // They are by the links of the file, which are not there yet.
        let words = |eth_ports: &[EthPort], routes: &[StaticRoute], neighbours: &[StaticNeighbour]| {
            (routes_in_words(eth_ports, routes), neighbours_in_words(eth_ports, neighbours))
        };
        let old = words(&running.eth_ports, &running.routes, &running.neighbours);
        let new = words(&file.eth_ports, &file.routes, &file.neighbours);
        let with_ports = |what: &str| format!("{what}: together with the ports");
        needs_restart.extend((old.0 != new.0).then(|| with_ports("[[route]], gateway")));
        needs_restart.extend((old.1 != new.1).then(|| with_ports("[[neighbour]]")));
    }
    let changes = changes(running, &config);
    Reloaded { config, changes, needs_restart }
}

/// Names what of the ports needs a restart. Whether the links are the same: routes and neighbours go by them.
fn ports(running: &[EthPort], file: &[EthPort], needs_restart: &mut Vec<String>) -> bool {
    let named = |ports: &[EthPort]| ports.iter().map(|port| port.name.clone()).collect::<Vec<_>>();
    let (old, new) = (named(running), named(file));
    let mut has_same_links = old == new;
    let mut needs = |name: &str, what: &str| needs_restart.push(format!("[[port]] {name}{what}"));
    old.iter().filter(|name| !new.contains(name)).for_each(|name| needs(name, ": to be removed"));
    new.iter().filter(|name| !old.contains(name)).for_each(|name| needs(name, ": to be added"));
    for after in file {
        let Some(before) = running.iter().find(|port| port.name == after.name) else { continue };
        let links = [
            (before.device != after.device, " device"),
            (before.interface.side != after.interface.side, " side"),
            (before.interface.addresses != after.interface.addresses, " addresses"),
        ];
        for (_, what) in links.iter().filter(|(is_other, _)| *is_other) {
            has_same_links = false;
            needs(&after.name, what);
        }
        if before.interface.mtu != after.interface.mtu {
            needs(&after.name, " mtu");
        }
    }
    if old != new && needs_restart.iter().all(|line| !line.starts_with("[[port]]")) {
        needs_restart.push("[[port]]: their order".into());
    }
    has_same_links
}

/// What is otherwise, in words: what goes, and then what comes.
fn changes(old: &Config, new: &Config) -> Vec<String> {
    let mut changes = Vec::new();
    let lists = [
        ("route", routes_in_words(&old.eth_ports, &old.routes), routes_in_words(&new.eth_ports, &new.routes)),
        (
            "neighbour",
            neighbours_in_words(&old.eth_ports, &old.neighbours),
            neighbours_in_words(&new.eth_ports, &new.neighbours),
        ),
    ];
    for (what, old, new) in &lists {
        let gone = old.iter().filter(|line| !new.contains(line));
        changes.extend(gone.map(|line| format!("{what} del {line}")));
        let arrived = new.iter().filter(|line| !old.contains(line));
        changes.extend(arrived.map(|line| format!("{what} add {line}")));
    }
    changes.extend(forward(&old.forward, &new.forward));
    for (old, new) in old.eth_ports.iter().zip(&new.eth_ports) {
        if old.interface.announce_every != new.interface.announce_every {
            let every = new.interface.announce_every;
            let every = every.map_or("never".into(), |every| format!("{} s", every.as_secs()));
            changes.push(format!("set [[port]] {} announce_every: {every}", new.name));
        }
    }
    let (old, new) = (&old.control.metrics, &new.control.metrics);
    if old.names != new.names {
        let names = [(new.names.natlb, "natlb"), (new.names.node_ipvs, "node_ipvs")];
        let names: Vec<_> = names.iter().filter(|(is_shown, _)| *is_shown).map(|(_, name)| *name).collect();
        changes.push(format!("set [control] metrics_names: {}", names.join(" ")));
    }
    if old.most_reals != new.most_reals {
        changes.push(format!("set [control] metrics_reals: {}", new.most_reals));
    }
    changes
}

/// The routes, those by the ports' gateways too.
fn routes_in_words(ports: &[EthPort], routes: &[StaticRoute]) -> Vec<String> {
    let port = |index: usize| ports.get(index).map_or("?", |port| &port.name);
    let written = routes
        .iter()
        .map(|route| format!("{} via {} port {}", route.to, route.via, port(route.interface.index())));
    let default = |gateway: &IpAddr| if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
    let of_ports = ports.iter().flat_map(|port| {
        let gateways = port.interface.gateways.iter();
        gateways.map(move |via| format!("{} via {via} port {}", default(via), port.name))
    });
    written.chain(of_ports).collect()
}

fn neighbours_in_words(ports: &[EthPort], neighbours: &[StaticNeighbour]) -> Vec<String> {
    let port = |index: usize| ports.get(index).map_or("?", |port| &port.name);
    let words = |neighbour: &StaticNeighbour| {
        let StaticNeighbour { address, mac, interface } = neighbour;
        format!("{address} mac {mac} port {}", port(interface.index()))
    };
    neighbours.iter().map(words).collect()
}

fn forward(old: &Forward, new: &Forward) -> Vec<String> {
    let unmatched = |forward: &Forward| match forward.unmatched {
        Unmatched::Route => "route",
        Unmatched::Drop => "drop",
    };
    let ip_options = |forward: &Forward| match forward.ip_options {
        IpOptions::Filter => "filter",
        IpOptions::Pass => "pass",
    };
    let truth = |is_so: bool| if is_so { "true" } else { "false" };
    let all = |forward: &Forward| {
        [
            ("unmatched", unmatched(forward)),
            ("ip_options", ip_options(forward)),
            ("sloppy_tcp", truth(forward.sloppy_tcp)),
            ("sloppy_sctp", truth(forward.sloppy_sctp)),
            ("secure_tcp", truth(forward.secure_tcp)),
            ("keep_quiescent_templates", truth(forward.keep_quiescent_templates)),
        ]
    };
    let changed = all(old).into_iter().zip(all(new)).filter(|(old, new)| old != new);
    changed.map(|(_, (key, value))| format!("set [forward] {key}: {value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const FILE: &str = r#"
[eal]
workers = [1]
[control]
state = "/var/lib/natlb/state"
[[port]]
name = "vip0"
side = "vip"
device = "net_null0"
addresses = ["192.168.10.100/24"]
gateway = "192.168.10.1"
[[port]]
name = "dip0"
side = "dip"
device = "net_null1"
addresses = ["10.0.0.8/24"]
[[route]]
to = "172.16.0.0/12"
via = "10.0.0.1"
[[neighbour]]
address = "10.0.0.7"
mac = "02:00:00:00:00:07"
"#;

    /// What becomes of the file when these texts stand in the place of others.
    fn changed(replaced: &[(&str, &str)]) -> Reloaded {
        let text = replaced.iter().fold(FILE.to_owned(), |text, (old, new)| {
            assert!(text.contains(old), "{old}");
            text.replacen(old, new, 1)
        });
        let config = config::parse(&text).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        reloaded(&config::parse(FILE).unwrap(), config)
    }

    #[test]
    fn the_same_file_changes_nothing() {
        let Reloaded { config, changes, needs_restart } = changed(&[]);
        assert_eq!(config, config::parse(FILE).unwrap());
        assert_eq!((changes, needs_restart), (vec![], vec![]));
    }

    #[test]
    fn routes_neighbours_and_what_happens_to_packets_change_in_place() {
        let Reloaded { config, changes, needs_restart } = changed(&[
            ("gateway = \"192.168.10.1\"", "gateway = \"192.168.10.2\"\nannounce_every = 60"),
            ("172.16.0.0/12", "172.16.0.0/16"),
            (":07\"", ":08\"\n[forward]\nunmatched = \"drop\"\nsecure_tcp = true"),
            ("[control]", "[control]\nmetrics_names = [\"node_ipvs\"]\nmetrics_reals = 7"),
        ]);
        let expected = [
            "route del 172.16.0.0/12 via 10.0.0.1 port dip0",
            "route del 0.0.0.0/0 via 192.168.10.1 port vip0",
            "route add 172.16.0.0/16 via 10.0.0.1 port dip0",
            "route add 0.0.0.0/0 via 192.168.10.2 port vip0",
            "neighbour del 10.0.0.7 mac 02:00:00:00:00:07 port dip0",
            "neighbour add 10.0.0.7 mac 02:00:00:00:00:08 port dip0",
            "set [forward] unmatched: drop",
            "set [forward] secure_tcp: true",
            "set [[port]] vip0 announce_every: 60 s",
            "set [control] metrics_names: node_ipvs",
            "set [control] metrics_reals: 7",
        ];
        assert_eq!(changes, expected);
        assert!(needs_restart.is_empty(), "{needs_restart:?}");
        assert_eq!(reloaded(&config, config.clone()).changes, Vec::<String>::new());
        assert_ne!(config.routing(), config::parse(FILE).unwrap().routing());
    }

    #[test]
    fn what_needs_a_restart_is_named_and_stays() {
        let Reloaded { config, changes, needs_restart } = changed(&[
            ("workers = [1]", "workers = [1, 2]\nmemory_mb = 64\nidle = \"spin\""),
            (
                "[control]",
                "[buffers]\ncount = 4096\n[connections]\ncapacity = 64\n[control]\nsocket = \"/tmp/s\"",
            ),
            ("/var/lib/natlb/state", "/tmp/state"),
            ("gateway = \"192.168.10.1\"", "gateway = \"192.168.10.1\"\nmtu = 1400"),
        ]);
        let expected = [
            "[eal] workers",
            "[eal] memory_mb",
            "[eal] idle",
            "[buffers] count",
            "[control] socket",
            "[control] state",
            "[connections] capacity",
            "[[port]] vip0 mtu",
        ];
        assert_eq!(needs_restart, expected);
        assert!(changes.is_empty(), "{changes:?}");
        assert_eq!(config, config::parse(FILE).unwrap(), "what runs is what ran");
    }

    #[test]
    fn routes_wait_for_ports_that_are_others() {
        let more = "[[port]]\nname = \"dip1\"\nside = \"dip\"\ndevice = \"net_null2\"\naddresses = [\"10.0.1.8/24\"]\n[[route]]\nto = \"172.32.0.0/16\"\nvia = \"10.0.1.1\"\n[[route]]";
        let Reloaded { config, changes, needs_restart } = changed(&[("[[route]]", more)]);
        assert_eq!(
            needs_restart,
            ["[[port]] dip1: to be added", "[[route]], gateway: together with the ports"]
        );
        assert_eq!(changes, Vec::<String>::new());
        assert_eq!(config.routing(), config::parse(FILE).unwrap().routing());
        let Reloaded { needs_restart, .. } = changed(&[
            ("name = \"vip0\"", "name = \"v\""),
            ("\"192.168.10.100/24\"", "\"192.168.10.99/24\""),
        ]);
        let gateway = "[[route]], gateway: together with the ports";
        assert_eq!(needs_restart, ["[[port]] vip0: to be removed", "[[port]] v: to be added", gateway]);
        let Reloaded { needs_restart, .. } = changed(&[("\"10.0.0.8/24\"", "\"10.0.0.9/24\"")]);
        assert_eq!(needs_restart, ["[[port]] dip0 addresses"]);
    }
}
