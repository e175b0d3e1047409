//! How files of layout 2 are read: as those of layout 1, which did not say what version of the program made them.

use super::layout::Word;
use super::old::{Header, Parts};
use super::{Refused, Version, layout1};
use memory::{Area, Words};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The header and the parts of files whose header has this layout.
pub(super) fn read(
    header: &Words,
    tables: &Arc<Area>,
    more: Option<&Arc<Area>>,
) -> Result<(Header, Parts), Refused> {
    let (about, parts) = layout1::read(header, tables, more)?;
    let word = |at: Word| header[at as usize].load(Ordering::Relaxed);
    let version = Version::of_words([word(Word::VersionLow), word(Word::VersionHigh)]);
    Ok((Header { version: Some(version), ..about }, parts))
}
