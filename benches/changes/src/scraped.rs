//! What commands notice of scrapes, and listings, of as many reals as there can be.
//!
//! The bound is on a turn of the control thread's loop, in processor time of its own: a command waits for one turn at
//! most before it is taken, and on a busy machine its answer says more of the machine. Each configuration is scraped by
//! clients that read, one that reads slowly until it is sent away, and one that is gone in the middle.

use crate::Times;
use crate::configuration::Configuration;
use crate::control_lab::{Lab, config_in, until};
use control::config::metrics::{Address, Names};
use dataplane::names::ids::MAX_REALS;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Services, each with its share of all reals.
const SERVICES: [usize; 3] = [1, 4096, 16_384];
/// What a command may be delayed by.
const BOUND: Duration = Duration::from_millis(10);
/// Scrapes that are read to their ends.
const SCRAPES: usize = 3;
/// How long commands are timed without any.
const ALONE: Duration = Duration::from_secs(5);
const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: lbd\r\n\r\n";
/// How long is waited for anything that is read.
const PATIENCE: Duration = Duration::from_secs(120);

fn scrape(socket: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(socket).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    stream.write_all(REQUEST).expect("a request is taken");
    stream
}

/// Reads to the end. Returns bytes.
fn read(mut stream: UnixStream) -> usize {
    let (mut part, mut length) = (vec![0; 64 << 10], 0);
    loop {
        match stream.read(&mut part) {
            Ok(0) => return length,
            Ok(more) => length += more,
            Err(error) => panic!("a scrape is not read: {error}"),
        }
    }
}

/// Commands one after the other until something else is over: their times.
fn commands(lab: &Lab, is_over: &AtomicBool) -> Vec<Duration> {
    let (mut client, mut times) = (lab.connect(), Vec::new());
    while !is_over.load(Ordering::Relaxed) {
        times.push(crate::timed(&mut client, r#""command":"timeouts""#).0);
        thread::sleep(Duration::from_micros(500));
    }
    times
}

/// Prints what is noticed meanwhile. Whether it is within the bound.
fn row<T: Send>(lab: &Lab, name: &'static str, while_this: impl FnOnce() -> T + Send) -> (T, bool) {
    lab.longest_turn();
    let is_over = AtomicBool::new(false);
    let (done, times) = thread::scope(|scope| {
        let asked = scope.spawn(|| commands(lab, &is_over));
        let done = while_this();
        is_over.store(true, Ordering::Relaxed);
        (done, asked.join().expect("commands are answered"))
    });
    let longest = lab.longest_turn();
    let times = Times::of(name, times);
    println!(
        "{name:>22} {:>9} {:>10.3} {:>10.3} {:>10.3} {:>12.3}",
        times.all.len(),
        times.median(),
        times.part(99),
        times.part(100),
        longest.as_secs_f64() * 1e3
    );
    (done, longest <= BOUND)
}

fn of(services: usize) -> bool {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = config_in(directory.path());
    let socket = directory.path().join("run/metrics.sock");
    config.control.state = None;
    config.control.metrics.address = Some(Address::Unix(socket.clone()));
    config.control.metrics.most_reals = MAX_REALS;
    config.control.metrics.names = Names { natlb: true, node_ipvs: true };
    let lab = Lab::start(config, 2, 0).expect("a control thread");
    let configuration = Configuration { services, reals: MAX_REALS / services };
    lab.ok(&configuration.restore());
    until("what was replaced is forgotten", || lab.longest_turn() < BOUND / 10);
    println!("{services} services of {} reals", configuration.reals);
    println!(
        "{:>22} {:>9} {:>10} {:>10} {:>10} {:>12}",
        "ms", "commands", "median", "99 %", "longest", "longest turn"
    );
    let mut is_good = row(&lab, "no scrape", || thread::sleep(ALONE)).1;
    let (length, is_short) = row(&lab, "scrapes", || {
        let began = Instant::now();
        let lengths: Vec<_> = (0..SCRAPES).map(|_| read(scrape(&socket))).collect();
        (lengths[0], began.elapsed() / SCRAPES as u32)
    });
    is_good &= is_short;
    is_good &= row(&lab, "several at once", || {
        thread::scope(|scope| {
            for _ in 0..SCRAPES {
                scope.spawn(|| read(scrape(&socket)));
            }
        });
    })
    .1;
    // By others than who is timed: their own answers are as long as the listings.
    is_good &= row(&lab, "listings", || {
        let mut client = lab.connect();
        for command in ["list", "stats", "rate"] {
            crate::timed(&mut client, &format!(r#""command":"{command}""#));
        }
    })
    .1;
    is_good &= row(&lab, "one that is not read", || {
        let stream = scrape(&socket);
        // It is sent away, which it is told only by the end of what it has got.
        thread::sleep(control::api::http::PATIENCE + Duration::from_secs(1));
        drop(stream);
    })
    .1;
    is_good &= row(&lab, "one that is gone", || {
        let mut stream = scrape(&socket);
        let mut part = vec![0; 1 << 20];
        stream.read_exact(&mut part).expect("a part of it");
        drop(stream);
        thread::sleep(Duration::from_millis(500));
    })
    .1;
    // The scrape holds what was configured when it began, which is freed with it.
    let mut stream = scrape(&socket);
    let mut part = vec![0; 1 << 20];
    stream.read_exact(&mut part).expect("a part of it");
    lab.ok(&Configuration { services: 1, reals: 1 }.restore());
    thread::sleep(Duration::from_millis(500));
    is_good &= row(&lab, "the last of what was", || {
        drop(stream);
        thread::sleep(Duration::from_millis(500));
    })
    .1;
    println!("a scrape: {} MB in {:.1?}", length.0 / 1_000_000, length.1);
    lab.stop();
    is_good
}

/// Prints what is noticed. Fails where it is too much.
pub(crate) fn measure() -> ExitCode {
    // All are measured, whatever the first gives.
    let are_good: Vec<bool> = SERVICES.into_iter().map(of).collect();
    if are_good.into_iter().all(|is_good| is_good) {
        return ExitCode::SUCCESS;
    }
    eprintln!("a turn took longer than {BOUND:?}");
    ExitCode::FAILURE
}
