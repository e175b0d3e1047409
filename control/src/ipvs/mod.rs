//! LVS's own protocol: the netlink messages of the generic netlink family "IPVS", as `ipvsadm` and `keepalived`
//! exchange them with the kernel. Pure: bytes become commands, and what is configured and counted becomes bytes.
//!
//! ```text
//! request     a message → what it asks for
//! replies     answers about all of it: the family's number, the version, the timeouts
//! service     a service in a message: as a request describes it, and as an answer lists it
//! real        a real in a message, likewise
//! statistics  what is counted of a service or a real
//! text        the kernel's files: /proc/net/ip_vs, ip_vs_stats, ip_vs_conn
//! message     headers, acknowledgements, errors, the end of a dump
//! errors      a refusal as an error number and words
//! address     addresses of either family
//! attributes  what messages consist of
//! ```
//!
//! Numbers are in the machine's byte order, but for addresses, ports, and masks of IPv4.

mod address;
mod attributes;
mod errors;
mod message;
mod real;
mod replies;
mod request;
mod service;
mod statistics;
pub mod text;

pub use errors::Refusal;
pub use message::{Header, LONGEST_REQUEST, ack, done, error, frame_length, turned_away};
pub use real::{RealFacts, real};
pub use replies::{family, info, timeouts};
pub use request::{Asked, File, Message, read};
pub use service::{ServiceFacts, service, service_at};

/// The number of the family "IPVS". The kernel gives one out when a family is registered; `keepalived` asks for it once
/// in its life, so it is the same whenever `lbd` starts.
pub const FAMILY: u16 = 0x3f0;

/// The commands of the family.
mod command {
    pub(super) const NEW_SERVICE: u8 = 1;
    pub(super) const SET_SERVICE: u8 = 2;
    pub(super) const DEL_SERVICE: u8 = 3;
    pub(super) const GET_SERVICE: u8 = 4;
    pub(super) const NEW_DEST: u8 = 5;
    pub(super) const SET_DEST: u8 = 6;
    pub(super) const DEL_DEST: u8 = 7;
    pub(super) const GET_DEST: u8 = 8;
    pub(super) const NEW_DAEMON: u8 = 9;
    pub(super) const DEL_DAEMON: u8 = 10;
    pub(super) const GET_DAEMON: u8 = 11;
    pub(super) const SET_CONFIG: u8 = 12;
    pub(super) const GET_CONFIG: u8 = 13;
    /// Only of an answer.
    pub(super) const SET_INFO: u8 = 14;
    pub(super) const GET_INFO: u8 = 15;
    pub(super) const ZERO: u8 = 16;
    pub(super) const FLUSH: u8 = 17;
    /// natlb's own: the text of one of the kernel's files.
    pub(super) const GET_TEXT: u8 = 64;
}

/// The attributes that stand in a message of the family itself.
mod attribute {
    pub(super) const SERVICE: usize = 1;
    pub(super) const DEST: usize = 2;
    pub(super) const TIMEOUT_TCP: usize = 4;
    pub(super) const TIMEOUT_TCP_FIN: usize = 5;
    pub(super) const TIMEOUT_UDP: usize = 6;
    /// One more than the largest.
    pub(super) const COUNT: usize = 7;
}

#[cfg(test)]
mod tests;
