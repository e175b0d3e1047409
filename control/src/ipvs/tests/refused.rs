//! What is refused, with which number, and in which words.

use super::*;
use crate::api::refusal::Refused;
use crate::ipvs::{FAMILY, Refusal};
use crate::model::Network;
use crate::model::rules::{Role, Unfit, UnfitSetting, Unsuitable};
use crate::text::algorithms;
use crate::text::service_options::SettingFault;
use crate::{change, config, model};
use dataplane::names::mac::Mac;
use dataplane::snapshot::Steering;

fn refusal(request: &[u8]) -> (Errno, Option<String>) {
    let Refusal { errno, words } = read_alone(request).asked.unwrap_err();
    (errno, words)
}

fn u16_of(number: u16) -> [u8; 2] {
    number.to_ne_bytes()
}

fn u32_of(number: u32) -> [u8; 4] {
    number.to_ne_bytes()
}

#[test]
fn what_natlb_does_not_have_is_refused_by_name() {
    let (service, real) = (bytes(ADD_SERVICE), bytes(ADD_REAL));
    let named = |request: &[u8], words: &str| {
        let expected = (Errno::EPROTONOSUPPORT, Some(format!("not supported yet: {words}")));
        assert_eq!(refusal(request), expected);
        if request[16] == 5 {
            assert_eq!(refusal(&as_command(request.to_vec(), 6)), expected, "in place of another");
        }
    };
    let forward = |method| with(&real, &[(2, 3, Some(&u32_of(method)))]);
    named(&forward(3), "-g (direct routing): add -m (masquerading)");
    named(&forward(2), "-i (tunnelling): add -m (masquerading)");
    named(&forward(1), "forwarding to the host itself: add -m (masquerading)");
    named(&forward(4), "forwarding past the reals: add -m (masquerading)");
    assert!(read_alone(&forward(0x10)).asked.is_ok(), "bits that say nothing of the way");
    let marked = |request: &[u8], family| {
        with(
            request,
            &[
                (1, 1, Some(&u16_of(family))),
                (1, 5, Some(&u32_of(7))),
                (1, 2, None),
                (1, 3, None),
                (1, 4, None),
            ],
        )
    };
    named(&marked(&service, 2), "-f (firewall mark)");
    named(&marked(&service, 10), "-6 (firewall mark of IPv6)");
    named(&marked(&real, 2), "-f (firewall mark)");
    named(&with(&service, &[(1, 11, Some(b"sip\0"))]), "--pe (persistence engine)");
    named(&request(9, |_| ()), "--start-daemon (synchronization of connections)");
    // None can be there, so there is none to show or to remove.
    for (request, commands) in [(&service, &[3, 4, 16][..]), (&real, &[7])] {
        for command in commands {
            assert_eq!(refusal(&as_command(marked(request, 2), *command)), (Errno::ESRCH, None));
        }
    }
    let dump = with(&bytes(GET_REALS), &[(1, 5, Some(&u32_of(7)))]);
    assert_eq!(read_alone(&dump).asked, Ok(Asked::Reals(None)));
    assert_eq!(refusal(&request(10, |_| ())), (Errno::ESRCH, None));
    assert_eq!(refusal(&with(&service, &[(1, 11, Some(b"nosuch\0"))])), (Errno::ENOENT, None));
    assert!(read_alone(&with(&service, &[(1, 11, Some(b"\0"))])).asked.is_ok(), "no engine");
    let flags = [u32_of(0x41), u32_of(u32::MAX)].concat();
    assert_eq!(
        refusal(&with(&service, &[(1, 7, Some(&flags))])),
        (Errno::EPROTONOSUPPORT, Some("not supported: flags 0x40 of a service".into()))
    );
}

#[test]
fn families_and_protocols_that_are_not_balanced_are_refused() {
    for request in [bytes(ADD_SERVICE), bytes(ADD_REAL)] {
        for family in [0, 1, 17, 0x0200] {
            let family = u16_of(family);
            assert_eq!(refusal(&with(&request, &[(1, 1, Some(&family))])), (Errno::EAFNOSUPPORT, None));
        }
        for protocol in [0, 1, 255, 256 + 6] {
            let (errno, words) = refusal(&with(&request, &[(1, 2, Some(&u16_of(protocol)))]));
            let expected = format!("protocol {protocol} is not balanced, only TCP, UDP and SCTP");
            assert_eq!((errno, words), (Errno::EINVAL, Some(expected)));
        }
        for protocol in Protocol::ALL {
            let request = with(&request, &[(1, 2, Some(&u16_of(protocol.number().into())))]);
            assert!(read_alone(&request).asked.is_ok());
        }
    }
    let real = with(&bytes(ADD_REAL), &[(2, 11, Some(&u16_of(3)))]);
    assert_eq!(refusal(&real), (Errno::EAFNOSUPPORT, None));
}

#[test]
fn what_is_missing_cut_or_of_the_wrong_length_is_malformed() {
    let malformed = (Errno::EINVAL, Some("malformed message".to_owned()));
    let (service, real) = (bytes(ADD_SERVICE), bytes(ADD_REAL));
    for number in [1, 2, 3, 4, 6, 7, 8, 9] {
        assert_eq!(refusal(&with(&service, &[(1, number, None)])), malformed, "{number} missing");
        assert_eq!(refusal(&with(&service, &[(1, number, Some(b"\x02"))])), malformed, "{number} cut");
    }
    for number in [1, 2, 3, 4, 5, 6] {
        assert_eq!(refusal(&with(&real, &[(2, number, None)])), malformed, "{number} missing");
        assert_eq!(refusal(&with(&real, &[(2, number, Some(b"\x02"))])), malformed, "{number} cut");
    }
    assert_eq!(refusal(&with(&real, &[(2, 3, Some(&u32_of(5)))])), malformed, "no way of forwarding");
    for length in [0, 3, 5, 15, 17] {
        let address = vec![10; length];
        assert_eq!(refusal(&with(&service, &[(1, 3, Some(&address))])), malformed);
        assert_eq!(refusal(&with(&real, &[(2, 1, Some(&address))])), malformed);
    }
    for command in [1, 2, 3, 4, 5, 6, 7] {
        assert_eq!(refusal(&request(command, |_| ())), malformed, "{command} of nothing");
    }
    for command in [5, 6, 7] {
        assert_eq!(refusal(&as_command(service.clone(), command)), malformed, "{command} of no real");
    }
    assert_eq!(refusal(&request(12, |out| put(out, 4, [1, 2]))), malformed);
    assert_eq!(refusal(&service[..15]), malformed);
    assert_eq!(refusal(&service[..19]), malformed);
    let dump = with(&bytes(GET_REALS), &[(1, 4, None)]);
    assert_eq!(read_alone(&dump).asked, Ok(Asked::Reals(None)), "a dump has no error");
}

#[test]
fn numbers_that_cannot_be_are_out_of_range() {
    let (service, real) = (bytes(ADD_SERVICE), bytes(ADD_REAL));
    for weight in [u32::MAX, 1 << 31] {
        assert_eq!(refusal(&with(&real, &[(2, 4, Some(&u32_of(weight)))])), (Errno::ERANGE, None));
    }
    let (errno, words) = refusal(&with(&service, &[(1, 8, Some(&u32_of(0)))]));
    assert_eq!(
        (errno, words.unwrap().contains("`0' specified")),
        (Errno::ERANGE, true),
        "persistent for no time"
    );
    let vip: std::net::Ipv6Addr = "2001:db8::10".parse().unwrap();
    let of_ipv6 = |length: u32, flags: u32| {
        let flags = [u32_of(flags), u32_of(u32::MAX)].concat();
        let changes = [
            (1, 1, Some(&u16_of(10)[..])),
            (1, 3, Some(&vip.octets()[..])),
            (1, 7, Some(&flags)),
            (1, 9, Some(&u32_of(length))),
        ];
        read_alone(&with(&service, &changes)).asked
    };
    for length in [0, 129, u32::MAX] {
        for flags in [0, 1] {
            assert_eq!(of_ipv6(length, flags).unwrap_err().errno, Errno::EINVAL, "{length}");
        }
    }
    assert!(
        matches!(of_ipv6(64, 1), Ok(Asked::Command(Command::AddService(ServiceOptions { persistence_mask, .. })))
        if persistence_mask == Some("64".into()))
    );
}

#[test]
fn commands_that_there_are_not_are_refused_as_in_the_kernel() {
    let errno = |kind, flags, command| refusal(&request_of(kind, flags, command, |_| ())).0;
    for command in [0, 14, 18, 63, 65, 255] {
        assert_eq!(errno(FAMILY, 0x5, command), Errno::EOPNOTSUPP, "{command}");
    }
    for dump_alone in [8, 11] {
        assert_eq!(errno(FAMILY, 0x5, dump_alone), Errno::EOPNOTSUPP, "{dump_alone}");
    }
    for no_dump in [1, 2, 3, 5, 6, 7, 9, 10, 12, 13, 15, 16, 17, 64] {
        assert_eq!(errno(FAMILY, 0x305, no_dump), Errno::EOPNOTSUPP, "{no_dump}");
    }
    for (kind, flags, command) in [(16, 0x305, 3), (16, 0x5, 1), (16, 0x5, 10)] {
        assert_eq!(errno(kind, flags, command), Errno::EOPNOTSUPP);
    }
    for kind in [17, 0x3ef, 0x3f1, u16::MAX] {
        assert_eq!(errno(kind, 0x5, 15), Errno::ENOENT, "another family");
    }
    assert_eq!(refusal(&request(64, |out| put(out, 1, b"tcp\0"))).0, Errno::ENOENT);
    assert_eq!(refusal(&request(64, |out| put(out, 1, b"ip_vs"))).0, Errno::EINVAL);
}

#[test]
fn what_the_kernel_refuses_too_has_no_words() {
    let [vip, broadcast] = ["192.0.2.1", "255.255.255.255"].map(|address| address.parse().unwrap());
    let address = |address, role, why| Unfit::Address { address, role, why };
    let no_host = Unsuitable::NoHost("it is not");
    let thresholds = Thresholds { upper: 1, lower: 2 };
    let scheduler = |name| SettingFault::Scheduler(algorithms::by_name(name).unwrap_err());
    let lists: [(Errno, Vec<Refused>, bool); 14] = [
        (Errno::EEXIST, vec![Unfit::ServiceExists.into(), Unfit::RealExists.into()], false),
        (Errno::ESRCH, vec![Unfit::NoSuchService.into()], false),
        (
            Errno::ENOENT,
            vec![Unfit::NoSuchReal.into(), scheduler("nosuch").into(), scheduler("").into()],
            false,
        ),
        (Errno::ENOENT, vec![scheduler("lblc").into()], true),
        (Errno::ERANGE, vec![Unfit::Thresholds(thresholds).into()], false),
        (
            Errno::ERANGE,
            vec![
                Unfit::Weight(65_536).into(),
                Unfit::Threshold { which: 'u', found: 1 << 31 }.into(),
                Refused::BadTimeout(9_999_999),
                SettingFault::from(UnfitSetting::Persistence(0)).into(),
                SettingFault::from(UnfitSetting::SlowStart(1 << 20)).into(),
            ],
            true,
        ),
        (Errno::EINVAL, vec![address(broadcast, Role::Real, no_host).into()], false),
        (
            Errno::EINVAL,
            vec![
                address(broadcast, Role::Vip, no_host).into(),
                address(vip, Role::Real, no_host).into(),
                address(vip, Role::Real, Unsuitable::Own).into(),
                Unfit::NoRoute(vip).into(),
                Unfit::Family.into(),
                SettingFault::from(UnfitSetting::OnePacket).into(),
                SettingFault::MaskAlone.into(),
                Refused::NoLines,
            ],
            true,
        ),
        (Errno::EAFNOSUPPORT, vec![address(vip, Role::Vip, Unsuitable::NotSpoken).into()], true),
        (Errno::ENOMEM, vec![Unfit::TooMany { what: "services", most: 1 }.into()], true),
        (Errno::ENOMEM, vec![Refused::IdsUsedUp { wanted: 1, replaced: 0, removed: 9 }], true),
        (Errno::EPROTONOSUPPORT, vec![Refused::NotSupported("-g")], true),
        (
            Errno::EBUSY,
            vec![
                Refused::StateWrite("disk full".into()),
                Refused::TooManyWaiting(8),
                Refused::WorkerStuck { worker: 0, version: 1, seconds: 2 },
                Refused::WorkerBehind { worker: 0, version: 1 },
            ],
            true,
        ),
        (Errno::ENODEV, vec![Refused::Stopping, Refused::StoppingKept(3)], true),
    ];
    for (errno, all, with_words) in lists {
        for refused in all {
            let words = with_words.then(|| refused.to_string());
            assert_eq!(Refusal::from(&refused), Refusal { errno, words }, "{refused:?}");
        }
    }
}

fn network() -> Network {
    let file = "[[port]]\nname = \"vip0\"\nside = \"vip\"\ndevice = \"a\"\naddresses = [\"192.168.10.8/24\"]\n\
                [[port]]\nname = \"dip0\"\nside = \"dip\"\ndevice = \"b\"\naddresses = [\"10.0.0.8/24\"]\n";
    config::parse(file).unwrap().network(|_| (Mac([2, 0, 0, 0, 0, 1]), 1500, Steering::Software))
}

/// A change of the model, as the daemon makes it.
fn change(model: &mut model::Model, request: &[u8]) -> Result<(), Refusal> {
    let command = match read(request, |key| model.services().get(key).map(|service| service.settings)).asked?
    {
        Asked::Command(command) => command,
        other => panic!("{other:?}"),
    };
    assert!(command.is_change());
    *model = change::apply(model, &network(), &command).map_err(|refused| Refusal::from(&refused))?.0;
    Ok(())
}

/// A session with `ipvsadm`, and its kernel's numbers.
#[test]
fn a_session_has_the_kernels_errors() {
    let mut model = model::Model::new([900, 120, 300].into());
    let (service, real) = (bytes(ADD_SERVICE), bytes(ADD_REAL));
    let mut errno = |request: &[u8]| change(&mut model, request).err().map(|refusal| refusal.errno);
    assert_eq!(errno(&real), Some(Errno::ESRCH));
    for command in [2, 3] {
        assert_eq!(errno(&as_command(service.clone(), command)), Some(Errno::ESRCH));
    }
    for name in [&b"nosuch\0"[..], b"none\0", b"\0", b"\xff\0", b"lblc\0"] {
        assert_eq!(errno(&with(&service, &[(1, 6, Some(name))])), Some(Errno::ENOENT), "{name:?}");
    }
    assert_eq!(errno(&service), None);
    assert_eq!(errno(&service), Some(Errno::EEXIST));
    for command in [6, 7] {
        assert_eq!(errno(&as_command(real.clone(), command)), Some(Errno::ENOENT));
    }
    let limits = [(2, 5, Some(&u32_of(10)[..])), (2, 6, Some(&u32_of(20)))];
    assert_eq!(errno(&with(&real, &limits)), Some(Errno::ERANGE));
    assert_eq!(errno(&with(&real, &[(2, 4, Some(&u32_of(65_536)))])), Some(Errno::ERANGE));
    assert_eq!(errno(&with(&real, &[(2, 1, Some(&[224, 0, 0, 1]))])), Some(Errno::EINVAL));
    assert_eq!(errno(&with(&real, &[(2, 1, Some(&[192, 168, 10, 100]))])), Some(Errno::EINVAL), "the VIP");
    let host: std::net::Ipv6Addr = "2001:db8::7".parse().unwrap();
    let of_ipv6 = [(2, 1, Some(&host.octets()[..])), (2, 11, Some(&u16_of(10)))];
    assert_eq!(errno(&with(&real, &of_ipv6)), Some(Errno::EINVAL));
    assert_eq!(errno(&real), None);
    assert_eq!(errno(&real), Some(Errno::EEXIST));
    assert_eq!(errno(&as_command(with(&real, &[(2, 4, Some(&u32_of(0)))]), 6)), None);
    let mask = with(&service, &[(1, 9, Some(&[0; 4]))]);
    assert_eq!(errno(&as_command(mask, 2)), Some(Errno::EINVAL));
    let one_packet = [u32_of(0x4), u32_of(u32::MAX)].concat();
    assert_eq!(errno(&as_command(with(&service, &[(1, 7, Some(&one_packet))]), 2)), Some(Errno::EINVAL));
    let long = with(&service, &[(1, 8, Some(&u32_of(2_678_401)))]);
    assert_eq!(errno(&as_command(long, 2)), Some(Errno::ERANGE));
    let set = |seconds: u32| request(12, |out| put(out, 6, u32_of(seconds)));
    assert_eq!([errno(&set(77)), errno(&set(2_678_401))], [None, Some(Errno::ERANGE)]);
    assert_eq!(errno(&as_command(service.clone(), 2)), None, "as it is");
    let listed = crate::ipvs::service_at(&model, &web()).unwrap();
    assert_eq!((listed.reals.len(), listed.reals[0].weight), (1, 0));
    assert_eq!((model.timeouts.tcp, model.timeouts.udp), (900, 77), "0 leaves one as it is");
    let mut errno = |request: &[u8]| change(&mut model, request).err().map(|refusal| refusal.errno);
    assert_eq!([7, 7].map(|command| errno(&as_command(real.clone(), command))), [None, Some(Errno::ENOENT)]);
    assert_eq!(
        [3, 3].map(|command| errno(&as_command(service.clone(), command))),
        [None, Some(Errno::ESRCH)]
    );
}

/// natlb's own settings, which the protocol has no attributes for.
#[test]
fn an_edited_service_keeps_what_ipvs_does_not_know() {
    let mut model = model::Model::new([900, 120, 300].into());
    let own = ServiceOptions {
        on_removal: Some("reset".into()),
        slow_start: Some(30),
        timeouts: Some([("tcp".to_owned(), 77)].into()),
        ..options()
    };
    model = change::apply(&model, &network(), &Command::AddService(own)).unwrap().0;
    let before = model.services()[&web()].settings;
    let flags = [u32_of(0), u32_of(u32::MAX)].concat();
    let edit = with(&bytes(ADD_SERVICE), &[(1, 6, Some(b"rr\0")), (1, 7, Some(&flags))]);
    change(&mut model, &as_command(edit, 2)).unwrap();
    let expected = Settings { algorithm: Algorithm::RoundRobin, persistence: None, ..before };
    assert_eq!(model.services()[&web()].settings, expected);
}
