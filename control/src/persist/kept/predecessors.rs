//! What earlier processes have left, read as what others may have written: what does not make sense is set aside.

use super::attempts::{self, Attempts};
use super::folder::Folder;
use super::generations::{Found, Generation, Part};
use super::names::Known;
use dataplane::connection::kept::Old;
use dataplane::names::ids::{InterfaceId, RealKey};
use memory::Area;
use std::sync::Arc;

/// All of them.
#[derive(Debug, Default)]
pub struct Predecessors {
    /// The newest first.
    pub files: Vec<LeftFiles>,
    /// Files that are to go with them although nothing of them is read.
    others: Vec<Generation>,
}

/// The files of one process.
#[derive(Debug)]
pub struct LeftFiles {
    generation: Generation,
    /// Of each worker whose file can be read.
    pub areas: Vec<Arc<Old>>,
    /// By id.
    pub reals: Vec<Option<RealKey>>,
    /// By id of a next hop: the interface that has the name of the one that it was behind.
    pub interfaces: Vec<Option<InterfaceId>>,
}

/// Why nothing of a generation is read, though nothing is wrong with it.
enum Void {
    /// Its process ended before it forwarded.
    Unused,
    /// The machine was booted since, and whoever had a connection has noticed.
    Booted,
}

impl Predecessors {
    /// None: what is there is removed.
    pub(super) fn removed(found: Found, folders: &[Folder]) -> Self {
        let count = found.generations.len();
        found.generations.iter().for_each(|generation| generation.remove(folders));
        if count > 0 {
            log::info!("connections of an earlier lbd are given up: [connections] keep is off");
        }
        Self::default()
    }

    /// Reads all but `own`.
    pub(super) fn read(
        mut found: Found,
        own: Option<u64>,
        boot: [u8; 16],
        interfaces: &[String],
        (folders, attempts): (&[Folder], Option<&Attempts>),
    ) -> Self {
        let mut generations = std::mem::take(&mut found.generations);
        generations.retain(|generation| Some(generation.number) != own);
        let mut reader = Reader { found, folders };
        if generations.is_empty() {
            // There is nothing that could have ended anybody.
            let _ = attempts.map(Attempts::forget);
            return Self::default();
        }
        let failed = attempts.map_or(0, Attempts::failed);
        if failed >= attempts::MOST {
            for generation in &mut generations {
                let aside = reader.set_all_aside(generation);
                log::error!(
                    "lbd has ended {failed} times soon after it took over connections, so these are left where they \
                     are, as {aside}, and all begin anew"
                );
            }
            let _ = attempts.map(Attempts::forget);
            return Self::default();
        }
        if let Some(Err(error)) = attempts.map(Attempts::begin) {
            log::warn!("crashes are not counted: {error}");
        }
        let mut predecessors = Self::default();
        for mut generation in generations {
            match reader.known(&mut generation, boot) {
                Err(()) => {}
                Ok(Err(Void::Unused)) => generation.remove(folders),
                Ok(Err(Void::Booted)) => {
                    let count: u64 =
                        reader.areas(&mut generation).iter().map(|old| old.header().connections).sum();
                    log::info!("{count} connections are given up: the machine has been booted since");
                    generation.remove(folders);
                }
                Ok(Ok(known)) => {
                    let areas = reader.areas(&mut generation);
                    if areas.is_empty() {
                        predecessors.others.push(generation);
                        continue;
                    }
                    let here = |name: &String| {
                        let index = interfaces.iter().position(|interface| interface == name)?;
                        Some(InterfaceId(index as u8))
                    };
                    let there: Vec<_> = known.head.interfaces.iter().map(here).collect();
                    let interfaces = known.interfaces.iter().map(|id| there[id.as_ref()?.index()]).collect();
                    predecessors.files.push(LeftFiles { generation, areas, reals: known.reals, interfaces });
                }
            }
        }
        predecessors
    }

    /// Removes the files.
    pub(super) fn remove(&self, folders: &[Folder]) {
        let read = self.files.iter().map(|files| &files.generation);
        read.chain(&self.others).for_each(|generation| generation.remove(folders));
    }
}

impl LeftFiles {
    /// The number of the process's files.
    pub fn number(&self) -> u64 {
        self.generation.number
    }
}

struct Reader<'a> {
    found: Found,
    folders: &'a [Folder],
}

impl Reader<'_> {
    /// What the numbers of a generation mean. `Err`: that cannot be read, and is set aside.
    fn known(&mut self, generation: &mut Generation, boot: [u8; 16]) -> Result<Result<Known, Void>, ()> {
        let number = generation.number;
        let read = match generation.open(Part::Names, self.folders) {
            None => Err("its names are missing".to_owned()),
            Some(Err(error)) => Err(error.to_string()),
            Some(Ok(file)) => {
                Known::read(&file).map_err(|error| format!("{}: {error}", Part::Names.file_name(number)))
            }
        };
        let of_this = read.and_then(|known| match known.head.generation {
            found if found == number => Ok(known),
            found => Err(format!("{} is of generation {found}", Part::Names.file_name(number))),
        });
        match of_this {
            Ok(known) if known.head.boot != boot => Ok(Err(Void::Booted)),
            Ok(known) if !known.has_begun => Ok(Err(Void::Unused)),
            Ok(known) => Ok(Ok(known)),
            Err(why) => {
                let aside = self.set_all_aside(generation);
                log::warn!("connections of an earlier lbd are given up: {why}; set aside as {aside}");
                Err(())
            }
        }
    }

    /// The areas of all its workers that can be read; the others are set aside.
    fn areas(&mut self, generation: &mut Generation) -> Vec<Arc<Old>> {
        let mut areas = Vec::new();
        for worker in generation.workers().collect::<Vec<_>>() {
            match self.area(generation, worker) {
                Ok(old) => areas.push(Arc::new(old)),
                Err(why) => {
                    self.found.remove_bad(self.folders);
                    let aside = generation.set_aside(Part::Tables(worker), self.folders).unwrap_or_default();
                    generation.set_aside(Part::More(worker), self.folders);
                    log::warn!(
                        "connections of worker {worker} of an earlier lbd are given up: {why}; set aside as {aside}"
                    );
                }
            }
        }
        areas
    }

    fn area(&self, generation: &Generation, worker: u16) -> Result<Old, String> {
        let open = |part| match generation.open(part, self.folders) {
            None => Ok(None),
            Some(Err(error)) => Err(error.to_string()),
            Some(Ok(file)) => Area::open(&file).map(Some).map_err(|error| error.to_string()),
        };
        let tables = open(Part::Tables(worker))?.ok_or("it is gone")?;
        let more = open(Part::More(worker)).unwrap_or_else(|why| {
            log::warn!("ports and templates of worker {worker} of an earlier lbd are given up: {why}");
            None
        });
        let old = Old::open(&tables, more.as_ref()).map_err(|refused| refused.to_string())?;
        let found = old.header().identity;
        if (found.generation, found.worker) != (generation.number, worker) {
            return Err(format!("it is of worker {} of generation {}", found.worker, found.generation));
        }
        Ok(old)
    }

    fn set_all_aside(&mut self, generation: &mut Generation) -> String {
        self.found.remove_bad(self.folders);
        generation.set_all_aside(self.folders).unwrap_or_default()
    }
}
