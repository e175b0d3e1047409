//! The options of a line.

use super::Line;
use super::words::Words;
use crate::model::{LARGEST_WEIGHT, Real};
use crate::text::addresses::{self, Fault, RealAddress};
use crate::text::{algorithms, later};
use dataplane::names::ids::{Protocol, ServiceKey};
use std::net::SocketAddr;

/// The options of one line; each at most once.
#[derive(Default)]
pub(super) struct Options<'a> {
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
    pub(super) fn read(
        mut words: Words<'a, impl Iterator<Item = &'a str>>,
        b: &'static str,
    ) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(name) = words.option() {
            let of_b = matches!(&*name, "-b" | "--sched-flags" | "--fullnat").then_some(b);
            if let Some(what) = of_b.or_else(|| later::option(&name)) {
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

    /// As those of `-A`.
    pub(super) fn service(self) -> Result<Line, String> {
        let service = self.service_of("-A")?;
        let scheduler =
            algorithms::by_name_or_default(self.scheduler).map_err(|unknown| unknown.to_string())?;
        Ok(Line::AddService { service, scheduler })
    }

    /// As those of `-E`.
    pub(super) fn edited_service(self) -> Result<Line, String> {
        let service = self.service_of("-E")?;
        let scheduler = self.scheduler.map(|name| algorithms::by_name_or_default(Some(name))).transpose();
        Ok(Line::EditService { service, scheduler: scheduler.map_err(|unknown| unknown.to_string())? })
    }

    /// As those of `-D`.
    pub(super) fn removed_service(self) -> Result<Line, String> {
        self.service_of("-D").map(Line::DelService)
    }

    /// The service that `command` names, with no option of a real.
    fn service_of(&self, command: &str) -> Result<ServiceKey, String> {
        let of_real = [
            ("-r", self.real.is_some()),
            ("-m", self.masquerading.is_some()),
            ("-w", self.weight.is_some()),
            ("-x", self.upper_threshold.is_some()),
            ("-y", self.lower_threshold.is_some()),
        ];
        if let Some((name, _)) = of_real.into_iter().find(|(_, given)| *given) {
            return Err(format!("{name} is an option of a real (-a), not of a service ({command})"));
        }
        self.service.ok_or_else(|| format!("{command} needs a service: -t VIP:PORT or -u VIP:PORT"))
    }

    /// As those of `-a`.
    pub(super) fn real(self) -> Result<Line, String> {
        let (service, endpoint) = self.real_of("-a")?;
        // `ipvsadm-save` always writes the way of forwarding, and `ipvsadm` without one means -g.
        self.masquerading.ok_or("-a needs -m (masquerading)")?;
        let real = Real { endpoint, weight: self.weight.unwrap_or(1) };
        Ok(Line::AddReal { service, real, thresholds: self.thresholds() })
    }

    /// As those of `-e`.
    pub(super) fn edited_real(self) -> Result<Line, String> {
        let (service, real) = self.real_of("-e")?;
        Ok(Line::EditReal { service, real, weight: self.weight, thresholds: self.thresholds() })
    }

    /// As those of `-d`.
    pub(super) fn removed_real(self) -> Result<Line, String> {
        let (service, real) = self.real_of("-d")?;
        Ok(Line::DelReal { service, real })
    }

    /// The service and the real that `command` names.
    fn real_of(&self, command: &str) -> Result<(ServiceKey, SocketAddr), String> {
        if self.scheduler.is_some() {
            return Err(format!("-s is an option of a service (-A), not of a real ({command})"));
        }
        let needs = |what: &str| format!("{command} needs {what}");
        let service = self.service.ok_or_else(|| needs("a service: -t VIP:PORT or -u VIP:PORT"))?;
        let real = self.real.as_ref().ok_or_else(|| needs("a real: -r RIP[:PORT]"))?;
        Ok((service, real.or_port(service.listen.port())))
    }

    fn thresholds(&self) -> [u32; 2] {
        [self.upper_threshold, self.lower_threshold].map(Option::unwrap_or_default)
    }
}

fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match slot.replace(value) {
        Some(_) => Err(format!("{name}: given twice")),
        None => Ok(()),
    }
}

/// The service of `-t` or `-u`.
pub(super) fn service(protocol: Protocol, text: &str) -> Result<ServiceKey, String> {
    let listen = addresses::service(text).map_err(|fault| explained(&fault, text))?;
    Ok(ServiceKey::new(protocol, listen))
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

/// The number, from 0 to `largest`, that `name` needs.
pub(super) fn number(name: &str, text: &str, largest: u32) -> Result<u32, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let value = text.parse().ok().filter(|value| digits && *value <= largest);
    value.ok_or_else(|| format!("{name}: expected a number from 0 to {largest}, found {text:?}"))
}
