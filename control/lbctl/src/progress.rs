//! How far a `restore` is, for whoever waits at a terminal: bytes read and sent, and for how long `lbd` has been at it.
//!
//! How far `lbd` itself is nobody knows: all lines are one change. The line appears after a moment, and is gone at the
//! end.

use control::text::quantities::bytes;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What takes no longer is not spoken of.
const SILENCE: Duration = Duration::from_millis(700);

/// How often the line is written anew.
const PAUSE: Duration = Duration::from_millis(250);

/// To the line's begin, and nothing in it.
const CLEAR: &str = "\r\x1b[K";

/// How far it is; what does the work writes it.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    read: AtomicU64,
    sent: AtomicU64,
    all: AtomicU64,
    waiting: Mutex<Option<Instant>>,
}

impl Stage {
    /// So many bytes of stdin more.
    pub(crate) fn read(&self, length: usize) {
        self.read.fetch_add(length as u64, Ordering::Relaxed);
    }

    /// The request has so many bytes.
    pub(crate) fn sending(&self, all: usize) {
        self.all.store(all as u64, Ordering::Relaxed);
    }

    /// So many bytes of it more are sent.
    pub(crate) fn sent(&self, length: usize) {
        let sent = length as u64 + self.sent.fetch_add(length as u64, Ordering::Relaxed);
        if sent >= self.all.load(Ordering::Relaxed) {
            *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    fn text(&self, now: Instant) -> String {
        let [read, sent, all] =
            [&self.read, &self.sent, &self.all].map(|number| number.load(Ordering::Relaxed));
        let waiting = *self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match (all, waiting) {
            (0, _) => format!("{} read", bytes(read)),
            (_, None) => format!("{} of {} sent", bytes(sent), bytes(all)),
            (_, Some(since)) => {
                let seconds = now.saturating_duration_since(since).as_secs();
                format!("{} sent; lbd checks the lines and puts them in force: {seconds} s", bytes(all))
            }
        }
    }
}

/// Says so on a terminal, until it is dropped.
pub(crate) struct Progress {
    pub(crate) stage: Arc<Stage>,
    stop: Option<Sender<()>>,
    saying: Option<JoinHandle<()>>,
}

impl Progress {
    /// On this terminal; on none, nothing is said.
    pub(crate) fn on(terminal: Option<File>) -> Self {
        let stage = Arc::new(Stage::default());
        let Some(terminal) = terminal else { return Self { stage, stop: None, saying: None } };
        let (said, (stop, stopped)) = (Arc::clone(&stage), channel::<()>());
        let say = move || {
            let mut terminal = terminal;
            let mut wait = SILENCE;
            let mut is_there = false;
            while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                let line = format!("{CLEAR}lbctl: {}", said.text(Instant::now()));
                if terminal.write_all(line.as_bytes()).is_err() {
                    return;
                }
                (wait, is_there) = (PAUSE, true);
            }
            if is_there {
                let _ = terminal.write_all(CLEAR.as_bytes());
            }
        };
        // Without a thread it goes on in silence.
        let saying = thread::Builder::new().name("progress".into()).spawn(say).ok();
        Self { stage, stop: Some(stop), saying }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(saying) = self.saying.take() {
            let _ = saying.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_said() {
        let (stage, now) = (Stage::default(), Instant::now());
        stage.read(1_000_000);
        assert_eq!(stage.text(now), "1.00 MB read");
        stage.sending(2_000_000);
        stage.sent(500_000);
        assert_eq!(stage.text(now), "500 kB of 2.00 MB sent");
        stage.sent(1_500_000);
        let later = Instant::now() + Duration::from_secs(7);
        let text = stage.text(later);
        assert_eq!(text, "2.00 MB sent; lbd checks the lines and puts them in force: 7 s");
    }
}
