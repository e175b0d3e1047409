//! A small safe interface to DPDK: what a forwarding daemon needs, and nothing else.
//!
//! ```text
//! eal       the environment abstraction layer: started once, with the cores and devices to use
//!   arguments  what rte_eal_init gets
//!   device     how a device is named: PCI addresses and virtual device strings
//!   pci        why there is no port for a PCI device, and which program uses it
//!   hugepages  which memory it runs on
//!   messages   what DPDK says, handed to the log
//! lcore     running a closure on a worker's core
//! pool      pools of frames
//! mbuf      one frame that we own
//! port      an `EthPort`: opening, configuring, starting, asking
//! driver    what drivers do not say of themselves
//! queue     the queues of one worker: bursts in and out
//! af_packet datagrams that the kernel has put together for that device, cut again
//! rss       receive-side scaling: which queue a frame is received on
//! stats     counters
//! clock     the time stamp counter
//! error     what goes wrong, in words that say what to do
//! hash      DPDK's own hash table, for benches to compare with (feature `hash`)
//! ```
//!
//! Everything keeps what it stands on alive: queues their port, ports their pools, pools the EAL.
//! The EAL is cleaned up when the last of them is dropped. All the project's `unsafe` for DPDK is here.

mod af_packet;
mod clock;
mod driver;
mod eal;
mod error;
#[cfg(feature = "hash")]
mod hash;
mod lcore;
mod mbuf;
mod pool;
mod port;
mod queue;
mod rss;
mod stats;

pub use clock::{tsc, tsc_hz};
pub use driver::RingUse;
pub use eal::device::{Device, port_name, with_ring_sizes};
pub use eal::hugepages::{Hugepages, MemoryMode};
pub use eal::messages;
pub use eal::pci::{User, device_file, user_of};
pub use eal::{Eal, EalOptions, LogLevel};
pub use error::{Errno, Error, RuleRefused};
#[cfg(feature = "hash")]
pub use hash::{Hash, HashKey16};
pub use lcore::RunningLcore;
pub use mbuf::Mbuf;
pub use pool::Pool;
pub use port::{EthPort, Link, PortConfig, RingLimits};
pub use queue::{PortQueue, Queues};
pub use rss::{HashType, HashTypes, RssCapabilities, RssConfig, RssRule, softrss};
pub use stats::PortStats;
