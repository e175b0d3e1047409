//! Netlink as LVS's tools use it, with the C library's functions.

use crate::wire::{self, Message};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, RecvMsg, SockFlag, SockProtocol, SockType, bind, getsockname,
    recvmsg, sendmsg, socket,
};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// A generic netlink socket.
pub(crate) struct Netlink {
    pub(crate) socket: OwnedFd,
    pub(crate) port: u32,
}

impl Netlink {
    /// Bound, as libnl's.
    pub(crate) fn open() -> Self {
        let flags = SockFlag::SOCK_CLOEXEC;
        let protocol = SockProtocol::NetlinkGeneric;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol).unwrap();
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0)).unwrap();
        let port = getsockname::<NetlinkAddr>(socket.as_raw_fd()).unwrap().pid();
        assert_ne!(port, 0);
        Self { socket, port }
    }

    /// One that has looked IPVS up and has got its number.
    pub(crate) fn open_ipvs() -> Self {
        let netlink = Self::open();
        netlink.send(&wire::look_up("IPVS", 7));
        let answer = netlink.receive();
        assert_eq!((answer.kind, answer.sequence, answer.port), (wire::CONTROLLER, 7, netlink.port));
        assert_eq!(answer.body[4..10], [6, 0, 1, 0, 0xf0, 3]);
        assert_eq!(netlink.receive().error(), (0, 7));
        netlink
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// To the kernel, in two parts.
    pub(crate) fn send(&self, message: &Message) {
        let bytes = message.bytes();
        assert_eq!(self.send_bytes(&bytes), Ok(bytes.len()));
    }

    pub(crate) fn send_bytes(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let (one, other) = bytes.split_at(bytes.len() / 2);
        let parts = [IoSlice::new(one), IoSlice::new(other)];
        let kernel = NetlinkAddr::new(0, 0);
        sendmsg(self.descriptor(), &parts, &[], MsgFlags::empty(), Some(&kernel))
    }

    /// One message, as libnl gets it: its length first, then all of it.
    pub(crate) fn receive(&self) -> Message {
        let length = self.peek_length();
        let mut bytes = vec![0; length + 10];
        let found = self.receive_into(&mut bytes, MsgFlags::empty()).unwrap();
        assert_eq!(found, (length, false));
        Message::read(&bytes[..length])
    }

    /// The length of the next message, by a look with too little room.
    pub(crate) fn peek_length(&self) -> usize {
        let mut little = [0; 8];
        let (length, is_cut) =
            self.receive_into(&mut little, MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC).unwrap();
        assert!(is_cut, "a message has at least a header");
        length
    }

    /// What recvmsg returns, and whether it says that the message was cut.
    pub(crate) fn receive_into(&self, room: &mut [u8], flags: MsgFlags) -> Result<(usize, bool), Errno> {
        let mut parts = [IoSliceMut::new(room)];
        let found: RecvMsg<NetlinkAddr> = recvmsg(self.descriptor(), &mut parts, None, flags)?;
        // From the kernel; with another length of the name nix would find none.
        assert_eq!(found.address, Some(NetlinkAddr::new(0, 0)));
        Ok((found.bytes, found.flags.contains(MsgFlags::MSG_TRUNC)))
    }

    pub(crate) fn is_readable(&self) -> bool {
        let mut sets = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        poll(&mut sets, PollTimeout::ZERO).unwrap() > 0
    }
}

/// A request of the family IPVS, as an example.
pub(crate) fn request(sequence: u32) -> Message {
    Message::new(wire::IPVS, sequence, &[15, 1, 0, 0])
}
