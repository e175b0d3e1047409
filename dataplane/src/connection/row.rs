//! Connections outside of a table: as it gives and takes them, and in a form that any other run, or another machine,
//! understands.
//!
//! ```text
//! table of one run            the control thread                 a file, a peer, a listing
//! entry ── export ──► Copied ── Row::of: real and interface ──► Row
//! entry ◄─ import ─── Copied ◄─ Row::copied: ids of this run ── Row
//! ```
//!
//! Neither depends on the secret, the capacity or the number of workers of the table that it comes from.

use super::State;
use crate::live::next_hops::NextHops;
use crate::names::ids::{InterfaceId, NextHopId, Protocol, RealId, RealKey};
use crate::names::time::Tick;
use std::net::SocketAddr;

/// A connection as a table gives it and takes it. Its real and its next hop are ids, which mean something to this run
/// alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its state.
    pub state: State,
    /// Until it times out if no packet comes; see [`Tick::PER_SECOND`].
    pub ticks_left: u32,
    /// The client's address and port.
    pub client: SocketAddr,
    /// The real; its key gives the virtual and the server's address.
    pub real: RealId,
    /// The port that the client asked for, if the service is on several; else it says nothing.
    pub port: u16,
    /// The way back to the client.
    pub next_hop: NextHopId,
}

impl Copied {
    /// Whole seconds until it times out if no packet comes.
    pub const fn seconds_left(&self) -> u32 {
        self.ticks_left / Tick::PER_SECOND
    }
}

/// A connection in portable form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row {
    /// The client's address and port.
    pub client: SocketAddr,
    /// The service (protocol, VIP and ports), and the real's address and port.
    pub real: RealKey,
    /// The port that the client asked for.
    pub port: u16,
    /// Its state.
    pub state: State,
    /// Until it times out if no packet comes; see [`Tick::PER_SECOND`].
    pub ticks_left: u32,
    /// The interface that the client's packets come by, if it is known.
    pub interface: Option<InterfaceId>,
}

impl Row {
    /// From a copy, with the identity of its real; `None` if there is no such real.
    pub fn of(copied: &Copied, key: impl FnOnce(RealId) -> Option<RealKey>, hops: &NextHops) -> Option<Self> {
        let Copied { state, ticks_left, client, real, port, next_hop, .. } = *copied;
        let interface = next_hop.only_interface().or_else(|| hops.get(next_hop).last_interface());
        let real = key(real)?;
        let port = real.at_port(port).service.listen.port();
        Some(Self { client, real, port, state, ticks_left, interface })
    }

    /// For a table of this run, with the id of its real here; `None` if there is no such real. `elapsed` ticks have
    /// passed since it was copied.
    pub fn copied(&self, id: impl FnOnce(&RealKey) -> Option<RealId>, elapsed: u32) -> Option<Copied> {
        let Self { client, real, port, state, ticks_left, interface } = *self;
        Some(Copied {
            protocol: real.service.protocol,
            state,
            ticks_left: ticks_left.saturating_sub(elapsed),
            client,
            real: id(&real)?,
            port,
            next_hop: interface.map_or(NextHopId::UNKNOWN, NextHopId::behind),
        })
    }
}

/// Why a table did not take a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotImported {
    /// It contradicts itself, or its client is not of a family that the table is for.
    Malformed,
    /// There is no such real.
    NoReal,
    /// Another worker owns its client.
    OtherWorker,
    /// It is there already, or another whose replies could not be told from its.
    Duplicate,
    /// Its time is over.
    Expired,
    /// The table is full, or holds as many of this client endpoint as may be.
    NoRoom,
}

/// What has become of copies that were to be put into a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Those that are in the table now.
    pub made: u32,
    /// [`NotImported::Malformed`].
    pub malformed: u32,
    /// [`NotImported::NoReal`].
    pub no_real: u32,
    /// [`NotImported::OtherWorker`].
    pub other_worker: u32,
    /// [`NotImported::Duplicate`].
    pub duplicate: u32,
    /// [`NotImported::Expired`].
    pub expired: u32,
    /// [`NotImported::NoRoom`].
    pub no_room: u32,
}

impl Imported {
    /// Counts one copy.
    pub const fn count(&mut self, result: Result<(), NotImported>) {
        let counter = match result {
            Ok(()) => &mut self.made,
            Err(NotImported::Malformed) => &mut self.malformed,
            Err(NotImported::NoReal) => &mut self.no_real,
            Err(NotImported::OtherWorker) => &mut self.other_worker,
            Err(NotImported::Duplicate) => &mut self.duplicate,
            Err(NotImported::Expired) => &mut self.expired,
            Err(NotImported::NoRoom) => &mut self.no_room,
        };
        *counter += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::next_hops::NextHop;
    use crate::names::ids::ServiceKey;
    use crate::names::mac::Mac;

    #[test]
    fn a_row_has_no_id_of_the_run_that_it_comes_from() {
        let service = ServiceKey::new(Protocol::Tcp, "192.0.2.1:80".parse().unwrap());
        let key = RealKey { service, endpoint: "10.0.0.7:80".parse().unwrap() };
        let hops = NextHops::new([Mac([2; 6]), Mac([4; 6]), Mac([6; 6])]);
        hops.set(NextHopId(5), NextHop::resolved(InterfaceId(2), Mac([8; 6])));
        let copied = Copied {
            protocol: Protocol::Tcp,
            state: State::EstablishedByClient,
            ticks_left: 3599,
            client: "198.51.100.9:40000".parse().unwrap(),
            real: RealId(7),
            port: 0,
            next_hop: NextHopId(5),
        };
        assert_eq!(copied.seconds_left(), 899);
        let row = Row::of(&copied, |id| (id == RealId(7)).then_some(key), &hops).unwrap();
        assert_eq!((row.real, row.port, row.interface), (key, 80, Some(InterfaceId(2))));
        assert_eq!(Row::of(&copied, |_| None, &hops), None);
        let here = row.copied(|real| (*real == key).then_some(RealId(1)), 100).unwrap();
        let behind = NextHopId::behind(InterfaceId(2));
        assert_eq!(here, Copied { ticks_left: 3499, real: RealId(1), port: 80, next_hop: behind, ..copied });
        assert_eq!(Row::of(&here, |_| Some(key), &hops).unwrap().interface, Some(InterfaceId(2)));
        let unknown = Copied { next_hop: NextHopId::UNKNOWN, ..copied };
        let row = Row::of(&unknown, |_| Some(key), &hops).unwrap();
        assert_eq!((row.interface, row.copied(|_| Some(RealId(7)), 9999).unwrap().ticks_left), (None, 0));
        assert_eq!(row.copied(|_| None, 0), None);
    }
}
