//! Files as the C library's streams.

use super::set_errno;
use crate::files;
use core::ffi::{CStr, c_char, c_void};
use core::sync::atomic::{AtomicPtr, Ordering};
use libc::FILE;
use rustix::fd::IntoRawFd;

type Open = unsafe extern "C" fn(*const c_char, *const c_char) -> *mut FILE;

/// `fopen(3)`: the files of IPVS come from `lbd`.
#[unsafe(no_mangle)]
unsafe extern "C" fn fopen(path: *const c_char, mode: *const c_char) -> *mut FILE {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());
    // SAFETY: the caller's arguments.
    unsafe { opened(path, mode, c"fopen", &REAL) }
}

/// `fopen64(3)`: as `fopen`.
#[unsafe(no_mangle)]
unsafe extern "C" fn fopen64(path: *const c_char, mode: *const c_char) -> *mut FILE {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());
    // SAFETY: the caller's arguments.
    unsafe { opened(path, mode, c"fopen64", &REAL) }
}

/// # Safety
///
/// As `fopen` demands; `function` is `fopen` or a function like it.
unsafe fn opened(
    path: *const c_char,
    mode: *const c_char,
    function: &CStr,
    real: &AtomicPtr<c_void>,
) -> *mut FILE {
    // SAFETY: not null; the caller's text ends with 0.
    let name = if path.is_null() { None } else { files::name(unsafe { CStr::from_ptr(path) }.to_bytes()) };
    let Some(name) = name else {
        // SAFETY: as this function demands.
        return unsafe { really_opened(path, mode, function, real) };
    };
    match files::open(name) {
        // SAFETY: a descriptor that is nobody else's.
        Ok(socket) => unsafe { libc::fdopen(socket.into_raw_fd(), c"r".as_ptr()) },
        Err(reason) => {
            set_errno(reason.raw_os_error());
            core::ptr::null_mut()
        }
    }
}

/// The C library's own function: there is no system call that makes a `FILE`.
///
/// # Safety
///
/// As `opened` demands.
unsafe fn really_opened(
    path: *const c_char,
    mode: *const c_char,
    function: &CStr,
    real: &AtomicPtr<c_void>,
) -> *mut FILE {
    let mut found = real.load(Ordering::Relaxed);
    if found.is_null() {
        // SAFETY: the name ends with 0. What is found lies behind this library, so it is not the hook.
        found = unsafe { libc::dlsym(libc::RTLD_NEXT, function.as_ptr()) };
        real.store(found, Ordering::Relaxed);
    }
    if found.is_null() {
        set_errno(libc::ENOSYS);
        return core::ptr::null_mut();
    }
    // SAFETY: the address of a function of this name, which has this type.
    unsafe { core::mem::transmute::<*mut c_void, Open>(found)(path, mode) }
}
