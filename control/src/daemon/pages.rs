//! What stands under the paths of HTTP: metrics, the health of the daemon, and what `lbctl --output json` prints.

use super::ControlThread;
use crate::api::http::{JSON, Request, Status, TEXT};
use crate::api::protocol::Command;
use crate::api::server::{Outlet, PeerId};
use crate::observe::connections;
use crate::observe::metrics::{Form, Framing};
use crate::text::services::meant;
use dataplane::names::ids::ServiceKey;
use std::collections::BTreeSet;
use std::time::Instant;

/// All paths, as a client is told that asks for another one.
const PATHS: &str = "there is /metrics, /healthz and, with what lbctl --output json prints, /api/v1/ with status, list, \
                     stats, rate, timeouts or connections";
/// Before the name of a command.
const API: &str = "/api/v1/";

/// What stands under a path.
enum Page {
    Metrics,
    Health,
    Connections,
    View(Command),
    None,
}

impl Page {
    fn of(path: &str) -> Self {
        match path {
            "/metrics" => return Self::Metrics,
            "/healthz" => return Self::Health,
            _ => {}
        }
        match path.strip_prefix(API) {
            Some("status") => Self::View(Command::Status {}),
            Some("list") => Self::View(Command::List { service: None }),
            Some("stats") => Self::View(Command::Stats { service: None }),
            Some("rate") => Self::View(Command::Rate { service: None }),
            Some("timeouts") => Self::View(Command::Timeouts { set: None }),
            Some("connections") => Self::Connections,
            _ => Self::None,
        }
    }
}

impl ControlThread {
    /// Answers a client of HTTP.
    pub(super) fn page(&mut self, peer: PeerId, request: &Request) {
        let now = Instant::now();
        let page = Page::of(&request.path);
        if let (Some((name, _)), false) =
            (request.parameters.first(), matches!(page, Page::Metrics | Page::None))
        {
            let why = format!("{} takes no parameters, found {name}\n", request.path);
            return self.peers.show(peer, Status::BadRequest, TEXT, why.as_bytes(), now);
        }
        match page {
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
                    false => self.scrape(peer, Framing::Plain, form, only),
                }
            }
            Page::Connections => {
                self.peers.begin_to_show(peer, JSON);
                match request.is_head {
                    true => self.peers.end(peer, now),
                    false => self.dumps.begin(peer, connections::Form::Document, None),
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
}
