"""Path-MTU discovery through the balancer, in both directions."""

import errno
import hashlib
import os
import re
import socket

from .capture import Capture, packets
from .runner import test
from .sockets import udp_echo, udp_socket
from .test_gateway import far_client, far_config, route_to_the_reals
from .testbed import CLIENT, PATIENCE, REALS, VIP

RS1, DIP = REALS["rs1"], "10.0.0.8"
SERVICES = [("tcp", f"{VIP}:80", [(f"{RS1}:80", 1)]), ("udp", f"{VIP}:5000", [(f"{RS1}:5000", 1)])]
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14


def with_mtu(bed, side, mtu):
    config = bed.config()
    next(port for port in config["port"] if port["side"] == side)["mtu"] = mtu
    return config


def forget_path_mtu(bed):
    for host in ("client", "rs1"):
        bed.run(host, "ip", "route", "flush", "cache")


def learned_mtu(bed, host, target):
    found = re.search(r"mtu (\d+)", bed.run(host, "ip", "route", "get", target).stdout)
    return int(found[1]) if found else None


def reporters(frames):
    """The routers that said that fragmentation is needed."""
    return {p.source[0] for p in packets(frames) if p.icmp == (3, 4)}


def udp_path_mtu(client, target, size=1500):
    """What a connected socket learns by sending a packet of this size that must not be fragmented."""
    client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    client.connect(target)
    try:
        client.send(bytes(size - 28))
        client.recv(2000)
    except OSError as error:
        assert error.errno == errno.EMSGSIZE, error
    return client.getsockopt(socket.IPPROTO_IP, IP_MTU)


def upload(bed, size=1_000_000):
    sent, stored = bed.dir / "sent", bed.dir / "rs1" / "files" / "stored"
    sent.write_bytes(os.urandom(size))
    bed.run("client", "curl", "-sSf", "--max-time", PATIENCE, "-H", "Expect:", "-T", sent, f"http://{VIP}/files/stored")
    assert stored.read_bytes() == sent.read_bytes()


def download(bed, host, size=1_000_000):
    served = bed.dir / "rs1" / "files" / "served"
    served.write_bytes(os.urandom(size))
    done = bed.run(host, "sh", "-c", f"curl -sSf --max-time {PATIENCE} http://{VIP}/files/served | sha256sum")
    assert done.stdout.split()[0] == hashlib.sha256(served.read_bytes()).hexdigest()


@test()
def a_smaller_mtu_towards_the_reals(bed):
    forget_path_mtu(bed)
    with udp_echo(bed, "rs1", 5000), bed.lbd(with_mtu(bed, "dip", 1400), services=SERVICES):
        with Capture(bed, "client", "eth0", "icmp") as capture:
            with udp_socket(bed, "client") as client:
                assert udp_path_mtu(client, (VIP, 5000)) == 1400
                client.send(bytes(1372))
                assert client.recv(2000) == bytes(1372)
            upload(bed)
        assert reporters(capture.frames) == {VIP}
        assert learned_mtu(bed, "client", VIP) == 1400
    forget_path_mtu(bed)


@test()
def a_smaller_mtu_towards_the_client(bed):
    forget_path_mtu(bed)
    with bed.lbd(with_mtu(bed, "vip", 1400), services=SERVICES):
        with Capture(bed, "rs1", "eth0", "icmp") as capture:
            download(bed, "client")
        assert reporters(capture.frames) == {DIP}
        assert learned_mtu(bed, "rs1", CLIENT) == 1400
    forget_path_mtu(bed)


@test()
def a_smaller_mtu_behind_a_router_of_the_client(bed):
    forget_path_mtu(bed)
    with far_client(bed, mtu=1300), bed.lbd(far_config(bed), services=SERVICES):
        with Capture(bed, "rs1", "eth0", "icmp") as capture:
            download(bed, "far")
        # The router spoke to the VIP; the real gets the message with the router's address, about its own packet.
        assert reporters(capture.frames) == {CLIENT}
        assert learned_mtu(bed, "rs1", "172.16.9.2") == 1300
    forget_path_mtu(bed)


@test()
def a_smaller_mtu_for_routed_packets(bed):
    forget_path_mtu(bed)
    with route_to_the_reals(bed), udp_echo(bed, "rs1", 5005), bed.lbd(with_mtu(bed, "dip", 1400), services=SERVICES):
        with udp_socket(bed, "client") as client:
            assert udp_path_mtu(client, (RS1, 5005)) == 1400
    forget_path_mtu(bed)
