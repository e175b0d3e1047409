"""Services whose datagrams are scheduled one by one: real sockets see an even share, and replies from the VIP."""

import contextlib

from .runner import test
from .sockets import udp_echo, udp_socket
from .testbed import REALS, VIP

LISTEN = f"{VIP}:5300"
# By turns over two ports of each of two reals.
ENDPOINTS = [("rs1", 5300), ("rs2", 5300), ("rs1", 5301), ("rs2", 5301)]
# Datagrams that are under way at once, so that no socket's buffer overflows.
WINDOW = 50


@contextlib.contextmanager
def servers(bed):
    """Each endpoint answers a datagram with the same, and its own name in front."""
    with contextlib.ExitStack() as stack:
        for host, port in ENDPOINTS:
            name = f"{host}:{port} ".encode()
            stack.enter_context(udp_echo(bed, host, port, lambda data, name=name: name + data))
        yield [(f"{REALS[host]}:{port}", 1) for host, port in ENDPOINTS]


def ask(client, numbers):
    """Sends a datagram of each number from one port, and returns which endpoint has answered each."""
    answered = {}
    for number in numbers:
        client.sendto(str(number).encode(), (VIP, 5300))
    for _ in numbers:
        data, source = client.recvfrom(2048)
        assert source == (VIP, 5300), source
        name, number = data.decode().split()
        assert int(number) not in answered, data
        answered[int(number)] = name
    assert sorted(answered) == list(numbers), answered
    return answered


@test()
def ten_thousand_datagrams_from_one_port_are_shared_evenly_and_every_reply_is_the_vips(bed):
    with servers(bed) as reals, bed.lbd() as lbd:
        lbd.add_service("udp", LISTEN, reals, "-s", "rr", "-o")
        assert f"UDP  {LISTEN} rr ops" in lbd.ctl("list"), lbd.ctl("list")
        shares = dict.fromkeys((f"{host}:{port}" for host, port in ENDPOINTS), 0)
        with contextlib.closing(udp_socket(bed, "client")) as client:
            # Which addresses answer ARP is known from here on, so that nothing waits.
            ask(client, range(8))
            for first in range(0, 10_000, WINDOW):
                for name in ask(client, range(first, first + WINDOW)).values():
                    shares[name] += 1
        assert all(abs(share - 2500) <= 25 for share in shares.values()), shares
        assert lbd.json("connections")["connections"] == []
        for real in lbd.json("stats")["services"][0]["reals"]:
            counted = (real["conns"], real["in_packets"], real["out_packets"], real["active"], real["inactive"])
            assert counted == (2502, 2502, 2502, 0, 0), real


@test()
def a_connection_that_is_there_goes_on_and_a_removed_reals_replies_come_from_the_vip(bed):
    with servers(bed) as reals, bed.lbd() as lbd:
        lbd.add_service("udp", LISTEN, reals, "-s", "rr")
        with contextlib.closing(udp_socket(bed, "client")) as old, contextlib.closing(udp_socket(bed, "client")) as new:
            stays = set(ask(old, range(4)).values())
            assert len(stays) == 1, stays
            lbd.ctl("edit-service", "-u", LISTEN, "-o")
            assert set(ask(old, range(4)).values()) == stays, "its connection is older than the change"
            assert len(set(ask(new, range(8)).values())) == 4, "each datagram has a real of its own"
            # A real that answers only after it has been removed.
            left = reals[3][0]
            with contextlib.closing(udp_socket(bed, "rs3", 5300)) as late:
                for real, _ in reals:
                    lbd.ctl("del-real", "-u", LISTEN, "-r", real)
                lbd.ctl("add-real", "-u", LISTEN, "-r", f"{REALS['rs3']}:5300", "-m", "-w", 1)
                new.sendto(b"late", (VIP, 5300))
                data, peer = late.recvfrom(100)
                lbd.ctl("del-real", "-u", LISTEN, "-r", f"{REALS['rs3']}:5300")
                lbd.ctl("add-real", "-u", LISTEN, "-r", left, "-m", "-w", 1)
                late.sendto(data, peer)
                assert new.recvfrom(100) == (b"late", (VIP, 5300))
                assert set(ask(new, range(4)).values()) == {"rs2:5301"}


@test()
def datagrams_in_fragments_arrive_whole(bed):
    with servers(bed) as reals, bed.lbd() as lbd:
        lbd.add_service("udp", LISTEN, reals, "-s", "rr", "-o")
        # On a busy machine a kernel may lose a piece of a datagram, here or at the far end: so more are sent than there
        # are reals. What arrives is whole.
        with contextlib.closing(udp_socket(bed, "client", seconds=2)) as client:
            sent, reached = set(), set()
            for number in range(16):
                text = f"{number:05d}" * 1200
                sent.add(text)
                client.sendto(text.encode(), (VIP, 5300))
                with contextlib.suppress(TimeoutError):
                    data, source = client.recvfrom(65535)
                    name, echoed = data.decode().split()
                    assert echoed in sent and source == (VIP, 5300)
                    reached.add(name)
            assert len(reached) == 4, reached
