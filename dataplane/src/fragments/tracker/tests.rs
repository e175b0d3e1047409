use super::super::{HELD, HELD_BYTES, RANGES};
use super::*;
use crate::frame::plain::{PlainFrame, PlainIo};
use crate::frame::{FrameIo, HEAD};
use crate::names::ids::EthPortId;
use proptest::prelude::*;

const PORTS: Ports = Ports { source: 40000, destination: 53 };
const SECRET: HashKey = HashKey { mask: 0x0123_4567_89ab_cdef, multiplier: 0x9e37_79b9_7f4a_7c15 };

struct Lab {
    io: PlainIo,
    tracker: Tracker<PlainFrame>,
    now: Now,
}

impl Lab {
    fn new() -> Self {
        let tracker = Tracker::new(SECRET);
        Self { io: PlainIo::new(1), tracker, now: Now { nanoseconds: 1_000_000_000_000 } }
    }

    fn after(&mut self, milliseconds: u64) -> usize {
        self.now.nanoseconds += milliseconds * 1_000_000;
        let mut expired = 0;
        for _ in 0..HELD {
            expired += self.tracker.expire(self.now);
        }
        expired
    }

    fn frame(&mut self, length: usize) -> PlainFrame {
        let mut frame = self.io.allocate(EthPortId(0)).unwrap();
        assert!(frame.set_length(length));
        frame
    }

    fn resolve(&self, key: Key, piece: Piece) -> Outcome {
        self.tracker.resolve(key, piece, self.now)
    }

    fn pass(&mut self, key: Key, piece: Piece) -> usize {
        let given_up =
            if piece.is_first() { self.tracker.learn(key, (Protocol::Udp, PORTS), self.now) } else { 0 };
        self.tracker.pass(key, piece, self.now);
        given_up
    }

    fn hold(&mut self, key: Key, length: usize) -> usize {
        let frame = self.frame(length);
        self.tracker.hold(key, InterfaceId(3), frame, self.now)
    }
}

fn key(id: u16) -> Key {
    key_from(1, id)
}

fn key_from(client: u32, id: u16) -> Key {
    let client = std::net::Ipv4Addr::from_bits(0xc0a8_0000 + client);
    let (source, destination) = (client.into(), [192, 168, 10, 100].into());
    Fields { source, destination, protocol: 17, id: id.into(), side: Side::Vip }.key(SECRET)
}

fn piece(start: u16, end: u16) -> Piece {
    Piece { start, end, is_last: false }
}

fn last(start: u16, end: u16) -> Piece {
    Piece { start, end, is_last: true }
}

#[test]
fn later_fragments_follow_the_first_and_a_complete_datagram_leaves_nothing() {
    let mut lab = Lab::new();
    assert_eq!(lab.resolve(key(1), piece(0, 1480)), Outcome::Begins);
    lab.pass(key(1), piece(0, 1480));
    assert_eq!(lab.resolve(key(1), piece(1480, 2960)), Outcome::Follows(Protocol::Udp, PORTS));
    assert_eq!(lab.resolve(key(1), piece(0, 1480)), Outcome::Repeats);
    assert_eq!(lab.resolve(key(1), piece(8, 1488)), Outcome::Overlaps);
    assert_eq!(lab.resolve(key(2), piece(1480, 2960)), Outcome::Early, "another datagram");
    lab.pass(key(1), last(1480, 2000));
    assert_eq!(lab.resolve(key(1), piece(0, 8)), Outcome::Begins, "it is over");
    assert!(lab.tracker.keys.iter().flatten().all(|key| *key == 0));
}

#[test]
fn every_field_of_the_key_tells_datagrams_apart() {
    let v4 = |last| IpAddr::from([10, 0, 0, last]);
    let v6 = |last: u8| IpAddr::from([0xfd00, 0x10, 0, 0, 0, 0, 0, last.into()]);
    let mut all = Vec::new();
    for address in [v4 as fn(u8) -> IpAddr, v6] {
        let (source, destination) = (address(1), address(2));
        let fields = Fields { source, destination, protocol: 17, id: 7, side: Side::Vip };
        all.extend([
            fields,
            Fields { source: address(3), ..fields },
            Fields { destination: address(3), ..fields },
            Fields { source: destination, destination: source, ..fields },
            Fields { id: 8, ..fields },
            Fields { side: Side::Dip, ..fields },
        ]);
        let other_protocol = Fields { protocol: 6, ..fields };
        assert_eq!(other_protocol.key(SECRET) == fields.key(SECRET), source.is_ipv6(), "RFC 8200 §4.5");
    }
    let high = Fields { id: 7 << 16, ..all[6] };
    all.push(high);
    for (index, fields) in all.iter().enumerate() {
        assert_ne!(fields.key(SECRET).0, 0);
        let is_other = |other: &Fields| other.key(SECRET) != fields.key(SECRET);
        assert!(all[..index].iter().all(is_other), "{index}");
    }
}

#[test]
fn early_ones_are_released_by_the_first_in_their_order() {
    let mut lab = Lab::new();
    for length in [100, 101, 102] {
        assert_eq!(lab.hold(key(1), length), 0);
        assert_eq!(lab.hold(key(2), length + 10), 0);
    }
    assert_eq!(lab.tracker.held(), 6);
    assert!(lab.tracker.take_released().is_none());
    lab.pass(key(1), piece(0, 8));
    let released = lab.tracker.take_released().unwrap();
    let lengths: Vec<_> = released.iter().map(|(interface, frame)| (interface.0, frame.length())).collect();
    assert_eq!(lengths, [(3, 100), (3, 101), (3, 102)]);
    assert!(lab.tracker.take_released().is_none());
    drop(released);
    assert_eq!(lab.after(1001), 3, "the others wait in vain");
    assert_eq!((lab.tracker.held(), lab.io.live_frames()), (0, 0));
    assert!(
        lab.tracker.keys.iter().flatten().filter(|key| **key != 0).count() == 1,
        "only the one that began"
    );
}

#[test]
fn a_first_that_waits_elsewhere_begins_again_and_the_others_are_not_kept_here() {
    let mut lab = Lab::new();
    lab.hold(key(1), 100);
    lab.tracker.learn(key(1), (Protocol::Udp, PORTS), lab.now);
    assert_eq!(lab.tracker.take_released().unwrap().len(), 1);
    assert_eq!(lab.resolve(key(1), piece(8, 16)), Outcome::Follows(Protocol::Udp, PORTS));
    assert_eq!(lab.resolve(key(1), piece(0, 8)), Outcome::Begins);
    lab.pass(key(1), piece(0, 8));
    assert_eq!(lab.resolve(key(1), piece(0, 8)), Outcome::Repeats);
}

#[test]
fn a_refused_datagram_stays_refused_until_it_is_silent() {
    let mut lab = Lab::new();
    lab.hold(key(1), 100);
    assert_eq!(lab.tracker.refuse(key(1), lab.now), 0);
    assert_eq!(lab.tracker.take_released().unwrap().len(), 1, "to be dropped by whoever drops");
    for piece in [piece(0, 8), piece(8, 16), last(16, 17)] {
        assert_eq!(lab.resolve(key(1), piece), Outcome::Refused);
    }
    lab.after(4999);
    assert_eq!(lab.resolve(key(1), piece(8, 16)), Outcome::Refused);
    lab.after(2);
    assert_eq!(lab.resolve(key(1), piece(8, 16)), Outcome::Early);
    assert_eq!(lab.resolve(key(1), piece(0, 8)), Outcome::Begins);
}

#[test]
fn one_datagram_and_all_together_hold_so_many() {
    let mut lab = Lab::new();
    for _ in 0..PER_DATAGRAM {
        assert_eq!(lab.hold(key(1), 60), 0);
    }
    assert_eq!(lab.hold(key(1), 60), 1, "itself");
    assert_eq!(lab.tracker.held(), PER_DATAGRAM);
    for id in 2..2 + (HELD - PER_DATAGRAM) as u16 {
        assert_eq!(lab.hold(key(id), 60), 0);
    }
    assert_eq!(lab.hold(key(9999), 60), 1, "the oldest");
    assert_eq!(lab.tracker.held(), HELD);
    lab.pass(key(1), piece(0, 8));
    assert_eq!(lab.tracker.take_released().unwrap().len(), PER_DATAGRAM - 1);
    assert_eq!(lab.io.live_frames(), HELD - PER_DATAGRAM + 1);
}

/// A frame of any length that nobody looks into.
struct Jumbo(usize);

impl Frame for Jumbo {
    fn length(&self) -> usize {
        self.0
    }
    fn bytes(&self) -> &[u8] {
        unreachable!()
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        unreachable!()
    }
    fn head(&self) -> &[u8; HEAD] {
        unreachable!()
    }
    fn head_mut(&mut self) -> &mut [u8; HEAD] {
        unreachable!()
    }
    fn set_length(&mut self, _: usize) -> bool {
        unreachable!()
    }
    fn pieces(&self) -> u16 {
        1
    }
}

#[test]
fn bytes_are_bounded_too() {
    let mut tracker = Tracker::new(SECRET);
    let now = Now { nanoseconds: 1_000_000_000 };
    let quarter = HELD_BYTES / 4;
    for id in 0..4 {
        assert_eq!(tracker.hold(key(id), InterfaceId(0), Jumbo(quarter), now), 0);
    }
    assert_eq!(tracker.hold(key(4), InterfaceId(0), Jumbo(1), now), 1, "the oldest makes room");
    assert_eq!(tracker.hold(key(5), InterfaceId(0), Jumbo(quarter), now), 1);
    assert_eq!(tracker.hold(key(6), InterfaceId(0), Jumbo(HELD_BYTES), now), 4, "all of them do");
    assert_eq!(tracker.hold(key(7), InterfaceId(0), Jumbo(HELD_BYTES + 1), now), 2, "no room even then");
    assert_eq!(tracker.held(), 0);
}

#[test]
fn a_flood_of_first_fragments_pushes_out_the_silent_ones() {
    let mut lab = Lab::new();
    for n in 0..100_000 {
        lab.now.nanoseconds += 1000;
        lab.pass(key_from(n, 7), piece(0, 8));
        if n == 90_000 {
            lab.hold(key_from(1_000_000, 7), 100);
        }
    }
    let followed = lab.tracker.keys.iter().flatten().filter(|key| **key != 0).count();
    assert_eq!(followed, DATAGRAMS, "all room is used, and there is no more");
    assert_eq!(lab.resolve(key_from(99_999, 7), piece(8, 16)), Outcome::Follows(Protocol::Udp, PORTS));
    assert_eq!(lab.resolve(key_from(0, 7), piece(8, 16)), Outcome::Early);
    assert_eq!(lab.tracker.held(), 0, "what gave way takes what it holds along");
    assert_eq!(lab.io.live_frames(), 0);
}

#[test]
fn neighbouring_keys_spread_over_the_buckets() {
    let tracker = Tracker::<PlainFrame>::new(SECRET);
    for patterned in [|n| key_from(n, 7), |n| key(n as u16), |n| key_from(n * 256, 1)] {
        let mut load = vec![0; BUCKETS];
        for n in 0..(DATAGRAMS as u32) {
            load[tracker.bucket(patterned(n))] += 1;
        }
        let fullest = load.iter().max().unwrap();
        assert!(*fullest < 3 * WAYS, "{fullest} in one bucket");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Arrive { id: u16, start: u16, length: u16, is_last: bool, refused: bool },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..5u16, 0..6u16, 1..4u16, any::<bool>(), 0..8u8).prop_map(|(id, start, length, is_last, refused)| {
            Step::Arrive { id, start: start * 8, length: length * 8, is_last, refused: refused == 0 }
        }),
        1 => (0..6000u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Used as the worker does: no frame is lost or leaked, nothing passes twice, and never a later
    /// fragment before its first.
    #[test]
    fn any_order_is_survived(steps in prop::collection::vec(step(), 1..400)) {
        let mut lab = Lab::new();
        let mut passed: Vec<(u16, Piece)> = Vec::new();
        let (mut early, mut given_up, mut released) = (0, 0, 0);
        for step in steps {
            let (id, start, length, is_last, refused) = match step {
                Step::Arrive { id, start, length, is_last, refused } => (id, start, length, is_last, refused),
                Step::Wait(milliseconds) => {
                    given_up += lab.after(milliseconds);
                    continue;
                }
            };
            let piece = Piece { start, end: start + length, is_last };
            match lab.resolve(key(id), piece) {
                Outcome::Begins if refused => given_up += lab.tracker.refuse(key(id), lab.now),
                outcome @ (Outcome::Begins | Outcome::Follows(..)) => {
                    if outcome == Outcome::Begins {
                        passed.retain(|(other, _)| *other != id); // the one before is over
                    }
                    let mut others = passed.iter().filter(|(other, _)| *other == id).map(|(_, old)| old);
                    prop_assert!(others.clone().all(|old| old.end <= piece.start || piece.end <= old.start));
                    prop_assert!(piece.is_first() || others.any(Piece::is_first));
                    given_up += lab.pass(key(id), piece);
                    passed.push((id, piece));
                }
                Outcome::Early => {
                    early += 1;
                    given_up += lab.hold(key(id), 60);
                }
                Outcome::Overlaps => given_up += lab.tracker.refuse(key(id), lab.now),
                Outcome::Refused | Outcome::Repeats => {}
                Outcome::TooManyGaps => prop_assert!(RANGES < 6),
            }
            released += lab.tracker.take_released().map_or(0, |frames| frames.len());
            prop_assert_eq!(early, given_up + released + lab.tracker.held());
            prop_assert_eq!(lab.io.live_frames(), lab.tracker.held());
        }
        lab.after(1001);
        prop_assert_eq!(lab.io.live_frames(), 0);
    }
}
