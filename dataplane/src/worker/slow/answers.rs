//! Answers made in place, each kind under a limit of its own. The packet that caused one is counted
//! under its reason for being dropped, answered or not.

use super::Slow;
use super::ip::Obstacle;
use super::packet::{Ip, read_ip};
use crate::frame::Frame;
use crate::names::drop_reason::DropReason;
use crate::names::family::IpVersion;
use crate::wire::answer::{self, IcmpError};
use crate::wire::answer6::{self, Icmp6Error};
use crate::wire::ipv6_extensions::{Flaw, NO_NEXT_HEADER, Routing};
use crate::wire::{ethernet, icmp, icmp6};
use crate::worker::fate::{Fate, Judged};
use std::net::IpAddr;

/// What is said of a packet that goes no further, in the words of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Said {
    /// Nobody listens there, or no real is available.
    PortUnreachable,
    /// Its protocol is not known; where its number stands, in bytes from the packet's start.
    UnknownProtocol { pointer: usize },
    /// The next hop does not answer.
    HostUnreachable,
    /// There is no route.
    NoRoute,
    /// It is larger than the MTU on the way, and may not be cut.
    TooBig { mtu: u16 },
    /// Its time to live, or hop limit, ran out.
    TimeExceeded,
    /// A header's field is wrong; where, in bytes from the packet's start.
    WrongField { pointer: usize },
    /// Its first fragment does not have all headers (RFC 7112).
    IncompleteHeaders,
    /// It has more extension headers than are passed over (RFC 8883); where the first one begins that is too many.
    TooManyHeaders { pointer: usize },
}

impl Said {
    /// Whether it is under a limit. That a packet is too big is always said: see [`Limits`](super::Limits).
    const fn is_limited(self) -> bool {
        !matches!(self, Self::TooBig { .. })
    }

    /// In the words of IPv4; `None`: there is nothing of the kind.
    fn of_ipv4(self) -> Option<IcmpError> {
        let unreachable = |code| IcmpError::DestinationUnreachable { code };
        Some(match self {
            Self::PortUnreachable => IcmpError::PortUnreachable,
            Self::UnknownProtocol { .. } => unreachable(icmp::PROTOCOL_UNREACHABLE),
            Self::HostUnreachable => IcmpError::HostUnreachable,
            Self::NoRoute => unreachable(icmp::NETWORK_UNREACHABLE),
            Self::TooBig { mtu } => IcmpError::FragmentationNeeded { mtu },
            Self::TimeExceeded => IcmpError::TimeExceeded,
            Self::WrongField { pointer } => IcmpError::ParameterProblem { pointer: pointer.try_into().ok()? },
            Self::IncompleteHeaders | Self::TooManyHeaders { .. } => return None,
        })
    }

    /// In the words of IPv6.
    fn of_ipv6(self) -> Icmp6Error {
        let problem = |code, pointer: usize| Icmp6Error::ParameterProblem { code, pointer: pointer as u32 };
        match self {
            Self::PortUnreachable => Icmp6Error::PortUnreachable,
            Self::UnknownProtocol { pointer } => problem(icmp6::UNKNOWN_NEXT_HEADER, pointer),
            Self::HostUnreachable => Icmp6Error::AddressUnreachable,
            Self::NoRoute => Icmp6Error::NoRoute,
            Self::TooBig { mtu } => Icmp6Error::PacketTooBig { mtu: mtu.into() },
            Self::TimeExceeded => Icmp6Error::HopLimitExceeded,
            Self::WrongField { pointer } => problem(icmp6::WRONG_FIELD, pointer),
            Self::IncompleteHeaders => problem(icmp6::INCOMPLETE_HEADERS, 0),
            Self::TooManyHeaders { pointer } => problem(icmp6::TOO_MANY_HEADERS, pointer),
        }
    }
}

impl<F: Frame> Slow<'_, F> {
    /// Says that there is no such connection: by RST in TCP, by ABORT or what answers the packet instead in SCTP.
    pub(in crate::worker) fn answer_with_reset(&mut self, frame: &mut F, reason: DropReason) -> Judged {
        let limit = self.limits.on(self.arrival).reset(reason);
        if !limit.take(self.now) {
            self.counters.answers_suppressed.add(1);
            return Err(reason);
        }
        let answered = match version_of(frame) {
            IpVersion::Four => answer::tcp_reset(frame) || answer::sctp_abort(frame),
            IpVersion::Six => answer6::tcp_reset(frame) || answer6::sctp_abort(frame),
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
        self.icmp_error(frame, Said::PortUnreachable, Some(speaker), reason)
    }

    /// A packet to us of a protocol that is not known.
    pub(in crate::worker) fn protocol_unreachable(&mut self, frame: &mut F, ip: Ip) -> Judged {
        // What a later fragment names need not be the protocol, and behind "no next header" is none (RFC 8200 §4.7).
        let upper = ip.upper_layer();
        if upper.is_some() && (ip.is_later_fragment() || ip.protocol == NO_NEXT_HEADER) {
            return Err(DropReason::Protocol);
        }
        let pointer = upper.map_or(0, |upper| upper.pointer);
        self.complain(frame, &ip, Said::UnknownProtocol { pointer }, DropReason::Protocol)
    }

    /// Says to the sender where its packet's options are wrong.
    pub(in crate::worker) fn parameter_problem(&mut self, frame: &mut F, pointer: u8, ip: Ip) -> Judged {
        self.complain(frame, &ip, Said::WrongField { pointer: pointer.into() }, DropReason::Malformed)
    }

    /// A packet to us whose extension headers are wrong, or too many.
    pub(in crate::worker) fn wrong_headers(&mut self, frame: &mut F, ip: &Ip, flaw: Flaw) -> Judged {
        let (said, reason) = match flaw {
            Flaw::MisplacedHopByHop { pointer } => (Said::UnknownProtocol { pointer }, DropReason::Malformed),
            Flaw::Incomplete => (Said::IncompleteHeaders, DropReason::FragmentMalformed),
            Flaw::TooMany { pointer } => (Said::TooManyHeaders { pointer }, DropReason::Malformed),
            Flaw::Truncated | Flaw::NestedFragment => return Err(DropReason::Malformed),
        };
        self.complain(frame, ip, said, reason)
    }

    /// A packet that we are to send on to another by a routing header: no type of one is known here (RFC 8200 §4.4, and
    /// RFC 5095 of type 0).
    pub(in crate::worker) fn unknown_routing(&mut self, frame: &mut F, ip: &Ip, routing: Routing) -> Judged {
        let pointer = routing.pointer;
        self.complain(frame, ip, Said::WrongField { pointer }, DropReason::RoutingHeader)
    }

    /// Says to the sender why its packet cannot go on.
    pub(in crate::worker) fn obstructed(&mut self, frame: &mut F, ip: &Ip, obstacle: Obstacle) -> Judged {
        let (said, reason) = match obstacle {
            Obstacle::Ttl => (Said::TimeExceeded, DropReason::TtlExceeded),
            Obstacle::TooBig { mtu } => (Said::TooBig { mtu }, DropReason::TooBig),
            Obstacle::NoRoute => (Said::NoRoute, DropReason::NoRoute),
        };
        self.complain(frame, ip, said, reason)
    }

    /// A packet waited for a next hop that does not answer.
    pub(in crate::worker) fn host_unreachable(&mut self, frame: &mut F) -> Judged {
        let reason = DropReason::NextHopUnresolved;
        let ip = read_ip(frame.bytes()).map_err(|_| reason)?;
        self.complain(frame, &ip, Said::HostUnreachable, reason)
    }

    /// Says something to a packet's sender, from the address that the packet was sent to, if that is ours, else from
    /// ours on its link.
    pub(in crate::worker) fn complain(
        &mut self,
        frame: &mut F,
        ip: &Ip,
        said: Said,
        reason: DropReason,
    ) -> Judged {
        let ours = self.snapshot.local(ip.destination).map(|_| ip.destination);
        let speaker = ours.or_else(|| self.snapshot.own_address(self.arrival, ip.source));
        self.icmp_error(frame, said, speaker, reason)
    }

    fn icmp_error(
        &mut self,
        frame: &mut F,
        said: Said,
        speaker: Option<IpAddr>,
        reason: DropReason,
    ) -> Judged {
        let Some(speaker) = speaker else { return Err(reason) };
        let limit = self.limits.on(self.arrival).icmp_error(reason);
        if said.is_limited() && !limit.take(self.now) {
            self.counters.answers_suppressed.add(1);
            return Err(reason);
        }
        let answered = match speaker {
            IpAddr::V4(speaker) => {
                said.of_ipv4().is_some_and(|said| answer::icmp_error(frame, said, speaker))
            }
            IpAddr::V6(speaker) => answer6::icmp_error(frame, said.of_ipv6(), speaker),
        };
        if said.is_limited() && !answered {
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
