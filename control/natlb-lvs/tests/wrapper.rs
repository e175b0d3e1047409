//! `natlb-lvs` as its users run it: what it runs, and what it does not.

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use std::fs::{self, Permissions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A folder as it is installed: the program in `bin`, the library in `lib/natlb`; and a socket, at which somebody may
/// listen.
struct Installed {
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// One test at a time: a program that has been written cannot be executed while another test's child, just forked, has
/// the file open.
static TURN: Mutex<()> = Mutex::new(());

impl Installed {
    fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let installed = Self { folder: tempfile::tempdir().unwrap(), _turn: turn };
        fs::create_dir(installed.path("bin")).unwrap();
        fs::create_dir_all(installed.path("lib/natlb")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_natlb-lvs"), installed.path("bin/natlb-lvs")).unwrap();
        fs::copy(library(), installed.path("lib/natlb/libnatlb_lvs.so")).unwrap();
        installed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn listen(&self) -> UnixListener {
        UnixListener::bind(self.path("ipvs.sock")).unwrap()
    }

    /// A socket whose queue is full, for as long as what is returned lives.
    fn listen_with_full_queue(&self) -> (PathBuf, Vec<OwnedFd>) {
        let path = self.path("full.sock");
        let address = UnixAddr::new(&path).unwrap();
        let open = |flags| socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        let mut all = vec![open(SockFlag::empty())];
        bind(all[0].as_raw_fd(), &address).unwrap();
        listen(&all[0], Backlog::new(0).unwrap()).unwrap();
        loop {
            let tool = open(SockFlag::SOCK_NONBLOCK);
            if connect(tool.as_raw_fd(), &address).is_err() {
                return (path, all);
            }
            all.push(tool);
        }
    }

    /// `natlb-lvs` with the socket and without waiting, as far as the arguments do not say more.
    fn command(&self) -> Command {
        let mut command = Command::new(self.path("bin/natlb-lvs"));
        command.env_remove("LD_PRELOAD").env_remove("NATLB_IPVS_LIBRARY");
        command.env("NATLB_IPVS_SOCKET", self.path("ipvs.sock")).env("NATLB_IPVS_WAIT", "0");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// A copy of a program of the system, changed, as an executable file; returns its path.
    fn changed_program(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut bytes = fs::read("/bin/true").unwrap();
        change(&mut bytes);
        self.executable(name, &bytes)
    }

    fn executable(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// The library that Cargo has built for these tests.
fn library() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("libnatlb_lvs.so")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn text(output: &Output) -> String {
    assert_eq!(errors(output), "");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// That it is not run for this reason, with this exit code, and is not run indeed.
#[track_caller]
fn refused(output: &Output, expected: i32, reason: &str) {
    let errors = errors(output);
    assert_eq!((code(output), errors.lines().count()), (Some(expected), 1), "{errors}");
    assert!(errors.starts_with("natlb-lvs: ") && errors.contains(reason), "{errors}");
    assert!(output.stdout.is_empty(), "it has been run");
}

#[test]
fn the_command_runs_with_the_library_in_its_place() {
    let installed = Installed::new();
    let _lbd = installed.listen();
    let script = r#"echo "$LD_PRELOAD $NATLB_IPVS_SOCKET $NATLB_IPVS_WAIT $0 $1 $$"; exit 5"#;
    let arguments = ["--wait", "7", "sh", "-c", script, "one", "--wait"];
    let process = installed.command().args(arguments).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let id = process.id();
    let output = process.wait_with_output().unwrap();
    let root = installed.folder.path().display();
    let expected = format!("{root}/lib/natlb/libnatlb_lvs.so {root}/ipvs.sock 7 one --wait {id}\n");
    assert_eq!((text(&output), code(&output)), (expected, Some(5)));
    let output = installed.run(&["grep", "-q", "natlb/libnatlb_lvs.so", "/proc/self/maps"]);
    assert_eq!((text(&output).as_str(), code(&output)), ("", Some(0)), "it is loaded");
}

#[test]
fn what_is_preloaded_already_stays() {
    let installed = Installed::new();
    let _lbd = installed.listen();
    let own = installed.path("lib/natlb/libnatlb_lvs.so").display().to_string();
    let other = library().display().to_string();
    let mut command = installed.command();
    let output = command.args(["sh", "-c", "echo $LD_PRELOAD"]).env("LD_PRELOAD", &other).output().unwrap();
    assert_eq!(text(&output), format!("{own}:{other}\n"));
}

#[test]
fn the_library_may_lie_beside_the_program_or_be_named() {
    let installed = Installed::new();
    let _lbd = installed.listen();
    let (there, beside) =
        (installed.path("lib/natlb/libnatlb_lvs.so"), installed.path("bin/libnatlb_lvs.so"));
    fs::rename(&there, &beside).unwrap();
    let print = ["sh", "-c", "echo $LD_PRELOAD"];
    assert_eq!(text(&installed.run(&print)), format!("{}\n", beside.display()));
    let named = installed.path("named.so");
    fs::rename(&beside, &named).unwrap();
    let output = installed.command().args(print).env("NATLB_IPVS_LIBRARY", &named).output().unwrap();
    assert_eq!(text(&output), format!("{}\n", named.display()));
}

#[test]
fn without_the_right_library_nothing_is_run() {
    let installed = Installed::new();
    let _lbd = installed.listen();
    let with = |library: &Path| {
        installed.command().args(["echo", "run"]).env("NATLB_IPVS_LIBRARY", library).output().unwrap()
    };
    refused(&with(&installed.path("none.so")), 2, "No such file");
    fs::write(installed.path("text.so"), "text").unwrap();
    refused(&with(&installed.path("text.so")), 2, "a damaged ELF file");
    let program = installed.changed_program("other", |_| {});
    refused(&with(Path::new(&program)), 2, "it is not natlb's");
    fs::copy(library(), installed.path("a b.so")).unwrap();
    refused(&with(&installed.path("a b.so")), 2, "a blank or a colon");
    if !Path::new("/usr/lib/natlb/libnatlb_lvs.so").exists() {
        fs::remove_file(installed.path("lib/natlb/libnatlb_lvs.so")).unwrap();
        refused(&installed.run(&["echo", "run"]), 2, "lib/natlb/libnatlb_lvs.so, /usr/lib/natlb/");
    }
}

#[test]
fn without_lbd_nothing_is_run() {
    let installed = Installed::new();
    refused(&installed.run(&["echo", "run"]), 3, "the socket is missing");
    drop(installed.listen());
    refused(&installed.run(&["echo", "run"]), 3, "nobody listens");
    let began = Instant::now();
    refused(&installed.run(&["--wait", "1", "echo", "run"]), 3, "nobody listens");
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[test]
fn lbd_is_waited_for() {
    let installed = Installed::new();
    thread::scope(|scope| {
        let tool = scope.spawn(|| installed.run(&["--wait", "60", "echo", "run"]));
        thread::sleep(Duration::from_millis(200));
        let lbd = installed.listen();
        assert_eq!(text(&tool.join().unwrap()), "run\n");
        drop(lbd);
    });
}

#[test]
fn a_busy_lbd_is_there() {
    let installed = Installed::new();
    let (socket, _queue) = installed.listen_with_full_queue();
    let output = installed.command().arg("--socket").arg(socket).args(["echo", "run"]).output().unwrap();
    assert_eq!(text(&output), "run\n");
}

/// The program header of this kind, in a 64-bit ELF file.
fn program_header(bytes: &[u8], kind: u32) -> usize {
    let u16_at = |at: usize| usize::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
    let first = usize::try_from(u64::from_ne_bytes(bytes[32..40].try_into().unwrap())).unwrap();
    (0..u16_at(56))
        .map(|index| first + index * u16_at(54))
        .find(|&at| bytes[at..at + 4] == kind.to_ne_bytes())
        .unwrap()
}

#[test]
fn programs_that_would_not_load_the_library_are_not_run() {
    const INTERPRETER: u32 = 3;
    let installed = Installed::new();
    let _lbd = installed.listen();
    let unchanged = installed.changed_program("unchanged", |_| {});
    assert_eq!(text(&installed.run(&[&unchanged])), "");
    let stationary = installed.changed_program("static", |bytes| {
        let at = program_header(bytes, INTERPRETER);
        bytes[at..at + 4].fill(0);
    });
    refused(&installed.run(&[&stationary]), 2, "a static program");
    let foreign = installed.changed_program("foreign", |bytes| bytes[18] ^= 0x40);
    refused(&installed.run(&[&foreign]), 2, "another processor");
    let musl = installed.changed_program("musl", |bytes| {
        let at = program_header(bytes, INTERPRETER) + 8;
        let path = usize::try_from(u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())).unwrap();
        bytes[path..path + 9].copy_from_slice(b"/lib/musl");
    });
    refused(&installed.run(&[&musl]), 2, "another C library (/lib/musl");
    let cut = installed.changed_program("cut", |bytes| bytes.truncate(100));
    refused(&installed.run(&[&cut]), 2, "a damaged ELF file");
}

#[test]
fn programs_with_other_rights_are_not_run() {
    let installed = Installed::new();
    let _lbd = installed.listen();
    let own = installed.changed_program("own", |_| {});
    fs::set_permissions(&own, Permissions::from_mode(0o4755)).unwrap();
    assert_eq!(text(&installed.run(&[&own])), "", "its owner runs it");
    if nix::unistd::geteuid().is_root() {
        let other = installed.changed_program("other", |_| {});
        chown(&other, Some(65534), None).unwrap();
        fs::set_permissions(&other, Permissions::from_mode(0o4755)).unwrap();
        refused(&installed.run(&[&other]), 2, "setuid");
        chown(&other, Some(0), Some(65534)).unwrap();
        fs::set_permissions(&other, Permissions::from_mode(0o2755)).unwrap();
        refused(&installed.run(&[&other]), 2, "setgid");
    }
}

#[test]
fn programs_that_clear_the_environment_are_not_run() {
    let installed = Installed::new();
    let _lbd = installed.listen();
    for name in ["sudo", "doas", "pkexec", "systemd-run"] {
        let program = installed.changed_program(name, |_| {});
        refused(&installed.run(&[&program, "ipvsadm"]), 2, &format!("\"{name} natlb-lvs COMMAND\""));
    }
}

#[test]
fn scripts_are_as_their_interpreters() {
    let installed = Installed::new();
    let _lbd = installed.listen();
    let shell = installed.executable("shell", b"#!/bin/sh\necho run\n");
    assert_eq!(text(&installed.run(&[&shell])), "run\n");
    let by_env = installed.executable("by_env", b"#! /usr/bin/env -S A=b sh\necho $A\n");
    assert_eq!(text(&installed.run(&[&by_env])), "b\n");
    let above = installed.executable("above", format!("#!{shell}\n").as_bytes());
    assert_eq!(text(&installed.run(&[&above])), "run\n", "an interpreter that is a script");

    let stationary = installed.changed_program("static", |bytes| {
        let at = program_header(bytes, 3);
        bytes[at..at + 4].fill(0);
    });
    for (line, code, reason) in [
        (format!("#!{stationary} -x\n"), 2, "a static program"),
        (format!("#!/usr/bin/env {stationary}\n"), 2, "a static program"),
        (format!("#!{}\n", installed.path("loop").display()), 2, "interpreters of interpreters"),
        ("#!\n".into(), 2, "names no interpreter"),
        ("#!/no/such/interpreter\n".into(), 127, "not found"),
        ("echo run\n".into(), 126, "Exec format error"),
    ] {
        let script = installed.executable("loop", line.as_bytes());
        refused(&installed.run(&[&script]), code, reason);
    }
}

#[test]
fn the_command_is_found_as_a_shell_finds_it() {
    let installed = Installed::new();
    let _lbd = installed.listen();
    refused(&installed.run(&["natlb-no-such-command"]), 127, "natlb-no-such-command: command not found");
    refused(&installed.run(&["./natlb-no-such-command"]), 127, "command not found");
    fs::write(installed.path("data"), "text").unwrap();
    refused(&installed.run(&[installed.path("data").to_str().unwrap()]), 126, "Permission denied");
    refused(&installed.run(&["/"]), 126, "");
    // The first in the path that can be executed, by the name it was called.
    fs::create_dir(installed.path("other")).unwrap();
    installed.executable("other/tool", b"#!/bin/sh\necho \"$0\"\n");
    fs::write(installed.path("bin/tool"), "#!/bin/sh\n").unwrap();
    symlink(installed.path("other/tool"), installed.path("other/link")).unwrap();
    let folders = format!("{}:{}", installed.path("bin").display(), installed.path("other").display());
    let mut command = installed.command();
    let output = command.args(["link"]).env("PATH", &folders).output().unwrap();
    assert_eq!(text(&output), format!("{}\n", installed.path("other/link").display()));
    let output = installed.command().arg("tool").env("PATH", &folders).output().unwrap();
    assert_eq!(text(&output), format!("{}\n", installed.path("other/tool").display()));
}

#[test]
fn usage_errors_are_2() {
    let installed = Installed::new();
    for arguments in [&[][..], &["--wait", "61", "echo"], &["--unknown", "echo"]] {
        let output = installed.run(arguments);
        assert_eq!((code(&output), output.stdout.len()), (Some(2), 0), "{arguments:?}");
    }
    let output = installed.command().env("NATLB_IPVS_WAIT", "soon").args(["echo", "run"]).output().unwrap();
    assert_eq!((code(&output), output.stdout.len()), (Some(2), 0));
    let help = text(&installed.run(&["--help"]));
    for word in
        ["COMMAND", "--socket", "--wait", "NATLB_IPVS_SOCKET", "NATLB_IPVS_WAIT", "Exit codes: 2 ", "sudo"]
    {
        assert!(help.contains(word), "{word}: {help}");
    }
    assert!(text(&installed.run(&["--version"])).starts_with("natlb-lvs 0."));
}
