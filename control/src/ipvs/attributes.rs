//! What netlink messages consist of: attributes, each a length, a number and a payload, aligned to four bytes.

/// Bytes of an attribute before its payload.
const HEAD: usize = 4;

/// The bits of the number; those above say of the payload that it is nested, or in network byte order.
const NUMBER: u16 = 0x3fff;

/// The longest payload that an attribute's length can say.
const LONGEST: usize = u16::MAX as usize - HEAD;

/// Attributes, or a payload, that are not what they have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The payloads of attributes by number, from 0 to `COUNT` - 1. As in the kernel, others are ignored, and the last of
/// several with one number counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a, const COUNT: usize>([Option<&'a [u8]>; COUNT]);

impl<'a, const COUNT: usize> Attributes<'a, COUNT> {
    /// # Errors
    /// A length is shorter than an attribute's head, or leads beyond the bytes.
    pub(super) fn read(mut bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut found = [None; COUNT];
        while let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() {
            let length =
                usize::from(u16::from_ne_bytes([head[0], head[1]])).checked_sub(HEAD).ok_or(Malformed)?;
            let number = u16::from_ne_bytes([head[2], head[3]]) & NUMBER;
            let payload = rest.get(..length).ok_or(Malformed)?;
            if let Some(place) = found.get_mut(usize::from(number)) {
                *place = Some(payload);
            }
            // What aligns the last one may be missing.
            bytes = rest.get(length + padding(length)..).unwrap_or_default();
        }
        if bytes.is_empty() { Ok(Self(found)) } else { Err(Malformed) }
    }

    pub(super) const fn get(&self, number: usize) -> Option<&'a [u8]> {
        self.0[number]
    }

    /// The payload's first bytes; what follows is ignored, as in the kernel.
    ///
    /// # Errors
    /// There is the attribute, but it has fewer bytes.
    pub(super) fn array<const LENGTH: usize>(
        &self,
        number: usize,
    ) -> Result<Option<[u8; LENGTH]>, Malformed> {
        self.get(number).map(|payload| payload.first_chunk().copied().ok_or(Malformed)).transpose()
    }

    pub(super) fn u16(&self, number: usize) -> Result<Option<u16>, Malformed> {
        Ok(self.array(number)?.map(u16::from_ne_bytes))
    }

    pub(super) fn u32(&self, number: usize) -> Result<Option<u32>, Malformed> {
        Ok(self.array(number)?.map(u32::from_ne_bytes))
    }

    /// In network byte order.
    pub(super) fn port(&self, number: usize) -> Result<Option<u16>, Malformed> {
        Ok(self.array(number)?.map(u16::from_be_bytes))
    }

    /// A text that ends with a NUL; what is not UTF-8 in it becomes U+FFFD.
    ///
    /// # Errors
    /// It is longer than `longest` bytes, or has no NUL.
    pub(super) fn text(&self, number: usize, longest: usize) -> Result<Option<String>, Malformed> {
        let Some(payload) = self.get(number) else { return Ok(None) };
        let end = payload.iter().take(longest + 1).position(|byte| *byte == 0).ok_or(Malformed)?;
        Ok(Some(String::from_utf8_lossy(&payload[..end]).into_owned()))
    }

    /// The attributes in this one.
    ///
    /// # Errors
    /// There is none with this number, or those in it are malformed.
    pub(super) fn nested<const INNER: usize>(
        &self,
        number: usize,
    ) -> Result<Attributes<'a, INNER>, Malformed> {
        Attributes::read(self.get(number).ok_or(Malformed)?)
    }
}

/// Zero bytes that align what follows a payload.
const fn padding(length: usize) -> usize {
    length.next_multiple_of(4) - length
}

/// Appends an attribute; a payload is cut where it is too long for one.
pub(super) fn put(out: &mut Vec<u8>, number: usize, payload: impl AsRef<[u8]>) {
    let payload = payload.as_ref();
    let payload = &payload[..payload.len().min(LONGEST)];
    nest(out, number, |out| out.extend_from_slice(payload));
}

/// Appends a text and a NUL.
pub(super) fn put_text(out: &mut Vec<u8>, number: usize, text: &str) {
    nest(out, number, |out| {
        out.extend_from_slice(&text.as_bytes()[..text.len().min(LONGEST - 1)]);
        out.push(0);
    });
}

/// Appends a number in the machine's byte order.
pub(super) fn put_u32(out: &mut Vec<u8>, number: usize, value: u32) {
    put(out, number, value.to_ne_bytes());
}

/// Appends an attribute whose payload is what `fill` appends, which is not longer than [`LONGEST`].
pub(super) fn nest(out: &mut Vec<u8>, number: usize, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    fill(out);
    let length = out.len() - start;
    debug_assert!(length <= HEAD + LONGEST, "an attribute of {length} bytes");
    out[start..start + 2].copy_from_slice(&(length as u16).to_ne_bytes());
    out[start + 2..start + HEAD].copy_from_slice(&(number as u16).to_ne_bytes());
    align(out, length);
}

/// Appends what aligns the bytes that follow so many.
pub(super) fn align(out: &mut Vec<u8>, length: usize) {
    out.resize(out.len() + padding(length), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Attributes<'_, 8>, Malformed> {
        Attributes::read(bytes)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(payloads in prop::collection::vec((0..8usize, prop::collection::vec(any::<u8>(), 0..40)), 0..12)) {
            let mut bytes = Vec::new();
            let mut expected = [None; 8];
            for (number, payload) in &payloads {
                put(&mut bytes, *number, payload);
                expected[*number] = Some(&payload[..]);
            }
            prop_assert_eq!(bytes.len() % 4, 0);
            prop_assert_eq!(read(&bytes).unwrap().0, expected);
        }

        #[test]
        fn random_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(found) = read(&bytes) {
                let (_, _, _) = (found.u16(1), found.u32(2), found.port(3));
                let text = found.text(4, 15).ok().flatten();
                prop_assert!(text.is_none_or(|text| text.chars().count() <= 15));
                let _ = found.nested::<8>(5);
            }
        }
    }

    #[test]
    fn a_number_is_read_without_the_bits_above_it() {
        let mut bytes = Vec::new();
        put(&mut bytes, 0x8003, [1, 2]);
        put(&mut bytes, 0x4004, [0x12, 0x34]);
        let found = read(&bytes).unwrap();
        assert_eq!((found.get(3), found.port(4)), (Some(&[1, 2][..]), Ok(Some(0x1234))));
    }

    #[test]
    fn unknown_attributes_are_passed_over_and_the_last_of_a_number_counts() {
        let mut bytes = Vec::new();
        put(&mut bytes, 1, [7; 3]);
        put(&mut bytes, 99, [8; 5]);
        put_u32(&mut bytes, 1, 9);
        assert_eq!(read(&bytes).unwrap().u32(1), Ok(Some(9)));
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        for length in [0u16, 3, 9, u16::MAX] {
            let bytes = [&length.to_ne_bytes()[..], &1u16.to_ne_bytes(), &[0; 4]].concat();
            assert_eq!(read(&bytes).err(), Some(Malformed), "{length}");
        }
        assert_eq!(read(&[5, 0, 1]).err(), Some(Malformed), "half a head");
        let bytes = [&5u16.to_ne_bytes()[..], &1u16.to_ne_bytes(), &[7]].concat();
        assert_eq!(read(&bytes).unwrap().get(1), Some(&[7][..]), "not aligned at the end");
    }

    #[test]
    fn a_text_ends_with_a_nul_within_its_length() {
        let text = |payload: &[u8]| {
            let mut bytes = Vec::new();
            put(&mut bytes, 1, payload);
            read(&bytes).unwrap().text(1, 3)
        };
        for (payload, expected) in
            [(&b"\0"[..], ""), (b"wrr\0", "wrr"), (b"rr\0x", "rr"), (b"\xff\0", "\u{fffd}")]
        {
            assert_eq!(text(payload), Ok(Some(expected.to_owned())));
        }
        for wrong in [&b""[..], b"wrr", b"wlcc\0"] {
            assert_eq!(text(wrong), Err(Malformed));
        }
        assert_eq!(read(&[]).unwrap().text(1, 3), Ok(None));
    }

    #[test]
    fn a_payload_that_is_too_short_is_refused_and_more_is_ignored() {
        let mut bytes = Vec::new();
        put(&mut bytes, 1, [1; 3]);
        put(&mut bytes, 2, [0x11; 6]);
        let found = read(&bytes).unwrap();
        assert_eq!(
            (found.u32(1), found.u32(2), found.u32(3)),
            (Err(Malformed), Ok(Some(0x1111_1111)), Ok(None))
        );
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let mut bytes = Vec::new();
        put(&mut bytes, 1, vec![7; 70_000]);
        put_text(&mut bytes, 2, &"x".repeat(70_000));
        let found = read(&bytes).unwrap();
        assert_eq!([1, 2].map(|number| found.get(number).unwrap().len()), [LONGEST; 2]);
        assert_eq!(found.get(2).unwrap().last(), Some(&0));
    }
}
