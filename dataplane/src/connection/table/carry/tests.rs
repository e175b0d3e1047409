use crate::connection::table::tests::{Bench, NOW};
use crate::connection::table::{ClientKey, New};
use crate::connection::{Clock, Copied, Imported, NotImported, State};
use crate::names::family::V4;
use crate::names::ids::{NextHopId, Protocol, RealId};
use crate::names::time::Tick;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What identifies a connection, and what it is.
type Known = BTreeMap<(std::net::SocketAddr, u8, u32), (State, u32)>;

fn export(bench: &Bench, tick: Tick) -> Vec<Copied> {
    let clock = Clock::new(tick, &bench.timeouts);
    let (mut all, mut position) = (Vec::new(), Some(0));
    while let Some(from) = position {
        let mut rows = Vec::with_capacity(256);
        position = bench.table.export(from, 64, clock, &mut rows);
        all.append(&mut rows);
    }
    all
}

fn import(bench: &mut Bench, rows: &[Copied], tick: Tick) -> Imported {
    let mut imported = Imported::default();
    for row in rows {
        let Bench { table, counters, timeouts } = bench;
        let result = table.import(row, |other, _| other == row.real, Clock::new(tick, timeouts), counters);
        imported.count(result.map(|_| ()));
        bench.end_turn();
    }
    imported
}

fn known(rows: &[Copied]) -> Known {
    let known =
        rows.iter().map(|row| ((row.client, row.protocol.number(), row.real.0), (row.state, row.ticks_left)));
    known.collect()
}

fn row(client: u16, real: u32) -> Copied {
    Copied {
        protocol: Protocol::Tcp,
        state: State::Established,
        ticks_left: 1000,
        client: V4::endpoint(7 | u64::from(client) << 32),
        real: RealId(real),
        port: 0,
        next_hop: NextHopId(3),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the secret, the capacity and the clock of the other table are.
    #[test]
    fn what_one_table_gives_another_takes_as_it_is(
        flows in prop::collection::vec((0..60u64, 0..6u32, 0..State::COUNT, 0..4000u32), 0..300),
        mask: u64, multiplier: u64, capacity in 300..5000usize, later: u32,
    ) {
        let mut bench = Bench::new(600);
        for (client, real, state, age) in flows {
            let state = State::ALL[state];
            let protocol = state.protocol().number();
            if bench.find(client, protocol, real).is_none() {
                let key = ClientKey::new(client, protocol);
                let new = New { key, real: RealId(real), port: 0, next_hop: NextHopId(9), state };
                let Bench { table, counters, timeouts } = &mut bench;
                let _ = table.insert(table.hash(key), new, Clock::new(NOW.before(age), timeouts), counters);
                bench.end_turn();
            }
        }
        let rows = export(&bench, NOW);
        let mut other = Bench::with_secret(capacity, mask, multiplier);
        let tick = Tick::new(u64::from(later));
        prop_assert_eq!(import(&mut other, &rows, tick), Imported { made: rows.len() as u32, ..Imported::default() });
        other.assert_sound();
        prop_assert_eq!(known(&export(&other, tick)), known(&rows));
        let twice = import(&mut other, &rows, tick);
        prop_assert_eq!(twice, Imported { duplicate: rows.len() as u32, ..Imported::default() });
    }
}

#[test]
fn what_cannot_be_taken_is_counted_by_reason() {
    let mut bench = Bench::new(16);
    let short = Copied { ticks_left: 0, ..row(1, 1) };
    let udp_as_tcp = Copied { state: State::UdpAnswered, ..row(1, 1) };
    let of_other_family = Copied { client: "[2001:db8::1]:80".parse().unwrap(), ..row(1, 1) };
    let sctp_as_tcp = Copied { state: State::SctpEstablished, ..row(1, 1) };
    let rows = [short, udp_as_tcp, sctp_as_tcp, of_other_family, row(2, 1), row(2, 1), row(2, 2)];
    let expected = Imported { made: 2, malformed: 3, expired: 1, duplicate: 1, ..Imported::default() };
    assert_eq!(import(&mut bench, &rows, NOW), expected);
    let many: Vec<_> = (10..40).map(|client| row(client, 1)).collect();
    let expected = Imported { made: 14, no_room: 16, ..Imported::default() };
    assert_eq!(import(&mut bench, &many, NOW), expected);
    assert_eq!(
        bench.counters.connections_evicted.get(),
        0,
        "none gives way to one that comes from elsewhere"
    );
}

#[test]
fn no_connection_gets_more_time_than_its_state_has_here() {
    let mut bench = Bench::new(16);
    import(&mut bench, &[Copied { ticks_left: u32::MAX, ..row(2, 1) }], NOW);
    let rows = export(&bench, NOW);
    assert_eq!(rows[0].ticks_left, bench.timeouts.ticks(State::Established));
    assert_eq!((rows[0].next_hop, rows[0].real), (NextHopId(3), RealId(1)));
}

#[test]
fn one_that_has_timed_out_keeps_none_out() {
    let mut bench = Bench::new(16);
    import(&mut bench, &[row(2, 1)], NOW);
    let later = Tick::new(1_000_000 + 1000);
    let Bench { table, counters, timeouts } = &mut bench;
    let clock = Clock::new(later, timeouts);
    assert!(table.import(&row(2, 1), |_, _| true, clock, counters).is_ok());
    let again = table.import(&row(2, 1), |_, _| true, clock, counters);
    assert_eq!(again, Err(NotImported::Duplicate));
    bench.assert_sound();
    assert_eq!(bench.table.len(), 1);
}
