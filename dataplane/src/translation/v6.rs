//! The translation of IPv6 packets.

use super::Record;
use crate::names::direction::Direction;
use crate::names::ids::{NextHopId, RealKey};
use crate::wire::checksum;
use std::net::{SocketAddr, SocketAddrV6};

/// What a translation in one direction looks at or changes of an IPv6 header without extension headers, and of a TCP or
/// UDP header after it: the far endpoint, which is the destination of a client's packet and the source of a real's.
/// Address and port are as they lie on the wire, first byte lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// Number of the protocol in the payload: the next header's.
    pub protocol: u8,
    /// The hop limit.
    pub hop_limit: u8,
    /// Of the far endpoint.
    pub address: u128,
    /// Likewise.
    pub port: u16,
}

/// How packets of a real's connections are told and translated, one cache line.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct Rewrite {
    /// Of the real, as the source of its packets, and of the VIP, as the destination of a client's.
    addresses: [u128; 2],
    /// Likewise.
    ports: [u16; 2],
    /// What to add to the TCP or UDP checksum for the new address and port, by direction.
    transport_delta: [u16; 2],
    next_hop: NextHopId,
    /// In a client's packets; [`NO_PROTOCOL`] if the real has been removed.
    protocol: u8,
    checksum_offset: u8,
}

const _: () = assert!(size_of::<Rewrite>() == 64);
/// No protocol that is balanced: no packet from a client matches.
const NO_PROTOCOL: u8 = u8::MAX;

impl Rewrite {
    /// What the address and port are replaced by that change in this direction, as they lie on the wire.
    pub(crate) const fn becomes(&self, direction: Direction) -> (u128, u16) {
        (self.addresses[direction as usize], self.ports[direction as usize])
    }
}

impl Record for Rewrite {
    type Fields = Fields;
    /// Address and port as they lie on the wire, first byte lowest.
    type Remote = (u128, u16);

    /// Of a real at a multicast address, which sends nothing.
    const VACANT: &'static Self = &Self {
        addresses: [u128::MAX; 2],
        ports: [u16::MAX; 2],
        transport_delta: [0; 2],
        next_hop: NextHopId::UNKNOWN,
        protocol: NO_PROTOCOL,
        checksum_offset: 0,
    };

    fn of(key: &RealKey, next_hop: NextHopId, removed: bool) -> Self {
        let (SocketAddr::V6(vip), SocketAddr::V6(server)) = (key.service.listen, key.endpoint) else {
            return Self::VACANT.clone();
        };
        let protocol = key.service.protocol;
        Self {
            addresses: [server, vip].map(|end| u128::from_le_bytes(end.ip().octets())),
            ports: [server, vip].map(|end| u16::from_le_bytes(end.port().to_be_bytes())),
            transport_delta: [delta(vip, server), delta(server, vip)],
            next_hop,
            protocol: if removed { NO_PROTOCOL } else { protocol.number() },
            checksum_offset: checksum::offset_in(protocol).unwrap_or_default() as u8,
        }
    }

    /// Ports are put in, not changed by a difference.
    const KEEPS_PORTS: bool = false;

    fn of_several_ports(_: &RealKey, next_hop: NextHopId) -> Self {
        Self { next_hop, ..Self::VACANT.clone() }
    }

    #[inline(always)]
    fn next_hop(&self) -> NextHopId {
        self.next_hop
    }

    #[inline(always)]
    fn checksum_offset(&self) -> usize {
        // It is no more: so the caller's index needs no check.
        usize::from(self.checksum_offset) % 32
    }

    #[inline(always)]
    fn transport_delta(&self, direction: Direction) -> u16 {
        self.transport_delta[direction as usize]
    }

    fn matches(&self, direction: Direction, (address, port): (u128, u16)) -> bool {
        let is_known = direction == Direction::Reverse || self.protocol != NO_PROTOCOL;
        let side = 1 - direction as usize;
        is_known && self.addresses[side] == address && self.ports[side] == port
    }

    #[inline(always)]
    fn has(&self, direction: Direction, fields: Fields) -> bool {
        let side = 1 - direction as usize;
        let protocol = if direction == Direction::Forward { self.protocol ^ fields.protocol } else { 0 };
        // One branch for all.
        let others = self.ports[side] ^ fields.port | u16::from(protocol);
        (self.addresses[side] ^ fields.address) | u128::from(others) == 0
    }

    #[inline(always)]
    fn translate(&self, direction: Direction, mut fields: Fields) -> Fields {
        fields.hop_limit = fields.hop_limit.wrapping_sub(1);
        (fields.address, fields.port) = self.becomes(direction);
        fields
    }
}

/// What the transport's checksum changes by when `from` becomes `to`.
fn delta(from: SocketAddrV6, to: SocketAddrV6) -> u16 {
    let address = checksum::delta(&from.ip().octets(), &to.ip().octets());
    checksum::add(address, checksum::delta(&from.port().to_be_bytes(), &to.port().to_be_bytes()))
}
