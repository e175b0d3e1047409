//! What a command line asks of `lbd`.

use crate::Failure;
use crate::options::{
    ApplyOptions, DiffOptions, EditedServiceOptions, Order, RealName, RealOptions, Selection, ServiceAddress,
    Settings,
};
use control::api::protocol::{Command, LONGEST_LINE, Lines, ServiceOptions};
use control::model::rules::check_family;
use control::text::later;
use control::text::service_options::SettingFault;
use control::text::services::Listen;
use dataplane::connection::TimeoutSeconds;
use dataplane::names::ids::Protocol;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;

/// The request; `restore` reads its lines from `stdin`.
pub(super) fn command(order: &Order, stdin: &mut dyn Read) -> Result<Command, Failure> {
    Ok(match order {
        Order::AddService(options) => {
            let options = service_options(&options.service, &options.settings)?;
            // Only lbd knows which schedulers there are.
            if let Err(fault) = options.settings(None)
                && !matches!(fault, SettingFault::Scheduler(_))
            {
                return Err(Failure::Usage(fault.to_string()));
            }
            Command::AddService(options)
        }
        Order::EditService(options) => Command::EditService(edited_service_options(options)?),
        Order::DelService(address) => Command::DelService { service: service(address)? },
        Order::AddReal(options) => {
            let (service, real) = real_options(options)?;
            let RealOptions { weight, upper_threshold, lower_threshold, .. } = *options;
            Command::AddReal { service, real, weight, upper_threshold, lower_threshold }
        }
        Order::EditReal(options) => {
            let (service, real) = real_options(options)?;
            let RealOptions { weight, upper_threshold, lower_threshold, .. } = *options;
            Command::EditReal { service, real, weight, upper_threshold, lower_threshold }
        }
        Order::DelReal(name) => {
            let (service, real) = real_name(name)?;
            Command::DelReal { service, real }
        }
        Order::Drain(options) => {
            let (service, real) = real_name(&options.name)?;
            Command::Drain { service, real, reset: false }
        }
        Order::List(options) => Command::List { service: selected(&options.selection)? },
        Order::Stats(stats) => Command::Stats { service: selected(&stats.selection)? },
        Order::Rate(rate) => Command::Rate { service: selected(&rate.selection)? },
        Order::Connections(selection) => Command::Connections { service: selected(selection)? },
        Order::Timeouts(options) => {
            // clap has counted them.
            let set = options.set.as_ref().and_then(|set| <[u32; 3]>::try_from(set.as_slice()).ok());
            let set = set.map(TimeoutSeconds::from);
            Command::Timeouts { set }
        }
        Order::Zero(selection) => Command::Zero { service: selected(selection)? },
        Order::Clear(options) => Command::Clear { connections: options.connections },
        Order::Save => Command::Save {},
        Order::Restore(options) => {
            Command::Restore { lines: lines("stdin", stdin)?, dry_run: options.dry_run }
        }
        Order::Reload => Command::Reload { dry_run: false },
        Order::Diff(DiffOptions { file: None }) => Command::Reload { dry_run: true },
        Order::Diff(DiffOptions { file: Some(file) }) => {
            Command::Apply { lines: lines_of(file, stdin)?, dry_run: true, confirm: None }
        }
        Order::Apply(options) => {
            let ApplyOptions { file, dry_run, confirm } = options;
            Command::Apply { lines: lines_of(file, stdin)?, dry_run: *dry_run, confirm: *confirm }
        }
        Order::Confirm => Command::Confirm {},
        Order::History(options) => Command::History { count: options.count },
        Order::Rollback(options) => Command::Rollback { to: options.to },
        Order::Status(_) => Command::Status {},
        Order::Metrics => Command::Metrics {},
        // The first of what it asks.
        Order::Support(_) => Command::Status {},
    })
}

fn service_options(address: &ServiceAddress, settings: &Settings) -> Result<ServiceOptions, Failure> {
    refuse(&[(settings.pe.is_some(), later::PERSISTENCE_ENGINE)])?;
    let options = ServiceOptions {
        service: service(address)?,
        scheduler: settings.scheduler.clone(),
        flags: settings.flags.clone(),
        persistence: settings.persistence,
        persistence_mask: settings.netmask.clone(),
        one_packet: settings.ops.then_some(true),
        timeouts: settings.timeouts.clone(),
        on_removal: settings.on_removal.clone(),
        slow_start: settings.slow_start,
    };
    options.check_words().map_err(|fault| Failure::Usage(fault.to_string()))?;
    Ok(options)
}

fn edited_service_options(edited: &EditedServiceOptions) -> Result<ServiceOptions, Failure> {
    let mut options = service_options(&edited.service, &edited.settings)?;
    if edited.no_persistent {
        options.persistence = Some(0);
    }
    if edited.no_sched_flags {
        options.flags = Some(Vec::new());
    }
    if edited.no_ops {
        options.one_packet = Some(false);
    }
    Ok(options)
}

fn service(address: &ServiceAddress) -> Result<Listen, Failure> {
    refuse(&[(address.fwmark_service.is_some(), later::FIREWALL_MARK)])?;
    let tcp = address.tcp_service.map(|listen| (Protocol::Tcp, listen));
    let udp = address.udp_service.map(|listen| (Protocol::Udp, listen));
    let sctp = address.sctp_service.map(|listen| (Protocol::Sctp, listen));
    let (protocol, listen) = tcp.or(udp).or(sctp).ok_or_else(|| {
        Failure::Usage("a service is needed: -t VIP:PORT, -u VIP:PORT or --sctp-service VIP:PORT".into())
    })?;
    Ok(Listen(listen.of(protocol)))
}

fn selected(selection: &Selection) -> Result<Option<Listen>, Failure> {
    selection.service.as_ref().map(service).transpose()
}

fn real_name(name: &RealName) -> Result<(Listen, SocketAddr), Failure> {
    let service = service(&name.service)?;
    Ok((service, name.real.of(&service.0)))
}

fn real_options(options: &RealOptions) -> Result<(Listen, SocketAddr), Failure> {
    let later = [
        (options.forwarding.gatewaying, later::DIRECT_ROUTING),
        (options.forwarding.ipip, later::TUNNELLING),
        (options.forwarding.fullnat, later::FULL_NAT),
    ];
    refuse(&later)?;
    let (service, real) = real_name(&options.name)?;
    check_family(&service.0, real).map_err(|unfit| Failure::Usage(unfit.to_string()))?;
    Ok((service, real))
}

fn refuse(later: &[(bool, &'static str)]) -> Result<(), Failure> {
    match later.iter().find(|(given, _)| *given) {
        Some((_, what)) => Err(Failure::not_supported(what)),
        None => Ok(()),
    }
}

/// The lines of a file; of stdin, if it is called `-`.
fn lines_of(file: &Path, stdin: &mut dyn Read) -> Result<Lines, Failure> {
    if file == Path::new("-") {
        return lines("stdin", stdin);
    }
    let name = file.display().to_string();
    let mut opened = File::open(file).map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    lines(&name, &mut opened)
}

fn lines(name: &str, input: &mut dyn Read) -> Result<Lines, Failure> {
    let mut bytes = Vec::new();
    let read = input.take(LONGEST_LINE as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    if bytes.len() > LONGEST_LINE {
        return Err(Failure::Usage(format!("{name}: more than {LONGEST_LINE} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Failure::Usage(format!("{name}: line {line}: expected UTF-8, found other bytes"))
    })?;
    Ok(text.lines().collect())
}
