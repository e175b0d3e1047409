"""Which real a new connection goes to: the kernel's order, newest real first."""

import socket
import struct
from fractions import Fraction
from functools import reduce
from operator import xor

from .families import BOTH
from .runner import test
from .sockets import Greeters
from .testbed import wait_for

def web(bed, weights):
    """The service that is asked, and its reals with these weights."""
    return "tcp", bed.ip.at(bed.ip.vip, 80), bed.ip.pool(weights)


@test(families=BOTH)
def forty_requests_alternate_from_the_newest_real(bed):
    with bed.lbd(services=[web(bed, [1, 1])]):
        bed.expect(["rs2", "rs1"] * 20)


@test(families=BOTH)
def weights_three_to_one(bed):
    with bed.lbd(services=[web(bed, [3, 1])]):
        bed.expect(["rs2", "rs1", "rs1", "rs1"] * 10)


@test(families=BOTH)
def weights_five_to_one_to_one(bed):
    # Recorded from IPVS with rs1 5, rs2 1, rs3 1, added in this order.
    expected = ("rs3 rs2 rs1 rs1 rs1 rs1 rs1 rs3 rs2 rs1 "
                "rs1 rs1 rs1 rs1 rs3 rs2 rs1 rs1 rs1 rs1 "
                "rs1 rs3 rs2 rs1 rs1 rs1 rs1 rs1 rs3 rs2 "
                "rs1 rs1 rs1 rs1 rs1 rs3 rs2 rs1 rs1 rs1").split()
    with bed.lbd(services=[web(bed, [5, 1, 1])]):
        bed.expect(expected)


@test(families=BOTH)
def round_robin_ignores_weights(bed):
    with bed.lbd() as lbd:
        lbd.add_service(*web(bed, [3, 1, 2]), "-s", "rr")
        bed.expect(["rs3", "rs2", "rs1"] * 4)


@test(families=BOTH)
def a_real_of_weight_zero_gets_nothing(bed):
    with bed.lbd(services=[web(bed, [1, 0, 1])]):
        bed.expect(["rs3", "rs1"] * 4)


@test(families=BOTH)
def reals_of_the_file_count_as_added_in_the_order_written(bed):
    config = bed.config()
    _, listen, reals = web(bed, [1, 1])
    config["service"] = [{"listen": f"tcp://{listen}", "scheduler": "wrr",
                          "real": [{"address": address, "weight": weight} for address, weight in reals]}]
    with bed.lbd(config):
        bed.expect(["rs2", "rs1"] * 3)


@test(families=BOTH)
def the_vip_port_maps_to_another_port_of_the_reals(bed):
    with bed.lbd(services=[("tcp", bed.ip.at(bed.ip.vip, 80), bed.ip.pool(port=8080))]):
        log = bed.dir / "rs1" / "access.log"
        before = log.stat().st_size
        bed.expect(["rs2", "rs1"] * 2)
        lines = log.read_text()[before:].splitlines()
        assert len(lines) == 2 and all(line.split()[1] == "8080" for line in lines), lines


@test(families=BOTH)
def least_connections_follow_held_ones_weights_and_edits(bed):
    """wlc as it is described: the least of (256 active + inactive) / weight, the newest real of equals."""
    servers, listen, service = Greeters(bed, 7000), bed.ip.at(bed.ip.vip, 7400), (bed.ip.vip, 7400)
    weights = {"rs1": 1, "rs2": 2, "rs3": 1}
    clients = {name: [] for name in weights}
    closed = dict.fromkeys(weights, 0)

    def expected():
        load = lambda name: Fraction(256 * len(clients[name]) + closed[name], weights[name])
        return min((name for name in reversed(weights) if weights[name]), key=load)

    # With one worker every connection counts at once.
    with bed.lbd(bed.config(workers=1)) as lbd:
        def hold(count):
            names = []
            for _ in range(count):
                client, name = servers.greeted(service)
                assert name == expected(), (name, expected(), weights, closed, names)
                clients[name].append(client)
                names.append(name)
            return names

        def weigh(name, weight):
            lbd.ctl("edit-real", "-t", listen, "-r", bed.ip.real(name, 7000), "-w", weight)
            weights[name] = weight

        lbd.add_service("tcp", listen, servers.reals(weights.values()), "-s", "wlc")
        # Recorded from IPVS.
        assert hold(12) == ["rs3", "rs2", "rs1", "rs2"] * 3
        weigh("rs1", 4)
        hold(6)
        weigh("rs2", 0)
        assert "rs2" not in hold(4)
        weigh("rs2", 3)
        for client in clients["rs3"][:2] + clients["rs1"][:2]:
            client.shutdown(socket.SHUT_WR)
            servers.other_end(client).close()
        for name in ("rs1", "rs3"):
            closed[name] += 2
            del clients[name][:2]
        counts = lambda: {real["address"]: (real["active"], real["inactive"]) for real in lbd.service()["reals"]}
        held = {bed.ip.reals[name]: (len(clients[name]), closed[name]) for name in weights}
        assert wait_for(lambda: counts() == held), (counts(), held)
        hold(8)


@test(families=BOTH)
def the_heaviest_real_has_all_connections_under_fo(bed):
    servers, listen, service = Greeters(bed, 7000), bed.ip.at(bed.ip.vip, 7400), (bed.ip.vip, 7400)
    with bed.lbd() as lbd:
        lbd.add_service("tcp", listen, servers.reals([1, 3, 2]), "-s", "fo")
        assert [servers.name(service) for _ in range(3)] == ["rs2"] * 3
        for name, weight, heaviest in [("rs3", 5, "rs3"), ("rs3", 0, "rs2"), ("rs1", 3, "rs2"), ("rs2", 2, "rs1"),
                                       ("rs1", 0, "rs2"), ("rs2", 0, None), ("rs3", 1, "rs3")]:
            lbd.ctl("edit-real", "-t", listen, "-r", bed.ip.real(name, 7000), "-w", weight)
            assert [servers.name(service) for _ in range(3)] == [heaviest] * 3, (name, weight)


def folded(address):
    """An address as a number of 32 bits: the words of one of IPv6 are added bit by bit."""
    return reduce(xor, (word for word, in struct.iter_unpack("!I", address)))


@test(families=BOTH)
def hashing_of_address_and_port_follows_weights(bed):
    """sh as it is described: each real has as many of 256 buckets in a row as its weight, the newest first, over and over."""
    servers, listen, service = Greeters(bed, 7000), bed.ip.at(bed.ip.vip, 7400), (bed.ip.vip, 7400)
    weights = {"rs1": 1, "rs2": 1, "rs3": 2}

    def buckets():
        row = [name for name in reversed(weights) for _ in range(max(1, weights[name]))]
        return [row[bucket % len(row)] for bucket in range(256)]

    def choices(port):
        """Where a connection of this port may go, in the order in which they are tried."""
        first = ((folded(bed.ip.bytes(bed.ip.client)) + port) * 0x61C88647 % 2**32) >> 24
        return [buckets()[(offset % 256 + first) % 256] for offset in [0, *range(first, first + 256)]]

    def compare(falls_back):
        for port in range(41100, 41116):
            tried = choices(port) if falls_back else choices(port)[:1]
            expected = next((name for name in tried if weights[name]), None)
            assert servers.name(service, port) == expected, (port, weights, falls_back)

    with bed.lbd() as lbd:
        def weigh(name, weight):
            lbd.ctl("edit-real", "-t", listen, "-r", bed.ip.real(name, 7000), "-w", weight)
            weights[name] = weight

        lbd.add_service("tcp", listen, servers.reals(weights.values()), "-s", "sh", "-b", "sh-port")
        compare(falls_back=False)
        weigh("rs1", 3)
        compare(falls_back=False)
        weigh("rs2", 0)
        compare(falls_back=False)
        lbd.ctl("edit-service", "-t", listen, "-b", "sh-port,sh-fallback")
        compare(falls_back=True)
        # Without the port all connections of a client are one real's.
        lbd.ctl("edit-service", "-t", listen, "--no-sched-flags")
        assert len({servers.name(service, port) for port in range(41100, 41106)}) == 1
