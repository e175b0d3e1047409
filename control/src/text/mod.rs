//! What people type and read.
//!
//! ```text
//! addresses      192.168.10.100:80, 10.0.0.7, tcp://192.168.10.100:80
//! algorithms     names of schedulers
//! ipvsadm_lines  what `save` writes and `restore` reads
//! later          what is not built yet, by name
//! table          columns of text for a terminal
//! ```

pub mod addresses;
pub mod algorithms;
pub mod ipvsadm_lines;
pub mod later;
pub mod table;
