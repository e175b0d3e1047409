//! What becomes of the ports' links while `lbd` runs: said in the log, followed in the snapshot and to the neighbours.

use super::{ControlThread, RunError};
use crate::host_interface::{Change, Footing, Look};
use crate::neighbours::Moment;
use dataplane::names::ids::{EthPortId, InterfaceId};
use dataplane::names::mac::Mac;
use std::sync::Arc;

impl ControlThread {
    /// Once a second.
    ///
    /// # Errors
    /// An interface is gone: its device stays bound to what is no longer there.
    pub(super) fn watch_links(&mut self, now: Moment) -> Result<(), RunError> {
        for port in 0..self.network.eth_ports.len() {
            self.watch_link(port, now)?;
        }
        Ok(())
    }

    fn watch_link(&mut self, port: usize, now: Moment) -> Result<(), RunError> {
        let device = self.devices.status(port);
        let carrier_changes = match device.footing {
            Footing::Gone(interface) => {
                return Err(RunError::InterfaceGone { port: self.watch.name(port).to_owned(), interface });
            }
            // The next look will tell.
            Footing::Unknown => return Ok(()),
            Footing::Own => 0,
            Footing::Interface(interface) => interface.carrier_changes,
        };
        let mtu = self.network.mtu(port, device.mtu);
        let look = Look { is_up: device.link_up, carrier_changes, mac: device.mac, mtu };
        let changes = self.links[port].changes(&look);
        let is_to_publish = |change: &Change| matches!(change, Change::Mac { .. } | Change::Mtu { .. });
        // While a worker is late nothing can be published: what has changed is seen again each second.
        if changes.iter().any(is_to_publish) && self.publications.is_late() {
            return Ok(());
        }
        for change in changes {
            self.meet_change(port, change, now);
        }
        self.links[port].take(&look);
        Ok(())
    }

    fn meet_change(&mut self, port: usize, change: Change, now: Moment) {
        let name = self.watch.name(port).to_owned();
        let index = EthPortId(port as u8).interface();
        match change {
            Change::Up => {
                log::info!("port {name}: link up, MTU {}", self.network.interfaces[port].mtu);
                self.set_link(index, true, now);
            }
            Change::Down => {
                log::warn!("port {name}: link down{}", self.devices.status(port).footing.why_down());
                self.set_link(index, false, now);
            }
            Change::Flapped => {
                log::info!("port {name}: link was lost and is up again");
                self.set_link(index, false, now);
                self.set_link(index, true, now);
            }
            Change::Mac { before, now: mac } => {
                log::warn!("port {name}: MAC {before} became {mac}: followed, and announced");
                self.publications.follow_mac(index, mac);
            }
            Change::Mtu { before, now: mtu } => {
                log::warn!("port {name}: MTU {before} became {mtu}: followed");
                let mac = self.network.interfaces[port].mac;
                Arc::make_mut(&mut self.network).set_link(port, mac, mtu);
                self.publications.republish();
            }
        }
    }

    fn set_link(&mut self, interface: InterfaceId, is_up: bool, now: Moment) {
        self.announcer.set_link(interface, is_up, now);
        self.neighbours.set_link(interface, is_up, now);
    }

    /// An interface has another MAC: first, nothing is sent to its neighbours, and the next snapshot takes frames to
    /// it.
    pub(super) fn withdraw(&mut self, interface: InterfaceId, mac: Mac) {
        self.neighbours.withdraw(interface);
        self.act();
        let mtu = self.network.interfaces[interface.index()].mtu;
        Arc::make_mut(&mut self.network).set_link(interface.index(), mac, mtu);
    }

    /// Then, when no worker uses what was withdrawn, its frames come from this MAC.
    pub(super) fn restore(&mut self, interface: InterfaceId, mac: Mac, now: Moment) {
        self.next_hops.set_source(interface, mac);
        let addresses = &self.network.interfaces[interface.index()].addresses;
        self.neighbours.restore(interface, mac, addresses);
        self.announcer.announce_interface(interface, now);
    }
}
