//! A measuring build: its worker times the stages of its turns from SIGUSR1 to SIGUSR2, and writes what
//! it found to the file that `LBD_MEASURE` names.

use dpdk::Queues;
use measured::{Measured, Switch};
use signal_hook::consts::{SIGUSR1, SIGUSR2};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const FILE: &str = "LBD_MEASURE";

/// The worker's queues, measured.
///
/// # Errors
/// A line that says why, if there is no file to write to.
pub(crate) fn around(queues: Queues) -> Result<Measured<Queues>, String> {
    let path = std::env::var_os(FILE)
        .ok_or_else(|| format!("this build measures: set {FILE} to the file that its figures go to"))?;
    let on = Arc::new(AtomicBool::new(false));
    switch(&on).map_err(|error| format!("cannot handle signals: {error}"))?;
    Ok(Measured::new(queues, Switch { on, path: path.into() }, dpdk::tsc))
}

fn switch(on: &Arc<AtomicBool>) -> io::Result<()> {
    for (signal, value) in [(SIGUSR1, true), (SIGUSR2, false)] {
        let on = Arc::clone(on);
        let store = move |_| on.store(value, Ordering::Relaxed);
        // The thread ends with the process.
        let mut signals = signal_hook::iterator::Signals::new([signal])?;
        std::thread::Builder::new().name(format!("signal {signal}")).spawn(move || {
            signals.forever().for_each(store);
        })?;
    }
    Ok(())
}
