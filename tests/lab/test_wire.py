"""Every packet that leaves the balancer, compared byte by byte with the one that came in."""

import os
import socket
from collections import Counter
from dataclasses import replace

from .capture import Capture, mac, packets
from .runner import test
from .sockets import udp_echo, udp_socket
from .testbed import CLIENT, MACS, PATIENCE, REALS, VIP

SO_NO_CHECK = 11
SERVICES = [("tcp", f"{VIP}:80", [(f"{REALS['rs1']}:8080", 1), (f"{REALS['rs2']}:80", 1)]),
            ("udp", f"{VIP}:5000", [(f"{REALS['rs1']}:5000", 1), (f"{REALS['rs2']}:5001", 1)])]


def traffic(bed):
    payload = bed.dir / "payload"
    payload.write_bytes(os.urandom(300_001))
    for real in ("rs1", "rs2"):
        (bed.dir / real / "files" / "payload").write_bytes(payload.read_bytes())
    for _ in range(20):
        bed.curl()
    for _ in range(4):
        bed.run("client", "curl", "-sSf", "--max-time", PATIENCE, "-o", "/dev/null", f"http://{VIP}/files/payload")
        bed.run("client", "curl", "-sSf", "--max-time", PATIENCE, "-H", "Expect:", "-T", payload, f"http://{VIP}/files/put")
    for checksums in (True, False):
        for size in (0, 1, 2, 3, 17, 18, 19, 20, 511, 1471, 1472):
            with udp_socket(bed, "client") as client:
                client.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, not checksums)
                sent = os.urandom(size)
                client.sendto(sent, (VIP, 5000))
                assert client.recvfrom(2000)[0] == sent


@test()
def checksums_ttl_and_bytes_of_every_packet(bed):
    with udp_echo(bed, "rs1", 5000), udp_echo(bed, "rs2", 5001), bed.lbd(services=SERVICES) as lbd:
        with Capture(bed, "client", "eth0", "ip") as outside, Capture(bed, "sw", "p0", "ip") as inside:
            traffic(bed)
        stats = lbd.json("stats")["services"]
    from_client = [p for p in packets(outside.frames) if p.source_mac == mac(MACS["client"])]
    to_client = [p for p in packets(outside.frames) if p.source_mac == mac(MACS["vip0"])]
    to_reals = [p for p in packets(inside.frames) if p.source_mac == mac(MACS["dip0"])]
    from_reals = [p for p in packets(inside.frames) if p.source_mac != mac(MACS["dip0"])]
    assert len(from_client) > 1000 and len(from_reals) > 1000, "the traffic was not captured"

    host = {address: name for name, address in REALS.items()}
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
        vip = (VIP, {6: 80, 17: 5000}[packet.protocol])
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


@test()
def icmp_errors_are_translated_with_what_they_quote(bed):
    services = [("udp", f"{VIP}:5001", [(f"{REALS['rs1']}:5999", 1)]), ("udp", f"{VIP}:5002", [(f"{REALS['rs1']}:5998", 1)])]
    with bed.lbd(services=services), Capture(bed, "client", "eth0", "ip") as outside, Capture(bed, "sw", "p0", "ip") as inside:
        # The real's port is closed: its port unreachable reaches the client's socket.
        with udp_socket(bed, "client") as client:
            client.connect((VIP, 5001))
            client.send(b"anyone?")
            refused(lambda: client.recv(1))
        # The client's port is closed by the time of the answer: the real's socket hears of it.
        with udp_socket(bed, "rs1", 5998) as server:
            with udp_socket(bed, "client") as client:
                client.sendto(b"question", (VIP, 5002))
                _, peer = server.recvfrom(100)
            server.connect(peer)
            server.send(b"answer")
            refused(lambda: server.recv(1))
    # Their own checksums were verified in parsing; the quoted headers name the receiver's own view.
    quoted = [(p.source[0], p.target[0]) for p in packets(outside.frames + inside.frames) if p.protocol == 1]
    assert Counter(quoted) == Counter({(VIP, CLIENT): 1, (CLIENT, VIP): 1, (REALS["rs1"], CLIENT): 1,
                                       (CLIENT, REALS["rs1"]): 1}), quoted


def refused(call):
    try:
        call()
    except ConnectionRefusedError:
        return
    raise AssertionError("no ICMP error arrived")
