"""Floods of each kind through the balancer, beside connections that are there and new ones of another service; prints a table.

Not among the tests that `tests/lab/run` runs, since a busy machine loses packets by itself: each kind is measured beside no flood
at all, and tried again if it falls short. See scripts/floods.
"""

import argparse
import ctypes
import multiprocessing
import os
import signal
import socket
import struct
import sys
import threading
import time

from .capture import ones_complement_sum
from .test_devices import on
from .testbed import CLIENT, MACS, PATIENCE, REALS, VIP, Testbed, Unavailable, background, wait_for

RATE = 20_000
# Frames of a kind that differ from each other; a flood goes through them again and again.
DIFFERENT = 40_000
# Small, so that a flood of some seconds fills it several times over.
CAPACITY = 16_384
# Connections that are there all the while, and the seconds between two requests on each.
ESTABLISHED, PERIOD = 8, 0.04
# New ones a second.
OPENINGS = 20
FLOODED, SILENT, BUSY, OPENING = 5000, 5001, 7000, 80
SHARE = 0.95
SYN, ACK, UDP, TCP, ICMP = 2, 16, 17, 6, 1
MORE = 0x2000
ATTEMPTS = 3


def frame(payload, ether_type=b"\x08\x00", to=MACS["vip0"]):
    raw = lambda mac: bytes.fromhex(mac.replace(":", ""))
    return raw(to) + raw(MACS["client"]) + ether_type + payload


def ipv4(protocol, source, payload, to=VIP, options=b"", word=0x4000, number=1, ttl=64):
    head = struct.pack("!BBHHHBBH4s4s", 0x45 + len(options) // 4, 0, 20 + len(options) + len(payload), number, word, ttl,
                       protocol, 0, source, socket.inet_aton(to)) + options
    return frame(head[:10] + struct.pack("!H", 0xFFFF - ones_complement_sum(head)) + head[12:] + payload)


def made_up(number):
    """A source anywhere behind the gateway, one for each number."""
    return struct.pack("!I", 0x20000000 + (number * 2654435761 >> 4) % 0x10000000)


def on_the_link(number):
    """A neighbour that is not there: of 100, each with many ports."""
    return struct.pack("!I", 0xC0A80A80 + number % 100)


def tcp(number, flags, source=made_up, port=FLOODED, options=b""):
    address = source(number)
    segment = struct.pack("!HHIIBBHHH", 1024 + number % 60_000, port, 1, 0 if flags & SYN else 77, 0x50, flags, 64_000, 0, 0)
    check = 0xFFFF - ones_complement_sum(address + socket.inet_aton(VIP) + struct.pack("!BBH", 0, TCP, 20) + segment)
    return ipv4(TCP, address, segment[:16] + struct.pack("!H", check) + segment[18:], options=options)


def udp(number, port, source=made_up, size=8, word=0x4000, options=b""):
    datagram = struct.pack("!HHHH", 1024 + number % 60_000, port, 8 + size, 0) + bytes(size)
    return ipv4(UDP, source(number), datagram, word=word, number=number % 65_536, options=options)


def fragment(number, offset, more, size=24, source=made_up):
    head = struct.pack("!HHHH", 1024 + number % 60_000, SILENT, 2000, 0) if offset == 0 else b""
    return ipv4(UDP, source(number), head + bytes(size), word=offset | (MORE if more else 0), number=number % 65_536)


def ping(number):
    message = struct.pack("!BBHI", 8, 0, 0, number) + bytes(8)
    return ipv4(ICMP, made_up(number), message[:2] + struct.pack("!H", 0xFFFF - ones_complement_sum(message)) + message[4:])


def arp(number):
    mac = struct.pack("!HI", 0x0209, number)
    return frame(struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1 + number % 2) + mac + on_the_link(number) + bytes(6) + socket.inet_aton(VIP),
                 b"\x08\x06", "ff:ff:ff:ff:ff:ff" if number % 2 == 0 else MACS["vip0"])


def in_turn(number, *kinds):
    """A client sends one packet of each kind, with those of 200 others in between."""
    which, client = number // 200 % len(kinds), number // (200 * len(kinds)) * 200 + number % 200
    return kinds[which](client)


# What each kind sends, by number; and whether it needs a device whose kernel does not put fragments together.
KINDS = {
    "SYN": (lambda n: tcp(n, SYN), False),
    "UDP, answered": (lambda n: udp(n, FLOODED), False),
    "UDP, not answered": (lambda n: udp(n, SILENT), False),
    "UDP, client speaks again": (lambda n: in_turn(n, lambda c: udp(c, FLOODED), lambda c: udp(c, FLOODED)), False),
    "SYN + wrong ACK": (lambda n: in_turn(n, lambda c: tcp(c, SYN), lambda c: tcp(c, ACK)), False),
    "first fragments": (lambda n: fragment(n, 0, True), True),
    "later fragments": (lambda n: fragment(n, 185, True), True),
    "overlapping fragments": (lambda n: fragment(n // 3, (0, 2, 0)[n % 3], True), True),
    "ping": (ping, False),
    "ARP": (arp, False),
    "ACK without connection": (lambda n: tcp(n, ACK), False),
    "SYN, made up on the link": (lambda n: tcp(n, SYN, on_the_link), False),
    "UDP, made up on the link": (lambda n: udp(n, FLOODED, on_the_link), False),
    "IP options": (lambda n: udp(n, SILENT, options=b"\x01\x01\x01\x00"), False),
    "oversized": (lambda n: udp(n, SILENT, size=1440, word=0x4000 * (n % 2)), False),
    "TTL 1": (lambda n: ipv4(UDP, made_up(n), struct.pack("!HHHH", 1024 + n % 60_000, SILENT, 8, 0), ttl=1), False),
}


class IoVector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Message(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32), ("vectors", ctypes.POINTER(IoVector)),
                ("count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
                ("flags", ctypes.c_int), ("sent", ctypes.c_uint)]


def flood(bed, kind, seconds, sent, ready):
    """In a process of its own: sends RATE frames a second, in steps of a millisecond; what a busy machine leaves out is left out."""
    libc = ctypes.CDLL(None, use_errno=True)
    frames = [KINDS[kind][0](number) for number in range(DIFFERENT)]
    buffers = [ctypes.create_string_buffer(data, len(data)) for data in frames]
    vectors = (IoVector * DIFFERENT)(*[IoVector(ctypes.addressof(buffer), len(buffer)) for buffer in buffers])
    messages = (Message * DIFFERENT)()
    for index, message in enumerate(messages):
        message.vectors, message.count = ctypes.pointer(vectors[index]), 1
    with bed.inside("client"), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("eth0", 0))
        ready.set()
        began, done = time.monotonic(), 0
        while (passed := time.monotonic() - began) < seconds:
            # Never more than 10 ms are made up for at once.
            due = min(int(passed * RATE) - done, RATE // 100)
            at = done % DIFFERENT
            step = min(due, DIFFERENT - at)
            if step > 0:
                done += max(0, libc.sendmmsg(wire.fileno(), ctypes.byref(messages, at * ctypes.sizeof(Message)), step, 0))
            else:
                time.sleep(0.001)
        sent.value = done


def echo(bed, host, kind, port):
    """In a process of its own: echoes datagrams, or what comes over connections."""
    with bed.inside(host):
        server = socket.socket(socket.AF_INET, kind)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("", port))
    if kind == socket.SOCK_DGRAM:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        while True:
            try:
                server.sendto(*server.recvfrom(2048))
            except OSError:
                pass  # an ICMP error about an earlier one
    server.listen(64)

    def serve(connection):
        try:
            while data := connection.recv(2048):
                connection.sendall(data)
        except OSError:
            pass

    while True:
        connection, _ = server.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


class Beside:
    """Clients beside a flood: requests over connections that are there, and new connections."""

    def __init__(self, bed):
        self.bed = bed
        self.asked = self.answered = self.started = self.begun = self.opened = 0
        self.stopping, self.lock = threading.Event(), threading.Lock()
        with bed.inside("client"):
            self.connections = [socket.create_connection((VIP, BUSY), PATIENCE) for _ in range(ESTABLISHED)]
        self.threads = [background(self.talk, connection) for connection in self.connections]
        self.threads.append(background(self.open_some))

    def talk(self, connection):
        connection.settimeout(20)
        while not self.stopping.wait(PERIOD):
            try:
                connection.sendall(b"request!")
                answered = connection.recv(100) == b"request!"
            except OSError:
                answered = False
            with self.lock:
                self.asked += 1
                self.answered += answered
            if not answered:
                return

    def open_some(self):
        while not self.stopping.wait(1 / OPENINGS):
            self.started += 1
            background(self.open_one)

    def open_one(self):
        opened = opens(self.bed)
        with self.lock:
            self.begun += 1
            self.opened += opened

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(PATIENCE)
        wait_for(lambda: self.begun == self.started)
        for connection in self.connections:
            connection.close()


def opens(bed, seconds=3.5):
    """Whether a new connection is answered; a SYN that the machine loses is sent again meanwhile."""
    try:
        with bed.inside("client"):
            client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with client:
            client.settimeout(seconds)
            client.connect((VIP, OPENING))
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return client.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def config(bed, needs_fragments):
    made = on_pcap(bed) if needs_fragments else bed.config()
    for port in made["port"]:
        if port["side"] == "vip":
            # Whatever is made up is behind the client, whose kernel drops it.
            port["gateway"] = CLIENT
        elif not needs_fragments:
            port["mtu"] = 1400
    made["connections"]["capacity"] = CAPACITY
    return made


def on_pcap(bed):
    for device in ("eth0", "eth1"):
        bed.run("lb", "ip", "link", "set", device, "mtu", 1500)
    return on(bed, "net_pcap0,iface=eth1", "net_pcap1,iface=eth0")


def services():
    both = lambda port: [(f"{REALS[real]}:{port}", 1) for real in ("rs1", "rs2")]
    return [("tcp", f"{VIP}:{BUSY}", both(BUSY)), ("tcp", f"{VIP}:{OPENING}", both(OPENING)),
            ("udp", f"{VIP}:{FLOODED}", both(FLOODED)), ("udp", f"{VIP}:{SILENT}", both(SILENT)),
            ("tcp", f"{VIP}:{FLOODED}", both(OPENING))]


def measure(bed, kind, seconds):
    """One row, by the names of the columns."""
    needs_fragments = kind is not None and KINDS[kind][1]
    with bed.lbd(config(bed, needs_fragments), services()) as lbd:
        assert opens(bed)
        received = lbd.json("status")["ports"][0]["rx_packets"]
        sender, sent = None, multiprocessing.Value("L", 0)
        if kind:
            ready = multiprocessing.Event()
            sender = multiprocessing.Process(target=flood, args=(bed, kind, seconds, sent, ready), daemon=True)
            sender.start()
            assert ready.wait(60)
        beside = Beside(bed)
        if sender:
            sender.join(seconds + 30)
        else:
            time.sleep(seconds)
        beside.stop()
        after = sum(opens(bed) for _ in range(20))
        status = lbd.json("status")
        back = lbd.has_its_buffers_back()
        share = lambda part, whole: part / max(1, whole)
        return {
            "kind": kind or "none", "sent/s": sent.value / seconds, "received": status["ports"][0]["rx_packets"] - received,
            "asked": beside.asked, "established": share(beside.answered, beside.asked), "new": share(beside.opened, beside.begun),
            "after": share(after, 20), "connections": status["workers"][0]["connections"], "evicted": status["workers"][0]["evicted"],
            "buffers": "back" if back else str(lbd.buffers()), "drops": status["drops"], "notes": len(status["notes"]),
        }


def is_good(row, baseline):
    # Requests follow on answers, so that slow answers show in their number.
    pace = row["asked"] / max(1, baseline["asked"])
    return min(row["established"], row["new"], row["after"]) >= SHARE and pace >= SHARE and row["buffers"] == "back"


def print_row(row, baseline):
    drops = ", ".join(f"{reason} {count}" for reason, count in sorted(row["drops"].items(), key=lambda item: -item[1])[:3])
    print(f"{row['kind']:26} {row['sent/s']:8.0f} {row['received']:9} {row['established']:12.1%} {row['asked'] / max(1, baseline['asked']):6.1%} "
          f"{row['new']:7.1%} {row['after']:7.1%} {row['connections']:12} {row['evicted']:8} {row['buffers']:8} {drops}", flush=True)


def main():
    arguments = argparse.ArgumentParser(prog="scripts/floods", description=__doc__.split("\n")[0])
    arguments.add_argument("--seconds", type=float, default=5, help="of each flood (default: 5)")
    arguments.add_argument("kinds", nargs="*", help="those whose names contain one of these (default: all)")
    options = arguments.parse_args()
    kinds = [kind for kind in KINDS if not options.kinds or any(part in kind for part in options.kinds)]
    try:
        bed = Testbed()
    except Unavailable as reason:
        sys.exit(f"no lab here: {reason}")
    servers = [multiprocessing.Process(target=echo, args=(bed, real, kind, port), daemon=True) for real in ("rs1", "rs2")
               for kind, port in ((socket.SOCK_DGRAM, FLOODED), (socket.SOCK_STREAM, BUSY))]
    try:
        for server in servers:
            server.start()
        # So that what was started is stopped, too. Not before, for the servers are to end by it as usual.
        for end in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(end, lambda number, _: sys.exit(128 + number))
        time.sleep(0.5)
        print(f"{'flood':26} {'sent/s':>8} {'received':>9} {'established':>12} {'pace':>6} {'new':>7} {'after':>7} {'connections':>12} "
              f"{'evicted':>8} {'buffers':8} drops")
        baseline = measure(bed, None, options.seconds)
        print_row(baseline, baseline)
        failed = []
        for kind in kinds:
            for attempt in range(ATTEMPTS):
                row = measure(bed, kind, options.seconds)
                print_row(row, baseline)
                if is_good(row, baseline):
                    break
                if attempt + 1 == ATTEMPTS:
                    failed.append(kind)
        if failed:
            sys.exit(f"fell short: {', '.join(failed)}")
        print(f"all {len(kinds)} kinds: at least {SHARE:.0%} of each, and every buffer back")
    finally:
        for server in servers:
            server.terminate()
        bed.remove()


if __name__ == "__main__":
    os.setpgrp()
    main()
