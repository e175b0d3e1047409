//! `lbd` is absent, goes away, comes back, turns a tool away.

use crate::lbd::Lbd;
use crate::scenario::{scenario, scenario_with};
use crate::tool::{Netlink, request};
use crate::wire;
use nix::errno::Errno;
use nix::sys::socket::MsgFlags;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{ForkResult, fork};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const GONE: i32 = -(Errno::ENODEV as i32);

#[test]
fn without_lbd_every_request_is_answered_and_the_kernel_gets_none() {
    let said = scenario(
        |lbd, steps| {
            steps.wait();
            lbd.start();
            steps.reached();
            let mut peer = lbd.accept();
            let found = peer.request();
            assert_eq!(found.sequence, 10, "the ones before have been answered");
            peer.send(&wire::error(&found, 0));
        },
        |steps| {
            let tool = Netlink::open();
            tool.send(&wire::look_up("IPVS", 7));
            assert!(tool.is_readable());
            assert_eq!(tool.peek_length(), 36);
            // The kernel would say ENOENT, or know it.
            let found = tool.receive();
            assert_eq!((found.error(), found.port), ((GONE, 7), tool.port));
            for sequence in 8..10 {
                tool.send(&request(sequence));
                assert_eq!(tool.receive().error(), (GONE, sequence));
            }
            assert_eq!(tool.receive_into(&mut [0; 100], MsgFlags::empty()), Err(Errno::ENODEV));
            steps.reached();
            steps.wait();
            tool.send(&request(10));
            assert_eq!(tool.receive().error(), (0, 10));
        },
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.starts_with("natlb: cannot reach lbd at /") && said.ends_with("the socket is missing\n"),
        "{said}"
    );
}

#[test]
fn without_lbd_a_process_waits_once() {
    scenario_with(
        &[("NATLB_IPVS_WAIT", "2")],
        |_, _| {},
        |_| {
            let began = Instant::now();
            let first = Netlink::open();
            first.send(&wire::look_up("IPVS", 7));
            assert_eq!(first.receive().error(), (GONE, 7));
            assert!(began.elapsed() >= Duration::from_secs(2));
            for _ in 0..20 {
                let tool = Netlink::open();
                tool.send(&wire::look_up("IPVS", 7));
                assert_eq!(tool.receive().error(), (GONE, 7));
            }
            assert!(began.elapsed() < Duration::from_secs(40), "each of them would wait for 2 s");
        },
    );
}

#[test]
fn the_first_request_waits_until_lbd_listens() {
    let said = scenario_with(
        &[("NATLB_IPVS_WAIT", "60")],
        |lbd, steps| {
            steps.wait();
            lbd.start();
            let mut peer = lbd.accept_tool();
            assert!(peer.has_ended());
        },
        |steps| {
            steps.reached();
            Netlink::open_ipvs();
        },
    );
    assert_eq!(said, "");
}

#[test]
fn a_request_that_lbd_does_not_answer_any_more_is_answered() {
    let said = scenario(
        |lbd, steps| {
            lbd.start();
            steps.reached();
            for half in [0, 30] {
                let mut peer = lbd.accept_tool();
                let found = peer.request();
                let bytes = wire::error(&found, 0).bytes();
                peer.send_bytes(&bytes[..half]);
                steps.wait();
            }
        },
        |steps| {
            steps.wait();
            for _ in 0..2 {
                let tool = Netlink::open_ipvs();
                tool.send(&request(8));
                steps.reached();
                assert_eq!(tool.peek_length(), 36);
                assert_eq!(tool.receive().error(), (GONE, 8));
                assert_eq!(tool.receive_into(&mut [0; 100], MsgFlags::empty()), Err(Errno::ENODEV), "not 0");
            }
        },
    );
    assert_eq!(said.lines().count(), 1, "once: {said}");
    assert!(said.ends_with("went away before it answered\n"), "{said}");
}

#[test]
fn the_next_request_connects_anew() {
    scenario(
        |lbd, steps| {
            lbd.start();
            steps.reached();
            drop(lbd.accept_tool());
            lbd.kill();
            steps.reached();
            steps.wait();
            lbd.start();
            steps.reached();
            let mut peer = lbd.accept();
            let found = peer.request();
            assert_eq!((found.kind, found.sequence), (wire::IPVS, 9), "the number of the family is the same");
            peer.send(&wire::error(&found, 0));
        },
        |steps| {
            steps.wait();
            let tool = Netlink::open_ipvs();
            steps.wait();
            tool.send(&request(8));
            assert_eq!(tool.receive().error(), (GONE, 8));
            steps.reached();
            steps.wait();
            tool.send(&request(9));
            assert_eq!(tool.receive().error(), (0, 9));
        },
    );
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_made_anew_unseen() {
    let said = scenario(
        |lbd, steps| {
            lbd.start();
            steps.reached();
            drop(lbd.accept_tool());
            steps.reached();
            let mut peer = lbd.accept();
            let found = peer.request();
            peer.send(&wire::error(&found, 0));
        },
        |steps| {
            steps.wait();
            let tool = Netlink::open_ipvs();
            steps.wait();
            tool.send(&request(8));
            assert_eq!(tool.receive().error(), (0, 8));
        },
    );
    assert_eq!(said, "", "the same lbd has it all");
}

#[test]
fn a_tool_that_is_turned_away_gets_the_reason_as_an_answer() {
    let said = scenario(
        |lbd, steps| {
            lbd.start();
            for _ in 0..2 {
                steps.reached();
                let mut peer = lbd.accept();
                peer.send(&wire::turned_away(-(Errno::EPERM as i32), "not permitted: uid 7"));
                drop(peer);
                steps.wait();
            }
            assert!(!lbd.is_called(), "it is asked once for a request");
        },
        |steps| {
            let tool = Netlink::open();
            for sequence in 7..9 {
                steps.wait();
                tool.send(&wire::look_up("IPVS", sequence));
                let found = tool.receive();
                assert_eq!((found.error(), found.sequence), ((-1, sequence), sequence));
                assert_eq!(found.port, tool.port);
                steps.reached();
            }
        },
    );
    assert_eq!(said, "natlb: not permitted: uid 7\n");
}

#[test]
fn what_is_no_message_is_a_loss() {
    scenario(
        |lbd, steps| {
            lbd.start();
            steps.reached();
            let mut peer = lbd.accept_tool();
            peer.request();
            peer.send_bytes(&[0; 16]);
            assert!(peer.has_ended());
            let mut peer = lbd.accept();
            let found = peer.request();
            peer.send(&wire::error(&found, 0));
        },
        |steps| {
            steps.wait();
            let tool = Netlink::open_ipvs();
            tool.send(&request(8));
            assert_eq!(tool.receive().error(), (GONE, 8));
            tool.send(&request(9));
            assert_eq!(tool.receive().error(), (0, 9));
        },
    );
}

#[test]
fn a_silent_lbd_is_waited_for_without_spinning() {
    scenario(
        |lbd, steps| {
            lbd.start();
            steps.reached();
            let mut peer = lbd.accept_tool();
            let found = peer.request();
            thread::sleep(Duration::from_secs(2));
            peer.send(&wire::error(&found, 0));
            assert!(peer.has_ended());
        },
        |steps| {
            steps.wait();
            let tool = Netlink::open_ipvs();
            let used = || Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap());
            let (before, began) = (used(), Instant::now());
            tool.send(&request(8));
            assert_eq!(tool.receive().error(), (0, 8));
            assert!(began.elapsed() > Duration::from_millis(1500));
            assert!(used() - before < Duration::from_millis(500), "it has slept");
        },
    );
}

/// The variable that makes of this program a daemon at a socket, which answers one look-up and ends.
const OTHER: &str = "NATLB_TEST_OTHER_LBD";

#[test]
fn another_lbd_than_before_is_said() {
    if let Some(socket) = std::env::var_os(OTHER) {
        let mut lbd = Lbd::at(Path::new(&socket));
        lbd.start();
        drop(lbd.accept_tool());
        return;
    }
    let said = scenario_with(
        &[("NATLB_IPVS_WAIT", "60")],
        |lbd, steps| {
            let mut other = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "loss::another_lbd_than_before_is_said"])
                .env(OTHER, lbd.socket())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            assert!(other.wait().unwrap().success());
            lbd.start();
            for sequence in 8..10 {
                steps.reached();
                let mut peer = lbd.accept();
                let found = peer.request();
                assert_eq!(found.sequence, sequence);
                peer.send(&wire::error(&found, 0));
            }
        },
        |steps| {
            let tool = Netlink::open_ipvs();
            for sequence in 8..10 {
                steps.wait();
                tool.send(&request(sequence));
                assert_eq!(tool.receive().error(), (0, sequence));
            }
        },
    );
    assert!(said.starts_with("natlb: lbd was restarted") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_forked_child_may_go_on_with_the_descriptor() {
    scenario(
        |lbd, steps| {
            lbd.start();
            steps.reached();
            let mut peer = lbd.accept_tool();
            for sequence in [8, 9] {
                let found = peer.request();
                assert_eq!(found.sequence, sequence);
                peer.send(&wire::error(&found, 0));
            }
            assert!(peer.has_ended());
        },
        |steps| {
            steps.wait();
            let tool = Netlink::open_ipvs();
            // SAFETY: the child does what a forked child of a program with threads may do: it uses the C library's
            // memory, whose locks fork takes care of, and no other thread's locks.
            match unsafe { fork() }.unwrap() {
                ForkResult::Child => {
                    tool.send(&request(8));
                    let is_right = tool.receive().error() == (0, 8);
                    std::process::exit(if is_right { 0 } else { 1 });
                }
                ForkResult::Parent { child } => {
                    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
                }
            }
            tool.send(&request(9));
            assert_eq!(tool.receive().error(), (0, 9));
        },
    );
}
