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

/// The driver's extended counters by name, among them those per queue (`rx_q0_packets`).
pub(crate) fn read_extended(port: u16) -> Result<Vec<(String, u64)>, Errno> {
    // SAFETY: with no array the function tells how many there are.
    let count = unsafe { dpdk_sys::rte_eth_xstats_get(port, std::ptr::null_mut(), 0) };
    Errno::check(count)?;
    let mut values = vec![dpdk_sys::rte_eth_xstat::default(); count as usize];
    let mut names = vec![dpdk_sys::rte_eth_xstat_name::default(); count as usize];
    // SAFETY: both arrays have `count` elements; the functions write no more, and return how many there
    // are.
    let (read, named) = unsafe {
        (
            dpdk_sys::rte_eth_xstats_get(port, values.as_mut_ptr(), count as u32),
            dpdk_sys::rte_eth_xstats_get_names(port, names.as_mut_ptr(), count as u32),
        )
    };
    Errno::check(read.min(named))?;
    values.truncate(read as usize);
    names.truncate(named as usize);
    let text = |name: &dpdk_sys::rte_eth_xstat_name| {
        let bytes = name.name.iter().map(|&c| c as u8).take_while(|&byte| byte != 0).collect();
        String::from_utf8(bytes).unwrap_or_default()
    };
    // A value's id is its name's place.
    Ok(values.iter().filter_map(|v| Some((text(names.get(usize::try_from(v.id).ok()?)?), v.value))).collect())
}
