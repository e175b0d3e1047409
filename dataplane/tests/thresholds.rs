//! Reals that may have so many connections and no more.

mod support;

use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{RealId, RealKey};
use dataplane::names::time::Now;
use dataplane::snapshot::{Steering, Thresholds};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use support::cluster::Cluster;
use support::packet::{ACK, Packet, RST, SYN, read};
use support::*;

fn key(real: Ipv4Addr) -> RealKey {
    RealKey { service: tcp_service(at(VIP, 80)), endpoint: SocketAddr::V4(at(real, 80)) }
}

/// VIP:80 over these reals; the first has thresholds, and so may the second.
fn configure(lab: &mut Lab, reals: &[Ipv4Addr], thresholds: &[(u32, u32)]) {
    let thresholds = reals.iter().zip(thresholds);
    lab.thresholds = thresholds
        .map(|(real, (upper, lower))| (key(*real), Thresholds { upper: *upper, lower: *lower }))
        .collect();
    let reals = reals.iter().map(|real| (at(*real, 80), 1)).collect();
    lab.configure(&[Configured { key: tcp_service(at(VIP, 80)), reals }]);
}

fn packet(client: u16, flags: u8) -> Vec<u8> {
    Packet::tcp(at(CLIENT, client), at(VIP, 80), flags).macs(CLIENT_MAC, VIP_MAC).frame()
}

/// Opens a connection; the real's address, or `None` if ICMP says that there is none.
fn open(lab: &mut Lab, client: u16) -> Option<Ipv4Addr> {
    let refused = lab.dropped(DropReason::NoReal);
    let sent = lab.arrive(VIP0, &packet(client, SYN));
    assert_eq!(sent.len(), 1);
    let seen = read(&sent[0].bytes);
    if seen.protocol == 1 {
        assert_eq!((&seen.payload[..2], sent[0].port), (&[3, 3][..], VIP0));
        assert_eq!(lab.dropped(DropReason::NoReal), refused + 1);
        return None;
    }
    // So that it lives for longer than the tests take.
    assert_eq!(lab.arrive(VIP0, &packet(client, ACK)).len(), 1);
    Some(*seen.destination.ip())
}

/// Ends connections: each is reset, and gone after ten seconds.
fn end(lab: &mut Lab, clients: impl IntoIterator<Item = u16>) {
    clients.into_iter().for_each(|client| drop(lab.arrive(VIP0, &packet(client, RST))));
    lab.leap(10);
}

fn held(lab: &mut Lab, real: Ipv4Addr) -> (u32, bool) {
    let id = lab.real_id(key(real));
    (lab.control.reals.limited_connections(id), lab.control.reals.flags(id).overloaded)
}

#[test]
fn without_a_lower_threshold_a_real_opens_again_below_three_quarters() {
    let mut lab = Lab::new();
    configure(&mut lab, &[RS1], &[(4, 0)]);
    let opened: Vec<_> = (1..7).map(|client| open(&mut lab, client).is_some()).collect();
    assert_eq!(opened, [true, true, true, true, false, false]);
    assert_eq!(held(&mut lab, RS1), (4, true));
    end(&mut lab, [1]);
    assert_eq!((held(&mut lab, RS1), open(&mut lab, 8)), ((3, true), None), "three are three quarters");
    end(&mut lab, [2]);
    assert_eq!((held(&mut lab, RS1), open(&mut lab, 9)), ((2, false), Some(RS1)));
    assert_eq!((open(&mut lab, 10), open(&mut lab, 11)), (Some(RS1), None));
    // One that is closing still counts, and what was there goes on.
    lab.arrive(VIP0, &packet(10, RST));
    assert_eq!((held(&mut lab, RS1), open(&mut lab, 12)), ((4, true), None));
    assert_eq!(lab.arrive(VIP0, &packet(9, ACK))[0].port, DIP0);
}

#[test]
fn with_a_lower_threshold_it_opens_again_below_that() {
    let mut lab = Lab::new();
    configure(&mut lab, &[RS1], &[(4, 2)]);
    assert_eq!((1..6).filter(|client| open(&mut lab, *client).is_some()).count(), 4);
    end(&mut lab, [1, 2]);
    assert_eq!((held(&mut lab, RS1), open(&mut lab, 8)), ((2, true), None));
    end(&mut lab, [3]);
    assert_eq!((held(&mut lab, RS1), open(&mut lab, 9)), ((1, false), Some(RS1)));
}

/// As `__ip_vs_update_dest` does it.
#[test]
fn a_higher_upper_threshold_or_none_opens_and_a_lower_one_closes_with_the_next_connection() {
    let mut lab = Lab::new();
    configure(&mut lab, &[RS1], &[(2, 0)]);
    assert_eq!((1..9).filter(|client| open(&mut lab, *client).is_some()).count(), 2);
    configure(&mut lab, &[RS1], &[(2, 1)]);
    assert_eq!(open(&mut lab, 10), None, "not raised");
    configure(&mut lab, &[RS1], &[(3, 1)]);
    assert_eq!((open(&mut lab, 11), open(&mut lab, 12)), (Some(RS1), None));
    configure(&mut lab, &[RS1], &[(0, 0)]);
    assert_eq!((1013..1033).filter(|client| open(&mut lab, *client).is_some()).count(), 20);
    configure(&mut lab, &[RS1], &[(5, 0)]);
    assert_eq!(held(&mut lab, RS1), (23, false), "those that were there before count");
    assert_eq!((open(&mut lab, 40), open(&mut lab, 41)), (Some(RS1), None), "one more, as in the kernel");
    assert_eq!(held(&mut lab, RS1), (24, true));
}

#[test]
fn others_get_what_a_closed_real_does_not() {
    let mut lab = Lab::new();
    configure(&mut lab, &[RS1, RS2], &[(2, 0), (3, 0)]);
    let opened: Vec<_> = (1..8).map(|client| open(&mut lab, client)).collect();
    assert_eq!(opened, [Some(RS2), Some(RS1), Some(RS2), Some(RS1), Some(RS2), None, None]);
    assert_eq!((held(&mut lab, RS1), held(&mut lab, RS2)), ((2, true), (3, true)));
}

#[test]
fn what_finds_no_room_takes_no_place() {
    let mut lab = Lab::with_capacity(16);
    configure(&mut lab, &[RS1], &[(100, 0)]);
    for client in 1..20 {
        let sent = lab.arrive(VIP0, &packet(client, SYN));
        if sent.is_empty() {
            continue;
        }
        lab.arrive(VIP0, &packet(client, ACK));
        let reply = Packet::tcp(at(RS1, 80), at(CLIENT, client), ACK).macs(RS1_MAC, DIP_MAC).frame();
        lab.arrive(DIP0, &reply);
    }
    assert_eq!((lab.dropped(DropReason::TableFull), lab.worker.connections()), (3, 16));
    assert_eq!(held(&mut lab, RS1), (16, false));
}

#[test]
fn a_removed_real_that_comes_back_counts_what_it_has() {
    let mut lab = Lab::new();
    configure(&mut lab, &[RS1, RS2], &[(2, 0)]);
    let clients: Vec<_> = (1..5).filter(|client| open(&mut lab, *client) == Some(RS1)).collect();
    assert_eq!(clients.len(), 2);
    lab.configure(&[Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(RS2, 80), 1)] }]);
    configure(&mut lab, &[RS2, RS1], &[(0, 0), (2, 0)]);
    assert_eq!(held(&mut lab, RS1), (2, true));
    end(&mut lab, clients);
    assert_eq!(held(&mut lab, RS1), (0, false));
}

#[derive(Clone, Debug)]
enum Step {
    Open,
    Reset(usize),
    Pass,
    Limit(u32, u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => Just(Step::Open),
        4 => any::<usize>().prop_map(Step::Reset),
        1 => Just(Step::Pass),
        1 => (0..6u32, 0..6u32).prop_map(|(upper, lower)| Step::Limit(upper, lower.min(upper))),
    ];
    proptest::collection::vec(step, 1..50)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Connections are opened, reset, and gone ten seconds after that; the model is the description's.
    #[test]
    fn a_real_takes_what_the_kernel_would_give_it(steps in steps()) {
        let mut lab = Lab::new();
        let (mut upper, mut lower, mut overloaded) = (3, 0, false);
        configure(&mut lab, &[RS1], &[(upper, lower)]);
        let (mut open_now, mut closing, mut next) = (Vec::new(), 0, 1000);
        for step in steps {
            match step {
                Step::Open => {
                    next += 1;
                    prop_assert_eq!(open(&mut lab, next).is_some(), !overloaded);
                    if !overloaded {
                        open_now.push(next);
                        overloaded = upper != 0 && open_now.len() as u32 + closing >= upper;
                    }
                }
                Step::Reset(_) if open_now.is_empty() => {}
                Step::Reset(index) => {
                    let client = open_now.swap_remove(index % open_now.len());
                    lab.arrive(VIP0, &packet(client, RST));
                    closing += 1;
                }
                Step::Pass => {
                    lab.leap(10);
                    // Looked at once, not after each: what counts only becomes less.
                    closing = 0;
                    let total = open_now.len() as u32;
                    let reopens = if lower != 0 { total < lower } else { upper == 0 || 4 * total < 3 * upper };
                    overloaded &= !reopens;
                }
                Step::Limit(now_upper, now_lower) => {
                    overloaded &= now_upper != 0 && now_upper <= upper;
                    (upper, lower) = (now_upper, now_lower);
                    configure(&mut lab, &[RS1], &[(upper, lower)]);
                }
            }
        }
    }
}

/// Eight clients on two workers, each of which opens and resets connections as it likes, in any order.
#[test]
fn eight_openers_on_two_workers_never_come_above_the_threshold() {
    const UPPER: u32 = 5;
    let mut lab = Lab::new();
    configure(&mut lab, &[RS1], &[(UPPER, 0)]);
    let mut cluster = Cluster::new(&lab, 2, Steering::Software);
    let id: RealId = lab.real_id(key(RS1));
    let mut state = 1u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) % below
    };
    let total = |cluster: &Cluster| -> u64 {
        cluster.controls.iter().map(|control| control.counters.real(id).total.get()).sum()
    };
    let (mut most, mut refused) = (0, 0);
    for round in 0..400 {
        for _ in 0..8 {
            let client = 1000 + random(64) as u16;
            let flags = if random(3) == 0 { RST } else { SYN };
            let worker = cluster.owner(at(CLIENT, client));
            cluster.workers[worker].io().arrive(VIP0, &packet(client, flags));
        }
        // In one order or the other, so that both have some in hand at once.
        let first = random(2) as usize;
        for worker in [first, 1 - first] {
            cluster.turn_one(worker);
        }
        most = most.max(total(&cluster));
        assert!(total(&cluster) <= u64::from(UPPER), "round {round}");
        let known = lab.control.reals.limited_connections(id);
        assert_eq!(u64::from(known), total(&cluster), "round {round}");
        if round % 20 == 19 {
            cluster.leap(11);
        }
        refused =
            (0..2).map(|worker| cluster.controls[worker].counters.dropped(DropReason::NoReal).get()).sum();
    }
    assert_eq!(most, u64::from(UPPER), "it is used to the full");
    assert!(refused > 100, "{refused}");
}

/// Clients of two workers that run at the same time, each in a thread, and a real that they all want.
struct Openers {
    lab: Lab,
    cluster: Cluster,
    real: RealId,
    upper: u32,
    /// Ports of those that have a connection.
    connected: BTreeSet<u16>,
    /// The last port that was tried.
    last: u16,
}

impl Openers {
    /// Clients that open connections at once.
    const MANY: usize = 8;

    fn new(upper: u32, lower: u32) -> Self {
        let mut lab = Lab::new();
        configure(&mut lab, &[RS1], &[(upper, lower)]);
        let cluster = Cluster::new(&lab, 2, Steering::Software);
        let real = lab.real_id(key(RS1));
        Self { lab, cluster, real, upper, connected: BTreeSet::new(), last: 1000 }
    }

    fn limit(&mut self, upper: u32, lower: u32) {
        configure(&mut self.lab, &[RS1], &[(upper, lower)]);
        self.cluster.adopt(&self.lab, Steering::Software);
        self.upper = upper;
    }

    /// A turn of both workers at the same time; the ports of clients whose packets reached the real.
    fn turn(&mut self) -> Vec<u16> {
        self.cluster.skip(1000);
        let now = Now { nanoseconds: self.cluster.now() };
        let ready = AtomicUsize::new(0);
        thread::scope(|scope| {
            for worker in &mut self.cluster.workers {
                scope.spawn(|| {
                    // Not a barrier that sleeps: the other's turn would be over before this one's begins.
                    ready.fetch_add(1, Ordering::SeqCst);
                    for waited in 0.. {
                        match ready.load(Ordering::SeqCst) {
                            2 => break,
                            _ if waited % 1024 == 1023 => thread::yield_now(),
                            _ => std::hint::spin_loop(),
                        }
                    }
                    worker.turn(now);
                });
            }
        });
        let sent = self.cluster.workers.iter_mut().flat_map(|worker| worker.io().take_sent(DIP0));
        sent.map(|bytes| read(&bytes).source.port()).collect()
    }

    /// Each client sends a SYN, half of them to the worker that they do not belong to, and an ACK if it got one; how
    /// many got a connection.
    fn open(&mut self) -> usize {
        let clients: Vec<_> = (1..).map(|step| self.last + step).take(Self::MANY).collect();
        self.last += Self::MANY as u16;
        for (index, client) in clients.iter().enumerate() {
            let owner = self.cluster.owner(at(CLIENT, *client));
            self.cluster.arrive(owner ^ index & 1, VIP0, &packet(*client, SYN));
        }
        let opened: Vec<_> = (0..4).flat_map(|_| self.turn()).collect();
        for client in &opened {
            let owner = self.cluster.owner(at(CLIENT, *client));
            self.cluster.arrive(owner, VIP0, &packet(*client, ACK));
        }
        (0..2).for_each(|_| drop(self.turn()));
        self.connected.extend(&opened);
        let total = self.cluster.sum(|counters| counters.real(self.real).total.get()) as usize;
        assert_eq!(total, self.connected.len(), "{clients:?}");
        // Without a threshold they are not counted together.
        let known = self.lab.control.reals.limited_connections(self.real) as usize;
        assert_eq!(known, if self.upper == 0 { 0 } else { total }, "{clients:?}");
        opened.len()
    }

    /// So many connections are reset, and gone.
    fn end(&mut self, count: usize) {
        for client in self.connected.iter().copied().take(count).collect::<Vec<_>>() {
            let owner = self.cluster.owner(at(CLIENT, client));
            self.cluster.arrive(owner, VIP0, &packet(client, RST));
            self.connected.remove(&client);
        }
        self.turn();
        self.cluster.leap(10);
    }
}

#[test]
fn eight_at_once_find_a_full_real_open_when_the_kernel_would_open_it() {
    // Thresholds, and how many get a connection after so many have ended: of four three are too many, two are not.
    for (upper, lower, ended) in [
        (4, 0, [(1, 0), (1, 2), (4, 4)]),
        (4, 2, [(1, 0), (1, 0), (1, 3)]),
        (4, 4, [(1, 1), (1, 1), (4, 4)]),
        (7, 0, [(1, 0), (1, 2), (7, 7)]),
        (1, 0, [(1, 1), (1, 1), (1, 1)]),
    ] {
        let mut openers = Openers::new(upper, lower);
        assert_eq!((openers.open(), openers.open()), (upper as usize, 0), "-x {upper} -y {lower}");
        for (ended, opened) in ended {
            openers.end(ended);
            assert_eq!(openers.open(), opened, "-x {upper} -y {lower}, {ended} less");
            assert_eq!(openers.open(), 0, "-x {upper} -y {lower}, {ended} less");
        }
    }
}

#[test]
fn eight_at_once_get_what_is_left_whatever_ends_and_is_edited_meanwhile() {
    let mut state = 3u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        ((state >> 33) % below) as usize
    };
    let (mut upper, mut lower, mut is_closed) = (5usize, 0, false);
    let mut openers = Openers::new(upper as u32, lower as u32);
    for round in 0..300 {
        let has = openers.connected.len();
        let room = match upper {
            0 => Openers::MANY,
            // Closed by the first that comes where there are more than it may have.
            _ => upper.saturating_sub(has).clamp(1, Openers::MANY),
        };
        let expected = if is_closed { 0 } else { room };
        assert_eq!(openers.open(), expected, "round {round}: -x {upper} -y {lower} with {has}");
        is_closed |= expected > 0 && upper != 0 && has + expected >= upper;
        let ended = random(4).min(openers.connected.len());
        if ended > 0 {
            openers.end(ended);
            let total = openers.connected.len();
            is_closed &= !match (upper, lower) {
                (0, _) => true,
                (upper, 0) => total < upper - upper / 4,
                (_, lower) => total < lower,
            };
        }
        if random(8) == 0 || openers.connected.len() > 40 {
            openers.end(openers.connected.len());
            is_closed = false;
        }
        if random(6) == 0 {
            let before = upper;
            (upper, lower) = (random(12), random(12));
            lower = lower.min(upper);
            openers.limit(upper as u32, lower as u32);
            is_closed &= upper != 0 && upper <= before;
        }
    }
}

over_ipv6! {
    without_a_lower_threshold_a_real_opens_again_below_three_quarters,
    with_a_lower_threshold_it_opens_again_below_that,
    a_higher_upper_threshold_or_none_opens_and_a_lower_one_closes_with_the_next_connection,
    others_get_what_a_closed_real_does_not,
    what_finds_no_room_takes_no_place,
    a_removed_real_that_comes_back_counts_what_it_has,
}
