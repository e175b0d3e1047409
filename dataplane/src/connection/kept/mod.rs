//! Connections that outlive the process: tables in files, and what a later process reads there.
//!
//! A worker's tables lie in two files. A process never takes over those of another: it makes new ones, and reads what
//! is alive from the old ones, wherever it comes to belong now. So a change of capacities, workers, secrets or of the
//! layout itself is nothing special: each layout that there ever was has its reader.
//!
//! ```text
//! layout     where everything lies in the files
//! home       what the tables of one worker are put in
//! heartbeat  what is noted while they are in use
//! entries    an entry, as it lies in a file
//! layout1    how files of layout 1 are read
//! layout2    how those of layout 2 are, which is written now
//! version    which version of this program made them
//! old        the files of an earlier process
//! ```
//!
//! A process can be killed at any moment, and memory is then as its stores have left it, in the order of the program.
//! So an entry's value is there before its key, which goes first when the entry does; one that is moved is in its new
//! place before it leaves the old one; and buckets that are emptied to be filled anew are in a journal meanwhile. Each
//! moment shows every connection as it was before a change or after it, at worst twice. A key is stored whole: no
//! instruction stores many bytes of a table at once, as it could be interrupted within a key.
//!
//! When the layout changes, write the fixture of the one that was before (see the tests), give the new one a reader,
//! and leave the others alone.

mod entries;
mod heartbeat;
mod home;
mod layout;
mod layout1;
mod layout2;
mod old;
mod version;

pub use heartbeat::Heartbeat;
pub use home::Home;
pub use layout::{Sizes, bytes};
pub use old::{Header, Mark, Old, OldRow};
pub use version::Version;

/// How many connections, and templates of persistent services, one worker has room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Connections of IPv4.
    pub v4: usize,
    /// Connections of IPv6; 0: none are served.
    pub v6: usize,
    /// Templates.
    pub templates: usize,
}

/// Whose tables they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The worker's number.
    pub worker: u16,
    /// How many there are.
    pub workers: u16,
    /// Counts the times that files were made.
    pub generation: u64,
    /// Tells one start of the machine from another, as the kernel does.
    pub boot_id: [u8; 16],
}

/// Why files are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// They are not of this kind, or were not made to the end.
    Magic,
    /// They have a layout that this program does not know.
    Layout(u32),
    /// What identifies them is damaged.
    Checksum,
    /// They are smaller than they say.
    Size,
    /// They say what cannot be.
    Damaged,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Magic => f.write_str("it has no connection tables, or they were not made to the end"),
            Self::Layout(layout) => write!(f, "it has layout {layout}, which this version does not know"),
            Self::Checksum => f.write_str("its header is damaged: the checksum is wrong"),
            Self::Size => f.write_str("it is smaller than its header says"),
            Self::Damaged => f.write_str("its header is damaged: it says what cannot be"),
        }
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod forged;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod tests;
