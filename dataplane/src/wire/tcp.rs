//! The TCP header (RFC 9293 §3.1), and which segment resets another.

use super::{be_u16, be_u32, put};

/// Offsets of the fields.
pub mod field {
    pub use crate::wire::ports::{DESTINATION, SOURCE};
    /// The sequence number.
    pub const SEQUENCE: usize = 4;
    /// The acknowledgement number.
    pub const ACKNOWLEDGEMENT: usize = 8;
    /// The length of the header in words of four bytes, in the upper half of the byte.
    pub const DATA_OFFSET: usize = 12;
    /// The flags.
    pub const FLAGS: usize = 13;
    /// The checksum.
    pub const CHECKSUM: usize = 16;
}

/// Length of a header without options.
pub const HEADER: usize = 20;

/// The sender has no more data.
pub const FIN: u8 = 0x01;
/// Synchronize sequence numbers.
pub const SYN: u8 = 0x02;
/// Reset the connection.
pub const RST: u8 = 0x04;
/// The acknowledgement number counts.
pub const ACK: u8 = 0x10;

/// A segment whose header is complete.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    bytes: &'a [u8],
    header_length: usize,
}

impl<'a> Segment<'a> {
    /// The segment that an IPv4 payload is; `None` if its header is cut short or its data offset is wrong.
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        if payload.len() < HEADER {
            return None;
        }
        let header_length = usize::from(payload[field::DATA_OFFSET] >> 4) * 4;
        let right = (HEADER..=payload.len()).contains(&header_length);
        right.then_some(Self { bytes: payload, header_length })
    }

    /// Source L4 port.
    pub fn source_port(&self) -> u16 {
        be_u16(self.bytes, field::SOURCE)
    }

    /// Destination L4 port.
    pub fn destination_port(&self) -> u16 {
        be_u16(self.bytes, field::DESTINATION)
    }

    /// Sequence number.
    pub fn sequence(&self) -> u32 {
        be_u32(self.bytes, field::SEQUENCE)
    }

    /// Acknowledgement number; counts with [`ACK`] only.
    pub fn acknowledgement(&self) -> u32 {
        be_u32(self.bytes, field::ACKNOWLEDGEMENT)
    }

    /// Bytes of the header with its options (the data offset).
    pub fn header_length(&self) -> usize {
        self.header_length
    }

    /// The flags from CWR (highest) to FIN.
    pub fn flags(&self) -> u8 {
        self.bytes[field::FLAGS]
    }

    /// Whether all of `flags` are set.
    pub fn has(&self, flags: u8) -> bool {
        self.flags() & flags == flags
    }

    /// Checksum as it lies in memory.
    pub fn checksum(&self) -> u16 {
        super::checksum::read(self.bytes, field::CHECKSUM)
    }

    /// Header and data.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The data.
    pub fn data(&self) -> &'a [u8] {
        &self.bytes[self.header_length..]
    }

    /// Length in sequence space: data, SYN and FIN (SEG.LEN).
    pub fn sequence_length(&self) -> u32 {
        self.data().len() as u32 + u32::from(self.has(SYN)) + u32::from(self.has(FIN))
    }

    /// The segment that resets the connection this one is of, to its sender.
    pub fn reset(&self) -> Option<Reset> {
        Reset::of(self)
    }

    /// The segment that resets the connection this one is of, to its receiver and as from its sender: where this one
    /// begins, which is what the receiver waits for, unless it has had this one before.
    pub fn reset_onward(&self) -> Reset {
        let has_ack = self.has(ACK);
        Reset {
            source_port: self.source_port(),
            destination_port: self.destination_port(),
            sequence: self.sequence(),
            acknowledgement: if has_ack { self.acknowledgement() } else { 0 },
            flags: if has_ack { RST | ACK } else { RST },
        }
    }
}

/// A segment with RST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Source L4 port.
    pub source_port: u16,
    /// Destination L4 port.
    pub destination_port: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number; 0 without [`ACK`].
    pub acknowledgement: u32,
    /// [`RST`], with or without [`ACK`].
    pub flags: u8,
}

impl Reset {
    /// The answer to a segment of no connection (RFC 9293 §3.10.7.1); `None`: a reset is not answered.
    pub fn of(segment: &Segment<'_>) -> Option<Self> {
        if segment.has(RST) {
            return None;
        }
        let (sequence, acknowledgement, flags) = if segment.has(ACK) {
            (segment.acknowledgement(), 0, RST)
        } else {
            (0, segment.sequence().wrapping_add(segment.sequence_length()), RST | ACK)
        };
        Some(Self {
            source_port: segment.destination_port(),
            destination_port: segment.source_port(),
            sequence,
            acknowledgement,
            flags,
        })
    }

    /// Writes the header, its checksum zero, at the start of `segment`.
    ///
    /// # Panics
    /// If `segment` is shorter than [`HEADER`].
    pub fn write(&self, segment: &mut [u8]) {
        put(segment, field::SOURCE, self.source_port.to_be_bytes());
        put(segment, field::DESTINATION, self.destination_port.to_be_bytes());
        put(segment, field::SEQUENCE, self.sequence.to_be_bytes());
        put(segment, field::ACKNOWLEDGEMENT, self.acknowledgement.to_be_bytes());
        // Data offset 5; window, checksum and urgent pointer 0.
        put(segment, field::DATA_OFFSET, [0x50, self.flags, 0, 0, 0, 0, 0, 0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment(sequence: u32, acknowledgement: u32, flags: u8, data: usize) -> Vec<u8> {
        let mut bytes = vec![0; 24 + data];
        put(&mut bytes, 0, [0x12, 0x34, 0, 80]);
        put(&mut bytes, 4, sequence.to_be_bytes());
        put(&mut bytes, 8, acknowledgement.to_be_bytes());
        put(&mut bytes, 12, [0x60, flags, 0xff, 0xff, 0xab, 0xcd]);
        bytes
    }

    #[test]
    fn fields_stand_where_they_belong() {
        let bytes = segment(7, 9, SYN | ACK, 3);
        let segment = Segment::parse(&bytes).unwrap();
        assert_eq!((segment.source_port(), segment.destination_port()), (0x1234, 80));
        assert_eq!((segment.sequence(), segment.acknowledgement()), (7, 9));
        assert_eq!((segment.header_length(), segment.data().len(), segment.sequence_length()), (24, 3, 4));
        assert!(segment.has(SYN) && segment.has(SYN | ACK) && !segment.has(SYN | FIN));
        assert_eq!(segment.checksum(), u16::from_ne_bytes([0xab, 0xcd]));
    }

    #[test]
    fn resets() {
        let reset = |sequence, acknowledgement, flags, data| {
            let bytes = segment(sequence, acknowledgement, flags, data);
            let reset = Segment::parse(&bytes).unwrap().reset()?;
            assert_eq!((reset.source_port, reset.destination_port), (80, 0x1234));
            Some((reset.sequence, reset.acknowledgement, reset.flags))
        };
        assert_eq!(reset(4_155_196_732, 0, SYN, 0), Some((0, 4_155_196_733, RST | ACK)));
        assert_eq!(reset(u32::MAX, 0, SYN | FIN, 3), Some((0, 4, RST | ACK)), "wraps");
        assert_eq!(reset(5, 0, 0, 0), Some((0, 5, RST | ACK)));
        assert_eq!(reset(5, 77, ACK, 100), Some((77, 0, RST)));
        assert_eq!(reset(5, 77, SYN | ACK, 0), Some((77, 0, RST)));
        assert_eq!(reset(5, 77, RST, 0), None);
        assert_eq!(reset(5, 77, RST | ACK, 0), None);
    }

    #[test]
    fn what_a_receiver_waits_for_is_where_the_segment_begins() {
        let onward = |flags, data| {
            let bytes = segment(77, 99, flags, data);
            let reset = Segment::parse(&bytes).unwrap().reset_onward();
            assert_eq!((reset.source_port, reset.destination_port), (0x1234, 80));
            (reset.sequence, reset.acknowledgement, reset.flags)
        };
        assert_eq!(onward(ACK, 100), (77, 99, RST | ACK));
        assert_eq!(onward(ACK | FIN, 0), (77, 99, RST | ACK));
        assert_eq!(onward(RST, 0), (77, 0, RST));
        assert_eq!(onward(0, 3), (77, 0, RST));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), offset in 0u8..16) {
            if bytes.len() > 12 {
                bytes[12] = offset << 4;
            }
            let parsed = Segment::parse(&bytes);
            prop_assert_eq!(parsed.is_some(), etherparse::TcpHeaderSlice::from_slice(&bytes).is_ok());
            if let Some(segment) = parsed {
                prop_assert_eq!(segment.header_length() + segment.data().len(), bytes.len());
                let _ = segment.reset();
            }
        }
    }
}
