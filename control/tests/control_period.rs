//! `lbd --stats-period`: what is written, and that no writer holds the control thread up.

mod control_lab;

use control_lab::{Lab, PATIENCE, config_in, until};
use dataplane::names::drop_reason::DropReason;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PERIOD: Duration = Duration::from_millis(100);
const TRIES: usize = 20;

fn lab(out: impl Write + Send + 'static) -> (TempDir, Lab) {
    let directory = tempfile::tempdir().unwrap();
    let config = config_in(directory.path());
    let lab = Lab::start_reporting(config, 1, 0, Some((PERIOD, Box::new(out)))).unwrap();
    (directory, lab)
}

/// Hands on what is written.
struct Paper(Sender<String>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(String::from_utf8(bytes.to_vec()).unwrap()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn next(blocks: &Receiver<String>) -> String {
    blocks.recv_timeout(PATIENCE).expect("a block")
}

/// The number in a column, counted from 0, of the line that begins with `first`.
fn number(block: &str, first: &str, column: usize) -> Option<f64> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let line = block.lines().map(words).find(|words| words.first().is_some_and(|word| word == first))?;
    line[column].trim_end_matches('%').parse().ok()
}

#[test]
fn each_period_tells_what_passed_in_it() {
    let (paper, blocks) = channel();
    let (_directory, lab) = lab(Paper(paper));
    let began = Instant::now();
    let first = next(&blocks);
    for expected in ["Rx-pps", "Tx-bps", "Rx-missed", "cycles/packet", "new/s", "  vip0", "  dip0"] {
        assert!(first.contains(expected), "{expected}: {first}");
    }
    assert_eq!(number(&first, "0", 2), Some(0.0), "{first}");

    // The counters are not written at one moment, so that two blocks can share them, and a busy machine makes a period
    // long, so that rates are small: then it is done again.
    let whole = |block: &String| {
        let is_above = |column, least: f64| number(block, "0", column).is_some_and(|rate| rate > least);
        number(block, "no_route", 1) == Some(50.0) && is_above(2, 400.0) && is_above(6, 0.0)
    };
    let mut found = None;
    for _ in 0..TRIES {
        while blocks.try_recv().is_ok() {} // those that came while this thread had to wait
        next(&blocks);
        pass(&lab);
        let mut of_this =
            std::iter::repeat_with(|| next(&blocks)).skip_while(|block| !block.contains("no_route"));
        found = of_this.next().filter(whole);
        if found.is_some() {
            break;
        }
    }
    let block = found.expect("once all falls into one period");
    let (packets, created) = (number(&block, "0", 2).unwrap(), number(&block, "0", 6).unwrap());
    let seconds = 2000.0 / packets;
    assert!(seconds > 0.05 && seconds < 5.0, "{block}");
    assert!((created / packets - 0.05).abs() < 0.01, "{block}");
    assert_eq!(number(&block, "0", 5), Some(77.0), "{block}");

    let quiet = next(&blocks);
    assert!(!quiet.contains("no_route"), "{quiet}");
    assert!(began.elapsed() >= 2 * PERIOD);
}

/// What one period is to tell of.
fn pass(lab: &Lab) {
    let counters = &lab.workers[0].counters;
    counters.rx_packets.add(2000);
    counters.total_nanoseconds.add(4_000_000);
    counters.busy_nanoseconds.add(1_000_000);
    counters.connections.set(77);
    counters.connections_created.add(100);
    counters.dropped(DropReason::NoRoute).add(50);
}

#[test]
fn a_terminal_that_is_stopped_holds_nobody_up() {
    /// Takes nothing before it is let go.
    struct Stopped(Receiver<()>, Paper);
    impl Write for Stopped {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (let_go, stopped) = channel();
    let (paper, blocks) = channel();
    let (_directory, lab) = lab(Stopped(stopped, Paper(paper)));
    let began = Instant::now();
    while began.elapsed() < 5 * PERIOD {
        lab.ok(r#""command":"status""#);
    }
    assert!(blocks.try_recv().is_err());
    drop(let_go);
    for _ in 0..3 {
        next(&blocks);
    }
}

#[test]
fn a_pipe_that_is_closed_ends_the_report_alone() {
    let (paper, blocks) = channel();
    let (_directory, lab) = lab(Paper(paper));
    next(&blocks);
    drop(blocks);
    let began = Instant::now();
    until("some periods have passed", || began.elapsed() > 4 * PERIOD);
    lab.ok(r#""command":"status""#);
    lab.stop();
}
