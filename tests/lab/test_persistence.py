"""Clients that stay with their real."""

import contextlib

from .runner import test
from .sockets import Greeters
from .testbed import CLIENT, PATIENCE, REALS, VIP, wait_for

LISTEN = f"{VIP}:7400"
SERVICE = (VIP, 7400)
# Another client under the mask of 24 bits.
NEIGHBOUR = "192.168.10.7"


@contextlib.contextmanager
def another_address(bed):
    bed.run("client", "ip", "address", "add", f"{NEIGHBOUR}/24", "dev", "eth0")
    try:
        yield
    finally:
        bed.run("client", "ip", "address", "delete", f"{NEIGHBOUR}/24", "dev", "eth0")


def templates(lbd):
    """(client, real's endpoint) of each template."""
    return sorted((entry["client"], entry["real"]) for entry in lbd.json("connections")["connections"]
                  if entry["client"].endswith(":0"))


def at(name):
    return f"{REALS[name]}:7000"


@test()
def a_clients_connections_reach_one_real(bed):
    servers = Greeters(bed, 7000)
    with another_address(bed), bed.lbd() as lbd:
        lbd.add_service("tcp", LISTEN, servers.reals([1, 1, 1]), "-s", "rr", "-p", 300)
        first = servers.name(SERVICE)
        assert {servers.name(SERVICE) for _ in range(12)} == {first}
        # With one worker the next client has the next real.
        other = servers.name(SERVICE, source=NEIGHBOUR)
        assert bed.workers > 1 or other != first
        assert {servers.name(SERVICE, source=NEIGHBOUR) for _ in range(6)} == {other}
        expected = sorted([(f"{CLIENT}:0", at(first)), (f"{NEIGHBOUR}:0", at(other))])
        assert templates(lbd) == expected, (templates(lbd), expected)
        kept = lambda: sum(real["persistent_conns"] for real in lbd.service()["reals"])
        assert wait_for(lambda: kept() == 2), lbd.service()
        # A client whose real gets no more connections has another one, and stays with that.
        lbd.ctl("edit-real", "-t", LISTEN, "-r", at(first), "-w", 0)
        second = servers.name(SERVICE)
        assert second != first
        lbd.ctl("edit-real", "-t", LISTEN, "-r", at(first), "-w", 1)
        assert {servers.name(SERVICE) for _ in range(6)} == {second}
        # One that is removed is not gone to either.
        lbd.ctl("del-real", "-t", LISTEN, "-r", at(second))
        third = servers.name(SERVICE)
        assert third != second and {servers.name(SERVICE) for _ in range(6)} == {third}


@test()
def clients_under_one_mask_have_one_real(bed):
    servers = Greeters(bed, 7000)
    with another_address(bed), bed.lbd() as lbd:
        lbd.add_service("tcp", LISTEN, servers.reals([1, 1, 1]), "-s", "rr", "-p", 300, "-M", "255.255.255.0")
        names = {servers.name(SERVICE, source=source) for source in (CLIENT, NEIGHBOUR) * 4}
        assert len(names) == 1, names
        assert templates(lbd) == [("192.168.10.0:0", at(*names))], templates(lbd)


@test()
def after_its_time_a_client_is_scheduled_anew(bed):
    servers = Greeters(bed, 7000)
    # With one worker the order of reals is known.
    with bed.lbd(bed.config(workers=1)) as lbd:
        lbd.add_service("tcp", LISTEN, servers.reals([1, 1]), "-s", "rr", "-p", 3, "--timeouts", "close=1")
        assert [servers.name(SERVICE) for _ in range(3)] == ["rs2"] * 3
        # The connections are over before the template, so nothing prolongs it, but for a minute on a busy machine.
        assert wait_for(lambda: not lbd.json("connections")["connections"], 3 * PATIENCE), templates(lbd)
        assert [servers.name(SERVICE) for _ in range(3)] == ["rs1"] * 3
