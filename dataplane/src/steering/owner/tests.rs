use super::*;
use crate::translation::endpoint_bits;
use std::net::{SocketAddrV4, SocketAddrV6};

/// The key of Microsoft's verification suite for RSS.
const MICROSOFT: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
    0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
    0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

fn in_order(entries: usize, workers: usize) -> Indirection {
    // The largest number makes Fisher-Yates exchange each entry with itself.
    Indirection::shuffled(entries, workers, || u64::MAX).unwrap()
}

/// "Verifying the RSS hash calculation" (Microsoft): source, destination, hash with and without ports.
#[test]
fn the_hashes_of_the_verification_suite_come_out() {
    for (source, destination, with_ports, without) in [
        ("66.9.149.187:2794", "161.142.100.80:1766", 0x51cc_c178, 0x323e_8fc2),
        ("199.92.111.2:14230", "65.69.140.83:4739", 0xc626_b0ea, 0xd718_262a),
        ("24.19.198.95:12898", "12.22.207.184:38024", 0x5c2b_394a, 0xd2d0_a5de),
        ("38.27.205.30:48228", "209.142.163.6:2217", 0xafc7_327f_u32, 0x8298_9176),
        ("153.39.163.191:44251", "202.188.127.2:1303", 0x10e8_28a2, 0x5d18_09c5),
    ] {
        let bits = |text: &str| endpoint_bits(text.parse::<SocketAddrV4>().unwrap());
        let index = |client, text| {
            let parts = Parts::<BYTES_V4>::of_key(&MICROSOFT, client, &in_order(512, 1)).unwrap();
            parts.index(&bits(text).to_le_bytes())
        };
        let both = index(ClientBits::SOURCE, source) ^ index(ClientBits::DESTINATION, destination);
        assert_eq!(u32::from(both), with_ports % 512, "{source}");
        let both = index(ClientBits::SOURCE.without_port(), source)
            ^ index(ClientBits::DESTINATION.without_port(), destination);
        assert_eq!(u32::from(both), without % 512, "{source}");
    }
}

/// Likewise, of IPv6.
#[test]
fn the_hashes_of_the_verification_suite_come_out_for_ipv6() {
    for (source, destination, with_ports, without) in [
        ("[3ffe:2501:200:1fff::7]:2794", "[3ffe:2501:200:3::1]:1766", 0x4020_7d3d, 0x2cc1_8cd5),
        ("[3ffe:501:8::260:97ff:fe40:efab]:14230", "[ff02::1]:4739", 0xdde5_1bbf, 0x0f0c_461c),
        (
            "[3ffe:1900:4545:3:200:f8ff:fe21:67cf]:44251",
            "[fe80::200:f8ff:fe21:67cf]:38024",
            0x02d1_feef_u32,
            0x4b61_e985,
        ),
    ] {
        let bytes = |text: &str| {
            let endpoint: SocketAddrV6 = text.parse().unwrap();
            [&endpoint.ip().octets()[..], &endpoint.port().to_be_bytes()].concat()
        };
        let index = |client, text| {
            Parts::<BYTES_V6>::of_key(&MICROSOFT, client, &in_order(512, 1)).unwrap().index(&bytes(text))
        };
        let both = index(ClientBits::SOURCE_V6, source) ^ index(ClientBits::DESTINATION_V6, destination);
        assert_eq!(u32::from(both), with_ports % 512, "{source}");
        let both = index(ClientBits::SOURCE_V6.without_port(), source)
            ^ index(ClientBits::DESTINATION_V6.without_port(), destination);
        assert_eq!(u32::from(both), without % 512, "{source}");
    }
}

/// Two clients that differ in one bit of the address or port have owners of their own, for half of all maps or more.
#[test]
fn every_bit_of_an_ipv6_client_counts() {
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        state
    };
    let (address, port) = (0x0123_4567_89ab_cdef_0011_2233_4455_6677_u128, 0x1234_u16);
    let mut differ = [0; 144];
    for _ in 0..64 {
        let map = OwnerMap::random(in_order(512, 64), &mut random).unwrap();
        let owner = map.owner_v6(address, port);
        for (bit, differ) in differ.iter_mut().enumerate() {
            let other = match bit {
                0..128 => map.owner_v6(address ^ 1 << bit, port),
                _ => map.owner_v6(address, port ^ 1 << (bit - 128)),
            };
            *differ += u32::from(other != owner);
        }
    }
    assert!(differ.iter().all(|differ| *differ > 32), "{differ:?}");
}

#[test]
fn one_worker_owns_everything() {
    let map = OwnerMap::single();
    assert_eq!((map.workers(), map.owner(0), map.owner(u64::MAX >> 16)), (1, 0, 0));
    assert_eq!((map.owner_v6(0, 0), map.owner_v6(u128::MAX, u16::MAX)), (0, 0));
}

#[test]
fn a_table_is_shared_out_evenly_and_repeats() {
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        state
    };
    for entries in [16, 64, 128, 512] {
        for workers in 1..=16 {
            let table = Indirection::shuffled(entries, workers, &mut random).unwrap();
            let mut shares = vec![0; workers];
            (0..entries as u32).for_each(|hash| shares[table.worker(hash)] += 1);
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!((*least, *most) == (entries / workers, entries.div_ceil(workers)), "{shares:?}");
            let larger: Vec<_> = table.repeated(2048).map(usize::from).collect();
            assert!((0..2048).all(|hash| larger[hash as usize] == table.worker(hash)));
        }
    }
    assert_ne!(Indirection::shuffled(128, 4, &mut random), Indirection::shuffled(128, 4, &mut random));
}

#[test]
fn what_can_not_be_is_refused() {
    for entries in [0, 8, 24, 1024] {
        assert_eq!(Indirection::shuffled(entries, 2, || 0), Err(Unsuitable::Table(entries)));
    }
    for (entries, workers) in [(16, 0), (16, 17), (512, 65)] {
        assert_eq!(Indirection::shuffled(entries, workers, || 0), Err(Unsuitable::Workers(workers)));
    }
    let map = || OwnerMap::single();
    for (family, enough) in [(Family::V4, 16), (Family::V6, 40)] {
        let of_key = |length: usize| map().with_key(family, &vec![0; length], family.destination());
        assert_eq!(of_key(enough - 1).unwrap_err(), Unsuitable::KeyLength(enough - 1));
        assert!(of_key(enough).is_ok());
    }
}
