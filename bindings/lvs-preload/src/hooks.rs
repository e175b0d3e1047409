//! The C functions that the program calls in place of the C library's. Each does what its manual page says; on
//! descriptors that are not ours it is the system call, and sets `errno` as that does.
//!
//! All are `unsafe` for one reason, which holds for every block here: **pointers and lengths are the caller's, as the
//! C function demands them.** They are used for the time of the call, as the C library would.

use crate::descriptors::{self, Slot};
use crate::exchange::{self, Received};
use crate::files;
use crate::link;
use crate::messages;
use core::ffi::{CStr, c_char, c_int, c_long, c_void};
use core::sync::atomic::{AtomicPtr, Ordering};
use libc::{FILE, iovec, msghdr, size_t, sockaddr, sockaddr_nl, socklen_t, ssize_t};
use rustix::fd::IntoRawFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::io::{IoSlice, IoSliceMut};

/// The socket options of IPVS, at level 0: `IP_VS_BASE_CTL` and the numbers behind it.
const IPVS_OPTIONS: core::ops::RangeInclusive<c_int> = 1152..=1167;

/// Bytes of `struct sockaddr_nl`.
const NAME: socklen_t = 12;

/// Arguments of a program that are searched for the kernel's module.
const ARGUMENTS: usize = 16;

/// What this library is known by: `natlb-lvs` preloads no other.
#[used]
#[unsafe(no_mangle)]
static natlb_lvs_preload: u8 = 1;

/// The shortest look-up of a family: two headers, an attribute's header and its name.
const SHORTEST_LOOK_UP: usize = 28;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the arguments of system calls are passed as 64-bit words");

/// The system call itself. `errno` is set by it.
macro_rules! real {
    ($number:ident, $($argument:expr),+) => {
        // SAFETY: the arguments are the caller's, for the system call of the function that was called.
        unsafe { libc::syscall(libc::$number, $($argument),+) }
    };
}

/// Whose a message is that is being sent.
enum Owner {
    Kernel,
    Lbd(&'static Slot),
    /// Nobody's: the descriptor was to be taken over, and could not be.
    None(Errno),
}

fn owner(descriptor: c_int, parts: &[IoSlice], to_kernel: bool) -> Owner {
    if let Some(slot) = descriptors::find(descriptor) {
        return Owner::Lbd(slot);
    }
    let total = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
    if !to_kernel || !(SHORTEST_LOOK_UP..=messages::LONGEST_LOOK_UP).contains(&total) {
        return Owner::Kernel;
    }
    let mut bytes = [0; messages::LONGEST_LOOK_UP];
    exchange::gather(parts, &mut bytes);
    if !messages::asks_for_ipvs(&bytes) || !descriptors::is_generic_netlink(descriptor) {
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

/// The result of a system call as its C function has it.
fn narrow(result: c_long) -> c_int {
    c_int::try_from(result).unwrap_or(-1)
}

/// # Safety
///
/// `buffer` is readable for `length` bytes, or null.
unsafe fn bytes_of<'call>(buffer: *const c_void, length: size_t) -> &'call [u8] {
    if buffer.is_null() || isize::try_from(length).is_err() {
        return &[];
    }
    // SAFETY: as this function demands; not null, and no longer than memory can be.
    unsafe { core::slice::from_raw_parts(buffer.cast(), length) }
}

/// # Safety
///
/// `buffer` is writable for `length` bytes, or null.
unsafe fn room_of<'call>(buffer: *mut c_void, length: size_t) -> &'call mut [u8] {
    if buffer.is_null() || isize::try_from(length).is_err() {
        return &mut [];
    }
    // SAFETY: as this function demands; not null, no longer than memory can be, and nobody else's during the call.
    unsafe { core::slice::from_raw_parts_mut(buffer.cast(), length) }
}

/// Whether an address, if there is one, is the kernel's: netlink with port 0.
///
/// # Safety
///
/// `name` is readable for `length` bytes, or null.
unsafe fn is_kernel(name: *const c_void, length: socklen_t) -> bool {
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
unsafe fn put_name(name: *mut c_void, length: socklen_t, port: u32) {
    let mut bytes = [0; NAME as usize];
    for (place, byte) in bytes
        .iter_mut()
        .zip((libc::AF_NETLINK as u16).to_ne_bytes().into_iter().chain([0; 2]).chain(port.to_ne_bytes()))
    {
        *place = byte;
    }
    // SAFETY: as this function demands.
    let room = unsafe { room_of(name, length as size_t) };
    for (place, byte) in room.iter_mut().zip(bytes) {
        *place = byte;
    }
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
        if let Some(result) = sent(descriptor, parts, flags, to_kernel) {
            return result;
        }
    }
    real!(SYS_sendmsg, descriptor, message, flags) as ssize_t
}

/// # Safety
///
/// `parts` are `count` parts of readable memory, or null.
unsafe fn parts_of<'call>(parts: *const iovec, count: size_t) -> &'call [IoSlice<'call>] {
    if parts.is_null() || count > MOST_PARTS {
        return &[];
    }
    // SAFETY: as this function demands; std promises that an `IoSlice` is an `iovec` on Unix.
    unsafe { core::slice::from_raw_parts(parts.cast(), count) }
}

/// # Safety
///
/// `parts` are `count` parts of writable memory, or null.
unsafe fn rooms_of<'call>(parts: *mut iovec, count: size_t) -> &'call mut [IoSliceMut<'call>] {
    if parts.is_null() || count > MOST_PARTS {
        return &mut [];
    }
    // SAFETY: as this function demands; std promises that an `IoSliceMut` is an `iovec` on Unix.
    unsafe { core::slice::from_raw_parts_mut(parts.cast(), count) }
}

/// `UIO_MAXIOV`: the parts that the kernel takes at most.
const MOST_PARTS: usize = 1024;

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
    // SAFETY: the caller's buffer and address.
    let (bytes, to_kernel) = unsafe { (bytes_of(buffer, length), is_kernel(name.cast(), name_length)) };
    if let Some(result) = sent(descriptor, &[IoSlice::new(bytes)], flags, to_kernel) {
        return result;
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
    // SAFETY: the caller's buffer.
    let bytes = unsafe { bytes_of(buffer, length) };
    if let Some(result) = sent(descriptor, &[IoSlice::new(bytes)], 0, true) {
        return result;
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
