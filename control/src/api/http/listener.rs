//! Where HTTP clients connect: a port of TCP, or a Unix socket.

use crate::api::server::{Socket, SocketError, find_group};
use crate::config::metrics::Address;
use crate::handed::{Handed, Kind, Label};
use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixStream};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

/// See the module's text.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener, SocketAddr),
    Unix(Socket),
}

/// A client's connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// Listens, or goes on with what is handed over. Whether it is handed over.
    pub(super) fn bind(
        address: &Address,
        group: Option<&str>,
        handed: &mut Handed,
    ) -> Result<(Self, bool), SocketError> {
        match address {
            Address::Tcp(address) => {
                let failed = |error| SocketError::Port { address: *address, error };
                match handed.take(&label(*address)) {
                    Some(listener) => {
                        let listener = std::net::TcpListener::from(listener);
                        listener.set_nonblocking(true).map_err(failed)?;
                        Ok((Self::Tcp(TcpListener::from_std(listener), *address), true))
                    }
                    None => Ok((Self::Tcp(TcpListener::bind(*address).map_err(failed)?, *address), false)),
                }
            }
            Address::Unix(path) => match Socket::handed(path, handed) {
                Some(socket) => Ok((Self::Unix(socket), true)),
                None => {
                    let group = group.map(find_group).transpose()?;
                    Ok((Self::Unix(Socket::bind(path, group.as_ref())?), false))
                }
            },
        }
    }

    pub(super) fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(listener, _) => listener,
            Self::Unix(socket) => &mut socket.listener,
        }
    }

    pub(super) fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(listener, _) => Stream::Tcp(listener.accept()?.0),
            Self::Unix(socket) => Stream::Unix(socket.listener.accept()?.0),
        })
    }

    pub(super) fn share(&self) -> io::Result<Vec<(Label, OwnedFd)>> {
        match self {
            Self::Tcp(listener, address) => {
                Ok(vec![(label(*address), listener.as_fd().try_clone_to_owned()?)])
            }
            Self::Unix(socket) => Ok(socket.share()?.into()),
        }
    }

    pub(super) fn own(&mut self) {
        if let Self::Unix(socket) = self {
            socket.own();
        }
    }

    pub(super) fn disown(&mut self) {
        if let Self::Unix(socket) = self {
            socket.disown();
        }
    }

    pub(super) fn remove(&mut self) {
        if let Self::Unix(socket) = self {
            socket.remove();
        }
    }
}

fn label(address: SocketAddr) -> Label {
    Label { kind: Kind::Socket, name: format!("tcp:{address}") }
}

impl Stream {
    pub(super) fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        }
    }

    /// Says that nothing more comes.
    pub(super) fn finish(&self) {
        // One that is gone already needs to hear nothing.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
