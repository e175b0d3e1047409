//! Pings in fragments (RFC 1122 §3.2.2.6, §3.3.2): answered when all fragments are there, each by one of the answer.
//! A ping is short-lived, so no buffer is needed to put it together, nor one for the answer.

use super::Slow;
use super::packet::{Fragment, Ip};
use crate::fragments::{Address, Kept, Misfits, Piece, Pieces};
use crate::frame::{Frame, FrameIo};
use crate::names::drop_reason::DropReason;
use crate::names::ids::InterfaceId;
use crate::wire::plain::at;
use crate::wire::{answer, checksum, icmp, ipv4};
use crate::worker::fate::{Fate, Judged};
use crate::worker::turn::Turn;

impl<F: Frame> Slow<'_, F> {
    /// A fragment of an ICMP message to an own address: of a ping, or nothing that is put together.
    pub(in crate::worker) fn fragment_to_us(&mut self, frame: &F, ip: &Ip, fragment: Fragment) -> Judged {
        let Fragment { id, offset, more } = fragment;
        let piece = Piece::behind(icmp::HEADER, offset, ip.payload_length(), more);
        let piece = piece.ok_or(DropReason::FragmentMalformed)?;
        let &Ip { source, destination, .. } = ip;
        let address = Address { source, destination, id, arrival: self.arrival };
        if piece.is_first() && frame.bytes()[ip.payload] != icmp::ECHO_REQUEST {
            let given_up = self.held.pings.refuse(address);
            self.held.count_given_up(DropReason::Fragment, given_up);
            return Err(DropReason::Fragment);
        }
        Ok(Fate::Gather(address, piece))
    }

    /// How the answer to a ping, or a fragment of it, leaves: it is as long as what is answered, which another MTU
    /// may have let through.
    pub(in crate::worker) fn echo_fate(&self, frame: &F) -> Fate {
        let out = self.arrival;
        let mtu = self.snapshot.interfaces[out.index()].mtu;
        if frame.length() <= at::IPV4 + usize::from(mtu) {
            return Fate::Answer { out, instead_of: None };
        }
        self.counters.answers.add(1);
        Fate::SentInFragments { out, mtu }
    }
}

impl<Io: FrameIo> Turn<'_, Io> {
    /// Keeps a fragment of a ping until the others come, and answers if they have.
    pub(in crate::worker) fn gather(
        &mut self,
        address: Address,
        piece: Piece,
        frame: Io::Frame,
        arrival: InterfaceId,
    ) {
        let (kept, given_up) = self.held.pings.keep(address, piece, frame, self.now);
        self.held.count_given_up(DropReason::FragmentQueueFull, given_up);
        let (frame, reason) = match kept {
            Kept::Waits => return,
            Kept::Whole(pieces) => return self.answer_ping(pieces, arrival),
            Kept::Repeats(frame) => (frame, DropReason::FragmentOverlap),
            Kept::Refused(frame, misfits) => {
                let (reason, others) = match misfits {
                    Misfits::Overlap(others) => (DropReason::FragmentOverlap, others),
                    Misfits::TooMany(others) => (DropReason::FragmentQueueFull, others),
                };
                self.held.count_given_up(reason, others);
                (frame, reason)
            }
        };
        self.egress.dispose(frame, Err(reason));
    }

    fn answer_ping(&mut self, pieces: Pieces<Io::Frame>, arrival: InterfaceId) {
        let limit = &mut self.limits.on(arrival).echo;
        let refused = if !has_right_checksum(&pieces) {
            Some(DropReason::IcmpChecksum)
        } else if !pieces.iter().all(|_| limit.take(self.now)) {
            self.counters.answers_suppressed.add(1);
            Some(DropReason::IcmpUnmatched)
        } else {
            None
        };
        for (_, mut frame) in pieces {
            let judged = match refused {
                Some(reason) => Err(reason),
                None if answer::echo_reply_fragment(&mut frame) => Ok(self.slow(arrival).echo_fate(&frame)),
                None => Err(DropReason::Malformed),
            };
            self.egress.dispose(frame, judged);
        }
    }
}

/// Of all of the message: each fragment but the last is a multiple of eight bytes long.
fn has_right_checksum<F: Frame>(pieces: &Pieces<F>) -> bool {
    let sums = pieces.iter().map(|(_, frame)| {
        ipv4::Packet::in_frame(frame.bytes()).map_or(0, |packet| checksum::sum(packet.payload()))
    });
    sums.fold(0, checksum::add) == 0xffff
}
