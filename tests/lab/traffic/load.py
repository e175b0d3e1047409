"""All kinds of traffic together, over both families where there are two, and what became of it."""

import time
from dataclasses import dataclass, field

from ..families import IPV4, IPV6
from ..testbed import PATIENCE, has_ipv6, wait_for
from . import held, openings
from .downloads import NAME, Downloads
from .held import Held
from .openings import Openings
from .pings import Pings
from .processes import Remote
from .servers import ANSWER, DATAGRAMS, ECHO, Datagrams, Lines

REALS = ("rs1", "rs2")
WEB = 80
# Flows of datagrams for each family: with two workers, both have some.
FLOWS = 2
# Seconds beside the measured gap in which an attempt to connect may fail, too: each worker begins at its own time.
MARGIN = 0.25


@dataclass(frozen=True)
class Size:
    """How much of each kind; none of a kind whose number is 0."""

    connections: int  # held
    lines: float  # a second, over all of them
    openings: float  # a second
    pause: float  # seconds between two datagrams of a flow
    download: int  # bytes
    seconds: float  # that a download takes


WHOLE = Size(connections=2000, lines=1000, openings=1000, pause=0.002, download=60_000_000, seconds=15)
SMALL = Size(connections=300, lines=300, openings=100, pause=0.005, download=6_000_000, seconds=4)


def families():
    return (IPV4, IPV6) if has_ipv6() else (IPV4,)


def services(ports=(WEB, ECHO, ANSWER, DATAGRAMS)):
    """The services that the traffic goes to, as Testbed.lbd takes them: (protocol, listen, reals)."""
    return [("udp" if port == DATAGRAMS else "tcp", family.at(family.vip, port), family.pool([1] * len(REALS), port))
            for port in ports for family in families()]


def targets(port):
    return [(family.domain, (family.vip, port)) for family in families()]


@dataclass
class Outcome:
    """What became of it, from the beginning to the end."""

    lost: list = field(default_factory=list)
    wrong: list = field(default_factory=list)
    whole: int = 0
    broken: list = field(default_factory=list)
    begun: int = 0
    made: int = 0
    left_out: int = 0
    # Connecting failed while nothing was forwarded; anything else that failed.
    in_gap: list = field(default_factory=list)
    failed: list = field(default_factory=list)
    pings: tuple = (0, 0, 0)

    def losses(self):
        """What must not happen, in words."""
        parts = {"held connections lost": self.lost, "flows of datagrams astray": self.wrong, "downloads broken": self.broken,
                 "new connections failed outside of a gap, or when they were open": self.failed}
        return "\n".join(f"{len(found)} {what}, as {found[:5]}" for what, found in parts.items() if found)


class Load:
    """Traffic through a balancer that is ready and has `services()`, for the time of the block."""

    def __init__(self, bed, size):
        self.bed, self.size = bed, size
        self.remotes = []
        self.held = self.pings = self.openings = self.downloads = None
        # (began, ended) of each time in which nothing was forwarded.
        self.gaps = []

    def __enter__(self):
        try:
            self.start_all()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start_all(self):
        size, domains = self.size, [family.domain for family in families()]
        for real in REALS:
            self.start(real, Lines, real, domains)
            # Not behind what the others have to do there.
            self.start(real, Datagrams, real, domains, real_time=True)
        if size.pause:
            self.pings = self.start("client", Pings, targets(DATAGRAMS) * FLOWS, size.pause, real_time=True)
        if size.connections:
            self.held = self.start("client", Held, targets(ECHO), size.connections, size.lines)
            opened = lambda: self.held.call("open_ones")
            assert wait_for(lambda: opened() == size.connections, pause=0.2), (opened(), self.held.call("losses")[:5])
        if size.openings:
            self.openings = self.start("client", Openings, targets(ANSWER), size.openings)
        if size.download:
            urls = [family.url(f"/files/{NAME}") for family in families()]
            self.downloads = Downloads(self.bed, REALS, urls, size.download, size.seconds)

    def start(self, *arguments, **options):
        remote = Remote(self.bed, *arguments, **options)
        self.remotes.append(remote)
        return remote

    def stop(self):
        if self.downloads:
            self.downloads.stopping.set()
        for remote in self.remotes:
            remote.stop()

    def settle(self, since):
        """Waits until every connection and every flow has had an answer to what it said after `since`, but for those
        that are lost."""
        seconds = held.SECONDS + PATIENCE
        if self.held:
            unheard = lambda: self.held.call("unheard_since", since)
            assert wait_for(lambda: unheard() == 0, seconds, pause=0.1), f"{unheard()} connections are neither heard nor lost"
        if self.pings:
            wait_for(lambda: self.pings.call("answered_since", since), seconds, pause=0.05)

    def gap(self, since):
        """The longest time in seconds, since this moment, in which a flow of datagrams had no answer."""
        began, ended = self.pings.call("gap", since)
        self.gaps.append((began, ended))
        return ended - began

    def longest_wait(self, since):
        """The longest time in seconds that a held connection has waited for an echo."""
        return self.held.call("longest_wait", since)

    def finish(self):
        """Lets end what is under way, and returns what became of all."""
        outcome = Outcome()
        if self.openings:
            under_way = lambda: self.openings.call("finish")
            assert wait_for(lambda: under_way() == 0, openings.SECONDS + PATIENCE, pause=0.1), f"{under_way()} openings hang"
            outcome.begun, outcome.made, outcome.left_out = self.openings.call("counts")
            for failure in self.openings.call("failures"):
                (outcome.in_gap if self.is_of_a_gap(failure) else outcome.failed).append(failure)
        if self.downloads:
            self.downloads.finish()
            outcome.whole, outcome.broken = self.downloads.whole, self.downloads.broken
        if self.held:
            self.settle(time.monotonic())
            outcome.lost = self.held.call("losses")
        if self.pings:
            outcome.wrong, outcome.pings = self.pings.call("wrongs"), self.pings.call("counts")
        return outcome

    def is_of_a_gap(self, failure):
        return failure.stage == "connect" and any(
            failure.begun <= ended + MARGIN and began - MARGIN <= failure.ended for began, ended in self.gaps)
