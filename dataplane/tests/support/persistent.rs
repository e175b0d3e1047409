//! Several workers with persistent services, over up to four reals.

use super::cluster::Cluster;
use super::packet::{ACK, FIN, Packet, SYN, read};
use super::*;
use dataplane::persistence::CopiedTemplate;
use dataplane::snapshot::Persistence;
use std::net::IpAddr;

pub const SECOND: u64 = 1_000_000_000;
pub const TICK: u64 = SECOND / 4;
/// On VIP:80, in the order in which they are added.
pub const REALS: [(Ipv4Addr, u16); 4] = [(RS1, 80), (RS2, 80), (RS1, 81), (RS2, 81)];

/// Workers with one persistent service: TCP VIP:80, and UDP VIP:53 beside it.
pub struct World {
    pub lab: Lab,
    pub cluster: Cluster,
    pub weights: Vec<Option<u32>>,
    pub persistence: Option<Persistence>,
}

pub fn persistence(seconds: u32, mask: [u8; 4]) -> Persistence {
    Persistence { seconds, mask: IpAddr::V4(mask.into()) }
}

impl World {
    pub fn new(workers: usize, reals: usize, persistence: Persistence) -> Self {
        let weights: Vec<_> =
            REALS.iter().enumerate().map(|(index, _)| (index < reals).then_some(1)).collect();
        let persistence = Some(persistence);
        let mut lab = Lab::new();
        configure(&mut lab, &weights, persistence);
        let cluster = Cluster::new(&lab, workers, Steering::Software);
        Self { lab, cluster, weights, persistence }
    }

    /// Has all workers adopt what has been changed.
    pub fn adopt(&mut self) {
        configure(&mut self.lab, &self.weights, self.persistence);
        self.cluster.adopt(&self.lab, Steering::Software);
    }

    pub fn id(&mut self, real: usize) -> RealId {
        let (address, port) = REALS[real];
        let endpoint = std::net::SocketAddr::V4(at(address, port));
        self.lab.real_id(RealKey { service: tcp_service(at(VIP, 80)), endpoint })
    }

    /// Lets a client's segment arrive somewhere, and everybody do what is to be done. What leaves towards reals.
    pub fn client_sends(&mut self, client: SocketAddrV4, flags: u8) -> Vec<SocketAddrV4> {
        let packet = Packet::tcp(client, at(VIP, 80), flags).macs(CLIENT_MAC, VIP_MAC);
        let worker = usize::from(client.port()) % self.cluster.workers.len();
        self.cluster.arrive(worker, VIP0, &packet.frame());
        let sent = self.cluster.settle();
        sent.iter().filter(|sent| sent.port == DIP0).map(|sent| read(&sent.bytes).destination).collect()
    }

    pub fn real_sends(&mut self, client: SocketAddrV4, real: usize, flags: u8) {
        let (address, port) = REALS[real];
        let packet = Packet::tcp(at(address, port), client, flags).macs(RS1_MAC, DIP_MAC);
        self.cluster.arrive(
            usize::from(client.port() / 7) % self.cluster.workers.len(),
            DIP0,
            &packet.frame(),
        );
        self.cluster.settle();
    }

    /// Opens a connection. Which real gets it.
    pub fn open(&mut self, client: SocketAddrV4) -> Option<usize> {
        let reached = self.client_sends(client, SYN);
        assert!(reached.len() < 2, "{client} opened a connection twice: {reached:?}");
        let number = |real| REALS.iter().position(|(address, port)| at(*address, *port) == real);
        reached.first().map(|real| number(*real).expect("a real of the service"))
    }

    /// A whole connection, short; it is in TIME_WAIT then.
    pub fn exchange(&mut self, client: SocketAddrV4) -> usize {
        let real = self.open(client).expect("it reaches a real");
        self.client_sends(client, ACK);
        self.client_sends(client, FIN | ACK);
        self.real_sends(client, real, FIN | ACK);
        real
    }

    /// Lets time pass by ticks, with two turns in each.
    pub fn pass(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.cluster.skip(TICK / 2);
            self.cluster.turn();
            self.cluster.skip(TICK / 2);
            self.cluster.turn();
        }
    }

    pub fn sum(&self, counter: impl Fn(&WorkerCounters) -> u64) -> u64 {
        self.cluster.sum(counter)
    }

    /// The only template.
    pub fn template(&mut self) -> CopiedTemplate {
        let templates = self.cluster.templates();
        assert_eq!(templates.len(), 1, "{templates:?}");
        templates[0]
    }

    /// What must hold whatever was done: gauges are counts, and no frame is lost.
    pub fn check(&mut self) {
        let templates = self.cluster.templates();
        assert_eq!(self.sum(|counters| counters.templates.get()), templates.len() as u64);
        for real in (0..REALS.len()).map(|real| self.id(real)).collect::<Vec<_>>() {
            let of_real = templates.iter().filter(|template| template.real == real).count() as u64;
            assert_eq!(self.sum(|counters| counters.templates_of(real)), of_real);
        }
        let live: usize = self.cluster.workers.iter_mut().map(|worker| worker.io().live_frames()).sum();
        assert_eq!(live, 0);
    }
}

pub fn configure(lab: &mut Lab, weights: &[Option<u32>], persistence: Option<Persistence>) {
    let of = |(address, port): (Ipv4Addr, u16), weight: &Option<u32>| Some((at(address, port), (*weight)?));
    let reals = REALS.iter().zip(weights).filter_map(|(real, weight)| of(*real, weight)).collect();
    let dns = vec![(at(RS1, 5353), 1), (at(RS2, 5353), 1)];
    lab.configure(&[
        Configured { key: tcp_service(at(VIP, 80)), reals },
        Configured { key: udp_service(at(VIP, 53)), reals: dns },
    ]);
    for service in lab.description.services.iter_mut().flatten() {
        service.policy.persistence = persistence;
    }
    lab.apply();
}

pub fn far(host: u8, port: u16) -> SocketAddrV4 {
    at(Ipv4Addr::new(198, 51, 100, host), port)
}

/// A mask under which each client is one.
pub const ALONE: [u8; 4] = [255; 4];
