//! Receive-side scaling (RSS): which queue a frame is received on.

use crate::error::{Errno, RuleRefused};
use crate::port::{EthPort, Started};
use std::net::Ipv4Addr;
use std::ptr::NonNull;
use std::sync::Arc;

/// What a frame is hashed by, or what of it: `RTE_ETH_RSS_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashType {
    /// Addresses of IPv4 packets.
    Ipv4,
    /// Addresses of IPv4 fragments.
    Ipv4Fragment,
    /// Addresses and ports of TCP over IPv4.
    Ipv4Tcp,
    /// Addresses and ports of UDP over IPv4.
    Ipv4Udp,
    /// Addresses of other IPv4 packets.
    Ipv4Other,
    /// Addresses of IPv6 packets.
    Ipv6,
    /// Addresses of IPv6 fragments.
    Ipv6Fragment,
    /// Addresses and ports of TCP over IPv6.
    Ipv6Tcp,
    /// Addresses and ports of UDP over IPv6.
    Ipv6Udp,
    /// Addresses of other IPv6 packets.
    Ipv6Other,
    /// Of the addresses, the source alone.
    SourceAddressOnly,
    /// Of the addresses, the destination alone.
    DestinationAddressOnly,
    /// Of the ports, the source alone.
    SourcePortOnly,
    /// Of the ports, the destination alone.
    DestinationPortOnly,
}

impl HashType {
    fn bit(self) -> u64 {
        // SAFETY: constants of the shim.
        unsafe {
            match self {
                Self::Ipv4 => dpdk_sys::natlb_rss_ipv4,
                Self::Ipv4Fragment => dpdk_sys::natlb_rss_frag_ipv4,
                Self::Ipv4Tcp => dpdk_sys::natlb_rss_ipv4_tcp,
                Self::Ipv4Udp => dpdk_sys::natlb_rss_ipv4_udp,
                Self::Ipv4Other => dpdk_sys::natlb_rss_ipv4_other,
                Self::Ipv6 => dpdk_sys::natlb_rss_ipv6,
                Self::Ipv6Fragment => dpdk_sys::natlb_rss_frag_ipv6,
                Self::Ipv6Tcp => dpdk_sys::natlb_rss_ipv6_tcp,
                Self::Ipv6Udp => dpdk_sys::natlb_rss_ipv6_udp,
                Self::Ipv6Other => dpdk_sys::natlb_rss_ipv6_other,
                Self::SourceAddressOnly => dpdk_sys::natlb_rss_l3_src_only,
                Self::DestinationAddressOnly => dpdk_sys::natlb_rss_l3_dst_only,
                Self::SourcePortOnly => dpdk_sys::natlb_rss_l4_src_only,
                Self::DestinationPortOnly => dpdk_sys::natlb_rss_l4_dst_only,
            }
        }
    }
}

/// A set of hash types, as DPDK's bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashTypes(u64);

impl HashTypes {
    /// Whether it is among them.
    pub fn contains(self, kind: HashType) -> bool {
        self.0 & kind.bit() != 0
    }
}

impl FromIterator<HashType> for HashTypes {
    fn from_iter<I: IntoIterator<Item = HashType>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | kind.bit()))
    }
}

/// What a device says of its RSS. That it says so does not mean that it does so: net_null lists types
/// and a table, and hashes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RssCapabilities {
    /// Entries of the redirection table; 0: none.
    pub table_size: usize,
    /// Bytes of the hash key; 0: unknown.
    pub key_length: usize,
    /// What it can hash by.
    pub types: HashTypes,
}

/// How a port's frames are hashed.
#[derive(Clone, PartialEq, Eq)]
pub struct RssConfig {
    /// Of as many bytes as the device says.
    pub key: Vec<u8>,
    /// By what.
    pub types: HashTypes,
}

impl RssConfig {
    /// For the shim: points to this key. A driver may keep the pointer, so `Started` keeps the key.
    pub(crate) fn as_raw(&self) -> dpdk_sys::natlb_rss {
        dpdk_sys::natlb_rss {
            key: self.key.as_ptr(),
            key_length: u8::try_from(self.key.len()).unwrap_or(u8::MAX),
            types: self.types.0,
        }
    }
}

/// Without the key, which is a secret.
impl std::fmt::Debug for RssConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RssConfig({} bytes of key, {:?})", self.key.len(), self.types)
    }
}

impl EthPort {
    /// What the device says it can do.
    pub fn rss_capabilities(&self) -> RssCapabilities {
        let info = self.info();
        RssCapabilities {
            table_size: info.reta_size.into(),
            key_length: info.hash_key_size.into(),
            types: HashTypes(info.rss_types),
        }
    }

    /// Gives the started device its redirection table: a queue for each entry.
    ///
    /// # Errors
    /// If the table has another size than the device's, or the driver refuses it.
    pub fn set_redirection(&self, queues: &[u16]) -> Result<(), Errno> {
        let size = self.info().reta_size;
        if queues.len() != usize::from(size) {
            return Err(Errno::INVALID);
        }
        // SAFETY: the port exists and is ours; `size` entries are read.
        Errno::check(unsafe { dpdk_sys::natlb_port_set_reta(self.id(), queues.as_ptr(), size) })
    }

    /// The redirection table that is in force.
    ///
    /// # Errors
    /// If the driver does not say.
    pub fn redirection(&self) -> Result<Vec<u16>, Errno> {
        let size = self.info().reta_size;
        let mut queues = vec![0; usize::from(size)];
        // SAFETY: the port exists; `size` entries are written.
        Errno::check(unsafe { dpdk_sys::natlb_port_reta(self.id(), queues.as_mut_ptr(), size) })?;
        Ok(queues)
    }

    /// The hash key and types that are in force.
    ///
    /// # Errors
    /// If the driver does not say.
    pub fn rss(&self) -> Result<RssConfig, Errno> {
        let length = self.info().hash_key_size;
        let mut rss = RssConfig { key: vec![0; usize::from(length)], types: HashTypes::default() };
        // SAFETY: the port exists; `length` bytes of the key are written, and the types.
        Errno::check(unsafe {
            dpdk_sys::natlb_port_rss(self.id(), rss.key.as_mut_ptr(), length, &mut rss.types.0)
        })?;
        Ok(rss)
    }

    /// Gives the started device another hash key, and types.
    ///
    /// # Errors
    /// If the driver refuses.
    pub fn set_rss(&self, rss: &RssConfig) -> Result<(), Errno> {
        let raw = self.started().keep_rss(rss);
        // SAFETY: the port exists and is ours; the key lives as long as the port, for not every driver copies it.
        Errno::check(unsafe { dpdk_sys::natlb_port_set_rss(self.id(), &raw) })
    }

    /// Makes flow rules on the started port that hash TCP and UDP over IPv4 so, for a driver that takes
    /// narrowed types (source or destination only) there alone. Key and table are the port's where the
    /// driver takes none in a rule.
    ///
    /// # Errors
    /// If the driver refuses one; then there is none of them.
    pub fn add_rss_rules(&self, rss: &RssConfig) -> Result<[RssRule; 2], RuleRefused> {
        let queues: Vec<u16> = (0..self.pools().len() as u16).collect();
        let rule = |protocol, kind: HashType| {
            let types = HashTypes(rss.types.0 | kind.bit());
            // ice takes neither key nor queues in it, i40e no queues.
            self.rule(protocol, None, &RssConfig { key: rss.key.clone(), types }, &queues)
                .or_else(|_| self.rule(protocol, None, &RssConfig { key: Vec::new(), types }, &[]))
        };
        Ok([rule(TCP, HashType::Ipv4Tcp)?, rule(UDP, HashType::Ipv4Udp)?])
    }

    /// Makes a flow rule on the started port: what goes to this IPv4 address is hashed by `rss` and led to a
    /// queue by a table of its own, as long as a redirection table. Drivers that take such a rule take the list
    /// of queues for that table, as mlx5 does; others refuse. Setting the port's table afterwards may restart the
    /// device, and rules with it.
    ///
    /// # Errors
    /// If the driver refuses.
    pub fn add_rss_rule_to(
        &self,
        address: Ipv4Addr,
        rss: &RssConfig,
        table: &[u16],
    ) -> Result<RssRule, RuleRefused> {
        self.rule(ANY_PROTOCOL, Some(address), rss, table)
    }

    fn rule(
        &self,
        protocol: u8,
        destination: Option<Ipv4Addr>,
        rss: &RssConfig,
        queues: &[u16],
    ) -> Result<RssRule, RuleRefused> {
        let destination = destination.map(|address| address.octets());
        let address = destination.as_ref().map_or(std::ptr::null(), |octets| octets.as_ptr());
        let raw = self.started().keep_rss(rss);
        let queues: Box<[u16]> = queues.into();
        let count = u16::try_from(queues.len()).unwrap_or(u16::MAX);
        let mut why = [0; 128];
        // SAFETY: the port exists and is ours; the address is null or has four bytes, and lives during the call; so do
        // `count` queues, and as long as the rule, and the key as long as the port: a driver may apply the rule again
        // when the port is restarted. No more than `why` has room for is written, its end included.
        let rule = unsafe {
            let (to, room) = (why.as_mut_ptr().cast(), why.len());
            dpdk_sys::natlb_rss_rule(self.id(), protocol, address, &raw, queues.as_ptr(), count, to, room)
        };
        let Some(rule) = NonNull::new(rule) else {
            let words: Vec<u8> = why.into_iter().take_while(|byte| *byte != 0).collect();
            let (errno, why) = (Errno::last(), String::from_utf8_lossy(&words).into_owned());
            // Where the driver says nothing, DPDK may say what the number does.
            let why = if why == errno.to_string() { String::new() } else { why };
            return Err(RuleRefused { errno, why });
        };
        Ok(RssRule { rule, _queues: queues, port: Arc::clone(self.started()) })
    }
}

/// Protocol numbers (IANA), as the shim takes them.
const TCP: u8 = 6;
const UDP: u8 = 17;
const ANY_PROTOCOL: u8 = 0;

/// A flow rule of a port; it goes when this is dropped. As a queue it keeps its port up.
#[derive(Debug)]
pub struct RssRule {
    rule: NonNull<dpdk_sys::rte_flow>,
    /// For the driver.
    _queues: Box<[u16]>,
    port: Arc<Started>,
}

// SAFETY: DPDK's flow rules belong to no thread.
unsafe impl Send for RssRule {}

impl Drop for RssRule {
    fn drop(&mut self) {
        // SAFETY: the rule exists: only this destroys it, and the port that it is of is not stopped before.
        let result = unsafe { dpdk_sys::natlb_rule_destroy(self.port.id(), self.rule.as_ptr()) };
        if let Err(errno) = Errno::check(result) {
            log::warn!("an RSS rule of port {} does not go: {errno}", self.port.id());
        }
    }
}

/// The Toeplitz hash of `input` (bytes in the order of the wire, a multiple of four) as DPDK computes it
/// (`rte_softrss`): what tests compare with.
///
/// # Panics
/// If the key is not at least four bytes longer than the input.
pub fn softrss(key: &[u8], input: &[u8]) -> u32 {
    assert!(key.len() >= input.len() + 4 && input.len().is_multiple_of(4), "a key of the hash's length");
    let words: Vec<u32> =
        input.chunks_exact(4).map(|w| u32::from_be_bytes([w[0], w[1], w[2], w[3]])).collect();
    // DPDK loads whole words of the key.
    let mut aligned: Vec<u32> =
        key.chunks_exact(4).map(|w| u32::from_ne_bytes([w[0], w[1], w[2], w[3]])).collect();
    aligned.push(0);
    // SAFETY: `words.len()` words are read, and one more of the key.
    unsafe { dpdk_sys::natlb_softrss(words.as_ptr(), words.len() as u32, aligned.as_ptr().cast()) }
}
