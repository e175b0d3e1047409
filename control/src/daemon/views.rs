//! Listings of services and reals.

use super::ControlThread;
use super::commands::json;
use crate::api::protocol::{RealView, ServiceView, Services, Traffic};
use crate::api::refusal::Refused;
use crate::model::rules::Unfit;
use crate::model::{Real, Service};
use crate::publish::workers::Connections;
use crate::text::services::Listen;
use dataplane::names::ids::{RealKey, ServiceKey};
use serde_json::Value;

/// What stands beside services and reals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Columns {
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

impl ControlThread {
    /// Whether a listing can be restricted to this service.
    pub(super) fn filter(&self, only: Option<&ServiceKey>) -> Result<(), Refused> {
        match only {
            Some(key) if !self.model.services().contains_key(key) => Err(Unfit::NoSuchService.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn listing(&mut self, columns: Columns, only: Option<&Listen>) -> Result<Value, Refused> {
        let only = only.map(|listen| listen.0);
        self.filter(only.as_ref())?;
        if columns == Columns::Totals {
            self.statistics.collect(&self.workers);
        }
        let services =
            self.model.services().values().filter(|service| only.is_none_or(|only| service.key == only));
        let services = services.map(|service| self.service_view(columns, service)).collect();
        Ok(json(Services { services }))
    }

    fn service_view(&self, columns: Columns, service: &Service) -> ServiceView {
        let mut reals: Vec<&Real> = service.reals.iter().collect();
        reals.sort_by_key(|real| real.endpoint);
        ServiceView {
            protocol: service.key.protocol.to_string(),
            address: service.key.listen.ip().to_string(),
            port: service.key.listen.port(),
            scheduler: service.algorithm.name().to_owned(),
            flags: Vec::new(),
            persistence_s: 0,
            traffic: columns.of(self.statistics.service(&service.key)),
            reals: reals.into_iter().map(|real| self.real_view(columns, service, real)).collect(),
        }
    }

    fn real_view(&self, columns: Columns, service: &Service, real: &Real) -> RealView {
        let key = RealKey { service: service.key, endpoint: real.endpoint };
        let id = self.compiler.ids().real(&key);
        let connections = id.map_or_else(Connections::default, |id| self.workers.connections(id));
        RealView {
            address: real.endpoint.ip().to_string(),
            port: real.endpoint.port(),
            forward: "Masq".to_owned(),
            weight: real.weight,
            upper_threshold: 0,
            lower_threshold: 0,
            active: connections.active,
            inactive: connections.inactive(),
            traffic: columns.of(self.statistics.real(&key)),
        }
    }
}
