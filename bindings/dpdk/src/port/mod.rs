//! An `EthPort`: opening, configuring, starting, asking.
//!
//! ```text
//! asking   what can be asked of a port
//! fitting  bringing what is asked for into agreement with what the device can do
//! ```

mod asking;
mod fitting;

use crate::af_packet::{self, Cutter};
use crate::driver::{self, Driver};
use crate::eal::device::Device;
use crate::eal::{Eal, Runtime};
use crate::error::{Errno, Error};
use crate::pool::Pool;
use crate::queue::PortQueue;
use crate::rss::RssConfig;
use asking::name_of;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What a port is configured with.
#[derive(Debug)]
pub struct PortConfig {
    /// One for each receive queue, of the worker that polls it. At most 64.
    pub pools: Vec<Pool>,
    /// Transmit queues, at most 64.
    pub tx_queues: u16,
    /// Slots of each queue's ring, to receive and to transmit; `None`: what the driver prefers, or 1024.
    pub descriptors: Option<(u16, u16)>,
    /// The largest IP packet, in bytes; `None`: what the device has, as far as the buffers take it.
    pub mtu: Option<u16>,
    /// The MTU of the host's interface that the device stands on, in bytes. That is the operator's: no driver is
    /// asked to set it. `None`: the device has an MTU of its own.
    pub interface_mtu: Option<u16>,
    /// Whether frames to other MACs are received too.
    pub promiscuous: bool,
    /// Whether frames to every multicast group are received too. With thousands of addresses of IPv6 there are as many
    /// groups, more than filters of NICs have room for.
    pub all_multicast: bool,
    /// How frames are spread over the receive queues; `None`: as the device likes.
    pub rss: Option<RssConfig>,
}

/// The sizes that the ring of a queue can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    /// What the driver prefers, or 1024.
    pub preferred: u16,
    /// The fewest slots.
    pub least: u16,
    /// The most.
    pub most: u16,
    /// Only multiples of it.
    pub multiple_of: u16,
}

impl RingLimits {
    fn new(raw: &dpdk_sys::natlb_ring_limits) -> Self {
        let or = |told: u16, otherwise: u16| if told == 0 { otherwise } else { told };
        Self {
            preferred: or(raw.preferred, 1024),
            least: raw.least,
            most: or(raw.most, u16::MAX),
            multiple_of: or(raw.multiple_of, 1),
        }
    }

    /// The size that the ring gets where `slots` are asked for, as `rte_eth_dev_adjust_nb_rx_tx_desc` reckons.
    pub fn fit(&self, slots: u16) -> u16 {
        let multiple = u32::from(slots).next_multiple_of(self.multiple_of.max(1).into());
        u16::try_from(multiple).unwrap_or(u16::MAX).min(self.most).max(self.least)
    }
}

/// The state of a port's link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether frames can pass.
    pub up: bool,
    /// Megabits per second; `None` where the device does not say.
    pub speed_mbps: Option<u32>,
}

/// A device that the EAL has found.
#[derive(Debug)]
pub struct EthPort {
    started: Arc<Started>,
    device: String,
    info: dpdk_sys::natlb_port_info,
    known: Driver,
    /// Fewer queues than the driver claims: see [`driver::most_queues`].
    most_queues: Option<u16>,
    mac: [u8; 6],
    mtu: u16,
    pools: Vec<Pool>,
    tx_queues: u16,
    /// Of each queue's ring: to receive, to transmit.
    descriptors: (u16, u16),
    notes: Vec<String>,
    running: bool,
    /// Frames to all multicast groups are wanted.
    wants_groups: bool,
    /// The queues that were handed out: a bit for each.
    taken: AtomicU64,
    /// Of an af_packet device, by queue: where the kernel keeps what does not fit a slot of the ring.
    sockets: Vec<OwnedFd>,
}

/// What stops and closes a port when neither the port nor a queue of it is left.
#[derive(Debug)]
pub(crate) struct Started {
    id: u16,
    /// What was handed to the driver by pointer, until the port is closed.
    kept: Mutex<Kept>,
    /// Goes last.
    _runtime: Arc<Runtime>,
}

/// What a driver may read at any time, long after the call that handed it over.
#[derive(Debug, Default)]
struct Kept {
    /// All that a queue of the port was ever set up with: its rings may hold frames of them.
    pools: Vec<Pool>,
    /// All that the port was ever hashed by: DPDK copies the structure with the pointer to the key, not the key. Many
    /// drivers read it when the port starts (igb, ixgbe, i40e), and after a refused configuration the one before holds.
    rss: Vec<RssConfig>,
}

impl Started {
    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    /// Keeps the key as long as the port. What is returned points to the kept one.
    pub(crate) fn keep_rss(&self, rss: &RssConfig) -> dpdk_sys::natlb_rss {
        let mut kept = self.kept.lock().expect("nothing panics while it is held");
        match kept.rss.iter().find(|known| *known == rss) {
            Some(known) => known.as_raw(),
            None => {
                let rss = rss.clone();
                // A vector's bytes stay where they are when the vector is moved.
                let raw = rss.as_raw();
                kept.rss.push(rss);
                raw
            }
        }
    }

    /// Keeps the pools as long as the port.
    fn keep_pools(&self, pools: &[Pool]) {
        self.kept.lock().expect("nothing panics while it is held").pools.extend_from_slice(pools);
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // SAFETY: the port is ours, and no queue of it is in use: each holds this.
        let (stopped, closed) =
            unsafe { (dpdk_sys::rte_eth_dev_stop(self.id), dpdk_sys::rte_eth_dev_close(self.id)) };
        for result in [stopped, closed] {
            if let Err(errno) = Errno::check(result) {
                log::debug!("port {} does not stop cleanly: {errno}", self.id);
            }
        }
    }
}

impl EthPort {
    /// Finds the port of `device`, named as in [`EalOptions::devices`](crate::EalOptions::devices).
    /// A port is opened once.
    ///
    /// # Errors
    /// If the EAL has no such port, with what to look at.
    pub fn open(eal: &Eal, device: &str) -> Result<Self, Error> {
        let parsed = Device::parse(device);
        let missing =
            || Error::NoDevice { device: device.into(), remedy: parsed.remedy_when_missing(eal.memory()) };
        let name = CString::new(parsed.port_name()).map_err(|_| missing())?;
        let mut id = 0;
        // SAFETY: the EAL is up, the name ends in 0, and `id` is written.
        let found = unsafe { dpdk_sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &mut id) };
        Errno::check(found).map_err(|_| missing())?;
        eal.runtime.claim(id).map_err(|why| Error::Option(device.into(), why))?;

        let started = Arc::new(Started { id, kept: Mutex::default(), _runtime: Arc::clone(&eal.runtime) });
        let fail = |step, errno| Error::Port {
            device: device.into(),
            step,
            errno,
            remedy: "the driver's own messages above say why",
        };
        let mut info = dpdk_sys::natlb_port_info::default();
        // SAFETY: the shim fills the structure.
        Errno::check(unsafe { dpdk_sys::natlb_port_info(id, &mut info) })
            .map_err(|errno| fail("ask what it can do", errno))?;
        let mut mac = [0; 6];
        // SAFETY: the shim writes 6 bytes.
        Errno::check(unsafe { dpdk_sys::natlb_port_mac(id, mac.as_mut_ptr()) })
            .map_err(|errno| fail("read its MAC", errno))?;
        let driver = name_of(&info);
        let pci_device = match &parsed {
            Device::Pci { address, .. } => driver::pci_device(address),
            Device::Virtual { .. } => None,
        };
        Ok(Self {
            started,
            device: device.into(),
            known: Driver::of(&driver).with_arguments(device),
            most_queues: driver::most_queues(&driver, pci_device),
            info,
            mac,
            mtu: dpdk_sys::NATLB_ETHER_MTU as u16,
            pools: Vec::new(),
            tx_queues: 0,
            descriptors: (0, 0),
            notes: Vec::new(),
            running: false,
            wants_groups: false,
            taken: AtomicU64::new(0),
            sockets: Vec::new(),
        })
    }

    /// Sets the port up, without any offload but the check of IPv4 headers, where the device has that. What the
    /// device can't do and the program can do without is worked around and said in [`notes`](Self::notes).
    ///
    /// # Errors
    /// Too few queues, an MTU that is asked for and cannot be, or the driver's refusal.
    pub fn configure(&mut self, config: PortConfig) -> Result<(), Error> {
        let rx_queues = config.pools.len().min(64) as u16;
        let tx_queues = config.tx_queues.min(64);
        self.check_queues("receive", rx_queues, self.max_rx_queues())?;
        self.check_queues("transmit", tx_queues, self.max_tx_queues())?;
        let (mtu, largest) = self.fit_mtu(&config)?;
        let id = self.started.id;
        let rss = config.rss.as_ref().map(|rss| self.started.keep_rss(rss));
        let rss = rss.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the port exists, is ours, and is not started (`&mut self`; starting makes queues); the
        // hash key lives as long as the port (`Kept::rss`).
        let result = unsafe { dpdk_sys::natlb_port_configure(id, rx_queues, tx_queues, mtu, rss) };
        Errno::check(result).map_err(|errno| self.fail("configure it", errno))?;

        let (rx, tx) = self.fit_descriptors(&config);
        // DPDK's SOCKET_ID_ANY where the node is not known.
        let socket = self.numa_node().unwrap_or(u32::MAX);
        self.started.keep_pools(&config.pools);
        for (queue, pool) in (0..rx_queues).zip(&config.pools) {
            // SAFETY: the port is configured with `rx_queues` queues; without a configuration of the queue
            // the driver's own is taken; the pool lives as long as the port (`Kept::pools`).
            let result = unsafe {
                dpdk_sys::rte_eth_rx_queue_setup(id, queue, rx, socket, std::ptr::null(), pool.as_ptr())
            };
            Errno::check(result).map_err(|errno| self.fail("set a receive queue up", errno))?;
        }
        for queue in 0..tx_queues {
            // SAFETY: as above.
            let result = unsafe { dpdk_sys::rte_eth_tx_queue_setup(id, queue, tx, socket, std::ptr::null()) };
            Errno::check(result).map_err(|errno| self.fail("set a transmit queue up", errno))?;
        }
        self.set_mtu(mtu, largest, &config)?;
        self.pools = config.pools;
        self.tx_queues = tx_queues;
        self.descriptors = (rx, tx);
        self.set_mac_if_none();
        if config.promiscuous {
            // SAFETY: the port exists and is ours.
            let result = unsafe { dpdk_sys::rte_eth_promiscuous_enable(id) };
            if let Err(errno) = Errno::check(result) {
                self.note(format!("promiscuous mode can't be set: {errno}"));
            }
        }
        self.wants_groups = config.all_multicast;
        if config.all_multicast && !config.promiscuous {
            self.let_groups_through();
        }
        Ok(())
    }

    /// Has the device receive frames to all groups. One whose driver cannot be told that either filters nothing, as
    /// virtual devices do, or can be told to receive all frames.
    fn let_groups_through(&mut self) {
        let id = self.started.id;
        // SAFETY: the port exists and is ours.
        let result = unsafe { dpdk_sys::rte_eth_allmulticast_enable(id) };
        let Err(refused) = Errno::check(result) else { return };
        if !matches!(Device::parse(&self.device), Device::Pci { .. }) {
            return;
        }
        // SAFETY: as above.
        let result = unsafe { dpdk_sys::rte_eth_promiscuous_enable(id) };
        if Errno::check(result).is_err() {
            self.note(format!(
                "frames to multicast groups can't be let through, so that neighbours of IPv6 may not find this port: {refused}"
            ));
        }
    }

    /// Starts the configured port. Its link need not be up: that may come with the peer.
    ///
    /// # Errors
    /// The driver's refusal.
    pub fn start(&mut self) -> Result<(), Error> {
        // SAFETY: the port exists and is ours; DPDK refuses one that is not configured.
        let result = unsafe { dpdk_sys::rte_eth_dev_start(self.started.id) };
        Errno::check(result).map_err(|errno| self.fail("start it", errno))?;
        self.running = true;
        self.find_sockets();
        self.let_groups_through_the_kernel();
        Ok(())
    }

    /// Of an af_packet device: see [`af_packet`](crate::af_packet).
    fn find_sockets(&mut self) {
        let Some(interface) = self.packet_interface() else { return };
        let found = af_packet::sockets(interface).map_err(|error| error.to_string());
        let found = found.and_then(|sockets| match sockets.len() == usize::from(self.info.max_rx_queues) {
            true => Ok(sockets),
            false => Err(format!("it has {} sockets", sockets.len())),
        });
        match found {
            Ok(sockets) => self.sockets = sockets,
            Err(why) => self.note(format!(
                "what the kernel puts together of fragments is lost where it does not fit a slot of the ring: {why}"
            )),
        }
    }

    /// Of an af_packet device: its interface receives frames to all groups as long as the port is open.
    fn let_groups_through_the_kernel(&mut self) {
        let Some(interface) = self.packet_interface().filter(|_| self.wants_groups) else { return };
        let joined = match self.sockets.first() {
            Some(socket) => {
                af_packet::receive_all_groups(socket, interface).map_err(|error| error.to_string())
            }
            None => Err("its sockets were not found".into()),
        };
        if let Err(why) = joined {
            self.note(format!(
                "frames to multicast groups may not be let through by {interface}, so that neighbours of IPv6 may not find \
                 this port: {why}"
            ));
        }
    }

    /// The interface of an af_packet device.
    fn packet_interface(&self) -> Option<&str> {
        let mut words = self.device.split(',').map(str::trim);
        let is_packet = words.next().is_some_and(|name| name.starts_with("net_af_packet"));
        words.find_map(|word| word.strip_prefix("iface=")).filter(|_| is_packet)
    }

    /// The queues with number `queue`, to receive, to transmit or both; `None` if there are none, or they
    /// were handed out before, or the port is not started.
    pub fn queue(&self, queue: u16) -> Option<PortQueue> {
        let rx = Some(queue).filter(|queue| usize::from(*queue) < self.pools.len());
        let tx = Some(queue).filter(|queue| *queue < self.tx_queues);
        if !self.running || queue >= 64 || rx.or(tx).is_none() {
            return None;
        }
        let bit = 1 << queue;
        let before = self.taken.fetch_or(bit, Ordering::AcqRel);
        (before & bit == 0).then(|| self.port_queue(rx, tx))
    }

    /// For a worker that has no queue on this port: receives nothing, takes nothing to transmit, but
    /// allocates. `None` if the port is not started.
    pub fn without_queue(&self) -> Option<PortQueue> {
        self.running.then(|| self.port_queue(None, None))
    }

    fn port_queue(&self, rx: Option<u16>, tx: Option<u16>) -> PortQueue {
        let own = rx.and_then(|queue| self.pools.get(usize::from(queue)));
        let pool = own.unwrap_or(&self.pools[0]).clone(); // a port that is started has one
        let socket = rx.and_then(|queue| self.sockets.get(usize::from(queue)));
        let cutter = socket.and_then(|socket| Some(Cutter::new(socket.try_clone().ok()?, self.mtu)));
        PortQueue::new(Arc::clone(&self.started), rx, tx, pool).cutting(cutter)
    }

    /// Once, however often the port is configured.
    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    pub(crate) fn id(&self) -> u16 {
        self.started.id
    }

    pub(crate) fn started(&self) -> &Arc<Started> {
        &self.started
    }

    pub(crate) fn info(&self) -> &dpdk_sys::natlb_port_info {
        &self.info
    }

    fn fail(&self, step: &'static str, errno: Errno) -> Error {
        let remedy = if self.device.starts_with("net_memif") {
            "start memif's server side first, with as many queues"
        } else if errno.0 == 12 {
            "give it fewer descriptors or [buffers] a larger count"
        } else {
            "the driver's own messages above say why"
        };
        Error::Port { device: self.device.clone(), step, errno, remedy }
    }
}
