"""TRex's profiles, loaded by TRex's own client: the packets that they make, against lbd.toml."""

import base64
import json
import os
import subprocess
import unittest
from ipaddress import IPv4Address

from .kit import NIC, Addresses, Frame

STL, ASTF = str(NIC / "trex/natlb_stl.py"), str(NIC / "trex/natlb_astf.py")
LOADER = os.path.join(os.path.dirname(__file__), "trex_packets.py")
SYN, ACK = 0x02, 0x10


def loaded(cases):
    python = os.environ.get("TREX_PYTHON")
    if not python:
        raise unittest.SkipTest("TRex's Python client could not be installed (above)")
    done = subprocess.run([python, LOADER], input=json.dumps(cases), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def stl(direction, *tunables):
    return "stl", STL, direction, list(tunables)


def frame(stream):
    return Frame(base64.b64decode(stream["packet"]["binary"]))


def instruction(stream, kind):
    return [step for step in stream["vm"]["instructions"] if step["type"] == kind]


class Stateless(unittest.TestCase):
    def setUp(self):
        self.addresses = Addresses("trex")

    def assert_connections(self, stream, reply, protocol, clients, ports, size):
        vip, vip_port, real, real_port = self.addresses.services[protocol]
        packet = frame(stream)
        self.assertEqual(len(packet.data), size - 4)
        self.assertEqual(packet.protocol, protocol)
        self.assertTrue(packet.header_right)
        (generator,) = instruction(stream, "tuple_flow_var")
        first = generator["ip_min"]
        self.assertEqual(generator["ip_max"] - first + 1, clients)
        self.assertEqual(generator["port_max"] - generator["port_min"] + 1, ports)
        self.assertGreaterEqual(generator["port_min"], 1024, "port 20 is never scheduled")
        self.assertEqual(generator["limit_flows"], clients * ports, "else TRex stops at 100,000")
        client = (str(IPv4Address(first)), generator["port_min"])
        expected = (real, real_port, *client) if reply else (*client, vip, vip_port)
        self.assertEqual(packet.ends(), expected)
        # IPv4's source is at 26, its destination at 30; the ports follow the header of 20 bytes.
        writes = {step["name"]: step["pkt_offset"] for step in instruction(stream, "write_flow_var")}
        self.assertEqual(writes, {"client.ip": 30 if reply else 26, "client.port": 36 if reply else 34})
        if protocol == "udp":
            self.assertEqual(packet.checksum, 0)
            (fix,) = instruction(stream, "fix_checksum_ipv4")
            self.assertEqual(fix["pkt_offset"], 14)
        else:
            self.assertTrue(packet.transport_right)
            (fix,) = instruction(stream, "fix_checksum_hw")
            self.assertEqual((fix["l2_len"], fix["l3_len"]), (14, 20))

    def assert_latency(self, stream, reply):
        """Returns its client."""
        vip, vip_port, real, real_port = self.addresses.services["udp"]
        packet = frame(stream)
        self.assertEqual(packet.protocol, "udp")
        self.assertEqual(packet.checksum, 0, "TRex changes the payload")
        self.assertGreaterEqual(len(packet.payload), 16, "TRex's record")
        ends = packet.ends()
        self.assertEqual(ends[:2] if reply else ends[2:], (real, real_port) if reply else (vip, vip_port))
        return ends[2:] if reply else ends[:2]

    def test_connections_and_latency_in_both_directions(self):
        cases = [(direction, protocol, size) for direction in (0, 1) for protocol in ("udp", "tcp")
                 for size in (64, 1518)]
        answers = loaded([stl(d, "--protocol", p, "--size", str(s)) for d, p, s in cases])
        clients = set()
        for (direction, protocol, size), streams in zip(cases, answers):
            with self.subTest(direction=direction, protocol=protocol, size=size):
                connections, latency = streams
                self.assert_connections(connections, direction == 1, protocol, 1024, 64, size)
                self.assertEqual(connections["mode"]["type"], "continuous")
                if protocol == "tcp":
                    self.assertEqual(frame(connections).flags, ACK)
                clients.add(self.assert_latency(latency, direction == 1))
                self.assertEqual(latency["flow_stats"]["rule_type"], "latency")
                self.assertEqual(latency["flow_stats"]["stream_id"], 7 + direction, "one for each port")
        self.assertEqual(len(clients), 1, "the replies of the latency stream belong to its connection")
        client = IPv4Address(clients.pop()[0])
        self.assertFalse(IPv4Address("16.0.0.1") <= client < IPv4Address("16.0.0.1") + (1 << 24) - 1)

    def test_opening_sends_each_connection_once(self):
        for protocol, flags in (("udp", None), ("tcp", (SYN, SYN | ACK))):
            tunables = ("--load", "open", "--protocol", protocol, "--clients", "1000", "--ports", "1000")
            for direction, (stream, latency) in enumerate(loaded([stl(0, *tunables), stl(1, *tunables)])):
                self.assert_latency(latency, direction == 1)
                self.assertEqual((latency["mode"]["type"], latency["mode"]["total_pkts"]), ("single_burst", 1))
                self.assert_connections(stream, direction == 1, protocol, 1000, 1000, 64)
                self.assertEqual((stream["mode"]["type"], stream["mode"]["total_pkts"]), ("single_burst", 1_000_000))
                if flags:
                    self.assertEqual(frame(stream).flags, flags[direction])

    def test_a_flood_is_of_syns_from_clients_alone(self):
        tunables = ("--load", "flood", "--protocol", "tcp", "--latency-pps", "0")
        forward, reverse = loaded([stl(0, *tunables), stl(1, *tunables)])
        self.assertEqual([frame(stream).flags for stream in forward], [SYN])
        self.assertEqual(forward[0]["mode"]["type"], "continuous")
        self.assertEqual(reverse, [])

    def test_addresses_are_tunable_and_mistakes_refused(self):
        wrong = [("--size", "60"), ("--load", "flood"), ("--ports", "65000"), ("--clients", "0")]
        other, *refused = loaded([stl(0, "--vip", "198.18.0.7", "--vip-port", "53"), *(stl(0, *w) for w in wrong)])
        self.assertEqual(frame(other[0]).ends()[2:], ("198.18.0.7", 53))
        self.assertEqual(frame(other[1]).ends()[2:], ("198.18.0.7", 53))
        self.assertEqual(refused, ["refused"] * len(wrong))


class Stateful(unittest.TestCase):
    def test_connections_go_to_the_vip_and_reals_listen(self):
        vip, vip_port, _, real_port = Addresses("trex").services["tcp"]
        small, large = loaded([("astf", ASTF, 0, []),
                               ("astf", ASTF, 0, ["--size", "32768", "--cps", "2500", "--clients", "10"])])
        for profile, size, cps, clients in ((small, 1, 1000, 4096), (large, 32768, 2500, 10)):
            (template,) = profile["templates"]
            client, server = template["client_template"], template["server_template"]
            self.assertEqual((client["port"], client["cps"]), (vip_port, cps))
            # No range of addresses: a real is found by its port, whatever address natlb put in.
            self.assertEqual(server["assoc"], [{"port": real_port}])
            ranges = {entry["dir"]: (entry["ip_start"], entry["ip_end"]) for entry in profile["ip_gen_dist_list"]}
            self.assertEqual(ranges["s"], (vip, vip))
            first, last = map(IPv4Address, ranges["c"])
            self.assertEqual(int(last) - int(first) + 1, clients)
            texts = [base64.b64decode(text) for text in profile["buf_list"]]
            programs = [program["commands"] for program in profile["program_list"]]
            request, response = (texts[programs[side][step]["buf_index"]] for side, step in ((0, 0), (1, 1)))
            self.assertTrue(request.startswith(b"GET / HTTP/1.1\r\n") and request.endswith(b"\r\n\r\n"))
            head, body = response.split(b"\r\n\r\n", 1)
            self.assertEqual(len(body), size)
            self.assertIn(f"Content-Length: {size}".encode(), head)
            # Each side waits for the whole of what the other one sends.
            self.assertEqual([programs[0][1]["min_bytes"], programs[1][0]["min_bytes"]], [len(response), len(request)])
