//! Fragments: which connection they belong to, in what order they go on.
//!
//! Two halves that know little of each other: the tracker resolves a fragment to its ports, and
//! [`transport_layer`](Slow::transport_layer) does with a packet of known ports what is to be done.

use super::Slow;
use super::packet::{Fragment, Ip, Segment, read_ip, read_segment};
use crate::exchange::peers::Purpose;
use crate::fragments::{Key, Outcome, Piece, Ports};
use crate::frame::Frame;
use crate::names::drop_reason::DropReason;
use crate::names::ids::Protocol;
use crate::wire::icmp;
use crate::worker::fate::{Fate, Judged};
use crate::worker::flows::Ends;

impl<F: Frame> Slow<'_, F> {
    /// A fragment of TCP or UDP.
    pub(in crate::worker) fn fragment(
        &mut self,
        frame: &mut F,
        ip: Ip,
        fragment: Fragment,
        protocol: Protocol,
    ) -> Judged {
        let Self { snapshot, arrival, now, .. } = *self;
        // Neither to a service nor from a real: no connection's, whatever its ports.
        if snapshot.local(ip.destination).is_none() && !snapshot.is_server(ip.source) {
            return self.route(frame, ip);
        }
        let piece = Piece::new(fragment.offset, ip.payload_length(), fragment.more, protocol)
            .ok_or(DropReason::FragmentMalformed)?;
        let side = snapshot.interfaces[arrival.index()].side;
        let key = Key::new(ip.source, ip.destination, protocol, fragment.id, side).ok_or(DropReason::Ipv6)?;
        let segment = match self.held.fragments.resolve(key, piece, now) {
            Outcome::Begins => read_segment(frame.bytes(), &ip, protocol)?,
            Outcome::Follows(ports) => Segment::later(&ip, protocol, ports),
            Outcome::Early => return Ok(Fate::AwaitFirstFragment(key)),
            Outcome::Refused => return Err(DropReason::FragmentRefused),
            Outcome::Repeats => return Err(DropReason::FragmentOverlap),
            Outcome::Overlaps => {
                self.refuse_datagram(key);
                return Err(DropReason::FragmentOverlap);
            }
            Outcome::TooManyGaps => return Err(DropReason::FragmentQueueFull),
        };
        let ports = segment.ends.ports();
        let judged = match self.owner_elsewhere(&segment.ends) {
            Some(to) => Ok(Fate::HandOver { to, arrival, purpose: Purpose::Fragment(ports) }),
            None => self.transport_layer(frame, ip, segment),
        };
        match judged {
            Ok(Fate::Sent(_) | Fate::SentInFragments { .. } | Fate::HandOver { .. }) => {
                self.learn_first(key, piece, ports);
                self.held.fragments.pass(key, piece, now);
            }
            // It comes this way again, and the others wait behind it.
            Ok(Fate::Await(_) | Fate::AwaitTo(..)) => self.learn_first(key, piece, ports),
            // Without one fragment the datagram is worth nothing to anybody.
            _ => self.refuse_datagram(key),
        }
        judged
    }

    /// Remembers the ports of a first fragment, for the others of its datagram.
    fn learn_first(&mut self, key: Key, piece: Piece, ports: Ports) {
        if piece.is_first() {
            let given_up = self.held.fragments.learn(key, ports, self.now);
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

    /// A fragment that another worker has found the ports of.
    pub(in crate::worker) fn fragment_with_ports(&mut self, frame: &mut F, ports: Ports) -> Judged {
        let ip = read_ip(frame.bytes())?;
        let protocol = Protocol::from_number(ip.protocol).ok_or(DropReason::Protocol)?;
        let segment = if ip.is_later_fragment() {
            Segment::later(&ip, protocol, ports)
        } else {
            read_segment(frame.bytes(), &ip, protocol)?
        };
        self.transport_layer(frame, ip, segment)
    }

    /// A fragment of an ICMP message. Pings to own addresses are put together. An error that comes in fragments,
    /// which none needs to (RFC 1812 §4.3.2.3), would leave untranslated. Others are routed.
    pub(in crate::worker) fn icmp_fragment(&mut self, frame: &mut F, ip: Ip, fragment: Fragment) -> Judged {
        if self.snapshot.local(ip.destination).is_some() {
            return self.fragment_to_us(frame, &ip, fragment);
        }
        let is_error =
            !ip.is_later_fragment() && frame.bytes().get(ip.payload).is_none_or(|kind| icmp::is_error(*kind));
        if is_error { Err(DropReason::Fragment) } else { self.route(frame, ip) }
    }
}
