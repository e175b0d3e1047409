//! A lock that a forked child can take over.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicI32, Ordering};
use rustix::fs::Timespec;

/// How long a thread sleeps that finds the lock taken. That is rare: tools use a descriptor from one thread.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// A value for one thread at a time.
///
/// The C library's and `std`'s locks stay locked for ever in a child whose parent forked while another thread had the
/// lock. This one remembers the process: a lock that another process has taken is nobody's.
pub(crate) struct Lock<T> {
    /// The process whose thread has it; 0: free.
    holder: AtomicI32,
    value: UnsafeCell<T>,
}

// SAFETY: the value is only reached through a `Held`, which exists once at a time in a process: see `Lock::lock`. So
// threads do not share the value but hand it over, which `T: Send` allows.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { holder: AtomicI32::new(0), value: UnsafeCell::new(value) }
    }

    /// Waits until no other thread of this process has it.
    pub(crate) fn lock(&self) -> Held<'_, T> {
        let process = rustix::process::getpid().as_raw_nonzero().get();
        loop {
            let found = self.holder.load(Ordering::Relaxed);
            let free = found != process;
            if free
                && self.holder.compare_exchange(found, process, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return Held { lock: self };
            }
            if !free {
                let _ = rustix::thread::nanosleep(&PAUSE);
            }
        }
    }
}

/// The value, until this is dropped.
pub(crate) struct Held<'lock, T> {
    lock: &'lock Lock<T>,
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: only `lock` makes a `Held`, after it has put this process into `holder`, where it found 0 or
        // another process. While that stands there no other thread of the process gets one. Another process stands
        // there only in the copy of memory that fork made, where its thread does not run. (A child of vfork shares
        // memory, but may call nothing but exec and _exit.)
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; `self` is borrowed mutably, so there is no other reference from it.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        self.lock.holder.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::Lock;
    use core::sync::atomic::Ordering;
    use std::thread;

    #[test]
    fn threads_have_it_one_after_the_other() {
        let lock = Lock::new(0_u64);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let mut held = lock.lock();
                        let before = *held;
                        thread::yield_now();
                        *held = before + 1;
                    }
                });
            }
        });
        assert_eq!(*lock.lock(), 8000);
    }

    #[test]
    fn a_lock_of_another_process_is_free() {
        let lock = Lock::new(7);
        lock.holder.store(1, Ordering::Relaxed); // init's: not ours
        assert_eq!(*lock.lock(), 7);
        assert_eq!(lock.holder.load(Ordering::Relaxed), 0);
    }
}
