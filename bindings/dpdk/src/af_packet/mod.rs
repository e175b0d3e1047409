//! Datagrams that the kernel has put together for an af_packet device, cut again.
//!
//! DPDK's driver has the kernel put fragments together: it joins a fanout group with `PACKET_FANOUT_FLAG_DEFRAG`. A
//! slot of its ring holds hardly more than a frame, so all but the beginning of a datagram would be lost; slots of
//! 64 KiB would take 512 MiB for a queue. But the kernel can be asked to keep a copy of what does not fit a slot in
//! the socket's own queue (`PACKET_COPY_THRESH`, packet(7)). It is read when the beginning comes, and cut into
//! fragments as long as the interface's MTU allows: the packet path gets what was on the wire, as from any other
//! device.
//!
//! And through the driver's sockets the kernel is asked for frames to multicast groups.
//!
//! ```text
//! the ring    ─► a beginning ─┐
//! the socket  ─► its copy ────┴─► fragments, in order
//! ```

mod cutter;

pub(crate) use cutter::{Copies, Cutter};

use nix::libc;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Bytes of copies that the kernel keeps for a queue, with all that it counts to them: some 40 datagrams of 64 KiB.
/// They are taken only while copies wait.
const KEPT: usize = 4 << 20;

/// The sockets of the driver's queues on an interface, in the order of the queues: the driver opens one after the
/// other, and a new descriptor is the lowest that is free. They keep copies of frames that do not fit a slot.
pub(crate) fn sockets(interface: &str) -> io::Result<Vec<OwnedFd>> {
    let index = if_nametoindex(interface)?;
    let mut descriptors: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| is_on(*descriptor, index))
        .collect();
    descriptors.sort_unstable();
    descriptors.into_iter().map(keeping_copies).collect()
}

/// Whether a descriptor is a packet socket on the interface with this index.
fn is_on(descriptor: RawFd, index: u32) -> bool {
    let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: all zero is an address of no family.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    // SAFETY: at most `length` bytes are written; a descriptor that is no socket is refused.
    let result = unsafe { libc::getsockname(descriptor, (&raw mut address).cast(), &raw mut length) };
    result == 0
        && i32::from(address.sll_family) == libc::AF_PACKET
        && u32::try_from(address.sll_ifindex) == Ok(index)
}

fn keeping_copies(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: it is a socket of the driver, which is open until its port is closed; nothing closes one meanwhile. The
    // copy made of it here is ours.
    let socket = unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()?;
    let on: libc::c_int = 1;
    // SAFETY: the option takes a number of this size, which is read before the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_COPY_THRESH,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // Without the right to more, fewer copies are kept.
    if setsockopt(&socket, sockopt::RcvBufForce, &KEPT).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &KEPT)?;
    }
    Ok(socket)
}

/// Has the kernel give the interface of this socket frames to all multicast groups, until the socket and its copies are
/// closed: a NIC passes on only those of the groups that the kernel itself listens to.
pub(crate) fn receive_all_groups(socket: &OwnedFd, interface: &str) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: if_nametoindex(interface)?.cast_signed(),
        mr_type: libc::PACKET_MR_ALLMULTI as libc::c_ushort,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    // SAFETY: the option takes a structure of this kind, which is read before the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const request).cast(),
            size_of_val(&request) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl Copies for OwnedFd {
    fn next(&mut self, into: &mut [u8]) -> Option<usize> {
        recv(self.as_raw_fd(), into, MsgFlags::MSG_DONTWAIT).ok()
    }
}
