//! A line's words, and the options among them.

use std::borrow::Cow;
use std::iter::Peekable;

/// A line's words, up to a comment.
pub(super) fn words(line: &str) -> impl Iterator<Item = &str> + Clone {
    line.split_ascii_whitespace().take_while(|word| !word.starts_with('#'))
}

/// The words that follow the program's name, if a script gives it.
pub(super) fn after_program(line: &str) -> impl Iterator<Item = &str> + Clone {
    let mut words = words(line).peekable();
    words.next_if_eq(&"sudo");
    words.next_if(|word| word.rsplit('/').next() == Some("ipvsadm"));
    words
}

/// Options and their values in any form that `ipvsadm` takes: `-w 5`, `-w5`, `-w=5`, `-mw 5`, `--weight 5`,
/// `--weight=5`.
pub(super) struct Words<'a, W: Iterator<Item = &'a str>> {
    words: Peekable<W>,
    /// What follows the last letter in its word.
    letters: &'a str,
    /// What follows the last long name in its word.
    value: Option<&'a str>,
}

impl<'a, W: Iterator<Item = &'a str>> Words<'a, W> {
    /// These words, `letters` before them.
    pub(super) fn new(letters: &'a str, words: W) -> Self {
        Self { words: words.peekable(), letters, value: None }
    }

    /// The name of the next option, as it would stand by itself.
    pub(super) fn option(&mut self) -> Option<Cow<'a, str>> {
        if self.letters.is_empty() {
            let word = self.words.next()?;
            if word.starts_with("--") {
                let (name, value) =
                    word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
                self.value = value;
                return Some(name.into());
            }
            match word.strip_prefix('-') {
                Some(letters) if !letters.is_empty() => self.letters = letters,
                _ => return Some(word.into()),
            }
        }
        let letter = self.letters.chars().next()?;
        self.letters = &self.letters[letter.len_utf8()..];
        Some(format!("-{letter}").into())
    }

    /// The value of the option `name`.
    pub(super) fn value(&mut self, name: &str) -> Result<&'a str, String> {
        let value = self.attached().or_else(|| self.words.next());
        value.ok_or_else(|| format!("{name} needs a value"))
    }

    /// The value of an option that may have none: the next word is one unless it is an option.
    pub(super) fn optional_value(&mut self) -> Option<&'a str> {
        self.attached().or_else(|| self.words.next_if(|word| !word.starts_with('-')))
    }

    /// The value that stands in the option's own word.
    fn attached(&mut self) -> Option<&'a str> {
        let letters = std::mem::take(&mut self.letters);
        let glued = (!letters.is_empty()).then(|| letters.strip_prefix('=').unwrap_or(letters));
        self.value.take().or(glued)
    }

    /// The option `name` takes no value.
    pub(super) fn no_value(&mut self, name: &str) -> Result<(), String> {
        match self.value.take() {
            Some(value) => Err(format!("{name} takes no value, found {value:?}")),
            None => Ok(()),
        }
    }
}
