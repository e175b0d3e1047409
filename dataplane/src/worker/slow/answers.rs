//! Answers made in place, each kind under a limit of its own. The packet that caused one is counted
//! under its reason for being dropped, answered or not.

use super::Slow;
use super::ip::Obstacle;
use super::packet::{Ip, read_ip};
use crate::frame::Frame;
use crate::names::drop_reason::DropReason;
use crate::names::family::{IpVersion, V4};
use crate::wire::answer::{self, IcmpError};
use crate::wire::{answer6, ethernet, icmp};
use crate::worker::fate::{Fate, Judged};
use std::net::IpAddr;

impl<F: Frame> Slow<'_, F> {
    pub(in crate::worker) fn answer_with_reset(&mut self, frame: &mut F, reason: DropReason) -> Judged {
        let limit = self.limits.on(self.arrival).reset(reason);
        if !limit.take(self.now) {
            self.counters.answers_suppressed.add(1);
            return Err(reason);
        }
        let answered = match version_of(frame) {
            IpVersion::Four => answer::tcp_reset(frame),
            IpVersion::Six => answer6::tcp_reset(frame),
        };
        if !answered {
            limit.give_back();
        }
        self.answered(answered, reason)
    }

    pub(in crate::worker) fn answer_port_unreachable(
        &mut self,
        frame: &mut F,
        reason: DropReason,
        speaker: IpAddr,
    ) -> Judged {
        self.icmp_error(frame, IcmpError::PortUnreachable, Some(speaker), reason)
    }

    pub(in crate::worker) fn protocol_unreachable(&mut self, frame: &mut F, ip: Ip) -> Judged {
        let kind = IcmpError::DestinationUnreachable { code: icmp::PROTOCOL_UNREACHABLE };
        self.icmp_error(frame, kind, Some(ip.destination), DropReason::Protocol)
    }

    /// Says to the sender where its packet's header is wrong, with the address that it was sent to, if that is ours,
    /// else with ours on its link.
    pub(in crate::worker) fn parameter_problem(&mut self, frame: &mut F, pointer: u8, ip: Ip) -> Judged {
        let ours = self.snapshot.local(ip.destination).map(|_| ip.destination);
        let speaker = ours.or_else(|| self.snapshot.own_address(self.arrival));
        let kind = IcmpError::ParameterProblem { pointer };
        self.icmp_error(frame, kind, speaker, DropReason::Malformed)
    }

    /// Says to the sender why its packet cannot go on; `speaker` is the address that says it.
    pub(in crate::worker) fn obstructed(
        &mut self,
        frame: &mut F,
        obstacle: Obstacle,
        speaker: Option<IpAddr>,
    ) -> Judged {
        let (kind, reason) = match obstacle {
            Obstacle::Ttl => (IcmpError::TimeExceeded, DropReason::TtlExceeded),
            Obstacle::TooBig { mtu } => (IcmpError::FragmentationNeeded { mtu }, DropReason::TooBig),
            Obstacle::NoRoute => {
                let code = icmp::NETWORK_UNREACHABLE;
                (IcmpError::DestinationUnreachable { code }, DropReason::NoRoute)
            }
        };
        self.icmp_error(frame, kind, speaker, reason)
    }

    /// A packet waited for a next hop that does not answer: its sender hears so from the address that it
    /// was sent to, if that is ours, else by ours on its link.
    pub(in crate::worker) fn host_unreachable(&mut self, frame: &mut F) -> Judged {
        let destination = read_ip(frame.bytes()).map(|ip| ip.destination).ok();
        let ours = destination.filter(|destination| self.snapshot.local(*destination).is_some());
        let speaker = ours.or_else(|| self.snapshot.own_address(self.arrival));
        self.icmp_error(frame, IcmpError::HostUnreachable, speaker, DropReason::NextHopUnresolved)
    }

    fn icmp_error(
        &mut self,
        frame: &mut F,
        kind: IcmpError,
        speaker: Option<IpAddr>,
        reason: DropReason,
    ) -> Judged {
        let Some(speaker) = speaker else { return Err(reason) };
        let limit = self.limits.on(self.arrival).icmp_error(reason);
        let is_limited = !matches!(kind, IcmpError::FragmentationNeeded { .. });
        if is_limited && !limit.take(self.now) {
            self.counters.answers_suppressed.add(1);
            return Err(reason);
        }
        let answered = V4::address(speaker).is_some_and(|speaker| answer::icmp_error(frame, kind, speaker));
        if is_limited && !answered {
            limit.give_back();
        }
        self.answered(answered, reason)
    }

    /// The frame has been turned into an answer, unless there is none to such a packet.
    const fn answered(&self, answered: bool, reason: DropReason) -> Judged {
        if answered { Ok(Fate::Answer { out: self.arrival, instead_of: Some(reason) }) } else { Err(reason) }
    }
}

/// The family of the packet in a frame that has one.
fn version_of(frame: &impl Frame) -> IpVersion {
    match ethernet::Header::parse(frame.bytes()) {
        Some(ethernet::Header { ether_type: ethernet::IPV6, .. }) => IpVersion::Six,
        _ => IpVersion::Four,
    }
}
