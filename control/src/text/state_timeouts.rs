//! Timeouts of a service's connections, by the state that these are in: `tcp=900,syn_recv=30`.

use crate::model::StateTimeouts;
use dataplane::connection::State;
use dataplane::names::ids::Protocol;
use std::collections::BTreeMap;

/// States that have the name of a timeout of all services.
const GENERAL: [(State, &str); 4] = [
    (State::Established, "tcp"),
    (State::FinWait, "tcp_fin"),
    (State::Udp, "udp"),
    (State::SctpEstablished, "sctp"),
];

/// What this state is called. Some of SCTP's are shown with the name that another has in TCP.
pub fn name(state: State) -> String {
    if let Some((_, name)) = GENERAL.iter().find(|(of, _)| *of == state.shown()) {
        return (*name).to_owned();
    }
    let name = state.name().to_ascii_lowercase().replace('-', "_");
    if state.protocol() == Protocol::Sctp { format!("sctp_{name}") } else { name }
}

/// The state with this name, or with the one that listings show: TCP's, where both TCP and SCTP have one.
///
/// # Errors
/// There is none; the text names all.
pub fn state(name_found: &str) -> Result<State, String> {
    let is_it = |state: &State| name(*state) == name_found || state.name().eq_ignore_ascii_case(name_found);
    StateTimeouts::states().find(is_it).ok_or_else(|| {
        let known: Vec<String> = StateTimeouts::states().map(name).collect();
        format!("unknown state {name_found:?} (known: {})", known.join(", "))
    })
}

/// Those that are set, by name, each in seconds.
pub fn by_name(timeouts: &StateTimeouts) -> BTreeMap<String, u32> {
    timeouts.iter().map(|(state, seconds)| (name(state), seconds)).collect()
}

/// `tcp=900,syn_recv=30`, in the order of the states.
pub fn text(timeouts: &StateTimeouts) -> String {
    let each = timeouts.iter().map(|(state, seconds)| format!("{}={seconds}", name(state)));
    each.collect::<Vec<_>>().join(",")
}

/// What [`text`] writes, by name. Whether a timeout can be so long is judged with the others.
///
/// # Errors
/// It is something else, or names a state twice.
pub fn by_text(text: &str) -> Result<BTreeMap<String, u32>, String> {
    let mut all = BTreeMap::new();
    for part in text.split(',') {
        let expected = || format!("expected STATE=SECONDS as tcp=900,syn_recv=30, found {part:?}");
        let (name_found, seconds) = part.split_once('=').ok_or_else(expected)?;
        let name = name(state(name_found)?);
        let digits = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = seconds.parse().ok().filter(|_| digits);
        let seconds =
            seconds.ok_or_else(|| format!("invalid timeout value in {part:?}: expected seconds"))?;
        if all.insert(name, seconds).is_some() {
            return Err(format!("{name_found}: given twice"));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_name_and_that_of_the_listings() {
        let names: Vec<String> = StateTimeouts::states().map(name).collect();
        assert_eq!(
            names.join(","),
            "none,tcp,syn_sent,syn_recv,tcp_fin,time_wait,close,close_wait,last_ack,listen,synack,udp,sctp_none,\
             sctp_init1,sctp_init,sctp_c_sent,sctp_c_replied,sctp_c_wait,sctp_cookie,sctp_c_echoed,sctp,sctp_s_sent,\
             sctp_s_received,sctp_s_ack_sent,sctp_rejected,sctp_closed"
        );
        for of in StateTimeouts::states() {
            assert_eq!(state(&name(of)), Ok(of));
            let shown = match of {
                State::SctpNone => State::None,
                State::SctpEstablished => State::Established,
                other => other,
            };
            assert_eq!(state(of.name()), Ok(shown));
        }
        let refused = state("open").unwrap_err();
        assert_eq!(refused, format!("unknown state \"open\" (known: {})", names.join(", ")));
    }

    #[test]
    fn what_is_written_reads_back() {
        let written = "tcp=60,syn_recv=5,udp=7";
        let read = by_text("udp=7,ESTABLISHED=60,syn_recv=5").unwrap();
        let mut timeouts = StateTimeouts::NONE;
        for (name, seconds) in &read {
            timeouts.set(state(name).unwrap(), *seconds);
        }
        assert_eq!((text(&timeouts).as_str(), by_name(&timeouts)), (written, read));
        for (wrong, words) in [
            ("", "expected STATE=SECONDS as tcp=900,syn_recv=30, found \"\""),
            ("tcp", "expected STATE=SECONDS as tcp=900,syn_recv=30, found \"tcp\""),
            ("tcp=", "invalid timeout value in \"tcp=\": expected seconds"),
            ("tcp=+5", "invalid timeout value in \"tcp=+5\": expected seconds"),
            ("tcp=1,established=2", "established: given twice"),
        ] {
            assert_eq!(by_text(wrong).unwrap_err(), words);
        }
    }
}
