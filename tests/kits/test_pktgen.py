"""Pktgen's script: it parses, and what it asks Pktgen for agrees with lbd.toml."""

import os
import subprocess
import unittest
from ipaddress import IPv4Address

from .kit import NIC, ROOT, Addresses

SCRIPT = NIC / "pktgen/range.lua"
MACS = {"MAC0": "02:00:00:00:10:64", "MAC1": "02:00:00:00:00:08"}


def run(**environment):
    """The finished process, with a double in Pktgen's place."""
    environment = {"PATH": os.environ["PATH"], "SECONDS": "2", **environment}
    return subprocess.run(["lua5.4", "tests/kits/pktgen_double.lua", SCRIPT], cwd=ROOT, env=environment,
                          capture_output=True, text=True, timeout=120)


def calls(output):
    """[(name, arguments)] in order."""
    return [(words[1], tuple(words[2:])) for words in map(str.split, output.splitlines()) if words[:1] == ["CALL"]]


def ranges(made, port):
    """{field: {start, min, max, inc}}"""
    fields = {}
    for name, arguments in made:
        if name.startswith("range.") and len(arguments) == 3 and arguments[0] == port:
            fields.setdefault(name.removeprefix("range."), {})[arguments[1]] = arguments[2]
    return fields


def fixed(value, none):
    return {"start": value, "min": value, "max": value, "inc": none}


class Range(unittest.TestCase):
    def made(self, **environment):
        done = run(**MACS, **environment)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return calls(done.stdout)

    def test_it_parses(self):
        subprocess.run(["luac5.4", "-p", SCRIPT], check=True, timeout=120)

    def test_addresses_are_the_configurations(self):
        vip, vip_port, real, real_port = Addresses("pktgen").services["udp"]
        made = self.made(CLIENTS="1000", PORTS="7", SIZE="128")
        last = str(IPv4Address("16.0.0.1") + 999)
        clients = {"start": "16.0.0.1", "min": "16.0.0.1", "max": last, "inc": "0.0.0.1"}
        ports = {"start": "1024", "min": "1024", "max": "1030", "inc": "1"}
        size = fixed("128", "0")
        self.assertEqual(ranges(made, "0"), {
            "dst_mac": {"start": MACS["MAC0"]}, "pkt_size": size, "src_ip": clients, "src_port": ports,
            "dst_ip": fixed(vip, "0.0.0.0"), "dst_port": fixed(str(vip_port), "0")})
        self.assertEqual(ranges(made, "1"), {
            "dst_mac": {"start": MACS["MAC1"]}, "pkt_size": size, "dst_ip": clients, "dst_port": ports,
            "src_ip": fixed(real, "0.0.0.0"), "src_port": fixed(str(real_port), "0")})
        for port in "01":
            self.assertIn(("set_range", (port, "on")), made)
            self.assertIn(("range.ip_proto", (port, "udp")), made)

    def test_each_connection_is_opened_before_anything_is_measured(self):
        made = self.made(CLIENTS="1000", PORTS="7")
        starts = [i for i, made_call in enumerate(made) if made_call[0] == "start"]
        self.assertEqual([made[i][1] for i in starts], [("0",), ("0",), ("1",)])
        self.assertIn(("set", ("0", "count", "7000")), made[:starts[0]])
        self.assertIn(("set", ("0", "count", "0")), made[starts[0]:starts[1]])
        self.assertEqual(made[-1], ("quit", ()))

    def test_forward_alone(self):
        made = self.made(DIRECTION="forward")
        self.assertNotIn(("start", ("1",)), made)

    def test_mistakes_are_refused(self):
        for environment in ({"CLIENTS": "1024", "PORTS": "64"}, {"SIZE": "60"}, {"VIP": "vip"}, {"DIRECTION": "up"}):
            done = run(**MACS, **environment)
            self.assertNotEqual(done.returncode, 0, environment)
            self.assertNotIn("CALL start", done.stdout, environment)
        self.assertIn("MAC0 is not set", run().stderr)
