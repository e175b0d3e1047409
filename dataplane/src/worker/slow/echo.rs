//! Answers to pings, of either family. Those in fragments (RFC 1122 §3.2.2.6, §3.3.2; RFC 4443 §4.2) are answered
//! when all fragments are there, each by one of the answer. A ping is short-lived, so no buffer is needed to put it
//! together, nor one for the answer.

use super::Slow;
use super::fragments::piece;
use super::packet::{Fragment, Ip, read_ip};
use crate::fragments::{Address, Kept, Misfits, Piece, Pieces};
use crate::frame::{Frame, FrameIo};
use crate::names::drop_reason::DropReason;
use crate::names::family::IpVersion;
use crate::names::ids::InterfaceId;
use crate::wire::plain::at;
use crate::wire::{answer, answer6, checksum, icmp, icmp6, ipv6, sctp};
use crate::worker::fate::{Fate, Judged};
use crate::worker::turn::Turn;
use std::net::IpAddr;

impl<F: Frame> Slow<'_, F> {
    /// Answers a ping, with what `answer` makes of it, under the limit of pings.
    pub(in crate::worker) fn answer_echo(
        &mut self,
        frame: &mut F,
        answer: impl Fn(&mut F) -> bool,
    ) -> Judged {
        let limit = &mut self.limits.on(self.arrival).echo;
        if !limit.take(self.now) {
            self.counters.answers_suppressed.add(1);
            return Err(DropReason::IcmpUnmatched);
        }
        let answered = answer(frame);
        if !answered {
            limit.give_back();
        }
        if answered { Ok(self.echo_fate(frame)) } else { Err(DropReason::Malformed) }
    }

    /// A fragment of an ICMP message to an own address: of a ping, or nothing that is put together.
    pub(in crate::worker) fn fragment_to_us(&mut self, frame: &mut F, ip: &Ip, fragment: Fragment) -> Judged {
        let piece = match piece(ip, &fragment, icmp::HEADER) {
            Ok(piece) => piece,
            Err(wrong) => return self.wrong_fragment(frame, ip, wrong),
        };
        let &Ip { source, destination, protocol, .. } = ip;
        let address = Address { source, destination, protocol, id: fragment.id, arrival: self.arrival };
        let echo_request = match ip.version() {
            IpVersion::Four => icmp::ECHO_REQUEST,
            IpVersion::Six => icmp6::ECHO_REQUEST,
        };
        // Extension headers behind the fragment header would not be in the answer, whose parts then lie elsewhere.
        let is_ping = frame.bytes()[ip.payload] == echo_request && ip.payload == fragment.at;
        if piece.is_first() && !is_ping {
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
    /// Keeps a fragment of a ping or an SCTP packet until the others come, and goes on if they have.
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
            Kept::Whole(pieces) if address.protocol == sctp::PROTOCOL_NUMBER => {
                return self.pass_pieces(pieces, arrival);
            }
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
                None if echo_reply_fragment(&mut frame) => Ok(self.slow(arrival).echo_fate(&frame)),
                None => Err(DropReason::Malformed),
            };
            self.egress.dispose(frame, judged);
        }
    }
}

fn echo_reply_fragment<F: Frame>(frame: &mut F) -> bool {
    match read_ip(frame.bytes()).map(|ip| ip.version()) {
        Ok(IpVersion::Four) => answer::echo_reply_fragment(frame),
        Ok(IpVersion::Six) => answer6::echo_reply_fragment(frame),
        Err(_) => false,
    }
}

/// Of all of the message: each fragment but the last is a multiple of eight bytes long.
fn has_right_checksum<F: Frame>(pieces: &Pieces<F>) -> bool {
    let (mut sum, mut length) = (0, 0);
    for (_, frame) in pieces {
        let Ok(ip) = read_ip(frame.bytes()) else { return false };
        let part = &frame.bytes()[ip.payload..ip.end()];
        sum = checksum::add(sum, checksum::sum(part));
        length += part.len();
    }
    let first = pieces.first().and_then(|(_, frame)| read_ip(frame.bytes()).ok());
    if let Some(Ip { source: IpAddr::V6(source), destination: IpAddr::V6(destination), .. }) = first {
        let pseudo_header = checksum::pseudo_header_v6(source, destination, ipv6::ICMP, length as u32);
        sum = checksum::add(sum, pseudo_header);
    }
    sum == 0xffff
}
