//! The two processes and how they wait for each other.

use crate::lbd::{Lbd, PATIENCE, wait_for};
use std::any::type_name_of_val;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The variable that says to the tool's process that it is that, and where the test is waiting.
const STEPS: &str = "NATLB_TEST_STEPS";

/// Runs both parts of a test: `lbd` here, and `tool` in a process with the library. Returns what the tool's process
/// wrote to stderr.
///
/// In the tool's process this runs `tool`, and does not return.
pub(crate) fn scenario<T>(lbd: impl FnOnce(&mut Lbd, &mut Steps), tool: T) -> String
where
    T: FnOnce(&mut Steps),
{
    scenario_with(&[("NATLB_IPVS_WAIT", "0")], lbd, tool)
}

/// The scenario with these variables in the tool's environment.
pub(crate) fn scenario_with<T>(
    variables: &[(&str, &str)],
    lbd: impl FnOnce(&mut Lbd, &mut Steps),
    tool: T,
) -> String
where
    T: FnOnce(&mut Steps),
{
    if let Some(path) = std::env::var_os(STEPS) {
        tool(&mut Steps { stream: UnixStream::connect(path).unwrap() });
        std::process::exit(0);
    }
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("ipvs.sock");
    let meeting = folder.path().join("steps");
    let listener = UnixListener::bind(&meeting).unwrap();
    let mut process = Tool::start(&test_name(&tool), variables, &socket, &meeting);
    wait_for(&listener);
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut steps = Steps { stream };
    lbd(&mut Lbd::at(&socket), &mut steps);
    steps.wait_for_end();
    process.finish()
}

/// The library that Cargo has built for these tests.
pub(crate) fn library() -> PathBuf {
    let path = std::env::current_exe().unwrap().with_file_name("libnatlb_lvs.so");
    assert!(path.exists(), "{}", path.display());
    path
}

/// A test's name, by that of its closure: `preload::room::test::{{closure}}`.
fn test_name<T>(tool: &T) -> String {
    let name = type_name_of_val(tool);
    let name = name.strip_suffix("::{{closure}}").unwrap();
    name.split_once("::").unwrap().1.to_owned()
}

/// The other process.
struct Tool {
    process: Child,
}

impl Tool {
    fn start(test: &str, variables: &[(&str, &str)], socket: &Path, meeting: &Path) -> Self {
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env("LD_PRELOAD", library())
            .env("NATLB_IPVS_SOCKET", socket)
            .envs(variables.iter().copied())
            .env(STEPS, meeting)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { process }
    }

    fn finish(&mut self) -> String {
        let mut texts = [String::new(), String::new()];
        self.process.stdout.take().unwrap().read_to_string(&mut texts[0]).unwrap();
        self.process.stderr.take().unwrap().read_to_string(&mut texts[1]).unwrap();
        let status = self.process.wait().unwrap();
        assert!(status.success(), "the tool: {status}\n{}\n{}", texts[0], texts[1]);
        let [_, errors] = texts;
        errors
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let mut text = String::new();
            if let Some(mut errors) = self.process.stderr.take() {
                let _ = errors.read_to_string(&mut text);
            }
            eprintln!("the tool said: {text}");
        }
    }
}

/// Points at which the two parts meet.
pub(crate) struct Steps {
    stream: UnixStream,
}

impl Steps {
    /// Says that this part has come here, so that the other's `wait` returns.
    pub(crate) fn reached(&mut self) {
        self.stream.write_all(&[1]).unwrap();
    }

    /// Waits until the other part has reached its next point.
    pub(crate) fn wait(&mut self) {
        self.stream.read_exact(&mut [0]).unwrap();
    }

    /// Waits until the tool's process has ended, or stopped talking.
    fn wait_for_end(&mut self) {
        let mut rest = Vec::new();
        let found = self.stream.read_to_end(&mut rest);
        assert!(matches!(found, Ok(0)), "the tool went on alone: {found:?}");
    }
}
