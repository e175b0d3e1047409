//! Some of the services, for a page of them: those that match what is searched for, in an order, from one on.
//!
//! With many thousands of reals that takes longer than the control thread may be away, so it goes slice by slice:
//!
//! ```text
//! Matching ──all are looked at──► Ordering ──all are in order──► Showing ──the page is full──► (over)
//! ```

use super::answers::Slices;
use super::services::{Columns, Inputs, real_view, service_view};
use super::statistics::Statistics;
use crate::api::protocol::{RealView, ServiceView, Traffic};
use crate::model::rules::Configured;
use crate::model::{Model, Real, Service};
use crate::publish::workers::Workers;
use crate::text::services::Listen;
use crate::text::sort_order::{Place, Sorting, sorted};
use dataplane::names::ids::{RealKey, ServiceKey};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fmt::Write;
use std::ops::Bound;

/// Services and reals that are looked at in one turn: far below a millisecond.
const SLICE: usize = 256;
/// Comparisons that put services in order in one turn: likewise.
const COMPARISONS: usize = 4096;
/// Services of one page.
const MOST_SERVICES: usize = 100;
const USUAL_SERVICES: usize = 25;
/// Reals of each of its services.
const MOST_REALS: usize = 256;
const USUAL_REALS: usize = 64;
/// Reals of a service that are put in order; of a service with more, these are the newest.
const ORDERED_REALS: usize = 1024;
/// The longest text to search for, in bytes.
const LONGEST_SEARCH: usize = 200;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// In lower case: each is a part of what a service or a real is called.
    words: Vec<String>,
    order: Order,
    /// Services before the page.
    offset: usize,
    services: usize,
    reals: usize,
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// As `lbctl list` has it.
    Address,
    /// What makes most connections.
    Conns,
    /// What has most packets.
    Packets,
    /// What has most bytes.
    Bytes,
}

const ORDERS: [(&str, Order); 4] = [
    ("address", Order::Address),
    ("conns", Order::Conns),
    ("packets", Order::Packets),
    ("bytes", Order::Bytes),
];

impl Query {
    /// From a URL's parameters.
    ///
    /// # Errors
    /// In words: a parameter that is not known, or a value that it cannot have.
    pub fn read(parameters: &[(String, String)]) -> Result<Self, String> {
        let mut query = Self {
            words: Vec::new(),
            order: Order::Address,
            offset: 0,
            services: USUAL_SERVICES,
            reals: USUAL_REALS,
        };
        for (name, value) in parameters {
            match name.as_str() {
                "search" if value.len() > LONGEST_SEARCH => {
                    return Err(format!(
                        "search: expected at most {LONGEST_SEARCH} bytes, found {}",
                        value.len()
                    ));
                }
                "search" => {
                    query.words = value.to_lowercase().split_whitespace().map(str::to_owned).collect()
                }
                "order" => {
                    let known = ORDERS.into_iter().find(|(name, _)| name == value);
                    let names = ORDERS.map(|(name, _)| name).join(", ");
                    query.order = known.ok_or(format!("order: expected one of {names}, found {value:?}"))?.1;
                }
                "offset" => query.offset = number(name, value, 0, usize::MAX)?,
                "count" => query.services = number(name, value, 1, MOST_SERVICES)?,
                "reals" => query.reals = number(name, value, 0, MOST_REALS)?,
                _ => {
                    return Err(format!(
                        "{name:?} is not known here: search, order, offset, count and reals are"
                    ));
                }
            }
        }
        Ok(query)
    }

    /// Whether all words are part of the service's name.
    fn finds_service(&self, service: &str) -> bool {
        self.words.iter().all(|word| service.contains(word.as_str()))
    }

    /// Whether all words are part of the service's name or the real's.
    fn finds_real(&self, service: &str, real: &Real) -> bool {
        let real = real.endpoint.to_string();
        self.words.iter().all(|word| service.contains(word.as_str()) || real.contains(word.as_str()))
    }
}

/// A number of a URL's parameter.
///
/// # Errors
/// In words: it is none, or not between these.
pub fn number(name: &str, value: &str, least: usize, most: usize) -> Result<usize, String> {
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| match most {
        usize::MAX => format!("{name}: expected a number from {least} on, found {value:?}"),
        _ => format!("{name}: expected a number from {least} to {most}, found {value:?}"),
    })
}

/// What a service is called, in lower case.
fn name(service: &Service) -> String {
    let mut name = Listen(service.key).to_string();
    // Writing to a `String` does not fail.
    let _ = write!(name, " {}", service.settings.algorithm.name());
    name
}

/// One search: what there is, and how far it has come.
#[derive(Debug)]
pub struct Search {
    query: Query,
    /// As it was when the search began.
    model: Model,
    config_version: u64,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// All services up to this one are looked at, and so many reals of the next one.
    Matching {
        after: Option<ServiceKey>,
        reals: usize,
        found: Vec<Match>,
    },
    /// These match; they are put in the order of their addresses.
    Ordering {
        found: Vec<Match>,
        sorting: Sorting,
    },
    /// These are to be shown.
    Showing {
        left: VecDeque<ServiceKey>,
        begun: Option<Begun>,
        is_first: bool,
    },
    Over,
}

/// A service that matches, and what its place depends on besides its address.
type Match = (u64, ServiceKey);

/// A service of which some reals have been looked at.
#[derive(Debug)]
struct Begun {
    /// It is its name that matches, so that all its reals do.
    matches: bool,
    name: String,
    looked_at: usize,
    sums: Sums,
    /// Indices of reals that match.
    reals: Vec<usize>,
    matching: usize,
}

/// Of all reals of a service.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Sums {
    weight: u64,
    active: u64,
    inactive: u64,
}

/// A service on the page.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    service: ServiceView,
    #[serde(flatten)]
    sums: Sums,
    real_count: usize,
    /// Those that match, of which `reals` has the first.
    matching_reals: usize,
}

impl Slices for Search {
    fn slice(&mut self, statistics: &mut Statistics, workers: &Workers) -> String {
        let mut out = String::new();
        self.step = match std::mem::replace(&mut self.step, Step::Over) {
            Step::Matching { after, reals, found } => self.find(after, reals, found, statistics, &mut out),
            Step::Ordering { found, sorting } => self.put_in_order(found, sorting, &mut out),
            Step::Showing { left, begun, is_first } => {
                self.show((left, begun, is_first), (statistics, workers), &mut out)
            }
            Step::Over => Step::Over,
        };
        out
    }

    fn is_over(&self) -> bool {
        matches!(self.step, Step::Over)
    }
}

impl Search {
    /// Among the services that there are now.
    pub fn new(query: Query, model: &Model, config_version: u64) -> Self {
        let step = Step::Matching { after: None, reals: 0, found: Vec::new() };
        Self { query, model: model.clone(), config_version, step }
    }

    fn find(
        &self,
        mut after: Option<ServiceKey>,
        mut reals: usize,
        mut found: Vec<Match>,
        statistics: &Statistics,
        out: &mut String,
    ) -> Step {
        let mut left = SLICE;
        while left > 0 {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let Some((key, service)) = self.model.services().range((from, Bound::Unbounded)).next() else {
                return self.ordered(found, out);
            };
            left -= 1;
            let name = name(service);
            let mut is_found = self.query.finds_service(&name);
            if !is_found {
                let slice = &service.reals[reals..service.reals.len().min(reals + left)];
                is_found = slice.iter().any(|real| self.query.finds_real(&name, real));
                (left, reals) = (left - slice.len(), reals + slice.len());
                if !is_found && reals < service.reals.len() {
                    break;
                }
            }
            if is_found {
                found.push((self.rank(key, statistics), *key));
            }
            (after, reals) = (Some(*key), 0);
        }
        Step::Matching { after, reals, found }
    }

    fn rank(&self, key: &ServiceKey, statistics: &Statistics) -> u64 {
        let Traffic { conns, in_packets, out_packets, in_bytes, out_bytes } = statistics.service(key).1;
        match self.query.order {
            Order::Address => 0,
            Order::Conns => conns,
            Order::Packets => in_packets.saturating_add(out_packets),
            Order::Bytes => in_bytes.saturating_add(out_bytes),
        }
    }

    /// All that match are found: puts them in order.
    fn ordered(&self, mut found: Vec<Match>, out: &mut String) -> Step {
        if self.query.order == Order::Address {
            let sorting = Sorting::new(found.iter().map(|(_, key)| Place::of_service(key)).collect());
            return self.put_in_order(found, sorting, out);
        }
        found.sort_by_key(|(rank, key)| (Reverse(*rank), *key));
        self.page(found.len(), found.iter(), out)
    }

    /// By their addresses.
    fn put_in_order(&self, found: Vec<Match>, mut sorting: Sorting, out: &mut String) -> Step {
        sorting.go_on(COMPARISONS);
        if !sorting.is_over() {
            return Step::Ordering { found, sorting };
        }
        self.page(found.len(), sorting.order().iter().map(|index| &found[*index]), out)
    }

    /// Begins the page of what matches, which is in order.
    fn page<'a>(&self, matching: usize, found: impl Iterator<Item = &'a Match>, out: &mut String) -> Step {
        let Query { offset, services, .. } = self.query;
        // Writing to a `String` does not fail.
        let _ = write!(
            out,
            r#"{{"config_version":{},"service_count":{},"real_count":{},"matching":{},"offset":{offset},"services":["#,
            self.config_version,
            self.model.service_count(),
            self.model.real_count(),
            matching
        );
        let left = found.skip(offset).take(services).map(|(_, key)| *key).collect();
        Step::Showing { left, begun: None, is_first: true }
    }

    fn show(
        &self,
        (mut left, begun, mut is_first): (VecDeque<ServiceKey>, Option<Begun>, bool),
        (statistics, workers): (&Statistics, &Workers),
        out: &mut String,
    ) -> Step {
        let inputs = Inputs { model: &self.model, statistics, workers };
        let mut begun = begun;
        let mut budget = SLICE;
        while let Some(service) = left.front().and_then(|key| self.model.services().get(key)) {
            let mut now = begun.take().unwrap_or_else(|| self.begin(service));
            let to = service.reals.len().min(now.looked_at + budget);
            budget -= to - now.looked_at;
            self.look(service, &mut now, to, inputs);
            if to < service.reals.len() {
                begun = Some(now);
                break;
            }
            if !is_first {
                out.push(',');
            }
            is_first = false;
            out.push_str(&self.shown(service, now, inputs));
            left.pop_front();
            budget = budget.saturating_sub(1 + self.query.reals.min(service.reals.len()));
            if budget == 0 {
                break;
            }
        }
        if left.is_empty() {
            out.push_str("]}\n");
            return Step::Over;
        }
        Step::Showing { left, begun, is_first }
    }

    fn begin(&self, service: &Service) -> Begun {
        let name = name(service);
        let matches = self.query.finds_service(&name);
        Begun { matches, name, looked_at: 0, sums: Sums::default(), reals: Vec::new(), matching: 0 }
    }

    /// Looks at the reals up to this one.
    fn look(&self, service: &Service, begun: &mut Begun, to: usize, inputs: Inputs<'_>) {
        for index in begun.looked_at..to {
            let real = &service.reals[index];
            let id = inputs.statistics.id(&RealKey { service: service.key, endpoint: real.endpoint });
            let connections = id.map(|id| inputs.workers.connections(id)).unwrap_or_default();
            begun.sums.weight += u64::from(real.weight);
            begun.sums.active += connections.active;
            begun.sums.inactive += connections.inactive();
            if begun.matches || self.query.finds_real(&begun.name, real) {
                begun.matching += 1;
                if begun.reals.len() < ORDERED_REALS {
                    begun.reals.push(index);
                }
            }
        }
        begun.looked_at = to;
    }

    fn shown(&self, service: &Service, begun: Begun, inputs: Inputs<'_>) -> String {
        let reals = begun.reals.into_iter().map(|index| &service.reals[index]);
        let reals = sorted(reals, |real| Some(Place::of_real(real.endpoint)));
        let view = |real| real_view(inputs, Columns::Rates, service, real);
        let reals: Vec<RealView> = reals.into_iter().take(self.query.reals).map(view).collect();
        let shown = Shown {
            service: service_view(inputs, Columns::Rates, service, reals),
            sums: begun.sums,
            real_count: service.reals.len(),
            matching_reals: begun.matching,
        };
        // Plain structs with text keys always have a JSON form.
        serde_json::to_string(&shown).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::testing::model;
    use serde_json::{Value, json};

    fn read(parameters: &str) -> Result<Query, String> {
        let parameters: Vec<_> = form_urlencoded::parse(parameters.as_bytes()).into_owned().collect();
        Query::read(&parameters)
    }

    /// What a query finds, and in how many slices.
    fn found(model: &Model, parameters: &str) -> (Value, usize) {
        let mut search = Search::new(read(parameters).unwrap(), model, 7);
        let (mut statistics, workers) = (Statistics::default(), Workers::new(Vec::new()));
        let (mut text, mut slices) = (String::new(), 0);
        while !search.is_over() {
            text.push_str(&search.slice(&mut statistics, &workers));
            slices += 1;
        }
        (serde_json::from_str(&text).unwrap(), slices)
    }

    fn names(found: &Value) -> Vec<String> {
        let services = found["services"].as_array().unwrap();
        services.iter().map(|of| format!("{}:{}", of["address"].as_str().unwrap(), of["port"])).collect()
    }

    #[test]
    fn services_and_reals_are_found_by_parts_of_their_names() {
        let model = model(120, 3);
        let (all, _) = found(&model, "");
        assert_eq!(
            (&all["service_count"], &all["real_count"], &all["matching"]),
            (&json!(120), &json!(360), &json!(120))
        );
        assert_eq!(names(&all).len(), USUAL_SERVICES);
        assert_eq!(names(&all)[..3], ["192.0.2.1:1000", "192.0.2.1:1050", "192.0.2.1:1100"]);
        let first = &all["services"][0];
        assert_eq!(
            (&first["weight"], &first["real_count"], &first["matching_reals"]),
            (&json!(6), &json!(3), &json!(3))
        );
        assert_eq!(first["reals"].as_array().unwrap().len(), 3);
        // From page to page each service once, in the order of `lbctl list`.
        let pages: Vec<String> = [0, 50, 100, 150]
            .iter()
            .flat_map(|offset| names(&found(&model, &format!("count=50&offset={offset}")).0))
            .collect();
        assert_eq!(
            pages,
            names(&found(&model, "count=100").0)
                .into_iter()
                .chain(names(&found(&model, "count=100&offset=100").0))
                .collect::<Vec<_>>()
        );
        assert_eq!(pages.len(), 120);
        // By a real, which alone is shown; by the service, of which all are.
        let (one, _) = found(&model, "search=10.7.0.2:80");
        assert_eq!(names(&one), ["192.0.2.6:1105", "192.0.2.7:1006"]);
        assert_eq!(one["services"][0]["reals"].as_array().unwrap().len(), 1);
        let (one, _) = found(&model, "search=TCP+:1006+wlc");
        assert_eq!(names(&one), ["192.0.2.7:1006"]);
        assert_eq!(one["services"][0]["reals"].as_array().unwrap().len(), 3);
        let (both, _) = found(&model, "search=192.0.2.7:+.0.2:80&reals=0");
        assert_eq!(names(&both), ["192.0.2.7:1006", "192.0.2.7:1056", "192.0.2.7:1106"]);
        assert_eq!(
            (&both["services"][0]["reals"], &both["services"][0]["matching_reals"]),
            (&json!([]), &json!(1))
        );
        assert_eq!(found(&model, "search=udp").0["services"], json!([]));
        assert_eq!(found(&Model::new([1; 3].into()), "").0["services"], json!([]));
    }

    /// What is looked at in a turn does not grow with what there is, be it many services or one large one.
    #[test]
    fn much_is_looked_at_in_many_slices() {
        for (services, reals) in [(2000, 15), (1, 30_000), (10, 3000)] {
            let model = model(services, reals);
            let all = services * (1 + reals);
            for parameters in ["search=none+such", "search=10.255.", "count=100&reals=256", "order=conns"] {
                let (answer, slices) = found(&model, parameters);
                assert_eq!(answer["service_count"], json!(services));
                let least = match parameters.contains("search") {
                    true => all / SLICE,
                    false => (services + answer["services"].as_array().unwrap().len() * reals) / SLICE,
                };
                assert!(
                    slices >= least,
                    "{slices} slices for {services} services of {reals} reals, {parameters}"
                );
            }
        }
        let (one, _) = found(&model(1, 3000), "reals=256");
        let shown = &one["services"][0];
        assert_eq!((&shown["real_count"], &shown["matching_reals"]), (&json!(3000), &json!(3000)));
        assert_eq!(shown["reals"].as_array().unwrap().len(), 256);
    }

    #[test]
    fn parameters_are_read() {
        let usual = Query {
            words: Vec::new(),
            order: Order::Address,
            offset: 0,
            services: USUAL_SERVICES,
            reals: USUAL_REALS,
        };
        assert_eq!(read(""), Ok(usual.clone()));
        let text = "search=TCP+%5B2001:DB8::1%5D:80&order=conns&offset=50&count=100&reals=0";
        let words = vec!["tcp".to_owned(), "[2001:db8::1]:80".to_owned()];
        assert_eq!(read(text), Ok(Query { words, order: Order::Conns, offset: 50, services: 100, reals: 0 }));
        assert_eq!(read("search=%20+%20"), Ok(usual));
    }

    #[test]
    fn other_parameters_are_refused_in_words() {
        for (text, expected) in [
            ("find=x", "\"find\" is not known here: search, order, offset, count and reals are"),
            ("order=size", "order: expected one of address, conns, packets, bytes, found \"size\""),
            ("offset=-1", "offset: expected a number from 0 on, found \"-1\""),
            ("count=0", "count: expected a number from 1 to 100, found \"0\""),
            ("count=101", "count: expected a number from 1 to 100, found \"101\""),
            ("reals=1e9", "reals: expected a number from 0 to 256, found \"1e9\""),
        ] {
            assert_eq!(read(text), Err(expected.to_owned()));
        }
        assert!(read(&format!("search={}", "x".repeat(201))).is_err());
    }
}
