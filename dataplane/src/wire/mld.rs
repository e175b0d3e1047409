//! Multicast listener discovery of IPv6 (MLDv2, RFC 3810; MLDv1, RFC 2710): telling routers and switches which groups
//! are listened to, so that they pass on what is sent to them. Neighbour solicitations go to such groups.
//!
//! ```text
//! IPv6 header │ hop-by-hop options: router alert │ ICMPv6 header │ group or records
//! ```

use super::ipv6::{self, Packet, address_at};
use super::ipv6_extensions::{self, HOP_BY_HOP};
use super::ndp::multicast_mac;
use super::{be_u16, ethernet, icmp6, put};
use crate::names::mac::Mac;
use arrayvec::ArrayVec;
use std::net::Ipv6Addr;

/// Offsets of the fields, from the start of the ICMPv6 header.
mod field {
    /// In a query: how long an answer may take.
    pub(super) const DELAY: usize = 4;
    /// In a query, and in a report of MLDv1: the group.
    pub(super) const GROUP: usize = 8;
    /// In a report of MLDv2: the number of records.
    pub(super) const RECORDS: usize = 6;

    /// In a record: its type.
    pub(super) const RECORD_KIND: usize = 0;
    /// In a record: the group.
    pub(super) const RECORD_GROUP: usize = 4;
}

/// ICMPv6 type of a query.
const QUERY: u8 = 130;
/// ICMPv6 type of a report of MLDv1.
const REPORT_V1: u8 = 131;
/// ICMPv6 type by which a host of MLDv1 says that it has left a group.
const DONE: u8 = 132;
/// ICMPv6 type of a report of MLDv2.
const REPORT: u8 = 143;

/// Length of a query or report of MLDv1.
const V1_LENGTH: usize = field::GROUP + 16;
/// Length of the shortest query of MLDv2.
const LEAST_V2_QUERY: usize = 28;
/// Length of a record without sources.
const RECORD: usize = field::RECORD_GROUP + 16;

/// The hop limit of every message.
const HOP_LIMIT: u8 = 1;
/// The options for every hop: the number of the next header, their length, the option that has routers look at the
/// packet although it is not addressed to them (router alert, RFC 2711; 0: MLD), and two bytes of padding.
const OPTIONS: [u8; 8] = [ipv6::ICMP, 0, 5, 2, 0, 0, 1, 0];
/// The types of options of one byte, and of router alert.
const PAD_1: u8 = 0;
const ROUTER_ALERT: u8 = 5;

/// The group of all routers that speak MLDv2 (RFC 3810 §5.2.14).
pub const ALL_MLD2_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// Where the packet, its options and the message begin in a frame.
const PACKET: usize = ethernet::HEADER;
const AFTER_HEADER: usize = PACKET + ipv6::HEADER;
const MESSAGE: usize = AFTER_HEADER + OPTIONS.len();

/// Groups in a report at most: with these it fits in the least MTU.
pub const MOST_GROUPS: usize = (PACKET + ipv6::LEAST_MTU - MESSAGE - icmp6::HEADER) / RECORD;
/// The longest frame with a report.
const LONGEST: usize = MESSAGE + icmp6::HEADER + MOST_GROUPS * RECORD;
/// A frame with a report.
pub type Report = ArrayVec<u8, LONGEST>;

/// Whether an ICMPv6 message of this type is one of listener discovery.
pub const fn is_listener_discovery(kind: u8) -> bool {
    matches!(kind, QUERY | REPORT_V1 | DONE | REPORT)
}

/// What a report says of its groups (RFC 3810 §5.2.12), all of them without a choice of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Record {
    /// They are listened to: the answer to a query.
    Listened = 2,
    /// They are no longer listened to.
    Left = 3,
    /// They are listened to from now on.
    Joined = 4,
}

/// Asks which groups are listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// The group in question; `None`: all groups.
    pub group: Option<Ipv6Addr>,
    /// How long an answer may take, in milliseconds; it is sent at a random moment until then.
    pub delay: u32,
    /// Whether the asker speaks MLDv1 only, so that the answer is [`report_v1`].
    pub is_v1: bool,
}

impl Query {
    /// The query in `packet`. `None` if it is another message, or not valid: not from the link itself, without router
    /// alert, or of a wrong length (RFC 3810 §5.1.14, §6.2, §8.1).
    pub fn parse(packet: &Packet<'_>) -> Option<Self> {
        let upper = ipv6_extensions::upper_layer(packet).ok()?;
        let is_from_link = packet.hop_limit() == HOP_LIMIT && packet.source().is_unicast_link_local();
        if upper.protocol != ipv6::ICMP || upper.is_fragment() || !is_from_link || !has_router_alert(packet) {
            return None;
        }
        let bytes = packet.bytes().get(upper.offset..)?;
        let message = icmp6::Message::parse(bytes)?;
        let is_v1 = bytes.len() == V1_LENGTH;
        let is_right = message.kind() == QUERY
            && (is_v1 || bytes.len() >= LEAST_V2_QUERY)
            && message.has_right_checksum(packet.source(), packet.destination());
        if !is_right {
            return None;
        }
        let group = address_at(bytes, field::GROUP);
        if !group.is_unspecified() && !group.is_multicast() {
            return None;
        }
        let code = be_u16(bytes, field::DELAY);
        Some(Self {
            group: group.is_multicast().then_some(group),
            delay: if is_v1 { code.into() } else { delay(code) },
            is_v1,
        })
    }
}

/// The delay in milliseconds that a query of MLDv2 has this code for: large ones have a mantissa of 12 bits and an
/// exponent (RFC 3810 §5.1.3).
fn delay(code: u16) -> u32 {
    if code < 0x8000 {
        return code.into();
    }
    let (exponent, mantissa) = (code >> 12 & 7, code & 0x0fff);
    (u32::from(mantissa) | 0x1000) << (exponent + 3)
}

/// Whether a packet begins with options for every hop, router alert among them, whatever its value.
fn has_router_alert(packet: &Packet<'_>) -> bool {
    let Some(start) = packet.payload().first_chunk::<2>() else { return false };
    let length = (usize::from(start[1]) + 1) * 8;
    if packet.next_header() != HOP_BY_HOP || packet.payload().len() < length {
        return false;
    }
    let mut options = &packet.payload()[start.len()..length];
    while let [kind, rest @ ..] = options {
        options = match (*kind, rest) {
            (PAD_1, rest) => rest,
            (ROUTER_ALERT, [2, _, _, ..]) => return true,
            (_, [length, rest @ ..]) => rest.get(usize::from(*length)..).unwrap_or_default(),
            (_, []) => return false,
        };
    }
    false
}

/// The frame that says `record` of all `groups`, sent from `source`: a link-local address, or unspecified as long as
/// there is none (RFC 3810 §5.2.13).
///
/// # Panics
/// If there are more than [`MOST_GROUPS`].
pub fn report(our_mac: Mac, source: Ipv6Addr, record: Record, groups: &[Ipv6Addr]) -> Report {
    assert!(groups.len() <= MOST_GROUPS, "{} groups in a report", groups.len());
    let mut frame = ArrayVec::from([0; LONGEST]);
    frame.truncate(MESSAGE + icmp6::HEADER + groups.len() * RECORD);
    let message = &mut frame[MESSAGE..];
    put(message, field::RECORDS, (groups.len() as u16).to_be_bytes());
    for (bytes, group) in message[icmp6::HEADER..].chunks_exact_mut(RECORD).zip(groups) {
        bytes[field::RECORD_KIND] = record as u8;
        put(bytes, field::RECORD_GROUP, group.octets());
    }
    complete(&mut frame, our_mac, source, ALL_MLD2_ROUTERS, REPORT);
    frame
}

/// The frame by which `group` is listened to, for routers that speak MLDv1 only; `source` as with [`report`].
pub fn report_v1(our_mac: Mac, source: Ipv6Addr, group: Ipv6Addr) -> [u8; MESSAGE + V1_LENGTH] {
    let mut frame = [0; MESSAGE + V1_LENGTH];
    put(&mut frame[MESSAGE..], field::GROUP, group.octets());
    complete(&mut frame, our_mac, source, group, REPORT_V1);
    frame
}

/// Writes the headers of a message whose contents are there, and its checksum.
fn complete(frame: &mut [u8], our_mac: Mac, source: Ipv6Addr, destination: Ipv6Addr, kind: u8) {
    let to = multicast_mac(destination);
    ethernet::Header { destination: to, source: our_mac, ether_type: ethernet::IPV6 }.write(frame);
    let header = ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_length: (frame.len() - AFTER_HEADER) as u16,
        next_header: HOP_BY_HOP,
        hop_limit: HOP_LIMIT,
        source,
        destination,
    };
    header.write(&mut frame[PACKET..]);
    put(frame, AFTER_HEADER, OPTIONS);
    let message = &mut frame[MESSAGE..];
    message[icmp6::field::KIND] = kind;
    icmp6::set_checksum(source, destination, message);
}

#[cfg(test)]
mod tests;
