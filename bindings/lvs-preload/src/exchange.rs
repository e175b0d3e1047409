//! Sending and receiving on a descriptor that has been taken over.

use crate::descriptors::{Slot, State};
use crate::incoming::Filled;
use crate::lock::Held;
use crate::messages::{self, Header, LONGEST_REQUEST};
use crate::say::{self, Line};
use crate::{kernel, link, settings};
use core::sync::atomic::{AtomicBool, Ordering};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{BorrowedFd, RawFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::io::{IoSlice, IoSliceMut};

/// It has been said that the connection was lost, and none has been made since.
static SAID_LOST: AtomicBool = AtomicBool::new(false);
static SAID_LONG: AtomicBool = AtomicBool::new(false);

/// What was received: the message's length, and how much of it had room.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) length: usize,
    pub(crate) copied: usize,
}

/// Sends what a program sends: whole messages, to which `lbd` will answer, or an error that is made here.
///
/// # Errors
///
/// EAGAIN, if the program does not want to wait and nothing has been sent.
pub(crate) fn send(
    slot: &Slot,
    descriptor: RawFd,
    parts: &[IoSlice],
    flags: SendFlags,
) -> Result<usize, Errno> {
    let total = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
    let mut outgoing = slot.outgoing.lock();
    let gathered = gather(parts, &mut outgoing.bytes);
    let mut state = slot.state.lock();
    if total > LONGEST_REQUEST {
        if let Some(header) = Header::read(&outgoing.bytes) {
            state.owed = Some((Header { port: state.port, ..header }, libc::EMSGSIZE));
        }
        drop(state);
        say::once(&SAID_LONG, format_args!("a request of {total} bytes is longer than lbd takes"));
        return Ok(total);
    }
    let written = outgoing.bytes.get_mut(..gathered).unwrap_or_default();
    let (length, Some(last)) = messages::pack(written, state.port) else {
        // Not even one message: the kernel takes it and does nothing.
        return Ok(total);
    };
    state.request = Some(last);
    state.unanswered = true;
    drop(state);
    match deliver(slot, descriptor, outgoing.bytes.get(..length).unwrap_or_default(), flags) {
        Ok(()) => {}
        Err(Errno::AGAIN) => return Err(Errno::AGAIN),
        Err(reason) => {
            let mut state = slot.state.lock();
            state.unanswered = false;
            state.owed = Some((last, link::errno_of_requests(reason)));
        }
    }
    Ok(total)
}

/// Copies the parts one behind the other, as far as there is room; returns how many bytes that are.
pub(crate) fn gather(parts: &[IoSlice], into: &mut [u8]) -> usize {
    let mut at = 0;
    for part in parts {
        let room = into.get_mut(at..).unwrap_or_default();
        let length = room.len().min(part.len());
        if let (Some(room), Some(part)) = (room.get_mut(..length), part.get(..length)) {
            room.copy_from_slice(part);
        }
        at += length;
    }
    at
}

/// Sends to `lbd`, over a new connection if the one before has ended.
fn deliver(slot: &Slot, descriptor: RawFd, bytes: &[u8], flags: SendFlags) -> Result<(), Errno> {
    let socket = kernel::borrowed(descriptor).ok_or(Errno::BADF)?;
    for is_new in [false, true] {
        if is_new {
            slot.reconnect(descriptor)?;
            SAID_LOST.store(false, Ordering::Relaxed);
        }
        let mut state = slot.state.lock();
        if !state.connected {
            continue;
        }
        drop(state);
        match write(socket, bytes, flags) {
            Ok(()) => return Ok(()),
            Err(Errno::AGAIN) => return Err(Errno::AGAIN),
            Err(_) => state = slot.state.lock(),
        }
        // lbd has turned this peer away: why is still to be received, and answers the request.
        if let Filled::Whole(_) = state.incoming.fill(socket)
            && messages::turned_away(state.incoming.message()).is_some()
        {
            return Ok(());
        }
    }
    Err(Errno::NODEV)
}

fn write(socket: BorrowedFd, bytes: &[u8], flags: SendFlags) -> Result<(), Errno> {
    let flags = (flags & SendFlags::DONTWAIT) | SendFlags::NOSIGNAL;
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match rustix::net::send(socket, rest, flags) {
            Ok(sent) => at += sent,
            Err(Errno::INTR) => {}
            // A part has gone: the rest has to follow, whatever the program wants.
            Err(Errno::AGAIN) if at > 0 => {
                let _ = rustix::event::poll(&mut [PollFd::new(&socket, PollFlags::OUT)], None);
            }
            Err(reason) => return Err(reason),
        }
    }
    Ok(())
}

/// Receives one message, or only looks at it (`PEEK`). Waits as the descriptor and the flags say.
///
/// # Errors
///
/// EAGAIN and EINTR as a netlink socket; ENODEV if the connection is lost and no request is unanswered.
pub(crate) fn receive(
    slot: &Slot,
    descriptor: RawFd,
    parts: &mut [IoSliceMut],
    flags: RecvFlags,
) -> Result<Received, Errno> {
    let socket = kernel::borrowed(descriptor).ok_or(Errno::BADF)?;
    loop {
        let mut state = slot.state.lock();
        if let Some((request, errno)) = state.owed {
            if !flags.contains(RecvFlags::PEEK) {
                state.owed = None;
            }
            return Ok(scatter(&messages::error(request, errno), parts));
        }
        let filled = if state.connected { state.incoming.fill(socket) } else { Filled::Lost };
        match filled {
            Filled::Whole(_) => return Ok(take(state, socket, parts, flags)),
            Filled::Lost => lost(state)?,
            Filled::NotYet => {
                drop(state);
                wait(socket, flags)?;
            }
        }
    }
}

/// Gives the whole message to the program.
fn take(mut state: Held<State>, socket: BorrowedFd, parts: &mut [IoSliceMut], flags: RecvFlags) -> Received {
    let request = state.request;
    let message = state.incoming.message();
    if let (Some(errno), Some(request)) = (messages::turned_away(message), request) {
        link::note(errno);
        messages::answer(message, request);
    }
    let received = scatter(message, parts);
    if flags.contains(RecvFlags::PEEK) {
        return received;
    }
    let line = Line::of_error(message);
    state.incoming.finish(socket);
    drop(state);
    // Not under the lock: stderr may be a pipe that nobody reads.
    if let Some(line) = line {
        line.say();
    }
    received
}

/// The connection has ended: an error answers the last request, once.
fn lost(mut state: Held<State>) -> Result<(), Errno> {
    let unanswered = core::mem::take(&mut state.unanswered);
    let Some(request) = state.request.filter(|_| unanswered) else { return Err(Errno::NODEV) };
    state.owed = Some((request, libc::ENODEV));
    drop(state);
    let path = settings::get().socket().and_then(|path| path.to_str().ok()).unwrap_or_default();
    say::once(&SAID_LOST, format_args!("lbd at {path} went away before it answered"));
    Ok(())
}

/// Sleeps until something comes, the connection ends, or the program's own time is up. Takes nothing.
fn wait(socket: BorrowedFd, flags: RecvFlags) -> Result<(), Errno> {
    let flags = (flags & RecvFlags::DONTWAIT) | RecvFlags::PEEK;
    match rustix::net::recv(socket, &mut [0; 1], flags) {
        Err(reason @ (Errno::AGAIN | Errno::INTR)) => Err(reason),
        // The end is found by the next look.
        _ => Ok(()),
    }
}

/// Copies the message to the parts, as far as there is room.
fn scatter(message: &[u8], parts: &mut [IoSliceMut]) -> Received {
    let mut copied = 0;
    for part in parts {
        let rest = message.get(copied..).unwrap_or_default();
        let length = rest.len().min(part.len());
        if let (Some(room), Some(rest)) = (part.get_mut(..length), rest.get(..length)) {
            room.copy_from_slice(rest);
        }
        copied += length;
    }
    Received { length: message.len(), copied }
}
