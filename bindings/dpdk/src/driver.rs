//! What drivers do not say of themselves, and it matters: how they cut buffers down, how many of them their rings
//! hold, which queues they claim and the chip has not. From the sources of DPDK 22.11; a driver that is not listed is
//! taken for a usual one.

use std::fs;
use std::path::Path;

/// The unit to which a driver rounds a buffer's room down before it passes it to the device. The rest of a longer frame
/// goes to a second buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rounding {
    /// A multiple of this number of bytes.
    Multiple(u16),
    /// A power of two.
    PowerOfTwo,
}

/// The buffers of pools that a port's rings hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingUse {
    /// Of the queue's own pool, for each descriptor to receive.
    pub rx_for_each: u32,
    /// Of the queue's own pool, however many descriptors it has.
    pub rx_fixed: u32,
    /// Of any pool, for each descriptor to transmit.
    pub tx_for_each: u32,
    /// Of any pool, for each queue to transmit, however many descriptors it has.
    pub tx_fixed: u32,
}

impl RingUse {
    /// A buffer for each descriptor.
    const USUAL: Self = Self { rx_for_each: 1, rx_fixed: 0, tx_for_each: 1, tx_fixed: 0 };
    /// Frames are copied, to and from memory that is not the pools'.
    const COPIES: Self = Self { rx_for_each: 0, rx_fixed: 0, tx_for_each: 0, tx_fixed: 0 };
}

/// What is known of a driver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Driver {
    rounding: Rounding,
    /// The most bytes that one buffer is used for.
    most: u16,
    /// Bytes of a buffer that are lost, or are to be there, beside a frame: as many as are rounded to, or a multiple.
    beside: u16,
    /// The fewest bytes of a buffer that the driver takes; some do not say it.
    least: u16,
    pub(crate) rings: RingUse,
    /// The fewest slots of a ring to receive with which the driver goes on, where it says fewer.
    pub(crate) least_slots: u16,
}

/// Most Intel-like devices count in units of 1 KiB (igb, igc, ixgbe, ngbe, txgbe, atlantic); a device with smaller
/// units loses nothing by it.
const USUAL: Driver = Driver {
    rounding: Rounding::Multiple(1024),
    most: u16::MAX,
    beside: 0,
    least: 0,
    rings: RingUse::USUAL,
    least_slots: 0,
};

/// Drivers whose vector code fills a ring only when more than 64 slots are empty never fill one of 64.
const REARMING: u16 = 128;

impl Driver {
    /// That of a driver by DPDK's name of it.
    pub(crate) fn of(name: &str) -> Self {
        match name {
            // BSIZE of RCTL.
            "net_e1000_em" => Self { rounding: Rounding::PowerOfTwo, most: 16_384, ..USUAL },
            // A list of sizes, all powers of two from 2 KiB on but 3 KiB.
            "net_hinic" => Self { rounding: Rounding::PowerOfTwo, most: 16_384, ..USUAL },
            // 512 bytes, 1, 2 or 4 KiB.
            "net_hns3" | "net_hns3_vf" => {
                Self { rounding: Rounding::PowerOfTwo, most: 4096, least_slots: REARMING, ..USUAL }
            }
            // 128 bytes, and less than 16 KiB.
            "net_i40e" | "net_iavf" => {
                Self { rounding: Rounding::Multiple(128), most: 16_384 - 128, ..USUAL }
            }
            "net_ice" | "net_ice_dcf" | "net_idpf" => Self { least_slots: REARMING, ..Self::of("net_i40e") },
            // Buffers begin at a multiple of 512 bytes.
            "net_fm10k" => Self { rounding: Rounding::Multiple(256), beside: 512, ..USUAL },
            "net_gve" => Self { rounding: Rounding::Multiple(2048), most: 4096, ..USUAL },
            // A header of virtio's counts, though it is in the headroom.
            "net_virtio" | "net_virtio_user" => Self { rounding: Rounding::Multiple(1), beside: 12, ..USUAL },
            "net_ena" => Self { least: 1400, ..USUAL },
            // The second ring is for further buffers of long frames.
            "net_vmxnet3" => Self { rings: RingUse { rx_for_each: 2, ..RingUse::USUAL }, ..USUAL },
            "net_af_packet" | "net_pcap" | "net_null" | "net_memif" | "net_vhost" => {
                Self { rings: RingUse::COPIES, ..USUAL }
            }
            // Its rings have sizes of their own: to receive 2048, to transmit as many and those of the completions,
            // all of its own pool, to which frames of others are copied.
            "net_af_xdp" => Self { rings: RingUse { rx_fixed: 3 * 2048, ..RingUse::COPIES }, ..USUAL },
            // What was sent is another's to receive: a ring of 1024 less one.
            "net_ring" => Self { rings: RingUse { tx_fixed: 1023, ..RingUse::COPIES }, ..USUAL },
            "net_tap" | "net_tun" => Self { rings: RingUse { tx_for_each: 0, ..RingUse::USUAL }, ..USUAL },
            _ => USUAL,
        }
    }

    /// This driver as a virtual device's arguments change it.
    pub(crate) fn with_arguments(mut self, vdev: &str) -> Self {
        let value = |key: &str| {
            vdev.split(',').find_map(|argument| argument.trim().strip_prefix(key)?.strip_prefix('='))
        };
        // net_memif's rings lie in the pools then; their sizes are powers of two, 1024 if not named.
        if value("zero-copy") == Some("yes") {
            let slots = 1u32 << value("rsize").and_then(|bits| bits.parse().ok()).unwrap_or(10u32).min(14);
            self.rings = RingUse { rx_fixed: slots, tx_fixed: slots, ..RingUse::COPIES };
        }
        self
    }

    /// The bytes of a frame that arrive in one buffer with this room.
    pub(crate) fn one_buffer_holds(&self, room: u16) -> u16 {
        let room = room.saturating_sub(self.beside).min(self.most);
        match self.rounding {
            Rounding::Multiple(of) => room / of * of,
            Rounding::PowerOfTwo => room.checked_ilog2().map_or(0, |bits| 1 << bits),
        }
    }

    /// The room of a buffer for `size` bytes that takes a frame of `frame` bytes in one piece, if any does.
    pub(crate) fn room(&self, size: u16, frame: u16, least: u16) -> u16 {
        let least = self.least.max(least);
        let wanted = size.max(frame.saturating_add(self.beside)).max(least);
        let rounded = match self.rounding {
            Rounding::Multiple(of) => u32::from(wanted).next_multiple_of(of.into()),
            Rounding::PowerOfTwo => u32::from(wanted).next_power_of_two(),
        };
        // Of a larger one not more would be used.
        let most = self.most.saturating_add(self.beside).max(least);
        u16::try_from(rounded).unwrap_or(wanted).min(most)
    }
}

/// The chips of a driver that claims more queues than some of them have, by PCI device id of Intel: `em` says two of
/// all. 82574L and LA have two; 8254x has one, and what is given to another queue is never sent.
const EM_WITH_TWO: [u16; 2] = [0x10d3, 0x10f6];

/// The most queues that may be used, to receive and to transmit; `None`: what the driver says holds.
pub(crate) fn most_queues(driver: &str, pci_device: Option<u16>) -> Option<u16> {
    let two = pci_device.is_some_and(|id| EM_WITH_TWO.contains(&id));
    (driver == "net_e1000_em" && !two).then_some(1)
}

/// The PCI device id of the device at `address`, as the kernel has it.
pub(crate) fn pci_device(address: &str) -> Option<u16> {
    let path = Path::new("/sys/bus/pci/devices").join(address).join("device");
    let text = fs::read_to_string(path).ok()?;
    u16::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRIVERS: [&str; 16] = [
        "net_e1000_em",
        "net_e1000_igb",
        "net_igc",
        "net_ixgbe",
        "net_i40e",
        "net_ice",
        "net_iavf",
        "net_fm10k",
        "net_hinic",
        "net_hns3",
        "net_gve",
        "net_virtio",
        "net_vmxnet3",
        "net_ena",
        "mlx5_pci",
        "net_af_packet",
    ];

    /// What the drivers themselves make of a room, in their own words.
    fn as_the_driver(name: &str, room: u16) -> u16 {
        match name {
            "net_e1000_em" => {
                let sizes = [16_384, 8192, 4096, 2048, 1024, 512, 256];
                sizes.into_iter().find(|size| *size <= room).unwrap_or(0)
            }
            "net_hinic" => {
                let sizes = [16_384, 8192, 4096, 3072, 2048, 1536, 1024];
                sizes.into_iter().find(|size| *size <= room).unwrap_or(0)
            }
            "net_hns3" => [4096, 2048, 1024, 512].into_iter().find(|size| *size <= room).unwrap_or(0),
            "net_e1000_igb" | "net_igc" | "net_ixgbe" => room >> 10 << 10,
            "net_i40e" | "net_ice" | "net_iavf" => (room / 128 * 128).min(16_384 - 128),
            "net_fm10k" => (room - 512) >> 8 << 8,
            "net_gve" => (room / 2048 * 2048).min(4096),
            _ => room,
        }
    }

    #[test]
    fn a_frame_of_the_size_that_was_set_fits_one_buffer() {
        for name in DRIVERS {
            let driver = Driver::of(name);
            for size in 1024..=16_384 {
                let mtu = 1500.min(size - 18);
                let room = driver.room(size, mtu + 18, 0);
                let holds = driver.one_buffer_holds(room);
                assert!(holds <= as_the_driver(name, room), "{name}: {room} is less than reckoned");
                let most = as_the_driver(name, u16::MAX);
                // Of a room that begins elsewhere the size that was set is more than the frame.
                let frame = if name == "net_fm10k" { mtu + 18 } else { size };
                assert!(
                    as_the_driver(name, room) >= frame.min(most),
                    "{name}: of {size} {room} were made, too few"
                );
                assert!(holds >= (mtu + 18).min(most), "{name}: {size} has no room for {mtu}");
            }
        }
    }

    #[test]
    fn a_frame_of_the_mtu_fits_one_buffer() {
        for name in DRIVERS {
            let driver = Driver::of(name);
            for mtu in 576..=9216 {
                let frame = mtu + 18;
                let room = driver.room(frame.max(1024), frame, 0);
                let most = as_the_driver(name, u16::MAX);
                assert!(driver.one_buffer_holds(room) >= frame.min(most), "{name}: {mtu} in {room}");
            }
        }
    }

    #[test]
    fn sizes_that_are_seen_often() {
        let room = |name: &str, size, mtu: u16| Driver::of(name).room(size, mtu + 18, 0);
        for name in DRIVERS {
            if name != "net_fm10k" {
                assert_eq!(
                    room(name, 2048, 1500),
                    2048,
                    "{name}: what is set where nothing else is costs no more"
                );
            }
        }
        assert_eq!(room("net_e1000_em", 1536, 1500), 2048);
        assert_eq!(room("net_e1000_em", 9216, 9000), 16_384);
        assert_eq!(room("net_e1000_igb", 1536, 1500), 2048);
        assert_eq!(room("net_e1000_igb", 9018, 9000), 9216);
        assert_eq!(room("net_ice", 1536, 1500), 1536);
        assert_eq!(room("net_virtio", 2048, 2030), 2060);
        assert_eq!(Driver::of("net_vmxnet3").room(1536, 1518, 1646), 2048);
        assert_eq!(Driver::of("net_hns3").one_buffer_holds(room("net_hns3", 9216, 9000)), 4096);
        assert_eq!(Driver::of("net_ena").room(1024, 1018, 64), 2048);
    }

    #[test]
    fn rings_are_large_enough_to_be_filled_again() {
        for (name, least) in
            [("net_ice", 128), ("net_idpf", 128), ("net_hns3", 128), ("net_i40e", 0), ("net_ixgbe", 0)]
        {
            assert_eq!(Driver::of(name).least_slots, least, "{name}");
        }
    }

    #[test]
    fn memif_without_copies_keeps_buffers_in_its_rings() {
        let rings = |vdev: &str| Driver::of("net_memif").with_arguments(vdev).rings;
        assert_eq!(rings("net_memif0,role=client,zero-copy=no"), RingUse::COPIES);
        let fixed = |slots| RingUse { rx_fixed: slots, tx_fixed: slots, ..RingUse::COPIES };
        assert_eq!(rings("net_memif0,role=client,zero-copy=yes"), fixed(1024));
        assert_eq!(rings("net_memif0, rsize=11, zero-copy=yes"), fixed(2048));
    }

    #[test]
    fn an_82540em_has_one_queue_whatever_its_driver_says() {
        assert_eq!(most_queues("net_e1000_em", Some(0x100e)), Some(1));
        assert_eq!(most_queues("net_e1000_em", None), Some(1));
        assert_eq!(most_queues("net_e1000_em", Some(0x10d3)), None);
        assert_eq!(most_queues("net_e1000_igb", Some(0x10c9)), None);
        assert_eq!(pci_device("0000:ff:1f.7-none"), None);
    }
}
