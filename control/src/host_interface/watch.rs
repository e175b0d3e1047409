//! A port's link over time. Pure: two looks go in, changes come out.

use dataplane::names::mac::Mac;

/// What is seen of a port's link at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Whether packets can pass.
    pub is_up: bool,
    /// How often the carrier has come or gone; 0 where nobody counts.
    pub carrier_changes: u32,
    /// The MAC that frames have to come from.
    pub mac: Mac,
    /// The largest IPv4 packet, in bytes.
    pub mtu: u16,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// There is a link now. With the first look, too.
    Up,
    /// There is none any more. With the first look, too.
    Down,
    /// It was lost and is back; between two looks.
    Flapped,
    /// Another MAC.
    Mac {
        /// The one that is in force.
        before: Mac,
        /// The new one.
        now: Mac,
    },
    /// Another MTU, in bytes.
    Mtu {
        /// The one that is in force.
        before: u16,
        /// The new one.
        now: u16,
    },
}

/// What a port's link was like.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// `None`: never looked.
    link: Option<(bool, u32)>,
    mac: Mac,
    mtu: u16,
}

impl Watch {
    /// The port was set up with these; its link is not known yet.
    pub fn new(mac: Mac, mtu: u16) -> Self {
        Self { link: None, mac, mtu }
    }

    /// What has changed since the last [`take`](Self::take): the MAC and MTU first, which what is said when a link
    /// comes depends on.
    pub fn changes(&self, now: &Look) -> Vec<Change> {
        let mut changes = Vec::new();
        if now.mac != self.mac {
            changes.push(Change::Mac { before: self.mac, now: now.mac });
        }
        if now.mtu != self.mtu {
            changes.push(Change::Mtu { before: self.mtu, now: now.mtu });
        }
        changes.extend(match self.link {
            Some((true, count)) if now.is_up => (count != now.carrier_changes).then_some(Change::Flapped),
            Some((false, _)) if !now.is_up => None,
            _ if now.is_up => Some(Change::Up),
            _ => Some(Change::Down),
        });
        changes
    }

    /// The changes have been dealt with.
    pub fn take(&mut self, now: &Look) {
        *self = Self { link: Some((now.is_up, now.carrier_changes)), mac: now.mac, mtu: now.mtu };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn up(carrier_changes: u32) -> Look {
        Look { is_up: true, carrier_changes, mac: A, mtu: 1500 }
    }

    /// Looks, and deals with what it finds.
    fn look(watch: &mut Watch, now: Look) -> Vec<Change> {
        let changes = watch.changes(&now);
        watch.take(&now);
        assert_eq!(watch.changes(&now), [], "nothing is said twice");
        changes
    }

    #[test]
    fn the_first_look_tells_whether_there_is_a_link() {
        assert_eq!(look(&mut Watch::new(A, 1500), up(7)), [Change::Up]);
        assert_eq!(look(&mut Watch::new(A, 1500), Look { is_up: false, ..up(7) }), [Change::Down]);
    }

    #[test]
    fn a_link_goes_and_comes() {
        let mut watch = Watch::new(A, 1500);
        look(&mut watch, up(1));
        assert_eq!(look(&mut watch, Look { is_up: false, ..up(2) }), [Change::Down]);
        assert_eq!(look(&mut watch, Look { is_up: false, ..up(4) }), [], "it is down as before");
        assert_eq!(look(&mut watch, up(5)), [Change::Up]);
    }

    #[test]
    fn a_flap_between_two_looks_is_seen() {
        let mut watch = Watch::new(A, 1500);
        look(&mut watch, up(1));
        assert_eq!(look(&mut watch, up(3)), [Change::Flapped]);
        assert_eq!(look(&mut watch, up(3)), []);
    }

    #[test]
    fn mac_and_mtu_are_told_before_the_link_and_against_what_is_in_force() {
        let mut watch = Watch::new(A, 1500);
        let other = Look { mac: B, mtu: 1400, ..up(1) };
        let expected =
            [Change::Mac { before: A, now: B }, Change::Mtu { before: 1500, now: 1400 }, Change::Up];
        assert_eq!(watch.changes(&other), expected);
        assert_eq!(watch.changes(&other), expected, "until they are dealt with");
        look(&mut watch, other);
        assert_eq!(look(&mut watch, up(1)).len(), 2, "and back");
    }

    proptest! {
        /// Whatever is seen, the changes lead from one look to the next.
        #[test]
        fn changes_lead_from_look_to_look(looks in proptest::collection::vec((any::<bool>(), 0u32..3, 0u8..3, 68u16..71), 1..20)) {
            let (mut watch, mut mac, mut mtu, mut link) = (Watch::new(A, 68), A, 68, None);
            for (is_up, carrier_changes, last, new_mtu) in looks {
                let now = Look { is_up, carrier_changes, mac: Mac([2, 0, 0, 0, 0, last]), mtu: new_mtu };
                for change in watch.changes(&now) {
                    match change {
                        Change::Up => link = Some(true),
                        Change::Down => link = Some(false),
                        Change::Flapped => prop_assert_eq!(link, Some(true)),
                        Change::Mac { before, now } => {
                            prop_assert_eq!(before, mac);
                            mac = now;
                        }
                        Change::Mtu { before, now } => {
                            prop_assert_eq!(before, mtu);
                            mtu = now;
                        }
                    }
                }
                watch.take(&now);
                prop_assert_eq!((link, mac, mtu), (Some(is_up), now.mac, now.mtu));
            }
        }
    }
}
