"""Bulk transfers, many connections, datagrams of every size."""

import hashlib
import os

from .families import BOTH
from .runner import test
from .sockets import receive, udp_echo, udp_socket

LARGE = 100_000_000


def web(bed, reals):
    return "tcp", bed.ip.at(bed.ip.vip, 80), bed.ip.pool([1] * reals)


def echo(bed, *reals):
    return "udp", bed.ip.at(bed.ip.vip, 5000), [(bed.ip.real(name, 5000), 1) for name in reals]


def two_thousand(bed, family):
    """That many requests, each over a connection of its own, fifty at a time: all are answered."""
    done = bed.run("client", "curl", "-sS", "--max-time", 200, "--parallel", "--parallel-immediate", "--parallel-max", 50,
                   "-H", "Connection: close", "-w", "%{http_code} %{errormsg}\n", family.url("/?[1-2000]"), timeout=220)
    codes = [line for line in done.stdout.splitlines() if not line.startswith(tuple(family.reals.values()))]
    assert len(codes) == 2000 and all(code.startswith("200") for code in codes), [c for c in codes if not c.startswith("200")][:5]


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@test(families=BOTH)
def a_large_download_arrives_intact(bed):
    served, received = bed.dir / "rs1" / "files" / "large", bed.dir / "received"
    served.write_bytes(os.urandom(LARGE))
    with bed.lbd(services=[web(bed, 1)]):
        bed.run("client", "curl", "-sSf", "--max-time", 200, "-o", received, bed.ip.url("/files/large"), timeout=220)
    assert received.stat().st_size == LARGE and digest(received) == digest(served)
    received.unlink()
    served.unlink()


@test(families=BOTH)
def a_large_upload_arrives_intact(bed):
    sent, stored = bed.dir / "sent", bed.dir / "rs1" / "files" / "stored"
    sent.write_bytes(os.urandom(LARGE))
    with bed.lbd(services=[web(bed, 1)]):
        bed.run("client", "curl", "-sSf", "--max-time", 200, "-H", "Expect:", "-T", sent, bed.ip.url("/files/stored"),
                timeout=220)
    assert stored.stat().st_size == LARGE and digest(stored) == digest(sent)
    sent.unlink()
    stored.unlink()


@test(families=BOTH)
def two_thousand_connections_fifty_at_a_time(bed):
    with bed.lbd(services=[web(bed, 3)]) as lbd:
        two_thousand(bed, bed.ip)
        stats = lbd.service("stats")
        # A real may still know a connection of the test before from the same client port: it does not take the SYN,
        # and the client's next one on the closed connection is scheduled anew, which counts again (as in IPVS).
        assert 2000 <= stats["conns"] <= 2010, stats
        # Each worker goes round by itself.
        assert max(real["conns"] for real in stats["reals"]) <= -(-stats["conns"] // 3) + bed.workers - 1, stats


@test(families=BOTH)
def datagrams_of_every_size_are_echoed(bed):
    with udp_echo(bed, "rs1", 5000), bed.lbd(services=[echo(bed, "rs1")]):
        with udp_socket(bed, "client") as client:
            client.connect((bed.ip.vip, 5000))
            for size in range(1, bed.ip.largest() + 1):
                sent = os.urandom(size)
                client.send(sent)
                assert client.recv(2000) == sent, size


@test(families=BOTH)
def datagrams_alternate_by_client_port(bed):
    with udp_echo(bed, "rs1", 5000), udp_echo(bed, "rs2", 5000), bed.lbd(services=[echo(bed, "rs1", "rs2")]) as lbd:
        for _ in range(10):
            with udp_socket(bed, "client") as client:
                for text in (b"first", b"second"):
                    client.sendto(text, (bed.ip.vip, 5000))
                    assert receive(client) == (text, (bed.ip.vip, 5000))
        shares = [real["conns"] for real in lbd.service("stats")["reals"]]
        assert sum(shares) == 10 and max(shares) < 5 + bed.workers, shares
