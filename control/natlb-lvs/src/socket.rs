//! Waiting until `lbd` listens.

use crate::refusal::Refusal;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::path::Path;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(50);

/// Waits until somebody listens at the socket, but no longer than this.
///
/// # Errors
///
/// Why `lbd` cannot be reached, once the time is up; at once if it is not permitted.
pub(crate) fn wait(socket: &Path, longest: Duration) -> Result<(), Refusal> {
    let until = Instant::now() + longest;
    loop {
        let reason = match attempt(socket) {
            // A full queue: somebody listens, and is busy or stopped.
            Ok(()) | Err(Errno::AGAIN) => return Ok(()),
            Err(reason) => reason,
        };
        if !matches!(reason, Errno::NOENT | Errno::CONNREFUSED) || Instant::now() >= until {
            return Err(Refusal::Unreachable { socket: socket.into(), why: words(reason) });
        }
        std::thread::sleep(PAUSE);
    }
}

fn attempt(socket: &Path) -> Result<(), Errno> {
    let address = SocketAddrUnix::new(socket)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::connect(
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?,
        &address,
    )
}

fn words(reason: Errno) -> String {
    match reason {
        Errno::NOENT => "the socket is missing; is lbd running, and is this its ipvs_socket?".into(),
        Errno::CONNREFUSED => "refused: nobody listens; is lbd running?".into(),
        Errno::ACCESS => "not permitted; root and the members of its [control] group may".into(),
        _ => std::io::Error::from(reason).to_string(),
    }
}
