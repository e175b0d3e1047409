//! Which part of its datagram a fragment is.

use crate::names::ids::Protocol;

/// The longest payload of an IPv4 datagram, in bytes: with the shortest header it is 65,535 long (RFC 791).
pub(crate) const LONGEST_V4: u32 = 65_515;
/// Likewise, of an IPv6 packet, extension headers included (RFC 8200 §4.5).
pub(crate) const LONGEST_V6: u32 = 65_535;

/// A fragment's part of its datagram's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Offset of its first byte.
    pub start: u16,
    /// Offset of the byte after its last.
    pub end: u16,
    /// Whether it is the last part.
    pub is_last: bool,
}

/// The ports that a transport header begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// The sender's.
    pub source: u16,
    /// The receiver's.
    pub destination: u16,
}

impl Piece {
    /// The part of `length` bytes at `offset`, in IPv4. `None` if no sender in good faith makes such a fragment:
    ///
    /// - empty, or beyond the longest datagram;
    /// - not the last, and no multiple of 8 bytes long (RFC 791 §3.2);
    /// - the first, and without a whole transport header (RFC 1858 §3.1, RFC 3128);
    /// - a later one that begins in the transport header (RFC 1858 §3.2).
    pub fn new(offset: u16, length: usize, more: bool, protocol: Protocol) -> Option<Self> {
        Self::within(LONGEST_V4, least_header(protocol), offset, length, more)
    }

    /// A part of at most `longest` bytes that begin with headers of at least `header` bytes.
    pub fn within(longest: u32, header: usize, offset: u16, length: usize, more: bool) -> Option<Self> {
        let end = u32::from(offset) + length as u32;
        let right = length > 0
            && end <= longest
            && (!more || length.is_multiple_of(8))
            && if offset == 0 { length >= header } else { usize::from(offset) >= header };
        right.then_some(Self { start: offset, end: end as u16, is_last: !more })
    }

    /// Whether it holds the transport header.
    pub const fn is_first(&self) -> bool {
        self.start == 0
    }
}

/// Bytes of the shortest transport header.
pub(crate) const fn least_header(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => crate::wire::tcp::HEADER,
        Protocol::Udp => crate::wire::udp::HEADER,
        Protocol::Sctp => crate::wire::sctp::HEADER + crate::wire::sctp::CHUNK_HEADER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Protocol::{Tcp, Udp};

    #[test]
    fn what_nobody_sends_in_good_faith_is_no_piece() {
        for (what, offset, length, more, protocol, right) in [
            ("a first one", 0, 1480, true, Udp, true),
            ("a last one of any length", 1480, 3, false, Udp, true),
            ("the largest datagram's last", 65_512, 3, false, Udp, true),
            ("beyond it (ping of death)", 65_512, 4, false, Udp, false),
            ("far beyond it", 65_528, 1480, false, Udp, false),
            ("an empty one", 1480, 0, false, Udp, false),
            ("an odd one with others to follow", 0, 1481, true, Udp, false),
            ("a first one with no more than UDP's header", 0, 8, true, Udp, true),
            ("a later one right after UDP's header", 8, 8, true, Udp, true),
            ("a tiny first one of TCP", 0, 16, true, Tcp, false),
            ("TCP's header and a little", 0, 24, true, Tcp, true),
            ("at TCP's sequence number (RFC 1858)", 8, 40, false, Tcp, false),
            ("at TCP's checksum", 16, 40, false, Tcp, false),
            ("in TCP's options", 24, 40, false, Tcp, true),
        ] {
            assert_eq!(Piece::new(offset, length, more, protocol).is_some(), right, "{what}");
        }
    }
}
