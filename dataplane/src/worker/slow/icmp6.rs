//! ICMPv6: ping, and which messages are errors about packets.

use super::Slow;
use super::errors::IcmpError;
use super::packet::Ip;
use crate::frame::Frame;
use crate::names::drop_reason::DropReason;
use crate::wire::{answer6, icmp6, icmp6_error, ipv6, mld};
use crate::worker::fate::Judged;
use std::net::IpAddr;

impl<F: Frame> Slow<'_, F> {
    /// To an own address: ping, or an error about a reply that went out under that address.
    pub(in crate::worker) fn icmp6_to_us(&mut self, frame: &mut F, ip: Ip) -> Judged {
        let read = Read::of(frame.bytes(), &ip).ok_or(DropReason::Malformed)?;
        if !read.error.has_right_checksum {
            return Err(DropReason::IcmpChecksum);
        }
        if read.kind == icmp6::ECHO_REQUEST {
            return self.answer_echo(frame, answer6::echo_reply);
        }
        self.error_to_us(frame, &ip, read.error.quoted)
    }

    /// Towards somebody else: an error about a connection's packet on the reals' side, or not ours.
    pub(in crate::worker) fn icmp6_through(&mut self, frame: &mut F, ip: Ip) -> Judged {
        let read = Read::of(frame.bytes(), &ip).ok_or(DropReason::Malformed)?;
        if icmp6::is_neighbour_discovery(read.kind) {
            return Err(DropReason::IcmpType);
        }
        self.error_through(frame, ip, &read.error)
    }

    /// To a group: of one that we are in, questions about groups, and pings, which are answered from an address of the
    /// interface (RFC 4443 §4.2). Nothing else is for us.
    pub(in crate::worker) fn icmp6_to_group(&mut self, frame: &mut F, ip: Ip) -> Judged {
        let Self { snapshot, arrival, .. } = *self;
        let IpAddr::V6(group) = ip.destination else { return Err(DropReason::Broadcast) };
        let is_whole_message =
            ip.protocol == ipv6::ICMP && ip.fragment.is_none() && ip.upper_layer().is_some();
        if !is_whole_message || !snapshot.listens(arrival, group) {
            return Err(DropReason::Broadcast);
        }
        let read = Read::of(frame.bytes(), &ip).ok_or(DropReason::Malformed)?;
        if mld::is_listener_discovery(read.kind) {
            return self.listener_discovery(frame);
        }
        if read.kind != icmp6::ECHO_REQUEST {
            return Err(DropReason::Broadcast);
        }
        if !read.error.has_right_checksum {
            return Err(DropReason::IcmpChecksum);
        }
        let Some(IpAddr::V6(ours)) = snapshot.own_address(arrival, ip.source) else {
            return Err(DropReason::Broadcast);
        };
        let mac = snapshot.interfaces[arrival.index()].mac;
        self.answer_echo(frame, |frame| answer6::echo_reply_of_group(frame, ours, mac))
    }
}

/// What is read of a message.
struct Read {
    kind: u8,
    /// What it would be as an error.
    error: IcmpError,
}

impl Read {
    /// `None`: its header is cut short.
    fn of(bytes: &[u8], ip: &Ip) -> Option<Self> {
        let message = icmp6::Message::parse(bytes.get(ip.payload..ip.end())?)?;
        let packet = ipv6::Packet::in_frame(bytes).ok()?;
        let error = IcmpError {
            quoted: icmp6_error::quoted(&packet),
            later_fragment_to: icmp6_error::later_fragments_destination(&packet),
            has_right_checksum: message.has_right_checksum(packet.source(), packet.destination()),
        };
        Some(Self { kind: message.kind(), error })
    }
}
