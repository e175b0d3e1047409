//! Which place a new peer gets: a free one, or that of the peer that has been idle the longest. So a peer that says
//! nothing, never ends a line or never reads its answer locks nobody out.

use super::{MAX_PEERS, PeerId};
use std::time::Duration;

/// Places that only root and the daemon's own user may take.
pub const ROOT_PLACES: usize = 4;
/// A peer that has been idle for less than this keeps its place: it may have connected only just now.
pub const KEPT: Duration = Duration::from_secs(1);

/// A peer that has a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    pub(super) id: PeerId,
    /// Root or the daemon's own user.
    pub(super) is_root: bool,
    /// How long it has been idle; `None`: the daemon works on its request.
    pub(super) idle: Option<Duration>,
}

/// What a new peer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Free,
    /// This peer's.
    Of(PeerId),
    None,
}

/// The place of a new peer. Only root takes a place from root.
pub(super) fn place(holders: impl Iterator<Item = Holder> + Clone, is_root: bool) -> Place {
    let places = if is_root { MAX_PEERS } else { MAX_PEERS - ROOT_PLACES };
    if holders.clone().count() < places {
        return Place::Free;
    }
    let yielding = holders.filter(|holder| is_root || !holder.is_root);
    let idle = yielding.filter_map(|Holder { id, idle, .. }| Some((idle.filter(|idle| *idle >= KEPT)?, id)));
    idle.max_by_key(|(idle, _)| *idle).map_or(Place::None, |(_, id)| Place::Of(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` peers, idle for 1, 2, 3 … seconds; the first `roots` are root's.
    fn holders(count: usize, roots: usize) -> Vec<Holder> {
        let holder =
            |id: usize| Holder { id, is_root: id <= roots, idle: Some(Duration::from_secs(id as u64)) };
        (1..=count).map(holder).collect()
    }

    fn placed(holders: &[Holder], is_root: bool) -> Place {
        place(holders.iter().copied(), is_root)
    }

    #[test]
    fn the_last_places_are_roots() {
        let members = MAX_PEERS - ROOT_PLACES;
        assert_eq!(placed(&holders(members - 1, 0), false), Place::Free);
        assert_eq!(placed(&holders(members, 0), false), Place::Of(members));
        assert_eq!(placed(&holders(members, 0), true), Place::Free);
        assert_eq!(placed(&holders(MAX_PEERS - 1, 0), true), Place::Free);
        assert_eq!(placed(&holders(MAX_PEERS, 0), true), Place::Of(MAX_PEERS));
        // Nobody but root takes a place from root.
        assert_eq!(placed(&holders(MAX_PEERS, MAX_PEERS), false), Place::None);
        assert_eq!(placed(&holders(MAX_PEERS, MAX_PEERS), true), Place::Of(MAX_PEERS));
        assert_eq!(placed(&holders(MAX_PEERS, MAX_PEERS - 1), false), Place::Of(MAX_PEERS));
    }

    #[test]
    fn the_most_idle_gives_way_but_none_that_is_served_or_new() {
        let mut full = holders(MAX_PEERS, 0);
        full[MAX_PEERS - 1].idle = None;
        assert_eq!(placed(&full, true), Place::Of(MAX_PEERS - 1));
        for holder in &mut full {
            holder.idle = Some(KEPT - Duration::from_millis(1));
        }
        assert_eq!(placed(&full, true), Place::None);
        full[7].idle = Some(KEPT);
        assert_eq!(placed(&full, true), Place::Of(8));
        full.iter_mut().for_each(|holder| holder.idle = None);
        assert_eq!(placed(&full, true), Place::None);
    }
}
