//! Frames that one worker hands to another: bounded single-producer single-consumer rings between
//! each pair of workers.
//!
//! ```text
//! worker 0  pass ─► open parcel ─► ring 0→1 ─► take ─► worker 1
//!           take ◄───────────────── ring 1→0 ◄─ open parcel ◄─ pass
//! ```
//!
//! What crosses is a `Parcel`: a cache line with up to [`FRAMES`] frames of one `EthPort`. A ring keeps
//! their order, and all that one worker passes to another goes the same way, so that no frame
//! overtakes another. Each line that changes has one writer: a parcel's and a ring's head and tail.
//!
//! Beside the frames there are two rings more between each pair: of the [`Answer`]s to frames that opened a connection
//! of a persistent service, one for each frame given back and in their order, and of [`Note`]s without frames.

use crate::counters::WorkerCounters;
use crate::fragments::Ports;
use crate::frame::BURST;
use crate::names::drop_reason::DropReason;
use crate::names::family::endpoint_bits;
use crate::names::ids::{EthPortId, MAX_ETH_PORTS, Protocol};
use crate::persistence::{Answer, Note, Who};
use crate::steering::OwnerMap;
use arrayvec::ArrayVec;
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use std::net::{IpAddr, SocketAddr};
#[cfg(feature = "testing")]
use std::ops::Range;
use std::sync::Arc;

/// Frames in a parcel: with eight-byte frames it is one cache line.
pub const FRAMES: usize = 7;
/// Parcels that a ring holds.
pub const PARCELS: usize = 512;
/// Answers that a ring holds: frames given back with one, until the other worker takes them.
pub const ANSWERS: usize = 1024;
/// Notes that a ring holds. Who finds no room tries again later.
pub const NOTES: usize = 1024;

/// Why frames are handed to another worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// They were received on a port, and their connection is the other's.
    Received,
    /// They are fragments of a datagram of this protocol with these ports, which their worker has found, and their
    /// connection is the other's.
    Fragment(Protocol, Ports),
    /// They open connections of persistent services that are the giver's, and the other has the clients' templates.
    Question,
    /// They are given back with an [`Answer`] each.
    Answer,
    /// They are to be sent on a port on which the giver has no transmit queue.
    ToSend,
}

/// Frames of one port under way: aligned, so that nothing else lies in its cache line.
#[derive(Debug)]
#[repr(C, align(64))]
struct Parcel<F> {
    /// The first `count` are there.
    frames: [Option<F>; FRAMES],
    purpose: Purpose,
    count: u8,
    port: EthPortId,
}

impl<F> Default for Parcel<F> {
    fn default() -> Self {
        Self { frames: [const { None }; FRAMES], purpose: Purpose::Received, count: 0, port: EthPortId(0) }
    }
}

/// One worker's ends of all its rings.
#[derive(Debug)]
pub struct Peers<F> {
    own: usize,
    owners: Arc<OwnerMap>,
    /// By worker; `None` in its own place.
    lanes: Box<[Option<Lane<F>>]>,
    /// By port: the worker that sends for this one.
    senders: [u8; MAX_ETH_PORTS],
}

/// Both ways between this worker and another.
#[derive(Debug)]
#[repr(align(64))]
struct Lane<F> {
    open: Parcel<F>,
    to: Producer<Parcel<F>>,
    from: Consumer<Parcel<F>>,
    beside: Beside,
}

/// What goes beside the frames.
#[derive(Debug)]
struct Beside {
    /// To the frames of the open parcel, if these are given back.
    open: ArrayVec<Answer, FRAMES>,
    answers_to: Producer<Answer>,
    answers_from: Consumer<Answer>,
    notes_to: Producer<Note>,
    notes_from: Consumer<Note>,
}

impl Beside {
    /// Both ends, of two workers.
    fn pair() -> [Self; 2] {
        let (up, up_end) = (RingBuffer::new(ANSWERS), RingBuffer::new(NOTES));
        let (down, down_end) = (RingBuffer::new(ANSWERS), RingBuffer::new(NOTES));
        let low = Self {
            open: ArrayVec::new(),
            answers_to: up.0,
            answers_from: down.1,
            notes_to: up_end.0,
            notes_from: down_end.1,
        };
        let high = Self {
            open: ArrayVec::new(),
            answers_to: down.0,
            answers_from: up.1,
            notes_to: down_end.0,
            notes_from: up_end.1,
        };
        [low, high]
    }
}

/// The ends of every worker of an owner map, worker 0's first. Each sends on every port by itself.
pub fn mesh<F>(owners: &Arc<OwnerMap>) -> Vec<Peers<F>> {
    let workers = owners.workers();
    let alone = |own| Peers {
        own,
        owners: Arc::clone(owners),
        lanes: (0..workers).map(|_| None).collect(),
        senders: [own as u8; MAX_ETH_PORTS],
    };
    let mut all: Vec<Peers<F>> = (0..workers).map(alone).collect();
    for low in 0..workers {
        for high in low + 1..workers {
            let (up_to, up_from) = RingBuffer::new(PARCELS);
            let (down_to, down_from) = RingBuffer::new(PARCELS);
            let [up, down] = Beside::pair();
            all[low].lanes[high] =
                Some(Lane { open: Parcel::default(), to: up_to, from: down_from, beside: up });
            all[high].lanes[low] =
                Some(Lane { open: Parcel::default(), to: down_to, from: up_from, beside: down });
        }
    }
    all
}

impl<F> Peers<F> {
    /// Of the only worker.
    pub fn none() -> Self {
        mesh(&Arc::new(OwnerMap::single())).remove(0)
    }

    /// This worker.
    pub const fn own(&self) -> usize {
        self.own
    }

    /// Whether there are no others.
    #[inline(always)]
    pub const fn is_alone(&self) -> bool {
        self.lanes.len() < 2
    }

    /// The addresses of what is written when frames are handed over: open parcels and the ends of the
    /// rings with their copies of the indices.
    #[cfg(feature = "testing")]
    pub(crate) fn footprint(&self) -> Range<usize> {
        memory::addresses_of(&*self.lanes)
    }

    /// Workers in all.
    pub const fn workers(&self) -> usize {
        self.lanes.len()
    }

    /// The worker that owns the connections of an IPv4 client endpoint, given as 48 bits in the order of the
    /// wire.
    #[inline(always)]
    pub fn owner(&self, client_bits: u64) -> usize {
        self.owners.owner(client_bits)
    }

    /// The worker that owns the connections of an IPv6 client: its address and its port, each in the order of the wire,
    /// the first byte lowest.
    #[inline(always)]
    pub fn owner_v6(&self, address: u128, port: u16) -> usize {
        self.owners.owner_v6(address, port)
    }

    /// The worker that owns the connections of a client.
    pub fn owner_of(&self, client: SocketAddr) -> usize {
        match client {
            SocketAddr::V4(client) => self.owner(endpoint_bits(client)),
            SocketAddr::V6(client) => {
                let port = u16::from_le_bytes(client.port().to_be_bytes());
                self.owner_v6(u128::from_le_bytes(client.ip().octets()), port)
            }
        }
    }

    /// The worker that has a persistent client's template. It is found as the owner of a connection is; in the place of
    /// the port are bits that differ from service to service.
    pub fn template_owner(&self, who: &Who) -> usize {
        match who.client {
            IpAddr::V4(_) => self.owner(who.bits()),
            // In so long an address somebody could hide what the bits have in common: all of it counts.
            IpAddr::V6(client) => self.owner_v6(u128::from_le_bytes(client.octets()), who.bits() as u16),
        }
    }

    /// Has `worker` send for this one on `port`.
    ///
    /// # Panics
    /// If there is no such worker or port.
    pub fn send_through(&mut self, port: EthPortId, worker: usize) {
        assert!(worker < self.workers(), "no worker {worker}");
        self.senders[port.index()] = worker as u8;
    }

    /// The worker that sends for this one on `port`, unless it does so itself.
    #[inline(always)]
    pub fn sender(&self, port: EthPortId) -> Option<usize> {
        let sender = usize::from(self.senders[port.index() % MAX_ETH_PORTS]);
        (sender != self.own).then_some(sender)
    }

    /// Hands a frame to another worker. It is on its way when its parcel is full, when one for another
    /// port or purpose follows, or at [`flush`](Self::flush). Where the ring is full it is dropped.
    #[inline]
    pub fn pass(
        &mut self,
        worker: usize,
        purpose: Purpose,
        port: EthPortId,
        frame: F,
        counters: &WorkerCounters,
    ) {
        let Some(lane) = self.lanes.get_mut(worker).and_then(Option::as_mut) else { return };
        lane.add(purpose, port, frame, counters);
    }

    /// Gives a frame back that was handed over as a [`Purpose::Question`].
    pub fn give_back(
        &mut self,
        worker: usize,
        port: EthPortId,
        frame: F,
        answer: Answer,
        counters: &WorkerCounters,
    ) {
        let Some(lane) = self.lanes.get_mut(worker).and_then(Option::as_mut) else { return };
        lane.add(Purpose::Answer, port, frame, counters);
        lane.beside.open.push(answer);
    }

    /// The answer to the next frame that `worker` has given back: to be called once for each one [taken](Self::take).
    pub fn answer_from(&mut self, worker: usize) -> Option<Answer> {
        self.lanes.get_mut(worker)?.as_mut()?.beside.answers_from.pop().ok()
    }

    /// Tells another worker something. False: there is no room now.
    pub fn tell(&mut self, worker: usize, note: Note) -> bool {
        let lane = self.lanes.get_mut(worker).and_then(Option::as_mut);
        lane.is_some_and(|lane| lane.beside.notes_to.push(note).is_ok())
    }

    /// The next note of `worker`.
    pub fn note_from(&mut self, worker: usize) -> Option<Note> {
        self.lanes.get_mut(worker)?.as_mut()?.beside.notes_from.pop().ok()
    }

    /// Sends every open parcel on its way.
    pub fn flush(&mut self, counters: &WorkerCounters) {
        for lane in self.lanes.iter_mut().flatten() {
            lane.close(counters);
        }
    }

    /// Appends frames that `worker` has handed over, all of one port and purpose, as long as whole
    /// parcels fit, and takes what it took off `parcels`. `None`: there are none.
    pub fn take(
        &mut self,
        worker: usize,
        into: &mut ArrayVec<F, BURST>,
        parcels: &mut usize,
    ) -> Option<(EthPortId, Purpose)> {
        let lane = self.lanes.get_mut(worker)?.as_mut()?;
        let mut kind = None;
        while *parcels > 0 && into.remaining_capacity() >= FRAMES {
            let Ok(next) = lane.from.peek() else { break };
            let this = (next.port, next.purpose);
            if *kind.get_or_insert(this) != this {
                break;
            }
            let Ok(parcel) = lane.from.pop() else { break };
            into.extend(parcel.frames.into_iter().flatten());
            *parcels -= 1;
        }
        kind
    }
}

impl<F> Lane<F> {
    #[inline(always)]
    fn add(&mut self, purpose: Purpose, port: EthPortId, frame: F, counters: &WorkerCounters) {
        let fits = usize::from(self.open.count) < FRAMES;
        let alike = (self.open.port, self.open.purpose) == (port, purpose);
        if !(fits && alike) {
            self.close(counters);
            (self.open.port, self.open.purpose) = (port, purpose);
        }
        self.open.frames[usize::from(self.open.count)] = Some(frame);
        self.open.count += 1;
    }

    fn close(&mut self, counters: &WorkerCounters) {
        let count = u64::from(self.open.count);
        if count == 0 {
            return;
        }
        let parcel = std::mem::take(&mut self.open);
        let counter = match parcel.purpose {
            Purpose::Received | Purpose::Fragment(..) => &counters.handed_over,
            Purpose::ToSend => &counters.sent_by_others,
            Purpose::Question => &counters.templates_asked,
            Purpose::Answer if self.send_answers() => &counters.templates_answered,
            Purpose::Answer => return counters.dropped(DropReason::HandOverFull).add(count),
        };
        match self.to.push(parcel) {
            Ok(()) => counter.add(count),
            Err(PushError::Full(_)) => counters.dropped(DropReason::HandOverFull).add(count),
        }
    }

    /// Sends the answers to the frames of a parcel, if there is room for all of them and for the parcel: the answers
    /// that are on their way belong to the frames that are. False: they are dropped.
    fn send_answers(&mut self) -> bool {
        let Beside { open, answers_to, .. } = &mut self.beside;
        let fits = !self.to.is_full() && answers_to.slots() >= open.len();
        for answer in open.drain(..).filter(|_| fits) {
            // There is room for it: nobody else puts anything in.
            let _ = answers_to.push(answer);
        }
        fits
    }
}

#[cfg(test)]
mod tests;
