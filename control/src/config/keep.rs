//! `[connections] keep`: whether connections outlive the process, and in which folder.

use super::problem::Problems;
use super::section::Section;
use rustix::fs::statfs;
use std::fs;
use std::path::{Path, PathBuf};

/// Where connections are kept for the next `lbd`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// In a folder of `/dev/shm` that has the instance's name.
    #[default]
    Auto,
    /// In this folder.
    In(PathBuf),
    /// Nowhere: they end with the process.
    Off,
}

/// What kind of file system something is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// In ordinary memory.
    Tmpfs,
    /// In huge pages of this many bytes.
    Hugetlbfs(u64),
    /// Another one, by its name.
    Other(String),
}

impl FileSystem {
    /// The one that a file or folder is on.
    ///
    /// # Errors
    /// It is not there, or cannot be looked at.
    pub fn of(path: &Path) -> std::io::Result<Self> {
        // The magic numbers of statfs(2).
        const NAMES: [(u64, &str); 9] = [
            (0xef53, "ext4"),
            (0x5846_5342, "xfs"),
            (0x9123_683e, "btrfs"),
            (0x794c_7630, "overlay"),
            (0x2fc1_2fc1, "zfs"),
            (0x6969, "nfs"),
            (0x8584_58f6, "ramfs"),
            (0x6265_6572, "sysfs"),
            (0x9fa0, "proc"),
        ];
        let found = statfs(path)?;
        // Its type differs among processors; the magic numbers are of 32 bits.
        let magic = found.f_type as u64 & 0xffff_ffff;
        Ok(match magic {
            0x0102_1994 => Self::Tmpfs,
            0x9584_58f6 => Self::Hugetlbfs(found.f_bsize as u64),
            other => match NAMES.iter().find(|(magic, _)| *magic == other) {
                Some((_, name)) => Self::Other((*name).to_owned()),
                None => Self::Other(format!("file system {other:#x}")),
            },
        })
    }
}

pub(super) fn keep(section: &mut Section<'_>, problems: &mut Problems) -> Keep {
    let Some(text) = section.text("keep", problems) else { return Keep::Auto };
    match text.value {
        "auto" => Keep::Auto,
        "off" => Keep::Off,
        folder if folder.starts_with('/') => {
            if let Err(why) = check(Path::new(folder)) {
                problems.add(text.at, format!("keep: {why}"));
            }
            Keep::In(PathBuf::from(folder))
        }
        other => {
            let expected = "expected \"auto\", \"off\" or the full path of a folder";
            problems.add(text.at, format!("keep: {expected}, found {other:?}"));
            Keep::Auto
        }
    }
}

/// Whether connections can be kept in a folder, which need not be there yet. What only the start can find out, as
/// permissions, is left to it.
fn check(folder: &Path) -> Result<(), String> {
    let shown = folder.display();
    let looked_at = match fs::symlink_metadata(folder) {
        Ok(found) if found.is_dir() => folder,
        Ok(found) if found.is_symlink() => {
            return Err(format!("{shown} is a symbolic link; name the folder that it leads to"));
        }
        Ok(_) => return Err(format!("{shown} is not a folder")),
        Err(_) => folder.parent().unwrap_or(folder),
    };
    match FileSystem::of(looked_at) {
        Ok(FileSystem::Other(name)) => Err(format!(
            "{shown} is not in memory ({name}): tables would be written to a disk as packets come; name a folder \
             on a tmpfs, as /dev/shm/natlb, or on a hugetlbfs"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_of_file_systems_are_told_apart() {
        assert_eq!(FileSystem::of(Path::new("/proc/self")).unwrap(), FileSystem::Other("proc".into()));
        assert_eq!(FileSystem::of(Path::new("/dev/shm")).unwrap(), FileSystem::Tmpfs);
        assert!(FileSystem::of(Path::new("/nowhere/at/all")).is_err());
    }
}
