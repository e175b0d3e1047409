//! Whatever is written is read back; whatever bytes come are answered within bounds.

use super::*;
use crate::api::protocol::Traffic;
use crate::ipvs::{Header, RealFacts, ServiceFacts, ack, error, real, service};
use crate::model::rules::check_settings;
use crate::text::masks;
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

fn endpoint() -> impl Strategy<Value = SocketAddr> {
    (address(), any::<u16>()).prop_map(SocketAddr::from)
}

fn key() -> impl Strategy<Value = ServiceKey> {
    (prop::sample::select(&Protocol::ALL[..]), endpoint())
        .prop_map(|(protocol, listen)| ServiceKey::new(protocol, listen))
}

/// Settings that the service can have, all of them known to IPVS.
fn settings(key: ServiceKey) -> impl Strategy<Value = Settings> {
    let flags = prop::sample::subsequence(&Flags::ALL[..], 0..=3)
        .prop_map(|flags| flags.into_iter().fold(Flags::NONE, Flags::with));
    let vip = key.listen.ip();
    let mask = prop_oneof![(1..=u32::MAX).boxed(), Just(u32::MAX).boxed()].prop_map(move |bits| match vip {
        IpAddr::V4(_) => IpAddr::from(bits.to_be_bytes()),
        IpAddr::V6(_) => masks::by_text(vip, &(bits % 128 + 1).to_string()).unwrap(),
    });
    let persistence = prop::option::of((1..2_678_401u32, mask));
    (prop::sample::select(&Algorithm::ALL[..]), flags, persistence, any::<bool>()).prop_map(
        move |(algorithm, flags, persistence, one_packet)| Settings {
            flags,
            persistence: persistence.map(|(seconds, mask)| Persistence { seconds, mask }),
            one_packet: one_packet && key.protocol == Protocol::Udp,
            ..Settings::new(algorithm)
        },
    )
}

fn traffic() -> impl Strategy<Value = Traffic> {
    any::<[u64; 5]>().prop_map(|[conns, in_packets, out_packets, in_bytes, out_bytes]| Traffic {
        conns,
        in_packets,
        out_packets,
        in_bytes,
        out_bytes,
    })
}

/// Turns an answer into a request: what is listed can be added.
fn as_request(mut listed: Vec<u8>, command: u8) -> Vec<u8> {
    listed[6..8].copy_from_slice(&0x5u16.to_ne_bytes());
    listed[16] = command;
    listed
}

/// One of what the tools sent, with some bytes changed, or cut.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (prop::sample::select(&REQUESTS[..]), changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(request, changes, end, is_cut)| {
            let mut request = bytes(request);
            for (place, byte) in changes {
                let place = place.index(request.len());
                request[place] = byte;
            }
            if is_cut {
                request.truncate(end.index(request.len()));
            }
            request
        },
    )
}

/// Reads some bytes and answers them as far as that is known here.
fn answered(request: &[u8]) -> Vec<u8> {
    let Message { header, asked } = read_alone(request);
    let mut out = Vec::new();
    match asked {
        Ok(Asked::Command(command)) => {
            // Changed bytes may make of one command another, which resets counters.
            assert!(command.is_change() || matches!(command, Command::Zero { .. }));
            ack(&header, &mut out);
        }
        Ok(_) => ack(&header, &mut out),
        Err(refusal) => {
            error(&header, &refusal, &mut out);
            assert!(!out.is_empty());
        }
    }
    out
}

proptest! {
    #[test]
    fn a_service_that_is_listed_can_be_added(
        (key, settings) in key().prop_flat_map(|key| (Just(key), settings(key))),
        totals in traffic(),
        rates in traffic(),
    ) {
        prop_assert_eq!(check_settings(&key, &settings), Ok(()));
        let mut listed = Vec::new();
        service(&Header::default(), false, &ServiceFacts { key: &key, settings: &settings, totals, rates }, &mut listed);
        let added = read_alone(&as_request(listed.clone(), 1)).asked;
        let Ok(Asked::Command(Command::AddService(options))) = added else { panic!("{added:?}") };
        prop_assert_eq!(options.service.0, key);
        prop_assert_eq!(options.settings(None), Ok(of_ipvs(settings)));
        let edited = read_alone(&as_request(listed, 2)).asked;
        prop_assert_eq!(edited, Ok(Asked::Command(Command::EditService(options))));
    }

    #[test]
    fn a_real_that_is_listed_can_be_added(
        key in key(),
        endpoint in endpoint(),
        weight in 0..65_536u32,
        (upper, lower) in (any::<u32>(), any::<u32>()),
        counts in any::<[u64; 3]>(),
        totals in traffic(),
    ) {
        let thresholds = Thresholds { upper, lower };
        let [active, inactive, persistent] = counts;
        let rates = totals;
        let facts = RealFacts { endpoint, weight, thresholds, active, inactive, persistent, totals, rates };
        let (mut listed, mut of_service) = (Vec::new(), Vec::new());
        real(&Header::default(), &facts, &mut listed);
        let settings = Settings::new(Algorithm::RoundRobin);
        service(&Header::default(), false, &ServiceFacts { key: &key, settings: &settings, totals, rates }, &mut of_service);
        let both = as_request([&of_service[..], &listed[20..]].concat(), 5);
        let expected = Command::AddReal {
            service: Listen(key),
            real: endpoint,
            weight: Some(weight),
            upper_threshold: Some(upper),
            lower_threshold: Some(lower),
        };
        prop_assert_eq!(read_alone(&both).asked, Ok(Asked::Command(expected)));
    }

    #[test]
    fn random_bytes_are_answered_within_bounds(request in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(answered(&request).len() <= request.len() + 2048);
    }

    #[test]
    fn changed_requests_are_answered_within_bounds(request in mutated()) {
        let answer = answered(&request);
        prop_assert!(answer.len() <= request.len() + 2048);
        if !answer.is_empty() {
            prop_assert_eq!(crate::ipvs::frame_length(&answer), Some(Ok(answer.len())));
        }
    }
}
