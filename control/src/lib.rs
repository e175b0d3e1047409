//! The control side of natlb.
//!
//! The rooms, the top one first; a room uses only rooms below it:
//!
//! ```text
//! daemon          the control thread's loop: what a request leads to
//! persist         what outlives the process: the state file, and connections
//! observe         what is counted, at which rates, and how it is shown
//! neighbours      next hops: asking by ARP or neighbour discovery, ageing
//! publish         model → what the workers run on, and its way to them
//! change          model + request → new model, or a refusal (pure)
//! ipvs            LVS's own protocol: netlink messages to commands, and what is configured to messages (pure)
//! api             a request and its answer, and the sockets that they cross
//! config          the file of `lbd`
//! text            what people type and read: addresses, `ipvsadm`'s lines, names of schedulers, tables
//! model           services and reals, as configured
//! nic_steering    which way each EthPort's packets find their worker (pure)
//! devices         what the devices are asked
//! host_interface  what the kernel says of the interfaces below the ports, and what of it changes
//! handed          descriptors that a daemon hands to its successor
//! lock            a file's lock, which only one daemon can hold
//! ```
//!
//! A command's walk: `api` (a line becomes a request) → `daemon` (whom it concerns) → `change` (the new model) →
//! `persist` (kept) → `publish` (in force on every worker) → `api` (the answer).
//!
//! Nothing here knows DPDK. Two programs stand on it: `lbd`, the daemon, on all of it, and `lbctl`, the client, on
//! `api`.
#![forbid(unsafe_code)]

pub mod api;
pub mod change;
pub mod config;
pub mod daemon;
pub mod devices;
pub mod handed;
pub mod host_interface;
pub mod ipvs;
pub mod lock;
pub mod model;
pub mod neighbours;
pub mod nic_steering;
pub mod observe;
pub mod persist;
pub mod publish;
pub mod text;
