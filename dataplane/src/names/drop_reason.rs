//! Why a packet is dropped.

macro_rules! drop_reasons {
    ($($variant:ident $name:literal $text:literal)*) => {
        /// Why a packet was dropped. The one list of reasons: names, texts and counters come from it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $(#[doc = $text] $variant,)*
        }

        impl DropReason {
            /// Every reason, in the order of their discriminants.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in counters and JSON.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// One line for an operator.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

drop_reasons! {
    OtherHost "other_host" "the frame is addressed to another MAC"
    Malformed "malformed" "a header is cut short or contradicts itself"
    Truncated "truncated" "the IPv4 packet is longer than its frame: segments merged (GRO) or fragments put together before they came here, or a buffer that is too small"
    Segmented "segmented" "the frame came in several buffers: larger than the size of a buffer"
    HeaderChecksum "header_checksum" "the IPv4 header checksum is wrong"
    Vlan "vlan" "the frame has the tag of a VLAN (one with number 0 only carries a priority, and is as none)"
    Ipv6 "ipv6" "IPv6, and the port has no IPv6 address"
    EtherType "ethertype" "neither IPv4 nor ARP"
    Arp "arp" "an ARP message that is malformed or concerns nobody we know"
    Ndp "ndp" "a message of neighbour discovery that is malformed, comes from beyond the link or concerns nobody we know"
    RouterDiscovery "router_discovery" "a router solicitation or advertisement or a redirect of ICMPv6: addresses and routes are configured"
    Mld "mld" "a message of multicast listener discovery that is no valid query about a group that is listened to"
    IpOptions "ip_options" "the packet has an IPv4 option that RFC 7126 advises to drop"
    RoutingHeader "routing_header" "an IPv6 packet that an own address is to send on to another: no routing header is done (RFC 5095)"
    Martian "martian" "source or destination is an address that must not be on the wire, or the source belongs on another interface than the one it came by"
    Broadcast "broadcast" "a broadcast or multicast packet"
    Fragment "fragment" "a fragment of an ICMP message to an own address that is no ping, or of an ICMP error: these are not put together"
    FragmentMalformed "fragment_malformed" "a fragment that is empty, of an odd length, or cuts the transport header (RFC 1858, RFC 3128)"
    FragmentOverlap "fragment_overlap" "a fragment that repeats or overlaps another of its datagram"
    FragmentRefused "fragment_refused" "a fragment whose datagram was given up: its first one was dropped or refused, or two overlapped"
    FragmentExpired "fragment_expired" "a fragment that waited in vain for the first one of its datagram; of a ping, for any"
    FragmentQueueFull "fragment_queue_full" "a fragment that there was no room for: too many wait for the first of their datagrams, or too many are missing"
    TtlExceeded "ttl_exceeded" "the time to live ran out here"
    TooBig "too_big" "larger than the MTU on the way out and DF is set: ICMP says so to the sender"
    WouldFragment "would_fragment" "larger than the MTU on the way out: would make more than 64 fragments"
    NoReal "no_real" "the service has no available real"
    NoService "no_service" "an own address, but no service and no connection"
    NoConnection "no_connection" "a TCP segment to a service that neither belongs to nor opens a connection"
    FtpDataPort "ftp_data_port" "source port 20 is never scheduled (as in IPVS)"
    RealRemoved "real_removed" "towards a real or service that has been removed"
    ConnectionReset "connection_reset" "of a connection that is reset because its real or service has been removed, or the real is emptied (drain --then reset)"
    RealWithoutConnection "real_without_connection" "from a service's endpoint, but of no connection"
    TableFull "table_full" "no room in the connection table"
    ClientEndpointFull "client_endpoint_full" "one client address and port has too many connections"
    ReplyCollision "reply_collision" "every available real already serves this client endpoint for another service"
    IcmpChecksum "icmp_checksum" "the ICMP checksum is wrong"
    IcmpUnmatched "icmp_unmatched" "an ICMP message to an own address that belongs to no connection, or about a later fragment, which has no ports"
    IcmpType "icmp_type" "an ICMP source quench, which is obsolete (RFC 6633), or a redirect, which concerns its own link alone"
    Protocol "protocol" "a protocol other than TCP, UDP and ICMP to an own address"
    NoRoute "no_route" "no route to the destination"
    Unrouted "unrouted" "of no connection, and unmatched packets are not routed"
    SentBack "sent_back" "of no connection, and the route leads back to where it came from: an address that nobody has, or a loop"
    NextHopUnresolved "next_hop_unresolved" "the next hop does not answer ARP or neighbour discovery"
    NextHopQueueFull "next_hop_queue_full" "too many packets wait for next hops"
    HandOverFull "hand_over_full" "the ring to the worker that owns the packet is full"
    PersistenceChanged "persistence_changed" "opens a connection of a persistent service whose reals or settings changed while the worker with the client's template was asked"
    Inheriting "inheriting" "of no connection that is known yet, while connections and templates of an earlier process are still taken over: no answer, so that it is sent again"
    NoBuffer "no_buffer" "the mempool is used up"
    TransmitFull "transmit_full" "the device did not take the frame in time"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_numbered_in_order_and_names_are_unique() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
        let names: std::collections::HashSet<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), DropReason::ALL.len());
    }
}
