//! Live state: what the control thread writes while workers read it, beside the configuration that they run on.

pub mod next_hops;
