//! A worker between two ports of prepared frames, its connections established.

use dataplane::connection::kept::Home;
use dataplane::exchange::orders::ControlEnd;
use dataplane::names::direction::Direction;
use dataplane::names::time::Now;
use dataplane::schedule::Algorithm;
use dataplane::snapshot::Policy;
use dataplane::worker::{SWEEP_IDLE, Worker};
use traffic::packet::{ACK, SYN};
use traffic::prepared::Prepared;
use traffic::world::{Kind, START, worker_kept, worker_of, worker_with};

/// Virtual time of a turn in nanoseconds: 64 packets at some 30 ns.
const TURN: u64 = 2_000;

/// See the module's text.
#[derive(Debug)]
pub struct Path {
    worker: Worker<Prepared>,
    control: ControlEnd,
    now: Now,
    frames: usize,
}

impl Path {
    /// No connection yet; room for `capacity`, and `frames` frames at once.
    pub fn new(capacity: usize, frames: usize, huge: memory::Huge) -> Self {
        Self::with(capacity, frames, (1, Algorithm::WeightedRoundRobin), huge)
    }

    /// With so many reals, picked by this algorithm. Only one of them replies.
    pub fn with(capacity: usize, frames: usize, reals: (u8, Algorithm), huge: memory::Huge) -> Self {
        Self::of(worker_with(Prepared::new(frames), capacity, reals, huge), frames)
    }

    /// As [`with`](Self::with), with a UDP service whose datagrams are scheduled one by one.
    pub fn one_packet(capacity: usize, frames: usize, reals: (u8, Algorithm), huge: memory::Huge) -> Self {
        let udp = Policy { one_packet: true, ..Policy::default() };
        let kind = Kind { udp, ..Kind::default() };
        Self::of(worker_of(Prepared::new(frames), capacity, reals, kind, huge), frames)
    }

    /// With services on any port, of one real each that keeps the port.
    pub fn any_port(capacity: usize, frames: usize, huge: memory::Huge) -> Self {
        let kind = Kind { any_port: true, ..Kind::default() };
        let reals = (1, Algorithm::WeightedRoundRobin);
        Self::of(worker_of(Prepared::new(frames), capacity, reals, kind, huge), frames)
    }

    /// With the services of both families: flows from [`OF_IPV6`](traffic::flows::OF_IPV6) on are of IPv6.
    pub fn both_families(capacity: usize, frames: usize, reals: (u8, Algorithm), huge: memory::Huge) -> Self {
        let kind = Kind { both_families: true, ..Kind::default() };
        Self::of(worker_of(Prepared::new(frames), capacity, reals, kind, huge), frames)
    }

    /// With tables in files.
    pub fn kept(frames: usize, home: Home) -> Self {
        Self::of(worker_kept(Prepared::new(frames), home), frames)
    }

    /// The memory that its table is in.
    pub fn backing(&self) -> memory::Backing {
        self.worker.table().backing()
    }

    fn of((worker, control): (Worker<Prepared>, ControlEnd), frames: usize) -> Self {
        let mut path = Self { worker, control, now: START, frames };
        path.catch_up();
        path
    }

    /// Idle turns until the sweep is not late any more: from then on it has as much to do in a turn as
    /// virtual time goes on.
    fn catch_up(&mut self) {
        for _ in 0..self.worker.table().buckets() / SWEEP_IDLE + 2 {
            self.run();
        }
    }

    /// Opens the flows below `count`, and has each answered: TCP becomes ESTABLISHED, UDP answered.
    ///
    /// # Panics
    /// If that is not what comes out.
    pub fn establish(&mut self, count: u32) {
        self.establish_all(&(0..count).collect::<Vec<u32>>());
    }

    /// As [`establish`](Self::establish), these flows.
    ///
    /// # Panics
    /// As [`establish`](Self::establish).
    pub fn establish_all(&mut self, flows: &[u32]) {
        let count = flows.len();
        let steps = [(Direction::Forward, SYN), (Direction::Reverse, ACK), (Direction::Forward, ACK)];
        for lap in flows.chunks(self.frames) {
            for (direction, flags) in steps {
                self.line_up(lap, direction, flags);
                assert_eq!(self.run(), lap.len(), "frames come through");
            }
        }
        self.catch_up();
        let counters = &self.control.counters;
        assert_eq!(counters.connections_created.observe(), count as u64);
        assert_eq!(counters.connections.observe(), count as u64);
        assert_eq!(counters.tx_packets.observe(), 3 * count as u64, "nothing is dropped");
    }

    /// Puts packets of these flows in line, at most as many as there are frames.
    pub fn line_up(&mut self, flows: &[u32], direction: Direction, flags: u8) {
        self.worker.io().line_up(flows, direction, flags);
    }

    /// Turns until every frame in line has been sent. Returns how many.
    #[inline(always)]
    pub fn run(&mut self) -> usize {
        let mut packets = 0;
        loop {
            self.now.nanoseconds += TURN;
            let received = self.worker.turn(self.now);
            if received == 0 {
                return packets;
            }
            packets += received;
        }
    }

    /// Frames sent so far.
    pub fn sent(&self) -> u64 {
        self.control.counters.tx_packets.observe()
    }

    /// Connections made so far.
    pub fn created(&self) -> u64 {
        self.control.counters.connections_created.observe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn established_flows_go_both_ways_without_new_connections() {
        let mut path = Path::new(1000, 256, memory::Huge::Never);
        path.establish(1000);
        let before = path.sent();
        let flows: Vec<u32> = (500..628).collect();
        path.line_up(&flows, Direction::Forward, ACK);
        path.line_up(&flows, Direction::Reverse, ACK);
        assert_eq!(path.run(), 256);
        assert_eq!((path.sent() - before, path.created()), (256, 1000));
    }
}
