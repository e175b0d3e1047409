//! The one loop that waits: for sockets and for the earliest of all timers.
//!
//! A room that has descriptors is told by `ready(token)` that there is something to do; one that has timers says by
//! `due(now)` when. Nothing in a turn waits for anything else.

use super::peers::Incoming;
use super::preparation::Job;
use super::{ControlThread, RunError};
use crate::observe::periodic::Periodic;
use crate::observe::rates;
use mio::{Events, Poll, Registry, Token};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The first token of the control socket and its peers, which need ever more of them. Those below are for others.
pub(super) const CONTROL_SOCKET: Token = Token(64);
/// Likewise, of the socket for the tools of LVS.
pub(super) const IPVS_SOCKET: Token = Token(1 << 48);
/// Likewise, of HTTP.
pub(super) const HTTP: Token = Token(1 << 56);
/// Something is prepared (`Preparation::take`).
pub(super) const PREPARED: Token = Token(0);
/// How often the workers' rings are looked at, and so how late a neighbour's event may be seen. They can only be
/// polled: to wake this thread, a worker would have to make a system call on the packet path. What is sent over them
/// (neighbours, announcements) is looked at as often.
const RINGS: Duration = Duration::from_millis(2);
/// How often while a dump is under way, which goes slice by slice.
const RINGS_DUMPING: Duration = Duration::from_millis(1);
/// How often while a publication is younger than [`HURRY`]: a worker adopts it between two bursts, and a peer waits.
const RINGS_PUBLISHING: Duration = Duration::from_micros(100);
/// How long a publication is hurried. One that takes longer waits for a worker that stands still.
const HURRY: Duration = Duration::from_millis(20);
/// The shortest time that `Poll` waits for.
const SHORTEST: Duration = Duration::from_millis(1);
/// How often links, removed reals and the workers' load are looked at.
const WATCH: Duration = Duration::from_secs(1);
/// Reals and services whose rates are renewed in one turn: far below a millisecond.
const RENEWED_AT_ONCE: usize = 512;
/// Events taken at once; more are taken with the next turn.
const EVENTS: usize = 256;

/// What the loop waits with.
#[derive(Debug)]
pub(super) struct Waiter {
    poll: Poll,
    events: Events,
}

impl Waiter {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { poll: Poll::new()?, events: Events::with_capacity(EVENTS) })
    }

    /// Where rooms register what they want to be told of.
    pub(super) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Waits until something is ready, but not longer than this. Returns what is ready.
    fn wait(&mut self, timeout: Duration) -> io::Result<impl Iterator<Item = Token> + '_> {
        let mut timeout = timeout;
        if timeout < SHORTEST {
            thread::sleep(timeout);
            timeout = Duration::ZERO;
        }
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(self.events.iter().map(mio::event::Event::token)),
        }
    }
}

/// What is due again and again.
#[derive(Clone, Copy, Debug)]
struct Timer {
    interval: Duration,
    last: Instant,
}

impl Timer {
    fn due(&self) -> Instant {
        self.last + self.interval
    }

    /// If it is due: how long ago it was so the last time. The next time is an interval from now.
    fn expired(&mut self, now: Instant) -> Option<Duration> {
        let elapsed = now - self.last;
        (elapsed >= self.interval).then(|| {
            self.last = now;
            elapsed
        })
    }
}

/// The loop's own timers; rooms have theirs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    rates: Timer,
    watch: Timer,
}

impl Timers {
    pub(super) fn starting(now: Instant) -> Self {
        let every = |interval| Timer { interval, last: now };
        Self { rates: every(rates::INTERVAL), watch: every(WATCH) }
    }
}

impl ControlThread {
    /// Works until `stop` is set or it cannot go on, then removes the socket. Peers whose changes are not in force then
    /// are told so.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn run(&mut self, stop: &AtomicBool) -> Result<(), RunError> {
        self.run_while(|_| !stop.load(Ordering::Relaxed))
    }

    /// Works as [`run`](Self::run) does, as long as `goes_on`, which is asked before each turn, says so.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn run_while(&mut self, mut goes_on: impl FnMut(&mut Self) -> bool) -> Result<(), RunError> {
        let mut result = Ok(());
        while result.is_ok() && goes_on(self) && !self.is_succeeded() {
            result = self.turn();
        }
        self.refuse_all();
        self.peers.remove_sockets();
        result
    }

    /// One turn of the loop.
    fn turn(&mut self) -> Result<(), RunError> {
        let now = Instant::now();
        let timeout = self.due(now).saturating_duration_since(now);
        for token in self.waiter.wait(timeout)? {
            self.peers.ready(token);
        }
        let now = Instant::now();
        for (peer, asked) in self.peers.turn(now) {
            match asked {
                Incoming::Command(command) => self.command(peer, command),
                Incoming::Message(message) => self.message(peer, &message),
                Incoming::Page(request) => self.page(peer, &request),
            }
        }
        self.workers.take_returns();
        self.inherit(now);
        self.workers.flush();
        self.workers.choose_sender(now);
        self.heed_time_and_signals(now);
        if self.publish().is_err() {
            self.refuse_waiting();
        }
        self.go_on_handing_over(now);
        self.sums.turn(&self.workers, now);
        self.dumps.turn(&mut self.peers, &mut self.workers, &self.snapshot, now);
        if let Some(over) = self.answers.turn(&mut self.peers, &mut self.statistics, &self.workers, now) {
            self.preparation.give(Job::Free(Box::new(over)));
        }
        self.meet_neighbours(self.moment(now));
        if !self.statistics.is_renewing()
            && let Some(elapsed) = self.timers.rates.expired(now)
        {
            self.statistics.begin_renewal(elapsed);
        }
        self.statistics.renew(RENEWED_AT_ONCE, &self.workers);
        if self.timers.watch.expired(now).is_some() {
            self.watch(now)?;
        }
        self.report(now);
        Ok(())
    }

    /// When the next turn has something to do although nothing is ready.
    fn due(&self, now: Instant) -> Instant {
        let own = [now + self.rings(now), self.timers.rates.due(), self.timers.watch.due()];
        let rooms = [
            self.peers.due(now),
            self.publications.due(now),
            self.sums.due(now),
            self.answers.due(&self.peers, now),
            self.statistics.is_renewing().then_some(now),
            self.periodic.as_ref().map(Periodic::due),
        ];
        own.into_iter().chain(rooms.into_iter().flatten()).min().unwrap_or(now)
    }

    /// How long the workers' rings may go unseen.
    fn rings(&self, now: Instant) -> Duration {
        match self.publications.age(now) {
            _ if self.hand_over.is_urgent() => RINGS_PUBLISHING,
            Some(age) if age < HURRY => RINGS_PUBLISHING,
            _ if self.dumps.are_waiting() => RINGS_DUMPING,
            _ => RINGS,
        }
    }

    /// Once a second.
    fn watch(&mut self, now: Instant) -> Result<(), RunError> {
        self.watch_links(self.moment(now))?;
        self.watch.sample(&self.workers);
        self.watch.warn(&self.workers);
        if self.shown.address.is_some() {
            self.recent.add(self.totals());
        }
        self.watch_steering();
        self.watch_transmitting();
        self.watch_kept(now);
        // Workers that take over know reals by the ids that they were told of.
        if !self.inheriting.is_under_way() {
            self.publications.release();
        }
        // The snapshot before came back in an earlier turn, or comes back in the next second.
        if std::mem::take(&mut self.has_freed) {
            memory::give_back();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_due_after_its_interval_and_says_what_has_passed() {
        let start = Instant::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut timer = Timer { interval: Duration::from_millis(100), last: start };
        assert_eq!(timer.due(), after(100));
        assert_eq!(timer.expired(after(99)), None);
        assert_eq!(timer.expired(after(130)), Some(Duration::from_millis(130)));
        assert_eq!(timer.due(), after(230), "what was late is not made up for");
    }

    #[test]
    fn short_waits_are_kept_and_nothing_is_ready() {
        let mut waiter = Waiter::new().unwrap();
        let start = Instant::now();
        for _ in 0..10 {
            assert_eq!(waiter.wait(Duration::from_micros(100)).unwrap().count(), 0);
        }
        assert!(start.elapsed() >= Duration::from_millis(1));
    }
}
