//! The control side of natlb.
//!
//! A command's walk, in the order of the modules to read:
//!
//! ```text
//! api        a request and its answer, and the Unix socket that they cross
//! client     lbctl: arguments → request, answer → text
//! daemon     the control thread's loop: what a request leads to
//! change     model + request → new model, or a refusal (pure)
//! model      services and reals, as configured
//! publish    model → what the workers run on, and its way to them
//! neighbours next hops: asking by ARP, ageing
//! host_interface  what the kernel says of the interfaces below the ports, and what of it changes
//! nic_steering  which way each EthPort's packets find their worker (pure)
//! config     the file of `lbd`
//! text       what people type: addresses, `ipvsadm`'s lines, names of schedulers
//! persist    what outlives the process: the state file
//! observe    what is counted, and at which rates
//! listing    the tables that `lbctl` and `lbd` print
//! ```
//!
//! Nothing here knows DPDK.
#![forbid(unsafe_code)]

pub mod api;
pub mod change;
pub mod client;
pub mod config;
pub mod daemon;
pub mod host_interface;
pub mod listing;
pub mod model;
pub mod neighbours;
pub mod nic_steering;
pub mod observe;
pub mod persist;
pub mod publish;
pub mod text;
