//! Long answers: what takes longer than the control thread may be away is written slice by slice, between commands, as
//! its peer reads it. Scrapes, listings and searches are such answers.

use super::statistics::Statistics;
use crate::api::server::{Outlet, PeerId};
use crate::publish::workers::Workers;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::time::Instant;

/// What stands around an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// It is the answer to a command: a line of JSON with the text under `ok`.
    Answer,
    /// Nothing: it is a document of its own.
    Document,
}

/// An answer that knows how far it has come.
pub trait Slices: Debug + Send {
    /// The next part of the text, which may be empty: the work of far less than a millisecond.
    fn slice(&mut self, statistics: &mut Statistics, workers: &Workers) -> String;
    /// Whether that was the last part.
    fn is_over(&self) -> bool;
}

/// All long answers under way; they take turns.
#[derive(Debug, Default)]
pub struct Answers(VecDeque<(PeerId, Box<dyn Slices>)>);

impl Answers {
    /// Answers a peer that has asked, from the next turn on.
    pub fn begin(&mut self, peer: PeerId, answer: impl Slices + 'static) {
        self.0.push_back((peer, Box::new(answer)));
    }

    /// When something is to be done.
    pub fn due(&self, peers: &impl Outlet, now: Instant) -> Option<Instant> {
        self.0.iter().any(|(peer, _)| peers.has_room(*peer) != Some(false)).then_some(now)
    }

    /// Goes on with the next answer whose peer reads. Returns one that is over, or whose peer is gone: it may be the
    /// last to have what was configured when it began, which takes long to be freed.
    pub fn turn(
        &mut self,
        peers: &mut impl Outlet,
        statistics: &mut Statistics,
        workers: &Workers,
        now: Instant,
    ) -> Option<Box<dyn Slices>> {
        if let Some(gone) = self.0.iter().position(|(peer, _)| peers.has_room(*peer).is_none()) {
            return self.0.remove(gone).map(|(_, answer)| answer);
        }
        let next = self.0.iter().position(|(peer, _)| peers.has_room(*peer) == Some(true))?;
        let (peer, mut answer) = self.0.remove(next)?;
        peers.push(peer, answer.slice(statistics, workers).as_bytes());
        if !answer.is_over() {
            self.0.push_back((peer, answer));
            return None;
        }
        peers.end(peer, now);
        Some(answer)
    }
}
