//! Services and reals in a listing.

use super::statistics::Statistics;
use crate::api::protocol::{RealView, ServiceView, Traffic};
use crate::model::{Model, Real, Service};
use crate::publish::workers::{Connections, Workers};
use crate::text::{masks, scheduler_flags, service_options, state_timeouts};
use dataplane::names::ids::RealKey;

/// What stands beside services and reals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// Weights and connections alone.
    Plain,
    /// What was counted.
    Totals,
    /// What is counted a second.
    Rates,
}

impl Columns {
    fn of(self, (totals, rates): (Traffic, Traffic)) -> Option<Traffic> {
        match self {
            Self::Plain => None,
            Self::Totals => Some(totals),
            Self::Rates => Some(rates),
        }
    }
}

/// What a listing is made of.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// What is configured.
    pub model: &'a Model,
    /// What is counted, at which rates, and by which id.
    pub statistics: &'a Statistics,
    /// Their gauges of connections.
    pub workers: &'a Workers,
}

/// A service with these of its reals.
pub(super) fn service_view(
    inputs: Inputs<'_>,
    columns: Columns,
    service: &Service,
    reals: Vec<RealView>,
) -> ServiceView {
    let settings = &service.settings;
    ServiceView {
        protocol: service.key.protocol.to_string(),
        address: service.key.listen.ip().to_string(),
        port: service.key.listen.port(),
        last_port: service.key.last_port,
        scheduler: settings.algorithm.name().to_owned(),
        flags: scheduler_flags::names(settings.algorithm.name(), settings.flags).map(str::to_owned).collect(),
        persistence_s: settings.persistence.map_or(0, |persistence| persistence.seconds),
        persistence_mask: settings.persistence.map(|persistence| masks::text(persistence.mask)),
        one_packet: settings.one_packet,
        timeouts: state_timeouts::by_name(&settings.timeouts),
        on_removal: service_options::on_removal_word(settings.on_removal).to_owned(),
        slow_start_s: settings.slow_start,
        traffic: columns.of(inputs.statistics.service(&service.key)),
        reals,
    }
}

pub(super) fn real_view(inputs: Inputs<'_>, columns: Columns, service: &Service, real: &Real) -> RealView {
    let key = RealKey { service: service.key, endpoint: real.endpoint };
    let id = inputs.statistics.id(&key);
    let connections = id.map_or_else(Connections::default, |id| inputs.workers.connections(id));
    RealView {
        address: real.endpoint.ip().to_string(),
        port: real.endpoint.port(),
        forward: "Masq".to_owned(),
        weight: real.weight,
        upper_threshold: real.thresholds.upper,
        lower_threshold: real.thresholds.lower,
        active: connections.active,
        inactive: connections.inactive(),
        persistent_conns: connections.templates,
        traffic: columns.of(inputs.statistics.real(&key)),
    }
}
