//! What Linux IPVS picked over both families, from the transcripts in `testdata/schedule` and from recorded vectors.

use super::Algorithm::{self, *};
use super::Flags;
use super::lab::Lab;
use crate::live::elsewhere::Load;
use crate::names::ids::RealId;
use std::net::{IpAddr, SocketAddr};

/// 10.0.0.7 and fd00:20::7 are rs1, 10.0.0.17 and fd00:20::17 rs2 and so on.
fn number(address: IpAddr) -> u32 {
    let text = address.to_string();
    let host: u32 = text.rsplit(['.', ':']).next().unwrap().parse().unwrap();
    (host + 3) / 10
}

/// Where the service is, and the client of connections that name none.
fn vip_and_client(is_ipv6: bool) -> (SocketAddr, SocketAddr) {
    let (vip, client) = if is_ipv6 {
        ("[fd00:10::100]:80", "[fd00:10::6]:30000")
    } else {
        ("192.168.10.100:80", "192.168.10.6:30000")
    };
    (vip.parse().unwrap(), client.parse().unwrap())
}

/// The real that is named, or `None` for a client that was refused; some were so without an answer, because the kernel
/// limits its ICMP.
fn expected(word: &str) -> Option<u32> {
    let refused = ["REFUSED", "TIMEOUT"].contains(&word);
    (!refused).then(|| word.strip_prefix("rs").unwrap().parse().unwrap())
}

/// The real of a listing's line.
fn real_at(endpoint: &str) -> RealId {
    let endpoint: SocketAddr = endpoint.parse().unwrap();
    RealId(number(endpoint.ip()))
}

struct Replay {
    lab: Option<Lab>,
    /// Each connection is closed before the next.
    is_short: bool,
    /// The clients of a block cannot be told from it: not compared, and neither are the counts after it.
    is_unknown: bool,
    /// Rows name addresses that are connected to, not clients.
    are_destinations: bool,
    /// Of the reals of a block that names them in its title.
    weights: Vec<u32>,
    /// Where connections go, and where those that name no client come from.
    vip: SocketAddr,
    client: SocketAddr,
    compared: usize,
}

impl Replay {
    fn pick(&mut self, word: &str, client: SocketAddr, destination: SocketAddr) {
        let lab = self.lab.as_mut().unwrap();
        let found = lab.pick_for(client, destination);
        assert_eq!(found, expected(word), "{client} to {destination}, after {} picks", self.compared);
        if let Some(real) = found {
            lab.open(real);
            if self.is_short {
                lab.close(real);
            }
        }
        self.compared += 1;
    }

    fn add(&mut self, endpoint: &str, weight: u32) {
        let real = number(endpoint.parse::<SocketAddr>().unwrap().ip());
        self.lab.as_mut().unwrap().add_at(real, endpoint, weight);
    }

    fn begin(&mut self, algorithm: Algorithm, flags: Flags, is_ipv6: bool) {
        self.lab = Some(Lab::new(algorithm, flags));
        (self.vip, self.client) = vip_and_client(is_ipv6);
        self.is_unknown = false;
        self.are_destinations = algorithm == DestinationHashing;
    }

    /// A service on each of many addresses with these reals: `[fd00:20::7]:7000 -m, then ::17, ::27`.
    fn many_addresses(&mut self, reals: &str) {
        self.begin(DestinationHashing, Flags::NONE, true);
        let (first, others) = reals.split_once(" -m, then ").unwrap();
        let others = others.split(", ").map(|host| format!("[fd00:20{host}]:7000"));
        let reals: Vec<_> = std::iter::once(first.to_owned()).chain(others).collect();
        assert_eq!(reals.len(), self.weights.len());
        for (real, weight) in std::iter::zip(&reals, self.weights.clone()) {
            self.add(real, weight);
        }
    }

    fn line(&mut self, line: &str) {
        let (vip, client) = (self.vip, self.client);
        let words: Vec<_> = line.split_whitespace().collect();
        // `# 20 from fd00:10::11, source ports 30000+`
        let rest = line.strip_prefix('#').and_then(|line| line.split_once(" from "));
        if let Some((address, _)) = rest.and_then(|(_, rest)| rest.split_once(", source ports")) {
            self.client.set_ip(address.parse().unwrap());
        }
        if let Some(reals) = line.strip_prefix("# each VIP: -A -t [VIP]:80 -s dh; -a -r ") {
            self.many_addresses(reals);
        }
        match words.as_slice() {
            ["##", .., "closed)"] => {
                let lab = self.lab.as_ref().unwrap();
                for entry in &lab.list {
                    let active = lab.around.known().connections(entry.real).active;
                    (0..active).for_each(|_| lab.close(entry.real.0));
                }
                self.is_short = true;
            }
            ["##", "weights", weights @ ..] => {
                self.is_short = !line.contains("(held)");
                self.weights = weights.iter().filter_map(|word| word.parse().ok()).collect();
            }
            ["##", ..] => self.is_short = !line.contains("(held)"),
            ["#", "10", "source", "addresses"] => self.are_destinations = false,
            ["#", .., "source=backend"] => {
                let flags = self.lab.as_ref().unwrap().options.flags;
                self.is_unknown = flags.has(Flags::PORT);
            }
            ["[lb]#", "ipvsadm", "-A", _, service, "-s", name, rest @ ..] => {
                let algorithm: Algorithm = name.parse().unwrap();
                let words = rest.get(1).into_iter().flat_map(|flags| flags.split(','));
                let flags = words.map(|word| match word.rsplit('-').next() {
                    Some("port") => Flags::PORT,
                    Some("fallback") => Flags::FALLBACK,
                    _ => panic!("{word} is a flag that is not known here"),
                });
                self.begin(algorithm, flags.fold(Flags::NONE, Flags::with), service.starts_with('['));
            }
            ["[lb]#", "ipvsadm", "-a", _, _, "-r", endpoint, "-m", "-w", weight] => {
                let port = if endpoint.contains(':') { "" } else { ":0" };
                self.add(&format!("{endpoint}{port}"), weight.parse().unwrap());
            }
            ["->", endpoint, "Masq", _, active, inactive] if !self.is_unknown => {
                let load = self.lab.as_ref().unwrap().around.known().connections(real_at(endpoint));
                let listed = Load { active: active.parse().unwrap(), inactive: inactive.parse().unwrap() };
                assert_eq!(load, listed, "{line}");
            }
            [first, ..] if first.starts_with("rs") || ["REFUSED", "TIMEOUT"].contains(first) => {
                words.iter().for_each(|word| self.pick(word, client, vip));
            }
            [first, ..] if first.contains('=') => {
                for (from, word) in words.iter().map(|word| word.split_once('=').unwrap()) {
                    match from.parse() {
                        Ok(port) => self.pick(word, SocketAddr::new(client.ip(), port), vip),
                        Err(_) if self.is_unknown => {}
                        Err(_) if self.are_destinations => {
                            self.pick(word, client, SocketAddr::new(from.parse().unwrap(), 80));
                        }
                        Err(_) => self.pick(word, SocketAddr::new(from.parse().unwrap(), 30000), vip),
                    }
                }
            }
            _ => {}
        }
    }
}

/// Runs all blocks of a transcript, and compares the counts that are listed after each; how many picks were compared.
fn replay(text: &str) -> usize {
    let (vip, client) = vip_and_client(false);
    let mut replay = Replay {
        lab: None,
        is_short: true,
        is_unknown: false,
        are_destinations: false,
        weights: Vec::new(),
        vip,
        client,
        compared: 0,
    };
    text.lines().for_each(|line| replay.line(line));
    replay.compared
}

macro_rules! transcripts {
    ($($name:ident: $file:literal, $picks:literal;)*) => {
        $(#[test]
        fn $name() {
            let text = include_str!(concat!("../../testdata/schedule/", $file));
            assert_eq!(replay(text), $picks);
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
    dh: "dh.txt", 81;
    rr_over_ipv6: "ipv6/rr.txt", 80;
    wrr_over_ipv6: "ipv6/wrr.txt", 80;
    lc_over_ipv6: "ipv6/lc.txt", 80;
    wlc_over_ipv6: "ipv6/wlc.txt", 80;
    sed_over_ipv6: "ipv6/sed.txt", 80;
    nq_over_ipv6: "ipv6/nq.txt", 80;
    sh_over_ipv6: "ipv6/sh.txt", 280;
    sh_port_over_ipv6: "ipv6/sh-port.txt", 240;
    mh_over_ipv6: "ipv6/mh.txt", 280;
    mh_port_over_ipv6: "ipv6/mh-port.txt", 240;
    mh_fallback_over_ipv6: "ipv6/mh-fallback.txt", 320;
    dh_over_ipv6: "ipv6/dh.txt", 40;
    dh_of_many_addresses_over_ipv6: "ipv6/dh-many.txt", 117;
}

#[test]
fn rr_with_an_addition_and_a_deletion_in_between() {
    let mut lab = Lab::with(RoundRobin, &[(11, 1), (12, 1), (13, 1)]);
    assert_eq!(lab.picks(4), [13, 12, 11, 13]);
    lab.add(14, 1);
    assert_eq!(lab.picks(8), [12, 11, 14, 13, 12, 11, 14, 13]);
    lab.delete(13);
    assert_eq!(lab.picks(6), [12, 11, 14, 12, 11, 14]);
}

#[test]
fn wrr_vectors() {
    let wrr = |reals: &[_], picks| Lab::with(WeightedRoundRobin, reals).picks(picks);
    assert_eq!(
        wrr(&[(11, 4), (12, 2), (13, 1)], 17),
        [13, 12, 11, 11, 11, 12, 11, 13, 12, 11, 11, 11, 12, 11, 13, 12, 11]
    );
    assert_eq!(
        wrr(&[(11, 5), (12, 1), (13, 1)], 14),
        [13, 12, 11, 11, 11, 11, 11, 13, 12, 11, 11, 11, 11, 11]
    );
    assert_eq!(wrr(&[(11, 1), (12, 1), (13, 5)], 10), [13, 12, 11, 13, 13, 13, 13, 13, 12, 11]);
}

/// Not recorded but worked out by hand from the kernel's rule: a change goes back to the head of the
/// list and keeps the level, 4 here, as far as the new weights allow.
#[test]
fn wrr_with_changes_in_mid_round() {
    let mut lab = Lab::with(WeightedRoundRobin, &[(11, 4), (12, 2), (13, 1)]);
    assert_eq!(lab.picks(4), [13, 12, 11, 11]);
    lab.add(14, 3);
    assert_eq!(lab.picks(6), [11, 14, 11, 14, 12, 11]);
    lab.delete(13);
    assert_eq!(lab.picks(4), [14, 12, 11, 14], "level 2, then 1");
    lab.delete(11);
    assert_eq!(lab.picks(6), [14, 12, 14, 14, 12, 14], "level 1 stays; then 3, 2, 1");
}

#[test]
fn least_connection_vectors() {
    let held = |algorithm, reals: &[_], picks| Lab::with(algorithm, reals).held(picks);
    let weights = [(11, 1), (12, 2), (13, 1)];
    let cycle = |cycle: &[u32]| cycle.repeat(12 / cycle.len());
    assert_eq!(held(WeightedLeastConnection, &weights, 12), cycle(&[13, 12, 11, 12]));
    assert_eq!(held(LeastConnection, &weights, 12), cycle(&[13, 12, 11]));
    assert_eq!(held(ShortestExpectedDelay, &weights, 12), cycle(&[12, 13, 12, 11]));
}

#[test]
fn a_new_real_gets_what_it_lacks_with_wlc() {
    let mut lab = Lab::with(WeightedLeastConnection, &[(11, 1), (12, 1)]);
    assert_eq!(lab.held(6), [12, 11, 12, 11, 12, 11]);
    lab.add(13, 1);
    assert_eq!(lab.held(10), [13, 13, 13, 13, 12, 11, 13, 12, 11, 13]);
}

/// Clients 172.16.0.1 and following, with port 80 of the reals.
fn by_client(mut lab: Lab, count: u8) -> Vec<u32> {
    let clients = (1..=count).map(|last| SocketAddr::from(([172, 16, 0, last], 40_000)));
    clients.map(|client| lab.pick_for(client, "10.0.1.100:80".parse().unwrap()).unwrap()).collect()
}

#[test]
fn hashing_vectors() {
    let weights = [(11, 1), (12, 1), (13, 2)];
    assert_eq!(
        by_client(Lab::with(SourceHashing, &weights), 16),
        [12, 13, 13, 11, 13, 11, 13, 12, 13, 12, 13, 13, 11, 13, 11, 13]
    );
    assert_eq!(
        by_client(Lab::with(MaglevHashing, &weights), 24),
        [12, 13, 11, 13, 13, 13, 12, 13, 12, 12, 12, 13, 12, 11, 11, 13, 13, 11, 12, 13, 12, 12, 13, 11]
    );
    assert_eq!(by_client(Lab::with(DestinationHashing, &[(11, 1), (12, 1), (13, 1)]), 1), [13]);
}
