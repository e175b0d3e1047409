//! The tables that `lbctl` prints, as `ipvsadm -n` prints them: without its first line and without
//! trailing blanks, in the order in which `lbd` has sorted them, which is `ipvsadm`'s.

mod status;

pub(crate) use status::{duration, status};

use control::api::protocol::{ConnectionView, RealView, ServiceView, Services, TimeoutsView, Traffic};
use std::fmt::Write;

/// Which columns of reals a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Columns {
    /// As `ipvsadm -Ln`.
    Plain,
    /// As `ipvsadm -Ln --thresholds`.
    Thresholds,
    /// As `ipvsadm -Ln --persistent-conn`.
    PersistentConnections,
}

impl Columns {
    const fn title(self) -> &'static str {
        match self {
            Self::Plain => {
                "Prot LocalAddress:Port Scheduler Flags\n  \
                   -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
            }
            Self::Thresholds => {
                "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn\n  \
                   -> RemoteAddress:Port\n"
            }
            Self::PersistentConnections => {
                "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn\n  \
                   -> RemoteAddress:Port\n"
            }
        }
    }

    /// What stands behind a real's name.
    fn of(self, real: &RealView) -> String {
        let RealView { forward, weight, active, inactive, .. } = real;
        let before = match self {
            Self::Plain => format!("{forward:<7} {weight:<6}"),
            Self::Thresholds => format!("{:<10} {:<10}", real.upper_threshold, real.lower_threshold),
            Self::PersistentConnections => format!("{weight:<9} {:<11}", real.persistent_conns),
        };
        format!("{before} {active:<10} {inactive}")
    }
}

/// Services and reals.
pub(crate) fn list(services: Services, columns: Columns) -> String {
    let mut text = String::from(columns.title());
    for service in &services.services {
        let ServiceView { protocol, scheduler, reals, .. } = service;
        let _ = writeln!(text, "{protocol:<4} {} {scheduler}{}", name(service), settings(service));
        for real in reals {
            let _ = writeln!(text, "  -> {:<28} {}", real_name(real), columns.of(real));
        }
    }
    text
}

/// What is set of a service, each as ` persistent 50`: first as `ipvsadm` shows it, then natlb's own.
fn settings(service: &ServiceView) -> String {
    let mut text = String::new();
    if !service.flags.is_empty() {
        let _ = write!(text, " ({})", service.flags.join(","));
    }
    if service.persistence_s != 0 {
        let _ = write!(text, " persistent {}", service.persistence_s);
        let mask = service.persistence_mask.as_deref().filter(|mask| !WHOLE_MASKS.contains(mask));
        if let Some(mask) = mask {
            let _ = write!(text, " mask {mask}");
        }
    }
    if service.one_packet {
        text.push_str(" ops");
    }
    if !service.timeouts.is_empty() {
        let each = service.timeouts.iter().map(|(state, seconds)| format!("{state}={seconds}"));
        let _ = write!(text, " timeouts {}", each.collect::<Vec<_>>().join(","));
    }
    if !["", "drop"].contains(&service.on_removal.as_str()) {
        let _ = write!(text, " on-removal {}", service.on_removal);
    }
    if service.slow_start_s != 0 {
        let _ = write!(text, " slow-start {}", service.slow_start_s);
    }
    text
}

/// Masks under which every client is one of its own: they are not shown.
const WHOLE_MASKS: [&str; 2] = ["255.255.255.255", "128"];

/// `192.168.10.100:80`, or `192.168.10.100:8000-8100`.
fn name(service: &ServiceView) -> String {
    let ServiceView { address, port, last_port, .. } = service;
    let range = if last_port > port && *port != 0 { format!("-{last_port}") } else { String::new() };
    format!("{}:{port}{range}", in_brackets(address))
}

fn real_name(real: &RealView) -> String {
    format!("{}:{}", in_brackets(&real.address), real.port)
}

/// An IPv6 address is told from the port behind it by brackets.
fn in_brackets(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// How the numbers of `stats` and `rate` are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// Those from 100,000,000 on in thousands, millions …
    Scaled,
    /// With all digits, as `ipvsadm --exact`.
    Exact,
}

impl Numbers {
    /// A number in 9 columns, or in as many as it needs.
    fn cell(self, number: u64) -> String {
        match self {
            Self::Scaled => scaled(number),
            Self::Exact => format!(" {number:8}"),
        }
    }
}

/// As `ipvsadm -Ln --stats`.
pub(crate) fn stats(services: Services, numbers: Numbers) -> String {
    let title = "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes";
    traffic(services, title, &|traffic, _| row(traffic).map(|number| numbers.cell(number)))
}

/// As `ipvsadm -Ln --rate`, which does not scale a real's connections and packets.
pub(crate) fn rate(services: Services, numbers: Numbers) -> String {
    let title = "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS";
    traffic(services, title, &|traffic, line| {
        let row = row(traffic);
        let mut cells = row.map(|number| numbers.cell(number));
        if line == Line::Real {
            for (cell, number) in cells.iter_mut().zip(row).take(3) {
                *cell = Numbers::Exact.cell(number);
            }
        }
        cells
    })
}

/// The first line of `ipvsadm -Lnc`.
pub(crate) const CONNECTIONS_HEAD: &str =
    "pro expire state       source             virtual            destination\n";

/// A line of `ipvsadm -Lnc`.
pub(crate) fn connection(connection: &ConnectionView) -> String {
    let expires = format!("{:02}:{:02}", connection.expires_s / 60, connection.expires_s % 60);
    let (protocol, state) = (&connection.protocol, &connection.state);
    let (client, virtual_, real) = (&connection.client, &connection.virtual_, &connection.real);
    format!("{protocol:<3} {expires:<6} {state:<11} {client:<18} {virtual_:<18} {real}\n")
}

/// As `ipvsadm -L --timeout`.
pub(crate) fn timeouts(timeouts: &TimeoutsView) -> String {
    let TimeoutsView { tcp, tcp_fin, udp, .. } = timeouts;
    format!("Timeout (tcp tcpfin udp): {tcp} {tcp_fin} {udp}\n")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Service,
    Real,
}

/// Makes a line's five cells, each 9 wide.
type Cells<'a> = &'a dyn Fn(Traffic, Line) -> [String; 5];

fn traffic(services: Services, title: &str, cells: Cells<'_>) -> String {
    let mut text = format!("{title}\n  -> RemoteAddress:Port\n");
    for service in &services.services {
        let name = name(service);
        let numbers = cells(service.traffic.unwrap_or_default(), Line::Service).concat();
        let _ = writeln!(text, "{:<4} {name:<28}{numbers}", service.protocol);
        for real in &service.reals {
            let name = real_name(real);
            let numbers = cells(real.traffic.unwrap_or_default(), Line::Real).concat();
            let _ = writeln!(text, "  -> {name:<28}{numbers}");
        }
    }
    text
}

fn row(traffic: Traffic) -> [u64; 5] {
    let Traffic { conns, in_packets, out_packets, in_bytes, out_bytes } = traffic;
    [conns, in_packets, out_packets, in_bytes, out_bytes]
}

/// A number in 9 columns, in the units that `ipvsadm` takes: powers of ten, cut off, not rounded.
fn scaled(number: u64) -> String {
    match number {
        0..100_000_000 => format!("{number:9}"),
        100_000_000..1_000_000_000 => format!("{:8}K", number / 1_000),
        1_000_000_000..100_000_000_000 => format!("{:8}M", number / 1_000_000),
        100_000_000_000..100_000_000_000_000 => format!("{:8}G", number / 1_000_000_000),
        _ => format!("{:8}T", number / 1_000_000_000_000),
    }
}

#[cfg(test)]
mod sorting;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transcripts;
