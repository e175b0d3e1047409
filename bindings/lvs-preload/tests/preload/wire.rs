//! Messages as bytes.

/// `struct nlmsghdr` and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) port: u32,
    pub(crate) body: Vec<u8>,
}

pub(crate) const ERROR: u16 = 2;
pub(crate) const DONE: u16 = 3;
pub(crate) const CONTROLLER: u16 = 16;
pub(crate) const IPVS: u16 = 0x3f0;

impl Message {
    pub(crate) fn new(kind: u16, sequence: u32, body: &[u8]) -> Self {
        Self { kind, flags: 5, sequence, port: 0, body: body.to_vec() }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(16 + self.body.len()).unwrap();
        [
            &length.to_ne_bytes()[..],
            &self.kind.to_ne_bytes(),
            &self.flags.to_ne_bytes(),
            &self.sequence.to_ne_bytes(),
            &self.port.to_ne_bytes(),
            &self.body,
        ]
        .concat()
    }

    /// The bytes of exactly one message.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        assert_eq!(u32_at(bytes, 0) as usize, bytes.len(), "{bytes:?}");
        let halves = u32_at(bytes, 4).to_ne_bytes();
        Self {
            kind: u16::from_ne_bytes([halves[0], halves[1]]),
            flags: u16::from_ne_bytes([halves[2], halves[3]]),
            sequence: u32_at(bytes, 8),
            port: u32_at(bytes, 12),
            body: bytes[16..].to_vec(),
        }
    }

    /// The number of an error message, as the kernel has it (negative or 0), and the sequence number that it answers.
    pub(crate) fn error(&self) -> (i32, u32) {
        assert_eq!(self.kind, ERROR, "{self:?}");
        (u32_at(&self.body, 0).cast_signed(), u32_at(&self.body, 4 + 8))
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The controller is asked for a family by its name.
pub(crate) fn look_up(name: &str, sequence: u32) -> Message {
    let mut body = vec![3, 1, 0, 0];
    body.extend(attribute(2, &[name.as_bytes(), &[0]].concat()));
    Message::new(CONTROLLER, sequence, &body)
}

pub(crate) fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + payload.len()).unwrap();
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), payload].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An acknowledgement, or an error without the request's body.
pub(crate) fn error(request: &Message, number: i32) -> Message {
    let body = [&number.to_ne_bytes()[..], &request.bytes()[..16]].concat();
    Message { kind: ERROR, flags: 0x100, body, ..request.clone() }
}

/// An error to nobody's request, with words: a peer is turned away.
pub(crate) fn turned_away(number: i32, words: &str) -> Message {
    let mut body = [&number.to_ne_bytes()[..], &[0; 16]].concat();
    body.extend(attribute(1, &[words.as_bytes(), &[0]].concat()));
    Message { kind: ERROR, flags: 0x200, sequence: 0, port: 0, body }
}
