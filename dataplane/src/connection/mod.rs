//! Connections: their states, and the table that holds one entry for each.
//!
//! ```text
//! state  TCP's and UDP's states, what changes them, and their timeouts
//! sctp   SCTP's likewise
//! clock  whether a connection is alive
//! digest 128 bits in place of what is longer
//! table  the entries of one worker
//! family what differs between address families
//! row    connections on their way out of a table, or into one
//! v6     IPv6 in a table
//! kept   tables in files, which outlive the process
//! ```

mod clock;
pub(crate) mod digest;
pub mod family;
pub mod kept;
mod row;
pub mod sctp;
mod state;
pub mod table;
mod v6;

pub use clock::{Clock, OwnTimeouts};
pub use row::{Copied, Imported, NotImported, Row};
pub use state::{State, TcpEvent, TimeoutSeconds, Timeouts, Transport};
