//! Requests as LVS's tools sent them on a little-endian machine, and what they ask for.

mod answers;
mod files;
mod random;
mod refused;

use super::attributes::{Attributes, nest, put};
use super::{Asked, Message, read};
use crate::api::protocol::{Command, ServiceOptions};
use crate::model::Settings;
use crate::text::services::Listen;
use dataplane::names::ids::{Protocol, ServiceKey};
use dataplane::schedule::{Algorithm, Flags};
use dataplane::snapshot::{Persistence, Thresholds};
use nix::errno::Errno;

const GET_FAMILY: &str = "200000001000050008ba0b6b832b405c03010000090002004950565300000000";
const GET_INFO: &str = "14000000f003050009ba0b6b832b00770f010000";
/// `ipvsadm -A -t 192.168.10.100:80 -s wrr -p 60`
const ADD_SERVICE: &str = "68000000f003050009ba0b6b832bc09901010000540001800600010002000000060002000600000014000300\
                           c0a80a64000000000000000000000000060004000050000008000600777272000c00070001000000ffffffff\
                           080008003c00000008000900ffffffff";
/// `ipvsadm -a -t 192.168.10.100:80 -r 10.0.0.7:8080 -m -w 3`
const ADD_REAL: &str = "c8000000f003050009ba0b6b872bc09905010000540001800600010002000000060002000600000014000300\
                        c0a80a64000000000000000000000000060004000050000005000600000000000c00070000000000ffffffff\
                        080008000000000008000900ffffffff6000028006000b0002000000140001000a0000070000000000000000\
                        00000000060002001f9000000800030000000000080004000300000005000d000000000006000e0000000000\
                        06000f000000000008000500000000000800060000000000";
const GET_SERVICES: &str = "14000000f003050309ba0b6b8b2bc09904010000";
const GET_REALS: &str = "44000000f003050309ba0b6b8b2b80cc0801000030000180060001000200000006000200060000001400030\
                         0c0a80a640000000000000000000000000600040000500000";
/// `ipvsadm --set 1 2 3`
const SET_TIMEOUTS: &str = "2c000000f003050009ba0b6b902bc0990c0100000800040001000000080005000200000008000600\
                            03000000";
/// `keepalived`'s, when it starts.
const GET_TIMEOUTS: &str = "14000000f00305000aba0b6b9a2b405c0d010000";
/// Likewise.
const SET_TIMEOUTS_KEEPALIVED: &str = "2c000000f00305000bba0b6b9a2b405c0c010000080004006f0000000800050016000000\
                                       0800060021000000";
/// Likewise: 192.168.10.100:80, wrr.
const ADD_SERVICE_KEEPALIVED: &str = "68000000f00305000cba0b6b9a2b405c01010000540001800600010002000000060002000600\
                                      000014000300c0a80a640000000000000000000000000600040000500000080006007772720\
                                      00c00070000000000ffffffff080008000000000008000900ffffffff";
/// Likewise: 127.0.0.2:8081, weight 2.
const ADD_REAL_KEEPALIVED: &str = "b0000000f00305000dba0b6b9a2b405c05010000540001800600010002000000060002000600000014\
                                   000300c0a80a64000000000000000000000000060004000050000008000600777272000c0007000000\
                                   0000ffffffff080008000000000008000900ffffffff4800028006000b0002000000140001007f0000\
                                   02000000000000000000000000060002001f9100000800030000000000080004000200000008000500\
                                   000000000800060000000000";

const REQUESTS: [&str; 11] = [
    GET_FAMILY,
    GET_INFO,
    ADD_SERVICE,
    ADD_REAL,
    GET_SERVICES,
    GET_REALS,
    SET_TIMEOUTS,
    GET_TIMEOUTS,
    SET_TIMEOUTS_KEEPALIVED,
    ADD_SERVICE_KEEPALIVED,
    ADD_REAL_KEEPALIVED,
];

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap() as u8;
    hexadecimal.as_bytes().chunks(2).map(|pair| digit(&pair[0]) << 4 | digit(&pair[1])).collect()
}

fn read_alone(bytes: &[u8]) -> Message {
    read(bytes, |_| None)
}

fn asked(hexadecimal: &str) -> Asked {
    read_alone(&bytes(hexadecimal)).asked.unwrap()
}

fn web() -> ServiceKey {
    ServiceKey::new(Protocol::Tcp, "192.168.10.100:80".parse().unwrap())
}

/// A request of the family, with all flags of a change.
fn request(command: u8, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    request_of(super::FAMILY, 0x5, command, fill)
}

fn request_of(kind: u16, flags: u16, command: u8, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend([kind, flags].map(u16::to_ne_bytes).concat());
    bytes.extend([7u32, 4711].map(u32::to_ne_bytes).concat());
    bytes.extend([command, 1, 0, 0]);
    fill(&mut bytes);
    let length = bytes.len() as u32;
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes
}

/// A message whose attributes of a service (1) and a real (2) have other payloads in place of what they had, or lack
/// what is `None`.
fn with(request: &[u8], changes: &[(usize, usize, Option<&[u8]>)]) -> Vec<u8> {
    let (head, attributes) = request.split_at(20);
    let outer = Attributes::<3>::read(attributes).unwrap();
    let mut out = head.to_vec();
    for number in [1, 2] {
        let Some(payload) = outer.get(number) else { continue };
        let inner = Attributes::<16>::read(payload).unwrap();
        nest(&mut out, number, |out| {
            for attribute in 0..16 {
                let change = changes.iter().find(|(of, which, _)| (*of, *which) == (number, attribute));
                if let Some(payload) = change.map_or(inner.get(attribute), |(_, _, payload)| *payload) {
                    put(out, attribute, payload);
                }
            }
        });
    }
    let length = out.len() as u32;
    out[..4].copy_from_slice(&length.to_ne_bytes());
    out
}

/// A message of another command.
fn as_command(mut request: Vec<u8>, command: u8) -> Vec<u8> {
    request[16] = command;
    request
}

/// A service that is persistent for 60 s, as its commands describe it.
fn options() -> ServiceOptions {
    ServiceOptions {
        scheduler: Some("wrr".into()),
        flags: Some(Vec::new()),
        persistence: Some(60),
        persistence_mask: Some("255.255.255.255".into()),
        one_packet: Some(false),
        ..ServiceOptions::new(Listen(web()))
    }
}

#[test]
fn what_the_tools_send_is_understood() {
    assert_eq!(asked(GET_FAMILY), Asked::Family);
    assert_eq!(asked(GET_INFO), Asked::Info);
    assert_eq!(asked(GET_SERVICES), Asked::Services);
    assert_eq!(asked(GET_REALS), Asked::Reals(Some(web())));
    assert_eq!(asked(GET_TIMEOUTS), Asked::Timeouts);
    assert_eq!(asked(ADD_SERVICE), Asked::Command(Command::AddService(options())));
    let set =
        |[tcp, fin, udp]: [u32; 3]| Asked::Command(Command::Timeouts { set: Some([tcp, fin, udp].into()) });
    assert_eq!(asked(SET_TIMEOUTS), set([1, 2, 3]));
    assert_eq!(asked(SET_TIMEOUTS_KEEPALIVED), set([111, 22, 33]));
    let plain = ServiceOptions { persistence: Some(0), persistence_mask: None, ..options() };
    assert_eq!(asked(ADD_SERVICE_KEEPALIVED), Asked::Command(Command::AddService(plain)));
    for (request, real, weight) in
        [(ADD_REAL, "10.0.0.7:8080", 3), (ADD_REAL_KEEPALIVED, "127.0.0.2:8081", 2)]
    {
        let added = Command::AddReal {
            service: Listen(web()),
            real: real.parse().unwrap(),
            weight: Some(weight),
            upper_threshold: Some(0),
            lower_threshold: Some(0),
        };
        assert_eq!(asked(request), Asked::Command(added));
    }
}

#[test]
fn the_other_commands_have_the_form_of_those() {
    let asked = |request: &[u8]| read_alone(request).asked.unwrap();
    let (service, real) = (bytes(ADD_SERVICE), bytes(ADD_REAL));
    let key = Some(web());
    assert_eq!(asked(&as_command(service.clone(), 2)), Asked::Command(Command::EditService(options())));
    assert_eq!(
        asked(&as_command(service.clone(), 3)),
        Asked::Command(Command::DelService { service: Listen(web()) })
    );
    assert_eq!(asked(&as_command(service.clone(), 4)), Asked::Service(web()));
    assert_eq!(asked(&as_command(service, 16)), Asked::Command(Command::Zero { service: key.map(Listen) }));
    assert_eq!(asked(&request(16, |_| ())), Asked::Command(Command::Zero { service: None }));
    assert_eq!(asked(&request(17, |_| ())), Asked::Command(Command::Clear { connections: false }));
    assert_eq!(asked(&request_of(super::FAMILY, 0x305, 11, |_| ())), Asked::Daemons);
    let edited = Command::EditReal {
        service: Listen(web()),
        real: "10.0.0.7:8080".parse().unwrap(),
        weight: Some(3),
        upper_threshold: Some(20),
        lower_threshold: Some(10),
    };
    let limits = [(2, 5, Some(&20u32.to_ne_bytes()[..])), (2, 6, Some(&10u32.to_ne_bytes()))];
    assert_eq!(asked(&as_command(with(&real, &limits), 6)), Asked::Command(edited));
    let removed = Command::DelReal { service: Listen(web()), real: "10.0.0.7:8080".parse().unwrap() };
    assert_eq!(asked(&as_command(real, 7)), Asked::Command(removed));
    for (name, file) in [
        ("ip_vs_conn", super::File::Connections),
        ("ip_vs", super::File::Services),
        ("ip_vs_stats", super::File::Statistics),
    ] {
        let request = request(64, |out| super::attributes::put_text(out, 1, name));
        assert_eq!(asked(&request), Asked::Text(file));
    }
}

#[test]
fn what_the_kernel_ignores_may_be_missing_or_wrong() {
    // Who only names a service or a real says what else comes to hand.
    let (service, real) = (bytes(ADD_SERVICE), bytes(ADD_REAL));
    let junk: Vec<_> = [6, 7, 8, 9, 11].into_iter().map(|number| (1, number, Some(&b"?"[..]))).collect();
    let none: Vec<_> = [6, 7, 8, 9, 11].into_iter().map(|number| (1, number, None)).collect();
    for changes in [junk, none] {
        for command in [3, 4, 16] {
            let request = as_command(with(&service, &changes), command);
            assert!(read_alone(&request).asked.is_ok(), "{command}");
        }
        for command in [5, 6, 7] {
            let request = as_command(with(&real, &changes), command);
            assert!(read_alone(&request).asked.is_ok(), "{command}");
        }
    }
    let numbers: Vec<_> = [3, 4, 5, 6].into_iter().map(|number| (2, number, None)).collect();
    assert!(read_alone(&as_command(with(&real, &numbers), 7)).asked.is_ok());
    // Direct routing, which is the default of `ipvsadm`, also of what is removed.
    let routed = with(&real, &[(2, 3, Some(&3u32.to_ne_bytes()))]);
    assert!(read_alone(&as_command(routed, 7)).asked.is_ok());
}

#[test]
fn an_address_of_ipv4_may_have_four_bytes() {
    let request = with(&bytes(ADD_REAL), &[(1, 3, Some(&[192, 168, 10, 100])), (2, 1, Some(&[10, 0, 0, 7]))]);
    assert_eq!(read_alone(&request).asked, read_alone(&bytes(ADD_REAL)).asked);
    let request = with(&bytes(GET_REALS), &[(1, 3, Some(&[192, 168, 10, 100]))]);
    assert_eq!(read_alone(&request).asked, Ok(Asked::Reals(Some(web()))));
}

#[test]
fn a_real_of_no_family_has_its_services() {
    for family in [None, Some(&0u16.to_ne_bytes()[..])] {
        let request = with(&bytes(ADD_REAL), &[(2, 11, family)]);
        assert_eq!(read_alone(&request).asked, read_alone(&bytes(ADD_REAL)).asked);
    }
    let vip: std::net::Ipv6Addr = "2001:db8::10".parse().unwrap();
    let host: std::net::Ipv6Addr = "2001:db8::7".parse().unwrap();
    let of_ipv6 = [
        (1, 1, Some(&10u16.to_ne_bytes()[..])),
        (1, 3, Some(&vip.octets()[..])),
        (2, 1, Some(&host.octets()[..])),
        (2, 11, None),
    ];
    let removed = Command::DelReal {
        service: Listen(ServiceKey::new(Protocol::Tcp, "[2001:db8::10]:80".parse().unwrap())),
        real: "[2001:db8::7]:8080".parse().unwrap(),
    };
    let request = as_command(with(&bytes(ADD_REAL), &of_ipv6), 7);
    assert_eq!(read_alone(&request).asked, Ok(Asked::Command(removed)));
}

#[test]
fn a_request_that_is_none_or_of_netlinks_own_types_asks_nothing() {
    for (kind, flags) in
        [(0, 0x5), (15, 0x5), (2, 0x1), (super::FAMILY, 0x4), (super::FAMILY, 0x304), (16, 0)]
    {
        let request = request_of(kind, flags, 17, |_| ());
        let message = read_alone(&request);
        assert_eq!((message.asked, message.header.kind), (Ok(Asked::Nothing), kind));
    }
}

#[test]
fn a_family_is_asked_for_by_name_or_by_number() {
    let asked = |fill: &dyn Fn(&mut Vec<u8>)| read_alone(&request_of(16, 0x1, 3, fill)).asked;
    assert_eq!(asked(&|out| put(out, 1, super::FAMILY.to_ne_bytes())), Ok(Asked::Family));
    assert_eq!(asked(&|out| put(out, 2, b"IPVS\0\0\0")), Ok(Asked::Family));
    let errno = |fill: &dyn Fn(&mut Vec<u8>)| asked(fill).unwrap_err().errno;
    assert_eq!(errno(&|out| put(out, 2, b"nl80211\0")), Errno::ENOENT);
    assert_eq!(errno(&|out| put(out, 2, b"IPVSx\0")), Errno::ENOENT);
    assert_eq!(errno(&|out| put(out, 2, b"IPVS")), Errno::EINVAL, "no NUL");
    assert_eq!(errno(&|out| put(out, 1, 0x11u16.to_ne_bytes())), Errno::ENOENT);
    assert_eq!(errno(&|_| ()), Errno::EINVAL);
}

#[test]
fn a_mask_leaves_flags_as_they_are() {
    let present = Settings {
        flags: Flags::PORT,
        one_packet: true,
        persistence: Some(Persistence { seconds: 9, mask: [255; 4].into() }),
        ..Settings::new(Algorithm::SourceHashing)
    };
    let edited = |command, flags: u32, mask: u32, present: Option<Settings>| {
        let both = [flags.to_ne_bytes(), mask.to_ne_bytes()].concat();
        let request = with(&bytes(ADD_SERVICE), &[(1, 6, Some(b"sh\0")), (1, 7, Some(&both))]);
        match read(&as_command(request, command), |_| present).asked {
            Ok(Asked::Command(Command::EditService(options) | Command::AddService(options))) => {
                (options.flags.unwrap().join(","), options.one_packet.unwrap(), options.persistence.unwrap())
            }
            other => panic!("{other:?}"),
        }
    };
    let edit = |flags, mask| edited(2, flags, mask, Some(present));
    assert_eq!(edit(0, u32::MAX), (String::new(), false, 0));
    assert_eq!(edit(0, 0), ("sh-port".into(), true, 60), "all stay; the time is the request's");
    assert_eq!(edit(0x08, 0x08), ("sh-fallback,sh-port".into(), true, 60));
    assert_eq!(edit(0x3f, 0x14), ("sh-port".into(), true, 60));
    assert_eq!(edit(0x00, 0x14), (String::new(), false, 60));
    assert_eq!(edit(0x00, 0x01), ("sh-port".into(), true, 0));
    // A service that there is not has no flags.
    assert_eq!(edited(2, 0xff, 0x20, None), ("flag-3".into(), false, 0));
    assert_eq!(edited(1, 0xff, 0x20, Some(present)), ("flag-3".into(), false, 0), "one that is new");
    // What a listing says of every service does not matter.
    assert_eq!(edit(0x02, u32::MAX), (String::new(), false, 0));
}

/// What is set of a service, as far as IPVS knows it.
fn of_ipvs(settings: Settings) -> Settings {
    Settings {
        flags: settings.flags,
        persistence: settings.persistence,
        one_packet: settings.one_packet,
        ..Settings::new(settings.algorithm)
    }
}

fn no_thresholds() -> Thresholds {
    Thresholds::default()
}
