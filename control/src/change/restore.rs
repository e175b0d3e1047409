//! All services replaced in one change, and the lines that bring them back.

use super::{address, check_real, refuse_thresholds, set_timeouts};
use crate::api::protocol::FaultyLines;
use crate::api::refusal::Refused;
use crate::config;
use crate::model::{Links, MAX_SERVICES, Model, Real, Service};
use crate::text::addresses::Listen;
use crate::text::ipvsadm_lines::{self, Line};
use dataplane::connection::TimeoutSeconds;
use dataplane::names::ids::{MAX_REALS, ServiceKey};
use dataplane::schedule::Algorithm;
use hashbrown::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// The model with the services of these lines alone, whose reals count as added one by one in the
/// order written. Timeouts stay unless a `--set` line changes them.
///
/// # Errors
/// Every faulty line, by its number; or that there is none at all, or that some are missing.
pub fn restore<'a>(
    model: &Model,
    links: &Links,
    lines: impl IntoIterator<Item = &'a str, IntoIter: Clone>,
) -> Result<Model, Refused> {
    let lines = lines.into_iter();
    ipvsadm_lines::check_whole(lines.clone())?;
    let mut next = model.clone();
    next.clear();
    let mut written = Written::default();
    let mut faulty = FaultyLines::default();
    let mut is_empty = true;
    for (number, line) in ipvsadm_lines::numbered(lines) {
        is_empty = false;
        if let Err(message) = written.line(&mut next, links, line) {
            faulty.add(number, message);
        }
    }
    if !faulty.named.is_empty() {
        return Err(Refused::Lines(faulty));
    }
    if is_empty {
        return Err(Refused::NoLines);
    }
    written.finish(&mut next);
    Ok(next)
}

/// The model with the services of the configuration file, likewise.
///
/// # Errors
/// What is wrong, and with which service.
pub fn configured(
    timeouts: TimeoutSeconds,
    links: &Links,
    services: &[config::Service],
) -> Result<Model, (Listen, Refused)> {
    let mut model = Model::new(timeouts);
    let mut written = Written::default();
    for config::Service { key, algorithm, reals } in services {
        let of_it = |refused| (Listen(*key), refused);
        written.add_service(links, *key, *algorithm).map_err(of_it)?;
        for config::Real { endpoint, weight } in reals {
            let real = Real { endpoint: *endpoint, weight: *weight };
            written.add_real(links, *key, real).map_err(of_it)?;
        }
    }
    written.finish(&mut model);
    Ok(model)
}

/// The lines that bring the services back: reals oldest first, so that the same are picked again.
pub fn save(model: &Model) -> Vec<String> {
    let mut lines = vec![ipvsadm_lines::timeouts_line(model.timeouts)];
    for service in model.services().values() {
        lines.push(ipvsadm_lines::service_line(&service.key, service.algorithm));
        let oldest_first = service.reals.iter().rev();
        lines.extend(oldest_first.map(|real| ipvsadm_lines::real_line(&service.key, real, [0, 0])));
    }
    lines
}

/// What the lines so far have said. Sets beside the lists: a look-up must not cost a walk over 10,000 reals.
#[derive(Default)]
struct Written {
    services: HashMap<ServiceKey, Draft>,
    /// Services whose own line is faulty: their reals are not to blame for that.
    faulty: HashSet<ServiceKey>,
    vips: HashSet<IpAddr>,
    hosts: HashSet<IpAddr>,
    real_count: usize,
}

struct Draft {
    algorithm: Algorithm,
    reals: Vec<Real>,
    endpoints: HashSet<SocketAddr>,
}

impl Written {
    fn finish(self, model: &mut Model) {
        for (key, Draft { algorithm, reals, .. }) in self.services {
            let generation = model.next_generation();
            model.insert(Service::with_added(key, algorithm, generation, reals));
        }
    }

    /// Takes one line, or says what is wrong with it.
    fn line(&mut self, next: &mut Model, links: &Links, line: &str) -> Result<(), String> {
        let taken = ipvsadm_lines::parse(line)
            .and_then(|line| self.take(next, links, line).map_err(|refused| refused.to_string()));
        if taken.is_err() {
            let unknown = |key: &ServiceKey| !self.services.contains_key(key);
            self.faulty.extend(ipvsadm_lines::added_service(line).filter(unknown));
        }
        taken
    }

    fn take(&mut self, next: &mut Model, links: &Links, line: Line) -> Result<(), Refused> {
        match line {
            Line::AddService { service, scheduler } => self.add_service(links, service, scheduler),
            Line::AddReal { service, real, thresholds } => {
                refuse_thresholds(thresholds.map(Some))?;
                self.add_real(links, service, real)
            }
            Line::SetTimeouts(set) => set_timeouts(next, set),
            Line::Clear if self.services.is_empty() && self.faulty.is_empty() => Ok(()),
            Line::Clear => Err(Refused::NotSupported("-C after services: all lines are one change")),
        }
    }

    fn add_service(&mut self, links: &Links, key: ServiceKey, algorithm: Algorithm) -> Result<(), Refused> {
        if self.services.contains_key(&key) {
            return Err(Refused::ServiceExists);
        }
        address::check_vip(links, key.listen)?;
        address::check_no_real(key.listen.ip(), self.hosts.contains(&key.listen.ip()))?;
        if self.services.len() >= MAX_SERVICES {
            return Err(Refused::TooMany { what: "services", most: MAX_SERVICES });
        }
        self.vips.insert(key.listen.ip());
        self.services.insert(key, Draft { algorithm, reals: Vec::new(), endpoints: HashSet::new() });
        Ok(())
    }

    fn add_real(&mut self, links: &Links, key: ServiceKey, real: Real) -> Result<(), Refused> {
        let Some(draft) = self.services.get_mut(&key) else {
            let is_known = self.faulty.contains(&key);
            return if is_known { check_real(links, &real) } else { Err(Refused::NoSuchService) };
        };
        if draft.endpoints.contains(&real.endpoint) {
            return Err(Refused::RealExists);
        }
        check_real(links, &real)?;
        address::check_no_vip(real.endpoint.ip(), self.vips.contains(&real.endpoint.ip()))?;
        if self.real_count >= MAX_REALS {
            return Err(Refused::TooMany { what: "reals", most: MAX_REALS });
        }
        self.real_count += 1;
        self.hosts.insert(real.endpoint.ip());
        draft.endpoints.insert(real.endpoint);
        draft.reals.push(real);
        Ok(())
    }
}
