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

#[test]
fn options_of_ports_that_are_wrong_are_named() {
    expect("mtu = 9217", "1: mtu: expected a number from 576 to 9216, found 9217");
    expect("vlan = 7", "1: not supported yet: vlan");
    for gateway in ["10.0.1.1", "192.168.10.1"] {
        let right = "expected an address in a prefix of its addresses";
        let message = format!("1: gateway: {gateway} is not on the link of port \"dip0\"; {right}");
        expect(&format!("gateway = \"{gateway}\""), &message);
    }
    expect("gateway = \"10.0.0.8\"", "1: gateway: 10.0.0.8 is an own address");
    expect("gateway = \"2001:db8::1\"", "1: not supported yet: IPv6");
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
    expect_of_port("addresses = [\n\"2001:db8::1/64\"]", "6: not supported yet: IPv6");
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
    assert_eq!(parse(&several).unwrap().ports[2].addresses.len(), 3);
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
    expect(
        &route("172.16.0.0/12", "10.9.0.1"),
        "3: via: 10.9.0.1 is on no port's link; expected an address in a prefix of some port's addresses",
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
    expect(
        &neighbour("10.9.0.7", "02:00:00:00:00:07"),
        "2: address: 10.9.0.7 is on no port's link; expected an address in a prefix of some port's addresses",
    );
    for mac in ["01:00:00:00:00:07", "2:0:0:0:0:7", "00:00:00:00:00:00", "02:00:00:00:00:07:08", "x"] {
        let message = "3: mac: expected the MAC of a host as 02:00:00:00:00:07, found";
        expect(&neighbour("10.0.0.7", mac), &format!("{message} {mac:?}"));
    }
    let twice = neighbour("10.0.0.7", "02:00:00:00:00:07") + &neighbour("10.0.0.7", "02:00:00:00:00:08");
    expect(&twice, "5: address: another [[neighbour]] is 10.0.0.7");
}
