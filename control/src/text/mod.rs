//! What people type: addresses, `ipvsadm`'s lines, names of schedulers.

pub mod addresses;
pub mod algorithms;
pub mod ipvsadm_lines;
