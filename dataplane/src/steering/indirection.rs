//! The table from the low bits of a hash to a worker: RSS's redirection table (RETA).

use super::Unsuitable;
use super::rebalance::even_out;

/// Entries of the smallest table that is used.
pub const SMALLEST_TABLE: usize = 16;
/// Entries of the largest table that is used; a NIC with a larger one gets copies of it.
pub const LARGEST_TABLE: usize = 512;
/// Workers, as an `EthPort` has queues at most.
pub const MOST_WORKERS: usize = 64;

/// Entry → worker. Every worker has as many entries as another, or one more.
#[derive(Clone, PartialEq, Eq)]
pub struct Indirection {
    /// All [`LARGEST_TABLE`] are filled: a smaller table repeats.
    worker_of: [u8; LARGEST_TABLE],
    entries: usize,
    workers: usize,
}

impl Indirection {
    /// One worker has it all.
    pub const fn single() -> Self {
        Self { worker_of: [0; LARGEST_TABLE], entries: SMALLEST_TABLE, workers: 1 }
    }

    /// Shares `entries` out to `workers` in an order made of `random` bits (Fisher-Yates), so that
    /// nobody can tell which hashes have a worker in common, evened out over hashes that are easily had.
    ///
    /// # Errors
    /// If there is no table of that size, or for so many workers.
    pub fn shuffled(
        entries: usize,
        workers: usize,
        mut random: impl FnMut() -> u64,
    ) -> Result<Self, Unsuitable> {
        if !entries.is_power_of_two() || !(SMALLEST_TABLE..=LARGEST_TABLE).contains(&entries) {
            return Err(Unsuitable::Table(entries));
        }
        if !(1..=MOST_WORKERS.min(entries)).contains(&workers) {
            return Err(Unsuitable::Workers(workers));
        }
        let mut worker_of = [0; LARGEST_TABLE];
        for (entry, worker) in worker_of.iter_mut().take(entries).enumerate() {
            *worker = (entry % workers) as u8;
        }
        let mut below = |limit: usize| ((u128::from(random()) * limit as u128) >> 64) as usize;
        for last in (1..entries).rev() {
            worker_of.swap(last, below(last + 1));
        }
        if workers > 1 {
            even_out(&mut worker_of[..entries], workers, below);
        }
        for entry in entries..LARGEST_TABLE {
            worker_of[entry] = worker_of[entry % entries];
        }
        Ok(Self { worker_of, entries, workers })
    }

    /// The worker of a hash.
    #[inline(always)]
    pub const fn worker(&self, hash: u32) -> usize {
        self.worker_of[hash as usize % LARGEST_TABLE] as usize
    }

    /// Entries that differ: a power of two.
    pub const fn entries(&self) -> usize {
        self.entries
    }

    /// Low bits of the hash that count.
    pub const fn bits(&self) -> u32 {
        self.entries.ilog2()
    }

    /// Workers that have entries.
    pub const fn workers(&self) -> usize {
        self.workers
    }

    /// The table repeated, for a NIC whose table has `size` entries, a multiple of [`entries`](Self::entries).
    pub fn repeated(&self, size: usize) -> impl Iterator<Item = u16> + '_ {
        (0..size).map(|entry| u16::from(self.worker_of[entry % self.entries]))
    }
}

impl std::fmt::Debug for Indirection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Indirection({:?})", &self.worker_of[..self.entries])
    }
}
