//! Which version of this program made files.

use std::fmt;

/// A version in words of a header: at most so many bytes of its text.
const BYTES: usize = 16;

/// See the module's text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Version([u8; BYTES]);

impl Version {
    /// That of this program.
    pub const OWN: Self = Self::new(env!("CARGO_PKG_VERSION"));

    /// By its text, of which what is too long is left out.
    pub const fn new(text: &str) -> Self {
        let (text, mut bytes) = (text.as_bytes(), [0; BYTES]);
        let mut at = 0;
        while at < BYTES && at < text.len() {
            bytes[at] = text[at];
            at += 1;
        }
        Self(bytes)
    }

    pub(super) const fn words(self) -> [u64; 2] {
        let both = u128::from_ne_bytes(self.0);
        [both as u64, (both >> 64) as u64]
    }

    pub(super) const fn of_words([low, high]: [u64; 2]) -> Self {
        Self((low as u128 | (high as u128) << 64).to_ne_bytes())
    }
}

impl fmt::Display for Version {
    /// Files may be forged: what no version is written with is shown as a question mark.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |byte: &u8| byte.is_ascii_alphanumeric() || b".-+".contains(byte);
        let text = self.0.iter().take_while(|byte| **byte != 0);
        f.pad(&text.map(|byte| if known(byte) { char::from(*byte) } else { '?' }).collect::<String>())
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_its_text() {
        assert_eq!(Version::OWN.to_string(), env!("CARGO_PKG_VERSION"));
        assert_eq!(Version::of_words(Version::new("12.34.56-rc.7").words()).to_string(), "12.34.56-rc.7");
        assert_eq!(Version::new("12.34.56-alpha.7+8").to_string(), "12.34.56-alpha.7");
        assert_eq!(Version::of_words([0x1b00_410a, 0]).to_string(), "?A");
    }
}
