//! Files of /proc, the kernel's module, and what is no business of natlb's.

use crate::scenario::{library, scenario};
use crate::tool::Netlink;
use crate::wire::{self, Message};
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType};
use nix::unistd::execv;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, RawFd};
use std::process::Command;

const TEXT: &str = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n";

/// What a C program reads from a file, with fopen and fgets as ipvsadm; or the errno.
fn text_of(path: &CStr) -> Result<String, Errno> {
    let mut text = String::new();
    // SAFETY: the path and the mode end with 0; the file is used while it is open, and its lines have room.
    unsafe {
        let file = libc::fopen(path.as_ptr(), c"r".as_ptr());
        if file.is_null() {
            return Err(Errno::last());
        }
        let mut line = [0_u8; 256];
        while !libc::fgets(line.as_mut_ptr().cast(), 256, file).is_null() {
            text += CStr::from_bytes_until_nul(&line).unwrap().to_str().unwrap();
        }
        libc::fclose(file);
    }
    Ok(text)
}

#[test]
fn the_list_of_connections_comes_from_lbd() {
    scenario(
        |lbd, steps| {
            lbd.start();
            steps.reached();
            for name in ["ip_vs_conn", "ip_vs", "ip_vs_stats"] {
                let mut peer = lbd.accept();
                let found = peer.request();
                assert_eq!((found.kind, found.flags), (wire::IPVS, 1));
                assert_eq!(found.body[..4], [64, 1, 0, 0]);
                let attribute = wire::attribute(1, &[name.as_bytes(), &[0]].concat());
                assert_eq!(found.body[4..], attribute[..5 + name.len()], "without padding");
                // In pieces: the first has not even what tells text from an error.
                peer.send_bytes(&TEXT.as_bytes()[..3]);
                steps.reached();
                peer.send_bytes(&TEXT.as_bytes()[3..]);
                (0..5000).for_each(|_| peer.send_bytes(TEXT.as_bytes()));
            }
        },
        |steps| {
            steps.wait();
            for path in [c"/proc/net/ip_vs_conn", c"/proc/net/ip_vs", c"/proc/net/ip_vs_stats"] {
                assert!(text_of(path).unwrap() == TEXT.repeat(5001));
                steps.wait();
            }
        },
    );
}

#[test]
fn a_file_that_lbd_does_not_give_cannot_be_opened() {
    let said = scenario(
        |lbd, steps| {
            steps.wait();
            lbd.start();
            steps.reached();
            let mut peer = lbd.accept();
            peer.send(&wire::turned_away(-(Errno::EPERM as i32), "not permitted"));
            drop(peer);
            lbd.accept().request();
        },
        |steps| {
            let path = c"/proc/net/ip_vs_conn";
            assert_eq!(text_of(path), Err(Errno::ECONNREFUSED));
            steps.reached();
            steps.wait();
            assert_eq!(text_of(path), Err(Errno::EPERM));
            assert_eq!(text_of(path), Err(Errno::EIO));
        },
    );
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].starts_with("natlb: cannot reach lbd"), "{said}");
    assert_eq!(lines[1..], ["natlb: not permitted", "natlb: lbd went away before it answered"]);
}

#[test]
fn the_module_is_not_loaded() {
    scenario(
        |_, _| {},
        |_| {
            for (path, arguments, loads) in [
                (c"/nowhere/modprobe", &[c"modprobe", c"--", c"ip_vs"][..], true),
                (c"/nowhere/modprobe", &[c"modprobe", c"-s", c"--", c"ip_vs"], true),
                (c"/nowhere/modprobe", &[c"modprobe", c"ip_vs"], true),
                (c"/nowhere/own-loader", &[c"own-loader", c"-s", c"--", c"ip_vs"], true),
                (c"/nowhere/modprobe", &[c"modprobe", c"--", c"veth"], false),
                (c"/nowhere/echo", &[c"echo", c"ip_vs"], false),
            ] {
                let errno = if loads { Errno::EPERM } else { Errno::ENOENT };
                assert_eq!(execv(path, arguments), Err(errno), "{arguments:?}");
            }
        },
    );
}

/// The errno of reading and of setting a socket option at level 0.
fn options(descriptor: RawFd, option: i32) -> [i32; 2] {
    let (mut value, mut length) = ([0_u8; 64], 64);
    // SAFETY: the value has as many bytes as is said.
    unsafe {
        let read = libc::getsockopt(descriptor, 0, option, value.as_mut_ptr().cast(), &raw mut length);
        let read = if read == 0 { 0 } else { Errno::last_raw() };
        let written = libc::setsockopt(descriptor, 0, option, value.as_ptr().cast(), 64);
        [read, if written == 0 { 0 } else { Errno::last_raw() }]
    }
}

#[test]
fn socket_options_of_ipvs_do_not_reach_the_kernel() {
    scenario(
        |lbd, steps| {
            steps.wait();
            lbd.start();
            steps.reached();
            let mut peer = lbd.accept();
            peer.send(&wire::turned_away(-(Errno::EPERM as i32), "not permitted"));
        },
        |steps| {
            let inet =
                socket::socket(AddressFamily::Inet, SockType::Datagram, SockFlag::empty(), None).unwrap();
            let refused = [libc::ECONNREFUSED; 2];
            for option in 1152..=1167 {
                assert_eq!(options(inet.as_raw_fd(), option), refused, "{option}");
            }
            assert_eq!(options(inet.as_raw_fd(), 1151), [libc::ENOPROTOOPT; 2], "the kernel's own answer");
            assert_eq!(options(inet.as_raw_fd(), libc::IP_TTL)[0], 0);
            steps.reached();
            steps.wait();
            let tool = Netlink::open();
            tool.send(&wire::look_up("IPVS", 7));
            assert_eq!(tool.receive().error().0, -1);
            assert_eq!(options(inet.as_raw_fd(), 1153), [libc::EPERM; 2], "as the look-up was refused");
        },
    );
}

#[test]
fn other_families_are_the_kernels() {
    scenario(
        |lbd, steps| {
            lbd.start();
            steps.reached();
            steps.wait();
            assert!(!lbd.is_called());
            steps.reached();
        },
        |steps| {
            steps.wait();
            let tool = Netlink::open();
            tool.send(&wire::look_up("nlctrl", 7));
            let found = tool.receive();
            assert_eq!((found.kind, found.sequence), (wire::CONTROLLER, 7));
            assert_eq!(tool.receive().error(), (0, 7));
            tool.send(&wire::look_up("no such thing", 8));
            assert_eq!(tool.receive().error(), (-(Errno::ENOENT as i32), 8));
            // All families, of which IPVS may be one.
            let all = Netlink::open();
            all.send(&Message { flags: 0x305, ..wire::look_up("IPVS", 9) });
            let mut room = [0; 1 << 16];
            let (length, _) = all.receive_into(&mut room, socket::MsgFlags::empty()).unwrap();
            let first = Message::read(&room[..wire::u32_at(&room, 0) as usize]);
            assert_eq!((first.kind, first.sequence, first.port), (wire::CONTROLLER, 9, all.port));
            assert!(length > 16 + first.body.len(), "several in one datagram, as only the kernel does");
            // To another process, not to the kernel.
            let name = socket::NetlinkAddr::new(tool.port, 0);
            let bytes = wire::look_up("IPVS", 10).bytes();
            let sent = socket::sendto(tool.descriptor(), &bytes, &name, socket::MsgFlags::empty());
            assert_eq!(sent, Ok(bytes.len()));
            let mut room = [0; 100];
            let found = socket::recv(tool.descriptor(), &mut room, socket::MsgFlags::empty());
            assert_eq!(found.map(|length| room[..length].to_vec()), Ok(bytes));
            steps.reached();
            steps.wait();
        },
    );
}

/// What a program prints to stdout and stderr, and its exit code; `None`: it is not installed.
fn output(command: &[&str], preloaded: bool) -> Option<(String, String, Option<i32>)> {
    let mut process = Command::new(command[0]);
    process.args(&command[1..]);
    if preloaded {
        process.env("LD_PRELOAD", library());
    }
    let output = process.output().ok()?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Some((text(&output.stdout), text(&output.stderr), output.status.code()))
}

#[test]
fn other_programs_do_not_change() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "a file of some bytes\n").unwrap();
    let path = file.path().to_str().unwrap();
    let url = format!("file://{path}");
    for command in [
        &["ip", "-6", "route", "show", "table", "local", "dev", "lo"][..],
        &["ip", "link", "show", "dev", "lo"],
        &["ip", "route", "get", "127.0.0.1"],
        &["ss", "-ltn", "sport = :1"],
        &["curl", "--silent", "--show-error", &url],
        &["curl", "--silent", "--show-error", "file:///no/such/file"],
        &["cat", path],
        &["sh", "-c", "read line <\"$0\"; echo \"$line\" | wc -c; exit 7", path],
    ] {
        // stderr would have the dynamic linker's warning if the library were not loaded.
        if let Some(plain) = output(command, false) {
            assert_eq!(output(command, true), Some(plain), "{command:?}");
        }
    }
}
