//! Where files that outlive the process can lie: folders in memory.

use super::folder::{Folder, FolderError};
use crate::config::keep::{FileSystem, Keep};
use crate::handed::{Handed, Kind, Label};
use crate::lock::Lock;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why connections cannot be kept where the configuration says.
#[derive(Debug, Error)]
pub enum KeepError {
    /// Another process does so, or the folder is not fit for it.
    #[error("connections cannot be kept: {0}")]
    Folder(#[from] FolderError),
    /// The folder is on a disk.
    #[error(
        "connections cannot be kept in {0}: it is not in memory ({1}); name a folder on a tmpfs or a hugetlbfs as \
         [connections] keep, or leave keep out"
    )]
    Kind(PathBuf, String),
}

/// What there is on the machine, for tests to have it otherwise.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// Where folders are made unless the configuration names one.
    pub(super) memory: PathBuf,
    /// Where a hugetlbfs is mounted.
    pub(super) huge: Vec<PathBuf>,
    /// Where the kernel says how many huge pages there are.
    pub(super) pages: PathBuf,
    /// Where it says how much other memory there is.
    pub(super) memory_info: PathBuf,
}

impl Machine {
    /// This one.
    pub(super) fn here() -> Self {
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        Self {
            memory: "/dev/shm".into(),
            huge: hugetlbfs(&mounts),
            pages: "/sys/kernel/mm/hugepages".into(),
            memory_info: "/proc/meminfo".into(),
        }
    }

    /// Bytes in huge pages of this size, in bytes, that are free on a hugetlbfs.
    pub(super) fn free_in_huge_pages(&self, mount: &Path, page: u64) -> u64 {
        let of_all = self.free_pages(page);
        // A mount without a limit of its own says that it has no blocks.
        let limit = rustix::fs::statfs(mount).ok().filter(|found| found.f_blocks != 0);
        limit.map_or(of_all, |found| of_all.min(found.f_bavail)) * page
    }

    /// Huge pages of this size, in bytes, that nobody has.
    pub(super) fn free_pages(&self, page: u64) -> u64 {
        let number = |file: &str| -> u64 {
            let path = self.pages.join(format!("hugepages-{}kB", page >> 10)).join(file);
            fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
        };
        number("free_hugepages").saturating_sub(number("resv_hugepages"))
    }

    /// Bytes of other memory that can be taken; `None`: the kernel does not say.
    pub(super) fn available(&self) -> Option<u64> {
        let text = fs::read_to_string(&self.memory_info).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
    }
}

/// The mount points of hugetlbfs in the text of `/proc/mounts`.
fn hugetlbfs(mounts: &str) -> Vec<PathBuf> {
    let mount = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let path = words.next()?;
        // A blank in a path is written as \040; such mounts are left alone.
        (words.next()? == "hugetlbfs" && !path.contains('\\')).then(|| PathBuf::from(path))
    };
    mounts.lines().filter_map(mount).collect()
}

/// Bytes that are free on the file system of a folder.
pub(super) fn free_in(folder: &Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(0, |found| found.f_bavail.saturating_mul(found.f_frsize))
}

/// Folders, and the locks that make them this process's.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The first is where small files are made. None: nothing is kept.
    pub(super) folders: Vec<Folder>,
    /// Of each folder.
    locks: Vec<Lock>,
    /// The one that the configuration names for tables, in huge pages.
    pub(super) named_for_tables: Option<usize>,
}

impl Places {
    /// The folders of an instance, made if `keep` says so, and those that have been handed over. Others are locked.
    ///
    /// # Errors
    /// The one that `keep` names is not fit, or another process has it.
    pub(super) fn open(
        keep: &Keep,
        instance: &str,
        machine: &Machine,
        handed: &mut Handed,
    ) -> Result<Self, KeepError> {
        let mut places = Self::default();
        let usual = machine.memory.join(instance);
        match keep {
            Keep::Off => {}
            Keep::Auto => match file_system(&usual)? {
                FileSystem::Tmpfs => places.add(Folder::open_or_make(&usual)?, handed)?,
                FileSystem::Hugetlbfs(_) => return Err(KeepError::Kind(usual, "hugetlbfs".into())),
                FileSystem::Other(name) => return Err(KeepError::Kind(usual, name)),
            },
            Keep::In(path) => match file_system(path)? {
                FileSystem::Tmpfs => places.add(Folder::open_or_make(path)?, handed)?,
                // Files there can be mapped, but not written.
                FileSystem::Hugetlbfs(_) => {
                    places.add(Folder::open_or_make(&usual)?, handed)?;
                    places.add(Folder::open_or_make(path)?, handed)?;
                    places.named_for_tables = Some(1);
                }
                FileSystem::Other(name) => return Err(KeepError::Kind(path.clone(), name)),
            },
        }
        // An earlier process may have had another configuration.
        let left = handed.iter().map(|(label, _)| label).filter(|label| label.kind == Kind::Folder);
        for path in left.map(|label| PathBuf::from(&label.name)).collect::<Vec<_>>() {
            places.add_if_there(&path, handed);
        }
        for path in [machine.memory.clone()].iter().chain(&machine.huge).map(|path| path.join(instance)) {
            places.add_if_there(&path, handed);
        }
        Ok(places)
    }

    /// The index of a folder, which is made if it is not there.
    ///
    /// # Errors
    /// It is not fit, or another process has it.
    pub(super) fn folder(&mut self, path: &Path) -> Result<usize, FolderError> {
        if let Some(index) = self.index(path) {
            return Ok(index);
        }
        self.add(Folder::open_or_make(path)?, &mut Handed::default())?;
        Ok(self.folders.len() - 1)
    }

    /// Adds all locks, for a process that takes over.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn share_locks(&self, shared: &mut Handed) -> io::Result<()> {
        for (folder, lock) in self.folders.iter().zip(&self.locks) {
            shared.add(label(folder), lock.share()?);
        }
        Ok(())
    }

    fn index(&self, path: &Path) -> Option<usize> {
        self.folders.iter().position(|folder| folder.path() == path)
    }

    fn add(&mut self, folder: Folder, handed: &mut Handed) -> Result<(), FolderError> {
        let lock = match handed.take(&label(&folder)) {
            Some(descriptor) => Lock::of(descriptor),
            None => folder.lock()?,
        };
        self.locks.push(lock);
        self.folders.push(folder);
        Ok(())
    }

    fn add_if_there(&mut self, path: &Path, handed: &mut Handed) {
        if self.index(path).is_some() {
            return;
        }
        let added = Folder::open(path).and_then(|folder| self.add(folder, handed));
        if let Err(error) = added
            && !error.is_absent()
        {
            log::warn!("connections in another folder are not looked at: {error}");
        }
    }
}

fn label(folder: &Folder) -> Label {
    Label::of_path(Kind::Folder, folder.path())
}

/// Of a folder that need not be there yet.
fn file_system(folder: &Path) -> Result<FileSystem, FolderError> {
    let above = || FileSystem::of(folder.parent().unwrap_or(folder));
    FileSystem::of(folder).or_else(|_| above()).map_err(|error| FolderError::Io(folder.to_path_buf(), error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::write;

    /// A machine of the test's own, in memory.
    fn machine() -> (tempfile::TempDir, Machine) {
        let above = tempfile::tempdir_in("/dev/shm").unwrap();
        let machine = Machine {
            memory: above.path().to_path_buf(),
            huge: vec![above.path().join("huge")],
            pages: above.path().join("pages"),
            memory_info: above.path().join("meminfo"),
        };
        fs::create_dir(&machine.huge[0]).unwrap();
        (above, machine)
    }

    fn paths(places: &Places) -> Vec<&Path> {
        places.folders.iter().map(Folder::path).collect()
    }

    #[test]
    fn the_usual_folder_is_made_and_locked() {
        let (above, machine) = machine();
        let places = Places::open(&Keep::Auto, "natlb-1", &machine, &mut Handed::default()).unwrap();
        assert_eq!(paths(&places), [above.path().join("natlb-1")]);
        let held = Places::open(&Keep::Auto, "natlb-1", &machine, &mut Handed::default()).unwrap_err();
        assert!(matches!(held, KeepError::Folder(FolderError::Held { .. })), "{held}");
        assert!(
            Places::open(&Keep::Auto, "natlb-2", &machine, &mut Handed::default()).is_ok(),
            "another instance"
        );
    }

    #[test]
    fn a_folder_that_is_named_comes_first_and_the_others_are_looked_at() {
        let (above, machine) = machine();
        for path in [&machine.memory, &machine.huge[0]] {
            Folder::open_or_make(&path.join("natlb-1")).unwrap();
        }
        let [named, usual, huge] = ["named", "natlb-1", "huge/natlb-1"].map(|name| above.path().join(name));
        let places =
            Places::open(&Keep::In(named.clone()), "natlb-1", &machine, &mut Handed::default()).unwrap();
        assert_eq!(paths(&places), [&*named, &*usual, &*huge]);
        assert_eq!(places.locks.len(), 3);
        drop(places);
        assert_eq!(
            paths(&Places::open(&Keep::Off, "natlb-1", &machine, &mut Handed::default()).unwrap()),
            [&*usual, &*huge]
        );
        let nothing = Places::open(&Keep::Off, "natlb-2", &machine, &mut Handed::default()).unwrap();
        assert!(nothing.folders.is_empty() && !above.path().join("natlb-2").exists());
    }

    #[test]
    fn disks_are_refused_with_the_remedy() {
        let (_above, machine) = machine();
        let error = Places::open(&Keep::In("/proc/kept".into()), "natlb-1", &machine, &mut Handed::default())
            .unwrap_err();
        let expected =
            "connections cannot be kept in /proc/kept: it is not in memory (proc); name a folder on a tmpfs";
        assert!(error.to_string().starts_with(expected), "{error}");
        let machine = Machine { memory: "/proc".into(), ..machine };
        assert!(Places::open(&Keep::Auto, "natlb-1", &machine, &mut Handed::default()).is_err());
    }

    #[test]
    fn mounts_and_free_pages_are_read() {
        let text = "tmpfs /dev/shm tmpfs rw 0 0\nnone /dev/hugepages hugetlbfs rw,pagesize=2M 0 0\n\
                    none /mnt/with\\040blank hugetlbfs rw 0 0\nhugetlbfs /mnt/x ext4 rw 0 0\n";
        assert_eq!(hugetlbfs(text), [PathBuf::from("/dev/hugepages")]);
        let (_above, machine) = machine();
        let pages = machine.pages.join("hugepages-2048kB");
        fs::create_dir_all(&pages).unwrap();
        assert_eq!(machine.free_in_huge_pages(Path::new("/proc"), 2 << 20), 0, "the kernel does not say");
        write(pages.join("free_hugepages"), "30\n").unwrap();
        write(pages.join("resv_hugepages"), "10\n").unwrap();
        assert_eq!(machine.free_in_huge_pages(Path::new("/proc"), 2 << 20), 40 << 20);
        assert_eq!(machine.available(), None);
        write(&machine.memory_info, "MemTotal: 9 kB\nMemAvailable:       40 kB\n").unwrap();
        assert_eq!(machine.available(), Some(40 << 10));
        assert!(free_in(Path::new("/dev/shm")) > 0 && free_in(Path::new("/nowhere")) == 0);
    }
}
