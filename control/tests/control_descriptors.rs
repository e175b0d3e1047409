//! A process without a free descriptor: whoever connects meanwhile is answered when there are some again.
//!
//! The limit is the whole process's, so this is alone in its file.

mod control_lab;

use control::config::metrics::Address;
use control_lab::{Lab, PATIENCE, config_in};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Descriptors that the process may have, so that all are soon taken.
const MOST: u64 = 512;

fn asks(socket: &Path, request: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

#[test]
fn who_connects_while_no_descriptor_is_left_is_answered_later() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config_in(directory.path());
    let of_metrics = directory.path().join("run/metrics.sock");
    config.control.metrics.address = Some(Address::Unix(of_metrics.clone()));
    let of_control = config.control.socket.clone();
    let lab = Lab::start(config, 1, 0).unwrap();
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(MOST), ..before }).unwrap();
    for (socket, request, expected) in [
        (&of_metrics, "GET /healthz HTTP/1.0\r\n\r\n", "\r\n\r\nok\n"),
        (&of_control, "{\"v\":1,\"command\":\"timeouts\"}\n", "\"udp\":300"),
    ] {
        let mut taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        taken.pop();
        // It takes the last one.
        let mut stream = asks(socket, request);
        // The other side finds that there is none.
        thread::sleep(Duration::from_millis(300));
        drop(taken);
        let (mut answer, mut bytes) = (String::new(), [0; 4096]);
        while !answer.contains(expected) {
            let length = stream.read(&mut bytes).expect("an answer");
            assert!(length > 0, "{answer:?}");
            answer += std::str::from_utf8(&bytes[..length]).unwrap();
        }
    }
    lab.stop();
}
