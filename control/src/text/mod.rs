//! What people type and read.
//!
//! ```text
//! ipvsadm_lines  what `save` writes and `restore` reads
//! services       tcp://192.168.10.100:80
//! links          192.168.10.100/24, 172.16.0.0/12, 02:00:00:00:00:07
//! addresses      192.168.10.100:80, 10.0.0.7
//! algorithms     names of schedulers
//! later          what is not built yet, by name
//! table          columns of text for a terminal
//! ```

pub mod addresses;
pub mod algorithms;
pub mod ipvsadm_lines;
pub mod later;
pub mod links;
pub mod services;
pub mod table;
