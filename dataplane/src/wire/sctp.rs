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

    /// Whether its checksum is right, or zero: see [`replace_port`].
    pub fn has_acceptable_checksum(&self) -> bool {
        self.checksum() == 0 || self.has_right_checksum()
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

/// Gives a packet its right checksum, whatever it had.
///
/// # Panics
/// If `packet` is shorter than [`HEADER`].
pub fn set_checksum(packet: &mut [u8]) {
    put(packet, field::CHECKSUM, checksum(packet).to_le_bytes());
}

/// Sets the port at `offset` of a packet of `length` bytes, of which `packet` is all or the beginning, and at least the
/// ports. The checksum, if it is there, changes by what that changes it by, so that a wrong one stays wrong: corruption
/// on the way here is not hidden from the receiver. One of zero stays, as no sender computes it but one in 2^32 times:
/// it says that there is none (RFC 9653), or that a device is to fill it in.
///
/// # Panics
/// If the port does not lie within `packet`.
pub fn replace_port(packet: &mut [u8], length: usize, offset: usize, port: u16) {
    let [high, low] = port.to_be_bytes();
    let before = [packet[offset], packet[offset + 1]];
    put(packet, offset, [high, low]);
    let behind = length.saturating_sub(offset + 2);
    let Some(check) = packet.get_mut(field::CHECKSUM..).and_then(<[u8]>::first_chunk_mut) else { return };
    if *check == [0; 4] {
        return;
    }
    let change = change_of_checksum([before[0] ^ high, before[1] ^ low], behind);
    *check = (u32::from_le_bytes(*check) ^ change).to_le_bytes();
}

/// What a checksum is exclusive-ored with when this is exclusive-ored to two bytes that have `behind` bytes after them.
/// A CRC is linear: that depends on nothing else in the packet, and is the CRC of the change followed by zeros, without
/// the complements at either end of it.
fn change_of_checksum(bytes: [u8; 2], behind: usize) -> u32 {
    /// So many at once: within the processor's nearest cache.
    const ZEROS: [u8; 512] = [0; 512];
    if bytes == [0; 2] {
        return 0;
    }
    let mut check = crc32c::crc32c_append(!0, &bytes);
    let mut left = behind;
    while left > 0 {
        let zeros = &ZEROS[..left.min(ZEROS.len())];
        check = crc32c::crc32c_append(check, zeros);
        left -= zeros.len();
    }
    !check
}

/// Length of a packet with a [`Control`] chunk.
pub const CONTROL: usize = HEADER + CHUNK_HEADER;

/// Set in a chunk whose packet has the tag that its receiver sends, not the one that it expects: the sender knows no
/// other (RFC 9260 §8.5.1).
const REFLECTED: u8 = 1;

/// A packet of one chunk without a value: ABORT or SHUTDOWN COMPLETE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// Source L4 port.
    pub source_port: u16,
    /// Destination L4 port.
    pub destination_port: u16,
    /// The tag by which the receiver knows its peer, or knows that it is meant.
    pub verification_tag: u32,
    /// [`chunk_type::ABORT`] or [`chunk_type::SHUTDOWN_COMPLETE`].
    pub chunk_type: u8,
    /// Which of the two tags it has.
    pub flags: u8,
}

impl Control {
    /// The answer to a packet that is of no connection (RFC 9260 §8.4). `None` where there is to be none: to ABORT
    /// anywhere in the packet, SHUTDOWN COMPLETE, COOKIE ACK and the ERROR that says that a cookie is stale. To COOKIE
    /// ECHO there is one, as from Linux: nobody here could have made the cookie.
    pub fn out_of_the_blue(packet: &Packet<'_>) -> Option<Self> {
        /// Of an ERROR chunk: the cookie is stale.
        const STALE_COOKIE: u16 = 3;
        let first = packet.chunks().next()?;
        if packet.chunks().any(|chunk| chunk.chunk_type() == chunk_type::ABORT) {
            return None;
        }
        let reflected = (chunk_type::ABORT, packet.verification_tag(), REFLECTED);
        let (chunk_type, verification_tag, flags) = match first.chunk_type() {
            // The tag that the sender expects stands in its INIT.
            chunk_type::INIT => {
                let tag = first.value().first_chunk().filter(|_| packet.verification_tag() == 0)?;
                (chunk_type::ABORT, u32::from_be_bytes(*tag), 0)
            }
            chunk_type::SHUTDOWN_ACK => (chunk_type::SHUTDOWN_COMPLETE, packet.verification_tag(), REFLECTED),
            chunk_type::SHUTDOWN_COMPLETE | chunk_type::COOKIE_ACK => return None,
            chunk_type::ERROR if first.value().starts_with(&STALE_COOKIE.to_be_bytes()) => return None,
            _ => reflected,
        };
        Some(Self {
            source_port: packet.destination_port(),
            destination_port: packet.source_port(),
            verification_tag,
            chunk_type,
            flags,
        })
    }

    /// The ABORT that ends the connection of a packet at its receiver, as from its sender.
    pub fn abort_onward(packet: &Packet<'_>) -> Self {
        Self {
            source_port: packet.source_port(),
            destination_port: packet.destination_port(),
            verification_tag: packet.verification_tag(),
            chunk_type: chunk_type::ABORT,
            flags: 0,
        }
    }

    /// Writes the packet, with its checksum, at the start of `packet`.
    ///
    /// # Panics
    /// If `packet` is shorter than [`CONTROL`].
    pub fn write(&self, packet: &mut [u8]) {
        put(packet, field::SOURCE, self.source_port.to_be_bytes());
        put(packet, field::DESTINATION, self.destination_port.to_be_bytes());
        put(packet, field::VERIFICATION_TAG, self.verification_tag.to_be_bytes());
        put(packet, HEADER, [self.chunk_type, self.flags, 0, CHUNK_HEADER as u8]);
        set_checksum(&mut packet[..CONTROL]);
    }
}

#[cfg(test)]
mod tests;
