//! A real in a message.

use super::address::{Family, octets};
use super::attributes::{Attributes, Malformed, nest, put, put_u32};
use super::errors::Refusal;
use super::message::{Header, reply};
use super::{attribute, command, statistics};
use crate::api::protocol::Traffic;
use crate::api::refusal::Refused;
use crate::text::later;
use dataplane::names::ids::ServiceKey;
use dataplane::snapshot::Thresholds;
use nix::errno::Errno;
use std::net::SocketAddr;

// The numbers of the attributes.
const ADDRESS: usize = 1;
const PORT: usize = 2;
const FORWARD: usize = 3;
const WEIGHT: usize = 4;
const UPPER: usize = 5;
const LOWER: usize = 6;
const ACTIVE: usize = 7;
const INACTIVE: usize = 8;
const PERSISTENT: usize = 9;
const STATISTICS: usize = 10;
const AF: usize = 11;
const STATISTICS_64: usize = 12;

// The ways of forwarding.
/// The only one that natlb has.
const MASQUERADING: u32 = 0;
const LOCAL: u32 = 1;
const TUNNEL: u32 = 2;
const ROUTE: u32 = 3;
const BYPASS: u32 = 4;
/// The bits that they have.
const FORWARDING: u32 = 7;

/// The attributes of a real.
pub(super) type Attributed<'a> = Attributes<'a, 13>;

/// The numbers that a request gives a real.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) weight: u32,
    pub(super) thresholds: Thresholds,
}

/// The address and port that a request names. Where no family is said it is the service's.
///
/// # Errors
/// Something is missing or malformed.
pub(super) fn endpoint(real: &Attributed<'_>, service: &ServiceKey) -> Result<SocketAddr, Refusal> {
    let address = real.get(ADDRESS).ok_or(Malformed)?;
    let port = real.port(PORT)?.ok_or(Malformed)?;
    let family = match real.u16(AF)? {
        None | Some(0) => Family::of(service.listen.ip()),
        Some(number) => Family::by_number(number)?,
    };
    Ok(SocketAddr::new(family.address(address)?, port))
}

/// The numbers that a request gives a real that is to be added or to change.
///
/// # Errors
/// Something is missing or malformed, or it is not masqueraded.
pub(super) fn numbers(real: &Attributed<'_>) -> Result<Numbers, Refusal> {
    let forwarding = real.u32(FORWARD)?.ok_or(Malformed)? & FORWARDING;
    let weight = real.u32(WEIGHT)?.ok_or(Malformed)?;
    let upper = real.u32(UPPER)?.ok_or(Malformed)?;
    let lower = real.u32(LOWER)?.ok_or(Malformed)?;
    check_forwarding(forwarding)?;
    if (weight as i32) < 0 {
        // `ipvsadm` lets none through; the kernel refuses it so.
        return Err(Refusal::plain(Errno::ERANGE));
    }
    Ok(Numbers { weight, thresholds: Thresholds { upper, lower } })
}

fn check_forwarding(forwarding: u32) -> Result<(), Refusal> {
    let what = match forwarding {
        MASQUERADING => return Ok(()),
        LOCAL => later::LOCAL,
        TUNNEL => later::TUNNELLING,
        // What `ipvsadm` asks for where no option says how.
        ROUTE => later::DIRECT_ROUTING,
        BYPASS => later::BYPASS,
        _ => return Err(Malformed.into()),
    };
    let words = format!("{}: add -m (masquerading)", Refused::NotSupported(what));
    Err(Refusal::new(Errno::EPROTONOSUPPORT, words))
}

/// A real as it is listed.
#[derive(Clone, Copy, Debug)]
pub struct RealFacts {
    /// Its address and port; port 0: the port that the client asks for.
    pub endpoint: SocketAddr,
    /// 0 to 65535.
    pub weight: u32,
    /// How many connections it may have.
    pub thresholds: Thresholds,
    /// Connections in active states.
    pub active: u64,
    /// Connections in other states.
    pub inactive: u64,
    /// Clients, or groups of them, that stay with it.
    pub persistent: u64,
    /// What was counted.
    pub totals: Traffic,
    /// What is counted a second.
    pub rates: Traffic,
}

/// Appends a real of a dump.
pub fn real(header: &Header, facts: &RealFacts, out: &mut Vec<u8>) {
    let RealFacts { endpoint, weight, thresholds, active, inactive, persistent, totals, rates } = *facts;
    reply(header, true, command::NEW_DEST, out, |out| {
        nest(out, attribute::DEST, |out| {
            put(out, ADDRESS, octets(endpoint.ip()));
            put(out, PORT, endpoint.port().to_be_bytes());
            put_u32(out, FORWARD, MASQUERADING);
            put_u32(out, WEIGHT, weight);
            put_u32(out, UPPER, thresholds.upper);
            put_u32(out, LOWER, thresholds.lower);
            for (number, count) in [(ACTIVE, active), (INACTIVE, inactive), (PERSISTENT, persistent)] {
                put_u32(out, number, u32::try_from(count).unwrap_or(u32::MAX));
            }
            put(out, AF, Family::of(endpoint.ip()).number().to_ne_bytes());
            statistics::put_both(out, (STATISTICS, STATISTICS_64), totals, rates);
        });
    });
}
