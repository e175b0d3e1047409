use super::*;
use proptest::prelude::*;

/// A packet with these chunks, each with its type, flags and value, and with zeros for a checksum.
fn packet(ports: [u16; 2], tag: u32, chunks: &[(u8, u8, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    put(&mut bytes, field::SOURCE, ports[0].to_be_bytes());
    put(&mut bytes, field::DESTINATION, ports[1].to_be_bytes());
    put(&mut bytes, field::VERIFICATION_TAG, tag.to_be_bytes());
    for (chunk_type, flags, value) in chunks {
        bytes.extend([*chunk_type, *flags]);
        bytes.extend(((CHUNK_HEADER + value.len()) as u16).to_be_bytes());
        bytes.extend(*value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

fn event(bytes: &[u8]) -> Event {
    Packet::parse(bytes).unwrap().event()
}

/// CRC32c as it is defined (RFC 9260 appendix A): what is left of the message, its lowest bits first, divided by the
/// polynomial over two elements; bit by bit.
fn crc32c_by_definition(message: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x1edc_6f41;
    let mut rest = u32::MAX;
    for byte in message {
        for bit in 0..8 {
            let leads = rest >> 31 != u32::from(byte >> bit & 1);
            rest = rest << 1 ^ if leads { POLYNOMIAL } else { 0 };
        }
    }
    !rest.reverse_bits()
}

#[test]
fn the_definition_is_that_of_the_known_vectors() {
    assert_eq!(crc32c_by_definition(b"123456789"), 0xe306_9283);
    // RFC 3720 appendix B.4.
    assert_eq!(crc32c_by_definition(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c_by_definition(&[0xff; 32]), 0x62a8_ab43);
    assert_eq!(crc32c_by_definition(&std::array::from_fn::<u8, 32, _>(|n| n as u8)), 0x46dd_794e);
}

#[test]
fn fields_and_chunks_stand_where_they_belong() {
    let chunks: [(u8, u8, &[u8]); 3] =
        [(chunk_type::SACK, 0, &[7; 12]), (chunk_type::DATA, 3, b"hello"), (chunk_type::ABORT, 1, &[])];
    let mut bytes = packet([0x1234, 9000], 0xdead_beef, &chunks);
    bytes[field::CHECKSUM..][..4].copy_from_slice(&[1, 2, 3, 4]);
    let parsed = Packet::parse(&bytes).unwrap();
    assert_eq!((parsed.source_port(), parsed.destination_port()), (0x1234, 9000));
    assert_eq!((parsed.verification_tag(), parsed.checksum()), (0xdead_beef, 0x0403_0201));
    let found: Vec<_> =
        parsed.chunks().map(|chunk| (chunk.chunk_type(), chunk.flags(), chunk.value())).collect();
    assert_eq!(found, chunks);
    assert_eq!(bytes.len(), 12 + 16 + 12 + 4);
}

#[test]
fn chunks_end_where_one_is_broken() {
    let whole = packet([1, 2], 3, &[(chunk_type::SACK, 0, &[]), (chunk_type::DATA, 0, b"hello")]);
    let count = |bytes: &[u8]| Packet::parse(bytes).unwrap().chunks().count();
    assert_eq!(count(&whole), 2);
    assert_eq!(count(&whole[..whole.len() - 3]), 2, "only padding is missing");
    assert_eq!(count(&whole[..whole.len() - 4]), 1);
    for length in [0, 3, 13] {
        let mut broken = whole.clone();
        put(&mut broken, HEADER + CHUNK_HEADER + chunk_field::LENGTH, [0, length]);
        assert_eq!(count(&broken), 1, "{length}");
    }
}

#[test]
fn a_packet_is_what_its_first_chunk_is() {
    use Event::{
        Abort, CookieAck, CookieEcho, Data, Error, Init, InitAck, Shutdown, ShutdownAck, ShutdownComplete,
    };
    // By the number of the type, as RFC 9260 §3.2 lists them.
    let known = [
        Data,
        Init,
        InitAck,
        Data,
        Data,
        Data,
        Abort,
        Shutdown,
        ShutdownAck,
        Error,
        CookieEcho,
        CookieAck,
        Data,
        Data,
        ShutdownComplete,
    ];
    for number in 0..=u8::MAX {
        let expected = known.get(usize::from(number)).copied().unwrap_or(Data);
        let other = (chunk_type::HEARTBEAT, 0, &[1, 2, 3, 4, 5][..]);
        assert_eq!(event(&packet([1, 2], 3, &[(number, 0, &[]), other])), expected, "{number}");
    }
}

#[test]
fn a_bundled_abort_counts_after_a_cookie_only() {
    let abort = (chunk_type::ABORT, 0, &[][..]);
    let bundled = |first, value: &[u8]| event(&packet([1, 2], 3, &[(first, 0, value), abort]));
    for length in 0..9 {
        assert_eq!(bundled(chunk_type::COOKIE_ECHO, &vec![9; length]), Event::Abort, "{length}");
    }
    assert_eq!(bundled(chunk_type::COOKIE_ACK, &[]), Event::Abort);
    assert_eq!(bundled(chunk_type::SACK, &[]), Event::Data);
    assert_eq!(bundled(chunk_type::SHUTDOWN, &[]), Event::Shutdown);
    let (ack, data) = ((chunk_type::COOKIE_ACK, 0, &[][..]), (chunk_type::DATA, 0, &[][..]));
    assert_eq!(event(&packet([1, 2], 3, &[ack, data, abort])), Event::CookieAck, "not right after it");
    let mut cut = packet([1, 2], 3, &[ack, abort]);
    cut.pop();
    assert_eq!(event(&cut), Event::CookieAck, "no complete header of a chunk");
    let mut short = packet([1, 2], 3, &[ack, abort]);
    put(&mut short, HEADER + chunk_field::LENGTH, [0, 0]);
    assert_eq!(event(&short), Event::CookieAck, "a length that is none");
}

/// A packet as a transcript shows it.
#[derive(Clone, Debug)]
struct Shown {
    ports: [u16; 2],
    tag: u32,
    checksum: u32,
    /// The chunks, as text: name and length of each.
    chunks: String,
}

impl Shown {
    /// Of a line like `10.0.0.1.44001 > 10.0.0.2.9000: ttl 64, vtag 00000011, crc32c 4659c9a1 correct: INIT(36)`. In
    /// place of `correct` there may be `WRONG, want` with the right checksum, which is taken then.
    fn of(line: &str) -> Option<Self> {
        let line = line.replace(" correct: ", ": ");
        let (head, chunks) = line.rsplit_once(": ")?;
        let words: Vec<_> = head.split([' ', ',']).collect();
        let [from, ">", to, ..] = words[..] else { return None };
        let port = |endpoint: &str| endpoint.trim_end_matches(':').rsplit('.').next()?.parse().ok();
        let after = |name| words.iter().skip_while(|word| **word != name).nth(1);
        Some(Self {
            ports: [port(from)?, port(to)?],
            tag: u32::from_str_radix(after("vtag")?, 16).ok()?,
            checksum: u32::from_str_radix(after("want").or(after("crc32c"))?, 16).ok()?,
            chunks: chunks.split(" with ").next()?.to_owned(),
        })
    }

    /// Bytes of its chunks with their padding.
    fn length(&self) -> usize {
        let lengths = self.chunks.split('(').skip(1).map(|rest| rest.split(')').next().unwrap());
        lengths.map(|length| length.parse::<usize>().unwrap().next_multiple_of(4)).sum()
    }

    /// The type of its chunk, if it is a single one without a value.
    fn bare_type(&self) -> Option<u8> {
        match self.chunks.as_str() {
            "ABORT(4)" => Some(chunk_type::ABORT),
            "SHUTDOWN ACK(4)" => Some(chunk_type::SHUTDOWN_ACK),
            "ERROR(4)" => Some(chunk_type::ERROR),
            "COOKIE ACK(4)" => Some(chunk_type::COOKIE_ACK),
            "SHUTDOWN COMPLETE(4)" => Some(chunk_type::SHUTDOWN_COMPLETE),
            _ => None,
        }
    }
}

const TRANSCRIPTS: [&str; 2] =
    [include_str!("../../../testdata/sctp/ipv4.txt"), include_str!("../../../testdata/sctp/ipv6.txt")];

/// Those packets whose bytes the transcripts tell: with one chunk that is nothing but a header. Only the flag T is not
/// shown: it says in ABORT and SHUTDOWN COMPLETE that the tag is the one of the packet that these answer (RFC 9260
/// §8.5.1), as it is where that packet was of no association.
#[test]
fn packets_of_a_transcript_have_the_checksums_that_it_shows() {
    for transcript in TRANSCRIPTS {
        let [mut plain, mut answers] = [0, 0];
        for shown in transcript.lines().filter_map(Shown::of) {
            let Some(chunk_type) = shown.bare_type() else { continue };
            let has_flags = |flags| {
                let mut bytes = packet(shown.ports, shown.tag, &[(chunk_type, flags, &[])]);
                set_checksum(&mut bytes);
                bytes[field::CHECKSUM..][..4] == shown.checksum.to_be_bytes()
            };
            let may_answer = matches!(chunk_type, chunk_type::ABORT | chunk_type::SHUTDOWN_COMPLETE);
            match () {
                () if has_flags(0) => plain += 1,
                () if may_answer && has_flags(1) => answers += 1,
                () => panic!("{shown:?}"),
            }
        }
        assert!(answers >= 8 && plain > 70, "{plain}, {answers}");
    }
}

/// By how much two checksums differ tells by which bits two packets of one length differ, wherever the other bits are
/// equal: so the packets before and after a translation are compared without their data, which no transcript shows.
#[test]
fn translated_packets_differ_from_those_before_by_their_ports() {
    for transcript in TRANSCRIPTS {
        let (mut compared, mut before) = (0, Vec::<Shown>::new());
        let mut is_after = false;
        for line in transcript.lines() {
            match line {
                "--- lb eth1" => (is_after, before) = (false, Vec::new()),
                "--- lb eth0" => is_after = true,
                _ => {}
            }
            let Some(shown) = Shown::of(line) else { continue };
            if !is_after {
                before.push(shown);
                continue;
            }
            let is_it = |other: &Shown| (other.tag, &other.chunks) == (shown.tag, &shown.chunks);
            let other = before.remove(before.iter().position(is_it).unwrap());
            let of_ports = |shown: &Shown| {
                let mut bytes = packet(shown.ports, shown.tag, &[]);
                bytes.resize(HEADER + shown.length(), 0);
                checksum(&bytes).swap_bytes()
            };
            assert_eq!(
                of_ports(&shown) ^ of_ports(&other),
                shown.checksum ^ other.checksum,
                "{shown:?} and {other:?}"
            );
            compared += 1;
        }
        assert!(compared > 130, "{compared}");
    }
}

/// What was answered to packets of no association, and what was not: by the lines of a transcript between two headings
/// that say so.
#[test]
fn what_comes_out_of_the_blue_is_answered_as_by_linux() {
    for transcript in TRANSCRIPTS {
        let (mut refused, mut silent, mut asked) = (0, 0, None::<Shown>);
        let sections = transcript.split("\n## ").filter(|section| section.contains("sloppy_sctp=0)"));
        for line in sections.flat_map(|section| section.lines().chain([""])) {
            let expected = match (asked.take(), Shown::of(line)) {
                (Some(asked), answer) => Some((asked, answer)),
                (None, found) => {
                    asked = found;
                    continue;
                }
            };
            let Some((asked, answer)) = expected else { continue };
            let name = asked.chunks.split('(').next().unwrap();
            let of_name = |number: &u8| NAMES.iter().any(|(of, known)| of == number && *known == name);
            let chunk_type = (0..=u8::MAX).find(of_name).unwrap();
            let value = vec![0; asked.length() - CHUNK_HEADER];
            let bytes = packet(asked.ports, asked.tag, &[(chunk_type, 0, &value)]);
            let control = Control::out_of_the_blue(&Packet::parse(&bytes).unwrap());
            let Some(answer) = answer else {
                assert_eq!(control, None, "{asked:?}");
                silent += 1;
                continue;
            };
            let mut written = [0; CONTROL];
            control.unwrap().write(&mut written);
            let parsed = Packet::parse(&written).unwrap();
            assert_eq!(([parsed.source_port(), parsed.destination_port()]), answer.ports, "{asked:?}");
            assert_eq!((parsed.verification_tag(), written.len()), (answer.tag, HEADER + answer.length()));
            assert_eq!(written[field::CHECKSUM..][..4], answer.checksum.to_be_bytes(), "{asked:?}");
            refused += 1;
        }
        assert_eq!((refused, silent), (8, 3));
    }
}

/// Chunks by the names that transcripts give them.
const NAMES: [(u8, &str); 12] = [
    (chunk_type::DATA, "DATA"),
    (chunk_type::INIT, "INIT"),
    (chunk_type::INIT_ACK, "INIT ACK"),
    (chunk_type::SACK, "SACK"),
    (chunk_type::HEARTBEAT, "HEARTBEAT"),
    (chunk_type::ABORT, "ABORT"),
    (chunk_type::SHUTDOWN, "SHUTDOWN"),
    (chunk_type::SHUTDOWN_ACK, "SHUTDOWN ACK"),
    (chunk_type::ERROR, "ERROR"),
    (chunk_type::COOKIE_ECHO, "COOKIE ECHO"),
    (chunk_type::COOKIE_ACK, "COOKIE ACK"),
    (chunk_type::SHUTDOWN_COMPLETE, "SHUTDOWN COMPLETE"),
];

#[test]
fn an_init_is_refused_with_the_tag_that_its_sender_expects() {
    let init = |tag, value: &[u8]| packet([1234, 9000], tag, &[(chunk_type::INIT, 0, value)]);
    let answer = |bytes: &[u8]| Control::out_of_the_blue(&Packet::parse(bytes).unwrap());
    let [mut value, tag] = [[0; 16], [0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]];
    value[..4].copy_from_slice(&tag[..4]);
    let refusal = Control {
        source_port: 9000,
        destination_port: 1234,
        verification_tag: 0xdead_beef,
        chunk_type: chunk_type::ABORT,
        flags: 0,
    };
    assert_eq!(answer(&init(0, &value)), Some(refusal));
    assert_eq!(answer(&init(7, &value)), None, "an INIT has no tag (RFC 9260 §8.5.1)");
    assert_eq!(answer(&init(0, &value[..3])), None, "no tag to answer with");
    let stale = packet([1, 2], 3, &[(chunk_type::ERROR, 0, &[0, 3, 0, 8, 0, 0, 0, 1])]);
    assert_eq!(answer(&stale), None);
    let bundled = packet([1, 2], 3, &[(chunk_type::SACK, 0, &[0; 12]), (chunk_type::ABORT, 0, &[])]);
    assert_eq!(answer(&bundled), None, "an ABORT is never answered");
}

#[test]
fn an_abort_onward_is_as_from_the_sender() {
    let bytes = packet([1234, 9000], 77, &[(chunk_type::DATA, 3, b"hello")]);
    let abort = Control::abort_onward(&Packet::parse(&bytes).unwrap());
    let mut written = [0; CONTROL];
    abort.write(&mut written);
    let mut expected = packet([1234, 9000], 77, &[(chunk_type::ABORT, 0, &[])]);
    set_checksum(&mut expected);
    assert_eq!(written[..], expected);
}

proptest! {
    /// Of a whole packet, and where only its beginning is at hand.
    #[test]
    fn a_port_that_is_replaced_changes_the_checksum_as_computed_anew(
        mut bytes in proptest::collection::vec(any::<u8>(), 16..3000),
        port in prop_oneof![Just(0u16), any::<u16>()],
        source: bool,
        wrong in prop_oneof![Just(0u32), any::<u32>()],
        shown in 12usize..60,
    ) {
        let offset = if source { field::SOURCE } else { field::DESTINATION };
        let right = checksum(&bytes);
        put(&mut bytes, field::CHECKSUM, (right ^ wrong).to_le_bytes());
        prop_assume!(right != wrong);
        let length = bytes.len();
        let mut beginning = bytes[..shown.min(length)].to_vec();
        replace_port(&mut bytes, length, offset, port);
        replace_port(&mut beginning, length, offset, port);
        prop_assert_eq!(be_u16(&bytes, offset), port);
        let parsed = Packet::parse(&bytes).unwrap();
        prop_assert_eq!(parsed.checksum(), checksum(&bytes) ^ wrong, "wrong by as much as before");
        prop_assert_eq!(&beginning[..], &bytes[..beginning.len()]);
    }

    #[test]
    fn no_checksum_stays_none(mut bytes in proptest::collection::vec(any::<u8>(), 16..200), port: u16) {
        put(&mut bytes, field::CHECKSUM, [0; 4]);
        let length = bytes.len();
        replace_port(&mut bytes, length, field::SOURCE, port);
        prop_assert_eq!(Packet::parse(&bytes).unwrap().checksum(), 0);
        // Of a packet that is quoted up to its tag.
        replace_port(&mut bytes[..8], length, field::DESTINATION, port);
        prop_assert_eq!(be_u16(&bytes, field::DESTINATION), port);
    }

    #[test]
    fn a_checksum_is_that_of_the_definition(mut bytes in proptest::collection::vec(any::<u8>(), HEADER..2000)) {
        let given = checksum(&bytes);
        put(&mut bytes, field::CHECKSUM, [0; 4]);
        prop_assert_eq!(given, crc32c_by_definition(&bytes));
    }

    #[test]
    fn any_bytes_are_survived(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..80),
        first: u8,
        length in 0u8..70,
    ) {
        if bytes.len() > 15 {
            (bytes[12], bytes[14], bytes[15]) = (first % 16, 0, length);
        }
        let parsed = Packet::parse(&bytes);
        prop_assert_eq!(parsed.is_some(), bytes.len() >= 16);
        let Some(parsed) = parsed else { return Ok(()) };
        let second = parsed.chunks().nth(1).map(|chunk| chunk.chunk_type());
        let first = Event::of(bytes[12]);
        prop_assert!(parsed.event() == first || parsed.event() == Event::Abort);
        if let Some(second) = second {
            let aborts = second == chunk_type::ABORT && matches!(first, Event::CookieEcho | Event::CookieAck);
            prop_assert_eq!(parsed.event(), if aborts { Event::Abort } else { first });
        }
        prop_assert!(parsed.chunks().map(|chunk| 4 + chunk.value().len()).sum::<usize>() <= bytes.len() - HEADER);
    }

    #[test]
    fn whatever_it_had_a_packet_gets_its_right_checksum(
        mut bytes in proptest::collection::vec(any::<u8>(), 16..100),
        bit in 0usize..128,
    ) {
        set_checksum(&mut bytes);
        let before = bytes.clone();
        prop_assert!(Packet::parse(&bytes).unwrap().has_right_checksum());
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!Packet::parse(&bytes).unwrap().has_right_checksum());
        bytes[bit / 8] ^= 1 << (bit % 8);
        put(&mut bytes, field::CHECKSUM, [0; 4]);
        set_checksum(&mut bytes);
        prop_assert_eq!(bytes, before);
    }
}
