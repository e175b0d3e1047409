//! What a worker counts.

use super::followed::{note_begun, note_ended};
use super::limited::Limited;
use super::list::counters;
use super::{Counter, NotedClient, RealCounters, fixed};
use crate::names::drop_reason::DropReason;
use crate::names::ids::{MAX_ETH_PORTS, REAL_IDS, RealId};
use std::sync::OnceLock;

/// As [`WorkerCounters`] keeps them.
pub(crate) type Records = [RealCounters; REAL_IDS + 1];

counters! {
    /// What one worker counts: whole cache lines, two by two as processors fetch them, so that no line is
    /// written by two workers.
    #[derive(Debug)]
    #[repr(align(128))]
    pub struct WorkerCounters {
        /// By [`RealId`]; the one behind the last real's is for the list of those whose gauges have changed.
        reals: Box<Records> = fixed((0..=REAL_IDS).map(|_| RealCounters::default()).collect()),
        drops: [Counter; DropReason::ALL.len()] = std::array::from_fn(|_| Counter::default()),
        /// Whose connections are counted over all workers.
        pub(super) limited: Limited = Limited::default(),
        /// Templates by [`RealId`], once there are any.
        templates_of_reals: OnceLock<Box<[Counter; REAL_IDS]>> = OnceLock::new(),
        /// Pairs of one-packet services by [`RealId`], once there are any.
        pairs_of_reals: OnceLock<Box<[Counter; REAL_IDS]>> = OnceLock::new(),
        /// The client endpoint that was refused a connection last because it has as many as one may have.
        pub full_endpoint: NotedClient = NotedClient::default(),
        /// The client endpoint that was refused a connection last because replies to it would have matched another of
        /// its connections.
        pub collided_endpoint: NotedClient = NotedClient::default(),
    }
    /// What one worker had counted at one moment.
    pub struct WorkerTotals {
        snapshot_version: gauge
            "The version of the snapshot in use, stored after the last packet of the older one.",
        rx_packets: counter
            "Frames received.",
        tx_packets: counter
            "Frames sent.",
        handed_over: counter
            "Frames received and handed to another worker, which owns them.",
        taken_over: counter
            "Frames that other workers have handed to this one, which owns them.",
        sent_by_others: counter
            "Frames that another worker sends, where this one has no transmit queue.",
        transmit_stands [MAX_ETH_PORTS]: gauge
            "Nanoseconds for which the device has taken nothing of what waits to be sent; 0: it takes frames, or none wait.",
        bursts: counter
            "Bursts handled: received, or taken over.",
        misdirected [MAX_ETH_PORTS]: counter
            "Packets that a device put into the wrong worker's queue.",
        answers: counter
            "Answers made (ARP, echo, RST, ICMP errors).",
        answers_suppressed: counter
            "Answers that were not made because of the rate limit.",
        routed: counter
            "Packets routed without translation.",
        fragmented: counter
            "Packets cut into fragments because they were longer than the MTU on the way out.",
        fragments_made: counter
            "Fragments made of packets that were longer than the MTU on the way out.",
        busy_turns: counter
            "Turns in which anything was received.",
        busy_nanoseconds: counter
            "Nanoseconds spent in turns in which anything was received.",
        turns: counter
            "Turns in all.",
        total_nanoseconds: counter
            "Nanoseconds since the first turn.",
        connections: gauge
            "Connections in the tables.",
        connections_ipv6: gauge
            "Of these, connections of IPv6.",
        connections_created as "created": counter
            "Connections made.",
        connections_inherited as "inherited": counter
            "Connections taken over from an earlier process, which are not counted as made.",
        connections_expired as "expired": counter
            "Connections that timed out.",
        connections_evicted as "evicted": counter
            "Connections that gave way to new ones because the table was full.",
        templates: gauge
            "Persistence templates.",
        templates_made: counter
            "Persistence templates made.",
        templates_inherited: counter
            "Persistence templates taken over from an earlier process.",
        templates_expired: counter
            "Persistence templates that ran out.",
        templates_evicted: counter
            "Persistence templates that gave way to new ones because there was no other room.",
        templates_refused: counter
            "New connections of persistent services without a template, because there was no room for it.",
        templates_asked: counter
            "Packets that open a connection handed to the worker that has the client's template.",
        templates_answered: counter
            "Packets that open a connection given back with the real of the client's template.",
        datagrams_scheduled: counter
            "Datagrams of one-packet services, each scheduled by itself.",
        pairs: gauge
            "Pairs of a client's and a real's endpoint that are remembered to translate replies of one-packet services.",
        pairs_displaced: counter
            "Of these, those that gave way to others before they timed out, because there was no other room.",
        entries_swept: counter
            "Entries examined by the sweep.",
        entries_moved: counter
            "Entries moved because the table came to use more or fewer of its buckets.",
        most_swept: gauge
            "The most entries that the sweep examined in one turn.",
        most_expired: gauge
            "The most connections that timed out in one turn.",
        most_created: gauge
            "The most connections that were made in one turn.",
        most_moved: gauge
            "The most entries that were moved in one turn.",
        checksums_examined [MAX_ETH_PORTS]: counter
            "Packets of TCP and UDP whose checksum was looked at: those of bursts that were not full.",
        partial_checksums [MAX_ETH_PORTS]: counter
            "Packets whose checksum covered only the pseudo-header: their sender leaves checksums to a device that is not there.",
        merged_segments [MAX_ETH_PORTS]: counter
            "Frames longer than the MTU allows: merged segments (GRO).",
    }
}

impl WorkerCounters {
    /// The counters of all reals, for a caller that looks up many.
    #[inline(always)]
    pub(crate) fn reals(&self) -> &Records {
        &self.reals
    }

    /// The addresses of all of them.
    #[cfg(feature = "testing")]
    pub(crate) fn footprint(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let templates = self.templates_of_reals.get().map(|templates| memory::addresses_of(&**templates));
        let pairs = self.pairs_of_reals.get().map(|pairs| memory::addresses_of(&**pairs));
        [memory::addresses_of(self), memory::addresses_of(&*self.reals)]
            .into_iter()
            .chain(templates)
            .chain(pairs)
    }

    /// Takes the memory for [`count_template`](Self::count_template), which takes none itself.
    pub(crate) fn prepare_templates(&self) {
        self.templates_of_reals.get_or_init(|| fixed((0..REAL_IDS).map(|_| Counter::default()).collect()));
    }

    /// Counts a persistence template of a real, or takes it off; only the one writer may call it.
    pub(crate) fn count_template(&self, id: RealId, is_new: bool) {
        let Some(of_reals) = self.templates_of_reals.get() else { return };
        let gauge = &of_reals[id.0 as usize & (REAL_IDS - 1)];
        if is_new { gauge.add(1) } else { gauge.subtract(1) }
    }

    /// Persistence templates of a real on this worker (as `PersistConn`).
    pub fn templates_of(&self, id: RealId) -> u64 {
        self.templates_of_reals.get().map_or(0, |of_reals| of_reals[id.0 as usize & (REAL_IDS - 1)].get())
    }

    /// Takes the memory for [`count_pair`](Self::count_pair), which takes none itself.
    pub(crate) fn prepare_pairs(&self) {
        self.pairs_of_reals.get_or_init(|| fixed((0..REAL_IDS).map(|_| Counter::default()).collect()));
    }

    /// Counts a pair of a one-packet service on its real, or takes it off; only the one writer may call it.
    pub(crate) fn count_pair(&self, id: RealId, is_new: bool) {
        let Some(of_reals) = self.pairs_of_reals.get() else { return };
        let gauge = &of_reals[id.0 as usize & (REAL_IDS - 1)];
        if is_new { gauge.add(1) } else { gauge.subtract(1) }
    }

    /// Pairs of one-packet services that this worker remembers of a real: for as long as there are any it must not
    /// forget the real.
    pub fn pairs_of(&self, id: RealId) -> u64 {
        self.pairs_of_reals.get().map_or(0, |of_reals| of_reals[id.0 as usize & (REAL_IDS - 1)].get())
    }

    /// A connection of this real, whose counters are `of_real`, has begun.
    #[inline(always)]
    pub(crate) fn note_begun(&self, of_real: &RealCounters, real: RealId) {
        note_begun(self, of_real, real);
    }

    /// A connection of this real, whose counters are `of_real`, has ended.
    #[inline(always)]
    pub(crate) fn note_ended(&self, of_real: &RealCounters, real: RealId) {
        note_ended(self, of_real, real);
    }

    /// A real with a threshold, with connections that have begun or ended since it was last taken.
    pub(crate) fn take_limited(&self) -> Option<RealId> {
        self.limited.take()
    }

    /// The counters of one real.
    #[inline(always)]
    pub fn real(&self, id: RealId) -> &RealCounters {
        &self.reals[id.0 as usize & (REAL_IDS - 1)]
    }

    /// The counter of one reason.
    #[inline(always)]
    pub fn dropped(&self, reason: DropReason) -> &Counter {
        &self.drops[reason as usize]
    }
}
