//! Starting other programs: the one that loads the kernel's IPVS.

use super::{narrow, set_errno};
use core::ffi::{CStr, c_char, c_int};

/// Arguments of a program that are searched for the kernel's module.
const ARGUMENTS: usize = 16;

/// `execv(3)`: loading the kernel's IPVS is refused.
#[unsafe(no_mangle)]
unsafe extern "C" fn execv(path: *const c_char, arguments: *const *const c_char) -> c_int {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: the caller's arguments, and the C library's environment, which execv hands on too.
    unsafe { execve(path, arguments, environ) }
}

/// `execve(2)`: as `execv`.
#[unsafe(no_mangle)]
unsafe extern "C" fn execve(
    path: *const c_char,
    arguments: *const *const c_char,
    environment: *const *const c_char,
) -> c_int {
    // SAFETY: the caller's path and arguments.
    if unsafe { loads_the_module(path, arguments) } {
        set_errno(libc::EPERM);
        return -1;
    }
    narrow(real!(SYS_execve, path, arguments, environment))
}

/// Whether this is `modprobe … ip_vs`, or by its arguments what stands in its place: `… -- ip_vs`.
///
/// # Safety
///
/// `path` ends with 0 and `arguments` with null, or they are null themselves.
unsafe fn loads_the_module(path: *const c_char, arguments: *const *const c_char) -> bool {
    if path.is_null() || arguments.is_null() {
        return false;
    }
    // SAFETY: as this function demands.
    let is_modprobe = unsafe { CStr::from_ptr(path) }.to_bytes().ends_with(b"/modprobe");
    let mut is_name = false;
    for index in 0..ARGUMENTS {
        // SAFETY: as this function demands; no element behind the null is read.
        let argument = unsafe { *arguments.add(index) };
        if argument.is_null() {
            return false;
        }
        // SAFETY: as this function demands.
        let argument = unsafe { CStr::from_ptr(argument) };
        if argument == c"ip_vs" && (is_modprobe || is_name) {
            return true;
        }
        is_name = argument == c"--";
    }
    false
}
