//! Asking the kernel for an interface by rtnetlink. Its socket belongs to the network namespace that it was made in,
//! which is that of the devices: `/sys` may be another one's.

use super::{HostInterface, InterfaceCounters};
use dataplane::names::mac::Mac;
use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use std::cell::Cell;
use std::io;

/// Messages that are read for one question at most: its answer, and what an earlier question left.
const READ: usize = 8;

/// The kernel, by a netlink socket.
pub struct Kernel {
    socket: Socket,
    sequence: Cell<u32>,
}

/// How an interface is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which<'a> {
    /// By its number.
    Index(u32),
    /// By its name.
    Name(&'a str),
}

impl Kernel {
    /// In the network namespace of this thread.
    ///
    /// # Errors
    /// If there is no netlink socket.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // An answer is there when the question has been sent: rtnetlink works within the system call.
        socket.set_non_blocking(true)?;
        Ok(Self { socket, sequence: Cell::new(0) })
    }

    /// What it says of an interface; `None`: there is none.
    ///
    /// # Errors
    /// It does not answer, or not in words that are understood.
    pub fn interface(&self, which: Which<'_>) -> io::Result<Option<HostInterface>> {
        let mut question = LinkMessage::default();
        match which {
            Which::Index(index) => question.header.index = index,
            Which::Name(name) => question.attributes.push(LinkAttribute::IfName(name.to_owned())),
        }
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        let mut header = NetlinkHeader::default();
        (header.flags, header.sequence_number) = (NLM_F_REQUEST, sequence);
        let payload = NetlinkPayload::from(RouteNetlinkMessage::GetLink(question));
        let mut message = NetlinkMessage::new(header, payload);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        self.answer(sequence)
    }

    fn answer(&self, sequence: u32) -> io::Result<Option<HostInterface>> {
        for _ in 0..READ {
            let (bytes, _) = self.socket.recv_from_full()?;
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            if message.header.sequence_number != sequence {
                continue;
            }
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                    return Ok(Some(interface(&link)));
                }
                NetlinkPayload::Error(error) if error.raw_code() == -(Errno::ENODEV as i32) => {
                    return Ok(None);
                }
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }
}

fn interface(link: &LinkMessage) -> HostInterface {
    let has = |flag| link.header.flags.contains(flag);
    let mut found = HostInterface {
        index: link.header.index,
        is_up: has(LinkFlags::Up),
        is_running: has(LinkFlags::Up | LinkFlags::Running),
        is_promiscuous: has(LinkFlags::Promisc),
        ..HostInterface::default()
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => found.name.clone_from(name),
            LinkAttribute::Address(bytes) => {
                let mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac);
                found.mac = mac.filter(|mac| *mac != Mac([0; 6]));
            }
            LinkAttribute::Mtu(mtu) => found.mtu = u16::try_from(*mtu).unwrap_or(u16::MAX),
            LinkAttribute::CarrierChanges(changes) => found.carrier_changes = *changes,
            LinkAttribute::Stats64(counted) => {
                found.counters = InterfaceCounters {
                    rx_packets: counted.rx_packets,
                    rx_dropped: counted.rx_dropped,
                    rx_missed: counted.rx_missed_errors,
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every network namespace has it.
    #[test]
    fn the_loopback_interface_is_found_by_name_and_by_index() {
        let kernel = Kernel::open().unwrap();
        let by_name = kernel.interface(Which::Name("lo")).unwrap().expect("lo");
        assert_eq!((by_name.name.as_str(), by_name.mac), ("lo", None));
        assert_eq!(by_name.mtu, u16::MAX, "65536 bytes");
        let by_index = kernel.interface(Which::Index(by_name.index)).unwrap().expect("lo");
        assert_eq!((by_index.index, by_index.name), (by_name.index, by_name.name));
    }

    #[test]
    fn an_interface_that_is_not_there_is_none() {
        let kernel = Kernel::open().unwrap();
        assert_eq!(kernel.interface(Which::Name("natlb-nowhere")).unwrap(), None);
        assert_eq!(kernel.interface(Which::Index(i32::MAX as u32)).unwrap(), None);
        assert!(kernel.interface(Which::Name("lo")).unwrap().is_some(), "and goes on");
    }
}
