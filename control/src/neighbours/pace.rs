//! How often neighbours are asked, how long they are trusted and remembered, and how many there can be.

use super::Moment;
use std::time::Duration;

/// The longest that an answer is trusted.
pub const REACHABLE: Duration = Duration::from_secs(30);
/// An answer is trusted for up to this much less, depending on the address, so that neighbours that answered together
/// are not checked together.
pub const SPREAD: Duration = Duration::from_secs(10);
/// Entries examined, and so requests sent, in one turn at most: 8,000 a second with a turn each 2 ms.
pub const LOOKS: usize = 16;
/// The time between two requests (RFC 1122, 2.3.2.1: at most one a second for each destination; RFC 4861 §10,
/// RETRANS_TIMER).
pub const RETRY: Duration = Duration::from_secs(1);
/// Requests that must stay unanswered before a neighbour counts as unreachable.
pub const TRIES: u32 = 3;
/// A permanent neighbour that does not answer is asked again after this time; each further pause is twice as long.
pub const REVIVE: Duration = Duration::from_secs(5);
/// The longest such pause, unless [`REVIVALS`] makes it longer because many do not answer.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Requests a second, about, to all permanent neighbours that do not answer.
pub const REVIVALS: u32 = 256;
/// Requests a second to permanent neighbours that did not answer and that packets wait for.
pub const WANTED: u32 = 32;
/// Up to this number dynamic neighbours are kept as long as they answer: 8192 are some 330 requests a second.
pub const KEPT: usize = 8192;
/// With more than [`KEPT`], dynamic neighbours are forgotten when no packet has waited for them for this long.
pub const FORGET: Duration = Duration::from_secs(300);
/// How long a dynamic neighbour that did not answer is remembered.
pub(super) const FAILED: Duration = Duration::from_secs(10);
/// Neighbours known at once.
pub const MAX_ENTRIES: usize = 1 << 16;
/// Dynamic neighbours that have not answered: a flood of made-up sources can occupy no more.
pub const MAX_UNANSWERED: usize = 1024;

/// New dynamic neighbours asked for in a second: a flood must not become one of broadcasts.
pub const NEW_A_SECOND: u32 = 2048;

/// Counts up to a limit in each second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ASecond {
    second: u64,
    count: u32,
}

impl ASecond {
    /// Whether there is room for one more.
    pub(super) fn takes(&mut self, limit: u32, now: Moment) -> bool {
        if now.as_secs() != self.second {
            *self = Self { second: now.as_secs(), count: 0 };
        }
        self.count += 1;
        self.count <= limit
    }
}
