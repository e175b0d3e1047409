"""Several workers against one: natlb and testpmd over a simulated NIC with RSS, each thread with queues and a source of its own.

The NIC is ../rss_source: it leads flows to queues by the key and the table that the program has set. Both cores are polled
while a window lasts, so nothing else runs then but this process, which is more urgent and sleeps.
"""

import dataclasses
import os
import signal
import statistics
import time
from contextlib import contextmanager

import measure
from measure import CHECK_EVERY, CHECK_SECONDS, DEFAULT_CAPACITY, QUIET_SECONDS, in_words, spread
from page import Page
from programs import Failed, Lbd, Testpmd
from traffic import Traffic, human

FLOWS = (1_000, 64_000)  # of each thread
SETTLE_SECONDS = 0.1
# Short windows, many rounds: the two of a pair are to see the same machine.
SECONDS = 0.12
ROUNDS = 36
STARTS = 3
LEAST_STRETCHES = 5
# Of the window, as CPU time of each polling thread.
LEAST_SHARE = 0.7
TRIES = 3
TIMEOUTS = {"tcp": 900, "tcp_fin": 900, "udp": 900}
MODES = ("io", "5tswap")
BUFFERS = 8192
CACHE = 256


@dataclasses.dataclass(frozen=True)
class Spread(Traffic):
    """Uniform traffic, of which each queue has its flows."""

    from_pools = False

    def buffers(self):
        return BUFFERS, CACHE, 2048


class Threads:
    """What a program with several polling threads has more than one with one. Before `Lbd` or `Testpmd` among the bases."""

    threads = ()

    def _start(self, command, environment=None, **more):
        self.pages = [Page(f"{self.page.path}.{queue}") for queue in range(len(self.cores))]
        self.hold(True)
        super()._start(command, {"LD_PRELOAD": self.machine.rss_source, **(environment or {})}, **more)

    def find_thread(self):
        """The sources name them when they are first asked."""

    def ready(self):
        """Waits until all flows were shown, and pauses."""
        self.wait_for(lambda: all(page.alive for page in self.pages), "first turn of every thread")
        self.threads = [page.thread for page in self.pages]
        for thread, core in zip(self.threads, self.cores):
            if os.sched_getaffinity(thread) != {core}:
                self._fail(f"the thread of core {core} runs on {os.sched_getaffinity(thread)}")
        # As urgent as in a window: a thread that has to wait for its core lets the rings to it run full.
        with more_urgent(self.machine.priority):
            self.go_on(urgent=True)
            self.hold(False)
            self.wait_for(lambda: all(page.warm for page in self.pages), "end of the warm-up")
            self.pause()

    def hold(self, held):
        for page in self.pages:
            page.hold(held)

    def go_on(self, urgent=False):
        for thread in self.threads:
            wanted = (os.SCHED_RR, self.machine.priority) if urgent and self.machine.priority else (os.SCHED_OTHER, 0)
            os.sched_setscheduler(thread, wanted[0], os.sched_param(wanted[1]))
        self.process.send_signal(signal.SIGCONT)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)
        for thread in self.threads:
            while self.state(thread) not in ("T", "t"):
                time.sleep(0.001)  # it has to run once more to stop

    def state(self, thread):
        with open(f"/proc/{self.process.pid}/task/{thread}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0]

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.go_on()
        super().stop()

    def cpu_seconds(self):
        """Of each thread."""
        found = []
        for thread in self.threads:
            with open(f"/proc/{self.process.pid}/task/{thread}/schedstat") as file:
                found.append(int(file.read().split()[0]) / 1e9)
        return found

    def all_frames(self):
        return sum(page.given for page in self.pages)


class ManyTestpmd(Threads, Testpmd):
    """In one mode for good, paused by a signal."""

    def begin(self, mode):
        self.run(mode)
        self.ready()


class ManyLbd(Threads, Lbd):
    """lbd with several workers."""


@contextmanager
def more_urgent(priority):
    """This process runs before the polling threads, so that a window ends when it should."""
    if priority:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority + 10))
    try:
        yield
    finally:
        if priority:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def combine(stretches, tsc_hz):
    """A window's figures, from each thread's cycles a frame in each stretch: the medians' rates add up."""
    cycles = [statistics.median(each) for each in stretches]
    return {
        "mpps": sum(tsc_hz / each for each in cycles) / 1e6,
        # Of a packet of any thread.
        "cycles": len(cycles) / sum(1 / each for each in cycles),
        "each_cycles": cycles,
        "stretches": [len(each) for each in stretches],
    }


def window(program, seconds):
    for _ in range(TRIES):
        with more_urgent(program.machine.priority):
            program.go_on(urgent=True)
            time.sleep(SETTLE_SECONDS)
            first, before, began = [page.stretches for page in program.pages], program.cpu_seconds(), time.monotonic()
            time.sleep(seconds)
            stretches = [page.stretch_cycles(start) for page, start in zip(program.pages, first)]
            after, ended = program.cpu_seconds(), time.monotonic()
            program.pause()
        share = min(end - begin for begin, end in zip(before, after)) / (ended - began)
        # The kernel brings a thread's time up to date at its ticks.
        if (share >= LEAST_SHARE or not program.machine.priority) and all(len(each) >= LEAST_STRETCHES for each in stretches):
            return combine(stretches, program.pages[0].tsc_hz)
    raise Failed(f"{program.name}: a polling thread had its core for {share:.0%} of the time: does another real-time program poll there?")


class Proof:
    """That each worker has had its own connections, and all frames were made what they must be."""

    def __init__(self, lbd):
        self.lbd, self.problems, self.found = lbd, [], {}

    def expect(self, what, holds):
        if not holds:
            self.problems.append(f"{self.lbd.name}: {what}")

    def counts(self):
        """Frames received, handed over, and not handed over for want of room. Nothing is received meanwhile: without their
        priority the threads would share the cores with others, and rings run full."""
        self.lbd.hold(True)
        self.lbd.go_on()
        status = self.lbd.status()
        self.lbd.pause()
        self.lbd.hold(False)
        total = lambda key: sum(worker[key] for worker in status["workers"])
        return {"received": total("rx_packets"), "handed_over": total("handed_over"), "ring_full": status["drops"].get("hand_over_full", 0)}

    def quiet_status(self):
        """The status when no frame is under way any more, and how many were given: a thread may wait for its core with a burst."""
        deadline = time.monotonic() + QUIET_SECONDS
        while True:
            time.sleep(0.1)
            status, given = self.lbd.status(), self.lbd.all_frames()
            received, sent = (sum(worker[key] for worker in status["workers"]) for key in ("rx_packets", "tx_packets"))
            if given == received <= sent + sum(status["drops"].values()) or time.monotonic() > deadline:
                return status, given

    def finish(self, before):
        """Verifies a sample, and compares the workers' counts with `before`."""
        lbd = self.lbd
        after = self.counts()
        measured = {key: after[key] - before[key] for key in after}
        lbd.go_on()
        for page in lbd.pages:
            page.check(CHECK_EVERY)
        time.sleep(CHECK_SECONDS)
        lbd.hold(True)
        status, given = self.quiet_status()
        checks = [page.checks() for page in lbd.pages]
        for page in lbd.pages:
            page.check(0)
        lbd.hold(False)
        lbd.pause()
        workers = status["workers"]
        drops = {reason: count for reason, count in status["drops"].items() if count}
        received = sum(worker["rx_packets"] for worker in workers)
        sent = sum(worker["tx_packets"] for worker in workers)
        handed = sum(worker["handed_over"] for worker in workers)
        share = (measured["handed_over"] + measured["ring_full"]) / max(measured["received"], 1)
        flows = lbd.traffic.flows
        connections = [worker["connections"] for worker in workers]
        own = [page.flows_by_direction for page in lbd.pages]
        checked, faulty = (sum(check[key] for check in checks) for key in ("checked", "faulty"))
        if lbd.steering != "software" or lbd.machine.priority:
            self.expect(f"{sum(connections)} connections of {flows}", sum(connections) == flows)
        self.expect(f"{given} frames were given, {received} received", given == received)
        self.expect(f"{received} frames came, {sent} went, {sum(drops.values())} were dropped", received <= sent + sum(drops.values()))
        self.expect(f"{faulty} of {checked} frames are wrong: {[check['faults'] for check in checks]}", checked > 0 and not faulty)
        if lbd.steering != "software":
            self.expect(f"frames were dropped: {drops}", not drops)
            self.expect(f"{handed} frames were handed over", handed == 0)
            self.expect(f"queues have flows {own}, workers connections {connections}", own == [(count, count) for count in connections])
        self.found = {
            "steering": [port["steering"] for port in status["ports"]], "connections": connections, "queues_flows": own,
            "measured": measured, "handed_over_share": share,
            "ring_full_share": measured["ring_full"] / max(measured["received"], 1), "received": received, "sent": sent, "drops": drops, "checked": checked, "faulty": faulty,
        }  # fmt: skip


def run(machine, binaries, flows, rounds, seconds):
    """One point: `flows` of each thread. Where a program's memory lies differs from start to start, so there are some."""
    starts = [one_start(machine, binaries, flows, -(-rounds // STARTS), seconds) for _ in range(STARTS if rounds >= STARTS else 1)]
    proofs = [proof for _, each in starts for proof in each]
    last = {proof.lbd.name: proof.found for proof in proofs}
    two = last["natlb-2"]
    return {
        "name": f"one and two threads, {human(flows)} flows each",
        "flows": flows,
        **judged([(found, each[-1].found["handed_over_share"]) for found, each in starts]),
        "starts": [found for found, _ in starts],
        "workers": last,
        "proof": {
            "problems": [problem for proof in proofs for problem in proof.problems],
            "connections_after": sum(two["connections"]),
            "check_after": {key: two[key] for key in ("checked", "faulty", "drops")},
        },
    }


def one_start(machine, binaries, flows, rounds, seconds):
    """Starts all programs, and returns the rounds' windows and the proofs of each lbd, software's last."""
    one, two = [machine.core], [machine.core, machine.main_core]
    programs = {}

    def start(kind, name, cores, *more, **named):
        # Known before it has started: what fails on the way is ended too.
        program = programs[name] = kind.__new__(kind)
        traffic = Spread(flows=flows * len(cores))
        program.__init__(machine, traffic, *more, name=name.replace(" ", "-"), cores=cores, **named)
        return program

    try:
        for cores in (one, two):
            start(ManyLbd, f"natlb {len(cores)}", cores, binaries, DEFAULT_CAPACITY, TIMEOUTS).ready()
        start(ManyLbd, "natlb 2 software", two, binaries, DEFAULT_CAPACITY, TIMEOUTS, steering="software").ready()
        for mode in MODES:
            for cores in (one, two):
                start(ManyTestpmd, f"{mode} {len(cores)}", cores).begin(mode)
        proofs = [Proof(program) for program in programs.values() if isinstance(program, Lbd)]
        before = [proof.counts() for proof in proofs]
        found = measured(programs, rounds, seconds)
        for proof, counts in zip(proofs, before):
            proof.finish(counts)
    finally:
        for program in programs.values():
            program.stop()
    return found, proofs


def measured(programs, rounds, seconds):
    found = []
    for number in range(rounds):
        # One thread first, then two first.
        order = list(programs) if number % 2 == 0 else list(reversed(programs))
        found.append({name: window(programs[name], seconds) for name in order})
    return found


def judged(starts):
    """Medians of the rounds: how each program scales, to what io does in the same round, and what a hand-over costs. `starts`:
    (rounds, share of packets handed over)."""
    rounds = [each for found, _ in starts for each in found]
    scale = lambda each, name, more="": each[f"{name} 2{more}"]["mpps"] / each[f"{name} 1"]["mpps"]
    to_io = lambda each, name, more="": scale(each, name, more) / scale(each, "io")
    more = " software"
    cost = lambda each, share: (each[f"natlb 2{more}"]["cycles"] - each["natlb 2"]["cycles"]) / share
    costs = [cost(each, share) for found, share in starts if share for each in found]
    return {
        "scaling": {
            **{name: spread([scale(each, name) for each in rounds]) for name in (*MODES, "natlb")},
            "software": spread([scale(each, "natlb", more) for each in rounds]),
        },
        "to_io": {
            **{name: spread([to_io(each, name) for each in rounds]) for name in ("5tswap", "natlb")},
            "software": spread([to_io(each, "natlb", more) for each in rounds]),
        },
        "hand_over_cycles": spread(costs) if costs else None,
        "mpps": {name: spread([each[name]["mpps"] for each in rounds]) for name in rounds[0]},
        "cycles": {name: spread([each[name]["cycles"] for each in rounds]) for name in rounds[0]},
        # Of each start, to io's.
        "start_medians": [statistics.median(to_io(each, "natlb") for each in found) for found, _ in starts],
    }


def show(found):
    print(f"{found['name']}, medians and quartiles of {found['scaling']['io']['rounds']} rounds")
    for name, rate in found["mpps"].items():
        print(f"    {name:17} {in_words(rate, 1):>20} Mpps {in_words(found['cycles'][name], 1):>22} cycles")
    for name, times in found["scaling"].items():
        to_io = found["to_io"].get(name)
        said = "" if to_io is None else f", {in_words(to_io, 3)} of io's"
        print(f"    {name:17} scales {in_words(times, 3)} times{said}")
    print("    natlb, each start: " + ", ".join(f"{each:.3f}" for each in found["start_medians"]))
    if cost := found["hand_over_cycles"]:
        software = found["workers"]["natlb-2-software"]
        lost = software["ring_full_share"]
        print(f"    a hand-over: {in_words(cost, 0)} cycles; {software['handed_over_share']:.1%} of packets, {lost:.2%} lost in full rings", flush=True)
