//! One `lbd` for each device: a card on uio has no owner, and neither has an interface of the kernel, so that a
//! second one would take the packets of the first without a word.
//!
//! A PCI device is locked by its `config` file in sysfs, an interface by an abstract Unix socket, whose names each
//! network namespace has of its own, as those of interfaces. The kernel lets go of both when the process ends,
//! however it does.

use crate::Failure;
use control::config::Config;
use control::handed::{Handed, Kind, Label};
use control::lock::{self, Lock};
use dpdk::Device;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{Backlog, getsockopt, listen};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;

/// What is held as long as this lives.
#[derive(Debug)]
pub(crate) struct DeviceLocks {
    _files: Vec<Lock>,
    /// By the interface's name.
    interfaces: Vec<(String, OwnedFd)>,
}

impl DeviceLocks {
    /// Descriptors of those of interfaces, for a successor. A device that is not one has one owner.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn share(&self) -> io::Result<Handed> {
        let mut shared = Handed::default();
        for (name, lock) in &self.interfaces {
            shared.add(Label { kind: Kind::Interface, name: name.clone() }, lock.try_clone()?);
        }
        Ok(shared)
    }
}

/// Takes all devices of the file, those that the daemon before has handed over among them.
///
/// # Errors
/// Another process has one.
pub(crate) fn take(config: &Config, handed: &mut Handed) -> Result<DeviceLocks, Failure> {
    let mut locks = DeviceLocks { _files: Vec::new(), interfaces: Vec::new() };
    for port in &config.eth_ports {
        let device = Device::parse(&port.device);
        let taken = |what: &str, holder: &str| {
            Failure::Other(format!(
                "port {}: {holder} has {what}: stop that, or name another device",
                port.name
            ))
        };
        if let Device::Pci { address, .. } = &device {
            let path = Path::new("/sys/bus/pci/devices").join(address).join("config");
            match lock_file(&path) {
                Ok(file) => locks._files.extend(file),
                Err(holder) => return Err(taken(address, &holder)),
            }
            // A program that is no lbd, and does not lock.
            let user = dpdk::device_file(address).and_then(|file| dpdk::user_of(&file));
            if let Some(user) = user {
                return Err(taken(address, &user.to_string()));
            }
        }
        for interface in device.interfaces() {
            let label = Label { kind: Kind::Interface, name: (*interface).into() };
            if let Some(lock) = handed.take(&label) {
                adopt(&lock);
                locks.interfaces.push((label.name, lock));
                continue;
            }
            match lock_interface(interface) {
                Ok(socket) => locks.interfaces.extend(socket.map(|socket| (label.name, socket.into()))),
                Err(holder) => return Err(taken(&format!("interface {interface}"), &holder)),
            }
        }
    }
    Ok(locks)
}

/// Has the kernel name this process as the one that listens: others are told so.
fn adopt(interface: &OwnedFd) {
    if let Err(error) = listen(interface, Backlog::MAXALLOWABLE) {
        log::debug!("the lock of an interface: {error}");
    }
}

/// Locks a file; `None` where there is no such, which others say better. The error names the holder.
fn lock_file(path: &Path) -> Result<Option<Lock>, String> {
    let Ok(file) = File::open(path) else { return Ok(None) };
    match Lock::take(file) {
        Ok(locked) => Ok(Some(locked)),
        Err((file, error)) if error.kind() == io::ErrorKind::WouldBlock => Err(holder_of(&file)),
        Err((_, why)) => {
            log::debug!("{} can't be locked: {why}", path.display());
            Ok(None)
        }
    }
}

/// The process that has locked a file.
fn holder_of(file: &File) -> String {
    lock::holder_of(file).map_or_else(|| "another process".into(), named)
}

fn named(pid: u32) -> String {
    if pid == std::process::id() {
        return "another port of this file".into();
    }
    lock::process(pid)
}

/// Locks an interface of this network namespace. The error names the holder.
fn lock_interface(interface: &str) -> Result<Option<UnixListener>, String> {
    let Ok(name) = SocketAddr::from_abstract_name(format!("natlb interface {interface}")) else {
        return Ok(None);
    };
    match UnixListener::bind_addr(&name) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(listener_of(&name)),
        Err(why) => {
            log::debug!("interface {interface} can't be locked: {why}");
            Ok(None)
        }
    }
}

/// The process that listens on a socket.
fn listener_of(name: &SocketAddr) -> String {
    let credentials =
        UnixStream::connect_addr(name).ok().and_then(|peer| getsockopt(&peer, PeerCredentials).ok());
    let pid = credentials.and_then(|peer| u32::try_from(peer.pid()).ok()).filter(|pid| *pid != 0);
    pid.map_or_else(|| "another process".into(), named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_file_names_its_holder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let first = lock_file(file.path()).unwrap();
        assert!(first.is_some());
        // Of this process, as if two ports named the same device.
        assert_eq!(lock_file(file.path()).unwrap_err(), "another port of this file");
        drop(first);
        assert!(lock_file(file.path()).unwrap().is_some());
        assert!(lock_file(Path::new("/nowhere/config")).unwrap().is_none());
    }

    #[test]
    fn a_locked_interface_names_its_holder() {
        let name = format!("test{}", std::process::id());
        let first = lock_interface(&name).unwrap();
        assert_eq!(lock_interface(&name).unwrap_err(), "another port of this file");
        assert!(lock_interface(&format!("{name}b")).unwrap().is_some());
        drop(first);
        assert!(lock_interface(&name).unwrap().is_some());
    }
}
