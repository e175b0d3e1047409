//! Clients of persistent services stay with their reals, and templates live as long as they would have.

use super::*;

const SECONDS: u32 = 90;

/// One persistent service of each family, over two reals.
fn persistent() -> Vec<Offer> {
    let of = |listen, reals: &[&str]| Offer {
        persistence: Some(SECONDS),
        ..Offer::new(Protocol::Tcp, listen, reals)
    };
    vec![
        of("192.168.10.100:443", &["10.0.0.7:443", "10.0.0.17:443"]),
        of("[fd00:10::100]:443", &["[fd00:20::7]:443", "[fd00:20::17]:443"]),
    ]
}

/// A client of this network, which is one with all others of it.
fn client_of(network: usize, host: u8, port: u16) -> SocketAddr {
    if network.is_multiple_of(2) {
        SocketAddr::new([198, 51, network as u8, host].into(), port)
    } else {
        let address = 0x2001_0db8_u128 << 96 | (network as u128) << 64 | u128::from(host) << 20;
        SocketAddr::new(Ipv6Addr::from_bits(address).into(), port)
    }
}

fn vip_of(network: usize) -> SocketAddr {
    persistent()[network % 2].key.listen
}

fn syn(client: SocketAddr, vip: SocketAddr) -> Vec<u8> {
    frame([CLIENT_MAC, VIP_MAC], [client, vip], Says::Flags(SYN))
}

/// Which real a client's SYN goes to. One that has no answer is sent again.
fn open(process: &mut Process, which: usize, client: SocketAddr, vip: SocketAddr) -> SocketAddr {
    for _ in 0..200 {
        process.arrive(which, VIP0, &syn(client, vip));
        let sent: Vec<_> =
            (0..3).flat_map(|_| process.cluster.turn()).map(|sent| ends(&sent.bytes)).collect();
        match sent[..] {
            [[from, to]] if from == client => return to,
            [] => {}
            _ => panic!("{sent:?}"),
        }
    }
    panic!("{client} gets no real");
}

fn says(process: &mut Process, connection: &Connection, from_client: bool, flags: u8) {
    let (interface, bytes) = connection.packet(from_client, Says::Flags(flags));
    let sent = process.send(connection.number, interface, &bytes);
    assert_eq!(sent, [connection.expected(from_client)], "{connection:?}");
}

/// Opens a connection of a network, which both sides take part in.
fn establish(process: &mut Process, network: usize) -> Connection {
    let (client, vip) = (client_of(network, 1, 30_000 + network as u16), vip_of(network));
    let real = open(process, network, client, vip);
    let connection = Connection { number: network, protocol: Protocol::Tcp, client, vip, real };
    says(process, &connection, false, SYN | ACK);
    says(process, &connection, true, ACK);
    says(process, &connection, false, ACK);
    connection
}

/// Lets time pass, with turns enough for all that is looked at in slices.
fn pass(process: &mut Process, seconds: u64) {
    for _ in 0..seconds * 2 {
        process.cluster.skip(SECOND / 2);
        process.cluster.turn();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn clients_stay_with_their_reals_and_templates_live_on(
        from in 1..4usize, to in 1..4usize, mask: u64, networks in 1..16usize,
        ended in prop::collection::vec(any::<bool>(), 16), early in 0..3u8,
    ) {
        let mut before = Process::new(&persistent(), from, 1000, mask);
        before.begin();
        before.cluster.turn();
        let connections: Vec<_> = (0..networks).map(|network| establish(&mut before, network)).collect();
        for connection in connections.iter().filter(|connection| ended[connection.number]) {
            says(&mut before, connection, true, RST);
        }
        // What is closed is gone, and its template knows.
        pass(&mut before, 20);
        let (_, templates) = before.dump();
        prop_assert_eq!(templates.len(), networks);
        prop_assert!(templates.iter().all(|template| template.assured && !template.spent));
        let left = before.die();

        let mut after = Process::new(&{ let mut all = persistent(); all.reverse(); all }, to, 3000, !mask);
        after.inherit(&[(&left, 8)]);
        after.begin();
        let again = |after: &mut Process, host: u8| {
            for connection in &connections {
                let client = client_of(connection.number, host, 40_000);
                let real = open(after, connection.number + 1, client, connection.vip);
                assert_eq!(real, connection.real, "{client}");
            }
        };
        if early == 0 {
            again(&mut after, 2);
        }
        let counts = after.finish();
        prop_assert_eq!((counts.templates as usize, counts.templates_given_up), (networks, 0));
        prop_assert_eq!(after.cluster.sum(|counters| counters.templates_made.get()), 0);
        let (_, templates) = after.dump();
        prop_assert_eq!(templates.len(), networks);
        // Those with connections are given time to be found.
        let due = SECONDS - 20 - 2;
        let is_due = |template: &CopiedTemplate| template.seconds_left().abs_diff(due) <= 1 || early == 0;
        prop_assert!(templates.iter().all(|template| template.assured && is_due(template)), "{:?}", templates);
        if early == 1 {
            again(&mut after, 3);
        }
        // After its own time each lives as long as a connection does.
        for _ in 0..4 {
            pass(&mut after, 30);
            for connection in connections.iter().filter(|connection| !ended[connection.number]) {
                says(&mut after, connection, false, ACK);
            }
        }
        let alive = (0..networks).filter(|network| !ended[*network]).count();
        let (_, templates) = after.dump();
        prop_assert_eq!(templates.len(), alive, "{:?}", templates);
        for connection in connections.iter().filter(|connection| !ended[connection.number]) {
            says(&mut after, connection, true, RST);
        }
        pass(&mut after, 75);
        prop_assert_eq!(after.dump().1, []);
        prop_assert_eq!(after.cluster.sum(|counters| counters.templates.get()), 0);
        assert_no_frame_is_lost(&mut after);
    }
}

/// A template whose time ran out while there was no process lives on if it has connections, and else does not.
#[test]
fn what_runs_out_in_between_is_kept_by_its_connections_alone() {
    let mut before = Process::new(&persistent(), 2, 500, 7);
    before.begin();
    before.cluster.turn();
    let (stays, goes) = (establish(&mut before, 0), establish(&mut before, 2));
    says(&mut before, &goes, true, RST);
    pass(&mut before, 80);
    let left = before.die();
    let mut after = Process::new(&persistent(), 1, 500, 9);
    after.inherit(&[(&left, 60)]);
    after.begin();
    let counts = after.finish();
    assert_eq!((counts.templates, counts.templates_given_up), (1, 1));
    assert_eq!(counts.connections, Imported { made: 1, ..Imported::default() });
    pass(&mut after, 100);
    let (_, templates) = after.dump();
    assert_eq!(templates.len(), 1, "by the minute, as long as its connection lives");
    says(&mut after, &stays, false, ACK);
}

/// Where a service is persistent no more there is nothing to stay with.
#[test]
fn templates_of_services_that_are_persistent_no_more_are_given_up() {
    let mut before = Process::new(&persistent(), 1, 500, 7);
    before.begin();
    before.cluster.turn();
    let connections: Vec<_> = (0..4).map(|network| establish(&mut before, network)).collect();
    pass(&mut before, 1);
    let left = before.die();
    let mut offers = persistent();
    offers[0].persistence = None;
    let mut after = Process::new(&offers, 3, 500, 9);
    after.inherit(&[(&left, 4)]);
    after.begin();
    let counts = after.finish();
    assert_eq!((counts.templates, counts.templates_given_up), (2, 2));
    assert_eq!(counts.connections.made, 4);
    connections.iter().for_each(|connection| says(&mut after, connection, false, ACK));
}
