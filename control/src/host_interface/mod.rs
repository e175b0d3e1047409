//! The host's interface that a port's device stands on: `iface=` of a virtual device, or a NIC that stays with its
//! kernel driver. What the kernel says of it, and what of that changes while the port is in use.
//!
//! ```text
//! mod      what an interface is
//! netlink  asking the kernel
//! watch    two looks at a port's link → what has changed
//! ```

mod netlink;
mod watch;

pub use netlink::{Kernel, Which};
pub use watch::{Change, Look, Watch};

use dataplane::names::mac::Mac;

/// What the kernel says of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostInterface {
    /// Its number in this network namespace; a later interface of its name has another.
    pub index: u32,
    /// Its name now.
    pub name: String,
    /// Its Ethernet address, if it has one.
    pub mac: Option<Mac>,
    /// Its largest IP packet, in bytes; 65535 stands for more too.
    pub mtu: u16,
    /// Whether it is set up (IFF_UP).
    pub is_up: bool,
    /// Whether packets can pass (IFF_RUNNING): it is set up and has a carrier.
    pub is_running: bool,
    /// Whether somebody set it to receive frames to all MACs (IFF_PROMISC).
    pub is_promiscuous: bool,
    /// How often its carrier has come or gone.
    pub carrier_changes: u32,
    /// What it has counted.
    pub counters: InterfaceCounters,
}

/// What the kernel has counted on an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceCounters {
    /// Frames received, by the kernel or by others.
    pub rx_packets: u64,
    /// Frames that the kernel had no use or no memory for.
    pub rx_dropped: u64,
    /// Frames that the interface's own device lost.
    pub rx_missed: u64,
}

impl InterfaceCounters {
    /// What was counted since `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            rx_packets: self.rx_packets.saturating_sub(before.rx_packets),
            rx_dropped: self.rx_dropped.saturating_sub(before.rx_dropped),
            rx_missed: self.rx_missed.saturating_sub(before.rx_missed),
        }
    }
}

/// What a port's device stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Footing {
    /// No interface of the host: a NIC that DPDK drives alone, shared memory, a tap.
    Own,
    /// This one.
    Interface(HostInterface),
    /// The interface of this name is no longer there, or another one has its name.
    Gone(String),
    /// The kernel does not say now.
    Unknown,
}

impl Footing {
    /// The interface, if there is one and the kernel says so.
    pub fn interface(&self) -> Option<&HostInterface> {
        match self {
            Self::Interface(interface) => Some(interface),
            Self::Own | Self::Gone(_) | Self::Unknown => None,
        }
    }

    /// What an operator should look at if there is no link, to stand behind "link down".
    pub fn why_down(&self) -> String {
        match self {
            Self::Interface(interface) if interface.is_up => {
                format!(": interface {} has no carrier (its other end is down, or no cable)", interface.name)
            }
            Self::Interface(interface) => format!(": ip link set {} up", interface.name),
            Self::Own | Self::Gone(_) | Self::Unknown => String::new(),
        }
    }
}
