//! The precomputed translation of a real.

use super::Real;
use crate::connection::Direction;
use crate::ids::NextHopId;
use crate::wire::checksum;
use std::net::SocketAddrV4;

/// How packets of a real's connections are told and translated, one cache line, indexed by
/// direction. An endpoint is 48 bits as they stand on the wire: address, then port, loaded little-endian.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct Rewrite {
    /// What the packet has on the side that is translated: the VIP and port as destination
    /// (forward), the real's address and port as source (reverse).
    pub far: [u64; 2],
    /// What it gets instead.
    pub becomes: [u64; 2],
    /// What to add to the IPv4 header's checksum for the new address and the TTL less one
    /// ([`checksum::adjust`]).
    pub header_delta: [u16; 2],
    /// What to add to the TCP or UDP checksum for the new address and port.
    pub transport_delta: [u16; 2],
    /// The way to the real.
    pub next_hop: NextHopId,
}

/// Matches no packet: 48 bits never have the upper ones set.
const NOWHERE: u64 = u64::MAX;

/// An address and port as 48 bits in the order of the wire, first byte lowest.
pub const fn endpoint_bits(endpoint: SocketAddrV4) -> u64 {
    let [a, b, c, d] = endpoint.ip().octets();
    let [p, q] = endpoint.port().to_be_bytes();
    u64::from_le_bytes([a, b, c, d, p, q, 0, 0])
}

impl Rewrite {
    /// Matches nothing.
    pub const VACANT: Self = Self {
        far: [NOWHERE; 2],
        becomes: [0; 2],
        header_delta: [0; 2],
        transport_delta: [0; 2],
        next_hop: NextHopId::UNKNOWN,
    };

    /// The translation of a real. A removed one matches no packet from a client: the exception path
    /// tells why.
    pub fn of(real: &Real) -> Self {
        let vip = endpoint_bits(real.key.service.listen);
        let server = endpoint_bits(real.key.endpoint);
        let (header, transport) = deltas(real.key.service.listen, real.key.endpoint);
        let (header_back, transport_back) = deltas(real.key.endpoint, real.key.service.listen);
        let forward = if real.removed { NOWHERE } else { vip };
        Self {
            far: [forward, server],
            becomes: [server, vip],
            header_delta: [header, header_back],
            transport_delta: [transport, transport_back],
            next_hop: real.next_hop,
        }
    }

    /// Whether the real or its service has been removed (or there is none of this id).
    pub const fn is_removed(&self) -> bool {
        self.far[Direction::Forward as usize] == NOWHERE
    }

    /// Whether a packet whose translated side is `far` is of this real.
    #[inline(always)]
    pub fn matches(&self, direction: Direction, far: u64) -> bool {
        self.far[direction as usize] == far
    }
}

/// What the header's and the transport's checksum change by when `from` becomes `to`.
fn deltas(from: SocketAddrV4, to: SocketAddrV4) -> (u16, u16) {
    let address = checksum::delta(&from.ip().octets(), &to.ip().octets());
    let port = checksum::delta(&from.port().to_be_bytes(), &to.port().to_be_bytes());
    (checksum::add(address, checksum::TTL_DELTA), checksum::add(address, port))
}
