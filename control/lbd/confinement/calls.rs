//! The system calls of both filters.
//!
//! The list of allowed ones was taken from what `lbd` does in the lab, from when its workers run to its end, with all
//! kinds of devices, with commands, take-overs, and the tools of LVS. What other C libraries, kernels and drivers use
//! for the same purposes was added: `preadv` beside `readv`, `epoll_pwait2` beside `epoll_wait`.

use super::Drivers;
use libc::*;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{BackendError, SeccompCmpOp, SeccompCondition, SeccompRule};
use std::collections::BTreeMap;

/// By number: the rules of which one must hold; none: any arguments.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

const FILES: &[c_long] = &[
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_preadv,
    SYS_pwritev,
    SYS_preadv2,
    SYS_pwritev2,
    SYS_lseek,
    SYS_openat,
    SYS_close,
    SYS_close_range,
    SYS_dup,
    SYS_dup3,
    SYS_fcntl,
    SYS_flock,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_statfs,
    SYS_fstatfs,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_readlinkat,
    SYS_getdents64,
    SYS_getcwd,
    SYS_umask,
    SYS_mkdirat,
    SYS_unlinkat,
    SYS_renameat,
    SYS_renameat2,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_fchown,
    SYS_fchownat,
    SYS_ftruncate,
    SYS_fallocate,
    SYS_fsync,
    SYS_fdatasync,
    SYS_sync_file_range,
    SYS_fadvise64,
    SYS_copy_file_range,
    SYS_sendfile,
    SYS_pipe2,
];

const SOCKETS: &[c_long] = &[
    SYS_socketpair,
    SYS_bind,
    SYS_listen,
    SYS_accept,
    SYS_accept4,
    SYS_connect,
    SYS_shutdown,
    SYS_getsockname,
    SYS_getpeername,
    SYS_getsockopt,
    SYS_setsockopt,
    SYS_sendto,
    SYS_sendmsg,
    SYS_sendmmsg,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_recvmmsg,
];

const WAITING: &[c_long] = &[
    SYS_ppoll,
    SYS_pselect6,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_eventfd2,
    SYS_signalfd4,
    SYS_timerfd_create,
    SYS_timerfd_settime,
    SYS_timerfd_gettime,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_gettimeofday,
    SYS_setitimer,
    SYS_restart_syscall,
];

/// `mmap` and `mprotect` are allowed with certain arguments.
const MEMORY: &[c_long] = &[
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_msync,
    SYS_mincore,
    SYS_brk,
    SYS_mlock,
    SYS_mlock2,
    SYS_munlock,
    SYS_mbind,
    SYS_set_mempolicy,
    SYS_get_mempolicy,
    SYS_memfd_create,
    SYS_membarrier,
];

/// `clone` is allowed with certain arguments.
const THREADS: &[c_long] = &[
    SYS_futex,
    SYS_set_robust_list,
    SYS_get_robust_list,
    SYS_set_tid_address,
    SYS_rseq,
    SYS_prctl,
    SYS_exit,
    SYS_exit_group,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_sched_setaffinity,
    SYS_sched_getparam,
    SYS_sched_getscheduler,
    SYS_getpriority,
    SYS_getcpu,
    // To this process's own threads, as abort(3) and raise(3) do.
    SYS_tgkill,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigpending,
    SYS_rt_sigsuspend,
    SYS_rt_sigtimedwait,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
];

const ABOUT_ITSELF: &[c_long] = &[
    SYS_getpid,
    SYS_getppid,
    SYS_gettid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_getgroups,
    SYS_getresuid,
    SYS_getresgid,
    SYS_capget,
    SYS_getrlimit,
    SYS_prlimit64,
    SYS_getrusage,
    SYS_times,
    SYS_uname,
    SYS_sysinfo,
    SYS_getrandom,
];

/// Those that newer processors do without.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    SYS_open,
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_readlink,
    SYS_getdents,
    SYS_mkdir,
    SYS_rmdir,
    SYS_unlink,
    SYS_rename,
    SYS_chmod,
    SYS_chown,
    SYS_dup2,
    SYS_pipe,
    SYS_poll,
    SYS_select,
    SYS_epoll_create,
    SYS_epoll_wait,
    SYS_eventfd,
    SYS_alarm,
    SYS_time,
    SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// Families of sockets: for `lbctl` and systemd, metrics, the kernel's view of interfaces, and devices.
const FAMILIES: [c_int; 6] = [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_XDP];

/// Groups of requests of `ioctl`, as values of the bits of a mask.
const REQUESTS: [(u32, u32); 8] = [
    (0xff00, 0x8900), // sockets and interfaces, SIOC…
    (0xff00, 0x3b00), // vfio
    (0xff00, 0x1b00), // rdma: mlx4, mlx5
    (0xff00, 0xaf00), // vhost
    (0xffc0, 0x54c0), // tun and tap
    (!0, 0x5401),     // TCGETS: whether it is a terminal
    (!0, 0x5421),     // FIONBIO
    (!0, 0x541b),     // FIONREAD
];

/// What `lbd` never does. Each runs another program, looks into another process, gets other rights, or changes the
/// machine.
const DEADLY: &[c_long] = &[
    SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_process_madvise,
    SYS_pidfd_getfd,
    SYS_kcmp,
    SYS_setuid,
    SYS_setgid,
    SYS_setreuid,
    SYS_setregid,
    SYS_setresuid,
    SYS_setresgid,
    SYS_setfsuid,
    SYS_setfsgid,
    SYS_setgroups,
    SYS_capset,
    SYS_personality,
    SYS_unshare,
    SYS_setns,
    SYS_chroot,
    SYS_pivot_root,
    SYS_mount,
    SYS_umount2,
    SYS_mount_setattr,
    SYS_move_mount,
    SYS_open_tree,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_open_by_handle_at,
    SYS_quotactl,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    #[cfg(target_arch = "x86_64")]
    SYS_kexec_file_load,
    SYS_reboot,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_adjtimex,
    SYS_clock_adjtime,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_syslog,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    #[cfg(target_arch = "x86_64")]
    SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    SYS_modify_ldt,
];

/// Calls that end the process.
pub(super) fn deadly(drivers: Drivers) -> Rules {
    let programs = (!drivers.load_programs).then_some(SYS_bpf);
    any(DEADLY.iter().copied().chain(programs))
}

/// Calls that are carried out.
pub(super) fn allowed(drivers: Drivers) -> Result<Rules, BackendError> {
    let lists = [FILES, SOCKETS, WAITING, MEMORY, THREADS, ABOUT_ITSELF, OLDER];
    let programs = drivers.load_programs.then_some(SYS_bpf);
    let mut rules = any(lists.into_iter().flatten().copied().chain(programs));
    rules.extend([
        (SYS_socket, each(FAMILIES, |family| (0, Eq, family as u64))?),
        (SYS_ioctl, each(REQUESTS, |(mask, value)| (1, MaskedEq(mask.into()), value.into()))?),
        // No code but that which is there.
        (SYS_mmap, each([PROT_EXEC], |executable| (2, MaskedEq(executable as u64), 0))?),
        (SYS_mprotect, each([PROT_EXEC], |executable| (2, MaskedEq(executable as u64), 0))?),
        // Threads, and no processes. Of clone3, which is not listed, a filter cannot tell: without it, libraries use
        // this one.
        (SYS_clone, vec![rule(0, Qword, MaskedEq(CLONE_THREAD as u64), CLONE_THREAD as u64)?]),
    ]);
    Ok(rules)
}

fn any(calls: impl Iterator<Item = c_long>) -> Rules {
    calls.map(|call| (call, Vec::new())).collect()
}

/// Rules that an argument of 32 bits is one of some values: its number, how it is compared, and with what.
fn each<T>(
    values: impl IntoIterator<Item = T>,
    compared: impl Fn(T) -> (u8, SeccompCmpOp, u64),
) -> Result<Vec<SeccompRule>, BackendError> {
    let rules = values.into_iter().map(compared);
    rules.map(|(argument, operation, value)| rule(argument, Dword, operation, value)).collect()
}

fn rule(
    argument: u8,
    length: seccompiler::SeccompCmpArgLen,
    operation: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, length, operation, value)?])
}

#[cfg(test)]
mod judged;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_both_allowed_and_deadly() {
        for load_programs in [false, true] {
            let drivers = Drivers { load_programs };
            let (deadly, allowed) = (deadly(drivers), allowed(drivers).unwrap());
            let both: Vec<_> = deadly.keys().filter(|call| allowed.contains_key(call)).collect();
            assert!(both.is_empty(), "{both:?}");
            assert_eq!(deadly.contains_key(&SYS_bpf), !load_programs);
        }
    }

    #[test]
    fn every_call_is_listed_once() {
        let lists = [FILES, SOCKETS, WAITING, MEMORY, THREADS, ABOUT_ITSELF, OLDER, DEADLY];
        let mut all: Vec<_> = lists.into_iter().flatten().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
