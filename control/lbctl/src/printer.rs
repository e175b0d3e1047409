//! Stdout, in large writes.

use crate::Failure;
use std::cell::RefCell;
use std::io::{self, Write};

/// Bytes gathered before they are written.
const GATHERED: usize = 64 << 10;

/// What is printed while an answer comes in. It is shared: the reader of the answer flushes it before each wait
/// for more, so that everything that has come is seen.
pub(super) struct Printer<'a>(RefCell<State<'a>>);

struct State<'a> {
    out: &'a mut dyn Write,
    gathered: Vec<u8>,
    written: bool,
    failed: Option<io::Error>,
}

impl<'a> Printer<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self(RefCell::new(State { out, gathered: Vec::new(), written: false, failed: None }))
    }

    /// Prints this, and all that was gathered before.
    pub(super) fn print(&self, text: &str) -> Result<(), Failure> {
        self.print_later(&[text])?;
        let mut printer = self;
        // The failure says more.
        let _ = printer.flush();
        self.take_failure().map_or(Ok(()), |error| Err(Failure::Stdout(error)))
    }

    /// Prints this together with what follows, or when enough is gathered.
    pub(super) fn print_later(&self, texts: &[&str]) -> Result<(), Failure> {
        let mut printer = self;
        let _ = texts.iter().try_for_each(|text| printer.write_all(text.as_bytes()));
        self.take_failure().map_or(Ok(()), |error| Err(Failure::Stdout(error)))
    }

    /// Forgets what was gathered; whether nothing has been written before.
    pub(super) fn starts_anew(&self) -> bool {
        let mut state = self.0.borrow_mut();
        state.gathered.clear();
        !state.written
    }

    /// Why stdout took no more, if it did not.
    pub(super) fn take_failure(&self) -> Option<io::Error> {
        self.0.borrow_mut().failed.take()
    }
}

impl State<'_> {
    fn write_gathered(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.written = true;
        let done = self.out.write_all(&self.gathered).and_then(|()| self.out.flush());
        self.gathered.clear();
        done.map_err(|error| {
            let kind = error.kind();
            self.failed = Some(error);
            kind.into()
        })
    }
}

impl Write for &Printer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        state.gathered.extend_from_slice(bytes);
        if state.gathered.len() >= GATHERED {
            state.write_gathered()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().write_gathered()
    }
}
