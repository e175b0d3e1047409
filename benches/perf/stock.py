"""The same comparison with stock parts alone: a trace that net_pcap repeats, forward only, no plugin."""

import os

import traces
from measure import Point, Proof, spread
from traffic import CLIENTS, VIP, VIP_PORT, Traffic

FRAMES = 4096


class Stock(Point):
    """No page and no warm-up: UDP needs none, and the programs count for themselves."""

    def start(self):
        self.lbd = self.start_lbd("natlb", self.binaries)
        self.proof = Proof(self.lbd, self.traffic)
        self.lbd.pause()
        self.start_testpmd()


def run(machine, binaries, rounds, seconds):
    trace = os.path.join(machine.directory, "trace.pcap")
    traffic = Traffic(flows=FRAMES, protocols="udp", direction="forward", trace=trace)
    traces.write(trace, FRAMES, traces.Frames(vip=VIP, clients=CLIENTS, port=VIP_PORT, services=traffic.services))
    with Stock(machine, traffic, binaries) as point:
        point.start()
        found = point.rounds(rounds, seconds, lambda *_: None)
        point.lbd.run()
        status = point.lbd.status()
    connections = sum(worker["connections"] for worker in status["workers"])
    drops = {reason: count for reason, count in status["drops"].items() if count}
    problems = [] if connections == FRAMES else [f"the table holds {connections} connections of {FRAMES}"]
    problems += [f"frames were dropped: {drops}"] if drops else []
    return {
        "name": traffic.name(),
        "traffic": vars(traffic),
        "capacity": point.capacity,
        "ratio": spread([r["natlb"]["mpps"] / r["5tswap"]["mpps"] for r in found]),
        "net_cycles": {"natlb": spread([r["natlb"]["cycles"] - r["io"]["cycles"] for r in found])},
        **{
            what: {key: spread([r[what][key] for r in found]) for key in ("mpps", "cycles", "nanoseconds")}
            for what in ("io", "5tswap", "natlb")
        },
        "proof": {"connections_after": connections, "check_after": {"drops": drops}, "problems": problems},
    }
