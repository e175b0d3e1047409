//! `--watch` where stdout is no terminal, against an `lbd` that comes and goes.

mod fake_lbd;

use fake_lbd::{FakeLbd, Ran, lbctl};
use serde_json::Value;

const NOTHING: &str = r#"{"v":1,"ok":{"services":[]}}"#;
const TITLE: &str = "Prot LocalAddress:Port Scheduler Flags";

fn status(uptime: u64) -> String {
    format!(r#"{{"v":1,"ok":{{"version":"0.1.0","uptime_s":{uptime},"config_version":3,"more":[]}}}}"#)
}

/// Blocks of text, each below its line with a time.
fn blocks(ran: &Ran) -> Vec<(&str, &str)> {
    let blocks: Vec<_> = ran.stdout.split("\n\n").filter(|block| !block.is_empty()).collect();
    let split = blocks.iter().map(|block| block.split_once('\n').unwrap_or((block, "")));
    split
        .inspect(|(time, _)| assert!(time.starts_with("20") && time[..20].ends_with('Z'), "{time}"))
        .map(|(time, rest)| (&time[20..], rest))
        .collect()
}

#[test]
fn each_period_asks_anew_and_is_a_block() {
    let (young, old) = (status(5), status(7));
    let lbd = FakeLbd::answering(&[&young, NOTHING, &old, NOTHING]);
    let ran = lbctl(&lbd.socket, &["list", "--watch", "0.1", "--count", "2"], b"");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    let blocks = blocks(&ran);
    assert_eq!(blocks.len(), 2, "{ran:?}");
    assert!(blocks.iter().all(|(note, text)| note.is_empty() && text.starts_with(TITLE)), "{ran:?}");
    let asked: Vec<_> = lbd.asked().iter().map(|request| request["command"].clone()).collect();
    assert_eq!(asked, ["status", "list", "status", "list"]);
}

#[test]
fn another_lbd_is_noticed() {
    let (old, young) = (status(7), status(0));
    let lbd = FakeLbd::answering(&[&old, NOTHING, &young, NOTHING, &old, NOTHING]);
    let ran = lbctl(&lbd.socket, &["list", "--watch", "0.1", "--count", "3"], b"");
    let notes: Vec<_> = blocks(&ran).iter().map(|(note, _)| (*note).to_owned()).collect();
    assert_eq!(notes, ["", " another lbd than before", ""]);
}

#[test]
fn an_lbd_that_goes_away_is_waited_for() {
    let status = status(5);
    let lbd = FakeLbd::answering(&[&status, NOTHING]);
    let ran = lbctl(&lbd.socket, &["list", "--watch=0.1", "--count=3", "--timeout=1"], b"");
    assert_eq!(ran.code, 3, "of the last period: {ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().filter(|line| line.contains("cannot reach lbd")).collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.ends_with("; trying again")), "{ran:?}");
    assert!(
        ran.stderr.starts_with("lbctl: cannot reach lbd at ") && ran.stderr.lines().count() == 1,
        "{ran:?}"
    );
}

#[test]
fn as_json_each_period_is_an_object() {
    let refused = r#"{"v":1,"error":{"code":"no_such_service","message":"no such service"}}"#;
    let lbd = FakeLbd::answering(&[NOTHING, refused, NOTHING]);
    let ran = lbctl(&lbd.socket, &["--output", "json", "stats", "--watch", "0.1", "--count", "3"], b"");
    assert_eq!(ran.code, 0, "{ran:?}");
    let objects: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(objects.iter().all(|object| object["time"].as_str().unwrap().len() == 24), "{ran:?}");
    assert!(objects[0]["services"].is_array() && objects[2]["services"].is_array(), "{ran:?}");
    assert_eq!(objects[1]["code"], "no_such_service");
    let asked: Vec<_> = lbd.asked().iter().map(|request| request["command"].clone()).collect();
    assert_eq!(asked, ["stats"; 3], "JSON needs no other command");
}

#[test]
fn a_first_question_that_is_not_answered_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let ran = lbctl(&folder.path().join("none.sock"), &["rate", "--watch"], b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{ran:?}");
    let refused = r#"{"v":1,"error":{"code":"no_such_service","message":"no such service"}}"#;
    let status = status(5);
    let lbd = FakeLbd::answering(&[&status, refused]);
    let ran = lbctl(&lbd.socket, &["rate", "-t", "192.168.10.100:80", "--watch"], b"");
    assert_eq!((ran.code, ran.stderr.as_str()), (1, "lbctl: no such service\n"), "{ran:?}");
}

#[test]
fn only_what_can_be_watched_is() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    for words in [
        &["list", "--count", "2"][..],
        &["list", "--watch", "0"],
        &["list", "--watch", "3601"],
        &["list", "--watch", "NaN"],
        &["list", "--watch", "2", "--count", "0"],
        &["clear", "--watch"],
        &["save", "--watch"],
    ] {
        let ran = lbctl(&socket, words, b"");
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{words:?}: {ran:?}");
    }
}
