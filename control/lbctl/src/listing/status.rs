//! `lbctl status` for people.

use control::api::protocol::{InheritedView, KeptView, Status};
use control::text::quantities::count;
use control::text::table::Align::{Left, Right};
use control::text::table::{Table, part};
use dataplane::names::drop_reason::DropReason;
use std::fmt::Write;

/// Version and uptime, ports, workers, what is kept of connections, drops by reason, notes; parts without content are
/// left out. `own`: what this `lbctl` was built from; another `lbd` is named.
pub(crate) fn status(status: &Status, own: &str) -> String {
    let mut text = format!(
        "natlb {} (DPDK {}), up {}, configuration version {}\n",
        status.version,
        status.dpdk,
        duration(status.uptime_s),
        status.config_version
    );
    if !status.build.is_empty() && status.build != own {
        let _ = writeln!(text, "lbd is natlb {}, this lbctl of {own}", status.build);
    }
    part(&mut text, "Ports", &ports(status));
    part(&mut text, "Workers", &workers(status));
    if let Some(kept) = &status.kept {
        text.push_str("\nConnections\n");
        for line in connections(kept) {
            let _ = writeln!(text, "  {line}");
        }
    }
    part(&mut text, "Drops", &drops(status));
    if !status.notes.is_empty() {
        text.push_str("\nNotes\n");
        for note in &status.notes {
            let _ = writeln!(text, "  {note}");
        }
    }
    text
}

/// `1d 02:03:04`; days only from the first on.
pub(crate) fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let clock = format!("{hours:02}:{minutes:02}:{:02}", seconds % 60);
    if days == 0 { clock } else { format!("{days}d {clock}") }
}

fn ports(status: &Status) -> Table<11> {
    let head = [
        ("name", Left),
        ("side", Left),
        ("driver", Left),
        ("MAC", Left),
        ("MTU", Right),
        ("link", Left),
        ("steering", Left),
        ("rx packets", Right),
        ("tx packets", Right),
        ("rx missed", Right),
        ("buffers", Right),
    ];
    let rows = status.ports.iter().map(|port| {
        let counted = |name| count(port.counted.get(name));
        [
            port.name.clone(),
            port.side.clone(),
            port.driver.clone(),
            port.mac.clone(),
            port.mtu.to_string(),
            if port.link_up { "up" } else { "down" }.to_owned(),
            port.steering.clone(),
            counted("rx_packets"),
            counted("tx_packets"),
            if port.rx_missed_known { counted("rx_missed") } else { "unknown".to_owned() },
            format!("{} of {}", count(port.buffers_in_use), count(port.buffers)),
        ]
    });
    Table { head, rows: rows.collect() }
}

/// The last column is for IPv6, which has tables where some port has an address of it.
fn workers(status: &Status) -> Table<11> {
    let head = [
        ("id", Right),
        ("core", Right),
        ("rx packets", Right),
        ("tx packets", Right),
        ("handed over", Right),
        ("taken over", Right),
        ("busy", Right),
        ("cycles/packet", Right),
        ("packets/burst", Right),
        ("connections", Right),
        ("of IPv6", Right),
    ];
    let rows = status.workers.iter().map(|worker| {
        // Of nothing there is no average.
        let average = |value: f64, decimals| match value {
            0.0 => "-".to_owned(),
            value => format!("{value:.decimals$}"),
        };
        let counted = |name| count(worker.counted.get(name));
        let of_ipv6 = worker.counted.get("connections_ipv6");
        let of_ipv4 = worker.counted.get("connections").saturating_sub(of_ipv6);
        let share = |connections: u64, capacity: u64| match capacity {
            0 => "-".to_owned(),
            _ => {
                let share = 100.0 * connections as f64 / capacity as f64;
                format!("{} of {} ({share:.1}%)", count(connections), count(capacity))
            }
        };
        [
            worker.id.to_string(),
            worker.core.to_string(),
            counted("rx_packets"),
            counted("tx_packets"),
            counted("handed_over"),
            counted("taken_over"),
            format!("{:.1}%", 100.0 * worker.busy_share),
            average(worker.cycles_per_packet, 0),
            average(worker.packets_per_burst, 1),
            share(of_ipv4, worker.capacity),
            share(of_ipv6, worker.capacity_ipv6),
        ]
    });
    Table { head, rows: rows.collect() }
}

/// Whether they outlive this process, and what has outlived earlier ones.
fn connections(kept: &KeptView) -> Vec<String> {
    let KeptView { place, backing, generation, inherited } = kept;
    let place = match (place, generation) {
        (Some(place), Some(generation)) => format!("kept in {place} (generation {generation}), on {backing}"),
        _ => format!("not kept for the next lbd, on {backing}"),
    };
    [place].into_iter().chain(inherited.as_ref().map(taken_over)).collect()
}

fn taken_over(inherited: &InheritedView) -> String {
    let mut text = format!("{} taken over from an earlier lbd", count(inherited.connections));
    if inherited.oldest_s > 0 {
        let _ = write!(text, " (silent for {} at most)", duration(inherited.oldest_s));
    }
    if !inherited.given_up.is_empty() {
        let reasons =
            inherited.given_up.iter().map(|(reason, number)| format!("{reason} {}", count(*number)));
        let reasons: Vec<_> = reasons.collect();
        let all = count(inherited.given_up.values().sum());
        let _ = write!(text, ", {all} given up ({})", reasons.join(", "));
    }
    if inherited.templates + inherited.templates_given_up > 0 {
        let _ = write!(text, "; of persistent clients {} taken over", count(inherited.templates));
        if inherited.templates_given_up > 0 {
            let _ = write!(text, ", {} given up", count(inherited.templates_given_up));
        }
    }
    if let Some(gap) = inherited.gap_ms {
        let _ = write!(text, "; {gap} ms without forwarding");
    }
    let _ = match inherited.in_progress {
        true => write!(text, "; under way for {} ms", inherited.import_ms),
        false => write!(text, "; took {} ms", inherited.import_ms),
    };
    text
}

/// In the order of [`DropReason::ALL`], then reasons that this `lbctl` does not know.
fn drops(status: &Status) -> Table<3> {
    let known = DropReason::ALL.iter().map(|reason| (reason.name(), reason.text()));
    let of_list = known.filter_map(|(name, text)| Some((name, *status.drops.get(name)?, text)));
    let others = status.drops.iter().filter(|(name, _)| DropReason::ALL.iter().all(|r| r.name() != *name));
    let others = others.map(|(name, packets)| (name.as_str(), *packets, ""));
    let rows = of_list.chain(others).filter(|(_, packets, _)| *packets > 0);
    let rows = rows.map(|(name, packets, text)| [name.to_owned(), count(packets), text.to_owned()]);
    Table { head: [("reason", Left), ("packets", Right), ("meaning", Left)], rows: rows.collect() }
}
