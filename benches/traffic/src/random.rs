//! Random numbers and orders, the same in each run.

/// Random numbers (xorshift64*), the same in each run.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Random {
    /// The next one below `limit`, with nearly equal chances.
    #[inline(always)]
    pub const fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let random = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        ((random * limit as u64) >> 32) as u32
    }
}

/// The flows below `count`, each once, in random order.
pub fn shuffled(count: u32) -> Vec<u32> {
    let mut random = Random::default();
    let mut flows: Vec<u32> = (0..count).collect();
    for last in (1..count).rev() {
        flows.swap(last as usize, random.below(last + 1) as usize);
    }
    flows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_order_has_each_flow_once() {
        let mut flows = shuffled(150_000);
        assert!(flows.iter().zip(1..).filter(|(flow, next)| **flow + 1 == *next).count() < 10);
        flows.sort_unstable();
        assert!(flows.iter().copied().eq(0..150_000));
    }
}
