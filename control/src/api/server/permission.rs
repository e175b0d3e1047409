//! Who may speak to the daemon.

use nix::sys::socket::{getsockopt, sockopt};
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

    /// Whether the process at the other end is root's or the daemon's own user's, if it may speak; else why it may not.
    pub(super) fn check(&self, peer: &impl AsFd) -> Result<bool, String> {
        let credentials = getsockopt(peer, sockopt::PeerCredentials)
            .map_err(|error| format!("your credentials cannot be read: {error}"))?;
        let user = Uid::from_raw(credentials.uid());
        if user.is_root() || user == self.own {
            return Ok(true);
        }
        if self.group.is_some_and(|group| is_member(user, credentials.gid(), group)) {
            return Ok(false);
        }
        Err(match self.group {
            Some(_) => format!("user {user} is neither root nor in the group of [control] group"),
            None => format!("user {user} is not root, and no [control] group is set"),
        })
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
