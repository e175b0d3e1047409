//! The environment: where `lbd` is, and how long to wait for it. Read when the library is loaded, before the program
//! can change its environment.

use core::ffi::CStr;
use core::time::Duration;
use std::sync::OnceLock;

const DEFAULT_SOCKET: &[u8] = b"/run/natlb/ipvs.sock";
const DEFAULT_WAIT: u64 = 5;
const LONGEST_WAIT: u64 = 60;

/// The longest path of a Unix socket, in bytes, without the 0 behind it.
const LONGEST_PATH: usize = 107;

#[derive(Debug)]
pub(crate) struct Settings {
    socket: [u8; LONGEST_PATH + 1],
    /// How long the first connection waits for the socket.
    pub(crate) wait: Duration,
}

static SETTINGS: OnceLock<Settings> = OnceLock::new();

/// The settings of this process.
pub(crate) fn get() -> &'static Settings {
    SETTINGS.get_or_init(|| {
        let socket = variable(c"NATLB_IPVS_SOCKET");
        Settings::from(socket, variable(c"NATLB_IPVS_WAIT"))
    })
}

impl Settings {
    /// From the variables. A number of seconds that is none of 0 to 60 is the default.
    fn from(socket: Option<&[u8]>, wait: Option<&[u8]>) -> Self {
        let mut path = [0; LONGEST_PATH + 1];
        let given = socket.filter(|given| !given.is_empty()).unwrap_or(DEFAULT_SOCKET);
        // A path that is too long stays empty: no connection is tried, and the reason is said then.
        if let Some(place) = path.get_mut(..given.len()).filter(|_| given.len() <= LONGEST_PATH) {
            place.copy_from_slice(given);
        }
        let wait = wait
            .and_then(|text| core::str::from_utf8(text).ok()?.parse().ok())
            .filter(|&seconds| seconds <= LONGEST_WAIT)
            .unwrap_or(DEFAULT_WAIT);
        Self { socket: path, wait: Duration::from_secs(wait) }
    }

    /// The path of the socket; `None`: it is longer than a Unix socket's can be.
    pub(crate) fn socket(&self) -> Option<&CStr> {
        CStr::from_bytes_until_nul(&self.socket).ok().filter(|path| !path.is_empty())
    }
}

fn variable(name: &CStr) -> Option<&'static [u8]> {
    // SAFETY: the name ends with 0. When the library is loaded there is one thread, so nobody changes the environment
    // meanwhile; what is found is copied before `get` returns.
    unsafe {
        let value = libc::getenv(name.as_ptr());
        (!value.is_null()).then(|| CStr::from_ptr(value).to_bytes())
    }
}

/// What the dynamic linker calls when it has loaded the library.
#[cfg(not(test))]
extern "C" fn at_load() {
    get();
}

// SAFETY: the section holds addresses of functions that take no arguments we need and are called once; this is one.
#[cfg(not(test))]
#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = at_load;

#[cfg(test)]
mod tests {
    use super::Settings;

    fn seconds(text: &[u8]) -> u64 {
        Settings::from(None, Some(text)).wait.as_secs()
    }

    #[test]
    fn the_socket_has_a_default() {
        for socket in [None, Some(&b""[..])] {
            assert_eq!(Settings::from(socket, None).socket(), Some(c"/run/natlb/ipvs.sock"));
        }
        assert_eq!(Settings::from(Some(b"/tmp/x"), None).socket(), Some(c"/tmp/x"));
    }

    #[test]
    fn a_path_that_is_too_long_is_none_and_not_another() {
        assert!(Settings::from(Some(&[b'a'; 107]), None).socket().is_some());
        assert_eq!(Settings::from(Some(&[b'a'; 108]), None).socket(), None);
        assert_eq!(Settings::from(Some(&[b'a'; 5000]), None).socket(), None);
    }

    #[test]
    fn the_wait_is_0_to_60_seconds_or_the_default() {
        assert_eq!(Settings::from(None, None).wait.as_secs(), 5);
        assert_eq!([seconds(b"0"), seconds(b"60")], [0, 60]);
        for wrong in [&b""[..], b"61", b"-1", b"1.5", b"x", b"\xff"] {
            assert_eq!(seconds(wrong), 5, "{wrong:?}");
        }
    }
}
