use super::*;
use crate::model::MAX_SERVICES;

const SERVICE: &str = "[[service]]\nlisten = \"tcp://192.168.10.100:80\"\n";

#[track_caller]
fn expect(after_a_service: &str, expected: &str) {
    assert_eq!(problems_of(&format!("{SERVICE}{after_a_service}")).join("|"), expected);
}

#[test]
fn where_a_service_listens_must_be_plain() {
    for (addition, expected) in [
        ("[[service]]", "1: [[service]]: listen is missing, as in listen = \"tcp://192.168.10.100:80\""),
        ("[service]", "1: service: expected tables [[service]], found a table"),
        (
            "[[service]]\nlisten = \"tcp://192.168.10.100\"",
            "2: listen: expected VIP:PORT, found \"192.168.10.100\" without a port",
        ),
        ("[[service]]\nlisten = \"sctp://192.168.10.100:80\"", "2: not supported yet: SCTP"),
        ("[[service]]\nlisten = \"tcp://[2001:db8::1]:80\"", "2: not supported yet: IPv6"),
    ] {
        assert_eq!(problems_of(addition).join("|"), expected, "{addition}");
    }
    let right = "expected an address for this service";
    for (vip, addition, whose) in [
        ("192.168.10.255", "", "a link's broadcast or network address"),
        ("10.0.0.0", "", "a link's broadcast or network address"),
        (
            "10.0.0.1",
            "[[route]]\nto = \"172.16.0.0/12\"\nvia = \"10.0.0.1\"",
            "the address of a gateway or neighbour",
        ),
        (
            "10.0.0.7",
            "[[neighbour]]\naddress = \"10.0.0.7\"\nmac = \"02:00:00:00:00:07\"",
            "the address of a gateway or neighbour",
        ),
    ] {
        let text = format!("[[service]]\nlisten = \"tcp://{vip}:80\"\n{addition}");
        assert_eq!(problems_of(&text), [format!("2: listen: {vip} is {whose}; {right}")]);
    }
    let gateway = "gateway = \"10.0.0.1\"\n[[service]]\nlisten = \"tcp://10.0.0.1:80\"";
    let whose = "the address of a gateway or neighbour";
    assert_eq!(problems_of(gateway), [format!("3: listen: 10.0.0.1 is {whose}; {right}")]);
    let zero = "[[service]]\nlisten = \"tcp://0.1.2.3:80\"";
    assert_eq!(problems_of(zero), ["2: listen: expected the address of a host, found 0.1.2.3"]);
    expect(SERVICE, "4: listen: another [[service]] is tcp://192.168.10.100:80");
}

#[test]
fn services_are_bounded() {
    let service = |port: usize| format!("[[service]]\nlisten = \"tcp://192.168.10.100:{}\"\n", port + 1);
    let most: String = (0..MAX_SERVICES).map(service).collect();
    assert!(parse(&format!("{LEAST}{most}")).is_ok());
    let more = most + &service(MAX_SERVICES) + &service(MAX_SERVICES + 1);
    let line = 2 * MAX_SERVICES + 2;
    assert_eq!(problems_of(&more), [format!("{line}: listen: at most {MAX_SERVICES} [[service]]")]);
}

#[test]
fn options_of_services_that_are_wrong_or_for_later_are_named() {
    expect("scheduler = \"wlc\"", "3: not supported yet: scheduler \"wlc\" (supported: rr, wrr)");
    expect("scheduler = \"nosuch\"", "3: unknown scheduler \"nosuch\" (known: rr, wrr)");
    expect("persistence = 300", "3: not supported yet: persistence");
    expect("reals = []", "3: [[service]]: unknown key \"reals\"; did you mean real?");
}

#[test]
fn reals_that_are_wrong_are_named() {
    let real = |keys: &str| format!("[[service.real]]\n{keys}");
    let missing = "3: [[service.real]]: address is missing, as in address = \"10.0.0.7:80\"";
    expect(&real("weight = 1"), missing);
    expect(&real("address = \"10.0.0.7:0\""), "4: not supported yet: port 0 (any port)");
    expect(
        &real("address = \"10.0.0.7\"\nweight = 65536"),
        "5: weight: expected a number from 0 to 65535, found 65536",
    );
    expect(&real("address = \"10.0.0.7\"\nupper_threshold = 1"), "5: not supported yet: upper_threshold");
    expect(
        &real("address = \"10.0.0.7\"\n[[service.real]]\naddress = \"10.0.0.7:80\""),
        "6: address: the service has 10.0.0.7:80 already",
    );
    expect(
        &real("address = \"10.0.0.255\""),
        "4: address: 10.0.0.255 is a link's broadcast or network address; expected the address of a host",
    );
    let own = "is an own address or VIP; expected the address of another host";
    expect(&real("address = \"10.0.0.8\""), &format!("4: address: 10.0.0.8 {own}"));
    expect(
        &real("address = \"10.0.0.7\"\n[[service]]\nlisten = \"tcp://10.0.0.7:80\""),
        &format!("4: address: 10.0.0.7 {own}"),
    );
}

#[test]
fn a_real_elsewhere_needs_a_route_or_a_gateway_on_its_side() {
    let service = format!("{SERVICE}real = [{{ address = \"172.16.9.7\" }}]\n");
    let ways = "expected one on a port's link, behind a [[route]], or a gateway on the reals' side";
    assert_eq!(problems_of(&service), [format!("3: address: no way leads to 172.16.9.7; {ways}")]);
    let route = "[[route]]\nto = \"172.16.0.0/12\"\nvia = \"10.0.0.1\"\n";
    assert!(parse(&format!("{LEAST}{service}{route}")).is_ok());
    assert!(parse(&format!("{LEAST}gateway = \"10.0.0.1\"\n{service}")).is_ok());
    let of_clients = LEAST.replacen("[[port]]", "[[port]]\ngateway = \"192.168.10.1\"", 1);
    assert!(parse(&format!("{of_clients}{service}")).is_err(), "a gateway of the other side does not count");
}
