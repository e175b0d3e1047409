use super::*;
use std::vec;
use std::vec::Vec;

/// As libnl sends it, with its sequence number and port.
const LOOK_UP: [u8; 32] = [
    0x20, 0, 0, 0, 0x10, 0, 5, 0, 0x08, 0xba, 0x0b, 0x6b, 0x83, 0x2b, 0x40, 0x5c, 3, 1, 0, 0, 9, 0, 2, 0,
    b'I', b'P', b'V', b'S', 0, 0, 0, 0,
];

fn request() -> Header {
    Header { length: 32, kind: 16, flags: 5, sequence: 77, port: 4711 }
}

/// An error that copies a request of 32 bytes and says these words.
pub(crate) fn error_with_words(words: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; ERROR + 16];
    request().write(&mut bytes[HEADER + 4..]);
    bytes[HEADER..HEADER + 4].copy_from_slice(&(-93_i32).to_ne_bytes());
    // Not the words that are looked for.
    bytes.extend([8, 0, 2, 0, 9, 9, 9, 9]);
    bytes.extend(u16::try_from(words.len() + 5).unwrap().to_ne_bytes());
    bytes.extend(ATTRIBUTE_WORDS.to_ne_bytes());
    bytes.extend(words);
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let length = u32::try_from(bytes.len()).unwrap();
    Header { length, kind: KIND_ERROR, flags: FLAG_ACK_TLVS, sequence: 77, port: 4711 }.write(&mut bytes);
    bytes
}

/// The message with another value at one place.
fn changed(at: usize, to: u8) -> [u8; 32] {
    let mut bytes = LOOK_UP;
    bytes[at] = to;
    bytes
}

#[test]
fn the_look_up_of_ipvs_is_recognised() {
    assert!(asks_for_ipvs(&LOOK_UP));
    assert!(asks_for_ipvs(&changed(6, 1)), "without an acknowledgement");
    assert!(asks_for_ipvs(&[&LOOK_UP[..], &[0; 96]].concat()), "what follows does not matter");
    assert!(asks_for_ipvs(&changed(0, 29)), "without padding");
}

#[test]
fn other_messages_are_not_taken_for_it() {
    for (bytes, why) in [
        (changed(4, 17), "another family's"),
        (changed(16, 4), "another command"),
        (changed(7, 3), "for all families"),
        (changed(27, b'T'), "another name"),
        (changed(28, b'X'), "a longer name"),
        (changed(22, 1), "another attribute"),
        (changed(20, 200), "an attribute that is longer than the message"),
        (changed(20, 0), "an attribute without a length"),
        (changed(0, 15), "shorter than a header"),
        (changed(1, 1), "longer than what there is"),
    ] {
        assert!(!asks_for_ipvs(&bytes), "{why}");
    }
    for length in 0..29 {
        assert!(!asks_for_ipvs(&LOOK_UP[..length]), "{length}");
    }
}

#[test]
fn packed_messages_have_the_port_and_no_padding() {
    let mut bytes = [changed(0, 29), LOOK_UP].concat();
    let (length, last) = pack(&mut bytes, 4711);
    assert_eq!(length, 29 + 32);
    assert_eq!(last.unwrap().port, 4711);
    for (at, expected) in [(0, changed(0, 29)), (29, LOOK_UP)] {
        assert_eq!(Header::read(&bytes[at..]).unwrap().port, 4711);
        assert_eq!(bytes[at..at + 12], expected[..12]);
        assert_eq!(bytes[at + 16..at + 29], expected[16..29]);
    }
}

#[test]
fn a_message_that_is_cut_is_not_sent() {
    let mut bytes = [LOOK_UP, changed(0, 40)].concat();
    assert_eq!(pack(&mut bytes, 1).0, 32);
    assert_eq!(pack(&mut changed(0, 33), 1), (0, None));
    assert_eq!(pack(&mut changed(0, 3), 1), (0, None));
    assert_eq!(pack(&mut [], 1), (0, None));
}

#[test]
fn an_error_carries_the_request_it_answers() {
    let bytes = error(request(), 19);
    let header = Header { length: 36, kind: 2, flags: 0x100, sequence: 77, port: 4711 };
    assert_eq!(Header::read(&bytes), Some(header));
    assert_eq!(errno(&bytes), Some(19));
    assert_eq!(Header::read(&bytes[20..]), Some(request()));
    assert_eq!(turned_away(&bytes), None);
}

#[test]
fn an_error_without_a_request_becomes_the_answer() {
    let mut bytes = error(Header::default(), 16);
    assert_eq!(turned_away(&bytes), Some(16));
    answer(&mut bytes, request());
    assert_eq!(bytes, error(request(), 16));
    assert_eq!(turned_away(&error(Header::default(), 0)), None, "that is an acknowledgement");
}

#[test]
fn words_are_found_behind_the_request() {
    assert_eq!(words(&error_with_words(b"no such service")), Some(&b"no such service"[..]));
    assert_eq!(words(&error(request(), 3)), None);
    let mut acknowledged = error_with_words(b"fine");
    acknowledged[HEADER..HEADER + 4].fill(0);
    assert_eq!(words(&acknowledged), None);
}

#[test]
fn words_are_found_in_an_error_without_a_request() {
    let mut bytes = error(Header::default(), 1).to_vec();
    bytes.extend([12, 0, 1, 0]);
    bytes.extend(b"go away\0");
    let header = Header { length: 48, kind: 2, flags: FLAG_ACK_TLVS, ..Header::default() };
    header.write(&mut bytes);
    assert_eq!(turned_away(&bytes), Some(1));
    assert_eq!(words(&bytes), Some(&b"go away"[..]));
    answer(&mut bytes, request());
    assert_eq!(words(&bytes), Some(&b"go away"[..]), "the body is still not there");
}

#[test]
fn half_messages_have_no_words() {
    let whole = error_with_words(b"no such service");
    for length in 0..whole.len() - 4 {
        assert_eq!(words(&whole[..length]), None, "{length}");
    }
}

#[test]
fn a_file_is_asked_for_by_its_name() {
    let (bytes, length) = file_request(b"ip_vs_conn");
    assert_eq!(length, 16 + 4 + 4 + 11);
    let header = Header { length: 35, kind: 0x3f0, flags: 1, sequence: 1, port: 0 };
    assert_eq!(Header::read(&bytes), Some(header));
    assert_eq!(bytes[16], 64);
    assert_eq!(attribute(&bytes[20..length], 1), Some(&b"ip_vs_conn\0"[..]));
}
