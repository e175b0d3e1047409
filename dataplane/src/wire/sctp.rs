//! The SCTP common header and the headers of chunks (RFC 9260 §3), what a packet is for its connection, and the
//! checksum (§6.8): CRC32c, which covers the packet from its source port to its last byte, and no address.

use super::{be_u16, be_u32, put};

/// Offsets of the fields.
pub mod field {
    pub use crate::wire::ports::{DESTINATION, SOURCE};
    /// The verification tag.
    pub const VERIFICATION_TAG: usize = 4;
    /// The checksum.
    pub const CHECKSUM: usize = 8;
}

/// Offsets of a chunk's fields, from where it begins.
pub mod chunk_field {
    /// Its type.
    pub const TYPE: usize = 0;
    /// Its flags.
    pub const FLAGS: usize = 1;
    /// Bytes of its header and value, without padding.
    pub const LENGTH: usize = 2;
}

/// The number of SCTP in IP headers.
pub const PROTOCOL_NUMBER: u8 = 132;

/// Length of the common header.
pub const HEADER: usize = 12;

/// Length of a chunk's header.
pub const CHUNK_HEADER: usize = 4;

/// Types of chunks (RFC 9260 §3.2).
pub mod chunk_type {
    /// User data.
    pub const DATA: u8 = 0;
    /// The first of an association.
    pub const INIT: u8 = 1;
    /// The answer to it.
    pub const INIT_ACK: u8 = 2;
    /// Acknowledges data.
    pub const SACK: u8 = 3;
    /// Asks whether the peer is there.
    pub const HEARTBEAT: u8 = 4;
    /// The association is over at once.
    pub const ABORT: u8 = 6;
    /// The sender has no more data.
    pub const SHUTDOWN: u8 = 7;
    /// Acknowledges that.
    pub const SHUTDOWN_ACK: u8 = 8;
    /// Something is wrong with what was received.
    pub const ERROR: u8 = 9;
    /// Returns the cookie of an INIT ACK.
    pub const COOKIE_ECHO: u8 = 10;
    /// Acknowledges that.
    pub const COOKIE_ACK: u8 = 11;
    /// The last of an association.
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// What a packet is for the state of its connection, told by its chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Event {
    /// DATA, and every type that is none of the others, SACK and HEARTBEAT among them.
    Data = 0,
    /// INIT.
    Init = 1,
    /// INIT ACK.
    InitAck = 2,
    /// COOKIE ECHO.
    CookieEcho = 3,
    /// COOKIE ACK.
    CookieAck = 4,
    /// SHUTDOWN.
    Shutdown = 5,
    /// SHUTDOWN ACK.
    ShutdownAck = 6,
    /// SHUTDOWN COMPLETE.
    ShutdownComplete = 7,
    /// ERROR.
    Error = 8,
    /// ABORT.
    Abort = 9,
}

impl Event {
    /// How many there are.
    pub const COUNT: usize = 10;

    /// Every event, in the order of their discriminants.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Data,
        Self::Init,
        Self::InitAck,
        Self::CookieEcho,
        Self::CookieAck,
        Self::Shutdown,
        Self::ShutdownAck,
        Self::ShutdownComplete,
        Self::Error,
        Self::Abort,
    ];

    /// Of a chunk of this type.
    pub const fn of(chunk_type: u8) -> Self {
        match chunk_type {
            chunk_type::INIT => Self::Init,
            chunk_type::INIT_ACK => Self::InitAck,
            chunk_type::COOKIE_ECHO => Self::CookieEcho,
            chunk_type::COOKIE_ACK => Self::CookieAck,
            chunk_type::SHUTDOWN => Self::Shutdown,
            chunk_type::SHUTDOWN_ACK => Self::ShutdownAck,
            chunk_type::SHUTDOWN_COMPLETE => Self::ShutdownComplete,
            chunk_type::ERROR => Self::Error,
            chunk_type::ABORT => Self::Abort,
            _ => Self::Data,
        }
    }
}

/// A packet whose common header and first chunk's header are complete. What they say is not judged, which is for the
/// endpoints: IPVS translates whatever has a chunk's header.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    bytes: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The packet that an IP payload is; `None` if its first chunk's header is cut short.
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        (payload.len() >= HEADER + CHUNK_HEADER).then_some(Self { bytes: payload })
    }

    /// Source L4 port.
    pub fn source_port(&self) -> u16 {
        be_u16(self.bytes, field::SOURCE)
    }

    /// Destination L4 port.
    pub fn destination_port(&self) -> u16 {
        be_u16(self.bytes, field::DESTINATION)
    }

    /// The tag by which the receiver knows its peer; 0 in a packet with INIT.
    pub fn verification_tag(&self) -> u32 {
        be_u32(self.bytes, field::VERIFICATION_TAG)
    }

    /// The checksum in it, as [`checksum`] computes it.
    pub fn checksum(&self) -> u32 {
        // Unlike all other numbers it is sent with its lowest byte first (RFC 9260 appendix A).
        be_u32(self.bytes, field::CHECKSUM).swap_bytes()
    }

    /// Whether its checksum is right.
    pub fn has_right_checksum(&self) -> bool {
        self.checksum() == checksum(self.bytes)
    }

    /// Header and chunks.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its chunks, up to the first whose header is cut short, or whose length is less than a header's or
    /// leads out of the packet.
    pub fn chunks(&self) -> Chunks<'a> {
        Chunks { left: &self.bytes[HEADER..] }
    }

    /// What it is for the state of its connection: what its first chunk is, and ABORT also if one comes right after a
    /// COOKIE ECHO or COOKIE ACK. So does IPVS tell it, whatever else there is.
    pub fn event(&self) -> Event {
        let chunks = &self.bytes[HEADER..];
        let first = Event::of(chunks[chunk_field::TYPE]);
        let aborts = matches!(first, Event::CookieEcho | Event::CookieAck) && self.second_is_abort();
        if aborts { Event::Abort } else { first }
    }

    fn second_is_abort(&self) -> bool {
        let chunks = &self.bytes[HEADER..];
        let length = usize::from(be_u16(chunks, chunk_field::LENGTH));
        let second = chunks.get(padded(length)..).filter(|second| second.len() >= CHUNK_HEADER);
        length >= CHUNK_HEADER && second.is_some_and(|second| second[chunk_field::TYPE] == chunk_type::ABORT)
    }
}

/// Chunks begin at multiples of four bytes.
const fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// A chunk that lies whole within its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    bytes: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// Its type.
    pub fn chunk_type(&self) -> u8 {
        self.bytes[chunk_field::TYPE]
    }

    /// Its flags.
    pub fn flags(&self) -> u8 {
        self.bytes[chunk_field::FLAGS]
    }

    /// What follows its header, without padding.
    pub fn value(&self) -> &'a [u8] {
        &self.bytes[CHUNK_HEADER..]
    }
}

/// The chunks of a [`Packet`].
#[derive(Clone, Debug)]
pub struct Chunks<'a> {
    left: &'a [u8],
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        let chunks = std::mem::take(&mut self.left);
        if chunks.len() < CHUNK_HEADER {
            return None;
        }
        let length = usize::from(be_u16(chunks, chunk_field::LENGTH));
        let bytes = chunks.get(..length).filter(|_| length >= CHUNK_HEADER)?;
        // The last one's padding may be missing.
        self.left = chunks.get(padded(length)..).unwrap_or_default();
        Some(Chunk { bytes })
    }
}

/// The checksum that belongs in a packet, whatever its checksum field has: CRC32c with zeros in the field's place.
///
/// # Panics
/// If `packet` is shorter than [`HEADER`].
pub fn checksum(packet: &[u8]) -> u32 {
    let (given, chunks) = packet.split_at(HEADER);
    let mut header = [0; HEADER];
    header[..field::CHECKSUM].copy_from_slice(&given[..field::CHECKSUM]);
    crc32c::crc32c_append(crc32c::crc32c(&header), chunks)
}

/// Gives a packet its right checksum, whatever it had: as IPVS does where it has changed a port, so that a packet that
/// came with a wrong one goes on with a right one.
///
/// # Panics
/// If `packet` is shorter than [`HEADER`].
pub fn set_checksum(packet: &mut [u8]) {
    put(packet, field::CHECKSUM, checksum(packet).to_le_bytes());
}

#[cfg(test)]
mod tests;
