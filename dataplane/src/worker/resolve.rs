//! Second stage: the walk of an established connection's packet, from its entry to its last byte.

use super::Handler;
use super::decode::{Decoded, at, check_at};
use super::rewrite;
use crate::connection::table::{Entry, Slot, Table, recount_state};
use crate::connection::{Direction, State, TcpEvent};
use crate::counters::{RealCounters, WorkerCounters};
use crate::frame::{Frame, FrameIo};
use crate::ids::{MAX_REALS, PortIndex};
use crate::next_hop::{self, NextHop};
use crate::snapshot::Snapshot;
use crate::time::Tick;

/// Where the live connection of a plain frame is, if not first at home: one client endpoint may have
/// several, and an entry may lie away from home.
#[cold]
#[inline(never)]
fn elsewhere(
    table: &Table,
    snapshot: &Snapshot,
    decoded: &Decoded,
    direction: Direction,
    tick: Tick,
) -> Option<Slot> {
    let belongs = |entry: Entry| {
        snapshot.rewrite(entry.real()).matches(direction, decoded.far)
            && !entry.is_dead(tick, &snapshot.timeouts)
    };
    table.find(table.hash(decoded.key), decoded.key, belongs).map(|(slot, _)| slot)
}

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
    /// For one packet: finds its connection, notes it in the entry, rewrites it and counts it. Returns
    /// the port that it leaves on; `None`, and nothing done, if there is more to it: it is of no
    /// connection, or a SYN that opens a closed one anew, or its next hop is not known.
    #[inline(always)]
    pub(super) fn forward(
        &mut self,
        frame: &mut impl Frame,
        decoded: &Decoded,
        direction: Direction,
    ) -> Option<PortIndex> {
        let Self { snapshot, tick, .. } = *self;
        let (slot, entry, rewrite) = 'found: {
            if let Some((slot, entry)) = self.table.probed(decoded.home, decoded.probed) {
                let rewrite = snapshot.rewrite(entry.real());
                if rewrite.matches(direction, decoded.far)
                    && (entry.tick() == tick || !entry.is_dead(tick, &snapshot.timeouts))
                {
                    break 'found (slot, entry, rewrite);
                }
            }
            let slot = elsewhere(self.table, snapshot, decoded, direction, tick)?;
            let entry = self.table.taken(slot);
            (slot, entry, snapshot.rewrite(entry.real()))
        };
        let id = match direction {
            Direction::Forward => rewrite.next_hop,
            Direction::Reverse => entry.next_hop(),
        };
        let next_hop = NextHop::load(self.hops, id);
        if !next_hop.is_resolved() {
            return None;
        }
        let head = frame.head_mut();
        let flags = head[at::TCP_FLAGS];
        let after = entry.state_after(direction, flags);
        if !entry.is_in(after) && !self.change_state(slot, direction, flags, after) {
            return None;
        }
        if entry.tick() != tick {
            self.table.touch(slot, tick); // no line gets dirty without need
        }
        let check_at = check_at(head);
        rewrite::translate(head, at::TRANSPORT, check_at, direction, rewrite);
        let out = next_hop.port();
        rewrite::address_established(head, next_hop.addresses(snapshot.source_mac(out)));
        self.reals[entry.real().0 as usize & (MAX_REALS - 1)].count(direction, decoded.length);
        Some(out)
    }

    /// Kept out of line: a connection changes its state a few times in its life. False, and nothing
    /// done, for a SYN that opens a closed one anew.
    #[inline(never)]
    fn change_state(&mut self, slot: Slot, direction: Direction, flags: u8, after: State) -> bool {
        let entry = self.table.taken(slot);
        let before = entry.state();
        if direction == Direction::Forward && before.is_closing() && TcpEvent::of(flags) == TcpEvent::Syn {
            return false;
        }
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
