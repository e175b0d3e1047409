//! From a message of the tools of LVS to its answer, as the kernel's `ip_vs` gives it.

use super::ControlThread;
use crate::api::protocol::Traffic;
use crate::api::server::{Outlet, PeerId};
use crate::ipvs::{self, Asked, File, Header, Message, RealFacts, Refusal, ServiceFacts, text};
use crate::model::Service;
use crate::observe::connections::Form;
use crate::publish::workers::Connections;
use dataplane::names::ids::{RealKey, ServiceKey};
use nix::errno::Errno;
use std::sync::Arc;
use std::time::Instant;

impl ControlThread {
    /// Takes a message: it is answered at once or, if it changes what is configured, when that is in force.
    pub(super) fn message(&mut self, peer: PeerId, bytes: &[u8]) {
        let settings = |key: &ServiceKey| self.model.services().get(key).map(|service| service.settings);
        let Message { header, asked } = ipvs::read(bytes, settings);
        let mut out = Vec::new();
        match asked {
            Err(refusal) => self.refuse_message(peer, &header, &refusal, &mut out),
            Ok(Asked::Command(command)) => {
                self.peers.note(peer, header);
                return self.command(peer, command);
            }
            Ok(Asked::Text(File::Connections)) => return self.dumps.begin(peer, Form::Kernels, None),
            Ok(Asked::Text(File::Services)) => self.services_file(peer, &mut out),
            Ok(Asked::Text(File::Statistics)) => self.statistics_file(peer, &mut out),
            Ok(Asked::Nothing) => ipvs::ack(&header, &mut out),
            Ok(Asked::Family) => answered(&header, &mut out, |out| ipvs::family(&header, out)),
            Ok(Asked::Info) => answered(&header, &mut out, |out| ipvs::info(&header, self.table_size, out)),
            Ok(Asked::Timeouts) => {
                answered(&header, &mut out, |out| ipvs::timeouts(&header, self.model.timeouts, out));
            }
            Ok(Asked::Daemons) => ipvs::done(&header, &mut out),
            Ok(Asked::Services) => self.services(&header, &mut out),
            Ok(Asked::Service(key)) => self.service(&header, &key, &mut out),
            Ok(Asked::Reals(key)) => self.reals(&header, key.as_ref(), &mut out),
        }
        self.peers.push(peer, &out);
        self.peers.end(peer, Instant::now());
    }

    fn refuse_message(&mut self, peer: PeerId, header: &Header, refusal: &Refusal, out: &mut Vec<u8>) {
        if let Some(words) = &refusal.words {
            log::info!("refused: {words}{}", self.peers.origin(peer));
        }
        ipvs::error(header, refusal, out);
    }

    fn services(&mut self, header: &Header, out: &mut Vec<u8>) {
        self.statistics.collect(None, &self.workers);
        for service in self.model.services().values() {
            ipvs::service(header, true, &self.service_facts(service), out);
        }
        ipvs::done(header, out);
    }

    fn service(&mut self, header: &Header, key: &ServiceKey, out: &mut Vec<u8>) {
        match self.listed_at(key) {
            Some(service) => answered(header, out, |out| {
                ipvs::service(header, false, &self.service_facts(&service), out);
            }),
            None => ipvs::error(header, &Refusal::plain(Errno::ESRCH), out),
        }
    }

    /// As in the kernel, a service that is not there has none.
    fn reals(&mut self, header: &Header, key: Option<&ServiceKey>, out: &mut Vec<u8>) {
        if let Some(service) = key.and_then(|key| self.listed_at(key)) {
            self.real_facts(&service).for_each(|real| ipvs::real(header, &real, out));
        }
        ipvs::done(header, out);
    }

    /// The service that is listed at this address and port; what it and its reals have counted is new.
    fn listed_at(&mut self, key: &ServiceKey) -> Option<Arc<Service>> {
        let service = Arc::clone(ipvs::service_at(&self.model, key)?);
        self.statistics.collect(Some(&service.key), &self.workers);
        Some(service)
    }

    fn services_file(&mut self, peer: PeerId, out: &mut Vec<u8>) {
        let mut file = String::new();
        text::services_head(self.table_size, &mut file);
        for service in self.model.services().values() {
            text::service(&self.service_facts(service), &mut file);
            self.real_facts(service).for_each(|real| text::real(&real, &mut file));
        }
        self.whole_file(peer, file, out);
    }

    fn statistics_file(&mut self, peer: PeerId, out: &mut Vec<u8>) {
        self.statistics.collect(None, &self.workers);
        let (mut totals, mut rates) = (Traffic::default(), Traffic::default());
        for key in self.model.services().keys() {
            let of_service = self.statistics.service(key);
            totals += of_service.0;
            rates += of_service.1;
        }
        let mut file = String::new();
        text::statistics(totals, rates, &mut file);
        self.whole_file(peer, file, out);
    }

    /// Nothing but the end of the connection says where a file ends.
    fn whole_file(&mut self, peer: PeerId, file: String, out: &mut Vec<u8>) {
        *out = file.into_bytes();
        self.peers.hang_up(peer);
    }

    fn service_facts<'a>(&self, service: &'a Service) -> ServiceFacts<'a> {
        let (totals, rates) = self.statistics.service(&service.key);
        ServiceFacts { key: &service.key, settings: &service.settings, totals, rates }
    }

    /// The newest first, as the kernel has them.
    fn real_facts<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = RealFacts> + 'a {
        service.reals.iter().map(|real| {
            let key = RealKey { service: service.key, endpoint: real.endpoint };
            let id = self.statistics.id(&key);
            let connections = id.map_or_else(Connections::default, |id| self.workers.connections(id));
            let (totals, rates) = self.statistics.real(&key);
            RealFacts {
                endpoint: real.endpoint,
                weight: real.weight,
                thresholds: real.thresholds,
                active: connections.active,
                inactive: connections.inactive(),
                persistent: connections.templates,
                totals,
                rates,
            }
        })
    }
}

/// An answer and, as with every other request, an acknowledgement if it was asked for.
fn answered(header: &Header, out: &mut Vec<u8>, answer: impl FnOnce(&mut Vec<u8>)) {
    answer(out);
    ipvs::ack(header, out);
}
