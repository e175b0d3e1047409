//! Running a closure on a worker's core.

use crate::eal::{Eal, Runtime};
use crate::error::{Errno, Error};
use std::any::Any;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

/// How a closure ended: `Err` has the text of its panic.
type Outcome = Arc<OnceLock<Result<(), String>>>;

/// What is handed to the lcore.
struct Task {
    work: Box<dyn FnOnce() + Send>,
    outcome: Outcome,
}

/// A closure at work on an lcore. Dropping this does not stop it: that is between the closure and
/// whoever started it.
#[derive(Debug)]
pub struct RunningLcore {
    worker: usize,
    outcome: Outcome,
    _runtime: Arc<Runtime>,
}

impl Eal {
    /// Runs `work` on the core of worker `worker` (0 is the first).
    ///
    /// # Errors
    /// If there is no such worker, or it is at work already.
    pub fn launch(&self, worker: usize, work: Box<dyn FnOnce() + Send>) -> Result<RunningLcore, Error> {
        if worker >= self.worker_cores().len() {
            return Err(Error::Lcore(worker, format!("there are {} workers", self.worker_cores().len())));
        }
        let outcome = Outcome::default();
        let task = Box::into_raw(Box::new(Task { work, outcome: Arc::clone(&outcome) }));
        // SAFETY: the lcore exists, checked above. `run` gets a pointer to a `Task` that is its own
        // from here on; if it is not run, it is taken back below.
        let result = unsafe { dpdk_sys::rte_eal_remote_launch(Some(run), task.cast(), lcore_id(worker)) };
        if let Err(errno) = Errno::check(result) {
            // SAFETY: the launch failed, so `run` was not called and the task is still ours.
            drop(unsafe { Box::from_raw(task) });
            return Err(Error::Lcore(worker, format!("it is at work already ({errno})")));
        }
        Ok(RunningLcore { worker, outcome, _runtime: Arc::clone(&self.runtime) })
    }
}

impl RunningLcore {
    /// Waits until the closure has ended.
    ///
    /// # Errors
    /// The text of its panic.
    pub fn join(self) -> Result<(), String> {
        // SAFETY: the lcore exists, for something was launched on it.
        unsafe { dpdk_sys::rte_eal_wait_lcore(lcore_id(self.worker)) };
        self.outcome.get().cloned().unwrap_or_else(|| Err("it left no trace".into()))
    }
}

/// Lcore 0 is the main thread.
fn lcore_id(worker: usize) -> u32 {
    worker as u32 + 1
}

extern "C" fn run(task: *mut c_void) -> c_int {
    // SAFETY: `launch` made the pointer from a `Box<Task>` and gave it up.
    let Task { work, outcome } = *unsafe { Box::from_raw(task.cast::<Task>()) };
    // What `work` leaves broken is its own: it was moved in, and is gone after the panic.
    let result = catch_unwind(AssertUnwindSafe(work)).map_err(panic_text);
    let failed = result.is_err();
    let _ = outcome.set(result);
    c_int::from(failed)
}

fn panic_text(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or("panic".into(), |text| (*text).to_owned()),
    }
}
