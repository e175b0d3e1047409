//! What DPDK tells of its ports on the telemetry socket that every EAL has: extended statistics, links, queues.
//!
//! Each message on it is a packet of its own: a request is a path, an answer a JSON object.

use super::archive::Archive;
use super::variable;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::time::TimeVal;
use rustix::process::geteuid;
use serde_json::Value;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How long it may take to answer.
const PATIENCE: TimeVal = TimeVal::new(2, 0);

/// The longest answer, and what says so.
const LONGEST: usize = 64 << 10;

/// Ports that are asked for.
const PORTS: usize = 64;

/// What is asked of each port.
const OF_PORT: [&str; 4] = ["/ethdev/xstats", "/ethdev/stats", "/ethdev/link_status", "/ethdev/info"];

/// Gathers it from the socket that belongs to this process.
pub(super) fn gather(process: Option<i32>, lbd: &Path, archive: &mut Archive) {
    let name = "dpdk/ports.json";
    let Some(process) = process else { return archive.lack(name, "the process of lbd is not known") };
    let folders = folders(lbd);
    let sockets = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    let sockets =
        sockets.map(|prefix| prefix.path().join("dpdk_telemetry.v2")).filter(|socket| socket.exists());
    let mut refused = None;
    for socket in sockets {
        match Telemetry::connect(&socket, process) {
            Ok(Some(telemetry)) => {
                let answers = telemetry.answers();
                return archive.add(name, &socket.display().to_string(), answers.into_bytes());
            }
            // That of another program.
            Ok(None) => {}
            Err(error) => refused = Some(format!("{}: {error}", socket.display())),
        }
    }
    let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let none = || format!("no telemetry socket of process {process} in {}", folders.join(", "));
    archive.lack(name, &refused.unwrap_or_else(none));
}

/// Where an EAL may keep the files of its run: of root, of a user, and below the folder that systemd has made.
fn folders(lbd: &Path) -> Vec<PathBuf> {
    let of_user = || variable("XDG_RUNTIME_DIR").unwrap_or_else(|| "/tmp".into());
    let mut folders = vec![PathBuf::from("/var/run/dpdk"), "/tmp/dpdk".into(), "/run/natlb/dpdk".into()];
    folders.extend(lbd.parent().map(|folder| folder.join("dpdk")));
    if !geteuid().is_root() {
        folders.push(of_user().join("dpdk"));
    }
    folders.sort();
    folders.dedup();
    folders
}

struct Telemetry(OwnedFd);

impl Telemetry {
    /// Connects; `None`: it belongs to another process.
    fn connect(path: &Path, process: i32) -> nix::Result<Option<Self>> {
        let address = UnixAddr::new(path)?;
        let (family, flags) = (AddressFamily::Unix, SockFlag::SOCK_CLOEXEC);
        let socket = socket::socket(family, SockType::SeqPacket, flags, None)?;
        socket::setsockopt(&socket, sockopt::SendTimeout, &PATIENCE)?;
        socket::setsockopt(&socket, sockopt::ReceiveTimeout, &PATIENCE)?;
        match socket::connect(socket.as_raw_fd(), &address) {
            // Left by a run that is over.
            Err(nix::Error::ECONNREFUSED) => return Ok(None),
            other => other?,
        }
        let telemetry = Self(socket);
        let greeting: Option<Value> = serde_json::from_str(&telemetry.receive()?).ok();
        Ok(greeting.filter(|greeting| greeting["pid"] == process).map(|_| telemetry))
    }

    fn receive(&self) -> nix::Result<String> {
        let mut buffer = vec![0; LONGEST];
        let length = socket::recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        Ok(String::from_utf8_lossy(&buffer[..length]).trim_end_matches('\0').to_owned())
    }

    fn ask(&self, path: &str) -> nix::Result<String> {
        socket::send(self.0.as_raw_fd(), path.as_bytes(), MsgFlags::MSG_NOSIGNAL)?;
        self.receive()
    }

    /// All answers, a line for each, until one does not come.
    fn answers(&self) -> String {
        let mut text = String::new();
        if let Err(error) = self.append_answers(&mut text) {
            text += &serde_json::json!({ "error": error.to_string() }).to_string();
            text.push('\n');
        }
        text
    }

    fn append_answers(&self, text: &mut String) -> nix::Result<()> {
        let ports = self.ask("/ethdev/list")?;
        let list: Value = serde_json::from_str(&ports).unwrap_or_default();
        *text += &(ports + "\n");
        let numbers = list["/ethdev/list"].as_array().into_iter().flatten().filter_map(Value::as_u64);
        for port in numbers.take(PORTS) {
            for path in OF_PORT {
                *text += &(self.ask(&format!("{path},{port}"))? + "\n");
            }
        }
        Ok(())
    }
}
