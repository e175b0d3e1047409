//! Live state: what the control thread writes while workers read it, beside the configuration that they run on.
//!
//! ```text
//! next_hops  MACs of the hosts that frames are sent to next
//! reals      which reals can take new connections now
//! limits     how many connections a real has on all workers, where that is limited
//! elsewhere  connections of reals on the other workers
//! changes    which reals have been written lately
//! ```

pub mod changes;
pub mod elsewhere;
pub mod limits;
pub mod next_hops;
pub mod reals;
