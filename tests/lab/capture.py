"""Captures frames on a host of the lab, and takes IPv4 and IPv6 packets apart."""

import re
import signal
import socket
import struct
import subprocess
import time
from dataclasses import dataclass

from .families import IPV4, IPV6
from .testbed import PATIENCE, wait_for

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
# Types and codes of ICMP and ICMPv6.
PORT_UNREACHABLE = {IPV4: (3, 3), IPV6: (1, 4)}
TOO_BIG = {IPV4: (3, 4), IPV6: (2, 0)}
# Of ICMPv6: neighbour discovery.
DISCOVERY = range(133, 138)
PCAP_HEADER, RECORD_HEADER, ETHERNET_HEADER = 24, 16, 14


class Capture:
    """Every frame that passes a device, in both directions, while the block runs; then `frames`, and with `keep` the file."""

    def __init__(self, bed, host, device="eth0", *expression, keep=False):
        self.keep = keep
        self.bed, self.host, self.device, self.expression = bed, host, device, expression
        self.file = bed.dir / f"{host}-{device}.pcap"
        self.frames = []

    def __enter__(self):
        self.process = self.bed.spawn(
            self.host, "tcpdump", "-i", self.device, "-w", self.file, "-s", "0", "-B", "65536", "-U", "--immediate-mode",
            "-Z", "root", *self.expression, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        line = self.process.stderr.readline()
        while line and "listening on" not in line:
            line = self.process.stderr.readline()
        assert line, "tcpdump did not start"
        return self

    def __exit__(self, *_):
        # What it has not taken when the signal comes is lost: on a busy machine it may be behind.
        wait_for(self.is_complete)
        self.process.send_signal(signal.SIGINT)
        _, summary = self.process.communicate(timeout=PATIENCE)
        lost = re.search(r"(\d+) packets? dropped by kernel", summary)
        assert lost and lost[1] == "0", f"the capture is not complete: {summary}"
        self.frames = self.so_far()
        if not self.keep:
            self.file.unlink()

    def is_complete(self):
        """Whether tcpdump has taken all that the kernel counted, and no more comes for a while."""
        before = self.file.stat().st_size
        time.sleep(0.3)
        self.process.send_signal(signal.SIGUSR1)
        line = self.process.stderr.readline()
        counts = re.search(r"(\d+) packets? captured, (\d+) packets? received by filter, (\d+) packets? dropped", line)
        assert counts, f"tcpdump says: {line}"
        captured, received, dropped = map(int, counts.groups())
        return captured + dropped >= received and self.file.stat().st_size == before

    def so_far(self):
        """The frames written up to now."""
        data, frames, at = self.file.read_bytes(), [], PCAP_HEADER
        while at + RECORD_HEADER <= len(data):
            captured, length = struct.unpack_from("=II", data, at + 8)
            at += RECORD_HEADER
            if at + captured > len(data):
                break
            assert captured == length, "a frame was cut"
            frames.append(data[at:at + captured])
            at += captured
        return frames

    def wait(self, condition, seconds=PATIENCE):
        """Waits until a frame satisfies the condition; returns it or None."""
        return wait_for(lambda: next((f for f in self.so_far() if condition(f)), None), seconds)


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def ones_complement_sum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@dataclass(frozen=True)
class Packet:
    """A packet: what a translation may change, and `rest`, which it must not."""

    source_mac: bytes
    target_mac: bytes
    ttl: int  # or the hop limit
    protocol: int
    source: tuple
    target: tuple
    rest: bytes
    length: int
    icmp: tuple = None  # type and code


def parse(frame):
    """The packet in a frame, its checksums verified; None where it is none, or neighbour discovery or the like, which IPv6
    has in place of ARP."""
    if frame[12:14] == IPV4.ethertype:
        return parse_ipv4(frame)
    return parse_ipv6(frame) if frame[12:14] == IPV6.ethertype else None


def parse_ipv6(frame):
    header = frame[ETHERNET_HEADER:ETHERNET_HEADER + IPV6.header]
    length, protocol = struct.unpack_from("!HB", header, 4)
    body = frame[ETHERNET_HEADER + IPV6.header:ETHERNET_HEADER + IPV6.header + length]
    assert len(body) == length, "the packet is longer than its frame"
    # Reports of groups that are listened to come behind another header.
    if protocol == 0 or protocol == ICMPV6 and body[0] in DISCOVERY:
        return None
    addresses, sum_at = header[8:], {TCP: 16, UDP: 6, ICMPV6: 2}[protocol]
    pseudo = addresses + struct.pack("!II", length, protocol)
    assert protocol != UDP or body[6:8] != b"\0\0", f"no UDP checksum: {frame.hex()}"
    assert ones_complement_sum(pseudo + body) == 0xFFFF, f"wrong checksum in protocol {protocol}: {frame.hex()}"
    ports = struct.unpack_from("!HH", body) if protocol != ICMPV6 else (0, 0)
    skipped = 4 if protocol != ICMPV6 else 0
    rest = header[:7] + body[skipped:sum_at] + body[sum_at + 2:]
    source, target = (socket.inet_ntop(socket.AF_INET6, part) for part in (addresses[:16], addresses[16:]))
    return Packet(frame[6:12], frame[:6], header[7], protocol, (source, ports[0]), (target, ports[1]), rest,
                  IPV6.header + length, tuple(body[:2]) if protocol == ICMPV6 else None)


def parse_ipv4(frame):
    header_length = (frame[14] & 15) * 4
    total = struct.unpack_from("!H", frame, 16)[0]
    header = frame[ETHERNET_HEADER:ETHERNET_HEADER + header_length]
    body = frame[ETHERNET_HEADER + header_length:ETHERNET_HEADER + total]
    assert len(body) == total - header_length, "the packet is longer than its frame"
    assert ones_complement_sum(header) == 0xFFFF, f"wrong IPv4 header checksum: {frame.hex()}"
    protocol, addresses = header[9], header[12:20]
    sum_at = {TCP: 16, UDP: 6, ICMP: 2}[protocol]
    no_sum = protocol == UDP and body[6:8] == b"\0\0"
    pseudo = b"" if protocol == ICMP else addresses + struct.pack("!BBH", 0, protocol, len(body))
    assert no_sum or ones_complement_sum(pseudo + body) == 0xFFFF, f"wrong checksum in protocol {protocol}: {frame.hex()}"
    ports = struct.unpack_from("!HH", body) if protocol != ICMP else (0, 0)
    skipped = 4 if protocol != ICMP else 0
    # Everything but TTL, addresses, ports and checksums; of a UDP checksum, whether there is one.
    rest = header[:8] + header[9:10] + header[20:] + bytes([no_sum]) + body[skipped:sum_at] + body[sum_at + 2:]
    return Packet(frame[6:12], frame[:6], header[8], protocol, (socket.inet_ntoa(addresses[:4]), ports[0]),
                  (socket.inet_ntoa(addresses[4:]), ports[1]), rest, total, tuple(body[:2]) if protocol == ICMP else None)


def packets(frames):
    return [packet for packet in map(parse, frames) if packet]
