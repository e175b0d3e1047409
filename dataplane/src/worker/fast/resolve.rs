//! The second stage: the loop over a burst, in which established connections' packets are translated, while the buckets
//! of the next burst are prefetched.

use super::dispatch::DirectionOf;
use super::family::Plain;
use super::probe::{prefetch_homes, probe_all, probe_openings};
use super::staged::{FrameSet, Staged};
use crate::connection::table::Home;
use crate::frame::{BURST, FrameIo};
use crate::names::ids::InterfaceId;
use crate::worker::turn::Turn;

impl<Io: FrameIo> Turn<'_, Io> {
    /// What is not a plain packet of a known connection is resolved after the rest; all leave in order of arrival.
    #[inline(always)]
    pub(super) fn resolve_all<V: Plain, Way: DirectionOf, const GROUP: usize>(
        &mut self,
        next: &[Home],
        burst: &mut Staged<Io::Frame, V>,
    ) {
        let tick = self.now.tick();
        let mut groups = next.chunks_exact(GROUP.max(1));
        if burst.opened {
            if probe_openings(V::of(&self.flows.tables), burst) {
                prefetch_homes(V::of_mut(&mut self.flows.tables).words(), next);
                let all = FrameSet::MAX >> (BURST - burst.frames.len());
                return self.send_in_parts::<V, Way>(burst, all);
            }
        } else {
            probe_all(V::of(&self.flows.tables), burst);
        }
        let (mut done, count) = (0, burst.frames.len().min(BURST));
        while burst.others == 0 && done < count {
            let path = self.fast().path::<V>(tick);
            let Staged { frames, keys, probed, lengths, directions, outs, .. } = &mut *burst;
            let frames = &mut frames[..count];
            while done < count {
                if GROUP > 0
                    && done % GROUP == 0
                    && let Some(group) = groups.next()
                {
                    prefetch_homes(path.words(), group);
                }
                let direction = Way::of(&directions[done]);
                let out =
                    path.forward(&mut frames[done], keys[done], probed[done], &lengths[done], direction);
                let Some(out) = out else { break };
                outs[done] = out;
                done += 1;
            }
            if done < count {
                let Some(out) = self.forward_one_elsewhere::<V, Way>(burst, done) else { break };
                burst.outs[done] = out;
                done += 1;
            }
        }
        let rest = groups.remainder();
        groups
            .chain([rest])
            .for_each(|group| prefetch_homes(V::of_mut(&mut self.flows.tables).words(), group));
        if done == burst.frames.len()
            && let Some(out) = burst.only_out()
        {
            burst.opened = false;
            self.egress.push_burst(out, &mut burst.frames);
        } else {
            self.resolve_rest::<V, Way>(burst, done);
        }
    }

    /// [`forward_elsewhere`](super::Fast::forward_elsewhere) for one of a burst's frames.
    #[cold]
    #[inline(never)]
    fn forward_one_elsewhere<V: Plain, Way: DirectionOf>(
        &mut self,
        burst: &mut Staged<Io::Frame, V>,
        index: usize,
    ) -> Option<InterfaceId> {
        let decoded = burst.decoded(index, Way::of(&burst.directions[index]));
        self.fast().forward_elsewhere(&mut burst.frames[index], &decoded)
    }
}
