//! A connection to `lbd`.

use crate::settings;
use crate::{kernel, say};
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use core::time::Duration;
use rustix::fd::OwnedFd;
use rustix::fs::Timespec;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::time::ClockId;

/// How long the first connection sleeps between two tries.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// The process has waited for the socket as long as it may: later connections do not wait.
static WAITED: AtomicBool = AtomicBool::new(false);

/// It has been said that `lbd` cannot be reached, and it has not been reached since.
static SAID: AtomicBool = AtomicBool::new(false);

/// Why `lbd` was not to be had the last time; 0: it was.
static REASON: AtomicI32 = AtomicI32::new(0);

pub(crate) struct Link {
    pub(crate) socket: OwnedFd,
    /// The process of `lbd`; 0: it is not to be seen from here.
    pub(crate) process: i32,
}

/// Whether a connection that finds no socket may wait for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// The first one of a descriptor: `lbd` may be starting, and the program has begun beside it. Waits once in a
    /// process.
    Waits,
    None,
}

/// Connects to `lbd`.
///
/// # Errors
///
/// Why `lbd` cannot be reached, which the operator has been told.
pub(crate) fn connect(patience: Patience) -> Result<Link, Errno> {
    let waited = patience == Patience::None || WAITED.load(Ordering::Relaxed);
    let until = now().saturating_add(if waited { Duration::ZERO } else { settings::get().wait });
    loop {
        match attempt() {
            Ok(link) => {
                SAID.store(false, Ordering::Relaxed);
                note(0);
                return Ok(link);
            }
            Err(reason) if matches!(reason, Errno::NOENT | Errno::CONNREFUSED) && now() < until => {
                let _ = rustix::thread::nanosleep(&PAUSE);
            }
            Err(reason) => {
                if patience == Patience::Waits {
                    WAITED.store(true, Ordering::Relaxed);
                }
                note(reason.raw_os_error());
                complain(reason);
                return Err(reason);
            }
        }
    }
}

fn attempt() -> Result<Link, Errno> {
    let path = settings::get().socket().ok_or(Errno::NAMETOOLONG)?;
    let socket = unconnected()?;
    let address = SocketAddrUnix::new(path)?;
    // A daemon that is stopped and has a full queue lets this wait, as the kernel would.
    while let Err(reason) = rustix::net::connect(&socket, &address) {
        if reason != Errno::INTR {
            return Err(reason);
        }
    }
    let process = kernel::process_behind(&socket);
    Ok(Link { socket, process })
}

/// A socket that leads nowhere.
pub(crate) fn unconnected() -> Result<OwnedFd, Errno> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}

/// Remembers the errno of a refusal for those that ask in another way.
pub(crate) fn note(errno: i32) {
    REASON.store(errno, Ordering::Relaxed);
}

/// The errno of IPVS's socket options: a tool tries them when its netlink messages have found no IPVS, and prints
/// this.
pub(crate) fn errno_of_socket_options() -> i32 {
    match REASON.load(Ordering::Relaxed) {
        libc::EACCES | libc::EPERM => libc::EPERM,
        libc::EBUSY => libc::EBUSY,
        _ => libc::ECONNREFUSED,
    }
}

/// The errno of the message that answers a request which could not be delivered. ENODEV is one of the few that both
/// ipvsadm and keepalived show as what it is.
pub(crate) fn errno_of_requests(reason: Errno) -> i32 {
    if matches!(reason, Errno::ACCESS | Errno::PERM) { libc::EPERM } else { libc::ENODEV }
}

fn complain(reason: Errno) {
    let path =
        settings::get().socket().and_then(|path| path.to_str().ok()).unwrap_or("a path that is too long");
    let number = reason.raw_os_error();
    let cannot = format_args!("cannot reach lbd at {path}");
    match reason {
        Errno::NOENT => say::once(&SAID, format_args!("{cannot}: the socket is missing")),
        Errno::CONNREFUSED => say::once(&SAID, format_args!("{cannot}: refused, nobody listens")),
        Errno::ACCESS | Errno::PERM => say::once(&SAID, format_args!("{cannot}: not permitted")),
        _ => say::once(&SAID, format_args!("{cannot}: error {number}")),
    }
}

/// Time since the machine's start.
fn now() -> Duration {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
