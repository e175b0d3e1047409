//! The kernel's files, as recorded on Linux 6.1 with `CONFIG_HZ` 250: each line is read, and written again.

use super::*;
use crate::api::protocol::Traffic;
use crate::ipvs::text::{self, ConnectionFacts};
use crate::ipvs::{RealFacts, ServiceFacts};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const RECORDED: [&str; 3] = [
    include_str!("../../../testdata/ipv6/listings.txt"),
    include_str!("../../../testdata/ipv6/long-addresses.txt"),
    include_str!("../../../../dataplane/testdata/persistence/ipv6.txt"),
];

/// What the first recording shows of IPv4.
const RECORDED_OF_IPV4: &str = "\
[lb]# cat /proc/net/ip_vs
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  C0A80A64:0050 wrr  
  -> 0A000011:0050      Masq    1      0          3         
  -> 0A000007:0050      Masq    1      0          3         
[lb]# cat /proc/net/ip_vs_conn
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP C0A80A06 BBC2 C0A80A64 0050 0A000007 0050 TIME_WAIT        89
TCP C0A80A06 BBBC C0A80A64 0050 0A000011 0050 TIME_WAIT        88
[lb]# cat /proc/net/ip_vs_stats
   Total Incoming Outgoing         Incoming         Outgoing
   Conns  Packets  Packets            Bytes            Bytes
       6       24       18              954              6DB

 Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
       0        0        0                6                4
";

/// The lines of a file, each time that it was shown.
fn shown(file: &str) -> Vec<Vec<&'static str>> {
    let mut all = Vec::new();
    for text in RECORDED.into_iter().chain([RECORDED_OF_IPV4]) {
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let Some(command) = line.strip_prefix("[lb]# cat /proc/net/") else { continue };
            if command.split(' ').next() == Some(file) {
                let end = |line: &&str| !line.starts_with('[') && !line.starts_with('#');
                let mut output: Vec<_> = std::iter::from_fn(|| lines.next_if(end)).collect();
                // An empty line after the output belongs to the recording.
                output.truncate(output.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1));
                all.push(output);
            }
        }
    }
    assert!(all.len() >= 2, "{file}");
    all
}

fn host(text: &str) -> IpAddr {
    match u32::from_str_radix(text, 16) {
        Ok(bits) => Ipv4Addr::from_bits(bits).into(),
        Err(_) => text.parse::<Ipv6Addr>().unwrap().into(),
    }
}

fn port(text: &str) -> u16 {
    u16::from_str_radix(text, 16).unwrap()
}

/// `C0A80A64:0050`, or with the address in brackets.
fn endpoint(text: &str) -> SocketAddr {
    let (address, behind) = text.rsplit_once(':').unwrap();
    SocketAddr::new(host(address.trim_matches(['[', ']'])), port(behind))
}

fn protocol(name: &str) -> Protocol {
    Protocol::ALL.into_iter().find(|protocol| protocol.to_string() == name).unwrap()
}

/// What `persistent` stands before: ticks, and the mask.
fn persistence(words: &[&str], vip: IpAddr) -> Option<Persistence> {
    let at = words.iter().position(|word| *word == "persistent")?;
    let seconds = words[at + 1].parse::<u32>().unwrap() / 250;
    let bits = u32::from_str_radix(words[at + 2], 16).unwrap();
    let mask = match vip {
        IpAddr::V4(_) => Ipv4Addr::from_bits(bits).into(),
        // The number of leading bits, with its bytes in the other order.
        IpAddr::V6(_) => crate::text::masks::by_text(vip, &bits.swap_bytes().to_string()).unwrap(),
    };
    Some(Persistence { seconds, mask })
}

#[test]
fn services_are_written_as_in_the_kernel() {
    let none = Traffic::default();
    let mut services = 0;
    for lines in shown("ip_vs") {
        let mut head = String::new();
        text::services_head(4096, &mut head);
        assert_eq!(head.lines().collect::<Vec<_>>(), lines[..3]);
        for line in &lines[3..] {
            let words: Vec<_> = line.split_whitespace().collect();
            let mut written = String::new();
            if words[0] == "->" {
                let [weight, active, inactive] = [3, 4, 5].map(|place| words[place].parse().unwrap());
                let facts = RealFacts {
                    endpoint: endpoint(words[1]),
                    weight: weight as u32,
                    thresholds: no_thresholds(),
                    active,
                    inactive,
                    persistent: 0,
                    totals: none,
                    rates: none,
                };
                text::real(&facts, &mut written);
            } else {
                // One by a firewall mark, which natlb has not.
                if words[0] == "FWM" {
                    continue;
                }
                let key = ServiceKey::new(protocol(words[0]), endpoint(words[1]));
                let settings = Settings {
                    persistence: persistence(&words, key.listen.ip()),
                    one_packet: words.contains(&"ops"),
                    ..Settings::new(words[2].parse().unwrap())
                };
                let facts = ServiceFacts { key: &key, settings: &settings, totals: none, rates: none };
                text::service(&facts, &mut written);
                services += 1;
            }
            assert_eq!(written, format!("{line}\n"));
        }
    }
    assert!(services > 10, "{services}");
}

#[test]
fn a_service_whose_datagrams_are_scheduled_by_themselves_says_so() {
    let listed = |listen: &str, persistence| {
        let key = ServiceKey::new(Protocol::Udp, listen.parse().unwrap());
        let settings = Settings { one_packet: true, persistence, ..Settings::new(Algorithm::RoundRobin) };
        let none = Traffic::default();
        let mut written = String::new();
        text::service(
            &ServiceFacts { key: &key, settings: &settings, totals: none, rates: none },
            &mut written,
        );
        written
    };
    let persistence = Some(Persistence { seconds: 50, mask: [255, 255, 255, 0].into() });
    assert_eq!(listed("192.168.10.100:53", None), "UDP  C0A80A64:0035 rr ops  \n");
    assert_eq!(
        listed("192.168.10.100:53", persistence),
        "UDP  C0A80A64:0035 rr ops  persistent 12500 FFFFFF00\n"
    );
    let of_ipv6 = listed("[fd00:10::100]:85", None);
    assert_eq!(of_ipv6, "UDP  [fd00:0010:0000:0000:0000:0000:0000:0100]:0055 rr \n");
}

#[test]
fn connections_are_written_as_in_the_kernel() {
    let mut connections = 0;
    for lines in shown("ip_vs_conn") {
        assert_eq!(text::CONNECTIONS_HEAD, format!("{}\n", lines[0]));
        for line in &lines[1..] {
            let words: Vec<_> = line.split_whitespace().collect();
            let side = |place: usize| SocketAddr::new(host(words[place]), port(words[place + 1]));
            let facts = ConnectionFacts {
                protocol: protocol(words[0]),
                client: side(1),
                virtual_: side(3),
                real: side(5),
                state: words[7],
                seconds: words[8].parse().unwrap(),
            };
            let mut written = String::new();
            text::connection(&facts, &mut written);
            assert_eq!(written, format!("{line}\n"));
            // `ipvsadm` reads lines of up to 255 characters.
            assert!(written.len() < 255);
            connections += 1;
        }
    }
    assert!(connections > 10, "{connections}");
}

#[test]
fn statistics_are_written_as_in_the_kernel() {
    for lines in shown("ip_vs_stats") {
        let row = |place: usize| {
            let numbers = lines[place].split_whitespace().map(|word| u64::from_str_radix(word, 16).unwrap());
            match numbers.collect::<Vec<_>>()[..] {
                [conns, in_packets, out_packets, in_bytes, out_bytes] => {
                    Traffic { conns, in_packets, out_packets, in_bytes, out_bytes }
                }
                _ => panic!("{}", lines[place]),
            }
        };
        let mut written = String::new();
        text::statistics(row(2), row(5), &mut written);
        assert_eq!(written, lines.join("\n") + "\n");
    }
}
