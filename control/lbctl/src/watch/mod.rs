//! `--watch`: the answer to one command, again and again.
//!
//! ```text
//! mod     the periods: asking, and what becomes of an lbd that is away
//! frame   a text cut to a window
//! screen  the terminal that is painted on, and given back whatever ends the program
//! ```
//!
//! On a terminal the text is painted over the one before. Elsewhere it follows it, below a line with the time. As JSON
//! it is one object in each period. Each period connects anew, so an `lbd` that is restarted, or replaced by another,
//! is found again.

mod frame;
mod screen;

use crate::exchange::Lbd;
use crate::listing::duration;
use crate::options::{Options, Output, Watching};
use crate::printer::Printer;
use crate::{Failure, show};
use control::api::protocol::Command;
use screen::Screen;
use serde::Deserialize;
use std::fs::File;
use std::io;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// A watch that is under way.
pub(super) struct Watch<'a> {
    options: &'a Options,
    lbd: &'a Lbd,
    /// The command's name.
    name: &'static str,
    period: Duration,
    /// What the last answer was, and when it came.
    last: (SystemTime, String),
    /// Since when there is none.
    away: Option<SystemTime>,
    /// The time that the next two are told by.
    begin: Instant,
    /// The latest moment at which the `lbd` that answered may have begun.
    began_by: Option<f64>,
    /// When another one was noticed.
    restarted: Option<SystemTime>,
}

/// The part of `status` that stands above every text.
#[derive(Debug, Deserialize)]
struct Head {
    version: String,
    uptime_s: u64,
    config_version: u64,
}

/// What a period has brought.
struct Period {
    time: SystemTime,
    /// Seconds after the beginning of the watch before it was asked, and after the answer.
    around: (f64, f64),
    /// `None` with JSON, and where there was no answer.
    head: Option<Head>,
    answer: Result<String, Failure>,
}

impl Period {
    /// Fails if there was no answer.
    fn answered(self) -> Result<Self, Failure> {
        let answer = Ok(self.answer?);
        Ok(Self { answer, ..self })
    }
}

impl<'a> Watch<'a> {
    pub(super) fn new(options: &'a Options, name: &'static str, period: Duration, lbd: &'a Lbd) -> Self {
        let last = (SystemTime::now(), String::new());
        Self {
            options,
            lbd,
            name,
            period,
            last,
            away: None,
            begin: Instant::now(),
            began_by: None,
            restarted: None,
        }
    }

    /// Asks and shows until stdout takes no more, or so many periods are over. A first question that is not answered
    /// ends it; a later one does not, but it decides the result if it was the last.
    pub(super) fn run(
        &mut self,
        watching: &Watching,
        printer: &Printer<'_>,
        terminal: Option<File>,
    ) -> Result<(), Failure> {
        let terminal = terminal.filter(|_| self.options.output == Output::Text);
        let mut period = self.ask().answered()?;
        let screen = terminal.map(Screen::open).transpose().map_err(Failure::Stdout)?;
        let start = Instant::now();
        let mut turn = 1;
        loop {
            self.follow(&period);
            match &screen {
                Some(screen) => screen.paint(&self.frame(&period)).map_err(Failure::Stdout)?,
                None => printer.print(&self.block(&period))?,
            }
            if watching.count == Some(turn) {
                break;
            }
            self.wait(start + self.period.saturating_mul(turn), screen.as_ref(), &period)?;
            turn = turn.saturating_add(1);
            period = self.ask();
        }
        if let Some(screen) = screen {
            drop(screen);
            printer.print(&self.block(&period))?;
        }
        period.answer.map(drop)
    }

    fn ask(&self) -> Period {
        let (mut text, time, asked) = (Vec::new(), SystemTime::now(), self.begin.elapsed());
        let printer = Printer::new(&mut text);
        let head = match self.options.output {
            // JSON has all of it in `status`.
            Output::Json => Ok(None),
            Output::Text => self.lbd.ask(&Command::Status {}, &printer).map(Some),
        };
        let around = (asked.as_secs_f64(), self.begin.elapsed().as_secs_f64());
        let shown =
            head.and_then(|head| show(self.options, self.lbd, &mut io::empty(), &printer).map(|_| head));
        drop(printer);
        match shown {
            Ok(head) => {
                let answer = Ok(String::from_utf8_lossy(&text).into_owned());
                Period { time, around, head, answer }
            }
            Err(failure) => Period { time, around, head: None, answer: Err(failure) },
        }
    }

    /// Remembers what the next periods are compared with.
    fn follow(&mut self, period: &Period) {
        match &period.answer {
            Ok(text) => {
                self.last = (period.time, text.clone());
                self.away = None;
            }
            Err(_) => self.away = Some(self.away.unwrap_or(period.time)),
        }
        if let Some(Head { uptime_s, .. }) = period.head {
            let (not_before, by) = began(period.around, uptime_s);
            match self.began_by {
                Some(began_by) if not_before <= began_by => self.began_by = Some(began_by.min(by)),
                before => {
                    self.restarted = before.map(|_| period.time).or(self.restarted);
                    self.began_by = Some(by);
                }
            }
        }
    }

    /// Until the next period; a window of another size is painted anew.
    fn wait(&self, until: Instant, screen: Option<&Screen>, period: &Period) -> Result<(), Failure> {
        let Some(screen) = screen else {
            thread::sleep(until.saturating_duration_since(Instant::now()));
            return Ok(());
        };
        while screen.is_woken_before(until) {
            screen.paint(&self.frame(period)).map_err(Failure::Stdout)?;
        }
        Ok(())
    }

    /// What is painted: when and of which `lbd` it is, and the last answer.
    fn frame(&self, period: &Period) -> String {
        let mut text =
            format!("lbctl {}, every {} s: {}", self.name, self.period.as_secs_f64(), clock(period.time));
        if let Some(Head { version, uptime_s, config_version }) = &period.head {
            let up = duration(*uptime_s);
            text += &format!("; natlb {version}, up {up}, configuration version {config_version}");
        }
        text.push('\n');
        if let (Err(failure), Some(away)) = (&period.answer, self.away) {
            let (since, of) = (clock(away), clock(self.last.0));
            text +=
                &format!("{}\nso since {since}, tried again; what follows is of {of}\n", failure.message());
        } else if let Some(restarted) = self.restarted {
            text += &format!("another lbd than before since {}\n", clock(restarted));
        }
        text.push('\n');
        text + &self.last.1
    }

    /// What is printed where nothing is painted.
    fn block(&self, period: &Period) -> String {
        match (&period.answer, self.options.output) {
            (Ok(text), Output::Json) => with_time(text, period.time),
            (Err(failure), Output::Json) => with_time(&failure.json(), period.time),
            (Ok(text), Output::Text) => {
                let restarted = self.restarted.filter(|restarted| *restarted == period.time);
                let note = if restarted.is_some() { " another lbd than before" } else { "" };
                format!("{}{note}\n{text}\n", clock(period.time))
            }
            (Err(failure), Output::Text) => {
                format!("{} lbctl: {}; trying again\n\n", clock(period.time), failure.message())
            }
        }
    }
}

/// Between which moments an `lbd` began that, asked and answering at these, had been up for so many whole seconds.
fn began((asked, answered): (f64, f64), uptime: u64) -> (f64, f64) {
    (asked - uptime as f64 - 1.0, answered - uptime as f64)
}

fn clock(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// An object with the time before its other keys, on a line of its own.
fn with_time(object: &str, time: SystemTime) -> String {
    let time = humantime::format_rfc3339_millis(time);
    let rest = object.trim().strip_prefix('{').unwrap_or("}");
    let comma = if rest.starts_with('}') { "" } else { "," };
    format!("{{\"time\":\"{time}\"{comma}{rest}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_begin_of_an_lbd_is_within_what_is_known() {
        // It began at 10.4, and says so at 12.3.
        let (not_before, by) = began((12.1, 12.5), 1);
        assert!(not_before <= 10.4 && 10.4 <= by, "{not_before} {by}");
        // One that began at 14.0 is another, also if its answer took long; asked again, this one is no other.
        assert!(began((15.3, 19.0), 1).0 > by);
        assert!(began((20.0, 29.0), 9).0 <= by);
    }

    #[test]
    fn the_time_is_one_key_more() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_234_567_890_123);
        assert_eq!(with_time("{\"a\":1}\n", time), "{\"time\":\"2009-02-13T23:31:30.123Z\",\"a\":1}\n");
        assert_eq!(with_time("{}\n", time), "{\"time\":\"2009-02-13T23:31:30.123Z\"}\n");
    }
}
