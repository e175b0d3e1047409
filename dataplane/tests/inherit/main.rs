//! What a process leaves in its files when it ends, at whatever moment, the next one goes on with: with other workers,
//! another secret, another capacity and other ids.

#[path = "../support/mod.rs"]
mod support;

mod meanwhile;
mod packets;
mod persistent;
mod process;
mod room;

use dataplane::connection::table::HashKey;
use dataplane::connection::{Imported, Row, State, Timeouts};
use dataplane::exchange::orders::{InheritedCounts, Order, Return, Slice};
use dataplane::frame::plain::PlainIo;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{InterfaceId, NeighbourKey, NextHopId, Protocol, RealId, RealKey, ServiceKey};
use dataplane::names::mac::Mac;
use dataplane::persistence::CopiedTemplate;
use dataplane::snapshot::{Route, Steering};
use dataplane::worker::Worker;
use packets::*;
use process::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use support::cluster::Cluster;
use support::packet::{ACK, FIN, RST, SYN};
use support::{CLIENT_MAC, DIP_MAC, DIP0, Lab, RS1_MAC, RS2_MAC, Sent, VIP_MAC, VIP0};

const ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 0x10, 9]);

/// Services of all kinds: TCP, UDP and SCTP, of both families, on one port and on any, persistent, with thresholds and
/// with timeouts of their own. The last one is not served by the next process.
fn offers() -> Vec<Offer> {
    let tcp = |listen, reals: &[&str]| Offer::new(Protocol::Tcp, listen, reals);
    vec![
        tcp("192.168.10.100:80", &["10.0.0.7:80", "10.0.0.17:80"]),
        Offer::new(Protocol::Udp, "192.168.10.100:53", &["10.0.0.7:5353", "10.0.0.17:5353"]),
        Offer::new(Protocol::Sctp, "192.168.10.100:3868", &["10.0.0.7:3868", "10.0.0.17:3868"]),
        tcp("192.168.10.100:0", &["10.0.0.7:0"]),
        Offer { persistence: Some(600), ..tcp("192.168.10.100:443", &["10.0.0.7:443", "10.0.0.17:443"]) },
        Offer { upper: 10_000, ..tcp("192.168.10.100:8080", &["10.0.0.7:8080"]) },
        Offer { seconds: Some(40), ..tcp("192.168.10.100:25", &["10.0.0.7:25", "10.0.0.17:25"]) },
        tcp("[fd00:10::100]:80", &["[fd00:20::7]:80", "[fd00:20::17]:80"]),
        Offer::new(Protocol::Udp, "[fd00:10::100]:53", &["[fd00:20::7]:5353"]),
        Offer {
            persistence: Some(600),
            ..tcp("[fd00:10::100]:443", &["[fd00:20::7]:443", "[fd00:20::17]:443"])
        },
        tcp("192.168.10.100:9999", &["10.0.0.17:9999"]),
    ]
}

/// Those of the next process, which have other ids.
fn later_offers() -> Vec<Offer> {
    let mut offers = offers();
    offers.pop();
    offers.reverse();
    offers.insert(0, Offer::new(Protocol::Tcp, "192.168.10.100:7777", &["10.0.0.7:7777"]));
    offers
}

/// A connection of a client.
#[derive(Clone, Copy, Debug)]
struct Connection {
    number: usize,
    protocol: Protocol,
    client: SocketAddr,
    vip: SocketAddr,
    real: SocketAddr,
}

fn client(number: usize, of: SocketAddr) -> SocketAddr {
    let port = 20_000 + number as u16;
    match of {
        SocketAddr::V4(_) if number.is_multiple_of(3) => SocketAddr::new([192, 168, 10, 6].into(), port),
        SocketAddr::V4(_) => SocketAddr::new([198, 51, 100, number as u8 % 7 + 1].into(), port),
        SocketAddr::V6(_) => {
            let (network, host) = (number as u128 % 11, number as u128 % 3 + 1);
            let address = 0x2001_0db8_u128 << 96 | network << 64 | host;
            SocketAddr::new(Ipv6Addr::from_bits(address).into(), port)
        }
    }
}

impl Connection {
    /// A packet of its client's, or of its real's: where it arrives, and the frame.
    fn packet(&self, from_client: bool, says: Says) -> (InterfaceId, Vec<u8>) {
        if from_client {
            (VIP0, frame([CLIENT_MAC, VIP_MAC], [self.client, self.vip], says))
        } else {
            (DIP0, frame([RS1_MAC, DIP_MAC], [self.real, self.client], says))
        }
    }

    /// Where such a packet is to leave, and from end to end.
    fn expected(&self, from_client: bool) -> (InterfaceId, [SocketAddr; 2]) {
        if from_client { (DIP0, [self.client, self.real]) } else { (VIP0, [self.vip, self.client]) }
    }

    /// What its sides say while it goes on.
    fn word(&self) -> Says {
        match self.protocol {
            Protocol::Tcp => Says::Flags(ACK),
            Protocol::Udp => Says::Data,
            Protocol::Sctp => Says::Chunk(HEARTBEAT),
        }
    }
}

/// Opens a connection of this service, and brings it as far as `stage` says.
fn open(process: &mut Process, number: usize, offer: &Offer, stage: usize) -> Connection {
    let mut vip = offer.key.listen;
    if vip.port() == 0 {
        vip.set_port(1000 + number as u16 % 9);
    }
    let protocol = offer.key.protocol;
    let mut connection = Connection { number, protocol, client: client(number, vip), vip, real: vip };
    let both =
        |words: &[(bool, u8)]| words.iter().map(|(client, flags)| (*client, Says::Flags(*flags))).collect();
    let words: Vec<(bool, Says)> = match protocol {
        Protocol::Tcp => {
            let all = [
                (true, SYN),
                (false, SYN | ACK),
                (true, ACK),
                (false, ACK),
                (true, FIN | ACK),
                (false, FIN | ACK),
                (true, ACK),
            ];
            match stage % 6 {
                0 => both(&all[..1]),
                1 => both(&[(true, SYN), (true, ACK)]),
                2 | 3 => both(&all[..4]),
                4 => both(&all[..5]),
                _ if number.is_multiple_of(2) => both(&all),
                _ => both(&[(true, SYN), (true, RST)]),
            }
        }
        Protocol::Udp => {
            [true, false, true][..stage % 3 + 1].iter().map(|client| (*client, Says::Data)).collect()
        }
        Protocol::Sctp => {
            let all = [(true, INIT), (false, INIT_ACK), (true, COOKIE_ECHO), (false, COOKIE_ACK)];
            let said = if stage.is_multiple_of(3) { 1 } else { 4 };
            all[..said].iter().map(|(client, chunk)| (*client, Says::Chunk(*chunk))).collect()
        }
    };
    for (from_client, says) in words {
        let (interface, bytes) = connection.packet(from_client, says);
        let sent = process.send(number, interface, &bytes);
        assert_eq!(sent.len(), 1, "{connection:?} {from_client} {says:?}");
        if from_client {
            connection.real = sent[0].1[1];
        }
        assert_eq!(sent[0], connection.expected(from_client), "{says:?}");
    }
    connection
}

/// What tells a connection, whatever its state and age.
type Told = (SocketAddr, RealKey, u16);

fn told(rows: &[Row]) -> BTreeMap<Told, Row> {
    rows.iter().map(|row| ((row.client, row.real, row.port), *row)).collect()
}

fn assert_no_frame_is_lost(process: &mut Process) {
    for worker in &mut process.cluster.workers {
        let held = worker.frames_held();
        assert_eq!(worker.io().live_frames(), held);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_next_process_goes_on_where_this_one_ended(
        from in 1..4usize, to in 1..4usize, mask: u64, capacities in (300..3000usize, 300..3000usize),
        kinds in prop::collection::vec((0..11usize, 0..6usize), 1..90),
        silence in 0..60u64, elapsed in 0..300u32, when in prop::collection::vec((0..3u8, any::<bool>()), 90),
        new_ones in 0..8usize,
    ) {
        let all = offers();
        let mut before = Process::new(&all, from, capacities.0, mask);
        before.begin();
        before.cluster.turn();
        let mut connections = Vec::new();
        for (number, (offer, stage)) in kinds.iter().enumerate() {
            connections.push(open(&mut before, number, &all[*offer], *stage));
            if number.is_multiple_of(16) {
                before.cluster.skip(silence * TICK);
            }
        }
        let (rows, _) = before.dump();
        let left = before.die();
        let in_files = left.rows() as u32;

        let mut after = Process::new(&later_offers(), to, capacities.1, !mask);
        after.inherit(&[(&left, elapsed)]);
        after.begin();
        // Some packets are there before anything is, others come meanwhile, and the others later.
        let rows = told(&rows);
        let is_served = |row: &Row| row.real.service.listen.port() != 9999;
        let lives = |row: &Row| is_served(row) && row.ticks_left > elapsed + 1;
        let of = |connection: &Connection| {
            let is_it = |row: &&Row| row.client == connection.client && row.real.at_port(row.port).endpoint == connection.real;
            rows.values().find(is_it)
        };
        let going_on: Vec<Connection> =
            connections.iter().filter(|connection| of(connection).is_some_and(lives)).copied().collect();
        let mut expected = Vec::new();
        let mut phases = [Vec::new(), Vec::new(), Vec::new()];
        for connection in &going_on {
            let (phase, from_client) = when[connection.number];
            phases[usize::from(phase)].push((*connection, from_client));
            expected.push(connection.expected(from_client));
        }
        let arrive = |after: &mut Process, (connection, from_client): (Connection, bool)| {
            let (interface, bytes) = connection.packet(from_client, connection.word());
            after.arrive(connection.number * 7, interface, &bytes);
        };
        let [first, meanwhile, last] = phases;
        first.into_iter().for_each(|packet| arrive(&mut after, packet));
        let mut sent = after.cluster.turn();
        let mut opened = 0;
        for packet in meanwhile {
            arrive(&mut after, packet);
            if opened < new_ones {
                let client = client(500 + opened, socket("192.168.10.100:80"));
                after.arrive(opened, VIP0, &frame([CLIENT_MAC, VIP_MAC], [client, socket("192.168.10.100:80")], Says::Flags(SYN)));
                opened += 1;
            }
            sent.extend(after.cluster.turn());
        }
        let counts = after.finish();
        last.into_iter().for_each(|packet| arrive(&mut after, packet));
        sent.extend(std::mem::take(&mut after.sent));
        sent.extend(after.cluster.settle());

        let mut sent: Vec<_> = sent.iter().map(|sent| (sent.port, ends(&sent.bytes))).collect();
        let of_new = |(_, [client, _]): &(InterfaceId, [SocketAddr; 2])| client.port() >= 20_500 && client.port() < 20_600;
        prop_assert_eq!(sent.iter().filter(|sent| of_new(sent)).count(), opened);
        sent.retain(|sent| !of_new(sent));
        sent.sort();
        expected.sort();
        prop_assert_eq!(sent, expected);

        // Each is accounted for, and is as old as it is.
        let Imported { made, malformed, no_real, other_worker, duplicate, expired, no_room } = counts.connections;
        prop_assert_eq!((malformed, other_worker, duplicate, no_room), (0, 0, 0, 0));
        prop_assert_eq!(made + no_real + expired, in_files);
        prop_assert_eq!(made as usize, rows.values().filter(|row| is_served(row) && row.ticks_left > elapsed).count());
        let silent = if made > 0 { elapsed..=elapsed + 6 * silence as u32 + 8 } else { 0..=0 };
        prop_assert!(silent.contains(&counts.silent), "silent for {} of {:?}", counts.silent, silent);
        prop_assert_eq!(no_real as usize, rows.values().filter(|row| !is_served(row)).count());
        prop_assert_eq!(after.cluster.sum(|counters| counters.connections_inherited.get()), u64::from(made));
        prop_assert_eq!(after.cluster.sum(|counters| counters.connections_created.get()), opened as u64);
        let (again, _) = after.dump();
        let again = told(&again);
        for (told, row) in rows.iter().filter(|(_, row)| lives(row)) {
            let Some(here) = again.get(told) else { panic!("{row:?} is lost") };
            let has_packet = going_on.iter().any(|going_on| going_on.client == row.client);
            if !has_packet {
                prop_assert!(here.ticks_left.abs_diff(row.ticks_left - elapsed) <= 1, "{:?} {:?}", here, row);
                prop_assert_eq!((here.state, here.interface), (row.state, Some(VIP0)));
            }
        }
        prop_assert!(again.len() <= made as usize + opened);
        for real in &after.lab.description.reals {
            let held = again.values().filter(|row| row.real == real.key).count() as u64;
            prop_assert_eq!(after.cluster.sum(|counters| counters.real(real.id).total.get()), held);
            let active = again.values().filter(|row| row.real == real.key && row.state.is_active()).count();
            let active_here = after.cluster.sum(|counters| counters.real(real.id).states.active());
            prop_assert_eq!(active_here, active as u64);
            if real.thresholds.upper > 0 {
                prop_assert_eq!(u64::from(after.lab.control.reals.limited_connections(real.id)), held);
            }
        }
        // Nothing is left behind but what nobody takes.
        prop_assert_eq!(left.rows() as u32, no_real + expired);
        assert_no_frame_is_lost(&mut after);
    }
}
