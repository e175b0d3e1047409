use super::*;

/// What the drivers of DPDK 22.11 say of themselves, by their sources.
fn device(driver: &str, side: Side) -> Abilities {
    let (table_size, key_length, hashes_addresses, hashes_ports, narrowing) = match driver {
        "mlx5_pci" => (512, 40, true, true, Narrowing::Port),
        "net_ice" => (512, 52, true, true, Narrowing::Rules),
        "net_i40e" => (512, 52, false, true, Narrowing::Rules),
        "net_iavf" => (64, 52, true, true, Narrowing::Rules),
        "net_ixgbe" | "net_virtio" => (128, 40, true, true, Narrowing::None),
        "net_null" => (128, 0, true, true, Narrowing::None),
        "net_tap" => (0, 40, true, true, Narrowing::None),
        "net_af_packet" | "net_memif" | "net_pcap" => (0, 0, false, false, Narrowing::None),
        _ => unreachable!("{driver}"),
    };
    let driver = driver.into();
    Abilities { driver, side, table_size, key_length, hashes_addresses, hashes_ports, narrowing }
}

fn lines(ports: &[Abilities], workers: usize, mode: Mode) -> Vec<String> {
    plan(ports, workers, mode).ways.iter().map(ToString::to_string).collect()
}

const BY_KEY: &str = "by the NIC: RSS by client address and port";

#[test]
fn each_kind_of_device_goes_its_way() {
    let no_rss = |driver| format!("by software: {driver} has no RSS with a table to set");
    let narrow = "by software: its RSS can't hash the source or the destination alone".to_owned();
    for (driver, auto, source_only, entries) in [
        ("mlx5_pci", BY_KEY.into(), "by the NIC: source-only RSS".into(), 128),
        ("net_ice", BY_KEY.into(), "by the NIC: source-only RSS (flow rules)".into(), 128),
        ("net_i40e", BY_KEY.into(), "by the NIC: source-only RSS (flow rules)".into(), 128),
        ("net_iavf", BY_KEY.into(), "by the NIC: source-only RSS (flow rules)".into(), 64),
        ("net_ixgbe", BY_KEY.into(), narrow.clone(), 128),
        ("net_virtio", BY_KEY.into(), narrow, 128),
        ("net_null", no_rss("net_null"), no_rss("net_null"), 512),
        ("net_tap", no_rss("net_tap"), no_rss("net_tap"), 512),
        ("net_af_packet", no_rss("net_af_packet"), no_rss("net_af_packet"), 512),
        ("net_memif", no_rss("net_memif"), no_rss("net_memif"), 512),
        ("net_pcap", no_rss("net_pcap"), no_rss("net_pcap"), 512),
    ] {
        let port = [device(driver, Side::Vip)];
        let expected: [String; 2] = [auto, source_only];
        assert_eq!(lines(&port, 2, Mode::Auto), [expected[0].clone()], "{driver}");
        assert_eq!(lines(&port, 2, Mode::SourceOnly), [expected[1].clone()], "{driver}");
        assert_eq!(lines(&port, 2, Mode::Software), ["by software: [steering] mode says so"], "{driver}");
        assert_eq!(lines(&port, 1, Mode::Auto), ["one worker: all packets are its own"], "{driver}");
        assert_eq!(plan(&port, 2, Mode::Auto).entries, entries, "{driver}");
    }
    assert_eq!(
        lines(&[device("mlx5_pci", Side::Dip)], 2, Mode::SourceOnly),
        ["by the NIC: destination-only RSS"]
    );
}

#[test]
fn one_arm_takes_a_rule_for_each_vip() {
    let port = [device("mlx5_pci", Side::Both)];
    assert_eq!(lines(&port, 2, Mode::Auto), [format!("{BY_KEY}; a rule for each VIP")]);
    let addresses = Abilities { hashes_ports: false, ..port[0].clone() };
    assert_eq!(
        lines(&[addresses], 2, Mode::Auto),
        ["by the NIC: RSS by client address; ports can't be hashed; a rule for each VIP"]
    );
    let source_only = "by the NIC: source-only RSS by a rule for each VIP, else destination-only";
    assert_eq!(lines(&port, 2, Mode::SourceOnly), [source_only]);
    assert_eq!(
        lines(&[device("net_ice", Side::Both)], 2, Mode::SourceOnly),
        ["by software: one-arm, and its RSS is narrowed by rules that take no address"]
    );
    for (side, one_arm) in [(Side::Vip, false), (Side::Dip, false), (Side::Both, true)] {
        for mode in [Mode::Auto, Mode::SourceOnly] {
            let chosen = plan(&[device("mlx5_pci", side)], 2, mode);
            assert_eq!(chosen.ways[0].has_rules_for_addresses(), one_arm, "{chosen:?}");
        }
    }
}

#[test]
fn what_a_device_lacks_is_said() {
    let nic = || device("net_ixgbe", Side::Vip);
    for (port, workers, because) in [
        (
            Abilities { table_size: 8, ..nic() },
            2,
            "its RSS table has 8 entries; a power of two from 16 on is needed",
        ),
        (
            Abilities { table_size: 96, ..nic() },
            2,
            "its RSS table has 96 entries; a power of two from 16 on is needed",
        ),
        (nic(), 129, "its RSS table has 128 entries; a power of two from 256 on is needed"),
        (Abilities { key_length: 0, ..nic() }, 2, "its RSS key can't be set"),
        (Abilities { key_length: 15, ..nic() }, 2, "its RSS key has 15 bytes; 16 are needed"),
        (
            Abilities { hashes_addresses: false, hashes_ports: false, ..nic() },
            2,
            "its RSS does not hash TCP and UDP over IPv4",
        ),
    ] {
        assert_eq!(lines(&[port], workers, Mode::Auto), [format!("by software: {because}")]);
    }
    let short = Abilities { key_length: 12, ..device("mlx5_pci", Side::Vip) };
    assert_eq!(lines(&[short], 2, Mode::Auto), ["by the NIC: source-only RSS"]);
}

#[test]
fn all_ports_agree_on_one_map() {
    let (large, small) = (device("mlx5_pci", Side::Vip), device("net_iavf", Side::Dip));
    let chosen = plan(&[large.clone(), small.clone()], 4, Mode::Auto);
    assert_eq!((chosen.entries, chosen.zero_window), (64, Some(Hashed::AddressesAndPorts)));

    // One port that hashes addresses alone: ports count on none.
    let addresses = Abilities { hashes_ports: false, ..small.clone() };
    let chosen = plan(&[large.clone(), addresses], 4, Mode::Auto);
    assert_eq!(chosen.zero_window, Some(Hashed::Addresses));
    let line = "by the NIC: RSS by client address; ports can't be hashed";
    assert!(chosen.ways.iter().all(|way| way.to_string() == line), "{chosen:?}");

    // A port that software steers takes any map.
    let chosen = plan(&[large.clone(), device("net_af_packet", Side::Dip)], 4, Mode::Auto);
    assert_eq!((chosen.entries, chosen.zero_window), (128, Some(Hashed::AddressesAndPorts)));
    assert_eq!(chosen.ways[1].to_string(), "by software: net_af_packet has no RSS with a table to set");

    // Without a zero window the table is as large as can be.
    let chosen = plan(&[large, small], 4, Mode::SourceOnly);
    assert_eq!((chosen.entries, chosen.zero_window), (64, None));
    assert_eq!(plan(&[device("mlx5_pci", Side::Vip)], 4, Mode::Software).entries, 512);
}

#[test]
fn the_table_grows_where_workers_would_get_uneven_shares() {
    for (workers, entries) in
        [(2, 128), (7, 128), (8, 128), (9, 256), (11, 128), (14, 256), (16, 128), (48, 512)]
    {
        assert_eq!(even_enough(workers), entries, "{workers}");
    }
}
