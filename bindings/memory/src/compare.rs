//! Comparing the four words of half a cache line at once.

/// Which of `words` equal `wanted` where `mask` has ones: bit `i` for `words[i]`. `wanted` must be zero
/// where `mask` is.
#[inline(always)]
pub fn equal_under_mask(words: &[u64; 4], mask: u64, wanted: u64) -> u32 {
    #[cfg(target_arch = "x86_64")]
    return sse2(words, mask, wanted);
    #[cfg(not(target_arch = "x86_64"))]
    return one_by_one(words, mask, wanted);
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn one_by_one(words: &[u64; 4], mask: u64, wanted: u64) -> u32 {
    (0..4).fold(0, |set, index| set | u32::from(words[index] & mask == wanted) << index)
}

/// SSE2, which every x86-64 processor has, compares 32 bits at a time: a word is equal if both of its
/// halves are.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn sse2(words: &[u64; 4], mask: u64, wanted: u64) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_and_ps, _mm_and_si128, _mm_castsi128_ps, _mm_cmpeq_epi32, _mm_loadu_si128,
        _mm_movemask_ps, _mm_set1_epi64x, _mm_shuffle_ps,
    };
    // SAFETY: SSE2 is part of the x86-64 baseline; both loads are of 16 bytes within `words` (32
    // bytes) and need no alignment.
    unsafe {
        let (mask, wanted) = (_mm_set1_epi64x(mask as i64), _mm_set1_epi64x(wanted as i64));
        let start: *const __m128i = words.as_ptr().cast();
        let equal = |at| _mm_cmpeq_epi32(_mm_and_si128(_mm_loadu_si128(at), mask), wanted);
        let (first, second) = (_mm_castsi128_ps(equal(start)), _mm_castsi128_ps(equal(start.add(1))));
        // The low halves of all four, and the high halves.
        let low = _mm_shuffle_ps::<0b10_00_10_00>(first, second);
        let high = _mm_shuffle_ps::<0b11_01_11_01>(first, second);
        _mm_movemask_ps(_mm_and_ps(low, high)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_of_equal_words_is_told() {
        let (mask, wanted) = ((1 << 56) - 1, 0x0011_2233_4455_6677);
        // Equal, equal but for what the mask hides, and different in the low and in the high half.
        let kinds = [wanted, wanted | 0xab << 56, wanted ^ 1, wanted ^ 1 << 55];
        for combination in 0..256usize {
            let words = std::array::from_fn(|index| kinds[combination >> (2 * index) & 3]);
            let told = equal_under_mask(&words, mask, wanted);
            assert_eq!(told, one_by_one(&words, mask, wanted), "{words:x?}");
        }
    }
}
