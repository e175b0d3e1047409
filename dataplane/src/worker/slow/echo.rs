//! Pings in fragments (RFC 1122 §3.2.2.6, §3.3.2): answered when all fragments are there, each by one of the answer.
//! A ping is short-lived, so no buffer is needed to put it together, nor one for the answer.

use crate::fragments::{Address, Kept, Misfits, Piece, Pieces};
use crate::frame::{Frame, FrameIo};
use crate::names::ids::InterfaceId;
use crate::names::verdict::{DropReason, Verdict};
use crate::snapshot::Snapshot;
use crate::wire::{answer, checksum, icmp, ipv4};
use crate::worker::Handler;
use crate::worker::fast::decode::at;
use crate::worker::slow::packet::{Context, Ip, Judgement};

impl<Io: FrameIo> Handler<Io> {
    /// A fragment of an ICMP message to an own address: of a ping, or nothing that is put together.
    pub(in crate::worker) fn fragment_to_us(
        &mut self,
        frame: &Io::Frame,
        ip: &Ip,
        context: Context<'_>,
    ) -> Result<Judgement, DropReason> {
        let length = at::IPV4 + usize::from(ip.length) - ip.payload;
        let piece = Piece::behind(icmp::HEADER, ip.fragment_offset, length, ip.more_fragments);
        let piece = piece.ok_or(DropReason::FragmentMalformed)?;
        let &Ip { source, destination, id, .. } = ip;
        let address = Address { source, destination, id, port: context.port };
        if piece.is_first() && frame.bytes()[ip.payload] != icmp::ECHO_REQUEST {
            let given_up = self.pings.refuse(address);
            self.give_up_fragments(DropReason::Fragment, given_up);
            return Err(DropReason::Fragment);
        }
        Ok(Judgement::Gather(address, piece))
    }

    /// Keeps a fragment of a ping until the others come, and answers if they have.
    pub(in crate::worker) fn gather(
        &mut self,
        address: Address,
        piece: Piece,
        frame: Io::Frame,
        context: Context<'_>,
    ) {
        let (kept, given_up) = self.pings.keep(address, piece, frame, context.now);
        self.give_up_fragments(DropReason::FragmentQueueFull, given_up);
        let (frame, reason) = match kept {
            Kept::Waits => return,
            Kept::Whole(pieces) => return self.answer_ping(pieces, context),
            Kept::Repeats(frame) => (frame, DropReason::FragmentOverlap),
            Kept::Refused(frame, misfits) => {
                let (reason, others) = match misfits {
                    Misfits::Overlap(others) => (DropReason::FragmentOverlap, others),
                    Misfits::TooMany(others) => (DropReason::FragmentQueueFull, others),
                };
                self.give_up_fragments(reason, others);
                (frame, reason)
            }
        };
        self.conclude(Verdict::Drop(reason), frame);
    }

    fn answer_ping(&mut self, pieces: Pieces<Io::Frame>, context: Context<'_>) {
        let Context { snapshot, port, now } = context;
        let limit = &mut self.limits.on(port).echo;
        let refused = if !has_right_checksum(&pieces) {
            Some(DropReason::IcmpChecksum)
        } else if !pieces.iter().all(|_| limit.take(now)) {
            self.counters.answers_suppressed.add(1);
            Some(DropReason::IcmpUnmatched)
        } else {
            None
        };
        for (_, mut frame) in pieces {
            let verdict = match refused {
                Some(reason) => Verdict::Drop(reason),
                None if answer::echo_reply_fragment(&mut frame) => self.echo_verdict(&frame, port, snapshot),
                None => Verdict::Drop(DropReason::Malformed),
            };
            self.conclude(verdict, frame);
        }
    }

    /// How the answer to a ping, or a fragment of it, leaves: it is as long as what is answered, which another MTU
    /// may have let through.
    pub(in crate::worker) fn echo_verdict(
        &self,
        frame: &Io::Frame,
        port: InterfaceId,
        snapshot: &Snapshot,
    ) -> Verdict {
        let mtu = snapshot.interfaces[port.index()].mtu;
        if frame.length() <= at::IPV4 + usize::from(mtu) {
            return Verdict::Answer(port);
        }
        self.counters.answers.add(1);
        Verdict::Fragment { port, mtu }
    }
}

/// Of all of the message: each fragment but the last is a multiple of eight bytes long.
fn has_right_checksum<F: Frame>(pieces: &Pieces<F>) -> bool {
    let sums = pieces.iter().map(|(_, frame)| {
        ipv4::Packet::in_frame(frame.bytes()).map_or(0, |packet| checksum::sum(packet.payload()))
    });
    sums.fold(0, checksum::add) == 0xffff
}
