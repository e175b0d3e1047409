"""What tshark says of a capture, up to TCP and UDP: it is written by others, and knows every protocol that passes the
lab."""

import struct
import subprocess
from collections import Counter

from .families import BOTH

# All that it can verify; `status` 0 is a wrong checksum, 1 a right one.
OPTIONS = ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
           "-o", "udp.ignore_ipv6_zero_checksum:FALSE",
           # Guessed at by a client's port, or by what a payload begins with: random ones would be malformed.
           "-d", "udp.port==1-65535,data", "-d", "tcp.port==1-65535,data"]
SUMS = {"ip": "ip.checksum.status", "tcp": "tcp.checksum.status", "udp": "udp.checksum.status", "icmp": "icmp.checksum.status",
        "icmpv6": "icmpv6.checksum.status"}
BAD, GOOD = "0", "1"
TCP, UDP = 6, 17
TOO_BIG = "icmp.type == 3 && icmp.code == 4 || icmpv6.type == 2"


def tshark(file, *words):
    done = subprocess.run(["tshark", "-n", "-r", file, *OPTIONS, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def faults(file):
    """A line for each packet that is malformed, or has a wrong checksum, also in a packet that it quotes. Of one that was
    too big a part is quoted, which has no checksum of its own; and 0xffff, which kernels send now and then, is as good as 0."""
    wrong = [f"{field} == {BAD}" + (f" && !({TOO_BIG})" if name in ("tcp", "udp") else "") for name, field in SUMS.items()]
    wrong = [f"({condition} && !(tcp.checksum == 0xffff))" for condition in wrong]
    return tshark(file, "-Y", " || ".join(["_ws.malformed", *wrong]))


def verified(file):
    """How many packets of each family and protocol have a right checksum."""
    fields = [word for field in ("ip.version", "ipv6.version", *SUMS.values()) for word in ("-e", field)]
    counts = Counter()
    for line in tshark(file, "-T", "fields", "-E", "occurrence=f", *fields):
        _, is_ipv6, *sums = line.split("\t")
        for name, status in zip(SUMS, sums):
            counts["ipv6" if is_ipv6 else "ip", name] += status == GOOD
    return counts


def spoilt(capture):
    """Makes a bit wrong in the payload of a TCP segment and of a datagram of each family: how many of the packets tshark
    finds."""
    at, wanted, file = {"IPv4": 9, "IPv6": 6}, [], capture.file.with_suffix(".spoilt")
    for ip in BOTH:
        for protocol in (TCP, UDP):
            whole = (f for f in capture.frames if f[12:14] == ip.ethertype and f[14 + at[ip.name]] == protocol and len(f) > 120
                     and (ip.name == "IPv6" or f[20:22] in (b"\x00\x00", b"\x40\x00")))
            frame = bytearray(next(whole))
            frame[110] ^= 1
            wanted.append(bytes(frame))
    with open(file, "wb") as out:
        out.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for second, frame in enumerate(wanted):
            out.write(struct.pack("=IIII", second, 0, len(frame), len(frame)) + frame)
    found = len(faults(file))
    file.unlink()
    return found
