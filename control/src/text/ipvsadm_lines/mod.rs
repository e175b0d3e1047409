//! The lines of `save` and `restore`: commands as `ipvsadm-save -n` writes them, and those that change what earlier
//! lines have made.
//!
//! ```text
//! --set 900 120 300
//! -A -t 192.168.10.100:80 -s wrr
//! -a -t 192.168.10.100:80 -r 10.0.0.7:80 -m -w 1
//! -e -t 192.168.10.100:80 -r 10.0.0.7:80 -m -w 3     also -E, -d, -D
//! ```

mod options;
mod whole;
mod words;

pub use whole::{CutOff, FIRST_LINE, change_line, check_whole, last_line};

use crate::model::Real;
use crate::text::later;
use dataplane::connection::{TimeoutSeconds, Timeouts};
use dataplane::names::ids::{Protocol, ServiceKey};
use dataplane::schedule::Algorithm;
use options::Options;
use std::fmt::Write;
use std::net::SocketAddr;
use words::{Words, after_program, words};

/// What a line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// `-A`: a service without reals.
    AddService {
        /// VIP, protocol and port.
        service: ServiceKey,
        /// How a real is picked.
        scheduler: Algorithm,
    },
    /// `-a`: the newest real of a service.
    AddReal {
        /// The service, which an earlier line adds.
        service: ServiceKey,
        /// Address, port and weight.
        real: Real,
        /// Connections at which no more are given, and below which they are given again; 0: no limit.
        thresholds: [u32; 2],
    },
    /// `-E`: another scheduler, if one is named.
    EditService {
        /// VIP, protocol and port.
        service: ServiceKey,
        /// How a real is picked.
        scheduler: Option<Algorithm>,
    },
    /// `-D`: a service with its reals goes.
    DelService(ServiceKey),
    /// `-e`: another weight, if one is named.
    EditReal {
        /// The service.
        service: ServiceKey,
        /// Address and port.
        real: SocketAddr,
        /// See [`Real`].
        weight: Option<u32>,
        /// As of [`AddReal`](Self::AddReal).
        thresholds: [u32; 2],
    },
    /// `-d`: a real goes.
    DelReal {
        /// The service.
        service: ServiceKey,
        /// Address and port.
        real: SocketAddr,
    },
    /// `--set`: 0 leaves a timeout as it is.
    SetTimeouts(TimeoutSeconds),
    /// `-C`: everything before it is removed.
    Clear,
}

/// The line that sets the timeouts.
pub fn timeouts_line(TimeoutSeconds { tcp, fin, udp }: TimeoutSeconds) -> String {
    format!("--set {tcp} {fin} {udp}")
}

/// The line that adds a service.
pub fn service_line(key: &ServiceKey, scheduler: Algorithm) -> String {
    format!("-A {} -s {scheduler}", service_option(key))
}

/// The line that adds a real; a threshold of 0 is left out.
pub fn real_line(service: &ServiceKey, Real { endpoint, weight }: &Real, thresholds: [u32; 2]) -> String {
    let mut line = format!("-a {} -r {endpoint} -m -w {weight}", service_option(service));
    for (letter, threshold) in ["x", "y"].into_iter().zip(thresholds) {
        if threshold != 0 {
            let _ = write!(line, " -{letter} {threshold}");
        }
    }
    line
}

/// The line that gives a service another scheduler.
pub fn edit_service_line(key: &ServiceKey, scheduler: Algorithm) -> String {
    format!("-E {} -s {scheduler}", service_option(key))
}

/// The line that removes a service with its reals.
pub fn del_service_line(key: &ServiceKey) -> String {
    format!("-D {}", service_option(key))
}

/// The line that gives a real another weight.
pub fn edit_real_line(service: &ServiceKey, Real { endpoint, weight }: &Real) -> String {
    format!("-e {} -r {endpoint} -m -w {weight}", service_option(service))
}

/// The line that removes a real.
pub fn del_real_line(service: &ServiceKey, endpoint: SocketAddr) -> String {
    format!("-d {} -r {endpoint}", service_option(service))
}

fn service_option(key: &ServiceKey) -> String {
    let letter = match key.protocol {
        Protocol::Tcp => 't',
        Protocol::Udp => 'u',
    };
    format!("-{letter} {}", key.listen)
}

/// Each line with its number, from 1; those that are blank, or a comment from `#` on, are left out.
pub fn numbered<'a>(lines: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = (usize, &'a str)> {
    (1..).zip(lines).filter(|(_, line)| words(line).next().is_some())
}

/// Reads one line, as `ipvsadm-save` writes it or as it stands in a script: after `ipvsadm`, its path, or `sudo`.
///
/// # Errors
/// What is wrong with it, by name.
pub fn parse(line: &str) -> Result<Line, String> {
    let mut words = after_program(line);
    let Some(command) = words.next() else { return Err("expected -A, -a or --set".into()) };
    let options = |letters, b| Options::read(Words::new(letters, words.clone()), b);
    let (service_b, real_b) = (later::SCHEDULER_FLAGS, later::FULL_NAT);
    match command {
        "--add-service" => options("", service_b)?.service(),
        "--edit-service" => options("", service_b)?.edited_service(),
        "--delete-service" => options("", service_b)?.removed_service(),
        "--add-server" => options("", real_b)?.real(),
        "--edit-server" => options("", real_b)?.edited_real(),
        "--delete-server" => options("", real_b)?.removed_real(),
        "--set" => timeouts(words),
        "-C" | "--clear" => match words.next() {
            Some(word) => Err(format!("unexpected {word:?} after {command}")),
            None => Ok(Line::Clear),
        },
        _ => match command.split_at_checked(2).unwrap_or_default() {
            ("-A", letters) => options(letters, service_b)?.service(),
            ("-E", letters) => options(letters, service_b)?.edited_service(),
            ("-D", letters) => options(letters, service_b)?.removed_service(),
            ("-a", letters) => options(letters, real_b)?.real(),
            ("-e", letters) => options(letters, real_b)?.edited_real(),
            ("-d", letters) => options(letters, real_b)?.removed_real(),
            _ => Err(format!("expected -A, -a or --set, found {command:?}")),
        },
    }
}

fn timeouts<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Line, String> {
    let mut set = [0; 3];
    for (seconds, name) in set.iter_mut().zip(["TCP", "TCPFIN", "UDP"]) {
        let word = words.next().ok_or("--set needs three numbers: TCP TCPFIN UDP")?;
        *seconds = options::number(&format!("--set {name}"), word, Timeouts::LONGEST_SECONDS)?;
    }
    match words.next() {
        Some(word) => Err(format!("unexpected {word:?} after --set TCP TCPFIN UDP")),
        None => Ok(Line::SetTimeouts(set.into())),
    }
}

/// The service that a line adds, even if something else is wrong with the line.
pub fn added_service(line: &str) -> Option<ServiceKey> {
    let mut words = after_program(line);
    let command = words.next()?;
    let letters = if command == "--add-service" { "" } else { command.strip_prefix("-A")? };
    let mut words = Words::new(letters, words);
    while let Some(name) = words.option() {
        let protocol = match &*name {
            "-t" | "--tcp-service" => Protocol::Tcp,
            "-u" | "--udp-service" => Protocol::Udp,
            _ => continue,
        };
        return options::service(protocol, words.value(&name).ok()?).ok();
    }
    None
}

#[cfg(test)]
mod tests;
