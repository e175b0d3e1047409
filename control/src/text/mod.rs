//! What people type and read: addresses, `ipvsadm`'s lines, names of schedulers, tables.

pub mod addresses;
pub mod algorithms;
pub mod ipvsadm_lines;
pub mod table;
