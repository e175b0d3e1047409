//! The snapshot that workers run on and the one before, which take turns (left-right).
//!
//! ```text
//! edit n      current ──► workers adopt it, and give the one before back
//! edit n + 1  the one before is ours alone: edit n and edit n + 1 are applied to it, and it is the current one
//! ```
//!
//! So a change costs what it changes, twice, and the packet path reads flat arrays that nobody writes meanwhile.

use dataplane::snapshot::{Edit, Snapshot};
use std::sync::Arc;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Pair {
    current: Arc<Snapshot>,
    /// `current`, or the one before it.
    spare: Arc<Snapshot>,
    /// What leads from the spare to `current`, if they differ.
    lacking: Option<Edit>,
}

impl Default for Pair {
    fn default() -> Self {
        Self::new(Snapshot::empty())
    }
}

impl Pair {
    fn new(snapshot: Snapshot) -> Self {
        Self { spare: Arc::new(snapshot.clone()), current: Arc::new(snapshot), lacking: None }
    }

    /// The last one.
    pub(super) fn current(&self) -> &Arc<Snapshot> {
        &self.current
    }

    /// Another takes the place of both.
    pub(super) fn replace(&mut self, snapshot: Snapshot) {
        *self = Self::new(snapshot);
    }

    /// Goes on to the next version.
    pub(super) fn edit(&mut self, edit: Edit) {
        match Arc::get_mut(&mut self.spare) {
            Some(spare) => {
                if let Some(lacking) = &self.lacking {
                    spare.apply(lacking);
                }
                spare.apply(&edit);
            }
            // Somebody still has it: a worker that is late with giving it back.
            None => {
                let mut copy = Snapshot::clone(&self.current);
                copy.apply(&edit);
                self.spare = Arc::new(copy);
            }
        }
        std::mem::swap(&mut self.current, &mut self.spare);
        self.lacking = Some(edit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::connection::Timeouts;

    fn edit(version: u64) -> Edit {
        Edit { version, services: Vec::new(), reals: Vec::new(), timeouts: Timeouts::default() }
    }

    #[test]
    fn two_take_turns_and_one_that_is_held_is_left_alone() {
        let mut pair = Pair::default();
        let place = |pair: &Pair| Arc::as_ptr(pair.current());
        let first = place(&pair);
        pair.edit(edit(1));
        let second = place(&pair);
        assert_ne!(first, second);
        pair.edit(edit(2));
        assert_eq!((pair.current().version, place(&pair)), (2, first));
        let held = Arc::clone(pair.current());
        pair.edit(edit(3));
        assert_eq!((pair.current().version, place(&pair)), (3, second));
        pair.edit(edit(4));
        assert_eq!((pair.current().version, held.version), (4, 2));
        assert!(![first, second].contains(&place(&pair)));
        pair.edit(edit(5));
        assert_eq!((pair.current().version, place(&pair)), (5, second));
    }
}
