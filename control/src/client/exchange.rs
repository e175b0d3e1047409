//! One request and its answer over the socket.

use super::Failure;
use crate::protocol::{Command, LONGEST_LINE, Refusal, Request, VERSION};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::time::TimeVal;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// The longest answer line that is read, in bytes: that of 5 million connections.
const LONGEST_ANSWER: u64 = 1 << 30;

/// Where `lbd` is, and how long it may take.
pub(super) struct Lbd {
    pub(super) socket: PathBuf,
    /// For connecting, sending, and every pause in the answer.
    pub(super) timeout: Duration,
}

/// An answer, of which what stands under `ok` is not yet read.
#[derive(Deserialize)]
struct Line<'a> {
    v: u32,
    #[serde(borrow)]
    ok: Option<&'a RawValue>,
    error: Option<Refusal>,
}

impl Lbd {
    /// What stands under `ok`.
    pub(super) fn ask(&self, command: &Command) -> Result<String, Failure> {
        let mut request = serde_json::to_vec(&Request { v: VERSION, command: command.clone() })
            .map_err(|error| Failure::Usage(error.to_string()))?;
        request.push(b'\n');
        if request.len() > LONGEST_LINE {
            let found = request.len();
            return Err(Failure::Usage(format!("the request has {found} bytes, {LONGEST_LINE} at most")));
        }
        let answer = self.exchange(&request).map_err(|error| self.unreachable(&self.reason(&error)))?;
        if answer.is_empty() {
            return Err(self.unreachable("the connection was closed without an answer"));
        }
        let line: Line<'_> = serde_json::from_slice(&answer)
            .map_err(|error| self.unreachable(&format!("not the answer of an lbd: {error}")))?;
        match (line.v, line.ok, line.error) {
            (VERSION, Some(ok), None) => Ok(ok.get().to_owned()),
            // The socket let us in, but not lbd.
            (VERSION, None, Some(refusal)) if refusal.code == "not_permitted" => {
                Err(self.unreachable(&refusal.message))
            }
            (VERSION, None, Some(refusal)) => Err(Failure::Refused(refusal)),
            (VERSION, ..) => Err(self.unreachable("not the answer of an lbd: neither ok nor error")),
            (v, ..) => {
                Err(self.unreachable(&format!("lbd speaks version {v} of the protocol, lbctl {VERSION}")))
            }
        }
    }

    fn exchange(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = self.connect()?;
        match stream.write_all(request) {
            // It may have answered before it closed.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other?,
        }
        let mut answer = Vec::new();
        BufReader::new(stream).take(LONGEST_ANSWER).read_until(b'\n', &mut answer)?;
        Ok(answer)
    }

    /// With the timeout also on connecting, which waits while a hung `lbd` has a full backlog.
    fn connect(&self) -> io::Result<UnixStream> {
        let address = UnixAddr::new(&self.socket)?;
        let (family, flags) = (AddressFamily::Unix, SockFlag::SOCK_CLOEXEC);
        let socket = socket::socket(family, SockType::Stream, flags, None)?;
        let timeout = TimeVal::new(self.timeout.as_secs() as i64, 0);
        socket::setsockopt(&socket, sockopt::SendTimeout, &timeout)?;
        socket::setsockopt(&socket, sockopt::ReceiveTimeout, &timeout)?;
        socket::connect(socket.as_raw_fd(), &address)?;
        Ok(UnixStream::from(socket))
    }

    fn unreachable(&self, why: &str) -> Failure {
        Failure::Unreachable(format!("cannot reach lbd at {}: {why}", self.socket.display()))
    }

    fn reason(&self, error: &io::Error) -> String {
        match error.kind() {
            io::ErrorKind::NotFound => "the socket is missing; is lbd running?".into(),
            io::ErrorKind::ConnectionRefused => {
                "connection refused; nobody listens there, is lbd running?".into()
            }
            io::ErrorKind::PermissionDenied => {
                "not permitted; only root and the group in [control] may".into()
            }
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("no answer within {} s", self.timeout.as_secs())
            }
            io::ErrorKind::ConnectionReset => "the connection was closed without an answer".into(),
            _ => error.to_string(),
        }
    }
}
