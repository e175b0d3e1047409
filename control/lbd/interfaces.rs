//! Which interface of the host each port's device stands on, and what the kernel says of it.

use crate::Failure;
use control::host_interface::{Footing, HostInterface, InterfaceCounters, Kernel, Which};
use dpdk::{Device, EthPort};
use std::io;
use std::sync::Once;

/// Of all ports.
pub(crate) struct Interfaces {
    /// `None`: no port needs it.
    kernel: Option<Kernel>,
    of_ports: Vec<Option<Attached>>,
}

/// The interface of a port.
struct Attached {
    index: u32,
    /// That it had at the start.
    name: String,
    /// Whether the device takes frames to whatever MAC it has: a NIC filters by what its driver has set.
    takes_any_mac: bool,
    /// What had been counted on it when the device was opened.
    before: InterfaceCounters,
}

impl Interfaces {
    /// Finds the interfaces of devices that are open.
    ///
    /// # Errors
    /// The kernel cannot be asked, or has no such interface.
    pub(crate) fn find(ports: &[EthPort]) -> Result<Self, Failure> {
        let mut found = Self { kernel: None, of_ports: Vec::new() };
        for port in ports {
            let device = Device::parse(port.device());
            let Some(which) = interface_of(&device, port) else {
                found.of_ports.push(None);
                continue;
            };
            let named = match which {
                Which::Index(index) => format!("interface {index}"),
                Which::Name(name) => format!("interface {name}"),
            };
            let interface = found.ask(which).map_err(|error| {
                let remedy =
                    "the kernel must be asked by netlink (systemd: RestrictAddressFamilies=AF_NETLINK)";
                Failure::Other(format!("device {}: {named}: {error}; {remedy}", port.device()))
            })?;
            let interface = interface.ok_or_else(|| {
                Failure::Other(format!("device {}: {named} is not there (ip link show)", port.device()))
            })?;
            let takes_any_mac = matches!(device, Device::Virtual { .. });
            let HostInterface { index, name, counters: before, .. } = interface;
            found.of_ports.push(Some(Attached { index, name, takes_any_mac, before }));
        }
        Ok(found)
    }

    /// Whether the port can go on with another MAC of its interface.
    pub(crate) fn follows_mac(&self, port: usize) -> bool {
        self.of_ports[port].as_ref().is_some_and(|attached| attached.takes_any_mac)
    }

    fn ask(&mut self, which: Which<'_>) -> io::Result<Option<HostInterface>> {
        let kernel = match self.kernel.take() {
            Some(kernel) => kernel,
            None => Kernel::open()?,
        };
        self.kernel.insert(kernel).interface(which)
    }

    /// What a port's device stands on now, and what was counted there since it was opened.
    pub(crate) fn look(&self, port: usize) -> Footing {
        let (Some(Attached { index, name, before, .. }), Some(kernel)) = (&self.of_ports[port], &self.kernel)
        else {
            return Footing::Own;
        };
        match kernel.interface(Which::Index(*index)) {
            Ok(Some(interface)) => {
                let counters = interface.counters.since(before);
                Footing::Interface(HostInterface { counters, ..interface })
            }
            Ok(None) => Footing::Gone(name.clone()),
            Err(error) => {
                static SAID: Once = Once::new();
                SAID.call_once(|| log::warn!("interface {name}: the kernel does not say how it is: {error}"));
                Footing::Unknown
            }
        }
    }
}

/// The interface that was there before the device, and stays when it goes.
fn interface_of<'a>(device: &'a Device, port: &EthPort) -> Option<Which<'a>> {
    match port.driver().as_str() {
        // The one that it makes is the other end of its cable, and may be moved to another namespace.
        "net_tap" | "net_tun" => device.argument("remote").map(Which::Name),
        "net_virtio_user" => None,
        _ => {
            let named = || device.argument("iface").or_else(|| device.argument("rx_iface"));
            port.interface_index().map(Which::Index).or_else(|| named().map(Which::Name))
        }
    }
}
