//! Each filter is tried in a process of its own, which is this test program with one of its tests: the filter holds
//! until the process ends.

use super::*;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output};
use std::sync::{Arc, Barrier};
use std::{env, fs, thread};

/// Says to a test that it runs in a process of its own.
const ALONE: &str = "NATLB_CONFINEMENT_TEST";
/// Threads that have started before all are confined.
const STARTED: usize = 3;

/// Runs the test of this name alone, in a process of its own.
fn alone(test: &str) -> Output {
    let name = format!("confinement::tests::{test}");
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", &name, "--nocapture", "--test-threads=1"]).env(ALONE, test);
    command.output().unwrap()
}

/// What `attempt` returns in a thread that had started before all were confined; `None`: this is not that process.
fn confined<T: Send + 'static>(
    test: &str,
    seccomp: Seccomp,
    attempt: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    env::var_os(ALONE).filter(|name| name == test)?;
    let (begun, go, over) = (
        Arc::new(Barrier::new(STARTED + 1)),
        Arc::new(Barrier::new(STARTED + 1)),
        Arc::new(Barrier::new(STARTED + 1)),
    );
    let mut attempt = Some(attempt);
    let mut threads: Vec<_> = (0..STARTED)
        .map(|_| {
            let barriers = [&begun, &go].map(Arc::clone);
            let over = Arc::clone(&over);
            let attempt = attempt.take();
            thread::spawn(move || {
                for barrier in barriers {
                    barrier.wait();
                }
                let result = attempt.map(|attempt| attempt());
                over.wait();
                result
            })
        })
        .collect();
    begun.wait();
    apply(seccomp, Drivers::default()).unwrap();
    go.wait();
    over.wait();
    threads.swap_remove(0).join().unwrap()
}

/// The process that this test starts was killed by the kernel for a system call.
fn is_killed(test: &str) {
    if env::var_os(ALONE).is_some() {
        return;
    }
    let ended = alone(test);
    assert_eq!(ended.status.signal(), Some(libc::SIGSYS), "{ended:?}");
}

fn succeeds(test: &str) {
    if env::var_os(ALONE).is_some() {
        return;
    }
    let ended = alone(test);
    assert!(ended.status.success(), "{ended:?}");
}

#[test]
fn a_thread_that_starts_another_program_is_killed_with_all() {
    let test = "a_thread_that_starts_another_program_is_killed_with_all";
    confined(test, Seccomp::On, || Command::new("/bin/true").exec());
    is_killed(test);
}

#[test]
fn a_change_of_the_user_kills() {
    let test = "a_change_of_the_user_kills";
    confined(test, Seccomp::On, || nix::unistd::setuid(nix::unistd::getuid()));
    is_killed(test);
}

#[test]
fn another_process_is_not_to_be_had_and_work_goes_on() {
    let test = "another_process_is_not_to_be_had_and_work_goes_on";
    let attempts = || {
        let child = Command::new("/bin/true").spawn().map(drop).map_err(|error| error.raw_os_error());
        assert_eq!(child, Err(Some(libc::ENOSYS)));
        let signal = rustix::process::test_kill_process(rustix::process::getpid());
        assert_eq!(signal, Err(rustix::io::Errno::NOSYS), "what is on no list");
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "text").unwrap();
        fs::rename(folder.path().join("file"), folder.path().join("other")).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("other")).unwrap(), "text");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.accept().unwrap();
        assert_eq!(thread::spawn(|| vec![7u8; 1 << 24].len()).join().unwrap(), 1 << 24, "later threads");
        statuses()
    };
    if let Some(statuses) = confined(test, Seccomp::On, attempts) {
        assert!(statuses.len() > STARTED, "{statuses:?}");
        for status in statuses {
            let status = status.unwrap();
            assert!(status.contains("\nSeccomp:\t2\n") && status.contains("\nNoNewPrivs:\t1\n"), "{status}");
        }
    }
    succeeds(test);
}

#[test]
fn what_is_only_noted_is_carried_out() {
    let test = "what_is_only_noted_is_carried_out";
    let attempt = || Command::new("/bin/true").status().unwrap();
    if let Some(status) = confined(test, Seccomp::Log, attempt) {
        assert!(status.success());
    }
    succeeds(test);
}

#[test]
fn users_of_all_databases_are_known() {
    let test = "users_of_all_databases_are_known";
    if env::var_os(ALONE).is_some() {
        load_user_databases();
    }
    let look_up = || {
        let _ = User::from_uid(Uid::from_raw(NO_USER - 1));
        fs::read_to_string("/proc/self/maps").unwrap()
    };
    if let Some(maps) = confined(test, Seccomp::On, look_up) {
        // Of a module that could not be loaded any more a part is left that is no code.
        let modules = |kind: &str| {
            let found = maps.lines().filter(|line| line.contains("/libnss_") && line.contains(kind));
            found.filter_map(|line| line.split_whitespace().last()).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(modules(" r--p "), modules(" r-xp "), "{maps}");
    }
    succeeds(test);
}

/// What the kernel says of each thread of this process.
fn statuses() -> Vec<io::Result<String>> {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    threads.map(|thread| fs::read_to_string(thread?.path().join("status"))).collect()
}

#[test]
fn drivers_that_load_programs_are_known() {
    for (device, load_programs) in [
        ("net_af_xdp0,iface=eth1", true),
        ("net_tap0", true),
        ("net_af_packet0,iface=eth1", false),
        ("0000:3b:00.0", false),
    ] {
        let text = format!(
            "[[port]]\nname = \"a\"\nside = \"both\"\ndevice = \"{device}\"\naddresses = [\"10.0.0.8/24\"]\n"
        );
        let config = control::config::parse(&text).unwrap();
        assert_eq!(Drivers::of(&config), Drivers { load_programs }, "{device}");
    }
}
