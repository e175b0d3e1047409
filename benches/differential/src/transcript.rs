//! What a run shows: printed, or only its hash.

use std::hash::{DefaultHasher, Hasher};
use std::io::Write;

/// See the module's text.
pub struct Transcript {
    hash: DefaultHasher,
    print: bool,
}

impl Transcript {
    pub fn new(print: bool) -> Self {
        Self { hash: DefaultHasher::new(), print }
    }

    pub fn line(&mut self, text: impl FnOnce() -> String) {
        let text = text();
        self.hash.write(text.as_bytes());
        self.hash.write_u8(b'\n');
        if self.print {
            // Who reads it may have seen enough.
            let _ = writeln!(std::io::stdout(), "{text}");
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }
}
