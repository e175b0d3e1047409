//! What it costs where the connection table lies: established packets through workers whose tables are in memory of
//! their own and in files, window by window in turn.
//!
//! `kept FLOWS [FOLDER …]`: each folder is on tmpfs or hugetlbfs. Prints for each memory what it is made of,
//! nanoseconds a packet (the median over all rounds), and the median of the rounds' ratios to memory of one's own.
#![forbid(unsafe_code)]

use dataplane::connection::kept::{Home, Identity, Shape, bytes};
use dataplane::names::direction::Direction;
use memory::{Area, Huge};
use stages::path::Path;
use std::fs::{self, File};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use traffic::packet::ACK;
use traffic::random::Random;
use traffic::world::HASH_KEY;

/// Frames at once.
const FRAMES: usize = 4096;
/// Laps of as many frames of one memory before it is the next one's turn.
const LAPS: usize = 8;
const ROUNDS: usize = 101;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(flows) = arguments.next().and_then(|flows| flows.parse::<u32>().ok()) else {
        eprintln!("usage: kept FLOWS [FOLDER ...]");
        return ExitCode::FAILURE;
    };
    let mut paths = vec![("own".to_owned(), Path::new(flows as usize, FRAMES, Huge::Never))];
    for folder in arguments {
        paths.push((folder.clone(), Path::kept(FRAMES, home(&folder, flows as usize))));
    }
    for (_, path) in &mut paths {
        path.establish(flows);
    }
    let mut random = Random::default();
    let mut all: Vec<Vec<f64>> = vec![Vec::new(); paths.len()];
    for _ in 0..ROUNDS {
        for (times, (_, path)) in all.iter_mut().zip(&mut paths) {
            times.push(round(path, flows, &mut random));
        }
    }
    for ((folder, path), times) in paths.iter().zip(&all) {
        let ratios = times.iter().zip(&all[0]).map(|(time, own)| time / own).collect();
        let (median_time, ratio) = (median(times.clone()), median(ratios));
        println!("{flows:>9} {folder:<24} {:<42} {median_time:7.1} ns {ratio:6.3}", path.backing());
    }
    ExitCode::SUCCESS
}

/// Files without names, and a worker's tables in them.
fn home(folder: &str, flows: usize) -> Home {
    let shape = Shape { v4: flows, v6: 0, templates: 0 };
    let area = |folder: &str, bytes, allocate| -> Arc<Area> {
        let path = format!("{folder}/natlb-bench-{}", std::process::id());
        let file = File::options().read(true).write(true).create_new(true).open(&path).expect("a file");
        fs::remove_file(&path).expect("it was made just now");
        Area::create(&file, bytes, allocate).expect("memory for the tables")
    };
    let (tables, more) =
        (area(folder, bytes(shape).tables, true), area("/dev/shm", bytes(shape).more, false));
    let identity = Identity { worker: 0, workers: 1, generation: 1, boot_id: [0; 16] };
    Home::new(&tables, &more, shape, identity, HASH_KEY).expect("files of this size")
}

/// Nanoseconds a packet, of clients at random.
fn round(path: &mut Path, flows: u32, random: &mut Random) -> f64 {
    let (mut nanoseconds, mut packets) = (0, 0);
    for _ in 0..LAPS {
        let lap: Vec<u32> = (0..FRAMES).map(|_| random.below(flows)).collect();
        path.line_up(&lap, Direction::Forward, ACK);
        let began = Instant::now();
        packets += path.run();
        nanoseconds += began.elapsed().as_nanos();
    }
    nanoseconds as f64 / packets as f64
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
