//! One request and its answer over the socket.

use crate::Failure;
use crate::answer::{Line, OfLine};
use crate::printer::Printer;
use crate::progress::Stage;
use control::api::protocol::{Command, LONGEST_LINE, Request, VERSION};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::time::TimeVal;
use serde::de::{DeserializeOwned, DeserializeSeed};
use std::io::{self, BufReader, Read, Write};
use std::marker::PhantomData;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of an answer that are read at once.
const READ_AT_ONCE: usize = 64 << 10;

/// Bytes of a request that are sent at once.
const SENT_AT_ONCE: usize = 64 << 10;

/// Where `lbd` is, and how long it may take.
pub(super) struct Lbd {
    pub(super) socket: PathBuf,
    /// For connecting, sending, and every pause in the answer.
    pub(super) timeout: Duration,
    /// What is said of how far a request is.
    pub(super) stage: Option<Arc<Stage>>,
}

/// What comes from the socket. Before each wait for more, everything that has come is printed.
struct Incoming<'a, 'out> {
    stream: UnixStream,
    printer: &'a Printer<'out>,
    is_empty: bool,
    /// The other end has closed.
    is_over: bool,
    failed: Option<io::Error>,
}

impl Read for Incoming<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut printer = self.printer;
        printer.flush()?;
        match self.stream.read(buffer) {
            Ok(length) => {
                self.is_empty &= length == 0;
                self.is_over = length == 0;
                Ok(length)
            }
            Err(error) => {
                let kind = error.kind();
                if kind != io::ErrorKind::Interrupted {
                    self.failed = Some(error);
                }
                Err(kind.into())
            }
        }
    }
}

impl Lbd {
    /// What stands under `ok`.
    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        command: &Command,
        printer: &Printer<'_>,
    ) -> Result<T, Failure> {
        self.ask_for(command, PhantomData, printer)
    }

    /// What the seed makes, as it comes, of what stands under `ok`.
    pub(super) fn ask_for<T>(
        &self,
        command: &Command,
        seed: impl for<'de> DeserializeSeed<'de, Value = T>,
        printer: &Printer<'_>,
    ) -> Result<T, Failure> {
        let mut request = serde_json::to_vec(&Request { v: VERSION, command: command.clone() })
            .map_err(|error| Failure::Usage(error.to_string()))?;
        request.push(b'\n');
        if request.len() > LONGEST_LINE {
            let found = request.len();
            return Err(Failure::Usage(format!("the request has {found} bytes, {LONGEST_LINE} at most")));
        }
        if let Some(stage) = &self.stage {
            stage.sending(request.len());
        }
        let stream = self.send(&request).map_err(|error| self.unreachable(&self.reason(&error)))?;
        let incoming = Incoming { stream, printer, is_empty: true, is_over: false, failed: None };
        let mut incoming = BufReader::with_capacity(READ_AT_ONCE, incoming);
        let line = OfLine(seed).deserialize(&mut serde_json::Deserializer::from_reader(&mut incoming));
        let line = line.and_then(|line| ends(&mut incoming).map(|()| line));
        let line = line.map_err(|error| self.no_answer(&error, incoming.get_mut()))?;
        match line {
            Line { v: VERSION, ok: Some(ok), error: None } => Ok(ok),
            // The socket let us in, but not lbd.
            Line { v: VERSION, ok: None, error: Some(refusal) } if refusal.code == "not_permitted" => {
                Err(self.unreachable(&refusal.message))
            }
            Line { v: VERSION, ok: None, error: Some(refusal) } => Err(Failure::Refused(refusal)),
            Line { v: VERSION, .. } => {
                Err(self.unreachable("not the answer of an lbd: neither ok nor error"))
            }
            Line { v, .. } => {
                Err(self.unreachable(&format!("lbd speaks version {v} of the protocol, lbctl {VERSION}")))
            }
        }
    }

    fn send(&self, request: &[u8]) -> io::Result<UnixStream> {
        let mut stream = self.connect()?;
        for piece in request.chunks(SENT_AT_ONCE) {
            match stream.write_all(piece) {
                // It may have answered before it closed.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                other => other?,
            }
            if let Some(stage) = &self.stage {
                stage.sent(piece.len());
            }
        }
        Ok(stream)
    }

    /// Why the answer could not be read to its end: what failed in stdout or the socket, before what the parser of the
    /// line makes of it.
    fn no_answer(&self, error: &serde_json::Error, incoming: &mut Incoming<'_, '_>) -> Failure {
        if let Some(error) = incoming.printer.take_failure() {
            return Failure::Stdout(error);
        }
        if let Some(error) = incoming.failed.take() {
            return self.unreachable(&self.reason(&error));
        }
        self.unreachable(&match (incoming.is_empty, incoming.is_over) {
            (true, _) => "the connection was closed without an answer".into(),
            (false, true) => "the connection was closed in the middle of the answer".into(),
            (false, false) => format!("not the answer of an lbd: {error}"),
        })
    }

    /// The process that listens on the socket, or did so first.
    pub(super) fn process(&self) -> io::Result<i32> {
        let stream = self.connect()?;
        Ok(socket::getsockopt(&stream, sockopt::PeerCredentials)?.pid())
    }

    /// Connects. The timeout holds for connecting as well, which waits while a hung `lbd` has a full backlog.
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

/// Fails if anything but the end of the line follows.
fn ends(incoming: &mut impl Read) -> serde_json::Result<()> {
    let mut after = [0; 1];
    match incoming.read(&mut after).map_err(serde_json::Error::io)? {
        1 if after != *b"\n" => Err(serde::de::Error::custom("something stands behind it")),
        _ => Ok(()),
    }
}
