//! What the caller's pointers point to.

use core::ffi::{c_int, c_void};
use libc::{iovec, size_t, sockaddr_nl, socklen_t};
use std::io::{IoSlice, IoSliceMut};

/// Bytes of `struct sockaddr_nl`.
pub(super) const NAME: socklen_t = 12;

/// `UIO_MAXIOV`: the parts that the kernel takes at most.
const MOST_PARTS: usize = 1024;

/// # Safety
///
/// `buffer` is readable for `length` bytes, or null.
pub(super) unsafe fn bytes_of<'call>(buffer: *const c_void, length: size_t) -> &'call [u8] {
    if buffer.is_null() || isize::try_from(length).is_err() {
        return &[];
    }
    // SAFETY: as this function demands; not null, and no longer than memory can be.
    unsafe { core::slice::from_raw_parts(buffer.cast(), length) }
}

/// # Safety
///
/// `buffer` is writable for `length` bytes, or null.
pub(super) unsafe fn room_of<'call>(buffer: *mut c_void, length: size_t) -> &'call mut [u8] {
    if buffer.is_null() || isize::try_from(length).is_err() {
        return &mut [];
    }
    // SAFETY: as this function demands; not null, no longer than memory can be, and nobody else's during the call.
    unsafe { core::slice::from_raw_parts_mut(buffer.cast(), length) }
}

/// # Safety
///
/// `parts` are `count` parts of readable memory, or null.
pub(super) unsafe fn parts_of<'call>(parts: *const iovec, count: size_t) -> &'call [IoSlice<'call>] {
    if parts.is_null() || count > MOST_PARTS {
        return &[];
    }
    // SAFETY: as this function demands; std promises that an `IoSlice` is an `iovec` on Unix.
    unsafe { core::slice::from_raw_parts(parts.cast(), count) }
}

/// # Safety
///
/// `parts` are `count` parts of writable memory, or null.
pub(super) unsafe fn rooms_of<'call>(parts: *mut iovec, count: size_t) -> &'call mut [IoSliceMut<'call>] {
    if parts.is_null() || count > MOST_PARTS {
        return &mut [];
    }
    // SAFETY: as this function demands; std promises that an `IoSliceMut` is an `iovec` on Unix.
    unsafe { core::slice::from_raw_parts_mut(parts.cast(), count) }
}

/// Whether an address, if there is one, is the kernel's: netlink with port 0.
///
/// # Safety
///
/// `name` is readable for `length` bytes, or null.
pub(super) unsafe fn is_kernel(name: *const c_void, length: socklen_t) -> bool {
    if name.is_null() || length < NAME {
        return name.is_null() || length == 0;
    }
    // SAFETY: as this function demands, it has the bytes of a `sockaddr_nl`, all of whose values are valid.
    let name = unsafe { name.cast::<sockaddr_nl>().read_unaligned() };
    c_int::from(name.nl_family) == libc::AF_NETLINK && name.nl_pid == 0
}

/// Writes an address of the netlink family, as far as there is room.
///
/// # Safety
///
/// `name` is writable for `length` bytes, or null.
pub(super) unsafe fn put_name(name: *mut c_void, length: socklen_t, port: u32) {
    let family = (libc::AF_NETLINK as u16).to_ne_bytes();
    let port = port.to_ne_bytes();
    let bytes: [u8; NAME as usize] =
        [family[0], family[1], 0, 0, port[0], port[1], port[2], port[3], 0, 0, 0, 0];
    // SAFETY: as this function demands.
    let room = unsafe { room_of(name, length as size_t) };
    room.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
}
