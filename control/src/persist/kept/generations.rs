//! The files of one process after the other: each has a generation of its own.
//!
//! ```text
//! <generation>.names             what the numbers in its tables mean
//! <generation>.<worker>.tables   connections
//! <generation>.<worker>.more     ports of services on several, and persistence templates
//! ….bad                          one of these that was not read, until another takes its place
//! ```

use super::folder::{Folder, FolderError};
use crate::config::keep::FileSystem;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

/// What follows the name of a file that is set aside.
const BAD: &str = ".bad";

/// One file of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Names,
    /// Of this worker.
    Tables(u16),
    /// Of this worker.
    More(u16),
}

impl Part {
    pub(super) fn file_name(self, generation: u64) -> String {
        match self {
            Self::Names => format!("{generation}.names"),
            Self::Tables(worker) => format!("{generation}.{worker}.tables"),
            Self::More(worker) => format!("{generation}.{worker}.more"),
        }
    }

    /// The generation and part that a file is of; `None`: it has no such name.
    fn of(name: &str) -> Option<(u64, Self)> {
        let mut words = name.split('.');
        let generation: u64 = words.next()?.parse().ok()?;
        let part = match (words.next()?, words.next(), words.next()) {
            ("names", None, None) => Self::Names,
            (worker, Some("tables"), None) => Self::Tables(worker.parse().ok()?),
            (worker, Some("more"), None) => Self::More(worker.parse().ok()?),
            _ => return None,
        };
        // Not another spelling of it, as 007.names.
        (part.file_name(generation) == name).then_some((generation, part))
    }
}

/// The files of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Generation {
    pub(super) number: u64,
    /// With the index of the folder that each is in.
    parts: BTreeMap<Part, usize>,
}

/// All that is in some folders.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The newest first.
    pub(super) generations: Vec<Generation>,
    /// Files that were set aside: folder and name.
    bad: Vec<(usize, String)>,
}

impl Found {
    /// Looks into folders. Those that cannot be read count as empty.
    pub(super) fn look(folders: &[Folder]) -> Self {
        let (mut generations, mut bad) = (BTreeMap::new(), Vec::new());
        for (index, folder) in folders.iter().enumerate() {
            let names = folder.names().unwrap_or_else(|error| {
                log::warn!("{}: {error}", folder.path().display());
                Vec::new()
            });
            for name in names {
                if let Some((number, part)) = Part::of(&name) {
                    let generation =
                        generations.entry(number).or_insert(Generation { number, parts: BTreeMap::new() });
                    generation.parts.entry(part).or_insert(index);
                } else if name.strip_suffix(BAD).is_some_and(|name| Part::of(name).is_some()) {
                    bad.push((index, name));
                }
            }
        }
        Self { generations: generations.into_values().rev().collect(), bad }
    }

    /// A number that none has, higher than all.
    pub(super) fn next_number(&self) -> u64 {
        self.generations.first().map_or(1, |newest| newest.number.saturating_add(1))
    }

    /// Removes what was set aside.
    pub(super) fn remove_bad(&mut self, folders: &[Folder]) {
        for (index, name) in self.bad.drain(..) {
            remove(&folders[index], &name);
        }
    }
}

impl Generation {
    /// One without files.
    #[cfg(test)]
    fn new(number: u64) -> Self {
        Self { number, parts: BTreeMap::new() }
    }

    /// The workers whose connections are there.
    pub(super) fn workers(&self) -> impl Iterator<Item = u16> + '_ {
        self.parts.keys().filter_map(|part| match part {
            Part::Tables(worker) => Some(*worker),
            Part::Names | Part::More(_) => None,
        })
    }

    /// Opens a file of it; `None`: there is none.
    pub(super) fn open(&self, part: Part, folders: &[Folder]) -> Option<Result<File, FolderError>> {
        let index = *self.parts.get(&part)?;
        Some(folders[index].file(&part.file_name(self.number)))
    }

    /// Bytes of ordinary memory that its files take.
    pub(super) fn memory(&self, folders: &[Folder]) -> u64 {
        let metadata = self.parts.iter().filter_map(|(part, index)| {
            let path = folders[*index].path().join(part.file_name(self.number));
            (FileSystem::of(folders[*index].path()).ok()? == FileSystem::Tmpfs)
                .then(|| fs::symlink_metadata(path).ok())?
        });
        metadata.map(|metadata| metadata.blocks() * 512).sum()
    }

    /// Removes all its files.
    pub(super) fn remove(&self, folders: &[Folder]) {
        // Without its names nothing of it is read any more, so they are the last to go.
        for (part, index) in self.parts.iter().rev() {
            remove(&folders[*index], &part.file_name(self.number));
        }
    }

    /// Gives a file a name by which it is not read again, and returns where it is then.
    pub(super) fn set_aside(&mut self, part: Part, folders: &[Folder]) -> Option<String> {
        let folder = &folders[self.parts.remove(&part)?];
        let name = part.file_name(self.number);
        let aside = format!("{name}{BAD}");
        if let Err(error) = folder.rename(&name, &aside) {
            log::warn!("{}: {error}", folder.path().join(name).display());
            return None;
        }
        Some(folder.path().join(aside).display().to_string())
    }

    /// Gives all files names by which they are not read again, and returns where the first is then.
    pub(super) fn set_all_aside(&mut self, folders: &[Folder]) -> Option<String> {
        let parts: Vec<Part> = self.parts.keys().copied().collect();
        let aside: Vec<String> = parts.into_iter().filter_map(|part| self.set_aside(part, folders)).collect();
        aside.into_iter().next()
    }
}

fn remove(folder: &Folder, name: &str) {
    if let Err(error) = folder.remove(name) {
        log::warn!("{}: {error}", folder.path().join(name).display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two folders with these files.
    fn folders(names: [&[&str]; 2]) -> (tempfile::TempDir, [Folder; 2]) {
        let above = tempfile::tempdir().unwrap();
        let folders = ["memory", "huge"].map(|name| Folder::open_or_make(&above.path().join(name)).unwrap());
        for (folder, names) in folders.iter().zip(names) {
            names.iter().for_each(|name| drop(folder.create(name).unwrap()));
        }
        (above, folders)
    }

    fn names(folder: &Folder) -> Vec<String> {
        let mut names = folder.names().unwrap();
        names.retain(|name| name != "." && name != "..");
        names.sort();
        names
    }

    #[test]
    fn files_are_found_by_generation_wherever_they_lie() {
        let (_above, folders) = folders([
            &[
                "lock",
                "attempts",
                "9.names",
                "9.0.more",
                "10.names",
                "10.0.tables",
                "10.1.tables",
                "8.names.bad",
            ],
            &["9.0.tables", "8.0.tables.bad", "09.0.tables", "9.0.tables.old", "x.names", "9.70000.more"],
        ]);
        let found = Found::look(&folders);
        let numbers: Vec<_> = found.generations.iter().map(|generation| generation.number).collect();
        assert_eq!((numbers, found.next_number()), (vec![10, 9], 11));
        let [newer, older] = &found.generations[..] else { panic!("{found:?}") };
        assert_eq!(newer.workers().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(older.workers().collect::<Vec<_>>(), [0]);
        assert!(older.open(Part::Tables(0), &folders).unwrap().is_ok());
        assert!(older.open(Part::Tables(1), &folders).is_none());
        older.remove(&folders);
        assert_eq!(
            names(&folders[0]),
            ["10.0.tables", "10.1.tables", "10.names", "8.names.bad", "attempts", "lock"]
        );
        assert_eq!(
            names(&folders[1]),
            ["09.0.tables", "8.0.tables.bad", "9.0.tables.old", "9.70000.more", "x.names"]
        );
        assert_eq!(Found::default().next_number(), 1);
    }

    #[test]
    fn what_is_set_aside_is_not_found_again_and_goes_when_told() {
        let (_above, folders) =
            folders([&["3.names", "3.0.tables", "3.0.more", "3.1.tables"], &["2.0.tables.bad"]]);
        fs::write(folders[0].path().join("3.0.tables"), "evidence").unwrap();
        let mut found = Found::look(&folders);
        found.remove_bad(&folders);
        assert!(names(&folders[1]).is_empty());
        let mut generation = found.generations.remove(0);
        assert!(generation.set_aside(Part::Tables(0), &folders).unwrap().ends_with("/3.0.tables.bad"));
        assert_eq!(generation.workers().collect::<Vec<_>>(), [1]);
        assert!(generation.set_all_aside(&folders).unwrap().ends_with("/3.names.bad"));
        assert_eq!(generation, Generation::new(3));
        assert_eq!(names(&folders[0]), ["3.0.more.bad", "3.0.tables.bad", "3.1.tables.bad", "3.names.bad"]);
        assert_eq!(fs::read(folders[0].path().join("3.0.tables.bad")).unwrap(), b"evidence");
        let mut found = Found::look(&folders);
        assert!(found.generations.is_empty());
        found.remove_bad(&folders);
        assert!(names(&folders[0]).is_empty());
    }
}
