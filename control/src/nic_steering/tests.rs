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
    Abilities {
        driver,
        side,
        table_size,
        key_length,
        hashes_addresses,
        hashes_ports,
        hashes_other_ports: hashes_ports,
        narrowing,
    }
}

fn lines(ports: &[Abilities], workers: usize, mode: Mode) -> Vec<String> {
    plan(ports, workers, mode, Preferred::Ipv4).ways.iter().map(ToString::to_string).collect()
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
        assert_eq!(plan(&port, 2, Mode::Auto, Preferred::Ipv4).entries, entries, "{driver}");
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
            let chosen = plan(&[device("mlx5_pci", side)], 2, mode, Preferred::Ipv4);
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
    let chosen = plan(&[large.clone(), small.clone()], 4, Mode::Auto, Preferred::Ipv4);
    assert_eq!((chosen.entries, chosen.zero_window), (64, Some(Hashed::AddressesAndPorts)));

    // One port that hashes addresses alone: ports count on none.
    let addresses = Abilities { hashes_ports: false, ..small.clone() };
    let chosen = plan(&[large.clone(), addresses], 4, Mode::Auto, Preferred::Ipv4);
    assert_eq!(chosen.zero_window, Some(Hashed::Addresses));
    let line = "by the NIC: RSS by client address; ports can't be hashed";
    assert!(chosen.ways.iter().all(|way| way.to_string() == line), "{chosen:?}");

    // A port that software steers takes any map.
    let chosen = plan(&[large.clone(), device("net_af_packet", Side::Dip)], 4, Mode::Auto, Preferred::Ipv4);
    assert_eq!((chosen.entries, chosen.zero_window), (128, Some(Hashed::AddressesAndPorts)));
    assert_eq!(chosen.ways[1].to_string(), "by software: net_af_packet has no RSS with a table to set");

    // Without a zero window the table is as large as can be.
    let chosen = plan(&[large, small], 4, Mode::SourceOnly, Preferred::Ipv4);
    assert_eq!((chosen.entries, chosen.zero_window), (64, None));
    assert_eq!(plan(&[device("mlx5_pci", Side::Vip)], 4, Mode::Software, Preferred::Ipv4).entries, 512);
}

#[test]
fn the_table_grows_where_workers_would_get_uneven_shares() {
    for (workers, entries) in
        [(2, 128), (7, 128), (8, 128), (9, 256), (11, 128), (14, 256), (16, 128), (48, 512)]
    {
        assert_eq!(even_enough(workers), entries, "{workers}");
    }
}

/// A zero-window key is for one family; a NIC that hashes the client's fields alone does so for both.
#[test]
fn what_becomes_of_each_family_is_said() {
    let line = |port: &Abilities, mode, preferred| {
        let way = plan(std::slice::from_ref(port), 2, mode, preferred).ways.remove(0);
        (way.of_families(preferred, [true; 2]), way.steering(preferred))
    };
    let said = |text: &str, steering| (text.to_owned(), steering);
    let (auto, alone) = (Mode::Auto, Mode::SourceOnly);
    let nic = device("mlx5_pci", Side::Vip);
    let expected = "IPv4 by the NIC: RSS by client address and port; IPv6 by software: one RSS key can't serve both, and IPv4 is preferred";
    assert_eq!(line(&nic, auto, Preferred::Ipv4), said(expected, Steering::DeviceForIpv4));
    let expected = "IPv6 by the NIC: RSS by client address and port; IPv4 by software: one RSS key can't serve both, and IPv6 is preferred";
    assert_eq!(line(&nic, auto, Preferred::Ipv6), said(expected, Steering::DeviceForIpv6));
    for preferred in [Preferred::Ipv4, Preferred::Ipv6] {
        let expected = "IPv4 and IPv6 by the NIC: source-only RSS";
        assert_eq!(line(&nic, alone, preferred), said(expected, Steering::Device));
        let none = device("net_tap", Side::Vip);
        let expected = "by software: net_tap has no RSS with a table to set";
        assert_eq!(line(&none, auto, preferred), said(expected, Steering::Software));
    }
    let way = plan(std::slice::from_ref(&nic), 2, auto, Preferred::Ipv4).ways.remove(0);
    assert_eq!(way.of_families(Preferred::Ipv4, [true, false]), BY_KEY);
    let expected = "by software: one RSS key can't serve both, and IPv4 is preferred";
    assert_eq!(way.of_families(Preferred::Ipv4, [false, true]), expected);
    let lacks = "IPv6 by software: its RSS can't hash the client of that alone";
    let ipv4_only = Abilities { hashes_other_ports: false, ..nic.clone() };
    let expected = format!("IPv4 by the NIC: source-only RSS; {lacks}");
    assert_eq!(line(&ipv4_only, alone, Preferred::Ipv4), said(&expected, Steering::DeviceForIpv4));
    let by_rules = device("net_ice", Side::Vip);
    let expected = format!("IPv4 by the NIC: source-only RSS (flow rules); {lacks}");
    assert_eq!(line(&by_rules, alone, Preferred::Ipv4), said(&expected, Steering::DeviceForIpv4));
    let for_ipv4 = "by software: its rules are for IPv4 alone";
    for (port, mode) in [(by_rules, alone), (device("mlx5_pci", Side::Both), auto)] {
        assert_eq!(line(&port, mode, Preferred::Ipv6), said(for_ipv4, Steering::Software));
    }
    let short = Abilities { key_length: 39, narrowing: Narrowing::None, ..nic };
    let expected = "by software: its RSS key has 39 bytes; 40 are needed";
    assert_eq!(line(&short, auto, Preferred::Ipv6), said(expected, Steering::Software));
}

/// The map is made of the zero-window key's patterns, which are for one family.
#[test]
fn beside_a_zero_window_no_port_steers_both_families() {
    let short = Abilities { key_length: 36, ..device("mlx5_pci", Side::Vip) };
    let ports = [short, device("net_ixgbe", Side::Dip)];
    let chosen = plan(&ports, 2, Mode::Auto, Preferred::Ipv6);
    assert!(matches!(chosen.ways[0], Way::ClientAlone { both: false, .. }), "{chosen:?}");
    assert!(matches!(chosen.ways[1], Way::ZeroWindow { .. }), "{chosen:?}");
    assert_eq!(chosen.ways[0].steering(Preferred::Ipv6), Steering::DeviceForIpv6);
}
