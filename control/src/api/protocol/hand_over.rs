//! What a daemon and the successor that takes its place say to each other.

use crate::handed::Label;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;

/// The number of the conversation. A daemon that speaks another one is not taken over from, but restarted.
pub const CONVERSATION: u32 = 1;

/// The steps of the conversation, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The successor starts; nothing is changed from now on.
    Prepare,
    /// The successor is ready; the daemon stops to handle packets.
    Pause,
    /// The successor handles them; the daemon ends.
    Taken,
}

/// Under `ok` of the first step. As many descriptors as there are labels come with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// natlb's version.
    pub version: String,
    /// The daemon's process, as it knows itself.
    pub process: u32,
    /// Of DPDK's runtime files.
    pub file_prefix: String,
    /// The indexes of the kernel's interfaces that its devices stand on.
    pub interfaces: Vec<u32>,
    /// The folder in which connections are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<PathBuf>,
    /// What the descriptors are, in their order.
    pub descriptors: Vec<Label>,
    /// Services that are kept in no file, as `ipvsadm-save` lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<String>>,
    /// The neighbours whose MACs it knows.
    pub neighbours: Vec<KnownNeighbour>,
}

/// A neighbour whose MAC is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownNeighbour {
    /// The port whose link it is on.
    pub port: String,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC.
    pub mac: [u8; 6],
}
