//! Which services are on ranges of ports: two ranges of one VIP and protocol have no port in common.

use dataplane::names::ids::ServiceKey;
use imbl::OrdSet;
use std::net::SocketAddr;

/// The services among those added that are on a range of ports. A copy shares what does not change.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ranges(OrdSet<ServiceKey>);

impl Ranges {
    /// Adds a service; one that is on one port, or on any, is none of these.
    pub(super) fn add(&mut self, key: &ServiceKey) {
        if is_range(key) {
            self.0.insert(*key);
        }
    }

    /// Takes a service back.
    pub(super) fn take(&mut self, key: &ServiceKey) {
        if is_range(key) {
            self.0.remove(key);
        }
    }

    /// A range that has ports in common with this one.
    pub(super) fn overlapping(&self, key: &ServiceKey) -> Option<ServiceKey> {
        if !is_range(key) {
            return None;
        }
        // Since these have no ports in common with each other, the last one that begins in time is the only candidate.
        let last = ServiceKey {
            listen: SocketAddr::new(key.listen.ip(), key.last_port),
            last_port: u16::MAX,
            ..*key
        };
        let other = *self.0.get_prev(&last)?;
        let is_other = other.protocol == key.protocol && other.listen.ip() == key.listen.ip();
        (is_other && other.last_port >= key.listen.port()).then_some(other)
    }
}

/// Whether the service is on several ports, but not on any.
pub(super) const fn is_range(key: &ServiceKey) -> bool {
    !key.is_exact() && !key.is_any_port()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::names::ids::Protocol;
    use proptest::prelude::*;

    fn key(protocol: Protocol, host: u8, first: u16, last_port: u16) -> ServiceKey {
        ServiceKey { protocol, listen: SocketAddr::new([192, 0, 2, host].into(), first), last_port }
    }

    proptest! {
        #[test]
        fn what_overlaps_is_found(ranges in prop::collection::vec((0..2u8, 0..3u8, 0..30u16, 0..6u16), 0..40)) {
            let (mut found, mut all) = (Ranges::default(), Vec::<ServiceKey>::new());
            for (protocol, host, first, more) in ranges {
                let protocol = if protocol == 0 { Protocol::Tcp } else { Protocol::Udp };
                // Port 0 and one port alone are among them.
                let key = key(protocol, host, first, if first == 0 { 0 } else { first + more });
                let overlaps = |other: &&ServiceKey| {
                    let (ours, theirs) = (key.listen.port()..=key.last_port, other.listen.port()..=other.last_port);
                    is_range(&key) && is_range(other) && other.protocol == key.protocol
                        && other.listen.ip() == key.listen.ip() && ours.into_iter().any(|port| theirs.contains(&port))
                };
                let expected: Vec<_> = all.iter().filter(overlaps).copied().collect();
                match found.overlapping(&key) {
                    Some(other) => prop_assert!(expected.contains(&other)),
                    None => {
                        prop_assert_eq!(expected, []);
                        found.add(&key);
                        all.push(key);
                    }
                }
                if all.len() > 8 {
                    found.take(&all.remove(0));
                }
            }
        }
    }
}
