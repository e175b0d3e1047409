//! A note in a file when a fault of its own ends the process: what has been killed by others has none.

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;

/// The signals that a fault raises.
const FAULTS: [i32; 7] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGTRAP, libc::SIGSYS];

/// What is written, and where.
struct Note {
    file: OwnedFd,
    offset: libc::off_t,
    byte: u8,
}

static NOTE: OnceLock<Note> = OnceLock::new();
/// What was done at each of the signals before.
static BEFORE: [OnceLock<libc::sigaction>; FAULTS.len()] = [const { OnceLock::new() }; FAULTS.len()];

/// From now on, a signal that a fault raises (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS) has this byte
/// written at `offset` of the file before it ends the process as it would have. Once for a process.
///
/// # Errors
/// If it has been called before, or the system refuses a descriptor or a handler.
pub fn note_faults(file: &File, offset: u64, byte: u8) -> io::Result<()> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
    let offset = libc::off_t::try_from(offset).map_err(|_| invalid("no file is so large"))?;
    let note = Note { file: file.try_clone()?.into(), offset, byte };
    NOTE.set(note).map_err(|_| invalid("faults are noted already"))?;
    for (number, before) in FAULTS.into_iter().zip(&BEFORE) {
        // SAFETY: `handle` has the form that SA_SIGINFO asks for, and does what a handler may: it reads what was set
        // before it was installed, writes to a descriptor that stays open, sets actions of signals and raises one.
        // On the alternate stack, since the fault may be that there is no more of the other. Zeros are an action.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handle as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            let mut previous: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(number, std::ptr::null(), &raw mut previous) != 0 {
                return Err(io::Error::last_os_error());
            }
            let _ = before.set(previous);
            if libc::sigaction(number, &raw const action, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

/// Writes the note, and has the process end as it would have without.
unsafe extern "C" fn handle(number: i32, info: *mut libc::siginfo_t, _context: *mut c_void) {
    if let Some(note) = NOTE.get() {
        // SAFETY: the byte and the descriptor are there as long as the process is.
        unsafe { libc::pwrite(note.file.as_raw_fd(), (&raw const note.byte).cast(), 1, note.offset) };
    }
    // SAFETY: the kernel passes what it knows of the signal, as asked for.
    let is_sent = unsafe { (*info).si_code } <= 0;
    let before = FAULTS.iter().position(|fault| *fault == number).and_then(|index| BEFORE[index].get());
    // SAFETY: zeros are the action by default. One that is sent, as by abort(), comes once, and is raised again, to be
    // taken when this returns; any other comes again by itself, to those whose it was before: the instruction is
    // repeated.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        let action = before.filter(|_| !is_sent).unwrap_or(&default);
        libc::sigaction(number, action, std::ptr::null_mut());
        if is_sent {
            libc::raise(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    const FILE: &str = "NATLB_TEST_NOTE";
    const SIGNAL: &str = "NATLB_TEST_SIGNAL";

    /// What a process of its own does, which the tests below start.
    #[test]
    fn a_process_that_ends() {
        let (Ok(path), Ok(signal)) = (std::env::var(FILE), std::env::var(SIGNAL)) else { return };
        let file = File::options().write(true).open(path).unwrap();
        note_faults(&file, 1, b'F').unwrap();
        assert!(note_faults(&file, 1, b'F').is_err(), "once");
        // SAFETY: no core dump of a test; and a signal for this process, or an access that faults, as nothing is there.
        unsafe {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
            match signal.parse::<i32>().unwrap() {
                0 => std::ptr::without_provenance::<u8>(8).read_volatile(),
                number => libc::raise(number) as u8,
            };
        }
        unreachable!("it has ended");
    }

    /// What the file says, and the signal that has ended the process.
    fn ended_by(signal: i32) -> (String, Option<i32>) {
        let path = std::env::temp_dir().join(format!("natlb-fault-{}-{signal}", std::process::id()));
        std::fs::write(&path, "....").unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "fault::tests::a_process_that_ends", "--test-threads=1"]);
        let done = command.env(FILE, &path).env(SIGNAL, signal.to_string()).output().unwrap();
        let says = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        (says, done.status.signal())
    }

    #[test]
    fn a_fault_is_noted_and_ends_the_process_as_ever() {
        assert_eq!(ended_by(0), (".F..".into(), Some(libc::SIGSEGV)), "a real one");
        for signal in FAULTS {
            assert_eq!(ended_by(signal), (".F..".into(), Some(signal)));
        }
    }

    #[test]
    fn what_others_do_is_not_noted() {
        for signal in [libc::SIGKILL, libc::SIGTERM] {
            assert_eq!(ended_by(signal), ("....".into(), Some(signal)));
        }
    }
}
