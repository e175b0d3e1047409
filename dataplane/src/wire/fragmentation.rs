//! Cutting an IPv4 packet into fragments (RFC 791 §3.2): where to cut, and the fragments' headers.

use super::ipv4::{self, MORE_FRAGMENTS, Packet, field};
use super::{be_u16, checksum, put};

/// The first word of an option: copied into all fragments (RFC 791 §3.1).
const COPIED: u8 = 0x80;
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;

/// How a packet is cut, of either family.
pub trait Cut {
    /// How many fragments that makes.
    fn count(&self) -> usize;

    /// Bytes of fragment `index`, with its headers.
    fn length(&self, index: usize) -> usize;

    /// Writes fragment `index`, a later one, of `original`, from its header on.
    ///
    /// # Panics
    /// If `into` is not as long as [`length`](Self::length) says, or `original` not the packet of the plan.
    fn write_later(&self, index: usize, original: &[u8], into: &mut [u8]);

    /// Makes the first fragment of the packet that `original` begins with, in place: what comes after its
    /// [`length`](Self::length) is no more part of it.
    ///
    /// # Panics
    /// If `original` does not begin with the packet of the plan.
    fn cut_first(&self, original: &mut [u8]);
}

/// How a packet of IPv4 is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    header_length: usize,
    payload: usize,
    /// Bytes of the payload in each fragment but the last: a multiple of 8.
    step: usize,
}

impl Plan {
    /// How to cut `packet` into fragments of at most `mtu` bytes. `None` if it may not be cut (DF), or an
    /// MTU has no room for eight bytes.
    pub fn new(packet: &Packet<'_>, mtu: u16) -> Option<Self> {
        let header_length = packet.header_length();
        let step = usize::from(mtu).saturating_sub(header_length) & !7;
        let possible = step > 0 && !packet.dont_fragment();
        possible.then_some(Self { header_length, payload: packet.payload().len(), step })
    }

    /// Total length, offset, the flag that others follow, and the checksum by what these change.
    fn set_fields(&self, index: usize, header: &mut [u8]) {
        // The packet may be a fragment itself: then its own offset and flag are where these begin and end.
        let word = be_u16(header, field::FRAGMENT) + (index * self.step / 8) as u16;
        let more = if index + 1 < self.count() { MORE_FRAGMENTS } else { 0 };
        let both = |header: &[u8]| {
            [field::TOTAL_LENGTH, field::FRAGMENT].map(|field| be_u16(header, field).to_be_bytes())
        };
        let before = both(header);
        put(header, field::TOTAL_LENGTH, (self.length(index) as u16).to_be_bytes());
        put(header, field::FRAGMENT, (word | more).to_be_bytes());
        let after = both(header);
        if index == 0 {
            let check = checksum::adjust(
                checksum::read(header, field::CHECKSUM),
                checksum::delta(before.as_flattened(), after.as_flattened()),
            );
            checksum::write(header, field::CHECKSUM, check);
        } else {
            // Options may have been blanked too.
            put(header, field::CHECKSUM, [0; 2]);
            let check = !checksum::sum(header);
            checksum::write(header, field::CHECKSUM, check);
        }
    }
}

impl Cut for Plan {
    fn count(&self) -> usize {
        self.payload.div_ceil(self.step).max(1)
    }

    fn length(&self, index: usize) -> usize {
        self.header_length + self.step.min(self.payload - index * self.step)
    }

    fn write_later(&self, index: usize, original: &[u8], into: &mut [u8]) {
        let (header, payload) = into.split_at_mut(self.header_length);
        header.copy_from_slice(&original[..self.header_length]);
        let start = self.header_length + index * self.step;
        payload.copy_from_slice(&original[start..start + payload.len()]);
        blank_options_not_copied(&mut header[ipv4::HEADER..]);
        self.set_fields(index, header);
    }

    fn cut_first(&self, original: &mut [u8]) {
        self.set_fields(0, &mut original[..self.header_length]);
    }
}

/// Options that are for the first fragment only become no-operations in the others, so that headers stay
/// as long as they are.
fn blank_options_not_copied(options: &mut [u8]) {
    let mut at = 0;
    while at < options.len() {
        let length = match options[at] {
            END_OF_OPTIONS => return,
            NO_OPERATION => 1,
            _ => usize::from(options.get(at + 1).copied().unwrap_or(0)),
        };
        // One that is malformed takes all the rest.
        let end = if length == 0 || at + length > options.len() { options.len() } else { at + length };
        if options[at] & COPIED == 0 {
            options[at..end].fill(NO_OPERATION);
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{Ipv4Header, Ipv4HeaderSlice};
    use proptest::prelude::*;

    fn packet(options: &[u8], payload: &[u8], offset: u16, more: bool) -> Vec<u8> {
        let addresses = ([192, 168, 10, 6], [10, 0, 0, 7]);
        let protocol = etherparse::IpNumber::UDP;
        let mut header =
            Ipv4Header::new(payload.len() as u16, 64, protocol, addresses.0, addresses.1).unwrap();
        header.options = options.try_into().unwrap();
        header.set_payload_len(payload.len()).unwrap();
        header.dont_fragment = false;
        header.identification = 0x1234;
        header.fragment_offset = (offset / 8).try_into().unwrap();
        header.more_fragments = more;
        header.header_checksum = header.calc_header_checksum();
        let mut bytes = Vec::new();
        header.write(&mut bytes).unwrap();
        bytes.extend(payload);
        bytes
    }

    fn cut(original: &[u8], mtu: u16) -> Vec<Vec<u8>> {
        let plan = Plan::new(&Packet::parse(original).unwrap(), mtu).unwrap();
        let mut pieces: Vec<_> = (0..plan.count()).map(|index| vec![0xa5; plan.length(index)]).collect();
        for (index, piece) in pieces.iter_mut().enumerate().skip(1) {
            plan.write_later(index, original, piece);
        }
        let mut first = original.to_vec();
        plan.cut_first(&mut first);
        first.truncate(plan.length(0));
        pieces[0] = first;
        pieces
    }

    #[test]
    fn what_may_not_be_cut_is_not() {
        let bytes = packet(&[], &[7; 100], 0, false);
        let plan = |bytes: &[u8], mtu| Plan::new(&Packet::parse(bytes).unwrap(), mtu);
        assert!(plan(&bytes, 28).is_some());
        assert!(plan(&bytes, 27).is_none(), "no room for eight bytes");
        let mut with_df = bytes;
        with_df[6] |= 0x40;
        assert!(plan(&with_df, 68).is_none());
    }

    #[test]
    fn options_that_are_not_copied_are_in_the_first_fragment_only() {
        // Record route (not copied), no-operation, router alert (copied), end.
        let options = [7, 7, 4, 1, 2, 3, 4, 1, 148, 4, 0, 0];
        let pieces = cut(&packet(&options, &[7; 100], 0, false), 72);
        assert_eq!(pieces[0][20..32], options);
        assert_eq!(pieces[1][20..32], [1, 1, 1, 1, 1, 1, 1, 1, 148, 4, 0, 0]);
        let malformed = [7, 40, 1, 1];
        assert_eq!(cut(&packet(&malformed, &[7; 100], 0, false), 64)[1][20..24], [1; 4]);
        let copied_but_malformed = [148, 0, 7, 3];
        assert_eq!(cut(&packet(&copied_but_malformed, &[7; 100], 0, false), 64)[1][20..24], [148, 0, 7, 3]);
    }

    proptest! {
        /// Put together again by another implementation's reading, it is what it was.
        #[test]
        fn nothing_is_lost(length in 1..4000usize, mtu in 68..1500u16, offset in 0..100u16, more: bool, words in 0..10usize) {
            let length = if more { length.next_multiple_of(8) } else { length };
            let payload: Vec<u8> = (0..length).map(|n| (n * 7) as u8).collect();
            let original = packet(&vec![1; words * 4], &payload, offset * 8, more);
            let pieces = cut(&original, mtu);
            let mut together = Vec::new();
            for (index, piece) in pieces.iter().enumerate() {
                prop_assert!(piece.len() <= usize::from(mtu));
                let header = Ipv4HeaderSlice::from_slice(piece).unwrap().to_header();
                prop_assert_eq!(header.header_checksum, header.calc_header_checksum());
                prop_assert_eq!(usize::from(header.total_len), piece.len());
                prop_assert_eq!(header.identification, 0x1234);
                prop_assert_eq!(usize::from(header.fragment_offset.value()) * 8, usize::from(offset) * 8 + together.len());
                prop_assert_eq!(header.more_fragments, more || index + 1 < pieces.len());
                together.extend_from_slice(&piece[header.header_len()..]);
            }
            prop_assert_eq!(together, payload);
        }
    }
}
