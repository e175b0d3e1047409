//! Answers about all of it: the family's number, the version, the timeouts.

use super::attributes::{put_text, put_u32};
use super::message::{Header, reply, reply_of};
use super::request::{CONTROLLER, FAMILY_ID, FAMILY_NAME, NAME};
use super::{FAMILY, attribute, attributes, command};
use dataplane::connection::TimeoutSeconds;

/// The controller's command under which it describes a family.
const NEW_FAMILY: u8 = 1;

// What describes a family, besides its number and name.
const FAMILY_VERSION: usize = 3;
const FAMILY_HEADER: usize = 4;
const FAMILY_MOST: usize = 5;

// Of the answer about the version.
const INFO_VERSION: usize = 1;
const INFO_TABLE_SIZE: usize = 2;

/// Version 1.2.1 of IPVS; `ipvsadm` warns of one below 1.1.4.
pub(super) const VERSION: u32 = 0x01_02_01;

/// The family's number.
pub fn family(header: &Header, out: &mut Vec<u8>) {
    reply_of(CONTROLLER, (NEW_FAMILY, 2), header, 0, out, |out| {
        attributes::put(out, FAMILY_ID, FAMILY.to_ne_bytes());
        put_text(out, FAMILY_NAME, NAME);
        put_u32(out, FAMILY_VERSION, 1);
        put_u32(out, FAMILY_HEADER, 0);
        put_u32(out, FAMILY_MOST, attribute::COUNT as u32 - 1);
    });
}

/// The version, and how many connections there can be, which `ipvsadm` prints as `(size=N)`.
pub fn info(header: &Header, table_size: u32, out: &mut Vec<u8>) {
    reply(header, false, command::SET_INFO, out, |out| {
        put_u32(out, INFO_VERSION, VERSION);
        put_u32(out, INFO_TABLE_SIZE, table_size);
    });
}

/// How long connections live.
pub fn timeouts(header: &Header, timeouts: TimeoutSeconds, out: &mut Vec<u8>) {
    let TimeoutSeconds { tcp, fin, udp } = timeouts;
    reply(header, false, command::SET_CONFIG, out, |out| {
        put_u32(out, attribute::TIMEOUT_TCP, tcp);
        put_u32(out, attribute::TIMEOUT_TCP_FIN, fin);
        put_u32(out, attribute::TIMEOUT_UDP, udp);
    });
}
