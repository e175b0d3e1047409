//! Where there is less room than there was, and what is there more than once.

use super::*;
use dataplane::connection::Copied;
use dataplane::connection::kept::Old;
use dataplane::exchange::orders::Batch;
use dataplane::snapshot::Thresholds;

pub(super) const WEB: &str = "192.168.10.100:80";
const REAL: &str = "10.0.0.7:80";

pub(super) fn web() -> Vec<Offer> {
    vec![
        Offer::new(Protocol::Tcp, WEB, &[REAL]),
        Offer::new(Protocol::Tcp, "[fd00:10::100]:80", &["[fd00:20::7]:80"]),
    ]
}

pub(super) fn web_client(number: u32) -> SocketAddr {
    SocketAddr::new([198, 51, (number >> 14) as u8, 1].into(), 10_000 + (number % 16384) as u16)
}

fn web_client_v6(number: u32) -> SocketAddr {
    let address = 0x2001_0db8_u128 << 96 | u128::from(number >> 8) << 32 | 1;
    SocketAddr::new(Ipv6Addr::from_bits(address).into(), 10_000 + (number % 256) as u16)
}

/// Puts connections into a worker's tables: those of IPv4 first.
fn put(process: &mut Process, of_v4: u32, of_v6: u32, state: impl Fn(u32) -> State) {
    let copied = |client, real, number| Copied {
        protocol: Protocol::Tcp,
        state: state(number),
        ticks_left: 200,
        client,
        real: RealId(real),
        port: 0,
        next_hop: NextHopId::behind(VIP0),
    };
    let of_v4 = (0..of_v4).map(|number| copied(web_client(number), 0, number));
    let of_v6 = (0..of_v6).map(|number| copied(web_client_v6(number), 1, number));
    let rows: Vec<_> = of_v4.chain(of_v6).collect();
    for batch in Batch::of(&rows) {
        process.cluster.controls[0].orders.push(Order::Import(batch)).unwrap();
        process.cluster.turn();
        let returned = process.cluster.controls[0].returns.pop();
        let imported = match returned {
            Ok(Return::Imported(batch)) => batch.imported,
            other => panic!("{other:?}"),
        };
        assert_eq!(imported.made as usize, rows.len().min(imported.made as usize));
    }
}

pub(super) fn filled(of_v4: u32, of_v6: u32, capacity: usize, state: impl Fn(u32) -> State) -> Left {
    let mut process = Process::new(&web(), 1, capacity, 0x1357_9bdf);
    process.begin();
    process.cluster.turn();
    process.inherited();
    put(&mut process, of_v4, of_v6, state);
    let left = process.die();
    assert_eq!(left.rows() as u32, of_v4 + of_v6);
    left
}

#[test]
fn established_ones_come_first_where_there_is_no_room_for_all() {
    let state = |number: u32| [State::SynRecv, State::Established, State::TimeWait][number as usize % 3];
    for workers in [1, 2] {
        let left = filled(4500, 0, 5000, state);
        let mut after = Process::new(&web(), workers, 2000 / workers, 77);
        after.inherit(&[(&left, 3)]);
        after.begin();
        // New ones come meanwhile, and take room that established ones need, whose packets come as well.
        let mut reached = Vec::new();
        for number in 0..200 {
            let new = SocketAddr::new([192, 168, 10, 6].into(), 1000 + number);
            let known = web_client(u32::from(number) * 21 + 1);
            for (client, flags) in [(new, SYN), (known, ACK)] {
                let packet = frame([CLIENT_MAC, VIP_MAC], [client, socket(WEB)], Says::Flags(flags));
                after.arrive(0, VIP0, &packet);
            }
            reached.extend(after.cluster.turn().iter().map(|sent| ends(&sent.bytes)));
        }
        reached.extend(after.cluster.settle().iter().map(|sent| ends(&sent.bytes)));
        type Reached = Vec<[SocketAddr; 2]>;
        let (new, known): (Reached, Reached) = reached.iter().partition(|[client, _]| client.port() < 10_000);
        assert!(new.len() > 150, "{}", new.len());
        assert!(known.len() == 200 && known.iter().all(|[_, real]| *real == socket(REAL)));
        let counts = after.finish().connections;
        let (rows, _) = after.dump();
        let established = rows.iter().filter(|row| row.state == State::Established).count();
        assert_eq!(established, 1500);
        assert!(rows.len() <= 2000 && rows.len() > 1950, "{}", rows.len());
        assert_eq!((counts.made + counts.no_room, counts.duplicate), (4500, 0));
        assert!(counts.made >= 1500 && counts.no_room >= 2500, "{counts:?}");
    }
}

#[test]
fn twice_as_many_find_room_without_being_moved() {
    let left = filled(3000, 900, 3000, |_| State::Established);
    let mut after = Process::new(&web(), 1, 6000, 77);
    after.inherit(&[(&left, 3)]);
    after.begin();
    let counts = after.finish().connections;
    assert_eq!(counts, Imported { made: 3900, ..Imported::default() });
    let moved = after.cluster.counters(0).entries_moved.get();
    assert_eq!(moved, 0, "the tables are as large as they have to be");
    after.cluster.turn();
    assert_eq!(after.cluster.counters(0).connections_ipv6.get(), 900);
    assert!(after.dump().0.iter().all(|row| row.ticks_left.abs_diff(197) <= 1));
    // It becomes smaller again when they are gone.
    for _ in 0..4000 {
        after.cluster.skip(TICK);
        after.cluster.turn();
    }
    assert!(after.cluster.counters(0).connections.get() == 0);
    assert!(!after.cluster.workers[0].table().is_to_resize());
}

/// Two generations: the process between has taken some over when it ends, and others are in both.
#[test]
fn of_two_that_are_the_same_the_newer_one_goes_on() {
    let oldest = filled(1200, 300, 2000, |_| State::Established);
    let copies = filled(100, 50, 2000, |_| State::FinWait);
    let mut between = Process::new(&web(), 2, 2000, 5);
    between.inherit(&[(&oldest, 4)]);
    between.begin();
    between.cluster.turn();
    let newer = between.die();
    let taken = newer.rows();
    assert!(taken > 0 && oldest.rows() > 0, "{taken} of them have been taken over");
    assert_eq!(taken + oldest.rows(), 1500);

    let mut after = Process::new(&web(), 3, 2000, 6);
    after.inherit(&[(&copies, 2), (&newer, 4), (&oldest, 8)]);
    after.begin();
    let counts = after.finish().connections;
    assert_eq!(counts, Imported { made: 1500, duplicate: 150, ..Imported::default() });
    let (rows, _) = after.dump();
    let newest = rows.iter().filter(|row| row.state == State::FinWait).count();
    assert_eq!((rows.len(), newest), (1500, 150));
    let ticks = |state| rows.iter().filter(move |row| row.state == state).map(|row| 200 - row.ticks_left);
    assert!(ticks(State::FinWait).all(|passed| (2..=3).contains(&passed)));
    assert!(
        ticks(State::Established).all(|passed| (8..=9).contains(&passed) || passed == 4 + 4),
        "both waits count"
    );
}

/// A client endpoint with very many connections has some in places where a packet's look does not find them.
#[test]
fn all_connections_of_one_client_endpoint_are_found() {
    let any = vec![Offer::new(Protocol::Tcp, "192.168.10.100:0", &["10.0.0.7:0"])];
    let mut before = Process::new(&any, 2, 3000, 3);
    before.begin();
    before.cluster.turn();
    let client = socket("198.51.100.1:5555");
    let connection = |port: u16| Connection {
        number: usize::from(port),
        protocol: Protocol::Tcp,
        client,
        vip: SocketAddr::new([192, 168, 10, 100].into(), port),
        real: SocketAddr::new([10, 0, 0, 7].into(), port),
    };
    let ports = 1..=250u16;
    for port in ports.clone() {
        let (interface, bytes) = connection(port).packet(true, Says::Flags(SYN));
        assert_eq!(before.send(0, interface, &bytes), [connection(port).expected(true)]);
        let (interface, bytes) = connection(port).packet(false, Says::Flags(SYN | ACK));
        assert_eq!(before.send(1, interface, &bytes), [connection(port).expected(false)]);
    }
    let left = before.die();
    let mut after = Process::new(&any, 3, 2000, 4);
    after.inherit(&[(&left, 2)]);
    after.begin();
    let (interface, bytes) = connection(9).packet(true, Says::Flags(ACK));
    after.arrive(2, interface, &bytes);
    let counts = after.finish().connections;
    assert_eq!(counts, Imported { made: 250, ..Imported::default() });
    for port in ports {
        let (interface, bytes) = connection(port).packet(port % 2 == 0, Says::Flags(ACK));
        assert_eq!(after.send(0, interface, &bytes), [connection(port).expected(port % 2 == 0)]);
    }
}

/// Those of a real with a threshold count, and may be more than it says.
#[test]
fn places_of_reals_with_thresholds_are_taken() {
    let left = filled(20, 0, 500, |_| State::Established);
    let offers = vec![Offer { upper: 15, ..Offer::new(Protocol::Tcp, WEB, &[REAL]) }];
    let mut after = Process::new(&offers, 2, 500, 9);
    after.inherit(&[(&left, 1)]);
    after.begin();
    assert_eq!(after.finish().connections.made, 20);
    assert_eq!(after.lab.description.reals[0].thresholds, Thresholds { upper: 15, lower: 0 });
    let reals = &after.lab.control.reals;
    assert_eq!((reals.limited_connections(RealId(0)), reals.flags(RealId(0)).overloaded), (20, true));
    let client = web_client(500);
    let syn = frame([CLIENT_MAC, VIP_MAC], [client, socket(WEB)], Says::Flags(SYN));
    after.arrive(0, VIP0, &syn);
    after.cluster.settle();
    assert_eq!(after.cluster.dropped(DropReason::NoReal), 1);
}

/// Whatever the bytes of the tables are: what is made of them is a connection of a service that there is.
fn scribble(areas: &[Arc<memory::Area>], seed: u64, share: u64) {
    let mut state = seed | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for area in areas {
        let words = area.words(4096, (area.bytes() - 4096) / 8).unwrap();
        for word in &words[..] {
            let random = [random(), random(), random()];
            if random[0] % share == 0 {
                let value = if random[1].is_multiple_of(4) {
                    random[2]
                } else {
                    word.load(std::sync::atomic::Ordering::Relaxed) ^ 1 << (random[2] % 64)
                };
                word.store(value, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn damaged_tables_make_no_connection_that_cannot_be(seed: u64, share in 1..200u64) {
        let left = filled(900, 900, 1000, |number| State::ALL[number as usize % 9]);
        scribble(&left.tables(), seed, share);
        let areas: Vec<Arc<Old>> = left.areas();
        prop_assert_eq!(areas.len(), 1);
        let rows = left.rows() as u32;
        let mut after = Process::new(&web(), 2, 3000, 9);
        after.inherit(&[(&left, 1)]);
        after.begin();
        let Imported { made, malformed, no_real, other_worker, duplicate, expired, no_room } = after.finish().connections;
        prop_assert_eq!(made + malformed + no_real + duplicate + expired + no_room, rows);
        prop_assert_eq!(other_worker, 0);
        let (rows, _) = after.dump();
        let fits = |row: &Row| row.client.is_ipv4() == row.real.endpoint.is_ipv4() && row.real.service.protocol == Protocol::Tcp;
        prop_assert!(rows.len() == made as usize && rows.iter().all(fits));
    }
}
