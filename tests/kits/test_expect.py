"""What scripts/nic/expect derives."""

import importlib.machinery
import importlib.util
import subprocess
import tomllib
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

    def test_the_figures_are_read(self):
        figures = expect.net_nanoseconds(expect.FIGURES.read_text())
        self.assertEqual(list(figures), ["1 k", "64 k", "1 M", "10 M"])
        self.assertTrue(all(1 < ns < 1000 for ns in figures.values()), figures)
        self.assertEqual(list(figures.values()), sorted(figures.values()))

    def test_other_figures_are_refused(self):
        for text in ("", "flows = 1", '[[flows]]\nflows = "1 k"', "not TOML"):
            with self.subTest(text=text), self.assertRaises(SystemExit):
                expect.net_nanoseconds(text)

    def test_the_page_shows_the_figures(self):
        figures = tomllib.loads(expect.FIGURES.read_text())
        page = (ROOT / "docs/measurements/testpmd.md").read_text()
        for row in figures["flows"]:
            least, median, most = row["ratio"]
            shown = f"| {row['flows']} | {median:.2f} ({least:.2f} - {most:.2f}) | {row['net_cycles']} ({row['net_ns']}) |"
            self.assertIn(shown, page)
            self.assertLess(abs(row["net_cycles"] / figures["tsc_ghz"] - row["net_ns"]), 1)

    def test_it_says_that_nothing_was_measured(self):
        done = subprocess.run([EXPECT, "--io-mpps", "40"], capture_output=True, text=True, check=True)
        self.assertTrue(done.stdout.startswith("Derived, not measured"))
        self.assertIn("14.88", done.stdout)
        wrong = subprocess.run([EXPECT, "--io-mpps", "40", "--clock", "3"], capture_output=True, text=True)
        self.assertEqual(wrong.returncode, 2)
