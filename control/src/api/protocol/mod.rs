//! What `lbctl` and `lbd` say to each other: one JSON object a line, over a Unix stream socket.
//!
//! ```text
//! request   the commands
//! lines     the lines of `restore`, and what is wrong with some
//! timeouts  three numbers
//! answer    done, or refused
//! changes   what changes or would, and what was changed
//! listing   services, reals and connections
//! status    how `lbd` does
//! counted   numbers by name
//! hand_over what a daemon and its successor say to each other
//! ```

mod answer;
mod changes;
mod counted;
pub mod hand_over;
mod lines;
mod listing;
mod request;
mod status;
mod timeouts;

pub use crate::text::service_options::ServiceOptions;
pub use answer::{Answer, Changed, Cleared, Drained, Metrics, Outcome, Refusal, Saved, TimeoutsView, Tried};
pub use changes::{Confirmed, EditView, Edited, EntryView, HistoryView, Program};
pub use counted::Counted;
pub use lines::{FaultyLine, FaultyLines, Lines};
pub use listing::{ConnectionView, Connections, RealView, ServiceView, Services, Traffic};
pub use request::{Command, LONGEST_CONFIRM, Request};
pub use status::{InheritedView, InterfaceView, KeptView, PortView, Status, WorkerView};

/// The version of the protocol, in every line.
pub const VERSION: u32 = 1;

/// The longest request line that `lbd` reads, in bytes: a `restore` of 65,536 reals and 4,096 services fits three
/// times.
pub const LONGEST_LINE: usize = 16 << 20;

/// The longest one that is no `restore` or `apply`.
pub const LONGEST_OTHER_LINE: usize = 64 << 10;
