//! The link layer: which protocol, and is the frame for us?

use super::Slow;
use super::packet::read_ip;
use crate::frame::Frame;
use crate::names::drop_reason::DropReason;
use crate::names::family::IpVersion;
use crate::wire::ethernet;
use crate::worker::fate::Judged;

impl<F: Frame> Slow<'_, F> {
    pub(in crate::worker) fn link_layer(&mut self, frame: &mut F) -> Judged {
        if !frame.is_whole() {
            return Err(DropReason::Segmented);
        }
        let interface = &self.snapshot.interfaces[self.arrival.index()];
        let bytes = frame.bytes();
        let header = ethernet::Header::parse(bytes).ok_or(DropReason::Malformed)?;
        if header.destination != interface.mac && !header.destination.is_group() {
            return Err(DropReason::OtherHost);
        }
        match header.ether_type {
            ethernet::IPV4 => {}
            ethernet::ARP => return self.arp(frame),
            ethernet::VLAN | ethernet::SERVICE_VLAN => return Err(DropReason::Vlan),
            ethernet::IPV6 if self.snapshot.speaks_ipv6(self.arrival) => {}
            ethernet::IPV6 => return Err(DropReason::Ipv6),
            _ => return Err(DropReason::EtherType),
        }
        let ip = read_ip(bytes)?;
        if usize::from(ip.length) > usize::from(interface.mtu) {
            self.counters.merged_segments[self.arrival.eth_port().index()].add(1);
        }
        match ip.version() {
            IpVersion::Four if header.destination.is_group() => Err(DropReason::Broadcast),
            IpVersion::Four => self.network_layer(frame, ip),
            IpVersion::Six => self.network_layer_v6(frame, ip, header.destination.is_group()),
        }
    }
}
