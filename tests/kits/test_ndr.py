"""The search for the rate without loss, with a double for TRex's client and natlb behind it."""

import contextlib
import importlib.util
import io
import subprocess
import sys
import unittest

from .kit import NIC

FILE = NIC / "trex/natlb_ndr.py"
spec = importlib.util.spec_from_file_location("natlb_ndr", FILE)
natlb_ndr = importlib.util.module_from_spec(spec)
spec.loader.exec_module(natlb_ndr)


class Double:
    """Forwards up to `capacity` packets a second of each port, and sends up to `strength`."""

    def __init__(self, capacity, strength=1e9, deaf=False):
        self.capacity, self.strength, self.deaf = capacity, strength, deaf
        self.streams, self.stats, self.log = {}, {}, []

    def reset(self, ports):
        self.streams = {}

    def add_streams(self, streams, ports):
        self.streams[ports[0]] = streams

    def clear_stats(self, ports):
        self.stats = {port: {"opackets": 0, "ipackets": 0} for port in ports}

    def start(self, ports, force, mult, duration=-1):
        assert sorted(self.streams) == ports, "nothing sends that has no streams"
        self.log.append((tuple(ports), mult))
        for port in ports:
            (tunables,) = self.streams[port]
            if tunables[:2] == ["--load", "open"]:
                assert (mult, duration) == ("1", -1), "a burst is neither scaled nor cut off"
                sent, received = 65536, 0 if self.deaf else 65536
            else:
                rate = min(float(mult.removesuffix("pps")), self.strength)
                sent, received = int(rate * duration), int(min(rate, self.capacity) * duration)
            self.stats[port]["opackets"] += sent
            self.stats[1 - port]["ipackets"] += received

    def wait_on_traffic(self, ports, rx_delay_ms):
        assert rx_delay_ms >= 2000

    def get_stats(self):
        return self.stats


def measure(client, *words):
    options = natlb_ndr.parse(["--highest", "14.88e6", *words])
    measurement = natlb_ndr.Measurement(client, lambda _port, tunables: [tunables], options)
    with contextlib.redirect_stdout(io.StringIO()):
        return measurement.result()


class Search(unittest.TestCase):
    def test_the_rate_is_found_from_below(self):
        for capacity in (0.2e6, 3e6, 14e6):
            rate = measure(Double(capacity))
            self.assertLessEqual(rate, capacity)
            self.assertLess(capacity - rate, 14.88e6 * 0.005)

    def test_the_line_itself_and_nothing_at_all(self):
        self.assertEqual(measure(Double(20e6)), 14.88e6)
        self.assertEqual(measure(Double(0)), 0)

    def test_a_tolerated_loss_finds_more(self):
        strict, tolerant = measure(Double(3e6)), measure(Double(3e6), "--loss", "10")
        self.assertGreater(tolerant, strict)
        self.assertLessEqual(tolerant * 0.9, 3e6)

    def test_connections_are_opened_first_from_both_sides(self):
        client = Double(20e6)
        measure(client, "--", "--size", "128")
        self.assertEqual(client.log[:3], [((0,), "1"), ((1,), "1"), ((0, 1), "14880000pps")])
        self.assertEqual(client.streams[1], [["--load", "run", "--size", "128"]])

    def test_what_proves_nothing_is_refused(self):
        for client, text in ((Double(20e6, deaf=True), "opening: 65536 of 65536"), (Double(20e6, strength=5e6), "sent")):
            with self.assertRaises(SystemExit) as refused:
                measure(client)
            self.assertIn(text, str(refused.exception))

    def test_without_trexs_client_it_says_what_is_missing(self):
        done = subprocess.run([sys.executable, "-B", FILE, "--highest", "1e6"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("PYTHONPATH", done.stderr)
