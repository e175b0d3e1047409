//! Everything that is not a plain packet of a connection, one packet at a time.
//!
//! ```text
//! packet     one packet's walk: link layer, network layer, transport layer, routing
//! openings   which packets open a connection, and which real it gets
//! way_back   the way back to a new connection's client
//! own        connections that reals themselves open from a port that they serve on
//! icmp       ping, and errors about packets of connections
//! echo       pings in fragments
//! fragments  which connection a fragment belongs to
//! arp        answering, and hearing neighbours
//! answers    RST and ICMP errors, each kind under a limit of its own
//! waiting    packets that wait until the MAC of their next hop is known
//! ```

pub(super) mod answers;
pub(super) mod arp;
pub(super) mod echo;
pub(super) mod fragments;
pub(super) mod icmp;
pub(super) mod openings;
pub(super) mod own;
pub(super) mod packet;
pub(super) mod waiting;
pub(super) mod way_back;
