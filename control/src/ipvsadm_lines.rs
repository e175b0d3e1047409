//! The lines of `save` and `restore`: commands as `ipvsadm-save -n` writes them.
//!
//! ```text
//! --set 900 120 300
//! -A -t 192.168.10.100:80 -s wrr
//! -a -t 192.168.10.100:80 -r 10.0.0.7:80 -m -w 1
//! ```

use crate::addresses::{self, Fault, RealAddress};
use crate::protocol::{Command, Listen};
use crate::schedulers;
use dataplane::connection::Timeouts;
use dataplane::ids::{Protocol, ServiceKey};
use dataplane::schedule::Algorithm;
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
    format!("-A {} -s {}", service_option(key), schedulers::name(algorithm))
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

/// Reads all lines: [`Command::AddService`], [`Command::AddReal`] and [`Command::Timeouts`], each
/// with the number of its line, from 1. Blank lines and those that begin with `#` are skipped.
///
/// # Errors
/// `line N: …` for the first faulty line.
pub fn parse_all<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Vec<(usize, Command)>, String> {
    let lines = (1..).zip(lines);
    let wanted = lines.filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    wanted
        .map(|(number, line)| match parse(line) {
            Ok(command) => Ok((number, command)),
            Err(message) => Err(format!("line {number}: {message}")),
        })
        .collect()
}

/// Reads one line; a leading `ipvsadm` is skipped.
///
/// # Errors
/// What is wrong with it, by name.
pub fn parse(line: &str) -> Result<Command, String> {
    let mut words = line.split_ascii_whitespace().peekable();
    words.next_if_eq(&"ipvsadm");
    match words.next() {
        Some("-A" | "--add-service") => Options::read(words)?.service(),
        Some("-a" | "--add-server") => {
            let full_nat = |word: &&str| matches!(*word, "-b" | "--fullnat");
            match words.clone().find(full_nat) {
                Some(_) => Err(Fault::NotSupported("-b (full NAT)").to_string()),
                None => Options::read(words)?.real(),
            }
        }
        Some("--set") => timeouts(words),
        Some(other) => Err(format!("expected -A, -a or --set, found {other:?}")),
        None => Err("expected -A, -a or --set".into()),
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
    fn read(mut words: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(name) = words.next() {
            if let Some(what) = later(name) {
                return Err(Fault::NotSupported(what).to_string());
            }
            options.take(name, &mut || words.next().ok_or_else(|| format!("{name} needs a value")))?;
        }
        Ok(options)
    }

    fn take(&mut self, name: &str, value: &mut dyn FnMut() -> Result<&'a str, String>) -> Result<(), String> {
        match name {
            "-t" | "--tcp-service" => once(&mut self.service, name, service(Protocol::Tcp, value()?)?),
            "-u" | "--udp-service" => once(&mut self.service, name, service(Protocol::Udp, value()?)?),
            "-s" | "--scheduler" => once(&mut self.scheduler, name, value()?),
            "-r" | "--real-server" => {
                let text = value()?;
                let real = addresses::real(text).map_err(|fault| explained(&fault, text))?;
                once(&mut self.real, name, real)
            }
            "-m" | "--masquerading" => once(&mut self.masquerading, name, ()),
            "-w" | "--weight" => once(&mut self.weight, name, number(name, value()?, LARGEST_WEIGHT)?),
            "-x" | "--u-threshold" => once(&mut self.upper_threshold, name, threshold(name, value()?)?),
            "-y" | "--l-threshold" => once(&mut self.lower_threshold, name, threshold(name, value()?)?),
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
            schedulers::by_name(name).map_err(|refusal| refusal.message)?;
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
        "-b" | "--sched-flags" => "-b (scheduler flags)",
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
