"""Processes on the lab's hosts: each has an event loop, and answers questions of the test that started it."""

import contextlib
import heapq
import itertools
import multiprocessing
import os
import resource
import select
import signal
import time
import traceback

from ..testbed import PATIENCE, libc

PR_SET_PDEATHSIG = 1
# Of a process that measures time: above everything that is not in real time itself.
PRIORITY = 10


class Loop:
    """Waits for sockets and for the times that something is due."""

    def __init__(self):
        self.epoll = select.epoll()
        self.handlers = {}
        self.closed = []
        self.due = []
        self.order = itertools.count()

    def watch(self, source, events, handler):
        """Calls `handler()` at these events from now on, in place of an earlier one."""
        descriptor = source.fileno()
        if descriptor in self.handlers:
            self.epoll.modify(descriptor, events)
        else:
            self.epoll.register(descriptor, events)
        self.handlers[descriptor] = handler

    def close(self, source):
        if self.handlers.pop(source.fileno(), None):
            self.epoll.unregister(source)
        # Not at once: another socket would get its number while events of this one are still to be looked at.
        self.closed.append(source)

    def every(self, seconds, function):
        """Calls `function()` in this period. What a busy machine leaves out is left out."""

        def call(planned):
            function()
            self.at(max(planned + seconds, time.monotonic()), call)

        self.at(time.monotonic(), call)

    def at(self, when, call):
        heapq.heappush(self.due, (when, next(self.order), call))

    def run(self):
        while True:
            pause = max(0, self.due[0][0] - time.monotonic()) if self.due else None
            # Python's epoll waits whole milliseconds, select does not.
            select.select([self.epoll], [], [], pause)
            for descriptor, _ in self.epoll.poll(0):
                if handler := self.handlers.get(descriptor):
                    handler()
            for source in self.closed:
                source.close()
            self.closed.clear()
            now = time.monotonic()
            while self.due and self.due[0][0] <= now:
                when, _, call = heapq.heappop(self.due)
                call(when)


class Remote:
    """A process on `host` in which `make(loop, *arguments)` lives. Its methods are called by their names from here; it
    ends with `stop`, and with this process."""

    def __init__(self, bed, host, make, *arguments, real_time=False):
        self.what = f"{make.__name__} on {host}"
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("fork").Process(
            target=live, args=(bed, host, theirs, make, arguments, real_time, os.getpid()), daemon=True)
        self.process.start()
        theirs.close()
        try:
            # Its sockets are there from here on.
            self.answer()
        except BaseException:
            self.stop()
            raise

    def call(self, name, *arguments):
        self.pipe.send((name, arguments))
        return self.answer()

    def answer(self):
        try:
            assert self.pipe.poll(PATIENCE), f"{self.what} does not answer"
            done, value = self.pipe.recv()
        except EOFError:
            raise AssertionError(f"{self.what} has died") from None
        assert done, f"{self.what}: {value}"
        return value

    def stop(self):
        self.process.kill()
        self.process.join(PATIENCE)


def live(bed, host, pipe, make, arguments, real_time, parent):
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if real_time:
        # Without the right to, its figures are those of a process like others.
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    loop = Loop()

    def answer():
        try:
            name, arguments = pipe.recv()
        except EOFError:
            os._exit(0)
        pipe.send(attempt(lambda: getattr(served, name)(*arguments)))

    with bed.inside(host):
        made = attempt(lambda: make(loop, *arguments))
        pipe.send((made[0], None if made[0] else made[1]))
        if made[0]:
            served = made[1]
            loop.watch(pipe, select.EPOLLIN, answer)
            loop.run()


def attempt(function):
    try:
        return True, function()
    except Exception:
        return False, traceback.format_exc()
