//! What is configured of a service besides its address and its reals.

use dataplane::connection::{State, Timeouts};
use dataplane::schedule::{Algorithm, Flags};
use dataplane::snapshot::{OnRemoval, Persistence};

/// Everything that can be set of a service. What [`rules::check_settings`](super::rules::check_settings) refuses is
/// never in a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How a real is picked.
    pub algorithm: Algorithm,
    /// How the algorithm is varied.
    pub flags: Flags,
    /// Whether, and for how long, a client stays with its real.
    pub persistence: Option<Persistence>,
    /// Every datagram is scheduled by itself.
    pub one_packet: bool,
    /// How long its connections live.
    pub timeouts: StateTimeouts,
    /// What becomes of the connections of a real that is removed.
    pub on_removal: OnRemoval,
    /// Seconds in which a real that appears comes to its full share; 0: it has that at once.
    pub slow_start: u32,
}

impl Settings {
    /// Nothing but the algorithm is set.
    pub const fn new(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            flags: Flags::NONE,
            persistence: None,
            one_packet: false,
            timeouts: StateTimeouts::NONE,
            on_removal: OnRemoval::Drop,
            slow_start: 0,
        }
    }
}

/// Timeouts of single states that differ from those of all services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateTimeouts {
    /// In seconds, by the state that is [shown](State::shown); 0: as of all services.
    seconds: [u32; State::COUNT],
}

impl StateTimeouts {
    /// All are as of all services.
    pub const NONE: Self = Self { seconds: [0; State::COUNT] };

    /// The states that have a timeout of their own to set, in the order of [`State::ALL`].
    pub fn states() -> impl Iterator<Item = State> {
        State::ALL.into_iter().filter(|state| state.shown() == *state)
    }

    /// From now on connections in this state live for so many seconds without a packet; 0: as those of all services.
    pub const fn set(&mut self, state: State, seconds: u32) {
        self.seconds[state.shown() as usize] = seconds;
    }

    /// Those that are set, each in seconds.
    pub fn iter(&self) -> impl Iterator<Item = (State, u32)> + '_ {
        Self::states().map(|state| (state, self.seconds[state as usize])).filter(|(_, seconds)| *seconds != 0)
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// The timeouts of all services, with these in place of some.
    pub fn over(&self, of_all: Timeouts) -> Timeouts {
        self.iter().fold(of_all, |timeouts, (state, seconds)| timeouts.with(state, seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_that_are_set_take_the_place_of_those_of_all() {
        let mut own = StateTimeouts::NONE;
        own.set(State::CloseWaitByClient, 7);
        own.set(State::Udp, 9);
        own.set(State::Established, 5);
        own.set(State::Established, 0);
        assert_eq!(own.iter().collect::<Vec<_>>(), [(State::CloseWait, 7), (State::Udp, 9)]);
        let timeouts = own.over(Timeouts::default());
        let expected = [
            (State::CloseWait, 7),
            (State::CloseWaitByClient, 7),
            (State::UdpAnswered, 9),
            (State::Established, 900),
            (State::SynRecv, 60),
        ];
        for (state, seconds) in expected {
            assert_eq!(timeouts.seconds(state), seconds, "{state:?}");
        }
    }
}
