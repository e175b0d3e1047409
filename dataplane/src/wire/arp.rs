//! ARP for IPv4 on Ethernet (RFC 826, RFC 5227).

use super::ethernet::{self, Header};
use super::ipv4::address_at;
use super::{be_u16, put};
use crate::names::mac::Mac;
use std::net::Ipv4Addr;

/// Offsets of the fields.
mod field {
    /// Hardware and protocol type, and the lengths of their addresses.
    pub(super) const PREAMBLE: usize = 0;
    pub(super) const OPERATION: usize = 6;
    pub(super) const SENDER_MAC: usize = 8;
    pub(super) const SENDER: usize = 14;
    pub(super) const TARGET_MAC: usize = 18;
    pub(super) const TARGET: usize = 24;
}

/// Length of a message.
pub const LENGTH: usize = 28;
/// Length of a frame with a message, without padding.
pub const FRAME: usize = ethernet::HEADER + LENGTH;

/// Hardware type Ethernet, protocol type IPv4, and the lengths of their addresses.
const PREAMBLE: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
const UNKNOWN_MAC: Mac = Mac([0; 6]);

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Operation {
    /// Who has the target address?
    Request = 1,
    /// The sender's MAC is this.
    Reply = 2,
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Request or reply.
    pub operation: Operation,
    /// MAC of the sender: of one host, never a group or zero.
    pub sender_mac: Mac,
    /// Address of the sender; unspecified in a probe (RFC 5227 §1.1).
    pub sender: Ipv4Addr,
    /// MAC of the target; without meaning in a request.
    pub target_mac: Mac,
    /// Address of the target.
    pub target: Ipv4Addr,
}

impl Message {
    /// The message in the payload of a frame, padding allowed; `None` if it is not a well-formed
    /// request or reply for IPv4 on Ethernet.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let message = payload.first_chunk::<LENGTH>()?;
        if !message.starts_with(&PREAMBLE) {
            return None;
        }
        let operation = match be_u16(message, field::OPERATION) {
            1 => Operation::Request,
            2 => Operation::Reply,
            _ => return None,
        };
        let mac = |at: usize| Mac(*message[at..].first_chunk().expect("within the message"));
        let sender_mac = mac(field::SENDER_MAC);
        if sender_mac.is_group() || sender_mac == UNKNOWN_MAC {
            return None;
        }
        Some(Self {
            operation,
            sender_mac,
            sender: address_at(message, field::SENDER),
            target_mac: mac(field::TARGET_MAC),
            target: address_at(message, field::TARGET),
        })
    }

    /// Writes the message at the start of `payload`.
    ///
    /// # Panics
    /// If `payload` is shorter than [`LENGTH`].
    pub fn write(&self, payload: &mut [u8]) {
        put(payload, field::PREAMBLE, PREAMBLE);
        put(payload, field::OPERATION, (self.operation as u16).to_be_bytes());
        put(payload, field::SENDER_MAC, self.sender_mac.0);
        put(payload, field::SENDER, self.sender.octets());
        put(payload, field::TARGET_MAC, self.target_mac.0);
        put(payload, field::TARGET, self.target.octets());
    }

    fn frame(&self, destination: Mac) -> [u8; FRAME] {
        let mut frame = [0; FRAME];
        Header { destination, source: self.sender_mac, ether_type: ethernet::ARP }.write(&mut frame);
        self.write(&mut frame[ethernet::HEADER..]);
        frame
    }
}

/// Turns the frame of a request into that of the reply, sent by `our_mac` to who asked; false, and
/// nothing done, if it holds no request.
pub fn reply_in_place(frame: &mut [u8], our_mac: Mac) -> bool {
    let Some(payload) = frame.get_mut(ethernet::HEADER..) else { return false };
    let Some(request) = Message::parse(payload) else { return false };
    if request.operation != Operation::Request {
        return false;
    }
    let reply = Message {
        operation: Operation::Reply,
        sender_mac: our_mac,
        sender: request.target,
        target_mac: request.sender_mac,
        target: request.sender,
    };
    reply.write(payload);
    ethernet::set_destination(frame, request.sender_mac);
    ethernet::set_source(frame, our_mac);
    true
}

/// The frame that asks for the MAC of `target`, sent to `destination`: broadcast, or the MAC that it
/// had to see whether it is still there (RFC 1122 §2.3.2.1).
pub fn request(our_mac: Mac, our_address: Ipv4Addr, target: Ipv4Addr, destination: Mac) -> [u8; FRAME] {
    let message = Message {
        operation: Operation::Request,
        sender_mac: our_mac,
        sender: our_address,
        target_mac: UNKNOWN_MAC,
        target,
    };
    message.frame(destination)
}

/// The frame that tells everyone on the link that `our_address` is at `our_mac` (RFC 5227 §3: a
/// request in which sender and target address are the same).
pub fn announcement(our_mac: Mac, our_address: Ipv4Addr) -> [u8; FRAME] {
    request(our_mac, our_address, our_address, Mac::BROADCAST)
}

/// The frame of a reply that nobody asked for, sent to everyone: some devices heed only a reply. Its target is the
/// sender itself (RFC 5944 §4.6).
pub fn unasked_reply(our_mac: Mac, our_address: Ipv4Addr) -> [u8; FRAME] {
    let message = Message {
        operation: Operation::Reply,
        sender_mac: our_mac,
        sender: our_address,
        target_mac: our_mac,
        target: our_address,
    };
    message.frame(Mac::BROADCAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 8]);
    const THEIRS: Mac = Mac([2, 0, 0, 0, 0, 7]);
    const OUR_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 8);
    const THEIR_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);

    #[test]
    fn a_request_byte_by_byte() {
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 8, 0x08, 0x06, // Ethernet
            0, 1, 0x08, 0x00, 6, 4, 0, 1, // who has
            2, 0, 0, 0, 0, 8, 10, 0, 0, 8, // sender
            0, 0, 0, 0, 0, 0, 10, 0, 0, 7, // target
        ];
        assert_eq!(request(OURS, OUR_ADDRESS, THEIR_ADDRESS, Mac::BROADCAST), expected);
        assert_eq!(request(OURS, OUR_ADDRESS, THEIR_ADDRESS, THEIRS)[..6], THEIRS.0);
        let announced = Message::parse(&announcement(OURS, OUR_ADDRESS)[14..]).unwrap();
        assert_eq!((announced.sender, announced.target), (OUR_ADDRESS, OUR_ADDRESS));
        let reply = unasked_reply(OURS, OUR_ADDRESS);
        assert_eq!(reply[..6], Mac::BROADCAST.0);
        let reply = Message::parse(&reply[14..]).unwrap();
        assert_eq!(
            (reply.operation, reply.sender, reply.target),
            (Operation::Reply, OUR_ADDRESS, OUR_ADDRESS)
        );
        assert_eq!((reply.sender_mac, reply.target_mac), (OURS, OURS));
    }

    #[test]
    fn a_request_becomes_its_reply() {
        let mut frame = [0xa5; 60];
        frame[..FRAME].copy_from_slice(&request(THEIRS, THEIR_ADDRESS, OUR_ADDRESS, Mac::BROADCAST));
        assert!(reply_in_place(&mut frame, OURS));
        let header = Header::parse(&frame).unwrap();
        assert_eq!(header, Header { destination: THEIRS, source: OURS, ether_type: ethernet::ARP });
        let expected = Message {
            operation: Operation::Reply,
            sender_mac: OURS,
            sender: OUR_ADDRESS,
            target_mac: THEIRS,
            target: THEIR_ADDRESS,
        };
        assert_eq!(Message::parse(&frame[14..]), Some(expected));
        assert_eq!(frame[FRAME..], [0xa5; 18]);
        assert!(!reply_in_place(&mut frame, OURS), "a reply is not answered");
    }

    #[test]
    fn what_is_not_plain_arp_is_refused() {
        let good = request(THEIRS, THEIR_ADDRESS, OUR_ADDRESS, Mac::BROADCAST);
        for (offset, value) in [(1, 6), (2, 0x86), (4, 8), (5, 16), (7, 3), (7, 0), (8, 1)] {
            let mut bad: [u8; LENGTH] = *good.last_chunk().unwrap();
            bad[offset] = value;
            assert_eq!(Message::parse(&bad), None, "byte {offset}");
        }
        let mut bad = good;
        bad[22..28].fill(0);
        assert_eq!(Message::parse(&bad[14..]), None, "no MAC");
        assert_eq!(Message::parse(&good[14..41]), None, "cut short");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..70), arp: bool) {
            if arp && bytes.len() >= 22 {
                bytes[14..20].copy_from_slice(&PREAMBLE);
                bytes[20] = 0;
                bytes[21] %= 4;
            }
            let before = bytes.clone();
            let message = bytes.get(14..).and_then(Message::parse);
            if let Some(message) = message {
                let mut copy = [0; LENGTH];
                message.write(&mut copy);
                prop_assert_eq!(&copy[..], &bytes[14..FRAME]);
            }
            if !reply_in_place(&mut bytes, OURS) {
                prop_assert_eq!(bytes, before);
            }
        }
    }
}
