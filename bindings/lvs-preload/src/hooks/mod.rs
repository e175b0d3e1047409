//! The C functions that the program calls in place of the C library's. Each does what its manual page says; on
//! descriptors that are not ours it is the system call, and sets `errno` as that does.
//!
//! ```text
//! traffic   sendmsg sendto send write, recvmsg recvfrom recv read
//! options   getsockname getsockopt setsockopt
//! programs  execv execve
//! streams   fopen fopen64
//! memory    what the caller's pointers point to
//! ```
//!
//! All are `unsafe` for one reason, which holds for every block here: **pointers and lengths are the caller's, as the
//! C function demands them.** They are used for the time of the call, as the C library would. The names are the C
//! library's on purpose, and the types are those of its functions: that is what preloading is.

use core::ffi::{c_int, c_long};
use libc::ssize_t;
use rustix::io::Errno;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the arguments of system calls are passed as 64-bit words");

/// The system call itself, which sets `errno`.
macro_rules! real {
    ($number:ident, $($argument:expr),+) => {
        // SAFETY: the arguments are the caller's, for the system call of the function that was called.
        unsafe { libc::syscall(libc::$number, $($argument),+) }
    };
}

mod memory;
mod options;
mod programs;
mod streams;
mod traffic;

// SAFETY: no other library has a symbol of this name.
/// What this library is known by: `natlb-lvs` preloads no other.
#[used]
#[unsafe(no_mangle)]
static natlb_lvs_preload: u8 = 1;

/// What a function returns that sends or receives.
fn done(result: Result<usize, Errno>) -> ssize_t {
    match result {
        Ok(length) => ssize_t::try_from(length).unwrap_or(ssize_t::MAX),
        Err(reason) => {
            set_errno(reason.raw_os_error());
            -1
        }
    }
}

fn set_errno(errno: c_int) {
    // SAFETY: the C library gives the address of this thread's own variable.
    unsafe { *libc::__errno_location() = errno };
}

/// What a system call has returned, as its C function returns it.
fn narrow(result: c_long) -> c_int {
    c_int::try_from(result).unwrap_or(-1)
}
