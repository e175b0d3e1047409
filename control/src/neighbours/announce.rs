//! Gratuitous ARP: telling the links which addresses are ours when they appear, so that hosts that knew
//! another MAC for them forget it.

use super::{ArpFrame, Interface, Moment};
use dataplane::ids::{MAX_PORTS, PortIndex};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

/// Between the first and the second (RFC 5227, 1.1 has two announcements, 2 s apart).
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// Frames sent in one turn: thousands of VIPs must not fill the workers' rings.
const AT_ONCE: usize = 32;

/// Which addresses were announced where.
#[derive(Debug, Default)]
pub struct Announcer {
    known: BTreeSet<(PortIndex, Ipv4Addr)>,
    link_up: [bool; MAX_PORTS],
    waiting: VecDeque<(Moment, PortIndex, Ipv4Addr)>,
    again: VecDeque<(Moment, PortIndex, Ipv4Addr)>,
}

impl Announcer {
    /// These are the own addresses now, each with the bit set of the ports that answer for it. New ones
    /// are announced on the ports that have a link.
    pub fn set_addresses(&mut self, addresses: impl Iterator<Item = (Ipv4Addr, u16)>, now: Moment) {
        let addresses: HashMap<Ipv4Addr, u16> = addresses.collect();
        let on = |(address, ports): (&Ipv4Addr, &u16)| {
            let (address, ports) = (*address, *ports);
            (0..MAX_PORTS as PortIndex).filter(move |port| ports & 1 << port != 0).map(move |p| (p, address))
        };
        let wanted: BTreeSet<_> = addresses.iter().flat_map(on).collect();
        let new: Vec<_> = wanted.difference(&self.known).copied().collect();
        self.known = wanted;
        for (port, address) in new {
            self.announce(port, address, now);
        }
    }

    /// A port has a link, or lost it. When one appears, all its addresses are announced.
    pub fn set_link(&mut self, port: PortIndex, up: bool, now: Moment) {
        let before = std::mem::replace(&mut self.link_up[usize::from(port)], up);
        if up && !before {
            self.announce_port(port, now);
        }
    }

    /// All addresses of a port are announced anew, if it has a link.
    pub fn announce_port(&mut self, port: PortIndex, now: Moment) {
        let of_port: Vec<_> = self.known.iter().filter(|(other, _)| *other == port).copied().collect();
        for (port, address) in of_port {
            self.announce(port, address, now);
        }
    }

    /// What is to be sent now.
    pub fn turn(&mut self, interfaces: &[Interface], now: Moment) -> Vec<ArpFrame> {
        let mut frames = Vec::new();
        while frames.len() < AT_ONCE {
            let (second, next) = match self.again.front() {
                Some((due, port, address)) if *due <= now => (true, (*port, *address)),
                _ => match self.waiting.front() {
                    Some((_, port, address)) => (false, (*port, *address)),
                    None => break,
                },
            };
            let (port, address) = next;
            if second {
                self.again.pop_front();
            } else {
                self.waiting.pop_front();
                self.again.push_back((now + INTERVAL, port, address));
            }
            // It may have been removed since.
            if self.known.contains(&next)
                && let Some(interface) = interfaces.get(usize::from(port))
            {
                frames.push(interface.announcement(address));
            }
        }
        frames
    }

    fn announce(&mut self, port: PortIndex, address: Ipv4Addr, now: Moment) {
        if self.link_up[usize::from(port)] {
            self.waiting.push_back((now, port, address));
        }
    }
}
