//! The options of an IPv4 header (RFC 791 §3.1): which of them a packet may not have (RFC 7126), and whether they
//! are well-formed.

use super::ipv4;

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
/// The least value of an option's length: its type and the length itself.
const LEAST_LENGTH: usize = 2;

/// What the options of a packet come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// There are none, or only such as are ignored and passed on.
    Pass,
    /// One is there that a packet is to be dropped for: its type.
    Drop(u8),
    /// One has a length that cannot be: where it begins, in bytes from the start of the header.
    Malformed(u8),
}

/// What RFC 7126 advises about a packet with this header, whose length is right. Options behind one that decides are
/// not looked at.
pub fn advice(header: &[u8]) -> Advice {
    let mut at = ipv4::HEADER;
    while at < header.len() {
        let kind = header[at];
        match kind {
            END_OF_OPTIONS => break,
            NO_OPERATION => {
                at += 1;
                continue;
            }
            _ => {}
        }
        let length = header.get(at + 1).copied().map_or(0, usize::from);
        if length < LEAST_LENGTH || at + length > header.len() {
            return Advice::Malformed(at as u8);
        }
        if is_dropped(kind) {
            return Advice::Drop(kind);
        }
        at += length;
    }
    Advice::Pass
}

/// Whether RFC 7126 advises to drop packets with an option of this type, unless configured otherwise. It advises to
/// ignore the rest and to pass it on: no operation, the security options (130, 133, 134), router alert (148),
/// quick start (25), and types that nobody knows (RFC 1812 §4.2.2.6).
const fn is_dropped(kind: u8) -> bool {
    matches!(
        kind,
        7 // record route, §4.5
            | 11 | 12 // probe MTU and reply MTU, §4.9, §4.10
            | 30 | 94 | 158 | 222 // experiments, §4.22
            | 68 // timestamp, §4.7
            | 82 // traceroute, §4.11
            | 131 | 137 // loose and strict source route, §4.3, §4.4
            | 136 // stream identifier, §4.6
            | 142 | 145 | 147 | 149 | 151 | 152 // obsolete, §4.15 to §4.20
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(options: &[u8]) -> Vec<u8> {
        let mut header = vec![0; ipv4::HEADER];
        header.extend(options);
        header
    }

    #[test]
    fn each_option_is_passed_or_dropped() {
        let dropped: Vec<u8> =
            (2..=255).filter(|kind| advice(&with(&[*kind, 4, 0, 0])) != Advice::Pass).collect();
        let expected = [7, 11, 12, 30, 68, 82, 94, 131, 136, 137, 142, 145, 147, 149, 151, 152, 158, 222];
        assert_eq!(dropped, expected);
        for kind in expected {
            assert_eq!(advice(&with(&[1, 148, 4, 0, 0, kind, 3, 4])), Advice::Drop(kind), "behind others");
            assert_eq!(advice(&with(&[1, 0, kind, 2])), Advice::Pass, "behind the end {kind} is padding");
        }
    }

    #[test]
    fn a_length_that_cannot_be_is_found_where_it_is() {
        for (options, at) in [
            (&[148, 0, 0, 0][..], 20),
            (&[148, 1, 0, 0], 20),
            (&[148, 5, 0, 0], 20),
            (&[1, 1, 1, 148], 23),
            (&[130, 4, 0, 0, 1, 134, 4, 0], 25),
            (&[7, 40, 4, 0], 20),
        ] {
            assert_eq!(advice(&with(options)), Advice::Malformed(at), "{options:?}");
        }
        assert_eq!(advice(&with(&[])), Advice::Pass);
        assert_eq!(advice(&with(&[148, 4, 0, 0])), Advice::Pass);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(options in proptest::collection::vec(any::<u8>(), 0..=40)) {
            if let Advice::Malformed(at) = advice(&with(&options)) {
                prop_assert!((20..60).contains(&at));
            }
        }
    }
}
