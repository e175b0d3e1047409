//! One message at a time out of the stream from `lbd`.

use crate::messages::{self, LONGEST_ANSWER};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown};

/// Bytes of a header that say how long the message is.
const LENGTH: usize = 4;

/// The message that is being received.
///
/// Its last byte stays in the kernel's buffer until the program has received the message, so that `poll` finds the
/// descriptor readable exactly while there is a message to receive. Nothing of the next message is read.
pub(crate) struct Incoming {
    bytes: [u8; LONGEST_ANSWER],
    /// Bytes that have been taken out of the kernel's buffer.
    taken: usize,
}

/// How much of a message there is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// All of it: this many bytes.
    Whole(usize),
    NotYet,
    /// Not all, and no more will come.
    Lost,
}

impl Incoming {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; LONGEST_ANSWER], taken: 0 }
    }

    /// Forgets the part of a message that has been taken.
    pub(crate) fn forget(&mut self) {
        self.taken = 0;
    }

    /// Takes what there is of a message. Does not wait.
    pub(crate) fn fill(&mut self, socket: BorrowedFd) -> Filled {
        loop {
            let flags = RecvFlags::DONTWAIT;
            let (end, flags) = match messages::length(self.taken_bytes(), LONGEST_ANSWER) {
                _ if self.taken < LENGTH => (LENGTH, flags),
                None => {
                    // No message can be found in this stream any more.
                    let _ = rustix::net::shutdown(socket, Shutdown::Both);
                    return self.lost();
                }
                Some(length) if self.taken + 1 < length => (length - 1, flags),
                Some(length) => (length, flags | RecvFlags::PEEK),
            };
            let room = self.bytes.get_mut(self.taken..end).unwrap_or_default();
            match rustix::net::recv(socket, room, flags) {
                Ok((0, _)) => return self.lost(),
                Ok(_) if flags.contains(RecvFlags::PEEK) => return Filled::Whole(end),
                Ok((taken, _)) => self.taken += taken,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Filled::NotYet,
                Err(_) => return self.lost(),
            }
        }
    }

    fn lost(&mut self) -> Filled {
        self.forget();
        Filled::Lost
    }

    fn taken_bytes(&self) -> &[u8] {
        self.bytes.get(..self.taken).unwrap_or_default()
    }

    /// The message, once `fill` has said that it is whole.
    pub(crate) fn message(&mut self) -> &mut [u8] {
        let length = messages::length(&self.bytes, LONGEST_ANSWER).unwrap_or(0);
        self.bytes.get_mut(..length).unwrap_or_default()
    }

    /// Takes the last byte of the whole message out of the kernel's buffer.
    pub(crate) fn finish(&mut self, socket: BorrowedFd) {
        let mut last = [0; 1];
        while rustix::net::recv(socket, &mut last, RecvFlags::DONTWAIT) == Err(Errno::INTR) {}
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::{Filled, Incoming};
    use rustix::event::{PollFd, PollFlags};
    use std::boxed::Box;
    use std::io::Write;
    use std::iter;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::vec::Vec;

    /// A message of this many bytes: its length, and a filling.
    fn message(length: u32) -> Vec<u8> {
        length.to_ne_bytes().into_iter().chain(iter::repeat(7)).take(length as usize).collect()
    }

    fn readable(socket: &UnixStream) -> bool {
        let mut sets = [PollFd::new(socket, PollFlags::IN)];
        rustix::event::poll(&mut sets, Some(&rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    #[test]
    fn messages_come_one_by_one_and_poll_says_so() {
        let (mut lbd, tool) = UnixStream::pair().unwrap();
        let mut incoming = Box::new(Incoming::new());
        assert_eq!(incoming.fill(tool.as_fd()), Filled::NotYet);
        lbd.write_all(&[message(16), message(39)].concat()).unwrap();
        for length in [16, 39] {
            for _ in 0..3 {
                assert!(readable(&tool));
                assert_eq!(incoming.fill(tool.as_fd()), Filled::Whole(length));
            }
            assert_eq!(incoming.message(), message(length.try_into().unwrap()));
            incoming.finish(tool.as_fd());
        }
        assert!(!readable(&tool));
        assert_eq!(incoming.fill(tool.as_fd()), Filled::NotYet);
    }

    #[test]
    fn a_message_may_come_byte_by_byte() {
        let (mut lbd, tool) = UnixStream::pair().unwrap();
        let mut incoming = Box::new(Incoming::new());
        let bytes = message(20);
        for &byte in &bytes[..19] {
            lbd.write_all(&[byte]).unwrap();
            assert_eq!(incoming.fill(tool.as_fd()), Filled::NotYet);
            assert!(!readable(&tool), "a part is not a message");
        }
        lbd.write_all(&bytes[19..]).unwrap();
        assert!(readable(&tool));
        assert_eq!(incoming.fill(tool.as_fd()), Filled::Whole(20));
        assert!(readable(&tool), "not received yet");
    }

    #[test]
    fn half_a_message_before_the_end_is_none() {
        let (mut lbd, tool) = UnixStream::pair().unwrap();
        let mut incoming = Box::new(Incoming::new());
        lbd.write_all(&message(40)[..30]).unwrap();
        assert_eq!(incoming.fill(tool.as_fd()), Filled::NotYet);
        drop(lbd);
        assert_eq!(incoming.fill(tool.as_fd()), Filled::Lost);
        assert_eq!(incoming.taken, 0);
    }

    #[test]
    fn what_is_no_message_ends_the_connection() {
        for length in [0_u32, 15, 1 << 20, u32::MAX] {
            let (mut lbd, tool) = UnixStream::pair().unwrap();
            let mut incoming = Box::new(Incoming::new());
            lbd.write_all(&length.to_ne_bytes()).unwrap();
            assert_eq!(incoming.fill(tool.as_fd()), Filled::Lost, "{length}");
            assert!(lbd.write_all(&[0; 16]).is_err(), "the other end learns of it");
        }
    }

    #[test]
    fn the_longest_message_fits() {
        let (mut lbd, tool) = UnixStream::pair().unwrap();
        let mut incoming = Box::new(Incoming::new());
        let longest = super::LONGEST_ANSWER;
        let bytes = message(longest.try_into().unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| lbd.write_all(&bytes).unwrap());
            while incoming.fill(tool.as_fd()) == Filled::NotYet {
                std::thread::yield_now();
            }
        });
        assert_eq!(incoming.message(), bytes);
    }
}
