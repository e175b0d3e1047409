//! RSS: DPDK's own Toeplitz hash as the oracle of the steering keys, and what a port tells of itself.

use dataplane::steering::{ClientBits, Family, Hashed, Indirection, OwnerMap, ZeroWindow, free_key};
use dataplane::translation::endpoint_bits;
use dpdk::{
    Eal, EalOptions, Errno, EthPort, HashType, HashTypes, Hugepages, Pool, PortConfig, RssConfig, softrss,
};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Xorshift64 (Marsaglia 2003).
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn endpoint(state: &mut u64) -> SocketAddrV4 {
    let bits = random(state);
    SocketAddrV4::new(Ipv4Addr::from_bits(bits as u32), (bits >> 40) as u16)
}

fn input(source: SocketAddrV4, destination: SocketAddrV4) -> Vec<u8> {
    let addresses = [source.ip().octets(), destination.ip().octets()].concat();
    [addresses, [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat()].concat()
}

/// The queue that DPDK's hash leads to, on either side, is the owner map's.
#[test]
fn dpdk_computes_the_same_owner() {
    let mut state = 0x2545_f491_4f6c_dd1d;
    for (entries, workers, length) in [(16, 2, 40), (64, 3, 40), (128, 8, 40), (512, 16, 52)] {
        let table = Indirection::shuffled(entries, workers, || random(&mut state)).unwrap();
        let reta: Vec<_> = table.repeated(entries).map(usize::from).collect();
        let queue = |key: &[u8], input: &[u8]| reta[softrss(key, input) as usize % entries];

        let free = free_key(&table, || random(&mut state)).unwrap();
        let software = OwnerMap::random(table.clone(), || random(&mut state)).unwrap();
        let free_map = software.clone().with_key(Family::V4, &free, ClientBits::ALONE).unwrap();
        let free_map = free_map.with_key(Family::V6, &free, ClientBits::ALONE_V6).unwrap();
        let hashed = Hashed::AddressesAndPorts;
        let pair = ZeroWindow::random(Family::V4, hashed, &table, || random(&mut state)).unwrap();
        let vip_key = pair.key(ClientBits::SOURCE, length).unwrap();
        let dip_key = pair.key(ClientBits::DESTINATION, length).unwrap();
        let map = pair.owner_map(software).unwrap();
        for _ in 0..2000 {
            let [client, vip, real] = [(); 3].map(|()| endpoint(&mut state));
            let owner = map.owner(endpoint_bits(client));
            assert_eq!(queue(&vip_key, &input(client, vip)), owner);
            assert_eq!(queue(&dip_key, &input(real, client)), owner);
            // rte_softrss takes whole words: the port with two zero bytes behind it, which add nothing.
            let alone = endpoint_bits(client).to_le_bytes();
            assert_eq!(queue(&free, &alone), free_map.owner(endpoint_bits(client)));
            let address = u128::from(random(&mut state)) << 64 | u128::from(random(&mut state));
            let port = random(&mut state) as u16;
            let alone = [&address.to_le_bytes()[..], &port.to_le_bytes(), &[0; 2]].concat();
            assert_eq!(queue(&free, &alone), free_map.owner_v6(address, port));
        }
    }
}

/// The EAL starts once a process: the other test does without.
#[test]
fn a_port_tells_and_takes_its_table() {
    let options = EalOptions {
        worker_cores: vec![0],
        hugepages: Hugepages::Never,
        memory_mb: 64,
        devices: vec!["net_null0".into(), "net_ring0".into()],
        extra_arguments: vec!["--no-shconf".into()],
        ..EalOptions::default()
    };
    let eal = Eal::start(&options).unwrap();
    let pools: Vec<_> =
        ["rss0", "rss1"].map(|name| Pool::new(&eal, name, 511, 0, 2048, None).unwrap()).into();
    let config = |rss| PortConfig {
        pools: pools.clone(),
        tx_queues: pools.len() as u16,
        descriptors: Some((128, 128)),
        mtu: Some(1500),
        interface_mtu: None,
        promiscuous: false,
        all_multicast: false,
        rss,
    };

    // net_null hashes nothing, but keeps a table and a list of types.
    let mut null = EthPort::open(&eal, "net_null0").unwrap();
    let capabilities = null.rss_capabilities();
    assert_eq!(capabilities.table_size, 128);
    assert!(capabilities.types.contains(HashType::Ipv4Tcp), "{capabilities:?}");
    assert!(!capabilities.types.contains(HashType::SourceAddressOnly), "{capabilities:?}");
    let types: HashTypes = [HashType::Ipv4Tcp, HashType::Ipv4Udp].into_iter().collect();
    assert!(types.contains(HashType::Ipv4Udp) && !types.contains(HashType::Ipv4));
    let key = vec![0x5a; capabilities.key_length];
    let rss = RssConfig { key, types };
    null.configure(config(Some(rss.clone()))).unwrap();
    null.start().unwrap();
    let table: Vec<u16> = (0..128).map(|entry| entry / 3 % 2).collect();
    null.set_redirection(&table).unwrap();
    assert_eq!(null.redirection().unwrap(), table);
    assert_eq!(null.set_redirection(&table[1..]), Err(Errno::INVALID));
    let other = RssConfig { key: (1..=40).collect(), types };
    null.set_rss(&other).unwrap();
    assert_eq!(null.rss().unwrap().types, types);
    assert!(null.add_rss_rules(&rss).is_err(), "net_null has no flow rules");
    let refused = null.add_rss_rule_to(Ipv4Addr::LOCALHOST, &rss, &table).unwrap_err();
    assert_eq!(refused.to_string(), "Function not implemented");

    // net_ring has none of it.
    let mut ring = EthPort::open(&eal, "net_ring0").unwrap();
    assert_eq!(ring.rss_capabilities(), dpdk::RssCapabilities::default());
    assert!(ring.configure(config(Some(rss))).is_err(), "types that the device lacks");
    drop(ring);
}
