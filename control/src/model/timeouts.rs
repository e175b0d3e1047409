//! How long connections live, as operators set it.

use dataplane::connection::{TimeoutSeconds, Timeouts};

/// A timeout, in seconds, is above [`Timeouts::LONGEST_SECONDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong(pub u32);

/// `present` with those of `set` that are not 0, as `ipvsadm --set` takes them.
///
/// # Errors
/// One of them is too long.
pub fn with_timeouts(present: TimeoutSeconds, set: TimeoutSeconds) -> Result<TimeoutSeconds, TooLong> {
    let chosen = |set: u32, present: u32| match set {
        0 => Ok(present),
        set if set > Timeouts::LONGEST_SECONDS => Err(TooLong(set)),
        set => Ok(set),
    };
    Ok(TimeoutSeconds {
        tcp: chosen(set.tcp, present.tcp)?,
        fin: chosen(set.fin, present.fin)?,
        udp: chosen(set.udp, present.udp)?,
    })
}
