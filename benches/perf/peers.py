"""natlb on the traces that DPVS and VPP were measured on: net_pcap repeats them, no plugin.

For each trace testpmd first (io, 5tswap), then natlb, then testpmd's 5tswap again: both hold the whole trace in
memory, so one of them runs at a time, and the second 5tswap tells whether the machine was the same all along.
"""

import json
import os
import statistics
import time
from dataclasses import dataclass

import traces
from measure import Point, Proof, spread, window
from traffic import Traffic, human

FLOWS = (1_000, 32_000, 64_000, 1_000_000)
WAYS = ("one-way", "two-way")
WINDOWS = 5
WINDOW_SECONDS = 0.7
# Buffers of this size for large traces, so that two traces of a million frames have room: the same for testpmd.
SMALL_BUFFER, LARGE_TRACE = 1024, 10**5
SPARE_BUFFERS = 8192
# By so much 5tswap may differ before and after.
STEADY = 0.05
PASS_SECONDS = 0.2


@dataclass(frozen=True)
class Trace(Traffic):
    """A trace of requests, and one of replies if `replies` is a file."""

    replies: str = ""

    def devices(self):
        second = f"net_pcap1,rx_pcap={self.replies},infinite_rx=1" if self.replies else "net_null0,no-rx=1"
        return [f"net_pcap0,rx_pcap={self.trace},infinite_rx=1", second]

    def buffers(self):
        return 2 * (self.flows + SPARE_BUFFERS), 256, SMALL_BUFFER if self.flows > LARGE_TRACE else 2048

    def endpoints(self):
        return [("udp", f"{traces.VIP}:{traces.PORT}", f"{traces.REAL}:{traces.PORT}")]

    @property
    def way(self):
        return WAYS[bool(self.replies)]

    def name(self):
        return f"{human(self.flows)} flows, net_pcap, {self.way}"


class Sequence(Point):
    def start_natlb(self):
        self.lbd = self.start_lbd("natlb", self.binaries)
        self.proof = Proof(self.lbd, self.traffic)

    def stop(self):
        while self.programs:
            self.programs.pop().stop()


def data():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers.json")) as file:
        return json.load(file)


def windows(program, seconds, count):
    return [window(program, seconds) for _ in range(count)]


def run(machine, binaries, flows, way, seconds):
    files = [os.path.join(machine.directory, f"{side}-{flows}.pcap") for side in ("requests", "replies")]
    for replies, path in enumerate(files[: 1 + WAYS.index(way)]):
        if not os.path.exists(path):
            traces.write(path, flows, traces.Frames(replies=bool(replies)), seed=traces.SEED + replies)
    traffic = Trace(flows, protocols="udp", trace=files[0], replies=files[1] if way == "two-way" else "")
    found = {}
    with Sequence(machine, traffic, binaries) as point:
        point.start_testpmd()
        for mode in ("io", "5tswap"):
            point.testpmd.run(mode)
            time.sleep(PASS_SECONDS)
            found[mode] = windows(point.testpmd, seconds, WINDOWS)
            point.testpmd.pause()
        point.stop()
        point.start_natlb()
        # Every request has been there once: then no reply is without its connection.
        point.lbd.wait_for(lambda: point.lbd.own_count() > 4 * flows, "a pass over the trace")
        before = point.lbd.status()
        found["natlb"] = windows(point.lbd, seconds, WINDOWS)
        after = point.lbd.status()
        point.stop()
        point.start_testpmd()
        point.testpmd.run("5tswap")
        time.sleep(PASS_SECONDS)
        found["5tswap after"] = windows(point.testpmd, seconds, WINDOWS)
    medians = {what: statistics.median(w["mpps"] for w in found[what]) for what in found}
    moved = medians["5tswap after"] / medians["5tswap"] - 1
    return {
        "name": traffic.name(), "way": way, "flows": flows, "capacity": point.capacity,
        "buffer_bytes": traffic.buffers()[2], "moved": moved, "steady": abs(moved) <= STEADY,
        **{what: {key: spread([w[key] for w in found[what]]) for key in ("mpps", "cycles", "cpu_share")} for what in found},
        "proof": proof(before, after, flows),
    }  # fmt: skip


def proof(before, after, flows):
    worker = after["workers"][0]
    dropped = {reason: count - before["drops"].get(reason, 0) for reason, count in after["drops"].items()}
    dropped = {reason: count for reason, count in dropped.items() if count}
    problems = [] if worker["connections"] == flows else [f"the table holds {worker['connections']} connections of {flows}"]
    problems += [f"frames were dropped: {dropped}"] if dropped else []
    received, sent = (
        sum(port[key] for port in after["ports"]) - sum(port[key] for port in before["ports"]) for key in ("rx_packets", "tx_packets")
    )
    # Read while frames pass. net_pcap without a file to write to counts what it frees as not sent.
    return {"connections_after": worker["connections"], "check_after": {"drops": dropped}, "received": received, "sent": sent, "problems": problems}


def show(found):
    cells = [f"{found[what]['mpps']['median']:.1f}" for what in ("io", "5tswap", "natlb")]
    print(
        f"{found['name']:34} io {cells[0]}, 5tswap {cells[1]} ({found['moved']:+.1%} after), natlb {cells[2]} Mpps, "
        f"{found['natlb']['cycles']['median']:.0f} cycles" + ("" if found["steady"] else "  NOT STEADY: repeat"),
        flush=True,
    )
    peers = data()
    for name in peers["names"]:
        if ratios := compare(found, peers, name):
            least, most = peers[found["way"]][name]["mpps"][str(found["flows"])]
            print(f"    {name:14} {least:g}-{most:g} Mpps: natlb is {ratios[0]:.1f} times that, {ratios[1]:.1f} times with each to its 5tswap", flush=True)


def compare(found, peers, name):
    """natlb's rate over another balancer's: as they are, and each to 5tswap of its own sitting. None: not measured."""
    flows = str(found["flows"])
    theirs = peers[found["way"]].get(name, {}).get("mpps", {}).get(flows)
    if theirs is None:
        return None
    ratio = found["natlb"]["mpps"]["median"] / statistics.mean(theirs)
    # 5tswap is taken before natlb and after it.
    mine = statistics.mean(found[when]["mpps"]["median"] for when in ("5tswap", "5tswap after"))
    return ratio, ratio * statistics.mean(peers["5tswap"][flows]) / mine
