//! The control side of natlb.
//!
//! A command's walk, in the order of the modules to read:
//!
//! ```text
//! protocol   a request and its answer: one JSON object a line
//! client     lbctl: arguments → request, answer → text
//! server     the Unix socket: who may speak, and how much
//! thread     the control thread's loop: what a request leads to
//! change     model + request → new model, or a refusal (pure)
//! model      services and reals, as configured
//! compile    model → what the workers run on, and the ids of reals and next hops
//! workers    publishing it, and collecting counters and dumps
//! neighbours next hops: asking by ARP, ageing
//! host_interface  what the kernel says of the interfaces below the ports, and what of it changes
//! steering   which way each EthPort's packets find their worker (pure)
//! ```
//!
//! `config` reads the file of `lbd`, `state_file` keeps the model over a restart, `statistics` and
//! `rates` count, `listing` writes the tables that `lbctl` and `lbd` print. Nothing here knows DPDK.
#![forbid(unsafe_code)]

pub mod addresses;
pub mod change;
pub mod client;
pub mod compile;
pub mod config;
pub mod host_interface;
pub mod ids;
pub mod ipvsadm_lines;
pub mod listing;
mod lock;
pub mod model;
pub mod neighbours;
pub mod protocol;
pub mod rates;
pub mod schedulers;
pub mod server;
pub mod state_file;
pub mod statistics;
pub mod steering;
pub mod thread;
pub mod workers;
