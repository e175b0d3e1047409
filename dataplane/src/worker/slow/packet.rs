//! Everything that is not an established connection's plain packet, one packet at a time: new
//! connections, ICMP, ARP, routing, and whatever is wrong. Follows the order in which Linux and IPVS
//! judge a packet.

use crate::connection::table::{ClientKey, Entry, Slot};
use crate::connection::{State, TcpEvent};
use crate::fragments;
use crate::frame::{Frame, FrameIo};
use crate::names::direction::Direction;
use crate::names::family::V4;
use crate::names::ids::{InterfaceId, NeighbourKey, NextHopId, Protocol};
use crate::names::mac::Mac;
use crate::names::time::Now;
use crate::names::verdict::{DropReason, Verdict};
use crate::snapshot::{IpOptions, Snapshot, Unmatched};
use crate::wire::options::{self, Advice};
use crate::wire::{addresses, checksum, ethernet, ipv4, tcp};
use crate::worker::Handler;
use crate::worker::fast::decode::at;
use crate::worker::fast::rewrite;
use std::net::{IpAddr, SocketAddr};

/// The way of one packet through the exception path: who it came from, and what it runs on.
#[derive(Clone, Copy)]
pub(in crate::worker) struct Context<'a> {
    pub(in crate::worker) snapshot: &'a Snapshot,
    pub(in crate::worker) port: InterfaceId,
    pub(in crate::worker) now: Now,
}

/// What the exception path knows of an IPv4 packet.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct Ip {
    pub(in crate::worker) source: IpAddr,
    pub(in crate::worker) destination: IpAddr,
    pub(in crate::worker) protocol: u8,
    pub(in crate::worker) ttl: u8,
    pub(in crate::worker) length: u16,
    pub(in crate::worker) dont_fragment: bool,
    pub(in crate::worker) id: u16,
    /// Of a fragment: where in the datagram's payload its own begins, in bytes.
    pub(in crate::worker) fragment_offset: u16,
    pub(in crate::worker) more_fragments: bool,
    /// Offset of the payload in the frame.
    pub(in crate::worker) payload: usize,
}

impl Ip {
    pub(in crate::worker) const fn is_fragment(&self) -> bool {
        self.fragment_offset != 0 || self.more_fragments
    }

    pub(in crate::worker) const fn has_options(&self) -> bool {
        self.payload > at::IPV4 + ipv4::HEADER
    }

    /// Whether the transport header is in another fragment.
    pub(in crate::worker) const fn is_later_fragment(&self) -> bool {
        self.fragment_offset != 0
    }
}

/// What it knows of a TCP or UDP packet.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct Segment {
    pub(in crate::worker) protocol: Protocol,
    pub(in crate::worker) source: SocketAddr,
    pub(in crate::worker) destination: SocketAddr,
    /// Of a TCP segment; `Ack` for UDP, which has no events.
    pub(in crate::worker) event: TcpEvent,
}

/// A connection that was found.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct Found {
    pub(in crate::worker) slot: Slot,
    pub(in crate::worker) entry: Entry,
    pub(in crate::worker) direction: Direction,
}

impl<Io: FrameIo> Handler<Io> {
    /// Handles one frame to its end.
    pub(in crate::worker) fn exception(
        &mut self,
        port: InterfaceId,
        frame: Io::Frame,
        snapshot: &Snapshot,
        now: Now,
    ) {
        self.handle(frame, Context { snapshot, port, now });
        self.handle_released_fragments(snapshot, now);
    }

    pub(in crate::worker) fn handle(&mut self, mut frame: Io::Frame, context: Context<'_>) {
        if !self.io.peers.is_alone()
            && let Some(verdict) = self.hand_over(&frame, context.port, context.snapshot)
        {
            return self.conclude(verdict, frame);
        }
        match self.judge(&mut frame, context) {
            Judgement::Conclude(verdict) => self.conclude(verdict, frame),
            Judgement::Await(key) => self.hold(key, frame, context),
            Judgement::Early(key) => self.hold_fragment(key, frame, context),
            Judgement::Gather(address, piece) => self.gather(address, piece, frame, context),
        }
    }

    fn judge(&mut self, frame: &mut Io::Frame, context: Context<'_>) -> Judgement {
        match self.link_layer(frame, context) {
            Ok(judgement) => judgement,
            Err(reason) => Judgement::Conclude(Verdict::Drop(reason)),
        }
    }

    /// Which protocol, and is it for us?
    fn link_layer(&mut self, frame: &mut Io::Frame, context: Context<'_>) -> Result<Judgement, DropReason> {
        if !frame.is_whole() {
            return Err(DropReason::Segmented);
        }
        let port = &context.snapshot.interfaces[context.port.index()];
        let bytes = frame.bytes();
        let header = ethernet::Header::parse(bytes).ok_or(DropReason::Malformed)?;
        if header.destination != port.mac && !header.destination.is_group() {
            return Err(DropReason::OtherHost);
        }
        match header.ether_type {
            ethernet::IPV4 => {}
            ethernet::ARP => return self.arp(frame, context).map(Judgement::Conclude),
            ethernet::VLAN | ethernet::SERVICE_VLAN => return Err(DropReason::Vlan),
            ethernet::IPV6 => return Err(DropReason::Ipv6),
            _ => return Err(DropReason::EtherType),
        }
        let ip = read_ip(bytes)?;
        if usize::from(ip.length) > usize::from(port.mtu) {
            self.counters.merged_segments[context.port.index()].add(1);
        }
        if header.destination.is_group() {
            return Err(DropReason::Broadcast);
        }
        self.network_layer(frame, ip, context)
    }

    /// To us, or through us?
    fn network_layer(
        &mut self,
        frame: &mut Io::Frame,
        ip: Ip,
        context: Context<'_>,
    ) -> Result<Judgement, DropReason> {
        let snapshot = context.snapshot;
        if addresses::is_martian(ip.source)
            || addresses::is_martian_destination(ip.destination)
            || snapshot.is_link_broadcast(ip.source)
            || snapshot.local(ip.source).is_some()
            || snapshot.belongs_elsewhere(ip.source, context.port)
        {
            return Err(DropReason::Martian);
        }
        if addresses::is_group(ip.destination) || snapshot.is_link_broadcast(ip.destination) {
            return Err(DropReason::Broadcast);
        }
        if ip.has_options() && snapshot.ip_options == IpOptions::Filter {
            match options::advice(&frame.bytes()[at::IPV4..ip.payload]) {
                Advice::Pass => {}
                Advice::Drop(_) => return Err(DropReason::IpOptions),
                Advice::Malformed(pointer) => return Ok(self.parameter_problem(frame, pointer, ip, context)),
            }
        }
        let local = snapshot.local(ip.destination).is_some();
        match Protocol::from_number(ip.protocol) {
            Some(protocol) if ip.is_fragment() => self.fragment(frame, ip, protocol, context),
            Some(protocol) => {
                let segment = read_segment(frame.bytes(), &ip, protocol)?;
                self.transport_layer(frame, ip, segment, context)
            }
            None if ip.protocol == ipv4::ICMP && ip.is_fragment() => self.icmp_fragment(frame, ip, context),
            None if ip.protocol == ipv4::ICMP => {
                if local {
                    self.icmp_to_us(frame, ip, context)
                } else {
                    self.icmp_through(frame, ip, context)
                }
            }
            None if local => Ok(self.protocol_unreachable(frame, ip, context)),
            None => self.route(frame, ip, context),
        }
    }

    /// TCP or UDP, or a fragment of it whose ports are known.
    pub(in crate::worker) fn transport_layer(
        &mut self,
        frame: &mut Io::Frame,
        ip: Ip,
        segment: Segment,
        context: Context<'_>,
    ) -> Result<Judgement, DropReason> {
        if context.snapshot.local(ip.destination).is_some() {
            self.client_side(frame, ip, segment, context)
        } else {
            self.passing(frame, ip, segment, context)
        }
    }

    /// TCP or UDP to an own address: a connection's packet, or the first of a new one.
    fn client_side(
        &mut self,
        frame: &mut Io::Frame,
        ip: Ip,
        segment: Segment,
        context: Context<'_>,
    ) -> Result<Judgement, DropReason> {
        if let Some(found) = self.find(&segment, Direction::Forward, context) {
            let reopens = segment.event == TcpEvent::Syn && found.entry.state().is_closing();
            if !reopens {
                if context.snapshot.rewrite(found.entry.real()).is_removed() {
                    return Err(DropReason::RealRemoved);
                }
                return self.translate(frame, ip, &segment, found, context);
            }
            // conn_reuse_mode=1: the old connection is forgotten, the SYN is scheduled.
            self.table.remove(found.slot, &self.counters);
        }
        if ip.is_later_fragment() {
            return Err(DropReason::FragmentRefused); // its connection went while it was on its way
        }
        match self.new_connection(&ip, &segment, context) {
            Ok(found) => self.translate(frame, ip, &segment, found, context),
            Err(refusal) => Ok(self.refuse(frame, &segment, refusal, context)),
        }
    }

    /// TCP or UDP to somebody else: a reply, or a packet of no connection on its way.
    fn passing(
        &mut self,
        frame: &mut Io::Frame,
        ip: Ip,
        segment: Segment,
        context: Context<'_>,
    ) -> Result<Judgement, DropReason> {
        if let Some(found) = self.find(&segment, Direction::Reverse, context) {
            return self.translate(frame, ip, &segment, found, context);
        }
        if !context.snapshot.is_endpoint(segment.protocol, segment.source) {
            return self.route(frame, ip, context);
        }
        match segment.protocol {
            Protocol::Tcp if self.is_reals_own(frame.bytes(), &ip, &segment, context) => {
                self.route(frame, ip, context)
            }
            Protocol::Tcp => Ok(self.answer_with_reset(frame, DropReason::RealWithoutConnection, context)),
            // To a client that has a connection it would not come from the address that the client knows.
            Protocol::Udp if self.is_client(&segment, context) => Err(DropReason::RealWithoutConnection),
            Protocol::Udp => self.route(frame, ip, context),
        }
    }

    /// Whether a segment from a port of a service is of a connection that the real itself has opened: it begins with a
    /// SYN. Any other is of a client's that has been forgotten.
    fn is_reals_own(&mut self, bytes: &[u8], ip: &Ip, segment: &Segment, context: Context<'_>) -> bool {
        let Segment { source, destination, .. } = *segment;
        let flags = bytes.get(ip.payload + tcp::field::FLAGS).copied().unwrap_or_default();
        let opens = flags & (tcp::SYN | tcp::ACK | tcp::RST) == tcp::SYN && !ip.is_later_fragment();
        if opens {
            self.own_connections.open(source, destination, context.now);
        }
        opens || self.own_connections.has(source, destination, context.now)
    }

    /// Whether the receiver of a segment has any live connection.
    fn is_client(&self, segment: &Segment, context: Context<'_>) -> bool {
        let Context { snapshot, now, .. } = context;
        let Some(key) = client_key(segment.destination, segment.protocol) else { return false };
        let lives = |entry: Entry| !entry.is_dead(snapshot.clock(now.tick()));
        self.table.find(self.table.hash(key), key, lives).is_some()
    }

    /// The live connection of a packet in this direction; of a removed real too.
    pub(in crate::worker) fn find(
        &self,
        segment: &Segment,
        direction: Direction,
        context: Context<'_>,
    ) -> Option<Found> {
        let Context { snapshot, now, .. } = context;
        let (client, far) = match direction {
            Direction::Forward => (segment.source, segment.destination),
            Direction::Reverse => (segment.destination, segment.source),
        };
        let key = client_key(client, segment.protocol)?;
        let belongs = |entry: Entry| {
            let real = snapshot.real_key(entry.real());
            let matches = real.is_some_and(|real| match direction {
                Direction::Forward => real.service.listen == far,
                Direction::Reverse => real.endpoint == far,
            });
            matches && !entry.is_dead(snapshot.clock(now.tick()))
        };
        let (slot, entry) = self.table.find(self.table.hash(key), key, belongs)?;
        Some(Found { slot, entry, direction })
    }

    /// A packet of a connection: TTL and MTU, the next hop, then the translation. The connection
    /// takes note of the packet even if it goes no further, as in IPVS.
    fn translate(
        &mut self,
        frame: &mut Io::Frame,
        ip: Ip,
        segment: &Segment,
        found: Found,
        context: Context<'_>,
    ) -> Result<Judgement, DropReason> {
        let snapshot = context.snapshot;
        let real = found.entry.real();
        let record = snapshot.rewrite(real);
        let speaker = match found.direction {
            Direction::Forward => Some(ip.destination),
            Direction::Reverse => snapshot.own_address(context.port),
        };
        let Some(way) = self.way(found, ip.destination, snapshot) else {
            return Ok(self.obstructed(frame, Obstacle::NoRoute, speaker, context));
        };

        if let Some(obstacle) = self.obstacle(&ip, way.hop.interface, context) {
            self.note_packet(found, segment.event, &ip, context);
            return Ok(self.obstructed(frame, obstacle, speaker, context));
        }
        let Some((id, destination)) = self.resolved(way.hop, way.known) else {
            return Ok(Judgement::Await(way.hop)); // nothing is done yet: it walks this path again
        };
        if found.direction == Direction::Reverse && id != way.known {
            self.table.set_next_hop(found.slot, id);
        }
        self.note_packet(found, segment.event, &ip, context);
        let bytes = frame.bytes_mut();
        if ip.is_later_fragment() {
            rewrite::translate_later_fragment(bytes, found.direction, record);
        } else {
            let check_at = ip.payload + checksum::offset_in(segment.protocol);
            rewrite::translate(bytes, ip.payload, check_at, found.direction, record);
        }
        rewrite::address_frame(bytes, destination.bits(), snapshot.mac_bits(way.hop.interface));
        Ok(leaving(&ip, way.hop.interface, snapshot))
    }

    /// The way of a connection's packets, and of the errors about them: towards the real, or back to `client` by the
    /// port that its packets came by. It is the one that the fast path takes, by the same ids.
    pub(in crate::worker) fn way(&self, found: Found, client: IpAddr, snapshot: &Snapshot) -> Option<Way> {
        let (known, hop) = match found.direction {
            Direction::Forward => {
                let real = snapshot.real_key(found.entry.real())?;
                let known = snapshot.rewrite(found.entry.real()).next_hop();
                (known, snapshot.routes.to_real(real.endpoint.ip())?)
            }
            Direction::Reverse => {
                let known = found.entry.next_hop();
                let arrival = known.only_interface().or_else(|| self.next_hops.get(known).last_interface());
                let hop = match arrival {
                    Some(port) => snapshot.routes.to_client(client, port)?.key,
                    None => snapshot.routes.next(client)?,
                };
                (known, hop)
            }
        };
        Some(Way { hop, known })
    }

    /// A fragment other than the first only counts as traffic.
    fn note_packet(&mut self, found: Found, event: TcpEvent, ip: &Ip, context: Context<'_>) {
        if ip.is_later_fragment() {
            self.counters.real(found.entry.real()).count(found.direction, ip.length);
        } else {
            self.note(found.slot, found.direction, event, ip.length, context.now.tick());
        }
    }

    /// A packet of no connection, towards somebody else.
    pub(in crate::worker) fn route(
        &mut self,
        frame: &mut Io::Frame,
        ip: Ip,
        context: Context<'_>,
    ) -> Result<Judgement, DropReason> {
        let Context { snapshot, port, .. } = context;
        if snapshot.unmatched == Unmatched::Drop {
            return Err(DropReason::Unrouted);
        }
        let speaker = snapshot.own_address(port);
        let routes = &snapshot.routes;
        let is_server = snapshot.is_server(ip.destination);
        let hop = if is_server { routes.to_real(ip.destination) } else { routes.next(ip.destination) };
        let Some(hop) = hop else {
            return Ok(self.obstructed(frame, Obstacle::NoRoute, speaker, context));
        };
        let resolved = self.resolved(hop, NextHopId::UNKNOWN);
        let sender = ethernet::Header::parse(frame.bytes()).map(|header| header.source);
        let is_sender = |mac: Mac| hop.interface == port && Some(mac) == sender;
        if resolved.is_some_and(|(_, mac)| is_sender(mac))
            || !is_server && routes.turns_back(ip.source, ip.destination, port)
        {
            return Err(DropReason::SentBack);
        }
        if let Some(obstacle) = self.obstacle(&ip, hop.interface, context) {
            return Ok(self.obstructed(frame, obstacle, speaker, context));
        }
        let Some((_, destination)) = resolved else {
            return Ok(Judgement::Await(hop));
        };
        let bytes = frame.bytes_mut();
        rewrite::decrement_ttl(bytes);
        rewrite::address_frame(bytes, destination.bits(), snapshot.mac_bits(hop.interface));
        self.counters.routed.add(1);
        Ok(leaving(&ip, hop.interface, snapshot))
    }

    /// What keeps a packet from leaving on `out`.
    pub(in crate::worker) fn obstacle(
        &self,
        ip: &Ip,
        out: InterfaceId,
        context: Context<'_>,
    ) -> Option<Obstacle> {
        let mtu = context.snapshot.interfaces[out.index()].mtu;
        if ip.ttl <= 1 {
            Some(Obstacle::Ttl)
        } else if ip.length > mtu && ip.dont_fragment {
            Some(Obstacle::TooBig { mtu })
        } else {
            None
        }
    }

    /// The id and MAC of a next hop: by its known id, or looked up.
    pub(in crate::worker) fn resolved(
        &self,
        hop: NeighbourKey,
        known: NextHopId,
    ) -> Option<(NextHopId, Mac)> {
        let id = if known.is_known() { known } else { *self.neighbours.get(&hop)? };
        let next_hop = self.next_hops.get(id);
        next_hop.is_resolved().then(|| (id, next_hop.mac()))
    }
}

/// Where a connection's packets are sent next.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct Way {
    pub(in crate::worker) hop: NeighbourKey,
    /// Its id, as far as it has been given one.
    pub(in crate::worker) known: NextHopId,
}

/// What the exception path comes to.
pub(in crate::worker) enum Judgement {
    Conclude(Verdict),
    /// The packet is as it came in, and waits until this neighbour's MAC is known.
    Await(NeighbourKey),
    /// The packet is as it came in, a fragment that waits for the first of this datagram.
    Early(fragments::Key),
    /// The packet is as it came in, this fragment of a ping.
    Gather(fragments::Address, fragments::Piece),
}

/// Why a packet cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Obstacle {
    Ttl,
    TooBig { mtu: u16 },
    NoRoute,
}

/// How a packet that nothing keeps from it leaves on `out`: whole, or in fragments.
pub(in crate::worker) fn leaving(ip: &Ip, out: InterfaceId, snapshot: &Snapshot) -> Judgement {
    let mtu = snapshot.interfaces[out.index()].mtu;
    let fits = ip.length <= mtu;
    Judgement::Conclude(if fits { Verdict::Forward(out) } else { Verdict::Fragment { port: out, mtu } })
}

/// The key that finds a client's connections.
pub(in crate::worker) fn client_key(client: SocketAddr, protocol: Protocol) -> Option<ClientKey> {
    Some(ClientKey::new(V4::endpoint_bits(client)?, protocol.number()))
}

/// Reads and checks the IPv4 header of a frame.
pub(in crate::worker) fn read_ip(bytes: &[u8]) -> Result<Ip, DropReason> {
    let packet = ipv4::Packet::in_frame(bytes).map_err(|flaw| match flaw {
        ipv4::Flaw::Truncated => DropReason::Truncated,
        ipv4::Flaw::Malformed => DropReason::Malformed,
    })?;
    if !packet.has_right_checksum() {
        return Err(DropReason::HeaderChecksum);
    }
    Ok(Ip {
        source: packet.source().into(),
        destination: packet.destination().into(),
        protocol: packet.protocol(),
        ttl: packet.ttl(),
        length: packet.total_length(),
        dont_fragment: packet.dont_fragment(),
        id: packet.id(),
        fragment_offset: packet.fragment_offset(),
        more_fragments: packet.more_fragments(),
        payload: at::IPV4 + packet.header_length(),
    })
}

/// Reads the transport header as far as it is needed. A header that is cut short is malformed.
pub(in crate::worker) fn read_segment(
    bytes: &[u8],
    ip: &Ip,
    protocol: Protocol,
) -> Result<Segment, DropReason> {
    let end = at::IPV4 + usize::from(ip.length);
    let transport = &bytes[ip.payload..end];
    let least = if protocol == Protocol::Tcp { 20 } else { 8 };
    if transport.len() < least {
        return Err(DropReason::Malformed);
    }
    let port = |at: usize| u16::from_be_bytes([transport[at], transport[at + 1]]);
    Ok(Segment {
        protocol,
        source: SocketAddr::new(ip.source, port(0)),
        destination: SocketAddr::new(ip.destination, port(2)),
        event: if protocol == Protocol::Tcp { TcpEvent::of(transport[13]) } else { TcpEvent::Ack },
    })
}

/// The state that a connection begins in, with its first packet from the client.
pub(in crate::worker) const fn first_state(protocol: Protocol, event: TcpEvent) -> State {
    match protocol {
        Protocol::Tcp => State::None.after(Direction::Forward, event),
        Protocol::Udp => State::UdpUnanswered,
    }
}
