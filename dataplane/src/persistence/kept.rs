//! Templates in memory that outlives the process: a record for each place that a worker has for one, which the next
//! process reads.
//!
//! A record is eight words. What tells that there is one is written last when a template is made, and first when it
//! goes, so that whenever the process ends a record is whole or none.
//!
//! ```text
//! word 0   bit  0       there is a template
//!               1       its client has another real: see [`spend`](super::Templates::spend)
//!               2       a connection of it has been proven
//!               3       it has connections
//!               4       its client is one of IPv6
//!              32..63   its real
//! word 1, 2             the client's address under the mask, as it lies on the wire, first byte lowest
//! word 3                when it runs out, in the worker's nanoseconds
//! word 4                what its timer is set to, in nanoseconds
//! word 5..7             zero
//! ```

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Words of a record.
pub(crate) const WORDS: usize = 8;

const THERE: u64 = 1;
const SPENT: u64 = 1 << 1;
const ASSURED: u64 = 1 << 2;
const CONTROLS: u64 = 1 << 3;
const IPV6: u64 = 1 << 4;
const REAL_SHIFT: u32 = 32;

/// A template as it outlives the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The client's address under the mask.
    pub(crate) client: IpAddr,
    /// The id of its real, of the process that wrote it.
    pub(crate) real: u32,
    /// When it runs out, on the clock of the worker that wrote it.
    pub(crate) runs_out: u64,
    /// What its timer is set to by a new connection, in nanoseconds.
    pub(crate) timeout: u64,
    /// Whether it has connections.
    pub(crate) controls: bool,
    /// Whether a connection of it has been proven.
    pub(crate) assured: bool,
    /// Whether its client has another real.
    pub(crate) spent: bool,
}

impl Kept {
    fn first_word(&self) -> u64 {
        let bit = |is: bool, bit| if is { bit } else { 0 };
        THERE
            | bit(self.spent, SPENT)
            | bit(self.assured, ASSURED)
            | bit(self.controls, CONTROLS)
            | bit(self.client.is_ipv6(), IPV6)
            | u64::from(self.real) << REAL_SHIFT
    }

    /// What is in this place, whatever its bytes are; `None`: nothing.
    pub(crate) fn read(words: &[AtomicU64], place: usize) -> Option<Self> {
        let record = record(words, place)?;
        let first = record[0].load(Ordering::Acquire);
        if first & THERE == 0 {
            return None;
        }
        let [low, high, runs_out, timeout] = [1, 2, 3, 4].map(|word| record[word].load(Ordering::Relaxed));
        let bytes = (u128::from(high) << 64 | u128::from(low)).to_le_bytes();
        let client = match *bytes.first_chunk::<4>()? {
            _ if first & IPV6 != 0 => IpAddr::from(bytes),
            bytes => IpAddr::from(bytes),
        };
        Some(Self {
            client,
            real: (first >> REAL_SHIFT) as u32,
            runs_out,
            timeout,
            controls: first & CONTROLS != 0,
            assured: first & ASSURED != 0,
            spent: first & SPENT != 0,
        })
    }

    /// Puts it into an empty place.
    pub(crate) fn write(&self, words: &[AtomicU64], place: usize) {
        let Some(record) = record(words, place) else { return };
        let bytes = match self.client {
            IpAddr::V4(client) => u128::from(u32::from_le_bytes(client.octets())),
            IpAddr::V6(client) => u128::from_le_bytes(client.octets()),
        };
        let rest = [bytes as u64, (bytes >> 64) as u64, self.runs_out, self.timeout];
        record[0].store(0, Ordering::Release);
        record[1..].iter().zip(rest).for_each(|(word, value)| word.store(value, Ordering::Release));
        record[0].store(self.first_word(), Ordering::Release);
    }

    /// Changes what is in its place: all but its client.
    pub(crate) fn change(&self, words: &[AtomicU64], place: usize) {
        let Some(record) = record(words, place) else { return };
        record[3].store(self.runs_out, Ordering::Relaxed);
        record[4].store(self.timeout, Ordering::Relaxed);
        record[0].store(self.first_word(), Ordering::Release);
    }
}

/// Empties a place.
pub(crate) fn forget(words: &[AtomicU64], place: usize) {
    if let Some(record) = record(words, place) {
        record[0].store(0, Ordering::Release);
    }
}

fn record(words: &[AtomicU64], place: usize) -> Option<&[AtomicU64; WORDS]> {
    words.get(place.checked_mul(WORDS)?..)?.first_chunk()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written_last(
            client: IpAddr, real: u32, times: [u64; 4], flags: [bool; 6], place in 0..3usize,
        ) {
            let words: Vec<AtomicU64> = (0..3 * WORDS).map(|_| AtomicU64::new(0)).collect();
            let [runs_out, timeout, later, longer] = times;
            let [controls, assured, spent, ..] = flags;
            let kept = Kept { client, real, runs_out, timeout, controls, assured, spent };
            prop_assert_eq!(Kept::read(&words, place), None);
            kept.write(&words, place);
            prop_assert_eq!(Kept::read(&words, place), Some(kept));
            let [.., controls, assured, spent] = flags;
            let changed = Kept { runs_out: later, timeout: longer, controls, assured, spent, ..kept };
            changed.change(&words, place);
            for other in 0..5 {
                prop_assert_eq!(Kept::read(&words, other), (other == place).then_some(changed));
            }
            forget(&words, place);
            prop_assert_eq!(Kept::read(&words, place), None);
            kept.write(&words, 3); // there is no such place
        }

        #[test]
        fn any_words_can_be_read(words: Vec<u64>, place: usize) {
            let words: Vec<AtomicU64> = words.into_iter().map(AtomicU64::new).collect();
            Kept::read(&words, place);
            for place in 0..words.len() {
                Kept::read(&words, place);
            }
        }
    }
}
