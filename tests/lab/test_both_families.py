"""IPv4 and IPv6 beside each other, on the same interfaces and the same workers."""

import os
import threading

from .capture import Capture
from .families import BOTH, IPV4, IPV6
from .runner import test
from .sockets import connect, may_be_cut, receive, udp_echo, udp_socket
from .test_fragments import on_pcap
from .test_icmp import hops, is_refused
from .test_path_mtu import forget_path_mtu
from .test_transfer import two_thousand
from .testbed import PATIENCE, has_ipv6, wait_for
from .tshark import faults, spoilt, verified


def services(reals=2):
    """In each family: web servers' port 8080 behind port 80, and an echo of datagrams."""
    return [service for ip in BOTH for service in (
        ("tcp", ip.at(ip.vip, 80), ip.pool([1] * reals, 8080)), ("udp", ip.at(ip.vip, 5000), ip.pool([1], 5000)))]


def each_family(bed):
    for ip in BOTH:
        bed.speak(ip)
        yield ip


@test()
def each_has_its_own_turn(bed):
    bed.speak(IPV6)
    with bed.lbd(bed.config(workers=1), services=services()) as lbd:
        for name in ["rs2", "rs1"] * 3:
            for ip in each_family(bed):
                answer = bed.curl()
                assert answer == f"{ip.reals[name]} {name}\n", answer
        both = lambda: [sum(real["conns"] for real in service["reals"]) for service in lbd.json("stats")["services"]
                        if service["protocol"] == "TCP"]
        assert both() == [6, 6], lbd.json("stats")


@test()
def two_thousand_connections_of_each_at_once(bed):
    bed.speak(IPV6)
    failures = []

    def run(ip):
        try:
            two_thousand(bed, ip)
        except AssertionError as failure:
            failures.append((ip.name, failure))

    with bed.lbd(services=services(3)) as lbd:
        threads = [threading.Thread(target=run, args=(ip,)) for ip in BOTH]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures
        conns = {service["address"]: service["conns"] for service in lbd.json("stats")["services"] if service["protocol"] == "TCP"}
        # A few more where a client's port was in use before: see two_thousand_connections_fifty_at_a_time.
        assert conns.keys() == {IPV4.vip, IPV6.vip} and all(2000 <= count <= 2010 for count in conns.values()), conns


@test()
def one_goes_on_when_the_other_has_no_service_any_more(bed):
    bed.speak(IPV6)
    with bed.lbd(services=services()) as lbd:
        client = {}
        for ip in each_family(bed):
            client[ip] = connect(bed, "client", (ip.vip, 80))
        for gone, other in (IPV4, IPV6), (IPV6, IPV4):
            bed.speak(other)
            lbd.ctl("del-service", "-t", gone.at(gone.vip, 80))
            client[other].sendall(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")
            assert client[other].recv(1000).startswith(b"HTTP/1.1 200"), other.name
            assert "rs" in bed.curl()
            lbd.add_service("tcp", gone.at(gone.vip, 80), gone.pool(port=8080))
            bed.speak(gone)
            assert "rs" in bed.curl()


def traffic(bed, ip):
    """Some of each kind."""
    payload = bed.dir / "payload"
    payload.write_bytes(os.urandom(200_001))
    for real in ("rs1", "rs2"):
        (bed.dir / real / "files" / "payload").write_bytes(payload.read_bytes())
    for _ in range(4):
        bed.curl()
        bed.run("client", "curl", "-sSf", "--max-time", PATIENCE, "-o", "/dev/null", ip.url("/files/payload"))
        bed.run("client", "curl", "-sSf", "--max-time", PATIENCE, "-H", "Expect:", "-T", payload, ip.url("/files/put"))
    with udp_socket(bed, "client") as client:
        may_be_cut(client)
        for size in (1, 2, 3, 100, 1399, 1400, ip.largest(), 2000, 4000):
            sent = os.urandom(size)
            client.sendto(sent, (ip.vip, 5000))
            assert receive(client) == (sent, (ip.vip, 5000)), size
    for host, address, sizes in (("client", ip.vip, (0, 56, 3000)), ("rs1", ip.dip, (0, 56, 1200))):
        for size in sizes:
            bed.run(host, "ping", "-c", 1, "-W", PATIENCE, "-s", size, address)
    # Refused by the balancer, and by a real.
    is_refused(lambda: connect(bed, "client", (ip.vip, 81)), ConnectionRefusedError)
    is_refused(lambda: connect(bed, "client", (ip.vip, 82)), ConnectionRefusedError)
    with udp_socket(bed, "client") as client:
        client.connect((ip.vip, 83))
        client.send(b"anyone?")
        is_refused(lambda: client.recv(1), ConnectionRefusedError)
    hops(bed, "client", "-T", "-p", 80, ip.vip)


@test()
def an_independent_dissector_finds_no_fault(bed):
    """Everything on the wires, as tshark sees it: no malformed packet, and no wrong checksum."""
    bed.speak(IPV6)
    config = on_pcap(bed)
    # Towards the reals some packets are too big.
    config["port"][1]["mtu"] = 1400
    refusing = [service for ip in BOTH for service in (
        ("tcp", ip.at(ip.vip, 82), [(ip.real("rs1", 9999), 1)]), ("udp", ip.at(ip.vip, 83), [(ip.real("rs1", 9999), 1)]))]
    for ip in each_family(bed):
        forget_path_mtu(bed)
    with Capture(bed, "client", "eth0", keep=True) as outside, Capture(bed, "sw", "p0", keep=True) as inside:
        with bed.lbd(config, services=[*services(), *refusing]) as lbd:
            for ip in each_family(bed):
                with udp_echo(bed, "rs1", 5000):
                    traffic(bed, ip)
            lbd.ctl("del-service", "-t", IPV6.at(IPV6.vip, 82))
    for ip in each_family(bed):
        forget_path_mtu(bed)
    for capture in (outside, inside):
        found = faults(capture.file)
        assert not found, found[:5]
        counts = verified(capture.file)
        least = {("ip", "tcp"): 500, ("ipv6", "tcp"): 500, ("ip", "udp"): 10, ("ipv6", "udp"): 10, ("ip", "icmp"): 3, ("ipv6", "icmpv6"): 10}
        assert all(counts.get(kind, 0) >= count for kind, count in least.items()), counts
        # It does see faults: one in each of some packets that were right.
        assert spoilt(capture) == len(BOTH) * 2
        capture.file.unlink()
