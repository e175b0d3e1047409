use super::*;
use crate::config;
use dataplane::names::ids::{InterfaceId, NextHopId, Protocol, RealId, RealKey, ServiceKey};
use std::fs;
use std::os::unix::fs::FileExt;

const SHAPE: Shape = Shape { v4: 64, v6: 32, templates: 64 };
const KEY: HashKey = HashKey { mask: 1, multiplier: 3 };
const WORKERS: usize = 2;

/// A machine of the test's own, in memory.
struct Bench {
    above: tempfile::TempDir,
    machine: Machine,
    config: Config,
    shape: Shape,
}

impl Bench {
    fn new() -> Self {
        Self::on(tempfile::tempdir_in("/dev/shm").unwrap())
    }

    fn on(above: tempfile::TempDir) -> Self {
        let machine = Machine {
            memory: above.path().to_path_buf(),
            huge: Vec::new(),
            pages: above.path().join("nowhere"),
            memory_info: above.path().join("meminfo"),
        };
        Self { above, machine, config: config("vip0", "dip0"), shape: SHAPE }
    }

    fn open(&self) -> Result<Keeping, KeepError> {
        Keeping::open_on(self.machine.clone(), &self.config, &mut Handed::default())
    }

    /// A process up to the moment before its first snapshot.
    fn started(&self) -> Keeping {
        let mut keeping = self.open().unwrap();
        keeping.begin(WORKERS, self.shape, true);
        keeping
    }

    /// A process that has forwarded and was killed, with so many connections on each worker.
    fn killed(&self, connections: u64) {
        self.run(connections, |_| ());
    }

    fn run(&self, connections: u64, first: impl FnOnce(&Keeping)) {
        let keeping = self.started();
        first(&keeping);
        let homes: Vec<_> = (0..WORKERS).map(|worker| keeping.home(worker, KEY).unwrap()).collect();
        let (reals, mut hops) = keeping.names().unwrap();
        reals.write(&[(real(7), RealId(0)), (real(8), RealId(1))]).unwrap();
        hops.set(NextHopId(5), InterfaceId(1)).unwrap();
        keeping.set_begun();
        for home in &homes {
            home.heartbeat().beat(2_000_000_000);
            home.heartbeat().note(1, connections);
        }
    }

    fn folder(&self) -> PathBuf {
        self.above.path().join(self.config.control.instance())
    }

    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder()).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// All files but those that stay.
    fn generations(&self) -> Vec<String> {
        let mut names = self.files();
        names.retain(|name| name != "lock" && name != "attempts");
        names
    }
}

fn config(vip: &str, dip: &str) -> Config {
    let text = format!(
        "[[port]]\nname = {vip:?}\nside = \"vip\"\ndevice = \"net_null0\"\naddresses = [\"192.168.10.100/24\"]\n\
         [[port]]\nname = {dip:?}\nside = \"dip\"\ndevice = \"net_null1\"\naddresses = [\"10.0.0.8/24\"]\n"
    );
    config::parse(&text).unwrap()
}

fn real(number: u8) -> RealKey {
    let service = ServiceKey::new(Protocol::Tcp, "192.168.10.100:80".parse().unwrap());
    RealKey { service, endpoint: ([10, 0, 0, number], 80).into() }
}

fn all_of(generation: u64) -> Vec<String> {
    let workers = (0..WORKERS as u16).flat_map(|worker| [Part::Tables(worker), Part::More(worker)]);
    let mut names: Vec<_> = workers.chain([Part::Names]).map(|part| part.file_name(generation)).collect();
    names.sort();
    names
}

fn connections(predecessors: &Predecessors) -> Vec<u64> {
    let areas = predecessors.files.iter().flat_map(|files| &files.areas);
    areas.map(|old| old.header().connections).collect()
}

#[test]
fn what_a_killed_process_had_is_found_by_the_next() {
    let bench = Bench::new();
    bench.killed(1000);
    assert_eq!(bench.generations(), all_of(1));
    let next = bench.started();
    let predecessors = next.predecessors();
    assert_eq!(connections(&predecessors), [1000, 1000]);
    let files = &predecessors.files[0];
    assert_eq!((files.number(), next.generation()), (1, Some(2)));
    assert_eq!(files.reals, [Some(real(7)), Some(real(8))]);
    assert_eq!(files.interfaces[4..6], [None, Some(InterfaceId(1))]);
    assert_eq!(files.interfaces[NextHopId::behind(InterfaceId(0)).0 as usize], Some(InterfaceId(0)));
    let identity = files.areas[1].header().identity;
    assert_eq!((identity.worker, identity.workers, identity.generation), (1, 2, 1));
    next.remove(&predecessors);
    assert_eq!(bench.generations(), ["2.names"]);
}

#[test]
fn interfaces_are_known_by_their_names() {
    let mut bench = Bench::new();
    bench.killed(1);
    bench.config = config("dip0", "uplink");
    let predecessors = bench.started().predecessors();
    let files = &predecessors.files[0];
    assert_eq!(files.interfaces[5], Some(InterfaceId(0)), "what was the second is the first");
    assert_eq!(files.interfaces[NextHopId::behind(InterfaceId(0)).0 as usize], None, "vip0 is gone");
}

#[test]
fn a_start_that_fails_leaves_what_was_there_and_nothing_new() {
    let bench = Bench::new();
    bench.killed(1);
    let before = bench.files();
    drop(bench.started());
    let failed = bench.started();
    failed.home(0, KEY).unwrap();
    drop(failed);
    assert_eq!(bench.files(), before);
    assert_eq!(connections(&bench.started().predecessors()), [1, 1]);
}

#[test]
fn two_generations_are_left_by_a_process_that_was_killed_while_it_took_over() {
    let bench = Bench::new();
    bench.killed(1);
    bench.killed(2);
    let predecessors = bench.started().predecessors();
    assert_eq!(connections(&predecessors), [2, 2, 1, 1], "the newest first");
}

#[test]
fn what_never_forwarded_has_nothing_and_goes() {
    let bench = Bench::new();
    let started = bench.started();
    started.home(0, KEY).unwrap();
    let started = Box::new(started);
    let holder = bench.open();
    assert!(matches!(holder, Err(KeepError::Folder(FolderError::Held { .. }))), "its lock is this process's");
    let mut handed = Handed::default();
    Box::leak(started).share_locks(&mut handed).unwrap();
    let next = Keeping::open_on(bench.machine.clone(), &bench.config, &mut handed).unwrap();
    assert!(next.predecessors().files.is_empty());
    assert!(bench.generations().is_empty());
}

#[test]
fn one_process_at_a_time_has_the_folder_and_may_hand_it_over() {
    let bench = Bench::new();
    let first = bench.started();
    let refused = bench.open().unwrap_err().to_string();
    let expected =
        format!("connections cannot be kept: {}: process {} (", bench.folder().display(), std::process::id());
    assert!(refused.starts_with(&expected), "{refused}");
    assert!(refused.ends_with("stop it, or name another folder as [connections] keep"), "{refused}");
    let mut handed = Handed::default();
    first.share_locks(&mut handed).unwrap();
    let mut successor = Keeping::open_on(bench.machine.clone(), &bench.config, &mut handed).unwrap();
    assert_eq!(handed.iter().count(), 0, "it has them all");
    successor.begin(WORKERS, SHAPE, false);
    assert_eq!(successor.generation(), Some(2));
    let homes: Vec<_> = (0..WORKERS).map(|worker| first.home(worker, KEY).unwrap()).collect();
    first.set_begun();
    drop((first, homes));
    assert!(bench.open().is_err(), "the successor has it");
    let predecessors = successor.predecessors();
    assert_eq!(predecessors.files.len(), 1, "what came after the successor was made");
    drop(successor);
    assert!(bench.open().is_ok());
}

#[test]
fn after_three_crashes_in_a_row_all_begins_anew_and_the_files_are_left_aside() {
    let bench = Bench::new();
    bench.killed(1);
    for crash in 0..3 {
        assert_eq!(connections(&bench.started().predecessors()), [1, 1], "after {crash} crashes");
    }
    let spared = bench.started();
    assert!(spared.predecessors().files.is_empty());
    let bad: Vec<_> = all_of(1).iter().map(|name| format!("{name}.bad")).collect();
    let mut expected = bad.clone();
    expected.push("2.names".into());
    expected.sort();
    assert_eq!(bench.generations(), expected);
    drop(spared);
    assert_eq!(bench.generations(), bad);
    bench.killed(5);
    let next = bench.started();
    assert_eq!(connections(&next.predecessors()), [5, 5], "it counts anew");
    assert!(bench.generations().contains(&"1.names.bad".into()), "until another is set aside");
}

#[test]
fn a_process_that_ran_for_a_while_or_ended_in_order_is_no_crash() {
    let bench = Bench::new();
    bench.killed(1);
    for _ in 0..10 {
        let process = bench.started();
        assert_eq!(connections(&process.predecessors()), [1, 1]);
        process.succeeded();
    }
    // Nor is one that somebody kills, however often, once it has read all.
    for _ in 0..10 {
        let process = bench.started();
        assert_eq!(connections(&process.predecessors()), [1, 1]);
        process.read_all();
    }
    // Nor is one that found nothing.
    let bench = Bench::new();
    for _ in 0..10 {
        assert!(bench.started().predecessors().files.is_empty());
    }
    bench.killed(1);
    assert_eq!(connections(&bench.started().predecessors()), [1, 1]);
}

#[test]
fn damaged_tables_are_set_aside_and_the_others_are_read() {
    let bench = Bench::new();
    let tables = bench.folder().join("1.1.tables");
    let forge = |at: u64, bytes: &[u8]| {
        let file = fs::OpenOptions::new().write(true).open(&tables).unwrap();
        file.write_all_at(bytes, at).unwrap();
    };
    let damages: [(&str, &dyn Fn()); 5] = [
        ("foreign", &|| forge(0, b"foreign!")),
        ("of a newer layout", &|| forge(8, &[99])),
        ("forged", &|| forge(40, &[7; 8])),
        ("cut off", &|| fs::OpenOptions::new().write(true).open(&tables).unwrap().set_len(100).unwrap()),
        ("of another worker", &|| {
            fs::copy(bench.folder().join("1.0.tables"), &tables).unwrap();
        }),
    ];
    for (what, damage) in damages {
        bench.killed(3);
        damage();
        let next = bench.started();
        let predecessors = next.predecessors();
        assert_eq!(connections(&predecessors), [3], "{what}");
        next.remove(&predecessors);
        next.succeeded();
        drop(next);
        assert_eq!(bench.generations(), ["1.1.more.bad", "1.1.tables.bad"], "{what}");
    }
}

#[test]
fn without_names_nothing_is_read() {
    let bench = Bench::new();
    let names = bench.folder().join("1.names");
    let damages: [&dyn Fn(); 3] =
        [&|| fs::remove_file(&names).unwrap(), &|| fs::write(&names, "short").unwrap(), &|| {
            let file = fs::OpenOptions::new().write(true).open(&names).unwrap();
            file.write_all_at(b"forged", 20).unwrap();
        }];
    for damage in damages {
        bench.killed(3);
        damage();
        assert!(bench.started().predecessors().files.is_empty());
        let left = bench.generations();
        assert!(
            left.contains(&"1.0.tables.bad".into()) && left.iter().all(|name| name.ends_with(".bad")),
            "{left:?}"
        );
    }
    // A file of one generation in place of another's.
    bench.killed(3);
    fs::rename(bench.folder().join("1.names"), bench.folder().join("5.names")).unwrap();
    assert!(bench.started().predecessors().files.is_empty());
}

#[test]
fn connections_of_before_the_machine_was_booted_are_given_up() {
    let bench = Bench::new();
    let mut keeping = bench.open().unwrap();
    keeping.boot = [9; 16];
    keeping.begin(WORKERS, SHAPE, true);
    let _homes: Vec<_> = (0..WORKERS).map(|worker| keeping.home(worker, KEY).unwrap()).collect();
    keeping.set_begun();
    drop(keeping);
    let next = bench.started();
    assert!(next.predecessors().files.is_empty());
    assert_eq!(bench.generations(), ["2.names"]);
}

#[test]
fn off_gives_up_what_there_is_and_makes_nothing() {
    let mut bench = Bench::new();
    bench.killed(1);
    bench.config.keep = Keep::Off;
    let off = bench.started();
    assert_eq!(bench.generations(), all_of(1), "nothing happens before it forwards");
    assert!(off.home(0, KEY).is_none() && off.names().is_none() && off.place().is_none());
    assert!(off.predecessors().files.is_empty());
    assert!(bench.generations().is_empty());
}

#[test]
fn what_another_folder_has_is_found_after_the_configuration_has_changed() {
    let mut bench = Bench::new();
    bench.killed(1);
    bench.config.keep = Keep::In(bench.above.path().join("named"));
    let named = bench.started();
    assert_eq!(named.place(), Some(&*bench.above.path().join("named")));
    let predecessors = named.predecessors();
    assert_eq!(connections(&predecessors), [1, 1]);
    named.remove(&predecessors);
    assert!(bench.generations().is_empty());
}

#[test]
fn a_folder_that_is_named_and_is_not_fit_is_an_error_and_the_usual_one_a_warning() {
    let mut bench = Bench::new();
    let path = bench.folder();
    fs::write(&path, "").unwrap();
    let mut keeping = bench.open().unwrap();
    keeping.begin(WORKERS, SHAPE, true);
    assert!(keeping.place().is_none() && keeping.predecessors().files.is_empty());
    bench.config.keep = Keep::In(path.clone());
    let error = bench.open().unwrap_err().to_string();
    assert_eq!(
        error,
        format!("connections cannot be kept: {}: it is not a folder; remove it", path.display())
    );
    bench.config.keep = Keep::In(bench.above.path().join("not there/named"));
    let error = bench.open().unwrap_err().to_string();
    assert!(error.contains("not there/named: No such file or directory"), "{error}");
}

/// A small tmpfs of the test's own; `None`: only root can mount one.
struct Mounted(PathBuf);

impl Mounted {
    fn new(path: &Path, options: &str) -> Option<Self> {
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "natlb-test"])
            .arg(path)
            .output();
        mount.is_ok_and(|mount| mount.status.success()).then(|| Self(path.to_path_buf()))
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let mount = std::process::Command::new("mount").args(["-o", &options]).arg(&self.0).status();
        assert!(mount.unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_tmpfs_keeps_nothing_new_and_all_that_is_there() {
    let bench = Bench { shape: Shape { v4: 1 << 14, ..SHAPE }, ..Bench::new() };
    // Room for one generation, and half of another.
    let size = kept::bytes(bench.shape).tables * WORKERS * 3 / 2;
    let Some(mounted) = Mounted::new(bench.above.path(), &format!("size={size}")) else { return };
    bench.killed(4);
    let next = bench.started();
    assert!(next.home(0, KEY).is_none() && next.place().is_none(), "there is no room for a second one");
    let predecessors = next.predecessors();
    assert_eq!(connections(&predecessors), [4, 4]);
    next.remove(&predecessors);
    drop((next, predecessors));
    // Room for all tables, it seems, but it goes before they are made.
    let next = bench.started();
    assert!(next.lack_of_next().is_none());
    let first = next.home(0, KEY);
    assert!(first.is_some());
    let free = free_in(bench.above.path());
    fs::write(bench.above.path().join("ballast"), vec![1; free as usize]).unwrap();
    assert!(next.home(1, KEY).is_none(), "a line, and the worker has other memory");
    assert_eq!(bench.generations(), ["1.0.more", "1.0.tables", "1.names"], "nothing half made is left");
    let lack = next.lack_of_next().unwrap();
    assert!(lack.contains("connections will outlive this process, but not the next one"), "{lack}");
    drop((next, first, mounted));
}

#[test]
fn old_tables_give_way_where_new_ones_find_no_memory_otherwise() {
    let mut bench = Bench::new();
    let bytes = kept::bytes(SHAPE).tables as u64 * WORKERS as u64;
    let info = bench.machine.memory_info.clone();
    let available = |bytes: u64| {
        fs::write(&info, format!("MemAvailable: {} kB\n", bytes >> 10)).unwrap();
    };
    bench.killed(4);
    available(bytes);
    assert_eq!(connections(&bench.started().predecessors()), [4, 4], "there is enough");
    available(0);
    bench.shape.v4 = 1 << 14;
    assert_eq!(
        connections(&bench.started().predecessors()),
        [4, 4],
        "without them there would not be enough either"
    );
    bench.shape = SHAPE;
    available(bytes - 4096);
    let mut handed = Handed::default();
    let running = bench.open().unwrap();
    running.share_locks(&mut handed).unwrap();
    let mut successor = Keeping::open_on(bench.machine.clone(), &bench.config, &mut handed).unwrap();
    successor.begin(WORKERS, SHAPE, true);
    assert_eq!(bench.generations(), [all_of(1), vec!["2.names".into()]].concat(), "somebody works with them");
    drop((running, successor));
    let next = bench.started();
    assert!(next.predecessors().files.is_empty());
    assert_eq!(bench.generations(), ["2.names"]);
}

#[test]
fn a_read_only_folder_keeps_nothing() {
    let mut bench = Bench::new();
    let Some(mounted) = Mounted::new(bench.above.path(), "size=4m") else { return };
    bench.killed(4);
    let before = bench.files();
    mounted.remount("ro");
    let mut keeping = bench.open().unwrap();
    keeping.begin(WORKERS, SHAPE, true);
    assert!(keeping.place().is_none());
    bench.config.keep = Keep::In(bench.folder());
    let error = bench.open().unwrap_err().to_string();
    assert!(error.contains("Read-only file system"), "{error}");
    mounted.remount("rw");
    assert_eq!(bench.files(), before);
    drop(mounted);
}
