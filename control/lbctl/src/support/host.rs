//! The machine: what the kernel shows in files, and what programs say.

use super::archive::Archive;
use super::programs;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a program may take.
const PROGRAM: Duration = Duration::from_secs(5);

/// Files that are taken as they are.
const FILES: [(&str, &str); 17] = [
    ("host/os-release", "/etc/os-release"),
    ("host/kernel", "/proc/version"),
    ("host/cmdline", "/proc/cmdline"),
    ("host/meminfo", "/proc/meminfo"),
    ("host/modules", "/proc/modules"),
    ("host/loadavg", "/proc/loadavg"),
    ("host/uptime", "/proc/uptime"),
    ("host/softnet_stat", "/proc/net/softnet_stat"),
    ("host/dev", "/proc/net/dev"),
    ("host/cpus/online", "/sys/devices/system/cpu/online"),
    ("host/cpus/isolated", "/sys/devices/system/cpu/isolated"),
    ("host/cpus/nohz_full", "/sys/devices/system/cpu/nohz_full"),
    ("host/cpus/smt", "/sys/devices/system/cpu/smt/control"),
    ("host/cpus/governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    ("host/nodes", "/sys/devices/system/node/online"),
    ("host/transparent_hugepages", "/sys/kernel/mm/transparent_hugepage/enabled"),
    ("host/mounts", "/proc/mounts"),
];

/// Programs whose output is taken.
const PROGRAMS: [(&str, &[&str]); 9] = [
    ("host/lspci", &["lspci", "-nnk"]),
    ("host/lscpu", &["lscpu"]),
    ("host/addresses", &["ip", "-d", "address"]),
    ("host/links", &["ip", "-d", "-s", "link"]),
    ("host/routes", &["ip", "route", "show", "table", "all"]),
    ("host/routes-ipv6", &["ip", "-6", "route", "show", "table", "all"]),
    ("host/rules", &["ip", "rule"]),
    ("host/devbind", &["dpdk-devbind.py", "--status-dev", "net"]),
    ("host/memory-of-dev-shm", &["df", "-h", "/dev/shm"]),
];

/// Limits of a control group.
const LIMITS: [&str; 7] = [
    "memory.max",
    "memory.high",
    "memory.current",
    "cpu.max",
    "cpuset.cpus.effective",
    "pids.max",
    "memory.events",
];

/// Gathers it, and the log of `unit`; what is left at `end` is missing.
pub(super) fn gather(process: Option<i32>, unit: &str, end: Instant, archive: &mut Archive) {
    for (name, path) in FILES {
        archive.add_file(name, Path::new(path));
    }
    add_text(archive, "host/cpuinfo", "/proc/cpuinfo, of the first processor", cpus());
    add_text(archive, "host/hugepages", "/sys/kernel/mm/hugepages, and of each node", huge_pages());
    // This process's is nothing to lbd.
    if let Some(process) = process {
        add_text(
            archive,
            "lbd/limits-of-group",
            "its control group, and those above it",
            group_limits(process),
        );
    }
    let of_unit: [(&str, &[&str]); 2] = [
        ("lbd/unit", &["systemctl", "cat", "--no-pager", unit]),
        ("lbd/log", &["journalctl", "--no-pager", "--output=short-iso", "--lines=5000", "--unit", unit]),
    ];
    for (name, words) in PROGRAMS.into_iter().chain(of_unit) {
        let limit = PROGRAM.min(end.saturating_duration_since(Instant::now()));
        if limit.is_zero() {
            archive.lack(name, "there was no time left");
            continue;
        }
        match programs::run(words, limit) {
            Ok((bytes, note)) => archive.add_with(name, &words.join(" "), bytes, note.into_iter().collect()),
            Err(why) => archive.lack(name, &why),
        }
    }
}

/// The unit of systemd that a process belongs to.
pub(super) fn unit_of(process: i32) -> Option<String> {
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    let mut parts = groups.lines().flat_map(|line| line.rsplit('/'));
    parts.find(|part| part.ends_with(".service")).map(str::to_owned)
}

fn add_text(archive: &mut Archive, name: &str, source: &str, text: Result<String, String>) {
    match text {
        Ok(text) => archive.add(name, source, text.into_bytes()),
        Err(why) => archive.lack(name, &why),
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The first processor with its flags, and how many there are: of 256 alike one is enough.
fn cpus() -> Result<String, String> {
    let text = read(Path::new("/proc/cpuinfo"))?;
    let first = text.split("\n\n").next().unwrap_or_default();
    let count = text.lines().filter(|line| line.starts_with("processor")).count();
    Ok(format!("{count} processors; the first one:\n{first}\n"))
}

/// How many huge pages of each size there are, on the machine and on each node.
fn huge_pages() -> Result<String, String> {
    let mut folders = vec!["/sys/kernel/mm/hugepages".to_owned()];
    let nodes = fs::read_dir("/sys/devices/system/node").into_iter().flatten().flatten();
    let nodes = nodes.map(|node| node.path()).filter(|node| node.join("hugepages").is_dir());
    folders.extend(nodes.map(|node| node.join("hugepages").display().to_string()));
    let mut lines = Vec::new();
    for folder in folders {
        for size in fs::read_dir(&folder).map_err(|error| format!("{folder}: {error}"))?.flatten() {
            for name in ["nr_hugepages", "free_hugepages", "resv_hugepages", "surplus_hugepages"] {
                let path = size.path().join(name);
                if let Ok(number) = read(&path) {
                    lines.push(format!("{}: {}\n", path.display(), number.trim()));
                }
            }
        }
    }
    lines.sort();
    Ok(lines.concat())
}

/// The limits of a process's control group and of those that it is in: the lowest counts.
fn group_limits(process: i32) -> Result<String, String> {
    let groups = read(Path::new(&format!("/proc/{process}/cgroup")))?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let mut text = groups.clone();
    for group in Path::new(own).ancestors() {
        let folder = Path::new("/sys/fs/cgroup").join(group.strip_prefix("/").unwrap_or(group));
        for name in LIMITS {
            let path = folder.join(name);
            if let Ok(value) = read(&path) {
                text += &format!("{}: {}\n", path.display(), value.trim().replace('\n', ", "));
            }
        }
    }
    Ok(text)
}
