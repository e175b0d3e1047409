use super::*;
use crate::names::ids::{Protocol, ServiceKey};
use crate::steering::Indirection;

/// Something of a frame's size.
type Small = Box<u32>;

/// Which of two workers owns what does not matter here.
fn owners() -> Arc<OwnerMap> {
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        state
    };
    let table = Indirection::shuffled(64, 2, &mut random).unwrap();
    Arc::new(OwnerMap::random(table, random).unwrap())
}

fn two() -> (Peers<Small>, Peers<Small>) {
    let mut all = mesh(&owners());
    let second = all.remove(1);
    (all.remove(0), second)
}

fn take_all(peers: &mut Peers<Small>, from: usize) -> Vec<(EthPortId, Purpose, u32)> {
    let mut all = Vec::new();
    let mut parcels = usize::MAX;
    let mut burst = ArrayVec::new();
    while let Some((port, purpose)) = peers.take(from, &mut burst, &mut parcels) {
        all.extend(burst.drain(..).map(|frame| (port, purpose, *frame)));
    }
    all
}

#[test]
fn a_parcel_of_mbufs_is_a_cache_line() {
    assert_eq!((size_of::<Parcel<Small>>(), align_of::<Parcel<Small>>()), (64, 64));
}

/// The ring's head and tail are the crate's own, and cannot be looked at: but the ring has room for each of
/// them on a pair of lines of its own, and its slots begin on one.
#[test]
fn a_rings_indices_and_slots_lie_on_lines_of_their_own() {
    let (mut to, from) = RingBuffer::<Parcel<Small>>::new(PARCELS);
    assert!(size_of_val(to.buffer()) >= 3 * 128 && align_of_val(to.buffer()) >= 128);
    to.push(Parcel::default()).unwrap();
    assert_eq!(memory::addresses_of(from.peek().unwrap()).start % 64, 0);
}

#[test]
fn frames_keep_their_order_port_and_purpose() {
    let (mut first, mut second) = two();
    let counters = WorkerCounters::new();
    let mut expected = Vec::new();
    for number in 0..100 {
        let port = EthPortId((number / 9 % 3) as u8);
        let purpose = if number % 5 == 4 { Purpose::ToSend } else { Purpose::Received };
        first.pass(1, purpose, port, Box::new(number), &counters);
        expected.push((port, purpose, number));
    }
    first.flush(&counters);
    assert_eq!(take_all(&mut second, 0), expected);
    assert_eq!((counters.handed_over.get(), counters.sent_by_others.get()), (80, 20));
    assert!(take_all(&mut first, 1).is_empty() && take_all(&mut second, 1).is_empty());
}

#[test]
fn nothing_is_under_way_before_the_flush_unless_the_parcel_is_full() {
    let (mut first, mut second) = two();
    let counters = WorkerCounters::new();
    for number in 0..=FRAMES as u32 {
        first.pass(1, Purpose::Received, EthPortId(0), Box::new(number), &counters);
    }
    assert_eq!(take_all(&mut second, 0).len(), FRAMES);
    first.flush(&counters);
    assert_eq!(take_all(&mut second, 0), [(EthPortId(0), Purpose::Received, FRAMES as u32)]);
}

#[test]
fn a_full_ring_drops_and_counts_and_keeps_what_it_holds() {
    let (mut first, mut second) = two();
    let counters = WorkerCounters::new();
    let holds = (PARCELS * FRAMES) as u32;
    for number in 0..holds + 100 {
        first.pass(1, Purpose::Received, EthPortId(0), Box::new(number), &counters);
    }
    first.flush(&counters);
    assert_eq!(counters.dropped(DropReason::HandOverFull).get(), 100);
    assert_eq!(counters.handed_over.get(), u64::from(holds));
    let taken: Vec<u32> = take_all(&mut second, 0).iter().map(|taken| taken.2).collect();
    assert_eq!(taken, (0..holds).collect::<Vec<_>>());
}

#[test]
fn what_is_taken_at_once_is_bounded_and_leaves_the_rest() {
    let (mut first, mut second) = two();
    let counters = WorkerCounters::new();
    for number in 0..10 * FRAMES as u32 {
        first.pass(1, Purpose::Received, EthPortId(0), Box::new(number), &counters);
    }
    first.flush(&counters);
    let (mut burst, mut parcels) = (ArrayVec::new(), 3);
    assert!(second.take(0, &mut burst, &mut parcels).is_some());
    assert_eq!((burst.len(), parcels), (3 * FRAMES, 0));
    assert!(second.take(0, &mut ArrayVec::new(), &mut parcels).is_none());
    assert_eq!(take_all(&mut second, 0).len(), 7 * FRAMES);
}

#[test]
fn two_threads_lose_and_reorder_nothing() {
    const COUNT: u32 = 200_000;
    let (mut first, mut second) = two();
    let giver = std::thread::spawn(move || {
        let counters = WorkerCounters::new();
        let mut given = 0;
        while given < COUNT {
            for _ in 0..32.min(COUNT - given) {
                first.pass(1, Purpose::Received, EthPortId(0), Box::new(given), &counters);
                given += 1;
            }
            first.flush(&counters);
            std::thread::yield_now();
        }
        counters.dropped(DropReason::HandOverFull).get()
    });
    let (mut taken, mut last) = (0u64, None);
    loop {
        let ended = giver.is_finished();
        let frames = take_all(&mut second, 0);
        for (_, _, number) in &frames {
            assert!(last.is_none_or(|last| last < *number), "{number} after {last:?}");
            last = Some(*number);
        }
        taken += frames.len() as u64;
        if ended && frames.is_empty() {
            break;
        }
        std::thread::yield_now();
    }
    assert_eq!(taken + giver.join().unwrap(), u64::from(COUNT));
}

#[test]
fn frames_under_way_are_dropped_with_the_rings() {
    let counted = Arc::new(());
    let mut all = mesh(&owners());
    let counters = WorkerCounters::new();
    all[0].pass(1, Purpose::Received, EthPortId(0), Arc::clone(&counted), &counters);
    all[0].flush(&counters);
    all[0].pass(1, Purpose::Received, EthPortId(0), Arc::clone(&counted), &counters);
    assert_eq!(Arc::strong_count(&counted), 3);
    drop(all);
    assert_eq!(Arc::strong_count(&counted), 1);
}

fn answer(number: u32) -> Answer {
    Answer { real: crate::names::ids::RealId(number), template: None }
}

/// What is given back with answers, between frames of other purposes; and what is too much for the rings.
#[test]
fn each_frame_given_back_has_its_answer_whatever_was_dropped() {
    let (mut first, mut second) = two();
    let counters = WorkerCounters::new();
    let mut random = 1u64;
    let mut next = || {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        random >> 33
    };
    let (mut given, mut taken, mut questions) = (0, 0, 0);
    for number in 0..40_000u32 {
        let port = EthPortId((next() % 2) as u8);
        if next() % 3 == 0 {
            first.pass(1, Purpose::Question, port, Box::new(number), &counters);
            questions += 1;
        } else {
            first.give_back(1, port, Box::new(number), answer(number), &counters);
            given += 1;
        }
        // Now and then everything, for long nothing: the rings are full then.
        if next() % 6000 == 0 || number == 39_999 {
            first.flush(&counters);
            for (_, purpose, frame) in take_all(&mut second, 0) {
                if purpose == Purpose::Answer {
                    assert_eq!(second.answer_from(0), Some(answer(frame)));
                    taken += 1;
                }
            }
            assert_eq!(second.answer_from(0), None);
        }
    }
    let (asked, answered) = (counters.templates_asked.get(), counters.templates_answered.get());
    assert_eq!(answered, taken);
    let dropped = counters.dropped(DropReason::HandOverFull).get();
    assert_eq!(asked + answered + dropped, given + questions);
    assert!(dropped > 1000 && taken > 1000, "{dropped} dropped, {taken} taken");
    assert_eq!(counters.handed_over.get(), 0);
}

#[test]
fn notes_come_in_order_and_whoever_finds_no_room_hears_so() {
    let (mut first, mut second) = two();
    let note = |what| Note::Happened { template: crate::persistence::TemplateId::default(), what };
    let (made, over) = (note(crate::persistence::Happened::Made), note(crate::persistence::Happened::Over));
    for _ in 0..3 {
        assert!(first.tell(1, made));
        assert!((1..NOTES).all(|_| first.tell(1, over)) && !first.tell(1, made));
        assert_eq!(second.note_from(0), Some(made));
        assert_eq!(
            std::iter::from_fn(|| second.note_from(0)).filter(|note| *note == over).count(),
            NOTES - 1
        );
    }
    assert!(!first.tell(0, made) && first.note_from(1).is_none(), "nothing to itself");
}

/// Of an IPv6 client every bit of the address counts, also for where its template is.
#[test]
fn templates_of_ipv6_clients_are_shared_out() {
    let (peers, _other) = two();
    let service = ServiceKey::new(Protocol::Tcp, "[fd00:10::100]:80".parse().unwrap());
    let owner = |address: u128| {
        peers.template_owner(&Who { client: std::net::Ipv6Addr::from_bits(address).into(), service })
    };
    let client = 0x2001_0db8_0000_0000_0123_4567_89ab_cdef;
    let moved = (0..128).filter(|bit| owner(client ^ 1 << bit) != owner(client)).count();
    assert!((32..96).contains(&moved), "{moved} of 128");
    // Clients whose words add up alike, too.
    let of_first = (0..1_000).filter(|n| owner(client ^ n ^ n << 32) == 0).count();
    assert!((250..750).contains(&of_first), "{of_first} of 1,000");
}
