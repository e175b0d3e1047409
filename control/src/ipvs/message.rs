//! Netlink messages: their headers, and those that carry nothing of IPVS.

use super::FAMILY;
use super::attributes::{align, put_text};
use super::errors::Refusal;
use nix::errno::Errno;

/// The longest request that is read, in bytes. The longest that a tool sends has some hundreds.
pub const LONGEST_REQUEST: usize = 64 << 10;

/// Bytes of a message's header.
pub(super) const HEADER: usize = 16;

/// Types below this one are netlink's own, and ask for nothing.
pub(super) const FIRST_TYPE: u16 = 16;

const ERROR: u16 = 2;
const DONE: u16 = 3;

pub(super) const REQUEST: u16 = 0x1;
const MULTI: u16 = 0x2;
const ACK: u16 = 0x4;
pub(super) const DUMP: u16 = 0x300;

/// Of an error: only the header of the request is in it.
const CAPPED: u16 = 0x100;
/// Of an error: attributes follow the request.
const WITH_ATTRIBUTES: u16 = 0x200;

/// Of an error's attributes: the words.
const WORDS: usize = 1;

/// The most characters of words that are sent.
const LONGEST_WORDS: usize = 1000;

/// Whom an answer goes to: the header of the request, and the request itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The number of the family, or below 16 one of netlink's own.
    pub kind: u16,
    /// `NLM_F_…`.
    pub flags: u16,
    /// The answers' too.
    pub sequence: u32,
    /// The number of the program's socket; the answers' too.
    pub port_id: u32,
    /// All bytes of the request, which an error's answer repeats.
    request: Vec<u8>,
}

impl Header {
    /// Of a whole message; of less than a header, all is 0.
    pub(super) fn of(request: &[u8]) -> Self {
        let Some(header) = request.first_chunk::<HEADER>() else { return Self::default() };
        let [.., k0, k1, f0, f1, s0, s1, s2, s3, p0, p1, p2, p3] = *header;
        Self {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            port_id: u32::from_ne_bytes([p0, p1, p2, p3]),
            request: request.to_vec(),
        }
    }

    /// Whether all of these flags are set.
    pub(super) const fn has(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }

    /// The request's first bytes, as they came.
    fn bytes(&self) -> [u8; HEADER] {
        self.request.first_chunk().copied().unwrap_or_default()
    }
}

/// How long the message is that these bytes begin with, in bytes; `None`: too few of them are there to tell.
///
/// # Errors
/// It is shorter than a header, or longer than [`LONGEST_REQUEST`]: where the next one begins is not known.
pub fn frame_length(bytes: &[u8]) -> Option<Result<usize, Refusal>> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    Some(if length < HEADER {
        Err(Refusal::new(Errno::EINVAL, format!("a message of {length} bytes")))
    } else if length > LONGEST_REQUEST {
        let words = format!("a message of {length} bytes: at most {LONGEST_REQUEST} are read");
        Err(Refusal::new(Errno::EMSGSIZE, words))
    } else {
        Ok(length)
    })
}

/// Done, with nothing to say. Appends nothing if the request did not ask to be told.
pub fn ack(header: &Header, out: &mut Vec<u8>) {
    if header.has(ACK) {
        write(header, ERROR, CAPPED, out, |out| {
            out.extend_from_slice(&0i32.to_ne_bytes());
            out.extend_from_slice(&header.bytes());
        });
    }
}

/// Refused.
pub fn error(header: &Header, refusal: &Refusal, out: &mut Vec<u8>) {
    // With no whole request at hand there is only the header.
    let is_whole = header.request.len() >= HEADER;
    let capped = if is_whole { 0 } else { CAPPED };
    let with_words = if refusal.words.is_some() { WITH_ATTRIBUTES } else { 0 };
    write(header, ERROR, capped | with_words, out, |out| {
        out.extend_from_slice(&(-(refusal.errno as i32)).to_ne_bytes());
        if is_whole {
            out.extend_from_slice(&header.request);
            if refusal.words.is_some() {
                align(out, header.request.len());
            }
        } else {
            out.extend_from_slice(&header.bytes());
        }
        if let Some(words) = &refusal.words {
            put_text(out, WORDS, &words.chars().take(LONGEST_WORDS).collect::<String>());
        }
    });
}

/// Refused before anything was asked: the request's header in it is all zero.
pub fn turned_away(refusal: &Refusal, out: &mut Vec<u8>) {
    error(&Header::default(), refusal, out);
}

/// The end of a dump.
pub fn done(header: &Header, out: &mut Vec<u8>) {
    write(header, DONE, MULTI, out, |out| out.extend_from_slice(&0i32.to_ne_bytes()));
}

/// A message of the family: one of several in a dump if `multi`.
pub(super) fn reply(
    header: &Header,
    multi: bool,
    command: u8,
    out: &mut Vec<u8>,
    fill: impl FnOnce(&mut Vec<u8>),
) {
    let flags = if multi { MULTI } else { 0 };
    reply_of(FAMILY, (command, 1), header, flags, out, fill);
}

/// A message of any family, with the version of its commands.
pub(super) fn reply_of(
    family: u16,
    (command, version): (u8, u8),
    header: &Header,
    flags: u16,
    out: &mut Vec<u8>,
    fill: impl FnOnce(&mut Vec<u8>),
) {
    write(header, family, flags, out, |out| {
        out.extend_from_slice(&[command, version, 0, 0]);
        fill(out);
    });
}

/// A message in answer to a request.
fn write(header: &Header, kind: u16, flags: u16, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&flags.to_ne_bytes());
    out.extend_from_slice(&header.sequence.to_ne_bytes());
    out.extend_from_slice(&header.port_id.to_ne_bytes());
    fill(out);
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}
