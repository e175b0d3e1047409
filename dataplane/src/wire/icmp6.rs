//! The ICMPv6 header (RFC 4443; types 133 to 137 RFC 4861).

use super::ipv6::Packet;
use super::{be_u16, be_u32, checksum, ipv6, ipv6_extensions};
use std::net::Ipv6Addr;

/// Offsets of the fields.
pub mod field {
    /// The type.
    pub const KIND: usize = 0;
    /// The code, whose meaning depends on the type.
    pub const CODE: usize = 1;
    /// The checksum.
    pub const CHECKSUM: usize = 2;
    /// The identifier of an echo request or reply.
    pub const IDENTIFIER: usize = 4;
    /// The sequence number of an echo request or reply.
    pub const SEQUENCE: usize = 6;
    /// The next hop's MTU, where a packet is too big.
    pub const MTU: usize = 4;
    /// Where in the quoted packet the problem is.
    pub const POINTER: usize = 4;
}

/// Length of the header: type, code, checksum and four bytes that depend on the type.
pub const HEADER: usize = 8;

/// The packet could not be delivered.
pub const DESTINATION_UNREACHABLE: u8 = 1;
/// Larger than the MTU of the link that it was to leave by.
pub const PACKET_TOO_BIG: u8 = 2;
/// The hop limit ran out, or fragments did not arrive in time.
pub const TIME_EXCEEDED: u8 = 3;
/// Some header field is wrong or unknown.
pub const PARAMETER_PROBLEM: u8 = 4;
/// Ping.
pub const ECHO_REQUEST: u8 = 128;
/// Answer to an echo request.
pub const ECHO_REPLY: u8 = 129;
/// Are there routers on the link?
pub const ROUTER_SOLICITATION: u8 = 133;
/// The sender is a router.
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Who has the target address?
pub const NEIGHBOUR_SOLICITATION: u8 = 135;
/// The target address is at this MAC.
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// There is a better first hop.
pub const REDIRECT: u8 = 137;

/// Code of [`DESTINATION_UNREACHABLE`]: there is no route.
pub const NO_ROUTE: u8 = 0;
/// Code of [`DESTINATION_UNREACHABLE`]: forbidden by a rule of the network's operator.
pub const PROHIBITED: u8 = 1;
/// Code of [`DESTINATION_UNREACHABLE`]: the source's scope ends before the destination.
pub const BEYOND_SCOPE: u8 = 2;
/// Code of [`DESTINATION_UNREACHABLE`]: any other reason, such as a neighbour that does not answer.
pub const ADDRESS_UNREACHABLE: u8 = 3;
/// Code of [`DESTINATION_UNREACHABLE`]: nobody listens there.
pub const PORT_UNREACHABLE: u8 = 4;

/// Code of [`TIME_EXCEEDED`]: in transit, the hop limit ran out.
pub const HOP_LIMIT_EXCEEDED: u8 = 0;
/// Code of [`TIME_EXCEEDED`]: fragments of the packet are missing.
pub const REASSEMBLY_TIME_EXCEEDED: u8 = 1;

/// Code of [`PARAMETER_PROBLEM`]: a field's value is wrong.
pub const WRONG_FIELD: u8 = 0;
/// Code of [`PARAMETER_PROBLEM`]: a next header is unknown, or out of place.
pub const UNKNOWN_NEXT_HEADER: u8 = 1;
/// Code of [`PARAMETER_PROBLEM`]: an option is unknown.
pub const UNKNOWN_OPTION: u8 = 2;
/// Code of [`PARAMETER_PROBLEM`]: the first fragment does not have all headers (RFC 7112).
pub const INCOMPLETE_HEADERS: u8 = 3;

/// Code of [`PARAMETER_PROBLEM`]: more extension headers than are processed (RFC 8883).
pub const TOO_MANY_HEADERS: u8 = 8;

/// Whether a message of this type is about another packet, which it quotes (RFC 4443 §2.1).
pub const fn is_error(kind: u8) -> bool {
    kind < 128
}

/// Whether an ICMPv6 error may be sent about a message of this type: not about an error or a redirect
/// (RFC 4443 §2.4 (e)).
pub const fn may_cause_error(kind: u8) -> bool {
    !is_error(kind) && kind != REDIRECT
}

/// Whether a message of this type is one of neighbour discovery. It is for its own link: with a hop limit other than
/// the highest it is ignored (RFC 4861 §6.1, §7.1, §8.1), so that passing it on is of no use.
pub const fn is_neighbour_discovery(kind: u8) -> bool {
    matches!(kind, ROUTER_SOLICITATION..=REDIRECT)
}

/// The type of the message that a packet has as its upper layer: `None` if that is not ICMPv6, cut short, or in a
/// fragment other than the first.
pub fn kind(packet: &Packet<'_>) -> Option<u8> {
    let upper = ipv6_extensions::upper_layer(packet).ok()?;
    let is_message =
        upper.protocol == ipv6::ICMP && upper.fragment.is_none_or(|fragment| fragment.offset == 0);
    packet.bytes().get(upper.offset + field::KIND).copied().filter(|_| is_message)
}

/// A message whose header is complete.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// The message that is a packet's upper layer; `None` if its header is cut short.
    pub fn parse(upper_layer: &'a [u8]) -> Option<Self> {
        (upper_layer.len() >= HEADER).then_some(Self { bytes: upper_layer })
    }

    /// Type.
    pub fn kind(&self) -> u8 {
        self.bytes[field::KIND]
    }

    /// Code, whose meaning depends on the type.
    pub fn code(&self) -> u8 {
        self.bytes[field::CODE]
    }

    /// Identifier of an echo request or reply.
    pub fn identifier(&self) -> u16 {
        be_u16(self.bytes, field::IDENTIFIER)
    }

    /// Sequence number of an echo request or reply.
    pub fn sequence(&self) -> u16 {
        be_u16(self.bytes, field::SEQUENCE)
    }

    /// MTU of the next hop, in bytes, in a message that a packet is too big.
    pub fn mtu(&self) -> u32 {
        be_u32(self.bytes, field::MTU)
    }

    /// Where the problem is in the quoted packet, in bytes from its start; it may lie beyond what is quoted.
    pub fn pointer(&self) -> u32 {
        be_u32(self.bytes, field::POINTER)
    }

    /// What follows the header: an echo's data, or the packet that an error quotes.
    pub fn data(&self) -> &'a [u8] {
        &self.bytes[HEADER..]
    }

    /// Whether the checksum is right. It covers the whole message, and the pseudo-header with the packet's addresses.
    pub fn has_right_checksum(&self, source: Ipv6Addr, destination: Ipv6Addr) -> bool {
        checksum::transport_v6(source, destination, ipv6::ICMP, self.bytes) == 0
    }
}

/// Writes the right checksum into a message between these addresses.
///
/// # Panics
/// If `message` is shorter than [`HEADER`].
pub fn set_checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &mut [u8]) {
    checksum::write(message, field::CHECKSUM, 0);
    let check = checksum::transport_v6(source, destination, ipv6::ICMP, message);
    checksum::write(message, field::CHECKSUM, check);
}

/// Turns the echo request at the start of `message` into its reply; the checksum is updated, so that a wrong one stays
/// wrong. It is that of a packet in which source and destination have changed places; for any other source the change
/// of address is to be added. False, and nothing done, if it is no echo request.
pub fn echo_reply_in_place(message: &mut [u8]) -> bool {
    if message.len() < HEADER || message[field::KIND] != ECHO_REQUEST {
        return false;
    }
    message[field::KIND] = ECHO_REPLY;
    let delta = checksum::delta(&[ECHO_REQUEST, 0], &[ECHO_REPLY, 0]);
    let check = checksum::adjust(checksum::read(message, field::CHECKSUM), delta);
    checksum::write(message, field::CHECKSUM, check);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::icmpv6::{DestUnreachableCode, ParameterProblemCode, TimeExceededCode};
    use etherparse::{Icmpv6Slice, Icmpv6Type, PacketBuilder};
    use proptest::prelude::*;

    const CLIENT: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 6);
    const VIP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 0x100);

    /// A message from `CLIENT` to `VIP`, made by another implementation.
    fn message(kind: Icmpv6Type, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let builder = PacketBuilder::ipv6(CLIENT.octets(), VIP.octets(), 64).icmpv6(kind);
        builder.write(&mut bytes, data).unwrap();
        bytes.split_off(ipv6::HEADER)
    }

    #[test]
    fn what_may_be_done_about_which_types() {
        let all = |is: fn(u8) -> bool| (0..=255).filter(|kind| is(*kind)).collect::<Vec<u8>>();
        assert_eq!(all(is_error), (0..128).collect::<Vec<_>>());
        assert_eq!(all(is_neighbour_discovery), [133, 134, 135, 136, 137]);
        assert!(may_cause_error(ECHO_REQUEST) && may_cause_error(NEIGHBOUR_SOLICITATION));
        assert!(!may_cause_error(TIME_EXCEEDED) && !may_cause_error(REDIRECT) && !may_cause_error(100));
    }

    #[test]
    fn types_and_codes_are_those_of_another_implementation() {
        use DestUnreachableCode as Unreachable;
        use ParameterProblemCode as Problem;
        let unreachable = |code| Icmpv6Type::DestinationUnreachable(code);
        let exceeded = |code| Icmpv6Type::TimeExceeded(code);
        let problem = |code| {
            let header = etherparse::icmpv6::ParameterProblemHeader { code, pointer: 0x0001_0203 };
            Icmpv6Type::ParameterProblem(header)
        };
        for (kind, expected) in [
            (unreachable(Unreachable::NoRoute), (DESTINATION_UNREACHABLE, NO_ROUTE)),
            (unreachable(Unreachable::Prohibited), (DESTINATION_UNREACHABLE, PROHIBITED)),
            (unreachable(Unreachable::BeyondScope), (DESTINATION_UNREACHABLE, BEYOND_SCOPE)),
            (unreachable(Unreachable::Address), (DESTINATION_UNREACHABLE, ADDRESS_UNREACHABLE)),
            (unreachable(Unreachable::Port), (DESTINATION_UNREACHABLE, PORT_UNREACHABLE)),
            (exceeded(TimeExceededCode::HopLimitExceeded), (TIME_EXCEEDED, HOP_LIMIT_EXCEEDED)),
            (
                exceeded(TimeExceededCode::FragmentReassemblyTimeExceeded),
                (TIME_EXCEEDED, REASSEMBLY_TIME_EXCEEDED),
            ),
            (problem(Problem::ErroneousHeaderField), (PARAMETER_PROBLEM, WRONG_FIELD)),
            (problem(Problem::UnrecognizedNextHeader), (PARAMETER_PROBLEM, UNKNOWN_NEXT_HEADER)),
            (problem(Problem::UnrecognizedIpv6Option), (PARAMETER_PROBLEM, UNKNOWN_OPTION)),
            (
                problem(Problem::Ipv6FirstFragmentIncompleteHeaderChain),
                (PARAMETER_PROBLEM, INCOMPLETE_HEADERS),
            ),
            (Icmpv6Type::PacketTooBig { mtu: 1400 }, (PACKET_TOO_BIG, 0)),
            (Icmpv6Type::NeighborSolicitation, (NEIGHBOUR_SOLICITATION, 0)),
        ] {
            let bytes = message(kind, &[1; 40]);
            let ours = Message::parse(&bytes).unwrap();
            assert_eq!((ours.kind(), ours.code()), expected);
            assert!(ours.has_right_checksum(CLIENT, VIP));
        }
        let too_big = message(Icmpv6Type::PacketTooBig { mtu: 0x0001_0203 }, &[]);
        assert_eq!(Message::parse(&too_big).unwrap().mtu(), 0x0001_0203);
        let wrong = message(problem(Problem::ErroneousHeaderField), &[]);
        assert_eq!(Message::parse(&wrong).unwrap().pointer(), 0x0001_0203);
    }

    #[test]
    fn an_echo_request_becomes_its_reply() {
        let header = etherparse::IcmpEchoHeader { id: 0x1234, seq: 7 };
        let mut bytes = message(Icmpv6Type::EchoRequest(header), &[0xab; 5]);
        assert!(echo_reply_in_place(&mut bytes));
        let theirs = Icmpv6Slice::from_slice(&bytes).unwrap();
        assert_eq!(theirs.icmp_type(), Icmpv6Type::EchoReply(header));
        assert!(theirs.is_checksum_valid(VIP.octets(), CLIENT.octets()));
        let reply = Message::parse(&bytes).unwrap();
        assert_eq!((reply.identifier(), reply.sequence(), reply.data()), (0x1234, 7, &[0xab; 5][..]));
        assert!(!echo_reply_in_place(&mut bytes), "a reply is not answered");
        assert!(!echo_reply_in_place(&mut [ECHO_REQUEST, 0, 0]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_as_by_another_parser(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..60), source: u128, destination: u128, right: bool,
        ) {
            let (source, destination) = (source.into(), destination.into());
            if right && bytes.len() >= HEADER {
                set_checksum(source, destination, &mut bytes);
            }
            let (ours, theirs) = (Message::parse(&bytes), Icmpv6Slice::from_slice(&bytes).ok());
            prop_assert_eq!(ours.is_some(), theirs.is_some());
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                prop_assert_eq!((ours.kind(), ours.code()), (theirs.type_u8(), theirs.code_u8()));
                prop_assert_eq!(ours.data(), theirs.payload());
                prop_assert_eq!(ours.mtu().to_be_bytes(), theirs.bytes5to8());
                let valid = theirs.is_checksum_valid(source.octets(), destination.octets());
                prop_assert_eq!(ours.has_right_checksum(source, destination), valid);
                prop_assert!(valid || !right);
            }
        }

        #[test]
        fn a_reply_is_as_right_or_wrong_as_the_request(
            mut bytes in proptest::collection::vec(any::<u8>(), 8..60), right: bool,
        ) {
            bytes[..2].copy_from_slice(&[ECHO_REQUEST, 0]);
            if right {
                set_checksum(CLIENT, VIP, &mut bytes);
            }
            let was_right = Message::parse(&bytes).unwrap().has_right_checksum(CLIENT, VIP);
            prop_assert!(echo_reply_in_place(&mut bytes));
            prop_assert_eq!(Message::parse(&bytes).unwrap().has_right_checksum(VIP, CLIENT), was_right);
        }
    }
}
