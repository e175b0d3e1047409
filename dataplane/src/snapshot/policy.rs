//! What applies to a service's connections, besides the choice of a real.

/// What applies to a service's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What becomes of the connections of a real that is removed.
    pub on_removal: OnRemoval,
    /// Some real has a connection threshold: whatever the schedule is, its connections are to be known.
    pub has_thresholds: bool,
}

/// What becomes of the connections of a real that is removed, or whose service is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRemoval {
    /// Clients' packets are dropped and counted, replies are still translated: as in the kernel.
    #[default]
    Drop,
}
