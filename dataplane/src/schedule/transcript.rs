//! What Linux IPVS picked, from the transcripts in `testdata/schedule` and from recorded vectors.

use super::Algorithm::{self, *};
use super::Flags;
use super::lab::Lab;
use crate::live::elsewhere::Load;
use crate::names::ids::RealId;
use std::net::SocketAddr;

/// 10.0.0.7 is rs1, 10.0.0.17 rs2 and so on.
fn number(endpoint: &str) -> u32 {
    let host: u32 = endpoint.split(['.', ':']).nth(3).unwrap().parse().unwrap();
    (host + 3) / 10
}

/// The real that is named, or `None` for a client that was refused; some were so without an answer, because the kernel
/// limits its ICMP.
fn expected(word: &str) -> Option<u32> {
    let refused = ["REFUSED", "TIMEOUT"].contains(&word);
    (!refused).then(|| word.strip_prefix("rs").unwrap().parse().unwrap())
}

struct Replay {
    lab: Option<Lab>,
    /// Each connection is closed before the next.
    is_short: bool,
    /// The clients of a block cannot be told from it: not compared, and neither are the counts after it.
    is_unknown: bool,
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

    fn line(&mut self, line: &str) {
        let client: SocketAddr = "192.168.10.6:30000".parse().unwrap();
        let vip: SocketAddr = "192.168.10.100:80".parse().unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["##", .., "closed)"] => {
                let lab = self.lab.as_ref().unwrap();
                for entry in &lab.list {
                    let active = lab.around.known().connections(entry.real).active;
                    (0..active).for_each(|_| lab.close(entry.real.0));
                }
                self.is_short = true;
            }
            ["##", ..] => self.is_short = !line.contains("(held)"),
            ["#", .., "source=backend"] => {
                let flags = self.lab.as_ref().unwrap().options.flags;
                self.is_unknown = flags.has(Flags::PORT);
            }
            ["[lb]#", "ipvsadm", "-A", _, _, "-s", name, rest @ ..] => {
                let algorithm: Algorithm = name.parse().unwrap();
                let words = rest.get(1).into_iter().flat_map(|flags| flags.split(','));
                let flags = words.map(|word| match word.rsplit('-').next() {
                    Some("port") => Flags::PORT,
                    Some("fallback") => Flags::FALLBACK,
                    _ => panic!("{word} is a flag that is not known here"),
                });
                self.lab = Some(Lab::new(algorithm, flags.fold(Flags::NONE, Flags::with)));
                self.is_unknown = false;
            }
            ["[lb]#", "ipvsadm", "-a", _, _, "-r", endpoint, "-m", "-w", weight] => {
                let port = if endpoint.contains(':') { "" } else { ":0" };
                let lab = self.lab.as_mut().unwrap();
                lab.add_at(number(endpoint), &format!("{endpoint}{port}"), weight.parse().unwrap());
            }
            ["->", endpoint, "Masq", _, active, inactive] if !self.is_unknown => {
                let load = self.lab.as_ref().unwrap().around.known().connections(RealId(number(endpoint)));
                let listed = Load { active: active.parse().unwrap(), inactive: inactive.parse().unwrap() };
                assert_eq!(load, listed, "{line}");
            }
            [first, ..] if first.starts_with("rs") || ["REFUSED", "TIMEOUT"].contains(first) => {
                words.iter().for_each(|word| self.pick(word, client, vip));
            }
            [first, ..] if first.contains('=') => {
                for (from, word) in words.iter().map(|word| word.split_once('=').unwrap()) {
                    let is_destination = self.lab.as_ref().unwrap().algorithm == DestinationHashing;
                    match from.parse() {
                        Ok(port) => self.pick(word, SocketAddr::new(client.ip(), port), vip),
                        Err(_) if self.is_unknown => {}
                        Err(_) if is_destination => {
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
    let mut replay = Replay { lab: None, is_short: true, is_unknown: false, compared: 0 };
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
