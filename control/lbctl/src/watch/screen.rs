//! The terminal that is painted on. Whatever ends the program (Ctrl-C, a signal, a panic), the terminal is as before.
//!
//! What is painted stands on the terminal's second screen, so that what was there before is there again afterwards. A
//! thread waits for signals: it gives the terminal back even while the painter waits for an answer of `lbd`.

use super::frame::{Window, cut};
use rustix::termios::tcgetwinsize;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::emulate_default_handler;
use std::fs::File;
use std::io::{self, Write};
use std::panic;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The second screen, without a cursor.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";

/// The first screen, with the cursor.
const LEAVE: &[u8] = b"\x1b[?25h\x1b[?1049l";

/// To the upper left corner.
const HOME: &str = "\x1b[H";

/// Clears what stands behind the cursor in its line, and ends the line.
const REST_OF_LINE: &str = "\x1b[K\r\n";

/// Clears what stands behind the cursor on the screen.
const REST_OF_SCREEN: &str = "\x1b[K\x1b[J";

/// Of a terminal that does not say.
const USUAL: Window = Window { rows: 24, columns: 80 };

/// How long a signal waits until a frame is written: a terminal that is stopped (Ctrl-S) takes none.
const PATIENCE: Duration = Duration::from_millis(200);

/// The terminal, while it is painted on.
pub(super) struct Screen {
    terminal: Arc<Terminal>,
    signals: Handle,
    waiting: Option<JoinHandle<()>>,
    woken: Receiver<()>,
}

/// Written to by one thread at a time: half a frame must not stand behind [`LEAVE`].
struct Terminal(Mutex<File>, File);

impl Terminal {
    /// Writes, whoever else does if that takes too long.
    fn write_soon(&self, bytes: &[u8]) {
        let end = Instant::now() + PATIENCE;
        let turn: Option<MutexGuard<'_, File>> = loop {
            match self.0.try_lock() {
                Ok(turn) => break Some(turn),
                Err(_) if Instant::now() >= end => break None,
                Err(_) => thread::sleep(PATIENCE / 20),
            }
        };
        // It may be gone.
        let _ = (&self.1).write_all(bytes);
        drop(turn);
    }
}

impl Screen {
    /// Begins.
    ///
    /// # Errors
    /// The terminal takes nothing, or signals can't be waited for.
    pub(super) fn open(file: File) -> io::Result<Self> {
        let terminal = Arc::new(Terminal(Mutex::new(file.try_clone()?), file));
        let signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGCONT, SIGWINCH])?;
        let (handle, (wake, woken)) = (signals.handle(), channel());
        let restored = Arc::clone(&terminal);
        let waiting = thread::Builder::new()
            .name("signals".into())
            .spawn(move || wait_for_signals(signals, &restored, &wake))?;
        let before = panic::take_hook();
        let of_panic = Arc::clone(&terminal);
        panic::set_hook(Box::new(move |what| {
            of_panic.write_soon(LEAVE);
            before(what);
        }));
        let screen = Self { terminal, signals: handle, waiting: Some(waiting), woken };
        screen.write(ENTER)?;
        Ok(screen)
    }

    /// Paints a text, as much of it as there is room for.
    pub(super) fn paint(&self, text: &str) -> io::Result<()> {
        let window = tcgetwinsize(&self.terminal.1).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
        let window =
            window.map_or(USUAL, |size| Window { rows: size.ws_row.into(), columns: size.ws_col.into() });
        let lines = cut(text, window);
        self.write(format!("{HOME}{}{REST_OF_SCREEN}", lines.join(REST_OF_LINE)).as_bytes())
    }

    /// Waits until then, or until the window has changed: whether that is so.
    pub(super) fn is_woken_before(&self, end: Instant) -> bool {
        let left = end.saturating_duration_since(Instant::now());
        self.woken.recv_timeout(left).is_ok()
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.terminal.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.terminal.write_soon(LEAVE);
        self.signals.close();
        if let Some(waiting) = self.waiting.take() {
            let _ = waiting.join();
        }
    }
}

/// Obeys signals, until they are no longer waited for.
fn wait_for_signals(mut signals: Signals, terminal: &Terminal, wake: &Sender<()>) {
    for signal in signals.forever() {
        match signal {
            SIGWINCH => {
                let _ = wake.send(());
            }
            SIGCONT => {
                terminal.write_soon(ENTER);
                let _ = wake.send(());
            }
            // Those that stop or end it do so when the terminal is given back.
            _ => {
                terminal.write_soon(LEAVE);
                let _ = emulate_default_handler(signal);
            }
        }
    }
}
