//! The command line, and what the environment says where it is silent.

use clap::Parser;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

const DEFAULT_SOCKET: &str = "/run/natlb/ipvs.sock";
const DEFAULT_WAIT: u64 = 5;
const LONGEST_WAIT: u64 = 60;

/// The longest path of a Unix socket, in bytes.
const LONGEST_PATH: usize = 107;

const EXAMPLES: &str = "\
Examples:
  natlb-lvs ipvsadm -A -t 192.168.10.100:80 -s wrr
  natlb-lvs ipvsadm -a -t 192.168.10.100:80 -r 10.0.0.7:80 -m
  natlb-lvs ipvsadm -Ln
  natlb-lvs ipvsadm-save -n
  natlb-lvs keepalived --dont-fork

COMMAND and what it runs in turn speak with lbd instead of the kernel's IPVS. A command
that would speak with the kernel all the same is not run. sudo clears the environment:
write 'sudo natlb-lvs COMMAND', not the other way round.

Exit codes: 2 usage, or COMMAND cannot be run against lbd; 3 lbd cannot be reached;
126 COMMAND cannot be executed; 127 it is not found; otherwise COMMAND's own.";

/// Runs ipvsadm, keepalived or another tool of LVS against lbd, natlb's daemon.
#[derive(Debug, Parser)]
#[command(name = "natlb-lvs", version = env!("NATLB_VERSION"), after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Line {
    /// Socket of lbd for tools of LVS [default: $NATLB_IPVS_SOCKET, or /run/natlb/ipvs.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Seconds to wait for the socket, 0 to 60 [default: $NATLB_IPVS_WAIT, or 5]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    wait: Option<u64>,
    /// The tool, as in a shell
    #[arg(value_name = "COMMAND")]
    command: OsString,
    /// The tool's arguments
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

fn seconds(text: &str) -> Result<u64, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds <= LONGEST_WAIT);
    seconds.ok_or_else(|| format!("expected a whole number from 0 to {LONGEST_WAIT}"))
}

/// What is to be run, and where `lbd` is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// An absolute path, of no more bytes than a Unix socket's can have.
    pub(crate) socket: PathBuf,
    pub(crate) wait: Duration,
    pub(crate) command: OsString,
    pub(crate) arguments: Vec<OsString>,
}

impl Options {
    /// From this process's arguments and environment. Ends the process with exit code 2 if they are wrong.
    pub(crate) fn read() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let socket = variable("NATLB_IPVS_SOCKET");
        Self::from(Line::parse(), socket, variable("NATLB_IPVS_WAIT")).unwrap_or_else(|wrong| wrong.exit())
    }

    fn from(line: Line, socket: Option<OsString>, wait: Option<OsString>) -> Result<Self, clap::Error> {
        let socket = line.socket.or(socket.map(PathBuf::from)).unwrap_or_else(|| DEFAULT_SOCKET.into());
        // COMMAND may change its folder.
        let socket = std::path::absolute(&socket)
            .map_err(|error| wrong(format!("the socket \"{}\": {error}", socket.display())))?;
        if socket.as_os_str().len() > LONGEST_PATH {
            let long = format!("the socket's path has more than {LONGEST_PATH} bytes: {}", socket.display());
            return Err(wrong(long));
        }
        let seconds = match (line.wait, wait) {
            (Some(seconds), _) => seconds,
            (None, None) => DEFAULT_WAIT,
            (None, Some(text)) => {
                let text = text.to_string_lossy();
                seconds(&text).map_err(|why| wrong(format!("NATLB_IPVS_WAIT is \"{text}\": {why}")))?
            }
        };
        Ok(Self {
            socket,
            wait: Duration::from_secs(seconds),
            command: line.command,
            arguments: line.arguments,
        })
    }
}

fn wrong(message: String) -> clap::Error {
    clap::Error::raw(clap::error::ErrorKind::ValueValidation, message + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str], socket: Option<&str>, wait: Option<&str>) -> Result<Options, clap::Error> {
        let line = Line::try_parse_from(["natlb-lvs"].iter().chain(words))?;
        Options::from(line, socket.map(Into::into), wait.map(Into::into))
    }

    #[test]
    fn options_behind_the_command_are_the_commands() {
        let options = read(&["ipvsadm", "-A", "-t", "x:80", "--wait", "7", "--help"], None, None).unwrap();
        assert_eq!(options.command, "ipvsadm");
        assert_eq!(options.arguments, ["-A", "-t", "x:80", "--wait", "7", "--help"]);
        assert_eq!(options.wait.as_secs(), 5);
        assert_eq!(options.socket, PathBuf::from(DEFAULT_SOCKET));
    }

    #[test]
    fn the_command_line_wins_over_the_environment() {
        let options = read(&["--socket", "/a", "--wait", "0", "x"], Some("/b"), Some("9")).unwrap();
        assert_eq!((options.socket, options.wait.as_secs()), ("/a".into(), 0));
        let options = read(&["x"], Some("/b"), Some("9")).unwrap();
        assert_eq!((options.socket, options.wait.as_secs()), ("/b".into(), 9));
    }

    #[test]
    fn a_relative_socket_becomes_absolute() {
        let options = read(&["--socket", "run/s", "x"], None, None).unwrap();
        assert_eq!(options.socket, std::env::current_dir().unwrap().join("run/s"));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for words in [&["--wait", "61", "x"][..], &["--wait", "x", "x"], &[], &["--nonsense", "x"]] {
            assert!(read(words, None, None).is_err(), "{words:?}");
        }
        let text = read(&["--wait", "x", "x"], None, None).unwrap_err().to_string();
        assert!(text.contains("expected a whole number from 0 to 60"), "{text}");
        for wait in ["61", "-1", "soon"] {
            let text = read(&["x"], None, Some(wait)).unwrap_err().to_string();
            assert!(text.contains("NATLB_IPVS_WAIT") && text.contains(wait), "{text}");
        }
        assert!(read(&["x"], Some(&"/a".repeat(60)), None).is_err());
    }
}
