"""Reals that may have so many connections: when they are closed, and when they take some again."""

from .runner import test
from .sockets import Greeters, reset
from .testbed import REALS, VIP, wait_for

LISTEN = f"{VIP}:7400"
SERVICE = (VIP, 7400)


def closed_and_opened(bed, options, first_open):
    """A real with `-x 4` and these options takes four; with fewer than four it takes none until `first_open` are left."""
    servers = Greeters(bed, 7000)
    with bed.lbd() as lbd:
        lbd.ctl("add-service", "-t", LISTEN, "--timeouts", "close=1")
        lbd.ctl("add-real", "-t", LISTEN, "-r", f"{REALS['rs1']}:7000", "-x", 4, *options)
        held = [servers.greeted(SERVICE)[0] for _ in range(4)]

        def left():
            real = lbd.service()["reals"][0]
            return real["active"] + real["inactive"]

        while len(held) > first_open:
            assert servers.name(SERVICE) is None, f"it takes one with {len(held)} left"
            # What is there goes on.
            held[0].sendall(b"ping")
            assert servers.other_end(held[0]).recv(100) == b"ping"
            reset(held.pop())
            # It counts until it is forgotten.
            assert wait_for(lambda: left() == len(held)), lbd.service()
        # Another worker knows of the last one's end a little later.
        assert wait_for(lambda: (opened := servers.name(SERVICE)) and opened == "rs1"), lbd.service()


@test()
def a_full_real_takes_connections_again_below_three_quarters(bed):
    closed_and_opened(bed, [], first_open=2)


@test()
def a_full_real_takes_connections_again_below_its_lower_threshold(bed):
    closed_and_opened(bed, ["-y", 2], first_open=1)


@test()
def a_threshold_that_is_raised_or_taken_away_opens_a_real(bed):
    servers = Greeters(bed, 7000)
    real = ("-t", LISTEN, "-r", f"{REALS['rs1']}:7000")
    with bed.lbd() as lbd:
        lbd.ctl("add-service", "-t", LISTEN)
        lbd.ctl("add-real", *real, "-x", 2)
        held = []

        def takes(count):
            held.extend(servers.greeted(SERVICE)[0] for _ in range(count))
            assert servers.name(SERVICE) is None, f"it takes one with {len(held)}"

        takes(2)
        lbd.ctl("edit-real", *real, "-x", 5)
        takes(3)
        # The limit is not raised: it stays closed.
        lbd.ctl("edit-real", *real, "-x", 5, "-y", 1)
        takes(0)
        lbd.ctl("edit-real", *real, "-x", 0, "-y", 0)
        held.extend(servers.greeted(SERVICE)[0] for _ in range(3))
        assert servers.name(SERVICE) == "rs1"
