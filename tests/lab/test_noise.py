"""What no sane host sends: nothing of it stops lbd, and every buffer comes back."""

import random
import socket

from .families import IPV6
from .runner import test
from .testbed import VIP, wait_for

PACKETS = 10_000


def sane_frames(seed):
    """Ethernet frames of TCP, UDP, ICMP and ARP to the VIP of each family, to be damaged."""
    vip_mac, client_mac = bytes.fromhex("020000001064"), bytes.fromhex("020000001006")
    header = vip_mac + client_mac
    addresses = socket.inet_aton("192.168.10.6") + socket.inet_aton(VIP)
    for protocol, payload in ((6, 20), (17, 28), (1, 36), (47, 8)):
        ip = bytes([0x45, 0]) + (20 + payload).to_bytes(2, "big") + bytes([0, 1, 0x40, 0, 64, protocol, 0, 0]) + addresses
        total = sum(int.from_bytes(ip[i:i + 2], "big") for i in range(0, 20, 2))
        total = (total & 0xFFFF) + (total >> 16)
        check = 0xFFFF - ((total & 0xFFFF) + (total >> 16))
        ip = ip[:10] + check.to_bytes(2, "big") + ip[12:]
        yield header + b"\x08\x00" + ip + seed.randbytes(2) + (80).to_bytes(2, "big") + seed.randbytes(payload - 4)
    addresses = IPV6.bytes(IPV6.client) + IPV6.bytes(IPV6.vip)
    # Also pieces of datagrams, options, and headers that route a packet on.
    for protocol, payload in ((6, 20), (17, 28), (58, 36), (44, 16), (0, 16), (60, 16), (43, 24), (47, 8)):
        ip = (6 << 28).to_bytes(4, "big") + payload.to_bytes(2, "big") + bytes([protocol, 64]) + addresses
        yield header + IPV6.ethertype + ip + seed.randbytes(2) + (80).to_bytes(2, "big") + seed.randbytes(payload - 4)
    for kind in (128, 129, 133, 134, 135, 136, 137):
        ip = (6 << 28).to_bytes(4, "big") + (32).to_bytes(2, "big") + bytes([58, 255]) + addresses
        yield header + IPV6.ethertype + ip + bytes([kind, 0]) + seed.randbytes(6) + IPV6.bytes(IPV6.vip) + bytes([1, 1]) + client_mac
    yield b"\xff" * 6 + client_mac + b"\x08\x06" + bytes([0, 1, 8, 0, 6, 4, 0, 1]) + client_mac + seed.randbytes(20)


def damaged(frame, seed):
    frame = bytearray(frame)
    for _ in range(seed.randrange(4)):
        frame[seed.randrange(len(frame))] = seed.randrange(256)
    if seed.randrange(4) == 0:
        del frame[max(14, seed.randrange(len(frame))):]
    return bytes(frame)


@test()
def ten_thousand_damaged_packets_change_nothing(bed):
    seed = random.Random(80)
    with bed.lbd(services=[("tcp", f"{VIP}:80", [("10.0.0.7:80", 1), ("10.0.0.17:80", 1)])]) as lbd:
        assert "rs" in bed.curl()
        received = lbd.json("status")["ports"][0]["rx_packets"]
        with bed.inside("client"), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.bind(("eth0", 0))
            sane = list(sane_frames(seed))
            for number in range(PACKETS):
                frame = damaged(seed.choice(sane), seed) if number % 10 else seed.randbytes(14 + seed.randrange(200))
                wire.send(frame)
                # At once no more than the device's ring holds: lbd may have to wait for its core.
                if number % 500 == 499:
                    came = lambda: lbd.json("status")["ports"][0]["rx_packets"] - received >= number * 0.9
                    assert wait_for(came, pause=0.01), "most of the packets reach lbd"
        assert lbd.has_its_buffers_back(), lbd.buffers()
        assert [bed.curl() for _ in range(4)], "it still serves"
        assert sum(lbd.json("status")["drops"].values()) > PACKETS / 2
