//! What can be asked of a port.

use super::{EthPort, Link, RingLimits};
use crate::driver::RingUse;
use crate::error::Errno;
use crate::pool::Pool;
use crate::stats::{self, PortStats};

impl EthPort {
    /// What the device lacks, in sentences for the operator.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The pools of its receive queues.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// Slots of each receive queue's ring and of each transmit queue's; 0 before it is configured.
    pub fn descriptors(&self) -> (u16, u16) {
        self.descriptors
    }

    /// The device as it was named.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The driver's name, as `net_af_packet`.
    pub fn driver(&self) -> String {
        name_of(&self.info)
    }

    /// The room for a pool's buffers that takes a frame with an IP packet of `mtu` bytes in one piece, if the driver
    /// has one: at least `size`, or as much as the device uses of it. Drivers round down what they are given, and
    /// what does not fit goes to a second buffer.
    pub fn data_room(&self, size: u16, mtu: u16) -> u16 {
        let frame = mtu.saturating_add(dpdk_sys::NATLB_ETHER_OVERHEAD as u16);
        let least = u16::try_from(self.info.min_rx_bufsize).unwrap_or(u16::MAX);
        self.known.room(size, frame, least)
    }

    /// The sizes that its rings can have: to receive, to transmit.
    pub fn ring_limits(&self) -> (RingLimits, RingLimits) {
        let rx = RingLimits::new(&self.info.rx_ring);
        (
            RingLimits { least: rx.least.max(self.known.least_slots), ..rx },
            RingLimits::new(&self.info.tx_ring),
        )
    }

    /// The buffers that its rings hold.
    pub fn ring_use(&self) -> RingUse {
        self.known.rings
    }

    /// The MAC that the port's frames are to be sent from.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The host's interface that the device stands on, or that it made, by its index; `None`: there is none, or the
    /// driver does not say.
    pub fn interface_index(&self) -> Option<u32> {
        Some(self.info.if_index).filter(|index| *index != 0)
    }

    /// The largest IP packet that the device and its buffers take, in bytes, and that was asked for; the host's
    /// interface below it may carry less.
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// The most queues to receive that can be configured, and are there.
    pub fn max_rx_queues(&self) -> u16 {
        self.info.max_rx_queues.min(self.most_queues.unwrap_or(u16::MAX))
    }

    /// The most queues to transmit that can be configured, and are there.
    pub fn max_tx_queues(&self) -> u16 {
        self.info.max_tx_queues.min(self.most_queues.unwrap_or(u16::MAX))
    }

    /// The NUMA node that the device is at; `None` if it is at none.
    pub fn numa_node(&self) -> Option<u32> {
        // SAFETY: the EAL is up; the function checks the number.
        u32::try_from(unsafe { dpdk_sys::rte_eth_dev_socket_id(self.started.id) }).ok()
    }

    /// The link's state, without waiting; down if it is unknown.
    pub fn link(&self) -> Link {
        let mut link = dpdk_sys::natlb_link::default();
        // SAFETY: the shim fills the structure.
        match Errno::check(unsafe { dpdk_sys::natlb_port_link(self.started.id, &mut link) }) {
            // u32::MAX stands for an unknown speed.
            Ok(()) => Link {
                up: link.up != 0,
                speed_mbps: Some(link.speed_mbps).filter(|&speed| speed != 0 && speed != u32::MAX),
            },
            Err(_) => Link::default(),
        }
    }

    /// Whether the driver counts the frames that it could not deliver, at least those that found no room; else
    /// [`PortStats::rx_missed`] stays 0 whatever is lost.
    pub fn counts_missed(&self) -> bool {
        // By their sources from 22.11 on: what finds their ring full is the kernel's or the host's to count.
        !["net_af_packet", "net_tap", "net_tun", "net_virtio", "net_virtio_user"]
            .contains(&self.driver().as_str())
    }

    /// What the port has counted.
    ///
    /// # Errors
    /// If the driver does not count.
    pub fn stats(&self) -> Result<PortStats, Errno> {
        stats::read(self.started.id)
    }

    /// The MTU that the device has before it is configured, in bytes.
    pub fn present_mtu(&self) -> u16 {
        let mut mtu = 0;
        // SAFETY: the port exists and is ours; `mtu` is written.
        match Errno::check(unsafe { dpdk_sys::rte_eth_dev_get_mtu(self.started.id, &mut mtu) }) {
            Ok(()) => mtu,
            Err(_) => dpdk_sys::NATLB_ETHER_MTU as u16,
        }
    }
}

/// The name of a port's driver.
pub(super) fn name_of(info: &dpdk_sys::natlb_port_info) -> String {
    info.driver.iter().map(|&c| c as u8 as char).take_while(|&c| c != '\0').collect()
}
