//! TCP exchanges through the packet path over IPv6 under each scheduler, and with persistence, against what Linux IPVS
//! picked: the transcripts in `testdata/schedule/ipv6` and `testdata/persistence`, with the counts and templates that
//! it listed.

mod support;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use support::over_ipv6::*;
use support::*;

/// fd00:20::7 is rs1, ::17 rs2 and so on.
fn name(real: SocketAddr) -> String {
    let text = real.ip().to_string();
    format!("rs{}", (text.rsplit(':').next().unwrap().parse::<u32>().unwrap() + 3) / 10)
}

struct Player {
    world: World,
    /// Each connection is closed before the next.
    is_short: bool,
    /// Those that stay open: client, VIP, real.
    open: Vec<[SocketAddr; 3]>,
    /// Of clients whose port is not named.
    next_port: u16,
    /// Of those whose address is not named.
    client: IpAddr,
    compared: usize,
}

impl Player {
    /// A connection to a port of the VIP from its SYN on; port 0: from any.
    fn connect(&mut self, client: IpAddr, from: u16, port: u16, expected: &str) {
        self.next_port += 1;
        let client = SocketAddr::new(client, if from == 0 { self.next_port } else { from });
        let vip = SocketAddr::new(VIP6.into(), port);
        let sent = self.world.arrive(Side::Client, &tcp(Side::Client, [client, vip], 2, 0, 0));
        let to_real = sent.iter().find(|sent| sent.port == DIP0).map(|sent| {
            let octets: [u8; 16] = sent.bytes[38..54].try_into().unwrap();
            SocketAddr::new(IpAddr::from(octets), u16::from_be_bytes([sent.bytes[56], sent.bytes[57]]))
        });
        let expected = (expected != "REFUSED").then(|| expected.to_owned());
        assert_eq!(to_real.map(name), expected, "{client} to {vip}, after {}", self.compared);
        self.compared += 1;
        let Some(real) = to_real else { return };
        let back = self.world.arrive(Side::Reals, &tcp(Side::Reals, [real, client], 18, 0, 0));
        assert!(
            back.len() == 1 && back[0].port == VIP0 && back[0].bytes[22..38] == VIP6.octets(),
            "{back:?}"
        );
        self.world.arrive(Side::Client, &tcp(Side::Client, [client, vip], 16, 0, 0));
        if self.is_short {
            self.close([client, vip, real]);
        } else {
            self.open.push([client, vip, real]);
        }
    }

    fn close(&mut self, [client, vip, real]: [SocketAddr; 3]) {
        self.world.arrive(Side::Client, &tcp(Side::Client, [client, vip], 17, 0, 0));
        self.world.arrive(Side::Reals, &tcp(Side::Reals, [real, client], 17, 0, 0));
        self.world.arrive(Side::Client, &tcp(Side::Client, [client, vip], 16, 0, 0));
    }

    /// The port that a service is on, the first of them.
    fn port(&self) -> u16 {
        self.world.services[0].key.listen.port()
    }

    /// `fd00:10::11=rs2`, `20000=rs1`, `fd00:10::13->7000=rs2`, or `rs3` of a client that is not named.
    fn row(&mut self, word: &str) {
        let Some((from, expected)) = word.split_once('=') else {
            return self.connect(self.client, 0, self.port(), word);
        };
        match (from.parse(), from.split_once("->")) {
            (Ok(port), _) => self.connect(self.client, port, self.port(), expected),
            (_, Some((client, port))) => {
                self.connect(client.parse().unwrap(), 0, port.parse().unwrap(), expected)
            }
            _ => self.connect(from.parse().unwrap(), 0, self.port(), expected),
        }
    }

    fn compare_counts(&mut self, real: &str, listed: (u64, u64)) {
        let service = self.world.services[0].key;
        let id = self.world.real_id(service, real.parse().unwrap());
        let counters = self.world.lab.counters().real(id);
        assert_eq!((counters.states.active(), counters.inactive()), listed, "{real}");
    }

    /// Compares the templates with those that were listed: `[fd00:10::]:0 … [fd00:20::27]:7000`.
    fn compare_templates(&mut self, listed: &BTreeSet<(String, String)>) {
        let templates = self.world.templates();
        let keys = &self.world.lab.description.reals;
        let real = |id| keys.iter().find(|real| real.id == id).unwrap().key.endpoint.to_string();
        let found: BTreeSet<_> = templates
            .iter()
            .map(|template| (SocketAddr::new(template.client, 0).to_string(), real(template.real)))
            .collect();
        assert_eq!(&found, listed);
    }
}

/// One where a real of weight 0 keeps its clients, as the kernel has it.
fn world() -> World {
    let mut world = World::new();
    world.lab.description.keep_quiescent_templates = true;
    world
}

/// Runs the blocks of a transcript; how many connections were compared.
fn play(text: &str) -> usize {
    let mut player = Player {
        world: world(),
        is_short: true,
        open: Vec::new(),
        next_port: 30_000,
        client: CLIENT6.into(),
        compared: 0,
    };
    let mut templates: Option<BTreeSet<(String, String)>> = None;
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let is_of_templates = matches!(words.first(), Some(&("pro" | "TCP")));
        if let Some(listed) = templates.take_if(|_| !is_of_templates) {
            player.compare_templates(&listed);
        }
        match words.as_slice() {
            ["##", ..] => {
                player.is_short = !line.contains("(held)");
                // The connections of a block are not known any more in the next, and neither are its templates.
                player.world = world();
                player.open.clear();
            }
            ["#", .., "from", client, "source", "ports", _]
            | ["#", .., "from", client, "source", "ports", _, _] => {
                player.client = client.trim_end_matches(',').parse().unwrap();
            }
            ["[lb]#", "ipvsadm", "-Lnc", "|", "grep", ..] => templates = Some(BTreeSet::new()),
            ["[lb]#", "ipvsadm", command @ ..] => player.world.command(command),
            ["TCP", _, "ASSURED", client, _, real] => {
                // Also those of the list with other columns, which is not compared.
                if let Some(listed) = &mut templates {
                    listed.insert(((*client).to_owned(), (*real).to_owned()));
                }
            }
            ["->", real, "Masq", _, active, inactive] => {
                player.compare_counts(real, (active.parse().unwrap(), inactive.parse().unwrap()));
            }
            [first, ..] if first.starts_with("rs") || first.contains("=rs") || first.contains("=REFUSED") => {
                words.iter().for_each(|word| player.row(word));
            }
            _ => {}
        }
    }
    player.compared
}

macro_rules! transcripts {
    ($($name:ident: $file:literal, $connections:literal;)*) => {
        $(#[test]
        fn $name() {
            assert_eq!(play(include_str!(concat!("../testdata/", $file))), $connections);
        })*
    };
}

transcripts! {
    rr: "schedule/ipv6/rr.txt", 80;
    wrr: "schedule/ipv6/wrr.txt", 80;
    lc: "schedule/ipv6/lc.txt", 80;
    wlc: "schedule/ipv6/wlc.txt", 80;
    sed: "schedule/ipv6/sed.txt", 80;
    nq: "schedule/ipv6/nq.txt", 80;
    sh: "schedule/ipv6/sh.txt", 280;
    sh_port: "schedule/ipv6/sh-port.txt", 240;
    mh: "schedule/ipv6/mh.txt", 280;
    mh_port: "schedule/ipv6/mh-port.txt", 240;
    mh_fallback: "schedule/ipv6/mh-fallback.txt", 320;
    dh: "schedule/ipv6/dh.txt", 40;
    persistence: "persistence/ipv6.txt", 74;
}
