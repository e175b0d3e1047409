//! A start that hangs in a driver can still be ended, and it is said which port it is.

use log::info;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a step may take to end by itself once `lbd` is to stop.
const PATIENCE: Duration = Duration::from_secs(3);
/// The interval between two looks at whether it has ended.
const PAUSE: Duration = Duration::from_millis(50);

/// The start, from before DPDK is called until all ports run. Dropping it ends it.
pub(crate) struct Starting(Arc<Progress>);

struct Progress {
    step: Mutex<String>,
    is_over: AtomicBool,
}

impl Starting {
    /// From now on `lbd` ends some seconds after `stop` is set, if the start is not over by then: a driver that waits
    /// for its device is not to be interrupted otherwise.
    pub(crate) fn watch(stop: Arc<AtomicBool>) -> std::io::Result<Self> {
        let progress = Arc::new(Progress { step: Mutex::default(), is_over: AtomicBool::new(false) });
        let watched = Arc::clone(&progress);
        thread::Builder::new().name("starting".into()).spawn(move || {
            if watched.is_stuck(&stop, PATIENCE) {
                let step = watched.step.lock().unwrap_or_else(PoisonError::into_inner);
                log::warn!("stopped while this hung: {step}");
                // Not exit(): what it calls waits for the driver, too.
                signal_hook::low_level::exit(0);
            }
        })?;
        Ok(Self(progress))
    }

    /// Logs what is begun.
    pub(crate) fn step(&self, what: String) {
        info!("{what}");
        *self.0.step.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

impl Progress {
    /// Waits until it is over, or for too long after `stop` was set.
    fn is_stuck(&self, stop: &AtomicBool, patience: Duration) -> bool {
        let mut told = None;
        while !self.is_over.load(Ordering::Relaxed) {
            if stop.load(Ordering::Relaxed) && told.get_or_insert_with(Instant::now).elapsed() >= patience {
                return true;
            }
            thread::sleep(PAUSE);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_start_that_was_told_to_stop_and_does_not_is_stuck() {
        let progress = Progress { step: Mutex::default(), is_over: AtomicBool::new(true) };
        let stop = AtomicBool::new(true);
        assert!(!progress.is_stuck(&stop, Duration::ZERO), "it is over");
        progress.is_over.store(false, Ordering::Relaxed);
        assert!(progress.is_stuck(&stop, Duration::ZERO));
        thread::scope(|scope| {
            stop.store(false, Ordering::Relaxed);
            let waiting = scope.spawn(|| progress.is_stuck(&stop, Duration::ZERO));
            thread::sleep(2 * PAUSE);
            assert!(!waiting.is_finished(), "nobody told it to stop");
            progress.is_over.store(true, Ordering::Relaxed);
            assert!(!waiting.join().unwrap());
        });
    }
}
