//! Counters of a port.

use crate::error::Errno;

/// What a port has counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Frames received.
    pub rx_packets: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames lost because the receive queue was full.
    pub rx_missed: u64,
    /// Frames that arrived broken.
    pub rx_errors: u64,
    /// Frames that could not be sent.
    pub tx_errors: u64,
    /// Frames lost because the pool was used up.
    pub rx_no_mbuf: u64,
}

pub(crate) fn read(port: u16) -> Result<PortStats, Errno> {
    let mut stats = dpdk_sys::natlb_port_stats::default();
    // SAFETY: the shim fills the structure; it checks the port's number.
    Errno::check(unsafe { dpdk_sys::natlb_port_stats(port, &mut stats) })?;
    Ok(PortStats {
        rx_packets: stats.rx_packets,
        tx_packets: stats.tx_packets,
        rx_bytes: stats.rx_bytes,
        tx_bytes: stats.tx_bytes,
        rx_missed: stats.rx_missed,
        rx_errors: stats.rx_errors,
        tx_errors: stats.tx_errors,
        rx_no_mbuf: stats.rx_no_mbuf,
    })
}
