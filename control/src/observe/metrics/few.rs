//! What there are few of: the daemon, its ports and workers, drop reasons, states of neighbours.

use super::family::{Family, Kind, Labels, Measure, Piece, Sample, Value};
use crate::api::protocol::{InheritedView, KeptView};
use crate::devices::DeviceStatus;
use crate::host_interface::InterfaceCounters;
use crate::model::MAX_REALS;
use crate::observe::status;
use dataplane::counters;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::side::Side;
use std::time::{SystemTime, UNIX_EPOCH};

/// What is said of the daemon.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Ports, workers, drops and neighbours.
    pub status: status::Inputs<'a>,
    /// Notes of `lbctl status`.
    pub notes: usize,
    /// Connections that outlive the process.
    pub kept: &'a KeptView,
    /// When the daemon was started.
    pub started: SystemTime,
    /// Whether all workers run on what is configured, or are about to.
    pub is_ready: bool,
}

/// All of it. `omitted`: reals that have no metrics of their own, for want of room.
pub(super) fn pieces(facts: &Facts<'_>, omitted: usize) -> Vec<Piece> {
    let mut pieces = daemon(facts, omitted);
    pieces.extend(ports(&facts.status));
    pieces.extend(workers(&facts.status));
    pieces.push(drops(&facts.status));
    pieces.extend(neighbours(&facts.status));
    pieces.extend(kept(facts.kept));
    pieces
}

/// Says that reals are left out.
pub(super) fn omitted(reals: usize) -> Piece {
    let help = "Reals without metrics of their own: all, where there are more than [control] metrics_reals.";
    Piece::plain(Family::of(Kind::Gauge, "natlb_metrics_omitted_reals", help), reals as u64)
}

fn daemon(facts: &Facts<'_>, omitted: usize) -> Vec<Piece> {
    let gauge = |name, help, value: u64| Piece::plain(Family::of(Kind::Gauge, name, help), value);
    let status::Inputs { devices, model, config_version, .. } = facts.status;
    let build = Family::of(Kind::Info, "natlb_build", "The versions of natlb, and of DPDK that it runs on.");
    let versions = vec![("version", env!("CARGO_PKG_VERSION").to_owned()), ("dpdk", devices.dpdk_version())];
    let started = facts.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let start = Family::of(Kind::Gauge, "natlb_start_time", "When lbd was started, since 1970, in seconds.");
    vec![
        Piece::new(build, vec![Sample::new(versions, 1_u64)]),
        Piece::plain(start.in_(Measure::Seconds), started),
        gauge(
            "natlb_ready",
            "1: all workers run on what is configured, or are about to; 0: one has not taken it in time.",
            facts.is_ready.into(),
        ),
        gauge("natlb_config_version", "The version of the configuration in force.", config_version),
        gauge("natlb_services", "Services.", model.services().len() as u64),
        gauge("natlb_reals", "Reals of all services.", model.real_count() as u64),
        gauge("natlb_reals_limit", "Reals that there can be.", MAX_REALS as u64),
        self::omitted(omitted),
        gauge(
            "natlb_notes",
            "What an operator should know of: lines under Notes of lbctl status.",
            facts.notes as u64,
        ),
    ]
}

/// A number of the lists of counters: its family, and the number in what the family is measured in. `about`: what the
/// name begins with.
fn listed(about: &str, name: &str, kind: counters::Kind, help: &'static str) -> (Family, fn(u64) -> Value) {
    let kind = match kind {
        counters::Kind::Counter => Kind::Counter,
        counters::Kind::Gauge => Kind::Gauge,
    };
    let family = |name: &str, measure, help: String| Family {
        // "total" is said at the end of all counters.
        name: format!("{about}_{}", name.trim_start_matches("total_"))
            .trim_end_matches('_')
            .to_owned()
            .into(),
        kind,
        measure,
        help: help.into(),
    };
    if let Some(rest) = help.strip_prefix("Nanoseconds") {
        let family = family(name.trim_end_matches("nanoseconds"), Measure::Seconds, format!("Seconds{rest}"));
        return (family, |nanoseconds| (nanoseconds as f64 / 1e9).into());
    }
    match name.strip_suffix("_bytes") {
        Some(name) => (family(name, Measure::Bytes, help.to_owned()), Value::Whole),
        None => (family(name, Measure::Count, help.to_owned()), Value::Whole),
    }
}

fn worker(id: usize) -> Labels {
    vec![("worker", id.to_string())]
}

fn workers(status: &status::Inputs<'_>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for (id, counters) in status.workers.counters().enumerate() {
        for (index, of_list) in counters.each().enumerate() {
            let (family, value) = listed("natlb_worker", of_list.name, of_list.kind, of_list.help);
            if id == 0 {
                pieces.push(Piece::new(family, Vec::new()));
            }
            pieces[index].samples.push(Sample::new(worker(id), value(of_list.counters[0].get())));
        }
    }
    let infos = status.watch.infos();
    let of_infos = |name, help, value: fn(&crate::devices::WorkerInfo) -> u64| {
        let samples = infos.iter().enumerate().map(|(id, info)| Sample::new(worker(id), value(info)));
        Piece::new(Family::of(Kind::Gauge, name, help), samples.collect())
    };
    pieces.push(of_infos("natlb_worker_core", "The core that the worker is pinned to.", |info| {
        info.core as u64
    }));
    pieces.push(of_infos(
        "natlb_worker_capacity",
        "Connections of IPv4 that the worker's table holds.",
        |info| info.capacity,
    ));
    pieces.push(of_infos(
        "natlb_worker_capacity_ipv6",
        "Connections of IPv6 that the worker's table holds.",
        |info| info.capacity_ipv6,
    ));
    let cycles = Family::of(
        Kind::Counter,
        "natlb_worker_cycles",
        "TSC cycles in turns in which anything was received.",
    );
    let hertz = status.devices.tsc_hz();
    let busy = status.workers.counters().map(|counters| counters.busy_nanoseconds.get() as f64 / 1e9 * hertz);
    let busy = busy.enumerate().map(|(id, cycles)| Sample::new(worker(id), cycles.round()));
    pieces.push(Piece::new(cycles, busy.collect()));
    pieces
}

fn drops(status: &status::Inputs<'_>) -> Piece {
    let help = "Packets dropped; the reasons are explained in docs/operating.md.";
    let of_reason = |reason: &DropReason| {
        Sample::new(vec![("reason", reason.name().to_owned())], status.workers.dropped(*reason))
    };
    Piece::new(
        Family::of(Kind::Counter, "natlb_drops", help),
        DropReason::ALL.iter().map(of_reason).collect(),
    )
}

fn ports(status: &status::Inputs<'_>) -> Vec<Piece> {
    let status::Inputs { devices, network, watch, workers, .. } = *status;
    let labels = |port: usize| -> Labels {
        let side = match network.interfaces[port].side {
            Side::Vip => "vip",
            Side::Dip => "dip",
            Side::Both => "both",
        };
        vec![("port", watch.name(port).to_owned()), ("side", side.to_owned())]
    };
    let ports = 0..network.eth_ports.len();
    let of_devices: Vec<_> = ports.clone().map(|port| devices.status(port)).collect();
    let gauge = |name, help, value: &dyn Fn(usize) -> u64| {
        let samples = ports.clone().map(|port| Sample::new(labels(port), value(port)));
        Piece::new(Family::of(Kind::Gauge, name, help), samples.collect())
    };
    let mut pieces = vec![
        gauge("natlb_port_link_up", "1: the port has a link.", &|port| of_devices[port].link_up.into()),
        gauge(
            "natlb_port_buffers_in_use",
            "Buffers of the port's pools that the device or the packet path has.",
            &|port| of_devices[port].buffers_in_use,
        ),
        gauge("natlb_port_buffers", "Buffers of the port's pools.", &|port| of_devices[port].buffers),
    ];
    pieces.extend(host_interfaces(&of_devices, &labels));
    let mut of_device: Vec<Piece> = Vec::new();
    for port in ports.clone() {
        for (index, of_list) in of_devices[port].counted.unwrap_or_default().each().enumerate() {
            let (family, value) = listed("natlb_port", of_list.name, of_list.kind, of_list.help);
            if port == 0 {
                of_device.push(Piece::new(family, Vec::new()));
            }
            // What a device does not count is left out: 0 would say that nothing was lost.
            of_device[index].samples.extend(of_list.value.map(|it| Sample::new(labels(port), value(it))));
        }
    }
    pieces.append(&mut of_device);
    let Some(first) = workers.counters().next() else { return pieces };
    for (index, of_list) in first.each_by_port().enumerate() {
        let (family, value) = listed("natlb_port", of_list.name, of_list.kind, of_list.help);
        let by_worker = |port: usize| {
            let lists = workers.counters().filter_map(move |counters| counters.each_by_port().nth(index));
            lists.map(move |of_list| of_list.counters[port].get())
        };
        let all = |port| match family.kind {
            Kind::Counter => by_worker(port).sum(),
            // What stands at one worker stands.
            Kind::Gauge | Kind::Info => by_worker(port).max().unwrap_or(0),
        };
        let samples = ports.clone().map(|port| Sample::new(labels(port), value(all(port)))).collect();
        pieces.push(Piece::new(family, samples));
    }
    pieces
}

/// What the kernel counts on the interfaces that ports stand on.
fn host_interfaces(devices: &[DeviceStatus], labels: &dyn Fn(usize) -> Labels) -> Vec<Piece> {
    let family = |name, help, number: fn(&InterfaceCounters) -> u64| {
        let of_port = |(port, device): (usize, &DeviceStatus)| {
            let interface = device.footing.interface()?;
            let mut labels = labels(port);
            labels.push(("interface", interface.name.clone()));
            Some(Sample::new(labels, number(&interface.counters)))
        };
        let samples = devices.iter().enumerate().filter_map(of_port).collect();
        Piece::new(Family::of(Kind::Counter, name, help), samples)
    };
    vec![
        family(
            "natlb_port_interface_rx_packets",
            "Frames that the kernel counts as received on the port's interface, since lbd was started.",
            |counters| counters.rx_packets,
        ),
        family(
            "natlb_port_interface_rx_dropped",
            "Frames there that the kernel had no use or no memory for, since lbd was started.",
            |counters| counters.rx_dropped,
        ),
        family(
            "natlb_port_interface_rx_missed",
            "Frames there that the interface's own device lost, since lbd was started.",
            |counters| counters.rx_missed,
        ),
    ]
}

/// Connections that outlive the process, and what this one has taken over.
fn kept(kept: &KeptView) -> Vec<Piece> {
    let family = |name, help| Family::of(Kind::Gauge, name, help);
    let gauge = |name, help, value: u64| Piece::plain(family(name, help), value);
    let is_kept = gauge(
        "natlb_connections_kept",
        "1: connections outlive the process, so that the next one goes on with them; 0: they end with it.",
        kept.place.is_some().into(),
    );
    let Some(inherited) = &kept.inherited else { return vec![is_kept] };
    let given_up = InheritedView::REASONS.map(|reason| {
        let count = inherited.given_up.get(reason).copied().unwrap_or(0);
        Sample::new(vec![("reason", reason.to_owned())], count)
    });
    let seconds = |milliseconds: u64| milliseconds as f64 / 1e3;
    let mut pieces = vec![
        is_kept,
        gauge(
            "natlb_inheriting",
            "1: connections of earlier processes are being taken over.",
            inherited.in_progress.into(),
        ),
        gauge(
            "natlb_inherited_connections",
            "Connections that were taken over from earlier processes at the start.",
            inherited.connections,
        ),
        gauge(
            "natlb_inherited_persistent_clients",
            "Likewise, clients that stay with their real.",
            inherited.templates,
        ),
        Piece::new(
            family("natlb_inherited_given_up", "Connections of earlier processes that were not taken over."),
            given_up.into(),
        ),
        gauge(
            "natlb_inherited_persistent_clients_given_up",
            "Clients that stay with their real, of earlier processes, that were forgotten.",
            inherited.templates_given_up,
        ),
        Piece::plain(
            family("natlb_inherited_import", "What taking over took, or has taken so far, in seconds.")
                .in_(Measure::Seconds),
            seconds(inherited.import_ms),
        ),
    ];
    pieces.extend(inherited.gap_ms.map(|gap| {
        let help = "From the last turn of the process before until all workers forwarded, in seconds.";
        Piece::plain(family("natlb_inherited_gap", help).in_(Measure::Seconds), seconds(gap))
    }));
    pieces
}

fn neighbours(status: &status::Inputs<'_>) -> [Piece; 2] {
    let by_state = status.neighbours.by_state();
    let samples = by_state.map(|(state, count)| Sample::new(vec![("state", state.to_owned())], count));
    let help = "Next hops: fixed by the configuration, asked for, reachable, checked, or given up (failed).";
    let refused = Family::of(
        Kind::Counter,
        "natlb_neighbours_refused",
        "Next hops that there was no room for in the table of neighbours.",
    );
    [
        Piece::new(Family::of(Kind::Gauge, "natlb_neighbours", help), samples.to_vec()),
        Piece::plain(refused, status.neighbours.refused()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::counters::WorkerCounters;

    #[test]
    fn names_of_the_lists_get_their_units() {
        let counters = WorkerCounters::new();
        let all = counters.each().chain(counters.each_by_port());
        let names: Vec<_> = all
            .map(|of_list| {
                let (family, _) = listed("natlb_x", of_list.name, of_list.kind, of_list.help);
                let Family { name, measure, help, .. } = family;
                assert!(!name.contains("nanoseconds") && !help.contains("Nanoseconds"), "{name}: {help}");
                assert!(
                    !name.ends_with("_bytes") && !name.ends_with("_total") && !name.contains("__"),
                    "{name}"
                );
                (name.into_owned(), measure)
            })
            .collect();
        for (name, measure) in [
            ("natlb_x_busy", Measure::Seconds),
            ("natlb_x", Measure::Seconds),
            ("natlb_x_transmit_stands", Measure::Seconds),
            ("natlb_x_rx_packets", Measure::Count),
            ("natlb_x_expired", Measure::Count),
        ] {
            assert!(names.contains(&(name.to_owned(), measure)), "{name}: {names:?}");
        }
        let (family, value) =
            listed("natlb_x", "busy_nanoseconds", counters::Kind::Counter, "Nanoseconds spent.");
        assert_eq!((family.help.as_ref(), value(1_500_000_000)), ("Seconds spent.", Value::Fraction(1.5)));
        let (family, _) = listed("natlb_x", "rx_bytes", counters::Kind::Counter, "Bytes received.");
        assert_eq!((family.name.as_ref(), family.measure), ("natlb_x_rx", Measure::Bytes));
    }
}
