//! A socket's name and options.

use super::memory::{NAME, put_name};
use super::{narrow, set_errno};
use crate::{descriptors, link};
use core::ffi::{c_int, c_void};
use libc::{sockaddr, socklen_t};

/// The socket options of IPVS, at level 0: `IP_VS_BASE_CTL` and the numbers behind it.
const IPVS_OPTIONS: core::ops::RangeInclusive<c_int> = 1152..=1167;

/// `getsockname(2)`: on ours, the name that the netlink socket had.
#[unsafe(no_mangle)]
unsafe extern "C" fn getsockname(descriptor: c_int, name: *mut sockaddr, length: *mut socklen_t) -> c_int {
    if let Some(slot) = descriptors::find(descriptor)
        && !length.is_null()
    {
        let port = slot.state.lock().port;
        // SAFETY: the caller's room for an address, and its length.
        unsafe {
            put_name(name.cast(), *length, port);
            *length = NAME;
        }
        return 0;
    }
    narrow(real!(SYS_getsockname, descriptor, name, length))
}

/// `getsockopt(2)`: IPVS's own options are refused, so that no tool reaches the kernel's IPVS by them.
#[unsafe(no_mangle)]
unsafe extern "C" fn getsockopt(
    descriptor: c_int,
    level: c_int,
    option: c_int,
    value: *mut c_void,
    length: *mut socklen_t,
) -> c_int {
    if level == libc::IPPROTO_IP && IPVS_OPTIONS.contains(&option) {
        set_errno(link::errno_of_socket_options());
        return -1;
    }
    narrow(real!(SYS_getsockopt, descriptor, level, option, value, length))
}

/// `setsockopt(2)`: as `getsockopt`; on ours, netlink's options are accepted and do nothing.
#[unsafe(no_mangle)]
unsafe extern "C" fn setsockopt(
    descriptor: c_int,
    level: c_int,
    option: c_int,
    value: *const c_void,
    length: socklen_t,
) -> c_int {
    if level == libc::IPPROTO_IP && IPVS_OPTIONS.contains(&option) {
        set_errno(link::errno_of_socket_options());
        return -1;
    }
    if level == libc::SOL_NETLINK && descriptors::find(descriptor).is_some() {
        return 0;
    }
    narrow(real!(SYS_setsockopt, descriptor, level, option, value, length))
}
