use super::*;
use crate::frame::FrameIo;
use crate::frame::HEAD;
use crate::frame::plain::{PlainFrame, PlainIo};
use crate::names::family::V4;
use crate::names::ids::EthPortId;
use crate::wire::plain::at;
use arrayvec::ArrayVec;
use proptest::prelude::*;

const MAC: u64 = 0x0605_0403_0202;
const MTU: u16 = 1500;

/// The fields that make a frame plain or not.
#[derive(Clone, Debug)]
struct Fields {
    mac: u64,
    ether_type: u16,
    version_and_length: u8,
    total: u16,
    fragment: u16,
    ttl: u8,
    protocol: u8,
    length: usize,
}

impl Fields {
    fn frame(&self) -> Vec<u8> {
        let mut bytes = vec![0x5a; self.length.max(HEAD)];
        bytes[..6].copy_from_slice(&self.mac.to_le_bytes()[..6]);
        bytes[at::ETHER_TYPE..at::IPV4].copy_from_slice(&self.ether_type.to_be_bytes());
        bytes[at::IPV4] = self.version_and_length;
        bytes[at::TOTAL_LENGTH..at::TOTAL_LENGTH + 2].copy_from_slice(&self.total.to_be_bytes());
        bytes[at::FRAGMENT..at::FRAGMENT + 2].copy_from_slice(&self.fragment.to_be_bytes());
        bytes[at::TTL] = self.ttl;
        bytes[at::PROTOCOL] = self.protocol;
        bytes.truncate(self.length);
        bytes
    }

    /// As the module's text says it, field by field.
    fn are_plain(&self) -> bool {
        let least = match self.protocol {
            6 => 40,
            17 => 28,
            _ => return false,
        };
        self.mac == MAC
            && self.ether_type == 0x0800
            && self.version_and_length == 0x45
            && (least..=MTU).contains(&self.total)
            && self.length == (usize::from(self.total) + 14).max(60)
            && self.fragment & 0x3fff == 0
            && self.ttl > 1
    }
}

fn usually<T: Clone + std::fmt::Debug + 'static>(
    usual: T,
    other: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = T> {
    prop_oneof![12 => Just(usual), 1 => other]
}

fn fields() -> impl Strategy<Value = Fields> {
    let macs = usually(MAC, (0..48u32).prop_map(|bit| MAC ^ 1 << bit));
    let protocols =
        prop_oneof![6 => Just(6), 6 => Just(17), 1 => any::<u8>(), 1 => (0..8u8).prop_map(|n| n << 5 | 6)];
    let totals = prop_oneof![
        8 => 26..60u16,
        2 => Just(MTU),
        1 => Just(MTU + 1),
        1 => any::<u16>(),
    ];
    let fragments = prop_oneof![8 => Just(0), 8 => Just(0x4000), 1 => (0..16u32).prop_map(|bit| 1 << bit)];
    // More or less than the right length.
    let lengths = prop_oneof![12 => Just(0isize), 2 => -30..40isize, 1 => Just(2000)];
    (
        macs,
        usually(0x0800, any::<u16>()),
        usually(0x45, any::<u8>()),
        totals,
        fragments,
        usually(64, 0..4u8),
        protocols,
        lengths,
    )
        .prop_map(|(mac, ether_type, version_and_length, total, fragment, ttl, protocol, more)| Fields {
            mac,
            ether_type,
            version_and_length,
            total,
            fragment,
            ttl,
            protocol,
            length: (usize::from(total).min(1600) + 14).max(60).saturating_add_signed(more).clamp(1, 2000),
        })
}

fn received(all: &[Fields]) -> ArrayVec<PlainFrame, BURST> {
    let (mut io, mut frames) = (PlainIo::new(1), ArrayVec::new());
    all.iter().for_each(|fields| io.arrive(EthPortId(0), &fields.frame()));
    io.receive(EthPortId(0), &mut frames);
    frames
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_frame_is_plain_if_all_its_fields_are(fields in fields()) {
        let frames = received(std::slice::from_ref(&fields));
        prop_assert_eq!(is_plain(&frames[0], Expected::<V4>::new(MAC, MTU)), fields.are_plain());
    }

    /// A burst is taken for plain only if all are, and always if all are and none is a short datagram.
    #[test]
    fn a_burst_is_plain_if_all_its_frames_are(all in prop::collection::vec(fields(), 1..=BURST), only_plain: bool) {
        let all: Vec<_> = all.into_iter().filter(|fields| !only_plain || fields.are_plain()).collect();
        let frames = received(&all);
        let (expected, mut faults) = (Expected::new(MAC, MTU), V4::no_faults());
        let totals: Vec<_> = frames
            .iter()
            .map(|frame| V4::decode(frame, Direction::Forward, expected, &mut faults).1)
            .collect();
        let lengths: Vec<_> = frames.iter().map(length_of).collect();
        let taken = V4::are_plain(&faults) && have_plain_lengths(&padded(lengths), &padded(totals), all.len(), V4::LEAST_TCP, expected);
        let are_plain = all.iter().all(Fields::are_plain);
        let has_short = all.iter().any(|fields| fields.total < V4::LEAST_TCP);
        prop_assert_eq!(taken, are_plain && !has_short);
    }
}

/// What is behind them is of bursts before.
fn padded(mut lengths: Vec<u16>) -> [u16; BURST] {
    lengths.resize(BURST, 12_345);
    lengths.try_into().unwrap()
}
