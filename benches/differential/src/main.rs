//! Gives the packet path random frames, changes and time, and tells what came of it, so that two builds can be
//! compared: see `compare.py`, which builds this program for another checkout too.
//!
//! `differential FIRST LAST`: for each seed in this range, both included, the hash of its transcript.
//! `differential --show SEED`: the transcript itself.
//!
//! ```text
//! run         the steps of a run
//! frames      random frames of every kind
//! world       the network around: ports, hosts, services, and how they change
//! setting     what a build is set up with, in words that belong to none
//! adapter     this build's packet path behind calls that every build has
//! transcript  what a run shows: printed, or only its hash
//! ```
#![forbid(unsafe_code)]
#![allow(missing_docs, unreachable_pub, reason = "a program of its own")]

mod adapter;
mod frames;
mod run;
mod setting;
mod transcript;
mod world;

use transcript::Transcript;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |text: &String| text.parse::<u64>().unwrap_or_else(|_| usage());
    match &arguments[..] {
        [show, seed] if show == "--show" => run::run(number(seed), &mut Transcript::new(true)),
        [first, last] => {
            for seed in number(first)..=number(last) {
                let mut transcript = Transcript::new(false);
                run::run(seed, &mut transcript);
                println!("{seed} {:016x}", transcript.hash());
            }
        }
        _ => usage(),
    }
}

fn usage() -> ! {
    eprintln!("differential FIRST LAST | differential --show SEED");
    std::process::exit(2);
}
