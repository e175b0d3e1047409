mod ndp;
mod silence;

use super::entry::trusted;
use super::*;
use dataplane::live::next_hops::{NextHop, NextHops};
use dataplane::names::family::V4;
use dataplane::names::ids::NextHopId;
use std::collections::HashSet;
use std::net::Ipv4Addr;

const OWN: Mac = Mac([2, 0, 0, 0, 0, 8]);
const RS1: Mac = Mac([2, 0, 0, 0, 0, 7]);
const OTHER: Mac = Mac([2, 0, 0, 0, 9, 9]);

fn seconds(count: u64) -> Moment {
    Moment::from_secs(count)
}

fn key(last: u8) -> NeighbourKey {
    NeighbourKey { interface: InterfaceId(0), address: std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)) }
}

fn interfaces() -> Vec<Interface> {
    vec![Interface {
        id: InterfaceId(0),
        mac: OWN,
        addresses: vec!["10.0.0.8/8".parse().unwrap()],
        vips: Vec::new(),
    }]
}

fn neighbours() -> Neighbours {
    Neighbours::new(interfaces(), [], seconds(0))
}

fn heard(key: NeighbourKey, mac: Mac, reply: bool) -> NeighbourEvent {
    NeighbourEvent::Heard { key, mac, reply, replaces: true }
}

/// Destination MACs of the requests among what is to be done.
fn asked(actions: &[Action]) -> Vec<Mac> {
    let frames = actions.iter().filter_map(|action| match action {
        Action::Send(frame) => Some(Mac(frame.bytes[..6].try_into().unwrap())),
        _ => None,
    });
    frames.collect()
}

/// As many turns as what is due needs.
fn turns(neighbours: &mut Neighbours, now: Moment) {
    while neighbours.due.iter().any(|due| due.first().is_some_and(|(due, _)| *due <= now)) {
        neighbours.turn(now);
    }
}

/// Configured, and each of them as important as any.
fn permanent(keys: impl IntoIterator<Item = NeighbourKey>) -> HashMap<NeighbourKey, u32> {
    keys.into_iter().map(|key| (key, 1)).collect()
}

impl Neighbours {
    /// These are permanent from now on, and no others; with each, how much depends on it.
    fn set_permanent(&mut self, wanted: &HashMap<NeighbourKey, u32>, now: Moment) {
        let permanent = self.entries.iter().filter(|(_, entry)| entry.kind == Kind::Permanent);
        let leaving = permanent.map(|(key, _)| *key).filter(|key| !wanted.contains_key(key));
        for key in leaving.collect::<Vec<_>>() {
            self.depend(key, None, now);
        }
        for (key, importance) in wanted {
            self.depend(*key, Some(*importance), now);
        }
    }
}

/// Runs to `until` in steps of 100 ms and returns everything that was to be done, with its time.
fn run(neighbours: &mut Neighbours, from: Moment, until: Moment) -> Vec<(Moment, Action)> {
    let mut done = Vec::new();
    let mut now = from;
    while now <= until {
        turns(neighbours, now);
        done.extend(neighbours.take_actions().into_iter().map(|action| (now, action)));
        now += Duration::from_millis(100);
    }
    done
}

#[test]
fn a_request_is_a_complete_frame() {
    let mut neighbours = neighbours();
    neighbours.event(NeighbourEvent::Wanted(key(7)), seconds(1));
    let actions = neighbours.take_actions();
    let [Action::Send(frame)] = actions[..] else { panic!("{actions:?}") };
    let expected = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 8, 0x08, 0x06, // Ethernet
        0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 8, 10, 0, 0, 8, 0, 0, 0, 0, 0, 0, 10, 0, 0, 7, // ARP
    ];
    assert_eq!(frame.bytes[..42], expected);
    assert_eq!((frame.interface, frame.length), (InterfaceId(0), 60));
    assert_eq!(frame.bytes[42..], [0; 54]);
}

#[test]
fn an_answer_is_published_before_it_is_told() {
    let mut neighbours = neighbours();
    neighbours.event(NeighbourEvent::Wanted(key(7)), seconds(1));
    neighbours.take_actions();
    neighbours.event(heard(key(7), RS1, true), seconds(1));
    let id = neighbours.ids().id(key(7));
    let expected = [
        Action::Set(id, NextHop::resolved(InterfaceId(0), RS1)),
        Action::Tell(Notice::Reachable(key(7), id)),
    ];
    assert_eq!(neighbours.take_actions(), expected);
    // A worker's event that crossed with the answer is answered at once.
    neighbours.event(NeighbourEvent::Wanted(key(7)), seconds(2));
    assert_eq!(neighbours.take_actions(), [Action::Tell(Notice::Reachable(key(7), id))]);
}

#[test]
fn three_unanswered_requests_a_second_apart_make_it_unreachable() {
    let mut neighbours = neighbours();
    neighbours.event(NeighbourEvent::Wanted(key(7)), seconds(0));
    let done = run(&mut neighbours, seconds(0), seconds(4));
    let times: Vec<_> = done.iter().map(|(at, _)| at.as_secs()).collect();
    assert_eq!(times, [0, 1, 2, 3]);
    assert_eq!(done[3].1, Action::Tell(Notice::Unreachable(key(7))));
    // Asked for again by the next packet, but not more than once a second.
    neighbours.event(NeighbourEvent::Wanted(key(7)), Duration::from_millis(3500));
    assert_eq!(neighbours.take_actions(), [Action::Tell(Notice::Unreachable(key(7)))]);
    neighbours.event(NeighbourEvent::Wanted(key(7)), Duration::from_millis(4100));
    assert_eq!(asked(&neighbours.take_actions()), [Mac::BROADCAST]);
    // Nobody wants it any more: it is forgotten.
    run(&mut neighbours, Duration::from_millis(4100), seconds(20));
    assert!(neighbours.is_empty());
}

#[test]
fn a_permanent_one_is_asked_for_from_the_start_checked_and_found_again() {
    let mut neighbours = neighbours();
    neighbours.set_permanent(&permanent([key(7)]), seconds(0));
    neighbours.turn(seconds(0));
    assert_eq!(asked(&neighbours.take_actions()), [Mac::BROADCAST]);
    neighbours.event(heard(key(7), RS1, true), seconds(0));
    neighbours.take_actions();
    let checked = trusted(key(7));
    assert!(checked <= REACHABLE && checked >= REACHABLE - SPREAD);
    let done = run(&mut neighbours, checked, checked + seconds(5));
    let frames: Vec<Action> = done.iter().map(|(_, action)| *action).collect();
    assert_eq!(done[0].0, checked);
    assert_eq!(asked(&frames), [RS1, RS1, RS1, Mac::BROADCAST, Mac::BROADCAST, Mac::BROADCAST]);
    // Packets go to the known MAC until the last request, too, is unanswered.
    let given_up = checked + seconds(6);
    let lost = run(&mut neighbours, given_up, given_up);
    let id = neighbours.ids().id(key(7));
    let lost: Vec<_> = lost.into_iter().map(|(_, action)| action).collect();
    assert_eq!(lost, [Action::Set(id, NextHop::UNRESOLVED), Action::Tell(Notice::Unreachable(key(7)))]);
    assert_eq!(neighbours.silent(given_up).collect::<Vec<_>>(), [(1, key(7))]);
    // It goes on being asked for, and is back with its first answer, under the same id.
    let revived = run(&mut neighbours, given_up, given_up + REVIVE);
    assert_eq!(asked(&[revived[0].1]), [Mac::BROADCAST]);
    neighbours.event(heard(key(7), OTHER, true), seconds(42));
    assert!(neighbours.take_actions().contains(&Action::Set(id, NextHop::resolved(InterfaceId(0), OTHER))));
    assert_eq!(neighbours.silent(given_up + REVIVE).count(), 0);
}

#[test]
fn one_that_speaks_and_does_not_answer_counts_as_silent() {
    let mut neighbours = neighbours();
    neighbours.set_permanent(&permanent([key(7)]), seconds(0));
    turns(&mut neighbours, seconds(0));
    neighbours.event(heard(key(7), RS1, true), seconds(0));
    // It is checked, and says something just after the last request: that is no answer.
    let checked = trusted(key(7));
    run(&mut neighbours, checked, checked + seconds(5));
    neighbours.event(heard(key(7), RS1, false), checked + seconds(5));
    run(&mut neighbours, checked + seconds(5), checked + seconds(6));
    assert_eq!(neighbours.failed, 1);
    assert_eq!(neighbours.silent(checked + seconds(6)).collect::<Vec<_>>(), [(1, key(7))]);
}

#[test]
fn an_answered_check_keeps_it_reachable_without_news() {
    let mut neighbours = neighbours();
    neighbours.set_permanent(&permanent([key(7)]), seconds(0));
    neighbours.event(heard(key(7), RS1, true), seconds(0));
    neighbours.take_actions();
    for round in 1..20 {
        let due = trusted(key(7)) * round;
        assert!(run(&mut neighbours, due - seconds(19), due - Duration::from_millis(1)).is_empty());
        neighbours.turn(due);
        assert_eq!(asked(&neighbours.take_actions()), [RS1], "one direct request each 20 to 30 s");
        neighbours.event(heard(key(7), RS1, true), due);
        assert_eq!(neighbours.take_actions(), []);
    }
}

#[test]
fn a_changed_mac_is_followed_at_once_but_never_for_static_ones() {
    let mut neighbours = Neighbours::new(interfaces(), [(key(9), RS1)], seconds(0));
    let id = neighbours.ids().id(key(9));
    let expected = [
        Action::Set(id, NextHop::resolved(InterfaceId(0), RS1)),
        Action::Tell(Notice::Reachable(key(9), id)),
    ];
    assert_eq!(neighbours.take_actions(), expected);
    neighbours.set_permanent(&permanent([key(7), key(9)]), seconds(0));
    neighbours.event(heard(key(7), RS1, true), seconds(0));
    neighbours.take_actions();
    neighbours.event(heard(key(7), OTHER, false), seconds(5));
    let id = neighbours.ids().id(key(7));
    assert_eq!(neighbours.take_actions()[0], Action::Set(id, NextHop::resolved(InterfaceId(0), OTHER)));
    neighbours.event(heard(key(9), OTHER, true), seconds(5));
    assert_eq!(neighbours.take_actions(), []);
    assert!(run(&mut neighbours, seconds(5), seconds(25)).is_empty());
    neighbours.event(heard(key(7), Mac::BROADCAST, true), seconds(25));
    neighbours.event(heard(key(44), OTHER, true), seconds(25));
    assert_eq!(neighbours.take_actions(), [], "a group MAC, and a host that nobody asked for");
}

#[test]
fn macs_that_are_configured_come_and_go_while_packets_flow() {
    let mut neighbours = Neighbours::new(interfaces(), [(key(9), RS1)], seconds(0));
    neighbours.set_permanent(&permanent([key(7)]), seconds(0));
    neighbours.event(heard(key(7), RS1, true), seconds(0));
    neighbours.take_actions();
    neighbours.set_fixed([(key(9), RS1)], seconds(1));
    assert_eq!(neighbours.take_actions(), [], "nothing is otherwise");
    let [seventh, ninth] = [7, 9].map(|host| neighbours.ids().id(key(host)));
    // One that was asked has a configured MAC now, and the other one is asked; packets go on to what was known.
    neighbours.set_fixed([(key(7), OTHER)], seconds(2));
    let now_fixed = NextHop::resolved(InterfaceId(0), OTHER);
    let expected = [Action::Set(seventh, now_fixed), Action::Tell(Notice::Reachable(key(7), seventh))];
    assert_eq!(neighbours.take_actions(), expected);
    turns(&mut neighbours, seconds(2));
    assert_eq!(asked(&neighbours.take_actions()), [RS1], "directly");
    neighbours.event(heard(key(7), RS1, true), seconds(2));
    assert_eq!(neighbours.take_actions(), [], "what is configured is not learnt");
    // Nothing depends on it: what is sent to it finds its way anew.
    neighbours.let_go(key(9));
    assert_eq!(neighbours.take_actions(), [Action::Set(ninth, NextHop::UNRESOLVED)]);
    neighbours.let_go(key(7));
    assert_eq!((neighbours.take_actions(), neighbours.len()), (vec![], 1));
}

/// Runs second by second; `key` answers every request.
fn run_answering(neighbours: &mut Neighbours, key: NeighbourKey, from: Moment, until: Moment) -> Vec<Action> {
    let mut news = Vec::new();
    let mut now = from;
    while now <= until {
        turns(neighbours, now);
        let actions = neighbours.take_actions();
        let asks = |action: &Action| matches!(action, Action::Send(f) if f.bytes[38..42] == V4::address(key.address).unwrap().octets());
        if actions.iter().any(asks) {
            neighbours.event(heard(key, RS1, true), now);
        }
        news.extend(actions.into_iter().filter(|action| !matches!(action, Action::Send(_))));
        now += seconds(1);
    }
    news
}

#[test]
fn a_dynamic_one_is_kept_as_long_as_it_answers_and_keeps_its_id_for_ever() {
    let mut neighbours = neighbours();
    neighbours.event(NeighbourEvent::Wanted(key(7)), seconds(0));
    neighbours.event(heard(key(7), RS1, true), seconds(0));
    let id = neighbours.ids().id(key(7));
    neighbours.take_actions();
    assert_eq!(run_answering(&mut neighbours, key(7), seconds(0), 5 * FORGET), []);
    run(&mut neighbours, 5 * FORGET, 5 * FORGET + seconds(60));
    assert!(neighbours.is_empty(), "it has left");
    neighbours.event(NeighbourEvent::Wanted(key(7)), 6 * FORGET);
    neighbours.event(heard(key(7), OTHER, true), 6 * FORGET);
    assert!(neighbours.take_actions().contains(&Action::Tell(Notice::Reachable(key(7), id))));
}

#[test]
fn in_a_crowd_a_dynamic_one_is_forgotten_after_minutes() {
    let mut neighbours = neighbours();
    let crowd = (0..KEPT as u32).map(|number| NeighbourKey {
        interface: InterfaceId(0),
        address: std::net::IpAddr::V4(Ipv4Addr::from_bits(0x0a01_0000 + number)),
    });
    neighbours.set_permanent(&permanent(crowd), seconds(0));
    neighbours.event(NeighbourEvent::Wanted(key(7)), seconds(0));
    neighbours.event(heard(key(7), RS1, true), seconds(0));
    let id = neighbours.ids().id(key(7));
    neighbours.take_actions();
    let unresolved = Action::Set(id, NextHop::UNRESOLVED);
    let before = FORGET - seconds(1);
    assert!(!run_answering(&mut neighbours, key(7), seconds(0), before).contains(&unresolved));
    let after = FORGET + REACHABLE;
    assert!(run_answering(&mut neighbours, key(7), FORGET, after).contains(&unresolved));
    assert_eq!(neighbours.len(), KEPT);
}

/// With turns each 2 ms, and a worker that lets 128 replies at once and 10,000 a second pass.
#[test]
fn thousands_of_reals_resolve_soon_and_are_never_given_up() {
    const REALS: u32 = 10_000;
    let mut neighbours = neighbours();
    let host = |number| NeighbourKey {
        interface: InterfaceId(0),
        address: std::net::IpAddr::V4(Ipv4Addr::from_bits(0x0a01_0000 + number)),
    };
    neighbours.set_permanent(&permanent((0..REALS).map(host)), seconds(1));
    assert_eq!(neighbours.take_actions(), [], "the turns ask");
    let (mut now, mut all_at, mut room, mut most_a_second) = (seconds(1), None, 128, [0; 121]);
    let mut resolved = HashSet::new();
    while now < seconds(121) {
        room = (room + 20).min(128);
        neighbours.turn(now);
        let frames: Vec<_> = neighbours.take_actions();
        let mut sent = 0;
        for action in frames {
            match action {
                Action::Send(frame) => {
                    sent += 1;
                    most_a_second[now.as_secs() as usize] += 1;
                    if room > 0 {
                        room -= 1;
                        let target: [u8; 4] = frame.bytes[38..42].try_into().unwrap();
                        let key = NeighbourKey { interface: InterfaceId(0), address: target.into() };
                        resolved.insert(key);
                        neighbours.event(heard(key, RS1, true), now);
                    }
                }
                Action::Tell(Notice::Unreachable(key)) => panic!("{key:?} given up at {now:?}"),
                Action::Set(..) | Action::Tell(Notice::Reachable(..)) => {}
            }
        }
        assert!(sent <= LOOKS);
        if resolved.len() == REALS as usize {
            all_at = all_at.or(Some(now));
        }
        now += Duration::from_millis(2);
    }
    assert!(all_at.is_some_and(|at| at < seconds(3)), "{all_at:?}");
    assert_eq!(neighbours.silent(now).count(), 0);
    // Once spread, checks come at an even rate.
    let later = &most_a_second[62..];
    assert!(later.iter().all(|count| *count < REALS as usize / 5), "{later:?}");
}

#[test]
fn a_real_that_is_removed_becomes_dynamic() {
    let mut neighbours = neighbours();
    neighbours.set_permanent(&permanent([key(7)]), seconds(0));
    neighbours.set_permanent(&HashMap::new(), seconds(1));
    run(&mut neighbours, seconds(1), seconds(20));
    assert!(neighbours.is_empty());
}

#[test]
fn a_flood_of_made_up_hosts_exhausts_nothing() {
    let mut neighbours = neighbours();
    neighbours.set_permanent(&permanent([key(7)]), seconds(0));
    neighbours.event(heard(key(7), RS1, true), seconds(0));
    let mut requests = [0; 22];
    for host in 0..200_000u32 {
        let address = Ipv4Addr::from_bits(0x0a01_0000 + host);
        let now = seconds(1) + Duration::from_micros(u64::from(host) * 100);
        neighbours.event(
            NeighbourEvent::Wanted(NeighbourKey {
                interface: InterfaceId(0),
                address: std::net::IpAddr::V4(address),
            }),
            now,
        );
        neighbours.turn(now);
        assert!(neighbours.len() <= MAX_UNANSWERED + 1);
        requests[now.as_secs() as usize] += asked(&neighbours.take_actions()).len();
    }
    // The first of each new one, and the retries of those that are remembered.
    let most = NEW_A_SECOND as usize + MAX_UNANSWERED;
    assert!(requests.iter().all(|requests| *requests <= most), "{requests:?}");
    assert_eq!(neighbours.ids.count(), 1, "only who answers gets an id");
    assert_eq!(neighbours.due[0].len() + neighbours.due[1].len(), neighbours.len());
    // A true one among them is still found.
    neighbours.event(NeighbourEvent::Wanted(key(17)), seconds(22));
    neighbours.event(heard(key(17), OTHER, true), seconds(22));
    let id = neighbours.ids().id(key(17));
    assert!(neighbours.take_actions().contains(&Action::Tell(Notice::Reachable(key(17), id))));
    run(&mut neighbours, seconds(22), seconds(40));
    assert_eq!(neighbours.len(), 2);
    assert!(neighbours.unanswered.is_empty());
}

#[test]
fn hosts_that_all_answer_are_bounded_too() {
    let mut neighbours = neighbours();
    let host = |number: u32| NeighbourKey {
        interface: InterfaceId(0),
        address: std::net::IpAddr::V4(Ipv4Addr::from_bits(0x0a01_0000 + number)),
    };
    for number in 0..MAX_ENTRIES as u32 + 100 {
        let now = seconds(u64::from(number / NEW_A_SECOND));
        neighbours.event(NeighbourEvent::Wanted(host(number)), now);
        neighbours.event(heard(host(number), OTHER, true), now);
        neighbours.take_actions();
    }
    assert_eq!(neighbours.len(), MAX_ENTRIES);
    assert_eq!(neighbours.refused(), 100);
    for number in 0..NextHops::CAPACITY as u32 + 10 {
        neighbours.ids().id(host(number));
    }
    assert_eq!(neighbours.ids().id(host(1 << 20)), NextHopId::UNKNOWN);
}

#[test]
fn an_unasked_answer_makes_no_neighbour() {
    let mut neighbours = neighbours();
    for reply in [true, false] {
        neighbours.event(heard(key(7), OTHER, reply), seconds(1));
        assert_eq!(neighbours.take_actions(), []);
        assert!(neighbours.is_empty());
    }
}

#[test]
fn a_claimed_own_address_is_announced_once_in_ten_seconds() {
    let mut neighbours = neighbours();
    let own = key(8);
    let mut announced = Vec::new();
    for second in 0..25 {
        neighbours.event(NeighbourEvent::Conflict { key: own, mac: OTHER }, seconds(second));
        for action in neighbours.take_actions() {
            let Action::Send(frame) = action else { panic!("{action:?}") };
            assert!(interfaces()[0].announcement(own.address).contains(&frame));
            announced.push(second);
        }
    }
    assert_eq!(announced, [0, 0, 10, 10, 20, 20], "in both forms");
    assert!(neighbours.is_empty(), "the other is no neighbour");
    let noted: Vec<_> = neighbours.conflicts().noted(seconds(25)).collect();
    assert!(matches!(noted[..], [(_, Conflict { mac: OTHER, claims: 25, .. })]));
}

#[test]
fn what_is_no_host_is_not_asked_for() {
    let mut neighbours = neighbours();
    for address in [[10, 0, 0, 8], [224, 0, 0, 1], [255, 255, 255, 255], [0, 0, 0, 0], [127, 0, 0, 1]] {
        let key = NeighbourKey { interface: InterfaceId(0), address: address.into() };
        neighbours.event(NeighbourEvent::Wanted(key), seconds(0));
        assert_eq!(neighbours.take_actions(), [Action::Tell(Notice::Unreachable(key))]);
    }
    let elsewhere = NeighbourKey { interface: InterfaceId(9), ..key(7) };
    neighbours.event(NeighbourEvent::Wanted(elsewhere), seconds(0));
    assert_eq!(neighbours.take_actions(), [Action::Tell(Notice::Unreachable(elsewhere))]);
    assert!(neighbours.is_empty());
}
