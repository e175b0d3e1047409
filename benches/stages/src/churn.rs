//! Connections that are made and time out in balance, in the table alone, on a clock of its own: each
//! new connection moves it on.

use crate::keys::Key;
use dataplane::connection::table::{ClientKey, Home, New, Table};
use dataplane::connection::{Clock, State, TimeoutSeconds, Timeouts};
use dataplane::counters::WorkerCounters;
use dataplane::live::elsewhere::Elsewhere;
use dataplane::live::reals::Reals;
use dataplane::names::ids::NextHopId;
use dataplane::names::time::Tick;
use dataplane::schedule::{Asked, Known, Position, Schedule};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use traffic::world::{HASH_KEY, START, schedule};

/// Connections made at once.
pub const BURST: usize = 32;
/// Seconds until one times out, on the table's own clock: a thousand ticks, so that they do not die
/// all at once.
const TIMEOUT: u32 = 250;

/// No scheduler looks at it.
const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// How much there is in the table.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Connections that have not timed out.
    pub alive: usize,
    /// The table's capacity; half as many as are alive have timed out and are not swept yet.
    pub capacity: usize,
}

/// See the module's text. A full pass of the sweep takes as long as a connection lives, as in a worker
/// with the shortest timeout.
#[derive(Debug)]
pub struct Churn {
    table: Table,
    counters: WorkerCounters,
    schedule: Schedule,
    position: Position,
    live: Box<Reals>,
    elsewhere: Elsewhere,
    timeouts: Timeouts,
    /// In a ring: each has timed out, and been swept, when it comes again.
    clients: Box<[ClientKey]>,
    next: usize,
    made: u64,
    made_in_a_tick: u64,
    /// Of the burst that comes next, prefetched.
    homes: [Home; BURST],
    alive: usize,
}

impl Churn {
    /// A table in balance: some lifetimes have passed.
    ///
    /// # Panics
    /// If there is no memory, or it gets out of balance.
    pub fn new(size: Size, huge: memory::Huge) -> Self {
        let table = Table::new(size.capacity, HASH_KEY, huge).expect("memory for the table");
        let schedule = schedule(0, &[1; 16]);
        let mut position = Position::default();
        let (live, counters, elsewhere) = (Box::default(), WorkerCounters::new(), Elsewhere::default());
        let known = Known { live: &live, own: &counters, elsewhere: &elsewhere, now: START };
        position.adopt(None, &schedule, &known, 0);
        let clients = (size.alive * 4).next_multiple_of(BURST) as u32;
        let timeouts = Timeouts::new(TimeoutSeconds { udp: TIMEOUT, ..TimeoutSeconds::default() });
        let mut churn = Self {
            table,
            live,
            elsewhere,
            counters,
            schedule,
            position,
            made_in_a_tick: size.alive as u64 / u64::from(timeouts.ticks(State::Udp)),
            timeouts,
            clients: (0..clients).map(|flow| Key::of(2 * flow).client()).collect(),
            next: 0,
            made: 0,
            homes: [Home::default(); BURST],
            alive: size.alive,
        };
        for _ in 0..size.alive * 5 / BURST {
            churn.set_up();
            churn.expire();
        }
        churn.check(size);
        churn
    }

    /// # Panics
    /// If a connection was refused or had to give way, or another number than meant is in the table.
    pub fn check(&self, size: Size) {
        let counters = &self.counters;
        assert_eq!(counters.connections_evicted.get(), 0, "none gives way");
        assert_eq!(counters.connections_created.get(), self.made, "none is refused");
        let meant = size.alive + size.alive / 2;
        assert!(self.table.len().abs_diff(meant) < meant / 20, "{} of {meant}", self.table.len());
        let gone = counters.connections_created.get() - counters.connections_expired.get();
        assert_eq!(gone, self.table.len() as u64);
    }

    fn now(&self) -> Tick {
        Tick::new(self.made / self.made_in_a_tick)
    }

    /// Makes 32 connections: each is looked for and not found, a real is picked, the entry is made.
    ///
    /// # Panics
    /// If one is refused.
    #[inline(always)]
    pub fn set_up(&mut self) {
        let now = self.now();
        let begin = self.next;
        self.next = if begin + BURST < self.clients.len() { begin + BURST } else { 0 };
        let homes = self.homes;
        for (home, key) in self.homes.iter_mut().zip(&self.clients[self.next..]) {
            *home = self.table.home_of(*key);
        }
        self.homes.iter().for_each(|home| self.table.prefetch(*home));
        for (home, key) in homes.iter().zip(&self.clients[begin..begin + BURST]) {
            std::hint::black_box(self.table.homes().probe(*home, key));
        }
        for (home, key) in homes.iter().zip(&self.clients[begin..begin + BURST]) {
            let Self { table, counters, timeouts, live, elsewhere, .. } = self;
            let known = Known { live, own: counters, elsewhere, now: START };
            let asked = Asked { client: CLIENT, destination: CLIENT, known };
            let (next_hop, state) = (NextHopId(1), State::UdpUnanswered);
            let clock = Clock::new(now, timeouts);
            let new = |real| New { key: *key, real, port: 0, next_hop, state };
            if let Some(vacancy) = table.vacancy(*home, *key) {
                let real = self.schedule.choice(&mut self.position, &asked).expect("there are reals");
                table.insert_at_home(vacancy, new(real), now, counters);
                continue;
            }
            let hash = table.hash(*key);
            let known = table.find(hash, *key, |entry| !entry.is_dead(clock));
            assert!(known.is_none(), "the client is new");
            let real = self.schedule.choice(&mut self.position, &asked).expect("there are reals");
            table.insert(hash, new(real), clock, counters).expect("room");
        }
        if self.table.is_to_resize() {
            self.table.resize(&self.counters);
        }
        self.made += BURST as u64;
    }

    /// The sweep's share of a burst.
    #[inline(always)]
    pub fn expire(&mut self) -> usize {
        let buckets = (self.table.buckets() * BURST).div_ceil(self.alive);
        let clock = Clock::new(self.now(), &self.timeouts);
        self.table.sweep(buckets, clock, &self.counters)
    }
}
