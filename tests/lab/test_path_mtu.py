"""Path-MTU discovery through the balancer, in both directions."""

import errno
import hashlib
import os
import re
import socket

from .capture import TOO_BIG, Capture, packets
from .families import BOTH, IPV4, IPV6
from .runner import test
from .sockets import MTU_DISCOVER, udp_echo, udp_socket
from .test_gateway import far_client, far_config, route_to_the_reals
from .testbed import PATIENCE

PMTUDISC_DO = 2
# The level and the name of what tells a connected socket's path MTU.
PATH_MTU = {IPV4: (socket.IPPROTO_IP, 14), IPV6: (socket.IPPROTO_IPV6, 24)}


def services(ip):
    return [("tcp", ip.at(ip.vip, 80), ip.pool([1])), ("udp", ip.at(ip.vip, 5000), ip.pool([1], 5000))]


def with_mtu(bed, side, mtu):
    config = bed.config()
    next(port for port in config["port"] if port["side"] == side)["mtu"] = mtu
    return config


def forget_path_mtu(bed):
    for host in ("client", "rs1"):
        bed.run(host, "ip", bed.ip.flag, "route", "flush", "cache")


def learned_mtu(bed, host, target):
    found = re.search(r"mtu (\d+)", bed.run(host, "ip", "route", "get", target).stdout)
    return int(found[1]) if found else None


def reporters(bed, frames):
    """The routers that said that a packet is too big."""
    return {p.source[0] for p in packets(frames) if p.icmp == TOO_BIG[bed.ip]}


def udp_path_mtu(bed, client, target, size=1500):
    """What a connected socket learns by sending a packet of this size that must not be fragmented."""
    client.setsockopt(*MTU_DISCOVER[bed.ip], PMTUDISC_DO)
    client.connect(target)
    try:
        client.send(bytes(bed.ip.largest(size)))
        client.recv(2000)
    except OSError as error:
        assert error.errno == errno.EMSGSIZE, error
    return client.getsockopt(*PATH_MTU[bed.ip])


def upload(bed, size=1_000_000):
    sent, stored = bed.dir / "sent", bed.dir / "rs1" / "files" / "stored"
    sent.write_bytes(os.urandom(size))
    bed.run("client", "curl", "-sSf", "--max-time", PATIENCE, "-H", "Expect:", "-T", sent, bed.ip.url("/files/stored"))
    assert stored.read_bytes() == sent.read_bytes()


def download(bed, host, size=1_000_000):
    served = bed.dir / "rs1" / "files" / "served"
    served.write_bytes(os.urandom(size))
    done = bed.run(host, "sh", "-c", f"curl -sSf --max-time {PATIENCE} {bed.ip.url('/files/served')} | sha256sum")
    assert done.stdout.split()[0] == hashlib.sha256(served.read_bytes()).hexdigest()


@test(families=BOTH)
def a_smaller_mtu_towards_the_reals(bed):
    forget_path_mtu(bed)
    with udp_echo(bed, "rs1", 5000), bed.lbd(with_mtu(bed, "dip", 1400), services=services(bed.ip)):
        with Capture(bed, "client", "eth0", bed.ip.icmp) as capture:
            with udp_socket(bed, "client") as client:
                assert udp_path_mtu(bed, client, (bed.ip.vip, 5000)) == 1400
                largest = bytes(bed.ip.largest(1400))
                client.send(largest)
                assert client.recv(2000) == largest
            upload(bed)
        assert reporters(bed, capture.frames) == {bed.ip.vip}
        assert learned_mtu(bed, "client", bed.ip.vip) == 1400
    forget_path_mtu(bed)


@test(families=BOTH)
def a_smaller_mtu_towards_the_client(bed):
    forget_path_mtu(bed)
    with bed.lbd(with_mtu(bed, "vip", 1400), services=services(bed.ip)):
        with Capture(bed, "rs1", "eth0", bed.ip.icmp) as capture:
            download(bed, "client")
        assert reporters(bed, capture.frames) == {bed.ip.dip}
        assert learned_mtu(bed, "rs1", bed.ip.client) == 1400
    forget_path_mtu(bed)


@test(families=BOTH)
def a_smaller_mtu_behind_a_router_of_the_client(bed):
    forget_path_mtu(bed)
    with far_client(bed, mtu=1300), bed.lbd(far_config(bed), services=services(bed.ip)):
        with Capture(bed, "rs1", "eth0", bed.ip.icmp) as capture:
            download(bed, "far")
        # The router spoke to the VIP; the real gets the message with the router's address, about its own packet.
        assert reporters(bed, capture.frames) == {bed.ip.client}
        assert learned_mtu(bed, "rs1", bed.ip.far) == 1300
    forget_path_mtu(bed)


@test(families=BOTH)
def a_smaller_mtu_for_routed_packets(bed):
    forget_path_mtu(bed)
    with route_to_the_reals(bed), udp_echo(bed, "rs1", 5005), bed.lbd(with_mtu(bed, "dip", 1400), services=services(bed.ip)):
        with udp_socket(bed, "client") as client:
            assert udp_path_mtu(bed, client, (bed.ip.reals["rs1"], 5005)) == 1400
    forget_path_mtu(bed)
