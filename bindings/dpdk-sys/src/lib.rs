//! Generated bindings to the installed DPDK, 22.11 to 25.11, and to the C shim beside them
//! (`shim/shim.h`). Only the crate `dpdk` uses them.
//!
//! What is generated depends on the DPDK that is installed, so structures of DPDK are opaque here:
//! whatever is read or written of them goes through the shim, which the compiler checks against the
//! headers. The exception is the handful of mbuf fields in `natlb_mbuf_layout`.
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals)]
#![allow(clippy::all, clippy::undocumented_unsafe_blocks, rustdoc::all, unreachable_pub)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
