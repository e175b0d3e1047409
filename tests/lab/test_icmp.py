"""What the balancer answers itself: ping, closed ports, services without reals, and traceroute's probes."""

import re

from .capture import Capture, packets
from .runner import test
from .sockets import connect, udp_socket
from .test_gateway import FAR, FAR_ROUTER, far_client, far_config, route_to_the_reals
from .test_fragments import on_pcap
from .test_noise import buffers
from .testbed import CLIENT, PATIENCE, REALS, VIP, wait_for

RS1, DIP = REALS["rs1"], "10.0.0.8"
SERVICES = [("tcp", f"{VIP}:80", [(f"{RS1}:80", 1)]), ("udp", f"{VIP}:5000", [(f"{RS1}:5000", 1)])]


def hops(bed, host, *words):
    """The address at each hop of a traceroute. It sends each probe once, so that a lost one is a silent hop for it: a
    trace with such a hop is taken again."""
    for _ in range(10):
        out = bed.run(host, "traceroute", "-n", "-q", 1, "-w", 5, "-m", 6, *words).stdout
        found = re.findall(r"^ *\d+  (\S+)", out, re.MULTILINE)
        if "*" not in found:
            break
    return found


def expect(found, expected):
    assert found == expected, f"expected {expected}, found {found}"


def is_refused(call, error):
    """What comes is this error: without an answer the socket's own timeout would end the call, with another one. An ICMP
    error that comes while the socket is in use is dropped by the client's kernel (it counts LockDroppedIcmps), and the SYN
    sent again after a second."""
    try:
        call()
    except error:
        return
    raise AssertionError("not refused")


@test()
def own_addresses_answer_ping(bed):
    with route_to_the_reals(bed), bed.lbd(services=SERVICES):
        for host, address in (("client", VIP), ("client", DIP), ("rs1", DIP), ("rs2", DIP), ("rs1", VIP)):
            # One at a time: for the last of several ping waits twice as long as the others took, and no longer.
            for _ in range(2):
                out = bed.run(host, "ping", "-c", 1, "-W", PATIENCE, address).stdout
                assert "ttl=64" in out, out
        for size in (0, 1, 55, 1472):
            bed.run("client", "ping", "-c", 1, "-W", PATIENCE, "-s", size, VIP)


@test()
def pings_longer_than_the_mtu_are_answered(bed):
    # On a device that hands over fragments as they are, and one whose kernel puts them together.
    for config in (None, on_pcap(bed)):
        with bed.lbd(config, services=SERVICES) as lbd:
            for host, address in (("client", VIP), ("rs1", DIP)):
                for size in (1473, 2000, 65_507):
                    bed.run(host, "ping", "-c", 1, "-W", PATIENCE, "-s", size, address)
            assert wait_for(lambda: set(buffers(lbd)) == {0}), buffers(lbd)


@test()
def closed_ports_are_refused(bed):
    with bed.lbd(services=SERVICES):
        is_refused(lambda: connect(bed, "client", (VIP, 81)), ConnectionRefusedError)
        with udp_socket(bed, "client") as client:
            client.connect((VIP, 81))
            client.send(b"anyone?")
            is_refused(lambda: client.recv(1), ConnectionRefusedError)


@test()
def a_service_without_reals_is_unreachable(bed):
    with bed.lbd() as lbd:
        lbd.ctl("add-service", "-t", f"{VIP}:80")
        lbd.ctl("add-service", "-u", f"{VIP}:5000")
        with Capture(bed, "client", "eth0", "icmp") as capture:
            is_refused(lambda: connect(bed, "client", (VIP, 80)), ConnectionRefusedError)
        # More than one where the client's kernel drops the first: see is_refused.
        answers = {(p.source[0], p.icmp) for p in packets(capture.frames)}
        assert answers == {(VIP, (3, 3))}, answers
        with udp_socket(bed, "client") as client:
            client.connect((VIP, 5000))
            client.send(b"anyone?")
            is_refused(lambda: client.recv(1), ConnectionRefusedError)
        assert lbd.json("status")["drops"]["no_real"] >= 2


@test()
def a_segment_without_connection_is_reset(bed):
    with bed.lbd(services=SERVICES) as lbd:
        client = connect(bed, "client", (VIP, 80))
        client.sendall(b"GET / HTTP/1.0\r\n")
        # The connection is forgotten with the daemon; the next segment meets a new one.
        lbd.kill()
        lbd.start()
        lbd.add_service(*SERVICES[0])
        is_refused(lambda: (client.sendall(b"\r\n"), client.recv(1)), ConnectionResetError)


@test()
def traceroute_to_the_service(bed):
    with bed.lbd(services=SERVICES):
        # Probes do not wait for ARP as TCP does. A time exceeded goes back to where its probe came from and needs no
        # ARP, but the real's answers wait until the client's MAC is known.
        bed.curl()
        expect(hops(bed, "client", "-T", "-p", 80, VIP), [VIP, VIP])
        expect(hops(bed, "client", "-U", "-p", 5000, VIP), [VIP, VIP])


@test()
def traceroute_through_the_balancer(bed):
    with route_to_the_reals(bed), far_client(bed), bed.lbd(far_config(bed), services=SERVICES):
        for kind in ([], ["-I"]):
            expect(hops(bed, "client", *kind, RS1), [VIP, RS1])
            expect(hops(bed, "rs1", *kind, CLIENT), [DIP, CLIENT])
            expect(hops(bed, "rs1", *kind, FAR), [DIP, CLIENT, FAR])
            expect(hops(bed, "far", *kind, RS1), [FAR_ROUTER, VIP, RS1])
        expect(hops(bed, "far", "-T", "-p", 80, VIP), [FAR_ROUTER, VIP, VIP])
