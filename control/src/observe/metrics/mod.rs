//! Metrics for Prometheus: families as collectors over what is counted already, written to whoever asks in slices, so
//! that a scrape of many thousands of reals delays no command.
//!
//! A scrape goes over all services and reals that there were when it began: first it collects what they have counted,
//! then it writes family after family, as the formats want it. Reals beyond a limit have no metrics of their own:
//! there would be some ten lines for each of them at every scrape. A scrape of some services has these only.
//!
//! ```text
//! mod     the scrapes under way, and how far each is
//! form    OpenMetrics, or Prometheus' own form
//! family  a family of metrics, and some of its samples as text
//! few     daemon, ports, workers, drops, neighbours
//! many    services and reals
//! ```

mod family;
mod few;
mod form;
mod many;

pub use few::Facts;
pub use form::Form;

use super::answers::Slices;
use super::statistics::Statistics;
use crate::config::metrics::{Metrics, Names};
use crate::model::{Model, Service};
use crate::publish::workers::Workers;
use dataplane::names::ids::{RealKey, ServiceKey};
use family::Piece;
use imbl::OrdMap;
use many::{Column, Item, Of};
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// Services and reals that are looked at, and families of other things that are written, in one turn: far below a
/// millisecond.
const SLICE: usize = 256;

/// Around the text; what `serde` makes of an `Answer` with [`Metrics`](crate::api::protocol::Metrics).
const HEAD: &str = r#"{"v":1,"ok":{"text":""#;
const TAIL: &str = "\"}}\n";

/// One scrape: what there is, and how far it has come.
#[derive(Debug)]
pub struct Scrape {
    form: Form,
    names: Names,
    shows_reals: bool,
    /// As they were when the scrape began: all, or those that are asked for.
    services: Services,
    /// Not all of them are.
    is_part: bool,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// The counters of reals are collected, from this one on.
    Collecting {
        at: Place,
        services: Vec<Item>,
        few: VecDeque<Piece>,
    },
    /// Families of what there is few of.
    Few {
        services: Vec<Item>,
        few: VecDeque<Piece>,
    },
    /// Families of services and reals.
    Many {
        services: Vec<Item>,
        columns: VecDeque<Column>,
        at: Place,
        goes_on: bool,
    },
    Over,
}

type Services = OrdMap<ServiceKey, Arc<Service>>;

/// A real of a service: its service, and its index in it; one behind the last, where all of its reals are behind.
/// `None`: the first of all.
type Place = Option<(ServiceKey, usize)>;

/// A scrape as the answer to `lbctl metrics`: a line of JSON with the text under `ok`, as `text`.
#[derive(Debug)]
pub struct Quoted {
    scrape: Scrape,
    is_begun: bool,
}

impl Quoted {
    /// Of this scrape.
    pub const fn new(scrape: Scrape) -> Self {
        Self { scrape, is_begun: false }
    }
}

impl Slices for Quoted {
    fn slice(&mut self, statistics: &mut Statistics, workers: &Workers) -> String {
        let head = if std::mem::replace(&mut self.is_begun, true) { "" } else { HEAD };
        let text = escaped(&self.scrape.slice(statistics, workers));
        let tail = if self.scrape.is_over() { TAIL } else { "" };
        format!("{head}{text}{tail}")
    }

    fn is_over(&self) -> bool {
        self.scrape.is_over()
    }
}

/// As it stands between the quotes of a JSON string.
fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

impl Slices for Scrape {
    fn slice(&mut self, statistics: &mut Statistics, workers: &Workers) -> String {
        let mut out = String::new();
        self.step = match std::mem::replace(&mut self.step, Step::Over) {
            Step::Collecting { at, services, few } => self.collect(at, services, few, statistics, workers),
            Step::Few { services, few } => self.write_few(services, few, statistics, &mut out),
            Step::Many { services, columns, at, goes_on } => {
                self.write_many(services, columns, (at, goes_on), (statistics, workers), &mut out)
            }
            Step::Over => Step::Over,
        };
        if self.is_over() {
            out.push_str(&self.form.tail());
        }
        out
    }

    fn is_over(&self) -> bool {
        matches!(self.step, Step::Over)
    }
}

impl Scrape {
    /// Of all that there is now.
    pub fn new(form: Form, wanted: &Metrics, facts: &Facts<'_>) -> Self {
        let model = facts.status.model;
        let pieces = |omitted| few::pieces(facts, omitted);
        Self::of(form, wanted, model.services().clone(), model.real_count(), false, pieces)
    }

    /// Of some services and their reals only. Those that there are not are left out.
    pub fn of_services(form: Form, wanted: &Metrics, model: &Model, only: &BTreeSet<ServiceKey>) -> Self {
        let of_model = |key: &ServiceKey| Some((*key, Arc::clone(model.services().get(key)?)));
        let services: Services = only.iter().filter_map(of_model).collect();
        let reals = services.values().map(|service| service.reals.len()).sum();
        Self::of(form, wanted, services, reals, true, |omitted| vec![few::omitted(omitted)])
    }

    /// `pieces`: of what else there is; they are told how many reals are left out.
    fn of(
        form: Form,
        wanted: &Metrics,
        services: Services,
        reals: usize,
        is_part: bool,
        pieces: impl FnOnce(usize) -> Vec<Piece>,
    ) -> Self {
        let shows_reals = reals <= wanted.most_reals;
        let few = pieces(if shows_reals { 0 } else { reals }).into();
        // Enough from the beginning: it is not moved while it grows.
        let collected = Vec::with_capacity(services.len());
        let step = Step::Collecting { at: None, services: collected, few };
        Self { form, names: wanted.names, shows_reals, services, is_part, step }
    }

    fn collect(
        &self,
        at: Place,
        mut services: Vec<Item>,
        few: VecDeque<Piece>,
        statistics: &mut Statistics,
        workers: &Workers,
    ) -> Step {
        let (reals, next) = slice_of(&self.services, at);
        for (service, real) in reals {
            if services.last().is_none_or(|last| last.service != service) {
                forget_removed(&mut services, statistics);
                services.push(Item::of_service(service));
            }
            if let Some((key, weight)) = real {
                statistics.collect_real(&key, workers);
                if let (Some(real), Some(service)) =
                    (Item::of_real(key, weight, statistics, workers), services.last_mut())
                {
                    service.add(&real);
                }
            }
            if let Some(last) = services.last_mut() {
                last.traffic = statistics.service(&service).0;
            }
        }
        match next {
            Some(at) => Step::Collecting { at: Some(at), services, few },
            None => {
                forget_removed(&mut services, statistics);
                Step::Few { services, few }
            }
        }
    }

    fn write_few(
        &self,
        services: Vec<Item>,
        mut few: VecDeque<Piece>,
        statistics: &Statistics,
        out: &mut String,
    ) -> Step {
        let mut samples = 0;
        while let Some(piece) = few.pop_front() {
            samples += 1 + piece.samples.len();
            piece.write(self.form, false, out);
            if samples >= SLICE {
                return Step::Few { services, few };
            }
        }
        if self.names.node_ipvs && !self.is_part {
            let totals = many::node_ipvs_totals(statistics.all());
            totals.into_iter().for_each(|piece| piece.write(self.form, false, out));
        }
        let columns = many::columns(self.names, self.shows_reals);
        Step::Many { services, columns: columns.into(), at: None, goes_on: false }
    }

    /// `at`: where, and whether the family's head is written already.
    fn write_many(
        &self,
        services: Vec<Item>,
        mut columns: VecDeque<Column>,
        (at, goes_on): (Place, bool),
        (statistics, workers): (&Statistics, &Workers),
        out: &mut String,
    ) -> Step {
        let Some(column) = columns.front() else { return Step::Over };
        let mut samples = Vec::new();
        let next = match column.of {
            Of::Services => {
                let from = at.map_or(0, |(key, _)| services.partition_point(|item| item.service < key));
                let slice = services[from..].iter();
                slice.clone().take(SLICE).for_each(|item| column.add(item, &mut samples));
                services.get(from + SLICE).map(|item| (item.service, 0))
            }
            Of::Reals | Of::Backends => {
                let (reals, next) = slice_of(&self.services, at);
                let keys = reals.into_iter().filter_map(|(_, real)| real);
                let items = keys.filter_map(|(key, weight)| Item::of_real(key, weight, statistics, workers));
                items.for_each(|item| column.add(&item, &mut samples));
                next
            }
        };
        Piece::new(column.family.clone(), samples).write(self.form, goes_on, out);
        if next.is_none() {
            columns.pop_front();
        }
        Step::Many { services, columns, at: next, goes_on: next.is_some() }
    }
}

/// The last service has been collected: if it was removed meanwhile it has begun at 0 in the statistics.
fn forget_removed(services: &mut Vec<Item>, statistics: &Statistics) {
    services.pop_if(|last| !statistics.counts(&last.service));
}

/// A service, and one of its reals with its weight, or none.
type Row = (ServiceKey, Option<(RealKey, u32)>);

/// The reals from here on, as many as fit a slice, each service once more without a real before them; and where the
/// next slice begins.
fn slice_of(services: &Services, at: Place) -> (Vec<Row>, Place) {
    let mut rows = Vec::with_capacity(SLICE);
    let from = at.map_or(Bound::Unbounded, |(key, _)| Bound::Included(key));
    let mut index = at.map_or(0, |(_, index)| index);
    for (key, service) in services.range((from, Bound::Unbounded)) {
        if rows.len() >= SLICE {
            return (rows, Some((*key, 0)));
        }
        if index == 0 {
            rows.push((*key, None));
        }
        for real in &service.reals[index.min(service.reals.len())..] {
            if rows.len() >= SLICE {
                return (rows, Some((*key, index)));
            }
            let real_key = RealKey { service: *key, endpoint: real.endpoint };
            rows.push((*key, Some((real_key, real.weight))));
            index += 1;
        }
        index = 0;
    }
    (rows, None)
}
