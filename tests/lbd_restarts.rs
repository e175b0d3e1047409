//! `lbd` is started, ended and started again, on devices that play packets from files: what becomes of connections.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take: the machine may be so busy that a process does not run for seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// The MAC of the first device that plays a file.
const MAC: [u8; 6] = [0x02, 0x70, 0x63, 0x61, 0x70, 0x00];
const CLIENTS: usize = 1000;

/// Files of a test, in memory.
struct Bench {
    directory: TempDir,
}

/// A process.
struct Lbd {
    child: Child,
    log: PathBuf,
    socket: PathBuf,
}

/// How it is ended.
#[derive(Clone, Copy)]
enum End {
    Killed,
    Told,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { directory: tempfile::tempdir_in("/dev/shm").unwrap() };
        bench.play(0);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The next process is sent a datagram by each of so many clients.
    fn play(&self, clients: usize) {
        fs::write(self.path("in.pcap"), pcap(clients)).unwrap();
        fs::write(self.path("none.pcap"), pcap(0)).unwrap();
    }

    /// Starts a process, which keeps its connections in `folder`.
    fn launch(&self, socket: &str, workers: &[usize], keep: &str, service: &str) -> Lbd {
        let (socket, log, config) = (self.path(socket), self.path("log"), self.path("lbd.toml"));
        let text = format!(
            "[eal]\nmain_lcore = {core}\nworkers = {workers:?}\nhugepages = \"never\"\nmemory_mb = 64\n\
             [buffers]\ncount = 4096\ncache = 0\n[control]\nsocket = {socket:?}\nipvs_socket = \"\"\n\
             [[port]]\nname = \"vip0\"\nside = \"vip\"\naddresses = [\"192.168.10.1/24\"]\n\
             device = \"net_pcap0,rx_pcap={input},tx_pcap={output}\"\n\
             [[port]]\nname = \"dip0\"\nside = \"dip\"\naddresses = [\"10.0.0.8/24\"]\n\
             device = \"net_pcap1,rx_pcap={none},tx_pcap={output}\"\n\
             [[neighbour]]\naddress = \"10.0.0.7\"\nmac = \"02:00:00:00:00:07\"\n\
             [connections]\ncapacity = 4096\nkeep = {keep:?}\n[timeouts]\nudp = 1000000\n{service}",
            core = workers[0],
            input = self.path("in.pcap").display(),
            none = self.path("none.pcap").display(),
            output = "/dev/null",
        );
        fs::write(&config, text).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_lbd"))
            .arg("--config")
            .arg(&config)
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Lbd { child, log, socket }
    }

    /// Starts a process, and waits until it forwards.
    fn start(&self, workers: &[usize]) -> Lbd {
        let keep = self.path("kept");
        let mut lbd = self.launch("lbd.sock", workers, keep.to_str().unwrap(), SERVICE);
        lbd.until("it is ready", |lbd| lbd.log().contains("\nready\n"));
        lbd
    }
}

const SERVICE: &str =
    "[[service]]\nlisten = \"udp://192.168.10.100:53\"\n  [[service.real]]\n  address = \"10.0.0.7:53\"\n";

impl Lbd {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !is_so(self) {
            assert!(self.child.try_wait().unwrap().is_none(), "{what}: it has ended: {}", self.log());
            assert!(start.elapsed() < PATIENCE, "{what}: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks on the socket. Returns the answer's line.
    fn ask(&self, command: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        writeln!(stream, "{{\"v\":1,\"command\":{command}}}").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    }

    /// Connections of all workers.
    fn connections(&self) -> usize {
        let status = self.ask("\"status\"");
        let workers = status.split("\"workers\":").nth(1).expect("workers");
        let counts = workers.split("\"connections\":").skip(1);
        counts.map(|text| text.split(',').next().unwrap().parse::<usize>().unwrap()).sum()
    }

    fn end(mut self, how: End) {
        match how {
            End::Killed => self.child.kill().unwrap(),
            End::Told => {
                let pid = self.child.id().to_string();
                assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
            }
        }
        let status = self.wait();
        assert_eq!(status.code(), matches!(how, End::Told).then_some(0), "{}", self.log());
    }

    fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The line that says what was taken over.
    fn taken_over(&mut self) -> String {
        let line = |log: &str| log.lines().find(|line| line.contains("connections: ")).map(str::to_owned);
        self.until("it takes over", |lbd| line(&lbd.log()).is_some());
        line(&self.log()).unwrap()
    }
}

impl Drop for Lbd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file with a datagram of each of so many clients to the service.
fn pcap(clients: usize) -> Vec<u8> {
    let mut file = Vec::new();
    let words: [u32; 6] = [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65_535, 1];
    words.iter().for_each(|word| file.extend(word.to_le_bytes()));
    for client in 0..clients {
        let frame = datagram(10_000 + client as u16);
        let (seconds, length) = (0, frame.len() as u32);
        for word in [seconds, client as u32, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}

fn datagram(port: u16) -> Vec<u8> {
    let [client, vip] = [Ipv4Addr::new(192, 168, 10, 6), Ipv4Addr::new(192, 168, 10, 100)];
    let mut header = vec![0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0];
    header.extend(client.octets().iter().chain(&vip.octets()));
    let words = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let checksum = !((sum >> 16) + (sum & 0xffff)) as u16;
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = [MAC, [2, 0, 0, 0, 0, 6]].concat();
    frame.extend([8, 0]);
    frame.extend(header);
    // Without a checksum.
    for word in [port, 53, 26, 0] {
        frame.extend(word.to_be_bytes());
    }
    frame.resize(60, 0);
    frame
}

/// Cores for one worker, and for two if there are as many.
fn cores() -> (Vec<usize>, Vec<usize>) {
    let cores: Vec<usize> = core_affinity::get_core_ids().unwrap().iter().map(|core| core.id).collect();
    (cores[..1].to_vec(), cores[..cores.len().min(2)].to_vec())
}

#[test]
fn a_reload_by_another_program_that_cannot_take_over_says_so() {
    let (one, _) = cores();
    let bench = Bench::new();
    let mut lbd = bench.start(&one);
    let other = bench.path("lbd-of-another-package");
    fs::copy(env!("CARGO_BIN_EXE_lbd"), &other).unwrap();
    let mut reload = Command::new(other);
    reload.arg("--config").arg(bench.path("lbd.toml")).arg("--reload");
    let reload = reload.output().unwrap();
    let said = String::from_utf8(reload.stderr).unwrap();
    assert_eq!(reload.status.code(), Some(1), "{said}");
    for part in ["cannot take its place: port vip0: device net_pcap0", "restart it instead", "lbctl reload"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(lbd.child.try_wait().unwrap(), None, "{}", lbd.log());
    lbd.end(End::Told);
}

#[test]
fn connections_outlive_the_process_however_it_ends_and_however_many_workers_follow() {
    let (one, two) = cores();
    let bench = Bench::new();
    bench.play(CLIENTS);
    let mut lbd = bench.start(&one);
    lbd.until("all clients are there", |lbd| lbd.connections() == CLIENTS);
    bench.play(0);
    for (end, workers) in [(End::Killed, &two), (End::Told, &one), (End::Killed, &one)] {
        lbd.end(end);
        lbd = bench.start(workers);
        let line = lbd.taken_over();
        assert!(line.contains("connections: 1,000 kept"), "{line}");
        assert!(line.contains("s after the predecessor stopped") && !line.contains("given up"), "{line}");
        assert_eq!(lbd.connections(), CLIENTS);
        let status = lbd.ask("\"status\"");
        assert!(status.contains(&format!("\"where\":{:?}", bench.path("kept"))), "{status}");
        assert!(status.contains("\"connections\":1000,\"gap_ms\":"), "{status}");
    }
    let cleared = lbd.ask("\"clear\",\"connections\":true");
    assert!(cleared.contains("\"connections\":1000"), "{cleared}");
    assert_eq!(lbd.connections(), 0);
    lbd.end(End::Told);
    let mut lbd = bench.start(&two);
    let line = lbd.taken_over();
    assert!(line.contains("connections: 0 kept"), "{line}");
    lbd.end(End::Told);
    let files = fs::read_dir(bench.path("kept")).unwrap().count();
    assert_eq!(files, 2 + 1 + 2 * two.len(), "one generation is left");
}

#[test]
fn what_is_not_served_any_more_is_given_up_and_said() {
    let (one, _) = cores();
    let bench = Bench::new();
    bench.play(CLIENTS);
    let mut lbd = bench.start(&one);
    lbd.until("all clients are there", |lbd| lbd.connections() == CLIENTS);
    bench.play(0);
    lbd.end(End::Killed);
    let keep = bench.path("kept");
    let mut lbd = bench.launch("lbd.sock", &one, keep.to_str().unwrap(), "");
    let line = lbd.taken_over();
    assert!(line.contains("connections: 0 kept, 1,000 given up (1,000: their real is unknown)"), "{line}");
    lbd.end(End::Told);
}

#[test]
fn a_second_process_on_the_folder_is_refused_by_the_name_of_the_first() {
    let (one, _) = cores();
    let bench = Bench::new();
    let first = bench.start(&one);
    let before = fs::read_dir(bench.path("kept")).unwrap().count();
    let keep = bench.path("kept");
    let mut second = bench.launch("other.sock", &one, keep.to_str().unwrap(), SERVICE);
    assert_eq!(second.wait().code(), Some(1));
    let expected = format!(
        "lbd: connections cannot be kept: {}: process {} (lbd) keeps its connections there; stop it, or name another \
         folder as [connections] keep\n",
        keep.display(),
        first.child.id()
    );
    assert!(second.log().ends_with(&expected), "{}", second.log());
    assert_eq!(fs::read_dir(&keep).unwrap().count(), before);
    first.end(End::Told);
}

#[test]
fn a_folder_that_is_not_fit_ends_the_start_with_the_remedy() {
    let (one, _) = cores();
    let bench = Bench::new();
    let on_disk = Path::new("/proc/kept");
    let mut lbd = bench.launch("lbd.sock", &one, on_disk.to_str().unwrap(), SERVICE);
    assert_eq!(lbd.wait().code(), Some(2));
    assert!(lbd.log().contains("keep: /proc/kept is not in memory (proc)"), "{}", lbd.log());
    fs::create_dir(bench.path("open")).unwrap();
    Command::new("chmod").arg("755").arg(bench.path("open")).status().unwrap();
    let mut lbd = bench.launch("lbd.sock", &one, bench.path("open").to_str().unwrap(), SERVICE);
    assert_eq!(lbd.wait().code(), Some(1));
    assert!(lbd.log().contains("others may use it (mode 755)"), "{}", lbd.log());
}
