//! Second stage: the walk of an established connection's packet, from its entry to its last byte.

use super::Handler;
use super::decode::{Decoded, at, check_at, far};
use super::rewrite;
use crate::connection::table::{Entry, Probed, Slot, Table, recount_state};
use crate::connection::{Direction, TcpEvent};
use crate::counters::{RealCounters, WorkerCounters};
use crate::frame::{Frame, FrameIo, HEAD};
use crate::ids::{MAX_REALS, PortIndex};
use crate::next_hop::{self, NextHop};
use crate::snapshot::{Rewrite, Snapshot};
use crate::time::Tick;

/// What the packets of established connections meet on their way, borrowed once a burst.
pub(super) struct Path<'a> {
    table: &'a mut Table,
    counters: &'a WorkerCounters,
    reals: &'a [RealCounters; MAX_REALS],
    hops: &'a next_hop::Words,
    snapshot: &'a Snapshot,
    tick: Tick,
}

impl Path<'_> {
    /// The table that it looks into.
    #[inline(always)]
    pub(super) const fn table(&self) -> &Table {
        self.table
    }

    /// For one packet: finds its connection, notes it in the entry, rewrites it and counts it. Returns
    /// the port that it leaves on; `None`, and nothing done but its tick noted, if there is more to it: it is of
    /// no connection, or a SYN that opens a closed one anew, or its next hop is not known.
    #[inline(always)]
    pub(super) fn forward(
        &mut self,
        frame: &mut impl Frame,
        decoded: &Decoded,
        direction: Direction,
    ) -> Option<PortIndex> {
        if let Some(out) = self.forward_at_home(frame, decoded, direction) {
            return Some(out);
        }
        self.forward_elsewhere(frame, decoded, direction)
    }

    /// The same for a packet whose connection is the first with its key at home, as it nearly always is.
    #[inline(always)]
    pub(super) fn forward_at_home(
        &mut self,
        frame: &mut impl Frame,
        decoded: &Decoded,
        direction: Direction,
    ) -> Option<PortIndex> {
        let head = frame.head_mut();
        let far = far(head, direction);
        if let Some(entry) = self.table.probed(decoded.probed)
            && let Some(rewrite) = self.snapshot.rewrite_at(entry.real_index())
            && rewrite.matches(direction, far)
            && (entry.tick() == self.tick || self.refresh(decoded.probed, entry))
        {
            return self.translate(head, decoded.probed, entry, rewrite, direction, decoded.length);
        }
        None
    }

    /// The same for a packet whose connection is not that: one client endpoint may have several, and an
    /// entry may lie away from home.
    #[cold]
    #[inline(never)]
    pub(super) fn forward_elsewhere(
        &mut self,
        frame: &mut impl Frame,
        decoded: &Decoded,
        direction: Direction,
    ) -> Option<PortIndex> {
        if decoded.probed.is_nowhere() {
            return None;
        }
        let Decoded { key, length, .. } = *decoded;
        let head = frame.head_mut();
        let (far, tick, snapshot) = (far(head, direction), self.tick, self.snapshot);
        let belongs = |entry: Entry| {
            snapshot.rewrite(entry.real()).matches(direction, far) && !entry.is_dead(tick, &snapshot.timeouts)
        };
        let (slot, entry) = self.table.find(self.table.hash(key), key, belongs)?;
        self.table.touch(slot, tick);
        self.translate(head, slot.into(), entry, snapshot.rewrite(entry.real()), direction, length)
    }

    /// Notes the tick of a packet, so that no line gets dirty without need; false, and nothing done, for a
    /// connection that has timed out. Out of line, for what it needs would crowd out the rest.
    #[inline(never)]
    fn refresh(&mut self, probed: Probed, entry: Entry) -> bool {
        let lives = !entry.is_dead(self.tick, &self.snapshot.timeouts);
        if lives {
            self.table.touch(probed.into(), self.tick);
        }
        lives
    }

    /// Rewrites and counts a packet of the connection of `entry`, at `probed`.
    #[inline(always)]
    fn translate(
        &mut self,
        head: &mut [u8; HEAD],
        probed: Probed,
        entry: Entry,
        rewrite: &Rewrite,
        direction: Direction,
        length: u16,
    ) -> Option<PortIndex> {
        let id = match direction {
            Direction::Forward => rewrite.next_hop,
            Direction::Reverse => entry.next_hop(),
        };
        let next_hop = NextHop::load(self.hops, id);
        if !next_hop.is_resolved() {
            return None;
        }
        let flags = head[at::TCP_FLAGS];
        if entry.changes_state(direction, flags) && !self.change_state(probed, direction, flags) {
            return None;
        }
        let check_at = check_at(head);
        rewrite::translate(head, at::TRANSPORT, check_at, direction, rewrite);
        let out = next_hop.port();
        rewrite::address_established(head, next_hop.addresses(self.snapshot.source_mac(out)));
        self.reals[entry.real_index()].count(direction, length);
        Some(out)
    }

    /// Kept out of line: a connection changes its state a few times in its life. False, and nothing
    /// done, for a SYN that opens a closed one anew.
    #[inline(never)]
    fn change_state(&mut self, probed: Probed, direction: Direction, flags: u8) -> bool {
        let slot = probed.into();
        let entry = self.table.taken(slot);
        let (before, event) = (entry.state(), TcpEvent::of(flags));
        if direction == Direction::Forward && before.is_closing() && event == TcpEvent::Syn {
            return false;
        }
        let after = before.after(direction, event);
        self.table.set_state(slot, after);
        recount_state(self.counters, entry.real(), before, after);
        true
    }
}

impl<Io: FrameIo> Handler<Io> {
    /// The way of established connections' packets.
    #[inline(always)]
    pub(super) fn path<'a>(&'a mut self, snapshot: &'a Snapshot, tick: Tick) -> Path<'a> {
        let Self { table, counters, next_hops, .. } = self;
        let (reals, hops) = (counters.reals(), next_hops.words());
        Path { table, counters, reals, hops, snapshot, tick }
    }

    /// What a translated packet of the exception path leaves behind: the entry's tick and state, and
    /// the counters.
    pub(super) fn note(
        &mut self,
        slot: Slot,
        direction: Direction,
        event: TcpEvent,
        length: u16,
        tick: Tick,
    ) {
        let entry = self.table.taken(slot);
        let (before, real) = (entry.state(), entry.real());
        let after = before.after(direction, event);
        self.table.touch(slot, tick);
        if before != after {
            self.table.set_state(slot, after);
            recount_state(&self.counters, real, before, after);
        }
        self.counters.real(real).count(direction, length);
    }
}
