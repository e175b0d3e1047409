//! Queues that measure where a turn's time goes, and how long turns take.
//!
//! `lbd` built with the feature `measure` puts [`Measured`] between its worker and the devices. Every
//! cycle between two readings of the time stamp counter belongs to the stage that has just ended:
//!
//! ```text
//! turn ─► [rest] receive ─► decode ─► resolve (transmit of full buffers in between) ─► transmit ─► rest
//! ```
//!
//! A reading costs some 20 cycles, five to eight times in a turn of 64 packets. The times of turns with
//! packets go to an HDR histogram. Without the feature none of this is compiled.
#![forbid(unsafe_code)]

use arrayvec::ArrayVec;
use dataplane::frame::{BURST, FrameIo, Stage};
use dataplane::names::ids::EthPortId;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The longest turn that is told apart: a second of a 4 GHz counter.
const LONGEST: u64 = 4_000_000_000;
/// Digits that a turn's time is kept with.
const DIGITS: u8 = 3;

/// When to measure, and where the result goes.
#[derive(Clone, Debug)]
pub struct Switch {
    /// Measures as long as this is set; what was measured before is forgotten when it is set.
    pub on: Arc<AtomicBool>,
    /// Written when measuring ends.
    pub path: PathBuf,
}

/// Cycles of the time stamp counter by stage, over turns with packets, and what they were spent on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cycles {
    /// Taking frames from the devices.
    pub receive: u64,
    /// Decoding bursts.
    pub decode: u64,
    /// Resolving and rewriting, and prefetching what comes next.
    pub resolve: u64,
    /// Handing frames to the devices.
    pub transmit: u64,
    /// The sweep, the clock, the loop.
    pub rest: u64,
    /// Turns that had packets.
    pub turns: u64,
    /// Frames received in them.
    pub packets: u64,
}

/// What a measurement writes, as JSON.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    cycles: &'a Cycles,
    /// Cycles of a turn by percentile: (percentile, at most so many cycles).
    percentiles: Vec<(f64, u64)>,
    /// The histogram: (from, up to and including, turns), in cycles, geometric steps.
    turn_cycles: Vec<(u64, u64, u64)>,
    most: u64,
}

/// Queues in which every stage is timed.
#[derive(Debug)]
pub struct Measured<Io> {
    io: Io,
    switch: Switch,
    clock: fn() -> u64,
    measuring: bool,
    last: u64,
    turn_began: u64,
    packets: u64,
    /// Of this turn; added up at its end if it had packets.
    turn: Cycles,
    total: Cycles,
    turns: Histogram<u64>,
}

impl<Io: FrameIo> Measured<Io> {
    /// Around `io`; `clock` counts cycles.
    ///
    /// # Panics
    /// Never: the histogram's bounds are constants that it takes.
    pub fn new(io: Io, switch: Switch, clock: fn() -> u64) -> Self {
        let turns = Histogram::new_with_max(LONGEST, DIGITS).expect("bounds that a histogram takes");
        Self {
            io,
            switch,
            clock,
            measuring: false,
            last: 0,
            turn_began: 0,
            packets: 0,
            turn: Cycles::default(),
            total: Cycles::default(),
            turns,
        }
    }

    /// Cycles since the last reading.
    #[inline(always)]
    fn lap(&mut self) -> u64 {
        let now = (self.clock)();
        let passed = now.saturating_sub(self.last);
        self.last = now;
        passed
    }

    fn end_turn(&mut self) {
        self.turn.rest += self.lap();
        if self.measuring && self.packets > 0 {
            let Cycles { receive, decode, resolve, transmit, rest, .. } = self.turn;
            let total = &mut self.total;
            total.receive += receive;
            total.decode += decode;
            total.resolve += resolve;
            total.transmit += transmit;
            total.rest += rest;
            total.turns += 1;
            total.packets += self.packets;
            self.turns.saturating_record(self.last - self.turn_began);
        }
        let wanted = self.switch.on.load(Ordering::Relaxed);
        if wanted != self.measuring {
            self.switch_to(wanted);
        }
        self.turn_began = self.last;
        self.turn = Cycles::default();
        self.packets = 0;
    }

    #[cold]
    fn switch_to(&mut self, wanted: bool) {
        self.measuring = wanted;
        if wanted {
            self.total = Cycles::default();
            self.turns.reset();
        } else if let Err(error) = self.write() {
            eprintln!("measure: {}: {error}", self.switch.path.display());
        }
        self.last = (self.clock)();
    }

    fn write(&self) -> std::io::Result<()> {
        let unfinished = self.switch.path.with_extension("part");
        std::fs::write(&unfinished, serde_json::to_vec(&self.report())?)?;
        std::fs::rename(unfinished, &self.switch.path)
    }

    fn report(&self) -> Report<'_> {
        let percentiles = [50.0, 90.0, 99.0, 99.9, 99.99, 99.999];
        let mut steps: Vec<(u64, u64, u64)> = Vec::new();
        let mut from = 0;
        for step in self.turns.iter_log(64, 1.1) {
            let (to, count) = (step.value_iterated_to(), step.count_since_last_iteration());
            // Steps that no integer falls into are not there.
            if to >= from {
                steps.push((from, to, count));
                from = to + 1;
            }
        }
        Report {
            cycles: &self.total,
            percentiles: percentiles.map(|at| (at, self.turns.value_at_percentile(at))).to_vec(),
            turn_cycles: steps,
            most: self.turns.max(),
        }
    }
}

impl<Io: FrameIo> FrameIo for Measured<Io> {
    type Frame = Io::Frame;

    #[inline(always)]
    fn receive(&mut self, port: EthPortId, into: &mut ArrayVec<Io::Frame, BURST>) {
        let before = into.len();
        self.turn.rest += self.lap();
        self.io.receive(port, into);
        self.turn.receive += self.lap();
        self.packets += (into.len() - before) as u64;
    }

    /// A full buffer is sent in the middle of resolving: what has passed by then is resolving's.
    #[inline(always)]
    fn transmit(&mut self, port: EthPortId, from: &mut ArrayVec<Io::Frame, BURST>) {
        self.turn.resolve += self.lap();
        self.io.transmit(port, from);
        self.turn.transmit += self.lap();
    }

    #[inline(always)]
    fn allocate(&mut self, port: EthPortId) -> Option<Io::Frame> {
        self.io.allocate(port)
    }

    #[inline(always)]
    fn ended(&mut self, stage: Stage) {
        match stage {
            Stage::Decode => self.turn.decode += self.lap(),
            Stage::Resolve => self.turn.resolve += self.lap(),
            Stage::Turn => self.end_turn(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::frame::plain::{PlainFrame, PlainIo};
    use std::cell::Cell;

    thread_local!(static NOW: Cell<u64> = const { Cell::new(0) });

    fn pass(cycles: u64) {
        NOW.set(NOW.get() + cycles);
    }

    /// Each receive gives one frame and takes 7 cycles, each transmit takes 5.
    struct Steps(PlainIo);

    impl FrameIo for Steps {
        type Frame = PlainFrame;
        fn receive(&mut self, port: EthPortId, into: &mut ArrayVec<PlainFrame, BURST>) {
            pass(7);
            self.0.arrive(port, &[0; 60]);
            self.0.receive(port, into);
        }
        fn transmit(&mut self, _: EthPortId, from: &mut ArrayVec<PlainFrame, BURST>) {
            pass(5);
            from.clear();
        }
        fn allocate(&mut self, _: EthPortId) -> Option<PlainFrame> {
            None
        }
    }

    fn turn(io: &mut Measured<Steps>) {
        let mut burst = ArrayVec::new();
        pass(1);
        io.receive(EthPortId(0), &mut burst);
        pass(10);
        io.ended(Stage::Decode);
        pass(20);
        io.transmit(EthPortId(1), &mut burst);
        pass(3);
        io.ended(Stage::Resolve);
        pass(2);
        io.ended(Stage::Turn);
    }

    #[test]
    fn every_cycle_of_a_turn_is_some_stages_and_the_result_is_written_when_measuring_ends() {
        let directory = tempfile::tempdir().unwrap();
        let switch =
            Switch { on: Arc::new(AtomicBool::new(false)), path: directory.path().join("stages.json") };
        let mut io = Measured::new(Steps(PlainIo::new(2)), switch.clone(), || NOW.get());
        turn(&mut io);
        assert_eq!(io.total, Cycles::default(), "not switched on");
        switch.on.store(true, Ordering::Relaxed);
        turn(&mut io); // seen at its end
        for _ in 0..3 {
            turn(&mut io);
        }
        let expected =
            Cycles { receive: 21, decode: 30, resolve: 69, transmit: 15, rest: 9, turns: 3, packets: 3 };
        assert_eq!(io.total, expected);
        assert!(!switch.path.exists());
        switch.on.store(false, Ordering::Relaxed);
        turn(&mut io);
        let text = std::fs::read_to_string(&switch.path).unwrap();
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&report["resolve"], &report["turns"]), (&92.into(), &4.into()));
        assert_eq!(report["percentiles"][0], serde_json::json!([50.0, 48]));
        let steps = report["turn_cycles"].as_array().unwrap();
        assert_eq!(steps.iter().map(|step| step[2].as_u64().unwrap()).sum::<u64>(), 4, "{steps:?}");
    }
}
