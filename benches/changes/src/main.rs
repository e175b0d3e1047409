//! What a change of the configuration costs, from the request on the control socket to its answer.
//!
//! A control thread with one worker that only obeys is started for a small and for a large configuration, without and
//! with a state file. Each single command is repeated on services all over the configuration. The last column is the
//! median of the large configuration over that of the small one.
//!
//! ```text
//! changes [ROUNDS]     how often each command is repeated; 200 if not given
//! changes undisturbed  what the traffic of another service, and listings, notice while all is restored
//! changes scraped      what commands notice of scrapes of 65,536 reals; exit code 1 where a turn takes too long
//! ```
//!
//! ```text
//! configuration  the configurations that are measured, and commands on them
//! undisturbed    what other traffic and listings notice of a restore
//! scraped        what commands notice of large scrapes
//! ```
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "a program")]

mod configuration;
#[path = "../../../control/tests/control_lab/mod.rs"]
mod control_lab;
mod scraped;
mod undisturbed;

use configuration::{Configuration, SINGLE};
use control_lab::{Client, Lab, config_in};
use serde_json::Value;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Services and reals of each, small and large.
const SIZES: [(usize, usize); 2] = [(10, 16), (4096, 16)];
const ROUNDS: usize = 200;

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    match argument.as_deref() {
        Some("undisturbed") => {
            let (services, reals) = SIZES[1];
            // The traffic's real is one of those that there can be.
            undisturbed::measure(Configuration { services: services - 1, reals });
            return ExitCode::SUCCESS;
        }
        Some("scraped") => return scraped::measure(),
        _ => {}
    }
    let rounds = argument.map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"));
    for has_state in [false, true] {
        println!("{} a state file", if has_state { "with" } else { "without" });
        println!(
            "{:>12} {:>24} {:>24} {:>6}",
            "median, ms",
            format!("{} x {}", SIZES[0].0, SIZES[0].1),
            format!("{} x {}", SIZES[1].0, SIZES[1].1),
            "ratio"
        );
        let [small, large] = SIZES.map(|size| measure(size, has_state, rounds));
        for (small, large) in small.iter().zip(&large) {
            let ratio = large.median() / small.median();
            println!("{:>12} {:>24} {:>24} {ratio:>6.2}", small.name, small.text(), large.text());
        }
    }
    ExitCode::SUCCESS
}

/// Times of one command, sorted, in milliseconds.
struct Times {
    name: &'static str,
    all: Vec<f64>,
}

impl Times {
    fn of(name: &'static str, times: impl IntoIterator<Item = Duration>) -> Self {
        let mut all: Vec<f64> = times.into_iter().map(|time| time.as_secs_f64() * 1e3).collect();
        all.sort_by(f64::total_cmp);
        Self { name, all }
    }

    fn part(&self, of_100: usize) -> f64 {
        self.all[(self.all.len() - 1) * of_100 / 100]
    }

    fn median(&self) -> f64 {
        self.part(50)
    }

    /// Median, and the range of the middle 90 %.
    fn text(&self) -> String {
        match self.all.len() {
            0..4 => format!("{:.3}", self.median()),
            _ => format!("{:.3} ({:.3} to {:.3})", self.median(), self.part(5), self.part(95)),
        }
    }
}

fn measure((services, reals): (usize, usize), has_state: bool, rounds: usize) -> Vec<Times> {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = config_in(directory.path());
    if !has_state {
        config.control.state = None;
    }
    let lab = Lab::start(config, 1, 0).expect("a control thread");
    let mut client = lab.connect();
    let configuration = Configuration { services, reals };
    let restore = timed(&mut client, &configuration.restore()).0;
    let mut times: Vec<Times> = Vec::new();
    let mut singles: Vec<Vec<Duration>> = vec![Vec::new(); SINGLE.len()];
    for round in 0..rounds {
        for (command, times) in SINGLE.iter().zip(&mut singles) {
            times.push(timed(&mut client, &configuration.single(command, round)).0);
        }
    }
    times.extend(SINGLE.iter().zip(singles).map(|(name, singles)| Times::of(name, singles)));
    times.push(Times::of("restore all", [restore]));
    let lists = (0..3).map(|_| timed(&mut client, r#""command":"list""#).0);
    times.push(Times::of("list all", lists.collect::<Vec<_>>()));
    let (save, before) = timed(&mut client, r#""command":"save""#);
    let again = format!(r#""command":"restore","lines":{}"#, before["lines"]);
    let replaced = timed(&mut client, &again).0;
    let (_, after) = timed(&mut client, r#""command":"save""#);
    assert!(before == after, "what is saved is restored");
    times.push(Times::of("save all", [save]));
    times.push(Times::of("restore same", [replaced]));
    lab.stop();
    times
}

/// How long it takes until a command is answered, and what is answered.
fn timed(client: &mut Client, request: &str) -> (Duration, Value) {
    let line = format!("{{\"v\":1,{request}}}\n");
    let start = Instant::now();
    client.send(line.as_bytes());
    let answer = client.line();
    let time = start.elapsed();
    let mut answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert!(answer["error"].is_null(), "{}: {}", &request[..request.len().min(200)], answer["error"]);
    (time, answer["ok"].take())
}
