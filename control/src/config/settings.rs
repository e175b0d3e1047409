//! `[eal]`, `[buffers]`, `[control]`, `[connections]`, `[steering]`, `[forward]` and `[timeouts]`.

use super::keep::{self, Keep};
use super::metrics::{self, Address, Metrics};
use super::problem::Problems;
use super::section::{self, At, Section};
use super::{Buffers, Capacity, Control, Eal, Hugepages, Idle, IpvsSocket, history_of};
use crate::model::Forward;
use crate::nic_steering::{Mode, Preferred};
use dataplane::connection::{TimeoutSeconds, Timeouts};
use dataplane::snapshot::{IpOptions, Unmatched};
use dataplane::steering::MOST_WORKERS;
use nix::unistd::Group;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::DeValue;

/// The highest number of a core: a Linux CPU set holds 1024.
const HIGHEST_CORE: u32 = 1023;

/// The longest path of the Unix socket: `sun_path` (108 bytes, unix(7)) less its end and the `.new` that the
/// socket is first bound with.
pub(super) const LONGEST_SOCKET_PATH: usize = 103;

/// The largest cache of a mempool (`RTE_MEMPOOL_CACHE_MAX_SIZE`).
const LARGEST_CACHE: u32 = 512;

pub(super) fn eal(section: Option<Section<'_>>, problems: &mut Problems) -> Eal {
    let mut eal = Eal {
        main_lcore: 0,
        workers: vec![1],
        hugepages: Hugepages::Auto,
        memory_mb: 256,
        idle: Idle::Auto,
        args: Vec::new(),
    };
    let Some(mut section) = section else { return eal };
    if let Some(core) = section.number("main_lcore", 0..=HIGHEST_CORE, problems) {
        eal.main_lcore = core.value as usize;
    }
    if let Some(workers) = workers(&mut section, eal.main_lcore, problems) {
        eal.workers = workers;
    }
    let words = [("auto", Hugepages::Auto), ("require", Hugepages::Require), ("never", Hugepages::Never)];
    if let Some(hugepages) = section.word("hugepages", &words, problems) {
        eal.hugepages = hugepages.value;
    }
    if let Some(memory) = section.number("memory_mb", 16..=1 << 20, problems) {
        eal.memory_mb = memory.value as usize;
    }
    let words = [("auto", Idle::Auto), ("spin", Idle::Spin), ("yield", Idle::Yield)];
    if let Some(idle) = section.word("idle", &words, problems) {
        eal.idle = idle.value;
    }
    for value in section.array("args", problems).map_or(&[][..], |array| array.value) {
        eal.args.extend(section::text("args", value, problems).map(|text| text.value.to_owned()));
    }
    section.finish(problems);
    eal
}

/// The cores of the workers. `auto`: all that this process may use but the control thread's, if there are
/// others.
fn workers(section: &mut Section<'_>, main_lcore: usize, problems: &mut Problems) -> Option<Vec<usize>> {
    let value = section.any("workers")?;
    let at = value.span().start;
    let cores = match value.get_ref() {
        DeValue::Array(cores) => cores,
        DeValue::String(text) if text == "auto" => return Some(all_cores_but(main_lcore)),
        _ => {
            problems.add(at, "workers: expected a list of cores, as in workers = [1, 2], or \"auto\"");
            return None;
        }
    };
    let mut numbers = Vec::new();
    for core in cores.iter() {
        let number = section::number("workers", core, 0..=HIGHEST_CORE, problems)?;
        if numbers.contains(&(number.value as usize)) {
            problems.add(number.at, format!("workers: core {} is named twice", number.value));
            return None;
        }
        numbers.push(number.value as usize);
    }
    match numbers.len() {
        0 => problems.add(at, "workers: expected cores, as in workers = [1, 2], found none"),
        1..=MOST_WORKERS => return Some(numbers),
        many => problems.add(at, format!("workers: expected at most {MOST_WORKERS} cores, found {many}")),
    }
    None
}

fn all_cores_but(main_lcore: usize) -> Vec<usize> {
    let all = core_affinity::get_core_ids().unwrap_or_default();
    let mut cores: Vec<usize> = all.iter().map(|core| core.id).filter(|core| *core != main_lcore).collect();
    cores.truncate(MOST_WORKERS);
    if cores.is_empty() { vec![main_lcore] } else { cores }
}

pub(super) fn buffers(section: Option<Section<'_>>, problems: &mut Problems) -> Buffers {
    let mut buffers = Buffers { count: 8192, cache: 256, size: 2048 };
    let Some(mut section) = section else { return buffers };
    if let Some(count) = section.number("count", 512..=1 << 23, problems) {
        buffers.count = count.value as usize;
    }
    let cache = section.number("cache", 0..=LARGEST_CACHE, problems);
    if let Some(cache) = cache {
        buffers.cache = cache.value as usize;
    }
    if let Some(size) = section.number("size", 1024..=16_384, problems) {
        buffers.size = size.value as usize;
    }
    // The rule of rte_mempool_create: caches flush at one and a half times their size.
    if buffers.cache * 3 / 2 > buffers.count {
        let at = cache.map_or(section.at, |cache| cache.at);
        let most = buffers.count * 2 / 3;
        problems.add(at, format!("cache: at most two thirds of count ({most}), found {}", buffers.cache));
    }
    section.finish(problems);
    buffers
}

pub(super) fn control(section: Option<Section<'_>>, problems: &mut Problems) -> Control {
    let mut control = Control {
        socket: PathBuf::from(super::DEFAULT_SOCKET),
        ipvs_socket: IpvsSocket::Beside,
        group: None,
        state: None,
        metrics: Metrics::default(),
    };
    let Some(mut section) = section else { return control };
    if let Some(path) = socket_path("socket", &mut section, problems) {
        control.socket = path.value;
    }
    let is_empty =
        |value: &Spanned<DeValue<'_>>| matches!(value.get_ref(), DeValue::String(text) if text.is_empty());
    if section.any("ipvs_socket").is_some_and(is_empty) {
        control.ipvs_socket = IpvsSocket::None;
    } else if let Some(path) = socket_path("ipvs_socket", &mut section, problems) {
        if path.value == control.socket {
            problems.add(
                path.at,
                "ipvs_socket: the same path as socket; give it one of its own, or \"\" for none",
            );
        }
        control.ipvs_socket = IpvsSocket::At(path.value);
    }
    if let Some(group) = section.text("group", problems) {
        if Group::from_name(group.value).ok().flatten().is_none() {
            let right = "create it (groupadd), or correct the name";
            problems.add(group.at, format!("group: there is no group {:?}; {right}", group.value));
        }
        control.group = Some(group.value.to_owned());
    }
    let ipvs = control.ipvs_path();
    if let Some(state) = section.text("state", problems) {
        let path = PathBuf::from(state.value);
        if [Some(&control.socket), ipvs.as_ref()].contains(&Some(&path)) {
            let why = "state: the same path as socket or ipvs_socket; give the state file one of its own";
            problems.add(state.at, why);
        }
        control.state = Some(path);
    }
    control.metrics = metrics::metrics(&mut section, problems);
    if let Some(Address::Unix(path)) = &control.metrics.address {
        let history = control.state.as_deref().map(history_of);
        if [Some(&control.socket), ipvs.as_ref(), control.state.as_ref(), history.as_ref()]
            .contains(&Some(path))
        {
            let at = section.place("metrics").unwrap_or(section.at);
            let others = "socket, ipvs_socket, state or its history";
            problems.add(at, format!("metrics: the same path as {others}; give it one of its own"));
        }
    }
    section.finish(problems);
    control
}

fn socket_path(key: &'static str, section: &mut Section<'_>, problems: &mut Problems) -> Option<At<PathBuf>> {
    let path = section.text(key, problems)?;
    if path.len() > LONGEST_SOCKET_PATH {
        let found = path.len();
        let expected = format!("expected a path of at most {LONGEST_SOCKET_PATH} bytes, found {found}");
        problems.add(path.at, format!("{key}: {expected}"));
    }
    Some(At { value: PathBuf::from(path.value), at: path.at })
}

/// Connections that a worker can be asked to have room for, of each family.
const CAPACITIES: RangeInclusive<u32> = 16..=1 << 28;
/// Connections that a worker has room for, if the file does not say.
const USUAL_CAPACITY: usize = 1 << 20;

/// Connections per worker, and where they are kept. `speaks_ipv6`: some port has an IPv6 address. Without one there are
/// no connections of IPv6, and no memory is taken for them; with one there are as many as of IPv4, unless the file says
/// otherwise.
pub(super) fn connections(
    section: Option<Section<'_>>,
    speaks_ipv6: bool,
    problems: &mut Problems,
) -> (Capacity, Keep) {
    let (mut ipv4, mut ipv6, mut kept) = (None, None, Keep::Auto);
    if let Some(mut section) = section {
        ipv4 = section.number("capacity", CAPACITIES, problems);
        ipv6 = section.number("capacity_ipv6", CAPACITIES, problems);
        kept = keep::keep(&mut section, problems);
        section.finish(problems);
    }
    let ipv4 = ipv4.map_or(USUAL_CAPACITY, |capacity| capacity.value as usize);
    let ipv6 = ipv6.map_or(ipv4, |capacity| capacity.value as usize);
    (Capacity { ipv4, ipv6: if speaks_ipv6 { ipv6 } else { 0 } }, kept)
}

pub(super) fn steering(section: Option<Section<'_>>, problems: &mut Problems) -> (Mode, Preferred) {
    let Some(mut section) = section else { return Default::default() };
    let words = [("auto", Mode::Auto), ("source-only", Mode::SourceOnly), ("software", Mode::Software)];
    let mode = section.word("mode", &words, problems);
    let words = [("ipv4", Preferred::Ipv4), ("ipv6", Preferred::Ipv6)];
    let preferred = section.word("prefer", &words, problems);
    section.finish(problems);
    (mode.map_or(Mode::Auto, |mode| mode.value), preferred.map_or(Preferred::Ipv4, |word| word.value))
}

/// What happens to packets, whatever service they are of.
pub(super) fn forward(section: Option<Section<'_>>, problems: &mut Problems) -> Forward {
    let usual = Forward::default();
    let Some(mut section) = section else { return usual };
    let words = [("route", Unmatched::Route), ("drop", Unmatched::Drop)];
    let unmatched = section.word("unmatched", &words, problems);
    let words = [("filter", IpOptions::Filter), ("pass", IpOptions::Pass)];
    let ip_options = section.word("ip_options", &words, problems);
    let sloppy_tcp = section.truth("sloppy_tcp", problems);
    let sloppy_sctp = section.truth("sloppy_sctp", problems);
    let secure_tcp = section.truth("secure_tcp", problems);
    let keep = section.truth("keep_quiescent_templates", problems);
    section.finish(problems);
    Forward {
        unmatched: unmatched.map_or(usual.unmatched, |unmatched| unmatched.value),
        ip_options: ip_options.map_or(usual.ip_options, |ip_options| ip_options.value),
        sloppy_tcp: sloppy_tcp.map_or(usual.sloppy_tcp, |sloppy_tcp| sloppy_tcp.value),
        sloppy_sctp: sloppy_sctp.map_or(usual.sloppy_sctp, |sloppy_sctp| sloppy_sctp.value),
        secure_tcp: secure_tcp.map_or(usual.secure_tcp, |secure_tcp| secure_tcp.value),
        keep_quiescent_templates: keep.map_or(usual.keep_quiescent_templates, |keep| keep.value),
    }
}

pub(super) fn timeouts(section: Option<Section<'_>>, problems: &mut Problems) -> TimeoutSeconds {
    let mut timeouts = TimeoutSeconds::default();
    let Some(mut section) = section else { return timeouts };
    let TimeoutSeconds { tcp, fin, udp } = &mut timeouts;
    for (seconds, key) in [(tcp, "tcp"), (fin, "tcp_fin"), (udp, "udp")] {
        if let Some(found) = section.number(key, 1..=Timeouts::LONGEST_SECONDS, problems) {
            *seconds = found.value;
        }
    }
    section.finish(problems);
    timeouts
}
