use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn addresses_of_no_host_are_told_in_either_family() {
    for (found, why) in [
        ("0.0.0.0", "0.0.0.0/8 is no host"),
        ("127.0.0.1", "it is a loopback address"),
        ("224.0.0.1", "it is a multicast address"),
        ("255.255.255.255", "it is a broadcast or network address"),
        ("240.0.0.1", "240.0.0.0/4 is reserved"),
        ("::", ":: is no host"),
        ("::1", "it is a loopback address"),
        ("ff02::1", "it is a multicast address"),
        ("::ffff:10.0.0.17", "it is an IPv4 address in IPv6's form"),
    ] {
        assert_eq!(why_no_host(address(found)), Some(why), "{found}");
        assert!(!is_unicast(address(found)));
    }
    for found in ["10.0.0.7", "169.254.1.1", "2001:db8::7", "fd00:20::7", "fe80::1", "64:ff9b::7"] {
        assert_eq!(why_no_host(address(found)), None, "{found}");
    }
}

#[test]
fn a_link_local_address_of_ipv6_is_neither_vip_nor_real() {
    assert!(why_on_one_link(address("fe80::1")).is_some());
    for found in ["169.254.1.1", "fd00::1", "2001:db8::1"] {
        assert_eq!(why_on_one_link(address(found)), None, "{found}");
    }
}

#[test]
fn a_service_and_its_reals_are_of_one_family() {
    let vips = ["192.0.2.1:80", "[2001:db8::1]:80"].map(|vip| vip.parse().unwrap());
    let [ours, theirs] = vips.map(|vip| ServiceKey::new(Protocol::Tcp, vip));
    let [four, six] = ["10.0.0.7:80", "[fd00:20::7]:80"].map(|real| real.parse().unwrap());
    assert_eq!((check_family(&ours, four), check_family(&theirs, six)), (Ok(()), Ok(())));
    for (service, real) in [(ours, six), (theirs, four)] {
        let refused = check_family(&service, real).unwrap_err().to_string();
        assert_eq!(refused, "Different address family is allowed only for tunneling servers");
    }
}

#[test]
fn links_have_broadcast_and_network_addresses() {
    let is = |prefix: &str, host: &str| is_broadcast_of(&prefix.parse().unwrap(), address(host));
    for (prefix, host) in
        [("10.0.0.8/24", "10.0.0.0"), ("10.0.0.8/24", "10.0.0.255"), ("fd00:20::8/64", "fd00:20::")]
    {
        assert!(is(prefix, host), "{host} of {prefix}");
    }
    for (prefix, host) in [
        ("10.0.0.8/24", "10.0.0.7"),
        ("10.0.0.8/31", "10.0.0.8"),
        ("10.0.0.8/32", "10.0.0.8"),
        ("fd00:20::8/64", "fd00:20::ffff:ffff:ffff:ffff"),
        ("fd00:20::8/127", "fd00:20::8"),
        ("fd00:20::8/128", "fd00:20::8"),
        ("10.0.0.8/24", "fd00:20::"),
    ] {
        assert!(!is(prefix, host), "{host} of {prefix}");
    }
}
