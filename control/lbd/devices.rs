//! DPDK, its ports and pools, from the configuration.

use crate::Failure;
use control::config::{Config, Hugepages};
use control::thread::{DeviceStatus, Devices};
use dataplane::next_hop::Mac;
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
    /// Every port's pools. They go after all ports (fields are dropped in order): a port's transmit
    /// ring holds frames of the others' pools until it is closed.
    _pools: Vec<Pool>,
}

impl DpdkDevices {
    /// Opens, configures and starts every port, with a pool for each port and worker.
    pub(crate) fn open(eal: &Eal, config: &Config) -> Result<Self, Failure> {
        let ports = config.ports.iter().map(|port| open_port(eal, config, port));
        let ports: Vec<_> = ports.collect::<Result<_, _>>()?;
        let pools = ports.iter().flat_map(|port| port.pools().iter().cloned()).collect();
        Ok(Self { ports, _pools: pools })
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

fn open_port(eal: &Eal, config: &Config, port: &control::config::Port) -> Result<EthPort, Failure> {
    let mut device = EthPort::open(eal, &port.device)?;
    let buffers = &config.buffers;
    let pool = |worker: usize| {
        let name = format!("{}-w{worker}", port.name);
        let (count, cache) = (buffers.count as u32, buffers.cache as u32);
        Pool::new(eal, &name, count, cache, buffers.size as u16, device.numa_node())
    };
    let pools = (0..config.eal.workers.len()).map(pool).collect::<Result<_, _>>()?;
    // Frames to other MACs are not wanted: they would only be dropped, and counted as such.
    device.configure(PortConfig {
        pools,
        descriptors: None,
        mtu: port.mtu,
        promiscuous: false,
        rss: None,
    })?;
    device.start()?;
    log::info!("{}: {} ({}), MAC {}", port.name, port.device, device.driver(), Mac(device.mac()));
    for note in device.notes() {
        log::warn!("{}: {note}", port.name);
    }
    Ok(device)
}

impl Devices for DpdkDevices {
    fn status(&self, port: usize) -> DeviceStatus {
        let port = &self.ports[port];
        let stats = port.stats().unwrap_or_default();
        DeviceStatus {
            driver: port.driver(),
            mac: Mac(port.mac()),
            mtu: port.mtu(),
            link_up: port.link().up,
            steering: "one worker: all packets are its own".into(),
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
