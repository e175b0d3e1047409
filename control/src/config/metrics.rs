//! `[control] metrics`, `metrics_names` and `metrics_reals`: where metrics are served, and what is shown.

use super::problem::Problems;
use super::section::{self, Section};
use super::settings::LONGEST_SOCKET_PATH;
use dataplane::names::ids::MAX_REALS;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Reals with metrics of their own, unless the file says otherwise.
pub const USUAL_REALS: usize = 2000;

/// How the value of `metrics` begins where it names a Unix socket.
const UNIX: &str = "unix:";

/// The metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where they are served by HTTP; `None`: only `lbctl metrics` shows them.
    pub address: Option<Address>,
    /// How services and reals are called.
    pub names: Names,
    /// With more reals than this, none of them has metrics of its own.
    pub most_reals: usize,
}

/// Where HTTP is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// On TCP.
    Tcp(SocketAddr),
    /// On a Unix socket.
    Unix(PathBuf),
}

/// Under which names services and reals are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// natlb's own.
    pub natlb: bool,
    /// Those of node_exporter's collector of IPVS, which dashboards for LVS know.
    pub node_ipvs: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { address: None, names: Names { natlb: true, node_ipvs: false }, most_reals: USUAL_REALS }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

pub(super) fn metrics(section: &mut Section<'_>, problems: &mut Problems) -> Metrics {
    let usual = Metrics::default();
    let address = section.text("metrics", problems).and_then(|text| match address(text.value) {
        Ok(address) => Some(address),
        Err(message) => {
            problems.add(text.at, format!("metrics: {message}"));
            None
        }
    });
    let reals = section.number("metrics_reals", 0..=MAX_REALS as u32, problems);
    Metrics {
        address,
        names: names(section, problems).unwrap_or(usual.names),
        most_reals: reals.map_or(usual.most_reals, |reals| reals.value as usize),
    }
}

fn address(text: &str) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix(UNIX) {
        return match path.len() {
            1..=LONGEST_SOCKET_PATH => Ok(Address::Unix(path.into())),
            found => Err(format!(
                "expected a path of 1 to {LONGEST_SOCKET_PATH} bytes behind {UNIX}, found {found}"
            )),
        };
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(Address::Tcp(address)),
        _ => Err(format!(
            "expected an address of this machine with a port, as 127.0.0.1:9117 or [::1]:9117, or {UNIX}PATH, found {text:?}"
        )),
    }
}

fn names(section: &mut Section<'_>, problems: &mut Problems) -> Option<Names> {
    let array = section.array("metrics_names", problems)?;
    let mut names = Names { natlb: false, node_ipvs: false };
    for value in array.value {
        let text = section::text("metrics_names", value, problems)?;
        match text.value {
            "natlb" => names.natlb = true,
            "node_ipvs" => names.node_ipvs = true,
            found => {
                problems.add(
                    text.at,
                    format!("metrics_names: expected \"natlb\" or \"node_ipvs\", found {found:?}"),
                );
                return None;
            }
        }
    }
    if !names.natlb && !names.node_ipvs {
        problems.add(array.at, "metrics_names: expected \"natlb\", \"node_ipvs\" or both, found none");
        return None;
    }
    Some(names)
}
