//! The parts of a datagram that have passed.

use super::Piece;
use arrayvec::ArrayVec;

/// Separate ranges that are told apart: as many gaps can be open at once. Every second fragment of the
/// longest datagram, 1480 bytes each, leaves 23.
pub const RANGES: usize = 32;

/// What a fragment does not fit to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// All of it has passed already: the network has doubled it, or it lies about what it holds.
    Repeated,
    /// A part of it has passed already, or it contradicts the end of the datagram.
    Contradicts,
    /// More gaps than are kept count of.
    TooManyGaps,
}

/// Ranges of bytes in ascending order, none touching the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    ranges: ArrayVec<(u16, u16), RANGES>,
    /// Where the datagram ends, once its last fragment has passed.
    end: Option<u16>,
}

impl Seen {
    /// Whether `piece` fits: it overlaps nothing and ends within the datagram.
    pub(super) fn check(&self, piece: Piece) -> Result<(), Misfit> {
        let at = self.first_reaching(piece.start);
        if let Some((start, end)) = self.ranges.get(at).copied() {
            if start <= piece.start && piece.end <= end {
                return Err(Misfit::Repeated);
            }
            let next = if end == piece.start { self.ranges.get(at + 1).copied() } else { Some((start, end)) };
            if next.is_some_and(|(start, _)| start < piece.end) {
                return Err(Misfit::Contradicts);
            }
        }
        let reaches = self.ranges.last().map_or(0, |(_, end)| *end);
        let contradicts = match self.end {
            Some(end) => piece.end > end || piece.is_last,
            None => piece.is_last && piece.end < reaches,
        };
        if contradicts {
            return Err(Misfit::Contradicts);
        }
        let touches = self.ranges.iter().any(|(start, end)| *end == piece.start || piece.end == *start);
        if self.ranges.is_full() && !touches { Err(Misfit::TooManyGaps) } else { Ok(()) }
    }

    /// Adds a piece that fits.
    pub(super) fn add(&mut self, piece: Piece) {
        if piece.is_last {
            self.end = Some(piece.end);
        }
        let (mut start, mut end) = (piece.start, piece.end);
        let at = self.first_reaching(start);
        while let Some((other_start, other_end)) = self.ranges.get(at).copied() {
            if other_start > end {
                break;
            }
            (start, end) = (start.min(other_start), end.max(other_end));
            self.ranges.remove(at);
        }
        let room = self.ranges.try_insert(at, (start, end));
        debug_assert!(room.is_ok(), "it was checked");
    }

    /// Whether all of the datagram has passed.
    pub(super) fn is_complete(&self) -> bool {
        self.end.is_some_and(|end| self.ranges.as_slice() == [(0, end)])
    }

    /// The first range that ends at `offset` or later.
    fn first_reaching(&self, offset: u16) -> usize {
        self.ranges.partition_point(|(_, end)| *end < offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece(start: u16, end: u16, is_last: bool) -> Piece {
        Piece { start, end, is_last }
    }

    #[test]
    fn overlaps_and_contradictions_are_told() {
        let mut seen = Seen::default();
        for (start, end, is_last, expected) in [
            (0, 16, false, Ok(())),
            (0, 16, false, Err(Misfit::Repeated)),
            (0, 8, false, Err(Misfit::Repeated)),
            (8, 24, false, Err(Misfit::Contradicts)),
            (32, 48, false, Ok(())),
            (24, 40, false, Err(Misfit::Contradicts)),
            (16, 64, false, Err(Misfit::Contradicts)),
            (16, 40, false, Err(Misfit::Contradicts)),
            (16, 24, true, Err(Misfit::Contradicts)),
            (48, 50, true, Ok(())),
            (50, 58, false, Err(Misfit::Contradicts)),
            (56, 64, true, Err(Misfit::Contradicts)),
            (16, 24, false, Ok(())),
            (24, 32, true, Err(Misfit::Contradicts)),
        ] {
            let got = seen.check(piece(start, end, is_last));
            assert_eq!(got, expected, "{start}..{end} to {seen:?}");
            if got.is_ok() {
                seen.add(piece(start, end, is_last));
            }
        }
        assert!(!seen.is_complete());
        seen.add(piece(24, 32, false));
        assert!(seen.is_complete(), "{seen:?}");
    }

    #[test]
    fn gaps_are_bounded() {
        let mut seen = Seen::default();
        for gap in 0..RANGES as u16 {
            assert_eq!(seen.check(piece(gap * 16, gap * 16 + 8, false)), Ok(()));
            seen.add(piece(gap * 16, gap * 16 + 8, false));
        }
        let beyond = RANGES as u16 * 16;
        assert_eq!(seen.check(piece(beyond, beyond + 8, false)), Err(Misfit::TooManyGaps));
        assert_eq!(seen.check(piece(8, 16, false)), Ok(()), "one that closes a gap fits");
    }

    proptest! {
        /// Against a plain list of bytes.
        #[test]
        fn it_knows_every_byte(pieces in prop::collection::vec((0..64u16, 1..12u16, any::<bool>()), 1..60)) {
            let mut seen = Seen::default();
            let mut bytes = [false; 1024];
            let mut total = None;
            for (start, length, last) in pieces {
                let (start, end) = (start * 8, (start + length) * 8);
                let is_last = last && start > 300;
                let covered = bytes[usize::from(start)..usize::from(end)].iter().filter(|byte| **byte).count();
                let reaches = bytes.iter().rposition(|byte| *byte).map_or(0, |at| at as u16 + 1);
                let fits = covered == 0 && match total {
                    Some(total) => end <= total && !is_last,
                    None => !is_last || end >= reaches,
                };
                let checked = seen.check(piece(start, end, is_last));
                if checked == Err(Misfit::TooManyGaps) {
                    continue;
                }
                prop_assert_eq!(checked.is_ok(), fits, "{}..{} {:?}", start, end, checked);
                let whole = covered == usize::from(end - start);
                prop_assert_eq!(checked == Err(Misfit::Repeated), whole);
                if fits {
                    seen.add(piece(start, end, is_last));
                    bytes[usize::from(start)..usize::from(end)].fill(true);
                    total = if is_last { Some(end) } else { total };
                }
            }
            let complete = total.is_some_and(|total| bytes[..usize::from(total)].iter().all(|byte| *byte));
            prop_assert_eq!(seen.is_complete(), complete);
        }
    }
}
