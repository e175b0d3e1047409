//! A stand-in for `lbd`, which the test plays message by message.

use crate::wire::{self, Message};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a tool may keep the test waiting before it has failed. Nothing that passes takes nearly as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Lbd {
    socket: PathBuf,
    listener: Option<UnixListener>,
}

impl Lbd {
    /// One that does not listen yet.
    pub(crate) fn at(socket: &Path) -> Self {
        Self { socket: socket.into(), listener: None }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn start(&mut self) {
        self.stop();
        self.listener = Some(UnixListener::bind(&self.socket).unwrap());
    }

    /// Its socket's file stays behind, as a killed daemon's does, unless it is started again.
    pub(crate) fn kill(&mut self) {
        self.listener = None;
    }

    fn stop(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(&self.socket);
    }

    pub(crate) fn accept(&self) -> Peer {
        let listener = self.listener.as_ref().unwrap();
        wait_for(listener);
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Peer { stream }
    }

    /// A tool that has connected and looked IPVS up.
    pub(crate) fn accept_tool(&self) -> Peer {
        let mut peer = self.accept();
        peer.answer_look_up();
        peer
    }

    /// Whether somebody is waiting to be accepted.
    pub(crate) fn is_called(&self) -> bool {
        let mut sets = [PollFd::new(self.listener.as_ref().unwrap().as_fd(), PollFlags::POLLIN)];
        poll(&mut sets, PollTimeout::ZERO).unwrap() > 0
    }
}

pub(crate) fn wait_for(socket: impl AsFd) {
    let longest = PollTimeout::try_from(PATIENCE).unwrap();
    let mut sets = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    let found = loop {
        match poll(&mut sets, longest) {
            Err(Errno::EINTR) => {}
            found => break found,
        }
    };
    assert!(found.unwrap() > 0, "nothing came for {PATIENCE:?}");
}

/// A connection of a tool.
pub(crate) struct Peer {
    pub(crate) stream: UnixStream,
}

impl Peer {
    pub(crate) fn request(&mut self) -> Message {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut bytes = length.to_vec();
        bytes.resize(u32::from_ne_bytes(length) as usize, 0);
        self.stream.read_exact(&mut bytes[4..]).unwrap();
        Message::read(&bytes)
    }

    pub(crate) fn answer_look_up(&mut self) {
        let request = self.request();
        assert_eq!(request.body, wire::look_up("IPVS", 0).body);
        let mut body = vec![1, 2, 0, 0];
        body.extend(wire::attribute(1, &wire::IPVS.to_ne_bytes()));
        self.send(&Message { flags: 0, body, ..request.clone() });
        self.send(&wire::error(&request, 0));
    }

    pub(crate) fn send(&mut self, message: &Message) {
        self.send_bytes(&message.bytes());
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Waits until the tool has closed its end; whether it has sent no more before.
    pub(crate) fn has_ended(&mut self) -> bool {
        let mut rest = Vec::new();
        let ended = match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            // It has not received everything.
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        };
        ended && rest.is_empty()
    }
}
