//! Answers, byte by byte, and as a program reads them.

use super::*;
use crate::api::protocol::Traffic;
use crate::ipvs::{
    Header, RealFacts, Refusal, ServiceFacts, ack, done, error, family, frame_length, info, real, service,
    timeouts, turned_away,
};
use crate::model::{Model, Service};

fn answer(request: &[u8], write: impl FnOnce(&Header, &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&read_alone(request).header, &mut out);
    assert_eq!(frame_length(&out), Some(Ok(out.len())));
    out
}

/// The header of an answer that carries what is asked for: type, flags, command and version.
fn head(answer: &[u8]) -> (u16, u16, u8, u8) {
    let number = |at: usize| u16::from_ne_bytes([answer[at], answer[at + 1]]);
    (number(4), number(6), answer[16], answer[17])
}

fn u64s(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[test]
fn an_acknowledgement_is_as_the_kernels() {
    let expected = format!("240000000200000109ba0b6b832b0077{}{}", "00000000", &GET_INFO[..32]);
    assert_eq!(answer(&bytes(GET_INFO), ack), bytes(&expected));
    // Who does not ask for one gets none.
    let mut out = Vec::new();
    ack(&read_alone(&request_of(crate::ipvs::FAMILY, 0x1, 17, |_| ())).header, &mut out);
    assert!(out.is_empty());
}

#[test]
fn an_error_repeats_the_request() {
    let refused = answer(&bytes(GET_INFO), |header, out| error(header, &Refusal::plain(Errno::ESRCH), out));
    let expected = format!("280000000200000009ba0b6b832b0077{}{GET_INFO}", "fdffffff");
    assert_eq!(refused, bytes(&expected));
}

#[test]
fn the_words_stand_behind_the_request() {
    let refusal = Refusal::new(Errno::EPROTONOSUPPORT, "not yet");
    let refused = answer(&bytes(GET_INFO), |header, out| error(header, &refusal, out));
    let expected =
        format!("340000000200000209ba0b6b832b0077{}{GET_INFO}{}", "a3ffffff", "0c0001006e6f742079657400");
    assert_eq!(refused, bytes(&expected));
    // A request of an odd length, as one of a file's name.
    let odd = [&bytes(GET_INFO)[..], &[5, 0, 1, 0, 0x78]].concat();
    let refused = answer(&odd, |header, out| error(header, &refusal, out));
    assert_eq!(refused.len(), 16 + 4 + 28 + 12);
    assert_eq!(refused[48..], bytes("0c0001006e6f742079657400"));
    let long = Refusal::new(Errno::EINVAL, "ä".repeat(100_000));
    assert!(answer(&odd, |header, out| error(header, &long, out)).len() < 4096);
}

#[test]
fn who_is_turned_away_gets_an_error_about_nothing() {
    let mut out = Vec::new();
    turned_away(&Refusal::new(Errno::EPERM, "no"), &mut out);
    // Capped, with attributes.
    let expected =
        format!("2c00000002000003{}ffffffff{}{}", "0".repeat(16), "0".repeat(32), "070001006e6f0000");
    assert_eq!(out, bytes(&expected));
}

#[test]
fn a_dump_ends() {
    let expected = "1400000003000200 09ba0b6b8b2bc099 00000000".replace(' ', "");
    assert_eq!(answer(&bytes(GET_SERVICES), done), bytes(&expected));
}

#[test]
fn the_family_has_its_number() {
    let expected = "4000000010000000 08ba0b6b832b405c 01020000 06000100f0030000 0900020049505653 00000000 \
                    0800030001000000 0800040000000000 0800050006000000";
    assert_eq!(answer(&bytes(GET_FAMILY), family), bytes(&expected.replace(' ', "")));
}

#[test]
fn the_version_and_the_timeouts_are_told() {
    let expected =
        "2400000 0f0030000 09ba0b6b832b0077 0e010000 0800010001020100 0800020000100000".replace(' ', "");
    assert_eq!(answer(&bytes(GET_INFO), |header, out| info(header, 4096, out)), bytes(&expected));
    let expected =
        "2c000000f0030000 0aba0b6b9a2b405c 0c010000 0800040084030000 0800050078000000 080006002c010000";
    let told = answer(&bytes(GET_TIMEOUTS), |header, out| timeouts(header, [900, 120, 300].into(), out));
    assert_eq!(told, bytes(&expected.replace(' ', "")));
}

const TOTALS: Traffic =
    Traffic { conns: 1 << 32 | 1, in_packets: 2, out_packets: 3, in_bytes: 4 << 32 | 4, out_bytes: 5 };
const RATES: Traffic = Traffic { conns: 6, in_packets: 7, out_packets: 8, in_bytes: 9, out_bytes: 10 };

/// In both forms: the older one has 32 bits of all but the totals of bytes.
fn check_statistics<const COUNT: usize>(of: &Attributes<'_, COUNT>) {
    let (older, newer) = (of.nested::<11>(10).unwrap(), of.nested::<11>(12).unwrap());
    let numbers =
        |from: &Attributes<'_, 11>| (1..11).map(|number| u64s(from.get(number).unwrap())).collect::<Vec<_>>();
    let lengths =
        |from: &Attributes<'_, 11>| (1..11).map(|number| from.get(number).unwrap().len()).collect::<Vec<_>>();
    assert_eq!(numbers(&newer), [1 << 32 | 1, 2, 3, 4 << 32 | 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(numbers(&older), [1, 2, 3, 4 << 32 | 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!((lengths(&newer), lengths(&older)), (vec![8; 10], vec![4, 4, 4, 8, 8, 4, 4, 4, 4, 4]));
}

#[test]
fn a_service_is_listed_with_all_that_the_tools_need() {
    let settings = Settings {
        flags: Flags::PORT.with(Flags::FALLBACK),
        persistence: Some(Persistence { seconds: 50, mask: [255, 255, 255, 0].into() }),
        ..Settings::new(Algorithm::SourceHashing)
    };
    let facts = ServiceFacts { key: &web(), settings: &settings, totals: TOTALS, rates: RATES };
    let listed = answer(&bytes(GET_SERVICES), |header, out| service(header, true, &facts, out));
    assert_eq!(head(&listed), (crate::ipvs::FAMILY, 0x2, 1, 1));
    let listed = Attributes::<2>::read(&listed[20..]).unwrap().nested::<13>(1).unwrap();
    for (number, expected) in [
        (1, "0200"),
        (2, "0600"),
        (3, "c0a80a64000000000000000000000000"),
        (4, "0050"),
        (6, "736800"),
        (7, "1b000000ffffffff"),
        (8, "32000000"),
        (9, "ffffff00"),
    ] {
        assert_eq!(listed.get(number), Some(&bytes(expected)[..]), "{number}");
    }
    assert_eq!([5, 11].map(|number| listed.get(number)), [None; 2], "no firewall mark, no engine");
    check_statistics(&listed);
    let one = answer(&bytes(GET_SERVICES), |header, out| service(header, false, &facts, out));
    assert_eq!(head(&one), (crate::ipvs::FAMILY, 0, 1, 1));
}

#[test]
fn a_service_that_is_not_persistent_is_listed_with_no_time_and_the_whole_mask() {
    for (listen, netmask) in [("192.168.10.100:53", "ffffffff"), ("[2001:db8::10]:53", "80000000")] {
        let key = ServiceKey::new(Protocol::Udp, listen.parse().unwrap());
        let settings = Settings { one_packet: true, ..Settings::new(Algorithm::RoundRobin) };
        let facts = ServiceFacts { key: &key, settings: &settings, totals: TOTALS, rates: RATES };
        let listed = answer(&bytes(GET_SERVICES), |header, out| service(header, true, &facts, out));
        let listed = Attributes::<2>::read(&listed[20..]).unwrap().nested::<13>(1).unwrap();
        let expected = ["06000000ffffffff", "00000000", netmask].map(bytes);
        assert_eq!([7, 8, 9].map(|number| listed.get(number).unwrap().to_vec()), expected);
    }
}

#[test]
fn a_real_is_listed_with_all_that_the_tools_need() {
    let facts = RealFacts {
        endpoint: "10.0.0.7:8080".parse().unwrap(),
        weight: 3,
        thresholds: Thresholds { upper: 100, lower: 50 },
        active: 1,
        inactive: 2,
        persistent: 1 << 40,
        totals: TOTALS,
        rates: RATES,
    };
    let listed = answer(&bytes(GET_REALS), |header, out| real(header, &facts, out));
    assert_eq!(head(&listed), (crate::ipvs::FAMILY, 0x2, 5, 1));
    let listed = Attributes::<3>::read(&listed[20..]).unwrap().nested::<13>(2).unwrap();
    for (number, expected) in [
        (1, "0a000007000000000000000000000000"),
        (2, "1f90"),
        (3, "00000000"),
        (4, "03000000"),
        (5, "64000000"),
        (6, "32000000"),
        (7, "01000000"),
        (8, "02000000"),
        (9, "ffffffff"),
        (11, "0200"),
    ] {
        assert_eq!(listed.get(number), Some(&bytes(expected)[..]), "{number}");
    }
    check_statistics(&listed);
}

#[test]
fn a_service_on_several_ports_is_listed_by_the_first() {
    let range =
        ServiceKey { last_port: 8100, ..ServiceKey::new(Protocol::Tcp, "192.0.2.1:8000".parse().unwrap()) };
    let exact = |port| ServiceKey::new(Protocol::Tcp, format!("192.0.2.1:{port}").parse().unwrap());
    let mut model = Model::new([900, 120, 300].into());
    let settings = Settings::new(Algorithm::RoundRobin);
    let found = |model: &Model, key| crate::ipvs::service_at(model, &key).map(|service| service.key);
    for key in [range, exact(8001), exact(0)] {
        model.insert(Service::new(key, settings, 1));
    }
    assert_eq!(found(&model, exact(8000)), Some(range));
    assert_eq!(found(&model, exact(8001)), Some(exact(8001)));
    assert_eq!(found(&model, exact(0)), Some(exact(0)));
    assert_eq!(found(&model, exact(8002)), None, "among its ports, but not listed there");
    assert_eq!(found(&model, ServiceKey { protocol: Protocol::Udp, ..exact(8000) }), None);
    model.insert(Service::new(exact(8000), settings, 1));
    assert_eq!(found(&model, exact(8000)), Some(exact(8000)));
    let facts = ServiceFacts { key: &range, settings: &settings, totals: TOTALS, rates: RATES };
    let listed = answer(&bytes(GET_SERVICES), |header, out| service(header, true, &facts, out));
    let listed = Attributes::<2>::read(&listed[20..]).unwrap().nested::<13>(1).unwrap();
    assert_eq!(listed.port(4), Ok(Some(8000)));
}

#[test]
fn where_a_message_ends_is_told_by_its_first_four_bytes() {
    let length = |length: u32| frame_length(&length.to_ne_bytes());
    assert_eq!(frame_length(&[20, 0, 0]), None);
    assert_eq!([16, 20, 65_536].map(length), [16, 20, 65_536].map(|length| Some(Ok(length))));
    let errno = |bytes| length(bytes).unwrap().unwrap_err().errno;
    assert_eq!([0, 15, 65_537, u32::MAX].map(errno), [22, 22, 90, 90].map(Errno::from_raw));
}
