"""Datagrams in quick succession over a few flows, so that the time is known in which nothing was forwarded."""

import select
import socket
import time
from dataclasses import dataclass, field

# Gaps that are remembered: shorter ones are of the instrument.
NOTABLE = 0.002
# A flow without any answer for so long is lost.
SECONDS = 30


@dataclass
class Flow:
    number: int
    socket: socket.socket
    sent: int = 0
    answers: int = 0
    duplicates: int = 0
    newest: int = 0
    heard: float = field(default_factory=time.monotonic)
    real: bytes = b""
    # (began, ended) of the times without any answer.
    gaps: list = field(default_factory=list)


class Pings:
    """`targets`: (domain, address) of each flow; `seconds`: between two datagrams of a flow."""

    def __init__(self, loop, targets, seconds):
        self.wrong = []
        self.flows = []
        for number, (domain, address) in enumerate(targets):
            udp = socket.socket(domain, socket.SOCK_DGRAM)
            udp.setblocking(False)
            udp.connect(address)
            flow = Flow(number, udp)
            self.flows.append(flow)
            loop.watch(udp, select.EPOLLIN, lambda flow=flow: self.hear(flow))
        loop.every(seconds, self.send)

    # What the test asks.

    def all_answered(self):
        return all(flow.answers for flow in self.flows)

    def gap(self, since, until=None):
        """(began, ended) of the longest time without an answer on one flow that ended after `since`, or lasts yet, and
        began before `until`."""
        now = time.monotonic()
        gaps = [gap for flow in self.flows for gap in [*flow.gaps, (flow.heard, now)]
                if gap[1] >= since and (until is None or gap[0] <= until)]
        return max(gaps, key=lambda gap: gap[1] - gap[0])

    def answered_since(self, when):
        """Whether every flow has had an answer after this moment."""
        return all(flow.heard >= when for flow in self.flows)

    def counts(self):
        """Sent, answered, and answered twice."""
        return tuple(sum(getattr(flow, name) for flow in self.flows) for name in ("sent", "answers", "duplicates"))

    def wrongs(self):
        """(when, flow, what): flows that changed to another real, were refused, or have been without an answer."""
        now = time.monotonic()
        silent = [(now, flow.number, f"no answer for {now - flow.heard:.0f} s") for flow in self.flows if now - flow.heard > SECONDS]
        return self.wrong + silent

    # How it goes on.

    def send(self):
        for flow in self.flows:
            flow.sent += 1
            try:
                flow.socket.send(b"%d" % flow.sent)
            except BlockingIOError:
                pass
            except OSError as error:
                self.wrong.append((time.monotonic(), flow.number, repr(error)))

    def hear(self, flow):
        while True:
            try:
                data = flow.socket.recv(2048)
            except BlockingIOError:
                return
            except OSError as error:
                self.wrong.append((time.monotonic(), flow.number, repr(error)))
                continue
            now = time.monotonic()
            if now - flow.heard >= NOTABLE:
                flow.gaps.append((flow.heard, now))
            flow.heard = now
            real, _, number = data.partition(b" ")
            if flow.real and real != flow.real:
                self.wrong.append((now, flow.number, f"{flow.real.decode()} became {real.decode()}"))
            flow.real = real
            # Datagrams of one flow keep their order here.
            if int(number) <= flow.newest:
                flow.duplicates += 1
            else:
                flow.newest = int(number)
                flow.answers += 1
