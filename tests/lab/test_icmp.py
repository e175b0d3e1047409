"""What the balancer answers itself: ping, closed ports, services without reals, and traceroute's probes."""

import re

from .capture import ETHERNET_HEADER, PORT_UNREACHABLE, Capture, packets
from .families import BOTH
from .runner import test
from .sockets import connect, udp_socket
from .test_gateway import far_client, far_config, route_to_the_reals
from .test_fragments import on_pcap
from .test_path_mtu import services
from .testbed import MACS, PATIENCE


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


@test(families=BOTH)
def own_addresses_answer_ping(bed):
    with route_to_the_reals(bed), bed.lbd(services=services(bed.ip)):
        vip, dip = bed.ip.vip, bed.ip.dip
        for host, address in (("client", vip), ("client", dip), ("rs1", dip), ("rs2", dip), ("rs1", vip)):
            # One at a time: for the last of several ping waits twice as long as the others took, and no longer.
            for _ in range(2):
                out = bed.run(host, "ping", "-c", 1, "-W", PATIENCE, address).stdout
                assert "ttl=64" in out, out
        for size in (0, 1, 55, bed.ip.largest()):
            bed.run("client", "ping", "-c", 1, "-W", PATIENCE, "-s", size, vip)


@test(families=BOTH)
def pings_longer_than_the_mtu_are_answered(bed):
    # On a device that hands over fragments as they are, and one whose kernel puts them together.
    for config in (None, on_pcap(bed)):
        with bed.lbd(config, services=services(bed.ip)) as lbd:
            for host, address in (("client", bed.ip.vip), ("rs1", bed.ip.dip)):
                for size in (bed.ip.largest() + 1, 2000, 65_507):
                    bed.run(host, "ping", "-c", 1, "-W", PATIENCE, "-s", size, address)
            assert lbd.has_its_buffers_back(), lbd.buffers()


@test(families=BOTH)
def pings_longer_than_the_mtu_of_the_port_alone_are_answered(bed):
    config = on_pcap(bed)
    for port in config["port"]:
        port["mtu"] = 1400
    with bed.lbd(config, services=services(bed.ip)) as lbd:
        for host, address, own in (("client", bed.ip.vip, "vip0"), ("rs1", bed.ip.dip, "dip0")):
            with Capture(bed, host, "eth0", f"ether src {MACS[own]}") as capture:
                for size in (bed.ip.largest(), 4000, 60_000):
                    bed.run(host, "ping", "-c", 1, "-W", PATIENCE, "-s", size, address)
            lengths = [len(frame) - ETHERNET_HEADER for frame in capture.frames]
            # The last ping alone has forty packets of 1,500 bytes.
            assert max(lengths) <= 1400 and len(lengths) > 80, lengths
        drops = lbd.json("status")["drops"]
        assert "would_fragment" not in drops, drops
        assert lbd.has_its_buffers_back(), lbd.buffers()


@test(families=BOTH)
def closed_ports_are_refused(bed):
    with bed.lbd(services=services(bed.ip)):
        is_refused(lambda: connect(bed, "client", (bed.ip.vip, 81)), ConnectionRefusedError)
        with udp_socket(bed, "client") as client:
            client.connect((bed.ip.vip, 81))
            client.send(b"anyone?")
            is_refused(lambda: client.recv(1), ConnectionRefusedError)


@test(families=BOTH)
def a_service_without_reals_is_unreachable(bed):
    with bed.lbd() as lbd:
        lbd.ctl("add-service", "-t", bed.ip.at(bed.ip.vip, 80))
        lbd.ctl("add-service", "-u", bed.ip.at(bed.ip.vip, 5000))
        with Capture(bed, "client", "eth0", bed.ip.icmp) as capture:
            is_refused(lambda: connect(bed, "client", (bed.ip.vip, 80)), ConnectionRefusedError)
        # More than one where the client's kernel drops the first: see is_refused.
        answers = {(p.source[0], p.icmp) for p in packets(capture.frames)}
        assert answers == {(bed.ip.vip, PORT_UNREACHABLE[bed.ip])}, answers
        with udp_socket(bed, "client") as client:
            client.connect((bed.ip.vip, 5000))
            client.send(b"anyone?")
            is_refused(lambda: client.recv(1), ConnectionRefusedError)
        assert lbd.json("status")["drops"]["no_real"] >= 2


@test(families=BOTH)
def a_segment_without_connection_is_reset(bed):
    with bed.lbd(services=services(bed.ip)) as lbd:
        client = connect(bed, "client", (bed.ip.vip, 80))
        client.sendall(b"GET / HTTP/1.0\r\n")
        # The connection is forgotten with the daemon; the next segment meets a new one.
        lbd.kill()
        lbd.start()
        lbd.add_service(*services(bed.ip)[0])
        is_refused(lambda: (client.sendall(b"\r\n"), client.recv(1)), ConnectionResetError)


@test(families=BOTH)
def traceroute_to_the_service(bed):
    with bed.lbd(services=services(bed.ip)):
        # Probes do not wait for a MAC as TCP does. A time exceeded goes back to where its probe came from and needs
        # none, but the real's answers wait until the client's MAC is known.
        bed.curl()
        vip = bed.ip.vip
        expect(hops(bed, "client", "-T", "-p", 80, vip), [vip, vip])
        expect(hops(bed, "client", "-U", "-p", 5000, vip), [vip, vip])


@test(families=BOTH)
def traceroute_through_the_balancer(bed):
    with route_to_the_reals(bed), far_client(bed), bed.lbd(far_config(bed), services=services(bed.ip)):
        ip, rs1 = bed.ip, bed.ip.reals["rs1"]
        for kind in ([], ["-I"]):
            expect(hops(bed, "client", *kind, rs1), [ip.vip, rs1])
            expect(hops(bed, "rs1", *kind, ip.client), [ip.dip, ip.client])
            expect(hops(bed, "rs1", *kind, ip.far), [ip.dip, ip.client, ip.far])
            expect(hops(bed, "far", *kind, rs1), [ip.far_router, ip.vip, rs1])
        expect(hops(bed, "far", "-T", "-p", 80, ip.vip), [ip.far_router, ip.vip, ip.vip])
