//! Which descriptors have been taken over, and what is kept for each.

use crate::incoming::Incoming;
use crate::link::{self, Link, Patience};
use crate::lock::{Held, Lock};
use crate::messages::{Header, LONGEST_REQUEST};
use crate::{kernel, say};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use rustix::fd::{BorrowedFd, OwnedFd, RawFd};
use rustix::fs::{FileType, OFlags};
use rustix::io::{Errno, FdFlags};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{self, Timeout};

/// Descriptors that a process can have taken over at a time. ipvsadm and keepalived have one.
const ROOM: usize = 64;

/// `NETLINK_GENERIC`.
const NETLINK_GENERIC: u32 = 16;

/// `Slot::descriptor` of a slot that is being made ready.
const RESERVED: i32 = -1;

/// A descriptor that has been taken over. All of it is zero at first, so that the table takes no room in the file and
/// no memory before it is used.
pub(crate) struct Slot {
    /// The descriptor + 1; 0: free.
    descriptor: AtomicI32,
    /// The inode of the socket that the library has put there. Another one is there once the program has closed it.
    inode: AtomicU64,
    /// The request that is going out. Locked until it has gone, which may take long.
    pub(crate) outgoing: Lock<Outgoing>,
    /// Never locked across a call that may wait.
    pub(crate) state: Lock<State>,
}

pub(crate) struct Outgoing {
    pub(crate) bytes: [u8; LONGEST_REQUEST],
}

pub(crate) struct State {
    /// The port id that the program has been given for its netlink socket.
    pub(crate) port: u32,
    /// The last request.
    pub(crate) request: Option<Header>,
    /// Whether an error has to answer it if the connection is lost.
    pub(crate) unanswered: bool,
    /// A request that could not be delivered, and the errno of the message that will answer it.
    pub(crate) owed: Option<(Header, i32)>,
    /// Whether there is a connection to `lbd` at the descriptor, perhaps one that has ended.
    pub(crate) connected: bool,
    /// The `lbd` that was reached last; `None`: none was.
    process: Option<i32>,
    pub(crate) incoming: Incoming,
}

static TABLE: [Slot; ROOM] = [const { Slot::new() }; ROOM];

/// Slots at the beginning of the table that have ever been used: most programs have none, and look at nothing else.
static USED: AtomicUsize = AtomicUsize::new(0);

static FULL: AtomicBool = AtomicBool::new(false);

/// The slot of a descriptor that has been taken over and has not been closed since.
pub(crate) fn find(descriptor: RawFd) -> Option<&'static Slot> {
    let used = USED.load(Ordering::Acquire);
    if used == 0 || descriptor < 0 {
        return None;
    }
    let key = descriptor.checked_add(1)?;
    let slot = TABLE.iter().take(used).find(|slot| slot.descriptor.load(Ordering::Acquire) == key)?;
    slot.is_still(descriptor).then_some(slot)
}

/// Whether the kernel's generic netlink is at this descriptor.
pub(crate) fn is_generic_netlink(descriptor: RawFd) -> bool {
    kernel::borrowed(descriptor).is_some_and(|socket| {
        sockopt::socket_domain(socket) == Ok(rustix::net::AddressFamily::NETLINK)
            && sockopt::socket_protocol(socket)
                .is_ok_and(|protocol| protocol.is_some_and(|it| it.as_raw().get() == NETLINK_GENERIC))
    })
}

/// Takes a netlink socket over: puts a connection to `lbd` in its place, or a socket that leads nowhere.
///
/// # Errors
///
/// EMFILE if the table is full; nothing has been changed then.
pub(crate) fn take_over(descriptor: RawFd) -> Result<&'static Slot, Errno> {
    let socket = kernel::borrowed(descriptor).ok_or(Errno::BADF)?;
    let (index, slot) = reserve().ok_or_else(|| {
        say::once(&FULL, format_args!("no more than {ROOM} sockets of a program can be connected to lbd"));
        Errno::MFILE
    })?;
    let mut state = slot.state.lock();
    state.port = port(socket);
    state.request = None;
    state.unanswered = false;
    state.owed = None;
    state.process = None;
    state.incoming.forget();
    slot.put(&mut state, descriptor, link::connect(Patience::Waits).ok());
    drop(state);
    slot.descriptor.store(descriptor.saturating_add(1), Ordering::Release);
    USED.fetch_max(index + 1, Ordering::AcqRel);
    Ok(slot)
}

/// A free slot, or one whose descriptor has been closed.
fn reserve() -> Option<(usize, &'static Slot)> {
    let take = || {
        TABLE.iter().enumerate().find(|(_, slot)| {
            slot.descriptor.compare_exchange(0, RESERVED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })
    };
    take().or_else(|| {
        for slot in &TABLE {
            let descriptor = slot.descriptor.load(Ordering::Acquire);
            if descriptor > 0 {
                slot.is_still(descriptor - 1);
            }
        }
        take()
    })
}

impl Slot {
    const fn new() -> Self {
        Self {
            descriptor: AtomicI32::new(0),
            inode: AtomicU64::new(0),
            outgoing: Lock::new(Outgoing { bytes: [0; LONGEST_REQUEST] }),
            state: Lock::new(State {
                port: 0,
                request: None,
                unanswered: false,
                owed: None,
                connected: false,
                process: None,
                incoming: Incoming::new(),
            }),
        }
    }

    /// Whether the descriptor is still what was put there; frees the slot if not.
    fn is_still(&self, descriptor: RawFd) -> bool {
        if self.inode.load(Ordering::Acquire) == inode(descriptor) {
            return true;
        }
        // Not while another thread is connecting anew: it changes both under the lock.
        let _state = self.state.lock();
        let still = self.inode.load(Ordering::Acquire) == inode(descriptor);
        if !still {
            let key = descriptor.saturating_add(1);
            // Fails if another thread has freed it meanwhile.
            let _ = self.descriptor.compare_exchange(key, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
        still
    }

    /// Connects to `lbd` anew. Says so if it is another one than before.
    pub(crate) fn reconnect(&self, descriptor: RawFd) -> Result<(), Errno> {
        // Not under the lock: this may wait.
        let link = link::connect(Patience::None)?;
        let process = link.process;
        let mut state = self.state.lock();
        // A process that is not to be seen has the number 0, and in a container many have 1.
        let is_another = state.process.is_some_and(|before| before != process || process <= 1);
        self.put(&mut state, descriptor, Some(link));
        let connected = state.connected;
        drop(state);
        if is_another {
            say::Line::of(format_args!(
                "lbd was restarted, and this program does not know: what it added before is gone from lbd, \
                 unless lbd keeps it ([control] state). If services or reals are missing, restart this program"
            ))
            .say();
        }
        if connected { Ok(()) } else { Err(Errno::MFILE) }
    }

    /// Puts a connection to `lbd` at the descriptor, or a socket that leads nowhere; with the properties that the
    /// program has given to the one that is there.
    fn put(&self, state: &mut Held<State>, descriptor: RawFd, link: Option<Link>) {
        state.incoming.forget();
        state.connected = link.is_some();
        if let Some(link) = &link {
            state.process = Some(link.process);
        }
        let socket = link.map(|link| link.socket).or_else(|| link::unconnected().ok());
        let done = socket.and_then(|socket| {
            let before = kernel::borrowed(descriptor)?;
            kernel::replace(descriptor, &socket, copy_properties(before, &socket)).ok()
        });
        // Without a free descriptor the kernel's socket stays where it is: nothing is sent there.
        state.connected &= done.is_some();
        self.inode.store(inode(descriptor), Ordering::Release);
    }
}

/// Makes a socket wait as another one does. Returns whether the other one is closed on exec.
fn copy_properties(from: BorrowedFd, to: &OwnedFd) -> bool {
    if rustix::fs::fcntl_getfl(from).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK)) {
        let _ = rustix::io::ioctl_fionbio(to, true);
    }
    for which in [Timeout::Recv, Timeout::Send] {
        if let Ok(time @ Some(_)) = sockopt::socket_timeout(from, which) {
            let _ = sockopt::set_socket_timeout(to, which, time);
        }
    }
    rustix::io::fcntl_getfd(from).is_ok_and(|flags| flags.contains(FdFlags::CLOEXEC))
}

/// The port id of a netlink socket. The kernel would give the process's number to one that has none.
fn port(socket: BorrowedFd) -> u32 {
    let given = rustix::net::getsockname(socket)
        .ok()
        .and_then(|name| SocketAddrNetlink::try_from(name).ok())
        .map_or(0, |name| name.pid());
    if given == 0 { rustix::process::getpid().as_raw_nonzero().get().unsigned_abs() } else { given }
}

/// The inode of the socket at this descriptor; 0 if there is none.
fn inode(descriptor: RawFd) -> u64 {
    kernel::borrowed(descriptor)
        .and_then(|socket| rustix::fs::fstat(socket).ok())
        .filter(|found| FileType::from_raw_mode(found.st_mode) == FileType::Socket)
        .map_or(0, |found| found.st_ino)
}
