"""Clients that stay with their real."""

import contextlib

from .families import BOTH, IPV4, IPV6
from .runner import test
from .sockets import Greeters
from .testbed import PATIENCE, wait_for

# Another client under the mask, the mask, and the network that both are of.
NEIGHBOUR = {IPV4: "192.168.10.7", IPV6: "fd00:10::7"}
MASK = {IPV4: "255.255.255.0", IPV6: "64"}
NETWORK = {IPV4: "192.168.10.0", IPV6: "fd00:10::"}


@contextlib.contextmanager
def another_address(bed):
    """A second address of the client meanwhile, for sockets that ask for it: without `preferred_lft 0` it would be what
    others have over IPv6."""
    address = f"{NEIGHBOUR[bed.ip]}/{bed.ip.prefix}"
    bed.run("client", "ip", "address", "add", address, "dev", "eth0", "preferred_lft", 0, "valid_lft", "forever")
    try:
        yield NEIGHBOUR[bed.ip]
    finally:
        bed.run("client", "ip", "address", "delete", address, "dev", "eth0")


def served(bed):
    """Servers that say their names, and the service in front of them: as commands and as sockets call it."""
    return Greeters(bed, 7000), bed.ip.at(bed.ip.vip, 7400), (bed.ip.vip, 7400)


def templates(lbd):
    """(client, real's endpoint) of each template."""
    return sorted((entry["client"], entry["real"]) for entry in lbd.json("connections")["connections"]
                  if entry["client"].endswith(":0"))


@test(families=BOTH)
def a_clients_connections_reach_one_real(bed):
    servers, listen, service = served(bed)
    with another_address(bed) as neighbour, bed.lbd() as lbd:
        lbd.add_service("tcp", listen, servers.reals([1, 1, 1]), "-s", "rr", "-p", 300)
        first = servers.name(service)
        assert {servers.name(service) for _ in range(12)} == {first}
        # With one worker the next client has the next real.
        other = servers.name(service, source=neighbour)
        assert bed.workers > 1 or other != first
        assert {servers.name(service, source=neighbour) for _ in range(6)} == {other}
        expected = sorted([(bed.ip.at(bed.ip.client, 0), bed.ip.real(first, 7000)), (bed.ip.at(neighbour, 0), bed.ip.real(other, 7000))])
        assert templates(lbd) == expected, (templates(lbd), expected)
        kept = lambda: sum(real["persistent_conns"] for real in lbd.service()["reals"])
        assert wait_for(lambda: kept() == 2), lbd.service()
        # A client whose real gets no more connections has another one, and stays with that.
        lbd.ctl("edit-real", "-t", listen, "-r", bed.ip.real(first, 7000), "-w", 0)
        second = servers.name(service)
        assert second != first
        lbd.ctl("edit-real", "-t", listen, "-r", bed.ip.real(first, 7000), "-w", 1)
        assert {servers.name(service) for _ in range(6)} == {second}
        # One that is removed is not gone to either.
        lbd.ctl("del-real", "-t", listen, "-r", bed.ip.real(second, 7000))
        third = servers.name(service)
        assert third != second and {servers.name(service) for _ in range(6)} == {third}


@test(families=BOTH)
def clients_under_one_mask_have_one_real(bed):
    servers, listen, service = served(bed)
    with another_address(bed) as neighbour, bed.lbd() as lbd:
        lbd.add_service("tcp", listen, servers.reals([1, 1, 1]), "-s", "rr", "-p", 300, "-M", MASK[bed.ip])
        names = {servers.name(service, source=source) for source in (bed.ip.client, neighbour) * 4}
        assert len(names) == 1, names
        assert templates(lbd) == [(bed.ip.at(NETWORK[bed.ip], 0), bed.ip.real(*names, 7000))], templates(lbd)


@test(families=BOTH)
def after_its_time_a_client_is_scheduled_anew(bed):
    servers, listen, service = served(bed)
    # With one worker the order of reals is known.
    with bed.lbd(bed.config(workers=1)) as lbd:
        lbd.add_service("tcp", listen, servers.reals([1, 1]), "-s", "rr", "-p", 3, "--timeouts", "close=1")
        assert [servers.name(service) for _ in range(3)] == ["rs2"] * 3
        # The connections are over before the template, so nothing prolongs it, but for a minute on a busy machine.
        assert wait_for(lambda: not lbd.json("connections")["connections"], 3 * PATIENCE), templates(lbd)
        assert [servers.name(service) for _ in range(3)] == ["rs1"] * 3
