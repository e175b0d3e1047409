//! What is said to systemd, if it started this process: that it forwards, that it goes on doing so, and which process
//! has its place now (sd_notify(3)).

use control::daemon::ControlThread;
use control::observe::watchdog::{Found, Watchdog};
use sd_notify::NotifyState;
use std::env;
use std::time::{Duration, Instant};

/// After how many microseconds of silence systemd restarts it (`WatchdogSec=`).
const LIMIT: &str = "WATCHDOG_USEC";
/// Of which process, by number.
const WHOSE: &str = "WATCHDOG_PID";

/// See the module's text.
pub(crate) struct Supervision {
    watchdog: Option<Watchdog>,
}

impl Supervision {
    /// Says that it forwards. `takes_over`: in the place of another process, which systemd watched until now.
    pub(crate) fn ready(takes_over: bool) -> Self {
        say(NotifyState::Ready);
        let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let limit = limit(number(LIMIT), number(WHOSE), takes_over);
        Self { watchdog: limit.map(|limit| Watchdog::new(limit, Instant::now())) }
    }

    /// Says that all workers turn, as often as is wanted, if they do. To be called in each turn of the control loop: if
    /// that stands still, nothing is said.
    pub(crate) fn turn(&mut self, control: &ControlThread) {
        let Some(watchdog) = &mut self.watchdog else { return };
        let now = Instant::now();
        match watchdog.look(now, control.progress()) {
            Some(Found::Alive) => say(NotifyState::Watchdog),
            Some(Found::Stuck { workers, is_news: true }) => {
                let workers: Vec<_> = workers.iter().map(usize::to_string).collect();
                log::error!(
                    "worker {} makes no turn any more: systemd is not told that lbd works until it does, and starts it \
                     again",
                    workers.join(" and ")
                );
            }
            Some(Found::Stuck { is_news: false, .. }) | None => {}
        }
    }
}

/// Another process has this one's place from now on.
pub(crate) fn give_way(successor: u32) {
    say(NotifyState::MainPid(successor));
}

fn say(what: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[what]) {
        log::debug!("systemd is not told: {error}");
    }
}

/// How long systemd waits; `None`: it does not watch this process. One that takes another's place was started by a
/// shell, perhaps, whose number is named.
fn limit(microseconds: Option<u64>, whose: Option<u64>, takes_over: bool) -> Option<Duration> {
    let is_own = whose.is_none_or(|whose| whose == u64::from(std::process::id()));
    microseconds.filter(|limit| *limit > 0 && (is_own || takes_over)).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_process_or_a_successor_is_watched() {
        let own = Some(u64::from(std::process::id()));
        let second = Some(Duration::from_secs(1));
        assert_eq!(limit(Some(1_000_000), None, false), second);
        assert_eq!(limit(Some(1_000_000), own, false), second);
        assert_eq!(limit(Some(1_000_000), Some(1), false), None);
        assert_eq!(limit(Some(1_000_000), Some(1), true), second);
        assert_eq!(limit(Some(0), own, true), None);
        assert_eq!(limit(None, own, true), None);
    }
}
