//! `libnatlb_lvs.so`: preloaded into an unmodified LVS tool, it brings the tool's IPVS messages to `lbd`.
//!
//! ipvsadm and keepalived speak generic netlink with the kernel's IPVS. `lbd` speaks it too, on a Unix stream socket,
//! with one netlink message after the other. This library puts the one in the place of the other: when a program asks
//! a netlink socket for the family "IPVS", its descriptor becomes a connection to `lbd`, and what it sends and
//! receives there goes through here. Everything else reaches the kernel as it would without the library.
//!
//! ```text
//! hooks        the C functions that the program calls in place of the C library's
//! files        /proc/net/ip_vs* as a stream from lbd
//! exchange     sending and receiving on a descriptor that has been taken over
//! descriptors  which descriptors those are, and what is kept for each
//! incoming     one message at a time out of the stream from lbd
//! link         a connection to lbd
//! say          what the operator has to read: on stderr, or in syslog for a daemon
//! settings     the environment: where lbd is, and how long to wait for it
//! kernel       system calls that rustix has not, or not for our case
//! lock         a lock that a forked child can take over
//! messages     netlink messages as bytes: pure
//! ```
//!
//! What it promises:
//!
//! - **A descriptor that was asked for IPVS is never the kernel's again.** If `lbd` cannot be reached, the program
//!   gets an error; otherwise it would change the kernel's IPVS where there is one. The older way to IPVS, socket
//!   options, is refused for the same reason, and so is loading the kernel's module.
//! - **A send does not fail and a receive does not give 0** on such a descriptor: keepalived takes the first for
//!   success and repeats the second for ever. A request that cannot be delivered is answered with an error message
//!   instead, ENODEV. The next request connects anew.
//! - **A program waits for `lbd` as it would for the kernel.** While `lbd` is stopped (SIGSTOP), the program sleeps
//!   in the receive, and goes on with `lbd`.
//! - **Readiness (`poll`, `select`) is right**: a message counts as unread until its last byte is taken out of the
//!   kernel's buffer, which happens when the program has received it.
//! - **No memory is allocated and nothing panics.** The hooks may run where a program holds locks of its own: there
//!   is a fixed table of descriptors, behind atomics.
//!
//! What it cannot do: programs without a C library (Go), static ones, and those that the dynamic linker protects
//! (setuid, file capabilities) do not load it. A descriptor that is already in an epoll set when IPVS is asked for
//! drops out of it, and a thread that is already receiving from it is not woken. Hooked calls are no cancellation
//! points of `pthread_cancel`.
#![no_std]
// The hooks use most of it, and are left out of a test program.
#![cfg_attr(test, expect(dead_code))]

// Only for what does not allocate: the panic handler, `IoSlice`, `OnceLock`.
extern crate std;

mod descriptors;
mod exchange;
mod files;
// In a test program these functions would take the place of the C library's for the program itself.
#[cfg(not(test))]
mod hooks;
mod incoming;
mod kernel;
mod link;
mod lock;
mod messages;
mod say;
mod settings;
