//! The datagrams whose fragments are under way.

use super::held::{HELD_NANOSECONDS, Held, List, PER_DATAGRAM};
use super::seen::{Misfit, Seen};
use super::{Piece, Ports};
use crate::connection::digest;
use crate::connection::table::HashKey;
use crate::frame::Frame;
use crate::names::ids::{InterfaceId, Protocol};
use crate::names::side::Side;
use crate::names::time::Now;
use arrayvec::ArrayVec;
use std::net::IpAddr;

/// Datagrams in a bucket.
const WAYS: usize = 8;
const BUCKETS: usize = 512;
/// Datagrams that are followed at once. Where a bucket is full, the one that was silent for longest
/// gives way.
pub const DATAGRAMS: usize = BUCKETS * WAYS;
/// A datagram of which nothing is heard for so long is forgotten: an id may come round after 65,536
/// others, and must not meet what an incomplete one has left (RFC 4963).
pub const SILENCE_NANOSECONDS: u64 = 5_000_000_000;
/// Steps of giving up what has been held too long, in one call.
const EXPIRED_AT_ONCE: usize = 32;

/// What a datagram's fragments share, and the side that they come in on. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u128);

/// In a [`Key`]: it is a digest of IPv6's fields. IPv4's keys have no bit that high.
const IS_DIGEST: u128 = 1 << 127;

/// What a datagram's fragments say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// Who sends it.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// The number of its protocol. Not looked at in IPv6, where a fragment may name an extension header instead, and
    /// ids are not counted by protocol (RFC 8200 §4.5).
    pub protocol: u8,
    /// Identification: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
    /// Where it comes in.
    pub side: Side,
}

impl Fields {
    /// The fields themselves in IPv4 (RFC 791 §3.2), a digest in IPv6: the keys of both have one size.
    fn key(&self, secret: HashKey) -> Key {
        let &Self { source, destination, protocol, id, side } = self;
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let addresses = u128::from(source.to_bits()) << 32 | u128::from(destination.to_bits());
                let rest = u128::from(id) << 16 | u128::from(protocol) << 8 | side as u128;
                Key(rest << 64 | addresses)
            }
            _ => {
                let mut bytes = [0; 37];
                bytes[..16].copy_from_slice(&digest::octets(source));
                bytes[16..32].copy_from_slice(&digest::octets(destination));
                bytes[32..36].copy_from_slice(&id.to_be_bytes());
                bytes[36] = side as u8;
                Key(digest::of(secret, &bytes) | IS_DIGEST)
            }
        }
    }
}

/// What is known of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is the first, that has not passed yet: its ports are its own.
    Begins,
    /// It follows a first one of this protocol with these ports, or is to.
    Follows(Protocol, Ports),
    /// It came before the first one: see [`Tracker::hold`].
    Early,
    /// The datagram was [refused](Tracker::refuse).
    Refused,
    /// All of it has passed already.
    Repeats,
    /// A part of it has passed already, or it contradicts where the datagram ends.
    Overlaps,
    /// The datagram has more gaps than are kept count of.
    TooManyGaps,
}

/// Held fragments that may go on, in order of arrival, each with the port that it arrived on.
pub type Released<F> = ArrayVec<(InterfaceId, F), PER_DATAGRAM>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The first has not come yet.
    Unknown,
    Known(Protocol, Ports),
    Refused,
}

#[derive(Clone, Debug)]
struct Datagram {
    /// When a fragment of it came last.
    heard: u64,
    fate: Fate,
    seen: Seen,
    held: List,
}

/// See the module's text. All memory is taken when it is made: about a megabyte.
#[derive(Debug)]
pub struct Tracker<F> {
    /// By bucket and way; 0: free.
    keys: Box<[[u128; WAYS]]>,
    datagrams: Box<[Datagram]>,
    held: Held<F>,
    released: Released<F>,
    hash_key: HashKey,
}

impl<F: Frame> Tracker<F> {
    /// An empty one. The hash depends on a secret, so that nobody can aim at a bucket.
    pub fn new(hash_key: HashKey) -> Self {
        let vacant = Datagram { heard: 0, fate: Fate::Unknown, seen: Seen::default(), held: List::EMPTY };
        Self {
            keys: vec![[0; WAYS]; BUCKETS].into(),
            datagrams: vec![vacant; DATAGRAMS].into(),
            held: Held::new(),
            released: ArrayVec::new(),
            hash_key: HashKey { multiplier: hash_key.multiplier | 1, ..hash_key },
        }
    }

    /// Holds fewer fragments than [`HELD`](super::HELD), where few buffers are to be had.
    pub fn limit(&mut self, most: usize) {
        self.held.limit(most);
    }

    /// Fragments that are held.
    pub fn held(&self) -> usize {
        self.held.len() + self.released.len()
    }

    /// What the fragments with these fields are known by.
    pub fn key(&self, fields: &Fields) -> Key {
        fields.key(self.hash_key)
    }

    /// What is known of this fragment. Nothing is noted: see [`pass`](Self::pass).
    pub fn resolve(&self, key: Key, piece: Piece, now: Now) -> Outcome {
        let known = self.find(key, now).map(|index| &self.datagrams[index]);
        let Some(datagram) = known else {
            return if piece.is_first() { Outcome::Begins } else { Outcome::Early };
        };
        match (datagram.fate, datagram.seen.check(piece)) {
            (Fate::Refused, _) => Outcome::Refused,
            (Fate::Unknown, _) | (Fate::Known(..), Ok(())) if piece.is_first() => Outcome::Begins,
            (Fate::Unknown, _) => Outcome::Early,
            (Fate::Known(..), Err(Misfit::Repeated)) => Outcome::Repeats,
            (Fate::Known(..), Err(Misfit::Contradicts)) => Outcome::Overlaps,
            (Fate::Known(..), Err(Misfit::TooManyGaps)) => Outcome::TooManyGaps,
            (Fate::Known(protocol, ports), Ok(())) => Outcome::Follows(protocol, ports),
        }
    }

    /// Notes the protocol and ports of a first fragment. Those that waited for it are released, to go wherever it goes.
    /// Returns how many held fragments of another datagram were given up for it.
    pub fn learn(&mut self, key: Key, (protocol, ports): (Protocol, Ports), now: Now) -> usize {
        let (index, given_up) = self.find_or_begin(key, now);
        self.datagrams[index].heard = now.nanoseconds;
        self.datagrams[index].fate = Fate::Known(protocol, ports);
        self.release(index);
        given_up
    }

    /// Notes that a fragment, which [begins](Outcome::Begins) its datagram and was [learnt](Self::learn) or
    /// [follows](Outcome::Follows), has passed.
    pub fn pass(&mut self, key: Key, piece: Piece, now: Now) {
        let Some(index) = self.find(key, now) else { return };
        let datagram = &mut self.datagrams[index];
        datagram.heard = now.nanoseconds;
        if datagram.seen.check(piece).is_ok() {
            datagram.seen.add(piece);
        }
        if datagram.seen.is_complete() {
            self.forget(index);
        }
    }

    /// Lets nothing more of a datagram pass: its first fragment did not, or a fragment [overlaps](Outcome::Overlaps)
    /// others (RFC 5722 for IPv4). Those that waited are released, to be dropped as what comes later. Returns how many
    /// held fragments of another datagram were given up for it.
    pub fn refuse(&mut self, key: Key, now: Now) -> usize {
        let (index, given_up) = self.find_or_begin(key, now);
        self.datagrams[index].heard = now.nanoseconds;
        self.datagrams[index].fate = Fate::Refused;
        self.release(index);
        given_up
    }

    /// Holds an [early](Outcome::Early) fragment until the first comes. Returns how many fragments were
    /// given up: this one if its datagram has too many, else the oldest of all as far as it needs room.
    pub fn hold(&mut self, key: Key, arrived_on: InterfaceId, frame: F, now: Now) -> usize {
        let (index, mut given_up) = self.find_or_begin(key, now);
        self.datagrams[index].heard = now.nanoseconds;
        if self.datagrams[index].held.is_full() {
            return given_up + 1;
        }
        while self.held.is_full(frame.length()) {
            // One of its own may be the oldest: the datagram stays, as it is about to hold another.
            match self.held.oldest(u64::MAX) {
                Some(of) => given_up += usize::from(self.drop_oldest_of(of as usize)),
                None => return given_up + 1, // larger than all the room
            }
        }
        self.keys[index / WAYS][index % WAYS] = key.0;
        let list = &mut self.datagrams[index].held;
        self.held.push(list, index as u32, arrived_on, frame, now);
        given_up
    }

    /// Gives up what has been held for too long, some at a time; how many.
    pub fn expire(&mut self, now: Now) -> usize {
        if self.held.len() == 0 {
            return 0;
        }
        let before = now.nanoseconds.saturating_sub(HELD_NANOSECONDS);
        let mut given_up = 0;
        while given_up < EXPIRED_AT_ONCE {
            let Some(of) = self.held.oldest(before) else { break };
            given_up += usize::from(self.drop_oldest_of(of as usize));
        }
        given_up
    }

    /// Takes what was released, if anything was.
    pub fn take_released(&mut self) -> Option<Released<F>> {
        (!self.released.is_empty()).then(|| std::mem::take(&mut self.released))
    }

    fn release(&mut self, index: usize) {
        let list = &mut self.datagrams[index].held;
        while !self.released.is_full() {
            let Some(held) = self.held.pop(list) else { break };
            self.released.push(held);
        }
    }

    /// A datagram that is waited for no more, as nothing is held for it, is forgotten.
    fn drop_oldest_of(&mut self, index: usize) -> bool {
        let datagram = &mut self.datagrams[index];
        let dropped = self.held.pop(&mut datagram.held).is_some();
        if datagram.held.is_empty() && datagram.fate == Fate::Unknown {
            self.forget(index);
        }
        dropped
    }

    fn forget(&mut self, index: usize) {
        self.keys[index / WAYS][index % WAYS] = 0;
    }

    fn find(&self, key: Key, now: Now) -> Option<usize> {
        let bucket = self.bucket(key);
        let way = self.keys[bucket].iter().position(|known| *known == key.0)?;
        let index = bucket * WAYS + way;
        (!self.is_silent(index, now)).then_some(index)
    }

    /// The datagram's place, begun anew if it has none; and how many fragments were held for what was
    /// there before.
    fn find_or_begin(&mut self, key: Key, now: Now) -> (usize, usize) {
        if let Some(index) = self.find(key, now) {
            return (index, 0);
        }
        let bucket = self.bucket(key);
        let keys = &self.keys[bucket];
        let same = keys.iter().position(|known| *known == key.0);
        let free = || keys.iter().position(|known| *known == 0);
        let heard = |way: &usize| self.datagrams[bucket * WAYS + way].heard;
        let way = same.or_else(free).or_else(|| (0..WAYS).min_by_key(heard)).unwrap_or(0);
        let index = bucket * WAYS + way;
        let mut given_up = 0;
        let datagram = &mut self.datagrams[index];
        while self.held.pop(&mut datagram.held).is_some() {
            given_up += 1;
        }
        *datagram = Datagram {
            heard: now.nanoseconds,
            fate: Fate::Unknown,
            seen: Seen::default(),
            held: List::EMPTY,
        };
        self.keys[bucket][way] = key.0;
        (index, given_up)
    }

    fn is_silent(&self, index: usize, now: Now) -> bool {
        now.nanoseconds.saturating_sub(self.datagrams[index].heard) > SILENCE_NANOSECONDS
    }

    /// Multiply-and-fold with the secret, once for each half of the key, and a second multiplication, as
    /// for the [connection table](crate::connection::table::Table::hash): ids count up.
    fn bucket(&self, key: Key) -> usize {
        let HashKey { mask, multiplier } = self.hash_key;
        let fold = |half: u64| {
            let product = u128::from(half ^ mask) * u128::from(multiplier);
            let folded = product as u64 ^ (product >> 64) as u64;
            (folded ^ folded >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
        };
        let mixed = fold(fold(key.0 as u64) ^ (key.0 >> 64) as u64);
        (mixed >> 32) as usize % BUCKETS
    }
}

#[cfg(test)]
mod tests;
