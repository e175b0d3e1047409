//! Netlink messages as bytes: the few that the library has to know, make or change. Integers are in host byte order.

/// Bytes of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;

/// The longest request that `lbd` takes, in bytes.
pub(crate) const LONGEST_REQUEST: usize = 64 * 1024;

/// The longest answer: an error with a copy of the longest request, and some room for words.
pub(crate) const LONGEST_ANSWER: usize = LONGEST_REQUEST + 4096;

/// An error without a copy of the request's body: two headers and the error's number.
pub(crate) const ERROR: usize = HEADER + 4 + HEADER;

/// The longest message that is taken for a look-up of a family; that of "IPVS" has 32 bytes.
pub(crate) const LONGEST_LOOK_UP: usize = 128;

/// `NLMSG_ERROR`.
const KIND_ERROR: u16 = 2;
/// `GENL_ID_CTRL`: the controller, which knows the families.
const KIND_CONTROLLER: u16 = 16;
/// The number by which `lbd` knows IPVS for ever.
const KIND_IPVS: u16 = 0x3f0;

const FLAG_REQUEST: u16 = 1;
/// `NLM_F_DUMP`: both bits are set in a request for all families.
const FLAGS_DUMP: u16 = 0x300;
/// `NLM_F_CAPPED`: the body of the request is not in the error.
const FLAG_CAPPED: u16 = 0x100;
/// `NLM_F_ACK_TLVS`: attributes follow in the error.
const FLAG_ACK_TLVS: u16 = 0x200;

/// `CTRL_CMD_GETFAMILY`.
const COMMAND_GET_FAMILY: u8 = 3;
/// `CTRL_ATTR_FAMILY_NAME`.
const ATTRIBUTE_FAMILY_NAME: u16 = 2;
/// `NLMSGERR_ATTR_MSG`.
const ATTRIBUTE_WORDS: u16 = 1;
/// natlb's own command of the family: the text of a file of `/proc/net`.
const COMMAND_TEXT: u8 = 64;
/// The attribute of `COMMAND_TEXT` with the file's name.
const ATTRIBUTE_FILE: u16 = 1;
/// Without the bits for nested attributes and for byte order.
const ATTRIBUTE_KIND: u16 = 0x3fff;

/// `struct nlmsghdr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) length: u32,
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) port: u32,
}

impl Header {
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            length: u32_at(bytes, 0)?,
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            port: u32_at(bytes, 12)?,
        })
    }

    /// Writes it to the beginning; does nothing if there is no room for it.
    pub(crate) fn write(self, bytes: &mut [u8]) {
        put(bytes, 0, &self.length.to_ne_bytes());
        put(bytes, 4, &self.kind.to_ne_bytes());
        put(bytes, 6, &self.flags.to_ne_bytes());
        put(bytes, 8, &self.sequence.to_ne_bytes());
        put(bytes, 12, &self.port.to_ne_bytes());
    }
}

/// The length of the message that begins here, if that many bytes can be a message.
pub(crate) fn length(bytes: &[u8], longest: usize) -> Option<usize> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    (HEADER..=longest).contains(&length).then_some(length)
}

/// Whether a program asks here for the family "IPVS", by its name.
pub(crate) fn asks_for_ipvs(bytes: &[u8]) -> bool {
    let Some(message) = length(bytes, LONGEST_LOOK_UP).and_then(|length| bytes.get(..length)) else {
        return false;
    };
    let Some(header) = Header::read(message) else { return false };
    header.kind == KIND_CONTROLLER
        && header.flags & FLAGS_DUMP == 0
        && message.get(HEADER) == Some(&COMMAND_GET_FAMILY)
        && attribute(message.get(HEADER + 4..).unwrap_or_default(), ATTRIBUTE_FAMILY_NAME)
            .is_some_and(|name| name.strip_suffix(&[0]).unwrap_or(name) == b"IPVS")
}

/// Puts whole messages one behind the other, without what pads them, and the port into each; returns how many bytes
/// they take, and the last one's header. A message that is cut ends it, as in the kernel.
pub(crate) fn pack(bytes: &mut [u8], port: u32) -> (usize, Option<Header>) {
    let (mut from, mut to, mut last) = (0, 0, None);
    while let Some(length) = bytes.get(from..).and_then(|rest| length(rest, rest.len()))
        && let Some(header) = bytes.get(from..).and_then(Header::read)
    {
        bytes.copy_within(from..from + length, to);
        let header = Header { port, ..header };
        header.write(bytes.get_mut(to..).unwrap_or_default());
        last = Some(header);
        to += length;
        from += length.next_multiple_of(4);
    }
    (to, last)
}

/// The error message that answers a request in place of one who cannot. `errno` is positive.
pub(crate) fn error(request: Header, errno: i32) -> [u8; ERROR] {
    let mut bytes = [0; ERROR];
    let header = Header { length: ERROR as u32, kind: KIND_ERROR, flags: FLAG_CAPPED, ..request };
    header.write(&mut bytes);
    put(&mut bytes, HEADER, &(-errno).to_ne_bytes());
    request.write(bytes.get_mut(HEADER + 4..).unwrap_or_default());
    bytes
}

/// The errno (positive) with which `lbd` turned away the peer itself: an error that answers no request.
pub(crate) fn turned_away(message: &[u8]) -> Option<i32> {
    let errno = errno(message)?;
    (errno != 0 && message.get(HEADER + 4..ERROR)?.iter().all(|&byte| byte == 0)).then_some(errno)
}

/// Makes an error that answers no request the answer to this one.
pub(crate) fn answer(message: &mut [u8], request: Header) {
    let Some(header) = Header::read(message) else { return };
    let flags = header.flags | FLAG_CAPPED;
    Header { flags, sequence: request.sequence, port: request.port, ..header }.write(message);
    request.write(message.get_mut(HEADER + 4..).unwrap_or_default());
}

/// The words that `lbd` put into an error.
pub(crate) fn words(message: &[u8]) -> Option<&[u8]> {
    if errno(message)? == 0 || Header::read(message)?.flags & FLAG_ACK_TLVS == 0 {
        return None;
    }
    let body = match Header::read(message)?.flags & FLAG_CAPPED {
        0 => usize::try_from(u32_at(message, HEADER + 4)?).ok()?.saturating_sub(HEADER),
        _ => 0,
    };
    let attributes = ERROR.checked_add(body.checked_next_multiple_of(4)?)?;
    let text = attribute(message.get(attributes..)?, ATTRIBUTE_WORDS)?;
    text.split(|&byte| byte == 0).next().filter(|text| !text.is_empty())
}

/// The errno (positive, or 0) of an error or acknowledgement; `None` for other messages.
pub(crate) fn errno(message: &[u8]) -> Option<i32> {
    let header = Header::read(message)?;
    let number = i32::from_ne_bytes(*message.get(HEADER..)?.first_chunk()?);
    (header.kind == KIND_ERROR && message.len() >= ERROR).then(|| number.saturating_neg())
}

/// The longest request for a file's text.
pub(crate) const FILE_REQUEST: usize = HEADER + 4 + 4 + 16;

/// The request for the text of a file of `/proc/net`, and its length. The name has at most 15 bytes.
pub(crate) fn file_request(name: &[u8]) -> ([u8; FILE_REQUEST], usize) {
    let mut bytes = [0; FILE_REQUEST];
    let text = name.len().min(15);
    let length = HEADER + 8 + text + 1;
    let fits = |number: usize| u16::try_from(number).unwrap_or(0);
    let header =
        Header { length: fits(length).into(), kind: KIND_IPVS, flags: FLAG_REQUEST, sequence: 1, port: 0 };
    header.write(&mut bytes);
    put(&mut bytes, HEADER, &[COMMAND_TEXT, 1, 0, 0]);
    put(&mut bytes, HEADER + 4, &fits(4 + text + 1).to_ne_bytes());
    put(&mut bytes, HEADER + 6, &ATTRIBUTE_FILE.to_ne_bytes());
    put(&mut bytes, HEADER + 8, name.get(..text).unwrap_or_default());
    (bytes, length)
}

/// The payload of the first attribute of this kind.
fn attribute(mut bytes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(bytes, 0)?);
        let payload = bytes.get(4..length)?;
        if u16_at(bytes, 2)? & ATTRIBUTE_KIND == kind {
            return Some(payload);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..value.len())) {
        place.copy_from_slice(value);
    }
}

#[cfg(test)]
pub(crate) mod tests;
