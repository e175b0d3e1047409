//! A service in a message.

use super::address::{Family, octets};
use super::attributes::{Attributes, Malformed, nest, put, put_text, put_u32};
use super::errors::Refusal;
use super::message::{Header, reply};
use super::{attribute, command, statistics};
use crate::api::protocol::{ServiceOptions, Traffic};
use crate::api::refusal::Refused;
use crate::model::rules::{Unfit, UnfitSetting};
use crate::model::{Model, Service, Settings};
use crate::text::services::Listen;
use crate::text::{later, masks, scheduler_flags};
use dataplane::names::ids::{Protocol, ServiceKey};
use dataplane::schedule::{Algorithm, Flags};
use dataplane::snapshot::Persistence;
use nix::errno::Errno;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

// The numbers of the attributes.
const AF: usize = 1;
const PROTOCOL: usize = 2;
const ADDRESS: usize = 3;
const PORT: usize = 4;
const FIREWALL_MARK: usize = 5;
const SCHEDULER: usize = 6;
const FLAGS: usize = 7;
const TIMEOUT: usize = 8;
const NETMASK: usize = 9;
const STATISTICS: usize = 10;
const PERSISTENCE_ENGINE: usize = 11;
const STATISTICS_64: usize = 12;

/// The attributes of a service.
pub(super) type Attributed<'a> = Attributes<'a, 13>;

/// The longest name of a scheduler or a persistence engine, in bytes.
const LONGEST_NAME: usize = 15;

// The flags of a service.
const PERSISTENT: u32 = 0x01;
/// The kernel has the service in its table: of every service that it lists.
const HASHED: u32 = 0x02;
const ONE_PACKET: u32 = 0x04;
/// Of the scheduler, each by its bit.
const SCHEDULER_FLAGS: [(u32, Flags); 3] =
    [(0x08, Flags::FALLBACK), (0x10, Flags::PORT), (0x20, Flags::THIRD)];
const KNOWN: u32 = 0x3f;

/// What a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Service(ServiceKey),
    FirewallMark(Family),
}

impl Target {
    /// What these attributes name.
    ///
    /// # Errors
    /// Something is missing or malformed, or it is of another family or protocol than natlb's.
    pub(super) fn read(service: &Attributed<'_>) -> Result<Self, Refusal> {
        let family = service.u16(AF)?.ok_or(Malformed)?;
        if service.u32(FIREWALL_MARK)?.is_some() {
            return Ok(Self::FirewallMark(Family::by_number(family)?));
        }
        let protocol = service.u16(PROTOCOL)?.ok_or(Malformed)?;
        let address = service.get(ADDRESS).ok_or(Malformed)?;
        let port = service.port(PORT)?.ok_or(Malformed)?;
        let address = Family::by_number(family)?.address(address)?;
        let known = u8::try_from(protocol).ok().and_then(Protocol::from_number);
        let protocol = known.ok_or_else(|| {
            Refusal::new(
                Errno::EINVAL,
                format!("protocol {protocol} is not balanced, only TCP, UDP and SCTP"),
            )
        })?;
        Ok(Self::Service(ServiceKey::new(protocol, SocketAddr::new(address, port))))
    }

    /// A service that is to be there from now on, or to change.
    ///
    /// # Errors
    /// It is for later.
    pub(super) fn wanted(self) -> Result<ServiceKey, Refusal> {
        let mark = match self {
            Self::Service(key) => return Ok(key),
            Self::FirewallMark(Family::V4) => later::FIREWALL_MARK,
            Self::FirewallMark(Family::V6) => later::FIREWALL_MARK_OF_IPV6,
        };
        Err(Refused::NotSupported(mark).into())
    }

    /// A service that is to be shown, or to go.
    ///
    /// # Errors
    /// There cannot be one.
    pub(super) fn present(self) -> Result<ServiceKey, Refusal> {
        match self {
            Self::Service(key) => Ok(key),
            Self::FirewallMark(_) => Err(Refused::Unfit(Unfit::NoSuchService).into()),
        }
    }
}

/// What a request describes: all that IPVS has of a service is said, natlb's own settings are not. `present`: what the
/// service has now, which a mask of flags may leave as it is.
///
/// # Errors
/// Something is missing or malformed, or cannot be of any service.
pub(super) fn options(
    service: &Attributed<'_>,
    key: ServiceKey,
    present: Option<&Settings>,
) -> Result<ServiceOptions, Refusal> {
    let scheduler = service.text(SCHEDULER, LONGEST_NAME)?.ok_or(Malformed)?;
    let [f0, f1, f2, f3, m0, m1, m2, m3] = service.array(FLAGS)?.ok_or(Malformed)?;
    let mask = u32::from_ne_bytes([m0, m1, m2, m3]);
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]) & mask | present.map_or(0, bits) & !mask;
    let seconds = service.u32(TIMEOUT)?.ok_or(Malformed)?;
    let netmask = netmask(key.listen.ip(), service.array(NETMASK)?.ok_or(Malformed)?)?;
    check_engine(service.text(PERSISTENCE_ENGINE, LONGEST_NAME)?.as_deref())?;
    if flags & !KNOWN != 0 {
        let words = format!("not supported: flags {:#x} of a service", flags & !KNOWN);
        return Err(Refusal::new(Errno::EPROTONOSUPPORT, words));
    }
    let is_persistent = flags & PERSISTENT != 0;
    if is_persistent && seconds == 0 {
        return Err(Refused::Setting(UnfitSetting::Persistence(0).into()).into());
    }
    let of_scheduler = SCHEDULER_FLAGS.into_iter().filter(|(bit, _)| flags & bit != 0);
    let of_scheduler = of_scheduler.fold(Flags::NONE, |all, (_, flag)| all.with(flag));
    let names = scheduler_flags::names(&scheduler, of_scheduler).map(str::to_owned).collect();
    Ok(ServiceOptions {
        scheduler: Some(scheduler),
        flags: Some(names),
        persistence: Some(if is_persistent { seconds } else { 0 }),
        persistence_mask: is_persistent.then_some(netmask),
        one_packet: Some(flags & ONE_PACKET != 0),
        ..ServiceOptions::new(Listen(key))
    })
}

/// A mask of IPv4, or of IPv6 a number of leading bits, as the text that an operator writes.
fn netmask(vip: IpAddr, payload: [u8; 4]) -> Result<String, Refusal> {
    match vip {
        IpAddr::V4(_) => Ok(Ipv4Addr::from(payload).to_string()),
        IpAddr::V6(_) => {
            let length = u32::from_ne_bytes(payload).to_string();
            masks::by_text(vip, &length).map_err(|words| Refusal::new(Errno::EINVAL, words))?;
            Ok(length)
        }
    }
}

/// A mask in the other direction.
fn netmask_bytes(mask: IpAddr) -> [u8; 4] {
    match mask {
        IpAddr::V4(mask) => mask.octets(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones().to_ne_bytes(),
    }
}

/// The only one that IPVS has is for later.
fn check_engine(name: Option<&str>) -> Result<(), Refusal> {
    match name {
        None | Some("") => Ok(()),
        Some("sip") => Err(Refused::NotSupported(later::PERSISTENCE_ENGINE).into()),
        Some(_) => Err(Refusal::plain(Errno::ENOENT)),
    }
}

/// The flags of a service that has these settings.
fn bits(settings: &Settings) -> u32 {
    let of_scheduler = SCHEDULER_FLAGS.into_iter().filter(|(_, flag)| settings.flags.has(*flag));
    let of_scheduler = of_scheduler.fold(0, |all, (bit, _)| all | bit);
    let persistent = if settings.persistence.is_some() { PERSISTENT } else { 0 };
    let one_packet = if settings.one_packet { ONE_PACKET } else { 0 };
    HASHED | persistent | one_packet | of_scheduler
}

/// A service as it is listed. IPVS has none on several ports: what is listed of such a one is the first of them.
#[derive(Clone, Copy, Debug)]
pub struct ServiceFacts<'a> {
    /// Which.
    pub key: &'a ServiceKey,
    /// What is set of it.
    pub settings: &'a Settings,
    /// What was counted.
    pub totals: Traffic,
    /// What is counted a second.
    pub rates: Traffic,
}

impl ServiceFacts<'_> {
    pub(super) const fn algorithm(&self) -> Algorithm {
        self.settings.algorithm
    }

    /// Seconds, and the mask as a message has it; of a service that is not persistent, 0 and all bits.
    pub(super) fn persistence(&self) -> (u32, [u8; 4]) {
        let none = Persistence { seconds: 0, mask: masks::whole(self.key.listen.ip()) };
        let Persistence { seconds, mask } = self.settings.persistence.unwrap_or(none);
        (seconds, netmask_bytes(mask))
    }
}

/// Appends a service: one of several in a dump if `multi`.
pub fn service(header: &Header, multi: bool, facts: &ServiceFacts<'_>, out: &mut Vec<u8>) {
    let ServiceFacts { key, settings, totals, rates } = facts;
    let (seconds, netmask) = facts.persistence();
    let (flags, mask) = (bits(settings).to_ne_bytes(), u32::MAX.to_ne_bytes());
    reply(header, multi, command::NEW_SERVICE, out, |out| {
        nest(out, attribute::SERVICE, |out| {
            put(out, AF, Family::of(key.listen.ip()).number().to_ne_bytes());
            put(out, PROTOCOL, u16::from(key.protocol.number()).to_ne_bytes());
            put(out, ADDRESS, octets(key.listen.ip()));
            put(out, PORT, key.listen.port().to_be_bytes());
            put_text(out, SCHEDULER, settings.algorithm.name());
            put(out, FLAGS, [flags, mask].concat());
            put_u32(out, TIMEOUT, seconds);
            put(out, NETMASK, netmask);
            statistics::put_both(out, (STATISTICS, STATISTICS_64), *totals, *rates);
        });
    });
}

/// The service that is listed at this address and port: the one on this port alone or, where there is none, the one of
/// whose ports it is the first. For showing only: what is to change or go must be named by all its ports.
pub fn service_at<'a>(model: &'a Model, key: &ServiceKey) -> Option<&'a Arc<Service>> {
    let last = ServiceKey { last_port: u16::MAX, ..*key };
    model.services().range(*key..=last).next().map(|(_, service)| service)
}
