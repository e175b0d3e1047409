//! The clock that goes on over restarts, and the boot that it counts from.

use rustix::time::{ClockId, clock_gettime};
use std::fs;

/// Nanoseconds since the machine was booted, times of sleep included.
pub(super) fn nanoseconds() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// What the kernel calls this boot; zeros where it does not say: what is kept in memory is gone with a boot anyway.
pub(super) fn id() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    read(&text).unwrap_or_default()
}

/// Reads `a1b2c3d4-…`: 32 hexadecimal digits.
fn read(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    if digits.len() != 32 {
        return None;
    }
    Some(u128::from_str_radix(&digits, 16).ok()?.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_has_an_id_that_stays() {
        assert_eq!(id(), id());
        let read = |text| read(text).map(u128::from_be_bytes);
        assert_eq!(read("00000000-0000-0000-0000-0000000000ff\n"), Some(0xff));
        assert_eq!(read("00000000-0000-0000-0000-0000000000f"), None);
        assert_eq!(read("x0000000-0000-0000-0000-0000000000ff"), None);
    }

    #[test]
    fn the_clock_goes_on() {
        let before = nanoseconds();
        assert!(before > 0 && nanoseconds() >= before);
    }
}
