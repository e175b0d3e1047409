//! What there are many of: services and reals. Each family has a number, or one for each direction, of every one of
//! them.

use super::family::{Family, Kind, Labels, Measure, Piece, Sample};
use crate::api::protocol::Traffic;
use crate::config::metrics::Names;
use crate::observe::statistics::Statistics;
use crate::publish::workers::{Connections, Workers};
use dataplane::names::ids::{RealKey, ServiceKey};
use std::net::SocketAddr;

/// A service, or a real, with what is shown of it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) service: ServiceKey,
    /// `None`: it is the service itself.
    pub(super) real: Option<SocketAddr>,
    pub(super) traffic: Traffic,
    pub(super) connections: Connections,
    /// Of a real.
    pub(super) weight: u64,
    /// Of a service.
    pub(super) reals: u64,
    /// Those with a weight.
    pub(super) available: u64,
}

/// What a family has samples of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Services,
    Reals,
    /// Reals, as node_exporter shows them.
    Backends,
}

/// A family, and its numbers.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) of: Of,
    pub(super) family: Family,
    numbers: Numbers,
}

#[derive(Clone, Copy, Debug)]
enum Numbers {
    One(fn(&Item) -> u64),
    /// From clients and to clients.
    Directions(fn(&Item) -> [u64; 2]),
}

impl Item {
    /// A real; `None`: it is in service no more.
    pub(super) fn of_real(
        key: RealKey,
        weight: u32,
        statistics: &Statistics,
        workers: &Workers,
    ) -> Option<Self> {
        let id = statistics.id(&key)?;
        Some(Self {
            service: key.service,
            real: Some(key.endpoint),
            traffic: statistics.real(&key).0,
            connections: workers.connections(id),
            weight: weight.into(),
            reals: 0,
            available: 0,
        })
    }

    /// A service whose reals are not counted yet.
    pub(super) fn of_service(service: ServiceKey) -> Self {
        Self {
            service,
            real: None,
            traffic: Traffic::default(),
            connections: Connections::default(),
            weight: 0,
            reals: 0,
            available: 0,
        }
    }

    /// Counts one of the service's reals.
    pub(super) fn add(&mut self, real: &Self) {
        self.reals += 1;
        self.available += u64::from(real.weight > 0);
        let Connections { active, total, closing, templates, pairs } = &mut self.connections;
        *active += real.connections.active;
        *total += real.connections.total;
        *closing += real.connections.closing;
        *templates += real.connections.templates;
        *pairs += real.connections.pairs;
    }

    fn labels(&self, of: Of) -> Labels {
        let ServiceKey { protocol, listen, last_port } = self.service;
        let names = match of {
            Of::Services | Of::Reals => ["protocol", "address", "port", "real", "real_port"],
            Of::Backends => ["proto", "local_address", "local_port", "remote_address", "remote_port"],
        };
        let port = match listen.port() {
            first if first == last_port || first == 0 => first.to_string(),
            first => format!("{first}-{last_port}"),
        };
        let mut labels = Vec::with_capacity(6);
        labels.extend([
            (names[0], protocol.to_string()),
            (names[1], listen.ip().to_string()),
            (names[2], port),
        ]);
        if let Some(real) = self.real {
            labels.extend([(names[3], real.ip().to_string()), (names[4], real.port().to_string())]);
        }
        if of == Of::Backends {
            // Services of firewall marks, which there are none of, would have one.
            labels.push(("local_mark", String::new()));
        }
        labels
    }
}

impl Column {
    fn new(of: Of, family: Family, numbers: Numbers) -> Self {
        Self { of, family, numbers }
    }

    /// Appends an item's samples.
    pub(super) fn add(&self, item: &Item, samples: &mut Vec<Sample>) {
        let mut labels = item.labels(self.of);
        match self.numbers {
            Numbers::One(number) => samples.push(Sample::new(labels, number(item))),
            Numbers::Directions(numbers) => {
                let [inwards, outwards] = numbers(item);
                let mut other = labels.clone();
                labels.push(("direction", "in".to_owned()));
                other.push(("direction", "out".to_owned()));
                samples.extend([Sample::new(labels, inwards), Sample::new(other, outwards)]);
            }
        }
    }
}

/// All families of services and, if they are shown, reals.
pub(super) fn columns(names: Names, shows_reals: bool) -> Vec<Column> {
    let mut columns = Vec::new();
    if names.natlb {
        columns.extend(own(Of::Services, "natlb_service"));
        let count = |name, help, number| {
            Column::new(Of::Services, Family::of(Kind::Gauge, name, help), Numbers::One(number))
        };
        columns.push(count("natlb_service_reals", "Reals of the service.", |item| item.reals));
        columns.push(count(
            "natlb_service_reals_available",
            "Reals of the service that get connections: their weight is above 0.",
            |item| item.available,
        ));
        if shows_reals {
            columns.extend(own(Of::Reals, "natlb_real"));
            let weight =
                Family::of(Kind::Gauge, "natlb_real_weight", "The real's weight; 0: no new connections.");
            columns.push(Column::new(Of::Reals, weight, Numbers::One(|item| item.weight)));
        }
    }
    if names.node_ipvs && shows_reals {
        columns.extend(backends());
    }
    columns
}

/// What services and reals have alike.
fn own(of: Of, about: &str) -> [Column; 6] {
    let column = |kind, name: &str, measure, help: &'static str, numbers| {
        let name = format!("{about}_{name}").trim_end_matches('_').to_owned().into();
        Column::new(of, Family { name, kind, measure, help: help.into() }, numbers)
    };
    let gauge = |name, help, number| column(Kind::Gauge, name, Measure::Count, help, Numbers::One(number));
    [
        column(
            Kind::Counter,
            "connections",
            Measure::Count,
            "Connections made.",
            Numbers::One(|item| item.traffic.conns),
        ),
        column(
            Kind::Counter,
            "packets",
            Measure::Count,
            "Packets from clients (in) and to clients (out).",
            Numbers::Directions(|item| [item.traffic.in_packets, item.traffic.out_packets]),
        ),
        column(
            Kind::Counter,
            "",
            Measure::Bytes,
            "Bytes of the IP packets from clients (in) and to clients (out).",
            Numbers::Directions(|item| [item.traffic.in_bytes, item.traffic.out_bytes]),
        ),
        gauge("active", "Connections in an active state (ActiveConn of ipvsadm).", |item| {
            item.connections.active
        }),
        gauge("inactive", "Connections in other states (InActConn of ipvsadm).", |item| {
            item.connections.inactive()
        }),
        gauge("persistent_clients", "Clients that stay with their real (PersistConn of ipvsadm).", |item| {
            item.connections.templates
        }),
    ]
}

/// As node_exporter names them.
fn backends() -> [Column; 3] {
    let column = |name, help, number| {
        Column::new(Of::Backends, Family::of(Kind::Gauge, name, help), Numbers::One(number))
    };
    [
        column(
            "node_ipvs_backend_connections_active",
            "Connections of the real in an active state.",
            |item| item.connections.active,
        ),
        column(
            "node_ipvs_backend_connections_inactive",
            "Connections of the real in other states.",
            |item| item.connections.inactive(),
        ),
        column("node_ipvs_backend_weight", "The real's weight.", |item| item.weight),
    ]
}

/// Likewise, what all services have counted.
pub(super) fn node_ipvs_totals(all: Traffic) -> [Piece; 5] {
    let counter = |name, measure, help, value: u64| {
        Piece::plain(Family::of(Kind::Counter, name, help).in_(measure), value)
    };
    [
        counter("node_ipvs_connections", Measure::Count, "Connections made, of all services.", all.conns),
        counter(
            "node_ipvs_incoming_packets",
            Measure::Count,
            "Packets from clients, of all services.",
            all.in_packets,
        ),
        counter(
            "node_ipvs_outgoing_packets",
            Measure::Count,
            "Packets to clients, of all services.",
            all.out_packets,
        ),
        counter(
            "node_ipvs_incoming",
            Measure::Bytes,
            "Bytes of the IP packets from clients, of all services.",
            all.in_bytes,
        ),
        counter(
            "node_ipvs_outgoing",
            Measure::Bytes,
            "Bytes of the IP packets to clients, of all services.",
            all.out_bytes,
        ),
    ]
}
