//! Fragments: which connection they belong to, in what order they go on.
//!
//! Two halves that know little of each other: the tracker resolves a fragment to its ports, and
//! [`transport_layer`](Slow::transport_layer) does with a packet of known ports what is to be done.

use super::Slow;
use super::answers::Said;
use super::packet::{Fragment, Ip, Segment, read_ip, read_segment};
use crate::exchange::peers::Purpose;
use crate::fragments::{
    Address, Fields, Key, LONGEST_V4, LONGEST_V6, Outcome, Piece, Pieces, Ports, least_header,
};
use crate::frame::{Frame, FrameIo};
use crate::names::drop_reason::DropReason;
use crate::names::family::IpVersion;
use crate::names::ids::{InterfaceId, Protocol};
use crate::wire::plain::at;
use crate::wire::{icmp, icmp6, ipv6, ipv6_extensions};
use crate::worker::fate::{Fate, Judged};
use crate::worker::flows::Ends;
use crate::worker::turn::Turn;

impl<F: Frame> Slow<'_, F> {
    /// A fragment of TCP, UDP or SCTP; `None`: a later one of IPv6 that does not say what it is of.
    pub(in crate::worker) fn fragment(
        &mut self,
        frame: &mut F,
        ip: Ip,
        fragment: Fragment,
        protocol: Option<Protocol>,
    ) -> Judged {
        let Self { snapshot, arrival, now, .. } = *self;
        // Neither to a service nor from a real: no connection's, whatever its ports.
        if snapshot.local(ip.destination).is_none() && !snapshot.is_server(ip.source) {
            return self.route(frame, ip);
        }
        // Every transport header has eight bytes.
        let header = protocol.map_or(8, least_header);
        let piece = match piece(&ip, &fragment, header) {
            Ok(piece) => piece,
            Err(wrong) => return self.wrong_fragment(frame, &ip, wrong),
        };
        if protocol == Some(Protocol::Sctp) {
            return Ok(self.gathered(&ip, &fragment, piece));
        }
        let key = self.held.fragments.key(&Fields {
            source: ip.source,
            destination: ip.destination,
            protocol: ip.protocol,
            id: fragment.id,
            side: snapshot.interfaces[arrival.index()].side,
        });
        let segment = match self.held.fragments.resolve(key, piece, now) {
            Outcome::Begins => {
                read_segment(frame.bytes(), &ip, protocol.ok_or(DropReason::FragmentMalformed)?)?
            }
            Outcome::Follows(protocol, ports) => Segment::later(&ip, protocol, ports),
            Outcome::Early => return Ok(Fate::AwaitFirstFragment(key)),
            Outcome::Refused => return Err(DropReason::FragmentRefused),
            Outcome::Repeats => return Err(DropReason::FragmentOverlap),
            Outcome::Overlaps => {
                self.refuse_datagram(key);
                return Err(DropReason::FragmentOverlap);
            }
            Outcome::TooManyGaps => return Err(DropReason::FragmentQueueFull),
        };
        let found = (segment.ends.protocol, segment.ends.ports());
        let judged = match self.owner_elsewhere(&segment.ends) {
            Some(to) => Ok(Fate::HandOver { to, arrival, purpose: Purpose::Fragment(found.0, found.1) }),
            None => self.transport_layer(frame, ip, segment),
        };
        match judged {
            Ok(Fate::Sent(_) | Fate::SentInFragments { .. } | Fate::HandOver { .. }) => {
                self.learn_first(key, piece, found);
                self.held.fragments.pass(key, piece, now);
            }
            // It comes this way again, and the others wait behind it.
            Ok(Fate::Await(_) | Fate::AwaitTo(..)) => self.learn_first(key, piece, found),
            // Without one fragment the datagram is worth nothing to anybody.
            _ => self.refuse_datagram(key),
        }
        judged
    }

    /// Remembers the protocol and ports of a first fragment, for the others of its datagram.
    fn learn_first(&mut self, key: Key, piece: Piece, found: (Protocol, Ports)) {
        if piece.is_first() {
            let given_up = self.held.fragments.learn(key, found, self.now);
            self.held.count_given_up(DropReason::FragmentQueueFull, given_up);
        }
    }

    /// Lets none of the other fragments of a datagram pass.
    fn refuse_datagram(&mut self, key: Key) {
        let given_up = self.held.fragments.refuse(key, self.now);
        self.held.count_given_up(DropReason::FragmentQueueFull, given_up);
    }

    /// All fragments of a client meet on one worker, which finds their ports. That of their connection may be
    /// another.
    fn owner_elsewhere(&self, ends: &Ends) -> Option<usize> {
        if self.peers.is_alone() {
            return None;
        }
        let local = self.snapshot.local(ends.destination.ip()).is_some();
        let client = if local { ends.source } else { ends.destination };
        let owner = self.peers.owner_of(client);
        (owner != self.peers.own()).then_some(owner)
    }

    /// A fragment that another worker has found the protocol and ports of.
    pub(in crate::worker) fn fragment_with_ports(
        &mut self,
        frame: &mut F,
        (protocol, ports): (Protocol, Ports),
    ) -> Judged {
        let ip = read_ip(frame.bytes())?;
        if protocol == Protocol::Sctp {
            let fragment = ip.fragment.ok_or(DropReason::FragmentMalformed)?;
            let piece = piece(&ip, &fragment, least_header(protocol));
            return Ok(self.gathered(&ip, &fragment, piece.map_err(|_| DropReason::FragmentMalformed)?));
        }
        let segment = if ip.is_later_fragment() {
            Segment::later(&ip, protocol, ports)
        } else {
            read_segment(frame.bytes(), &ip, protocol)?
        };
        self.transport_layer(frame, ip, segment)
    }

    /// A fragment of an SCTP packet, which goes on with the others when all are there: the checksum in the first
    /// depends on how long the packet is in all, if a port changes.
    fn gathered(&self, ip: &Ip, fragment: &Fragment, piece: Piece) -> Fate {
        let &Ip { source, destination, protocol, .. } = ip;
        let address = Address { source, destination, protocol, id: fragment.id, arrival: self.arrival };
        Fate::Gather(address, piece)
    }

    /// A fragment of an SCTP packet of `whole` bytes, of which all are there.
    fn pass_piece(&mut self, frame: &mut F, ports: Ports, whole: usize) -> Judged {
        let ip = read_ip(frame.bytes())?;
        let segment = if ip.is_later_fragment() {
            Segment::later(&ip, Protocol::Sctp, ports)
        } else {
            Segment { whole: Some(whole), ..read_segment(frame.bytes(), &ip, Protocol::Sctp)? }
        };
        match self.owner_elsewhere(&segment.ends) {
            // It gathers them again: all go there.
            Some(to) => {
                let purpose = Purpose::Fragment(Protocol::Sctp, ports);
                Ok(Fate::HandOver { to, arrival: self.arrival, purpose })
            }
            None => self.transport_layer(frame, ip, segment),
        }
    }

    /// A fragment that no sender in good faith makes. Of IPv6 its receiver says so (RFC 8200 §4.5).
    pub(in crate::worker) fn wrong_fragment(
        &mut self,
        frame: &mut F,
        ip: &Ip,
        wrong: Option<Said>,
    ) -> Judged {
        let reason = DropReason::FragmentMalformed;
        let is_ours = ip.version() == IpVersion::Six && self.snapshot.local(ip.destination).is_some();
        match wrong.filter(|_| is_ours) {
            Some(said) => self.complain(frame, ip, said, reason),
            None => Err(reason),
        }
    }

    /// A fragment of an ICMP message. Pings to own addresses are put together. An error that comes in fragments,
    /// which none needs to (RFC 1812 §4.3.2.3, RFC 4443 §2.4 (c)), would leave untranslated. Others are routed.
    pub(in crate::worker) fn icmp_fragment(&mut self, frame: &mut F, ip: Ip, fragment: Fragment) -> Judged {
        if self.snapshot.local(ip.destination).is_some() {
            return self.fragment_to_us(frame, &ip, fragment);
        }
        let is_error = |kind: u8| match ip.version() {
            IpVersion::Four => icmp::is_error(kind),
            IpVersion::Six => icmp6::is_error(kind),
        };
        let is_error =
            !ip.is_later_fragment() && frame.bytes().get(ip.payload).is_none_or(|kind| is_error(*kind));
        if is_error { Err(DropReason::Fragment) } else { self.route(frame, ip) }
    }
}

impl<Io: FrameIo> Turn<'_, Io> {
    /// All fragments of an SCTP packet, in order.
    pub(in crate::worker) fn pass_pieces(&mut self, pieces: Pieces<Io::Frame>, arrival: InterfaceId) {
        let found = ports_and_length(&pieces);
        for (_, mut frame) in pieces {
            let judged = found
                .ok_or(DropReason::FragmentMalformed)
                .and_then(|(ports, whole)| self.slow(arrival).pass_piece(&mut frame, ports, whole));
            self.settle(frame, judged, arrival);
        }
    }
}

/// The ports of an SCTP packet in these fragments, and its length, in bytes, from its header on. Extension headers that
/// the first fragment has behind the fragment header come before it.
fn ports_and_length<F: Frame>(pieces: &Pieces<F>) -> Option<(Ports, usize)> {
    let ((_, first), (last, _)) = (pieces.first()?, pieces.last()?);
    let ip = read_ip(first.bytes()).ok()?;
    let segment = read_segment(first.bytes(), &ip, Protocol::Sctp).ok()?;
    let before = ip.payload - ip.fragment?.at;
    Some((segment.ends.ports(), usize::from(last.end).checked_sub(before)?))
}

/// Which part of its datagram a fragment is, whose first begins with a transport header of at least `header` bytes.
///
/// # Errors
/// What is wrong with it, if there is a word for it.
pub(in crate::worker) fn piece(ip: &Ip, fragment: &Fragment, header: usize) -> Result<Piece, Option<Said>> {
    let &Fragment { offset, more, at, .. } = fragment;
    let length = ip.end() - at;
    // Headers of IPv6 before the fragment header are part of what a packet may have.
    let (longest, before) = match ip.version() {
        IpVersion::Four => (LONGEST_V4, 0),
        IpVersion::Six => {
            let before = at - at::IPV4 - ipv6::HEADER - ipv6_extensions::FRAGMENT_HEADER;
            (LONGEST_V6 - before as u32, ip.payload - at)
        }
    };
    let header = if offset == 0 { before + header } else { header };
    Piece::within(longest, header, offset, length, more).ok_or({
        if more && !length.is_multiple_of(8) {
            Some(Said::WrongField { pointer: ipv6::field::PAYLOAD_LENGTH })
        } else if u32::from(offset) + length as u32 > longest {
            let fragment_header = at - at::IPV4 - ipv6_extensions::FRAGMENT_HEADER;
            Some(Said::WrongField { pointer: fragment_header + ipv6_extensions::FRAGMENT_OFFSET })
        } else if offset == 0 && length < header {
            Some(Said::IncompleteHeaders)
        } else {
            None
        }
    })
}
