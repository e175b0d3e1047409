//! Signals other than SIGTERM and SIGINT. SIGHUP has the configuration file read again; the others are logged and
//! otherwise ignored: by default they would end the process, and with it the network, without a line.
//!
//! Left alone are those that a fault of the program itself raises (SIGSEGV, SIGABRT …: they give a core dump), those
//! that do nothing by default, and those that only stop and resume a process.

use control::daemon::Hangups;
use libc::{SIGALRM, SIGIO, SIGPROF, SIGPWR, SIGSTKFLT, SIGVTALRM, SIGXCPU, SIGXFSZ};
use signal_hook::consts::{SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::iterator::{Handle, SignalsInfo};
use signal_hook::low_level::siginfo::Origin;
use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

/// The signals that are ignored: number, name, and what an operator should know who sends one.
const NAMED: [(i32, &str, &str); 11] = [
    (SIGQUIT, "SIGQUIT", "SIGTERM stops lbd, SIGABRT ends it with a core dump"),
    (SIGUSR1, "SIGUSR1", NO_MEANING),
    (SIGUSR2, "SIGUSR2", NO_MEANING),
    (SIGALRM, "SIGALRM", NO_MEANING),
    (SIGVTALRM, "SIGVTALRM", NO_MEANING),
    (SIGPROF, "SIGPROF", NO_MEANING),
    (SIGIO, "SIGIO", NO_MEANING),
    (SIGPWR, "SIGPWR", NO_MEANING),
    (SIGSTKFLT, "SIGSTKFLT", NO_MEANING),
    (
        SIGXCPU,
        "SIGXCPU",
        "the limit of CPU time (ulimit -t, LimitCPU) is reached, and the kernel ends lbd at the hard limit: \
         start it without one",
    ),
    // The write that was too long fails, too, and so does the change that it belonged to.
    (SIGXFSZ, "SIGXFSZ", "a file reached the limit of its size (ulimit -f, LimitFSIZE)"),
];
const NO_MEANING: &str = "it means nothing to lbd; SIGTERM stops it";
/// One kind of signal is logged this often at most.
const PAUSE: Duration = Duration::from_secs(1);
/// In a measuring build SIGUSR1 and SIGUSR2 begin and end measuring, and are not ignored.
const MEASURES: bool = cfg!(feature = "measure");

/// Signals that are logged by a thread of their own.
pub(crate) struct Ignored(Handle);

impl Ignored {
    /// From now on those that have a name are logged, until the process ends.
    ///
    /// SIGHUP goes to `hangups`.
    ///
    /// # Errors
    /// If the system has no descriptor or thread left.
    pub(crate) fn start(hangups: Hangups) -> io::Result<Self> {
        let numbers = NAMED.map(|(number, ..)| number).into_iter().chain([SIGHUP]);
        let wanted = numbers.filter(|number| !(MEASURES && [SIGUSR1, SIGUSR2].contains(number)));
        let mut signals = SignalsInfo::<WithOrigin>::new(wanted)?;
        let handle = signals.handle();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            let mut last: HashMap<i32, Instant> = HashMap::new();
            for origin in &mut signals {
                if origin.signal == SIGHUP {
                    let (process, user) = origin.process.map_or((0, 0), |sender| (sender.pid, sender.uid));
                    hangups.come(process.try_into().unwrap_or(0), user);
                    continue;
                }
                let now = Instant::now();
                if last.get(&origin.signal).is_none_or(|last| now.duration_since(*last) >= PAUSE) {
                    last.insert(origin.signal, now);
                    log::warn!("{}", line(&origin));
                }
            }
        })?;
        Ok(Self(handle))
    }

    /// From now on the real-time signals are logged, too, but for those that a driver has taken. Drivers look for one
    /// that nobody has (net_tap does), so they come first.
    ///
    /// # Errors
    /// It is not to be learnt which are taken.
    pub(crate) fn add_real_time(&self) -> io::Result<()> {
        let taken = caught(&std::fs::read_to_string("/proc/self/status")?);
        for number in libc::SIGRTMIN()..=libc::SIGRTMAX() {
            if taken >> (number - 1) & 1 == 0 {
                self.0.add_signal(number)?;
            }
        }
        Ok(())
    }
}

/// The set of signals that have a handler: bit N - 1 for signal N (proc_pid_status(5)). All if there is no such line.
fn caught(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(u64::MAX)
}

fn line(origin: &Origin) -> String {
    let named = NAMED.iter().find(|(number, ..)| *number == origin.signal);
    let (name, advice) = match named {
        Some((_, name, advice)) => ((*name).to_owned(), *advice),
        None => (format!("SIGRTMIN+{}", origin.signal - libc::SIGRTMIN()), NO_MEANING),
    };
    let sender = origin
        .process
        .map_or_else(String::new, |process| format!(" from process {} of user {}", process.pid, process.uid));
    format!("{name}{sender} is ignored: {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_are_caught_are_found() {
        let status = "Name:\tlbd\nSigIgn:\t0000000000001000\nSigCgt:\t0000000200004002\nCapInh:\t0\n";
        assert_eq!(caught(status), 1 << 1 | 1 << 14 | 1 << 33);
        assert_eq!(caught("Name:\tlbd\n"), u64::MAX);
    }
}
