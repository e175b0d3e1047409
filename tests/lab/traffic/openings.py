"""New connections, so many a second: each connects, makes one request, and reads the answer to its end."""

import errno
import select
import socket
import time
from dataclasses import dataclass

# When an attempt is given up: TCP sends a SYN again after 1, 3 and 7 s.
SECONDS = 15
# Never more than so many at a time, nor than are due in so many seconds at once.
MOST, LATE = 10_000, 0.01


@dataclass
class Attempt:
    number: int
    socket: socket.socket
    begun: float
    stage: str = "connect"
    answer: bytes = b""

    def request(self):
        return b"request %d\n" % self.number


@dataclass
class Failure:
    begun: float
    ended: float
    stage: str
    port: int
    why: str


class Openings:
    """`targets`: (domain, address), taken in turn."""

    def __init__(self, loop, targets, rate):
        self.loop, self.targets, self.rate = loop, targets, rate
        self.begun = self.made = self.left_out = 0
        self.running = {}
        self.failed = []
        self.stopping = False
        self.last = time.monotonic()
        self.owed = 0.0
        loop.every(max(0.001, 1 / rate), self.begin_some)
        loop.every(0.5, self.give_up)

    # What the test asks.

    def counts(self):
        """Begun, answered in full, not begun since the client had no port left or too many under way."""
        return self.begun, self.made, self.left_out

    def failures(self):
        return self.failed

    def finish(self):
        """Begins no more; returns how many are under way."""
        self.stopping = True
        return len(self.running)

    # How it goes on.

    def begin_some(self):
        now = time.monotonic()
        self.owed += min(now - self.last, LATE) * self.rate
        self.last = now
        while self.owed >= 1:
            self.owed -= 1
            if not self.stopping:
                self.begin()

    def begin(self):
        if len(self.running) >= MOST:
            self.left_out += 1
            return
        domain, address = self.targets[self.begun % len(self.targets)]
        attempt = Attempt(self.begun, socket.socket(domain, socket.SOCK_STREAM), time.monotonic())
        attempt.socket.setblocking(False)
        code = attempt.socket.connect_ex(address)
        if code == errno.EADDRNOTAVAIL:
            attempt.socket.close()
            self.left_out += 1
            return
        self.begun += 1
        self.running[attempt.number] = attempt
        if code not in (0, errno.EINPROGRESS):
            self.fail(attempt, errno.errorcode[code])
            return
        self.loop.watch(attempt.socket, select.EPOLLOUT, lambda: self.connected(attempt))

    def connected(self, attempt):
        if code := attempt.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.fail(attempt, errno.errorcode[code])
            return
        attempt.stage = "answer"
        try:
            attempt.socket.send(attempt.request())
        except OSError as error:
            self.fail(attempt, repr(error))
            return
        self.loop.watch(attempt.socket, select.EPOLLIN, lambda: self.hear(attempt))

    def hear(self, attempt):
        try:
            data = attempt.socket.recv(4096)
        except OSError as error:
            self.fail(attempt, repr(error))
            return
        attempt.answer += data
        if data:
            return
        if attempt.answer.partition(b" ")[2] != attempt.request():
            self.fail(attempt, f"answered {attempt.answer}")
            return
        self.made += 1
        self.end(attempt)

    def give_up(self):
        now = time.monotonic()
        for attempt in list(self.running.values()):
            if now - attempt.begun < SECONDS:
                # The others have begun later.
                break
            self.fail(attempt, f"nothing for {SECONDS} s")

    def fail(self, attempt, why):
        port = attempt.socket.getsockname()[1]
        self.failed.append(Failure(attempt.begun, time.monotonic(), attempt.stage, port, why))
        self.end(attempt)

    def end(self, attempt):
        del self.running[attempt.number]
        self.loop.close(attempt.socket)
