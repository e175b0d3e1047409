"""Tests of what scripts/perf computes, without any program run: python3 -m unittest discover -s benches/perf -p '*_test.py'"""

import ctypes
import os
import re
import struct
import subprocess
import tempfile
import unittest
from collections import Counter
from xml.etree import ElementTree

import families
import goals
import measure
import peers
import report
import scaling
import traces
from page import STRETCH_BYTE, STRETCHES, STRETCHES_AT, Page
from traffic import Traffic, human, parse_count


def spread(median):
    return {"median": median, "least": median * 0.9, "most": median * 1.1, "rounds": 3}


def point(flows, rates, **traffic):
    """A point of the comparison, as measure.run_point makes it; `rates`: Mpps of io, 5tswap, natlb."""
    kind = Traffic(flows=flows, **traffic)
    cycles = [2600 / rate for rate in rates]
    return {
        "name": kind.name(),
        "traffic": vars(kind),
        "ratio": spread(rates[2] / rates[1]),
        "net_cycles": {"5tswap": spread(cycles[1] - cycles[0]), "natlb": spread(cycles[2] - cycles[0])},
        "memory": ["memory: 64 MiB for DPDK on 2 MiB pages, 381 MiB of connection table on 2 MiB pages"],
        "proof": {"problems": [], "connections_after": flows, "check_after": {"checked": 5, "faulty": 0, "drops": {"no_route": 2}}},
        **{
            name: {"mpps": spread(rate), "cycles": spread(2600 / rate), "nanoseconds": spread(1000 / rate)}
            for name, rate in zip(("io", "5tswap", "natlb"), rates)
        },
    }


def trace(flows, way, mpps):
    figures = {"mpps": spread(mpps), "cycles": spread(2600 / mpps)}
    return {"name": f"{flows} {way}", "flows": flows, "way": way, "steady": True, **dict.fromkeys(("io", "5tswap", "5tswap after", "natlb"), figures), "proof": {"problems": []}}


def staged(flows):
    return {
        "name": str(flows), "flows": flows, "turns": 10, "packets_a_turn": 64.0,
        "cycles": dict.fromkeys(("receive", "decode", "resolve", "transmit", "rest"), 12.0),
        "turn_ns": {"percentiles": [(50.0, 1500.0), (99.9, 9000.0)], "most": 50e6, "histogram": [(1000.0, 2000.0, 9), (4e7, 5e7, 1)]},
        "proof": {"problems": ["<none & nothing>"]},
    }  # fmt: skip


def family_rounds():
    """Three rounds on a machine that slows down: natlb has 0.82 of its IPv4 rate over IPv6 and 0.84 over both, 5tswap 0.9."""
    shares = {"io": (1, 1, 1), "5tswap": (0.9, 0.95, 0.96), "natlb": (0.82, 0.84, 0.9)}
    rounds = []
    for speed in (1, 0.8, 0.5):
        rates = {what: dict(zip(families.FAMILIES, (base, *(base * share for share in shares[what])))) for what, base in (("io", 50), ("5tswap", 40), ("natlb", 20))}
        rounds.append({what: {kind: {"mpps": speed * rate, "cycles": 2600 / rate} for kind, rate in kinds.items()} for what, kinds in rates.items()})
    return rounds


def of_families(flows):
    return {"name": f"{flows} of each", "flows": flows, **families.judged(family_rounds()), "proof": {"problems": []}}


def scaling_rounds():
    """Two starts of two rounds, half of the packets handed over: io scales 2 times, natlb 1.9 times."""
    cycles = {"io 1": 50, "io 2": 50, "5tswap 1": 75, "5tswap 2": 75, "natlb 1": 95, "natlb 2": 100, "natlb 2 software": 220}
    windows = {name: scaling.combine([[each]] * int(name.split()[1]), 2.6e9) for name, each in cycles.items()}
    return [([windows, windows], 0.5)] * 2


def scaled(flows):
    starts = scaling_rounds()
    software = {"handed_over_share": 0.5, "ring_full_share": 0.04}
    return {"name": "scaled", "flows": flows, **scaling.judged(starts), "workers": {"natlb-2-software": software}, "proof": {"problems": []}}


def a_result():
    strain = {"proof": {"problems": []}, "name": "strain"}
    bounds = dict.fromkeys(("most_swept", "most_expired", "most_created", "most_moved"), 256)
    result = {
        "natlb": "lbd 1", "machine": {"cpu": "some"}, "memory": "huge", "memory_note": "", "priority": 20, "load_before": [], "began": "now",
        "command": ["--only", "flows"], "skipped": ["stages: why"],
        "points": [point(count, (50, 36, 30)) for count in (1_000, 64_000, 10_000_000)] + [point(1_000_000, (50, 36, 28), direction="forward")],
        "families": [of_families(1_000), of_families(64_000)], "opening": [], "peers": peers.data(), "traces": [trace(flows, way, 30) for way in peers.WAYS for flows in peers.FLOWS],
        "stages": [staged(1_000), staged(1_000_000)], "scaling": [scaled(1_000), scaled(64_000)],
        "skew": {**strain, "ratio": spread(0.95), "to_5tswap": {"zipf": spread(0.6), "uniform": spread(0.63)}},
        "cost": {**strain, "cycles": {what: spread(100) for what in ("io", "established", "new")}, "ratio": spread(1.9), "net_ratio": spread(2.1)},
        "bounds": {**strain, "most": bounds, "bounds": {**bounds, "most_created": 96}, "live": [10**7], "per_second": {"expired": 5e5}},
        "full": {**strain, "capacity": 9, "traffic": {"flows": 4}, "opened": 3, "evicted": 2, "verified": 1},
        "changes": {**strain, "changes_per_second": spread(1000), "ratio": spread(0.995)},
    }  # fmt: skip
    return {**result, "goals": goals.judge(result)}


class Window(unittest.TestCase):
    def test_it_goes_on_until_the_thread_has_run(self):
        class Starved:
            """Runs for 0.1 s, in which it gets 2 million frames, before the fourth question."""

            name, asked = "starved", 0

            def cpu_seconds(self):
                self.asked += 1
                return 0.1 if self.asked > 3 else 0.0

            def frames_at(self):
                return (2_000_000 if self.asked > 3 else 0), float(self.asked)

            def tsc_hz(self):
                return 2e9

        found = measure.window(Starved(), 0)
        self.assertAlmostEqual(found["mpps"], 20)
        self.assertAlmostEqual(found["cycles"], 100)
        self.assertAlmostEqual(found["wall_mpps"], 2 / 3)


class Zipf(unittest.TestCase):
    FLOWS = 10_000_000
    DRAWS = 1 << 22

    def setUp(self):
        """Ranks for so many numbers at equal distances, from the source's own code."""
        sources = os.path.join(os.path.dirname(__file__), "..", "traffic_source")
        program = """
            #include "zipf.h"
            void draw(uint64_t flows, uint64_t draws, uint32_t *ranks)
            {
                struct zipf zipf;
                zipf_setup(&zipf, flows);
                for (uint64_t i = 0; i < draws; i++)
                    ranks[i] = zipf_draw(&zipf, (uint32_t)(((2 * i + 1) << 31) / draws)) + 1;
            }
        """
        with tempfile.TemporaryDirectory() as directory:
            library = os.path.join(directory, "zipf.so")
            command = ["cc", "-O2", "-fPIC", "-shared", "-x", "c", "-", "-I", sources, "-o", library, "-lm"]
            subprocess.run(command, input=program.encode(), check=True)
            self.ranks = (ctypes.c_uint32 * self.DRAWS)()
            ctypes.CDLL(library).draw(ctypes.c_uint64(self.FLOWS), ctypes.c_uint64(self.DRAWS), self.ranks)

    def test_ranks_come_as_often_as_the_law_says(self):
        counts, harmonic = Counter(self.ranks), sum(1 / k for k in range(1, self.FLOWS + 1))
        for rank in range(1, 9):
            self.assertAlmostEqual(counts[rank] / self.DRAWS * rank * harmonic, 1, delta=0.1 if rank == 1 else 0.03, msg=str(rank))

    def test_the_tail_is_not_a_few_flows(self):
        octaves = {}
        for rank in self.ranks:
            octaves.setdefault(rank.bit_length(), set()).add(rank)
        # As many as there are, or as were drawn there: half as many where two draws often meet.
        drawn = self.DRAWS / (2 * self.FLOWS + 1).bit_length()
        for bits in range(1, self.FLOWS.bit_length()):
            self.assertGreater(len(octaves[bits]), 0.6 * min(1 << (bits - 1), drawn), f"ranks of {bits} bits")
        self.assertEqual((min(self.ranks), max(self.ranks) > 0.99 * self.FLOWS), (1, True))
        self.assertLessEqual(max(self.ranks), self.FLOWS)


class Traces(unittest.TestCase):
    def frame_is_right(self, frame, source, destination):
        self.assertEqual(len(frame), 60)
        self.assertEqual(traces.checksum(frame[14:34]), 0)
        pseudo = frame[26:34] + struct.pack("!BBH", 0, 17, len(frame) - 34)
        self.assertEqual(traces.checksum(pseudo + frame[34:]), 0)
        ends = [(".".join(map(str, frame[at : at + 4])), struct.unpack_from("!H", frame, port)[0]) for at, port in ((26, 34), (30, 36))]
        self.assertEqual(ends, [source, destination])

    def test_frames_of_both_directions_are_right(self):
        for flow, client in ((0, ("10.1.0.1", 1024)), (1023, ("10.1.4.0", 1024)), (1024, ("10.1.0.1", 1025)), (999_999, ("10.1.2.64", 2000))):
            self.frame_is_right(traces.Frames().frame(flow), client, ("10.0.0.100", 80))
            self.frame_is_right(traces.Frames(replies=True).frame(flow), ("10.2.0.2", 80), client)

    def test_a_trace_has_every_flow_once_and_not_in_order(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "trace.pcap")
            traces.write(path, 3000, traces.Frames())
            with open(path, "rb") as file:
                data = file.read()
        frames = [data[at + 16 : at + 76] for at in range(24, len(data), 76)]
        self.assertEqual(len(set(frames)), 3000)
        ordered = [traces.Frames().frame(flow) for flow in range(3000)]
        self.assertNotEqual(frames, ordered)
        self.assertEqual(sorted(frames), sorted(ordered))

    def test_too_many_flows_are_refused(self):
        self.assertRaises(ValueError, traces.write, os.devnull, traces.MOST_FLOWS + 1, traces.Frames())


class Goals(unittest.TestCase):
    def test_each_goal_is_judged_on_its_side(self):
        judged = {each["name"]: each for each in goals.judge(a_result())}
        expected = {
            "natlb : 5tswap, 1 k flows": False,
            "natlb : 5tswap, 10 M flows": True,
            "net of io, 10 M flows": True,
            "10 M connections, memory of the table": True,
            "IPv6 : IPv4, 1 k flows": True,
            "half and half : IPv4, 64 k flows": False,
            "Zipf over 10 M flows : uniform over 64 k, each to its 5tswap": True,
            "a new connection's packet : an established one's, 10 M": True,
            "entries examined in one turn": True,
            "entries made in one turn": False,
            "throughput with 1,000 changes of reals a second": True,
            "two workers : one, to what io scales, 1 k flows each": False,
            "1 M flows of a trace, natlb : VPP nat44-ed, each to its sitting’s 5tswap": True,
        }
        for name, met in expected.items():
            self.assertEqual(judged[name]["met"], met, judged[name])

    def test_both_families_are_not_judged_as_ipv4(self):
        both = point(1_000, (50, 36, 30), families="both")
        self.assertEqual(goals.judge({"points": [both], "opening": []}), [])

    def test_scaling_without_priority_is_not_judged(self):
        self.assertFalse([each for each in goals.judge({**a_result(), "priority": 0}) if "two workers" in each["name"]])

    def test_what_was_not_run_is_not_judged(self):
        empty = {"points": [], "opening": []}
        self.assertEqual(goals.judge(empty), [])


class Families(unittest.TestCase):
    def test_ratios_are_of_one_round(self):
        found = families.judged(family_rounds())
        for what, kind, expected in (("natlb", "ipv6", 0.82), ("natlb", "half", 0.84), ("5tswap", "ipv6", 0.9), ("io", "half", 1)):
            ratio = found["to_ipv4"][what][kind]
            for key in ("least", "median", "most"):
                self.assertAlmostEqual(ratio[key], expected)
            self.assertEqual(ratio["rounds"], 3)
        self.assertAlmostEqual(found["to_5tswap"]["ipv6"]["median"], 0.5 * 0.82 / 0.9)
        self.assertAlmostEqual(found["net_cycles"]["ipv4"]["median"], 2600 / 20 - 2600 / 50)

    def test_no_kind_always_comes_first_or_follows_the_same_one(self):
        orders = [families.order(number) for number in range(8)]
        for kinds in orders:
            self.assertEqual(set(kinds), set(families.FAMILIES))
        for place in range(len(families.FAMILIES)):
            self.assertEqual(Counter(kinds[place] for kinds in orders), dict.fromkeys(families.FAMILIES, 2))
        for kind in families.FAMILIES:
            self.assertGreater(len({kinds[kinds.index(kind) - 1] for kinds in orders if kinds[0] != kind}), 1)

    def test_a_source_that_sends_another_family_is_noticed(self):
        right = {"ipv4": (1000, 0), "ipv6": (1000, 1000), "half": (1000, 530)}
        wrong = {"ipv4": (1000, 1), "ipv6": (1000, 999), "half": (1000, 600)}
        for kind in right:
            self.assertTrue(families.are_of(kind, *right[kind]))
            self.assertFalse(families.are_of(kind, *wrong[kind]))
            self.assertFalse(families.are_of(kind, 0, 0))


class Scaling(unittest.TestCase):
    def test_rates_of_threads_add_up(self):
        found = scaling.combine([[100.0, 90.0, 900.0], [50.0]], 2e9)
        self.assertAlmostEqual(found["mpps"], 20 + 40)
        self.assertAlmostEqual(found["cycles"], 2e9 * 2 / 60e6)
        self.assertEqual(found["stretches"], [3, 1])

    def test_scaling_is_to_io_of_the_same_round(self):
        found = scaled(1_000)
        self.assertAlmostEqual(found["scaling"]["io"]["median"], 2)
        self.assertAlmostEqual(found["scaling"]["natlb"]["median"], 1.9)
        self.assertAlmostEqual(found["to_io"]["natlb"]["median"], 0.95)
        self.assertEqual(found["scaling"]["io"]["rounds"], 4)
        self.assertEqual(len(found["start_medians"]), 2)

    def test_a_hand_over_costs_what_its_share_does_not_explain(self):
        self.assertAlmostEqual(scaled(1_000)["hand_over_cycles"]["median"], (220 - 100) / 0.5)

    def test_nothing_handed_over_costs_nothing(self):
        (windows, _), _ = scaling_rounds()
        self.assertIsNone(scaling.judged([(windows, 0)])["hand_over_cycles"])

    def test_the_page_remembers_the_last_stretches(self):
        with tempfile.TemporaryDirectory() as directory:
            page = Page(os.path.join(directory, "page"))
            for number in range(STRETCHES + 10):
                struct.pack_into("=I", page._map, STRETCH_BYTE + 4 * (number % STRETCHES), 256 * number)
            page._set(STRETCHES_AT, STRETCHES + 10)
            self.assertEqual(page.stretch_cycles(STRETCHES), [STRETCHES + each for each in range(10)])
            # The oldest may be being written.
            self.assertEqual(len(page.stretch_cycles(0)), STRETCHES - 1)


class Report(unittest.TestCase):
    def test_the_page_is_whole_and_needs_nothing_from_outside(self):
        with tempfile.TemporaryDirectory() as directory:
            with open(report.write(a_result(), directory)) as file:
                page = file.read()
        pictures = re.findall(r"<svg.*?</svg>", page, re.S)
        self.assertEqual(len(pictures), 8)
        for picture in pictures:
            ElementTree.fromstring(picture)
        for outside in ("http", "src=", "@import", "url("):
            self.assertNotIn(outside, page)
        self.assertIn("&lt;none &amp; nothing&gt;", page)
        self.assertIn("no_route 2", page)


class Counts(unittest.TestCase):
    def test_counts_are_read_and_written(self):
        self.assertEqual([parse_count(text) for text in ("64k", "1M", "7")], [64_000, 1_000_000, 7])
        self.assertEqual([human(number) for number in (64_000, 1_000_000, 7)], ["64 k", "1 M", "7"])


if __name__ == "__main__":
    unittest.main()
