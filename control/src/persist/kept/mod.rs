//! Connections that outlive the process: the files that they lie in, and those that an earlier process has left.
//!
//! ```text
//! places        which folders, by the configuration and what the machine has
//! folder        one of them: this user's alone, and one process's at a time
//! generations   the files of one process after the other
//! names         what the numbers in them mean
//! predecessors  what is read of them at the start
//! attempts      reading that ends the process is not tried for ever
//! boot          the clock that goes on over restarts
//! ```
//!
//! A process makes files of its own and never goes on with another's. So whatever happens to it, what is there already
//! stays until all of it has been taken over.

mod attempts;
mod boot;
mod folder;
mod generations;
mod names;
mod places;
mod predecessors;

pub use folder::FolderError;
pub use names::{HopNames, RealNames};
pub use places::KeepError;
pub use predecessors::{LeftFiles, Predecessors};

use crate::config::Config;
use crate::config::keep::{FileSystem, Keep};
use crate::handed::{Handed, Kind};
use attempts::Attempts;
use dataplane::connection::kept::{self, Home, Identity, Shape, Sizes};
use dataplane::connection::table::HashKey;
use generations::{Found, Part};
use memory::Area;
use names::{Head, Names};
use places::{Machine, Places, free_in};
use std::fs::File;
use std::io;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A hugetlbfs whose pages make tables more than this many times as large as they are is not used.
const MOST_ROUNDING: u64 = 2;

/// Bytes of a huge page of most machines.
const USUAL_HUGE_PAGE: u64 = 2 << 20;

/// See the module's text.
#[derive(Debug)]
pub struct Keeping {
    machine: Machine,
    instance: String,
    /// Whether this process's connections are kept, if there is memory for it.
    is_wanted: bool,
    /// Another process still works with files that are there.
    is_successor: bool,
    places: Places,
    attempts: Option<Attempts>,
    boot: [u8; 16],
    /// By id.
    interfaces: Vec<String>,
    own: Option<Own>,
}

/// The files of this process.
#[derive(Debug)]
struct Own {
    number: u64,
    workers: u16,
    shape: Shape,
    names: Names,
    /// The folder that the tables are in.
    tables_in: usize,
    /// Bytes of all tables there, in whole pages.
    bytes: u64,
    is_in_huge_pages: bool,
    /// Made so far, each with its folder.
    parts: Mutex<Vec<(Part, usize)>>,
    has_begun: AtomicBool,
}

impl Keeping {
    /// Finds the folders that the configuration says, and locks them: nothing of them changes from now on but by this
    /// process. Where the configuration leaves it to us and it cannot be done, that is logged, and nothing is kept.
    ///
    /// A process that hands its place over has `handed` the locks of its folders, which this one has as well from now
    /// on. Nothing of its files is changed before [`predecessors`](Self::predecessors) is called.
    ///
    /// # Errors
    /// Another process has a folder, or the one that the configuration names is not fit.
    pub fn open(config: &Config, handed: &mut Handed) -> Result<Self, KeepError> {
        Self::open_on(Machine::here(), config, handed)
    }

    fn open_on(machine: Machine, config: &Config, handed: &mut Handed) -> Result<Self, KeepError> {
        let instance = config.control.instance();
        let is_successor = handed.iter().any(|(label, _)| label.kind == Kind::Folder);
        let mut is_wanted = config.keep != Keep::Off;
        let places = match Places::open(&config.keep, &instance, &machine, handed) {
            Err(error @ KeepError::Folder(FolderError::Held { .. })) => return Err(error),
            Err(error) if config.keep == Keep::Auto => {
                log::warn!(
                    "connections will not outlive this process: {error}; [connections] keep names another folder, or \
                     is \"off\""
                );
                is_wanted = false;
                Places::default()
            }
            places => places?,
        };
        let attempts = places.folders.first().and_then(|folder| {
            Attempts::open(folder).inspect_err(|error| log::warn!("crashes are not counted: {error}")).ok()
        });
        Ok(Self {
            machine,
            instance,
            is_wanted,
            is_successor,
            places,
            attempts,
            boot: boot::id(),
            interfaces: config.eth_ports.iter().map(|port| port.name.clone()).collect(),
            own: None,
        })
    }

    /// Nothing is kept, and nothing was.
    pub fn nothing() -> Self {
        let machine = Machine {
            memory: PathBuf::new(),
            huge: Vec::new(),
            pages: PathBuf::new(),
            memory_info: PathBuf::new(),
        };
        Self {
            machine,
            instance: String::new(),
            is_wanted: false,
            is_successor: false,
            places: Places::default(),
            attempts: None,
            boot: [0; 16],
            interfaces: Vec::new(),
            own: None,
        }
    }

    /// Adds the locks of all folders, for a process that takes over.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn share_locks(&self, shared: &mut Handed) -> io::Result<()> {
        self.places.share_locks(shared)
    }

    /// Chooses where this process's connections are kept, of so many workers of this shape, and makes the first file.
    /// `huge`: whether huge pages may be used. What prevents it is logged.
    pub fn begin(&mut self, workers: usize, shape: Shape, huge: bool) {
        let Ok(workers) = u16::try_from(workers) else { return };
        if self.is_wanted && !self.places.folders.is_empty() {
            self.begin_own(workers, shape, huge);
        }
        self.make_room(workers, shape, huge);
    }

    fn begin_own(&mut self, workers: u16, shape: Shape, huge: bool) {
        match self.make(workers, shape, huge) {
            Ok(own) => {
                let path = self.places.folders[own.tables_in].path();
                log::info!("connections are kept for the next lbd in {}", path.display());
                self.own = Some(own);
            }
            Err(why) => {
                log::warn!("connections will not outlive this process: {why}");
            }
        }
    }

    fn make(&mut self, workers: u16, shape: Shape, huge: bool) -> Result<Own, String> {
        let sizes = kept::bytes(shape);
        let (tables_in, bytes) = self.choose(sizes, workers, huge)?;
        let path = self.places.folders[tables_in].path();
        let is_in_huge_pages = matches!(FileSystem::of(path), Ok(FileSystem::Hugetlbfs(_)));
        let number = Found::look(&self.places.folders).next_number();
        let head = Head { generation: number, boot: self.boot, interfaces: self.interfaces.clone() };
        let (folder, name) = (&self.places.folders[0], Part::Names.file_name(number));
        let file = folder.create(&name).map_err(|error| error.to_string())?;
        let names = Names::begin(file, &head).map_err(|error| {
            // An empty file says nothing to anybody.
            let _ = folder.remove(&name);
            format!("{}: {error}", folder.path().join(&name).display())
        })?;
        let parts = Mutex::new(vec![(Part::Names, 0)]);
        let has_begun = AtomicBool::new(false);
        Ok(Own { number, workers, shape, names, tables_in, bytes, is_in_huge_pages, parts, has_begun })
    }

    /// Where there is not enough memory for this process's tables, but would be without those of earlier ones, these
    /// are given up: forwarding comes first.
    fn make_room(&self, workers: u16, shape: Shape, huge: bool) {
        let bytes = kept::bytes(shape).tables as u64 * u64::from(workers);
        if self.is_successor {
            return;
        }
        let is_in_pages = self.own.as_ref().is_some_and(|own| own.is_in_huge_pages);
        if is_in_pages || huge && self.machine.free_pages(USUAL_HUGE_PAGE) * USUAL_HUGE_PAGE >= bytes {
            return;
        }
        let Some(available) = self.machine.available().filter(|available| *available < bytes) else { return };
        let own = self.own.as_ref().map(|own| own.number);
        let mut generations = Found::look(&self.places.folders).generations;
        generations.retain(|generation| Some(generation.number) != own);
        let theirs: u64 = generations.iter().map(|files| files.memory(&self.places.folders)).sum();
        if theirs == 0 || available + theirs < bytes {
            return;
        }
        log::error!(
            "connections of an earlier lbd are given up: {} MiB are needed for connection tables, {} MiB are available \
             beside the old ones; lower [connections] capacity",
            bytes.div_ceil(1 << 20),
            available >> 20
        );
        generations.iter().for_each(|generation| generation.remove(&self.places.folders));
    }

    /// The folder for the tables, and how many bytes they take there: in huge pages where all of them find room, else
    /// in ordinary memory.
    fn choose(&mut self, sizes: Sizes, workers: u16, huge: bool) -> Result<(usize, u64), String> {
        if let Some(named) = self.places.named_for_tables {
            let path = self.places.folders[named].path().to_path_buf();
            match self.room_in_huge_pages(&path, sizes, workers) {
                Ok(bytes) => return Ok((named, bytes)),
                Err(why) => {
                    log::warn!("connection tables are kept in ordinary memory: {}: {why}", path.display())
                }
            }
        } else if huge {
            for mount in self.machine.huge.clone() {
                let made = self.room_in_huge_pages(&mount, sizes, workers).and_then(|bytes| {
                    let folder = self.places.folder(&mount.join(&self.instance));
                    folder.map(|index| (index, bytes)).map_err(|error| error.to_string())
                });
                match made {
                    Ok(chosen) => return Ok(chosen),
                    Err(why) => log::debug!("no connection tables in {}: {why}", mount.display()),
                }
            }
        }
        let bytes = sizes.tables as u64 * u64::from(workers);
        let (folder, free) = (self.places.folders[0].path(), free_in(self.places.folders[0].path()));
        if free < bytes {
            let (need, free) = (bytes.div_ceil(1 << 20), free >> 20);
            return Err(format!("{}: {need} MiB are needed, {free} MiB are free", folder.display()));
        }
        Ok((0, bytes))
    }

    fn room_in_huge_pages(&self, path: &Path, sizes: Sizes, workers: u16) -> Result<u64, String> {
        let page = match FileSystem::of(path) {
            Ok(FileSystem::Hugetlbfs(page)) => page,
            other => return Err(format!("no hugetlbfs: {other:?}")),
        };
        let tables = sizes.tables as u64;
        let bytes = tables.next_multiple_of(page) * u64::from(workers);
        if bytes > MOST_ROUNDING * tables * u64::from(workers) {
            return Err(format!("its pages of {} MiB are too large for these tables", page >> 20));
        }
        let free = self.machine.free_in_huge_pages(path, page);
        if free < bytes {
            let (need, free) = (bytes.div_ceil(page), free / page);
            return Err(format!("{need} pages of {} MiB are needed, {free} are free", page >> 20));
        }
        Ok(bytes)
    }

    /// What a worker's tables are put in, with this secret: to be called on its core, so that the memory is close to
    /// it. `None`: they are not kept, and it has been logged why.
    pub fn home(&self, worker: usize, hash_key: HashKey) -> Option<Home> {
        let own = self.own.as_ref()?;
        let made = u16::try_from(worker).map_err(|error| error.to_string());
        let made = made.and_then(|worker| self.make_home(own, worker, hash_key));
        made.inspect_err(|why| {
            log::warn!("connections of worker {worker} will not outlive this process: {why}");
        })
        .ok()
    }

    fn make_home(&self, own: &Own, worker: u16, hash_key: HashKey) -> Result<Home, String> {
        let sizes = kept::bytes(own.shape);
        let area = |part: Part, index: usize, bytes: usize, allocate: bool| {
            let (folder, name) = (&self.places.folders[index], part.file_name(own.number));
            let file: File = folder.create(&name).map_err(|error| error.to_string())?;
            own.parts.lock().unwrap_or_else(PoisonError::into_inner).push((part, index));
            Area::create(&file, bytes, allocate)
                .map_err(|error| format!("{}: {error}", folder.path().join(&name).display()))
        };
        let made = || {
            let tables = area(Part::Tables(worker), own.tables_in, sizes.tables, true)?;
            let more = area(Part::More(worker), 0, sizes.more, false)?;
            let identity =
                Identity { worker, workers: own.workers, generation: own.number, boot_id: self.boot };
            let home = Home::new(&tables, &more, own.shape, identity, hash_key);
            home.ok_or_else(|| "the files are smaller than they were made".to_owned())
        };
        made().inspect_err(|_| {
            // What was taken of the memory is given back.
            self.remove_own(own, |part| matches!(part, Part::Tables(of) | Part::More(of) if of == worker));
        })
    }

    /// What is written of this process's ids; `None`: nothing is kept.
    pub fn names(&self) -> Option<(RealNames, HopNames)> {
        self.own.as_ref().map(|own| (own.names.reals(), own.names.hops()))
    }

    /// From now on there may be connections: the files are not removed any more when this process ends.
    pub fn set_begun(&self) {
        let Some(own) = &self.own else { return };
        own.has_begun.store(true, Ordering::Relaxed);
        if let Err(error) = own.names.set_begun() {
            log::warn!("connections will not outlive this process: {error}");
        }
    }

    /// Opens what earlier processes have left. What cannot be read is set aside, and that is logged.
    ///
    /// From now on, until [`read_all`](Self::read_all) is called, an end of the process counts as one that may have
    /// been caused by what it reads here.
    pub fn predecessors(&self) -> Predecessors {
        let own = self.own.as_ref().map(|own| own.number);
        let found = Found::look(&self.places.folders);
        if !self.is_wanted {
            return Predecessors::removed(found, &self.places.folders);
        }
        Predecessors::read(
            found,
            own,
            self.boot,
            &self.interfaces,
            (&self.places.folders, self.attempts.as_ref()),
        )
    }

    /// All has been read. Until [`succeeded`](Self::succeeded) is called, only a fault that ends the process counts.
    pub fn read_all(&self) {
        self.note(Attempts::through);
    }

    /// Faults of this process are noted from now on: signals that they raise, and panics. Once for a process.
    pub fn note_faults(self: &Arc<Self>) {
        let Some(attempts) = &self.attempts else { return };
        if let Err(error) = attempts.note_faults() {
            log::warn!("crashes are not counted: {error}");
        }
        let (keeping, print) = (Arc::downgrade(self), panic::take_hook());
        panic::set_hook(Box::new(move |panic| {
            print(panic);
            if let Some(keeping) = keeping.upgrade() {
                keeping.note(Attempts::note_panic);
            }
        }));
    }

    /// The process has run for a while, or ends in order: what it has read did it no harm.
    pub fn succeeded(&self) {
        self.note(Attempts::forget);
    }

    fn note(&self, what: impl FnOnce(&Attempts) -> io::Result<()>) {
        if let Some(Err(error)) = self.attempts.as_ref().map(what) {
            log::warn!("{}: {error}", self.place().unwrap_or(Path::new("")).display());
        }
    }

    /// Removes what has been taken over.
    pub fn remove(&self, predecessors: &Predecessors) {
        predecessors.remove(&self.places.folders);
    }

    /// What a successor would lack, which has its own files beside these for a moment; `None`: nothing.
    pub fn lack_of_next(&self) -> Option<String> {
        let own = self.own.as_ref()?;
        let path = self.places.folders[own.tables_in].path();
        let Ok(file_system) = FileSystem::of(path) else { return None };
        if let FileSystem::Hugetlbfs(page) = file_system {
            let (need, free) = (own.bytes / page, self.machine.free_in_huge_pages(path, page) / page);
            return (free < need).then(|| {
                format!(
                    "the next lbd will need {need} huge pages for its tables beside those of this one, and {free} are \
                     free: its tables will lie in ordinary memory; remedy: sysctl vm.nr_hugepages, {} more",
                    need - free
                )
            });
        }
        let free = free_in(path);
        (free < own.bytes).then(|| {
            let (mib, free) = (own.bytes.div_ceil(1 << 20), free >> 20);
            format!(
                "the next lbd will need {mib} MiB for its tables beside those of this one, and {} has {free} MiB left: \
                 connections will outlive this process, but not the next one; remedy: a larger tmpfs",
                path.display()
            )
        })
    }

    /// The folder in which this process looks for connections of earlier ones; `None`: there is none.
    pub fn folder(&self) -> Option<&Path> {
        self.places.folders.first().map(folder::Folder::path)
    }

    /// The folder; `None`: nothing is kept.
    pub fn place(&self) -> Option<&Path> {
        self.own.as_ref()?;
        self.places.folders.first().map(folder::Folder::path)
    }

    /// The folder of the tables; `None`: nothing is kept.
    pub fn tables_place(&self) -> Option<&Path> {
        Some(self.places.folders[self.own.as_ref()?.tables_in].path())
    }

    /// The number of this process's files; `None`: nothing is kept.
    pub fn generation(&self) -> Option<u64> {
        self.own.as_ref().map(|own| own.number)
    }

    fn remove_own(&self, own: &Own, which: impl Fn(Part) -> bool) {
        let mut parts = own.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.retain(|(part, index)| {
            let goes = which(*part);
            if goes {
                let _ = self.places.folders[*index].remove(&part.file_name(own.number));
            }
            !goes
        });
    }
}

impl Drop for Keeping {
    /// A start that has failed leaves nothing new.
    fn drop(&mut self) {
        if let Some(own) = &self.own
            && !own.has_begun.load(Ordering::Relaxed)
        {
            self.remove_own(own, |_| true);
        }
    }
}

/// Nanoseconds of the machine's clock that goes on over restarts.
pub fn boot_nanoseconds() -> u64 {
    boot::nanoseconds()
}

#[cfg(test)]
mod tests;
