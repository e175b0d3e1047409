mod ipv6;
mod mutated;
mod network;
mod services;

use super::*;
use crate::model::{Real, Service};
use crate::nic_steering::{Mode, Preferred};
use dataplane::schedule::Algorithm;
use dataplane::snapshot::{IpOptions, Unmatched};

/// The example of the interface, but for what is not built yet.
const EXAMPLE: &str = include_str!("tests/example.toml");

/// The least that is accepted.
const LEAST: &str = r#"[[port]]
name = "vip0"
side = "vip"
device = "net_null0"
addresses = ["192.168.10.100/24"]
[[port]]
name = "dip0"
side = "dip"
device = "net_null1"
addresses = ["10.0.0.8/24"]
"#;

/// Lines of `LEAST`.
const LEAST_LINES: usize = 10;

fn problems(text: &str) -> Vec<String> {
    let path = Path::new("lbd.toml");
    parse(text).unwrap_err().iter().map(|problem| problem.in_file(path).to_string()).collect()
}

/// The only service.
fn service_of(config: &Config) -> &Service {
    let services: Vec<_> = config.model.services().values().collect();
    assert_eq!(services.len(), 1);
    services[0]
}

/// What is wrong when `addition` follows `LEAST`, its lines counted from 1.
fn problems_of(addition: &str) -> Vec<String> {
    let found = match parse(&format!("{LEAST}{addition}")) {
        Ok(config) => panic!("accepted: {addition}\n{config:?}"),
        Err(found) => found,
    };
    let text = |problem: &Problem| match problem.line {
        Some(line) => format!("{}: {}", line - LEAST_LINES, problem.message),
        None => problem.message.clone(),
    };
    found.iter().map(text).collect()
}

#[test]
fn the_example_is_read_whole() {
    let config = parse(EXAMPLE).unwrap();
    assert_eq!(config.control.group.as_deref(), Some("daemon"));
    assert_eq!(config.control.state.as_deref(), Some(Path::new("/var/lib/natlb/state")));
    assert_eq!(config.eth_ports[0].name, "vip0");
    assert_eq!(config.eth_ports[0].device, "net_af_packet0,iface=eth1");
    assert_eq!(config.eth_ports[0].interface.gateways, ["192.168.10.1".parse::<IpAddr>().unwrap()]);
    assert_eq!((config.eth_ports[1].interface.side, config.eth_ports[1].interface.mtu), (Side::Dip, None));
    assert_eq!(config.eth_ports[1].interface.addresses, ["10.0.0.8/24".parse::<IpNet>().unwrap()]);
    let [to, via] = ["172.16.0.0/12", "10.0.0.1/32"].map(|text| text.parse::<IpNet>().unwrap());
    assert_eq!(config.routes, [StaticRoute { to, via: via.addr(), interface: InterfaceId(1) }]);
    let (address, mac) = ("10.0.0.7".parse().unwrap(), Mac([2, 0, 0, 0, 0, 7]));
    assert_eq!(config.neighbours, [StaticNeighbour { address, mac, interface: InterfaceId(1) }]);
    let service = service_of(&config);
    assert_eq!(crate::text::services::Listen(service.key).to_string(), "tcp://192.168.10.100:80");
    assert_eq!(service.settings.algorithm, Algorithm::WeightedRoundRobin);
    assert_eq!(service.reals, [Real::new("10.0.0.7:80".parse().unwrap(), 1)]);
}

#[test]
fn what_is_absent_has_the_values_of_the_example() {
    let (least, example) = (parse(LEAST).unwrap(), parse(EXAMPLE).unwrap());
    assert_eq!(least.eal, example.eal);
    assert_eq!(least.buffers, example.buffers);
    assert_eq!(least.control.socket, example.control.socket);
    assert_eq!(least.capacity, example.capacity);
    assert_eq!(least.forward, example.forward);
    assert_eq!(least.steering, (Mode::Auto, Preferred::Ipv4));
    assert_eq!(least.model.timeouts, example.model.timeouts);
    assert_eq!(
        (least.eth_ports[0].interface.mtu, example.eth_ports[0].interface.mtu),
        (None, Some(1500)),
        "what the device has"
    );
    let service = parse(&format!(
        "{LEAST}[[service]]\nlisten = \"udp://192.168.10.100:53\"\n[[service.real]]\naddress = \"10.0.0.7\"\n"
    ));
    let service = service.unwrap();
    let service = service_of(&service);
    assert_eq!(service.settings.algorithm, Algorithm::WeightedRoundRobin);
    let endpoint = "10.0.0.7:53".parse().unwrap();
    assert_eq!(service.reals, [Real::new(endpoint, 1)], "without a port it takes the service's");
}

#[test]
fn the_values_given_are_taken() {
    let config = parse(&format!(
        "{LEAST}mtu = 9000\n[eal]\nmain_lcore = 2\nworkers = [3]\nhugepages = \"never\"\nmemory_mb = 0x80\n\
         idle = \"spin\"\nargs = [\"-a\", \"0000:3b:00.0\"]\n[buffers]\ncount = 1024\ncache = 0\nsize = 9_216\n\
         [control]\nsocket = \"lbd.sock\"\n[connections]\ncapacity = 64\ncapacity_ipv6 = 32\n[steering]\nmode = \"software\"\nprefer = \"ipv6\"\n[forward]\nunmatched = \"drop\"\nip_options = \"pass\"\nsloppy_tcp = true\nsloppy_sctp = true\nsecure_tcp = true\n\
         keep_quiescent_templates = true\n\
         [timeouts]\ntcp = 10\ntcp_fin = 20\nudp = 30\n[[service]]\nlisten = \"tcp://192.168.10.100:80\"\n\
         scheduler = \"rr\"\nreal = [{{ address = \"10.0.0.7:8080\", weight = 65535 }}, {{ address = \"10.0.0.7\" }}]\n"
    ));
    let config = config.unwrap();
    let eal = Eal {
        main_lcore: 2,
        workers: vec![3],
        hugepages: Hugepages::Never,
        memory_mb: 128,
        idle: Idle::Spin,
        args: vec!["-a".into(), "0000:3b:00.0".into()],
    };
    assert_eq!(config.eal, eal);
    assert_eq!(config.buffers, Buffers { count: 1024, cache: 0, size: 9216 });
    assert_eq!(config.control.socket, Path::new("lbd.sock"));
    assert_eq!(config.control.ipvs_socket, IpvsSocket::Beside);
    assert_eq!(config.capacity, Capacity { ipv4: 64, ipv6: 0 }, "no port has an IPv6 address");
    let (unmatched, ip_options) = (Unmatched::Drop, IpOptions::Pass);
    assert_eq!(
        config.forward,
        Forward {
            unmatched,
            ip_options,
            sloppy_tcp: true,
            sloppy_sctp: true,
            secure_tcp: true,
            keep_quiescent_templates: true
        }
    );
    assert_eq!(config.steering, (Mode::Software, Preferred::Ipv6));
    assert_eq!((config.model.timeouts, config.eth_ports[1].interface.mtu), ([10, 20, 30].into(), Some(9000)));
    let reals: Vec<_> = service_of(&config).reals.iter().map(|r| (r.endpoint.port(), r.weight)).collect();
    assert_eq!(reals, [(80, 1), (8080, 65535)], "newest first");
    assert_eq!(service_of(&config).settings.algorithm, Algorithm::RoundRobin);
}

#[test]
fn connections_are_kept_unless_the_file_says_otherwise() {
    let keep = |text: &str| parse(&format!("{LEAST}[connections]\n{text}\n")).unwrap().keep;
    assert_eq!(keep(""), Keep::Auto);
    assert_eq!(keep("keep = \"auto\""), Keep::Auto);
    assert_eq!(keep("keep = \"off\""), Keep::Off);
    let folder = "/dev/shm/a folder of natlb's tests that is not there";
    assert_eq!(keep(&format!("keep = {folder:?}")), Keep::In(PathBuf::from(folder)));
    assert!(!Path::new(folder).exists(), "nothing is made by reading the file");
}

#[test]
fn several_workers_or_all_cores_can_be_named() {
    let workers =
        |text: &str| parse(&format!("{LEAST}[eal]\nmain_lcore = 0\nworkers = {text}\n")).unwrap().eal.workers;
    assert_eq!(workers("[1, 0, 7]"), [1, 0, 7]);
    let all = workers("\"auto\"");
    let others = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    assert!(!all.is_empty() && (!others || !all.contains(&0)), "{all:?}");
}

#[test]
fn settings_that_are_wrong_are_named_with_their_line() {
    for (addition, expected) in [
        ("[eal]\nmain_lcore = -1", "2: main_lcore: expected a number from 0 to 1023, found -1".to_owned()),
        ("[eal]\nmain_lcore = 1.5", "2: main_lcore: expected a number from 0 to 1023, found a fraction".into()),
        ("[eal]\nworkers = []", "2: workers: expected cores, as in workers = [1, 2], found none".into()),
        ("[eal]\nworkers = 1", "2: workers: expected a list of cores, as in workers = [1, 2], or \"auto\"".into()),
        ("[eal]\nworkers = [1,\n1]", "3: workers: core 1 is named twice".into()),
        ("[eal]\nworkers = [\n\"1\"]", "3: workers: expected a number from 0 to 1023, found a string".into()),
        ("[eal]\nworkers = \"all\"", "2: workers: expected a list of cores, as in workers = [1, 2], or \"auto\"".into()),
        (
            "[eal]\nhugepages = true",
            "2: hugepages: expected a string, found a truth value".into(),
        ),
        (
            "[eal]\nhugepages = \"no\"",
            "2: hugepages: expected \"auto\" or \"require\" or \"never\", found \"no\"".into(),
        ),
        ("[eal]\nidle = \"\"", "2: idle: expected a string, found an empty one".into()),
        ("[eal]\nargs = [\"-a\",\n7]", "3: args: expected a string, found a number".into()),
        ("[eal]\nargs = \"-a\"", "2: args: expected an array, found a string".into()),
        ("[eal]\nworkes = [1]", "2: [eal]: unknown key \"workes\"; did you mean workers?".into()),
        ("[eals]", "1: the file: unknown key \"eals\"; did you mean eal?".into()),
        ("[[eal]]", "1: eal: expected one table [eal], found an array".into()),
        ("[buffers]\ncount = 10", "2: count: expected a number from 512 to 8388608, found 10".into()),
        ("[buffers]\ncount = 512\ncache = 400", "3: cache: at most two thirds of count (341), found 400".into()),
        (
            "mtu = 2000\n[buffers]\nsize = 2017",
            "1: mtu: 2000 needs frames of 2018 bytes, and [buffers] size is 2017; raise that or lower this".into(),
        ),
        (
            "[buffers]\nzise = 1024\nx = 1",
            "2: [buffers]: unknown key \"zise\"; did you mean size?|3: [buffers]: unknown key \"x\"; known: count, cache, size".into(),
        ),
        (
            "[control]\nsocket = \"/run/lbd\"\nstate = \"/run/lbd\"",
            "3: state: the same path as socket or ipvs_socket; give the state file one of its own".into(),
        ),
        (
            "[control]\nsocket = \"/run/lbd\"\nstate = \"/run/ipvs.sock\"",
            "3: state: the same path as socket or ipvs_socket; give the state file one of its own".into(),
        ),
        (
            &format!("[control]\nsocket = \"/{}\"", "x".repeat(103)),
            "2: socket: expected a path of at most 103 bytes, found 104".into(),
        ),
        (
            &format!("[control]\nipvs_socket = \"/{}\"", "x".repeat(103)),
            "2: ipvs_socket: expected a path of at most 103 bytes, found 104".into(),
        ),
        (
            "[control]\nsocket = \"/run/lbd\"\nipvs_socket = \"/run/lbd\"",
            "3: ipvs_socket: the same path as socket; give it one of its own, or \"\" for none".into(),
        ),
        (
            "[control]\nmetrics = \"9117\"",
            "2: metrics: expected an address of this machine with a port, as 127.0.0.1:9117 or [::1]:9117, or unix:PATH, \
             found \"9117\""
                .into(),
        ),
        (
            "[control]\nmetrics = \"unix:\"",
            "2: metrics: expected a path of 1 to 103 bytes behind unix:, found 0".into(),
        ),
        (
            "[control]\nmetrics = \"unix:/run/natlb/lbd.sock\"\nmetrics_names = [\"ipvs\"]",
            "2: metrics: the same path as socket, ipvs_socket, state or its history; give it one of its own|\
             3: metrics_names: expected \"natlb\" or \"node_ipvs\", found \"ipvs\""
                .into(),
        ),
        (
            "[control]\nmetrics = \"unix:/run/natlb/ipvs.sock\"",
            "2: metrics: the same path as socket, ipvs_socket, state or its history; give it one of its own".into(),
        ),
        (
            "[control]\nmetrics = \"unix:/run/a.history\"\nstate = \"/run/a\"",
            "2: metrics: the same path as socket, ipvs_socket, state or its history; give it one of its own".into(),
        ),
        (
            "[control]\nmetrics_names = []\nmetrics_reals = 65537",
            "2: metrics_names: expected \"natlb\", \"node_ipvs\" or both, found none|3: metrics_reals: expected a \
             number from 0 to 65536, found 65537"
                .into(),
        ),
        (
            "[control]\ngroup = \"no-such-group\"",
            "2: group: there is no group \"no-such-group\"; create it (groupadd), or correct the name".into(),
        ),
        ("[control]\ngroup = \"a\\u0000b\"", "2: group: a NUL is not allowed".into()),
        ("[connections]\nkeep = true", "2: keep: expected a string, found a truth value".into()),
        (
            "[connections]\nkeep = \"no\"",
            "2: keep: expected \"auto\", \"off\" or the full path of a folder, found \"no\"".into(),
        ),
        (
            "[connections]\nkeep = \"/proc/kept\"",
            "2: keep: /proc/kept is not in memory (proc): tables would be written to a disk as packets come; name a \
             folder on a tmpfs, as /dev/shm/natlb, or on a hugetlbfs"
                .into(),
        ),
        (
            "[connections]\nkeep = \"/proc/self\"",
            "2: keep: /proc/self is a symbolic link; name the folder that it leads to".into(),
        ),
        (
            "[connections]\nkeep = \"/proc/version\"",
            "2: keep: /proc/version is not a folder".into(),
        ),
        ("[connections]\ncapacity = 0", "2: capacity: expected a number from 16 to 268435456, found 0".into()),
        (
            "[steering]\nmode = \"hardware\"",
            "2: mode: expected \"auto\" or \"source-only\" or \"software\", found \"hardware\"".into(),
        ),
        ("[steering]\nmodus = \"auto\"", "2: [steering]: unknown key \"modus\"; did you mean mode?".into()),
        ("[forward]\nunmatched = \"no\"", "2: unmatched: expected \"route\" or \"drop\", found \"no\"".into()),
        (
            "[forward]\nip_options = \"drop\"",
            "2: ip_options: expected \"filter\" or \"pass\", found \"drop\"".into(),
        ),
        (
            "[forward]\nkeep_quiescent_templates = 1",
            "2: keep_quiescent_templates: expected true or false, found a number".into(),
        ),
        ("[timeouts]\ntcp = 0", "2: tcp: expected a number from 1 to 2678400, found 0".into()),
        (
            "[timeouts]\nudp = 99999999999999999999",
            "2: udp: expected a number from 1 to 2678400, found 99999999999999999999".into(),
        ),
    ] {
        assert_eq!(problems_of(addition).join("|"), expected, "{addition}");
    }
}

#[test]
fn all_problems_come_at_once_in_the_order_of_their_lines() {
    let found = problems_of("[forward]\nunmatched = 1\n[eal]\nidle = 2\nx = 3\n[buffers]\nsize = 4\n");
    let lines: Vec<_> = found.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(lines, ["2", "4", "5", "7"]);
}

#[test]
fn a_syntax_error_comes_alone() {
    let found = problems("[eal]\nidle = 2\nmain_lcore = \nworkers = 3\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("lbd.toml:3: "), "{found:?}");
    let found = problems("[eal]\nidle = \"auto\"\nidle = \"auto\"\n");
    assert_eq!(found, ["lbd.toml:3: duplicate key"]);
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let missing = read(&folder.path().join("missing")).unwrap_err();
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].in_file(Path::new("f")).to_string(), "f: No such file or directory (os error 2)");
    assert!(read(folder.path()).unwrap_err()[0].message.starts_with("Is a directory"));
    let path = folder.path().join("bytes");
    std::fs::write(&path, b"[eal]\nidle = \"\xff\"\n").unwrap();
    let expected = Problem { line: Some(2), message: "expected UTF-8, found other bytes".into() };
    assert_eq!(read(&path), Err(vec![expected]));
    std::fs::write(&path, LEAST).unwrap();
    assert_eq!(read(&path), parse(LEAST));
}
