//! How long it takes to take over what an earlier process has left: an area of that many connections in `/dev/shm`, a
//! worker that finds it, with no packets, and with full bursts of all the connections' packets.

use arrayvec::ArrayVec;
use dataplane::connection::kept::{Home, Identity, Old, Shape, bytes};
use dataplane::connection::{Copied, State};
use dataplane::exchange::orders::{
    Batch, ControlEnd, Inheritance, Inherited, LeftArea, Order, Return, channel,
};
use dataplane::frame::{BURST, FrameIo};
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{EthPortId, NextHopId, Protocol, RealId};
use dataplane::names::time::Now;
use dataplane::worker::Worker;
use memory::Area;
use std::fs::{self, File};
use std::sync::Arc;
use std::time::Instant;
use traffic::buffer::Buffer;
use traffic::flows::{client, is_tcp};
use traffic::source::Source;
use traffic::world::{HASH_KEY, START, VIP_PORT, configure, next_hops, snapshot};

/// The source knows one alone.
const REALS: u8 = 1;

/// A source whose packets have right checksums, at which the slow path looks.
struct Sealed(Source<true>);

impl FrameIo for Sealed {
    type Frame = Buffer;

    fn receive(&mut self, port: EthPortId, into: &mut ArrayVec<Buffer, BURST>) {
        self.0.receive(port, into);
        into.iter_mut().for_each(Buffer::seal);
    }

    fn transmit(&mut self, port: EthPortId, from: &mut ArrayVec<Buffer, BURST>) {
        self.0.transmit(port, from);
    }

    fn allocate(&mut self, port: EthPortId) -> Option<Buffer> {
        self.0.allocate(port)
    }
}

/// Prints how long it takes for so many connections.
pub(crate) fn print(connections: u32) {
    for idle in [true, false] {
        let left = fill(connections);
        inherit(connections, left, idle);
    }
}

/// A file without a name, and it in memory.
fn area(bytes: usize, allocate: bool) -> (File, Arc<Area>) {
    let path = format!("/dev/shm/natlb-micro-{}", std::process::id());
    let file = File::options().read(true).write(true).create_new(true).open(&path).expect("a file");
    fs::remove_file(&path).expect("it was made just now");
    let area = Area::create(&file, bytes, allocate).expect("memory for the tables");
    (file, area)
}

/// A worker in files for so many connections, its other end, and the files.
fn worker(capacity: u32, source: Source<true>) -> (Worker<Sealed>, ControlEnd, [File; 2]) {
    let shape = Shape { v4: capacity as usize, v6: 0, templates: 0 };
    let sizes = bytes(shape);
    let ((of_tables, tables), (of_more, more)) = (area(sizes.tables, true), area(sizes.more, false));
    let identity = Identity { worker: 0, workers: 1, generation: 1, boot_id: [0; 16] };
    let home = Home::new(&tables, &more, shape, identity, HASH_KEY).expect("they are large enough");
    let heartbeat = home.heartbeat();
    heartbeat.note(0, capacity.into());
    let (end, control) = channel(next_hops(REALS), Arc::default());
    (Worker::kept(Sealed(source), end, home).expect("memory"), control, [of_tables, of_more])
}

/// What a worker leaves that has had so many connections.
fn fill(connections: u32) -> Arc<Old> {
    let mut source = Source::of_flows(vec![0]);
    source.pause();
    let (mut worker, mut control, files) = worker(connections, source);
    configure(&mut control, Arc::new(snapshot(REALS)), REALS);
    worker.turn(START);
    let copied = |flow: u32| {
        let (protocol, first, state) = match is_tcp(flow) {
            true => (Protocol::Tcp, 0, State::Established),
            false => (Protocol::Udp, u32::from(REALS), State::Udp),
        };
        let real = RealId(first + flow / 2 % u32::from(REALS));
        let next_hop = NextHopId::behind(VIP_PORT);
        Copied { protocol, state, ticks_left: 1000, client: client(flow).into(), real, port: 0, next_hop }
    };
    let mut made = 0;
    for first in (0..connections).step_by(Batch::ROWS) {
        let last = connections.min(first + Batch::ROWS as u32);
        let rows: Vec<_> = (first..last).map(copied).collect();
        for batch in Batch::of(&rows) {
            control.orders.push(Order::Import(batch)).expect("room");
        }
        worker.turn(START);
        while let Ok(returned) = control.returns.pop() {
            if let Return::Imported(batch) = returned {
                made += batch.imported.made;
            }
        }
    }
    assert_eq!(made, connections);
    let [tables, more] = files.map(|file| Area::open(&file).expect("a file that has just been written"));
    Arc::new(Old::open(&tables, Some(&more)).expect("a table"))
}

/// Seconds for which this thread has had a core.
fn on_cpu() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse::<u64>().ok());
    nanoseconds.unwrap_or_default() as f64 / 1e9
}

fn inherit(connections: u32, old: Arc<Old>, idle: bool) {
    let mut source = Source::of_flows((0..connections).collect());
    if idle {
        source.pause();
    } else {
        source.go_on(Vec::new());
    }
    let (mut worker, mut control, _areas) = worker(connections, source);
    let hops = vec![Some(VIP_PORT); NextHopId::CAPACITY];
    let reals = (0..2 * u32::from(REALS)).map(|id| Some(RealId(id))).collect();
    let areas = vec![LeftArea { old, elapsed: 4 }];
    let generations: Arc<[Inherited]> = [Inherited { areas, reals, interfaces: hops }].into();
    control.orders.push(Order::Inherit(Inheritance::new(generations))).expect("room");
    configure(&mut control, Arc::new(snapshot(REALS)), REALS);
    let on_cpu_before = on_cpu();
    let (began, mut turns, mut received) = (Instant::now(), 0u64, 0);
    let counts = loop {
        let now = START.nanoseconds + u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        received += worker.turn(Now { nanoseconds: now });
        turns += 1;
        let mut returns = std::iter::from_fn(|| control.returns.pop().ok());
        let inherited = returns.find_map(|returned| match returned {
            Return::Inherited(inheritance) => Some(inheritance.counts),
            _ => None,
        });
        if let Some(counts) = inherited {
            break counts;
        }
    };
    let (seconds, on_cpu) = (began.elapsed().as_secs_f64(), on_cpu() - on_cpu_before);
    let made = counts.connections.made;
    assert_eq!(made, connections, "{counts:?}");
    let lost: u64 = DropReason::ALL.iter().map(|reason| control.counters.dropped(*reason).get()).sum();
    let created = control.counters.connections_created.get();
    println!(
        "{connections:>10} connections, {:<5} {seconds:>7.3} s, of these {on_cpu:>7.3} s on the core: {:>6.2} M/s, \
         {turns:>8} turns, {:>6.2} M packets a second, {lost} dropped, {created} made anew",
        if idle { "idle:" } else { "busy:" },
        f64::from(made) / on_cpu / 1e6,
        received as f64 / on_cpu / 1e6,
    );
}
