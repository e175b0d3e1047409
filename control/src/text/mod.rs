//! What people type and read.
//!
//! ```text
//! ipvsadm_lines    what `save` writes and `restore` reads
//! service_options  what is set of a service
//!   scheduler_flags  sh-port, mh-fallback
//!   masks            which clients are one
//!   state_timeouts   tcp=900,syn_recv=30
//! services         tcp://192.168.10.100:80
//! links            192.168.10.100/24, 172.16.0.0/12, 02:00:00:00:00:07
//! addresses        192.168.10.100:80, [2001:db8::10]:80, 10.0.0.7
//! algorithms       names of schedulers
//! sort_order       the order in which ipvsadm lists services and reals
//! quantities       12.3 M, 4.19 MB
//! later            what is not built yet, by name
//! table            columns of text for a terminal
//! ```

pub mod addresses;
pub mod algorithms;
pub mod ipvsadm_lines;
pub mod later;
pub mod links;
pub mod masks;
pub mod quantities;
pub mod scheduler_flags;
pub mod service_options;
pub mod services;
pub mod sort_order;
pub mod state_timeouts;
pub mod table;
