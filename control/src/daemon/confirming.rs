//! A change that is taken back by itself unless somebody confirms it in time, and what SIGHUP asks for.

use super::ControlThread;
use super::publication::Asked;
use crate::api::origin::{Origin, Way};
use crate::api::protocol::{Command, Confirmed};
use crate::api::refusal::Refused;
use crate::api::server::PeerId;
use crate::persist::history::{Deadline, now_ms};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Until a change that could not be taken back is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// No peer has this number: nobody waits for the answer.
pub(super) const NOBODY: PeerId = PeerId::MAX;

/// A change that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Confirming {
    /// Its number in the history.
    number: u64,
    until: Instant,
    is_being_taken_back: bool,
}

impl Confirming {
    /// A change that waits from now on.
    pub(super) fn new(number: u64, seconds: u32, now: Instant) -> Self {
        Self { number, until: now + Duration::from_secs(seconds.into()), is_being_taken_back: false }
    }

    /// One that has waited in another process. A clock that was set meanwhile gives it no more time than it had.
    pub(super) fn inherited((number, deadline): (u64, Deadline), now: Instant, now_ms: u64) -> Self {
        let left = deadline.until_ms.saturating_sub(now_ms).min(u64::from(deadline.seconds) * 1000);
        Self { number, until: now + Duration::from_millis(left), is_being_taken_back: false }
    }

    /// How long it still waits, in seconds.
    fn seconds(&self, now: Instant) -> u64 {
        self.until.saturating_duration_since(now).as_millis().div_ceil(1000) as u64
    }

    fn refused(&self, now: Instant) -> Refused {
        Refused::Confirming { number: self.number, seconds: self.seconds(now) }
    }

    fn is_due(&self, now: Instant) -> bool {
        !self.is_being_taken_back && now >= self.until
    }
}

/// What a signal asks of the control thread. Copies are one.
#[derive(Clone, Debug, Default)]
pub struct Hangups(Arc<Hangup>);

#[derive(Debug, Default)]
struct Hangup {
    has_come: AtomicBool,
    process: AtomicU32,
    user: AtomicU32,
}

impl Hangups {
    /// SIGHUP has come, from this process and user; several that come before the first is obeyed are one.
    pub fn come(&self, process: u32, user: u32) {
        self.0.process.store(process, Ordering::Relaxed);
        self.0.user.store(user, Ordering::Relaxed);
        self.0.has_come.store(true, Ordering::Release);
    }

    /// Who has sent one since the last call.
    fn take(&self) -> Option<(u32, u32)> {
        let has_come = self.0.has_come.swap(false, Ordering::Acquire);
        has_come.then(|| (self.0.process.load(Ordering::Relaxed), self.0.user.load(Ordering::Relaxed)))
    }
}

impl ControlThread {
    /// What SIGHUP asks for comes by this from now on: the configuration file is read again.
    pub fn obey_hangups(&mut self, hangups: Hangups) {
        self.hangups = hangups;
    }

    /// Has time pass, for changes that wait to be confirmed.
    pub fn pass_time(&mut self, time: Duration) {
        if let Some(confirming) = &mut self.confirming {
            confirming.until = confirming.until.checked_sub(time).unwrap_or_else(Instant::now);
        }
    }

    /// Why a change is not begun now.
    pub(super) fn refuses_while_confirming(&self, command: &Command) -> Result<(), Refused> {
        match &self.confirming {
            Some(confirming) if !matches!(command, Command::Rollback { .. }) => {
                Err(confirming.refused(Instant::now()))
            }
            _ => Ok(()),
        }
    }

    /// From now on this change waits.
    pub(super) fn wait_for_confirmation(&mut self, number: u64, seconds: u32) {
        self.confirming = Some(Confirming::new(number, seconds, Instant::now()));
        log::warn!("change {number} is taken back in {seconds} s unless it is confirmed (lbctl confirm)");
    }

    /// A change has been taken back, so none waits any more.
    pub(super) fn end_confirming(&mut self) {
        self.confirming = None;
    }

    /// What waits could not be taken back.
    pub(super) fn confirm_again(&mut self) {
        if let Some(confirming) = &mut self.confirming {
            (confirming.is_being_taken_back, confirming.until) = (false, Instant::now() + AGAIN);
        }
    }

    /// Asks for what signals and the passing of time ask for.
    pub(super) fn heed_time_and_signals(&mut self, now: Instant) {
        if self.hand_over.refuses_changes().is_err() {
            return;
        }
        if let Some((process, user)) = self.hangups.take() {
            let name = self.peers.user(user);
            let origin = Origin {
                by: Way::Signal,
                uid: Some(user),
                user: name,
                process: Some(process),
                program: None,
            };
            log::info!("reading the configuration file again{origin}");
            self.take_asked(Asked::new(NOBODY, Command::Reload { dry_run: false }, origin));
        }
        if let Some(confirming) = self.confirming.as_mut().filter(|confirming| confirming.is_due(now)) {
            confirming.is_being_taken_back = true;
            log::warn!("change {} was not confirmed in time: it is taken back", confirming.number);
            let origin = Origin { by: Way::Lbd, ..Origin::default() };
            self.take_asked(Asked::new(NOBODY, Command::Rollback { to: None }, origin));
        }
    }

    /// A peer confirms.
    pub(super) fn confirm(&mut self, peer: PeerId, command: &Command) {
        let waits = self.confirming.filter(|confirming| !confirming.is_being_taken_back);
        let place = self.hand_over.refuses_changes();
        match (place, waits) {
            (Err(refused), _) => self.refuse(peer, command, refused),
            (Ok(()), None) => self.refuse(peer, command, Refused::NothingToConfirm),
            (Ok(()), Some(waits)) => {
                self.confirming = None;
                self.ask_to_confirm(peer, waits);
            }
        }
    }

    /// It is in the history that the change stays, or not.
    pub(super) fn answer_confirmed(
        &mut self,
        (peer, waits): (PeerId, Confirming),
        result: Result<Option<u64>, Refused>,
    ) {
        let command = Command::Confirm {};
        match result {
            Ok(Some(change)) => {
                let origin = self.peers.origin(peer);
                log::info!("change {change} is confirmed{origin}");
                let confirmed = Confirmed { change, config_version: self.snapshot.version };
                self.reply(peer, Ok(serde_json::to_value(confirmed).unwrap_or_default()));
            }
            Ok(None) => self.refuse(peer, &command, Refused::NothingToConfirm),
            Err(refused) => {
                self.confirming = Some(waits);
                self.refuse(peer, &command, refused);
            }
        }
    }

    /// Why no successor can take this daemon's place while a change waits: only a file would tell it so.
    pub(super) fn confirming_alone(&self) -> Option<String> {
        let confirming = self.confirming.filter(|_| !self.has_state)?;
        Some(format!(
            "change {} waits to be confirmed, and without [control] state no other lbd would know of it; try again",
            confirming.number
        ))
    }
}

/// A change that an earlier process has left to wait, as the history says.
pub(super) fn inherited(pending: Option<(u64, Deadline)>) -> Option<Confirming> {
    let (now, now_ms) = (Instant::now(), now_ms());
    let confirming = pending.map(|pending| Confirming::inherited(pending, now, now_ms));
    if let Some(confirming) = &confirming {
        let (number, seconds) = (confirming.number, confirming.seconds(now));
        log::warn!(
            "change {number} waits to be confirmed (lbctl confirm), and is taken back in {seconds} s otherwise"
        );
    }
    confirming
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_waits_for_as_long_as_it_was_given() {
        let now = Instant::now();
        let after = |milliseconds| now + Duration::from_millis(milliseconds);
        let waiting = Confirming::new(7, 2, now);
        assert!(!waiting.is_due(after(1999)) && waiting.is_due(after(2000)));
        assert_eq!(
            [waiting.seconds(now), waiting.seconds(after(1)), waiting.seconds(after(3000))],
            [2, 2, 0]
        );
        let taken = Confirming { is_being_taken_back: true, ..waiting };
        assert!(!taken.is_due(after(5000)), "once is enough");
    }

    #[test]
    fn another_process_goes_on_waiting() {
        let now = Instant::now();
        let left = |until_ms, now_ms| {
            let deadline = Deadline { seconds: 60, until_ms };
            Confirming::inherited((3, deadline), now, now_ms).until - now
        };
        assert_eq!(left(100_000, 70_000), Duration::from_secs(30));
        assert_eq!(left(100_000, 100_001), Duration::ZERO, "the time was up while nobody was there");
        assert_eq!(left(100_000, 1), Duration::from_secs(60), "the clock was set back");
    }

    #[test]
    fn signals_that_come_at_once_are_one() {
        let (hangups, sender) = (Hangups::default(), Hangups::default());
        assert_eq!(hangups.take(), None);
        let copy = hangups.clone();
        copy.come(7, 0);
        copy.come(8, 1);
        assert_eq!((hangups.take(), hangups.take(), sender.take()), (Some((8, 1)), None, None));
    }
}
