//! The lines of `save` and `restore`: commands as `ipvsadm-save -n` writes them, and those that change what earlier
//! lines have made.
//!
//! ```text
//! --set 900 120 300
//! -A -t 192.168.10.100:80 -s wrr -p 50 -M 255.255.255.0     also natlb's --timeouts, --on-removal, --slow-start
//! -a -t 192.168.10.100:80 -r 10.0.0.7:80 -m -w 1
//! -e -t 192.168.10.100:80 -r 10.0.0.7:80 -m -w 3            also -E, -d, -D
//! ```

mod options;
mod whole;
mod words;

pub use whole::{CutOff, FIRST_LINE, change_line, check_whole, last_line};

use crate::model::{Real, Settings};
use crate::text::addresses::Listener;
use crate::text::service_options;
use dataplane::connection::{TimeoutSeconds, Timeouts};
use dataplane::names::ids::{Protocol, ServiceKey};
use dataplane::snapshot::Thresholds;
use options::{Options, Subject};
use std::fmt::Write;
use std::net::SocketAddr;
use words::{Words, after_program, words};

/// What a line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// `-A`: a service without reals.
    AddService {
        /// VIP, protocol and ports.
        service: ServiceKey,
        /// What is set of it.
        settings: Settings,
    },
    /// `-a`: the newest real of a service.
    AddReal {
        /// The service, which an earlier line adds.
        service: ServiceKey,
        /// All of it.
        real: Real,
    },
    /// `-E`: other settings. As in `ipvsadm`, what is not named is as of a new service.
    EditService {
        /// VIP, protocol and ports.
        service: ServiceKey,
        /// What is set of it.
        settings: Settings,
    },
    /// `-D`: a service with its reals goes.
    DelService(ServiceKey),
    /// `-e`: another weight and other thresholds. As in `ipvsadm`, what is not named is as of a new real.
    EditReal {
        /// The service.
        service: ServiceKey,
        /// Address and port.
        real: SocketAddr,
        /// See [`Real`].
        weight: u32,
        /// See [`Real`].
        thresholds: Thresholds,
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
pub fn service_line(key: &ServiceKey, settings: &Settings) -> String {
    format!("-A {}{}", service_option(key), service_options::text(settings))
}

/// The lines that add a real: two if its weight is 0 and the one before matters.
pub fn real_lines(service: &ServiceKey, settings: &Settings, real: &Real) -> Vec<String> {
    real_lines_of("-a", service, settings, real)
}

/// The line that gives a service other settings.
pub fn edit_service_line(key: &ServiceKey, settings: &Settings) -> String {
    format!("-E {}{}", service_option(key), service_options::text(settings))
}

/// The line that removes a service with its reals.
pub fn del_service_line(key: &ServiceKey) -> String {
    format!("-D {}", service_option(key))
}

/// The lines that make a real of a service what it is now, once the service is; none if it was so before.
pub fn edit_real_lines(
    service: &ServiceKey,
    (settings_before, before): (&Settings, &Real),
    (settings, now): (&Settings, &Real),
) -> Vec<String> {
    // The lines before have told the last weight only if it mattered then.
    let is_told = goes_by_last_weight(settings_before) && before.last_weight == now.last_weight;
    let is_settled = now.weight != 0 || is_told || !goes_by_last_weight(settings);
    if !is_settled {
        return real_lines_of("-e", service, settings, now);
    }
    let is_edited = (before.weight, before.thresholds) != (now.weight, now.thresholds);
    is_edited.then(|| real_line("-e", service, now)).into_iter().collect()
}

fn real_lines_of(command: &str, service: &ServiceKey, settings: &Settings, real: &Real) -> Vec<String> {
    if !goes_by_last_weight(settings) || real.weight == real.last_weight {
        return vec![real_line(command, service, real)];
    }
    let with_weight = Real { weight: real.last_weight, ..*real };
    vec![real_line(command, service, &with_weight), real_line("-e", service, real)]
}

/// Whether the scheduler picks by the weight that a real had before its weight was 0.
fn goes_by_last_weight(settings: &Settings) -> bool {
    settings.algorithm.name() == "mh"
}

/// A threshold of 0 is left out.
fn real_line(command: &str, service: &ServiceKey, real: &Real) -> String {
    let Real { endpoint, weight, thresholds: Thresholds { upper, lower }, .. } = real;
    let mut line = format!("{command} {} -r {endpoint} -m -w {weight}", service_option(service));
    for (letter, threshold) in [("x", upper), ("y", lower)] {
        if *threshold != 0 {
            let _ = write!(line, " -{letter} {threshold}");
        }
    }
    line
}

/// The line that removes a real.
pub fn del_real_line(service: &ServiceKey, endpoint: SocketAddr) -> String {
    format!("-d {} -r {endpoint}", service_option(service))
}

fn service_option(key: &ServiceKey) -> String {
    let option = match key.protocol {
        Protocol::Tcp => "-t",
        Protocol::Udp => "-u",
        Protocol::Sctp => "--sctp-service",
    };
    format!("{option} {}", Listener::from(key))
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
    let of_service = |letters| Options::read(Words::new(letters, words.clone()), Subject::Service);
    let of_real = |letters| Options::read(Words::new(letters, words.clone()), Subject::Real);
    match command {
        "--add-service" => of_service("")?.service(),
        "--edit-service" => of_service("")?.edited_service(),
        "--delete-service" => of_service("")?.removed_service(),
        "--add-server" => of_real("")?.real(),
        "--edit-server" => of_real("")?.edited_real(),
        "--delete-server" => of_real("")?.removed_real(),
        "--set" => timeouts(words),
        "-C" | "--clear" => match words.next() {
            Some(word) => Err(format!("unexpected {word:?} after {command}")),
            None => Ok(Line::Clear),
        },
        _ => match command.split_at_checked(2).unwrap_or_default() {
            ("-A", letters) => of_service(letters)?.service(),
            ("-E", letters) => of_service(letters)?.edited_service(),
            ("-D", letters) => of_service(letters)?.removed_service(),
            ("-a", letters) => of_real(letters)?.real(),
            ("-e", letters) => of_real(letters)?.edited_real(),
            ("-d", letters) => of_real(letters)?.removed_real(),
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
            "--sctp-service" => Protocol::Sctp,
            _ => continue,
        };
        return options::service(protocol, words.value(&name).ok()?).ok();
    }
    None
}

#[cfg(test)]
mod tests;
