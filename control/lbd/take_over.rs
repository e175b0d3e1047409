//! The place that an `lbd` takes: a free one or, with `--take-over`, that of the `lbd` which runs.
//!
//! ```text
//!             plain start                       take-over
//!   find      nobody has socket, state file     the one that runs is asked: it refuses changes, and hands over what
//!             and devices                       it listens on and its locks
//!   …         devices, workers, control thread  likewise; the workers rest
//!   enter     (nothing)                         configuration compiled; workers drop what arrives; the one before
//!                                               rests; workers work; the place is taken; the one before ends
//! ```
//!
//! Until the place is taken nothing is sent and nothing of the one before is changed: whatever fails before, that one
//! goes on.

use crate::device_lock::{self, DeviceLocks};
use crate::{Failure, start_failure};
use control::api::predecessor::Predecessor;
use control::config::Config;
use control::config::keep::Keep;
use control::daemon::ControlThread;
use control::daemon::hand_over::Facts;
use control::handed::Handed;
use control::persist::kept::Keeping;
use control::persist::state_file::StateFile;
use dpdk::Device;
use nix::net::if_::if_nametoindex;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What follows the name of every other process's runtime files, so that two that follow each other have different
/// ones.
const OTHER: &str = "-next";
/// An EAL argument that names the runtime files.
const PREFIX: &str = "--file-prefix";

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Place {
    predecessor: Option<Predecessor>,
    handed: Handed,
    keeping: Keeping,
    locks: DeviceLocks,
}

/// How DPDK's runtime files are told from others, and the arguments that remain.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub(crate) name: String,
    /// A plain start has it, too: huge pages that are left under it are found again.
    pub(crate) is_usual: bool,
    pub(crate) arguments: Vec<String>,
}

impl Place {
    /// Finds the place: nobody else has it, or who has it is about to give it.
    pub(crate) fn find(config: &Config, takes_over: bool) -> Result<Self, Failure> {
        if takes_over { Self::of_predecessor(config) } else { Self::free(config) }
    }

    fn free(config: &Config) -> Result<Self, Failure> {
        refuse_second(&config.control.socket)?;
        if let Some(state) = &config.control.state {
            // Likewise, and what is no file. It is opened for good by the control thread.
            StateFile::open(state).map_err(|error| start_failure(&error.into()))?;
        }
        let mut handed = Handed::default();
        let keeping = keep(config, &mut handed)?;
        let locks = device_lock::take(config, &mut handed)?;
        Ok(Self { predecessor: None, handed, keeping, locks })
    }

    fn of_predecessor(config: &Config) -> Result<Self, Failure> {
        if let Some(why) = refusal(config) {
            return Err(Failure::Other(why));
        }
        let failed = |error| Failure::Other(format!("{}: {error}", config.control.socket.display()));
        let (predecessor, mut handed) = Predecessor::ask(&config.control.socket).map_err(failed)?;
        let facts = &predecessor.facts;
        log::info!("taking the place of lbd {}, process {}", facts.version, facts.process);
        if shares_fanout(std::process::id(), &indexes(config), facts.process, &facts.interfaces) {
            return Err(Failure::Other(format!(
                "the kernel would spread packets over this process and process {}, by their numbers and those of the \
                 interfaces: start lbd --take-over again",
                facts.process
            )));
        }
        let keeping = keep(config, &mut handed)?;
        if facts.kept.as_deref() != keeping.folder() {
            return Err(Failure::Other(format!(
                "[connections] keep: the connections of the lbd that runs are in {}, where this one would not find \
                 them: name that folder, or restart lbd without them",
                facts.kept.as_deref().unwrap_or(Path::new("no folder")).display()
            )));
        }
        let locks = device_lock::take(config, &mut handed)?;
        Ok(Self { predecessor: Some(predecessor), handed, keeping, locks })
    }

    /// Whether the workers have to wait for the one before.
    pub(crate) fn is_taken(&self) -> bool {
        self.predecessor.is_some()
    }

    /// How this process's runtime files are told from the one before's.
    pub(crate) fn prefix(&self, config: &Config) -> Prefix {
        let before = self.predecessor.as_ref().map(|predecessor| &*predecessor.facts.file_prefix);
        Prefix::choose(config.control.instance(), &config.eal.args, before)
    }

    /// Where connections are kept.
    pub(crate) fn keeping(&mut self) -> Keeping {
        std::mem::replace(&mut self.keeping, Keeping::nothing())
    }

    /// What the one before has handed over, for the control thread.
    pub(crate) fn handed(&mut self) -> Handed {
        std::mem::take(&mut self.handed)
    }

    /// What a successor will be told, and gets.
    pub(crate) fn facts(&self, config: &Config, file_prefix: &str, keeping: &Keeping) -> Facts {
        let shared = self.locks.share().and_then(|mut locks| {
            keeping.share_locks(&mut locks)?;
            Ok(locks)
        });
        let cannot = |error| format!("the locks of its devices cannot be passed on: {error}");
        let (locks, refusal) = match shared {
            Ok(locks) => (locks, refusal(config).or_else(|| loss(keeping))),
            Err(error) => (Handed::default(), Some(cannot(error))),
        };
        Facts {
            version: env!("NATLB_VERSION").into(),
            file_prefix: file_prefix.into(),
            interfaces: indexes(config),
            kept: keeping.folder().map(Path::to_path_buf),
            locks,
            refusal,
        }
    }

    /// Has the control thread begin: at once, or where the one before ends.
    pub(crate) fn enter(&mut self, control: &mut ControlThread, stop: &AtomicBool) -> Result<(), Failure> {
        let Some(mut predecessor) = self.predecessor.take() else {
            return control.start().map_err(|error| start_failure(&error));
        };
        let failed = |error| Failure::Other(format!("the place of the lbd that runs is not taken: {error}"));
        control.prepare().map_err(|error| start_failure(&error))?;
        control.know_neighbours(&predecessor.facts.neighbours);
        control.drop_what_arrives().map_err(|error| start_failure(&error))?;
        if stop.load(Ordering::Relaxed) {
            // Nobody would be left.
            return Err(Failure::Other("stopped before it has taken over: the lbd that runs goes on".into()));
        }
        let (process, began) = (predecessor.facts.process, Instant::now());
        predecessor.pause().map_err(failed)?;
        control.take_what_arrives();
        predecessor.taken().map_err(failed)?;
        control.own();
        control.start().map_err(|error| start_failure(&error))?;
        let milliseconds = began.elapsed().as_secs_f64() * 1e3;
        log::info!(
            "the place of process {process} is taken; for {milliseconds:.1} ms at most nobody forwarded"
        );
        Ok(())
    }
}

/// Another `lbd` on the same socket is found before any device is touched.
fn refuse_second(socket: &Path) -> Result<(), Failure> {
    match UnixStream::connect(socket) {
        Ok(_) => Err(Failure::Other(format!(
            "another lbd listens on {}: stop it, take its place (--take-over), or set another [control] socket",
            socket.display()
        ))),
        Err(_) => Ok(()),
    }
}

/// Why no process can take another's place with this configuration, if so.
pub(crate) fn refusal(config: &Config) -> Option<String> {
    let single = config.eth_ports.iter().find(|port| !may_have_two_owners(&port.device));
    if let Some(port) = single {
        return Some(format!(
            "port {}: device {} has one owner at a time, so that no other lbd can start beside the one that runs: \
             restart it instead",
            port.name, port.device
        ));
    }
    (config.keep == Keep::Off).then(|| {
        "[connections] keep = \"off\": connections would end with the lbd that runs: restart it instead"
            .into()
    })
}

fn keep(config: &Config, handed: &mut Handed) -> Result<Keeping, Failure> {
    Keeping::open(config, handed).map_err(|error| Failure::Other(error.to_string()))
}

/// Why a successor would not find this process's connections, if so.
fn loss(keeping: &Keeping) -> Option<String> {
    keeping.place().is_none().then(|| {
        "its connections are not kept, as its log says, and would end with it: restart it instead".into()
    })
}

/// Whether a device works in two processes at once: the kernel gives each packet socket everything.
fn may_have_two_owners(device: &str) -> bool {
    let name = device.split(',').next().unwrap_or_default().trim();
    ["net_af_packet", "eth_af_packet"].iter().any(|driver| name.starts_with(driver))
}

/// The indexes of the interfaces that the devices stand on; one that is not there is said later.
fn indexes(config: &Config) -> Vec<u32> {
    let devices = config.eth_ports.iter().map(|port| Device::parse(&port.device));
    let index = |interface: &&str| if_nametoindex(*interface).ok();
    devices.flat_map(|device| device.interfaces().iter().filter_map(index).collect::<Vec<_>>()).collect()
}

/// Whether a queue of one process would be in a fanout group (packet(7)) of the other, and get a share of its packets.
/// The driver numbers its group by the lower 16 bits of its process's number and the interface's index.
fn shares_fanout(own: u32, own_interfaces: &[u32], other: u32, other_interfaces: &[u32]) -> bool {
    let group = |process: u32, interface: &u32| (process ^ interface) & 0xffff;
    let of_other: Vec<_> = other_interfaces.iter().map(|interface| group(other, interface)).collect();
    own_interfaces.iter().any(|interface| of_other.contains(&group(own, interface)))
}

impl Prefix {
    /// `usual` if the arguments name none; and where the one before has that, another.
    fn choose(usual: String, arguments: &[String], before: Option<&str>) -> Self {
        let (mut name, mut remaining) = (usual, Vec::new());
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.strip_prefix(PREFIX) {
                Some("") => name = words.next().cloned().unwrap_or_default(),
                Some(rest) if rest.starts_with('=') => name = rest[1..].into(),
                _ => remaining.push(word.clone()),
            }
        }
        let is_usual = before != Some(&*name);
        if !is_usual {
            name += OTHER;
        }
        Self { name, is_usual, arguments: remaining }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_that_follow_each_other_have_different_files() {
        let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
        for (arguments, before, name, remaining) in [
            ("--no-pci", None, "usual", "--no-pci"),
            ("--no-pci", Some("usual"), "usual-next", "--no-pci"),
            ("", Some("usual-next"), "usual", ""),
            ("--file-prefix=own --no-pci", None, "own", "--no-pci"),
            ("--no-pci --file-prefix own -n 4", Some("own"), "own-next", "--no-pci -n 4"),
            ("--file-prefix own", Some("own-next"), "own", ""),
        ] {
            let is_usual = !name.ends_with(OTHER);
            let expected = Prefix { name: name.into(), is_usual, arguments: words(remaining) };
            assert_eq!(Prefix::choose("usual".into(), &words(arguments), before), expected, "{arguments}");
        }
    }

    #[test]
    fn a_fanout_group_in_common_is_found() {
        assert!(!shares_fanout(1001, &[2, 3], 1000, &[4, 5]));
        assert!(!shares_fanout(1000, &[], 1000, &[]));
        // In containers two processes may have one number, and in a large machine one that differs by 65,536.
        assert!(shares_fanout(7, &[2], 7, &[2]));
        assert!(shares_fanout(65_536 + 1000, &[2], 1000, &[2]));
        // Another interface of a neighbour's number.
        assert!(shares_fanout(1001, &[2], 1000, &[2, 3]));
    }

    #[test]
    fn only_packet_sockets_have_two_owners() {
        for device in ["net_af_packet0,iface=eth0", "eth_af_packet1,iface=a", " net_af_packet_x,iface=b"] {
            assert!(may_have_two_owners(device), "{device}");
        }
        for device in ["0000:3b:00.0", "net_af_xdp0,iface=eth0", "net_tap0", "net_null0", "net_memif0"] {
            assert!(!may_have_two_owners(device), "{device}");
        }
    }
}
