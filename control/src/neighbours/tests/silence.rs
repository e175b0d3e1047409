//! Neighbours that do not answer: how often they are asked, what is noted of them, and their coming back.

use super::*;
use proptest::prelude::*;

/// The host number `number` of many.
fn host(number: u32) -> NeighbourKey {
    NeighbourKey {
        interface: InterfaceId(0),
        address: std::net::IpAddr::V4(Ipv4Addr::from_bits(0x0a01_0000 + number)),
    }
}

/// Whom the requests among what is to be done ask for.
fn targets(actions: &[Action]) -> Vec<NeighbourKey> {
    let of = |action: &Action| match action {
        Action::Send(frame) => {
            let target: [u8; 4] = frame.bytes[38..42].try_into().unwrap();
            Some(NeighbourKey { interface: InterfaceId(0), address: target.into() })
        }
        _ => None,
    };
    actions.iter().filter_map(of).collect()
}

/// Turns each 2 ms, as the control thread's, in which nobody answers. The requests of each second.
fn silence(neighbours: &mut Neighbours, from: Moment, until: Moment) -> Vec<usize> {
    let mut asked = vec![0; (until - from).as_secs() as usize];
    let mut now = from;
    while now < until {
        neighbours.turn(now);
        asked[(now - from).as_secs() as usize] += targets(&neighbours.take_actions()).len();
        now += Duration::from_millis(2);
    }
    asked
}

#[test]
fn tens_of_thousands_of_silent_reals_are_noted_within_seconds_and_then_hardly_asked() {
    const REALS: u32 = 65_535;
    let mut neighbours = neighbours();
    // Drained ones, and three with weight, of which one is added later and has the highest address.
    let mut wanted: HashMap<_, _> = (0..REALS).map(|number| (host(number), 0)).collect();
    wanted.insert(host(5_000), 7);
    wanted.insert(host(60_000), 900);
    neighbours.set_permanent(&wanted, seconds(0));
    silence(&mut neighbours, seconds(0), seconds(2));
    wanted.insert(host(REALS), u32::MAX);
    neighbours.set_permanent(&wanted, seconds(2));
    silence(&mut neighbours, seconds(2), seconds(6));
    let mut noted: Vec<_> = neighbours.silent(seconds(6)).collect();
    noted.sort_unstable();
    noted.reverse();
    let worst = [(u32::MAX, host(REALS)), (900, host(60_000)), (7, host(5_000))];
    assert_eq!(noted[..3], worst);
    assert!(noted.len() > 10_000, "{}", noted.len());
    // Three requests for each take their time; then it is quiet.
    silence(&mut neighbours, seconds(6), seconds(45));
    assert_eq!(neighbours.silent(seconds(45)).count(), wanted.len());
    let asked = silence(&mut neighbours, seconds(45), seconds(60));
    assert!(asked.iter().all(|count| *count <= 2 * REVIVALS as usize), "{asked:?}");
    // Packets for all of them change little, and each is told at once.
    let mut asked = 0;
    for number in 0..REALS {
        let now = seconds(60) + Duration::from_micros(u64::from(number) * 15);
        neighbours.event(NeighbourEvent::Wanted(host(number)), now);
        let actions = neighbours.take_actions();
        assert_eq!(actions.len(), 1);
        asked += targets(&actions).len();
    }
    assert!(asked <= WANTED as usize, "{asked}");
    let asked = silence(&mut neighbours, seconds(61), seconds(71));
    assert!(asked.iter().all(|count| *count <= 2 * REVIVALS as usize + 2 * WANTED as usize), "{asked:?}");
}

#[test]
fn pauses_grow_to_a_minute_and_are_forgotten_with_an_answer() {
    let mut neighbours = neighbours();
    neighbours.set_permanent(&permanent([key(7)]), seconds(0));
    let done = run(&mut neighbours, seconds(0), seconds(300));
    let asked = |done: &[(Moment, Action)]| {
        let requests = done.iter().filter(|(_, action)| matches!(action, Action::Send(_)));
        requests.map(|(at, _)| at.as_secs()).collect::<Vec<_>>()
    };
    assert_eq!(asked(&done), [0, 1, 2, 8, 18, 38, 78, 138, 198, 258]);
    // It is back, says so, and is lost again.
    neighbours.event(heard(key(7), RS1, false), seconds(300));
    assert!(matches!(neighbours.take_actions()[..], [Action::Set(..), Action::Tell(Notice::Reachable(..))]));
    assert_eq!(neighbours.silent(seconds(300)).count(), 0);
    let done = run(&mut neighbours, seconds(300), seconds(330));
    assert_eq!(asked(&done), [301, 302, 303, 304, 305, 306, 312, 322]);
    // Packets that wait have it asked for, but not more than once a second.
    for wanted in 330..340 {
        neighbours.event(NeighbourEvent::Wanted(key(7)), seconds(wanted));
        neighbours.event(NeighbourEvent::Wanted(key(7)), seconds(wanted));
        let done = run(&mut neighbours, seconds(wanted), seconds(wanted) + Duration::from_millis(900));
        assert!(asked(&done).len() <= 1, "{done:?}");
    }
}

#[test]
fn a_link_that_is_back_has_the_silent_asked_for_unless_it_flaps() {
    let mut neighbours = neighbours();
    neighbours.set_link(InterfaceId(0), true, seconds(0));
    neighbours.set_permanent(&permanent((0..10).map(host)), seconds(0));
    run(&mut neighbours, seconds(0), seconds(100));
    neighbours.set_link(InterfaceId(0), false, seconds(100));
    neighbours.set_link(InterfaceId(0), true, seconds(101));
    neighbours.turn(seconds(101));
    assert_eq!(targets(&neighbours.take_actions()).len(), 10);
    for flap in 0..20 {
        neighbours.set_link(InterfaceId(0), false, seconds(102 + flap));
        neighbours.set_link(InterfaceId(0), true, seconds(102 + flap));
        neighbours.turn(seconds(102 + flap));
    }
    let asked = targets(&neighbours.take_actions()).len();
    assert!(asked <= 20, "{asked}: two pauses of each have passed");
}

/// What may happen to a neighbour within a step of an hour.
#[derive(Clone, Debug)]
enum Happens {
    Wanted(u32),
    Speaks(u32),
    Weights(u32, u32),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Over an hour, whatever is wanted and whoever speaks meanwhile: no host is asked twice within a second
    /// (RFC 1122, 2.3.2.1), silent ones some 60 times, none is forgotten, and one that is back is found.
    #[test]
    fn an_hour_of_silence_is_a_calm_one(
        count in 1..400u32,
        events in proptest::collection::vec((0..3600u64, prop_oneof![
            6 => (0..400u32).prop_map(Happens::Wanted),
            1 => (0..400u32).prop_map(Happens::Speaks),
            1 => (0..400u32, 0..3u32).prop_map(|(host, weight)| Happens::Weights(host, weight)),
        ]), 0..300),
    ) {
        let mut neighbours = neighbours();
        let mut wanted: HashMap<_, _> = (0..count).map(|number| (host(number), number % 2)).collect();
        neighbours.set_permanent(&wanted, seconds(0));
        let mut by_second: HashMap<u64, Vec<Happens>> = HashMap::new();
        for (second, happens) in events.iter().cloned() {
            by_second.entry(second).or_default().push(happens);
        }
        let (mut last, mut sent) = (HashMap::new(), 0);
        for step in 0..3600 * 4 {
            let now = Duration::from_millis(250 * step);
            let happening = (step % 4 == 0).then(|| by_second.remove(&(step / 4))).flatten();
            for happens in happening.unwrap_or_default() {
                match happens {
                    Happens::Wanted(number) => {
                        neighbours.event(NeighbourEvent::Wanted(host(number % count)), now);
                    }
                    Happens::Speaks(number) => neighbours.event(heard(host(number % count), RS1, false), now),
                    Happens::Weights(number, weight) => {
                        wanted.insert(host(number % count), weight);
                        neighbours.set_permanent(&wanted, now);
                    }
                }
            }
            turns(&mut neighbours, now);
            for target in targets(&neighbours.take_actions()) {
                let before = last.insert(target, now);
                prop_assert!(before.is_none_or(|before| now >= before + RETRY), "{target:?} at {now:?}");
                sent += 1;
            }
        }
        // Three requests, the pauses of 5, 10, 20, 40 s, one each minute; again from the start where somebody speaks,
        // and three for each packet that waited.
        let most = count as usize * (3 + 4 + 60) + events.len() * (6 + 4);
        prop_assert!(sent <= most, "{sent} of {most}");
        prop_assert_eq!(neighbours.len(), count as usize);
        prop_assert_eq!(neighbours.due[0].len() + neighbours.due[1].len(), count as usize);
        prop_assert!(neighbours.silent(seconds(3600)).count() >= neighbours.failed as usize);
        // All are back, and answer when they are asked.
        let mut found = HashSet::new();
        for step in 0..LONGEST_PAUSE.as_millis() as u64 / 250 + 8 {
            let now = seconds(3600) + Duration::from_millis(250 * step);
            turns(&mut neighbours, now);
            for target in targets(&neighbours.take_actions()) {
                neighbours.event(heard(target, RS1, true), now);
                found.insert(target);
            }
        }
        prop_assert_eq!(found.len(), count as usize);
        prop_assert_eq!(neighbours.silent(seconds(3700)).count(), 0);
    }
}
