//! The options of a line.

use super::Line;
use super::words::Words;
use crate::model::{LARGEST_THRESHOLD, LARGEST_WEIGHT, LONGEST_SLOW_START, Real, Settings};
use crate::text::addresses::{self, Fault, RealAddress};
use crate::text::service_options::{DEFAULT_PERSISTENCE, ServiceOptions};
use crate::text::services::Listen;
use crate::text::{later, state_timeouts};
use dataplane::connection::Timeouts;
use dataplane::names::ids::{Protocol, ServiceKey};
use dataplane::snapshot::Thresholds;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// What the options of a line are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Service,
    Real,
}

/// The options of one line; each at most once.
#[derive(Default)]
pub(super) struct Options<'a> {
    service: Option<ServiceKey>,
    scheduler: Option<&'a str>,
    persistence: Option<u32>,
    netmask: Option<&'a str>,
    one_packet: Option<()>,
    flags: Option<&'a str>,
    timeouts: Option<BTreeMap<String, u32>>,
    on_removal: Option<&'a str>,
    slow_start: Option<u32>,
    real: Option<RealAddress>,
    masquerading: Option<()>,
    weight: Option<u32>,
    upper_threshold: Option<u32>,
    lower_threshold: Option<u32>,
}

impl<'a> Options<'a> {
    pub(super) fn read(
        mut words: Words<'a, impl Iterator<Item = &'a str>>,
        subject: Subject,
    ) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(name) = words.option() {
            // DPVS's way of forwarding; of a service -b is the scheduler's flags.
            let is_full_nat = &*name == "--fullnat" || subject == Subject::Real && &*name == "-b";
            if let Some(what) = is_full_nat.then_some(later::FULL_NAT).or_else(|| later::option(&name)) {
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
            "--sctp-service" => once(&mut self.service, name, service(Protocol::Sctp, words.value(name)?)?),
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
                let threshold = number(name, words.value(name)?, LARGEST_THRESHOLD)?;
                once(&mut self.upper_threshold, name, threshold)
            }
            "-y" | "--l-threshold" => {
                let threshold = number(name, words.value(name)?, LARGEST_THRESHOLD)?;
                once(&mut self.lower_threshold, name, threshold)
            }
            _ => self.take_setting(name, words),
        }
    }

    /// An option that sets something of a service.
    fn take_setting(
        &mut self,
        name: &str,
        words: &mut Words<'a, impl Iterator<Item = &'a str>>,
    ) -> Result<(), String> {
        match name {
            "-s" | "--scheduler" => once(&mut self.scheduler, name, words.value(name)?),
            "-p" | "--persistent" => {
                let seconds = words.optional_value().map_or(Ok(DEFAULT_PERSISTENCE), persistence)?;
                once(&mut self.persistence, name, seconds)
            }
            "-M" | "--netmask" => once(&mut self.netmask, name, words.value(name)?),
            "-o" | "--ops" => {
                words.no_value(name)?;
                once(&mut self.one_packet, name, ())
            }
            "-b" | "--sched-flags" => once(&mut self.flags, name, words.value(name)?),
            "--timeouts" => {
                let timeouts = state_timeouts::by_text(words.value(name)?);
                once(&mut self.timeouts, name, timeouts.map_err(|wrong| format!("{name}: {wrong}"))?)
            }
            "--on-removal" => once(&mut self.on_removal, name, words.value(name)?),
            "--slow-start" => {
                once(&mut self.slow_start, name, number(name, words.value(name)?, LONGEST_SLOW_START)?)
            }
            _ => Err(format!("unknown option {name:?}")),
        }
    }

    /// As those of `-A`.
    pub(super) fn service(self) -> Result<Line, String> {
        let (service, settings) = self.settings_of("-A")?;
        Ok(Line::AddService { service, settings })
    }

    /// As those of `-E`.
    pub(super) fn edited_service(self) -> Result<Line, String> {
        let (service, settings) = self.settings_of("-E")?;
        Ok(Line::EditService { service, settings })
    }

    /// As those of `-D`.
    pub(super) fn removed_service(self) -> Result<Line, String> {
        let service = self.service_of("-D")?;
        match self.first_setting() {
            Some(name) => Err(format!("{name} is no option of -D")),
            None => Ok(Line::DelService(service)),
        }
    }

    /// The service that `command` names, and what it is to be.
    fn settings_of(&self, command: &str) -> Result<(ServiceKey, Settings), String> {
        let service = self.service_of(command)?;
        let options = ServiceOptions {
            service: Listen(service),
            scheduler: self.scheduler.map(str::to_owned),
            flags: self.flags.map(|flags| flags.split(',').map(str::to_owned).collect()),
            persistence: self.persistence,
            persistence_mask: self.netmask.map(str::to_owned),
            one_packet: self.one_packet.map(|()| true),
            timeouts: self.timeouts.clone(),
            on_removal: self.on_removal.map(str::to_owned),
            slow_start: self.slow_start,
        };
        Ok((service, options.settings(None).map_err(|fault| fault.to_string())?))
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
        self.service.ok_or_else(|| format!("{command} needs a service: -t, -u or --sctp-service VIP:PORT"))
    }

    /// The first option that is there and sets something of a service.
    fn first_setting(&self) -> Option<&'static str> {
        let of_service = [
            ("-s", self.scheduler.is_some()),
            ("-p", self.persistence.is_some()),
            ("-M", self.netmask.is_some()),
            ("-o", self.one_packet.is_some()),
            ("-b", self.flags.is_some()),
            ("--timeouts", self.timeouts.is_some()),
            ("--on-removal", self.on_removal.is_some()),
            ("--slow-start", self.slow_start.is_some()),
        ];
        of_service.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    /// As those of `-a`.
    pub(super) fn real(self) -> Result<Line, String> {
        let (service, endpoint) = self.real_of("-a")?;
        // `ipvsadm-save` always writes the way of forwarding, and `ipvsadm` without one means -g.
        self.masquerading.ok_or("-a needs -m (masquerading)")?;
        let real = Real { thresholds: self.thresholds(), ..Real::new(endpoint, self.weight.unwrap_or(1)) };
        Ok(Line::AddReal { service, real })
    }

    /// As those of `-e`.
    pub(super) fn edited_real(self) -> Result<Line, String> {
        let (service, real) = self.real_of("-e")?;
        // As of -a.
        self.masquerading.ok_or("-e needs -m (masquerading)")?;
        let weight = self.weight.unwrap_or(1);
        Ok(Line::EditReal { service, real, weight, thresholds: self.thresholds() })
    }

    /// As those of `-d`.
    pub(super) fn removed_real(self) -> Result<Line, String> {
        let (service, real) = self.real_of("-d")?;
        let of_others = [
            ("-m", self.masquerading.is_some()),
            ("-w", self.weight.is_some()),
            ("-x", self.upper_threshold.is_some()),
            ("-y", self.lower_threshold.is_some()),
        ];
        match of_others.into_iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(format!("{name} is no option of -d")),
            None => Ok(Line::DelReal { service, real }),
        }
    }

    /// The service and the real that `command` names.
    fn real_of(&self, command: &str) -> Result<(ServiceKey, SocketAddr), String> {
        if let Some(name) = self.first_setting() {
            return Err(format!("{name} is an option of a service (-A), not of a real ({command})"));
        }
        let needs = |what: &str| format!("{command} needs {what}");
        let service = self.service.ok_or_else(|| needs("a service: -t, -u or --sctp-service VIP:PORT"))?;
        let real = self.real.as_ref().ok_or_else(|| needs("a real: -r RIP[:PORT]"))?;
        Ok((service, real.of(&service)))
    }

    fn thresholds(&self) -> Thresholds {
        let [upper, lower] = [self.upper_threshold, self.lower_threshold].map(Option::unwrap_or_default);
        Thresholds { upper, lower }
    }
}

fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match slot.replace(value) {
        Some(_) => Err(format!("{name}: given twice")),
        None => Ok(()),
    }
}

/// The service of `-t`, `-u` or `--sctp-service`.
pub(super) fn service(protocol: Protocol, text: &str) -> Result<ServiceKey, String> {
    let listener = addresses::service(text).map_err(|fault| explained(&fault, text))?;
    Ok(listener.of(protocol))
}

/// `ipvsadm -S` without `-n` writes names where it finds some, which are not looked up here.
fn explained(fault: &Fault, text: &str) -> String {
    // The digits of an IPv6 address are letters too.
    let nameable = text.rsplit_once(']').map_or(text, |(_, ports)| ports);
    let is_name =
        matches!(fault, Fault::Malformed(_)) && nameable.bytes().any(|byte| byte.is_ascii_alphabetic());
    let advice = if is_name { " (a name: save numbers, with ipvsadm-save -n or ipvsadm -Sn)" } else { "" };
    format!("{fault}{advice}")
}

fn persistence(text: &str) -> Result<u32, String> {
    whole(text).filter(|seconds| (1..=Timeouts::LONGEST_SECONDS).contains(seconds)).ok_or_else(|| {
        let most = Timeouts::LONGEST_SECONDS;
        format!("invalid timeout value `{text}' specified: persistence is for 1 to {most} seconds")
    })
}

/// The number, from 0 to `largest`, that `name` needs.
pub(super) fn number(name: &str, text: &str, largest: u32) -> Result<u32, String> {
    let value = whole(text).filter(|value| *value <= largest);
    value.ok_or_else(|| format!("{name}: expected a number from 0 to {largest}, found {text:?}"))
}

/// A number of digits alone: no sign.
fn whole(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}
