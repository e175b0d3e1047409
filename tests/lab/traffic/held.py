"""Connections that are opened once and then say a line now and then; each line must come back before the next is said."""

import errno
import select
import socket
import time
from dataclasses import dataclass

LINE = 18
# Connections that are opened in a millisecond.
STEP = 2
# How long an echo may take: longer than TCP needs to send again what a gap of some seconds has swallowed.
SECONDS = 30


@dataclass
class Connection:
    number: int
    socket: socket.socket
    said: int = 0
    # When the line was said that no echo has come for yet.
    asked: float | None = None
    # When the last one was said that was answered.
    answered: float = 0.0
    partly: bytes = b""

    def line(self):
        return b"%07d %09d\n" % (self.number, self.said)


class Held:
    """`targets`: (domain, address), which have an equal share of `count` connections; `rate`: lines a second over all."""

    def __init__(self, loop, targets, count, rate):
        self.loop, self.targets, self.count = loop, targets, count
        self.begun, self.next = 0, 0
        self.connections = {}
        self.lost = []
        # (when it ended, how long) of the longest waits for an echo.
        self.waits = []
        self.step = max(1, round(rate / 1000))
        loop.every(0.001, self.open_some)
        loop.every(self.step / rate, self.say_some)
        loop.every(1, self.look_for_silent_ones)

    # What the test asks.

    def open_ones(self):
        """How many have been opened, and said something that came back."""
        return sum(connection.answered > 0 for connection in self.connections.values())

    def losses(self):
        """(when, number, port, why) of each that is lost."""
        return self.lost

    def unheard_since(self, when):
        """How many have not had an answer to a line that they said after this moment."""
        return sum(connection.answered < when for connection in self.connections.values())

    def longest_wait(self, since):
        """The longest time, in seconds, that an echo took that came after this moment, or has not come yet."""
        waiting = [time.monotonic() - connection.asked for connection in self.connections.values() if connection.asked]
        return max([wait for when, wait in self.waits if when >= since] + waiting, default=0.0)

    # How it goes on.

    def open_some(self):
        for _ in range(min(STEP, self.count - self.begun)):
            self.open_one()

    def open_one(self):
        domain, address = self.targets[self.begun % len(self.targets)]
        connection = Connection(self.begun, socket.socket(domain, socket.SOCK_STREAM))
        self.begun += 1
        connection.socket.setblocking(False)
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = connection.socket.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            self.lose(connection, errno.errorcode[code])
            return
        connection.asked = time.monotonic()
        self.connections[connection.number] = connection
        self.loop.watch(connection.socket, select.EPOLLOUT, lambda: self.opened(connection))

    def opened(self, connection):
        if code := connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.lose(connection, f"connect: {errno.errorcode[code]}")
            return
        self.loop.watch(connection.socket, select.EPOLLIN, lambda: self.hear(connection))
        self.say(connection)

    def say_some(self):
        """The next ones in turn that wait for nothing."""
        left, looked_at = self.step, 0
        while left and looked_at < self.count:
            connection = self.connections.get(self.next)
            self.next = (self.next + 1) % self.count
            looked_at += 1
            if connection and connection.asked is None:
                self.say(connection)
                left -= 1

    def say(self, connection):
        connection.said += 1
        connection.asked = time.monotonic()
        try:
            connection.socket.send(connection.line())
        except OSError as error:
            self.lose(connection, f"send: {error!r}")

    def hear(self, connection):
        try:
            data = connection.socket.recv(4096)
        except OSError as error:
            self.lose(connection, f"recv: {error!r}")
            return
        if not data:
            self.lose(connection, "the server has closed it")
            return
        connection.partly += data
        if len(connection.partly) < LINE:
            return
        if connection.asked is None or connection.partly != connection.line():
            self.lose(connection, f"expected {connection.line()}, heard {connection.partly}")
            return
        now = time.monotonic()
        wait = now - connection.asked
        if wait > 0.01:
            self.waits.append((now, wait))
        connection.answered, connection.asked, connection.partly = connection.asked, None, b""

    def look_for_silent_ones(self):
        now = time.monotonic()
        for connection in list(self.connections.values()):
            if connection.asked and now - connection.asked > SECONDS:
                self.lose(connection, f"no echo for {SECONDS} s")

    def lose(self, connection, why):
        port = connection.socket.getsockname()[1]
        self.lost.append((time.monotonic(), connection.number, port, why))
        self.connections.pop(connection.number, None)
        self.loop.close(connection.socket)
