//! Which clients have sent datagrams to which reals: what a reply is translated by.
//!
//! A reply has the client's address and port and the real's, and no VIP. So two services that a client reaches the same
//! real's endpoint by, from one port, have one pair between them, and it is that of the latest datagram. A pair lives
//! for the UDP timeout of the real's service without a datagram of either side. Each is counted on its real, which is
//! known to workers for as long as there is one, even if it has been removed.

use super::places::{self, Key, Places, Put, Value};
use crate::connection::table::HashKey;
use crate::connection::{Clock, State};
use crate::counters::WorkerCounters;
use crate::names::ids::{NextHopId, RealId};
use crate::names::time::{Now, Tick};
use crate::persistence::Sweep;
use std::net::SocketAddr;

/// A client's endpoint and a real's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair(Key);

impl Pair {
    /// By both ends and a secret of the worker.
    #[inline(always)]
    pub fn new(client: SocketAddr, server: SocketAddr, secret: HashKey) -> Self {
        Self(places::key([client, server], 0, secret))
    }
}

/// What is known of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The real whose endpoint it is, which is of one service.
    pub real: RealId,
    /// The port that the client asked for.
    pub port: u16,
    /// The next hop to the client.
    pub next_hop: NextHopId,
    /// When the last datagram of either side came.
    last: Tick,
    /// Which of all replies its last one was, in 24 bits; 0: there was none.
    answered: u32,
}

/// Where the port and `answered` are in the word that begins with the tick.
const PORT_SHIFT: u32 = Tick::BITS;
const ANSWERED_SHIFT: u32 = PORT_SHIFT + u16::BITS;
/// What `answered` has room for.
const ANSWERED_MASK: u32 = (1 << (u64::BITS - ANSWERED_SHIFT)) - 1;

impl Kept {
    fn of([ids, times]: Value) -> Self {
        Self {
            real: RealId(ids as u32),
            next_hop: NextHopId((ids >> 32) as u32),
            last: Tick::new(times),
            port: (times >> PORT_SHIFT) as u16,
            answered: (times >> ANSWERED_SHIFT) as u32,
        }
    }

    fn value(self) -> Value {
        let Self { real, port, next_hop, last, answered } = self;
        let times = u64::from(port) << PORT_SHIFT | u64::from(answered) << ANSWERED_SHIFT;
        [u64::from(real.0) | u64::from(next_hop.0) << 32, u64::from(last.raw()) | times]
    }

    fn is_dead(self, clock: Clock<'_>) -> bool {
        clock.tick.since(self.last) >= clock.timeouts(self.real).ticks(State::Udp)
    }
}

/// See the module's text.
#[derive(Debug)]
pub struct Pairs {
    places: Places,
    /// Replies so far.
    replies: u32,
    sweep: Sweep,
}

impl Pairs {
    /// None yet, and room for `most`, a power of two.
    pub fn new(most: usize, hash_key: HashKey) -> Self {
        Self { places: Places::new(most, hash_key), replies: 0, sweep: Sweep::default() }
    }

    /// A live pair.
    pub fn get(&self, pair: Pair, clock: Clock<'_>) -> Option<Kept> {
        self.places.get(pair.0).map(Kept::of).filter(|kept| !kept.is_dead(clock))
    }

    /// The client has sent a datagram to this port that goes to this real; it came by this next hop.
    pub fn note_datagram(
        &mut self,
        pair: Pair,
        (real, port): (RealId, u16),
        next_hop: NextHopId,
        clock: Clock<'_>,
        counters: &WorkerCounters,
    ) {
        let new = |before: Option<Value>| {
            let answered = before.map_or(0, |before| Kept::of(before).answered);
            Kept { real, port, next_hop, last: clock.tick, answered }.value()
        };
        // Of those that have timed out any, else what was silent for longest.
        let worth = |value| {
            let kept = Kept::of(value);
            if kept.is_dead(clock) { 0 } else { u64::from(u32::MAX - clock.tick.since(kept.last)) }
        };
        match self.places.put(pair.0, new, worth) {
            Put::Instead(before) => {
                let before = Kept::of(before);
                if before.real != real {
                    counters.count_pair(before.real, false);
                    counters.count_pair(real, true);
                }
            }
            Put::New => {
                counters.pairs.add(1);
                counters.count_pair(real, true);
            }
            Put::InPlaceOf(before) => {
                let before = Kept::of(before);
                counters.count_pair(before.real, false);
                counters.count_pair(real, true);
                counters.pairs_displaced.add(u64::from(!before.is_dead(clock)));
            }
        }
    }

    /// The real has sent a datagram to the client, which leaves by this next hop.
    pub fn note_reply(&mut self, pair: Pair, next_hop: NextHopId, tick: Tick) {
        let Self { places, replies, .. } = self;
        *replies = ((*replies + 1) & ANSWERED_MASK).max(1);
        places.change(pair.0, |value| {
            *value = Kept { next_hop, last: tick, answered: *replies, ..Kept::of(*value) }.value();
        });
    }

    /// Of some pairs the one whose real answered last; `None`: none of them has answered.
    pub fn answered_last(&self, pairs: impl Iterator<Item = Pair>, clock: Clock<'_>) -> Option<Kept> {
        let answered = pairs.filter_map(|pair| self.get(pair, clock)).filter(|kept| kept.answered != 0);
        answered.min_by_key(|kept| self.replies.wrapping_sub(kept.answered) & ANSWERED_MASK)
    }

    /// Forgets pairs that have timed out, as many as are due by now, within a bound that is higher in an idle turn.
    pub fn sweep(&mut self, clock: Clock<'_>, now: Now, idle: bool, counters: &WorkerCounters) {
        if counters.pairs.get() == 0 {
            return;
        }
        let length = self.places.len();
        for _ in 0..self.sweep.due(length, now, idle) {
            let place = self.sweep.next(length);
            if let Some(gone) = self.places.clear_if(place, |value| Kept::of(value).is_dead(clock)) {
                counters.count_pair(Kept::of(gone).real, false);
                counters.pairs.subtract(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{OwnTimeouts, Timeouts};
    use std::sync::Arc;

    const HASH_KEY: HashKey = HashKey { mask: 0x1234_5678_9abc_def0, multiplier: 0x9e37_79b9_7f4a_7c15 };
    const SECOND: u64 = 1_000_000_000;

    struct Lab {
        pairs: Pairs,
        counters: WorkerCounters,
        timeouts: Timeouts,
        own: OwnTimeouts,
        seconds: u64,
    }

    impl Lab {
        fn new(most: usize) -> Self {
            let counters = WorkerCounters::new();
            counters.prepare_pairs();
            let (timeouts, own) = (Timeouts::default(), OwnTimeouts::none());
            Self { pairs: Pairs::new(most, HASH_KEY), counters, timeouts, own, seconds: 1_000_000 }
        }

        fn datagram(&mut self, pair: Pair, real: u32) {
            let Self { pairs, counters, timeouts, own, seconds } = self;
            let clock = Clock::with_own(Tick::new(*seconds * 4), timeouts, own);
            pairs.note_datagram(pair, (RealId(real), 5000), NextHopId(1), clock, counters);
        }

        fn reply(&mut self, pair: Pair) {
            self.pairs.note_reply(pair, NextHopId(2), Tick::new(self.seconds * 4));
        }

        fn clock(&self) -> Clock<'_> {
            Clock::with_own(Tick::new(self.seconds * 4), &self.timeouts, &self.own)
        }

        fn real(&self, pair: Pair) -> Option<u32> {
            let kept = self.pairs.get(pair, self.clock())?;
            assert_eq!(kept.port, 5000);
            Some(kept.real.0)
        }

        /// Lets time pass, with turns enough for a pass of the sweep.
        fn pass(&mut self, seconds: u64) {
            self.seconds += seconds;
            for _ in 0..=self.pairs.places.len() / 64 {
                let Self { pairs, counters, timeouts, own, seconds } = self;
                let clock = Clock::with_own(Tick::new(*seconds * 4), timeouts, own);
                pairs.sweep(clock, Now { nanoseconds: *seconds * SECOND }, true, counters);
            }
        }

        fn counted(&self) -> (u64, Vec<u64>) {
            let of_reals = (0..4).map(|real| self.counters.pairs_of(RealId(real))).collect();
            (self.counters.pairs.get(), of_reals)
        }
    }

    fn pair(client: u16, server: u16) -> Pair {
        let end = |host, port| SocketAddr::new([10, 0, 0, host].into(), port);
        Pair::new(end(1, client), end(2, server), HASH_KEY)
    }

    #[test]
    fn all_of_both_ends_tells_pairs_of_ipv6_apart() {
        let end = |n: u128, port| SocketAddr::new(std::net::Ipv6Addr::from_bits(n).into(), port);
        let pairs: Vec<_> = (0..128)
            .flat_map(|bit| [(1u128 << bit, 0), (0, 1u128 << bit)])
            .map(|(client, server)| Pair::new(end(client, 1), end(server, 1), HASH_KEY))
            .chain(
                [(1, 2), (2, 1), (2, 2)].map(|ports| Pair::new(end(1, ports.0), end(0, ports.1), HASH_KEY)),
            )
            .collect();
        for (index, pair) in pairs.iter().enumerate() {
            assert!(!pairs[..index].contains(pair) && pair.0[0] != 0);
        }
        let mut lab = Lab::new(1024);
        for (real, pair) in (0..).zip(&pairs) {
            lab.datagram(*pair, real % 4);
        }
        assert!((0..).zip(&pairs).all(|(real, pair)| lab.real(*pair) == Some(real % 4)));
    }

    #[test]
    fn the_latest_datagram_says_whose_a_pair_is() {
        let mut lab = Lab::new(64);
        lab.datagram(pair(1, 1), 0);
        lab.datagram(pair(1, 2), 1);
        lab.datagram(pair(1, 1), 2);
        assert_eq!([pair(1, 1), pair(1, 2), pair(2, 1)].map(|pair| lab.real(pair)), [Some(2), Some(1), None]);
        assert_eq!(lab.counted(), (2, vec![0, 1, 1, 0]));
    }

    #[test]
    fn a_pair_lives_by_the_timeout_of_its_service_from_the_last_datagram_of_either_side() {
        let mut lab = Lab::new(64);
        lab.own.set(RealId(1), Some(&Arc::new(Timeouts::default().with(State::Udp, 10))));
        lab.datagram(pair(1, 1), 0);
        lab.datagram(pair(1, 2), 1);
        lab.seconds += 9;
        assert_eq!(lab.real(pair(1, 2)), Some(1));
        lab.reply(pair(1, 2));
        lab.seconds += 9;
        assert_eq!(lab.real(pair(1, 2)), Some(1), "an answer");
        lab.seconds += 1;
        assert_eq!((lab.real(pair(1, 1)), lab.real(pair(1, 2))), (Some(0), None));
        lab.pass(1);
        assert_eq!(lab.counted(), (1, vec![1, 0, 0, 0]));
        lab.reply(pair(1, 2));
        assert_eq!(lab.real(pair(1, 2)), None, "a reply does not bring one back");
        lab.pass(300);
        assert_eq!(lab.counted(), (0, vec![0; 4]));
    }

    #[test]
    fn in_a_full_memory_the_longest_silent_gives_way_and_is_counted_unless_it_was_over() {
        let mut lab = Lab::new(8);
        for client in 1..=8 {
            lab.datagram(pair(client, 1), u32::from(client % 4));
            lab.seconds += 1;
        }
        lab.reply(pair(1, 1));
        lab.datagram(pair(9, 1), 3);
        assert_eq!(
            (lab.real(pair(1, 1)), lab.real(pair(2, 1)), lab.real(pair(9, 1))),
            (Some(1), None, Some(3))
        );
        assert_eq!((lab.counted(), lab.counters.pairs_displaced.get()), ((8, vec![2, 2, 1, 3]), 1));
        lab.seconds += 1000;
        lab.datagram(pair(10, 1), 0);
        assert_eq!((lab.counted().0, lab.counters.pairs_displaced.get()), (8, 1));
        lab.pass(1);
        assert_eq!(lab.counted(), (1, vec![1, 0, 0, 0]));
    }

    #[test]
    fn who_answered_last_is_known_even_after_many_million_replies() {
        let mut lab = Lab::new(64);
        lab.pairs.replies = ANSWERED_MASK - 2;
        for server in 1..=4 {
            lab.datagram(pair(1, server), u32::from(server));
        }
        let last = |lab: &Lab| {
            let pairs = (1..=5).map(|server| pair(1, server));
            lab.pairs.answered_last(pairs, lab.clock()).map(|kept| kept.real.0)
        };
        assert_eq!(last(&lab), None);
        for server in [3, 1, 2, 1, 4] {
            lab.reply(pair(1, server));
            assert_eq!(last(&lab), Some(u32::from(server)));
            lab.datagram(pair(1, 3), 3);
            assert_eq!(last(&lab), Some(u32::from(server)), "a datagram of the client is no answer");
        }
    }
}
