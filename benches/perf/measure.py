"""One point of the comparison: testpmd's `io` and `5tswap` and natlb in turns, over the same traffic."""

import statistics
import time

from programs import Failed, Lbd, Testpmd

DEFAULT_CAPACITY = 1 << 20
# Windows are short, so that programs that are compared run close in time: a host may be half as fast a second later.
# There are many, for each is off by the kernel's interval of counting CPU time (4 ms) and by the host's other work.
ROUNDS = 25
WINDOW_SECONDS = 0.15
# A program that was paused first makes up for what it missed: a pass of the table's sweep.
SETTLE_SECONDS = 0.15
SETTLE_SECONDS_PER_MILLION = 0.05
CHECK_SECONDS = 0.3
CHECK_EVERY = 7
# Times its length, for a thread that is not run in it.
LONGEST_WINDOW = 20
QUIET_SECONDS = 5
# How far a program's own count of frames may be from the source's.
COUNT_TOLERANCE = 0.001
# How far connections opened, made and timed out may be from each other: the moments of asking, and the sweep's pace.
BALANCE_TOLERANCE = 0.05


def window(program, seconds):
    """Rate and cost over a window: both from the frames that the source handed out."""
    cpu, (given, began) = program.cpu_seconds(), program.frames_at()
    # On a busy machine a thread may not be run at all for so long: then the window goes on.
    for _ in range(LONGEST_WINDOW):
        time.sleep(seconds)
        cpu_end, (given_end, ended) = program.cpu_seconds(), program.frames_at()
        frames, cpu_used, passed = given_end - given, cpu_end - cpu, ended - began
        if frames > 0 and cpu_used > 0:
            break
    else:
        raise Failed(f"{program.name}: {frames} frames in {passed:.2f} s, {cpu_used:.2f} s of them on the CPU: does another real-time program poll there?")
    # Rates are per second of the polling thread's CPU time: what others take from it is not its fault.
    return {
        "mpps": frames / cpu_used / 1e6,
        "cycles": program.tsc_hz() * cpu_used / frames,
        "nanoseconds": cpu_used / frames * 1e9,
        "wall_mpps": frames / passed / 1e6,
        "cpu_share": cpu_used / passed,
    }


def spread(values):
    """The median, both quartiles, the least and the most. Single rounds are off by what the host does meanwhile."""
    quartiles = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return {
        "median": statistics.median(values), "least": min(values), "lower": quartiles[0], "upper": quartiles[2], "most": max(values),
        "rounds": len(values),
    }  # fmt: skip


def middle_half(spread):
    """Both quartiles; of a run from before there were any, the least and the most."""
    return spread.get("lower", spread["least"]), spread.get("upper", spread["most"])


def in_words(spread, digits=2):
    """The median and the quartiles."""
    lower, upper = middle_half(spread)
    return f"{spread['median']:.{digits}f} ({lower:.{digits}f}-{upper:.{digits}f})"


class Proof:
    """What shows that a run did what it claims."""

    def __init__(self, lbd, traffic):
        self.lbd, self.traffic = lbd, traffic
        self.found = {"problems": []}

    def expect(self, what, holds):
        if not holds:
            self.found["problems"].append(what)

    def same(self, what, count, other, other_count):
        """Two counts of a few seconds, taken one after the other while frames pass."""
        self.expect(f"{count} were {what}, {other_count} {other}", abs(count - other_count) <= BALANCE_TOLERANCE * count)

    def connections(self, when):
        status = self.lbd.status()
        count = sum(worker["connections"] for worker in status["workers"])
        self.found[f"connections_{when}"] = count
        if not self.traffic.opens:
            self.expect(f"{when}: the table holds {count} connections of {self.traffic.established}", count == self.traffic.established)

    def frames(self, when):
        """Verifies a sample of frames, then stops the traffic and accounts for every frame."""
        page = self.lbd.page
        page.check(CHECK_EVERY)
        time.sleep(CHECK_SECONDS)
        page.hold(True)
        received, sent, drops = self.quiet_totals()
        given, own = page.given, page.own
        page.check(0)
        checks = page.checks()
        self.found[when] = {"given": given, "received": received, "sent": sent, "own": own, "drops": drops, **checks}
        self.expect(f"{when}: {given} frames were given, {received} received", given == received)
        dropped = sum(drops.values())
        self.expect(
            f"{when}: {received} frames came and {own} were made, {sent} went, {dropped} were dropped",
            # What is answered counts as dropped for its reason, and the answer as sent.
            received + own == sent + dropped if not dropped else received + own <= sent + dropped,
        )
        self.expect(f"{when}: {checks['faulty']} of {checks['checked']} frames are wrong: {checks['faults']}", checks["faulty"] == 0)
        self.expect(f"{when}: no frame was verified", checks["checked"] > 0)
        if not self.traffic.opens:
            self.expect(f"{when}: frames were dropped: {drops}", not drops)
            self.expect(f"{when}: {checks['answered']} frames were answered", checks["answered"] == 0)
        page.hold(False)
        return drops

    def quiet_totals(self):
        """Frames received and sent, and drops, when nothing is under way any more: a thread that was pre-empted may
        still hold bursts, received and not yet sent."""
        page, deadline = self.lbd.page, time.monotonic() + QUIET_SECONDS
        while True:
            time.sleep(0.05)
            status = self.lbd.status()
            received, sent = (sum(port[key] for port in status["ports"]) for key in ("rx_packets", "tx_packets"))
            drops = {reason: count for reason, count in status["drops"].items() if count}
            all_gone = received == page.given and received + page.own <= sent + sum(drops.values())
            if all_gone or time.monotonic() > deadline:
                return received, sent, drops

    def count(self, program):
        given, own = program.page.given, program.own_count()
        # Taken one after the other, while frames pass.
        self.expect(
            f"{program.name} counts {own} frames, the source {given}", abs(own - given) <= max(COUNT_TOLERANCE * given, 10**6)
        )


class Point:
    """The programs of one point, alive at the same time, of which one runs."""

    def __init__(self, machine, traffic, binaries, capacity=None, timeouts=None, against=None, label=""):
        self.label = label  # of its programs, where two points are alive at once
        self.machine, self.traffic, self.against = machine, traffic, against
        self.capacity = capacity or max(DEFAULT_CAPACITY, traffic.flows)
        self.settle_seconds = SETTLE_SECONDS + SETTLE_SECONDS_PER_MILLION * self.capacity / 1e6
        self.programs = []
        self.binaries = binaries
        self.timeouts = timeouts or {"tcp": 900, "tcp_fin": 120, "udp": 300}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in self.programs:
            program.stop()

    def start(self):
        self.lbd = self.start_lbd("natlb" + self.label, self.binaries)
        self.proof = Proof(self.lbd, self.traffic)
        self.proof.connections("before")
        self.proof.frames("check_before")
        self.lbd.pause()
        if self.against:
            self.other = self.start_lbd("other", self.against)
            self.other.pause()
        self.start_testpmd()
        self.testpmd.run("io")
        self.testpmd.wait_for(lambda: self.testpmd.page.warm, "end of the warm-up")
        self.testpmd.pause()

    def start_testpmd(self):
        # Known before it has started: what fails on the way is ended too.
        self.testpmd = Testpmd.__new__(Testpmd)
        self.programs.append(self.testpmd)
        self.testpmd.__init__(self.machine, self.traffic, "testpmd" + self.label)

    def start_lbd(self, name, binaries, environment=None):
        lbd = Lbd.__new__(Lbd)
        self.programs.append(lbd)
        lbd.__init__(self.machine, self.traffic, binaries, self.capacity, self.timeouts, name, environment)
        if not self.traffic.trace:
            lbd.warm_up()
        return lbd

    def measure(self, what, seconds):
        program = {"natlb": self.lbd, "other": getattr(self, "other", None)}.get(what, self.testpmd)
        program.run(what)
        time.sleep(SETTLE_SECONDS if program is self.testpmd else self.settle_seconds)
        found = window(program, seconds)
        program.pause()
        return found

    def rounds(self, count, seconds, progress):
        rounds, order = [], ["io", "5tswap", "natlb", *(["other"] if self.against else [])]
        for number in range(count):
            found = {what: self.measure(what, seconds) for what in order}
            order = order[1:] + order[:1]
            rounds.append(found)
            progress(number + 1, found)
        return rounds

    def finish(self):
        self.lbd.run()
        self.proof.connections("after")
        self.proof.frames("check_after")
        self.proof.count(self.lbd)
        self.proof.count(self.testpmd)
        return self.proof.found


def run_point(machine, traffic, binaries, rounds, seconds, progress, **more):
    with Point(machine, traffic, binaries, **more) as point:
        point.start()
        found = point.rounds(rounds, seconds, progress)
        proof = point.finish()
        memory = [line.strip() for line in open(point.lbd.log, errors="replace") if "memory:" in line]
        commands = {program.name: " ".join(program.command) for program in point.programs}
    values = lambda what, key: [round_[what][key] for round_ in found]
    ratios = [round_["natlb"]["mpps"] / round_["5tswap"]["mpps"] for round_ in found]
    nets = {what: [round_[what]["cycles"] - round_["io"]["cycles"] for round_ in found] for what in ("5tswap", "natlb")}
    against = {"natlb_to_other": spread([r["natlb"]["mpps"] / r["other"]["mpps"] for r in found])} if point.against else {}
    return {
        "name": traffic.name(),
        "traffic": vars(traffic),
        "capacity": point.capacity,
        **against,
        "ratio": spread(ratios),
        "net_cycles": {what: spread(nets[what]) for what in nets},
        **{
            what: {key: spread(values(what, key)) for key in ("mpps", "cycles", "nanoseconds", "wall_mpps", "cpu_share")}
            for what in ("io", "5tswap", "natlb")
        },
        "rounds": found,
        "proof": proof,
        "memory": memory,
        "commands": commands,
    }
