//! What a daemon hands to its successor: descriptors of what it listens on, and of what nobody else may have. Both have
//! them in common until one of them ends, so there is no moment at which a client finds nobody, or somebody else slips
//! in. And services that are nowhere but in its memory.

use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::path::Path;

/// What a descriptor is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Of which kind.
    pub kind: Kind,
    /// Of a socket, its path; of a lock, the path of what it is next to or on; of an interface, its name.
    pub name: String,
}

/// The kinds of descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A Unix socket that listens.
    Socket,
    /// The [lock](crate::lock::Lock) of a file or folder.
    Lock,
    /// The lock of a folder in which connections are kept; its name is the folder's path.
    Folder,
    /// The lock of an interface: an abstract Unix socket.
    Interface,
}

/// What is to be handed over, or is handed over and not taken yet.
#[derive(Debug, Default)]
pub struct Handed {
    descriptors: Vec<(Label, OwnedFd)>,
    /// As `ipvsadm-save` lines; `None`: those in the state file, or else in the configuration.
    pub services: Option<Vec<String>>,
}

impl Label {
    /// Of what has a path.
    pub fn of_path(kind: Kind, path: &Path) -> Self {
        Self { kind, name: path.to_string_lossy().into_owned() }
    }
}

impl Handed {
    /// What a daemon has handed over.
    pub fn new(
        descriptors: impl IntoIterator<Item = (Label, OwnedFd)>,
        services: Option<Vec<String>>,
    ) -> Self {
        Self { descriptors: descriptors.into_iter().collect(), services }
    }

    /// Adds a descriptor.
    pub fn add(&mut self, label: Label, descriptor: OwnedFd) {
        self.descriptors.push((label, descriptor));
    }

    /// Takes the descriptor with this label, if it is there.
    pub fn take(&mut self, label: &Label) -> Option<OwnedFd> {
        let index = self.descriptors.iter().position(|(known, _)| known == label)?;
        Some(self.descriptors.swap_remove(index).1)
    }

    /// All descriptors.
    pub fn iter(&self) -> impl Iterator<Item = (&Label, &OwnedFd)> {
        self.descriptors.iter().map(|(label, descriptor)| (label, descriptor))
    }
}

impl Extend<(Label, OwnedFd)> for Handed {
    fn extend<T: IntoIterator<Item = (Label, OwnedFd)>>(&mut self, more: T) {
        self.descriptors.extend(more);
    }
}

impl IntoIterator for Handed {
    type Item = (Label, OwnedFd);
    type IntoIter = std::vec::IntoIter<(Label, OwnedFd)>;

    fn into_iter(self) -> Self::IntoIter {
        self.descriptors.into_iter()
    }
}
