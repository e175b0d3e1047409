//! TCP exchanges through the packet path under each scheduler, short and held, against what Linux IPVS picked: the
//! transcripts in `testdata/schedule`, with the counts that it listed.

mod support;

use dataplane::names::ids::{NeighbourKey, RealKey};
use dataplane::names::mac::Mac;
use dataplane::schedule::{Algorithm, Flags};
use std::net::{Ipv4Addr, SocketAddrV4};
use support::packet::{ACK, FIN, Packet, SYN, read};
use support::*;

/// The VIP and port of the service.
const SERVICE: SocketAddrV4 = SocketAddrV4::new(VIP, 80);

/// A block of a transcript: one service, its reals, and connections one after the other.
struct Block {
    lab: Lab,
    reals: Vec<(SocketAddrV4, u32)>,
    /// Each connection is closed before the next.
    is_short: bool,
    /// Those that stay open: the client's endpoint, and the real's.
    open: Vec<(SocketAddrV4, SocketAddrV4)>,
    next_port: u16,
    compared: usize,
}

impl Block {
    fn new(algorithm: Algorithm, flags: Flags, is_short: bool) -> Self {
        let mut lab = Lab::new();
        (lab.algorithm, lab.flags) = (algorithm, flags);
        for last in 11..=50 {
            let key = NeighbourKey { interface: VIP0, address: Ipv4Addr::new(192, 168, 10, last).into() };
            lab.reachable(key, Mac([2, 0, 0, 0, 0x10, last]));
        }
        for last in [27, 37] {
            let key = NeighbourKey { interface: DIP0, address: Ipv4Addr::new(10, 0, 0, last).into() };
            lab.reachable(key, Mac([2, 0, 0, 0, 0, last]));
        }
        Self { lab, reals: Vec::new(), is_short, open: Vec::new(), next_port: 30_000, compared: 0 }
    }

    fn add(&mut self, real: SocketAddrV4, weight: u32) {
        self.reals.push((real, weight));
        self.lab.configure(&[Configured { key: tcp_service(SERVICE), reals: self.reals.clone() }]);
    }

    fn client_sends(&mut self, client: SocketAddrV4, flags: u8) -> Vec<Sent> {
        let packet = Packet::tcp(client, SERVICE, flags).macs(CLIENT_MAC, VIP_MAC);
        self.lab.arrive(VIP0, &packet.frame())
    }

    fn real_sends(&mut self, real: SocketAddrV4, client: SocketAddrV4, flags: u8) {
        let packet = Packet::tcp(real, client, flags).macs(RS1_MAC, DIP_MAC);
        let sent = self.lab.arrive(DIP0, &packet.frame());
        assert_eq!(sent.len(), 1, "the reply is translated");
        assert_eq!(read(&sent[0].bytes).source, SERVICE);
    }

    fn close(&mut self, client: SocketAddrV4, real: SocketAddrV4) {
        self.client_sends(client, FIN | ACK);
        self.real_sends(real, client, FIN | ACK);
        self.client_sends(client, ACK);
    }

    /// A connection from its SYN on; `None`: of any port of the usual client.
    fn connect(&mut self, client: Option<SocketAddrV4>, expected: &str) {
        self.next_port += 1;
        let client = client.unwrap_or(at(CLIENT, self.next_port));
        let sent = self.client_sends(client, SYN);
        let to_real = sent.iter().find(|sent| sent.port == DIP0).map(|sent| read(&sent.bytes).destination);
        let name = to_real.map(|real| format!("rs{}", (real.ip().octets()[3] + 3) / 10));
        // For some the kernel's limit of ICMP left the client without an answer.
        let refused = ["REFUSED", "TIMEOUT"].contains(&expected);
        assert_eq!(name.as_deref(), (!refused).then_some(expected), "{client}, after {}", self.compared);
        self.compared += 1;
        let Some(real) = to_real else { return };
        self.real_sends(real, client, SYN | ACK);
        self.client_sends(client, ACK);
        if self.is_short {
            self.close(client, real);
        } else {
            self.open.push((client, real));
        }
    }

    fn counts(&mut self, real: SocketAddrV4) -> (u64, u64) {
        let id = self.lab.real_id(RealKey { service: tcp_service(SERVICE), endpoint: real.into() });
        let counters = self.lab.counters().real(id);
        (counters.states.active(), counters.inactive())
    }
}

/// Runs the blocks whose services are on an address; how many connections were compared.
fn play(text: &str) -> usize {
    let (mut block, mut is_short, mut is_unknown, mut compared) = (None::<Block>, true, false, 0);
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match (words.as_slice(), &mut block) {
            (["##", .., "closed)"], Some(block)) => {
                for (client, real) in std::mem::take(&mut block.open) {
                    block.close(client, real);
                }
                block.is_short = true;
            }
            (["##", ..], _) => is_short = !line.contains("(held)"),
            (["#", .., "source=backend"], Some(block)) => is_unknown = block.lab.flags.has(Flags::PORT),
            (["[lb]#", "ipvsadm", "-A", "-f", ..], _) => block = None,
            (["[lb]#", "ipvsadm", "-A", _, _, "-s", name, rest @ ..], _) => {
                let mut flags = Flags::NONE;
                for word in rest.get(1).into_iter().flat_map(|flags| flags.split(',')) {
                    flags = flags.with(if word.ends_with("port") { Flags::PORT } else { Flags::FALLBACK });
                }
                is_unknown = false;
                block = Some(Block::new(name.parse().unwrap(), flags, is_short));
            }
            (["[lb]#", "ipvsadm", "-a", _, _, "-r", real, "-m", "-w", weight], Some(block)) => {
                block.add(real.parse().unwrap(), weight.parse().unwrap());
            }
            (["->", real, "Masq", _, active, inactive], Some(block)) if !is_unknown => {
                let listed = (active.parse().unwrap(), inactive.parse().unwrap());
                assert_eq!(block.counts(real.parse().unwrap()), listed, "{line}");
            }
            ([first, ..], Some(block))
                if first.starts_with("rs") || ["REFUSED", "TIMEOUT"].contains(first) =>
            {
                let before = block.compared;
                words.iter().for_each(|word| block.connect(None, word));
                compared += block.compared - before;
            }
            ([first, ..], Some(block)) if first.contains('=') => {
                let before = block.compared;
                for (from, word) in words.iter().map(|word| word.split_once('=').unwrap()) {
                    match from.parse() {
                        Ok(port) => block.connect(Some(at(CLIENT, port)), word),
                        Err(_) if is_unknown => {}
                        Err(_) => block.connect(Some(at(from.parse().unwrap(), 30_000)), word),
                    }
                }
                compared += block.compared - before;
            }
            _ => {}
        }
    }
    compared
}

macro_rules! transcripts {
    ($($name:ident: $file:literal, $connections:literal;)*) => {
        $(#[test]
        fn $name() {
            assert_eq!(play(include_str!(concat!("../testdata/schedule/", $file))), $connections);
        })*
    };
}

transcripts! {
    rr: "rr.txt", 282;
    wrr: "wrr.txt", 282;
    lc: "lc.txt", 282;
    wlc: "wlc.txt", 282;
    sed: "sed.txt", 282;
    nq: "nq.txt", 282;
    fo_and_ovf: "fo-ovf.txt", 240;
    sh: "sh.txt", 240;
    sh_port: "sh-port.txt", 240;
    sh_port_and_fallback: "sh-port-fallback.txt", 240;
    mh: "mh.txt", 240;
    mh_port: "mh-port.txt", 240;
    mh_fallback: "mh-fallback.txt", 240;
    dh: "dh.txt", 17;
}
