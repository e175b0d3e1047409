//! /proc/net/ip_vs* as a stream from `lbd`. ipvsadm reads the list of connections there.

use crate::link::{self, Patience};
use crate::messages;
use crate::say::Line;
use rustix::fd::OwnedFd;
use rustix::fs::Timespec;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

const FOLDER: &[u8] = b"/proc/net/";
const NAMES: [&[u8]; 3] = [b"ip_vs_conn", b"ip_vs", b"ip_vs_stats"];

/// Bytes at the beginning that tell an error message from text: the header's kind is in them.
const TELLING: usize = 6;

/// How long, and how often, to wait for the rest of these bytes.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
const PAUSES: usize = 1000;

/// The name of the file if this is one that `lbd` has.
pub(crate) fn name(path: &[u8]) -> Option<&'static [u8]> {
    let file = path.strip_prefix(FOLDER)?;
    NAMES.into_iter().find(|&name| name == file)
}

/// Opens the file: a socket that gives its text, and then the end.
///
/// # Errors
///
/// ECONNREFUSED or EPERM if `lbd` cannot be reached, which the operator has been told; the errno of `lbd`'s refusal;
/// EIO if it ends without a word.
pub(crate) fn open(name: &[u8]) -> Result<OwnedFd, Errno> {
    let Ok(link) = link::connect(Patience::Waits) else {
        return Err(Errno::from_raw_os_error(link::errno_of_socket_options()));
    };
    let (request, length) = messages::file_request(name);
    // A peer that was turned away may not be able to send; why is to be received all the same.
    let _ = rustix::net::send(&link.socket, request.get(..length).unwrap_or_default(), SendFlags::NOSIGNAL);
    let mut beginning = [0; 1024];
    let found = look(&link.socket, &mut beginning)?;
    let beginning = beginning.get(..found).unwrap_or_default();
    match messages::errno(beginning) {
        Some(errno) => {
            if let Some(line) = Line::of_error(beginning) {
                line.say();
            }
            Err(Errno::from_raw_os_error(if errno == 0 { libc::EIO } else { errno }))
        }
        None => Ok(link.socket),
    }
}

/// Looks at the first bytes, and leaves them where they are; returns how many there are.
fn look(socket: &OwnedFd, into: &mut [u8]) -> Result<usize, Errno> {
    for _ in 0..PAUSES {
        match rustix::net::recv(socket, &mut *into, RecvFlags::PEEK) {
            Ok((0, _)) | Err(Errno::CONNRESET) => break,
            Ok((found, _)) if found >= TELLING => return Ok(found),
            Ok(_) => {
                let _ = rustix::thread::nanosleep(&PAUSE);
            }
            Err(Errno::INTR) => {}
            Err(reason) => return Err(reason),
        }
    }
    Line::of(format_args!("lbd went away before it answered")).say();
    Err(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn the_files_of_ipvs_are_known_and_no_others() {
        for path in ["ip_vs_conn", "ip_vs", "ip_vs_stats"] {
            let full = [b"/proc/net/", path.as_bytes()].concat();
            assert_eq!(name(&full), Some(path.as_bytes()));
        }
        for path in
            ["/proc/net/ip_vs_conn_sync", "/proc/net/ip_v", "/proc/net/", "/proc/net/tcp", "ip_vs", ""]
        {
            assert_eq!(name(path.as_bytes()), None, "{path}");
        }
    }
}
