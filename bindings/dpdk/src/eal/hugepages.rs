//! Which memory DPDK runs on.

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{AccessFlags, access};
use std::fmt;
use std::fs::{self, DirEntry, File};
use std::path::{Path, PathBuf};

/// What the configuration says of huge pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hugepages {
    /// Use them if enough are free and mounted, ordinary pages otherwise.
    #[default]
    Auto,
    /// Use them or fail.
    Require,
    /// Use ordinary pages.
    Never,
}

/// The memory that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoryMode {
    /// Huge pages, as files that DPDK's own tools can attach to.
    Huge,
    /// Ordinary pages, and why.
    Ordinary(String),
}

impl fmt::Display for MemoryMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Huge => f.write_str("huge pages"),
            Self::Ordinary(why) => write!(f, "ordinary pages ({why})"),
        }
    }
}

/// Chooses the memory for `needed_mb` MiB on this machine; the error says what is missing, and the
/// remedy. `mount_needed` is false if the EAL is configured to keep its memory out of the file system.
pub(crate) fn choose(wish: Hugepages, needed_mb: u32, mount_needed: bool) -> Result<MemoryMode, String> {
    if wish == Hugepages::Never {
        return Ok(MemoryMode::Ordinary("as configured".into()));
    }
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mounts = Mount::read_all(&mounts, default_page_kib());
    let pages = Path::new("/sys/kernel/mm/hugepages");
    let missing = match writable(mounts, may_write) {
        Ok(mounts) => missing(pages, &mounts, needed_mb, mount_needed),
        // Whether there are pages at all matters more.
        Err(why) => missing(pages, &[], needed_mb, false).or(mount_needed.then_some(why)),
    };
    match missing {
        None => Ok(MemoryMode::Huge),
        Some(why) if wish == Hugepages::Require => Err(format!(
            "{why}; remedy: sysctl vm.nr_hugepages={} and mount -t hugetlbfs none /dev/hugepages",
            needed_mb.div_ceil(2)
        )),
        Some(why) => Ok(MemoryMode::Ordinary(why)),
    }
}

/// Whether this process may make files in a folder.
fn may_write(directory: &Path) -> bool {
    access(directory, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
}

/// The mounts in which this process may make files; the error says that it may in none of those that there are.
fn writable(mut mounts: Vec<Mount>, may_write: impl Fn(&Path) -> bool) -> Result<Vec<Mount>, String> {
    let first = mounts.first().map(|mount| mount.directory.display().to_string());
    mounts.retain(|mount| may_write(&mount.directory));
    match first.filter(|_| mounts.is_empty()) {
        None => Ok(mounts),
        Some(directory) => {
            let user = nix::unistd::getuid();
            Err(format!(
                "user {user} may not make files in {directory}: chgrp natlb {directory} && chmod 1770 {directory}, for a user \
                 of that group"
            ))
        }
    }
}

/// Why huge pages can't be used; `None` if they can.
fn missing(sysfs: &Path, mounts: &[Mount], needed_mb: u32, mount_needed: bool) -> Option<String> {
    // The size of a page and what is free in pages of it, in KiB.
    let idle: Vec<(u64, u64)> = fs::read_dir(sysfs)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let size: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let free = fs::read_to_string(entry.path().join("free_hugepages")).ok()?;
            Some((size, size * free.trim().parse::<u64>().ok()?))
        })
        .collect();
    // What dead programs left is removed before the EAL takes its own: see `remove_others`.
    let left = mounts.iter().flat_map(|mount| map_files(&mount.directory));
    let left_kib = left.filter_map(|file| unused_bytes(&file)).sum::<u64>() / 1024;
    let needed_kib = u64::from(needed_mb) * 1024;
    let free_kib = left_kib + idle.iter().map(|(_, free)| free).sum::<u64>();
    if free_kib < needed_kib {
        return Some(format!("{} MiB of huge pages are free, {needed_mb} MiB are needed", free_kib / 1024));
    }
    if !mount_needed {
        return None;
    }
    if mounts.is_empty() {
        return Some("no hugetlbfs is mounted".to_owned());
    }
    // The EAL leaves pages out of a size that no hugetlbfs is mounted for.
    let is_mounted = |size: u64| mounts.iter().any(|mount| mount.page_kib == Some(size));
    let usable_kib =
        left_kib + idle.iter().filter(|(size, _)| is_mounted(*size)).map(|(_, free)| free).sum::<u64>();
    (usable_kib < needed_kib).then(|| {
        format!(
            "{} MiB of huge pages are free of the sizes that a hugetlbfs is mounted for, {needed_mb} MiB \
             are needed",
            usable_kib / 1024
        )
    })
}

/// Where a hugetlbfs is mounted.
#[derive(Debug)]
struct Mount {
    directory: PathBuf,
    /// The size of its pages; `None` if it is unknown.
    page_kib: Option<u64>,
}

impl Mount {
    /// Those in the text of `/proc/mounts`. Without the option `pagesize=`, the default size holds.
    fn read_all(mounts: &str, default_kib: Option<u64>) -> Vec<Self> {
        let read = |line: &str| {
            let mut words = line.split_whitespace().skip(1);
            let directory = PathBuf::from(words.next()?);
            words.next().filter(|kind| *kind == "hugetlbfs")?;
            let size = words.next()?.split(',').find_map(|option| option.strip_prefix("pagesize="));
            Some(Self { directory, page_kib: size.map_or(default_kib, size_kib) })
        };
        mounts.lines().filter_map(read).collect()
    }
}

/// A size as in the options of a mount: `2M`, `1024M`, `1G`, `64K`, or bytes.
fn size_kib(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match &text[digits.len()..] {
        "" => Some(number / 1024),
        "K" | "k" => Some(number),
        "M" | "m" => number.checked_mul(1 << 10),
        "G" | "g" => number.checked_mul(1 << 20),
        _ => None,
    }
}

/// The default size of a huge page.
fn default_page_kib() -> Option<u64> {
    let memory = fs::read_to_string("/proc/meminfo").ok()?;
    let size = memory.lines().find_map(|line| line.strip_prefix("Hugepagesize:"))?;
    size.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The EAL's files in a directory of huge pages, of all programs.
fn map_files(directory: &Path) -> Vec<DirEntry> {
    let is_one = |entry: &DirEntry| entry.file_name().to_string_lossy().contains("map_");
    fs::read_dir(directory).into_iter().flatten().flatten().filter(is_one).collect()
}

/// The size of a file that no program holds: those that do keep a lock on it.
fn unused_bytes(entry: &DirEntry) -> Option<u64> {
    let file = File::open(entry.path()).ok()?;
    let size = file.metadata().ok()?.len();
    Flock::lock(file, FlockArg::LockExclusiveNonblock).ok().map(|_| size)
}

/// Gives back the huge pages that the EAL leaves behind in files, even when it is cleaned up.
pub(crate) fn remove_files(prefix: &str) {
    remove(&mounted(), |file| is_of(file, prefix));
}

/// Gives back the huge pages that programs of other prefixes have left behind that are dead. The EAL does so by itself
/// only where it takes none of its own over, either.
pub(crate) fn remove_others(prefix: &str) {
    remove(&mounted(), |file| is_left_by_others(file, prefix));
}

fn is_of(file: &DirEntry, prefix: &str) -> bool {
    file.file_name().to_string_lossy().starts_with(&format!("{prefix}map_"))
}

fn is_left_by_others(file: &DirEntry, prefix: &str) -> bool {
    !is_of(file, prefix) && unused_bytes(file).is_some()
}

/// Where hugetlbfs is mounted, whatever the size of its pages.
fn mounted() -> Vec<Mount> {
    Mount::read_all(&fs::read_to_string("/proc/mounts").unwrap_or_default(), None)
}

/// Removes those of all programs' files that are `wanted`.
fn remove(mounts: &[Mount], wanted: impl Fn(&DirEntry) -> bool) {
    for file in mounts.iter().flat_map(|mount| map_files(&mount.directory)).filter(wanted) {
        if let Err(why) = fs::remove_file(file.path()) {
            log::debug!("{}: {why}", file.path().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTED: &str = "proc /proc proc rw 0 0\nhugetlbfs /dev/hugepages hugetlbfs rw,pagesize=2M 0 0\n";

    #[test]
    fn only_where_files_may_be_made_are_huge_pages_of_use() {
        let mounts = || Mount::read_all(MOUNTED, None);
        assert_eq!(writable(mounts(), |_| true).unwrap().len(), 1);
        let why = writable(mounts(), |_| false).unwrap_err();
        assert!(why.contains("may not make files in /dev/hugepages: chgrp natlb /dev/hugepages"), "{why}");
        assert!(
            writable(Vec::new(), |_| false).unwrap().is_empty(),
            "that none is mounted is said elsewhere"
        );
    }

    /// A directory as the kernel's, with `small` free pages of 2 MiB and `large` of 1 GiB.
    fn sysfs(small: u32, large: u32) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (size, free) in [("2048", small), ("1048576", large)] {
            let directory = root.path().join(format!("hugepages-{size}kB"));
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("free_hugepages"), format!("{free}\n")).unwrap();
        }
        root
    }

    /// What is missing with these mounts, where pages are of 2 MiB by default.
    fn missing(sysfs: &Path, mounts: &str, needed_mb: u32, mount_needed: bool) -> Option<String> {
        super::missing(sysfs, &Mount::read_all(mounts, Some(2048)), needed_mb, mount_needed)
    }

    #[test]
    fn enough_free_and_mounted_is_used() {
        let large = "none /mnt/1 hugetlbfs rw,relatime,pagesize=1024M 0 0\n";
        assert_eq!(missing(sysfs(128, 0).path(), MOUNTED, 256, true), None);
        assert_eq!(missing(sysfs(128, 0).path(), "none /mnt/2 hugetlbfs rw 0 0\n", 256, true), None);
        assert_eq!(missing(sysfs(0, 1).path(), large, 256, true), None);
        assert_eq!(missing(sysfs(128, 1).path(), &format!("{MOUNTED}{large}"), 1280, true), None);
        assert_eq!(missing(sysfs(128, 0).path(), "", 256, false), None);
    }

    #[test]
    fn pages_of_a_size_that_is_not_mounted_do_not_count() {
        let short = missing(sysfs(8, 1).path(), MOUNTED, 256, true).unwrap();
        assert!(short.starts_with("16 MiB of huge pages are free of the sizes"), "{short}");
        let unknown = "none /mnt/x hugetlbfs rw,pagesize=2X 0 0\n";
        assert!(missing(sysfs(128, 0).path(), unknown, 256, true).is_some());
        assert_eq!(missing(sysfs(8, 1).path(), MOUNTED, 256, false), None);
    }

    #[test]
    fn sizes_are_read() {
        let sizes = ["64K", "2M", "1024M", "1G", "2097152", "2X", ""].map(size_kib);
        let expected = [Some(64), Some(2048), Some(1 << 20), Some(1 << 20), Some(2048), None, None];
        assert_eq!(sizes, expected);
    }

    #[test]
    fn what_is_missing_is_said() {
        let short = missing(sysfs(127, 0).path(), MOUNTED, 256, true).unwrap();
        assert_eq!(short, "254 MiB of huge pages are free, 256 MiB are needed");
        let unmounted = missing(sysfs(128, 0).path(), "", 256, true).unwrap();
        assert_eq!(unmounted, "no hugetlbfs is mounted");
        assert!(missing(Path::new("/nonexistent"), MOUNTED, 1, true).is_some());
    }

    #[test]
    fn what_dead_programs_left_counts_as_free() {
        let directory = tempfile::tempdir().unwrap();
        let mounts = format!("hugetlbfs {} hugetlbfs rw 0 0\n", directory.path().display());
        let missing = || missing(sysfs(1, 0).path(), &mounts, 6, true);
        let held = File::create(directory.path().join("amap_0")).unwrap();
        held.set_len(2 << 20).unwrap();
        File::create(directory.path().join("bmap_1")).unwrap().set_len(2 << 20).unwrap();
        File::create(directory.path().join("other")).unwrap().set_len(2 << 20).unwrap();
        assert_eq!(missing(), None);
        let lock = Flock::lock(held, FlockArg::LockSharedNonblock).unwrap();
        assert_eq!(missing().unwrap(), "4 MiB of huge pages are free, 6 MiB are needed");
        drop(lock);
    }

    #[test]
    fn own_files_stay_and_those_of_programs_that_live() {
        let directory = tempfile::tempdir().unwrap();
        let mounts =
            Mount::read_all(&format!("none {} hugetlbfs rw 0 0\n", directory.path().display()), None);
        let files = ["natlbmap_0", "natlbmap_1", "deadmap_0", "livemap_0", "other"];
        let [.., live, _] = files.map(|name| File::create(directory.path().join(name)).unwrap());
        let names = || {
            let mut names: Vec<_> = fs::read_dir(directory.path()).unwrap().flatten().collect();
            names.sort_by_key(DirEntry::file_name);
            names.iter().map(|file| file.file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        let _held = Flock::lock(live, FlockArg::LockSharedNonblock).unwrap();
        remove(&mounts, |file| is_left_by_others(file, "natlb"));
        assert_eq!(names(), ["livemap_0", "natlbmap_0", "natlbmap_1", "other"]);
        remove(&mounts, |file| is_of(file, "natlb"));
        assert_eq!(names(), ["livemap_0", "other"]);
    }

    #[test]
    fn never_is_never_and_require_fails_with_a_remedy() {
        assert!(matches!(choose(Hugepages::Never, 1, true), Ok(MemoryMode::Ordinary(_))));
        let refusal = choose(Hugepages::Require, u32::MAX, true).unwrap_err();
        assert!(refusal.contains("vm.nr_hugepages=2147483648"), "{refusal}");
        assert!(matches!(choose(Hugepages::Auto, u32::MAX, true), Ok(MemoryMode::Ordinary(_))));
    }
}
