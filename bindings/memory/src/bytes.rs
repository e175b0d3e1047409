//! Sixteen bytes handled at once.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m128i, _mm_add_epi16, _mm_cmpeq_epi16, _mm_cvtsi128_si64, _mm_loadu_si128, _mm_min_epu8, _mm_or_si128,
    _mm_set_epi64x, _mm_setzero_si128, _mm_storeu_si128, _mm_sub_epi16, _mm_subs_epu16, _mm_unpackhi_epi64,
    _mm_xor_si128,
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

    /// These bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        // SAFETY: both are sixteen bytes of which every value is valid.
        Self(unsafe { std::mem::transmute::<[u8; 16], __m128i>(bytes) })
    }

    /// The reverse of [`from_bytes`](Self::from_bytes).
    pub const fn bytes(self) -> [u8; 16] {
        // SAFETY: both are sixteen bytes of which every value is valid.
        unsafe { std::mem::transmute::<__m128i, [u8; 16]>(self.0) }
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

    /// Writes them to memory.
    #[inline(always)]
    pub fn store(self, bytes: &mut [u8; 16]) {
        // SAFETY: SSE2 is part of the x86-64 baseline; writes 16 bytes, which need no alignment.
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), self.0) }
    }

    /// At each place the byte that `order` names, or zero where `order` has its highest bit set. One instruction with
    /// SSSE3, which a build for `x86-64-v2` has.
    #[inline(always)]
    #[must_use]
    pub fn shuffled(self, order: [u8; 16]) -> Self {
        #[cfg(target_feature = "ssse3")]
        // SAFETY: this is compiled only for processors that have SSSE3.
        return Self(unsafe { std::arch::x86_64::_mm_shuffle_epi8(self.0, Self::from_bytes(order).0) });
        #[cfg(not(target_feature = "ssse3"))]
        return Self::from_bytes(shuffled(self.bytes(), order));
    }

    /// Whether all bits that are set in `mask` are equal. One instruction tells it with SSE4.1, which a build for
    /// `x86-64-v2` has.
    #[inline(always)]
    pub fn equal_under(self, other: Self, mask: Self) -> bool {
        let differs = self.xor(other);
        #[cfg(target_feature = "sse4.1")]
        // SAFETY: this is compiled only for processors that have SSE4.1.
        return unsafe { std::arch::x86_64::_mm_testz_si128(differs.0, mask.0) } != 0;
        #[cfg(not(target_feature = "sse4.1"))]
        return have_none_in_common(differs.bytes(), mask.bytes());
    }

    /// The sums of their eight numbers of two bytes, as the machine orders these, modulo 2^16.
    #[inline(always)]
    #[must_use]
    pub fn sum(self, other: Self) -> Self {
        // SAFETY: SSE2 is part of the x86-64 baseline.
        Self(unsafe { _mm_add_epi16(self.0, other.0) })
    }

    /// Of eight numbers of two bytes, as the machine orders these: one more where `number` is at least `limit`, without
    /// sign, and as it was where not.
    #[inline(always)]
    #[must_use]
    pub fn add_at_least(self, number: Self, limit: Self) -> Self {
        // SAFETY: SSE2 is part of the x86-64 baseline.
        unsafe {
            // What is above it, none or some; all ones, which is minus one, where there is none.
            let missing = _mm_subs_epu16(limit.0, number.0);
            Self(_mm_sub_epi16(self.0, _mm_cmpeq_epi16(missing, _mm_setzero_si128())))
        }
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

    /// These bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The reverse of [`from_bytes`](Self::from_bytes).
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Writes them to memory.
    #[inline(always)]
    pub fn store(self, bytes: &mut [u8; 16]) {
        *bytes = self.0;
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

    /// At each place the byte that `order` names there, or zero where that has its highest bit set.
    #[inline(always)]
    #[must_use]
    pub fn shuffled(self, order: [u8; 16]) -> Self {
        Self(shuffled(self.0, order))
    }

    /// Whether all bits that are set in `mask` are equal.
    #[inline(always)]
    pub fn equal_under(self, other: Self, mask: Self) -> bool {
        have_none_in_common(self.xor(other).0, mask.0)
    }

    /// The sums of their eight numbers of two bytes, as the machine orders these, modulo 2^16.
    #[inline(always)]
    #[must_use]
    pub fn sum(self, other: Self) -> Self {
        self.each(|at| self.number(at).wrapping_add(other.number(at)))
    }

    /// Of eight numbers of two bytes, as the machine orders these: one more where `number` is at least `limit`, without
    /// sign, and as it was where not.
    #[inline(always)]
    #[must_use]
    pub fn add_at_least(self, number: Self, limit: Self) -> Self {
        self.each(|at| self.number(at).wrapping_add(u16::from(number.number(at) >= limit.number(at))))
    }

    fn number(self, at: usize) -> u16 {
        u16::from_ne_bytes([self.0[2 * at], self.0[2 * at + 1]])
    }

    fn each(self, number: impl Fn(usize) -> u16) -> Self {
        let mut bytes = [0; 16];
        for at in 0..8 {
            bytes[2 * at..2 * at + 2].copy_from_slice(&number(at).to_ne_bytes());
        }
        Self(bytes)
    }
}

/// [`Bytes16::shuffled`], byte by byte.
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "ssse3"))))]
fn shuffled(bytes: [u8; 16], order: [u8; 16]) -> [u8; 16] {
    order.map(|from| if from < 0x80 { bytes[usize::from(from % 16)] } else { 0 })
}

/// Whether no bit is set in both.
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse4.1"))))]
fn have_none_in_common(a: [u8; 16], b: [u8; 16]) -> bool {
    u128::from_ne_bytes(a) & u128::from_ne_bytes(b) == 0
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

    #[test]
    fn bytes_are_taken_from_where_the_order_says() {
        let bytes = std::array::from_fn(|at| 0xf0 ^ at as u8);
        let order = [0x80, 12, 13, 1, 4, 5, 6, 7, 0xff, 0x8f, 0, 15, 15, 3, 2, 0x7f];
        let expected = [0, 12, 13, 1, 4, 5, 6, 7, 0, 0, 0, 15, 15, 3, 2, 15];
        let taken = Bytes16::from_bytes(bytes).shuffled(order).bytes();
        for (at, (taken, from)) in taken.into_iter().zip(expected).enumerate() {
            assert_eq!(taken, if order[at] < 0x80 { 0xf0 ^ from } else { 0 }, "at {at}");
        }
        assert_eq!(shuffled(bytes, order), taken);
    }

    #[test]
    fn numbers_are_added_and_compared_each_for_itself() {
        let pairs = [
            (0, 0),
            (0, 1),
            (1, 0),
            (0xffff, 1),
            (0x8000, 0x7fff),
            (0x7fff, 0x8000),
            (5, 5),
            (0xffff, 0xffff),
        ];
        let of = |numbers: [u16; 8]| {
            let mut bytes = [0; 16];
            bytes
                .chunks_mut(2)
                .zip(numbers)
                .for_each(|(bytes, number)| bytes.copy_from_slice(&number.to_ne_bytes()));
            Bytes16::from_bytes(bytes)
        };
        let (a, b) = (of(pairs.map(|(a, _)| a)), of(pairs.map(|(_, b)| b)));
        let mut stored = [0; 16];
        a.sum(b).store(&mut stored);
        assert_eq!(stored, of(pairs.map(|(a, b): (u16, u16)| a.wrapping_add(b))).bytes());
        let more = of([7; 8]).add_at_least(a, b);
        assert_eq!(more.bytes(), of(pairs.map(|(a, b)| 7 + u16::from(a >= b))).bytes());
    }

    #[test]
    fn bytes_are_equal_but_for_bits_outside_the_mask() {
        let bytes: [u8; 16] = std::array::from_fn(|at| 0xe3 ^ (15 * at as u8));
        for at in 0..128 {
            let bit = Bytes16::from_bytes((1u128 << at).to_le_bytes());
            let (left, right) = (Bytes16::from_bytes(bytes), Bytes16::from_bytes(bytes).xor(bit));
            let all_but_it = Bytes16::from_bytes((!(1u128 << at)).to_le_bytes());
            for (mask, equal) in [(bit, false), (all_but_it, true), (Bytes16::from_bytes([0; 16]), true)] {
                assert_eq!(left.equal_under(right, mask), equal, "{at}");
                assert_eq!(have_none_in_common(left.xor(right).bytes(), mask.bytes()), equal, "{at}");
            }
        }
    }
}
