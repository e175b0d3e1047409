//! LVS's protocol over its socket: the messages that Debian's ipvsadm 1.31 and keepalived 2.2.7 send, byte for byte.

mod control_lab;

use control::config::IpvsSocket;
use control_lab::{Lab, PATIENCE, config_in};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

/// `ipvsadm`: which number has the family?
const GET_FAMILY: &str = "200000001000050008ba0b6b832b405c03010000090002004950565300000000";
/// `ipvsadm -A -t 192.168.10.100:80 -s wrr -p 60`.
const NEW_SERVICE: &str = "68000000f003050009ba0b6b832bc0990101000054000180060001000200000006000200060000001400030\
    0c0a80a64000000000000000000000000060004000050000008000600777272000c00070001000000ffffffff080008003c0000000800090\
    0ffffffff";
/// `ipvsadm -a -t 192.168.10.100:80 -r 10.0.0.7:8080 -m -w 3`.
const NEW_DEST: &str = "c8000000f003050009ba0b6b872bc099050100005400018006000100020000000600020006000000140003\
    00c0a80a64000000000000000000000000060004000050000005000600000000000c00070000000000ffffffff0800080000000000080009\
    00ffffffff6000028006000b0002000000140001000a000007000000000000000000000000060002001f9000000800030000000000080004\
    000300000005000d000000000006000e000000000006000f000000000008000500000000000800060000000000";
/// `ipvsadm -L`: all services.
const GET_SERVICES: &str = "14000000f003050309ba0b6b8b2bc09904010000";
/// `ipvsadm -L`: the reals of 192.168.10.100:80.
const GET_DESTS: &str = "44000000f003050309ba0b6b8b2b80cc0801000030000180060001000200000006000200060000001400030\
    0c0a80a640000000000000000000000000600040000500000";
/// `keepalived`: timeouts 111, 22, 33.
const SET_CONFIG: &str =
    "2c000000f00305000bba0b6b9a2b405c0c010000080004006f00000008000500160000000800060021000000";

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<u8> = hexadecimal.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn lab(connections: usize) -> (tempfile::TempDir, Lab) {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(config_in(directory.path()), 2, connections).unwrap();
    (directory, lab)
}

fn socket(lab: &Lab) -> PathBuf {
    lab.config.control.socket.with_file_name("ipvs.sock")
}

/// A tool of LVS.
struct Tool(UnixStream);

impl Tool {
    fn connect(lab: &Lab) -> Self {
        let stream = UnixStream::connect(socket(lab)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// A message, or nothing where the connection ends.
    fn receive(&mut self) -> Vec<u8> {
        let mut message = vec![0; 4];
        match self.0.read_exact(&mut message) {
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                return Vec::new();
            }
            result => result.unwrap(),
        }
        let length = u32::from_ne_bytes(message[..4].try_into().unwrap()) as usize;
        message.resize(length, 0);
        self.0.read_exact(&mut message[4..]).unwrap();
        message
    }

    /// Asks, and returns the error number of the answer, which is about this request, and its words.
    fn ask(&mut self, request: &str) -> (i32, String) {
        let request = bytes(request);
        self.send(&request);
        let answer = self.receive();
        assert_eq!(answer[8..16], request[8..16], "the number of the request, and of the program's socket");
        failure(&answer)
    }
}

/// What an acknowledgement or an error says.
fn failure(answer: &[u8]) -> (i32, String) {
    assert_eq!(u16::from_ne_bytes([answer[4], answer[5]]), 2, "{answer:?}");
    let number = -i32::from_ne_bytes(answer[16..20].try_into().unwrap());
    let words = String::from_utf8_lossy(&answer[20..]).split('\0').filter(|part| part.len() > 12).collect();
    (number, words)
}

#[test]
fn what_a_tool_changes_is_in_force_and_what_is_in_force_is_listed() {
    let (_directory, lab) = lab(0);
    let mut tool = Tool::connect(&lab);
    tool.send(&bytes(GET_FAMILY));
    let family = tool.receive();
    assert!(family.windows(6).any(|part| part == [6, 0, 1, 0, 0xf0, 0x03]), "{family:?}");
    assert_eq!(failure(&tool.receive()).0, 0);
    assert_eq!(tool.ask(NEW_SERVICE).0, 0);
    assert_eq!(tool.ask(NEW_SERVICE).0, 17, "EEXIST");
    assert_eq!(tool.ask(NEW_DEST).0, 0);
    let services = &lab.ok(r#""command":"list""#)["services"];
    assert_eq!(services[0]["persistence_s"], json!(60));
    let real = &services[0]["reals"][0];
    assert_eq!(
        (&real["address"], &real["port"], &real["weight"]),
        (&json!("10.0.0.7"), &json!(8080), &json!(3))
    );
    for worker in &lab.workers {
        assert_eq!(worker.counters.snapshot_version.get(), 3, "an acknowledgement means in force");
    }
    lab.ok(r#""command":"edit-real","service":"tcp://192.168.10.100:80","real":"10.0.0.7:8080","weight":77"#);
    for (request, weight) in [(GET_SERVICES, None), (GET_DESTS, Some([8, 0, 4, 0, 77, 0, 0, 0]))] {
        tool.send(&bytes(request));
        let listed = tool.receive();
        assert!(listed.windows(4).any(|part| part == [0xc0, 0xa8, 0x0a, 0x64]) || weight.is_some());
        assert!(weight.is_none_or(|weight| listed.windows(8).any(|part| part == weight)), "{listed:?}");
        assert_eq!(tool.receive()[4..6], [3, 0], "the end of the dump");
    }
    assert_eq!(tool.ask(SET_CONFIG).0, 0);
    assert_eq!(lab.ok(r#""command":"timeouts""#)["tcp_fin"], json!(22));
}

#[test]
fn words_of_our_own_come_with_the_number() {
    let (_directory, lab) = lab(0);
    let mut tool = Tool::connect(&lab);
    assert_eq!(tool.ask(NEW_SERVICE).0, 0);
    // The way of forwarding is 3: direct routing, which is ipvsadm's without -m.
    let routed = NEW_DEST.replace("0800030000000000", "0800030003000000");
    assert_ne!(routed, NEW_DEST);
    let (number, words) = tool.ask(&routed);
    assert_eq!(number, 93, "EPROTONOSUPPORT");
    assert!(words.contains("direct routing"), "{words:?}");
    assert_eq!(lab.ok(r#""command":"list""#)["services"][0]["reals"], json!([]));
}

/// The far end waits for its answer; so does nobody else.
#[test]
fn half_a_message_is_waited_for_and_what_is_none_ends_the_connection() {
    let (_directory, lab) = lab(0);
    let (half, mut tool) = (Tool::connect(&lab), Tool::connect(&lab));
    let mut half = half;
    let request = bytes(GET_FAMILY);
    half.send(&request[..17]);
    assert_eq!(tool.ask(NEW_SERVICE).0, 0, "nobody else is disturbed");
    half.send(&request[17..]);
    assert!(!half.receive().is_empty());
    assert_eq!(failure(&half.receive()).0, 0);
    for wrong in ["00000000", "0f000000", "ffffffff00000000", "010001000000"] {
        let mut tool = Tool::connect(&lab);
        tool.send(&bytes(wrong));
        let answer = tool.receive();
        assert!(failure(&answer).0 > 0);
        assert_eq!(answer[8..16], [0; 8], "about no message");
        assert!(tool.receive().is_empty());
    }
    // Several at once are answered one after the other.
    tool.send(&[request.clone(), request].concat());
    for _ in 0..2 {
        assert_ne!(tool.receive()[4..6], [2, 0]);
        assert_eq!(failure(&tool.receive()).0, 0);
    }
}

#[test]
fn any_bytes_are_answered_or_end_the_connection() {
    let (_directory, lab) = lab(0);
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..200 {
        let mut request = bytes([GET_FAMILY, NEW_SERVICE, NEW_DEST, GET_DESTS, SET_CONFIG][round % 5]);
        for _ in 0..=random() % 4 {
            let place = 4 + random() as usize % (request.len() - 4);
            request[place] = random() as u8;
        }
        let mut tool = Tool::connect(&lab);
        tool.send(&request);
        tool.0.shutdown(std::net::Shutdown::Write).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !tool.receive().is_empty() {
            assert!(Instant::now() < deadline, "an answer has an end");
        }
    }
    let mut tool = Tool::connect(&lab);
    tool.send(&bytes(GET_SERVICES));
    assert!(!tool.receive().is_empty());
}

/// The request for one of the kernel's files.
fn file_request(name: &str) -> Vec<u8> {
    let name = format!("{name}\0");
    let mut attribute = ((4 + name.len()) as u16).to_ne_bytes().to_vec();
    attribute.extend(1_u16.to_ne_bytes());
    attribute.extend(name.bytes());
    let mut request = (20 + attribute.len() as u32).to_ne_bytes().to_vec();
    request.extend([0xf0, 0x03, 1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 64, 1, 0, 0]);
    request.extend(attribute);
    request
}

/// What is not read is not made: the socket's buffer and two slices are all that is held of it.
#[test]
fn a_reader_of_a_million_connections_that_stops_holds_nobody_up_and_can_go_on() {
    let (_directory, lab) = lab(500_000);
    let mut tool = Tool::connect(&lab);
    assert_eq!(tool.ask(NEW_SERVICE).0, 0);
    assert_eq!(tool.ask(NEW_DEST).0, 0);
    let mut stopping = Tool::connect(&lab);
    stopping.send(&file_request("ip_vs_conn"));
    let mut beginning = [0; 1000];
    stopping.0.read_exact(&mut beginning).unwrap();
    for _ in 0..100 {
        tool.send(&bytes(GET_SERVICES));
        assert!(!tool.receive().is_empty());
        assert_eq!(tool.receive()[4..6], [3, 0]);
    }
    let mut rest = String::new();
    stopping.0.read_to_string(&mut rest).unwrap();
    let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines(&beginning) + lines(rest.as_bytes()), 1 + 2 * 500_000);
    assert!(rest.ends_with('\n'));
}

#[test]
fn the_kernels_files_end_with_the_connection() {
    let (_directory, lab) = lab(1000);
    let mut tool = Tool::connect(&lab);
    assert_eq!(tool.ask(NEW_SERVICE).0, 0);
    assert_eq!(tool.ask(NEW_DEST).0, 0);
    let file = |name: &str| {
        let mut tool = Tool::connect(&lab);
        tool.send(&file_request(name));
        let mut text = String::new();
        tool.0.read_to_string(&mut text).unwrap();
        text
    };
    let connections = file("ip_vs_conn");
    assert!(connections.starts_with("Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires"));
    assert_eq!(connections.lines().count(), 1 + 2 * 1000, "of two workers");
    assert!(connections.lines().skip(1).all(|line| line.contains(" C0A80A64 0050 0A000007 1F90 ")));
    let services = file("ip_vs");
    assert!(services.contains("TCP  C0A80A64:0050 wrr"), "{services}");
    assert!(services.contains("  -> 0A000007:1F90      Masq    3      "), "{services}");
    assert_eq!(file("ip_vs_stats").lines().count(), 6);
}

#[test]
fn the_socket_can_be_elsewhere_or_nowhere_and_belongs_to_one_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config_in(directory.path());
    let first = Lab::start(config.clone(), 1, 0).unwrap();
    assert!(socket(&first).exists());
    // Another daemon in the folder has none, unless it is named.
    config.control.socket = directory.path().join("run/second.sock");
    config.control.state = None;
    let second = Lab::start(config.clone(), 1, 0).unwrap();
    second.ok(r#""command":"list""#);
    second.stop();
    assert!(socket(&first).exists(), "the first one's");
    config.control.ipvs_socket = IpvsSocket::At(socket(&first));
    assert!(Lab::start(config.clone(), 1, 0).is_err());
    config.control.ipvs_socket = IpvsSocket::At(directory.path().join("tools.sock"));
    let third = Lab::start(config.clone(), 1, 0).unwrap();
    assert!(UnixStream::connect(directory.path().join("tools.sock")).is_ok());
    third.stop();
    assert!(!directory.path().join("tools.sock").exists());
    let path = socket(&first);
    first.stop();
    config.control.ipvs_socket = IpvsSocket::None;
    let fourth = Lab::start(config, 1, 0).unwrap();
    assert!(!path.exists());
    fourth.stop();
}
