//! What the operator has to read: on stderr, or in syslog for a daemon, which has none.

use crate::messages;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::FileType;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

/// The longest line, in bytes.
const LONGEST: usize = 512;

/// `LOG_DAEMON | LOG_ERR`.
const PRIORITY: u8 = 3 << 3 | 3;

/// Errors whose words are remembered as said; after so many others they are said again.
const REMEMBERED: usize = 16;

/// A line that is cut where its room ends.
pub(crate) struct Line {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Line {
    fn new() -> Self {
        Self { bytes: [0; LONGEST], length: 0 }
    }

    pub(crate) fn of(text: fmt::Arguments) -> Self {
        let mut line = Self::new();
        // Fails only where there is no more room.
        let _ = line.write_fmt(text);
        line
    }

    fn text(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    /// The words of an error of `lbd`, if they have not been said. What is not printable is shown as `?`.
    pub(crate) fn of_error(message: &[u8]) -> Option<Self> {
        let words = messages::words(message)?;
        let words = words.strip_prefix(b"natlb: ").unwrap_or(words);
        let mut line = Self::new();
        words.iter().for_each(|&byte| line.push(if byte < b' ' || byte == 0x7f { b'?' } else { byte }));
        SAID.is_new(line.text()).then_some(line)
    }

    pub(crate) fn say(&self) {
        say(self.text());
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.push(byte));
        Ok(())
    }
}

/// Says this unless the flag is raised, and raises it.
pub(crate) fn once(said: &AtomicBool, text: fmt::Arguments) {
    if !said.swap(true, Ordering::Relaxed) {
        Line::of(text).say();
    }
}

/// Digests of the lines that were said last.
struct Said {
    digests: [AtomicU64; REMEMBERED],
    next: AtomicUsize,
}

static SAID: Said = Said { digests: [const { AtomicU64::new(0) }; REMEMBERED], next: AtomicUsize::new(0) };

impl Said {
    /// Remembers the line; false if it was remembered already.
    fn is_new(&self, line: &[u8]) -> bool {
        let digest = digest(line);
        if self.digests.iter().any(|said| said.load(Ordering::Relaxed) == digest) {
            return false;
        }
        let place = self.next.fetch_add(1, Ordering::Relaxed) % REMEMBERED;
        if let Some(place) = self.digests.get(place) {
            place.store(digest, Ordering::Relaxed);
        }
        true
    }
}

/// FNV-1a, 64 bits.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |digest: u64, &byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn say(text: &[u8]) {
    let mut line = Line::new();
    // SAFETY: the number is a descriptor's; if stderr is closed, the calls fail.
    let stderr = unsafe { BorrowedFd::borrow_raw(2) };
    if is_read_by_somebody(stderr) {
        b"natlb: ".iter().chain(text).for_each(|&byte| line.push(byte));
        line.length = line.length.min(LONGEST - 1);
        line.push(b'\n');
        let _ = rustix::io::write(stderr, line.text());
    } else {
        let process = rustix::process::getpid().as_raw_nonzero();
        let _ = write!(line, "<{PRIORITY}>natlb-lvs[{process}]: ");
        text.iter().for_each(|&byte| line.push(byte));
        to_syslog(c"/dev/log", line.text());
    }
}

/// Whether this is open, and not /dev/null, which daemons put there.
fn is_read_by_somebody(output: impl AsFd) -> bool {
    rustix::fs::fstat(output).is_ok_and(|found| {
        let is_null = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice
            && (rustix::fs::major(found.st_rdev), rustix::fs::minor(found.st_rdev)) == (1, 3);
        !is_null
    })
}

/// One datagram to the system's log; dropped where there is none.
fn to_syslog(path: &core::ffi::CStr, line: &[u8]) {
    let Ok(address) = SocketAddrUnix::new(path) else { return };
    if let Ok(socket) =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
    {
        let _ = rustix::net::sendto(&socket, line, SendFlags::DONTWAIT | SendFlags::NOSIGNAL, &address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::tests::error_with_words;
    use std::ffi::CString;
    use std::fs::File;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::UnixDatagram;
    use std::{format, vec};

    #[test]
    fn a_long_line_is_cut() {
        let line = Line::of(format_args!("{}", "x".repeat(2 * LONGEST)));
        assert_eq!(line.text(), vec![b'x'; LONGEST]);
    }

    #[test]
    fn words_are_said_once_and_printable() {
        let message = error_with_words(b"no\x1b[2Jsuch thing");
        assert_eq!(Line::of_error(&message).unwrap().text(), b"no?[2Jsuch thing");
        assert!(Line::of_error(&message).is_none());
        for number in 0..REMEMBERED {
            assert!(Line::of_error(&error_with_words(format!("other {number}").as_bytes())).is_some());
        }
        assert!(Line::of_error(&message).is_some(), "others have come since");
    }

    #[test]
    fn the_name_of_the_project_is_said_once() {
        assert_eq!(Line::of_error(&error_with_words(b"natlb: full")).unwrap().text(), b"full");
    }

    #[test]
    fn nobody_reads_the_null_device() {
        assert!(!is_read_by_somebody(File::options().write(true).open("/dev/null").unwrap()));
        assert!(is_read_by_somebody(tempfile::tempfile().unwrap()));
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert!(is_read_by_somebody(full), "another device");
    }

    #[test]
    fn syslog_gets_a_datagram_and_may_be_absent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        to_syslog(&name, b"lost");
        let log = UnixDatagram::bind(&path).unwrap();
        to_syslog(&name, b"<27>natlb-lvs[1]: text");
        let mut found = [0; 64];
        let length = log.recv(&mut found).unwrap();
        assert_eq!(&found[..length], b"<27>natlb-lvs[1]: text");
    }
}
