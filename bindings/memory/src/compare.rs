//! Comparing the four words of half a cache line at once.

/// Bits above the count of time in a word of [`aged`].
const TIME_BITS: u32 = 24;

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

/// Which of `words` have `wanted` as their upper halves: bit `i` for `words[i]`.
#[inline(always)]
pub fn equal_upper_halves(words: &[u64; 4], wanted: u32) -> u32 {
    #[cfg(target_arch = "x86_64")]
    return upper_halves_sse2(words, wanted);
    #[cfg(not(target_arch = "x86_64"))]
    return upper_halves_one_by_one(words, wanted);
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn upper_halves_one_by_one(words: &[u64; 4], wanted: u32) -> u32 {
    (0..4).fold(0, |set, index| set | u32::from((words[index] >> 32) as u32 == wanted) << index)
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn upper_halves_sse2(words: &[u64; 4], wanted: u32) -> u32 {
    use std::arch::x86_64::{
        _mm_castps_si128, _mm_castsi128_ps, _mm_cmpeq_epi32, _mm_loadu_ps, _mm_movemask_ps, _mm_set1_epi32,
        _mm_shuffle_ps,
    };
    // SAFETY: SSE2 is part of the x86-64 baseline; both loads are of 16 bytes within `words` (32
    // bytes) and need no alignment.
    unsafe {
        let start: *const f32 = words.as_ptr().cast();
        let high = _mm_shuffle_ps::<0b11_01_11_01>(_mm_loadu_ps(start), _mm_loadu_ps(start.add(4)));
        let equal = _mm_cmpeq_epi32(_mm_castps_si128(high), _mm_set1_epi32(wanted as i32));
        _mm_movemask_ps(_mm_castsi128_ps(equal)) as u32
    }
}

/// Which of `words` are as old at `now` as `limits` say, or older: bit `i` for `words[i]`. The time of a word is its
/// upper 24 bits, and wraps; `now` and the limits have 24 bits too.
#[inline(always)]
pub fn aged(words: &[u64; 4], now: u32, limits: [u32; 4]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    return aged_sse2(words, now, limits);
    #[cfg(not(target_arch = "x86_64"))]
    return aged_one_by_one(words, now, limits);
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn aged_one_by_one(words: &[u64; 4], now: u32, limits: [u32; 4]) -> u32 {
    let age = |word: u64| now.wrapping_sub((word >> (u64::BITS - TIME_BITS)) as u32) & ((1 << TIME_BITS) - 1);
    (0..4).fold(0, |set, index| set | u32::from(age(words[index]) >= limits[index]) << index)
}

/// The times as the upper bits of 32, so that they wrap by themselves. SSE2 compares signed numbers alone.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn aged_sse2(words: &[u64; 4], now: u32, limits: [u32; 4]) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_castps_si128, _mm_castsi128_ps, _mm_cmpgt_epi32, _mm_loadu_ps,
        _mm_movemask_ps, _mm_set1_epi32, _mm_setr_epi32, _mm_shuffle_ps, _mm_slli_epi32, _mm_sub_epi32,
        _mm_xor_si128,
    };
    const SHIFT: i32 = (u32::BITS - TIME_BITS) as i32;
    let [a, b, c, d] = limits.map(|limit| limit as i32);
    // SAFETY: SSE2 is part of the x86-64 baseline; both loads are of 16 bytes within `words` (32
    // bytes) and need no alignment.
    unsafe {
        let start: *const f32 = words.as_ptr().cast();
        // The high halves of all four.
        let high = _mm_shuffle_ps::<0b11_01_11_01>(_mm_loadu_ps(start), _mm_loadu_ps(start.add(4)));
        let times = _mm_and_si128(_mm_castps_si128(high), _mm_set1_epi32(-1 << SHIFT));
        let ages = _mm_sub_epi32(_mm_set1_epi32((now << SHIFT) as i32), times);
        let limits: __m128i = _mm_slli_epi32::<SHIFT>(_mm_setr_epi32(a, b, c, d));
        let sign = _mm_set1_epi32(i32::MIN);
        let younger = _mm_cmpgt_epi32(_mm_xor_si128(limits, sign), _mm_xor_si128(ages, sign));
        !_mm_movemask_ps(_mm_castsi128_ps(younger)) as u32 & 0xf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_across_a_wrap_and_from_their_limits_on() {
        let most: u32 = (1 << TIME_BITS) - 1;
        let numbers = [0, 1, 2, 1 << 23, (1 << 23) + 1, most - 1, most];
        for now in numbers {
            for age in numbers {
                for limit in numbers {
                    let word = u64::from(now.wrapping_sub(age) & most) << 40 | 0xff_ffff_ffff;
                    let words = [word, word & !0xff_ffff_ffff, u64::from(now) << 40, word];
                    let limits = [limit, limit, limit, most];
                    let told = aged(&words, now, limits);
                    assert_eq!(told, aged_one_by_one(&words, now, limits), "{now} {age} {limit}");
                    assert_eq!(told & 1 != 0, age >= limit, "{now} {age} {limit}");
                }
            }
        }
    }

    #[test]
    fn every_combination_of_equal_words_is_told() {
        let (mask, wanted) = ((1 << 56) - 1, 0x0011_2233_4455_6677);
        // Equal, equal but for what the mask hides, and different in the low and in the high half.
        let kinds = [wanted, wanted | 0xab << 56, wanted ^ 1, wanted ^ 1 << 55];
        for combination in 0..256usize {
            let words = std::array::from_fn(|index| kinds[combination >> (2 * index) & 3]);
            let told = equal_under_mask(&words, mask, wanted);
            assert_eq!(told, one_by_one(&words, mask, wanted), "{words:x?}");
            let told = equal_upper_halves(&words, (wanted >> 32) as u32);
            assert_eq!(told, upper_halves_one_by_one(&words, (wanted >> 32) as u32), "{words:x?}");
        }
    }
}
