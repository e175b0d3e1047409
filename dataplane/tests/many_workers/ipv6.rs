//! Both families on the same ports, with several workers: each packet reaches its client's owner, whoever receives it.

use super::*;
use dataplane::names::ids::{Protocol, RealId, RealKey, ServiceKey};
use dataplane::names::mac::Mac;
use dataplane::schedule::{Algorithm, Candidate, Schedule};
use dataplane::snapshot::{Policy, Real, Route, Service, Thresholds};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

const ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 0x10, 9]);

fn six(text: &str) -> SocketAddrV6 {
    text.parse().unwrap()
}

fn vip6() -> SocketAddrV6 {
    six("[fd00:10::100]:53")
}

fn real6() -> SocketAddrV6 {
    six("[fd00:20::7]:5353")
}

/// Clients of many networks, which differ in all parts of the address; some in the port alone.
fn client6(n: u32) -> SocketAddrV6 {
    let address = 0x2001_0db8 << 96 | u128::from(n / 3 % 5) << 64 | u128::from(n / 3) << 17 | 9;
    SocketAddrV6::new(Ipv6Addr::from_bits(address), 40_000 + n as u16 % 3, 0, 0)
}

/// UDP services of both families, with one real each.
fn both_families() -> Lab {
    let mut lab = Lab::new();
    lab.configure(&[Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(RS2, 5353), 1)] }]);
    for (interface, address) in [(VIP0, "fd00:10::8/64"), (DIP0, "fd00:20::8/64")] {
        lab.description.interfaces[interface.index()].addresses.push(address.parse().unwrap());
    }
    let router: std::net::IpAddr = "fd00:10::1".parse().unwrap();
    let prefix = "2001:db8::/32".parse().unwrap();
    lab.description.routes.push(Route { prefix, interface: VIP0, via: Some(router) });
    let key = ServiceKey::new(Protocol::Udp, vip6().into());
    let id = RealId(lab.description.reals.len() as u32);
    let next_hop = lab.next_hop_id(NeighbourKey { interface: DIP0, address: (*real6().ip()).into() });
    lab.description.reals.push(Real {
        id,
        key: RealKey { service: key, endpoint: real6().into() },
        next_hop,
        thresholds: Thresholds::default(),
        removed: None,
        is_emptied: false,
    });
    let candidates = vec![Candidate { real: id, weight: 1 }];
    let schedule = Schedule::new(Algorithm::RoundRobin, 1, candidates, 0, Vec::new());
    let service = Service { key, policy: Policy::default(), timeouts: None, schedule: Arc::new(schedule) };
    lab.description.services.push(Some(service));
    lab.apply();
    lab.reachable(NeighbourKey { interface: VIP0, address: router }, ROUTER_MAC);
    lab.reachable(NeighbourKey { interface: DIP0, address: (*real6().ip()).into() }, RS2_MAC);
    lab
}

fn datagram([from_mac, to_mac]: [Mac; 2], [from, to]: [SocketAddrV6; 2], payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(from_mac.0, to_mac.0)
        .ipv6(from.ip().octets(), to.ip().octets(), 64)
        .udp(from.port(), to.port())
        .write(&mut bytes, payload)
        .unwrap();
    bytes
}

/// Where a datagram of either family goes. Its checksum has been verified.
fn destination(frame: &[u8]) -> SocketAddr {
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(NetSlice::Ipv6(ip)) = &sliced.net else { return read(frame).destination.into() };
    let Some(TransportSlice::Udp(udp)) = &sliced.transport else { panic!("not UDP: {frame:?}") };
    let header = ip.header().to_header();
    let expected = udp.to_header().calc_checksum_ipv6_raw(header.source, header.destination, udp.payload());
    assert_eq!(udp.checksum(), expected.unwrap());
    SocketAddr::new(header.destination.into(), udp.destination_port())
}

/// A question of a client and its answer, of one family: where they arrive, and where they are to go.
fn exchanges(n: u32) -> [[(InterfaceId, Vec<u8>, SocketAddr); 2]; 2] {
    let client = at(CLIENT, 40_000 + n as u16);
    let ask = Packet::udp(client, at(VIP, 53), b"?").macs(CLIENT_MAC, VIP_MAC).frame();
    let answer = Packet::udp(at(RS2, 5353), client, b"!").macs(RS2_MAC, DIP_MAC).frame();
    let four = [(VIP0, ask, at(RS2, 5353).into()), (DIP0, answer, client.into())];
    let client = client6(n);
    let ask = datagram([ROUTER_MAC, VIP_MAC], [client, vip6()], b"?");
    let answer = datagram([RS2_MAC, DIP_MAC], [real6(), client], b"!");
    [four, [(VIP0, ask, real6().into()), (DIP0, answer, client.into())]]
}

fn owner6(cluster: &Cluster, n: u32) -> usize {
    let address = u128::from_le_bytes(client6(n).ip().octets());
    cluster.owners.owner_v6(address, client6(n).port().swap_bytes())
}

const CLIENTS: u32 = 90;

/// Lets all exchanges happen, in the queue that `queue` says for the number of an exchange, whether it is of IPv6, and
/// its owner.
fn exchange(steering: Steering, workers: usize, queue: impl Fn(u32, bool, usize) -> usize) -> Cluster {
    let lab = both_families();
    let mut cluster = Cluster::new(&lab, workers, steering);
    let mut expected = vec![[0, 0]; workers];
    for n in 0..CLIENTS {
        let owners = [cluster.owner(at(CLIENT, 40_000 + n as u16)), owner6(&cluster, n)];
        for (is_six, owner) in owners.into_iter().enumerate() {
            expected[owner][is_six] += 1;
        }
        for step in 0..2 {
            // Both families in one burst.
            let mut wanted = Vec::new();
            for (is_six, exchange) in exchanges(n).into_iter().enumerate() {
                let (port, bytes, to) = &exchange[step];
                cluster.arrive(queue(n, is_six == 1, owners[is_six]), *port, bytes);
                wanted.push(*to);
            }
            let mut sent: Vec<_> = cluster.settle().iter().map(|sent| destination(&sent.bytes)).collect();
            sent.sort();
            wanted.sort();
            assert_eq!(sent, wanted, "{steering:?}, {n}, {step}");
        }
    }
    for (worker, [four, six]) in expected.into_iter().enumerate() {
        let counters = cluster.counters(worker);
        assert!(six > 0, "each has its share");
        assert_eq!((counters.connections.get(), counters.connections_ipv6.get()), (four + six, six));
    }
    cluster
}

fn handed_over(cluster: &Cluster) -> u64 {
    cluster.sum(|counters| counters.handed_over.get())
}

const PACKETS: u64 = 2 * CLIENTS as u64;

#[test]
fn the_family_that_the_device_steers_is_not_handed_over_and_the_other_is() {
    for workers in [2, 3, 4] {
        for (steering, by_device) in [
            (Steering::Software, [false, false]),
            (Steering::DeviceForIpv4, [true, false]),
            (Steering::DeviceForIpv6, [false, true]),
            (Steering::Device, [true, true]),
        ] {
            // The device puts right what it steers; of the rest nothing.
            let cluster = exchange(steering, workers, |_, is_six, owner| {
                if by_device[usize::from(is_six)] { owner } else { (owner + 1) % workers }
            });
            let by_software = by_device.into_iter().filter(|by_device| !by_device).count() as u64;
            assert_eq!(handed_over(&cluster), by_software * PACKETS, "{steering:?}");
            assert_eq!(misdirected(&cluster), 0, "{steering:?}");
        }
    }
}

#[test]
fn what_the_device_puts_wrong_is_handed_over_and_counted_by_family() {
    for (steering, counted) in [
        (Steering::Software, 0),
        (Steering::DeviceForIpv4, PACKETS),
        (Steering::DeviceForIpv6, PACKETS),
        (Steering::Device, 2 * PACKETS),
    ] {
        let cluster = exchange(steering, 3, |_, _, owner| (owner + 1) % 3);
        assert_eq!((handed_over(&cluster), misdirected(&cluster)), (2 * PACKETS, counted), "{steering:?}");
    }
}

#[test]
fn whichever_worker_receives_them_both_families_reach_their_owners() {
    for steering in [Steering::Software, Steering::DeviceForIpv4, Steering::DeviceForIpv6, Steering::Device] {
        exchange(steering, 4, |n, is_six, _| (n as usize * 7 + usize::from(is_six)) % 4);
        exchange(steering, 2, |_, _, _| 0);
    }
}

/// Of a client that has many addresses no worker gets all: what is the same in a sum of the address's words is not the
/// same in the map.
#[test]
fn clients_whose_words_add_up_alike_are_shared_out() {
    let lab = both_families();
    let cluster = Cluster::new(&lab, 4, Steering::Software);
    let mut owned = [0; 4];
    for n in 0..4_000_u128 {
        let address = 0x2001_0db8 << 96 | n << 32 | n;
        owned[cluster.owners.owner_v6(address.swap_bytes(), 80)] += 1;
    }
    assert!(owned.iter().all(|owned| (500..2_000).contains(owned)), "{owned:?}");
}
