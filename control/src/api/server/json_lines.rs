//! `lbctl`'s speech: one object a line comes in ([`Request`]), one goes out ([`Answer`]).

use super::{Farewell, Outlet, PeerId, Server, Speech};
use crate::api::protocol::{
    Answer, Command, LONGEST_LINE, LONGEST_OTHER_LINE, Lines, Outcome, Refusal, Request, VERSION,
};
use serde::Deserialize;
use std::borrow::Cow;
use std::time::Instant;

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct JsonLines;

impl Speech for JsonLines {
    type Request = Command;
    const LONGEST: usize = LONGEST_LINE;
    const MAY_BE_SILENT: bool = false;

    fn end(input: &[u8], searched: usize) -> Option<usize> {
        let end = input[searched..].iter().position(|byte| *byte == b'\n')?;
        Some(searched + end + 1)
    }

    fn request(bytes: Vec<u8>) -> Result<Command, Vec<u8>> {
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        request(line).map_err(|why| line_of("bad_request", why))
    }

    fn farewell(why: Farewell, message: String) -> Vec<u8> {
        match why {
            Farewell::NotPermitted => line_of("not_permitted", message),
            Farewell::Busy => line_of("busy", message),
            Farewell::TooLong => line_of("bad_request", format!("a line is {message}")),
        }
    }
}

impl Server<JsonLines> {
    /// Answers a request.
    pub fn answer(&mut self, peer: PeerId, outcome: Outcome, now: Instant) {
        self.push(peer, &line(outcome));
        self.end(peer, now);
    }
}

fn line_of(code: &str, message: String) -> Vec<u8> {
    line(Outcome::Error(Refusal::new(code, message)))
}

/// An answer as it goes out.
pub fn line(result: Outcome) -> Vec<u8> {
    let answer = Answer { v: VERSION, result };
    // Maps with text keys and numbers always have a JSON form.
    let mut bytes = serde_json::to_vec(&answer).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn request(line: &[u8]) -> Result<Command, String> {
    let wrong = |error| format!("not a request: {error}");
    let (v, command) = if line.len() > LONGEST_OTHER_LINE {
        let long: LongRequest<'_> = serde_json::from_slice(line).map_err(|error| {
            wrong(format!("longer than {LONGEST_OTHER_LINE} bytes, and neither restore nor apply: {error}"))
        })?;
        let LongRequest { v, command, lines, dry_run, confirm } = long;
        match &*command {
            "restore" if confirm.is_none() => (v, Command::Restore { lines, dry_run }),
            "apply" => (v, Command::Apply { lines, dry_run, confirm }),
            _ => return Err(wrong(format!("longer than {LONGEST_OTHER_LINE} bytes: {command:?}"))),
        }
    } else {
        let request: Request = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
        (request.v, request.command)
    };
    if v != VERSION {
        return Err(format!("version {v} of the protocol; this is version {VERSION}"));
    }
    Ok(command)
}

/// A request of megabytes, which is read straight into its place: on the way to a [`Request`] of any kind it would take
/// many times its bytes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongRequest<'a> {
    v: u32,
    #[serde(borrow)]
    command: Cow<'a, str>,
    lines: Lines,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    confirm: Option<u32>,
}
