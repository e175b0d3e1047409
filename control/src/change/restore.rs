//! All services replaced in one change, and the lines that bring them back.

use super::{Refused, address, check_real, refuse_persistence, refuse_thresholds, set_timeouts};
use crate::config;
use crate::ipvsadm_lines;
use crate::model::{Links, MAX_SERVICES, Model, Real, Service};
use crate::protocol::{Command, Listen};
use crate::schedulers;
use dataplane::ids::{MAX_REALS, ServiceKey};
use dataplane::schedule::Algorithm;
use hashbrown::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

/// The model with the services of these lines alone, whose reals count as added one by one in the
/// order written. Timeouts stay unless a `--set` line changes them.
///
/// # Errors
/// The first faulty line, by its number; or that there is none.
pub fn restore<'a>(
    model: &Model,
    links: &Links,
    lines: impl IntoIterator<Item = &'a str>,
) -> Result<Model, Refused> {
    let commands = ipvsadm_lines::parse_all(lines).map_err(Refused::BadLine)?;
    if commands.is_empty() {
        // More likely a producer that failed than a wish; what `save` gives has a `--set` line at least.
        let nothing = "no line to restore (to remove all services: lbctl clear)";
        return Err(Refused::BadLine(nothing.to_owned()));
    }
    let mut next = Model { services: Default::default(), ..model.clone() };
    let mut written = Written::default();
    for (number, command) in commands {
        let done = written.take(&mut next, links, command);
        done.map_err(|refused| Refused::BadLine(format!("line {number}: {refused}")))?;
    }
    written.finish(&mut next);
    Ok(next)
}

/// The model with the services of the configuration file, likewise.
///
/// # Errors
/// What is wrong, and with which service.
pub fn configured(
    timeouts: [u32; 3],
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
    for service in model.services.values() {
        lines.push(ipvsadm_lines::service_line(&service.key, service.algorithm));
        let oldest_first = service.reals.iter().rev();
        lines.extend(
            oldest_first
                .map(|real| ipvsadm_lines::real_line(&service.key, real.endpoint, real.weight, [0, 0])),
        );
    }
    lines
}

/// What the lines so far have said. Sets beside the lists: a look-up must not cost a walk over 10,000 reals.
#[derive(Default)]
struct Written {
    services: HashMap<ServiceKey, Draft>,
    vips: HashSet<Ipv4Addr>,
    hosts: HashSet<Ipv4Addr>,
    real_count: usize,
}

struct Draft {
    algorithm: Algorithm,
    reals: Vec<Real>,
    endpoints: HashSet<SocketAddrV4>,
}

impl Written {
    fn finish(self, model: &mut Model) {
        for (key, Draft { algorithm, reals, .. }) in self.services {
            let generation = model.next_generation();
            model.services.insert(key, Arc::new(Service::with_added(key, algorithm, generation, reals)));
        }
    }

    fn take(&mut self, next: &mut Model, links: &Links, command: Command) -> Result<(), Refused> {
        match command {
            Command::AddService { service, scheduler, persistence } => {
                refuse_persistence(persistence)?;
                let algorithm = scheduler.as_deref().map_or(Ok(schedulers::DEFAULT), schedulers::by_name)?;
                self.add_service(links, service.0, algorithm)
            }
            Command::AddReal { service, real, weight, upper_threshold, lower_threshold } => {
                refuse_thresholds([upper_threshold, lower_threshold])?;
                let real = Real { endpoint: real, weight: weight.unwrap_or(1) };
                self.add_real(links, service.0, real)
            }
            Command::Timeouts { set: Some(set) } => set_timeouts(next, set),
            _ => Err(Refused::NotSupported("this command among these lines".into())),
        }
    }

    fn add_service(&mut self, links: &Links, key: ServiceKey, algorithm: Algorithm) -> Result<(), Refused> {
        if self.services.contains_key(&key) {
            return Err(Refused::ServiceExists);
        }
        address::check_vip(links, key.listen)?;
        address::check_no_real(*key.listen.ip(), self.hosts.contains(key.listen.ip()))?;
        if self.services.len() >= MAX_SERVICES {
            return Err(Refused::TooMany { what: "services", most: MAX_SERVICES });
        }
        self.vips.insert(*key.listen.ip());
        self.services.insert(key, Draft { algorithm, reals: Vec::new(), endpoints: HashSet::new() });
        Ok(())
    }

    fn add_real(&mut self, links: &Links, key: ServiceKey, real: Real) -> Result<(), Refused> {
        let draft = self.services.get_mut(&key).ok_or(Refused::NoSuchService)?;
        if draft.endpoints.contains(&real.endpoint) {
            return Err(Refused::RealExists);
        }
        check_real(links, &real)?;
        address::check_no_vip(*real.endpoint.ip(), self.vips.contains(real.endpoint.ip()))?;
        if self.real_count >= MAX_REALS {
            return Err(Refused::TooMany { what: "reals", most: MAX_REALS });
        }
        self.real_count += 1;
        self.hosts.insert(*real.endpoint.ip());
        draft.endpoints.insert(real.endpoint);
        draft.reals.push(real);
        Ok(())
    }
}
