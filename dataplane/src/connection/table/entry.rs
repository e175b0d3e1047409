//! What an entry is made of.
//!
//! ```text
//! key    bits  0..3   state
//!              4..7   not of the entry, but of its bucket: see [`spill`](super::spill)
//!              8..23  client port         as loaded little-endian from the wire
//!             24..31  protocol number     0: the slot is free; the highest bit is set in SCTP's alone
//!             32..63  client address      likewise as loaded, exclusive-ored to bits 8..31 in their places
//! value  bits  0..18  real
//!                 19  whether it lies away from home
//!             20..39  next hop towards the client
//!             40..63  tick of the last packet
//! ```
//!
//! So what is in the upper half of a key tells nearly all client endpoints apart, those of one address too, and
//! has nothing else in it.

use crate::connection::family::Family;
use crate::connection::{Clock, State};
use crate::names::direction::Direction;
use crate::names::family::V4;
use crate::names::ids::{NextHopId, Protocol, REAL_IDS, RealId};
use crate::names::time::Tick;
use crate::translation::{Fields, at as fields_at};
use bytemuck::{Pod, Zeroable};
use memory::equal_under_mask;
use std::net::SocketAddr;

/// Entries in a bucket.
pub(in crate::connection) const WAYS: usize = 4;

pub(super) const STATE_MASK: u64 = 0xf;
pub(super) const SPILL_ONE: u64 = 1 << 4;
pub(super) const SPILL_MASK: u64 = 0xf << 4;
pub(super) const KEY_MASK: u64 = !(STATE_MASK | SPILL_MASK);
pub(super) const ENTRY_MASK: u64 = KEY_MASK | STATE_MASK;
const PORT_SHIFT: u32 = 8;
const PROTOCOL_SHIFT: u32 = 24;
/// Where the bit has to come to that tells SCTP's states from the others of the same four bits.
const SCTP_SHIFT: u32 = PROTOCOL_SHIFT + 7 - STATE_MASK.count_ones();
const _: () = assert!(Protocol::Sctp.number() >> 7 == 1);
const _: () = assert!((Protocol::Tcp.number() | Protocol::Udp.number()) >> 7 == 0);

/// The index of the state of an entry with this key among those of all protocols. Where there is no SCTP, four bits of
/// the key tell it in fewer instructions.
#[inline(always)]
pub(super) const fn state_index<const SCTP: bool>(key: u64) -> usize {
    let of_protocol = if SCTP { key >> SCTP_SHIFT & (STATE_MASK + 1) } else { 0 };
    (key & STATE_MASK | of_protocol) as usize
}
pub(super) const REAL_MASK: u64 = (1 << 19) - 1;
pub(super) const AWAY: u64 = 1 << 19;
pub(super) const HOP_SHIFT: u32 = 20;
pub(super) const HOP_MASK: u64 = (1 << 20) - 1;
pub(super) const TICK_SHIFT: u32 = 40;
const _: () = assert!(REAL_IDS <= 1 << 19 && REAL_MASK & AWAY == 0);

/// A cache line of entries.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Bucket {
    pub(super) keys: [u64; WAYS],
    pub(super) values: [u64; WAYS],
}

/// A bucket's ways as a set of bits.
pub(super) const ALL_WAYS: u32 = (1 << WAYS) - 1;

impl Bucket {
    /// Which of its slots are taken: a set of bits.
    #[inline(always)]
    pub(super) fn taken(&self) -> u32 {
        !equal_under_mask(&self.keys, KEY_MASK, 0) & ALL_WAYS
    }

    /// What a slot holds that is taken; `rest` is that of its key.
    #[inline(always)]
    pub(super) fn entry<F: Family>(&self, way: usize, rest: F::Rest) -> Entry<F> {
        Entry { key: self.keys[way] & ENTRY_MASK, value: self.values[way], rest }
    }

    /// What its slots hold that are taken, with these rests of their keys, by way.
    pub(super) fn entries<F: Family>(&self, rests: [F::Rest; WAYS]) -> impl Iterator<Item = Entry<F>> {
        let taken = self.taken();
        let ways = (0..WAYS).filter(move |way| taken >> way & 1 != 0);
        ways.map(move |way| self.entry(way, rests[way]))
    }

    /// Empties a way, and returns what lay there. What the bucket knows of entries elsewhere stays.
    #[inline(always)]
    pub(super) fn take<F: Family>(&mut self, way: usize, rest: F::Rest) -> Entry<F> {
        let way = way % WAYS;
        let entry = Entry { key: self.keys[way], value: self.values[way], rest };
        // The key first, by which it is there.
        self.keys[way] = entry.key & SPILL_MASK;
        memory::in_order();
        self.values[way] = 0;
        entry
    }
}

/// Where the bytes of a [`ClientKey`] come from in a packet's fields, by direction, before its halves are combined.
const KEYS: [[u8; 16]; 2] = [key_bytes(Direction::Forward), key_bytes(Direction::Reverse)];
/// Where the bytes come from that a key's upper half is exclusive-ored with, by direction: those of its lower half.
const UPPER_HALVES: [[u8; 16]; 2] = [upper_half_of(KEYS[0]), upper_half_of(KEYS[1])];
/// No byte: zero.
const NONE: u8 = 0x80;

const fn key_bytes(direction: Direction) -> [u8; 16] {
    let side = direction as usize;
    let (address, port) = (fields_at::ADDRESSES[side] as u8, fields_at::PORTS[side] as u8);
    let mut bytes = [NONE; 16];
    let sources =
        [NONE, port, port + 1, fields_at::PROTOCOL as u8, address, address + 1, address + 2, address + 3];
    let (key, _) = bytes.split_at_mut(sources.len());
    key.copy_from_slice(&sources);
    bytes
}

const fn upper_half_of(key: [u8; 16]) -> [u8; 16] {
    let mut bytes = [NONE; 16];
    let (_, upper) = bytes.split_at_mut(4);
    let (upper, _) = upper.split_at_mut(4);
    let (lower, _) = key.split_at(4);
    upper.copy_from_slice(lower);
    bytes
}

/// What both directions of a connection share: client address, client port, protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientKey<F: Family = V4> {
    pub(super) word: u64,
    pub(super) rest: F::Rest,
}

impl ClientKey {
    /// From the client's endpoint as 48 bits in the order of the wire, and the protocol number.
    #[inline(always)]
    pub const fn new(endpoint_bits: u64, protocol_number: u8) -> Self {
        Self::with_rest(endpoint_bits, protocol_number, ())
    }

    /// Of a plain packet, by what a translation looks at. The client is its source (forward) or destination (reverse).
    #[inline(always)]
    pub fn of(fields: Fields, direction: Direction) -> Self {
        let index = direction as usize;
        let [key, _] = fields.shuffled(KEYS[index]).xor(fields.shuffled(UPPER_HALVES[index])).words();
        Self { word: key, rest: () }
    }
}

impl<F: Family> ClientKey<F> {
    /// From the client's endpoint as 48 bits in the order of the wire, where 32 of them stand for the address, the
    /// protocol number, and the rest of the address.
    #[inline(always)]
    pub const fn with_rest(endpoint_bits: u64, protocol_number: u8, rest: F::Rest) -> Self {
        let lower = ((endpoint_bits >> 32) as u32) << PORT_SHIFT | (protocol_number as u32) << PROTOCOL_SHIFT;
        Self { word: lower as u64 | ((endpoint_bits as u32 ^ lower) as u64) << 32, rest }
    }

    /// The client's endpoint, as 48 bits in the order of the wire, of which 32 stand for the address.
    #[inline(always)]
    pub const fn endpoint_bits(self) -> u64 {
        let (lower, upper) = (self.word as u32, (self.word >> 32) as u32);
        (upper ^ lower) as u64 | ((lower >> PORT_SHIFT) as u16 as u64) << 32
    }

    /// What of the client's address those bits do not tell.
    #[inline(always)]
    pub const fn rest(self) -> F::Rest {
        self.rest
    }

    /// The part of it that tells keys of IPv4 apart, and nearly all of any family.
    #[inline(always)]
    pub(in crate::connection) const fn word(self) -> u64 {
        self.word
    }

    /// The client's address and port.
    #[inline(always)]
    pub(crate) fn client(self) -> SocketAddr {
        F::client(self)
    }

    /// The protocol number.
    #[inline(always)]
    pub(crate) const fn protocol_number(self) -> u8 {
        (self.word as u32 >> PROTOCOL_SHIFT) as u8
    }

    /// The half of it that tells nearly all keys apart.
    #[inline(always)]
    pub(super) const fn upper_half(self) -> u32 {
        (self.word >> 32) as u32
    }

    /// `None` for the key of no packet.
    pub fn protocol(self) -> Option<Protocol> {
        Protocol::from_number(self.protocol_number())
    }
}

/// Where an entry lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    pub(super) bucket: u32,
    pub(super) way: u8,
}

/// What an entry is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct New<F: Family = V4> {
    /// The client's endpoint, and the protocol.
    pub key: ClientKey<F>,
    /// The real that serves it.
    pub real: RealId,
    /// The port that its client asked for, if the service is on several; else 0.
    pub port: u16,
    /// The way back to the client.
    pub next_hop: NextHopId,
    /// The state that it begins in.
    pub state: State,
}

impl<F: Family> New<F> {
    /// The entry as of this tick.
    #[inline(always)]
    pub(super) fn entry(self, away: bool, tick: Tick) -> Entry<F> {
        let value = u64::from(self.real.0) & REAL_MASK
            | (u64::from(self.next_hop.0) & HOP_MASK) << HOP_SHIFT
            | if away { AWAY } else { 0 }
            | u64::from(tick.raw()) << TICK_SHIFT;
        Entry { key: self.key.word | self.state as u64 & STATE_MASK, value, rest: self.key.rest }
    }
}

/// An entry's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<F: Family = V4> {
    pub(super) key: u64,
    pub(super) value: u64,
    pub(super) rest: F::Rest,
}

impl<F: Family> Entry<F> {
    /// Its state.
    #[inline(always)]
    pub fn state(self) -> State {
        State::of_index(state_index::<true>(self.key))
    }

    /// Whether a packet with these TCP flags changes its state, or is a client's SYN. It is TCP's or UDP's.
    #[inline(always)]
    pub const fn changes_state(self, direction: Direction, flags: u8) -> bool {
        State::changes(self.key as u8, direction, flags)
    }

    /// Its real. Told by the bits that its index is told by, so that the loop over a burst keeps the two in one
    /// register: 6 instructions fewer for a packet of a client's.
    #[inline(always)]
    pub const fn real(self) -> RealId {
        RealId(self.real_index() as u32)
    }

    /// Its real, as an index.
    #[inline(always)]
    pub(crate) const fn real_index(self) -> usize {
        self.value as usize & (REAL_IDS - 1)
    }

    /// The way back to its client.
    #[inline(always)]
    pub const fn next_hop(self) -> NextHopId {
        NextHopId((self.value >> HOP_SHIFT & HOP_MASK) as u32)
    }

    /// The tick of its last packet.
    #[inline(always)]
    pub const fn tick(self) -> Tick {
        Tick::new(self.value >> TICK_SHIFT)
    }

    /// Whether it has timed out.
    #[inline(always)]
    pub fn is_dead(self, clock: Clock<'_>) -> bool {
        clock.tick.since(self.tick()) >= self.timeout(clock)
    }

    /// As [`state`](Self::state), of an entry of TCP's or UDP's, as the packets of the fast path are: told by four
    /// bits, the loop has a register more.
    #[inline(always)]
    pub fn usual_state(self) -> State {
        State::of_index(state_index::<false>(self.key))
    }

    /// As [`is_dead`](Self::is_dead), likewise.
    #[inline(always)]
    pub fn is_dead_as_usual(self, clock: Clock<'_>) -> bool {
        let timeout = clock.timeouts(self.real()).ticks_of_index(state_index::<false>(self.key));
        clock.tick.since(self.tick()) >= timeout
    }

    /// Ticks until it times out if no packet comes.
    #[inline(always)]
    pub fn ticks_left(self, clock: Clock<'_>) -> u32 {
        self.timeout(clock).saturating_sub(clock.tick.since(self.tick()))
    }

    /// Ticks without a packet after which it is over.
    #[inline(always)]
    fn timeout(self, clock: Clock<'_>) -> u32 {
        clock.timeouts(self.real()).ticks_of_index(state_index::<true>(self.key))
    }

    /// Whether it is one of this key.
    #[inline(always)]
    pub fn has_key(self, key: ClientKey<F>) -> bool {
        (self.key ^ key.word) & KEY_MASK == 0 && self.rest == key.rest
    }

    /// Whether it is one of this key if both have the same upper half.
    #[inline(always)]
    pub fn has_lower_half(self, key: ClientKey<F>) -> bool {
        (self.key as u32 ^ key.word as u32) <= (STATE_MASK | SPILL_MASK) as u32 && self.rest == key.rest
    }

    pub(super) const fn client_key(self) -> ClientKey<F> {
        ClientKey { word: self.key & KEY_MASK, rest: self.rest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_packets_key_is_that_of_its_client(bytes: [u8; 16]) {
            for (direction, address, port) in [(Direction::Forward, 4, 12), (Direction::Reverse, 8, 14)] {
                let mut endpoint = [0; 8];
                endpoint[..4].copy_from_slice(&bytes[address..address + 4]);
                endpoint[4..6].copy_from_slice(&bytes[port..port + 2]);
                let expected = ClientKey::new(u64::from_le_bytes(endpoint), bytes[1]);
                prop_assert_eq!(ClientKey::of(Fields::from_bytes(bytes), direction), expected);
            }
        }
    }
}
