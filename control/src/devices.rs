//! What the control thread asks the devices and is told of the workers.

use crate::host_interface::Footing;
use dataplane::counters::PortCounters;
use dataplane::names::mac::Mac;
use dataplane::snapshot::Steering;
use std::net::IpAddr;

/// The devices, as far as the control thread sees them: DPDK's in `lbd`, made up ones in tests.
pub trait Devices {
    /// What is to be said of an `EthPort` now.
    fn status(&self, port: usize) -> DeviceStatus;
    /// Has the devices that tell packets from clients by rules for own addresses know these, and no others. Returns
    /// the ports whose devices refuse: software has to steer them from now on.
    fn follow_addresses(&mut self, own: &mut dyn Iterator<Item = IpAddr>) -> Vec<usize>;
    /// Whether a worker has a queue of its own to transmit on an `EthPort`.
    fn transmits(&self, port: usize, worker: usize) -> bool;
    /// DPDK's release.
    fn dpdk_version(&self) -> String;
    /// TSC cycles a second.
    fn tsc_hz(&self) -> f64;
}

/// The state of an `EthPort`.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceStatus {
    /// DPDK's name of the driver.
    pub driver: String,
    /// Its MAC: that of the interface that it stands on, if it does.
    pub mac: Mac,
    /// Largest IPv4 packet that the device and that interface take, in bytes.
    pub mtu: u16,
    /// Whether there is a link.
    pub link_up: bool,
    /// The interface of the host that it stands on.
    pub footing: Footing,
    /// What steers packets to their worker, as set up at the start.
    pub steered_by: Steering,
    /// What steers packets, in a line that an operator understands.
    pub steering: String,
    /// What it has counted; `None`: the driver does not say now.
    pub counted: Option<PortCounters>,
    /// Buffers of its pools that are in use, by the device or the packet path.
    pub buffers_in_use: u64,
    /// Buffers of its pools.
    pub buffers: u64,
    /// What the device lacks.
    pub notes: Vec<String>,
}

/// What is fixed of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerInfo {
    /// The core it is pinned to.
    pub core: usize,
    /// Connections of IPv4 that its table holds.
    pub capacity: u64,
    /// Likewise of IPv6; 0: no port has an IPv6 address.
    pub capacity_ipv6: u64,
}
