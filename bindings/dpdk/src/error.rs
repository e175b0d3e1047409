//! What goes wrong, in words that say what to do.

use std::ffi::CStr;
use std::fmt;

/// An error number of DPDK or the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// `ENOTSUP`: the device can't do it.
    pub const NOT_SUPPORTED: Self = Self(95);
    /// `EINVAL`: what was asked for can't be.
    pub const INVALID: Self = Self(22);

    /// `rte_errno` of this thread.
    pub(crate) fn last() -> Self {
        // SAFETY: reads a variable of this thread.
        Self(unsafe { dpdk_sys::natlb_errno() })
    }

    /// Turns the result of a port's function, a negative error number on failure, into one of Rust.
    pub(crate) fn check(result: i32) -> Result<(), Self> {
        if result >= 0 { Ok(()) } else { Err(Self(-result)) }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: the result is a string that ends in 0, in a buffer of this thread that stays as it
        // is until the next call.
        let text = unsafe { CStr::from_ptr(dpdk_sys::rte_strerror(self.0)) };
        f.write_str(&text.to_string_lossy())
    }
}

/// A flow rule that a driver refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{errno}{}{why}", if why.is_empty() { "" } else { ": " })]
pub struct RuleRefused {
    /// The reason.
    pub errno: Errno,
    /// The driver's own words, or nothing.
    pub why: String,
}

/// Why something of DPDK is not available. The text says what failed, why, and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The EAL can be started once in a process.
    #[error("DPDK's EAL was started before in this process; it starts once")]
    EalStartedBefore,
    /// An option that can't be handed over, with why.
    #[error("DPDK option {0:?}: {1}")]
    Option(String, &'static str),
    /// Huge pages were required and are not available.
    #[error("huge pages are required, but {0}")]
    NoHugepages(String),
    /// `rte_eal_init` failed.
    #[error("DPDK's EAL does not start with \"{arguments}\": {errno}; {remedy}")]
    EalStart {
        /// What it was called with.
        arguments: String,
        /// Its reason.
        errno: Errno,
        /// What may help.
        remedy: &'static str,
    },
    /// A device of the configuration is not there after the EAL's start.
    #[error("device {device}: no such port; {remedy}")]
    NoDevice {
        /// As it was named.
        device: String,
        /// What may help.
        remedy: String,
    },
    /// A pool could not be made.
    #[error(
        "pool {name}: no memory for {count} buffers of {data_size} bytes ({errno}); more memory_mb or fewer buffers help"
    )]
    Pool {
        /// Its name.
        name: String,
        /// Buffers asked for.
        count: u32,
        /// Bytes in each.
        data_size: u16,
        /// The reason.
        errno: Errno,
    },
    /// A buffer size or count that can't work.
    #[error("pool {0}: {1}")]
    PoolShape(String, String),
    /// More queues than a port has.
    #[error("device {device}: {asked} {direction} queues are needed, it has {available}; {remedy}")]
    TooFewQueues {
        /// The device.
        device: String,
        /// "receive" or "transmit".
        direction: &'static str,
        /// How many are needed.
        asked: u16,
        /// How many there are.
        available: u16,
        /// What may help.
        remedy: &'static str,
    },
    /// An MTU that a device or the buffers can't do.
    #[error("device {device}: an MTU of {asked} is not possible, {least} to {most} are; {remedy}")]
    Mtu {
        /// The device.
        device: String,
        /// In bytes.
        asked: u16,
        /// The smallest that it can.
        least: u16,
        /// The largest that it and the buffers can.
        most: u16,
        /// What may help.
        remedy: &'static str,
    },
    /// A step of a port's way to running failed.
    #[error("device {device}: can't {step}: {errno}; {remedy}")]
    Port {
        /// The device.
        device: String,
        /// What was tried.
        step: &'static str,
        /// The reason.
        errno: Errno,
        /// What may help.
        remedy: &'static str,
    },
    /// An lcore that does not exist or is at work.
    #[error("worker {0}: {1}")]
    Lcore(usize, String),
}
