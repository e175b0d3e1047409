//! Answers made in place, each kind under a limit of its own. The packet that caused one is counted
//! under its reason for being dropped, answered or not.

use crate::exchange::orders::NeighbourEvent;
use crate::frame::{Frame, FrameIo};
use crate::names::family::V4;
use crate::names::ids::{InterfaceId, NeighbourKey};
use crate::names::time::Now;
use crate::names::verdict::{DropReason, Verdict};
use crate::snapshot::Snapshot;
use crate::wire::answer::{self, IcmpError};
use crate::wire::icmp;
use crate::worker::Handler;
use crate::worker::slow::packet::{Context, Ip, Judgement, Obstacle, read_ip};
use crate::worker::slow::waiting::Kept;
use std::net::IpAddr;

impl<Io: FrameIo> Handler<Io> {
    /// Keeps a packet until its next hop is known, and asks for that.
    pub(in crate::worker) fn hold(&mut self, key: NeighbourKey, frame: Io::Frame, context: Context<'_>) {
        let Context { port, now, .. } = context;
        let Kept { ask, instead_of } = self.waiting.keep(key, port, frame, now);
        if let Some(frame) = instead_of {
            self.conclude(Verdict::Drop(DropReason::NextHopQueueFull), frame);
        }
        // If it cannot be asked now, the next packet for it asks.
        if ask
            && self.limits.wanted.take(now)
            && self.neighbour_events.push(NeighbourEvent::Wanted(key)).is_ok()
        {
            self.waiting.asked(key, now);
        }
    }

    pub(in crate::worker) fn answer_with_reset(
        &mut self,
        frame: &mut Io::Frame,
        reason: DropReason,
        context: Context<'_>,
    ) -> Judgement {
        let limit = self.limits.on(context.port).reset(reason);
        if !limit.take(context.now) {
            self.counters.answers_suppressed.add(1);
            return Judgement::Conclude(Verdict::Drop(reason));
        }
        let answered = answer::tcp_reset(frame);
        if !answered {
            limit.give_back();
        }
        self.concluded(answered, reason, context.port)
    }

    pub(in crate::worker) fn answer_port_unreachable(
        &mut self,
        frame: &mut Io::Frame,
        reason: DropReason,
        speaker: IpAddr,
        context: Context<'_>,
    ) -> Judgement {
        self.icmp_error(frame, IcmpError::PortUnreachable, Some(speaker), reason, context)
    }

    pub(in crate::worker) fn protocol_unreachable(
        &mut self,
        frame: &mut Io::Frame,
        ip: Ip,
        context: Context<'_>,
    ) -> Judgement {
        let kind = IcmpError::DestinationUnreachable { code: icmp::PROTOCOL_UNREACHABLE };
        self.icmp_error(frame, kind, Some(ip.destination), DropReason::Protocol, context)
    }

    /// Says to the sender where its packet's header is wrong, with the address that it was sent to, if that is ours,
    /// else with ours on its link.
    pub(in crate::worker) fn parameter_problem(
        &mut self,
        frame: &mut Io::Frame,
        pointer: u8,
        ip: Ip,
        context: Context<'_>,
    ) -> Judgement {
        let ours = context.snapshot.local(ip.destination).map(|_| ip.destination);
        let speaker = ours.or_else(|| context.snapshot.own_address(context.port));
        let kind = IcmpError::ParameterProblem { pointer };
        self.icmp_error(frame, kind, speaker, DropReason::Malformed, context)
    }

    /// Says to the sender why its packet cannot go on; `speaker` is the address that says it.
    pub(in crate::worker) fn obstructed(
        &mut self,
        frame: &mut Io::Frame,
        obstacle: Obstacle,
        speaker: Option<IpAddr>,
        context: Context<'_>,
    ) -> Judgement {
        let (kind, reason) = match obstacle {
            Obstacle::Ttl => (IcmpError::TimeExceeded, DropReason::TtlExceeded),
            Obstacle::TooBig { mtu } => (IcmpError::FragmentationNeeded { mtu }, DropReason::TooBig),
            Obstacle::NoRoute => {
                let code = icmp::NETWORK_UNREACHABLE;
                (IcmpError::DestinationUnreachable { code }, DropReason::NoRoute)
            }
        };
        self.icmp_error(frame, kind, speaker, reason, context)
    }

    /// A packet waited for a next hop that does not answer: its sender is told by the address that it
    /// was sent to, if that is ours, else by ours on its link.
    pub(in crate::worker) fn host_unreachable(
        &mut self,
        port: InterfaceId,
        mut frame: Io::Frame,
        snapshot: &Snapshot,
        now: Now,
    ) {
        let context = Context { snapshot, port, now };
        let destination = read_ip(frame.bytes()).map(|ip| ip.destination).ok();
        let ours = destination.filter(|destination| snapshot.local(*destination).is_some());
        let speaker = ours.or_else(|| snapshot.own_address(port));
        let reason = DropReason::NextHopUnresolved;
        let judgement = self.icmp_error(&mut frame, IcmpError::HostUnreachable, speaker, reason, context);
        if let Judgement::Conclude(verdict) = judgement {
            self.conclude(verdict, frame);
        }
    }

    fn icmp_error(
        &mut self,
        frame: &mut Io::Frame,
        kind: IcmpError,
        speaker: Option<IpAddr>,
        reason: DropReason,
        context: Context<'_>,
    ) -> Judgement {
        let Some(speaker) = speaker else { return Judgement::Conclude(Verdict::Drop(reason)) };
        let limit = self.limits.on(context.port).icmp_error(reason);
        let is_limited = !matches!(kind, IcmpError::FragmentationNeeded { .. });
        if is_limited && !limit.take(context.now) {
            self.counters.answers_suppressed.add(1);
            return Judgement::Conclude(Verdict::Drop(reason));
        }
        let answered = V4::address(speaker).is_some_and(|speaker| answer::icmp_error(frame, kind, speaker));
        if is_limited && !answered {
            limit.give_back();
        }
        self.concluded(answered, reason, context.port)
    }

    /// The frame was turned into its answer, or there is none to such a packet.
    fn concluded(&self, answered: bool, reason: DropReason, port: InterfaceId) -> Judgement {
        if !answered {
            return Judgement::Conclude(Verdict::Drop(reason));
        }
        self.counters.dropped(reason).add(1);
        Judgement::Conclude(Verdict::Answer(port))
    }
}
