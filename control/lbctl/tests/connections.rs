//! A long answer is printed as it comes, and held by nobody.
#![allow(missing_docs, reason = "a test")]

mod fake_lbd;

use fake_lbd::{PATIENCE, accept};
use lbctl::{Surroundings, run};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const HEAD: &str = r#"{"v":1,"ok":{"connections":["#;
const TAIL: &str = "]}}\n";
const ROW: &str = r#"{"protocol":"TCP","state":"ESTABLISHED","expires_s":899,"client":"192.168.10.6:48066","virtual":"192.168.10.100:80","real":"10.0.0.7:80","worker":0}"#;
const LINE: &str = "TCP 14:59  ESTABLISHED 192.168.10.6:48066 192.168.10.100:80  10.0.0.7:80\n";
const TITLE: &str = "pro expire state       source             virtual            destination\n";

/// An `lbctl connections` at work: its other ends of socket and stdout, and its end with what it said.
struct AtWork {
    lbd: UnixStream,
    stdout: BufReader<UnixStream>,
    ends: JoinHandle<(u8, String)>,
}

impl AtWork {
    /// It has asked, and waits for its answer.
    fn begin(output: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("lbd.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (stdout, mut theirs) = UnixStream::pair().unwrap();
        let socket = socket.to_str().unwrap();
        let words = ["lbctl", "--output", output, "--timeout", PATIENCE, "connections", "--socket", socket];
        let words = words.map(OsString::from);
        let ends = thread::spawn(move || {
            let mut stderr = Vec::new();
            let surroundings = Surroundings {
                socket: None,
                version: "0.1.0",
                dpdk: "22.11.11",
                stdin: &mut std::io::empty(),
                stdout: &mut theirs,
                stderr: &mut stderr,
            };
            (run(words, surroundings), String::from_utf8(stderr).unwrap())
        });
        let lbd = accept(&listener);
        BufReader::new(&lbd).read_line(&mut String::new()).unwrap();
        // A test that fails must not hang.
        let patience = Some(Duration::from_secs(PATIENCE.parse().unwrap()));
        stdout.set_read_timeout(patience).unwrap();
        lbd.set_write_timeout(patience).unwrap();
        Self { lbd, stdout: BufReader::new(stdout), ends }
    }

    fn say(&mut self, text: &str) {
        self.lbd.write_all(text.as_bytes()).unwrap();
    }

    fn printed(&mut self, length: usize) -> String {
        let mut text = vec![0; length];
        self.stdout.read_exact(&mut text).expect("it is printed");
        String::from_utf8(text).unwrap()
    }

    /// All that it prints until its end.
    fn rest(mut self) -> (u8, String, String) {
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).unwrap();
        let (code, stderr) = self.ends.join().unwrap();
        (code, text, stderr)
    }
}

#[test]
fn rows_are_printed_before_the_next_ones_have_come() {
    let mut text = AtWork::begin("text");
    text.say(HEAD);
    assert_eq!(text.printed(TITLE.len()), TITLE);
    text.say(ROW);
    for _ in 0..3 {
        assert_eq!(text.printed(LINE.len()), LINE);
        // Half of the next one, and later its rest.
        text.say(&format!(",{}", &ROW[..70]));
        text.say(&ROW[70..]);
    }
    text.say(TAIL);
    assert_eq!(text.rest(), (0, LINE.into(), String::new()));

    let mut json = AtWork::begin("json");
    json.say(&format!("{HEAD}{ROW}"));
    let expected = format!("{{\"connections\":[{ROW}");
    assert_eq!(json.printed(expected.len()), expected);
    json.say(&format!(",{ROW}{TAIL}"));
    assert_eq!(json.rest(), (0, format!(",{ROW}]}}\n"), String::new()));
}

/// `lbctl connections | head`.
#[test]
fn it_ends_when_nobody_reads_any_more() {
    for output in ["text", "json"] {
        let mut at_work = AtWork::begin(output);
        at_work.say(&format!("{HEAD}{ROW}"));
        at_work.printed(50);
        at_work.stdout.get_mut().shutdown(Shutdown::Both).unwrap();
        let rows = format!(",{ROW}").repeat(1000);
        // It goes, and lbd sees that.
        while at_work.lbd.write_all(rows.as_bytes()).is_ok() {}
        assert_eq!(at_work.ends.join().unwrap(), (0, String::new()), "{output}");
    }
}

#[test]
fn an_answer_that_ends_early_is_an_error_after_what_came() {
    for (output, printed) in
        [("text", format!("{TITLE}{LINE}")), ("json", format!("{{\"connections\":[{ROW}"))]
    {
        let mut at_work = AtWork::begin(output);
        at_work.say(&format!("{HEAD}{ROW}"));
        assert_eq!(at_work.printed(printed.len()), printed);
        at_work.lbd.shutdown(Shutdown::Both).unwrap();
        let (code, rest, stderr) = at_work.rest();
        assert_eq!((code, &*rest), (3, ""), "no other document follows");
        assert!(stderr.ends_with(": the connection was closed in the middle of the answer\n"), "{stderr}");
    }
}

#[test]
fn what_is_unknown_or_in_another_order_is_no_obstacle() {
    let mut text = AtWork::begin("text");
    text.say("{\"new\":[{}],\"ok\":{\"of\":{\"a\":1},\"connections\":[],\"more\":[1]},\"v\":1}\n");
    assert_eq!(text.rest(), (0, TITLE.into(), String::new()));
    for answer in [
        "{\"v\":1,\"ok\":{}}\n",
        "{\"ok\":{\"connections\":[]}}\n",
        "{\"v\":1,\"ok\":{\"connections\":[]}} \n",
    ] {
        let mut text = AtWork::begin("text");
        text.say(answer);
        let (code, _, stderr) = text.rest();
        assert!(code == 3 && stderr.contains("not the answer of an lbd"), "{answer}: {stderr}");
    }
}

/// What had come of a document that is none is not printed, where that was nothing yet.
#[test]
fn an_error_is_a_document_of_its_own() {
    let mut json = AtWork::begin("json");
    json.say(&format!("{HEAD}{ROW},garbage\n"));
    let (code, printed, stderr) = json.rest();
    assert!(code == 3 && stderr.contains("not the answer of an lbd"), "{stderr}");
    let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed["code"], "unreachable");
}

/// The most memory that this process has had, in KiB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Of 150,000 rows, which are 22 MB.
#[test]
fn memory_does_not_grow_with_the_answer() {
    let before = peak();
    for output in ["text", "json"] {
        let mut at_work = AtWork::begin(output);
        let rows = format!("{ROW},").repeat(1000);
        let mut lbd = at_work.lbd.try_clone().unwrap();
        let says = thread::spawn(move || {
            lbd.write_all(HEAD.as_bytes()).unwrap();
            for _ in 0..150 {
                lbd.write_all(rows.as_bytes()).unwrap();
            }
            lbd.write_all(format!("{ROW}{TAIL}").as_bytes()).unwrap();
        });
        let length = std::io::copy(&mut at_work.stdout, &mut std::io::sink()).unwrap();
        let expected = match output {
            "text" => TITLE.len() + 150_001 * LINE.len(),
            _ => HEAD.len() + 150_001 * (ROW.len() + 1) - 1 + TAIL.len() - "{\"v\":1,\"ok\":}".len(),
        };
        assert_eq!(length, expected as u64);
        says.join().unwrap();
        assert_eq!(at_work.ends.join().unwrap(), (0, String::new()));
    }
    let grown = peak() - before;
    assert!(grown < 16 << 10, "{grown} KiB more than before");
}
