//! The ICMP header (RFC 792, RFC 1122 §3.2.2, RFC 1191 §4).

use super::{be_u16, checksum};

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
    /// The next hop's MTU, where fragmentation is needed (RFC 1191).
    pub const MTU: usize = 6;
}

/// Length of the header: type, code, checksum and four bytes that depend on the type.
pub const HEADER: usize = 8;

/// Answer to an echo request.
pub const ECHO_REPLY: u8 = 0;
/// The packet could not be delivered.
pub const DESTINATION_UNREACHABLE: u8 = 3;
/// Send more slowly; deprecated by RFC 6633.
pub const SOURCE_QUENCH: u8 = 4;
/// There is a better first hop.
pub const REDIRECT: u8 = 5;
/// Ping.
pub const ECHO_REQUEST: u8 = 8;
/// The time to live ran out, or fragments did not arrive in time.
pub const TIME_EXCEEDED: u8 = 11;
/// Some header field is wrong.
pub const PARAMETER_PROBLEM: u8 = 12;

/// Code of [`DESTINATION_UNREACHABLE`]: there is no route to the network.
pub const NETWORK_UNREACHABLE: u8 = 0;
/// Code of [`DESTINATION_UNREACHABLE`]: the host does not answer, or there is no route to it.
pub const HOST_UNREACHABLE: u8 = 1;
/// Code of [`DESTINATION_UNREACHABLE`]: the host does not speak the protocol.
pub const PROTOCOL_UNREACHABLE: u8 = 2;
/// Code of [`DESTINATION_UNREACHABLE`]: nobody listens there.
pub const PORT_UNREACHABLE: u8 = 3;
/// Code of [`DESTINATION_UNREACHABLE`]: larger than the MTU, and DF is set.
pub const FRAGMENTATION_NEEDED: u8 = 4;

/// The highest type that RFC 792 and RFC 950 define.
const LAST_TYPE: u8 = 18;

/// Whether a message of this type is about another packet, which it quotes.
pub const fn is_error(kind: u8) -> bool {
    matches!(kind, DESTINATION_UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM)
}

/// Whether a message of this type is one that no router passes on: source quench, which is to be discarded wherever it
/// arrives (RFC 6633 §8), and redirect, which is one router's word to a host of its own link.
pub const fn is_never_passed_on(kind: u8) -> bool {
    matches!(kind, SOURCE_QUENCH | REDIRECT)
}

/// Whether an ICMP error may be sent about a message of this type: not about an error, nor about
/// one that might be (RFC 1122 §3.2.2).
pub const fn may_cause_error(kind: u8) -> bool {
    !is_error(kind) && kind <= LAST_TYPE
}

/// A message whose header is complete.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// The message that an IPv4 payload is; `None` if its header is cut short.
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        (payload.len() >= HEADER).then_some(Self { bytes: payload })
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

    /// MTU of the next hop in a message that fragmentation is needed (RFC 1191); 0: not told.
    pub fn mtu(&self) -> u16 {
        be_u16(self.bytes, field::MTU)
    }

    /// What follows the header: an echo's data, or the packet that an error quotes.
    pub fn data(&self) -> &'a [u8] {
        &self.bytes[HEADER..]
    }

    /// Whether the checksum, which covers the whole message, is right.
    pub fn has_right_checksum(&self) -> bool {
        checksum::sum(self.bytes) == 0xffff
    }
}

/// Turns the echo request at the start of `message` into its reply; the checksum is updated, so
/// that a wrong one stays wrong. False, and nothing done, if it is no echo request.
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
    use proptest::prelude::*;

    #[test]
    fn which_types_are_errors() {
        let errors: Vec<u8> = (0..=255).filter(|kind| is_error(*kind)).collect();
        assert_eq!(errors, [3, 4, 5, 11, 12]);
        let kept: Vec<u8> = (0..=255).filter(|kind| is_never_passed_on(*kind)).collect();
        assert_eq!(kept, [4, 5]);
        assert!(may_cause_error(ECHO_REQUEST) && !may_cause_error(TIME_EXCEEDED) && !may_cause_error(99));
    }

    #[test]
    fn an_echo_request_byte_by_byte() {
        let mut bytes = [8, 0, 0, 0, 0x12, 0x34, 0, 1, 0xab];
        let check = !checksum::sum(&bytes);
        checksum::write(&mut bytes, field::CHECKSUM, check);
        assert!(echo_reply_in_place(&mut bytes));
        let reply = Message::parse(&bytes).unwrap();
        assert_eq!((reply.kind(), reply.code(), reply.identifier(), reply.sequence()), (0, 0, 0x1234, 1));
        assert_eq!(reply.data(), [0xab]);
        assert!(reply.has_right_checksum());
        assert!(!echo_reply_in_place(&mut bytes), "a reply is not answered");
        assert!(!echo_reply_in_place(&mut [8, 0, 0]));
    }

    proptest! {
        #[test]
        fn a_reply_is_as_right_or_wrong_as_the_request(
            mut bytes in proptest::collection::vec(any::<u8>(), 8..60), right: bool,
        ) {
            bytes[..2].copy_from_slice(&[8, 0]);
            if right {
                checksum::write(&mut bytes, field::CHECKSUM, 0);
                let check = !checksum::sum(&bytes);
                checksum::write(&mut bytes, field::CHECKSUM, check);
            }
            let was_right = Message::parse(&bytes).unwrap().has_right_checksum();
            prop_assert!(echo_reply_in_place(&mut bytes));
            // An all-zero reply with checksum 0xffff or 0: both stand for 0, no sum tells them apart.
            prop_assume!(bytes[4..].iter().any(|byte| *byte != 0));
            prop_assert_eq!(Message::parse(&bytes).unwrap().has_right_checksum(), was_right);
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let message = Message::parse(&bytes);
            prop_assert_eq!(message.is_some(), bytes.len() >= HEADER);
            if let Some(message) = message {
                prop_assert_eq!(message.data().len() + HEADER, bytes.len());
            }
        }
    }
}
