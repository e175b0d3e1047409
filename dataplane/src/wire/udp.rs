//! The UDP header (RFC 768).

use super::u16_at;

/// Length of the header.
pub const HEADER: usize = 8;
/// Where the checksum is.
pub const CHECKSUM: usize = 6;

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
        let length = usize::from(u16_at(payload, 4));
        let bytes = payload.get(..length)?;
        (length >= HEADER).then_some(Self { bytes })
    }

    /// Source L4 port.
    pub fn source_port(&self) -> u16 {
        u16_at(self.bytes, 0)
    }

    /// Destination L4 port.
    pub fn destination_port(&self) -> u16 {
        u16_at(self.bytes, 2)
    }

    /// Checksum as it lies in memory; 0: there is none.
    pub fn checksum(&self) -> u16 {
        super::checksum::read(self.bytes, CHECKSUM)
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
