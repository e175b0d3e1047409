//! Listings of services and reals, as long answers: one of tens of thousands of reals takes a second.

use super::answers::{Framing, Slices};
use super::services::{Columns, Inputs, real_view, service_view};
use super::statistics::Statistics;
use crate::model::{Model, Service};
use crate::publish::workers::Workers;
use crate::text::sort_order::{Place, Sorting};
use dataplane::names::ids::{RealKey, ServiceKey};
use serde::Serialize;

/// Reals and services that are looked at in one turn: far below a millisecond.
const SLICE: usize = 256;
/// Comparisons, by which they are put in order, that count as one that is looked at.
const COMPARISONS: usize = 16;

/// In a service's text, where it has no reals, and where they begin.
const NO_REALS: &str = r#""reals":[]"#;
const REALS: &str = r#""reals":["#;

/// Before the services; what `serde` makes of an `Answer` with [`Services`](crate::api::protocol::Services).
const fn head(framing: Framing) -> &'static str {
    match framing {
        Framing::Answer => r#"{"v":1,"ok":{"services":["#,
        Framing::Document => r#"{"services":["#,
    }
}

/// Behind them.
const fn tail(framing: Framing) -> &'static str {
    match framing {
        Framing::Answer => "]}}\n",
        Framing::Document => "]}\n",
    }
}

/// One listing: what there is, and how far it has come.
#[derive(Debug)]
pub struct Listing {
    framing: Framing,
    columns: Columns,
    /// As it was when the listing began.
    model: Model,
    /// Its services, in any order.
    services: Vec<ServiceKey>,
    /// Their order.
    sorting: Sorting,
    /// How many of them, in their order, are written.
    written: usize,
    begun: Option<Begun>,
    is_head_written: bool,
    is_over: bool,
}

/// A service that is being written.
#[derive(Debug)]
struct Begun {
    /// The order of its reals.
    sorting: Sorting,
    /// Reals of which the workers' counters have been added up.
    collected: usize,
    /// What stands behind its reals; `None`: it has not been begun to be written.
    tail: Option<String>,
    written: usize,
}

impl Listing {
    /// Of all services that there are now, or of this one.
    pub fn new(framing: Framing, columns: Columns, model: &Model, only: Option<ServiceKey>) -> Self {
        let services = match only {
            Some(only) => vec![only],
            None => model.services().keys().copied().collect(),
        };
        let sorting = Sorting::new(services.iter().map(Place::of_service).collect());
        let model = model.clone();
        Self {
            framing,
            columns,
            model,
            services,
            sorting,
            written: 0,
            begun: None,
            is_head_written: false,
            is_over: false,
        }
    }
}

impl Slices for Listing {
    fn slice(&mut self, statistics: &mut Statistics, workers: &Workers) -> String {
        let (mut out, mut budget) = (String::new(), SLICE);
        if !put_in_order(&mut self.sorting, &mut budget) {
            return out;
        }
        if !std::mem::replace(&mut self.is_head_written, true) {
            out.push_str(head(self.framing));
        }
        let model = &self.model;
        for &index in &self.sorting.order()[self.written..] {
            let Some(service) = model.services().get(&self.services[index]) else { continue };
            if budget == 0 {
                return out;
            }
            let begun = self.begun.get_or_insert_with(|| {
                budget -= 1;
                Begun::new(service, self.columns)
            });
            if !put_in_order(&mut begun.sorting, &mut budget) {
                return out;
            }
            begun.collect(service, statistics, workers, &mut budget);
            let inputs = Inputs { model, statistics, workers };
            if !begun.write(service, inputs, self.columns, &mut budget, &mut out) {
                return out;
            }
            self.begun = None;
            self.written += 1;
            if self.written < self.services.len() {
                out.push(',');
            }
        }
        out.push_str(tail(self.framing));
        self.is_over = true;
        out
    }

    fn is_over(&self) -> bool {
        self.is_over
    }
}

impl Begun {
    fn new(service: &Service, columns: Columns) -> Self {
        let places = service.reals.iter().map(|real| Place::of_real(real.endpoint)).collect();
        // Only totals are as new as the listing.
        let collected = if columns == Columns::Totals { 0 } else { service.reals.len() };
        Self { sorting: Sorting::new(places), collected, tail: None, written: 0 }
    }

    /// Adds up the counters of reals that it has not come to, as many as the budget allows.
    fn collect(
        &mut self,
        service: &Service,
        statistics: &mut Statistics,
        workers: &Workers,
        budget: &mut usize,
    ) {
        let slice = slice(self.sorting.order(), self.collected, *budget);
        for &index in slice {
            let key = RealKey { service: service.key, endpoint: service.reals[index].endpoint };
            statistics.collect_real(&key, workers);
        }
        self.collected += slice.len();
        *budget -= slice.len();
    }

    /// Writes as much as the budget allows, once the counters of all reals are in the service's total, which stands
    /// before them. Whether that is all.
    fn write(
        &mut self,
        service: &Service,
        inputs: Inputs<'_>,
        columns: Columns,
        budget: &mut usize,
        out: &mut String,
    ) -> bool {
        if self.collected < service.reals.len() {
            return false;
        }
        let tail = self.tail.get_or_insert_with(|| {
            let text = json(service_view(inputs, columns, service, Vec::new()));
            let (head, tail) = text.split_once(NO_REALS).unwrap_or_default();
            out.push_str(head);
            out.push_str(REALS);
            tail.to_owned()
        });
        let slice = slice(self.sorting.order(), self.written, *budget);
        for &index in slice {
            if self.written > 0 {
                out.push(',');
            }
            self.written += 1;
            out.push_str(&json(real_view(inputs, columns, service, &service.reals[index])));
        }
        *budget -= slice.len();
        if self.written < service.reals.len() {
            return false;
        }
        out.push(']');
        out.push_str(tail);
        true
    }
}

/// Goes on with it, as far as the budget allows. Whether all are in order.
fn put_in_order(sorting: &mut Sorting, budget: &mut usize) -> bool {
    *budget = sorting.go_on(*budget * COMPARISONS) / COMPARISONS;
    sorting.is_over()
}

/// As many as this, from one on.
fn slice(reals: &[usize], from: usize, most: usize) -> &[usize] {
    &reals[from..reals.len().min(from + most)]
}

/// With the keys in the order in which all answers have them. Plain structs with text keys always have a JSON form.
fn json(view: impl Serialize) -> String {
    serde_json::to_value(view).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::protocol::{Answer, Outcome, Services};
    use crate::observe::testing::model;
    use crate::text::sort_order::sorted;

    /// All services, or only this one, in one piece.
    fn services(inputs: Inputs<'_>, columns: Columns, only: Option<ServiceKey>) -> Services {
        let services = inputs.model.services().values();
        let services = services.filter(|service| only.is_none_or(|only| service.key == only));
        let services = sorted(services, |service| Some(Place::of_service(&service.key)));
        let whole = |service: &Service| {
            let reals = sorted(&service.reals, |real| Some(Place::of_real(real.endpoint)));
            let reals = reals.into_iter().map(|real| real_view(inputs, columns, service, real));
            service_view(inputs, columns, service, reals.collect())
        };
        Services { services: services.into_iter().map(|service| whole(service)).collect() }
    }

    /// What is listed, and in how many slices.
    fn listed(
        framing: Framing,
        columns: Columns,
        model: &Model,
        only: Option<ServiceKey>,
    ) -> (String, usize) {
        let (mut statistics, workers) = (Statistics::default(), Workers::new(Vec::new()));
        let mut listing = Listing::new(framing, columns, model, only);
        let (mut text, mut slices) = (String::new(), 0);
        while !listing.is_over {
            text.push_str(&listing.slice(&mut statistics, &workers));
            slices += 1;
        }
        (text, slices)
    }

    #[test]
    fn all_is_listed_as_in_one_piece() {
        for (count, reals) in [(0, 0), (1, 0), (1, 3), (40, 0), (300, 2), (3, 700), (2, 256), (1, 257)] {
            let model = model(count, reals);
            let (statistics, workers) = (Statistics::default(), Workers::new(Vec::new()));
            for columns in [Columns::Plain, Columns::Totals, Columns::Rates] {
                let inputs = Inputs { model: &model, statistics: &statistics, workers: &workers };
                for only in [None, model.services().keys().next().copied()] {
                    let whole = json(services(inputs, columns, only));
                    let (text, _) = listed(Framing::Document, columns, &model, only);
                    assert_eq!(text, format!("{whole}\n"), "{count} services of {reals} reals, {columns:?}");
                    let (text, _) = listed(Framing::Answer, columns, &model, only);
                    let answer: Answer = serde_json::from_str(&text).unwrap();
                    let expected = serde_json::from_str(&whole).unwrap();
                    assert_eq!(answer.result, Outcome::Ok(expected), "{count} services of {reals} reals");
                }
            }
        }
    }

    #[test]
    fn much_is_listed_in_many_slices_and_little_in_one() {
        let slices =
            |services, reals, columns| listed(Framing::Answer, columns, &model(services, reals), None).1;
        assert_eq!(slices(4, 16, Columns::Totals), 1);
        assert!(slices(1, 3000, Columns::Plain) >= 3000 / SLICE);
        assert!(slices(1, 3000, Columns::Totals) >= 2 * (3000 / SLICE), "each is counted, and then written");
        assert!(slices(600, 5, Columns::Rates) >= 3000 / SLICE);
        assert!(slices(1000, 0, Columns::Plain) >= 1000 / SLICE);
        // 2^13 of them are put in order in 13 comparisons each.
        let ordered = (1 << 13) * 13 / (COMPARISONS * SLICE);
        assert!(slices(1, 1 << 13, Columns::Plain) >= ordered + (1 << 13) / SLICE);
        assert!(slices(1 << 13, 0, Columns::Plain) >= ordered + (1 << 13) / SLICE);
    }
}
