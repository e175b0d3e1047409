//! SipHash-1-3 of four bytes, as Linux hashes what `mh` looks up (`hsiphash` on 64-bit machines).
//!
//! The general hashers hash byte streams in several calls; this is for one word, in some fifty instructions, because
//! each new connection needs it.

/// The lower half of SipHash-1-3 of a word's four bytes, the lowest first. Both halves of the key are `key`.
#[inline(always)]
pub(super) const fn of_word(word: u32, key: u64) -> u32 {
    let mut v = [
        key ^ 0x736f_6d65_7073_6575,
        key ^ 0x646f_7261_6e64_6f6d,
        key ^ 0x6c79_6765_6e65_7261,
        key ^ 0x7465_6462_7974_6573,
    ];
    // The last block: what is left of the message, and its length in the uppermost byte.
    let block = word as u64 | 4 << 56;
    v[3] ^= block;
    v = round(v);
    v[0] ^= block;
    v[2] ^= 0xff;
    v = round(round(round(v)));
    (v[0] ^ v[1] ^ v[2] ^ v[3]) as u32
}

#[inline(always)]
const fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use siphasher::sip::SipHasher13;

    proptest! {
        #[test]
        fn it_is_siphash_1_3_of_four_bytes(word: u32, key: u64) {
            let known = SipHasher13::new_with_keys(key, key).hash(&word.to_le_bytes());
            prop_assert_eq!(of_word(word, key), known as u32);
        }
    }
}
