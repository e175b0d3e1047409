//! Own addresses that another station on the link says are its (RFC 5227 §2.4, RFC 4862 §5.4). natlb keeps an address
//! whatever happens, as the clause leaves to routers and well-known hosts: it defends it, seldom enough that two that
//! do so do not flood the link, and says so.

use super::Moment;
use dataplane::names::ids::NeighbourKey;
use dataplane::names::mac::Mac;
use std::collections::BTreeMap;
use std::time::Duration;

/// An address is announced no sooner than this after the last defence (RFC 5227 §1.1, DEFEND_INTERVAL).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// How long a note reports a conflict after the last claim.
const NOTED: Duration = Duration::from_secs(300);

/// One address that is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The station that claimed it last.
    pub mac: Mac,
    /// Claims since it began.
    pub claims: u64,
    /// The last of them.
    pub last: Moment,
    defended: Moment,
    said: Moment,
}

/// What a claim is met with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Defence {
    /// The address is to be announced now.
    pub(super) announce: bool,
    /// It is to be logged: a new conflict, or one by another station.
    pub(super) say: bool,
}

/// All that are claimed: own addresses alone, so they are bounded.
#[derive(Debug, Default)]
pub struct Conflicts {
    claimed: BTreeMap<NeighbourKey, Conflict>,
}

impl Conflicts {
    /// Takes a claim.
    pub(super) fn claim(&mut self, key: NeighbourKey, mac: Mac, now: Moment) -> Defence {
        self.claimed.retain(|_, conflict| now < conflict.last + NOTED);
        let Some(conflict) = self.claimed.get_mut(&key) else {
            self.claimed.insert(key, Conflict { mac, claims: 1, last: now, defended: now, said: now });
            return Defence { announce: true, say: true };
        };
        let defence = Defence {
            announce: now >= conflict.defended + DEFEND_INTERVAL,
            say: conflict.mac != mac && now >= conflict.said + DEFEND_INTERVAL,
        };
        let defended = if defence.announce { now } else { conflict.defended };
        let said = if defence.say { now } else { conflict.said };
        *conflict = Conflict { mac, claims: conflict.claims + 1, last: now, defended, said };
        defence
    }

    /// Those of which an operator should know at this moment.
    pub fn noted(&self, now: Moment) -> impl Iterator<Item = (NeighbourKey, Conflict)> + '_ {
        let is_recent = move |conflict: &Conflict| now < conflict.last + NOTED;
        self.claimed.iter().filter(move |(_, conflict)| is_recent(conflict)).map(|(key, it)| (*key, *it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::names::ids::InterfaceId;
    use std::net::Ipv4Addr;

    const KEY: NeighbourKey = NeighbourKey {
        interface: InterfaceId(0),
        address: std::net::IpAddr::V4(Ipv4Addr::new(192, 168, 10, 100)),
    };
    const ONE: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const TWO: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn seconds(count: u64) -> Moment {
        Moment::from_secs(count)
    }

    #[test]
    fn an_address_is_defended_at_once_and_then_once_in_ten_seconds() {
        let mut conflicts = Conflicts::default();
        let defended = (0..60).filter(|second| conflicts.claim(KEY, ONE, seconds(*second)).announce);
        assert_eq!(defended.collect::<Vec<_>>(), [0, 10, 20, 30, 40, 50]);
        let another = NeighbourKey { interface: InterfaceId(1), ..KEY };
        assert!(conflicts.claim(another, ONE, seconds(60)).announce, "each address by itself");
    }

    #[test]
    fn a_conflict_is_news_once_and_again_when_another_claims_it() {
        let mut conflicts = Conflicts::default();
        assert!(conflicts.claim(KEY, ONE, seconds(0)).say);
        assert!(!conflicts.claim(KEY, ONE, seconds(11)).say);
        assert!(conflicts.claim(KEY, TWO, seconds(12)).say);
        assert!(!conflicts.claim(KEY, ONE, seconds(13)).say, "two that take turns do not fill the log");
        let noted: Vec<_> = conflicts.noted(seconds(14)).collect();
        assert!(matches!(noted[..], [(KEY, Conflict { mac: ONE, claims: 4, .. })]));
        let later = seconds(13) + NOTED;
        assert_eq!(conflicts.noted(later).count(), 0, "told for so long only");
        assert!(conflicts.claim(KEY, ONE, later).say, "then it is news again");
    }
}
