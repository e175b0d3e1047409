//! The UDP header (RFC 768).

use super::be_u16;

/// Offsets of the fields.
pub mod field {
    pub use crate::wire::ports::{DESTINATION, SOURCE};
    /// Bytes of header and data.
    pub const LENGTH: usize = 4;
    /// The checksum.
    pub const CHECKSUM: usize = 6;
}

/// Length of the header.
pub const HEADER: usize = 8;

/// A datagram whose length is right.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    bytes: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// The datagram in the payload of an IPv4 packet that is no fragment; `None` if it is cut short
    /// or its length contradicts the packet's.
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        if payload.len() < HEADER {
            return None;
        }
        let length = usize::from(be_u16(payload, field::LENGTH));
        let bytes = payload.get(..length)?;
        (length >= HEADER).then_some(Self { bytes })
    }

    /// Source L4 port.
    pub fn source_port(&self) -> u16 {
        be_u16(self.bytes, field::SOURCE)
    }

    /// Destination L4 port.
    pub fn destination_port(&self) -> u16 {
        be_u16(self.bytes, field::DESTINATION)
    }

    /// Checksum as it lies in memory; 0: there is none.
    pub fn checksum(&self) -> u16 {
        super::checksum::read(self.bytes, field::CHECKSUM)
    }

    /// Header and data.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The data.
    pub fn data(&self) -> &'a [u8] {
        &self.bytes[HEADER..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_stand_where_they_belong() {
        let bytes = [0x12, 0x34, 0, 53, 0, 10, 0xab, 0xcd, 1, 2, 3];
        let datagram = Datagram::parse(&bytes).unwrap();
        assert_eq!((datagram.source_port(), datagram.destination_port()), (0x1234, 53));
        assert_eq!(datagram.checksum(), u16::from_ne_bytes([0xab, 0xcd]));
        assert_eq!(datagram.data(), [1, 2]);
    }

    proptest! {
        #[test]
        fn lengths_are_checked(mut bytes in proptest::collection::vec(any::<u8>(), 0..40), length in 0u16..45) {
            if bytes.len() >= 6 {
                super::super::put(&mut bytes, 4, length.to_be_bytes());
            }
            let datagram = Datagram::parse(&bytes);
            let right = bytes.len() >= 8 && (8..=bytes.len()).contains(&usize::from(length));
            prop_assert_eq!(datagram.is_some(), right);
            if let Some(datagram) = datagram {
                prop_assert_eq!(datagram.data().len() + HEADER, usize::from(length));
            }
        }
    }
}
