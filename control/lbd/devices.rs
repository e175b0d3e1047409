//! DPDK, its ports, queues and pools, from the configuration.

use dataplane::names::ids::EthPortId;

use crate::Failure;
use crate::interfaces::Interfaces;
use crate::nic_steering::Steering;
use crate::placement::{QueuePlan, hand_over_buffers, numa_node};
use crate::rings::{self, PortShape, Sizes, TooFew, Wanted};
use crate::starting::Starting;
use crate::take_over::Prefix;
use control::config::keep::Keep;
use control::config::{self, Config, Hugepages};
use control::devices::{DeviceStatus, Devices};
use control::host_interface::{Footing, HostInterface};
use dataplane::counters::PortCounters;
use dataplane::exchange::peers::Peers;
use dataplane::names::family::IpVersion;
use dataplane::names::mac::Mac;
use dataplane::steering::OwnerMap;
use dataplane::worker::{BURSTS_IN_HAND, BURSTS_IN_HAND_OF_IPV6};
use dpdk::{Eal, EalOptions, EthPort, LogLevel, Mbuf, MemoryMode, Pool, PortConfig, Queues};
use std::net::IpAddr;

/// Starts the EAL with all devices of the file.
pub(crate) fn start_eal(config: &Config, prefix: &Prefix, starting: &Starting) -> Result<Eal, Failure> {
    let eal = &config.eal;
    let log_level = if log::log_enabled!(log::Level::Debug) { LogLevel::Info } else { LogLevel::Warning };
    let options = EalOptions {
        main_core: eal.main_lcore,
        worker_cores: eal.workers.clone(),
        hugepages: match eal.hugepages {
            Hugepages::Auto => dpdk::Hugepages::Auto,
            Hugepages::Require => dpdk::Hugepages::Require,
            Hugepages::Never => dpdk::Hugepages::Never,
        },
        memory_mb: u32::try_from(eal.memory_mb).unwrap_or(u32::MAX),
        devices: config.eth_ports.iter().map(|port| port.device.clone()).collect(),
        extra_arguments: prefix.arguments.clone(),
        log_level,
        file_prefix: prefix.name.clone(),
        keeps_pages: config.keep != Keep::Off && prefix.is_usual,
        ..EalOptions::default()
    };
    starting.step(format!("starting DPDK, which looks for {}", options.devices.join(" and ")));
    Ok(Eal::start(&options)?)
}

/// The `EthPort`s, in the order of the file.
pub(crate) struct DpdkDevices {
    ports: Vec<EthPort>,
    interfaces: Interfaces,
    plans: Vec<QueuePlan>,
    steering: Steering<EthPort>,
    /// By port: whether it has addresses of IPv4, and of IPv6.
    families: Vec<[bool; 2]>,
    sizes: Sizes,
    /// Every port's pools. They go after all ports (fields are dropped in order): a port's transmit
    /// ring holds frames of the others' pools until it is closed.
    _pools: Vec<Pool>,
}

impl DpdkDevices {
    /// Opens, configures and starts every port, with a pool for each receive queue.
    pub(crate) fn open(eal: &Eal, config: &Config, starting: &Starting) -> Result<Self, Failure> {
        let ports = config.eth_ports.iter().map(|port| EthPort::open(eal, &port.device));
        let mut ports: Vec<_> = ports.collect::<Result<_, _>>()?;
        // All ports follow one map, so all must be known before the first is configured.
        let sides: Vec<_> = config.eth_ports.iter().map(|port| port.interface.side).collect();
        let mut steering = Steering::choose(&sides, &ports, config.eal.workers.len(), config.steering)?;
        let families = config.eth_ports.iter().map(families).collect();
        let interfaces = Interfaces::find(&ports)?;
        let plans = plan_queues(config, &ports, &mut steering);
        let shapes: Vec<_> = ports.iter().zip(&plans).map(|(port, plan)| shape(port, plan)).collect();
        let sizes = fit_rings(config, &shapes)?;
        for (index, device) in ports.iter_mut().enumerate() {
            starting.step(format!(
                "{}: setting up and starting {}",
                config.eth_ports[index].name,
                device.device()
            ));
            let basis = Basis { footing: interfaces.look(index), plan: &plans[index] };
            start_port(eal, config, index, device, &basis, &sizes, &mut steering)?;
            check_buffers_taken(config, index, device, &shapes, &sizes)?;
        }
        steering.settle()?;
        let needed = |index| sizes.taken(&shapes, index, config.eal.workers.len());
        let most = (0..ports.len()).map(needed).max().unwrap_or(0);
        warn_of_few_buffers(config, &sizes, &shapes, most, &steering);
        let pools = ports.iter().flat_map(|port| port.pools().iter().cloned()).collect();
        Ok(Self { ports, interfaces, plans, steering, families, sizes, _pools: pools })
    }

    /// Frames that each worker may hold.
    pub(crate) fn held(&self) -> usize {
        self.sizes.held
    }

    /// Which worker owns a client's connections.
    pub(crate) fn owner_map(&self) -> &OwnerMap {
        self.steering.owner_map()
    }

    /// The queues of one worker; if it has none to transmit, `peers` learns which worker sends for it.
    pub(crate) fn queues(&self, worker: usize, peers: &mut Peers<Mbuf>) -> Result<Queues, Failure> {
        let mut queues = Vec::new();
        for (index, (port, plan)) in (0..).zip(self.ports.iter().zip(&self.plans)) {
            peers.send_through(EthPortId(index), plan.sender_of(worker));
            let queue = match plan.queue_of(worker) {
                Some(queue) => port.queue(queue as u16),
                None => port.without_queue(),
            };
            let missing = || Failure::Other(format!("{} has no queue for worker {worker}", port.device()));
            queues.push(queue.ok_or_else(missing)?);
        }
        Ok(Queues::new(queues))
    }
}

/// On its worker's NUMA node, where the memory is DPDK's to place.
fn new_pool(
    eal: &Eal,
    config: &Config,
    port: &control::config::EthPort,
    worker: usize,
    cache: usize,
    room: u16,
) -> Result<Pool, Failure> {
    let name = format!("{}-w{worker}", port.name);
    let (count, cache) = (config.buffers.count as u32, cache as u32);
    let node = match eal.memory() {
        MemoryMode::Ordinary(_) => None,
        MemoryMode::Huge => numa_node(config.eal.workers[worker]),
    };
    let pool = Pool::new(eal, &name, count, cache, room, node);
    if let (Err(error), Some(node)) = (&pool, node) {
        log::warn!("pool {name} is not on NUMA node {node}: {error}");
        return Ok(Pool::new(eal, &name, count, cache, room, None)?);
    }
    Ok(pool?)
}

/// Memory of another node costs every packet.
fn warn_of_remote_workers(name: &str, node: Option<u32>, cores: impl Iterator<Item = usize>) {
    let Some(node) = node else { return };
    let remote = cores.filter(|core| numa_node(*core).is_some_and(|of_core| of_core != node));
    let remote: Vec<String> = remote.map(|core| core.to_string()).collect();
    if !remote.is_empty() {
        let cores = remote.join(", ");
        log::warn!("port {name} is on NUMA node {node}, the workers on these cores are not: {cores}");
    }
}

/// Which worker has which queue of each port. One with fewer queues than workers is left to software.
fn plan_queues(config: &Config, ports: &[EthPort], steering: &mut Steering<EthPort>) -> Vec<QueuePlan> {
    let workers = config.eal.workers.len();
    let plan = |(index, port): (usize, &EthPort)| {
        let most = (port.max_rx_queues().into(), port.max_tx_queues().into());
        let plan = QueuePlan::new(index, workers, most.0, most.1);
        if plan.rx < workers && !steering.is_software(index) {
            steering.fall_back(index, format!("the device has {} queues for {workers} workers", plan.rx));
        }
        plan
    };
    ports.iter().enumerate().map(plan).collect()
}

/// Whether a port has addresses of IPv4, and of IPv6.
fn families(port: &config::EthPort) -> [bool; 2] {
    let has = |of: fn(&IpAddr) -> bool| port.interface.addresses.iter().any(|prefix| of(&prefix.addr()));
    [has(IpAddr::is_ipv4), has(IpAddr::is_ipv6)]
}

fn shape(port: &EthPort, plan: &QueuePlan) -> PortShape {
    let (rx, tx) = port.ring_limits();
    PortShape { uses: port.ring_use(), rx, tx, tx_queues: plan.tx }
}

/// Rings, caches and what is held, so that no pool runs dry.
fn fit_rings(config: &Config, shapes: &[PortShape]) -> Result<Sizes, Failure> {
    let (buffers, workers) = (&config.buffers, config.eal.workers.len());
    let of_ipv6 = if config.capacity.ipv6 > 0 { BURSTS_IN_HAND_OF_IPV6 } else { 0 };
    let bursts = BURSTS_IN_HAND + of_ipv6;
    let wanted = Wanted { count: buffers.count, cache: buffers.cache, workers, bursts };
    rings::fit(shapes, wanted).map_err(|TooFew { port, least }| {
        Failure::Other(format!(
            "port {}: [buffers] count = {} is too few: with the smallest rings and caches {least} are needed, or nothing would be \
             received after a while; set it to {least} or more, and memory_mb accordingly",
            config.eth_ports[port].name, buffers.count
        ))
    })
}

/// Says what is smaller than it would be, and where frames under way between workers can take what is left over.
fn warn_of_few_buffers(
    config: &Config,
    sizes: &Sizes,
    shapes: &[PortShape],
    taken: usize,
    steering: &Steering<EthPort>,
) {
    let (buffers, workers) = (&config.buffers, config.eal.workers.len());
    if sizes.enough > buffers.count {
        let ring = |(port, (rx, tx)): (&control::config::EthPort, &(u16, u16))| {
            format!("{}: {rx} slots to receive, {tx} to transmit", port.name)
        };
        let rings: Vec<_> = config.eth_ports.iter().zip(&sizes.rings).map(ring).collect();
        let smaller =
            if sizes.cache < buffers.cache { format!("; cache: {}", sizes.cache) } else { String::new() };
        log::warn!(
            "[buffers] count = {} is few for so many ports and workers, so that rings and caches are smaller than they would be \
             ({}{smaller}); with {} they need not be",
            buffers.count,
            rings.join("; "),
            sizes.enough
        );
    }
    let hands_over = |index: &usize| {
        let is_by_device = |version| steering.steered_by(*index).is_by_device(version);
        let of_ipv6 = families(&config.eth_ports[*index])[1] && !is_by_device(IpVersion::Six);
        !is_by_device(IpVersion::Four) || of_ipv6
    };
    let software = (0..shapes.len()).find(|index| workers > 1 && hands_over(index));
    let needed = taken + hand_over_buffers(workers);
    if let Some(index) = software.filter(|_| needed > buffers.count) {
        log::warn!(
            "port {}: its packets are handed over between workers, which can hold {needed} buffers for a while: set \
             [buffers] count to as many (it is {}), and memory_mb accordingly",
            config.eth_ports[index].name,
            buffers.count
        );
    }
}

/// A driver that took more buffers when it started than is known of it could take all.
fn check_buffers_taken(
    config: &Config,
    index: usize,
    device: &EthPort,
    shapes: &[PortShape],
    sizes: &Sizes,
) -> Result<(), Failure> {
    let uses = shapes[index].uses;
    let reckoned = u32::from(sizes.rings[index].0) * uses.rx_for_each + uses.rx_fixed;
    let taken = device.pools().iter().map(Pool::in_use).max().unwrap_or(0);
    let more = taken.saturating_sub(reckoned) as usize;
    let needed = sizes.taken(shapes, index, config.eal.workers.len()) + more;
    if more == 0 || needed <= config.buffers.count {
        return Ok(());
    }
    Err(Failure::Other(format!(
        "port {}: {} took {taken} buffers for its rings, {reckoned} were reckoned with, so that [buffers] count = {} is too few: \
         set it to {needed} or more, and memory_mb accordingly",
        config.eth_ports[index].name,
        device.driver(),
        config.buffers.count
    )))
}

/// The interface's MTU is what its network carries: more would be lost without a word.
fn refuse_large_mtu(
    port: &control::config::EthPort,
    interface: Option<&HostInterface>,
) -> Result<(), Failure> {
    match (port.interface.mtu, interface) {
        (Some(asked), Some(HostInterface { name, mtu, .. })) if asked > *mtu => Err(Failure::Other(format!(
            "port {}: mtu = {asked}, but interface {name} has {mtu}: ip link set {name} mtu {asked}, or lower mtu (without \
             one, the interface's is taken)",
            port.name
        ))),
        _ => Ok(()),
    }
}

/// What a port stands on, and which of its queues are whose.
struct Basis<'a> {
    footing: Footing,
    plan: &'a QueuePlan,
}

/// Configures and starts the port with this index in the file.
fn start_port(
    eal: &Eal,
    config: &Config,
    index: usize,
    device: &mut EthPort,
    Basis { footing, plan }: &Basis<'_>,
    sizes: &Sizes,
    steering: &mut Steering<EthPort>,
) -> Result<(), Failure> {
    let port = &config.eth_ports[index];
    let workers = config.eal.workers.len();
    let mut receiving: Vec<_> =
        (0..workers).filter_map(|worker| Some((plan.queue_of(worker)?, worker))).collect();
    receiving.sort_unstable();
    receiving.truncate(plan.rx);
    let interface = footing.interface();
    refuse_large_mtu(port, interface)?;
    let size = config.buffers.size as u16;
    let present = interface.map_or_else(|| device.present_mtu(), |interface| interface.mtu);
    // What the file does not ask for is no reason for larger buffers; 18: Ethernet header and frame check sequence.
    let room = device.data_room(size, port.interface.mtu.unwrap_or(present.min(size.saturating_sub(18))));
    if usize::from(room) != config.buffers.size {
        log::info!("{}: {} needs buffers of {room} bytes", port.name, device.driver());
    }
    let pools = receiving.iter().map(|(_, worker)| new_pool(eal, config, port, *worker, sizes.cache, room));
    let pools: Vec<_> = pools.collect::<Result<_, _>>()?;
    let tx_queues = plan.tx as u16;
    let mut rss = steering.rss(index, device);
    let settings = |rss| PortConfig {
        pools: pools.clone(),
        tx_queues,
        descriptors: Some(sizes.rings[index]),
        mtu: port.interface.mtu,
        interface_mtu: interface.map(|interface| interface.mtu),
        // Frames to other MACs are not wanted: they would only be dropped, and counted as such. But an interface of the
        // host stays as it is: drivers switch this off, too.
        promiscuous: interface.is_some_and(|interface| interface.is_promiscuous),
        // Neighbours ask for addresses of IPv6 by multicast.
        all_multicast: port.interface.addresses.iter().any(|prefix| prefix.addr().is_ipv6()),
        rss,
    };
    loop {
        match device.configure(settings(rss.clone())) {
            Err(error) if rss.is_some() && !steering.is_software(index) => {
                steering.fall_back(index, format!("{} refuses RSS with a key: {error}", device.driver()));
                rss = steering.rss(index, device);
            }
            Err(_) if rss.is_some() => rss = None,
            configured => break configured?,
        }
    }
    device.start()?;
    if let Some(rss) = rss.filter(|_| !steering.is_software(index)) {
        let addresses = config.eth_ports.iter().flat_map(|port| &port.interface.addresses);
        steering.complete(index, device, &rss, &addresses.map(|prefix| prefix.addr()).collect());
    }
    log::info!("{}: {} ({}), MAC {}", port.name, port.device, device.driver(), Mac(device.mac()));
    if workers > 1 {
        let way = steering.line(index, families(port));
        let (rx, tx) = (plan.rx, plan.tx);
        log::info!(
            "{}: packets find their worker {way}; {rx} queues to receive, {tx} to transmit",
            port.name
        );
    }
    warn_of_remote_workers(&port.name, device.numa_node(), config.eal.workers.iter().copied());
    for note in device.notes() {
        log::warn!("{}: {note}", port.name);
    }
    Ok(())
}

impl DpdkDevices {
    /// Of the ports, in their order.
    pub(crate) fn macs(&self) -> impl Iterator<Item = Mac> {
        self.ports.iter().map(|port| Mac(port.mac()))
    }
}

impl Devices for DpdkDevices {
    fn status(&self, index: usize) -> DeviceStatus {
        let port = &self.ports[index];
        let footing = self.interfaces.look(index);
        let interface = footing.interface();
        let mut notes = port.notes().to_vec();
        let of_interface = interface.and_then(|interface| interface.mac).filter(|mac| mac.0 != port.mac());
        let followed = of_interface.filter(|_| self.interfaces.follows_mac(index));
        if let (None, Some(mac)) = (followed, of_interface) {
            notes.push(format!(
                "its interface has MAC {mac} now, and the device takes frames to its own: start lbd again"
            ));
        }
        DeviceStatus {
            driver: port.driver(),
            mac: followed.unwrap_or(Mac(port.mac())),
            // Every link carries packets of 68 bytes (RFC 791, 3.2).
            mtu: interface.map_or(port.mtu(), |interface| interface.mtu.min(port.mtu()).max(68)),
            link_up: interface.map_or_else(|| port.link().up, |interface| interface.is_running),
            steered_by: self.steering.steered_by(index),
            steering: self.steering.line(index, self.families[index]),
            counted: port.stats().ok().map(|stats| PortCounters {
                rx_packets: Some(stats.rx_packets),
                tx_packets: Some(stats.tx_packets),
                rx_bytes: Some(stats.rx_bytes),
                tx_bytes: Some(stats.tx_bytes),
                rx_missed: port.counts_missed().then_some(stats.rx_missed + stats.rx_no_mbuf),
                rx_nobuf: port.counts_missed().then_some(stats.rx_no_mbuf),
                rx_errors: Some(stats.rx_errors),
                tx_errors: Some(stats.tx_errors),
            }),
            buffers_in_use: port.pools().iter().map(|pool| u64::from(pool.in_use())).sum(),
            buffers: port.pools().iter().map(|pool| u64::from(pool.count())).sum(),
            notes,
            footing,
        }
    }

    fn follow_addresses(&mut self, own: &mut dyn Iterator<Item = IpAddr>) -> Vec<usize> {
        self.steering.follow(&self.ports, own)
    }

    fn transmits(&self, port: usize, worker: usize) -> bool {
        self.plans[port].transmits(worker)
    }

    fn dpdk_version(&self) -> String {
        Eal::version().trim_start_matches("DPDK ").into() // its reader adds the name
    }

    fn tsc_hz(&self) -> f64 {
        dpdk::tsc_hz() as f64
    }
}
