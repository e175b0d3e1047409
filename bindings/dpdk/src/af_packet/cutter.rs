//! Cutting what is longer than an interface's MTU.

use arrayvec::ArrayVec;
use dataplane::frame::{BURST, Frame};
use dataplane::wire::ethernet;
use dataplane::wire::fragmentation::{Cut, Plan};
use dataplane::wire::ipv4::Packet;
use std::collections::VecDeque;

/// Room for the longest IPv4 packet and what is in front of it.
const ROOM: usize = 65_536 + 64;
/// Bytes in front of a packet, at most: with two VLAN tags.
const LONGEST_LINK: usize = ethernet::HEADER + 8;
/// Bytes that are compared to find the copy that a beginning is of: IPv4 header and payload, or IPv6's header and some.
const COMPARED: usize = 64;
/// The fixed header of IPv6 (RFC 8200 §3), where the length of the rest is in it, and its version.
const IPV6: usize = 40;
/// A copy that this number of beginnings did not claim is of a frame that was never received.
const UNCLAIMED: usize = 64;

/// Whole frames of which a beginning has come, oldest first.
pub(crate) trait Copies {
    /// The next one, and its length; `None` if there is none.
    fn next(&mut self, into: &mut [u8]) -> Option<usize>;
}

/// Passes frames on, and cuts those that are longer than the MTU. Order is kept.
#[derive(Debug)]
pub(crate) struct Cutter<F, C> {
    copies: C,
    mtu: u16,
    /// Received, and not looked at yet: behind one that is being cut.
    later: VecDeque<F>,
    /// The one that is being cut: from its IPv4 header on.
    packet: Box<[u8]>,
    length: usize,
    /// A copy that was read and is still to be claimed, if it has a length.
    copy: Box<[u8]>,
    copied: usize,
    /// Beginnings in a row that were not this copy's.
    unclaimed: usize,
    /// What was in front of it.
    link: ArrayVec<u8, LONGEST_LINK>,
    plan: Option<Plan>,
    /// The fragment that comes next.
    next: usize,
}

/// What is longer than the MTU.
struct Large {
    /// Where the packet begins in the frame.
    start: usize,
    /// How long it is.
    length: usize,
    may_be_cut: bool,
}

impl<F: Frame, C: Copies> Cutter<F, C> {
    /// For an interface with this MTU.
    pub(crate) fn new(copies: C, mtu: u16) -> Self {
        Self {
            copies,
            mtu,
            later: VecDeque::with_capacity(BURST),
            packet: vec![0; ROOM].into(),
            length: 0,
            copy: vec![0; ROOM].into(),
            copied: 0,
            unclaimed: 0,
            link: ArrayVec::new(),
            plan: None,
            next: 0,
        }
    }

    /// Whether it has something to pass on before anything else may be received.
    pub(crate) fn is_busy(&self) -> bool {
        self.plan.is_some() || !self.later.is_empty()
    }

    /// Takes over the frames of `received` from the first on that is longer than the MTU.
    pub(crate) fn take(&mut self, received: &mut ArrayVec<F, BURST>, from: usize) {
        let first = (from..received.len()).find(|index| self.large(received[*index].bytes()).is_some());
        if let Some(first) = first {
            self.later.extend(received.drain(first..));
        }
    }

    /// Passes on what fits `into`. Fragments are in frames of `allocate`; when that has none the rest of the
    /// datagram is lost.
    pub(crate) fn pass_on(&mut self, into: &mut ArrayVec<F, BURST>, mut allocate: impl FnMut() -> Option<F>) {
        while !into.is_full() {
            if let Some(plan) = self.plan {
                match self.fragment(&plan, &mut allocate) {
                    Some(fragment) => into.push(fragment),
                    None => self.plan = None,
                }
                continue;
            }
            let Some(frame) = self.later.pop_front() else { return };
            if !self.begin(&frame) {
                into.push(frame);
            }
        }
    }

    /// The next fragment, if there is one.
    fn fragment(&mut self, plan: &Plan, allocate: &mut impl FnMut() -> Option<F>) -> Option<F> {
        let index = self.next;
        if index >= plan.count() {
            return None;
        }
        self.next += 1;
        let mut frame = allocate()?;
        let (start, length) = (self.link.len(), plan.length(index));
        if !frame.set_length(start + length) {
            return None;
        }
        let (link, packet) = frame.bytes_mut().split_at_mut(start);
        link.copy_from_slice(&self.link);
        let original = &self.packet[..self.length];
        if index == 0 {
            packet.copy_from_slice(&original[..length]);
            plan.cut_first(packet);
        } else {
            plan.write_later(index, original, packet);
        }
        Some(frame)
    }

    /// Begins to cut a frame if it is to be cut and all of it is there. Its copy is taken in any case.
    fn begin(&mut self, frame: &F) -> bool {
        let bytes = frame.bytes();
        let Some(large) = self.large(bytes) else { return false };
        let (link, packet) = bytes.split_at(large.start);
        if packet.len() >= large.length {
            self.packet[..large.length].copy_from_slice(&packet[..large.length]);
        } else if !self.fetch(packet, large.length) {
            return false;
        }
        self.length = large.length;
        let plan =
            Packet::parse(&self.packet[..self.length]).ok().and_then(|packet| Plan::new(&packet, self.mtu));
        self.plan = plan.filter(|_| large.may_be_cut);
        self.next = 0;
        self.link.clear();
        self.plan.is_some() && self.link.try_extend_from_slice(link).is_ok()
    }

    /// Takes the copy of which this is the beginning, if it is the next one: they come in the order of the
    /// beginnings, and where there was no room for one it is missing.
    fn fetch(&mut self, beginning: &[u8], length: usize) -> bool {
        if self.copied == 0 {
            self.copied = self.copies.next(&mut self.copy).unwrap_or(0);
        }
        let compared = &beginning[..beginning.len().min(COMPARED)];
        let packet = self.copy.get(ethernet::HEADER..self.copied).unwrap_or_default();
        if packet.starts_with(compared) && packet.len() >= length {
            self.packet[..length].copy_from_slice(&packet[..length]);
            (self.copied, self.unclaimed) = (0, 0);
            return true;
        }
        self.unclaimed += usize::from(self.copied > 0);
        if self.unclaimed >= UNCLAIMED {
            (self.copied, self.unclaimed) = (0, 0);
        }
        false
    }

    /// What a frame is if it is longer than the MTU allows: from its headers, for only a beginning may be there.
    fn large(&self, frame: &[u8]) -> Option<Large> {
        if frame.len() <= usize::from(self.mtu) {
            return None;
        }
        let word = |at: usize| Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?));
        let mut start = ethernet::HEADER;
        while ethernet::is_vlan(word(start - 2)?) && start < LONGEST_LINK {
            start += 4;
        }
        let (length, may_be_cut) = match word(start - 2)? {
            ethernet::IPV4 => (usize::from(word(start + 2)?), word(start + 6)? & 0x4000 == 0),
            ethernet::IPV6 => (IPV6 + usize::from(word(start + 4)?), false),
            _ => return None,
        };
        (length > usize::from(self.mtu)).then_some(Large { start, length, may_be_cut })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::frame::FrameIo;
    use dataplane::frame::plain::{PlainFrame, PlainIo};
    use dataplane::names::ids::EthPortId;

    /// What a slot holds.
    const SLOT: usize = 1982;
    const MTU: u16 = 1500;

    impl Copies for VecDeque<Vec<u8>> {
        fn next(&mut self, into: &mut [u8]) -> Option<usize> {
            let copy = self.pop_front()?;
            into[..copy.len()].copy_from_slice(&copy);
            Some(copy.len())
        }
    }

    fn frame(id: u16, length: u16, dont_fragment: bool) -> Vec<u8> {
        let mut bytes = vec![2; 12];
        bytes.extend([8, 0, 0x45, 0]);
        bytes.extend((20 + length).to_be_bytes());
        bytes.extend(id.to_be_bytes());
        bytes.extend([u8::from(dont_fragment) << 6, 0, 64, 17, 0, 0, 10, 0, 0, 7, 192, 168, 10, 6]);
        let check = !dataplane::wire::checksum::sum(&bytes[14..34]);
        dataplane::wire::checksum::write(&mut bytes, 24, check);
        bytes.extend((0..length).map(|at| (at / 7 + id) as u8));
        bytes
    }

    /// Lets whole frames arrive as a ring and a socket give them; what comes out, a burst at a time.
    fn passed(frames: &[Vec<u8>], lost: impl Fn(usize) -> bool) -> Vec<Vec<u8>> {
        let mut io = PlainIo::new(1);
        let mut copies = VecDeque::new();
        for (index, frame) in frames.iter().enumerate() {
            let mut beginning = frame.clone();
            beginning.truncate(SLOT);
            io.arrive(EthPortId(0), &beginning);
            if frame.len() > SLOT && !lost(index) {
                copies.push_back(frame.clone());
            }
        }
        let mut cutter = Cutter::<PlainFrame, _>::new(copies, MTU);
        let mut all = Vec::new();
        loop {
            let mut burst = ArrayVec::new();
            if !cutter.is_busy() {
                io.receive(EthPortId(0), &mut burst);
                cutter.take(&mut burst, 0);
            }
            cutter.pass_on(&mut burst, || io.allocate(EthPortId(0)));
            if burst.is_empty() {
                assert!(!cutter.is_busy() && cutter.copies.is_empty() && cutter.copied == 0);
                drop(cutter);
                assert_eq!(io.live_frames(), 0);
                return all;
            }
            all.extend(burst.iter().map(|frame| frame.bytes().to_vec()));
        }
    }

    fn word(frame: &[u8], at: usize) -> usize {
        usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]))
    }

    /// Puts fragments that come in order together; others are left.
    fn together(frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = Vec::new();
        for frame in frames {
            assert!(frame.len() <= 14 + usize::from(MTU) || frame.len() == SLOT);
            assert_eq!(dataplane::wire::checksum::sum(&frame[14..34]), 0xffff);
            let offset = (word(&frame, 20) & 0x1fff) * 8;
            if offset == 0 {
                all.push(frame);
                continue;
            }
            let last = all.last_mut().unwrap();
            assert_eq!((word(last, 18), last.len()), (word(&frame, 18), 34 + offset), "in order");
            last.extend(&frame[34..]);
        }
        all
    }

    fn payloads(frames: &[Vec<u8>]) -> Vec<&[u8]> {
        frames.iter().map(|frame| &frame[34..]).collect()
    }

    #[test]
    fn datagrams_of_any_length_come_out_in_fragments_and_in_order() {
        let lengths = [8, 1480, 1481, 1948, 1949, 4000, 100, 60_008, 65_515, 0, 1472];
        let frames: Vec<_> = (1..).zip(lengths).map(|(id, length)| frame(id, length, false)).collect();
        let frames = vec![frames; 5].concat();
        let got = together(passed(&frames, |_| false));
        assert!(payloads(&got) == payloads(&frames));
    }

    #[test]
    fn a_copy_that_was_not_kept_leaves_the_others_where_they_belong() {
        let frames: Vec<_> = (0..12).map(|id| frame(id, 3000 + id, false)).collect();
        let got = together(passed(&frames, |index| index.is_multiple_of(3)));
        assert_eq!(got.len(), frames.len());
        for (index, (got, whole)) in got.iter().zip(&frames).enumerate() {
            if index.is_multiple_of(3) {
                assert!(got[..] == whole[..SLOT], "{index} as it came");
            } else {
                assert!(got[34..] == whole[34..], "{index}");
            }
        }
    }

    /// Merged segments; their copies go, so that they leave room for others.
    #[test]
    fn what_may_not_be_cut_comes_out_as_it_came() {
        let mut merged = frame(7, 30_020, false);
        merged[12..14].copy_from_slice(&[0x86, 0xdd]);
        merged[18..20].copy_from_slice(&30_000_u16.to_be_bytes());
        let frames = [frame(1, 20_000, true), merged, frame(2, 2000, false)];
        let got = passed(&frames, |_| false);
        assert_eq!(got.len(), 4);
        assert!((&got[0][..], &got[1][..]) == (&frames[0][..SLOT], &frames[1][..SLOT]));
    }

    #[test]
    fn a_tag_stays_in_front_of_each_fragment() {
        let mut tagged = frame(3, 3000, false);
        tagged.splice(12..12, [0x81, 0, 0, 5]);
        let mut io = PlainIo::new(1);
        io.arrive(EthPortId(0), &tagged[..SLOT]);
        let mut cutter = Cutter::<PlainFrame, _>::new(VecDeque::from([frame(3, 3000, false)]), MTU);
        let mut burst = ArrayVec::new();
        io.receive(EthPortId(0), &mut burst);
        cutter.take(&mut burst, 0);
        cutter.pass_on(&mut burst, || io.allocate(EthPortId(0)));
        assert_eq!(burst.iter().map(Frame::length).collect::<Vec<_>>(), [1518, 1518, 18 + 60]);
        assert!(burst.iter().all(|fragment| fragment.bytes()[12..16] == [0x81, 0, 0, 5]));
    }

    #[test]
    fn a_pool_that_is_used_up_costs_a_datagram_and_nothing_else() {
        let mut io = PlainIo::new(1);
        let frames = [frame(1, 5000, false), frame(2, 100, false)];
        for frame in &frames {
            io.arrive(EthPortId(0), &frame[..frame.len().min(SLOT)]);
        }
        let mut cutter = Cutter::<PlainFrame, _>::new(VecDeque::from([frames[0].clone()]), MTU);
        let mut burst = ArrayVec::new();
        io.receive(EthPortId(0), &mut burst);
        cutter.take(&mut burst, 0);
        let mut left = 2;
        cutter.pass_on(&mut burst, || {
            left -= 1;
            (left >= 0).then(|| io.allocate(EthPortId(0))).flatten()
        });
        assert_eq!(burst.iter().map(Frame::length).collect::<Vec<_>>(), [1514, 1514, 134]);
        assert!(!cutter.is_busy());
    }
}
