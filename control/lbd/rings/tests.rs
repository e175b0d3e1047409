use super::*;
use dataplane::worker::{BURSTS_IN_HAND, BURSTS_IN_HAND_OF_IPV6};

const USUAL: RingUse = RingUse { rx_for_each: 1, rx_fixed: 0, tx_for_each: 1, tx_fixed: 0 };

const fn limits(preferred: u16, least: u16, most: u16, multiple_of: u16) -> RingLimits {
    RingLimits { preferred, least, most, multiple_of }
}

/// A port with so many queues, of a driver with these names and numbers of DPDK 22.11's.
fn port(driver: &str, tx_queues: usize) -> PortShape {
    let intel = |preferred| (USUAL, limits(preferred, 32, 4096, 8), limits(preferred, 32, 4096, 8));
    let (uses, rx, tx) = match driver {
        "em" => intel(256),
        "igb" => intel(1024),
        "ixgbe" => (USUAL, limits(256, 64, 4096, 128), limits(256, 64, 4096, 128)),
        "ice" => (USUAL, limits(1024, 128, 4096, 32), limits(1024, 64, 4096, 32)),
        "i40e" => (USUAL, limits(2048, 64, 4096, 32), limits(1024, 64, 4096, 32)),
        "vmxnet3" => {
            let uses = RingUse { rx_for_each: 2, ..USUAL };
            (uses, limits(1024, 128, 4096, 1), limits(1024, 512, 4096, 1))
        }
        "virtio" => (USUAL, limits(1024, 64, u16::MAX, 1), limits(1024, 32, u16::MAX, 1)),
        "af_packet" => {
            let uses = RingUse { rx_for_each: 0, tx_for_each: 0, ..USUAL };
            (uses, limits(1024, 0, u16::MAX, 1), limits(1024, 0, u16::MAX, 1))
        }
        "af_xdp" => {
            let uses = RingUse { rx_for_each: 0, rx_fixed: 6144, tx_for_each: 0, tx_fixed: 0 };
            (uses, limits(2048, 0, u16::MAX, 1), limits(2048, 0, u16::MAX, 1))
        }
        _ => unreachable!("{driver}"),
    };
    PortShape { uses, rx, tx, tx_queues }
}

const DRIVERS: [&str; 9] = ["em", "igb", "ixgbe", "ice", "i40e", "vmxnet3", "virtio", "af_packet", "af_xdp"];

fn fit_ports(drivers: &[&str], count: usize, cache: usize, workers: usize) -> Result<Sizes, TooFew> {
    let ports: Vec<_> = drivers.iter().map(|driver| port(driver, workers)).collect();
    fit(&ports, Wanted { count, cache, workers, bursts: BURSTS_IN_HAND })
}

#[test]
fn what_is_set_where_nothing_else_is_stays_as_the_drivers_prefer_it() {
    for (driver, rings) in
        [("em", (256, 256)), ("igb", (1024, 1024)), ("virtio", (1024, 1024)), ("vmxnet3", (1024, 1024))]
    {
        for workers in [1, 2] {
            if driver == "vmxnet3" && workers == 2 {
                continue; // a thousand too many
            }
            let sizes = fit_ports(&[driver; 2], 8192, 256, workers).unwrap();
            assert_eq!((sizes.rings, sizes.cache, sizes.held), (vec![rings; 2], 256, MOST_HELD), "{driver}");
            assert!(sizes.enough <= 8192, "{driver}: {}", sizes.enough);
        }
    }
}

#[test]
fn pools_that_ran_dry_do_no_more() {
    // igb with 2048 buffers, em with 512, vmxnet3 with 2048.
    let igb = fit_ports(&["igb"; 2], 2048, 256, 1).unwrap();
    assert!(igb.rings[0].0 <= 512 && igb.rings[1].1 <= 512 && igb.enough > 2048, "{igb:?}");
    let em = fit_ports(&["em"; 2], 512, 256, 1).unwrap();
    assert_eq!((em.rings[0], em.cache), ((64, 64), 32), "{em:?}");
    let vmxnet3 = fit_ports(&["vmxnet3"; 2], 2048, 256, 1).unwrap();
    assert!(2 * vmxnet3.rings[0].0 + 2 * vmxnet3.rings[0].1 < 1700, "{vmxnet3:?}");
    // Its rings to transmit have 512 slots at least.
    let refused = fit_ports(&["vmxnet3"; 2], 512, 256, 1).unwrap_err();
    assert!(refused.least > 1024, "{refused:?}");
    // Many ports, each with a ring to transmit.
    let mut drivers = vec!["igb"; 9];
    assert!(fit_ports(&drivers, 8192, 256, 1).unwrap().enough > 8192);
    drivers.extend(["igb"; 7]);
    assert!(fit_ports(&drivers, 8192, 256, 16).is_err());
}

#[test]
fn rings_of_drivers_that_copy_do_not_count() {
    let copying = fit_ports(&["af_packet"; 2], 512, 256, 1).unwrap();
    assert_eq!(copying.rings, [(1024, 1024); 2]);
    let fixed = fit_ports(&["af_xdp"; 2], 2048, 0, 1).unwrap_err();
    assert!(fixed.least > 6144, "{fixed:?}");
    assert!(fit_ports(&["af_xdp"; 2], 8192, 256, 1).is_ok());
}

/// For pairs of drivers and many shapes: either there is room to spare, or it is refused; and what is named as
/// enough, or as the least, is.
#[test]
fn what_fits_leaves_room_and_what_is_named_suffices() {
    let mut refused = 0;
    for (index, first) in DRIVERS.iter().enumerate() {
        for second in &DRIVERS[index..] {
            for workers in [1, 2, 8, 64] {
                for ports in [1, 2, 16] {
                    let names: Vec<_> = [*first, *second].into_iter().cycle().take(ports).collect();
                    for count in [512, 1000, 2048, 8192, 1 << 20] {
                        for cache in [0, 33, 512] {
                            refused += usize::from(!holds(&names, count, cache, workers));
                        }
                    }
                }
            }
        }
    }
    assert!(refused > 0, "none of them was too much");
}

/// False: it is refused.
fn holds(names: &[&str], count: usize, cache: usize, workers: usize) -> bool {
    let what = || format!("{names:?} with {count}, {cache} and {workers} workers");
    let ports: Vec<_> = names.iter().map(|driver| port(driver, workers)).collect();
    let bursts = BURSTS_IN_HAND + BURSTS_IN_HAND_OF_IPV6;
    let sizes = match fit(&ports, Wanted { count, cache, workers, bursts }) {
        Ok(sizes) => sizes,
        Err(TooFew { least, .. }) => {
            assert!(least > count, "{}: {least}", what());
            assert!(
                fit(&ports, Wanted { count: least, cache, workers, bursts }).is_ok(),
                "{}: {least}",
                what()
            );
            return false;
        }
    };
    for (index, shape) in ports.iter().enumerate() {
        assert!(sizes.taken(&ports, index, workers) + 64 <= count, "{}: {sizes:?}", what());
        let (rx, tx) = sizes.rings[index];
        assert_eq!((shape.rx.fit(rx), shape.tx.fit(tx)), (rx, tx), "{}: sizes that the driver has", what());
        assert!(rx >= LEAST_SLOTS && tx >= LEAST_SLOTS, "{}: {sizes:?}", what());
    }
    assert!(sizes.cache <= cache && sizes.cache >= cache.min(LEAST_CACHE) && sizes.held >= LEAST_HELD);
    let same = fit(&ports, Wanted { count: sizes.enough, cache, workers, bursts }).unwrap();
    assert_eq!((same.cache, same.held), (cache, MOST_HELD), "{}", what());
    true
}
