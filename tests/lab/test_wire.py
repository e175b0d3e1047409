"""Every packet that leaves the balancer, compared byte by byte with the one that came in."""

import os
import socket
from collections import Counter
from dataclasses import replace

from .capture import Capture, mac, packets
from .families import BOTH, IPV4
from .runner import test
from .sockets import receive, udp_echo, udp_socket
from .testbed import MACS, PATIENCE

SO_NO_CHECK = 11


def services(ip):
    return [("tcp", ip.at(ip.vip, 80), [(ip.real("rs1", 8080), 1), (ip.real("rs2", 80), 1)]),
            ("udp", ip.at(ip.vip, 5000), [(ip.real("rs1", 5000), 1), (ip.real("rs2", 5001), 1)])]


def captured(bed, host, device):
    """The packets of this family, without what IPv6 has in place of ARP."""
    return Capture(bed, host, device, "ip" if bed.ip is IPV4 else "ip6")


def traffic(bed):
    payload = bed.dir / "payload"
    payload.write_bytes(os.urandom(300_001))
    for real in ("rs1", "rs2"):
        (bed.dir / real / "files" / "payload").write_bytes(payload.read_bytes())
    for _ in range(20):
        bed.curl()
    for _ in range(4):
        bed.run("client", "curl", "-sSf", "--max-time", PATIENCE, "-o", "/dev/null", bed.ip.url("/files/payload"))
        bed.run("client", "curl", "-sSf", "--max-time", PATIENCE, "-H", "Expect:", "-T", payload, bed.ip.url("/files/put"))
    # UDP over IPv6 has a checksum always.
    for checksums in (True, False) if bed.ip is IPV4 else (True,):
        for size in (0, 1, 2, 3, 17, 18, 19, 20, 511, bed.ip.largest() - 1, bed.ip.largest()):
            with udp_socket(bed, "client") as client:
                client.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, not checksums)
                sent = os.urandom(size)
                client.sendto(sent, (bed.ip.vip, 5000))
                assert client.recvfrom(2000)[0] == sent


@test(families=BOTH)
def checksums_ttl_and_bytes_of_every_packet(bed):
    with udp_echo(bed, "rs1", 5000), udp_echo(bed, "rs2", 5001), bed.lbd(services=services(bed.ip)) as lbd:
        with captured(bed, "client", "eth0") as outside, captured(bed, "sw", "p0") as inside:
            traffic(bed)
        stats = lbd.json("stats")["services"]
    from_client = [p for p in packets(outside.frames) if p.source_mac == mac(MACS["client"])]
    to_client = [p for p in packets(outside.frames) if p.source_mac == mac(MACS["vip0"])]
    to_reals = [p for p in packets(inside.frames) if p.source_mac == mac(MACS["dip0"])]
    from_reals = [p for p in packets(inside.frames) if p.source_mac != mac(MACS["dip0"])]
    assert len(from_client) > 1000 and len(from_reals) > 1000, "the traffic was not captured"

    host = {address: name for name, address in bed.ip.reals.items()}
    real_of = {(p.protocol, p.source): p.target for p in to_reals}
    # Hosts may still send for connections of the test before, which this lbd does not know. Traffic of this
    # test that does not reach a real at all fails in traffic() itself.
    from_client = [p for p in from_client if (p.protocol, p.source) in real_of]
    to_client = [p for p in to_client if (p.protocol, p.target) in real_of]
    from_reals = [p for p in from_reals if (p.protocol, p.target) in real_of]

    def inwards(packet):
        real = real_of[packet.protocol, packet.source]
        return replace(packet, source_mac=mac(MACS["dip0"]), target_mac=mac(MACS[host[real[0]]]), ttl=packet.ttl - 1, target=real)

    def outwards(packet):
        vip = (bed.ip.vip, {6: 80, 17: 5000}[packet.protocol])
        return replace(packet, source_mac=mac(MACS["vip0"]), target_mac=mac(MACS["client"]), ttl=packet.ttl - 1, source=vip)

    same("towards the reals", [inwards(p) for p in from_client], to_reals)
    same("towards the client", [outwards(p) for p in from_reals], to_client)

    for direction, passed in (("in", to_reals), ("out", to_client)):
        assert sum(s[f"{direction}_packets"] for s in stats) == len(passed)
        assert sum(s[f"{direction}_bytes"] for s in stats) == sum(p.length for p in passed)


def same(direction, expected, found):
    missing, surplus = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    assert not missing and not surplus, (f"{direction}: {len(expected)} came in, {len(found)} left; "
                                         f"expected but not seen: {list(missing)[:2]}, seen but not expected: {list(surplus)[:2]}")


@test(families=BOTH)
def icmp_errors_are_translated_with_what_they_quote(bed):
    ip, rs1 = bed.ip, bed.ip.reals["rs1"]
    services = [("udp", ip.at(ip.vip, 5001), [(ip.at(rs1, 5999), 1)]), ("udp", ip.at(ip.vip, 5002), [(ip.at(rs1, 5998), 1)])]
    with bed.lbd(services=services), captured(bed, "client", "eth0") as outside, captured(bed, "sw", "p0") as inside:
        # The real's port is closed: its port unreachable reaches the client's socket.
        with udp_socket(bed, "client") as client:
            client.connect((ip.vip, 5001))
            client.send(b"anyone?")
            refused(lambda: client.recv(1))
        # The client's port is closed by the time of the answer: the real's socket hears of it.
        with udp_socket(bed, "rs1", 5998) as server:
            with udp_socket(bed, "client") as client:
                client.sendto(b"question", (ip.vip, 5002))
                _, peer = receive(server)
            server.connect(peer)
            server.send(b"answer")
            refused(lambda: server.recv(1))
    # Their own checksums were verified in parsing; the quoted headers name the receiver's own view.
    quoted = [(p.source[0], p.target[0]) for p in packets(outside.frames + inside.frames) if p.icmp]
    assert Counter(quoted) == Counter({(ip.vip, ip.client): 1, (ip.client, ip.vip): 1, (rs1, ip.client): 1,
                                       (ip.client, rs1): 1}), quoted


def refused(call):
    try:
        call()
    except ConnectionRefusedError:
        return
    raise AssertionError("no ICMP error arrived")
