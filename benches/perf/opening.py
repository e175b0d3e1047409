"""Traffic that opens connections all the time, and changes of the configuration meanwhile."""

import json
import os
import socket
import statistics
import threading
import time

from measure import Point, Proof, in_words, spread, window
from traffic import MOST_ENDPOINTS, REALS, Traffic, VIP, VIP_PORT

MOST_CAPACITY = 20_000_000
# Until as many time out as are made: a second of timeout, four of a pass of the sweep over so large a table.
FILL_SECONDS = 6
WINDOWS = 10
WINDOW_SECONDS = 1.0
# What a new connection's packet is compared with.
ESTABLISHED_FLOWS = 10_000_000
COST_ROUNDS = 7
COST_SECONDS = 0.7
CHANGES_PER_SECOND = 1000
CHANGES_PRIORITY = 1  # below that of the polling thread


def kinds():
    return [
        Traffic(flows=MOST_ENDPOINTS, pattern="new", protocols="udp"),
        Traffic(flows=1_000_000, pattern="connections", protocols="tcp"),
    ]


class Alone(Point):
    """Only lbd."""

    def start(self, name="natlb"):
        self.lbd = self.start_lbd(name, self.binaries)
        self.proof = Proof(self.lbd, self.traffic)


def run(machine, traffic, binaries):
    """Connections opened per second, set-up and expiry (or TIME_WAIT reused) in balance."""
    is_new = traffic.pattern == "new"
    more = {"capacity": MOST_CAPACITY, "timeouts": {"tcp": 900, "tcp_fin": 120, "udp": 1}} if is_new else {}
    with Alone(machine, traffic, binaries, **more) as point:
        point.start()
        lbd = point.lbd
        time.sleep(FILL_SECONDS)
        windows, live = [], []
        counted, opened = lbd.worker(), lbd.page.connections
        for _ in range(WINDOWS):
            before, cpu = lbd.page.connections, lbd.cpu_seconds()
            found = window(lbd, WINDOW_SECONDS)
            found["connections"] = (lbd.page.connections - before) / (lbd.cpu_seconds() - cpu)
            live.append(sum(worker["connections"] for worker in lbd.status()["workers"]))
            windows.append(found)
        opened = lbd.page.connections - opened
        worker = lbd.worker()
        balance = {key: worker[key] - counted[key] for key in ("created", "expired", "evicted")}
        point.proof.found["balance"] = {"opened": opened, **balance}
        point.proof.expect(f"{balance['evicted']} connections had to give way", balance["evicted"] == 0)
        point.proof.frames("check_after")
        point.proof.connections("after")
        drops = point.proof.found["check_after"]["drops"]
        point.proof.expect(f"dropped: {drops}", not drops)
        if is_new:
            # Entries live a second, and until the sweep comes by: four seconds at most for so large a table.
            rate = max(found["connections"] * found["cpu_share"] for found in windows)
            point.proof.same("opened", opened, "made", balance["created"])
            point.proof.same("made", balance["created"], "timed out", balance["expired"])
            point.proof.expect(f"{max(live)} connections live at {rate:.0f} a second with a timeout of 1 s", max(live) < 5.5 * rate)
    return {
        "name": traffic.name(),
        "traffic": vars(traffic),
        "capacity": point.capacity,
        **{key: spread([found[key] for found in windows]) for key in ("connections", "mpps", "cycles", "cpu_share")},
        "live": live,
        "proof": point.proof.found,
    }


def run_cost(machine, binaries):
    """Cycles of a new connection's packet, and of one of 10 M established: UDP from clients alone, in turns."""
    established = Traffic(flows=ESTABLISHED_FLOWS, protocols="udp", direction="forward")
    new = Traffic(flows=MOST_ENDPOINTS, pattern="new", protocols="udp")
    timeouts = {"tcp": 900, "tcp_fin": 120, "udp": 1}
    with Point(machine, established, binaries) as one, Alone(machine, new, binaries, MOST_CAPACITY, timeouts) as other:
        one.start()
        other.start("new")
        other.lbd.pause()
        rounds = []
        for _ in range(COST_ROUNDS):
            found = {what: one.measure(what, COST_SECONDS) for what in ("io", "natlb")}
            other.lbd.run()
            # Whatever lived has timed out meanwhile: until set-up and expiry are in balance again.
            time.sleep(FILL_SECONDS)
            found["new"] = window(other.lbd, COST_SECONDS)
            other.lbd.pause()
            rounds.append(found)
        proof = one.finish()
        other.lbd.run()
        worker = other.lbd.worker()
        for what in ("evicted", "connections"):
            proof[f"new_{what}"] = worker[what]
        if worker["evicted"]:
            proof["problems"].append(f"{worker['evicted']} new connections had to give way")
    cycles = lambda what: [r[what]["cycles"] for r in rounds]
    net = lambda what: [r[what]["cycles"] - r["io"]["cycles"] for r in rounds]
    return {
        "name": "a new connection's packet, against one of 10 M established",
        "traffic": vars(established),
        "cycles": {"io": spread(cycles("io")), "established": spread(cycles("natlb")), "new": spread(cycles("new"))},
        "ratio": spread([new / old for new, old in zip(cycles("new"), cycles("natlb"))]),
        "net_ratio": spread([new / old for new, old in zip(net("new"), net("natlb"))]),
        "rounds": rounds,
        "proof": proof,
    }


def show_cost(found):
    cycles = {what: found["cycles"][what]["median"] for what in found["cycles"]}
    print(
        f"{found['name']}: {cycles['new']:.0f} against {cycles['established']:.0f} cycles, {in_words(found['ratio'])} times; "
        f"net of io ({cycles['io']:.0f}) {found['net_ratio']['median']:.2f} times",
        flush=True,
    )


def show(found):
    millions = {key: count / 1e6 for key, count in found["connections"].items()}
    print(
        f"{found['name']}: {in_words(millions)} M connections/s, {found['mpps']['median']:.2f} Mpps, "
        f"{found['cycles']['median']:.0f} cycles a packet, {found['live'][-1] / 1e6:.2f} M live",
        flush=True,
    )


class Changer(threading.Thread):
    """Adds a real to a service and removes it again, at a fixed pace."""

    def __init__(self, path, prioritised):
        super().__init__(daemon=True)
        self._prioritised = prioritised
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._answers = self._socket.makefile("r")
        self._go, self._end = threading.Event(), False
        self.changes, self.behind, self.refused = 0, 0.0, []

    def _ask(self, command):
        listen = f"tcp://{VIP}:{VIP_PORT}"
        request = {"v": 1, "command": command, "service": listen, "real": REALS.rsplit(".", 1)[0] + ".250:80"}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(self._answers.readline())
        if "ok" not in answer:
            self.refused.append(answer)

    def run(self):
        if self._prioritised:
            prioritise(0)
        while not self._end:
            self._go.wait()
            due, added = time.monotonic(), False
            while self._go.is_set() or added:
                self._ask("del-real" if added else "add-real")
                added = not added
                self.changes += 1
                due += 1 / CHANGES_PER_SECOND
                self.behind = max(self.behind, time.monotonic() - due)
                time.sleep(max(0, due - time.monotonic()))

    def go(self, going):
        (self._go.set if going else self._go.clear)()

    def end(self):
        self._end = True
        self._go.set()
        self._go.clear()


def prioritise(thread):
    """So that the pace is kept on a busy machine; 0: this thread."""
    os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(CHANGES_PRIORITY))


def run_changes(machine, binaries, rounds, seconds):
    """Throughput with and without a real added and removed 1,000 times a second."""
    traffic = Traffic(flows=1_000_000)
    with Alone(machine, traffic, binaries) as point:
        point.start()
        point.proof.frames("check_before")
        if machine.priority:
            prioritise(point.lbd.process.pid)
        changer = Changer(point.lbd.socket, bool(machine.priority))
        changer.start()
        quiet, busy, rates = [], [], []
        for number in range(2 * rounds):
            changing = number % 2 == 1
            changer.go(changing)
            time.sleep(0.1)
            changes, began = changer.changes, time.monotonic()
            (busy if changing else quiet).append(window(point.lbd, seconds)["mpps"])
            if changing:
                rates.append((changer.changes - changes) / (time.monotonic() - began))
        # The sample is verified while changes go on: every connection keeps its real.
        point.lbd.page.check(7)
        time.sleep(0.3)
        changer.go(False)
        point.proof.frames("check_after")
        point.proof.connections("after")
        changer.end()
        point.proof.expect(f"{statistics.median(rates):.0f} changes a second only", statistics.median(rates) > 0.95 * CHANGES_PER_SECOND)
        point.proof.expect(f"changes were refused: {changer.refused[:1]}", not changer.refused)
    return {
        "name": "a real added and removed meanwhile",
        "traffic": vars(traffic),
        "changes_per_second": spread(rates),
        "mpps_quiet": spread(quiet),
        "mpps_changing": spread(busy),
        "ratio": spread([b / q for b, q in zip(busy, quiet)]),
        "proof": point.proof.found,
    }


def show_changes(found):
    print(
        f"{found['changes_per_second']['median']:.0f} changes a second: {in_words(found['ratio'], 3)} of the throughput without",
        flush=True,
    )
