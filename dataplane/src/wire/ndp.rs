//! Neighbour discovery on Ethernet (RFC 4861 §4.3, §4.4, §7.1; RFC 2464 §6, §7): which MAC has an address.
//!
//! ```text
//! IPv6 header │ ICMPv6 header │ target address │ options
//! ```

use super::icmp6::{self, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION};
use super::ipv6::{self, Packet, address_at};
use super::{ethernet, ipv6_extensions, put};
use crate::names::mac::Mac;
use std::net::Ipv6Addr;

/// Offsets of the fields, from the start of the ICMPv6 header.
mod field {
    /// The flags of an advertisement.
    pub(super) const FLAGS: usize = 4;
    /// The address that the message is about.
    pub(super) const TARGET: usize = 8;
    /// The first option.
    pub(super) const OPTIONS: usize = 24;

    /// In an option: its type.
    pub(super) const OPTION_KIND: usize = 0;
    /// In an option: its length in units of eight bytes, these two included.
    pub(super) const OPTION_LENGTH: usize = 1;
    /// In an option with a MAC: the MAC.
    pub(super) const OPTION_MAC: usize = 2;
}

/// Type of the option with the sender's MAC.
const SOURCE_MAC: u8 = 1;
/// Type of the option with the target's MAC.
const TARGET_MAC: u8 = 2;
/// Length of an option with a MAC.
const MAC_OPTION: usize = 8;

/// In [`field::FLAGS`]: the sender is a router.
const ROUTER: u8 = 0x80;
/// In [`field::FLAGS`]: the answer to a solicitation.
const SOLICITED: u8 = 0x40;
/// In [`field::FLAGS`]: replaces a MAC that is known already.
const OVERRIDE: u8 = 0x20;

/// The hop limit of every message: one that a router has passed on has less, so that a message with this one comes
/// from the link itself.
const HOP_LIMIT: u8 = 255;

/// Where the packet and the message begin in a frame.
const PACKET: usize = ethernet::HEADER;
const MESSAGE: usize = PACKET + ipv6::HEADER;

/// Length of a frame with a probe: a solicitation without options.
pub const PROBE_FRAME: usize = MESSAGE + field::OPTIONS;
/// Length of a frame with a message and one MAC.
pub const FRAME: usize = PROBE_FRAME + MAC_OPTION;
const _: () = assert!(PROBE_FRAME >= ethernet::LEAST);

/// The multicast group of all nodes of a link (RFC 4291 §2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The multicast groups `ff02::1:ff00:0/104`, without their last three bytes (RFC 4291 §2.7.1).
const SOLICITED_NODE: [u8; 13] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff];

/// Asks for the MAC of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// Address of the sender; unspecified in a probe, which asks whether the target is in use (RFC 4862 §5.4).
    pub source: Ipv6Addr,
    /// The address in question, never a multicast.
    pub target: Ipv6Addr,
    /// MAC of the sender, if it is told: of one host, never a group or zero.
    pub source_mac: Option<Mac>,
}

/// Tells the MAC of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// Address of the sender.
    pub source: Ipv6Addr,
    /// Address of the receiver, or [`ALL_NODES`].
    pub destination: Ipv6Addr,
    /// The address in question, never a multicast.
    pub target: Ipv6Addr,
    /// Whether the sender is a router.
    pub is_router: bool,
    /// Whether it is an answer to a solicitation of the receiver, and so shows that both directions work.
    pub is_solicited: bool,
    /// Whether it replaces a MAC that is known already.
    pub overrides: bool,
    /// MAC of the target, if it is told: of one host, never a group or zero.
    pub target_mac: Option<Mac>,
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Asks for a MAC.
    Solicitation(Solicitation),
    /// Tells a MAC.
    Advertisement(Advertisement),
}

impl Message {
    /// The message in `packet`. `None` if it is of another kind, or not valid (RFC 4861 §7.1.1, §7.1.2), or in a
    /// fragment, even in an atomic one (RFC 6980 §5), or if it tells what is no host's MAC.
    pub fn parse(packet: &Packet<'_>) -> Option<Self> {
        let upper = ipv6_extensions::upper_layer(packet).ok()?;
        if upper.protocol != ipv6::ICMP || upper.fragment.is_some() || packet.hop_limit() != HOP_LIMIT {
            return None;
        }
        let bytes = packet.bytes().get(upper.offset..)?;
        let (source, destination) = (packet.source(), packet.destination());
        let message = icmp6::Message::parse(bytes)?;
        let options = bytes.get(field::OPTIONS..)?;
        if message.code() != 0 || !message.has_right_checksum(source, destination) {
            return None;
        }
        let target = address_at(bytes, field::TARGET);
        if target.is_multicast() {
            return None;
        }
        match message.kind() {
            NEIGHBOUR_SOLICITATION => solicitation_of(source, destination, target, options),
            NEIGHBOUR_ADVERTISEMENT => {
                let flags = bytes[field::FLAGS];
                let advertisement = Advertisement {
                    source,
                    destination,
                    target,
                    is_router: flags & ROUTER != 0,
                    is_solicited: flags & SOLICITED != 0,
                    overrides: flags & OVERRIDE != 0,
                    target_mac: told_mac(options, TARGET_MAC).ok()?,
                };
                let is_valid = !(destination.is_multicast() && advertisement.is_solicited);
                is_valid.then_some(Self::Advertisement(advertisement))
            }
            _ => None,
        }
    }
}

/// The solicitation with these contents, if it is valid: a probe goes to the target's group, and tells no MAC.
fn solicitation_of(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    target: Ipv6Addr,
    options: &[u8],
) -> Option<Message> {
    let source_mac = told_mac(options, SOURCE_MAC).ok()?;
    let is_valid = !source.is_unspecified() || is_solicited_node(destination) && source_mac.is_none();
    is_valid.then_some(Message::Solicitation(Solicitation { source, target, source_mac }))
}

/// Options that are cut short, of length zero, or with what is no host's MAC.
#[derive(Debug, PartialEq, Eq)]
struct Malformed;

/// The MAC in the first option of this type; `None` if there is no such option. Options of other types are passed over
/// whatever they contain (RFC 4861 §7.1.1).
fn told_mac(mut options: &[u8], kind: u8) -> Result<Option<Mac>, Malformed> {
    let mut told = None;
    while !options.is_empty() {
        let units = *options.get(field::OPTION_LENGTH).ok_or(Malformed)?;
        if units == 0 {
            return Err(Malformed);
        }
        let (option, rest) = options.split_at_checked(usize::from(units) * 8).ok_or(Malformed)?;
        if option[field::OPTION_KIND] == kind {
            let mac = mac_in(option)?;
            told = told.or(Some(mac));
        }
        options = rest;
    }
    Ok(told)
}

/// The MAC in an option with one.
fn mac_in(option: &[u8]) -> Result<Mac, Malformed> {
    let bytes: &[u8; MAC_OPTION] = option.try_into().map_err(|_| Malformed)?;
    let mac = Mac(*bytes[field::OPTION_MAC..].first_chunk().expect("within the option"));
    if mac.is_group() || mac.bits() == 0 { Err(Malformed) } else { Ok(mac) }
}

/// The multicast group that the holders of `address` listen to, `ff02::1:ff` and the address's last three bytes
/// (RFC 4291 §2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let mut group = address.octets();
    put(&mut group, 0, SOLICITED_NODE);
    group.into()
}

/// Whether an address is such a group.
pub fn is_solicited_node(address: Ipv6Addr) -> bool {
    address.octets().starts_with(&SOLICITED_NODE)
}

/// The link-local address of the interface with this MAC: `fe80::` and the MAC with `ff:fe` in its middle and the bit
/// for locally administered ones inverted (RFC 4862 §5.3, RFC 2464 §4, §5).
pub const fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let interface = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from_bits(0xfe80 << 112 | interface as u128)
}

/// The MAC that packets to the multicast group go to: `33:33` and the group's last four bytes (RFC 2464 §7).
pub fn multicast_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// The frame that asks for the MAC of `target`: sent to its group, or to the MAC that it had, `known`, to see whether
/// it is still there (RFC 4861 §7.2.2, §7.3.3).
pub fn solicitation(
    our_mac: Mac,
    our_address: Ipv6Addr,
    target: Ipv6Addr,
    known: Option<Mac>,
) -> [u8; FRAME] {
    let destination = if known.is_some() { target } else { solicited_node(target) };
    let to = (known.unwrap_or_else(|| multicast_mac(destination)), destination);
    frame((our_mac, our_address), to, NEIGHBOUR_SOLICITATION, 0, target, Some(SOURCE_MAC))
}

/// The frame that asks whether anyone has `address`, before it is used here (duplicate address detection, RFC 4862
/// §5.4.2).
pub fn probe(our_mac: Mac, address: Ipv6Addr) -> [u8; PROBE_FRAME] {
    let group = solicited_node(address);
    let from = (our_mac, Ipv6Addr::UNSPECIFIED);
    frame(from, (multicast_mac(group), group), NEIGHBOUR_SOLICITATION, 0, address, None)
}

/// The frame that answers `asked`, whose target is our own and whose frame came from `their_mac`: to the sender, or, if
/// that has no address yet, to all nodes (RFC 4861 §7.2.4).
pub fn answer(asked: &Solicitation, their_mac: Mac, our_mac: Mac, is_router: bool) -> [u8; FRAME] {
    let (to, solicited) = if asked.source.is_unspecified() {
        ((multicast_mac(ALL_NODES), ALL_NODES), 0)
    } else {
        ((asked.source_mac.unwrap_or(their_mac), asked.source), SOLICITED)
    };
    advertisement((our_mac, asked.target), to, solicited, is_router)
}

/// The frame that tells everyone on the link that `our_address` is at `our_mac` (RFC 4861 §7.2.6).
pub fn announcement(our_mac: Mac, our_address: Ipv6Addr, is_router: bool) -> [u8; FRAME] {
    advertisement((our_mac, our_address), (multicast_mac(ALL_NODES), ALL_NODES), 0, is_router)
}

/// The frame of an advertisement of our own address. It replaces what the receiver knew: the address may have been
/// another machine's before.
fn advertisement(ours: (Mac, Ipv6Addr), to: (Mac, Ipv6Addr), solicited: u8, is_router: bool) -> [u8; FRAME] {
    let router = if is_router { ROUTER } else { 0 };
    frame(ours, to, NEIGHBOUR_ADVERTISEMENT, OVERRIDE | solicited | router, ours.1, Some(TARGET_MAC))
}

/// The frame of a message, with the sender's MAC in an option of the type `mac_option`. `LENGTH` has room for that
/// option or for none.
fn frame<const LENGTH: usize>(
    (our_mac, source): (Mac, Ipv6Addr),
    (their_mac, destination): (Mac, Ipv6Addr),
    kind: u8,
    flags: u8,
    target: Ipv6Addr,
    mac_option: Option<u8>,
) -> [u8; LENGTH] {
    let mut frame = [0; LENGTH];
    let ethernet = ethernet::Header { destination: their_mac, source: our_mac, ether_type: ethernet::IPV6 };
    ethernet.write(&mut frame);
    let header = ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_length: (LENGTH - MESSAGE) as u16,
        next_header: ipv6::ICMP,
        hop_limit: HOP_LIMIT,
        source,
        destination,
    };
    header.write(&mut frame[PACKET..]);
    let message = &mut frame[MESSAGE..];
    message[icmp6::field::KIND] = kind;
    message[field::FLAGS] = flags;
    put(message, field::TARGET, target.octets());
    if let Some(option) = mac_option {
        let bytes = &mut message[field::OPTIONS..];
        bytes[field::OPTION_KIND] = option;
        bytes[field::OPTION_LENGTH] = (MAC_OPTION / 8) as u8;
        put(bytes, field::OPTION_MAC, our_mac.0);
    }
    icmp6::set_checksum(source, destination, message);
    frame
}

#[cfg(test)]
mod tests;
