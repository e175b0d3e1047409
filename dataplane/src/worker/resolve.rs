//! Second stage: the connections of a burst's frames; and the walk of an established one's packet.

use super::Handler;
use super::decode::Decoded;
use super::rewrite;
use crate::connection::table::{Entry, Slot, Table, recount_state};
use crate::connection::{Direction, State, TcpEvent};
use crate::frame::{Frame, FrameIo};
use crate::ids::{PortIndex, RealId};
use crate::snapshot::Snapshot;
use crate::time::Tick;

/// Finds the live connection of a plain frame: first where it nearly always is.
#[inline(always)]
fn resolve(
    table: &Table,
    snapshot: &Snapshot,
    decoded: &Decoded,
    direction: Direction,
    tick: Tick,
) -> Option<(Slot, Entry)> {
    let belongs = |entry: Entry| {
        snapshot.rewrite(entry.real()).matches(direction, decoded.far)
            && (entry.tick() == tick || !entry.is_dead(tick, &snapshot.timeouts))
    };
    match table.probed(decoded.home, decoded.probed) {
        Some((slot, entry)) if belongs(entry) => Some((slot, entry)),
        _ => elsewhere(table, decoded, &belongs),
    }
}

/// One client endpoint has several connections, or the entry lies away from home; or there is none.
#[cold]
fn elsewhere(table: &Table, decoded: &Decoded, belongs: &impl Fn(Entry) -> bool) -> Option<(Slot, Entry)> {
    table.find(table.hash(decoded.key), decoded.key, belongs)
}

impl<Io: FrameIo> Handler<Io> {
    /// Second and third stage, for one packet: finds its connection, rewrites it, notes it in the
    /// entry and counts it. Returns the port that it leaves on; `None`, and nothing done, if there is
    /// more to it: it is not plain, or of no connection, or a SYN that opens a closed one anew, or its
    /// next hop is not known.
    #[inline(always)]
    pub(super) fn forward_established(
        &mut self,
        frame: &mut Io::Frame,
        decoded: &Decoded,
        direction: Direction,
        snapshot: &Snapshot,
        tick: Tick,
    ) -> Option<PortIndex> {
        if !decoded.plain {
            return None;
        }
        let (slot, entry) = resolve(&self.table, snapshot, decoded, direction, tick)?;
        let real = entry.real();
        let rewrite = snapshot.rewrite(real);
        let reopens = decoded.event == TcpEvent::Syn && entry.state().is_closing();
        if reopens && direction == Direction::Forward {
            return None;
        }
        let id = match direction {
            Direction::Forward => rewrite.next_hop,
            Direction::Reverse => entry.next_hop(),
        };
        let next_hop = self.next_hops.get(id);
        if !next_hop.is_resolved() {
            return None;
        }
        let out = next_hop.port();
        let source = snapshot.mac_bits(out);

        let head = frame.head_mut();
        let transport = super::decode::at::TRANSPORT;
        rewrite::translate(head, transport, decoded.is_tcp, direction, rewrite);
        rewrite::address_frame(head, next_hop.mac_bits(), source);
        self.note(slot, entry, direction, decoded.event, decoded.length, tick);
        Some(out)
    }

    /// What a translated packet leaves behind: the entry's tick and state, and the counters.
    #[inline(always)]
    pub(super) fn note(
        &mut self,
        slot: Slot,
        entry: Entry,
        direction: Direction,
        event: TcpEvent,
        length: u16,
        tick: Tick,
    ) {
        let before = entry.state();
        let after = before.after(direction, event);
        self.table.touch(slot, entry, tick, after);
        if before != after {
            self.change_state(entry.real(), before, after);
        }
        self.count(entry.real(), direction, length);
    }

    /// Counts a packet towards a real, with its IPv4 length.
    #[inline(always)]
    pub(super) fn count(&self, real: RealId, direction: Direction, length: u16) {
        let counters = self.counters.real(real);
        let (packets, bytes) = match direction {
            Direction::Forward => (&counters.in_packets, &counters.in_bytes),
            Direction::Reverse => (&counters.out_packets, &counters.out_bytes),
        };
        packets.add(1);
        bytes.add(u64::from(length));
    }

    /// Kept out of line: a connection changes its state a few times in its life.
    #[inline(never)]
    fn change_state(&self, real: RealId, before: State, after: State) {
        recount_state(&self.counters, real, before, after);
    }
}
