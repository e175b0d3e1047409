//! Connections are carried from workers to others: of another number, with another secret and another capacity.

mod support;

use dataplane::connection::table::HashKey;
use dataplane::connection::{Copied, Imported, Row, State};
use dataplane::exchange::orders::{Batch, Order, Return, Slice};
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{RealId, RealKey};
use dataplane::snapshot::Steering;
use proptest::prelude::*;
use support::cluster::Cluster;
use support::packet::{ACK, FIN, Packet, SYN, read};
use support::*;

/// VIP:80 and UDP VIP:53, over both reals. With `shifted` ids the reals have other ones.
fn lab(shifted: bool) -> Lab {
    let mut lab = Lab::new();
    if shifted {
        lab.configure(&[Configured { key: tcp_service(at(VIP, 99)), reals: vec![(at(RS1, 99), 1)] }]);
    }
    let tcp = Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(RS2, 80), 1), (at(RS1, 80), 1)] };
    let udp =
        Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(RS1, 5353), 1), (at(RS2, 5353), 1)] };
    lab.configure(&[udp, tcp]);
    lab
}

fn key_of(lab: &Lab, id: RealId) -> Option<RealKey> {
    lab.description.reals.iter().find(|real| real.id == id).map(|real| real.key)
}

fn id_of(lab: &Lab, key: &RealKey) -> Option<RealId> {
    lab.description.reals.iter().find(|real| real.key == *key).map(|real| real.id)
}

fn export(cluster: &mut Cluster, lab: &Lab) -> Vec<Row> {
    let row = |copied: &Copied| Row::of(copied, |id| key_of(lab, id), &lab.next_hops).unwrap();
    let mut rows: Vec<_> = copies(cluster).iter().map(row).collect();
    rows.sort();
    rows
}

/// All connections as their tables give them.
fn copies(cluster: &mut Cluster) -> Vec<Copied> {
    let mut copies = Vec::new();
    for worker in 0..cluster.workers.len() {
        let mut slice = Slice::first();
        while slice.position.is_some() {
            cluster.controls[worker].orders.push(Order::Export(slice)).unwrap();
            cluster.turn_one(worker);
            let returns = std::iter::from_fn(|| cluster.controls[worker].returns.pop().ok());
            let found = returns.into_iter().find_map(|returned| match returned {
                Return::Exported(slice) => Some(slice),
                _ => None,
            });
            slice = found.expect("the worker gives the slice back");
            copies.extend(&slice.rows);
        }
    }
    copies
}

/// Each row is given to the worker that owns its client, or, if `astray`, to all of them.
fn import(cluster: &mut Cluster, lab: &Lab, rows: &[Row], astray: bool) -> Imported {
    let mut sum = Imported::default();
    for worker in 0..cluster.workers.len() {
        let is_owners = |row: &&Row| {
            let std::net::SocketAddr::V4(client) = row.client else { panic!("{}", row.client) };
            astray || cluster.owner(client) == worker
        };
        let own = rows.iter().filter(is_owners);
        let copied: Vec<_> = own.filter_map(|row| row.copied(|key| id_of(lab, key), 0)).collect();
        for batch in Batch::of(&copied) {
            cluster.controls[worker].orders.push(Order::Import(batch)).unwrap();
            cluster.turn_one(worker);
            while let Ok(returned) = cluster.controls[worker].returns.pop() {
                let Return::Imported(batch) = returned else { continue };
                sum.made += batch.imported.made;
                sum.no_real += batch.imported.no_real;
                sum.other_worker += batch.imported.other_worker;
                sum.duplicate += batch.imported.duplicate;
                sum.expired += batch.imported.expired;
                sum.no_room += batch.imported.no_room;
            }
        }
    }
    sum
}

fn other_cluster(lab: &Lab, workers: usize, mask: u64, capacity: usize) -> Cluster {
    let key = HashKey { mask, multiplier: mask.rotate_left(17) };
    Cluster::with_tables(lab, workers, Steering::Software, key, capacity)
}

fn send(cluster: &mut Cluster, port: dataplane::names::ids::InterfaceId, frame: &[u8]) -> Vec<Sent> {
    cluster.arrive(0, port, frame);
    cluster.settle()
}

fn from_client(packet: Packet) -> Vec<u8> {
    packet.macs(CLIENT_MAC, VIP_MAC).frame()
}

/// Opens connections in several states: TCP that is half open, established, closed by its client; UDP.
fn open(cluster: &mut Cluster, clients: u16, kinds: &[u8]) {
    for n in 0..clients {
        let client = at(CLIENT, 20_000 + n);
        let kind = kinds[usize::from(n) % kinds.len()];
        let tcp = |flags| from_client(Packet::tcp(client, at(VIP, 80), flags));
        let frames = match kind {
            0 => vec![tcp(SYN)],
            1 => vec![tcp(SYN), tcp(ACK)],
            2 => vec![tcp(SYN), tcp(ACK), tcp(FIN | ACK)],
            _ => vec![from_client(Packet::udp(client, at(VIP, 53), b"?"))],
        };
        for frame in frames {
            assert_eq!(send(cluster, VIP0, &frame).len(), 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn other_workers_go_on_where_these_stopped(
        from in 1..4usize, to in 1..5usize, mask: u64, capacity in 500..9000usize,
        kinds in prop::collection::vec(0..4u8, 1..8), clients in 1..120u16,
    ) {
        let lab_before = lab(false);
        let mut before = Cluster::new(&lab_before, from, Steering::Software);
        open(&mut before, clients, &kinds);
        let rows = export(&mut before, &lab_before);
        prop_assert_eq!(rows.len(), usize::from(clients));

        let lab_after = lab(true);
        let mut after = other_cluster(&lab_after, to, mask, capacity);
        let imported = import(&mut after, &lab_after, &rows, false);
        prop_assert_eq!(imported, Imported { made: u32::from(clients), ..Imported::default() });
        let again = export(&mut after, &lab_after);
        prop_assert_eq!(rows.len(), again.len());
        for (row, again) in rows.iter().zip(&again) {
            prop_assert!(row.ticks_left.abs_diff(again.ticks_left) <= 1);
            let same = Row { ticks_left: row.ticks_left, ..*again };
            prop_assert_eq!(*row, same);
        }

        // Packets go on flowing, both ways, to the real that had the connection, and none is opened anew.
        let created = after.sum(|counters| counters.connections_created.get());
        for row in &rows {
            let std::net::SocketAddr::V4(client) = row.client else { unreachable!() };
            let std::net::SocketAddr::V4(real) = row.real.endpoint else { unreachable!() };
            let std::net::SocketAddr::V4(listen) = row.real.service.listen else { unreachable!() };
            let (there, back) = if row.state.shown() == State::Udp {
                (Packet::udp(client, listen, b"?"), Packet::udp(real, client, b"!"))
            } else {
                (Packet::tcp(client, listen, ACK), Packet::tcp(real, client, ACK))
            };
            let sent = send(&mut after, VIP0, &from_client(there));
            prop_assert_eq!(sent.len(), 1);
            prop_assert_eq!(read(&sent[0].bytes).destination, real);
            let mac = if *real.ip() == RS1 { RS1_MAC } else { RS2_MAC };
            let sent = send(&mut after, DIP0, &back.macs(mac, DIP_MAC).frame());
            prop_assert_eq!((sent.len(), sent[0].port), (1, VIP0));
            prop_assert_eq!(read(&sent[0].bytes).source, listen);
        }
        prop_assert_eq!(after.sum(|counters| counters.connections_created.get()), created);
    }
}

/// A connection of a service on several ports has its port afterwards, too; a table without such is given none, for it
/// would keep them from then on.
#[test]
fn the_port_asked_for_is_carried_where_it_says_something() {
    let mut lab = Lab::new();
    let web = Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(RS2, 80), 1)] };
    let any = Configured { key: tcp_service(at(VIP, 0)), reals: vec![(at(RS1, 0), 1)] };
    lab.configure(&[web, any]);
    let mut before = Cluster::new(&lab, 2, Steering::Software);
    for port in [80, 81, 8080] {
        let syn = Packet::tcp(at(CLIENT, 40_000), at(VIP, port), SYN);
        assert_eq!(send(&mut before, VIP0, &from_client(syn)).len(), 1);
    }
    let rows = export(&mut before, &lab);
    let ports: Vec<_> = rows.iter().map(|row| (row.real.service.listen.port(), row.port)).collect();
    assert_eq!(ports, [(0, 81), (0, 8080), (80, 80)]);
    let mut after = other_cluster(&lab, 3, 7, 500);
    let imported = import(&mut after, &lab, &rows, false);
    assert_eq!(imported, Imported { made: 3, ..Imported::default() });
    assert_eq!(export(&mut after, &lab).iter().map(|row| row.port).collect::<Vec<_>>(), [81, 8080, 80]);
    for (real, asked) in [(at(RS1, 81), 81), (at(RS1, 8080), 8080), (at(RS2, 80), 80)] {
        let reply = Packet::tcp(real, at(CLIENT, 40_000), SYN | ACK).macs(RS1_MAC, DIP_MAC);
        let sent = send(&mut after, DIP0, &reply.frame());
        assert_eq!(read(&sent[0].bytes).source, at(VIP, asked));
    }
    let again = import(&mut after, &lab, &rows, false);
    assert_eq!(again, Imported { duplicate: 3, ..Imported::default() });
    // Of the one on one port alone.
    let mut alone = other_cluster(&lab, 1, 9, 500);
    import(&mut alone, &lab, &rows[2..], false);
    assert_eq!(copies(&mut alone).iter().map(|copied| copied.port).collect::<Vec<_>>(), [0]);
}

#[test]
fn a_worker_takes_what_it_owns_once_and_knows_why_it_takes_no_more() {
    let lab_before = lab(false);
    let mut before = Cluster::new(&lab_before, 1, Steering::Software);
    open(&mut before, 40, &[1, 3]);
    let rows = export(&mut before, &lab_before);
    let mut after = Cluster::new(&lab_before, 2, Steering::Software);
    let imported = import(&mut after, &lab_before, &rows, true);
    assert_eq!(imported, Imported { made: 40, other_worker: 40, ..Imported::default() });
    let imported = import(&mut after, &lab_before, &rows, false);
    assert_eq!(imported, Imported { duplicate: 40, ..Imported::default() });
    // What this run does not know is not found, and what it knew once has no record.
    let mut other = lab(true);
    other.configure(&[Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(RS1, 5353), 1)] }]);
    let known = rows.iter().filter(|row| row.copied(|key| id_of(&other, key), 0).is_some()).count();
    assert_eq!(known, 40, "removed reals are known as long as they have connections");
    let unknown = rows[0].copied(|_| Some(RealId(1000)), 0).unwrap();
    let expired = rows[1].copied(|key| id_of(&lab_before, key), u32::MAX).unwrap();
    let both = [unknown, expired];
    let mut batch = Batch::of(&both);
    let mut alone = Cluster::new(&lab_before, 1, Steering::Software);
    alone.controls[0].orders.push(Order::Import(batch.next().unwrap())).unwrap();
    alone.turn();
    let returned = std::iter::from_fn(|| alone.controls[0].returns.pop().ok());
    let imported = returned.into_iter().find_map(|returned| match returned {
        Return::Imported(batch) => Some(batch.imported),
        _ => None,
    });
    assert_eq!(imported, Some(Imported { no_real: 1, expired: 1, ..Imported::default() }));
    assert_eq!(alone.dropped(DropReason::NoReal), 0);
}
