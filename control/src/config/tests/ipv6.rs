//! Files with IPv6, where it is supported.

use super::*;

/// Two ports that carry both families.
fn both(vip_port: &str, dip_port: &str, rest: &str) -> String {
    let port = |name, side, addresses, more| {
        format!(
            "[[port]]\nname = \"{name}\"\nside = \"{side}\"\ndevice = \"net_{name}\"\naddresses = [{addresses}]\n{more}\n"
        )
    };
    port("vip0", "vip", "\"192.168.10.100/24\", \"fd00:10::100/64\"", vip_port)
        + &port("dip0", "dip", "\"10.0.0.8/24\", \"fd00:20::8/64\"", dip_port)
        + rest
}

/// Lines of the two ports.
const LINES: usize = 12;

#[track_caller]
fn wrong(vip_port: &str, rest: &str, expected: &str) {
    let found = parse(&both(vip_port, "", rest)).unwrap_err();
    let found: Vec<_> = found
        .iter()
        .map(|problem| format!("{}: {}", problem.line.unwrap_or_default(), problem.message))
        .collect();
    assert_eq!(found, [expected]);
}

#[test]
fn both_families_are_read_beside_each_other() {
    let rest = r#"[[route]]
to = "2001:db8:100::/48"
via = "fd00:20::1"
[[route]]
to = "2001:db8:200::/48"
via = "fe80::9"
port = "dip0"
[[neighbour]]
address = "fd00:20::7"
mac = "02:00:00:00:00:07"
[[service]]
listen = "tcp://[fd00:10::100]:80"
persistence = 60
persistence_mask = "64"
[[service.real]]
address = "[fd00:20::7]:8080"
[[service.real]]
address = "fd00:20::17"
[[service.real]]
address = "[2001:db8:100::7]:80"
[[service]]
listen = "udp://192.168.10.100:8000-8100"
[[service.real]]
address = "10.0.0.7"
"#;
    let gateways = "gateway = [\"192.168.10.1\", \"fe80::1\"]";
    let config = parse(&both(gateways, "gateway = \"fd00:20::1\"", rest)).unwrap();
    let of = |text: &str| text.parse::<IpAddr>().unwrap();
    assert_eq!(config.eth_ports[0].interface.gateways, [of("192.168.10.1"), of("fe80::1")]);
    assert_eq!(config.eth_ports[1].interface.gateways, [of("fd00:20::1")]);
    assert_eq!(config.routes.iter().map(|route| route.interface.0).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(config.neighbours[0].address, of("fd00:20::7"));
    let lines = crate::change::save(&config.model);
    let expected = [
        "--set 900 120 300",
        "-A -u 192.168.10.100:8000-8100 -s wrr",
        "-a -u 192.168.10.100:8000-8100 -r 10.0.0.7:0 -m -w 1",
        "-A -t [fd00:10::100]:80 -s wrr -p 60 -M 64",
        "-a -t [fd00:10::100]:80 -r [fd00:20::7]:8080 -m -w 1",
        "-a -t [fd00:10::100]:80 -r [fd00:20::17]:80 -m -w 1",
        "-a -t [fd00:10::100]:80 -r [2001:db8:100::7]:80 -m -w 1",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_gateway_is_the_default_of_its_family() {
    let text = both("gateway = [\"fe80::1\", \"192.168.10.1\"]", "gateway = \"10.0.0.1\"", "");
    let config = parse(&text).unwrap();
    let network =
        config.network(|_| (Mac([2, 0, 0, 0, 0, 1]), 1500, dataplane::snapshot::Steering::Software));
    let defaults = network.routes.iter().filter(|route| route.prefix.prefix_len() == 0);
    let defaults: Vec<_> = defaults
        .map(|route| (route.prefix.to_string(), route.interface.0, route.via.unwrap().to_string()))
        .collect();
    let expected = [("::/0", 0, "fe80::1"), ("0.0.0.0/0", 0, "192.168.10.1"), ("0.0.0.0/0", 1, "10.0.0.1")];
    assert_eq!(defaults, expected.map(|(prefix, port, via)| (prefix.to_owned(), port, via.to_owned())));
    // A gateway that no prefix holds is on its port's link alone.
    let alone =
        network.routes.iter().filter(|route| route.via.is_none()).map(|route| route.prefix.to_string());
    assert_eq!(alone.collect::<Vec<_>>(), ["fe80::1/128"]);
}

#[test]
fn addresses_of_a_whole_length_have_gateways_too() {
    let port = |name, side, address, gateway| {
        format!(
            "[[port]]\nname = \"{name}\"\nside = \"{side}\"\ndevice = \"net_{name}\"\naddresses = [\"{address}\"]\n\
             gateway = \"{gateway}\"\n"
        )
    };
    let text = port("vip0", "vip", "2001:db8:1::5/128", "fe80::1")
        + &port("dip0", "dip", "2001:db8:2::5/128", "2001:db8:2::1")
        + "[[route]]\nto = \"2001:db8:100::/48\"\nvia = \"2001:db8:2::1\"\n[[service]]\nlisten = \
           \"tcp://[2001:db8:1::5]:80\"\n[[service.real]]\naddress = \"[2001:db8:100::7]:80\"\n";
    let config = parse(&text).unwrap();
    assert_eq!(config.routes[0].interface.0, 1, "its gateway tells the port");
    assert_eq!(service_of(&config).reals.len(), 1);
}

#[test]
fn what_is_wrong_with_ipv6_is_named() {
    let right = "expected one of each family at most";
    wrong(
        "gateway = [\"fe80::1\", \"fd00:10::1\"]",
        "",
        &format!("6: gateway: fd00:10::1 is another one than fe80::1; {right}"),
    );
    wrong("gateway = \"fd00:10::100\"", "", "6: gateway: fd00:10::100 is an own address");
    wrong("gateway = \"ff02::2\"", "", "6: gateway: expected the address of a host, found ff02::2");
    let right = "a port with an IPv6 address needs 1280 at least";
    wrong("mtu = 1279", "", &format!("6: mtu: 1279 is too small: {right}"));
    let at = |line: usize| LINES + line;
    wrong(
        "",
        "[[route]]\nto = \"2001:db8::/32\"\nvia = \"10.0.0.1\"\n",
        &format!("{}: via: 10.0.0.1 is of another family than 2001:db8::/32", at(3)),
    );
    let route = "[[route]]\nto = \"fd00:20::/64\"\nvia = \"fd00:20::1\"\n";
    let expected = "to: fd00:20::/64 is on the link of port \"dip0\" (fd00:20::8/64)";
    wrong("", route, &format!("{}: {expected}", at(2)));
}

#[test]
fn vips_and_reals_of_ipv6_are_judged() {
    let at = |line: usize| LINES + line;
    let listen = |vip: &str| format!("[[service]]\nlisten = \"tcp://{vip}\"\n");
    let link_local = "it is a link-local address, which many links have";
    for (vip, why) in [
        ("[fe80::1]:80", format!("listen: fe80::1 cannot be a VIP: {link_local}")),
        ("[ff02::1]:80", "listen: expected the address of a host, found ff02::1".to_owned()),
        ("[::1]:80", "listen: expected the address of a host, found ::1".to_owned()),
        (
            "[::ffff:192.168.10.100]:80",
            "listen: expected the address of a host, found ::ffff:192.168.10.100".to_owned(),
        ),
        (
            "[fd00:10::]:80",
            "listen: fd00:10:: is a link's broadcast or network address; expected an address for this service".to_owned(),
        ),
    ] {
        wrong("", &listen(vip), &format!("{}: {why}", at(2)));
    }
    let real =
        |real: &str| listen("[fd00:10::100]:80") + &format!("[[service.real]]\naddress = \"{real}\"\n");
    let own = "is an own address or VIP; expected the address of another host";
    let ways = "expected one on a port's link, behind a [[route]], or a gateway on the reals' side";
    for (found, why) in [
        ("10.0.0.7:80", "Different address family is allowed only for tunneling servers".to_owned()),
        ("[fe80::7]:80", format!("fe80::7 cannot be a real: {link_local}")),
        ("[fd00:10::100]:80", format!("fd00:10::100 {own}")),
        ("[2001:db8::7]:80", format!("no way leads to 2001:db8::7; {ways}")),
    ] {
        wrong("", &real(found), &format!("{}: address: {why}", at(4)));
    }
    let four = listen("192.168.10.100:80") + "[[service.real]]\naddress = \"[fd00:20::7]:80\"\n";
    let why = "Different address family is allowed only for tunneling servers";
    wrong("", &four, &format!("{}: address: {why}", at(4)));
}

/// Every link has the network fe80::/64: its addresses belong to the port that they are named with.
#[test]
fn link_local_next_hops_are_named_with_their_port() {
    let ports = |rest: &str| {
        let with = |text: String, old: &str, new: &str| text.replacen(old, &format!("{old}, \"{new}\""), 1);
        let text = both("gateway = \"fe80::1\"", "gateway = \"fe80::1\"", rest);
        let text = with(text, "\"fd00:10::100/64\"", "fe80::a/64");
        with(text, "\"fd00:20::8/64\"", "fe80::b/64")
    };
    let route = "[[route]]\nto = \"2001:db8::/32\"\nvia = \"fe80::9\"\n";
    let config = parse(&ports(&format!("{route}port = \"dip0\"\n"))).unwrap();
    assert_eq!(config.routes[0].interface.0, 1);
    let found = parse(&ports(route)).unwrap_err();
    assert!(found[0].message.starts_with("via: fe80::9 is on no port's link"), "{found:?}");
    let found =
        parse(&ports(&format!("{route}port = \"dip0\"\n").replace("fe80::9", "fe80::b"))).unwrap_err();
    assert!(found[0].message.starts_with("via: fe80::b is an own address"), "{found:?}");
    let other = ports(&format!("{route}port = \"dip0\"\n").replace("fe80::9", "fe80::a"));
    assert!(parse(&other).is_ok(), "what vip0 has may be another's on the link of dip0");
    let found = parse(&ports(&route.replace("fe80::9", "fe80::1"))).unwrap_err();
    assert!(found[0].message.starts_with("via: fe80::1 is the gateway of several ports"), "{found:?}");
}

#[test]
fn ports_may_have_one_link_local_address_in_common() {
    let text = both("gateway = \"fe80::1\"", "", "");
    let text = text.replace("\"fd00:", "\"fe80::8/64\", \"fd00:");
    let config = parse(&text).unwrap();
    assert_eq!(config.eth_ports[0].interface.addresses[1], config.eth_ports[1].interface.addresses[1]);
    let found = parse(&text.replace("\"fe80::1\"", "\"fe80::8\"")).unwrap_err();
    assert!(found[0].message.starts_with("gateway: fe80::8 is an own address"), "{found:?}");
    let twice = text.replacen("\"fe80::8/64\"", "\"fe80::8/64\", \"fe80::8/64\"", 1);
    assert_eq!(parse(&twice).unwrap_err()[0].message, "addresses: fe80::8 is listed twice");
    // Any other address is one host's.
    let twice = text.replace("fd00:20::8/64", "fd00:10::100/64");
    assert_eq!(parse(&twice).unwrap_err()[0].message, "addresses: fd00:10::100 is listed twice");
}

#[test]
fn a_next_hop_needs_a_port_that_speaks_its_family() {
    let alone = |rest: &str| both("", "", rest).replace(", \"fd00:20::8/64\"", "");
    let right = "is an IPv6 address, and port \"dip0\" has none; add one to its addresses";
    let route = "[[route]]\nto = \"2001:db8::/32\"\nvia = \"fe80::1\"\nport = \"dip0\"\n";
    assert_eq!(parse(&alone(route)).unwrap_err()[0].message, format!("via: fe80::1 {right}"));
    let neighbour = "[[neighbour]]\naddress = \"fe80::1\"\nmac = \"02:00:00:00:00:07\"\nport = \"dip0\"\n";
    assert_eq!(parse(&alone(neighbour)).unwrap_err()[0].message, format!("address: fe80::1 {right}"));
    let six = both("", "gateway = \"10.0.0.1\"", "").replace("\"10.0.0.8/24\", ", "");
    let right = "is an IPv4 address, and port \"dip0\" has none; add one to its addresses";
    assert_eq!(parse(&six).unwrap_err()[0].message, format!("gateway: 10.0.0.1 {right}"));
    assert!(parse(&six.replace("gateway = \"10.0.0.1\"", "gateway = \"fe80::1\"")).is_ok());
}

#[test]
fn ipv6_has_as_much_room_as_ipv4_unless_the_file_says_otherwise() {
    let capacity = |text: &str| parse(&both("", "", text)).unwrap().capacity;
    assert_eq!(capacity(""), Capacity { ipv4: 1 << 20, ipv6: 1 << 20 });
    assert_eq!(capacity("[connections]\ncapacity = 64\n"), Capacity { ipv4: 64, ipv6: 64 });
    let of_its_own = "[connections]\ncapacity = 64\ncapacity_ipv6 = 4096\n";
    assert_eq!(capacity(of_its_own), Capacity { ipv4: 64, ipv6: 4096 });
    let expected = "capacity_ipv6: expected a number from 16 to 268435456, found 15";
    wrong("", "[connections]\ncapacity_ipv6 = 15\n", &format!("{}: {expected}", LINES + 2));
}

#[test]
fn tables_take_40_and_72_bytes_for_each_connection() {
    let capacity = Capacity { ipv4: 1 << 20, ipv6: 1 << 20 };
    let each = capacity.table_bytes().map(|bytes| bytes as f64 / f64::from(1 << 20));
    assert!(each[0] > 39.0 && each[0] < 41.0 && each[1] > 71.0 && each[1] < 73.5, "{each:?}");
    assert_eq!(Capacity { ipv6: 0, ..capacity }.table_bytes()[1], 0);
}

/// RFC 4291 §2.8: an interface with an address of IPv6 has a link-local one, of its MAC unless one is configured, and
/// it goes with the MAC.
#[test]
fn interfaces_with_ipv6_have_link_local_addresses() {
    let configured = both("", "", "").replace("\"fd00:20::8/64\"", "\"fd00:20::8/64\", \"fe80::8/64\"");
    let config = parse(&configured).unwrap();
    let mac = |last: u8| Mac([2, 0, 0, 0, 0, last]);
    let mut network =
        config.network(|port| (mac(port as u8 + 1), 1500, dataplane::snapshot::Steering::Software));
    let addresses = |network: &crate::model::Network, interface: usize| -> Vec<String> {
        network.interfaces[interface].addresses.iter().map(ToString::to_string).collect()
    };
    let of_vip0 = |link_local: &str| ["192.168.10.100/24", "fd00:10::100/64", link_local].map(str::to_owned);
    let of_dip0 = ["10.0.0.8/24", "fd00:20::8/64", "fe80::8/64"].map(str::to_owned);
    assert_eq!(addresses(&network, 0), of_vip0("fe80::ff:fe00:1/64"));
    assert_eq!(addresses(&network, 1), of_dip0);
    for interface in 0..2 {
        network.set_link(interface, mac(9), 1400);
    }
    assert_eq!(addresses(&network, 0), of_vip0("fe80::ff:fe00:9/64"));
    assert_eq!(addresses(&network, 1), of_dip0, "it is configured");
    assert!(network.is_own("fe80::ff:fe00:9".parse().unwrap()));

    let only_ipv4 = both("", "", "").replace(", \"fd00:20::8/64\"", "");
    let network =
        parse(&only_ipv4).unwrap().network(|_| (mac(1), 1500, dataplane::snapshot::Steering::Software));
    assert_eq!(addresses(&network, 1), ["10.0.0.8/24"]);
}

#[test]
fn the_manuals_example_of_both_families_is_read() {
    let manual = include_str!("../../../../docs/manual.md");
    let example = manual.split("Both families on the same ports:").nth(1).unwrap();
    let example = example.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let config = parse(example).unwrap();
    assert_eq!(config.capacity, Capacity { ipv4: 1 << 20, ipv6: 1 << 18 });
    let mib = config.capacity.table_bytes().map(|bytes| bytes >> 20);
    assert_eq!(mib, [40, 18], "as the example says");
    assert_eq!(config.model.services().len(), 2);
}
