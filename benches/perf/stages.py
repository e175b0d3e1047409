"""Where a packet's cycles go, and how long turns take: by a build of lbd that measures (benches/measured)."""

import json
import os
import signal
import time

from measure import Point, Proof

SECONDS = 2.0
SETTLE_SECONDS = 1.0
STAGES = ("receive", "decode", "resolve", "transmit", "rest")


class Staged(Point):
    """Only lbd, as it is built to measure."""

    def start(self):
        self.path = os.path.join(self.machine.directory, "stages.json")
        self.lbd = self.start_lbd("natlb", self.binaries, {"LBD_MEASURE": self.path})
        self.proof = Proof(self.lbd, self.traffic)

    def measure_stages(self, seconds):
        self.lbd.process.send_signal(signal.SIGUSR1)
        time.sleep(seconds)
        self.lbd.process.send_signal(signal.SIGUSR2)
        self.lbd.wait_for(lambda: os.path.exists(self.path), "the stages' figures", 10)
        with open(self.path) as file:
            found = json.load(file)
        # The next run waits for a file of its own.
        os.remove(self.path)
        return found


def run(machine, traffic, binaries, capacity=None):
    with Staged(machine, traffic, binaries, capacity) as point:
        point.start()
        time.sleep(SETTLE_SECONDS)
        found = point.measure_stages(SECONDS)
        hz = point.lbd.tsc_hz()
        point.proof.connections("after")
        point.proof.frames("check_after")
    packets = found["packets"]
    nanoseconds = lambda cycles: cycles / hz * 1e9
    return {
        "name": traffic.name(),
        "flows": traffic.flows,
        "capacity": point.capacity,
        "turns": found["turns"],
        "packets_a_turn": packets / found["turns"],
        "cycles": {stage: found[stage] / packets for stage in STAGES},
        "turn_ns": {
            "percentiles": [(at, nanoseconds(cycles)) for at, cycles in found["percentiles"]],
            "most": nanoseconds(found["most"]),
            "histogram": [(nanoseconds(start), nanoseconds(end), turns) for start, end, turns in found["turn_cycles"]],
        },
        "proof": point.proof.found,
    }


def show(found):
    cycles = ", ".join(f"{stage} {found['cycles'][stage]:.1f}" for stage in STAGES)
    turns = ", ".join(f"p{at:g} {ns / 1000:.1f}" for at, ns in found["turn_ns"]["percentiles"])
    print(f"{found['name']}: cycles a packet by stage: {cycles}")
    print(f"    turns of {found['packets_a_turn']:.0f} packets, microseconds: {turns}, most {found['turn_ns']['most'] / 1000:.0f}", flush=True)
