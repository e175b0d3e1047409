//! One run: random steps, and everything that can be seen of them.

use crate::adapter::Build;
use crate::frames::{Arriving, frames, from_new_client};
use crate::setting::Setup;
use crate::transcript::Transcript;
use crate::world::World;
use fastrand::Rng;
use std::net::Ipv4Addr;

const STEPS: usize = 400;
/// Steps between two looks at the counters and the connections.
const LOOK: usize = 16;

struct Run<'a> {
    rng: Rng,
    world: World,
    setup: Setup,
    build: Build,
    now: u64,
    /// Frames that come later than they should.
    late: Vec<Arriving>,
    transcript: &'a mut Transcript,
}

/// Runs all steps that this seed stands for.
pub fn run(seed: u64, transcript: &mut Transcript) {
    let mut rng = Rng::with_seed(seed);
    let (world, setup) = World::random(&mut rng);
    let build = Build::new(&setup);
    transcript.line(|| format!("{setup:?}\n{:?}", world.configuration));
    let mut run = Run { rng, world, setup, build, now: 1_000_000_000_000, late: Vec::new(), transcript };
    run.build.adopt(&run.world.configuration);
    run.turn();
    for _ in 0..run.rng.usize(..24) {
        run.neighbour(true);
    }
    for step in 0..STEPS {
        run.transcript.line(|| format!("step {step}"));
        run.step();
        if step % LOOK == LOOK - 1 {
            run.look();
        }
    }
    run.end();
}

impl Run<'_> {
    fn step(&mut self) {
        match self.rng.u8(..40) {
            0 | 1 => self.change(),
            2 | 3 => self.neighbour(true),
            4 => self.neighbour(false),
            5 => self.send(),
            6 => self.limit(),
            7 | 8 => self.pass(),
            9 => self.send_through(),
            10 | 11 => self.burst(),
            12 => self.flood(),
            13 => self.storm(),
            _ => self.arrive(),
        }
        let turns = self.rng.u8(1..4);
        for _ in 0..turns {
            self.turn();
        }
    }

    fn change(&mut self) {
        self.world.change(&mut self.rng);
        self.transcript.line(|| format!("{:?}", self.world.configuration));
        self.build.adopt(&self.world.configuration);
    }

    fn neighbour(&mut self, is_there: bool) {
        let (port, address) = self.world.neighbour(&mut self.rng);
        let id = self.world.hop(port, address);
        self.transcript.line(|| format!("{address} behind {port} is {id}, there: {is_there}"));
        if is_there {
            let mac = [2, self.rng.u8(..2), 1, 0, 0, address.octets()[3]];
            self.build.set_hop(id, Some((port, mac)));
            self.build.reachable(port, address, id);
        } else {
            self.build.set_hop(id, None);
            self.build.unreachable(port, address);
        }
    }

    fn send(&mut self) {
        let (worker, port) = (self.rng.usize(..self.setup.workers), self.world.any_port(&mut self.rng));
        self.build.send(worker, port, &[7; 42]);
    }

    fn send_through(&mut self) {
        let (worker, by) = (self.rng.usize(..self.setup.workers), self.rng.usize(..self.setup.workers));
        self.build.send_through(worker, self.world.any_port(&mut self.rng), by);
    }

    fn limit(&mut self) {
        let worker = self.rng.usize(..self.setup.workers);
        let (transmit, pool) = match self.rng.u8(..6) {
            0 => (Some(self.rng.usize(..20)), None),
            1 => (None, Some(self.rng.usize(..60))),
            _ => (None, None),
        };
        let stands = if self.rng.u8(..6) == 0 { Some(self.world.any_port(&mut self.rng)) } else { None };
        self.build.limit(worker, transmit, pool, stands);
    }

    /// Time passes, with a turn now and then or all at once.
    fn pass(&mut self) {
        let all = [1_000_000, 200_000_000, 1_000_000_000, 3_000_000_000, 15_000_000_000, 130_000_000_000];
        let whole = *self.rng.choice(&all).expect("some");
        let steps = self.rng.u64(1..6);
        for _ in 0..steps {
            self.now += whole / steps;
            self.turn();
        }
    }

    fn arrive(&mut self) {
        for _ in 0..self.rng.usize(1..40) {
            for frame in frames(&mut self.rng, &self.world) {
                self.deliver(frame);
            }
        }
        for _ in 0..self.rng.usize(..=self.late.len().min(4)) {
            let frame = self.late.swap_remove(self.rng.usize(..self.late.len()));
            self.put(&frame);
        }
    }

    /// Whole bursts of what usually comes, as the fast path likes them best.
    fn burst(&mut self) {
        let count = self.rng.usize(32..100);
        let worker = self.rng.usize(..self.setup.workers);
        let mut plain = 0;
        while plain < count {
            for frame in frames(&mut self.rng, &self.world) {
                if frame.bytes.get(12..15) == Some(&[8, 0, 0x45])
                    && matches!(frame.bytes.get(23), Some(6 | 17))
                {
                    self.put_to(worker, &frame);
                    plain += 1;
                }
            }
        }
    }

    /// New clients in such numbers that the table grows or is full.
    fn flood(&mut self) {
        for _ in 0..self.rng.usize(100..1500) {
            let frame = from_new_client(&mut self.rng, &self.world);
            self.put(&frame);
        }
        for _ in 0..self.rng.u8(..60) {
            self.turn();
        }
    }

    /// So much of one kind that answers to it are limited.
    fn storm(&mut self) {
        let all = frames(&mut self.rng, &self.world);
        for _ in 0..self.rng.usize(50..1500) {
            self.put(&all[0]);
        }
    }

    /// Most frames come as they were sent; some twice, some late, some not at all.
    fn deliver(&mut self, frame: Arriving) {
        match self.rng.u8(..24) {
            0 => self.late.push(frame),
            1 => {}
            2 => {
                self.put(&frame);
                self.put(&frame);
            }
            _ => self.put(&frame),
        }
    }

    fn put(&mut self, frame: &Arriving) {
        let worker = self.rng.usize(..self.setup.workers);
        self.put_to(worker, frame);
    }

    fn put_to(&mut self, worker: usize, frame: &Arriving) {
        let Arriving { port, bytes, flags } = frame;
        self.transcript.line(|| format!("in {worker} {port} {flags:x} {}", hex(bytes)));
        self.build.arrive(worker, *port, bytes, *flags);
    }

    fn turn(&mut self) {
        self.now += 1000;
        for worker in 0..self.setup.workers {
            let received = self.build.turn(worker, self.now);
            self.transcript.line(|| format!("turn {worker} at {}: {received}", self.now));
            for port in 0..self.world.configuration.ports.len() as u8 {
                for frame in self.build.sent(worker, port) {
                    self.transcript.line(|| format!("out {worker} {port} {}", hex(&frame)));
                    self.world.learn(&frame);
                }
            }
            for event in self.build.events(worker) {
                self.transcript.line(|| format!("event {worker} {event}"));
                self.answer(&event);
            }
            for row in self.build.returned(worker, &self.world.configuration) {
                self.transcript.line(|| format!("connection {worker} {row}"));
            }
        }
    }

    /// Most hosts that are asked for are there.
    fn answer(&mut self, event: &str) {
        let mut words = event.split(' ');
        let (Some("wanted"), Some(port), Some(address)) = (words.next(), words.next(), words.next()) else {
            return;
        };
        let (Ok(port), Ok(address)) = (port.parse::<u8>(), address.parse::<Ipv4Addr>()) else { return };
        if address.octets()[3] != 99 && self.rng.u8(..4) != 0 {
            let id = self.world.hop(port, address);
            self.build.set_hop(id, Some((port, [2, 0, 1, 0, 0, address.octets()[3]])));
            self.build.reachable(port, address, id);
        }
    }

    fn look(&mut self) {
        for worker in 0..self.setup.workers {
            let (held, live) = self.build.frames(worker);
            self.transcript.line(|| format!("frames {worker} {held} of {live}"));
            let reals = self.world.configuration.reals.len() as u32 + 1;
            for (name, value) in self.build.counters(worker, reals) {
                self.transcript.line(|| format!("count {worker} {name} {value}"));
            }
            self.build.ask_for_connections(worker);
        }
    }

    /// Everything times out, and every buffer is back.
    fn end(&mut self) {
        for worker in 0..self.setup.workers {
            self.build.limit(worker, None, None, None);
        }
        self.turn();
        self.look();
        self.turn();
        for _ in 0..8 {
            self.now += 400_000_000_000;
            self.turn();
        }
        self.look();
        self.turn();
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
