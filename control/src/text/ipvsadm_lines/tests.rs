use super::*;
use crate::text::{algorithms, masks};
use dataplane::schedule::Algorithm;
use dataplane::snapshot::Persistence;

fn key(protocol: Protocol, listen: &str) -> ServiceKey {
    ServiceKey::new(protocol, listen.parse().unwrap())
}

fn settings(algorithm: Algorithm) -> Settings {
    Settings::new(algorithm)
}

#[test]
fn what_is_written_reads_back() {
    let tcp = key(Protocol::Tcp, "192.168.10.100:80");
    let udp = key(Protocol::Udp, "192.168.10.100:53");
    let (wrr, rr) = (settings(Algorithm::WeightedRoundRobin), settings(Algorithm::RoundRobin));
    let real = |weight| Real::new("10.0.0.17:8080".parse().unwrap(), weight);
    let limited = Real { thresholds: Thresholds { upper: 100, lower: 50 }, ..real(0) };
    let lines = [
        vec![timeouts_line(TimeoutSeconds::default()), service_line(&tcp, &wrr)],
        real_lines(&tcp, &wrr, &real(3)),
        vec![service_line(&udp, &rr)],
        real_lines(&udp, &rr, &limited),
        vec![edit_service_line(&udp, &wrr)],
        edit_real_lines(&udp, (&rr, &real(1)), (&rr, &limited)),
        edit_real_lines(&udp, (&rr, &limited), (&rr, &real(2))),
        edit_real_lines(&udp, (&rr, &limited), (&rr, &limited)),
    ]
    .concat();
    assert_eq!(
        lines,
        [
            "--set 900 120 300",
            "-A -t 192.168.10.100:80 -s wrr",
            "-a -t 192.168.10.100:80 -r 10.0.0.17:8080 -m -w 3",
            "-A -u 192.168.10.100:53 -s rr",
            "-a -u 192.168.10.100:53 -r 10.0.0.17:8080 -m -w 0 -x 100 -y 50",
            "-E -u 192.168.10.100:53 -s wrr",
            "-e -u 192.168.10.100:53 -r 10.0.0.17:8080 -m -w 0 -x 100 -y 50",
            "-e -u 192.168.10.100:53 -r 10.0.0.17:8080 -m -w 2",
        ]
    );
    let read: Vec<_> = numbered(lines.iter().map(String::as_str))
        .map(|(number, line)| (number, parse(line).unwrap()))
        .collect();
    assert_eq!(read[0], (1, Line::SetTimeouts(TimeoutSeconds::default())));
    assert_eq!(read[3], (4, Line::AddService { service: udp, settings: rr }));
    assert_eq!(read[4], (5, Line::AddReal { service: udp, real: limited }));
    assert_eq!(read[5], (6, Line::EditService { service: udp, settings: wrr }));
    let (endpoint, none) = (limited.endpoint, Thresholds::default());
    let edited = Line::EditReal { service: udp, real: endpoint, weight: 2, thresholds: none };
    assert_eq!(read[7], (8, edited));
}

/// The lines of services that `ipvsadm -Sn` printed of its recorded session, but for schedulers that are not there, and
/// others in their form.
#[test]
fn services_with_settings_read_back_as_they_are_saved() {
    for line in [
        "-A -t 192.168.10.100:0 -s rr -p 300",
        "-A -t 192.168.10.100:21 -s rr -p 360",
        "-A -t 192.168.10.100:22 -s rr -p 50 -M 255.255.255.0",
        "-A -u 192.168.10.100:514 -s rr -o",
        "-A -u 192.168.10.100:8000-8100 -s wrr -p 50 -M 255.0.255.0 -o -b flag-1,flag-2",
        "-A -t 192.168.10.100:80 -s wrr --timeouts tcp=60,syn_recv=5 --on-removal reset --slow-start 30",
        "-A -t 192.168.10.100:80 -s wrr --on-removal reschedule",
    ] {
        let Ok(Line::AddService { service, settings }) = parse(line) else {
            panic!("{line}: {:?}", parse(line))
        };
        assert_eq!(service_line(&service, &settings), line);
        let edit = line.replacen("-A", "-E", 1);
        assert_eq!(parse(&edit), Ok(Line::EditService { service, settings }));
        assert_eq!(edit_service_line(&service, &settings), edit);
    }
}

/// As `ipvsadm -Sn` printed them.
#[test]
fn ipv6_is_written_in_brackets() {
    let web = key(Protocol::Tcp, "[fd00:10::100]:80");
    let rr = settings(Algorithm::RoundRobin);
    let persistent = |bits| {
        let mask = masks::by_text(web.listen.ip(), bits).unwrap();
        Settings { persistence: Some(Persistence { seconds: 60, mask }), ..rr }
    };
    assert_eq!(service_line(&web, &persistent("64")), "-A -t [fd00:10::100]:80 -s rr -p 60 -M 64");
    assert_eq!(service_line(&web, &persistent("128")), "-A -t [fd00:10::100]:80 -s rr -p 60");
    let real = Real::new("[fd00:20::17]:7000".parse().unwrap(), 3);
    let line = "-a -t [fd00:10::100]:80 -r [fd00:20::17]:7000 -m -w 3";
    assert_eq!(real_lines(&web, &rr, &real), [line]);
    assert_eq!(del_real_line(&web, real.endpoint), "-d -t [fd00:10::100]:80 -r [fd00:20::17]:7000");
    let range = ServiceKey { last_port: 8100, ..key(Protocol::Udp, "[fd00:10::100]:8000") };
    assert_eq!(service_line(&range, &rr), "-A -u [fd00:10::100]:8000-8100 -s rr");
}

#[test]
fn an_edit_replaces_everything_as_in_ipvsadm() {
    let service = key(Protocol::Tcp, "192.168.10.100:80");
    let plain = Line::EditService { service, settings: settings(algorithms::DEFAULT) };
    assert_eq!(parse("-E -t 192.168.10.100:80"), Ok(plain));
    let (real, thresholds) = ("10.0.0.7:80".parse().unwrap(), Thresholds::default());
    let plain = Line::EditReal { service, real, weight: 1, thresholds };
    assert_eq!(parse("-e -t 192.168.10.100:80 -r 10.0.0.7 -m"), Ok(plain));
}

#[test]
fn persistence_takes_the_next_word_unless_it_is_an_option() {
    let seconds = |line: &str| match parse(line) {
        Ok(Line::AddService { settings, .. }) => settings.persistence.map(|persistence| persistence.seconds),
        other => panic!("{line}: {other:?}"),
    };
    for (line, expected) in [
        ("-A -t 10.0.0.1:80 -s rr -p", 360),
        ("-A -p -t 10.0.0.1:80", 360),
        ("-A -t 10.0.0.1:80 -p -M 255.255.255.255 -s rr", 360),
        ("-A -t 10.0.0.1:80 -p 50 -s rr", 50),
        ("-A -t 10.0.0.1:80 -p50", 50),
        ("-A -t 10.0.0.1:80 --persistent=50", 50),
        ("-A -t 10.0.0.1:80 --persistent 50", 50),
        ("-At 10.0.0.1:80 -p=50 # shop", 50),
    ] {
        assert_eq!(seconds(line), Some(expected), "{line}");
    }
    assert_eq!(seconds("-A -t 10.0.0.1:80"), None);
}

#[test]
fn long_names_and_a_leading_ipvsadm_are_taken() {
    assert_eq!(
        parse("ipvsadm --add-service --tcp-service 192.168.10.100:81 --scheduler wrr"),
        parse("-A -t 192.168.10.100:81 -s wrr"),
    );
    assert_eq!(
        parse(
            "ipvsadm  --add-server --udp-service 192.168.10.100:81\t--real-server 10.0.0.7 --masquerading --weight 2"
        ),
        parse("-a -u 192.168.10.100:81 -r 10.0.0.7:81 -m -w 2"),
    );
    assert!(parse("ipvsadm -a -u 192.168.10.100:81 -r 10.0.0.7:81 -m").is_ok());
}

#[test]
fn sctp_has_its_option_in_every_line() {
    let of = key(Protocol::Sctp, "192.168.10.100:9000");
    assert_eq!(del_service_line(&of), "-D --sctp-service 192.168.10.100:9000");
    assert_eq!(parse(&del_service_line(&of)), Ok(Line::DelService(of)));
    assert_eq!(parse("-D --sctp-service=192.168.10.100:9000"), Ok(Line::DelService(of)));
    assert_eq!(added_service("-A --sctp-service 192.168.10.100:9000 -s nothing"), Some(of));
    let real = "-a --sctp-service 192.168.10.100:9000 -r 10.0.0.7 -m -w 1";
    let Ok(Line::AddReal { service, real }) = parse(real) else { panic!("{:?}", parse(real)) };
    assert_eq!((service, real.endpoint), (of, "10.0.0.7:9000".parse().unwrap()));
}

#[test]
fn lines_of_scripts_are_taken_in_every_form_that_ipvsadm_takes() {
    let service = parse("-A -t 192.168.10.100:80 -s rr").unwrap();
    for line in [
        "sudo ipvsadm -A -t 192.168.10.100:80 -s rr",
        "/sbin/ipvsadm -A -t 192.168.10.100:80 -s rr",
        "sudo /usr/sbin/ipvsadm -At 192.168.10.100:80 -srr",
        "ipvsadm -At192.168.10.100:80 --scheduler=rr # the shop",
        "ipvsadm --add-service --tcp-service=192.168.10.100:80 -s=rr #",
    ] {
        assert_eq!(parse(line).as_ref(), Ok(&service), "{line}");
    }
    let real = parse("-a -u 192.168.10.100:53 -r 10.0.0.7:53 -m -w 2").unwrap();
    for line in [
        "-au 192.168.10.100:53 -r 10.0.0.7:53 -mw 2",
        "-a -mu 192.168.10.100:53 -r10.0.0.7 -w2",
        "--add-server --udp-service=192.168.10.100:53 --real-server=10.0.0.7:53 -m --weight=2",
        "-mu",
    ] {
        if line == "-mu" {
            assert_eq!(parse(line).unwrap_err(), "expected -A, -a or --set, found \"-mu\"");
        } else {
            assert_eq!(parse(line).as_ref(), Ok(&real), "{line}");
        }
    }
    assert_eq!(parse("ipvsadm -C"), Ok(Line::Clear));
    assert_eq!(parse("sudo ipvsadm --clear # first"), Ok(Line::Clear));
}

#[test]
fn the_service_of_a_faulty_line_is_known() {
    let web = key(Protocol::Tcp, "192.168.10.100:80");
    assert_eq!(added_service("ipvsadm -A -s wlc -t 192.168.10.100:80"), Some(web));
    assert_eq!(added_service("-Apt192.168.10.100:80"), Some(web));
    assert_eq!(added_service("-a -t 192.168.10.100:80"), None, "it adds a real");
    assert_eq!(added_service("-A -t www:80"), None);
}

#[test]
fn blank_lines_and_comments_count_but_are_skipped() {
    let lines = ["# a comment", "", "  # another", "-A -t 10.0.0.1:80", " garbage here"];
    let left: Vec<_> = numbered(lines).collect();
    assert_eq!(left, [(4, lines[3]), (5, lines[4])]);
}

#[test]
fn faulty_lines_say_what_is_wrong() {
    for (line, message) in [
        ("ipvsadm", "expected -A, -a or --set"),
        ("garbage here", "expected -A, -a or --set, found \"garbage\""),
        ("-C -t 10.0.0.1:80", "unexpected \"-t\" after -C"),
        ("-A -t 10.0.0.1:80 - s", "unknown option \"-\""),
        ("-At # 10.0.0.1:80", "-t needs a value"),
        ("-a -bt 10.0.0.1:80 -r 10.0.0.7:80", "not supported yet: -b (full NAT)"),
        ("-A --tcp-service= -s rr", "expected an address as 10.0.0.7 or [2001:db8::7], found \"\""),
        ("-a -t 10.0.0.1:80 -r 10.0.0.7 --masquerading=yes", "--masquerading takes no value, found \"yes\""),
        ("-a -t 10.0.0.1:80 -r 10.0.0.7 -mé", "unknown option \"-é\""),
        ("-Z -t 10.0.0.1:80", "expected -A, -a or --set, found \"-Z\""),
        ("-A", "-A needs a service: -t, -u or --sctp-service VIP:PORT"),
        ("-A -t", "-t needs a value"),
        ("-A -t 10.0.0.1", "expected VIP:PORT, found \"10.0.0.1\" without a port"),
        ("-A -t 10.0.0.1:80 -t 10.0.0.1:81", "-t: given twice"),
        ("-A -t 10.0.0.1:80 -u 10.0.0.1:81", "-u: given twice"),
        (
            "-A -t 10.0.0.1:80 -s nosuch",
            "unknown scheduler \"nosuch\" (known: rr, wrr, lc, wlc, sed, nq, fo, ovf, sh, mh, dh, twos, swrr)",
        ),
        (
            "-A -t 10.0.0.1:80 -s lblc",
            "not supported yet: scheduler \"lblc\" (supported: rr, wrr, lc, wlc, sed, nq, fo, ovf, sh, mh, dh, twos, swrr)",
        ),
        ("-A -t 10.0.0.1:80 -w 1", "-w is an option of a real (-a), not of a service (-A)"),
        ("-A -t 10.0.0.1:80 --bogus", "unknown option \"--bogus\""),
        (
            "-A -t 10.0.0.1:80 -p 0",
            "invalid timeout value `0' specified: persistence is for 1 to 2678400 seconds",
        ),
        (
            "-A -t 10.0.0.1:80 -p abc",
            "invalid timeout value `abc' specified: persistence is for 1 to 2678400 seconds",
        ),
        ("-A -t 10.0.0.1:80 -p 5 -p 6", "-p: given twice"),
        ("-A -t 10.0.0.1:80 -M 255.0.0.0", "a persistence mask (-M) is only for persistent services (-p)"),
        (
            "-A -t 10.0.0.1:80 -p -M 24",
            "illegal virtual server persistent mask specified: expected a mask as 255.255.255.0, found \"24\"",
        ),
        ("-A -t 10.0.0.1:80 -b sh-port", "incompatible scheduler flag `sh-port': it is a flag of sh"),
        (
            "-A -t 10.0.0.1:80 -b nosuch",
            "invalid scheduler flag `nosuch' (known: sh-fallback, sh-port, mh-fallback, mh-port, flag-1, flag-2, flag-3)",
        ),
        ("-A -t 10.0.0.1:80 -o", "One-Packet Scheduling is only for UDP virtual services"),
        ("-A -u 10.0.0.1:80 -o=yes", "unknown option \"-=\""),
        ("-A -t 10.0.0.1:80 --ops=yes", "--ops takes no value, found \"yes\""),
        (
            "-A -t 10.0.0.1:80 --timeouts open=5",
            "--timeouts: unknown state \"open\" (known: none, tcp, syn_sent, syn_recv, tcp_fin, time_wait, close, \
             close_wait, last_ack, listen, synack, udp, sctp_none, sctp_init1, sctp_init, sctp_c_sent, sctp_c_replied, sctp_c_wait, \
             sctp_cookie, sctp_c_echoed, sctp, sctp_s_sent, sctp_s_received, sctp_s_ack_sent, sctp_rejected, sctp_closed)",
        ),
        (
            "-A -t 10.0.0.1:80 --timeouts tcp=2678401",
            "invalid timeout value `2678401' specified: at most 2678400 seconds (31 days)",
        ),
        (
            "-A -t 10.0.0.1:80 --on-removal wait",
            "on_removal: expected drop, reset or reschedule, found \"wait\"",
        ),
        (
            "-A -t 10.0.0.1:80 --slow-start 86401",
            "--slow-start: expected a number from 0 to 86400, found \"86401\"",
        ),
        ("-D -t 10.0.0.1:80 -p", "-p is no option of -D"),
        ("-d -t 10.0.0.1:80 -r 10.0.0.7 -w 1", "-w is no option of -d"),
        ("-a -t 10.0.0.1:80 -r 10.0.0.7 -m -p", "-p is an option of a service (-A), not of a real (-a)"),
        ("-e -t 10.0.0.1:80 -r 10.0.0.7", "-e needs -m (masquerading)"),
        ("-A -t 10.0.0.1:80 --pe sip", "not supported yet: --pe (persistence engine)"),
        ("-A -f 7 -s rr", "not supported yet: -f (firewall mark)"),
        ("-A --sctp-service 10.0.0.1:80 -u 10.0.0.1:80", "-u: given twice"),
        ("-A --sctp-service 10.0.0.1", "expected VIP:PORT, found \"10.0.0.1\" without a port"),
        ("-A -f 7 -6 -s rr", "not supported yet: -f (firewall mark)"),
        ("-A -6 -f 7 -s rr", "not supported yet: -6 (firewall mark of IPv6)"),
        ("-a -t 10.0.0.1:80 -r 10.0.0.7:80 -b", "not supported yet: -b (full NAT)"),
        ("-a -b -t 10.0.0.1:80 -r 10.0.0.7:80 -m", "not supported yet: -b (full NAT)"),
        (
            "-A -t MasterRouter:https -s rr",
            "expected an address as 10.0.0.7 or [2001:db8::7], found \"MasterRouter\" (a name: save numbers, with ipvsadm-save -n \
             or ipvsadm -Sn)",
        ),
        (
            "-A -t 10.0.0.1:https -s rr",
            "expected a port from 1 to 65535, 0 (any port), or a range as 8000-8100, after 10.0.0.1:, found \"https\" (a \
             name: save numbers, with ipvsadm-save -n or ipvsadm -Sn)",
        ),
        (
            "-a -t 10.0.0.1:80 -r web7:http -m",
            "expected an address as 10.0.0.7 or [2001:db8::7], found \"web7\" (a name: save numbers, with ipvsadm-save -n or \
             ipvsadm -Sn)",
        ),
        ("-a -r 10.0.0.7 -m", "-a needs a service: -t, -u or --sctp-service VIP:PORT"),
        ("-a -t 10.0.0.1:80 -m", "-a needs a real: -r RIP[:PORT]"),
        ("-a -t 10.0.0.1:80 -r 10.0.0.7", "-a needs -m (masquerading)"),
        ("-a -t 10.0.0.1:80 -r 10.0.0.7 -g", "not supported yet: -g (direct routing)"),
        ("-a -t 10.0.0.1:80 -r 10.0.0.7 -i", "not supported yet: -i (tunnelling)"),
        ("-a -t 10.0.0.1:80 -r 10.0.0.7 -m -s rr", "-s is an option of a service (-A), not of a real (-a)"),
        (
            "-a -t 10.0.0.1:80 -r 10.0.0.7 -m -w 65536",
            "-w: expected a number from 0 to 65535, found \"65536\"",
        ),
        ("-a -t 10.0.0.1:80 -r 10.0.0.7 -m -w -1", "-w: expected a number from 0 to 65535, found \"-1\""),
        ("-a -t 10.0.0.1:80 -r 10.0.0.7 -m -x", "-x needs a value"),
        ("--set 1 2", "--set needs three numbers: TCP TCPFIN UDP"),
        ("--set 1 2 3 4", "unexpected \"4\" after --set TCP TCPFIN UDP"),
        ("--set 1 x 3", "--set TCPFIN: expected a number from 0 to 2678400, found \"x\""),
    ] {
        assert_eq!(parse(line).unwrap_err(), message, "{line}");
    }
}
