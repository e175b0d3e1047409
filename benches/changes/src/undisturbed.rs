//! What goes on while a whole configuration is restored: the traffic of another service, through a worker on plain
//! memory, and listings.

use crate::configuration::Configuration;
use crate::control_lab::{Lab, config_in};
use arrayvec::ArrayVec;
use dataplane::connection::table::HashKey;
use dataplane::exchange::orders::WorkerEnd;
use dataplane::frame::plain::{PlainFrame, PlainIo};
use dataplane::frame::{BURST, Frame, FrameIo};
use dataplane::names::ids::EthPortId;
use dataplane::names::time::Now;
use dataplane::worker::Worker;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use traffic::packet::Packet;

/// The other service and its real, which has a configured MAC.
const VIP: &str = "192.168.10.100:53";
const REAL: &str = "10.0.0.7:53";
/// Between two frames of the traffic.
const PACE: Duration = Duration::from_micros(20);
/// Flows that they are of.
const FLOWS: u16 = 1000;
/// How long is measured before the restore, and from its beginning on.
const MEASURED: Duration = Duration::from_secs(2);

/// What has passed the worker.
#[derive(Debug, Default)]
struct Passed {
    received: AtomicU64,
    sent: AtomicU64,
    /// Nanoseconds.
    longest_gap: AtomicU64,
    has_ended: AtomicBool,
}

impl Passed {
    /// Frames received and sent, and the longest time without one sent, since the last call.
    fn take(&self) -> (u64, u64, Duration) {
        let gap = Duration::from_nanos(self.longest_gap.swap(0, Ordering::Relaxed));
        (self.received.swap(0, Ordering::Relaxed), self.sent.swap(0, Ordering::Relaxed), gap)
    }
}

/// A port on which a frame arrives at each pace, and one that counts what is sent.
struct Paced {
    io: PlainIo,
    frames: Vec<Vec<u8>>,
    next: usize,
    due: Instant,
    last_sent: Instant,
    passed: Arc<Passed>,
}

impl Paced {
    fn new(passed: Arc<Passed>) -> Self {
        let frame = |flow: u16| {
            let client: SocketAddrV4 = format!("192.168.10.6:{}", 1024 + flow).parse().expect("an endpoint");
            let packet = Packet::udp(client, VIP.parse().expect("an endpoint"), b"a request");
            packet.macs([2, 0, 0, 0, 0, 6], [2, 0, 0, 0, 1, 0]).frame()
        };
        let frames = (0..FLOWS).map(frame).collect();
        let now = Instant::now();
        Self { io: PlainIo::new(2), frames, next: 0, due: now, last_sent: now, passed }
    }
}

impl FrameIo for Paced {
    type Frame = PlainFrame;

    fn receive(&mut self, port: EthPortId, into: &mut ArrayVec<PlainFrame, BURST>) {
        if port != EthPortId(0) {
            return;
        }
        // What has become due in a pause arrives at once, as from a device's ring.
        while Instant::now() >= self.due && !into.is_full() {
            self.due += PACE;
            self.io.arrive(port, &self.frames[self.next]);
            self.next = (self.next + 1) % self.frames.len();
            self.io.receive(port, into);
            self.passed.received.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn transmit(&mut self, _port: EthPortId, from: &mut ArrayVec<PlainFrame, BURST>) {
        // Not those of ARP.
        let sent = from.drain(..).filter(|frame| frame.bytes()[12..14] == [8, 0]).count();
        if sent > 0 {
            let now = Instant::now();
            let gap = now.duration_since(self.last_sent).as_nanos() as u64;
            self.last_sent = now;
            self.passed.longest_gap.fetch_max(gap, Ordering::Relaxed);
            self.passed.sent.fetch_add(sent as u64, Ordering::Relaxed);
        }
    }

    fn allocate(&mut self, port: EthPortId) -> Option<PlainFrame> {
        self.io.allocate(port)
    }
}

fn run(end: WorkerEnd, passed: &Arc<Passed>) {
    let key = HashKey { mask: 0x1234_5678_9abc_def0, multiplier: 0xbf58_476d_1ce4_e5b9 };
    let io = Paced::new(Arc::clone(passed));
    let mut worker = Worker::new(io, end, 1 << 16, key, memory::Huge::Never).expect("memory for the table");
    let start = Instant::now();
    while !passed.has_ended.load(Ordering::Relaxed) {
        let nanoseconds = start.elapsed().as_nanos() as u64;
        if worker.turn(Now { nanoseconds: 1_000_000_000 + nanoseconds }) == 0 {
            thread::yield_now();
        }
    }
}

/// Prints what the traffic and listings see without and with a restore of this configuration.
pub(crate) fn measure(configuration: Configuration) {
    let directory = tempfile::tempdir().expect("a directory");
    let passed = Arc::<Passed>::default();
    let mut worker = None;
    let lab = Lab::start_running(config_in(directory.path()), 1, None, |ends| {
        let passed = Arc::clone(&passed);
        worker = Some(thread::spawn(move || ends.into_iter().for_each(|end| run(end, &passed))));
    });
    let lab = lab.expect("a control thread");
    let other = [format!("-A -u {VIP} -s wrr"), format!("-a -u {VIP} -r {REAL} -m -w 1")];
    let lines = |lines: &[String]| lines.iter().map(|line| format!(",\"{line}\"")).collect::<String>();
    lab.ok(&format!(r#""command":"restore","lines":["--set 900 120 300"{}]"#, lines(&other)));
    thread::sleep(Duration::from_millis(200));
    let restore = configuration.restore().replacen(']', &format!("{}]", lines(&other)), 1);
    println!(
        "{:>12} {:>10} {:>6} {:>12} {:>14} {:>14}",
        "", "frames", "lost", "longest gap", "list, median", "list, longest"
    );
    for (name, request) in [("without", None), ("with", Some(restore))] {
        passed.take();
        thread::scope(|scope| {
            let start = Instant::now();
            let lab = &lab;
            let restored = request.map(|request| {
                scope.spawn(move || {
                    lab.ok(&request);
                    start.elapsed()
                })
            });
            let mut client = lab.connect();
            let mut lists = Vec::new();
            while start.elapsed() < MEASURED {
                let asked = Instant::now();
                client.ask(&format!(r#""command":"list","service":"udp://{VIP}""#));
                lists.push(asked.elapsed());
                thread::sleep(Duration::from_millis(1));
            }
            lists.sort_unstable();
            let (received, sent, gap) = passed.take();
            let (median, longest) = (lists[lists.len() / 2], lists[lists.len() - 1]);
            // A frame may be on its way between the two counts.
            let lost = received.saturating_sub(sent + 1);
            println!("{name:>12} {received:>10} {lost:>6} {gap:>12.1?} {median:>14.1?} {longest:>14.1?}");
            if let Some(restored) = restored {
                println!("restored within {:.0?}", restored.join().expect("it is restored"));
            }
        });
    }
    lab.stop();
    passed.has_ended.store(true, Ordering::Relaxed);
    worker.map(thread::JoinHandle::join);
}
