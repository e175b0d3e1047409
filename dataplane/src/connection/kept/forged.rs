//! Files that nobody has written so: whatever their bytes are, reading them ends soon, and nothing panics.

use super::home::checksum;
use super::layout::{BEAT, HEADER, LAYOUT, MAGIC, NOTES_TEMPLATES, Word};
use super::tests::{Files, IDENTITY, SECRET};
use super::{Home, Mark, Old, Refused, Shape, bytes};
use memory::Area;
use proptest::prelude::*;
use std::os::unix::fs::FileExt;

/// The words of the header that are not what they are for.
const WORDS: usize = HEADER / size_of::<u64>();

/// Numbers that files are likely to be forged with.
fn number() -> impl Strategy<Value = u64> {
    let bounds = prop::sample::select(vec![
        0,
        1,
        8,
        16,
        32,
        64,
        4096,
        8192,
        12_288,
        16_384,
        20_480,
        24_576,
        1 << 21,
        1 << 31,
        1 << 32,
        1 << 48,
        1 << 60,
        u64::MAX,
        u64::MAX / 8,
        u64::MAX - 4095,
        32 | 16 << 32,
        16 | 8 << 32,
    ]);
    prop_oneof![bounds, any::<u64>(), 0..1_000_000u64]
}

/// Reads all there is in every way. Returns how many connections there were.
fn read_all(old: &Old, most: usize) -> usize {
    let mut rows = 0;
    let mut marks: Vec<Mark> = Vec::new();
    assert!(old.positions() <= most / 1024 + 2, "a position has a kilobyte at least");
    for position in (0..old.positions() + 3).chain([usize::MAX]) {
        let mut of_position = 0;
        old.read(position, |row, mark| {
            of_position += 1;
            marks.push(mark);
            let mut found = 0;
            // Of some: it takes as long as reading a position or three.
            if rows % 13 == 0 {
                old.find(row.client, row.protocol, |_, _| found += 1);
            }
            assert!(found <= 4 * 64);
        });
        assert!(of_position <= 4 * 32);
        rows += of_position;
    }
    assert!(rows <= most / 16);
    let words = old.templates().map_or(0, |templates| templates.iter().count());
    assert!(words <= most);
    marks.iter().for_each(|mark| old.forget(*mark));
    (0..old.positions()).for_each(|position| old.read(position, |row, _| panic!("{row:?} was forgotten")));
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Behind a header that is as it should be, but for what changes all the time.
    #[test]
    fn random_bytes_behind_a_header_are_read_to_the_end(
        capacity in 0..3000usize, of_v6 in 0..500usize, seed: u64, zeros in 0..8u32,
        notes in prop::collection::vec((BEAT..NOTES_TEMPLATES + 8, number()), 0..12),
    ) {
        let files = Files::new();
        let shape = Shape { v4: capacity, v6: of_v6, templates: 3 };
        drop(files.home(shape));
        let sizes = bytes(shape);
        let mut random = fastrand::Rng::with_seed(seed);
        // Some words are zero, or a free slot's, and protocols are those that there are as often as not.
        let mut noise = |bytes: usize| {
            let words = (0..bytes / 8).flat_map(|_| {
                let word = if random.u32(0..8) < zeros { 0 } else { random.u64(..) };
                let protocol = [6, 17, 132, word as u8][random.usize(0..4)];
                (word & !(0xff << 24) | u64::from(protocol) << 24).to_ne_bytes()
            });
            words.collect::<Vec<u8>>()
        };
        files.tables.write_all_at(&noise(sizes.tables - HEADER), HEADER as u64).unwrap();
        files.more.write_all_at(&noise(sizes.more), 0).unwrap();
        for (at, value) in notes {
            files.tables.write_all_at(&value.to_ne_bytes(), at as u64 * 8).unwrap();
        }
        match files.old() {
            Ok(old) => { read_all(&old, sizes.tables); }
            Err(refused) => prop_assert_eq!(refused, Refused::Damaged),
        }
    }

    /// Where what never changes says what it likes, with the right checksum, and the file ends where it likes.
    #[test]
    fn a_header_that_lies_is_refused_or_harmless(
        lies in prop::collection::vec((2..Word::Checksum as usize, number()), 1..6),
        notes in prop::collection::vec((BEAT..NOTES_TEMPLATES + 8, number()), 0..4),
        layout in 1..=LAYOUT, length in prop::option::of(0..40_000u64), grows: bool,
    ) {
        let files = Files::new();
        let shape = Shape { v4: 100, v6: 100, templates: 3 };
        drop(files.home(shape));
        let mut words = [0u8; HEADER];
        files.tables.read_exact_at(&mut words, 0).unwrap();
        let mut words: Vec<u64> =
            words.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect();
        prop_assert_eq!((words.len(), words[0]), (WORDS, MAGIC));
        words[Word::Layout as usize] = u64::from(layout) | (HEADER as u64) << 32;
        lies.iter().chain(&notes).for_each(|(at, value)| words[*at] = *value);
        words[Word::Checksum as usize] = checksum(&words[..Word::Checksum as usize]);
        let words: Vec<u8> = words.into_iter().flat_map(u64::to_ne_bytes).collect();
        files.tables.write_all_at(&words, 0).unwrap();
        let most = bytes(shape).tables;
        if let Some(length) = length {
            let length = if grows { most as u64 + length } else { length.min(most as u64).max(1) };
            files.tables.set_len(length).unwrap();
            files.more.set_len(length).unwrap();
        }
        // Of a file that has become longer, what was added has no memory and is not read.
        if let Ok(old) = files.old() {
            read_all(&old, most + 8192);
        }
    }

    /// A file cut anywhere is refused, or what is missing is not read.
    #[test]
    fn a_file_without_its_end_is_refused(cut in 1..30_000u64) {
        let files = Files::new();
        let shape = Shape { v4: 100, v6: 100, templates: 3 };
        drop(files.home(shape));
        let whole = files.tables.metadata().unwrap().len();
        files.tables.set_len(whole.saturating_sub(cut).max(1)).unwrap();
        prop_assert_eq!(files.old().map(|_| ()), Err(Refused::Size));
    }
}

#[test]
fn a_process_that_was_killed_while_it_made_its_files_left_none() {
    let shape = Shape { v4: 100, v6: 100, templates: 3 };
    let files = Files::new();
    let sizes = bytes(shape);
    let tables = Area::create(&files.tables, sizes.tables, true).unwrap();
    let more = Area::create(&files.more, sizes.more, false).unwrap();
    assert_eq!(files.old().map(|_| ()), Err(Refused::Magic));
    let home = Home::new(&tables, &more, shape, IDENTITY, SECRET).unwrap();
    assert_eq!(files.old().unwrap().positions(), 2);
    drop(home);
}
