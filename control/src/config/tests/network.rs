use super::*;

const PORT: &str = "[[port]]\nname = \"x\"\nside = \"both\"\ndevice = \"net_null2\"\n";

#[track_caller]
fn expect_of_port(after_a_port: &str, expected: &str) {
    assert_eq!(problems_of(&format!("{PORT}{after_a_port}")).join("|"), expected);
}

#[track_caller]
fn expect(addition: &str, expected: &str) {
    assert_eq!(problems_of(addition).join("|"), expected);
}

const NO_LINK: &str = "is on no port's link; expected an address in a prefix of some port's addresses, or its port beside \
                       it, as in port = \"dip0\"";

/// Both ports as a cloud sets interfaces up: addresses that no other host shares a prefix with.
fn slash_32(vip_gateway: &str, dip_gateway: &str, rest: &str) -> String {
    let port = |name, side, address, gateway| {
        format!(
            "[[port]]\nname = \"{name}\"\nside = \"{side}\"\ndevice = \"net_{name}\"\naddresses = [\"{address}\"]\n\
             gateway = \"{gateway}\"\n"
        )
    };
    port("vip0", "vip", "10.128.0.5/32", vip_gateway)
        + &port("dip0", "dip", "10.132.0.5/32", dip_gateway)
        + rest
}

#[test]
fn a_next_hop_may_be_outside_all_prefixes() {
    let route = "[[route]]\nto = \"172.16.0.0/12\"\nvia = ";
    let config = parse(&slash_32("10.128.0.1", "10.132.0.1", &format!("{route}\"10.132.0.1\"\n"))).unwrap();
    assert_eq!(config.eth_ports[0].interface.gateways, [IpAddr::from([10, 128, 0, 1])]);
    assert_eq!(config.routes[0].interface.0, 1, "its gateway tells the port");
    let named = format!("{route}\"10.9.9.9\"\nport = \"dip0\"\n");
    assert_eq!(parse(&slash_32("10.128.0.1", "10.132.0.1", &named)).unwrap().routes[0].interface.0, 1);
    let neighbour = "[[neighbour]]\naddress = \"10.9.9.9\"\nmac = \"02:00:00:00:00:07\"\nport = \"dip0\"\n\
                     [[service]]\nlisten = \"tcp://10.128.0.5:80\"\n[[service.real]]\naddress = \"10.9.9.9:80\"\n";
    let config = parse(&slash_32("10.128.0.1", "10.132.0.1", neighbour)).unwrap();
    assert_eq!((config.neighbours[0].interface.0, service_of(&config).reals.len()), (1, 1));
    // A /31 has two hosts and no other address (RFC 3021).
    let with_31 = slash_32("10.128.0.1", "10.132.0.4", "").replace("10.132.0.5/32", "10.132.0.5/31");
    assert!(parse(&with_31).is_ok(), "{with_31}");
}

#[test]
fn two_ports_may_have_the_same_gateway() {
    let (one, route) = ("169.254.1.1", "[[route]]\nto = \"172.16.0.0/12\"\nvia = \"169.254.1.1\"\n");
    assert!(parse(&slash_32(one, one, "")).is_ok());
    let expected =
        "lbd.toml:15: via: 169.254.1.1 is the gateway of several ports; name one, as in port = \"dip0\"";
    assert_eq!(problems(&slash_32(one, one, route)), [expected]);
    let named = slash_32(one, one, &format!("{route}port = \"vip0\"\n"));
    assert_eq!(parse(&named).unwrap().routes[0].interface.0, 0);
    let fixed = |port, last| {
        format!("[[neighbour]]\naddress = \"{one}\"\nmac = \"02:00:00:00:00:0{last}\"\nport = \"{port}\"\n")
    };
    let both = parse(&slash_32(one, one, &(fixed("vip0", 1) + &fixed("dip0", 2)))).unwrap();
    assert_eq!(both.neighbours.iter().map(|fixed| fixed.interface.0).collect::<Vec<_>>(), [0, 1]);
    let twice = slash_32(one, one, &(fixed("vip0", 1) + &fixed("vip0", 2)));
    assert_eq!(problems(&twice), ["lbd.toml:18: address: another [[neighbour]] is 169.254.1.1"]);
}

#[test]
fn options_of_ports_that_are_wrong_are_named() {
    expect("mtu = 9217", "1: mtu: expected a number from 576 to 9216, found 9217");
    expect("announce_every = 0", "1: announce_every: expected a number from 1 to 86400, found 0");
    expect("vlan = 7", "1: not supported yet: vlan");
    let right = "expected a router on the link of \"dip0\"";
    let message =
        "1: gateway: 192.168.10.1 is on the link of port \"vip0\" (192.168.10.100/24); ".to_owned() + right;
    expect("gateway = \"192.168.10.1\"", &message);
    expect("gateway = \"10.0.0.255\"", "1: gateway: 10.0.0.255 is a network's own or its broadcast address");
    expect("gateway = \"10.0.0.8\"", "1: gateway: 10.0.0.8 is an own address");
    expect(
        "gateway = \"2001:db8::1\"",
        "1: gateway: 2001:db8::1 is an IPv6 address, and port \"dip0\" has none; add one to its addresses",
    );
}

#[test]
fn addresses_that_are_wrong_are_named() {
    let example = "as in addresses = [\"192.168.10.100/24\"]";
    expect_of_port("", &format!("1: [[port]]: addresses is missing, {example}"));
    expect_of_port("addresses = []", &format!("5: addresses: expected at least one, {example}"));
    expect_of_port(
        "addresses = [\"10.1.0.1\"]",
        "5: addresses: expected ADDRESS/LENGTH as 192.168.10.100/24, found \"10.1.0.1\"",
    );
    expect_of_port(
        "addresses = [\"10.1.0.0/24\"]",
        "5: addresses: 10.1.0.0/24 is the network's own or its broadcast address",
    );
    expect_of_port(
        "addresses = [\n\"2001:db8::/64\"]",
        "6: addresses: 2001:db8::/64 is the network's own or its broadcast address",
    );
    expect_of_port(
        "addresses = [\"127.0.0.1/8\"]",
        "5: addresses: expected the address of a host, found 127.0.0.1",
    );
    expect_of_port(
        "addresses = [\"10.1.0.1/0\"]",
        "5: addresses: expected a prefix length from 1 to 32, found 10.1.0.1/0",
    );
    expect_of_port("addresses = [\"10.0.0.8/8\"]", "5: addresses: 10.0.0.8 is listed twice");
    expect_of_port(
        "addresses = [\"10.1.0.1/24\", \"10.1.0.1/24\"]",
        "5: addresses: 10.1.0.1 is listed twice",
    );
    let other = "the network of 10.0.0.8/24 of port \"dip0\"; a network is on the link of one port";
    expect_of_port("addresses = [\"10.0.0.9/24\"]", &format!("5: addresses: 10.0.0.9/24 is in {other}"));
    let several = format!("{LEAST}{PORT}addresses = [\"10.1.0.1/24\", \"10.1.0.2/24\", \"10.2.0.1/31\"]");
    assert_eq!(parse(&several).unwrap().eth_ports[2].interface.addresses.len(), 3);
}

#[test]
fn ports_are_told_apart_by_name_and_device() {
    let twin = "[[port]]\nname = \"vip0\"\nside = \"dip\"\ndevice = \"net_null1,x=1\"\naddresses = [\"10.1.0.1/24\"]";
    let name = "2: name: another port is called \"vip0\"; names are unique";
    let device = "4: device: \"net_null1\" is that of port \"dip0\"; each needs its own";
    expect(twin, &format!("{name}|{device}"));
    let odd = "[[port]]\nname = \"a b\"\nside = \"up\"\ndevice = \"d\"\naddresses = [\"10.1.0.1/24\"]";
    let name = "2: name: expected 1 to 15 letters, digits, '_', '-' or '.', found \"a b\"";
    let side = "3: side: expected \"vip\" or \"dip\" or \"both\", found \"up\"";
    expect(odd, &format!("{name}|{side}"));
}

#[test]
fn a_port_needs_name_side_and_device() {
    let found = problems_of("[[port]]\naddresses = [\"10.1.0.1/24\"]");
    let expected = [
        "1: [[port]]: name is missing, as in name = \"vip0\"",
        "1: [[port]]: side is missing, as in side = \"vip\"",
        "1: [[port]]: device is missing, as in device = \"net_af_packet0,iface=eth1\"",
    ];
    assert_eq!(found, expected);
}

#[test]
fn there_are_at_most_sixteen_ports() {
    let port = |n: usize| {
        format!(
            "[[port]]\nname = \"p{n}\"\nside = \"dip\"\ndevice = \"d{n}\"\naddresses = [\"10.{n}.0.1/24\"]\n"
        )
    };
    let ports = |count: usize| (1..=count).map(port).collect::<String>();
    assert!(parse(&format!("{LEAST}{}", ports(14))).is_ok());
    expect(&ports(15), "71: [[port]]: at most 16 ports");
}

#[test]
fn both_sides_are_needed() {
    assert_eq!(problems(""), ["lbd.toml: no [[port]]: at least one is needed"]);
    let one = |side: &str| format!("{}addresses = [\"10.1.0.1/24\"]\n", PORT.replace("both", side));
    let message = "lbd.toml: no [[port]] leads towards reals: one needs side = \"dip\" or \"both\"";
    assert_eq!(problems(&one("vip")), [message]);
    let message = "lbd.toml: no [[port]] leads towards clients: one needs side = \"vip\" or \"both\"";
    assert_eq!(problems(&one("dip")), [message]);
    assert!(parse(&one("both")).is_ok(), "one arm leads to both");
}

#[test]
fn routes_that_are_wrong_are_named() {
    let route = |to: &str, via: &str| format!("[[route]]\nto = \"{to}\"\nvia = \"{via}\"\n");
    let missing = "1: [[route]]: to is missing, as in to = \"172.16.0.0/12\"";
    expect("[[route]]\nvia = \"10.0.0.1\"", missing);
    expect(
        &route("172.16.0.1/12", "10.0.0.1"),
        "2: to: 172.16.0.1/12 has bits beyond its length; did you mean 172.16.0.0/12?",
    );
    expect(&route("172.16.0.0/12", "10.9.0.1"), &format!("3: via: 10.9.0.1 {NO_LINK}"));
    let named = |to: &str, via: &str, port: &str| route(to, via) + &format!("port = \"{port}\"\n");
    expect(
        &named("172.16.0.0/12", "10.9.0.1", "dip7"),
        "4: port: there is no port \"dip7\"; known: vip0, dip0",
    );
    expect(
        &named("172.16.0.0/12", "10.0.0.1", "vip0"),
        "3: via: 10.0.0.1 is on the link of port \"dip0\", not of the one that is named",
    );
    expect(&route("172.16.0.0/12", "10.0.0.8"), "3: via: 10.0.0.8 is an own address");
    expect(
        &route("10.0.0.0/24", "10.0.0.1"),
        "2: to: 10.0.0.0/24 is on the link of port \"dip0\" (10.0.0.8/24)",
    );
    let twice = route("1.0.0.0/8", "10.0.0.1") + &route("1.0.0.0/8", "10.0.0.2");
    expect(&twice, "5: to: another [[route]] leads to 1.0.0.0/8");
}

#[test]
fn neighbours_that_are_wrong_are_named() {
    let neighbour =
        |address: &str, mac: &str| format!("[[neighbour]]\naddress = \"{address}\"\nmac = \"{mac}\"\n");
    expect(&neighbour("10.9.0.7", "02:00:00:00:00:07"), &format!("2: address: 10.9.0.7 {NO_LINK}"));
    for mac in ["01:00:00:00:00:07", "2:0:0:0:0:7", "00:00:00:00:00:00", "02:00:00:00:00:07:08", "x"] {
        let message = "3: mac: expected the MAC of a host as 02:00:00:00:00:07, found";
        expect(&neighbour("10.0.0.7", mac), &format!("{message} {mac:?}"));
    }
    let twice = neighbour("10.0.0.7", "02:00:00:00:00:07") + &neighbour("10.0.0.7", "02:00:00:00:00:08");
    expect(&twice, "5: address: another [[neighbour]] is 10.0.0.7");
}
