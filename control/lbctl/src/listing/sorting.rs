//! What `lbd` has done before a list comes here: its services and reals are sorted.

use super::{Columns, RealView, Services};
use control::text::sort_order::{self, Place};
use std::net::SocketAddr;

pub(super) fn list(services: Services, columns: Columns) -> String {
    super::list(sort(services), columns)
}

pub(super) fn stats(services: Services) -> String {
    super::stats(sort(services), super::Numbers::Scaled)
}

pub(super) fn rate(services: Services) -> String {
    super::rate(sort(services), super::Numbers::Scaled)
}

/// Services, and the reals of each, in `ipvsadm`'s sort order; those whose address is none come last.
fn sort(services: Services) -> Services {
    let mut services = sort_order::sorted(services.services, |service| {
        let ports = (service.port, service.last_port);
        let address = service.address.parse().ok()?;
        Some(Place::of_service_on(protocol_number(&service.protocol), address, ports))
    });
    for service in &mut services {
        let place =
            |real: &RealView| Some(Place::of_real(SocketAddr::new(real.address.parse().ok()?, real.port)));
        service.reals = sort_order::sorted(std::mem::take(&mut service.reals), place);
    }
    Services { services }
}

fn protocol_number(name: &str) -> u8 {
    match name {
        "TCP" => 6,
        "UDP" => 17,
        "SCTP" => 132,
        _ => u8::MAX,
    }
}
