use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use tempfile::TempDir;

fn change(number: u64, undo: &[&str]) -> New {
    New {
        version: number + 10,
        origin: Origin { uid: Some(0), user: Some("root".into()), ..Origin::default() },
        command: format!("command {number}"),
        fingerprints: (number, number + 1),
        undo: undo.iter().map(ToString::to_string).collect(),
        confirm: None,
    }
}

/// A history in a folder of its own, with so many changes, each of which leads from its number to the next.
fn made(changes: u64) -> (TempDir, PathBuf, History) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.history");
    let mut history = History::open(path.clone());
    for number in 1..=changes {
        assert_eq!(history.note(change(number, &[&format!("undo {number}")])).unwrap(), number);
    }
    (folder, path, history)
}

fn numbers(history: &History) -> Vec<u64> {
    history.entries().map(|entry| entry.number).collect()
}

#[test]
fn what_is_noted_is_there_in_the_next_process() {
    let (_folder, path, history) = made(3);
    let again = History::open(path.clone());
    assert!(again.entries().eq(history.entries()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut again = again;
    assert_eq!(again.note(change(4, &[])).unwrap(), 4);
    assert_eq!(numbers(&History::open(path)), [1, 2, 3, 4]);
}

#[test]
fn the_way_back_leads_over_all_changes_in_between() {
    let (_folder, _path, mut history) = made(4);
    assert_eq!(history.way_back(5, None), Ok((3, vec!["undo 4"])));
    assert_eq!(history.way_back(5, Some(4)), Ok((4, vec![])));
    assert_eq!(history.way_back(5, Some(1)), Ok((1, vec!["undo 4", "undo 3", "undo 2"])));
    assert_eq!(history.way_back(5, Some(0)).unwrap().1.len(), 4);
    assert_eq!(history.way_back(5, Some(5)), Err(NoWay::Unknown(5)));
    assert!(matches!(history.way_back(6, None), Err(NoWay::Blocked(4, _))), "something else was changed");
    // What somebody did while no lbd ran leads nowhere, but what came after it is taken back.
    history.begin(99, 1, "start".into());
    assert!(matches!(history.way_back(99, None), Err(NoWay::Blocked(5, _))));
    let after = New { fingerprints: (99, 100), ..change(6, &["undo 6"]) };
    assert_eq!(history.note(after).unwrap(), 6);
    assert_eq!(history.way_back(100, None), Ok((5, vec!["undo 6"])));
    assert!(matches!(history.way_back(100, Some(2)), Err(NoWay::Blocked(5, _))));
    assert_eq!(History::in_memory().way_back(1, None), Err(NoWay::Empty));
}

#[test]
fn a_start_with_what_was_left_is_no_change() {
    let (_folder, path, _history) = made(2);
    let mut again = History::open(path);
    again.begin(3, 1, "start".into());
    assert_eq!(numbers(&again), [1, 2]);
    let mut first = History::in_memory();
    first.begin(3, 1, "start".into());
    assert_eq!(numbers(&first), [1], "there is something to go back to");
    first.note(New { fingerprints: (3, 4), ..change(2, &["undo"]) }).unwrap();
    assert_eq!(first.way_back(4, Some(1)), Ok((1, vec!["undo"])));
    assert!(first.way_back(4, Some(0)).is_err());
}

#[test]
fn it_is_bounded_in_changes_and_in_bytes() {
    let (_folder, path, mut history) = made(MOST as u64 * 3);
    assert_eq!(numbers(&history), Vec::from_iter(MOST as u64 * 2 + 1..=MOST as u64 * 3));
    let large = "x".repeat(MOST_BYTES / 4);
    for number in 601..=608 {
        history.note(change(number, &[&large])).unwrap();
        let length = fs::metadata(&path).unwrap().len();
        assert!(length <= LARGEST, "{length} bytes: it would not be read again");
    }
    assert!(history.bytes <= MOST_BYTES);
    assert_eq!(numbers(&history).last(), Some(&608));
    assert!(numbers(&history).len() <= 4);
    assert!(History::open(path).entries().eq(history.entries()));
    // What is too large to be kept is noted, but leads nowhere.
    history.note(change(609, &[&"x".repeat(MOST_OF_ONE)])).unwrap();
    assert!(matches!(history.way_back(610, None), Err(NoWay::Blocked(609, _))));
    let confirmed = New { confirm: Some(5), ..change(610, &[&"x".repeat(MOST_OF_ONE)]) };
    assert!(history.note(confirmed).is_err(), "it could not be taken back");
    let command = "y".repeat(5000);
    history.note(New { command, ..change(610, &[]) }).unwrap();
    assert!(history.entries().next_back().unwrap().command.len() < 500);
}

#[test]
fn a_damaged_file_costs_what_is_damaged() {
    let (_folder, path, history) = made(5);
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let damaged =
        [lines[0], "{\"change\":", lines[2], "\u{0}\u{1}", &lines[4][..lines[4].len() / 2]].join("\n");
    fs::write(&path, &damaged).unwrap();
    let mut again = History::open(path.clone());
    assert_eq!(numbers(&again), [1, 3]);
    assert!(
        matches!(again.way_back(4, Some(1)), Ok((1, _))),
        "2 is not there, and 3 leads to what was before it"
    );
    assert!(matches!(again.way_back(4, Some(0)), Err(NoWay::Blocked(1, _))));
    // What follows does not stand on the line that was cut off.
    again.note(change(4, &[])).unwrap();
    assert_eq!(numbers(&History::open(path.clone())), [1, 3, 4]);
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let mut history = History::open(path.clone());
        let before = numbers(&history);
        let number = history.note(change(50, &[])).unwrap();
        assert_eq!(numbers(&History::open(path.clone())), [before, vec![number]].concat(), "{cut}");
    }
    fs::write(&path, [0xff, 0xfe, b'\n']).unwrap();
    assert_eq!(History::open(path).entries().len(), 0);
    assert_eq!(history.entries().len(), 5);
}

#[test]
fn what_is_no_file_of_ours_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("other");
    fs::write(&target, "precious").unwrap();
    let path = folder.path().join("state.history");
    std::os::unix::fs::symlink(&target, &path).unwrap();
    let mut history = History::open(path.clone());
    history.note(change(1, &["undo"])).unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    assert!(!history.outlives_the_process());
    assert_eq!(history.way_back(2, None), Ok((0, vec!["undo"])), "in memory it is there");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let mut history = History::open(path);
    assert_eq!(history.note(change(1, &["undo"])).unwrap(), 1);
    let missing = folder.path().join("nowhere/state.history");
    let mut history = History::open(missing);
    assert_eq!(history.note(change(1, &["undo"])).unwrap(), 1, "a change does not fail for it");
    assert_eq!(history.way_back(2, None), Ok((0, vec!["undo"])));
    let confirmed = New { confirm: Some(5), ..change(2, &[]) };
    assert!(history.note(confirmed).is_err(), "but one that the next process has to know of does");
    assert_eq!(numbers(&history), [1]);
}

#[test]
fn a_change_waits_until_it_is_confirmed() {
    let (_folder, path, mut history) = made(1);
    assert_eq!(history.pending(), None);
    let before = now_ms();
    history.note(New { confirm: Some(60), ..change(2, &["undo"]) }).unwrap();
    let (number, deadline) = history.pending().unwrap();
    assert_eq!((number, deadline.seconds), (2, 60));
    assert!((before + 60_000..=now_ms() + 60_000).contains(&deadline.until_ms));
    // The next process goes on waiting, and knows when it is confirmed.
    let mut again = History::open(path.clone());
    assert_eq!(again.pending(), history.pending());
    assert_eq!(again.confirm().unwrap(), Some(2));
    assert_eq!((again.pending(), again.confirm().unwrap()), (None, None));
    let confirmed = History::open(path.clone());
    assert_eq!(confirmed.pending(), None);
    // It stays so when the file is written anew, and a later change ends the wait.
    again.length = None;
    again.note(New { confirm: Some(60), ..change(3, &[]) }).unwrap();
    assert_eq!(History::open(path.clone()).pending().unwrap().0, 3);
    again.note(change(4, &[])).unwrap();
    assert_eq!(History::open(path).pending(), None);
}

#[test]
fn a_change_that_was_not_made_is_not_noted() {
    let (_folder, path, mut history) = made(2);
    history.take_back_last();
    assert_eq!(numbers(&History::open(path.clone())), [1]);
    assert_eq!(history.note(change(2, &[])).unwrap(), 2);
    let inode = fs::metadata(&path).unwrap().ino();
    assert_eq!(numbers(&History::open(path.clone())), [1, 2]);
    history.note(change(3, &[])).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "one more is appended");
}

#[test]
fn a_number_beyond_all_that_can_be_counted_is_damage() {
    let (_folder, path, history) = made(2);
    drop(history);
    let text = fs::read_to_string(&path).unwrap();
    let last = text.lines().last().unwrap();
    let beyond = last.replace("\"number\":2", &format!("\"number\":{}", u64::MAX));
    fs::write(&path, format!("{text}{beyond}\n")).unwrap();
    let mut again = History::open(path.clone());
    assert_eq!(numbers(&again), [1, 2]);
    assert_eq!(again.note(change(3, &[])).unwrap(), 3);
    assert_eq!(numbers(&History::open(path)), [1, 2, 3]);
}
