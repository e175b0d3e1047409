//! Evens a shuffled table out over the sets of indices that an attacker knows without the key.
//!
//! Under a zero window the first bits of a field reach the lowest bits of the index alone, its last bits
//! the highest alone. So clients that differ in these reach a *block*: indices that agree in the bits in
//! between. In a table that is merely shuffled one worker has more than twice its share of many a block.

/// Rounds over the table. Few blocks are left uneven after these, in a few milliseconds.
const ROUNDS: usize = 32;

/// The blocks in which `low` bits and those from `high` on are free.
struct Blocks {
    low: usize,
    high: usize,
    /// Entries of one worker that a block should not exceed.
    most: u16,
    /// Where their counts begin.
    counts: usize,
}

impl Blocks {
    /// Where it is counted how many entries of the block of `index` worker 0 has.
    fn count(&self, index: usize, workers: usize) -> usize {
        self.counts + ((index % (1 << self.high)) >> self.low) * workers
    }
}

/// Swaps entries in which a worker has too much of a block with `random` other ones, as long as that makes
/// nothing worse.
pub(super) fn even_out(worker_of: &mut [u8], workers: usize, mut random: impl FnMut(usize) -> usize) {
    let index_bits = worker_of.len().ilog2() as usize;
    let mut size = 0;
    let mut all = Vec::new();
    for free in 1..index_bits {
        let most = (1_usize << free).div_ceil(workers).max((8 << free) / (5 * workers)) as u16;
        for low in 0..=free {
            all.push(Blocks { low, high: index_bits - (free - low), most, counts: size });
            size += (worker_of.len() >> free) * workers;
        }
    }
    let mut counts = vec![0_u16; size];
    for blocks in &all {
        for (index, worker) in worker_of.iter().enumerate() {
            counts[blocks.count(index, workers) + usize::from(*worker)] += 1;
        }
    }
    for _ in 0..ROUNDS {
        let mut even = true;
        for here in 0..worker_of.len() {
            let gives = usize::from(worker_of[here]);
            if all.iter().all(|blocks| counts[blocks.count(here, workers) + gives] <= blocks.most) {
                continue;
            }
            even = false;
            let there = random(worker_of.len());
            let takes = usize::from(worker_of[there]);
            let apart = || {
                let places = all
                    .iter()
                    .map(|blocks| (blocks, blocks.count(here, workers), blocks.count(there, workers)));
                places.filter(|(_, here, there)| here != there)
            };
            let worse: i32 = apart()
                .map(|(blocks, here, there)| {
                    let over = |at: usize| i32::from(counts[at] > blocks.most);
                    let filled = |at: usize| i32::from(counts[at] >= blocks.most);
                    filled(here + takes) + filled(there + gives) - over(here + gives) - over(there + takes)
                })
                .sum();
            if gives != takes && worse <= 0 {
                for (_, here, there) in apart() {
                    counts[here + gives] -= 1;
                    counts[there + takes] -= 1;
                    counts[here + takes] += 1;
                    counts[there + gives] += 1;
                }
                worker_of.swap(here, there);
            }
        }
        if even {
            break;
        }
    }
}
