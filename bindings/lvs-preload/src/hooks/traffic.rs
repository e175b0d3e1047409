//! `sendmsg` and `recvmsg`, and the functions that do less.

use super::done;
use super::memory::{NAME, bytes_of, is_kernel, parts_of, put_name, room_of, rooms_of};
use crate::descriptors::{self, Slot};
use crate::exchange::{self, Received};
use crate::messages;
use core::ffi::{c_int, c_void};
use libc::{msghdr, size_t, sockaddr, socklen_t, ssize_t};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::io::{IoSlice, IoSliceMut};

/// The shortest look-up of a family: two headers, an attribute's header and its name.
const SHORTEST_LOOK_UP: usize = 28;

/// Whose a message is that is being sent.
enum Owner {
    Kernel,
    Lbd(&'static Slot),
    /// Nobody's: the descriptor was to be taken over, and could not be.
    None(Errno),
}

/// Whether so many bytes may be for `lbd`. If not, nothing of them is read: they are the kernel's.
fn may_be_ours(descriptor: c_int, length: size_t) -> bool {
    (SHORTEST_LOOK_UP..=messages::LONGEST_LOOK_UP).contains(&length)
        || descriptors::find(descriptor).is_some()
}

fn owner(descriptor: c_int, parts: &[IoSlice], to_kernel: bool) -> Owner {
    if let Some(slot) = descriptors::find(descriptor) {
        return Owner::Lbd(slot);
    }
    let mut bytes = [0; messages::LONGEST_LOOK_UP];
    exchange::gather(parts, &mut bytes);
    if !to_kernel || !messages::asks_for_ipvs(&bytes) || !descriptors::is_generic_netlink(descriptor) {
        return Owner::Kernel;
    }
    descriptors::take_over(descriptor).map_or_else(Owner::None, Owner::Lbd)
}

/// Sends to `lbd` what is meant for it; `None`: it is the kernel's.
fn sent(descriptor: c_int, parts: &[IoSlice], flags: c_int, to_kernel: bool) -> Option<ssize_t> {
    let flags = SendFlags::from_bits_retain(flags.cast_unsigned());
    match owner(descriptor, parts, to_kernel) {
        Owner::Kernel => None,
        Owner::Lbd(slot) => Some(done(exchange::send(slot, descriptor, parts, flags))),
        Owner::None(reason) => Some(done(Err(reason))),
    }
}

/// Receives from `lbd`; `None`: the descriptor is not ours.
fn received(descriptor: c_int, parts: &mut [IoSliceMut], flags: c_int) -> Option<Result<Received, Errno>> {
    let slot = descriptors::find(descriptor)?;
    Some(exchange::receive(slot, descriptor, parts, RecvFlags::from_bits_retain(flags.cast_unsigned())))
}

/// What a receive returns: the bytes that had room, or with `MSG_TRUNC` all of the message's.
fn count(received: &Received, flags: c_int) -> usize {
    if flags & libc::MSG_TRUNC == 0 { received.copied } else { received.length }
}

/// `sendmsg(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn sendmsg(descriptor: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    if !message.is_null() {
        // SAFETY: a `msghdr` of the caller's, with its parts and its name.
        let (parts, to_kernel) = unsafe {
            let message = &*message;
            (parts_of(message.msg_iov, message.msg_iovlen), is_kernel(message.msg_name, message.msg_namelen))
        };
        let length = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        if may_be_ours(descriptor, length)
            && let Some(result) = sent(descriptor, parts, flags, to_kernel)
        {
            return result;
        }
    }
    real!(SYS_sendmsg, descriptor, message, flags) as ssize_t
}

/// `sendto(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn sendto(
    descriptor: c_int,
    buffer: *const c_void,
    length: size_t,
    flags: c_int,
    name: *const sockaddr,
    name_length: socklen_t,
) -> ssize_t {
    if may_be_ours(descriptor, length) {
        // SAFETY: the caller's buffer and address.
        let (bytes, to_kernel) = unsafe { (bytes_of(buffer, length), is_kernel(name.cast(), name_length)) };
        if let Some(result) = sent(descriptor, &[IoSlice::new(bytes)], flags, to_kernel) {
            return result;
        }
    }
    real!(SYS_sendto, descriptor, buffer, length, flags, name, name_length) as ssize_t
}

/// `send(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn send(descriptor: c_int, buffer: *const c_void, length: size_t, flags: c_int) -> ssize_t {
    // SAFETY: the caller's arguments; there is no address.
    unsafe { sendto(descriptor, buffer, length, flags, core::ptr::null(), 0) }
}

/// `write(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn write(descriptor: c_int, buffer: *const c_void, length: size_t) -> ssize_t {
    if may_be_ours(descriptor, length) {
        // SAFETY: the caller's buffer.
        let bytes = unsafe { bytes_of(buffer, length) };
        if let Some(result) = sent(descriptor, &[IoSlice::new(bytes)], 0, true) {
            return result;
        }
    }
    real!(SYS_write, descriptor, buffer, length) as ssize_t
}

/// `recvmsg(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn recvmsg(descriptor: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    if !message.is_null() && descriptors::find(descriptor).is_some() {
        // SAFETY: a `msghdr` of the caller's, with room for parts and a name.
        unsafe {
            let message = &mut *message;
            let parts = rooms_of(message.msg_iov, message.msg_iovlen);
            match received(descriptor, parts, flags) {
                Some(Ok(received)) => {
                    put_name(message.msg_name, message.msg_namelen, 0);
                    message.msg_namelen = if message.msg_name.is_null() { 0 } else { NAME };
                    message.msg_controllen = 0;
                    let is_cut = received.copied < received.length;
                    message.msg_flags = if is_cut { libc::MSG_TRUNC } else { 0 };
                    return done(Ok(count(&received, flags)));
                }
                Some(Err(reason)) => return done(Err(reason)),
                None => {}
            }
        }
    }
    real!(SYS_recvmsg, descriptor, message, flags) as ssize_t
}

/// `recvfrom(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn recvfrom(
    descriptor: c_int,
    buffer: *mut c_void,
    length: size_t,
    flags: c_int,
    name: *mut sockaddr,
    name_length: *mut socklen_t,
) -> ssize_t {
    if descriptors::find(descriptor).is_some() {
        // SAFETY: the caller's buffer.
        let room = unsafe { room_of(buffer, length) };
        match received(descriptor, &mut [IoSliceMut::new(room)], flags) {
            Some(Ok(received)) => {
                if !name.is_null() && !name_length.is_null() {
                    // SAFETY: the caller's room for an address, and its length.
                    unsafe {
                        put_name(name.cast(), *name_length, 0);
                        *name_length = NAME;
                    }
                }
                return done(Ok(count(&received, flags)));
            }
            Some(Err(reason)) => return done(Err(reason)),
            None => {}
        }
    }
    real!(SYS_recvfrom, descriptor, buffer, length, flags, name, name_length) as ssize_t
}

/// `recv(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn recv(descriptor: c_int, buffer: *mut c_void, length: size_t, flags: c_int) -> ssize_t {
    // SAFETY: the caller's arguments; no address is asked for.
    unsafe { recvfrom(descriptor, buffer, length, flags, core::ptr::null_mut(), core::ptr::null_mut()) }
}

/// `read(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn read(descriptor: c_int, buffer: *mut c_void, length: size_t) -> ssize_t {
    if descriptors::find(descriptor).is_some() {
        // SAFETY: the caller's arguments; no address is asked for.
        return unsafe { recv(descriptor, buffer, length, 0) };
    }
    real!(SYS_read, descriptor, buffer, length) as ssize_t
}
