//! The Ethernet header (DIX; IEEE 802.3 §3.2.6), without tags.

use super::{be_u16, put};
use crate::names::mac::Mac;

/// Offsets of the fields.
pub mod field {
    /// The destination MAC.
    pub const DESTINATION: usize = 0;
    /// The source MAC.
    pub const SOURCE: usize = 6;
    /// The EtherType.
    pub const ETHER_TYPE: usize = 12;
}

/// Length of the header, and where the payload begins.
pub const HEADER: usize = 14;
/// The shortest frame, without its check sequence (IEEE 802.3 §4A.4.2: 64 bytes with it).
pub const LEAST: usize = 60;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of a VLAN tag (IEEE 802.1Q).
pub const VLAN: u16 = 0x8100;
/// EtherType of a service VLAN tag (IEEE 802.1ad).
pub const SERVICE_VLAN: u16 = 0x88a8;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// To whom.
    pub destination: Mac,
    /// From whom.
    pub source: Mac,
    /// What the payload is.
    pub ether_type: u16,
}

impl Header {
    /// The header of a frame; `None` if the frame is shorter.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER] = frame.first_chunk()?;
        let &[a, b, c, d, e, f, g, h, i, j, k, l, _, _] = header;
        Some(Self {
            destination: Mac([a, b, c, d, e, f]),
            source: Mac([g, h, i, j, k, l]),
            ether_type: be_u16(header, field::ETHER_TYPE),
        })
    }

    /// Writes the header at the start of `frame`.
    ///
    /// # Panics
    /// If `frame` is shorter.
    pub fn write(&self, frame: &mut [u8]) {
        set_destination(frame, self.destination);
        set_source(frame, self.source);
        put(frame, field::ETHER_TYPE, self.ether_type.to_be_bytes());
    }
}

/// Whether a tag follows, so that the true EtherType stands further back.
pub const fn is_vlan(ether_type: u16) -> bool {
    matches!(ether_type, VLAN | SERVICE_VLAN)
}

/// Sets the destination MAC.
///
/// # Panics
/// If `frame` is shorter than the header.
#[inline(always)]
pub fn set_destination(frame: &mut [u8], mac: Mac) {
    put(frame, field::DESTINATION, mac.0);
}

/// Sets the source MAC.
///
/// # Panics
/// If `frame` is shorter than the header.
#[inline(always)]
pub fn set_source(frame: &mut [u8], mac: Mac) {
    put(frame, field::SOURCE, mac.0);
}

/// Exchanges source and destination MAC, as for an answer.
///
/// # Panics
/// If `frame` is shorter than the header.
pub fn swap_addresses(frame: &mut [u8]) {
    let (destination, source) = frame[..field::ETHER_TYPE].split_at_mut(field::SOURCE);
    destination.swap_with_slice(source);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_stand_where_they_belong() {
        let mut frame = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x81, 0x00];
        let header = Header::parse(&frame).unwrap();
        assert_eq!(header.destination, Mac([1, 2, 3, 4, 5, 6]));
        assert_eq!(header.source, Mac([7, 8, 9, 10, 11, 12]));
        assert!(is_vlan(header.ether_type) && is_vlan(0x88a8) && !is_vlan(IPV4));
        swap_addresses(&mut frame);
        assert_eq!(frame, [7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 5, 6, 0x81, 0x00]);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read_and_written_back(bytes in proptest::collection::vec(any::<u8>(), 0..30)) {
            let header = Header::parse(&bytes);
            prop_assert_eq!(header.is_some(), bytes.len() >= HEADER);
            if let Some(header) = header {
                let mut copy = [0; HEADER];
                header.write(&mut copy);
                prop_assert_eq!(&copy[..], &bytes[..HEADER]);
            }
        }
    }
}
