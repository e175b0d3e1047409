//! What the EAL, its libraries and the drivers say, handed to the `log` of this process, a record for each line.
//!
//! Without this they write to stderr by themselves, each line as its author liked it.

use crate::error::Errno;
use std::collections::HashMap;
use std::ffi::{c_char, c_int};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread::{self, ThreadId};

/// The target of the records.
pub const TARGET: &str = "dpdk";

/// Bytes of a line that does not end: what is longer becomes several records.
const LONGEST: usize = 4096;

/// The begun line of each thread that has one.
static BEGUN: LazyLock<Mutex<HashMap<ThreadId, Vec<u8>>>> = LazyLock::new(Mutex::default);

/// From now on every message of DPDK is a record of `log` under [`TARGET`]. To be called before
/// [`Eal::start`](crate::Eal::start), whose messages are the ones that matter most; it holds until the process ends.
///
/// # Errors
/// The C library makes no stream, for want of memory.
pub fn hand_to_log() -> Result<(), Errno> {
    // SAFETY: `take` is a function of this program, which the stream calls with bytes that are valid during the call.
    Errno::check(unsafe { dpdk_sys::natlb_log_to(Some(take)) })
}

/// A piece of a message, as the C library's stream hands it over: mostly a line with its end.
extern "C" fn take(level: c_int, text: *const c_char, length: usize) {
    if text.is_null() || length == 0 {
        return;
    }
    // SAFETY: the stream hands over that many bytes, which are its own until this returns.
    let piece = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) };
    let thread = thread::current().id();
    let lines = {
        let mut begun = BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = begun.remove(&thread).unwrap_or_default();
        let lines = lines(&mut line, piece);
        if !line.is_empty() {
            begun.insert(thread, line);
        }
        lines
    };
    // Not under the lock: whoever writes the record may wait.
    for line in lines {
        log::log!(target: TARGET, level_of(level), "{line}");
    }
}

/// The lines that end with `piece`, of which `begun` is the beginning; what is left of it is begun anew.
fn lines(begun: &mut Vec<u8>, piece: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    for part in piece.split_inclusive(|byte| *byte == b'\n') {
        begun.extend_from_slice(part);
        if part.ends_with(b"\n") || begun.len() >= LONGEST {
            let line = String::from_utf8_lossy(begun).trim_end().to_owned();
            begun.clear();
            if !line.is_empty() {
                lines.push(line);
            }
        }
    }
    lines
}

/// DPDK counts as syslog does, from 1 (the system is unusable) to 8 (debug).
fn level_of(level: c_int) -> log::Level {
    match level {
        ..=4 => log::Level::Error,
        5 => log::Level::Warn,
        6 | 7 => log::Level::Info,
        _ => log::Level::Debug,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_whole_lines() {
        let mut begun = Vec::new();
        assert_eq!(lines(&mut begun, b"EAL: a"), Vec::<String>::new());
        assert_eq!(lines(&mut begun, b"b\n\nEAL: c\r\nd"), ["EAL: ab", "EAL: c"]);
        assert_eq!(begun, b"d");
        assert_eq!(lines(&mut begun, b"\xff\n"), ["d\u{fffd}"]);
        let long = lines(&mut begun, &[b'x'; LONGEST + 1]);
        assert_eq!(long.iter().map(String::len).collect::<Vec<_>>(), [LONGEST + 1]);
        assert!(begun.is_empty());
    }

    #[test]
    fn levels_are_those_of_syslog() {
        let levels = [0, 1, 4, 5, 6, 7, 8, 9].map(level_of);
        use log::Level::{Debug, Error, Info, Warn};
        assert_eq!(levels, [Error, Error, Error, Warn, Info, Info, Debug, Debug]);
    }
}
