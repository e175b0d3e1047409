//! Bringing what is asked for into agreement with what the device can do.

use super::{EthPort, PortConfig};
use crate::error::{Errno, Error};
use crate::pool::Pool;

impl EthPort {
    pub(super) fn check_queues(
        &self,
        direction: &'static str,
        asked: u16,
        available: u16,
    ) -> Result<(), Error> {
        if asked > 0 && asked <= available {
            return Ok(());
        }
        let device = self.device.clone();
        let remedy = "use fewer workers, or give a virtual device more queues (qpairs=, queues=, …)";
        Err(Error::TooFewQueues { device, direction, asked, available, remedy })
    }

    /// The MTU to configure, within what the device and the buffers allow: what was asked for, or nothing. And the
    /// largest that the port could follow its interface to.
    pub(super) fn fit_mtu(&mut self, config: &PortConfig) -> Result<(u16, u16), Error> {
        let overhead = dpdk_sys::NATLB_ETHER_OVERHEAD as u16;
        let holds = |pool: &Pool| self.known.one_buffer_holds(pool.data_size()).saturating_sub(overhead);
        let buffers = config.pools.iter().map(holds).min();
        // A frame in several buffers is not handled, however large the device lets it be.
        let in_one = self.known.one_buffer_holds(u16::MAX).saturating_sub(overhead);
        let device = device_mtu(self.info.max_mtu, self.info.max_rx_pktlen).min(in_one);
        let (least, most) = (self.info.min_mtu, buffers.unwrap_or(u16::MAX).min(device));
        if let Some(asked) = config.mtu {
            let remedy = if device < asked {
                "lower mtu, or take a device that can"
            } else {
                "lower mtu, or give [buffers] a larger size"
            };
            let device = self.device.clone();
            let fits = (least..=most).contains(&asked);
            return fits.then_some((asked, asked)).ok_or(Error::Mtu { device, asked, least, most, remedy });
        }
        let present = config.interface_mtu.unwrap_or_else(|| self.present_mtu());
        let mtu = present.min(most).max(least);
        if mtu < present {
            let why = if device <= mtu { "this device" } else { "a buffer ([buffers] size)" };
            self.note(format!(
                "its MTU is {present}, but {why} takes no more than {mtu}: larger packets are lost"
            ));
        }
        Ok((mtu, if config.interface_mtu.is_some() { most } else { mtu }))
    }

    pub(super) fn set_mtu(&mut self, mtu: u16, largest: u16, config: &PortConfig) -> Result<(), Error> {
        self.mtu = largest;
        if config.interface_mtu.is_some() {
            return Ok(());
        }
        // SAFETY: the port exists and is ours.
        let result = unsafe { dpdk_sys::rte_eth_dev_set_mtu(self.started.id, mtu) };
        match Errno::check(result) {
            // A device without an MTU to set took the one that it was configured with.
            Ok(()) | Err(Errno::NOT_SUPPORTED) => Ok(()),
            Err(errno) if config.mtu.is_some() => Err(self.fail("set its MTU", errno)),
            // DPDK itself says the configured one from now on, whatever the device has.
            Err(errno) => {
                self.mtu = mtu.min(dpdk_sys::NATLB_ETHER_MTU as u16);
                self.note(format!("the MTU can't be set to {mtu} ({errno}), {} is reckoned with", self.mtu));
                Ok(())
            }
        }
    }

    /// Ring sizes within what the device allows, and where none are asked for within what the pools do.
    pub(super) fn fit_descriptors(&mut self, config: &PortConfig) -> (u16, u16) {
        let (rx_limits, tx_limits) = self.ring_limits();
        let (rx, tx) = config.descriptors.unwrap_or_else(|| {
            // A ring that takes the whole pool leaves nothing to work with.
            let half = config.pools.iter().map(Pool::count).min().unwrap_or(u32::MAX) / 2;
            let fits = 1u32 << half.max(1).ilog2();
            let rx = u32::from(rx_limits.preferred);
            (if rx > half { fits as u16 } else { rx as u16 }, tx_limits.preferred)
        });
        let fitted = (rx_limits.fit(rx), tx_limits.fit(tx));
        if config.descriptors.is_some_and(|asked| asked != fitted) {
            self.note(format!(
                "{rx} descriptors to receive and {tx} to transmit are not possible, {} and {} are used",
                fitted.0, fitted.1
            ));
        }
        fitted
    }

    /// A device without a MAC gets a random, locally administered one.
    pub(super) fn set_mac_if_none(&mut self) {
        if self.mac != [0; 6] {
            return;
        }
        // SAFETY: writes 6 bytes.
        unsafe { dpdk_sys::rte_eth_random_addr(self.mac.as_mut_ptr()) };
        // SAFETY: the shim reads 6 bytes.
        let result = unsafe { dpdk_sys::natlb_port_set_mac(self.started.id, self.mac.as_ptr()) };
        let [a, b, c, d, e, f] = self.mac;
        let known = if result == 0 { "" } else { ", unknown to the device" };
        self.note(format!(
            "the device has no MAC, it uses {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}{known}"
        ));
    }
}

/// The largest MTU that ethdev lets pass for a device with these limits, reckoned as there: what a
/// frame has beside the packet is the difference of the two where the driver sets both. 0: the driver
/// knows no limit.
fn device_mtu(max_mtu: u16, max_frame: u32) -> u16 {
    let mtu = if max_mtu == 0 { u16::MAX } else { max_mtu };
    let overhead = match max_frame.checked_sub(u32::from(mtu)) {
        Some(difference) if mtu != u16::MAX && difference > 0 => difference,
        _ => dpdk_sys::NATLB_ETHER_OVERHEAD,
    };
    match max_frame {
        0 => mtu,
        _ => u16::try_from(max_frame.saturating_sub(overhead)).unwrap_or(u16::MAX).min(mtu),
    }
}

#[cfg(test)]
mod tests {
    use super::device_mtu;

    #[test]
    fn the_narrower_limit_of_the_device_counts() {
        let none = u16::MAX;
        assert_eq!(device_mtu(none, 1518), 1500);
        assert_eq!(device_mtu(none, 1522), 1504);
        assert_eq!(device_mtu(none, u32::MAX), none);
        assert_eq!(device_mtu(9000, u32::MAX), 9000);
        assert_eq!(device_mtu(9702, 9728), 9702); // 26 bytes: two VLAN tags
        assert_eq!(device_mtu(9600, 1518), 1500);
        assert_eq!(device_mtu(0, 0), none);
        assert_eq!(device_mtu(none, 10), 0);
    }
}
