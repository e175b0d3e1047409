//! Sixteen bytes handled at once.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m128i, _mm_cvtsi128_si64, _mm_loadu_si128, _mm_min_epu8, _mm_or_si128, _mm_set_epi64x,
    _mm_unpackhi_epi64, _mm_xor_si128,
};

/// Sixteen bytes, in one register where the processor has such.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub struct Bytes16(__m128i);

/// Sixteen bytes, in one register where the processor has such.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Clone, Copy, Debug)]
pub struct Bytes16([u8; 16]);

#[cfg(target_arch = "x86_64")]
impl Bytes16 {
    /// Bytes as they lie in memory.
    #[inline(always)]
    pub fn load(bytes: &[u8; 16]) -> Self {
        // SAFETY: SSE2 is part of the x86-64 baseline; reads 16 bytes, which need no alignment.
        Self(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
    }

    /// Eight bytes and then eight more, the lowest of each word first.
    #[inline(always)]
    pub fn from_words([first, second]: [u64; 2]) -> Self {
        // SAFETY: SSE2 is part of the x86-64 baseline.
        Self(unsafe { _mm_set_epi64x(second as i64, first as i64) })
    }

    /// The reverse of [`from_words`](Self::from_words).
    #[inline(always)]
    pub fn words(self) -> [u64; 2] {
        // SAFETY: SSE2 is part of the x86-64 baseline.
        unsafe {
            let second = _mm_unpackhi_epi64(self.0, self.0);
            [_mm_cvtsi128_si64(self.0) as u64, _mm_cvtsi128_si64(second) as u64]
        }
    }

    /// Bits that are set in either.
    #[inline(always)]
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        // SAFETY: SSE2 is part of the x86-64 baseline.
        Self(unsafe { _mm_or_si128(self.0, other.0) })
    }

    /// Bits that differ.
    #[inline(always)]
    #[must_use]
    pub fn xor(self, other: Self) -> Self {
        // SAFETY: SSE2 is part of the x86-64 baseline.
        Self(unsafe { _mm_xor_si128(self.0, other.0) })
    }

    /// Of each byte the lesser, without sign.
    #[inline(always)]
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        // SAFETY: SSE2 is part of the x86-64 baseline.
        Self(unsafe { _mm_min_epu8(self.0, other.0) })
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Bytes16 {
    /// Bytes as they lie in memory.
    #[inline(always)]
    pub fn load(bytes: &[u8; 16]) -> Self {
        Self(*bytes)
    }

    /// Eight bytes and then eight more, the lowest of each word first.
    #[inline(always)]
    pub fn from_words([first, second]: [u64; 2]) -> Self {
        Self((u128::from(second) << 64 | u128::from(first)).to_le_bytes())
    }

    /// The reverse of [`from_words`](Self::from_words).
    #[inline(always)]
    pub fn words(self) -> [u64; 2] {
        let word = u128::from_le_bytes(self.0);
        [word as u64, (word >> 64) as u64]
    }

    /// Bits that are set in either.
    #[inline(always)]
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }

    /// Bits that differ.
    #[inline(always)]
    #[must_use]
    pub fn xor(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] ^ other.0[at]))
    }

    /// Of each byte the lesser, without sign.
    #[inline(always)]
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at].min(other.0[at])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_combined_each_with_its_own() {
        let (a, b): ([u8; 16], [u8; 16]) =
            (std::array::from_fn(|at| 17 * at as u8), std::array::from_fn(|at| 0xe3 ^ (15 * at as u8)));
        let both = |combined: Bytes16| {
            let [first, second] = combined.words().map(u64::to_le_bytes);
            [first, second].concat()
        };
        let expected = |of: fn(u8, u8) -> u8| a.iter().zip(&b).map(|(a, b)| of(*a, *b)).collect::<Vec<_>>();
        let (left, right) = (Bytes16::load(&a), Bytes16::load(&b));
        assert_eq!(both(left), a);
        assert_eq!(both(Bytes16::from_words(left.words())), a);
        assert_eq!(both(left.or(right)), expected(|a, b| a | b));
        assert_eq!(both(left.xor(right)), expected(|a, b| a ^ b));
        assert_eq!(both(left.min(right)), expected(u8::min));
    }
}
