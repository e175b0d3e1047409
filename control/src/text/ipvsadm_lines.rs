//! The lines of `save` and `restore`: commands as `ipvsadm-save -n` writes them.
//!
//! ```text
//! --set 900 120 300
//! -A -t 192.168.10.100:80 -s wrr
//! -a -t 192.168.10.100:80 -r 10.0.0.7:80 -m -w 1
//! ```

use crate::api::protocol::{Command, Listen};
use crate::text::addresses::{self, Fault, RealAddress};
use crate::text::algorithms;
use dataplane::connection::Timeouts;
use dataplane::names::ids::{Protocol, ServiceKey};
use dataplane::schedule::Algorithm;
use std::borrow::Cow;
use std::fmt::Write;
use std::net::SocketAddrV4;

/// The largest weight.
pub const LARGEST_WEIGHT: u32 = 65_535;

/// The line that sets the timeouts: TCP, TCP after FIN, UDP in seconds.
pub fn timeouts_line([tcp, tcp_fin, udp]: [u32; 3]) -> String {
    format!("--set {tcp} {tcp_fin} {udp}")
}

/// The line that adds a service.
pub fn service_line(key: &ServiceKey, algorithm: Algorithm) -> String {
    format!("-A {} -s {}", service_option(key), algorithms::name(algorithm))
}

/// The line that adds a real; a threshold of 0 is left out.
pub fn real_line(service: &ServiceKey, real: SocketAddrV4, weight: u32, thresholds: [u32; 2]) -> String {
    let mut line = format!("-a {} -r {real} -m -w {weight}", service_option(service));
    for (letter, threshold) in ["x", "y"].into_iter().zip(thresholds) {
        if threshold != 0 {
            let _ = write!(line, " -{letter} {threshold}");
        }
    }
    line
}

fn service_option(key: &ServiceKey) -> String {
    let letter = match key.protocol {
        Protocol::Tcp => 't',
        Protocol::Udp => 'u',
    };
    format!("-{letter} {}", key.listen)
}

/// The first line of a file that is whole only with its last one …
pub const FIRST_LINE: &str = "# natlb state: whole only with its last line";
/// … which begins so, and ends with the number of lines between them.
const LAST_LINE: &str = "# natlb state: the end, lines: ";

/// The last line of such a file.
pub fn last_line(lines: usize) -> String {
    format!("{LAST_LINE}{lines}")
}

/// Whether no line is missing, as far as that can be told: of a file that says nothing of its end it cannot. Blank
/// lines and comments do not count.
///
/// # Errors
/// What is missing.
pub fn check_whole<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
    let (mut has_first, mut count, mut expected) = (false, 0, None);
    for line in lines {
        let line = line.trim();
        if let Some(number) = line.strip_prefix(LAST_LINE) {
            expected = Some(number.parse::<usize>().unwrap_or(usize::MAX));
        } else if line == FIRST_LINE {
            has_first = true;
        } else {
            count += usize::from(words(line).next().is_some());
        }
    }
    let edited = "if it was changed by hand, remove its first and last line";
    match expected {
        Some(expected) if expected != count => Err(format!(
            "some of it is missing, or more: {count} lines, and its last one says {expected}; {edited}"
        )),
        None if has_first => Err(format!("its end is missing: \"{LAST_LINE}…\"; {edited}")),
        _ => Ok(()),
    }
}

/// What a line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// [`Command::AddService`], [`Command::AddReal`] or [`Command::Timeouts`].
    Command(Command),
    /// `-C`: everything before it is removed.
    Clear,
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
    let command = match command {
        "--add-service" => Options::read(Words::new("", words), "-b (scheduler flags)")?.service()?,
        "--add-server" => Options::read(Words::new("", words), "-b (full NAT)")?.real()?,
        "--set" => timeouts(words)?,
        "-C" | "--clear" => {
            return match words.next() {
                Some(word) => Err(format!("unexpected {word:?} after {command}")),
                None => Ok(Line::Clear),
            };
        }
        _ => match (command.strip_prefix("-A"), command.strip_prefix("-a")) {
            (Some(letters), _) => {
                Options::read(Words::new(letters, words), "-b (scheduler flags)")?.service()?
            }
            (_, Some(letters)) => Options::read(Words::new(letters, words), "-b (full NAT)")?.real()?,
            _ => return Err(format!("expected -A, -a or --set, found {command:?}")),
        },
    };
    Ok(Line::Command(command))
}

/// The service that a line adds, though something else may be wrong with it.
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
        return service(protocol, words.value(&name).ok()?).ok();
    }
    None
}

/// A line's words, up to a comment.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split_ascii_whitespace().take_while(|word| !word.starts_with('#'))
}

fn after_program(line: &str) -> impl Iterator<Item = &str> {
    let mut words = words(line).peekable();
    words.next_if_eq(&"sudo");
    words.next_if(|word| word.rsplit('/').next() == Some("ipvsadm"));
    words
}

/// Options and their values in any form that `ipvsadm` takes: `-w 5`, `-w5`, `-w=5`, `-mw 5`, `--weight 5`,
/// `--weight=5`.
struct Words<'a, W> {
    words: W,
    /// What follows the last letter in its word.
    letters: &'a str,
    /// What follows the last long name in its word.
    value: Option<&'a str>,
}

impl<'a, W: Iterator<Item = &'a str>> Words<'a, W> {
    /// These words, `letters` before them.
    fn new(letters: &'a str, words: W) -> Self {
        Self { words, letters, value: None }
    }

    /// The name of the next option, as it would stand by itself.
    fn option(&mut self) -> Option<Cow<'a, str>> {
        if self.letters.is_empty() {
            let word = self.words.next()?;
            if word.starts_with("--") {
                let (name, value) =
                    word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
                self.value = value;
                return Some(name.into());
            }
            match word.strip_prefix('-') {
                Some(letters) if !letters.is_empty() => self.letters = letters,
                _ => return Some(word.into()),
            }
        }
        let letter = self.letters.chars().next()?;
        self.letters = &self.letters[letter.len_utf8()..];
        Some(format!("-{letter}").into())
    }

    /// The value of the option `name`.
    fn value(&mut self, name: &str) -> Result<&'a str, String> {
        let letters = std::mem::take(&mut self.letters);
        let glued = (!letters.is_empty()).then(|| letters.strip_prefix('=').unwrap_or(letters));
        let value = self.value.take().or(glued).or_else(|| self.words.next());
        value.ok_or_else(|| format!("{name} needs a value"))
    }

    /// The option `name` takes no value.
    fn no_value(&mut self, name: &str) -> Result<(), String> {
        match self.value.take() {
            Some(value) => Err(format!("{name} takes no value, found {value:?}")),
            None => Ok(()),
        }
    }
}

fn timeouts<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Command, String> {
    let mut set = [0; 3];
    for (seconds, name) in set.iter_mut().zip(["TCP", "TCPFIN", "UDP"]) {
        let word = words.next().ok_or("--set needs three numbers: TCP TCPFIN UDP")?;
        *seconds = number(&format!("--set {name}"), word, Timeouts::LONGEST_SECONDS)?;
    }
    match words.next() {
        Some(word) => Err(format!("unexpected {word:?} after --set TCP TCPFIN UDP")),
        None => Ok(Command::Timeouts { set: Some(set) }),
    }
}

/// The options of one line; each at most once.
#[derive(Default)]
struct Options<'a> {
    service: Option<ServiceKey>,
    scheduler: Option<&'a str>,
    real: Option<RealAddress>,
    masquerading: Option<()>,
    weight: Option<u32>,
    upper_threshold: Option<u32>,
    lower_threshold: Option<u32>,
}

impl<'a> Options<'a> {
    /// `b` is what `-b` means here: a scheduler's flags, or for DPVS a real's way of forwarding.
    fn read(mut words: Words<'a, impl Iterator<Item = &'a str>>, b: &'static str) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(name) = words.option() {
            let of_b = matches!(&*name, "-b" | "--sched-flags" | "--fullnat").then_some(b);
            if let Some(what) = of_b.or_else(|| later(&name)) {
                return Err(Fault::NotSupported(what).to_string());
            }
            options.take(&name, &mut words)?;
        }
        Ok(options)
    }

    fn take(
        &mut self,
        name: &str,
        words: &mut Words<'a, impl Iterator<Item = &'a str>>,
    ) -> Result<(), String> {
        match name {
            "-t" | "--tcp-service" => {
                once(&mut self.service, name, service(Protocol::Tcp, words.value(name)?)?)
            }
            "-u" | "--udp-service" => {
                once(&mut self.service, name, service(Protocol::Udp, words.value(name)?)?)
            }
            "-s" | "--scheduler" => once(&mut self.scheduler, name, words.value(name)?),
            "-r" | "--real-server" => {
                let text = words.value(name)?;
                let real = addresses::real(text).map_err(|fault| explained(&fault, text))?;
                once(&mut self.real, name, real)
            }
            "-m" | "--masquerading" => {
                words.no_value(name)?;
                once(&mut self.masquerading, name, ())
            }
            "-w" | "--weight" => {
                once(&mut self.weight, name, number(name, words.value(name)?, LARGEST_WEIGHT)?)
            }
            "-x" | "--u-threshold" => {
                once(&mut self.upper_threshold, name, threshold(name, words.value(name)?)?)
            }
            "-y" | "--l-threshold" => {
                once(&mut self.lower_threshold, name, threshold(name, words.value(name)?)?)
            }
            _ => Err(format!("unknown option {name:?}")),
        }
    }

    fn service(self) -> Result<Command, String> {
        let of_real = [
            ("-r", self.real.is_some()),
            ("-m", self.masquerading.is_some()),
            ("-w", self.weight.is_some()),
            ("-x", self.upper_threshold.is_some()),
            ("-y", self.lower_threshold.is_some()),
        ];
        if let Some((name, _)) = of_real.into_iter().find(|(_, given)| *given) {
            return Err(format!("{name} is an option of a real (-a), not of a service (-A)"));
        }
        let service = Listen(self.service.ok_or("-A needs a service: -t VIP:PORT or -u VIP:PORT")?);
        if let Some(name) = self.scheduler {
            algorithms::by_name(name).map_err(|refusal| refusal.message)?;
        }
        Ok(Command::AddService { service, scheduler: self.scheduler.map(String::from), persistence: None })
    }

    fn real(self) -> Result<Command, String> {
        if self.scheduler.is_some() {
            return Err("-s is an option of a service (-A), not of a real (-a)".into());
        }
        let key = self.service.ok_or("-a needs a service: -t VIP:PORT or -u VIP:PORT")?;
        let real = self.real.ok_or("-a needs a real: -r RIP[:PORT]")?;
        // `ipvsadm-save` always writes the way of forwarding, and `ipvsadm` without one means -g.
        self.masquerading.ok_or("-a needs -m (masquerading)")?;
        Ok(Command::AddReal {
            service: Listen(key),
            real: real.or_port(key.listen.port()),
            weight: self.weight,
            upper_threshold: self.upper_threshold,
            lower_threshold: self.lower_threshold,
        })
    }
}

/// What an option is for that is known to `ipvsadm` but not built yet.
fn later(name: &str) -> Option<&'static str> {
    Some(match name {
        "-p" | "--persistent" => "-p (persistence)",
        "-M" | "--netmask" => "-M (persistence netmask)",
        "--pe" => "--pe (persistence engine)",
        "-o" | "--ops" => "-o (one-packet scheduling)",
        "-f" | "--fwmark-service" => "-f (firewall mark)",
        "-6" | "--ipv6" => "IPv6",
        "--sctp-service" => "SCTP",
        "-g" | "--gatewaying" => "-g (direct routing)",
        "-i" | "--ipip" => "-i (tunnelling)",
        "--tun-type" | "--tun-port" | "--tun-nocsum" | "--tun-csum" | "--tun-remcsum" => "tunnelling",
        _ => return None,
    })
}

fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match slot.replace(value) {
        Some(_) => Err(format!("{name}: given twice")),
        None => Ok(()),
    }
}

fn service(protocol: Protocol, text: &str) -> Result<ServiceKey, String> {
    let listen = addresses::service(text).map_err(|fault| explained(&fault, text))?;
    Ok(ServiceKey { protocol, listen })
}

/// `ipvsadm -S` without `-n` writes names where it finds some, which are not looked up here.
fn explained(fault: &Fault, text: &str) -> String {
    let is_name = matches!(fault, Fault::Malformed(_)) && text.bytes().any(|byte| byte.is_ascii_alphabetic());
    let advice = if is_name { " (a name: save numbers, with ipvsadm-save -n or ipvsadm -Sn)" } else { "" };
    format!("{fault}{advice}")
}

fn threshold(name: &str, text: &str) -> Result<u32, String> {
    number(name, text, i32::MAX as u32)
}

fn number(name: &str, text: &str, largest: u32) -> Result<u32, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let value = text.parse().ok().filter(|value| digits && *value <= largest);
    value.ok_or_else(|| format!("{name}: expected a number from 0 to {largest}, found {text:?}"))
}

#[cfg(test)]
mod tests;
