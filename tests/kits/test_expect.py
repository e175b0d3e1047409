"""What scripts/nic/expect derives."""

import importlib.machinery
import importlib.util
import subprocess
import unittest

from .kit import NIC, ROOT

EXPECT = NIC / "expect"
loader = importlib.machinery.SourceFileLoader("expect", str(EXPECT))
expect = importlib.util.module_from_spec(importlib.util.spec_from_loader("expect", loader))
loader.exec_module(expect)


class Expect(unittest.TestCase):
    def test_line_rates_are_ethernets(self):
        # RFC 2544's usual figures for 10 Gbit/s: 14,880,952 and 812,743 frames a second.
        self.assertEqual(round(expect.line_mpps(10, 64) * 1e6), 14_880_952)
        self.assertEqual(round(expect.line_mpps(10, 1518) * 1e6), 812_744)
        self.assertEqual(round(expect.line_mpps(100, 64), 2), 148.81)

    def test_costs_add_up(self):
        # 25 ns of I/O and 25 ns net; a core of twice the clock halves only natlb's part.
        self.assertAlmostEqual(expect.core_mpps(40, 25, 1), 20)
        self.assertAlmostEqual(expect.core_mpps(40, 25, 2), 1000 / 37.5)

    def test_the_designs_table_is_read(self):
        figures = expect.net_nanoseconds((ROOT / "dataplane/DESIGN.md").read_text())
        self.assertEqual(list(figures), ["1 k", "64 k", "1 M", "10 M"])
        self.assertTrue(all(1 < ns < 1000 for ns in figures.values()), figures)
        self.assertEqual(list(figures.values()), sorted(figures.values()))

    def test_another_table_is_refused(self):
        with self.assertRaises(SystemExit):
            expect.net_nanoseconds("| flows | ratio |\n|---|---|\n| 1 k | 0.9 (0.8) |\n")

    def test_it_says_that_nothing_was_measured(self):
        done = subprocess.run([EXPECT, "--io-mpps", "40"], capture_output=True, text=True, check=True)
        self.assertTrue(done.stdout.startswith("Derived, not measured"))
        self.assertIn("14.88", done.stdout)
        wrong = subprocess.run([EXPECT, "--io-mpps", "40", "--clock", "3"], capture_output=True, text=True)
        self.assertEqual(wrong.returncode, 2)
