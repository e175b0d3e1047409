//! System calls that rustix has not, or not for our case. All others of the library are rustix's, which enters the
//! kernel by itself and so never meets the hooks.

use core::mem::ManuallyDrop;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::{DupFlags, Errno};

/// The program's descriptor, for the time of a call.
pub(crate) fn borrowed<'any>(descriptor: RawFd) -> Option<BorrowedFd<'any>> {
    // SAFETY: −1 is excluded. The descriptor is the program's argument to a call that is under way, or of the table:
    // a program may close it meanwhile, from another thread; then a system call on it fails or meets what has been
    // opened since, as it would without the library. No memory depends on it.
    (descriptor >= 0).then(|| unsafe { BorrowedFd::borrow_raw(descriptor) })
}

/// Puts an open file in place of what the program's descriptor is.
pub(crate) fn replace(descriptor: RawFd, by: &OwnedFd, close_on_exec: bool) -> Result<(), Errno> {
    if descriptor < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the descriptor stays the program's: it is not closed when this value ends.
    let mut place = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(descriptor) });
    let flags = if close_on_exec { DupFlags::CLOEXEC } else { DupFlags::empty() };
    rustix::io::dup3(by, &mut place, flags)
}

/// The process at the other end of a Unix socket; 0 if it is not to be seen from here, as from a container.
pub(crate) fn process_behind(socket: &OwnedFd) -> i32 {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the option's value is a `ucred`, and `length` says how long the room for it is.
    let found = unsafe {
        libc::syscall(
            libc::SYS_getsockopt,
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            &raw mut peer,
            &raw mut length,
        )
    };
    if found == 0 { peer.pid } else { 0 }
}
