//! `[[port]]`, `[[route]]` and `[[neighbour]]`, and what they must agree on.

use super::problem::Problems;
use super::section::{self, At, Section};
use super::{EthPort, Interface, StaticNeighbour, StaticRoute};
use crate::model::rules;
use crate::text::{addresses, links};
use dataplane::names::ids::{InterfaceId, MAX_INTERFACES};
use dataplane::names::side::Side;
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Duration;

/// The longest name of a port: DPDK's names of mempools (31 characters) begin with it.
const LONGEST_NAME: usize = 15;

/// Bytes of a frame besides its IPv4 packet: an Ethernet header and one VLAN tag.
const FRAME_HEADERS: usize = 14 + 4;

/// The ports and what is on their links.
pub(super) struct Topology {
    pub(super) eth_ports: Vec<EthPort>,
    pub(super) routes: Vec<StaticRoute>,
    pub(super) neighbours: Vec<StaticNeighbour>,
    /// Whether every address and route was read: only then can something be missing.
    complete: bool,
}

impl Topology {
    /// Reads all three.
    pub(super) fn read(
        ports: Vec<Section<'_>>,
        routes: Vec<Section<'_>>,
        neighbours: Vec<Section<'_>>,
        buffer_size: usize,
        problems: &mut Problems,
    ) -> Self {
        let mut topology =
            Self { eth_ports: Vec::new(), routes: Vec::new(), neighbours: Vec::new(), complete: true };
        topology.read_ports(ports, buffer_size, problems);
        for section in routes {
            topology.read_route(section, problems);
        }
        for section in neighbours {
            topology.read_neighbour(section, problems);
        }
        topology
    }

    /// Index of the port on whose link an address is: the longest prefix that contains it. A link-local address of IPv6
    /// may be on any.
    fn link(&self, address: IpAddr) -> Option<usize> {
        if rules::is_link_local(address) {
            return None;
        }
        let prefixes = self.eth_ports.iter().enumerate().flat_map(|(index, port)| {
            port.interface
                .addresses
                .iter()
                .filter(move |prefix| prefix.contains(&address))
                .map(move |p| (p, index))
        });
        prefixes.max_by_key(|(prefix, _)| prefix.prefix_len()).map(|(_, index)| index)
    }

    /// Whether every address and route could be read, so that nothing is missing but what the file lacks.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether a host on the link of the port at `on`, if that is known, would have an own address. A link-local one is
    /// that port's alone: on the link of another it may be another host's.
    fn is_own(&self, address: IpAddr, on: Option<usize>) -> bool {
        match on.filter(|_| rules::is_link_local(address)) {
            Some(port) => rules::is_own(self.eth_ports[port].interface.addresses.iter(), address),
            None => rules::is_own(self.prefixes(), address),
        }
    }

    /// What is wrong with a next hop on the link of the port at `on`, if that port has no address of its family: it
    /// neither asks for the host nor takes packets of it.
    fn why_not_spoken(&self, host: IpAddr, on: usize) -> Option<String> {
        let port = &self.eth_ports[on];
        let is_spoken = port.interface.addresses.iter().any(|own| own.addr().is_ipv4() == host.is_ipv4());
        let family = if host.is_ipv4() { "IPv4" } else { "IPv6" };
        let (name, is_known) = (&port.name, self.complete);
        (is_known && !is_spoken)
            .then(|| format!("is an {family} address, and port {name:?} has none; add one to its addresses"))
    }

    /// Whether some port has an IPv6 address.
    pub(super) fn speaks_ipv6(&self) -> bool {
        self.prefixes().any(|prefix| prefix.addr().is_ipv6())
    }

    fn is_link_broadcast(&self, address: IpAddr) -> bool {
        rules::is_link_broadcast(self.prefixes(), address)
    }

    fn prefixes(&self) -> impl Iterator<Item = &IpNet> {
        self.eth_ports.iter().flat_map(|port| &port.interface.addresses)
    }

    /// Whether nothing but the gateway of a port towards clients leads to a real. A file that means that is more likely
    /// to lack a route, though packets would find a way.
    pub(super) fn is_behind_clients_gateway(&self, real: IpAddr) -> bool {
        let hosts = self.neighbours.iter().map(|neighbour| neighbour.address);
        let vias = self.routes.iter().map(|route| route.via);
        let gateways = self.eth_ports.iter().flat_map(|port| port.interface.gateways.iter().copied());
        let is_next_hop = hosts.chain(vias).chain(gateways).any(|host| host == real);
        let has_route = self.routes.iter().any(|route| route.to.contains(&real));
        let interfaces = self.eth_ports.iter().map(|port| &port.interface);
        let leads_there = |gateway: &IpAddr| gateway.is_ipv4() == real.is_ipv4();
        let has_gateway = interfaces
            .into_iter()
            .any(|interface| interface.side != Side::Vip && interface.gateways.iter().any(leads_there));
        !is_next_hop && !has_route && !has_gateway && self.link(real).is_none()
    }

    fn read_ports(&mut self, sections: Vec<Section<'_>>, buffer_size: usize, problems: &mut Problems) {
        if sections.is_empty() {
            problems.add_for_file("no [[port]]: at least one is needed");
            self.complete = false;
        }
        let mut sides_known = !sections.is_empty();
        let mut gateways = Vec::new();
        for (index, mut section) in sections.into_iter().enumerate() {
            if index >= MAX_INTERFACES {
                problems.add(section.at, format!("[[port]]: at most {MAX_INTERFACES} ports"));
                self.complete = false;
                return;
            }
            let name = self.name(&mut section, problems);
            let words = [("vip", Side::Vip), ("dip", Side::Dip), ("both", Side::Both)];
            section.require("side", "\"vip\"", problems);
            let side = section.word("side", &words, problems);
            sides_known &= side.is_some();
            let device = self.device(&mut section, problems);
            let addresses = self.addresses(&mut section, problems);
            let of_port = gateways_of(&mut section, problems);
            gateways.extend(of_port.iter().map(|gateway| (index, *gateway)));
            let is_ipv6 = addresses.iter().any(|prefix| prefix.addr().is_ipv6());
            let mtu = mtu(&mut section, buffer_size, is_ipv6, problems);
            let every = section.number("announce_every", 1..=86_400, problems);
            let announce_every = every.map(|seconds| Duration::from_secs(seconds.value.into()));
            section.later("vlan", problems);
            section.finish(problems);
            let side = side.map_or(Side::Both, |side| side.value);
            let gateways = of_port.into_iter().map(|gateway| gateway.value).collect();
            self.eth_ports.push(EthPort {
                name,
                device,
                interface: Interface { side, addresses, gateways, mtu, announce_every },
            });
        }
        if sides_known {
            self.check_sides(problems);
        }
        for (index, gateway) in gateways {
            self.check_gateway(index, gateway, problems);
        }
    }

    fn name(&self, section: &mut Section<'_>, problems: &mut Problems) -> String {
        section.require("name", "\"vip0\"", problems);
        let Some(name) = section.text("name", problems) else { return String::new() };
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if name.len() > LONGEST_NAME || !name.chars().all(plain) {
            let expected = format!("1 to {LONGEST_NAME} letters, digits, '_', '-' or '.'");
            problems.add(name.at, format!("name: expected {expected}, found {:?}", name.value));
        }
        if self.eth_ports.iter().any(|port| port.name == name.value) {
            problems.add(name.at, format!("name: another port is called {:?}; names are unique", name.value));
        }
        name.value.to_owned()
    }

    fn device(&self, section: &mut Section<'_>, problems: &mut Problems) -> String {
        section.require("device", "\"net_af_packet0,iface=eth1\"", problems);
        let Some(device) = section.text("device", problems) else { return String::new() };
        let base = |device: &str| device.split(',').next().unwrap_or_default().to_owned();
        if let Some(other) = self.eth_ports.iter().find(|port| base(&port.device) == base(device.value)) {
            let (found, other) = (base(device.value), &other.name);
            problems
                .add(device.at, format!("device: {found:?} is that of port {other:?}; each needs its own"));
        }
        device.value.to_owned()
    }

    fn addresses(&mut self, section: &mut Section<'_>, problems: &mut Problems) -> Vec<IpNet> {
        let example = "[\"192.168.10.100/24\"]";
        section.require("addresses", example, problems);
        let Some(array) = section.array("addresses", problems) else {
            self.complete = false;
            return Vec::new();
        };
        if array.is_empty() {
            let expected = format!("expected at least one, as in addresses = {example}");
            problems.add(array.at, format!("addresses: {expected}"));
            self.complete = false;
        }
        let mut read: Vec<IpNet> = Vec::new();
        for value in array.value {
            let text = section::text("addresses", value, problems);
            let address =
                text.and_then(|text| section::parsed("addresses", text, links::own_address, problems));
            let Some(At { value: address, at }) = address else {
                self.complete = false;
                continue;
            };
            let is_elsewhere = !rules::is_link_local(address.addr()) && self.is_own(address.addr(), None);
            if is_elsewhere || read.iter().any(|other| other.addr() == address.addr()) {
                problems.add(at, format!("addresses: {} is listed twice", address.addr()));
            } else if let Some((other, name)) = self.same_network(address) {
                let remedy = "a network is on the link of one port";
                problems.add(
                    at,
                    format!("addresses: {address} is in the network of {other} of port {name:?}; {remedy}"),
                );
            } else {
                read.push(address);
            }
        }
        read
    }

    /// A port's own address in the network of this one, which every link has if it is IPv6's link-local network.
    fn same_network(&self, address: IpNet) -> Option<(IpNet, &str)> {
        if rules::is_link_local(address.addr()) {
            return None;
        }
        let others = self
            .eth_ports
            .iter()
            .flat_map(|port| port.interface.addresses.iter().map(move |other| (other, port)));
        let mut same = others.filter(|(other, _)| other.trunc() == address.trunc());
        same.next().map(|(other, port)| (*other, port.name.as_str()))
    }

    fn check_sides(&self, problems: &mut Problems) {
        for (missing, unwanted, word) in [("clients", Side::Dip, "vip"), ("reals", Side::Vip, "dip")] {
            if self.eth_ports.iter().all(|port| port.interface.side == unwanted) {
                let right = format!("one needs side = {word:?} or \"both\"");
                problems.add_for_file(format!("no [[port]] leads towards {missing}: {right}"));
            }
        }
    }

    /// A gateway is on its port's link, whatever the prefixes of the port's addresses are: clouds hand out /32.
    fn check_gateway(&self, index: usize, gateway: At<IpAddr>, problems: &mut Problems) {
        let port = &self.eth_ports[index];
        let others = self.eth_ports.iter().filter(|other| other.name != port.name);
        let mut elsewhere = others.filter_map(|other| Some((other, prefix_of(other, *gateway)?)));
        let own = prefix_of(port, *gateway).map(IpNet::prefix_len);
        if self.is_own(*gateway, Some(index)) {
            problems.add(gateway.at, format!("gateway: {} is an own address", *gateway));
        } else if let Some(why) = self.why_not_spoken(*gateway, index) {
            problems.add(gateway.at, format!("gateway: {} {why}", *gateway));
        } else if self.is_link_broadcast(*gateway) {
            problems.add(
                gateway.at,
                format!("gateway: {} is a network's own or its broadcast address", *gateway),
            );
        } else if rules::is_link_local(*gateway) {
            // It is on this port's link, whichever other has the same network.
        } else if let Some((other, prefix)) = elsewhere.find(|(_, prefix)| Some(prefix.prefix_len()) > own) {
            let (found, name, other) = (*gateway, &port.name, &other.name);
            let right = format!("expected a router on the link of {name:?}");
            problems.add(
                gateway.at,
                format!("gateway: {found} is on the link of port {other:?} ({prefix}); {right}"),
            );
        }
    }

    fn read_route(&mut self, mut section: Section<'_>, problems: &mut Problems) {
        section.require("to", "\"172.16.0.0/12\"", problems);
        section.require("via", "\"10.0.0.1\"", problems);
        let to = section.parsed("to", links::network, problems);
        let via = section.parsed("via", addresses::host, problems);
        let named = self.named_port(&mut section, problems);
        section.finish(problems);
        let link = via.zip(named).and_then(|(via, named)| self.on_link("via", via, named, problems));
        if let Some(to) = to {
            self.check_destination(to, via, problems);
        }
        match (to, via, link) {
            (Some(to), Some(via), Some(port)) => {
                self.routes.push(StaticRoute {
                    to: to.value,
                    via: via.value,
                    interface: InterfaceId(port as u8),
                });
            }
            _ => self.complete = false,
        }
    }

    fn check_destination(&self, to: At<IpNet>, via: Option<At<IpAddr>>, problems: &mut Problems) {
        if let Some(via) = via.filter(|via| via.is_ipv4() != to.addr().is_ipv4()) {
            problems.add(via.at, format!("via: {} is of another family than {}", *via, *to));
        } else if self.routes.iter().any(|other| other.to == *to) {
            problems.add(to.at, format!("to: another [[route]] leads to {}", *to));
        } else if let Some((other, name)) = self.same_network(*to) {
            problems.add(to.at, format!("to: {} is on the link of port {name:?} ({other})", *to));
        }
    }

    fn read_neighbour(&mut self, mut section: Section<'_>, problems: &mut Problems) {
        section.require("address", "\"10.0.0.7\"", problems);
        section.require("mac", "\"02:00:00:00:00:07\"", problems);
        let address = section.parsed("address", addresses::host, problems);
        let mac = section.parsed("mac", links::mac, problems);
        let named = self.named_port(&mut section, problems);
        section.finish(problems);
        let (Some(address), Some(named)) = (address, named) else { return };
        let link = self.on_link("address", address, named, problems);
        if self
            .neighbours
            .iter()
            .any(|other| other.address == *address && Some(other.interface.index()) == link)
        {
            problems.add(address.at, format!("address: another [[neighbour]] is {}", *address));
        }
        if let (Some(mac), Some(port)) = (mac, link) {
            self.neighbours.push(StaticNeighbour {
                address: *address,
                mac: *mac,
                interface: InterfaceId(port as u8),
            });
        }
    }

    /// `port`, for a next hop outside all prefixes: its index; `Some(None)` if it is not there, `None` if it is wrong.
    fn named_port(&self, section: &mut Section<'_>, problems: &mut Problems) -> Option<Option<usize>> {
        if !section.has("port") {
            return Some(None);
        }
        let name = section.text("port", problems)?;
        let index = self.eth_ports.iter().position(|port| port.name == *name);
        if index.is_none() {
            let known: Vec<_> = self.eth_ports.iter().map(|port| port.name.as_str()).collect();
            let known = known.join(", ");
            problems.add(name.at, format!("port: there is no port {:?}; known: {known}", name.value));
        }
        index.map(Some)
    }

    /// The port whose link a next hop is on: by the prefixes, as the gateway of a port, or because it is said.
    fn on_link(
        &self,
        key: &str,
        host: At<IpAddr>,
        named: Option<usize>,
        problems: &mut Problems,
    ) -> Option<usize> {
        let mut wrong = |why: String| {
            problems.add(host.at, format!("{key}: {} {why}", *host));
            None
        };
        let gateways =
            self.eth_ports.iter().enumerate().filter(|(_, port)| port.interface.gateways.contains(&host));
        let gateways: Vec<usize> = gateways.map(|(index, _)| index).collect();
        let likely = named.or(if let &[port] = &gateways[..] { Some(port) } else { None });
        if self.is_own(*host, likely) {
            return wrong("is an own address".into());
        }
        match (named, self.link(*host), &gateways[..]) {
            (Some(named), Some(link), _) if named != link && !gateways.contains(&named) => {
                wrong(format!("is on the link of port {:?}, not of the one that is named", self.eth_ports[link].name))
            }
            (Some(port), ..) | (None, Some(port), _) | (None, None, &[port]) => {
                self.why_not_spoken(*host, port).map_or(Some(port), wrong)
            }
            (None, None, []) if self.complete => wrong(
                "is on no port's link; expected an address in a prefix of some port's addresses, or its port beside it, as \
                 in port = \"dip0\""
                    .into(),
            ),
            (None, None, []) => None,
            (None, None, _) => wrong("is the gateway of several ports; name one, as in port = \"dip0\"".into()),
        }
    }
}

/// The prefix of a port that an address is in.
fn prefix_of(port: &EthPort, address: IpAddr) -> Option<&IpNet> {
    let prefixes = port.interface.addresses.iter().filter(|prefix| prefix.contains(&address));
    prefixes.max_by_key(|prefix| prefix.prefix_len())
}

/// One gateway, or an array of one for each family.
fn gateways_of(section: &mut Section<'_>, problems: &mut Problems) -> Vec<At<IpAddr>> {
    let key = "gateway";
    let mut gateways: Vec<At<IpAddr>> = Vec::new();
    for text in section.texts(key, problems) {
        let Some(gateway) = section::parsed(key, text, addresses::host, problems) else { continue };
        match gateways.iter().find(|other| other.is_ipv4() == gateway.is_ipv4()) {
            Some(other) => {
                let right = "expected one of each family at most";
                problems
                    .add(gateway.at, format!("{key}: {} is another one than {}; {right}", *gateway, **other));
            }
            None => gateways.push(gateway),
        }
    }
    gateways
}

/// The least MTU of a link that carries IPv6 (RFC 8200 §5).
const LEAST_MTU_OF_IPV6: u16 = 1280;

fn mtu(section: &mut Section<'_>, buffer_size: usize, is_ipv6: bool, problems: &mut Problems) -> Option<u16> {
    let mtu = section.number("mtu", 576..=9216, problems)?;
    if is_ipv6 && *mtu < LEAST_MTU_OF_IPV6.into() {
        let right = format!("a port with an IPv6 address needs {LEAST_MTU_OF_IPV6} at least");
        problems.add(mtu.at, format!("mtu: {} is too small: {right}", *mtu));
    }
    let needed = *mtu as usize + FRAME_HEADERS;
    if needed > buffer_size {
        let found = format!("mtu: {} needs frames of {needed} bytes", *mtu);
        problems
            .add(mtu.at, format!("{found}, and [buffers] size is {buffer_size}; raise that or lower this"));
    }
    Some(*mtu as u16)
}
