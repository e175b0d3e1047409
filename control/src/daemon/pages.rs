//! What stands under the paths of HTTP: a page for people and what it is made of, metrics, the health of the daemon,
//! and what `lbctl --output json` prints.

use super::ControlThread;
use crate::api::http::{HTML, JSON, Request, Status, TEXT, page};
use crate::api::protocol::Command;
use crate::api::server::{Outlet, PeerId};
use crate::observe::answers::Framing;
use crate::observe::connections;
use crate::observe::metrics::Form;
use crate::observe::search::{Query, Search, number};
use crate::observe::services::Columns;
use crate::text::services::meant;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::ServiceKey;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Instant;

/// All paths, as a client is told that asks for another one.
const PATHS: &str = "there is / for people, /metrics, /healthz and /api/v1/ with status, list, stats, rate, timeouts or \
                     connections (what lbctl --output json prints), services, recent or reasons";
/// Before the name of a command.
const API: &str = "/api/v1/";

/// What stands under a path.
enum Page {
    ForPeople,
    Metrics,
    Health,
    Connections,
    Listing(Columns),
    Services,
    Recent,
    Reasons,
    View(Command),
    None,
}

impl Page {
    fn of(path: &str) -> Self {
        match path {
            "/" => return Self::ForPeople,
            "/metrics" => return Self::Metrics,
            "/healthz" => return Self::Health,
            _ => {}
        }
        match path.strip_prefix(API) {
            Some("status") => Self::View(Command::Status {}),
            Some("list") => Self::Listing(Columns::Plain),
            Some("stats") => Self::Listing(Columns::Totals),
            Some("rate") => Self::Listing(Columns::Rates),
            Some("timeouts") => Self::View(Command::Timeouts { set: None }),
            Some("connections") => Self::Connections,
            Some("services") => Self::Services,
            Some("recent") => Self::Recent,
            Some("reasons") => Self::Reasons,
            _ => Self::None,
        }
    }

    /// Whether parameters can stand behind its path.
    const fn takes_parameters(&self) -> bool {
        matches!(self, Self::Metrics | Self::Services | Self::Recent | Self::None)
    }
}

impl ControlThread {
    /// Answers a client of HTTP.
    pub(super) fn page(&mut self, peer: PeerId, request: &Request) {
        let now = Instant::now();
        let page = Page::of(&request.path);
        if let (Some((name, _)), false) = (request.parameters.first(), page.takes_parameters()) {
            let why = format!("{} takes no parameters, found {name}", request.path);
            return self.refuse_page(peer, &why, now);
        }
        match page {
            Page::ForPeople => self.peers.show(peer, Status::Ok, HTML, page::TEXT.as_bytes(), now),
            Page::Services => match Query::read(&request.parameters) {
                Ok(query) => {
                    self.peers.begin_to_show(peer, JSON);
                    match request.is_head {
                        true => self.peers.end(peer, now),
                        false => {
                            let search = Search::new(query, &self.model, self.snapshot.version);
                            self.answers.begin(peer, search);
                        }
                    }
                }
                Err(why) => self.refuse_page(peer, &why, now),
            },
            Page::Recent => match first_second(&request.parameters) {
                Ok(from) => {
                    let view = self.recent.view(from, self.began, self.is_ready());
                    // Plain structs with text keys always have a JSON form.
                    let text = serde_json::to_string(&view).unwrap_or_default();
                    self.peers.show(peer, Status::Ok, JSON, format!("{text}\n").as_bytes(), now);
                }
                Err(why) => self.refuse_page(peer, &why, now),
            },
            Page::Reasons => {
                let reasons =
                    DropReason::ALL.iter().map(|of| json!({ "name": of.name(), "text": of.text() }));
                let text = json!({ "reasons": reasons.collect::<Vec<_>>() });
                self.peers.show(peer, Status::Ok, JSON, format!("{text}\n").as_bytes(), now);
            }
            Page::Metrics => {
                let only = match self.only(&request.parameters) {
                    Ok(only) => only,
                    Err((status, why)) => {
                        return self.peers.show(peer, status, TEXT, format!("{why}\n").as_bytes(), now);
                    }
                };
                let form = Form::accepted(&request.accept);
                self.peers.begin_to_show(peer, form.content_type());
                match request.is_head {
                    true => self.peers.end(peer, now),
                    false => self.scrape(peer, Framing::Document, form, only),
                }
            }
            Page::Connections => {
                self.peers.begin_to_show(peer, JSON);
                match request.is_head {
                    true => self.peers.end(peer, now),
                    false => self.dumps.begin(peer, connections::Form::Document, None),
                }
            }
            Page::Listing(columns) => {
                self.peers.begin_to_show(peer, JSON);
                match request.is_head {
                    true => self.peers.end(peer, now),
                    false => self.list(peer, Framing::Document, columns, None),
                }
            }
            Page::Health if self.is_ready() => self.peers.show(peer, Status::Ok, TEXT, b"ok\n", now),
            Page::Health => {
                let why = b"a worker has not taken the configuration in time\n";
                self.peers.show(peer, Status::Unavailable, TEXT, why, now);
            }
            Page::View(command) => match self.view(&command) {
                Some(Ok(value)) => {
                    self.peers.show(peer, Status::Ok, JSON, format!("{value}\n").as_bytes(), now);
                }
                Some(Err(refused)) => {
                    self.peers.show(peer, Status::NotFound, TEXT, format!("{refused}\n").as_bytes(), now);
                }
                None => debug_assert!(false, "{command:?} shows nothing"),
            },
            Page::None => {
                let why = format!("{} is not here; {PATHS}\n", request.path);
                self.peers.show(peer, Status::NotFound, TEXT, why.as_bytes(), now);
            }
        }
    }

    /// The services that metrics are restricted to by parameters; `None`: there are none.
    ///
    /// # Errors
    /// How the request is refused, and why.
    fn only(
        &self,
        parameters: &[(String, String)],
    ) -> Result<Option<BTreeSet<ServiceKey>>, (Status, String)> {
        if parameters.is_empty() {
            return Ok(None);
        }
        let mut only = BTreeSet::new();
        for (name, value) in parameters {
            if name != "service" {
                let why = format!("/metrics takes service=VIP:PORT, found {name}");
                return Err((Status::BadRequest, why));
            }
            let meant = meant(value).map_err(|fault| (Status::BadRequest, format!("service: {fault}")))?;
            let before = only.len();
            only.extend(meant.into_iter().filter(|key| self.model.services().contains_key(key)));
            if only.len() == before {
                return Err((Status::NotFound, format!("there is no service {value}, or it is named twice")));
            }
        }
        Ok(Some(only))
    }

    fn refuse_page(&mut self, peer: PeerId, why: &str, now: Instant) {
        self.peers.show(peer, Status::BadRequest, TEXT, format!("{why}\n").as_bytes(), now);
    }
}

/// The number of the first second that is asked for.
fn first_second(parameters: &[(String, String)]) -> Result<u64, String> {
    match parameters {
        [] => Ok(0),
        [(name, value)] if name == "from" => Ok(number(name, value, 0, usize::MAX)? as u64),
        [(name, _), ..] => Err(format!("expected from=NUMBER alone, found {name}")),
    }
}
