//! The fast path's side of the [family for tests](crate::connection::wide): its packets look like IPv6 without
//! extension headers, and nothing is done in few instructions.

use super::decode::Expected;
use super::family::Plain;
use crate::connection::table::{ClientKey, Home, Table};
use crate::connection::wide::Wide;
use crate::counters::WorkerCounters;
use crate::exchange::peers::Peers;
use crate::frame::{Frame, HEAD};
use crate::names::direction::Direction;
use crate::names::ids::{NextHopId, Protocol, RealKey};
use crate::snapshot::{Compiled, Families, Part};
use crate::translation::{Record, Translate};
use crate::wire::{be_u16, checksum};
use crate::worker::tables::{Tabled, Tables};
use std::net::{Ipv6Addr, SocketAddr};

mod at {
    pub(super) const ETHER_TYPE: usize = 12;
    pub(super) const VERSION: usize = 14;
    pub(super) const PAYLOAD_LENGTH: usize = 18;
    pub(super) const PROTOCOL: usize = 20;
    pub(super) const HOPS: usize = 21;
    /// Of the source and the destination.
    pub(super) const ADDRESSES: [usize; 2] = [22, 38];
    pub(super) const PORTS: [usize; 2] = [54, 56];
}

type Endpoint = (Ipv6Addr, u16);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    protocol: u8,
    hops: u8,
    /// Source and destination.
    endpoints: [Endpoint; 2],
}

/// Longer than a cache line.
#[derive(Clone, Debug)]
pub(crate) struct WideRewrite {
    /// `None`: removed.
    protocol: Option<Protocol>,
    /// The real as source, the VIP as destination.
    endpoints: [Endpoint; 2],
    checksum_offset: usize,
    transport_delta: [u16; 2],
    next_hop: NextHopId,
}

impl Translate for Wide {
    type Record = WideRewrite;
}

impl Record for WideRewrite {
    type Fields = Fields;
    type Remote = Endpoint;

    const VACANT: &'static Self = &Self {
        protocol: None,
        endpoints: [(Ipv6Addr::from_bits(u128::MAX), u16::MAX); 2],
        checksum_offset: 0,
        transport_delta: [0; 2],
        next_hop: NextHopId::UNKNOWN,
    };

    fn of(key: &RealKey, next_hop: NextHopId, removed: bool) -> Self {
        let (SocketAddr::V6(vip), SocketAddr::V6(server)) = (key.service.listen, key.endpoint) else {
            return Self::VACANT.clone();
        };
        let address = checksum::delta(&vip.ip().octets(), &server.ip().octets());
        let port = checksum::delta(&vip.port().to_be_bytes(), &server.port().to_be_bytes());
        let address_back = checksum::delta(&server.ip().octets(), &vip.ip().octets());
        let port_back = checksum::delta(&server.port().to_be_bytes(), &vip.port().to_be_bytes());
        Self {
            protocol: (!removed).then_some(key.service.protocol),
            endpoints: [server, vip].map(|endpoint| (*endpoint.ip(), endpoint.port())),
            checksum_offset: checksum::offset_in(key.service.protocol),
            transport_delta: [checksum::add(address, port), checksum::add(address_back, port_back)],
            next_hop,
        }
    }

    fn of_several_ports(next_hop: NextHopId) -> Self {
        Self { next_hop, ..Self::VACANT.clone() }
    }

    fn next_hop(&self) -> NextHopId {
        self.next_hop
    }

    fn checksum_offset(&self) -> usize {
        self.checksum_offset
    }

    fn transport_delta(&self, direction: Direction) -> u16 {
        self.transport_delta[direction as usize]
    }

    fn matches(&self, direction: Direction, remote: Endpoint) -> bool {
        let is_known = direction == Direction::Reverse || self.protocol.is_some();
        is_known && self.endpoints[1 - direction as usize] == remote
    }

    fn has(&self, direction: Direction, fields: Fields) -> bool {
        let is_of_protocol = self.protocol == Protocol::from_number(fields.protocol);
        (direction == Direction::Reverse || is_of_protocol)
            && self.matches(direction, fields.endpoints[1 - direction as usize])
    }

    fn translate(&self, direction: Direction, mut fields: Fields) -> Fields {
        fields.hops -= 1;
        fields.endpoints[1 - direction as usize] = self.endpoints[direction as usize];
        fields
    }
}

impl Compiled for Wide {
    type Listener = WideListener;

    fn listener((address, port): Endpoint, protocol_number: u8) -> WideListener {
        WideListener { address: address.to_bits(), port, protocol_number }
    }

    fn remote_of(endpoint: SocketAddr) -> Option<Endpoint> {
        let SocketAddr::V6(endpoint) = endpoint else { return None };
        Some((*endpoint.ip(), endpoint.port()))
    }

    fn part(families: &Families) -> &Part<Self> {
        &families.wide
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WideListener {
    address: u128,
    port: u16,
    protocol_number: u8,
}

impl crate::snapshot::Key for WideListener {
    fn word(self) -> u64 {
        self.address as u64 // alike for ports of one address
    }
}

impl Tabled for Wide {
    fn of(tables: &Tables) -> &Table<Self> {
        &tables.wide
    }

    fn of_mut(tables: &mut Tables) -> &mut Table<Self> {
        &mut tables.wide
    }

    fn note_full_endpoint(_: ClientKey<Self>, counters: &WorkerCounters) {
        counters.full_endpoint.set(u64::MAX);
    }
}

fn address(head: &[u8; HEAD], side: usize) -> Ipv6Addr {
    Ipv6Addr::from_octets(*head[at::ADDRESSES[side]..].first_chunk().unwrap())
}

impl Plain for Wide {
    /// The MAC.
    type Start = u64;
    /// How many.
    type Faults = usize;
    type Address = Ipv6Addr;

    const HEADER: usize = 40;

    fn start(mac: u64) -> u64 {
        mac
    }

    fn no_faults() -> usize {
        0
    }

    fn are_plain(faults: &usize) -> bool {
        *faults == 0
    }

    fn decode(
        frame: &impl Frame,
        direction: Direction,
        expected: Expected<Self>,
        faults: &mut usize,
    ) -> (ClientKey<Self>, u16) {
        let head = frame.head();
        let fields = Self::fields(head);
        let is_plain = frame.is_whole()
            && head[..6] == expected.start.to_le_bytes()[..6]
            && be_u16(head, at::ETHER_TYPE) == 0x86dd
            && head[at::VERSION] >> 4 == 6
            && Protocol::from_number(fields.protocol).is_some()
            && fields.hops > 1;
        *faults += usize::from(!is_plain);
        let (address, port) = fields.endpoints[direction as usize];
        let length = be_u16(head, at::PAYLOAD_LENGTH).saturating_add(Self::HEADER as u16);
        (Self::key_of(address, port, fields.protocol), length)
    }

    fn homes_of_other(head: &[u8; HEAD], decoded: Home) -> u64 {
        u64::from(head[at::VERSION] >> 4 == 6) << decoded.low_bits()
    }

    fn fields(head: &[u8; HEAD]) -> Fields {
        let endpoint = |side| (address(head, side), be_u16(head, at::PORTS[side]));
        Fields { protocol: head[at::PROTOCOL], hops: head[at::HOPS], endpoints: [endpoint(0), endpoint(1)] }
    }

    fn put_fields(head: &mut [u8; HEAD], fields: Fields) {
        head[at::HOPS] = fields.hops;
        for (side, (address, port)) in fields.endpoints.into_iter().enumerate() {
            head[at::ADDRESSES[side]..][..16].copy_from_slice(&address.octets());
            head[at::PORTS[side]..][..2].copy_from_slice(&port.to_be_bytes());
        }
    }

    fn remote(head: &[u8; HEAD], direction: Direction) -> Endpoint {
        Self::fields(head).endpoints[1 - direction as usize]
    }

    fn protocol(head: &[u8; HEAD]) -> u8 {
        head[at::PROTOCOL]
    }

    fn source(head: &[u8; HEAD]) -> Ipv6Addr {
        address(head, 0)
    }

    fn destination(head: &[u8; HEAD]) -> Ipv6Addr {
        address(head, 1)
    }

    fn is_martian(source: Ipv6Addr) -> bool {
        source.is_unspecified() || source.is_loopback() || source.is_multicast()
    }

    fn has_right_header(_: &[u8; HEAD]) -> bool {
        true
    }

    fn has_partial_checksum(_: &[u8; HEAD], _: u16) -> bool {
        false
    }

    fn owner<F>(_: ClientKey<Self>, peers: &Peers<F>) -> usize {
        peers.own()
    }
}
