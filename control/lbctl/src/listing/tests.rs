//! The expected texts are what `ipvsadm` 1.31 printed, less its first line and trailing blanks.

use super::sorting::{list, rate, stats};
use super::*;
use control::api::protocol::{
    ConnectionView, InheritedView, KeptView, PortView, RealView, Status, WorkerView,
};

fn real(address: &str, port: u16, weight: u32, conns: (u64, u64), traffic: Option<Traffic>) -> RealView {
    RealView {
        address: address.into(),
        port,
        forward: "Masq".into(),
        weight,
        upper_threshold: 0,
        lower_threshold: 0,
        active: conns.0,
        inactive: conns.1,
        persistent_conns: 0,
        traffic,
    }
}

fn service(protocol: &str, port: u16, scheduler: &str, reals: Vec<RealView>) -> ServiceView {
    ServiceView {
        protocol: protocol.into(),
        address: "192.168.10.100".into(),
        port,
        last_port: port,
        scheduler: scheduler.into(),
        flags: Vec::new(),
        persistence_s: 0,
        persistence_mask: None,
        one_packet: false,
        timeouts: Default::default(),
        on_removal: "drop".into(),
        slow_start_s: 0,
        traffic: None,
        reals,
    }
}

fn counts(conns: u64, in_packets: u64, out_packets: u64, in_bytes: u64, out_bytes: u64) -> Option<Traffic> {
    Some(Traffic { conns, in_packets, out_packets, in_bytes, out_bytes })
}

fn seed(of_service: Option<Traffic>, of_reals: [Option<Traffic>; 2]) -> Services {
    let [first, second] = of_reals;
    let reals = vec![real("10.0.0.17", 80, 1, (0, 3), second), real("10.0.0.7", 80, 1, (0, 3), first)];
    Services { services: vec![ServiceView { traffic: of_service, ..service("TCP", 80, "wrr", reals) }] }
}

#[test]
fn the_first_session_lists_as_recorded() {
    let expected = "\
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  192.168.10.100:80 wrr
  -> 10.0.0.7:80                  Masq    1      0          3
  -> 10.0.0.17:80                 Masq    1      0          3
";
    assert_eq!(list(seed(None, [None, None]), Columns::Plain), expected);
}

#[test]
fn services_and_reals_are_in_ipvsadms_sort_order() {
    let services = Services {
        services: vec![
            service("UDP", 514, "rr", vec![]),
            service("UDP", 53, "wrr", vec![real("10.0.0.7", 5000, 1, (0, 0), None)]),
            service("TCP", 443, "rr", vec![]),
            ServiceView { address: "20.0.0.1".into(), ..service("TCP", 8080, "rr", vec![]) },
            service(
                "TCP",
                80,
                "wrr",
                vec![
                    real("10.0.0.17", 8080, 65535, (12, 3_456_789), None),
                    real("10.0.0.7", 8080, 0, (0, 0), None),
                    real("10.0.0.7", 80, 3, (0, 0), None),
                ],
            ),
        ],
    };
    let expected = "\
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  192.168.10.100:80 wrr
  -> 10.0.0.7:80                  Masq    3      0          0
  -> 10.0.0.7:8080                Masq    0      0          0
  -> 10.0.0.17:8080               Masq    65535  12         3456789
TCP  192.168.10.100:443 rr
TCP  20.0.0.1:8080 rr
UDP  192.168.10.100:53 wrr
  -> 10.0.0.7:5000                Masq    1      0          0
UDP  192.168.10.100:514 rr
";
    assert_eq!(list(services, Columns::Plain), expected);
}

/// The session of which the listings below are recorded, but for what natlb does not have: other ways of forwarding,
/// IPv6 and firewall marks.
fn recorded() -> Services {
    let persistent = |port, seconds, mask: &str| ServiceView {
        persistence_s: seconds,
        persistence_mask: Some(mask.into()),
        ..service("TCP", port, "rr", vec![])
    };
    let flags =
        |of: ServiceView, flags: [&str; 2]| ServiceView { flags: flags.map(String::from).into(), ..of };
    let limited =
        RealView { upper_threshold: 100, lower_threshold: 50, ..real("10.0.0.17", 8080, 1, (0, 0), None) };
    Services {
        services: vec![
            ServiceView { one_packet: true, ..service("UDP", 514, "rr", vec![]) },
            service("TCP", 80, "wrr", vec![limited, real("10.0.0.7", 80, 3, (0, 0), None)]),
            flags(service("TCP", 443, "sh", vec![]), ["sh-fallback", "sh-port"]),
            flags(service("TCP", 8443, "mh", vec![]), ["mh-fallback", "mh-port"]),
            persistent(23, 50, "255.255.255.255"),
            persistent(22, 50, "255.255.255.0"),
            persistent(21, 360, "255.255.255.255"),
            persistent(0, 300, "255.255.255.255"),
            service("TCP", 81, "lc", vec![real("10.0.0.7", 80, 2, (0, 0), None)]),
            service("UDP", 53, "wlc", vec![real("10.0.0.7", 5000, 1, (0, 0), None)]),
        ],
    }
}

#[test]
fn settings_list_as_recorded() {
    let expected = "\
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  192.168.10.100:0 rr persistent 300
TCP  192.168.10.100:21 rr persistent 360
TCP  192.168.10.100:22 rr persistent 50 mask 255.255.255.0
TCP  192.168.10.100:23 rr persistent 50
TCP  192.168.10.100:80 wrr
  -> 10.0.0.7:80                  Masq    3      0          0
  -> 10.0.0.17:8080               Masq    1      0          0
TCP  192.168.10.100:81 lc
  -> 10.0.0.7:80                  Masq    2      0          0
TCP  192.168.10.100:443 sh (sh-fallback,sh-port)
TCP  192.168.10.100:8443 mh (mh-fallback,mh-port)
UDP  192.168.10.100:53 wlc
  -> 10.0.0.7:5000                Masq    1      0          0
UDP  192.168.10.100:514 rr ops
";
    assert_eq!(list(recorded(), Columns::Plain), expected);
}

#[test]
fn thresholds_list_as_recorded() {
    let expected = "\
Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn
  -> RemoteAddress:Port
TCP  192.168.10.100:0 rr persistent 300
TCP  192.168.10.100:21 rr persistent 360
TCP  192.168.10.100:22 rr persistent 50 mask 255.255.255.0
TCP  192.168.10.100:23 rr persistent 50
TCP  192.168.10.100:80 wrr
  -> 10.0.0.7:80                  0          0          0          0
  -> 10.0.0.17:8080               100        50         0          0
TCP  192.168.10.100:81 lc
  -> 10.0.0.7:80                  0          0          0          0
TCP  192.168.10.100:443 sh (sh-fallback,sh-port)
TCP  192.168.10.100:8443 mh (mh-fallback,mh-port)
UDP  192.168.10.100:53 wlc
  -> 10.0.0.7:5000                0          0          0          0
UDP  192.168.10.100:514 rr ops
";
    assert_eq!(list(recorded(), Columns::Thresholds), expected);
}

#[test]
fn persistent_connections_list_as_recorded() {
    let view =
        |address, inactive| RealView { persistent_conns: 2, ..real(address, 7000, 1, (0, inactive), None) };
    let reals = vec![view("10.0.0.17", 4), view("10.0.0.7", 4)];
    let persistent = ServiceView {
        persistence_s: 50,
        persistence_mask: Some("255.255.255.255".into()),
        ..service("TCP", 7600, "rr", reals)
    };
    let expected = "\
Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn
  -> RemoteAddress:Port
TCP  192.168.10.100:7600 rr persistent 50
  -> 10.0.0.7:7000                1         2           0          4
  -> 10.0.0.17:7000               1         2           0          4
";
    assert_eq!(list(Services { services: vec![persistent] }, Columns::PersistentConnections), expected);
}

#[test]
fn natlbs_own_settings_stand_behind_ipvsadms() {
    let all = ServiceView {
        last_port: 8100,
        flags: vec!["flag-1".into(), "flag-3".into()],
        persistence_s: 600,
        persistence_mask: Some("255.0.0.0".into()),
        one_packet: true,
        timeouts: [("udp".to_owned(), 9), ("syn_recv".to_owned(), 5)].into(),
        on_removal: "reset".into(),
        slow_start_s: 30,
        ..service("UDP", 8000, "rr", vec![])
    };
    let text = list(Services { services: vec![all.clone()] }, Columns::Plain);
    let expected = "UDP  192.168.10.100:8000-8100 rr (flag-1,flag-3) persistent 600 mask 255.0.0.0 ops \
                    timeouts syn_recv=5,udp=9 on-removal reset slow-start 30";
    assert_eq!(text.lines().last(), Some(expected));
    let counted = stats(Services { services: vec![ServiceView { traffic: counts(1, 2, 3, 4, 5), ..all }] });
    let expected = "UDP  192.168.10.100:8000-8100            1        2        3        4        5";
    assert_eq!(counted.lines().last(), Some(expected));
}

#[test]
fn what_an_older_lbd_does_not_say_is_as_if_not_set() {
    let view: ServiceView = serde_json::from_value(serde_json::json!({
        "protocol": "TCP", "address": "192.168.10.100", "port": 80, "scheduler": "wrr", "flags": [], "persistence_s": 0,
        "reals": []
    }))
    .unwrap();
    let text = list(Services { services: vec![view] }, Columns::Plain);
    assert_eq!(text.lines().last(), Some("TCP  192.168.10.100:80 wrr"));
}

#[test]
fn the_first_session_counts_as_recorded() {
    let services =
        seed(counts(6, 36, 24, 2388, 1755), [counts(3, 18, 12, 1194, 876), counts(3, 18, 12, 1194, 879)]);
    let expected = "\
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  192.168.10.100:80                   6       36       24     2388     1755
  -> 10.0.0.7:80                         3       18       12     1194      876
  -> 10.0.0.17:80                        3       18       12     1194      879
";
    assert_eq!(stats(services), expected);
    let services = seed(counts(0, 0, 0, 19, 14), [counts(0, 0, 0, 10, 7), counts(0, 0, 0, 9, 6)]);
    let expected = "\
Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS
  -> RemoteAddress:Port
TCP  192.168.10.100:80                   0        0        0       19       14
  -> 10.0.0.7:80                         0        0        0       10        7
  -> 10.0.0.17:80                        0        0        0        9        6
";
    assert_eq!(rate(services), expected);
}

#[test]
fn large_numbers_are_cut_at_their_steps() {
    for (number, expected) in [
        (0, "        0"),
        (99_999_999, " 99999999"),
        (100_000_000, "  100000K"),
        (999_999_999, "  999999K"),
        (1_000_000_000, "    1000M"),
        (99_999_999_999, "   99999M"),
        (100_000_000_000, "     100G"),
        (99_999_999_999_999, "   99999G"),
        (100_000_000_000_000, "     100T"),
        (u64::MAX, "18446744T"),
    ] {
        assert_eq!(scaled(number), expected);
    }
}

#[test]
fn packet_rates_of_reals_are_never_scaled() {
    let large = counts(100_000_000, 200_000_000, 300_000_000, 400_000_000, 500_000_000);
    let text = rate(seed(large, [large, None]));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[2], "TCP  192.168.10.100:80             100000K  200000K  300000K  400000K  500000K");
    assert_eq!(lines[3], "  -> 10.0.0.7:80                  100000000 200000000 300000000  400000K  500000K");
}

#[test]
fn exact_numbers_have_all_digits() {
    let large = counts(1, 99_999_999, 100_000_000, 4_000_000_000, u64::MAX);
    let digits = "        1 99999999 100000000 4000000000 18446744073709551615";
    for print in [super::stats, super::rate] {
        let text = print(seed(large, [large, None]), Numbers::Exact);
        for line in [
            format!("TCP  {:<28}{digits}", "192.168.10.100:80"),
            format!("  -> {:<28}{digits}", "10.0.0.7:80"),
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
    }
}

#[test]
fn connections_list_as_recorded() {
    let view =
        |protocol: &str, expires_s, state: &str, client: &str, virtual_: &str, real: &str| ConnectionView {
            protocol: protocol.into(),
            state: state.into(),
            expires_s,
            client: client.into(),
            virtual_: virtual_.into(),
            real: real.into(),
            worker: 0,
        };
    let views = [
        view("TCP", 108, "TIME_WAIT", "192.168.10.6:48066", "192.168.10.100:80", "10.0.0.7:80"),
        view("TCP", 899, "ESTABLISHED", "10.0.1.2:40000", "10.0.1.100:80", "192.168.1.11:8080"),
        view("UDP", 279, "UDP", "10.0.1.2:20854", "10.0.1.100:1011", "192.168.1.12:1011"),
        view("TCP", 119, "TIME_WAIT", "[fd00:10::6]:42249", "[fd00:10::100]:80", "[fd00:20::7]:7000"),
        view("TCP", 7_200, "ESTABLISHED", "192.168.100.200:65535", "192.168.10.100:443", "10.0.0.17:443"),
    ];
    let rows = CONNECTIONS_HEAD.to_owned() + &views.iter().map(connection).collect::<String>();
    let expected = "\
pro expire state       source             virtual            destination
TCP 01:48  TIME_WAIT   192.168.10.6:48066 192.168.10.100:80  10.0.0.7:80
TCP 14:59  ESTABLISHED 10.0.1.2:40000     10.0.1.100:80      192.168.1.11:8080
UDP 04:39  UDP         10.0.1.2:20854     10.0.1.100:1011    192.168.1.12:1011
TCP 01:59  TIME_WAIT   [fd00:10::6]:42249 [fd00:10::100]:80  [fd00:20::7]:7000
TCP 120:00 ESTABLISHED 192.168.100.200:65535 192.168.10.100:443 10.0.0.17:443
";
    assert_eq!(rows, expected);
}

#[test]
fn timeouts_print_as_recorded() {
    let view = TimeoutsView { tcp: 900, tcp_fin: 120, udp: 300, config_version: 7 };
    assert_eq!(timeouts(&view), "Timeout (tcp tcpfin udp): 900 120 300\n");
}

/// What the `lbctl` of these tests was built from.
const OWN: &str = "0.1.0 (1234abcde)";

#[test]
fn status_lays_out_what_there_is() {
    let port = PortView {
        name: "vip0".into(),
        side: "vip".into(),
        driver: "net_af_packet".into(),
        mac: "02:00:00:00:10:64".into(),
        mtu: 1500,
        link_up: true,
        steering: "software".into(),
        rx_missed_known: true,
        interface: None,
        buffers_in_use: 3,
        buffers: 8192,
        counted: [("rx_packets", 36), ("tx_packets", 24), ("rx_missed", 0)].into_iter().collect(),
    };
    let worker = WorkerView {
        id: 0,
        core: 1,
        busy_share: 0.125,
        cycles_per_packet: 412.6,
        packets_per_burst: 3.25,
        capacity: 1_048_576,
        capacity_ipv6: 0,
        counted: [
            ("rx_packets", 60),
            ("tx_packets", 60),
            ("handed_over", 8),
            ("taken_over", 9),
            ("connections", 6),
        ]
        .into_iter()
        .collect(),
    };
    let mut view = Status {
        build: OWN.into(),
        version: "0.1.0".into(),
        dpdk: "22.11.11".into(),
        uptime_s: 93_784,
        config_version: 4,
        ports: vec![port],
        workers: vec![worker],
        kept: Some(KeptView {
            place: Some("/dev/shm/natlb-0badcafe".into()),
            backing: "pages of 4 KiB".into(),
            generation: Some(7),
            inherited: None,
        }),
        drops: [("no_real".to_owned(), 3), ("ethertype".to_owned(), 12), ("new_reason".to_owned(), 1)].into(),
        notes: vec!["vip0: partial checksums".into()],
    };
    let expected = "\
natlb 0.1.0 (DPDK 22.11.11), up 1d 02:03:04, configuration version 4

Ports
  name  side  driver         MAC                 MTU  link  steering  rx packets  tx packets  rx missed    buffers
  vip0  vip   net_af_packet  02:00:00:00:10:64  1500  up    software          36          24          0  3 of 8192

Workers
  id  core  rx packets  tx packets  handed over  taken over   busy  cycles/packet  packets/burst         connections  of IPv6
   0     1          60          60            8           9  12.5%            413            3.2  6 of 1.05 M (0.0%)        -

Connections
  kept in /dev/shm/natlb-0badcafe (generation 7), on pages of 4 KiB

Drops
  reason      packets  meaning
  ethertype        12  neither IPv4 nor ARP
  no_real           3  the service has no available real
  new_reason        1

Notes
  vip0: partial checksums
";
    assert_eq!(status(&view, OWN), expected);
    (view.drops, view.notes, view.uptime_s) = (Default::default(), vec![], 59);
    (view.workers[0].busy_share, view.workers[0].cycles_per_packet, view.workers[0].packets_per_burst) =
        (0.0, 0.0, 0.0);
    let text = status(&view, OWN);
    assert!(text.starts_with("natlb 0.1.0 (DPDK 22.11.11), up 00:00:59,"));
    assert!(!text.contains("Drops") && !text.contains("Notes"));
    let idle = "           8           9  0.0%              -              -  6 of 1.05 M";
    assert!(text.contains(idle), "there were no packets: {text}");
    let mut kept = KeptView { backing: "huge pages".into(), ..KeptView::default() };
    kept.inherited = Some(InheritedView {
        connections: 1000,
        templates: 5,
        given_up: [("expired".to_owned(), 1), ("unknown_real".to_owned(), 2)].into(),
        templates_given_up: 1,
        oldest_s: 61,
        gap_ms: Some(310),
        import_ms: 12,
        in_progress: false,
    });
    view.kept = Some(kept);
    let expected = "
Connections
  not kept for the next lbd, on huge pages
  1000 taken over from an earlier lbd (silent for 00:01:01 at most), 3 given up (expired 1, unknown_real 2); of persistent \
     clients 5 taken over, 1 given up; 310 ms without forwarding; took 12 ms
";
    assert!(status(&view, OWN).contains(expected), "{}", status(&view, OWN));
    let under_way = InheritedView { in_progress: true, import_ms: 40, ..InheritedView::default() };
    view.kept = Some(KeptView { inherited: Some(under_way), ..KeptView::default() });
    let expected = "  0 taken over from an earlier lbd; under way for 40 ms\n";
    assert!(status(&view, OWN).contains(expected), "{}", status(&view, OWN));
    view.build = "0.1.1 (9876fedcb)".into();
    let text = status(&view, OWN);
    assert_eq!(text.lines().nth(1), Some("lbd is natlb 0.1.1 (9876fedcb), this lbctl of 0.1.0 (1234abcde)"));
    view.build = String::new();
    assert!(!status(&view, OWN).contains("this lbctl"), "of an lbd that does not say");
    view.kept = None;
    assert!(!status(&view, OWN).contains("Connections"), "of an lbd that does not say");
    view.workers[0].capacity_ipv6 = 512;
    view.workers[0].counted = [("connections", 261), ("connections_ipv6", 256)].into_iter().collect();
    let both = "  5 of 1.05 M (0.0%)  256 of 512 (50.0%)\n";
    assert!(status(&view, OWN).contains(both), "of each family: {}", status(&view, OWN));
}

/// Services of both families as recorded, but for SCTP and firewall marks.
fn of_both_families() -> Services {
    let at = |address: &str, of: ServiceView| ServiceView { address: address.into(), ..of };
    let persistent = |port, seconds, mask: &str| ServiceView {
        persistence_s: seconds,
        persistence_mask: Some(mask.into()),
        ..at("fd00:10::100", service("TCP", port, "rr", vec![]))
    };
    let pair = |addresses: [&str; 2]| addresses.map(|address| real(address, 80, 1, (0, 0), None)).into();
    let four = |port, seconds| ServiceView {
        address: "192.168.10.99".into(),
        ..persistent(port, seconds, "255.255.255.0")
    };
    Services {
        services: vec![
            at(
                "2001:db8:1:2:3:4:5:6",
                service(
                    "TCP",
                    65535,
                    "mh",
                    vec![real("2001:db8:11:22:33:44:55:66", 65535, 65535, (0, 0), None)],
                ),
            ),
            service("TCP", 80, "rr", pair(["10.0.0.17", "10.0.0.7"])),
            at("fd00:10::100", service("UDP", 53, "wlc", vec![real("fd00:20::27", 53, 1, (0, 0), None)])),
            four(80, 60),
            at("fd00:10::99", service("TCP", 443, "sh", vec![])),
            ServiceView { protocol: "UDP".into(), ..persistent(0, 10, "128") },
            at("fd00:10::100", service("TCP", 80, "wrr", pair(["fd00:20::17", "fd00:20::7"]))),
            persistent(81, 60, "64"),
            persistent(83, 120, "128"),
            at("fe80::1", service("TCP", 80, "rr", vec![])),
            at("::1", service("TCP", 80, "rr", vec![])),
        ],
    }
}

#[test]
fn both_families_list_as_recorded() {
    let expected = "\
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  192.168.10.99:80 rr persistent 60 mask 255.255.255.0
TCP  192.168.10.100:80 rr
  -> 10.0.0.7:80                  Masq    1      0          0
  -> 10.0.0.17:80                 Masq    1      0          0
TCP  [fd00:10::99]:443 sh
TCP  [fd00:10::100]:80 wrr
  -> [fd00:20::7]:80              Masq    1      0          0
  -> [fd00:20::17]:80             Masq    1      0          0
TCP  [fd00:10::100]:81 rr persistent 60 mask 64
TCP  [fd00:10::100]:83 rr persistent 120
TCP  [fe80::1]:80 rr
TCP  [::1]:80 rr
TCP  [2001:db8:1:2:3:4:5:6]:65535 mh
  -> [2001:db8:11:22:33:44:55:66]:65535 Masq    65535  0          0
UDP  [fd00:10::100]:0 rr persistent 10
UDP  [fd00:10::100]:53 wlc
  -> [fd00:20::27]:53             Masq    1      0          0
";
    assert_eq!(list(of_both_families(), Columns::Plain), expected);
}

/// One service and real whose names are longer than their columns.
fn long() -> Services {
    let counted = counts(1, 249, 2104, 17947, 3_151_499);
    let limited = RealView {
        persistent_conns: 1,
        ..real("fd00:20::1111:2222:3333:4444", 7000, 65535, (1, 0), counted)
    };
    Services {
        services: vec![ServiceView {
            address: "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff".into(),
            persistence_s: 100,
            persistence_mask: Some("128".into()),
            traffic: counted,
            ..service("TCP", 65000, "rr", vec![limited])
        }],
    }
}

#[test]
fn long_addresses_push_the_rest_to_the_right() {
    let vip = "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65000";
    let real = "[fd00:20::1111:2222:3333:4444]:7000";
    let rows = |listing: String| -> Vec<String> { listing.lines().skip(2).map(str::to_owned).collect() };
    let service = format!("TCP  {vip} rr persistent 100");
    for (columns, numbers) in [
        (Columns::Plain, "Masq    65535  1          0"),
        (Columns::Thresholds, "0          0          1          0"),
        (Columns::PersistentConnections, "65535     1           1          0"),
    ] {
        assert_eq!(rows(list(long(), columns)), [service.clone(), format!("  -> {real} {numbers}")]);
    }
    let counted = "        1      249     2104    17947  3151499";
    assert_eq!(rows(stats(long())), [format!("TCP  {vip}{counted}"), format!("  -> {real}{counted}")]);
}

#[test]
fn connections_of_long_addresses_list_as_recorded() {
    let listed = |state: &str, expires_s, ends: [&str; 3]| {
        let [client, virtual_, real] = ends.map(String::from);
        let state = state.to_owned();
        connection(&ConnectionView {
            protocol: "TCP".into(),
            state,
            expires_s,
            client,
            virtual_,
            real,
            worker: 0,
        })
    };
    let ends = [
        "[2001:db8:1111:2222:3333:4444:5555:6666]:0",
        "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65000",
        "[fd00:20::1111:2222:3333:4444]:7000",
    ];
    let expected = "TCP 01:38  ASSURED     [2001:db8:1111:2222:3333:4444:5555:6666]:0 \
                    [2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65000 [fd00:20::1111:2222:3333:4444]:7000\n";
    assert_eq!(listed("ASSURED", 98, ends), expected);
    let ends = ["[fd00:10::6]:41699", "[fd00:10::100]:80", "[fd00:20::17]:7000"];
    let expected = "TCP 01:59  TIME_WAIT   [fd00:10::6]:41699 [fd00:10::100]:80  [fd00:20::17]:7000\n";
    assert_eq!(listed("TIME_WAIT", 119, ends), expected);
}
