//! Runs `lbctl` against a socket whose other end is in the test's hands.
#![allow(dead_code, reason = "each test file uses a part of it")]

use lbctl::{Surroundings, run};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Seconds within which an `lbd` of the tests answers, and is called: the machine may be so busy that a thread does not
/// run for some.
pub(crate) const PATIENCE: &str = "300";

/// What a run of `lbctl` gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: u8,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `lbctl` with these words, `--socket` before them and, unless they have one, a long `--timeout`.
pub(crate) fn lbctl(socket: &Path, words: &[&str], stdin: &[u8]) -> Ran {
    let mut arguments = vec!["lbctl", "--socket", socket.to_str().unwrap()];
    if !words.iter().any(|word| word.starts_with("--timeout")) {
        arguments.extend(["--timeout", PATIENCE]);
    }
    arguments.extend(words);
    lbctl_with(&arguments, None, stdin)
}

/// Runs `lbctl` with exactly these arguments and `$LBCTL_SOCKET`.
pub(crate) fn lbctl_with(arguments: &[&str], environment: Option<&Path>, mut stdin: &[u8]) -> Ran {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let surroundings = Surroundings {
        socket: environment.map(|path| path.as_os_str().to_owned()),
        version: "0.1.0 (1234abcde)",
        dpdk: "22.11.11",
        stdin: &mut stdin,
        stdout: &mut stdout,
        stderr: &mut stderr,
    };
    let code = run(arguments.iter().map(OsString::from), surroundings);
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Ran { code, stdout, stderr }
}

/// A listener that gives each caller the next answer and keeps what was asked.
pub(crate) struct FakeLbd {
    _folder: TempDir,
    pub(crate) socket: PathBuf,
    asked: JoinHandle<Vec<serde_json::Value>>,
}

impl FakeLbd {
    /// Serves as many callers as there are answers.
    pub(crate) fn answering(answers: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("lbd.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let answers: Vec<String> = answers.iter().map(|answer| format!("{answer}\n")).collect();
        let asked = std::thread::spawn(move || {
            let serve = |answer: &String| {
                let mut stream = accept(&listener);
                let mut request = String::new();
                BufReader::new(&stream).read_line(&mut request).unwrap();
                // A caller that has gone is the test's own business.
                let _ = stream.write_all(answer.as_bytes());
                serde_json::from_str(&request).unwrap()
            };
            answers.iter().map(serve).collect()
        });
        Self { _folder: folder, socket, asked }
    }

    /// The requests, once all answers are given.
    pub(crate) fn asked(self) -> Vec<serde_json::Value> {
        self.asked.join().unwrap()
    }
}

/// The next caller; a test whose `lbctl` never calls must fail, not hang.
pub(crate) fn accept(listener: &UnixListener) -> UnixStream {
    listener.set_nonblocking(true).unwrap();
    let (start, patience) = (Instant::now(), Duration::from_secs(PATIENCE.parse().unwrap()));
    while start.elapsed() < patience {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).unwrap();
            return stream;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("nobody called");
}

/// Runs `lbctl` once against one answer; gives the request too.
pub(crate) fn against(answer: &str, words: &[&str], stdin: &[u8]) -> (Ran, serde_json::Value) {
    let lbd = FakeLbd::answering(&[answer]);
    let ran = lbctl(&lbd.socket, words, stdin);
    assert_ne!((ran.code, &*ran.stdout), (2, ""), "{words:?}: {}", ran.stderr);
    (ran, lbd.asked().remove(0))
}
