"""Datagrams in fragments through the balancer, on devices that hand over what is on the wire, and on af_packet, whose kernel
puts them together."""

import contextlib
import hashlib
import random
import socket
import struct

from .capture import Capture, ones_complement_sum
from .families import BOTH, IPV4
from .runner import test
from .sockets import may_be_cut, receive, udp_echo, udp_socket
from .test_devices import on, on_taps
from .test_path_mtu import forget_path_mtu, with_mtu
from .testbed import CLIENT, REALS, VIP, wait_for

RS1 = REALS["rs1"]
SERVICES = [("udp", f"{VIP}:5000", [(f"{RS1}:5000", 1)])]
MTU, MORE = 1500, 0x2000
FRAGMENT = 44  # the number of IPv6's fragment header, of 8 bytes
FLOOD = 100_000
# Every so many bytes a datagram's length is tried, and all lengths around those that fill packets.
STRIDE = 61


def services(ip):
    return [("udp", ip.at(ip.vip, 5000), [(ip.real("rs1", 5000), 1)])]


def content(size, seed=4000):
    return random.Random(seed).randbytes(size)


def fragments(ip, port, data, number, service=5000, mtu=MTU):
    """The packets of a datagram from the client's `port` to the service, with the id `number`, made by hand."""
    addresses = ip.bytes(ip.client) + ip.bytes(ip.vip)
    head = struct.pack("!HHHH", port, service, 8 + len(data), 0)
    pseudo = addresses + struct.pack("!II", 8 + len(data), socket.IPPROTO_UDP)
    check = 0xFFFF - ones_complement_sum(pseudo + head + data)
    payload = head[:6] + struct.pack("!H", check or 0xFFFF) + data
    step = (mtu - ip.header - (0 if ip is IPV4 else 8)) & ~7
    for start in range(0, len(payload), step):
        part = payload[start:start + step]
        is_last = start + step >= len(payload)
        if ip is not IPV4:
            yield (struct.pack("!IHBB", 6 << 28, 8 + len(part), FRAGMENT, 64) + addresses
                   + struct.pack("!BBHI", socket.IPPROTO_UDP, 0, start | (not is_last), number) + part)
            continue
        word = start // 8 | (0 if is_last else MORE)
        # The kernel fills in the header's checksum.
        yield struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(part), number, word, 64, socket.IPPROTO_UDP, 0) + addresses + part


@contextlib.contextmanager
def by_hand(bed):
    """Sends packets as they are given."""
    with bed.inside("client"), socket.socket(bed.ip.domain, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        yield lambda packets: [raw.sendto(packet, (bed.ip.vip, 0)) for packet in packets]


def on_pcap(bed):
    # af_packet gives the interface the port's MTU, and leaves it so; pcap does not.
    for device in ("eth0", "eth1"):
        bed.run("lb", "ip", "link", "set", device, "mtu", MTU)
    return on(bed, "net_pcap0,iface=eth1", "net_pcap1,iface=eth0")


def fragments_of(bed):
    """A filter for datagrams, in fragments or whole."""
    return "udp or (ip[6:2] & 0x1fff != 0)" if bed.ip is IPV4 else f"udp or ip6[6] = {FRAGMENT}"


def count_fragments(bed, frames, target):
    if bed.ip is IPV4:
        return len(udp_fragments(frames, target))
    return len([f for f in frames if f[12:14] == bed.ip.ethertype and f[20] == FRAGMENT and f[38:54] == bed.ip.bytes(target)])


def udp_fragments(frames, target):
    """(length, flags and offset) of IPv4 fragments of UDP to `target`."""
    wanted = [f for f in frames if f[12:14] == b"\x08\x00" and f[23] == socket.IPPROTO_UDP and f[30:34] == socket.inet_aton(target)]
    words = [(int.from_bytes(f[16:18], "big"), int.from_bytes(f[20:22], "big")) for f in wanted]
    return [(length, word) for length, word in words if word & 0x3FFF]


def received_and_missed(lbd):
    port = lbd.json("status")["ports"][0]
    return port["rx_packets"], port["rx_missed"]


def echoes(bed, client, data):
    """Whether this comes back from the service."""
    client.sendto(data, (bed.ip.vip, 5000))
    return receive(client) == (data, (bed.ip.vip, 5000))


def answers(bed, client, data):
    """Whether the echo comes before the socket's timeout."""
    try:
        return echoes(bed, client, data)
    except TimeoutError:
        return False


@test(families=BOTH)
def a_large_datagram_is_echoed_whole(bed):
    with udp_echo(bed, "rs1", 5000), bed.lbd(on_pcap(bed), services=services(bed.ip)) as lbd, udp_socket(bed, "client") as client:
        with Capture(bed, "rs1", "eth0", fragments_of(bed)) as at_real:
            assert echoes(bed, client, content(4000))
        assert count_fragments(bed, at_real.frames, bed.ip.reals["rs1"]) == 3, "they came as fragments"
        for size in (bed.ip.largest() + 1, 8000, bed.ip.largest_cut):
            assert echoes(bed, client, content(size)), size
        drops = lbd.json("status")["drops"]
        assert not [reason for reason, count in drops.items() if count and "fragment" in reason], drops


@test(families=BOTH)
def of_every_length_in_order_and_reversed(bed):
    """Datagrams of 1 to 4,000 bytes: as a kernel cuts them, and cut by hand with the last fragment first."""
    edges = [packets * 8 * ((MTU - bed.ip.header - 8) // 8) for packets in (1, 2)]
    lengths = sorted({*range(1, 4001, STRIDE), 4000, *(edge + near for edge in edges for near in range(-16, 17))})
    with udp_echo(bed, "rs1", 5000), bed.lbd(on_pcap(bed), services=services(bed.ip)) as lbd, udp_socket(bed, "client") as client:
        port = client.getsockname()[1]
        with by_hand(bed) as send:
            for length in lengths:
                data = content(length, length)
                assert echoes(bed, client, data), length
                send(reversed(list(fragments(bed.ip, port, data, length))))
                assert receive(client) == (data, (bed.ip.vip, 5000)), f"{length} reversed"
        assert lbd.has_its_buffers_back(), lbd.buffers()


@test(families=BOTH)
def in_any_order_and_interleaved(bed):
    with udp_echo(bed, "rs1", 5000), bed.lbd(on_pcap(bed), services=services(bed.ip)) as lbd, udp_socket(bed, "client") as client:
        port = client.getsockname()[1]
        with by_hand(bed) as send:
            data = content(4000, 1)
            send(reversed(list(fragments(bed.ip, port, data, 1))))
            assert receive(client) == (data, (bed.ip.vip, 5000))
            # Ten datagrams: all last fragments, then all middle ones, then all first ones.
            texts = {content(4000, seed) for seed in range(10)}
            datagrams = [list(fragments(bed.ip, port, text, 100 + number)) for number, text in enumerate(texts)]
            for index in (2, 1, 0):
                send(datagram[index] for datagram in datagrams)
            assert {client.recv(65535) for _ in texts} == texts
        drops = lbd.json("status")["drops"]
        assert not [reason for reason, count in drops.items() if count and "fragment" in reason], drops


@test(families=BOTH)
def on_af_packet_whose_kernel_puts_those_of_ipv4_together(bed):
    with udp_echo(bed, "rs1", 5000), bed.lbd(services=services(bed.ip)) as lbd, udp_socket(bed, "client") as client:
        with Capture(bed, "rs1", "eth0", fragments_of(bed)) as at_real:
            assert echoes(bed, client, content(4000))
        assert count_fragments(bed, at_real.frames, bed.ip.reals["rs1"]) == 3, "they are fragments again"
        for size in (bed.ip.largest() + 1, 1900, 2000, 60_000, bed.ip.largest_cut):
            assert echoes(bed, client, content(size)), size
        # Several at once, and what is whole among them.
        sizes = [20_000, 100, bed.ip.largest() + 1, 9000, 40_000, 1]
        for size in sizes:
            client.sendto(content(size), (bed.ip.vip, 5000))
        assert {client.recv(65535) for _ in sizes} == {content(size) for size in sizes}
        status = lbd.json("status")
        assert not [reason for reason in status["drops"] if "fragment" in reason or reason == "truncated"], status["drops"]
        assert "gro" not in str(status["notes"]), status["notes"]
        assert lbd.has_its_buffers_back(), lbd.buffers()


@test()
def on_taps_too(bed):
    with udp_echo(bed, "rs1", 5000), on_taps(bed, SERVICES), udp_socket(bed, "lb") as client:
        for size in (4000, 20_000):
            assert echoes(bed, client, content(size)), size


@test()
def a_flood_of_first_fragments_exhausts_nothing(bed):
    # The flood goes to another real: the first one's kernel holds no more of it than lbd does.
    services = [*SERVICES, ("udp", f"{VIP}:5001", [(f"{REALS['rs2']}:5001", 1)])]
    with udp_echo(bed, "rs1", 5000), bed.lbd(on_pcap(bed), services=services) as lbd, udp_socket(bed, "client") as client:
        assert echoes(bed, client, content(4000))

        def flood(send):
            received, missed = received_and_missed(lbd)
            for number in range(FLOOD):
                first, _ = fragments(bed.ip, number % 60_000 + 1024, bytes(80), number % 65_536, 5001, mtu=92)
                send([first])
                # At once no more than the device's capture holds (some 1300): lbd may have to wait for its core.
                if number % 500 == 499:
                    assert wait_for(lambda: sum(received_and_missed(lbd)) - received - missed > number)
            arrived = received_and_missed(lbd)[0] - received
            assert arrived > FLOOD * 0.9, f"{arrived} reached lbd"

        def follows(send):
            flood(send)
            return any(answers(bed, client, content(4000)) for _ in range(5))

        # On a busy machine a capture or a kernel may lose a piece of a datagram, so it is asked again, long before the
        # flood is forgotten (5 s). Where that takes too long, the flood comes again.
        client.settimeout(0.5)
        with by_hand(bed) as send:
            assert any(follows(send) for _ in range(3)), "it still follows fragments"
        assert lbd.has_its_buffers_back(), lbd.buffers()


@test()
def what_may_be_cut_is_cut_towards_the_reals(bed):
    forget_path_mtu(bed)
    digest = lambda data: hashlib.sha256(data).digest()
    with udp_echo(bed, "rs1", 5000, digest), bed.lbd(with_mtu(bed, "dip", 1400), services=SERVICES):
        with udp_socket(bed, "client") as client, Capture(bed, "rs1", "eth0") as at_real:
            may_be_cut(client)
            client.sendto(content(1472), (VIP, 5000))
            assert client.recv(100) == digest(content(1472))
    found = udp_fragments(at_real.frames, RS1)
    assert found == [(1396, MORE), (124, 172)], found
    forget_path_mtu(bed)


@test()
def what_may_be_cut_is_cut_towards_the_client(bed):
    forget_path_mtu(bed)
    large = lambda data: content(int(data))
    with udp_echo(bed, "rs1", 5000, large, may_be_cut), bed.lbd(with_mtu(bed, "vip", 1400), services=SERVICES):
        with udp_socket(bed, "client") as client, Capture(bed, "client", "eth0") as at_client:
            client.sendto(b"1472", (VIP, 5000))
            assert client.recv(2000) == content(1472)
    found = udp_fragments(at_client.frames, CLIENT)
    assert found == [(1396, MORE), (124, 172)], found
    forget_path_mtu(bed)
