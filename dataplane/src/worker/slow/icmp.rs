//! ICMP: ping, and which messages are errors about packets.

use super::Slow;
use super::errors::IcmpError;
use super::packet::Ip;
use crate::frame::Frame;
use crate::names::drop_reason::DropReason;
use crate::wire::icmp_error::{self, Quoted};
use crate::wire::{answer, icmp, ipv4};
use crate::worker::fate::Judged;

impl<F: Frame> Slow<'_, F> {
    /// To an own address: ping, or an error about a reply that went out under that address.
    pub(in crate::worker) fn icmp_to_us(&mut self, frame: &mut F, ip: Ip) -> Judged {
        let message = message(frame.bytes(), &ip).ok_or(DropReason::Malformed)?;
        if !message.has_right_checksum() {
            return Err(DropReason::IcmpChecksum);
        }
        if icmp::is_never_passed_on(message.kind()) {
            return Err(DropReason::IcmpType);
        }
        if message.kind() == icmp::ECHO_REQUEST {
            return self.answer_echo(frame, answer::echo_reply);
        }
        let quoted = quoted(frame.bytes());
        self.error_to_us(frame, &ip, quoted)
    }

    /// Towards somebody else: an error about a connection's packet on the reals' side, or not ours.
    pub(in crate::worker) fn icmp_through(&mut self, frame: &mut F, ip: Ip) -> Judged {
        let message = message(frame.bytes(), &ip).ok_or(DropReason::Malformed)?;
        if icmp::is_never_passed_on(message.kind()) {
            return Err(DropReason::IcmpType);
        }
        let has_right_checksum = message.has_right_checksum();
        let packet = ipv4::Packet::in_frame(frame.bytes()).ok();
        // No error about a later fragment is due (RFC 1812 §4.3.2.7).
        let later_fragment_to = packet.and_then(|packet| icmp_error::later_fragments_destination(&packet));
        let quoted = quoted(frame.bytes());
        self.error_through(frame, ip, &IcmpError { quoted, later_fragment_to, has_right_checksum })
    }
}

/// The TCP or UDP packet that an ICMP error quotes.
fn quoted(bytes: &[u8]) -> Option<Quoted> {
    Quoted::parse(&ipv4::Packet::in_frame(bytes).ok()?)
}

/// The ICMP message of a packet, without padding.
fn message<'a>(bytes: &'a [u8], ip: &Ip) -> Option<icmp::Message<'a>> {
    icmp::Message::parse(bytes.get(ip.payload..ip.end())?)
}
