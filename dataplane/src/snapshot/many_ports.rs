//! Services on several ports of a VIP: on a range, or on any. They are looked for by the slow path alone, where no
//! service is on the very port: first a range that has it, then any port, as IPVS looks for its services on port 0.

use crate::names::ids::{Protocol, ServiceId, ServiceKey};
use hashbrown::HashMap;
use std::net::{IpAddr, SocketAddr};

/// Services on several ports.
#[derive(Clone, Debug, Default)]
pub(super) struct ManyPorts(HashMap<(Protocol, IpAddr), OfVip>);

/// Those of one VIP and protocol.
#[derive(Clone, Debug, Default)]
struct OfVip {
    /// By their first ports, in order; they have no port in common.
    ranges: Vec<(ServiceKey, ServiceId)>,
    any: Option<ServiceId>,
}

impl ManyPorts {
    /// A service on several ports has this id from now on.
    pub(super) fn add(&mut self, key: &ServiceKey, id: ServiceId) {
        let of_vip = self.0.entry((key.protocol, key.listen.ip())).or_default();
        if key.is_any_port() {
            of_vip.any = Some(id);
        } else {
            match of_vip.place(key.listen.port()) {
                Ok(at) => of_vip.ranges[at] = (*key, id),
                Err(at) => of_vip.ranges.insert(at, (*key, id)),
            }
        }
    }

    /// There is no such service any more.
    pub(super) fn take(&mut self, key: &ServiceKey) {
        let vip = (key.protocol, key.listen.ip());
        let Some(of_vip) = self.0.get_mut(&vip) else { return };
        if key.is_any_port() {
            of_vip.any = None;
        } else if let Ok(at) = of_vip.place(key.listen.port()) {
            of_vip.ranges.remove(at);
        }
        if of_vip.any.is_none() && of_vip.ranges.is_empty() {
            self.0.remove(&vip);
        }
    }

    /// The service with just these ports.
    pub(super) fn with_key(&self, key: &ServiceKey) -> Option<ServiceId> {
        let of_vip = self.0.get(&(key.protocol, key.listen.ip()))?;
        if key.is_any_port() {
            return of_vip.any;
        }
        let (found, id) = of_vip.ranges[of_vip.place(key.listen.port()).ok()?];
        (found == *key).then_some(id)
    }

    /// The service that a packet to this destination is for; to port 0 nobody has anything to send.
    pub(super) fn service_for(&self, protocol: Protocol, destination: SocketAddr) -> Option<ServiceId> {
        let port = destination.port();
        let of_vip = self.0.get(&(protocol, destination.ip())).filter(|_| port != 0)?;
        let before = of_vip.ranges.partition_point(|(key, _)| key.listen.port() <= port);
        let range = before.checked_sub(1).map(|at| of_vip.ranges[at]);
        range.filter(|(key, _)| key.has_port(port)).map(|(_, id)| id).or(of_vip.any)
    }
}

impl OfVip {
    /// Where the range that begins with this port is, or would be.
    fn place(&self, first: u16) -> Result<usize, usize> {
        self.ranges.binary_search_by_key(&first, |(key, _)| key.listen.port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(host: u8, first: u16, last_port: u16) -> ServiceKey {
        ServiceKey { listen: ([192, 0, 2, host], first).into(), last_port, protocol: Protocol::Udp }
    }

    proptest! {
        /// Of services that come and go, without ranges that have ports in common.
        #[test]
        fn a_range_is_found_before_any_port(
            steps in prop::collection::vec((1..3u8, 0..12u16, 1..4u16, any::<bool>()), 1..60),
        ) {
            let (mut found, mut all) = (ManyPorts::default(), Vec::<(ServiceKey, ServiceId)>::new());
            for (id, (host, first, more, is_any)) in steps.into_iter().enumerate() {
                let key = if is_any { key(host, 0, 0) } else { key(host, 1 + first, 1 + first + more) };
                let conflicts = |(other, _): &(ServiceKey, ServiceId)| {
                    other.listen.ip() == key.listen.ip() && other.is_any_port() == key.is_any_port()
                        && (is_any || other.listen.port() <= key.last_port && key.listen.port() <= other.last_port)
                };
                if let Some(at) = all.iter().position(conflicts) {
                    let (gone, _) = all.remove(at);
                    found.take(&gone);
                    prop_assert_eq!(found.with_key(&gone), None);
                } else {
                    all.push((key, ServiceId(id as u32)));
                    found.add(&key, ServiceId(id as u32));
                }
                for (key, id) in &all {
                    prop_assert_eq!(found.with_key(key), Some(*id));
                }
                for (host, port) in (1..3).flat_map(|host| (1..20).map(move |port| (host, port))) {
                    let destination = SocketAddr::from(([192, 0, 2, host], port));
                    let of_vip = || all.iter().filter(|(key, _)| key.listen.ip() == destination.ip());
                    let range = of_vip().find(|(key, _)| !key.is_any_port() && key.has_port(port));
                    let expected = range.or_else(|| of_vip().find(|(key, _)| key.is_any_port()));
                    let service = found.service_for(Protocol::Udp, destination);
                    prop_assert_eq!(service, expected.map(|(_, id)| *id));
                    prop_assert_eq!(found.service_for(Protocol::Tcp, destination), None);
                }
            }
        }
    }
}
