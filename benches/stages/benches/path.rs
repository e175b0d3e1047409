//! Time of the packet path's stages on prepared frames: decode, rewrite, new connections, and whole
//! bursts of established ones.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "criterion's macros")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dataplane::frame::{BURST, Frame};
use dataplane::names::direction::Direction;
use dataplane::names::family::V4;
use dataplane::names::ids::RealId;
use dataplane::worker::stages::{decode_burst, rewrite_one};
use memory::Huge;
use stages::path::Path;
use std::hint::black_box;
use std::time::{Duration, Instant};
use traffic::buffer::Buffer;
use traffic::packet::{ACK, SYN};
use traffic::random::Random;
use traffic::world::{DIP_MAC, VIP_MAC, snapshot};

/// Frames at once: as many as the rings of a NIC hold.
const FRAMES: usize = 4096;

fn burst_of_frames() -> Vec<Buffer> {
    let write = |flow| {
        let mut frame = Buffer::default();
        frame.write(flow, Direction::Forward, ACK);
        frame
    };
    (0..BURST as u32).map(write).collect()
}

fn decode(c: &mut Criterion) {
    let frames = burst_of_frames();
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(BURST as u64));
    group.bench_function("burst of 32", |b| {
        let mut decoded = [Default::default(); BURST];
        b.iter(|| {
            let frames = black_box(&frames);
            black_box(decode_burst(frames, Direction::Forward, VIP_MAC, 1500, black_box(&mut decoded)))
        });
    });
    group.finish();
}

fn rewrite(c: &mut Criterion) {
    let snapshot = snapshot(1);
    let rewrite = snapshot.rewrite::<V4>(RealId(0));
    let mut group = c.benchmark_group("rewrite");
    group.throughput(Throughput::Elements(BURST as u64));
    group.bench_function("burst of 32", |b| {
        b.iter_batched_ref(
            burst_of_frames,
            |frames| {
                for frame in frames.iter_mut() {
                    let head = frame.head_mut();
                    rewrite_one(head, Direction::Forward, black_box(rewrite), VIP_MAC, DIP_MAC);
                }
            },
            BatchSize::NumIterations(64),
        );
    });
    group.finish();
}

/// Bursts by turns from clients and reals, TCP and UDP half and half, random flows: the worker from
/// receive to transmit. The frames are written anew, outside the time, after each lap.
fn whole_burst(c: &mut Criterion) {
    let mut group = c.benchmark_group("whole burst");
    group.throughput(Throughput::Elements(FRAMES as u64));
    for count in [1_000, 64_000, 1_000_000] {
        let mut path = Path::new(count as usize, FRAMES, Huge::Auto);
        path.establish(count);
        let mut random = Random::default();
        let mut lap = || {
            let mut flows = || (0..FRAMES / 2).map(|_| random.below(count)).collect::<Vec<u32>>();
            path.line_up(&flows(), Direction::Forward, ACK);
            path.line_up(&flows(), Direction::Reverse, ACK);
            let began = Instant::now();
            let packets = path.run();
            let took = began.elapsed();
            assert_eq!(packets, FRAMES);
            took
        };
        group.bench_function(format!("{count} flows"), |b| {
            b.iter_custom(|laps| (0..laps).map(|_| lap()).sum());
        });
    }
    group.finish();
}

/// Every packet opens a connection, TCP and UDP by turns, into a table that fills up to a million.
fn new_connection(c: &mut Criterion) {
    const CAPACITY: u32 = 1 << 20;
    let mut group = c.benchmark_group("new connection");
    group.throughput(Throughput::Elements(FRAMES as u64));
    group.sample_size(20);
    group.bench_function("through the worker", |b| {
        let mut path = Path::new(CAPACITY as usize, FRAMES, Huge::Auto);
        let mut next = 0;
        b.iter_custom(|laps| {
            let mut time = Duration::ZERO;
            for _ in 0..laps {
                if next + FRAMES as u32 > CAPACITY {
                    path = Path::new(CAPACITY as usize, FRAMES, Huge::Auto);
                    next = 0;
                }
                let flows: Vec<u32> = (next..next + FRAMES as u32).collect();
                next += FRAMES as u32;
                path.line_up(&flows, Direction::Forward, SYN);
                let began = Instant::now();
                black_box(path.run());
                time += began.elapsed();
                assert_eq!(path.created(), u64::from(next), "each packet makes one");
            }
            time
        });
    });
    group.finish();
}

criterion_group!(benches, decode, rewrite, whole_burst, new_connection);
criterion_main!(benches);
