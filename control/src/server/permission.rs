//! Who may speak to the daemon.

use nix::sys::socket::{UnixCredentials, getsockopt, sockopt};
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use std::ffi::CString;
use std::os::fd::AsFd;

/// Root, the daemon's own user, and the members of a group.
#[derive(Debug)]
pub(super) struct Permission {
    own: Uid,
    group: Option<Gid>,
}

impl Permission {
    pub(super) fn new(group: Option<&Group>) -> Self {
        Self { own: nix::unistd::geteuid(), group: group.map(|group| group.gid) }
    }

    /// Whether the process at the other end may speak; else why not.
    pub(super) fn check(&self, peer: &impl AsFd) -> Result<(), String> {
        let credentials = getsockopt(peer, sockopt::PeerCredentials)
            .map_err(|error| format!("your credentials cannot be read: {error}"))?;
        if self.allows(&credentials) {
            return Ok(());
        }
        let user = credentials.uid();
        Err(match self.group {
            Some(_) => format!("user {user} is neither root nor in the group of [control] group"),
            None => format!("user {user} is not root, and no [control] group is set"),
        })
    }

    fn allows(&self, peer: &UnixCredentials) -> bool {
        let user = Uid::from_raw(peer.uid());
        user.is_root()
            || user == self.own
            || self.group.is_some_and(|group| is_member(user, peer.gid(), group))
    }
}

/// By the group that the process has, or by those that the user database gives its user.
fn is_member(user: Uid, primary: u32, group: Gid) -> bool {
    let primary = Gid::from_raw(primary);
    if primary == group {
        return true;
    }
    let Ok(Some(user)) = User::from_uid(user) else { return false };
    let Ok(name) = CString::new(user.name) else { return false };
    getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&group))
}
