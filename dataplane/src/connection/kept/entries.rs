//! An entry as it lies in a file: see [`entry`](crate::connection::table) for what its bits mean.
//!
//! Written out here once more, since files stay as they are when entries change.

use super::OldRow;
use crate::connection::State;
use crate::names::family::V6;
use crate::names::ids::Protocol;
use crate::names::time::Tick;
use std::net::{Ipv4Addr, SocketAddr};

/// Entries in a bucket.
pub(super) const WAYS: usize = 4;
/// Buckets of a region.
pub(super) const REGION: usize = 16;
/// Bits of a key that are its bucket's.
pub(super) const SPILL_MASK: u64 = 0xf0;
const STATE_MASK: u64 = 0x0f;

/// Whether a slot with this key is free.
pub(super) const fn is_free(key: u64) -> bool {
    key & !(SPILL_MASK | STATE_MASK) == 0
}

/// The connection of an entry, by its key, its value, and of IPv6 the address. `None` if no table has such an entry.
pub(super) fn row(key: u64, value: u64, address: Option<u128>, port: u16) -> Option<OldRow> {
    if is_free(key) {
        return None;
    }
    let lower = key as u32 & !((SPILL_MASK | STATE_MASK) as u32);
    let (upper, client_port) = ((key >> 32) as u32, ((lower >> 8) as u16).swap_bytes());
    let protocol = Protocol::from_number((lower >> 24) as u8)?;
    let bits = upper ^ lower;
    let client = match address {
        None => SocketAddr::new(Ipv4Addr::from(bits.to_le_bytes()).into(), client_port),
        Some(address) if V6::folded(address) == bits => {
            SocketAddr::new(address.to_le_bytes().into(), client_port)
        }
        Some(_) => return None,
    };
    let of_sctp = if protocol == Protocol::Sctp { STATE_MASK as usize + 1 } else { 0 };
    Some(OldRow {
        protocol,
        state: State::of_index((key & STATE_MASK) as usize | of_sctp),
        client,
        real: (value & ((1 << 19) - 1)) as u32,
        hop: (value >> 20 & ((1 << 20) - 1)) as u32,
        port,
        tick: Tick::new(value >> 40),
    })
}
