"""Tests of the traffic source's frames, and of what it verifies of those that come back: by readers of their own."""

import ctypes
import ipaddress
import os
import shutil
import struct
import subprocess
import tempfile
import unittest
from dataclasses import dataclass
from unittest import mock

from page import FAULTS, SIZE, Page
from traces import checksum
from traffic import CLIENTS, CLIENTS6, GATEWAY_MAC, REAL_MAC, Traffic

SOURCES = os.path.join(os.path.dirname(__file__), "..", "traffic_source")
FORWARD, REVERSE = 0, 1
DATA, SYN, SYN_ACK, ACK, FIN = range(5)
IPV4, IPV6 = 0, 1
TCP, UDP = 6, 17
PORT_MACS = bytes.fromhex("02aaaaaaaa01"), bytes.fromhex("02aaaaaaaa02")
BUFFER = 1600
# Both protocols, the first and the last service, the last address and the first one with another port.
FLOWS = (0, 1, 30, 31, 65535, 65536, 999_999)


class Order(ctypes.Structure):
    _fields_ = [("flow", ctypes.c_uint32), *((name, ctypes.c_uint8) for name in ("direction", "kind", "size", "family"))]


def build(directory):
    """The source's own code as a library."""
    library = os.path.join(directory, "frames.so")
    files = [os.path.join(SOURCES, name) for name in ("frames.c", "environment.c")]
    subprocess.run(["cc", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-I", SOURCES, *files, "-o", library], check=True)
    return library


class Source:
    """The source's code, set for this traffic. Each loads a copy, for the settings are the library's."""

    def __init__(self, traffic, library):
        directory = tempfile.mkdtemp(dir=os.path.dirname(library))
        with mock.patch.dict(os.environ, traffic.environment("none")):
            self._code = ctypes.CDLL(shutil.copy(library, directory))
            self._code.frames_setup()
        self._code.frames_set_port_macs(*PORT_MACS)
        self.page = Page(os.path.join(directory, "page"))

    def write(self, **order):
        buffer = ctypes.create_string_buffer(BUFFER)
        self._code.frames_write(buffer, Order(**order))
        return bytes(buffer)

    def check(self, frame, **order):
        """What checking this one frame counts."""
        with open(self.page.path, "r+b") as file:
            file.write(bytes(SIZE))
        mapped = (ctypes.c_char * SIZE).from_buffer(self.page._map)
        self._code.frames_check(mapped, ctypes.create_string_buffer(frame, BUFFER), Order(**order))
        del mapped
        return self.page.checks()


@dataclass
class Packet:
    """A frame's parts, read and written without a word of the source's code."""

    destination_mac: bytes
    source_mac: bytes
    ends: list  # (address, port) of the source and of the destination
    ttl: int
    protocol: int
    label: int  # of IPv6
    transport: bytes  # header and payload

    @classmethod
    def read(cls, frame):
        (kind,) = struct.unpack_from("!H", frame, 12)
        if kind == 0x0800:
            assert frame[14] == 0x45 and checksum(frame[14:34]) == 0
            ends, at, label = (frame[26:30], frame[30:34]), 34, 0
            end, ttl, protocol = 14 + struct.unpack_from("!H", frame, 16)[0], frame[22], frame[23]
        else:
            assert kind == 0x86DD
            (first, length, protocol, ttl) = struct.unpack_from("!IHBB", frame, 14)
            assert first >> 20 == 0x600
            ends, at, label = (frame[22:38], frame[38:54]), 54, first & 0xFFFFF
            end = at + length
        transport = frame[at:end]
        assert len(transport) == end - at
        pseudo = b"".join(ends) + struct.pack("!HH", protocol, len(transport))
        assert checksum(pseudo + transport) == 0, "transport checksum"
        ports = struct.unpack_from("!HH", transport)
        pairs = [(ipaddress.ip_address(address), port) for address, port in zip(ends, ports)]
        return cls(frame[:6], frame[6:12], pairs, ttl, protocol, label, transport)

    def write(self):
        addresses = b"".join(address.packed for address, _ in self.ends)
        at = 16 if self.protocol == TCP else 6
        transport = bytearray(struct.pack("!HH", *(port for _, port in self.ends)) + self.transport[4:])
        transport[at : at + 2] = bytes(2)
        pseudo = addresses + struct.pack("!HH", self.protocol, len(transport))
        struct.pack_into("!H", transport, at, checksum(pseudo + transport) or 0xFFFF)
        link = self.destination_mac + self.source_mac
        if self.ends[0][0].version == 6:
            header = struct.pack("!IHBB", 0x600 << 20 | self.label, len(transport), self.protocol, self.ttl) + addresses
            return link + b"\x86\xdd" + header + transport
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(transport), 0, 0x4000, self.ttl, self.protocol, 0) + addresses
        return link + b"\x08\x00" + header[:10] + struct.pack("!H", checksum(header)) + header[12:] + transport


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


class Frames(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.library = build(directory.name)
        cls.traffic = Traffic(flows=10**6, families="both")
        cls.source = Source(cls.traffic, cls.library)

    def orders(self, kinds=(DATA,), families=(IPV4, IPV6)):
        for family in families:
            for direction in (FORWARD, REVERSE):
                for kind in kinds:
                    for flow in FLOWS:
                        yield {"flow": flow, "direction": direction, "kind": kind, "family": family}

    def expected(self, flow, family, traffic=None):
        """(protocol, client, service, real) of a flow, each of the three as (address, port)."""
        traffic = traffic or self.traffic
        protocol = TCP if flow & 1 else UDP
        of_family = [
            (listen, real)
            for name, listen, real in traffic.endpoints()
            if name == ("tcp" if flow & 1 else "udp") and listen.startswith("[") == (family == IPV6)
        ]
        split = lambda text: (ipaddress.ip_address(text.rpartition(":")[0].strip("[]")), int(text.rpartition(":")[2]))
        listen, real = of_family[flow // 2 % traffic.services]
        client = ipaddress.ip_address(CLIENTS6 if family == IPV6 else CLIENTS) + flow % 65536, 1024 + flow // 65536
        return protocol, client, split(listen), split(real)

    def translated(self, given, order):
        """What the balancer makes of a packet."""
        _, client, listen, real = self.expected(order["flow"], order["family"])
        packet = Packet.read(given)
        forward = order["direction"] == FORWARD
        packet.destination_mac = mac(REAL_MAC if forward else GATEWAY_MAC)
        packet.source_mac = PORT_MACS[1 if forward else 0]
        packet.ends = [client, real] if forward else [listen, client]
        packet.ttl -= 1
        return packet

    def test_frames_are_what_the_order_says(self):
        for order in self.orders(kinds=(DATA, SYN, SYN_ACK, ACK, FIN)):
            with self.subTest(**order):
                packet = Packet.read(self.source.write(**order))
                protocol, client, listen, real = self.expected(order["flow"], order["family"])
                forward = order["direction"] == FORWARD
                self.assertEqual(packet.protocol, protocol)
                self.assertEqual(packet.ends, [client, listen] if forward else [real, client])
                self.assertEqual(packet.destination_mac, PORT_MACS[order["direction"]])
                self.assertEqual(packet.source_mac, mac(GATEWAY_MAC if forward else REAL_MAC))
                bare = protocol == TCP and order["kind"] != DATA
                length = 66 - (40 if order["family"] == IPV6 else 20)
                self.assertEqual(len(packet.transport), 20 if bare else length)
                if protocol == TCP:
                    self.assertEqual(packet.transport[13], {DATA: 0x18, SYN: 0x02, SYN_ACK: 0x12, ACK: 0x10, FIN: 0x11}[order["kind"]])
                else:
                    self.assertEqual(struct.unpack_from("!H", packet.transport, 4)[0], length)

    def test_packets_fill_what_the_device_delivers(self):
        """What is behind a packet would have to be cut off, which costs."""
        for traffic, families in ((self.traffic, (IPV4, IPV6)), (Traffic(flows=10**6), (IPV4,))):
            source = Source(traffic, self.library)
            for order in self.orders(families=families):
                packet = Packet.read(source.write(**order))
                header = 40 if order["family"] == IPV6 else 20
                self.assertEqual(14 + header + len(packet.transport), traffic.frame_bytes)

    def test_alone_ipv4_has_the_same_headers_in_one_line(self):
        alone = Source(Traffic(flows=10**6), self.library)
        for order in self.orders(kinds=(DATA, SYN), families=(IPV4,)):
            frame = alone.write(**order)
            mine, other = Packet.read(frame), Packet.read(self.source.write(**order))
            self.assertEqual((mine.ends, mine.protocol, mine.ttl), (other.ends, other.protocol, other.ttl))
            self.assertFalse(any(frame[64:]))

    def test_sizes_are_those_of_the_mix(self):
        mix = Source(Traffic(flows=10**6, families="both", sizes="imix"), self.library)
        for family, header in ((IPV4, 20), (IPV6, 40)):
            packets = [Packet.read(mix.write(flow=1, kind=DATA, size=size, family=family)) for size in range(12)]
            self.assertEqual([header + len(packet.transport) for packet in packets], [66] * 7 + [576] * 4 + [1500])

    def test_what_is_translated_right_is_found_right(self):
        for order in self.orders(kinds=(DATA, SYN)):
            with self.subTest(**order):
                frame = self.translated(self.source.write(**order), order).write()
                found = self.source.check(frame, **order)
                self.assertEqual((found["checked"], found["faulty"]), (1, 0), found)
                self.assertEqual(found["checked_ipv6"], order["family"])

    def test_each_fault_is_named(self):
        def change(packet, fault):
            client = 1 - end
            if fault == "mac":
                packet.destination_mac = PORT_MACS[0]
            elif fault == "ttl":
                packet.ttl += 1
            elif fault == "client":
                packet.ends[client] = (packet.ends[client][0], packet.ends[client][1] + 1)
            elif fault == "endpoint":
                packet.ends[end] = (packet.ends[end][0] + 1, packet.ends[end][1])
            elif fault == "other":
                packet.transport = packet.transport[:-1] + b"\x55"
            frame = bytearray(packet.write())
            if fault == "header_checksum":
                frame[24] ^= 1
            elif fault == "transport_checksum":
                frame[(54 if order["family"] == IPV6 else 34) + (16 if packet.protocol == TCP else 6)] ^= 1
            return bytes(frame)

        for order in self.orders():
            # Which end is the service's or the real's in what is sent on.
            end = 1 if order["direction"] == FORWARD else 0
            for fault in FAULTS:
                if fault == "header_checksum" and order["family"] == IPV6:
                    continue
                with self.subTest(fault=fault, **order):
                    frame = change(self.translated(self.source.write(**order), order), fault)
                    found = self.source.check(frame, **order)
                    self.assertEqual([name for name in FAULTS if found["faults"][name]], [fault])
                    self.assertEqual((found["checked"], found["faulty"]), (1, 1))
                    self.assertEqual(bytes.fromhex(found["example"]["found"])[: len(frame)], frame[:128])

    def test_an_address_is_compared_in_full(self):
        order = {"flow": 1, "direction": FORWARD, "kind": DATA, "family": IPV6}
        for bit in range(128):
            packet = self.translated(self.source.write(**order), order)
            packet.ends[1] = (ipaddress.ip_address(int(packet.ends[1][0]) ^ 1 << bit), packet.ends[1][1])
            self.assertEqual(self.source.check(packet.write(), **order)["faults"]["endpoint"], 1, bit)

    def test_a_changed_flow_label_is_a_fault(self):
        order = {"flow": 1, "direction": FORWARD, "kind": DATA, "family": IPV6}
        packet = self.translated(self.source.write(**order), order)
        packet.label ^= 1
        self.assertEqual(self.source.check(packet.write(), **order)["faults"]["other"], 1)

    def test_udp_without_a_checksum_is_a_fault(self):
        order = {"flow": 0, "direction": FORWARD, "kind": DATA, "family": IPV6}
        frame = bytearray(self.translated(self.source.write(**order), order).write())
        frame[60:62] = bytes(2)
        self.assertEqual(self.source.check(bytes(frame), **order)["faults"]["transport_checksum"], 1)

    def test_what_was_dropped_or_answered_is_not_verified(self):
        for order in self.orders():
            given = self.source.write(**order)
            self.assertEqual(self.source.check(given, **order)["untouched"], 1)
            packet = Packet.read(given)
            packet.ends.reverse()
            found = self.source.check(packet.write(), **order)
            self.assertEqual((found["answered"], found["checked"]), (1, 0))


if __name__ == "__main__":
    unittest.main()
