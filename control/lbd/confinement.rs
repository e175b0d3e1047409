//! What this process may still ask of the kernel once it forwards. Whoever gets hold of it then, by a fault in the code
//! that reads packets or requests, starts no program with the rights that `lbd` has.
//!
//! Two filters of system calls (seccomp(2)) hold for all threads, and for those that they start later:
//!
//! ```text
//! deadly   calls that lbd never makes, and that whoever attacks it wants (execve, ptrace, mount …): the kernel ends it
//! allowed  calls that lbd, DPDK and the C library make, some with certain arguments alone: any other call fails as if
//!          the kernel did not have it (ENOSYS), so that libraries use what they use on older kernels
//!
//! calls    both lists
//! judged   what the filters say to each call on the lists, and to others
//! tests    the filters, each in a process of its own
//! ```

mod calls;
#[cfg(test)]
mod tests;

use crate::options::Seccomp;
use control::config::Config;
use dpdk::Device;
use nix::unistd::{Gid, Uid, User, getgrouplist};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter_all_threads};
use std::env::consts::ARCH;

/// The highest number that a user may have.
const NO_USER: u32 = u32::MAX - 1;

/// What drivers need that only some of them do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drivers {
    /// They load programs into the kernel (bpf(2)) while ports run or stop.
    load_programs: bool,
}

impl Drivers {
    /// Of the devices of a configuration.
    pub(crate) fn of(config: &Config) -> Self {
        let loads = |device: &Device| match device {
            Device::Virtual { name, .. } => name.contains("af_xdp") || name.contains("tap"),
            Device::Pci { .. } => false,
        };
        Self { load_programs: config.eth_ports.iter().any(|port| loads(&Device::parse(&port.device))) }
    }
}

/// Confines all threads, for good. What prevents it is logged: packets are forwarded all the same.
pub(crate) fn confine(seccomp: Seccomp, drivers: Drivers) {
    match seccomp {
        Seccomp::Off => log::warn!("system calls are not confined: --seccomp off"),
        Seccomp::On | Seccomp::Log => match apply(seccomp, drivers) {
            Ok(()) if seccomp == Seccomp::Log => {
                log::warn!(
                    "system calls are not confined, but noted in the kernel's audit log: --seccomp log"
                );
            }
            Ok(()) => log::debug!("system calls are confined"),
            Err(why) => log::warn!("system calls are not confined: {why}"),
        },
    }
}

/// Has the C library load its modules for users and groups (nsswitch.conf(5)), as of SSSD or systemd: once this process
/// is confined it cannot load code any more, and would know those users alone that are in /etc/passwd.
pub(crate) fn load_user_databases() {
    // The modules are all asked for a user that none of them has.
    let _ = User::from_uid(Uid::from_raw(NO_USER));
    let _ = getgrouplist(c"natlb-no-such-user", Gid::from_raw(NO_USER));
}

/// Puts both filters on all threads.
fn apply(seccomp: Seccomp, drivers: Drivers) -> Result<(), seccompiler::Error> {
    let (deadly, allowed) = programs(seccomp, drivers)?;
    // The second one no longer lets the first one in.
    apply_filter_all_threads(&deadly)?;
    apply_filter_all_threads(&allowed)
}

/// Both filters, as the kernel takes them.
fn programs(seccomp: Seccomp, drivers: Drivers) -> Result<(BpfProgram, BpfProgram), seccompiler::Error> {
    let processor = TargetArch::try_from(ARCH)?;
    let noted = |action| if seccomp == Seccomp::Log { SeccompAction::Log } else { action };
    let program = |rules, other, listed| {
        let filter = SeccompFilter::new(rules, other, listed, processor);
        filter.and_then(BpfProgram::try_from)
    };
    let (allow, fail) = (SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32));
    let deadly = program(calls::deadly(drivers), allow.clone(), noted(SeccompAction::KillProcess))?;
    let allowed = program(calls::allowed(drivers)?, noted(fail), allow)?;
    Ok((deadly, allowed))
}
