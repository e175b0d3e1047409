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
        (
            "[[service]]\nlisten = \"dccp://192.168.10.100:80\"",
            "2: listen: expected tcp://VIP:PORT, udp://VIP:PORT or sctp://VIP:PORT, found \"dccp://192.168.10.100:80\"",
        ),
        (
            "[[service]]\nlisten = \"tcp://[2001:db8::1]:80\"",
            "2: listen: no port towards clients has an IPv6 address; add one to the addresses of one with side = \"vip\" or \"both\"",
        ),
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
fn schedulers_and_keys_that_are_wrong_are_named() {
    expect(
        "scheduler = \"lblc\"",
        "3: not supported yet: scheduler \"lblc\" (supported: rr, wrr, lc, wlc, sed, nq, fo, ovf, sh, mh, dh, twos, swrr)",
    );
    expect(
        "scheduler = \"nosuch\"",
        "3: unknown scheduler \"nosuch\" (known: rr, wrr, lc, wlc, sed, nq, fo, ovf, sh, mh, dh, twos, swrr)",
    );
    expect("reals = []", "3: [[service]]: unknown key \"reals\"; did you mean real?");
}

#[test]
fn settings_of_services_are_read() {
    let text = format!(
        "{LEAST}[[service]]\nlisten = \"udp://192.168.10.100:8000-8100\"\nscheduler = \"rr\"\nflags = [\"flag-1\"]\n\
         persistence = 50\npersistence_mask = \"255.255.255.0\"\none_packet = true\n\
         timeouts = {{ udp = 9, syn_recv = 5 }}\non_removal = \"reschedule\"\nslow_start = 30\n\
         [[service.real]]\naddress = \"10.0.0.7\"\nupper_threshold = 100\nlower_threshold = 50\n\
         [[service.real]]\naddress = \"10.0.0.17:53\"\n"
    );
    let lines = [
        "-A -u 192.168.10.100:8000-8100 -s rr -p 50 -M 255.255.255.0 -o -b flag-1 --timeouts syn_recv=5,udp=9 \
         --on-removal reschedule --slow-start 30",
        "-a -u 192.168.10.100:8000-8100 -r 10.0.0.7:0 -m -w 1 -x 100 -y 50",
        "-a -u 192.168.10.100:8000-8100 -r 10.0.0.17:53 -m -w 1",
    ];
    assert_eq!(crate::change::save(&parse(&text).unwrap().model)[1..], lines);
    let plain =
        format!("{LEAST}{SERVICE}one_packet = false\non_removal = \"drop\"\nslow_start = 0\nflags = []\n");
    assert_eq!(crate::change::save(&parse(&plain).unwrap().model)[1..], ["-A -t 192.168.10.100:80 -s wrr"]);
}

#[test]
fn settings_of_services_that_are_wrong_are_named_where_they_stand() {
    expect("flags = [\"sh-port\"]", "3: incompatible scheduler flag `sh-port': it is a flag of sh");
    expect("flags = \"sh-port\"", "3: flags: expected an array, found a string");
    expect("flags = [1]", "3: flags: expected a string, found a number");
    expect("persistence = 0", "3: persistence: expected a number from 1 to 2678400, found 0");
    expect(
        "persistence_mask = \"255.0.0.0\"",
        "3: a persistence mask (-M) is only for persistent services (-p)",
    );
    let mask = "4: illegal virtual server persistent mask specified: expected a mask as 255.255.255.0, found \"0.0.0.0\"";
    expect("persistence = 5\npersistence_mask = \"0.0.0.0\"", mask);
    expect(
        "scheduler = \"rr\"\none_packet = true",
        "4: One-Packet Scheduling is only for UDP virtual services",
    );
    expect("one_packet = 1", "3: one_packet: expected true or false, found a number");
    let known = "none, tcp, syn_sent, syn_recv, tcp_fin, time_wait, close, close_wait, last_ack, listen, synack, udp, \
         sctp_none, sctp_init1, sctp_init, sctp_c_sent, sctp_c_replied, sctp_c_wait, \
         sctp_cookie, sctp_c_echoed, sctp, sctp_s_sent, sctp_s_received, sctp_s_ack_sent, sctp_rejected, sctp_closed";
    expect("timeouts = { open = 5 }", &format!("3: unknown state \"open\" (known: {known})"));
    expect("timeouts = { tcp = 5, established = 6 }", "3: tcp: given twice");
    expect("timeouts = { tcp = 0 }", "3: timeouts: tcp: expected a number from 1 to 2678400, found 0");
    expect("timeouts = 5", "3: timeouts: expected a table as { tcp = 900 }, found a number");
    expect("on_removal = \"wait\"", "3: on_removal: expected drop, reset or reschedule, found \"wait\"");
    expect("slow_start = 86401", "3: slow_start: expected a number from 0 to 86400, found 86401");
    let range = |ports: &str| format!("[[service]]\nlisten = \"tcp://192.168.10.100:{ports}\"\n");
    let overlapping = "4: listen: some of these ports are those of the service on ports 8000-8100";
    assert_eq!(problems_of(&(range("8000-8100") + &range("8100-8101"))), [overlapping]);
    let thresholds = "5: Numerical result out of range: the lower threshold 2 is above the upper one 1";
    expect(
        "[[service.real]]\nlower_threshold = 2\naddress = \"10.0.0.7\"\nupper_threshold = 1",
        &thresholds.replacen('5', "4", 1),
    );
    assert_eq!(
        problems_of("[forward]\nsloppy_tcp = 1"),
        ["2: sloppy_tcp: expected true or false, found a number"]
    );
    assert!(parse(&format!("{LEAST}[forward]\nsloppy_tcp = false")).is_ok());
    // Exact services lie within ranges, and any port is all of them.
    let all = ["80", "0", "70-90", "91-100", "1-69"].map(range).concat();
    assert!(parse(&format!("{LEAST}{all}")).is_ok());
}

#[test]
fn reals_that_are_wrong_are_named() {
    let real = |keys: &str| format!("[[service.real]]\n{keys}");
    let missing = "3: [[service.real]]: address is missing, as in address = \"10.0.0.7:80\"";
    expect(&real("weight = 1"), missing);
    expect(
        &real("address = \"10.0.0.7\"\nweight = 65536"),
        "5: weight: expected a number from 0 to 65535, found 65536",
    );
    expect(
        &real("address = \"10.0.0.7\"\nupper_threshold = -1"),
        "5: upper_threshold: expected a number from 0 to 2147483647, found -1",
    );
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
