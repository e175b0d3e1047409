use super::*;
use crate::connection::family::Family;
use crate::connection::table::{HashKey, JOURNAL, New, Note, Table, TableMemory};
use crate::connection::{Clock, State, Timeouts};
use crate::counters::WorkerCounters;
use crate::names::family::{V4, V6};
use crate::names::ids::{NextHopId, RealId};
use crate::names::time::Tick;
use memory::Area;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) const IDENTITY: Identity =
    Identity { worker: 1, workers: 3, generation: 77, boot_id: *b"0123456789abcdef" };
pub(super) const SECRET: HashKey = HashKey { mask: 0x1234_5678_9abc_def0, multiplier: 0x9e37_79b9_7f4a_7c14 };

/// A file without a name.
fn unnamed() -> File {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = format!("/dev/shm/natlb-kept-{}-{number}", std::process::id());
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    file
}

/// The two files of a worker.
pub(super) struct Files {
    pub(super) tables: File,
    pub(super) more: File,
}

impl Files {
    pub(super) fn new() -> Self {
        Self { tables: unnamed(), more: unnamed() }
    }

    pub(super) fn home(&self, shape: Shape) -> Home {
        let sizes = bytes(shape);
        let tables = Area::create(&self.tables, sizes.tables, true).unwrap();
        let more = Area::create(&self.more, sizes.more, false).unwrap();
        Home::new(&tables, &more, shape, IDENTITY, SECRET).unwrap()
    }

    pub(super) fn old(&self) -> Result<Old, Refused> {
        Old::open(&Area::open(&self.tables).unwrap(), Some(&Area::open(&self.more).unwrap()))
    }
}

/// Of all connections, by read and each by find.
fn rows(old: &Old) -> Vec<OldRow> {
    let mut rows = Vec::new();
    (0..old.positions()).for_each(|position| old.read(position, |row, _| rows.push(row)));
    rows
}

fn client(number: u32, is_v6: bool) -> SocketAddr {
    let port = 1024 + (number % 60000) as u16;
    if is_v6 {
        SocketAddr::new(
            ((0x2001_0db8_u128 << 96) | (u128::from(number) * 0x1_0000_0001)).to_be_bytes().into(),
            port,
        )
    } else {
        SocketAddr::new((0x0a00_0000 | (number / 7)).to_be_bytes().into(), port)
    }
}

fn state(number: u32) -> State {
    State::ALL[number as usize % State::COUNT]
}

/// Connections of all states and ages.
fn fill<F: Family>(
    table: &mut Table<F>,
    numbers: std::ops::Range<u32>,
    with_ports: bool,
    counters: &WorkerCounters,
) -> BTreeSet<String> {
    let timeouts = Timeouts::default();
    let mut made = BTreeSet::new();
    for number in numbers {
        let client = client(number, size_of::<F::Rest>() > 0);
        // Onwards, and nothing times out.
        let (state, tick) = (state(number), Tick::new(u64::from(number % 10_000 / 400)));
        let protocol = state.protocol();
        let (real, next_hop) = (RealId(number % 100_000), NextHopId(number % 130_000));
        let port = if with_ports { (number % 5000) as u16 + 1 } else { 0 };
        let key = F::key(client, protocol).unwrap();
        let new = New { key, real, port, next_hop, state };
        table.insert(table.hash(key), new, Clock::new(tick, &timeouts), counters).unwrap();
        let (real, hop) = (real.0, next_hop.0);
        made.insert(format!("{:?}", OldRow { protocol, state, client, real, hop, port, tick }));
        if table.is_to_resize() {
            table.resize(counters);
        }
    }
    made
}

/// At least `least` connections, and more until half of those that are to be moved are.
fn fill_until_between_sizes<F: Family>(
    table: &mut Table<F>,
    first: u32,
    least: u32,
    with_ports: bool,
) -> BTreeSet<String> {
    let counters = WorkerCounters::new();
    let mut made = fill(table, first..first + least, with_ports, &counters);
    let mut next = first + least;
    let mut since = 0;
    while since < 40 {
        made.extend(fill(table, next..next + 1, with_ports, &counters));
        next += 1;
        since += u32::from(table.is_between_sizes());
        assert!(next < first + 8 * least);
    }
    assert!(table.is_between_sizes());
    made
}

#[test]
fn what_was_in_the_tables_is_read_and_found_by_a_later_process() {
    for with_ports in [false, true] {
        let files = Files::new();
        let shape = Shape { v4: 9000, v6: 5000, templates: 100 };
        let mut home = files.home(shape);
        let heartbeat = home.heartbeat();
        let (mut made, all);
        {
            let mut v4 = Table::<V4>::new(shape.v4, home.hash_key(), home.take_v4().unwrap()).unwrap();
            let mut v6 = Table::<V6>::new(shape.v6, home.hash_key(), home.take_v6().unwrap()).unwrap();
            assert!(home.take_v4().is_none() && home.take_v6().is_none());
            made = fill_until_between_sizes(&mut v4, 0, 1000, with_ports);
            made.extend(fill_until_between_sizes(&mut v6, 10_000, 600, with_ports));
            all = v4.len() + v6.len();
        }
        heartbeat.beat(123);
        heartbeat.note(-7, all as u64);
        heartbeat.set_clean(true);
        assert!(!heartbeat.has_lost_ports());
        drop((heartbeat, home));

        let old = Arc::new(files.old().unwrap());
        let expected = Header {
            layout: super::layout::LAYOUT,
            version: Some(Version::OWN),
            identity: IDENTITY,
            shape,
            nanoseconds: 123,
            boot_offset: -7,
            connections: all as u64,
            is_clean: true,
        };
        assert_eq!(*old.header(), expected);
        let rows = rows(&old);
        assert_eq!((rows.len(), made.len()), (all, all));
        assert!(rows.iter().all(|row| made.contains(&format!("{row:?}"))));
        for row in &rows {
            let mut found = Vec::new();
            old.find(row.client, row.protocol, |row, mark| found.push((row, mark)));
            assert!(found.iter().any(|(found, _)| found == row), "{row:?}");
            for (other, mark) in found {
                assert_eq!((other.client, other.protocol), (row.client, row.protocol));
                if other == *row {
                    old.forget(mark);
                    old.forget(mark);
                }
            }
            old.find(row.client, row.protocol, |found, _| assert_ne!(found, *row));
        }
        assert!(self::rows(&old).is_empty());
    }
}

#[test]
fn a_table_that_expects_connections_does_not_move_them() {
    let (counters, timeouts) = (WorkerCounters::new(), Timeouts::default());
    let mut table = Table::<V4>::new(50_000, SECRET, memory::Huge::Never).unwrap();
    table.expect(40_000);
    table.resize(&counters);
    fill(&mut table, 0..40_000, false, &counters);
    assert_eq!(counters.entries_moved.get(), 0);
    let buckets = table.buckets();
    table.expect(1);
    assert_eq!(table.buckets(), buckets, "it has some");
    while table.sweep(1000, Clock::new(Tick::new(1 << 23), &timeouts), &counters) > 0 || !table.is_empty() {}
    assert!(!table.is_to_resize());
    table.expect_no_more();
    assert!(table.is_to_resize());
}

#[test]
fn other_files_are_refused() {
    let files = Files::new();
    let shape = Shape { v4: 1000, v6: 1000, templates: 0 };
    assert_eq!(bytes(shape).tables % 4096, 0);
    let home = files.home(shape);
    let area = Area::open(&files.tables).unwrap();
    let words = area.words(0, area.bytes() / 8).unwrap();
    let opened = || Old::open(&area, None).map(|_| ());
    assert_eq!(opened(), Ok(()), "no table has been made in it");
    assert_eq!(files.old().unwrap().positions(), 2);
    let with = |at: usize, value: u64| {
        let before = words[at].swap(value, Ordering::Relaxed);
        let opened = opened();
        words[at].store(before, Ordering::Relaxed);
        opened
    };
    assert_eq!(with(0, 0), Err(Refused::Magic));
    assert_eq!(with(1, 999), Err(Refused::Layout(999)));
    (2..32).for_each(|at| assert_eq!(with(at, !words[at].load(Ordering::Relaxed)), Err(Refused::Checksum)));
    for notes in [super::layout::NOTES_V4, super::layout::NOTES_V6] {
        for extent in [8, 1 << 31, 32 << 32, 64 | 48 << 32] {
            assert_eq!(with(notes, extent), Err(Refused::Damaged), "{extent:x}");
        }
    }
    drop(home);
    files.tables.set_len(4096).unwrap();
    assert_eq!(files.old().map(|_| ()), Err(Refused::Size));
    files.tables.set_len(bytes(shape).tables as u64).unwrap();
    assert_eq!(files.old().map(|_| ()), Err(Refused::Size), "it has holes");
    files.tables.set_len(8).unwrap();
    assert_eq!(files.old().map(|_| ()), Err(Refused::Size));
}

#[test]
fn a_home_is_for_one_worker() {
    let files = Files::new();
    let shape = Shape { v4: 10, v6: 10, templates: 10 };
    let sizes = bytes(shape);
    let tables = Area::create(&files.tables, sizes.tables, true).unwrap();
    let more = Area::create(&files.more, sizes.more, false).unwrap();
    let larger = Shape { v4: 1 << 20, ..shape };
    assert!(Home::new(&tables, &more, larger, IDENTITY, SECRET).is_none());
    let home = Home::new(&tables, &more, shape, IDENTITY, SECRET).unwrap();
    assert_eq!((home.templates().len(), home.shape()), (80, shape));
    assert!(Home::new(&tables, &more, shape, IDENTITY, SECRET).is_none());
    drop(home);
    let mut home = Home::new(&tables, &more, shape, IDENTITY, SECRET);
    assert!(home.as_mut().is_none_or(|home| matches!(home.take_v4(), Some(TableMemory::Kept(_)))));
}

/// What a layout's fixture has: a few connections of each family, some of them in the journal as well, as after a kill.
const FIXTURE: Shape = Shape { v4: 20, v6: 20, templates: 2 };

fn fixture(layout: u32, part: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/kept/layout{layout}.{part}"))
}

/// Writes the fixture of the layout that is written now: before another one takes its place.
#[test]
#[ignore = "writes testdata: run it before the layout changes"]
fn write_the_fixture_of_this_layout() {
    let files = Files::new();
    let mut home = files.home(FIXTURE);
    let made = {
        let mut v4 = Table::<V4>::new(FIXTURE.v4, home.hash_key(), home.take_v4().unwrap()).unwrap();
        let mut v6 = Table::<V6>::new(FIXTURE.v6, home.hash_key(), home.take_v6().unwrap()).unwrap();
        let counters = WorkerCounters::new();
        let mut made = fill(&mut v4, 4000..4019, true, &counters);
        made.extend(fill(&mut v6, 19_010..19_029, true, &counters));
        made
    };
    home.heartbeat().beat(123_456_789_012);
    home.heartbeat().note(-42, made.len() as u64);
    assert!(home.take_templates());
    home.templates().iter().zip(1..).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
    drop(home);
    let mut tables = vec![0; files.tables.metadata().unwrap().len() as usize];
    files.tables.read_exact_at(&mut tables, 0).unwrap();
    let plan = super::layout::Plan::new(FIXTURE);
    // All of them, as if they were on their way to other buckets.
    let lines = JOURNAL / 2 * 64;
    tables.copy_within(plan.v4.buckets..plan.v4.buckets + lines, plan.v4.journal);
    let mut more = vec![0; files.more.metadata().unwrap().len() as usize];
    files.more.read_exact_at(&mut more, 0).unwrap();
    let ports = plan.v4.ports..plan.v4.ports + JOURNAL / 2 * 8;
    tables[plan.v4.journal_ports..plan.v4.journal_ports + ports.len()].copy_from_slice(&more[ports]);
    let note = (super::layout::NOTES_V4 + Note::Journal as usize) * 8;
    tables[note] = (JOURNAL / 2) as u8;
    fs::write(fixture(super::layout::LAYOUT, "tables"), tables).unwrap();
    fs::write(fixture(super::layout::LAYOUT, "more"), more).unwrap();
    let rows = made.iter().map(|row| format!("{row}\n")).collect::<String>();
    fs::write(fixture(super::layout::LAYOUT, "rows"), rows).unwrap();
}

/// Files of each layout that there ever was, as the program wrote them that was the last to write it.
#[test]
fn every_layout_that_there_ever_was_is_read() {
    for layout in 1..=super::layout::LAYOUT {
        let files = Files::new();
        files.tables.write_all_at(&fs::read(fixture(layout, "tables")).unwrap(), 0).unwrap();
        files.more.write_all_at(&fs::read(fixture(layout, "more")).unwrap(), 0).unwrap();
        let old = files.old().unwrap();
        let header = *old.header();
        assert_eq!((header.layout, header.identity, header.shape), (layout, IDENTITY, FIXTURE));
        assert_eq!((header.nanoseconds, header.boot_offset, header.connections), (123_456_789_012, -42, 38));
        assert!(!header.is_clean);
        let version = header.version.map(|version| version.to_string());
        assert_eq!(version.as_deref(), [None, None, Some("0.1.0")][layout as usize]);
        let expected = fs::read_to_string(fixture(layout, "rows")).unwrap();
        let expected: Vec<&str> = expected.lines().collect();
        let rows = rows(&old);
        // Those of IPv4 in the journal too.
        assert_eq!((rows.len(), expected.len()), (19 + 38, 38));
        for row in &rows {
            assert!(expected.contains(&format!("{row:?}").as_str()), "layout {layout}: {row:?}");
            let mut found = 0;
            old.find(row.client, row.protocol, |other, _| found += usize::from(other == *row));
            assert_eq!(found, if row.client.is_ipv4() { 2 } else { 1 });
        }
        let told: BTreeSet<String> = rows.iter().map(|row| format!("{row:?}")).collect();
        assert_eq!(told.len(), expected.len());
        let templates = old.templates().unwrap();
        assert!(templates.iter().zip(1..).all(|(word, value)| word.load(Ordering::Relaxed) == value));
        assert_eq!((templates.len(), old.template_notes()[0]), (16, 1));
    }
}
