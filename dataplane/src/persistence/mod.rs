//! Persistence: all connections of a client go to one real for as long as its template lives, and it lives as in IPVS.
//!
//! ```text
//! templates   which client stays with which real, and for how long
//! controlled  the connections that templates were asked for
//! kept        templates in memory that outlives the process
//! sweep       the pace at which all of them are looked at
//! hash        the keyed hash by which they are found
//! ```
//!
//! A template lies with one worker, and the connections that it is asked for lie with many: each with the owner of its
//! client's address and port. Workers tell each other by [`Note`]s what the template has to know of them.
//!
//! ```text
//! owner of a new connection ──── the packet that opens it ───► owner of the template: finds or makes it
//!                           ◄─── the packet, with an Answer ──
//!                           ──── Note: made, proven, over ───►
//! ```
//!
//! A connection that comes from an earlier process knows the worker of its template, but not the template:
//!
//! ```text
//! owner of the connection   ──── Note: whose? ─────────────────► owner of the template
//!                           ◄─── Note: found ──────────────────
//! ```

mod controlled;
mod hash;
pub(crate) mod kept;
mod sweep;
mod templates;

pub use controlled::{Controlled, Heard, Lives, Made};
pub(crate) use hash::Hasher;
pub(crate) use sweep::Sweep;
pub use templates::{Found, NotInherited, Templates, Who};

use crate::names::ids::{Protocol, RealId};
use crate::names::time::Tick;
use std::net::{IpAddr, SocketAddr};

/// A template of one worker. Another one later in its place has another generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TemplateId {
    slot: u32,
    generation: u32,
}

/// What the owner of a client's template says to the worker that is to make the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The real that the client stays with.
    pub real: RealId,
    /// `None`: there was no room for a template, and the real is one for this connection alone.
    pub template: Option<TemplateId>,
}

/// What two workers tell each other, of which one owns a connection and the other its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// To the owner of the template: what has happened to the connection.
    Happened {
        /// Which template.
        template: TemplateId,
        /// What has happened.
        what: Happened,
    },
    /// To the owner of the template: which one is this connection's?
    Whose(Unattached),
    /// To the owner of the connection: that one; `None`: there is none that its client stays with its real by.
    Found(Unattached, Option<TemplateId>),
}

/// A connection whose template is asked for: one that comes from an earlier process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unattached {
    /// The client's address and port.
    pub client: SocketAddr,
    /// Its real.
    pub real: RealId,
    /// Where its owner keeps it.
    at: u32,
}

/// What has happened to a connection. In this order, each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It was made: its template is kept for it.
    Made,
    /// Its real has taken part in it: see [`State::is_proven`](crate::connection::State::is_proven).
    Proven,
    /// It is no more.
    Over,
}

/// A template as it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopiedTemplate {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The client's address under the mask of the service.
    pub client: IpAddr,
    /// The real; its key gives the virtual and the server's address.
    pub real: RealId,
    /// Until it goes, if no new connection asks for it; see [`Tick::PER_SECOND`].
    pub ticks_left: u32,
    /// Whether a connection of it has been proven.
    pub assured: bool,
    /// Whether it is in force no more, because its real took no more connections: the client has another one.
    pub spent: bool,
}

impl CopiedTemplate {
    /// Whole seconds until it goes, if no new connection asks for it.
    pub const fn seconds_left(&self) -> u32 {
        self.ticks_left / Tick::PER_SECOND
    }

    /// Its state as listings show it.
    pub const fn state_name(&self) -> &'static str {
        if self.assured { "ASSURED" } else { "NONE" }
    }
}
