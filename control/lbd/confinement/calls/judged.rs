//! What the two filters, as the kernel gets them, say to each call on the lists and to many others.
//!
//! The programs are run here step by step, as the kernel's documentation of cBPF has it, so that calls can be judged
//! that no test could make.

use super::super::{Drivers, programs};
use super::*;
use crate::options::Seccomp;
use seccompiler::sock_filter;
use std::iter::repeat_n;

// What a filter returns (linux/seccomp.h), the most severe first.
const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;
const NOT_THERE: u32 = ERRNO | ENOSYS as u32;

#[cfg(target_arch = "x86_64")]
const PROCESSOR: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const PROCESSOR: u32 = 0xc000_00b7;
/// As a program of 32 bits makes calls.
const OF_32_BITS: u32 = 0x4000_0003;

/// Numbers that are looked at beside those of the lists: more than any kernel has.
const NUMBERS: c_long = 1024;

/// A call, as a filter sees it.
#[derive(Clone, Copy)]
struct Call {
    number: c_long,
    processor: u32,
    arguments: [u64; 6],
}

impl Call {
    fn new(number: c_long) -> Self {
        Self { number, processor: PROCESSOR, arguments: [0; 6] }
    }

    fn with(number: c_long, place: usize, argument: u64) -> Self {
        let mut call = Self::new(number);
        call.arguments[place] = argument;
        call
    }

    /// The 32 bits at this place of `struct seccomp_data`.
    fn word(&self, offset: usize) -> u32 {
        let argument = || self.arguments[(offset - 16) / 8] >> (offset % 8 * 8);
        match offset {
            0 => self.number as u32,
            4 => self.processor,
            16..64 => argument() as u32,
            _ => panic!("the filter looks at offset {offset}"),
        }
    }
}

/// What a program returns.
fn run(program: &[sock_filter], call: &Call) -> u32 {
    let (mut place, mut word) = (0, 0u32);
    loop {
        let sock_filter { code, jt, jf, k } = program[place].clone();
        let jump = |is_so: bool| usize::from(if is_so { jt } else { jf });
        place += 1;
        match u32::from(code) {
            code if code == BPF_LD | BPF_W | BPF_ABS => word = call.word(k as usize),
            code if code == BPF_ALU | BPF_AND | BPF_K => word &= k,
            code if code == BPF_JMP | BPF_JA => place += k as usize,
            code if code == BPF_JMP | BPF_JEQ | BPF_K => place += jump(word == k),
            code if code == BPF_JMP | BPF_JGT | BPF_K => place += jump(word > k),
            code if code == BPF_JMP | BPF_JGE | BPF_K => place += jump(word >= k),
            code if code == BPF_RET | BPF_K => return k,
            code => panic!("instruction {code:#x} is not known here"),
        }
    }
}

/// Both filters: the kernel runs all, and does the most severe of what they return.
struct Filters([Vec<sock_filter>; 2]);

impl Filters {
    fn new(seccomp: Seccomp, load_programs: bool) -> Self {
        let (deadly, allowed) = programs(seccomp, Drivers { load_programs }).unwrap();
        Self([deadly, allowed])
    }

    fn judge(&self, call: &Call) -> u32 {
        // The kernel compares them as signed numbers.
        self.0.iter().map(|program| run(program, call)).min_by_key(|action| *action as i32).unwrap()
    }
}

/// Numbers of calls that are on no list.
fn unlisted() -> impl Iterator<Item = c_long> {
    let drivers = Drivers { load_programs: true };
    let (deadly, allowed) = (deadly(drivers), allowed(drivers).unwrap());
    (0..NUMBERS).filter(move |number| !deadly.contains_key(number) && !allowed.contains_key(number))
}

#[test]
fn each_deadly_call_kills_whatever_its_arguments() {
    for load_programs in [false, true] {
        let filters = Filters::new(Seccomp::On, load_programs);
        let of_drivers = repeat_n(SYS_bpf, usize::from(!load_programs));
        for number in DEADLY.iter().copied().chain(of_drivers) {
            for argument in [0, 1, u64::MAX] {
                let call = Call { arguments: [argument; 6], ..Call::new(number) };
                assert_eq!(filters.judge(&call), KILL_PROCESS, "call {number} with {argument}");
            }
        }
    }
}

#[test]
fn each_allowed_call_is_carried_out_whatever_its_arguments() {
    for load_programs in [false, true] {
        let filters = Filters::new(Seccomp::On, load_programs);
        let lists = [FILES, SOCKETS, WAITING, MEMORY, THREADS, ABOUT_ITSELF, OLDER];
        let of_drivers = repeat_n(SYS_bpf, usize::from(load_programs));
        for number in lists.into_iter().flatten().copied().chain(of_drivers) {
            for argument in [0, 1, u64::MAX] {
                let call = Call { arguments: [argument; 6], ..Call::new(number) };
                assert_eq!(filters.judge(&call), ALLOW, "call {number} with {argument}");
            }
        }
    }
}

#[test]
fn certain_arguments_decide() {
    let filters = Filters::new(Seccomp::On, false);
    let judged = |number, place, argument| filters.judge(&Call::with(number, place, argument));
    for family in 0..128 {
        let is_known = [1, 2, 10, 16, 17, 44].contains(&family);
        let expected = if is_known { ALLOW } else { NOT_THERE };
        assert_eq!(judged(SYS_socket, 0, family), expected, "family {family}");
        // The kernel takes 32 bits of it.
        assert_eq!(judged(SYS_socket, 0, family | 7 << 32), expected, "family {family}");
    }
    let requests = [
        (0x8913, ALLOW),      // SIOCGIFFLAGS
        (0x8946, ALLOW),      // SIOCETHTOOL
        (0x3b71, ALLOW),      // VFIO_IOMMU_MAP_DMA
        (0xc018_1b01, ALLOW), // RDMA_VERBS_IOCTL
        (0x4008_af00, ALLOW), // VHOST_GET_FEATURES
        (0x4004_54ca, ALLOW), // TUNSETIFF
        (0x5401, ALLOW),      // TCGETS
        (0x5412, NOT_THERE),  // TIOCSTI, which types into a terminal
        (0x1_0000_5412, NOT_THERE),
        (0x541c, NOT_THERE), // TIOCLINUX
        (0x6601, NOT_THERE), // FS_IOC_GETFLAGS
        (0xae01, NOT_THERE), // KVM_CREATE_VM
        (0x5400, NOT_THERE),
    ];
    for (request, expected) in requests {
        assert_eq!(judged(SYS_ioctl, 1, request), expected, "request {request:#x}");
    }
    for call in [SYS_mmap, SYS_mprotect] {
        for protection in 0..8 {
            let is_code = protection & PROT_EXEC as u64 != 0;
            let expected = if is_code { NOT_THERE } else { ALLOW };
            assert_eq!(judged(call, 2, protection), expected, "call {call}: {protection}");
        }
    }
    // As glibc makes threads and processes.
    let thread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SETTLS;
    assert_eq!(judged(SYS_clone, 0, thread as u64), ALLOW);
    assert_eq!(judged(SYS_clone, 0, (CLONE_CHILD_SETTID | SIGCHLD) as u64), NOT_THERE);
    assert_eq!(judged(SYS_clone, 0, (CLONE_NEWUSER | SIGCHLD) as u64), NOT_THERE);
    assert_eq!(judged(SYS_clone, 0, (CLONE_VM | CLONE_VFORK | SIGCHLD) as u64), NOT_THERE);
}

#[test]
fn what_is_on_no_list_fails() {
    let filters = Filters::new(Seccomp::On, false);
    for number in unlisted().chain([-1, i32::MAX.into()]) {
        assert_eq!(filters.judge(&Call::new(number)), NOT_THERE, "call {number}");
    }
    // These start processes, or are sent to others.
    for number in [SYS_clone3, SYS_kill, SYS_tkill, SYS_rt_sigqueueinfo, SYS_pidfd_send_signal] {
        assert!(unlisted().any(|other| other == number), "call {number}");
    }
}

#[test]
fn other_ways_into_the_kernel_are_closed() {
    let filters = Filters::new(Seccomp::On, true);
    for number in 0..NUMBERS {
        let call = Call { processor: OF_32_BITS, ..Call::new(number) };
        assert_eq!(filters.judge(&call), KILL_PROCESS, "call {number} of 32 bits");
        // The numbers of x32, whose calls come as from this processor.
        assert_eq!(filters.judge(&Call::new(number | 1 << 30)), NOT_THERE, "call {number} of x32");
    }
}

#[test]
fn noted_calls_are_carried_out() {
    let (on, noting) = (Filters::new(Seccomp::On, false), Filters::new(Seccomp::Log, false));
    for number in 0..NUMBERS {
        let call = Call::new(number);
        let expected = if on.judge(&call) == ALLOW { ALLOW } else { LOG };
        assert_eq!(noting.judge(&call), expected, "call {number}");
    }
}
