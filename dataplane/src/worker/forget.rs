//! Forgetting all connections and templates, some in each turn.

use super::Worker;
use super::flows::Flows;
use crate::exchange::orders::Return;
use crate::frame::FrameIo;

/// Buckets emptied in a turn that has packets, at most, and as many templates.
const FORGET_BUSY: usize = 64;
/// As many in a turn without packets.
const FORGET_IDLE: usize = 1024;

/// How far that has got: what is looked at next of each, `None` if all has been.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forgetting {
    v4: Option<usize>,
    v6: Option<usize>,
    templates: Option<usize>,
    connections: u64,
}

impl Forgetting {
    const fn is_through(self) -> bool {
        self.v4.is_none() && self.v6.is_none() && self.templates.is_none()
    }
}

impl Flows {
    /// Forgets all that there is now, from this turn on. What is still to be inherited is not.
    pub(super) fn forget_all(&mut self) {
        let before = self.forgetting.map_or(0, |before| before.connections);
        let from_first = Some(0);
        let forgetting =
            Forgetting { v4: from_first, v6: from_first, templates: from_first, connections: before };
        self.forgetting = Some(forgetting);
        self.give_up_inheritance();
        self.note_more();
    }

    /// Forgets what is due in a turn.
    #[cold]
    #[inline(never)]
    pub(super) fn forget_some(&mut self, idle: bool) {
        let Self { forgetting: Some(forgetting), tables, persistent, counters, .. } = self else { return };
        let Forgetting { v4, v6, templates, connections } = forgetting;
        let most = if idle { FORGET_IDLE } else { FORGET_BUSY };
        *v4 = v4.and_then(|from| tables.v4.clear(from, most, connections, counters));
        *v6 = v6.and_then(|from| tables.v6.clear(from, most, connections, counters));
        *templates = templates.and_then(|from| persistent.as_mut()?.templates.clear(from, most, counters));
    }
}

impl<Io: FrameIo> Worker<Io> {
    /// Gives back what is through; what finds no room on the ring waits for the next turn.
    #[cold]
    #[inline(never)]
    pub(super) fn give_back(&mut self) {
        let Self { flows, returns, .. } = self;
        if !returns.is_full()
            && let Some(inheritance) = flows.take_inheritance()
        {
            let _ = returns.push(Return::Inherited(inheritance));
        }
        if !returns.is_full()
            && let Some(forgetting) = flows.forgetting.take_if(|forgetting| forgetting.is_through())
        {
            let _ = returns.push(Return::Forgotten(forgetting.connections));
        }
        flows.note_more();
    }
}
