//! The walk of an established connection's packet, from its entry to its last byte.

use super::Fast;
use super::family::Plain;
use super::rewrite;
use super::staged::Decoded;
use crate::connection::TcpEvent;
use crate::connection::table::{ClientKey, Entry, Probed, Table, Words, recount_state};
use crate::counters::Records;
use crate::frame::{Frame, HEAD};
use crate::live::next_hops::{self, NextHop};
use crate::names::direction::Direction;
use crate::names::ids::{InterfaceId, Protocol};
use crate::names::time::Tick;
use crate::snapshot::Snapshot;
use crate::translation::{FieldsOf, Record};
use crate::worker::flows::Flows;

/// What the packets of established connections meet on their way, borrowed once a burst. It is copied, so the loop over
/// a burst has it in registers, not in memory that each store may change.
pub(in crate::worker) struct Path<'a, V: Plain> {
    words: Words<'a, V>,
    reals: &'a Records,
    hops: &'a next_hops::Records,
    rewrites: &'a [V::Record],
    snapshot: &'a Snapshot,
    tick: Tick,
}

impl<V: Plain> Clone for Path<'_, V> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<V: Plain> Copy for Path<'_, V> {}

impl<'a, V: Plain> Path<'a, V> {
    /// The entries that it looks at.
    #[inline(always)]
    pub(in crate::worker) const fn words(&self) -> Words<'a, V> {
        self.words
    }

    /// For one packet whose connection is the first with its key at home, as it nearly always is: notes it in the
    /// entry, rewrites it and counts it, with its `length`, which is loaded only then. Returns the interface that it
    /// leaves by. `None`, and nothing done but its tick noted, if there is more to it: it is of another connection or
    /// none, or a SYN that opens it anew, or its next hop is not known.
    ///
    /// No calls here, not even on rare paths: a call would spill the loop's registers.
    #[inline(always)]
    pub(in crate::worker) fn forward(
        self,
        frame: &mut impl Frame,
        key: ClientKey<V>,
        probed: Probed,
        length: &u16,
        direction: Direction,
    ) -> Option<InterfaceId> {
        let head = frame.head_mut();
        let fields = V::fields(head, direction);
        let entry = self.words.entry(probed)?;
        // Asked before the record, not together with it: from two words that have to be zero the compiler makes one,
        // in more steps than the second branch takes.
        if !entry.has_lower_half(key) {
            return None;
        }
        let rewrite = self.rewrites.get(entry.real_index())?;
        if rewrite.has(direction, fields) && (entry.tick() == self.tick || self.refresh(probed, entry)) {
            return self.translate(head, fields, (probed, entry), rewrite, direction, length);
        }
        None
    }

    /// Notes the tick of a packet, so that no line gets dirty without need; false, and nothing done, for a
    /// connection that has timed out.
    #[inline(always)]
    fn refresh(self, probed: Probed, entry: Entry<V>) -> bool {
        let lives = !entry.is_dead_as_usual(self.snapshot.clock(self.tick));
        if lives {
            self.words.touch(probed, self.tick);
        }
        lives
    }

    /// Notes the state that a packet leads to; false, and nothing done, for a SYN that opens the connection anew: a
    /// closed one, or one whose real takes no new connections.
    #[inline(always)]
    fn change_state(self, probed: Probed, entry: Entry<V>, direction: Direction, flags: u8) -> bool {
        let (before, event) = (entry.usual_state(), TcpEvent::of(flags));
        if direction == Direction::Forward
            && event == TcpEvent::Syn
            && (before.is_closing() || self.snapshot.is_quiesced(entry.real()))
        {
            return false;
        }
        let after = before.after(direction, event);
        self.words.set_state(probed, after);
        recount_state(self.reals, entry.real(), before, after);
        true
    }

    /// Rewrites and counts a packet of the connection of `entry`, at `probed`.
    #[inline(always)]
    fn translate(
        self,
        head: &mut [u8; HEAD],
        fields: FieldsOf<V>,
        (probed, entry): (Probed, Entry<V>),
        rewrite: &V::Record,
        direction: Direction,
        length: &u16,
    ) -> Option<InterfaceId> {
        let id = match direction {
            Direction::Forward => rewrite.next_hop(),
            Direction::Reverse => entry.next_hop(),
        };
        let next_hop = NextHop::load(self.hops, id);
        if !next_hop.is_resolved() {
            return None;
        }
        let flags = head[V::TCP_FLAGS];
        if entry.changes_state(direction, flags)
            && (!V::has_right_header(head) || !self.change_state(probed, entry, direction, flags))
        {
            return None;
        }
        rewrite::translate_plain::<V>(head, fields, direction, rewrite);
        let out = next_hop.interface();
        rewrite::address_established(head, next_hop.addresses());
        self.reals[entry.real_index()].count(direction, *length);
        Some(out)
    }
}

impl<'a, F: Frame> Fast<'a, F> {
    /// The way of established connections' packets.
    #[inline(always)]
    pub(super) fn path<V: Plain>(self, tick: Tick) -> Path<'a, V> {
        let Self { snapshot, flows, reach, .. } = self;
        let Flows { tables, counters, .. } = flows;
        let (reals, hops, rewrites) = (counters.reals(), reach.next_hops.records(), snapshot.rewrites::<V>());
        Path { words: V::of_mut(tables).words(), reals, hops, rewrites, snapshot, tick }
    }

    /// As [`Path::forward`], for a packet whose connection is not the first with its key at home, as one client
    /// endpoint may have several and an entry may lie away from home; or whose service is on several ports.
    #[cold]
    #[inline(never)]
    pub(super) fn forward_elsewhere<V: Plain>(
        self,
        frame: &mut F,
        decoded: &Decoded<V>,
    ) -> Option<InterfaceId> {
        if decoded.probed.is_nowhere() {
            return None;
        }
        let (snapshot, tick) = (self.snapshot, self.now.tick());
        let Decoded { key, length, direction, .. } = *decoded;
        let head = frame.head_mut();
        // A SYN is seldom of a connection that is open, and its next stop finds that one as well.
        let is_syn = V::protocol(head) == Protocol::Tcp.number() && TcpEvent::is_syn(head[V::TCP_FLAGS]);
        if is_syn && direction == Direction::Forward || !V::has_right_header(head) {
            return None;
        }
        let remote = V::remote(head, direction);
        let table = V::of_mut(&mut self.flows.tables);
        let belongs = |slot, entry: Entry<V>| {
            snapshot.is_of_connection::<V>((entry.real(), || table.port(slot)), direction, remote)
                && !entry.is_dead(snapshot.clock(tick))
        };
        let (slot, entry) = table.find_by_slot(table.hash(key), key, belongs)?;
        table.touch(slot, tick);
        let (fields, rewrite) =
            (V::fields(head, direction), snapshot.translation_at::<V>(entry.real(), || table.port(slot)));
        self.path(tick).translate(
            head,
            fields,
            (Table::<V>::probed(slot), entry),
            &rewrite,
            direction,
            &length,
        )
    }
}
