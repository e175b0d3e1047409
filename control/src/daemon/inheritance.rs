//! Connections are taken over from earlier processes, and kept for later ones.
//!
//! ```text
//! first snapshot compiled ─► what is there is opened, its ids become ours ─► every worker: inherit, then adopt
//!                                                                                   │ forward, and take over
//!                          files removed, log line ◄── every worker is through ◄────┘
//! ```

use super::ControlThread;
use super::preparation::Job;
use crate::api::protocol::{InheritedView, KeptView};
use crate::api::server::PeerId;
use crate::observe::statistics::Statistics;
use crate::persist::kept::{self, HopNames, Keeping, LeftFiles, Predecessors};
use crate::publish::workers::Workers;
use dataplane::connection::kept::{Heartbeat, Old};
use dataplane::exchange::orders::{Inheritance, Inherited, InheritedCounts, LeftArea, Order};
use dataplane::live::next_hops::NextHop;
use dataplane::names::ids::NextHopId;
use dataplane::names::time::Tick;
use std::fmt::Write;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A process that has run for so long has not been harmed by what it has taken over.
const PROBATION: Duration = Duration::from_secs(60);
/// Within this time the memory that earlier processes had is free.
const SETTLING: Duration = Duration::from_secs(5);
const NANOSECONDS_OF_TICK: u64 = 1_000_000_000 / Tick::PER_SECOND as u64;

/// See the module's text.
pub(super) struct Inheriting {
    keeping: Arc<Keeping>,
    /// In words.
    backing: String,
    heartbeats: Vec<Noted>,
    /// All have been noted.
    is_noted: bool,
    hops: Option<HopNames>,
    stage: Stage,
    view: Option<InheritedView>,
    /// When all memory is free that earlier processes had.
    settled: Option<Instant>,
    /// Since when what has been taken over may do harm.
    on_probation: Option<Instant>,
}

/// A worker whose connections are kept.
struct Noted {
    worker: usize,
    heartbeat: Heartbeat,
    /// The time of its clock, and how far the machine's was ahead, when that was noted last; in nanoseconds.
    last: Option<(u64, i64)>,
}

enum Stage {
    /// Nothing is published yet.
    Before,
    UnderWay(UnderWay),
    /// All is done, or there was nothing.
    Over,
}

/// Workers take over.
struct UnderWay {
    predecessors: Predecessors,
    /// Workers that are not through.
    left: usize,
    began: Instant,
    /// When the last of the processes before was at work, in nanoseconds of the machine.
    last_seen: Option<u64>,
    counts: Counts,
    returned: Vec<Inheritance>,
}

/// Of all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    connections: u64,
    templates: u64,
    templates_given_up: u64,
    unknown_real: u64,
    expired: u64,
    no_room: u64,
    damaged: u64,
    nanoseconds: u64,
    /// Ticks.
    silent: u32,
}

impl Counts {
    fn add(&mut self, counts: &InheritedCounts) {
        let InheritedCounts { connections, silent, templates, templates_given_up, nanoseconds } = counts;
        self.connections += u64::from(connections.made);
        self.templates += u64::from(*templates);
        self.templates_given_up += u64::from(*templates_given_up);
        self.unknown_real += u64::from(connections.no_real);
        self.expired += u64::from(connections.expired);
        self.no_room += u64::from(connections.no_room);
        self.damaged += u64::from(connections.malformed);
        self.nanoseconds = self.nanoseconds.max(*nanoseconds);
        self.silent = self.silent.max(*silent);
    }

    /// The reasons for which connections were given up: the key of `status`, words, and how many.
    const fn given_up(&self) -> [(&'static str, &'static str, u64); 4] {
        let [unknown_real, expired, no_room, damaged] = InheritedView::REASONS;
        [
            (unknown_real, "their real is unknown", self.unknown_real),
            (expired, "expired", self.expired),
            (no_room, "no room", self.no_room),
            (damaged, "damaged", self.damaged),
        ]
    }
}

impl Inheriting {
    pub(super) fn new(keeping: Arc<Keeping>, heartbeats: Vec<(usize, Heartbeat)>, backing: String) -> Self {
        let noted = |(worker, heartbeat)| Noted { worker, heartbeat, last: None };
        Self {
            keeping,
            backing,
            heartbeats: heartbeats.into_iter().map(noted).collect(),
            is_noted: false,
            hops: None,
            stage: Stage::Before,
            view: None,
            settled: None,
            on_probation: None,
        }
    }

    /// Nothing is kept, and nothing was.
    pub(super) fn nothing() -> Self {
        Self::new(Arc::new(Keeping::nothing()), Vec::new(), String::new())
    }

    /// Whether ids that workers have been told of must stay what they are.
    pub(super) const fn is_under_way(&self) -> bool {
        matches!(self.stage, Stage::UnderWay(_))
    }

    /// A next hop is about to be published.
    pub(super) fn name_hop(&mut self, id: NextHopId, next_hop: NextHop) {
        let Some(hops) = self.hops.as_mut().filter(|_| next_hop.is_resolved()) else { return };
        if let Err(error) = hops.set(id, next_hop.interface()) {
            log::warn!("the ways back to clients will not be known to the next lbd: {error}");
            self.hops = None;
        }
    }

    /// The first snapshot is about to be offered: opens what there is, and gives every worker the order to take it
    /// over.
    pub(super) fn begin(&mut self, statistics: &Statistics, workers: &mut Workers, now: Instant) {
        if !matches!(self.stage, Stage::Before) {
            return;
        }
        self.keeping.set_begun();
        self.note(workers);
        let predecessors = self.keeping.predecessors();
        if predecessors.files.is_empty() {
            self.keeping.remove(&predecessors);
            self.keeping.read_all();
            self.stage = Stage::Over;
            self.begin_settling(now);
            return;
        }
        self.on_probation = Some(now);
        let boot = kept::boot_nanoseconds();
        let inherited = predecessors.files.iter().map(|files| inherited(files, statistics, boot));
        let generations: Arc<[Inherited]> = inherited.collect();
        for worker in 0..workers.len() {
            workers.inherit(worker, Inheritance::new(Arc::clone(&generations)));
        }
        let areas = predecessors.files.iter().flat_map(|files| &files.areas);
        let last_seen = areas.filter_map(|old| last_seen(old)).max();
        self.view = Some(InheritedView { in_progress: true, ..InheritedView::default() });
        self.stage = Stage::UnderWay(UnderWay {
            predecessors,
            left: workers.len(),
            began: now,
            last_seen,
            counts: Counts::default(),
            returned: Vec::new(),
        });
    }

    /// The first snapshot is in force.
    pub(super) fn forwarding(&mut self) {
        let (Stage::UnderWay(UnderWay { last_seen, .. }), Some(view)) = (&self.stage, &mut self.view) else {
            return;
        };
        let gap = last_seen.map(|last| kept::boot_nanoseconds().saturating_sub(last) / 1_000_000);
        view.gap_ms = view.gap_ms.or(gap);
    }

    /// Takes what a worker gives back. Once all have, returns what is to be freed.
    fn take(&mut self, inheritance: Inheritance, now: Instant) -> Option<UnderWay> {
        let (Stage::UnderWay(under_way), Some(view)) = (&mut self.stage, &mut self.view) else { return None };
        under_way.counts.add(&inheritance.counts);
        under_way.returned.push(inheritance);
        under_way.left -= 1;
        let counts = under_way.counts;
        view.connections = counts.connections;
        view.templates = counts.templates;
        view.templates_given_up = counts.templates_given_up;
        let given_up = counts.given_up().into_iter().filter(|(_, _, count)| *count > 0);
        view.given_up = given_up.map(|(key, _, count)| (key.to_owned(), count)).collect();
        view.import_ms = counts.nanoseconds / 1_000_000;
        view.oldest_s = u64::from(counts.silent / Tick::PER_SECOND);
        if under_way.left > 0 {
            return None;
        }
        view.in_progress = false;
        log::info!("{}", sentence(&counts, view));
        let Stage::UnderWay(under_way) = mem::replace(&mut self.stage, Stage::Over) else { return None };
        log::debug!("took over within {} ms", (now - under_way.began).as_millis());
        self.keeping.remove(&under_way.predecessors);
        self.keeping.read_all();
        self.begin_settling(now);
        Some(under_way)
    }

    /// Nothing of earlier processes is needed any more; what they had is free soon.
    fn begin_settling(&mut self, now: Instant) {
        self.settled = Some(now + SETTLING);
    }

    /// Once memory has settled, warns of what the next process will lack.
    fn warn_of_lack(&mut self, now: Instant) {
        if self.settled.take_if(|settled| *settled <= now).is_some()
            && let Some(lack) = self.keeping.lack_of_next()
        {
            log::warn!("{lack}");
        }
    }

    /// Notes for later processes how the workers' clocks stand, and how many connections each has. To be called once a
    /// second.
    fn note(&mut self, workers: &Workers) {
        let boot = kept::boot_nanoseconds();
        self.is_noted = true;
        for Noted { worker, heartbeat, last } in &mut self.heartbeats {
            let nanoseconds = heartbeat.nanoseconds();
            let Some(counters) = workers.counters().nth(*worker).filter(|_| nanoseconds != 0) else {
                // It has not turned yet.
                self.is_noted = false;
                continue;
            };
            // The clock of a worker that rests stands still.
            let offset = match *last {
                Some((then, offset)) if then == nanoseconds => offset,
                _ => boot.wrapping_sub(nanoseconds) as i64,
            };
            *last = Some((nanoseconds, offset));
            heartbeat.note(offset, counters.connections.get());
        }
    }

    /// The workers have ended: what they have left is whole.
    fn note_end(&self, workers: &Workers) {
        for Noted { worker, heartbeat, last } in &self.heartbeats {
            if let (Some(counters), Some((_, offset))) = (workers.counters().nth(*worker), last) {
                heartbeat.note(*offset, counters.connections.get());
            }
            heartbeat.set_clean(true);
        }
    }

    /// This process ends because another takes its place: what it has read did it no harm.
    pub(super) fn give_way(&self) {
        self.keeping.succeeded();
    }

    /// How it stands.
    pub(super) fn view(&self) -> KeptView {
        let mut inherited = self.view.clone();
        if let (Stage::UnderWay(under_way), Some(view)) = (&self.stage, &mut inherited) {
            view.import_ms = under_way.began.elapsed().as_millis() as u64;
        }
        KeptView {
            place: self.keeping.tables_place().map(|path| path.display().to_string()),
            backing: self.backing.clone(),
            generation: self.keeping.generation(),
            inherited,
        }
    }
}

/// What a process has left, with the ids of this one.
fn inherited(files: &LeftFiles, statistics: &Statistics, boot: u64) -> Inherited {
    let area = |old: &Arc<Old>| {
        let passed = last_seen(old).map_or(0, |last| boot.saturating_sub(last) / NANOSECONDS_OF_TICK);
        LeftArea { old: Arc::clone(old), elapsed: u32::try_from(passed).unwrap_or(u32::MAX) }
    };
    let real = |key: &Option<_>| statistics.id(key.as_ref()?);
    Inherited {
        areas: files.areas.iter().map(area).collect(),
        reals: files.reals.iter().map(real).collect(),
        interfaces: files.interfaces.clone(),
    }
}

/// When the worker of an area was at work last, in nanoseconds of the machine; `None`: it did not come so far.
fn last_seen(old: &Old) -> Option<u64> {
    let header = old.header();
    (header.nanoseconds != 0 && header.boot_offset != 0)
        .then(|| header.nanoseconds.saturating_add_signed(header.boot_offset))
}

/// What an operator wants to know of it.
fn sentence(counts: &Counts, view: &InheritedView) -> String {
    let given_up: u64 = counts.given_up().iter().map(|(_, _, count)| count).sum();
    let mut text = format!("connections: {} kept", grouped(counts.connections));
    if view.oldest_s > 0 {
        let _ = write!(text, " (silent for {} at most)", duration(view.oldest_s));
    }
    if given_up > 0 {
        let reasons = counts.given_up().into_iter().filter(|(_, _, count)| *count > 0);
        let reasons: Vec<String> =
            reasons.map(|(_, words, count)| format!("{}: {words}", grouped(count))).collect();
        let _ = write!(text, ", {} given up ({})", grouped(given_up), reasons.join(", "));
    }
    if counts.templates + counts.templates_given_up > 0 {
        let _ = write!(text, "; {} persistent clients kept", grouped(counts.templates));
    }
    if counts.templates_given_up > 0 {
        let _ = write!(text, ", {} given up", grouped(counts.templates_given_up));
    }
    if let Some(gap) = view.gap_ms {
        let seconds = gap as f64 / 1e3;
        let _ = write!(text, "; forwarding again {seconds:.2} s after the predecessor stopped");
    }
    let _ = write!(text, "; import took {:.2} s", counts.nanoseconds as f64 / 1e9);
    text
}

/// `1,048,112`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The largest unit that it has two of.
fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Peers that have asked for all connections to be cleared, one after the other.
#[derive(Default)]
pub(super) struct Clearing {
    /// Who asked when, and is waiting.
    waiting: Vec<PeerId>,
    /// Those that are answered when the workers are through.
    asked: Vec<PeerId>,
    /// Workers that are not.
    left: usize,
    connections: u64,
}

impl Clearing {
    /// Whether nobody waits for it.
    pub(super) const fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty()
    }
}

impl ControlThread {
    /// From now on connections are kept, and those that earlier processes have left are taken over with the first
    /// snapshot. To be called before [`start`](Self::start). `heartbeats`: of the workers whose tables are kept;
    /// `backing`: the memory of tables, in words.
    pub fn keep_connections(
        &mut self,
        keeping: Arc<Keeping>,
        heartbeats: Vec<(usize, Heartbeat)>,
        backing: String,
    ) {
        let names = keeping.names();
        self.inheriting = Inheriting::new(keeping, heartbeats, backing);
        if let Some((reals, hops)) = names {
            self.preparation.give(Job::Name(reals));
            self.inheriting.hops = Some(hops);
        }
    }

    /// The workers have ended, and none by a fault: what they have left is whole.
    pub fn end_in_order(&mut self) {
        self.inheriting.note_end(&self.workers);
        self.inheriting.keeping.succeeded();
    }

    /// Takes what workers are through with.
    pub(super) fn inherit(&mut self, now: Instant) {
        while let Some(inheritance) = self.workers.inherited() {
            if let Some(over) = self.inheriting.take(*inheritance, now) {
                // Much memory, that of tables in files too.
                self.preparation.give(Job::Free(Box::new((over.predecessors, over.returned))));
                self.has_freed = true;
            }
        }
        if !self.inheriting.is_noted {
            self.inheriting.note(&self.workers);
        }
        self.clear();
    }

    /// Once a second.
    pub(super) fn watch_kept(&mut self, now: Instant) {
        self.inheriting.note(&self.workers);
        self.inheriting.warn_of_lack(now);
        let since = self.inheriting.on_probation;
        if since.is_some_and(|since| now.saturating_duration_since(since) >= PROBATION) {
            self.inheriting.on_probation = None;
            self.inheriting.keeping.succeeded();
        }
    }

    /// Has all workers forget all connections; the peer is answered when they have.
    pub(super) fn clear_connections(&mut self, peer: PeerId) {
        match self.hand_over.refuses_changes() {
            Ok(()) => self.clearing.waiting.push(peer),
            Err(refused) => self.reply(peer, Err(refused)),
        }
    }

    fn clear(&mut self) {
        while let Some(connections) = self.workers.forgotten() {
            self.clearing.connections += connections;
            self.clearing.left = self.clearing.left.saturating_sub(1);
        }
        if self.clearing.left > 0 {
            return;
        }
        let connections = mem::take(&mut self.clearing.connections);
        for peer in mem::take(&mut self.clearing.asked) {
            self.answer_cleared(peer, connections);
        }
        // What has come since they began may be meant by whoever asked meanwhile.
        if !self.clearing.waiting.is_empty() {
            self.clearing.asked = mem::take(&mut self.clearing.waiting);
            self.clearing.left = self.workers.len();
            self.workers.tell(|| Order::Forget);
        }
    }

    /// Peers that wait for connections to be cleared.
    pub(super) fn take_clearing(&mut self) -> Vec<PeerId> {
        let Clearing { waiting, asked, .. } = mem::take(&mut self.clearing);
        waiting.into_iter().chain(asked).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_was_kept_and_why_the_rest_was_not() {
        let counts = Counts {
            connections: 1_048_112,
            unknown_real: 2,
            expired: 1,
            nanoseconds: 120_000_000,
            ..Counts::default()
        };
        let view = InheritedView { oldest_s: 7300, gap_ms: Some(310), ..InheritedView::default() };
        assert_eq!(
            sentence(&counts, &view),
            "connections: 1,048,112 kept (silent for 2 h at most), 3 given up (2: their real is unknown, 1: expired); \
             forwarding again 0.31 s after the predecessor stopped; import took 0.12 s"
        );
        assert_eq!(
            sentence(&Counts::default(), &InheritedView::default()),
            "connections: 0 kept; import took 0.00 s"
        );
        let counts = Counts { templates: 5, templates_given_up: 1000, ..Counts::default() };
        assert_eq!(
            sentence(&counts, &InheritedView::default()),
            "connections: 0 kept; 5 persistent clients kept, 1,000 given up; import took 0.00 s"
        );
    }

    #[test]
    fn numbers_and_times_are_short() {
        assert_eq!([0, 7, 999, 1000, 123_456].map(grouped), ["0", "7", "999", "1,000", "123,456"]);
        assert_eq!(
            [119, 120, 7199, 7200, 172_800].map(duration),
            ["119 s", "2 min", "119 min", "2 h", "2 days"]
        );
    }
}
