//! Whether a worker works, and how far it has come to rest: what the control thread asks for, and what the worker says
//! it does. A successor's workers take the devices over from those of the process before, so that never two of them
//! send for the same packet.
//!
//! ```text
//!                    ┌──────────── Run ◄──────────────┐
//!                    ▼                                │ a last look at the devices: what is old is dropped
//!   the one before: Finish ──► Rest      the next: Rest ──► Discard
//! ```

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What a worker does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// It works.
    #[default]
    Run,
    /// It handles what it has received, and what others hand over to it, and receives nothing more.
    Finish,
    /// It does nothing: frames stay in the devices' rings.
    Rest,
    /// It receives, and drops what it receives.
    Discard,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Run, Self::Finish, Self::Rest, Self::Discard];

    /// Of a number that is one of a phase.
    fn of(number: u8) -> Self {
        Self::ALL.into_iter().find(|phase| *phase as u8 == number).unwrap_or_default()
    }
}

/// What a worker and the control thread share of this.
#[derive(Debug, Default)]
pub struct Pace {
    /// Written by the control thread.
    asked: AtomicU8,
    /// Written by the worker, as all below.
    followed: AtomicU8,
    /// Turns in which it only finished.
    turns: AtomicU64,
    /// Those of them in which something was left to do.
    busy: AtomicU64,
}

/// How far a worker has come with finishing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// It receives nothing more, and has made this number of turns since.
    pub turns: u64,
    /// In this number of them something was left to do.
    pub busy: u64,
}

impl Pace {
    /// The worker is to do this from its next turn on.
    pub fn ask(&self, phase: Phase) {
        self.asked.store(phase as u8, Ordering::Release);
    }

    /// What the worker is to do.
    #[inline(always)]
    pub fn asked(&self) -> Phase {
        // One comparison where it works.
        match self.asked.load(Ordering::Acquire) {
            0 => Phase::Run,
            other => Phase::of(other),
        }
    }

    /// Whether the worker does this. What it did before is over, and seen by the caller.
    pub fn follows(&self, phase: Phase) -> bool {
        self.followed.load(Ordering::Acquire) == phase as u8
    }

    /// How far it is with finishing; `None`: it still receives.
    pub fn finished(&self) -> Option<Finished> {
        self.follows(Phase::Finish).then(|| Finished {
            turns: self.turns.load(Ordering::Acquire),
            busy: self.busy.load(Ordering::Acquire),
        })
    }

    /// The worker does this from now on.
    pub fn follow(&self, phase: Phase) {
        self.followed.store(phase as u8, Ordering::Release);
    }

    /// The worker has made a turn of finishing, in which something was left to do or not.
    pub fn note(&self, was_busy: bool) {
        self.busy.fetch_add(u64::from(was_busy), Ordering::Release);
        self.turns.fetch_add(1, Ordering::Release);
    }
}
