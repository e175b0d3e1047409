//! Where a change comes from: for the log, and for the history of changes.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Who asked for something, as far as the system says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// By which way it came.
    #[serde(default)]
    pub by: Way,
    /// The number of the user whose process it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// His name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
}

/// The ways by which something is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// The control socket.
    #[default]
    Control,
    /// The socket for the tools of LVS.
    Ipvs,
    /// SIGHUP.
    Signal,
    /// The daemon itself.
    Lbd,
}

impl fmt::Display for Origin {
    /// As ` (by lbctl, process 2041, user root)`; nothing where nothing is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.program.as_ref().map(|program| program.escape_debug().to_string());
        let process = self.process.map(|process| format!("process {process}"));
        let user = match (&self.user, self.uid) {
            (Some(user), _) => Some(format!("user {}", user.escape_debug())),
            (None, Some(uid)) => Some(format!("user {uid}")),
            (None, None) => None,
        };
        let way = match self.by {
            Way::Signal => Some("SIGHUP".to_owned()),
            Way::Lbd => Some("lbd itself".to_owned()),
            Way::Control | Way::Ipvs => None,
        };
        let words: Vec<String> = [way, program, process, user].into_iter().flatten().collect();
        if words.is_empty() { Ok(()) } else { write!(f, " (by {})", words.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_said() {
        let all = Origin {
            by: Way::Control,
            uid: Some(0),
            user: Some("root".into()),
            process: Some(7),
            program: Some("lbctl".into()),
        };
        assert_eq!(all.to_string(), " (by lbctl, process 7, user root)");
        let signal = Origin { by: Way::Signal, uid: Some(5), process: Some(8), ..Origin::default() };
        assert_eq!(signal.to_string(), " (by SIGHUP, process 8, user 5)");
        assert_eq!(Origin::default().to_string(), "");
        let strange = Origin { program: Some("a\nb".into()), ..Origin::default() };
        assert_eq!(strange.to_string(), " (by a\\nb)");
    }
}
