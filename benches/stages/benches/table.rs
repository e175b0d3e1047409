//! Time of the connection table: look-ups at four sizes, making connections and having them time out;
//! and of picking a real.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "criterion's macros")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dataplane::counters::WorkerCounters;
use dataplane::live::elsewhere::Elsewhere;
use dataplane::live::reals::Reals;
use dataplane::schedule::{Asked, Known, Position};
use memory::Huge;
use stages::churn::{self, Churn, Size};
use stages::keys::Key;
use stages::lookup::{Hashbrown, Natlb};
use std::hint::black_box;
use std::time::{Duration, Instant};
use traffic::random::shuffled;
use traffic::world::{START, schedule};

/// Keys looked up in an iteration.
const KEYS: usize = 32 * 32;

fn lookup(c: &mut Criterion) {
    let mut group = c.benchmark_group("lookup with value");
    group.throughput(Throughput::Elements(KEYS as u64));
    for count in [1024, 65_536, 1_048_576, 10_485_760] {
        let keys: Vec<Key> = shuffled(count).into_iter().map(Key::of).collect();
        let (bursts, _) = keys.as_chunks();
        let mut parts = bursts.chunks_exact(KEYS / 32).cycle();
        let mut next = || parts.next().expect("endless");
        let mut natlb = Natlb::filled(count, Huge::Auto);
        group.bench_function(BenchmarkId::new("natlb, pipelined", count), |b| {
            b.iter(|| black_box(natlb.pipelined(next())));
        });
        group.bench_function(BenchmarkId::new("natlb, burst by burst", count), |b| {
            b.iter(|| black_box(natlb.bursts(next())));
        });
        drop(natlb);
        let hashbrown = Hashbrown::filled(count);
        group.bench_function(BenchmarkId::new("hashbrown", count), |b| {
            b.iter(|| black_box(hashbrown.one_by_one(next())));
        });
    }
    group.finish();
}

/// In balance: as many time out as are made. Set-up and expiry are timed in the same run, once both
/// together and once each alone.
fn set_up_and_expiry(c: &mut Criterion) {
    let mut group = c.benchmark_group("set-up and expiry");
    group.throughput(Throughput::Elements(churn::BURST as u64));
    let sizes = [
        ("1 M alive, 1.5 M in the table", Size { alive: 1_000_000, capacity: 1_600_000 }),
        ("1 M in the table", Size { alive: 666_667, capacity: 1_048_576 }),
    ];
    for (name, size) in sizes {
        let mut churn = Churn::new(size, Huge::Auto);
        group.bench_function(BenchmarkId::new("pairs", name), |b| {
            b.iter(|| {
                churn.set_up();
                churn.expire()
            });
        });
        group.bench_function(BenchmarkId::new("set-up", name), |b| {
            b.iter_custom(|bursts| timed(bursts, &mut churn, true));
        });
        group.bench_function(BenchmarkId::new("expiry", name), |b| {
            b.iter_custom(|bursts| timed(bursts, &mut churn, false));
        });
        churn.check(size);
    }
    group.finish();
}

/// Time of one half of the bursts.
fn timed(bursts: u64, churn: &mut Churn, set_up: bool) -> Duration {
    let mut time = Duration::ZERO;
    for _ in 0..bursts {
        let began = Instant::now();
        churn.set_up();
        let between = Instant::now();
        black_box(churn.expire());
        time += if set_up { between - began } else { between.elapsed() };
    }
    time
}

fn pick(c: &mut Criterion) {
    let mut group = c.benchmark_group("wrr pick");
    let (live, own, elsewhere) = (Box::<Reals>::default(), WorkerCounters::new(), Elsewhere::default());
    let client = "192.0.2.6:1234".parse().expect("an address");
    let known = Known { live: &live, own: &own, elsewhere: &elsewhere, now: START };
    let asked = Asked { client, destination: client, known };
    let weights = [
        ("16 reals of weight 1", vec![1; 16]),
        ("16 reals of weights 1 to 16", (1..=16).collect()),
        ("4096 reals of weights 1 to 100", (0..4096).map(|n| n % 100 + 1).collect()),
    ];
    for (name, weights) in weights {
        let schedule = schedule(0, &weights);
        let mut position = Position::default();
        position.adopt(None, &schedule, &known, 0);
        group.bench_function(name, |b| b.iter(|| black_box(&schedule).choice(&mut position, &asked)));
    }
    group.finish();
}

criterion_group!(benches, lookup, set_up_and_expiry, pick);
criterion_main!(benches);
