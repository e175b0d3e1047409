//! DPDK, its ports and pools, from the configuration.

use crate::Failure;
use crate::steering::Steering;
use control::config::{Config, Hugepages};
use control::thread::{DeviceStatus, Devices};
use dataplane::next_hop::Mac;
use dataplane::steering::OwnerMap;
use dpdk::{Eal, EalOptions, EthPort, LogLevel, Pool, PortConfig, Queues};
use std::path::Path;

/// Starts the EAL with all devices of the file.
pub(crate) fn start_eal(config: &Config) -> Result<Eal, Failure> {
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
        devices: config.ports.iter().map(|port| port.device.clone()).collect(),
        extra_arguments: eal.args.clone(),
        log_level,
        file_prefix: file_prefix(&config.control.socket),
        ..EalOptions::default()
    };
    Ok(Eal::start(&options)?)
}

/// Tells the runtime files of one `lbd` from another's, and is the same after a restart, so that a
/// killed one leaves nothing that its successor does not take over. FNV-1a of the socket's path.
fn file_prefix(socket: &Path) -> String {
    let bytes = socket.as_os_str().as_encoded_bytes();
    let hash =
        bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    format!("natlb-{hash:08x}")
}

/// The `EthPort`s, in the order of the file.
pub(crate) struct DpdkDevices {
    ports: Vec<EthPort>,
    steering: Steering,
    /// Every port's pools. They go after all ports (fields are dropped in order): a port's transmit
    /// ring holds frames of the others' pools until it is closed.
    _pools: Vec<Pool>,
}

impl DpdkDevices {
    /// Opens, configures and starts every port, with a pool for each port and worker.
    pub(crate) fn open(eal: &Eal, config: &Config) -> Result<Self, Failure> {
        let ports = config.ports.iter().map(|port| EthPort::open(eal, &port.device));
        let mut ports: Vec<_> = ports.collect::<Result<_, _>>()?;
        // All ports follow one map, so all must be known before the first is configured.
        let mut steering = Steering::choose(config, &ports)?;
        for (index, device) in ports.iter_mut().enumerate() {
            start_port(eal, config, index, device, &mut steering)?;
        }
        let pools = ports.iter().flat_map(|port| port.pools().iter().cloned()).collect();
        Ok(Self { ports, steering, _pools: pools })
    }

    /// Which worker owns a client's connections.
    pub(crate) fn owner_map(&self) -> &OwnerMap {
        self.steering.owner_map()
    }

    /// The queues of one worker.
    pub(crate) fn queues(&mut self, worker: u16) -> Result<Queues, Failure> {
        let queue = |port: &EthPort| {
            port.queue(worker)
                .ok_or_else(|| Failure::Other(format!("{} has no queue for worker {worker}", port.device())))
        };
        Ok(Queues::new(self.ports.iter().map(queue).collect::<Result<_, _>>()?))
    }
}

/// Configures and starts the port with this index in the file.
fn start_port(
    eal: &Eal,
    config: &Config,
    index: usize,
    device: &mut EthPort,
    steering: &mut Steering,
) -> Result<(), Failure> {
    let (port, buffers, node) = (&config.ports[index], &config.buffers, device.numa_node());
    let pool = |worker: usize| {
        let name = format!("{}-w{worker}", port.name);
        let (count, cache) = (buffers.count as u32, buffers.cache as u32);
        Pool::new(eal, &name, count, cache, buffers.size as u16, node)
    };
    let pools: Vec<_> = (0..config.eal.workers.len()).map(pool).collect::<Result<_, _>>()?;
    let rss = steering.rss(index, port.side, device);
    // Frames to other MACs are not wanted: they would only be dropped, and counted as such.
    let settings =
        |rss| PortConfig { pools: pools.clone(), descriptors: None, mtu: port.mtu, promiscuous: false, rss };
    match (device.configure(settings(rss.clone())), &rss) {
        (Err(error), Some(_)) => {
            steering.fall_back(index, format!("{} refuses RSS with a key: {error}", device.driver()));
            device.configure(settings(None))?;
            device.start()?;
        }
        (configured, rss) => {
            configured?;
            device.start()?;
            if let Some(rss) = rss {
                steering.complete(index, device, rss);
            }
        }
    }
    log::info!("{}: {} ({}), MAC {}", port.name, port.device, device.driver(), Mac(device.mac()));
    if config.eal.workers.len() > 1 {
        log::info!("{}: packets find their worker {}", port.name, steering.ways[index]);
    }
    for note in device.notes() {
        log::warn!("{}: {note}", port.name);
    }
    Ok(())
}

impl Devices for DpdkDevices {
    fn status(&self, index: usize) -> DeviceStatus {
        let port = &self.ports[index];
        let stats = port.stats().unwrap_or_default();
        DeviceStatus {
            driver: port.driver(),
            mac: Mac(port.mac()),
            mtu: port.mtu(),
            link_up: port.link().up,
            steering: self.steering.ways[index].to_string(),
            rx_packets: stats.rx_packets,
            tx_packets: stats.tx_packets,
            rx_bytes: stats.rx_bytes,
            tx_bytes: stats.tx_bytes,
            rx_missed: stats.rx_missed + stats.rx_no_mbuf,
            buffers_in_use: port.pools().iter().map(|pool| u64::from(pool.in_use())).sum(),
            buffers: port.pools().iter().map(|pool| u64::from(pool.count())).sum(),
            notes: port.notes().to_vec(),
        }
    }

    fn dpdk_version(&self) -> String {
        Eal::version().trim_start_matches("DPDK ").into() // whoever shows it adds the name
    }

    fn tsc_hz(&self) -> f64 {
        dpdk::tsc_hz() as f64
    }
}
