"""IPv6, and both address families at once, against IPv4: one lbd that serves both, so that only the traffic differs.

In each round every program gets all kinds of traffic one after the other, in an order that changes: IPv4 alone, IPv6
alone, and both, half of each. Of both, packets are of either family by chance ("half", which the goal is set for), or in
turn ("alternating"): so every burst has both, and the two tell what it costs that a processor can't foresee which one
comes. Each kind has as many connections. Packets are equally long in all, so making them costs the source about the same.
"""

import time

from measure import SETTLE_SECONDS, Point, in_words, middle_half, spread, window
from page import FAMILIES
from traffic import Traffic

FLOWS = (1_000, 64_000, 1_000_000)
PROGRAMS = ("io", "5tswap", "natlb")
NAMES = {"ipv4": "IPv4", "ipv6": "IPv6", "half": "half and half", "alternating": "alternating"}
# Until caches have what the next kind of traffic needs.
CHANGE_SECONDS = 0.05
# A sample of frames that testpmd's 5tswap sends.
SWAP_SECONDS = 0.1
# Packets of IPv6 among those verified.
IPV6_SHARES = {"ipv4": 0, "ipv6": 1, "half": 0.5, "alternating": 0.5}
# How far a share may be from its expectation when packets are drawn, in standard deviations.
DEVIATIONS = 5


class Families(Point):
    def round(self, programs, families, seconds):
        """{program: {families: a window}}"""
        found = {}
        for what in programs:
            program = self.lbd if what == "natlb" else self.testpmd
            program.run(what)
            time.sleep(SETTLE_SECONDS if program is self.testpmd else self.settle_seconds)
            found[what] = {}
            for kind in families:
                program.page.send(kind)
                time.sleep(CHANGE_SECONDS)
                found[what][kind] = window(program, seconds)
            program.pause()
        return found

    def rounds(self, count, seconds):
        programs, found = list(PROGRAMS), []
        for number in range(count):
            found.append(self.round(programs, order(number), seconds))
            programs = programs[1:] + programs[:1]
        return found

    def finish(self):
        """Verifies frames of every kind, and that they were of the families asked for."""
        self.lbd.run()
        page, proof = self.lbd.page, self.proof
        for kind in FAMILIES:
            page.send(kind)
            before = page.checks()
            # Each adds to the counts of the one before: the last one's are of all.
            proof.frames("check_after")
            after = page.checks()
            proof.found[f"verified_{kind}"] = counts = {key: after[key] - before[key] for key in ("checked", "checked_ipv6")}
            proof.expect(f"{NAMES[kind]}: of {counts['checked']} frames verified {counts['checked_ipv6']} were of IPv6", are_of(kind, **counts))
        proof.connections("after")
        proof.count(self.lbd)
        proof.count(self.testpmd)
        self.prove_swaps()
        return proof.found

    def prove_swaps(self):
        """That 5tswap swaps addresses of IPv6 too: its figures would else be of another job."""
        page = self.testpmd.page
        page.send("ipv6")
        self.testpmd.run("5tswap")
        page.check(1)
        self.testpmd.wait_for(lambda: page.checks()["answered"] > 0, "frames of IPv6 that 5tswap has swapped", 10)
        time.sleep(SWAP_SECONDS)
        page.check(0)
        self.testpmd.pause()
        checks = page.checks()
        swapped, as_given = checks["answered"], checks["untouched"] + checks["checked"]
        self.proof.expect(f"5tswap swapped {swapped} frames of IPv6, and {as_given} not", as_given == 0)


def order(number):
    """Of the kinds in a round: each comes first in turn, and every other round goes the other way, so that none always follows
    the same one."""
    first = number // 2 % len(FAMILIES)
    kinds = FAMILIES[first:] + FAMILIES[:first]
    return kinds if number % 2 == 0 else tuple(reversed(kinds))


def are_of(kind, checked, checked_ipv6):
    """Whether so many of IPv6 among the frames verified are what this kind of traffic has."""
    share = IPV6_SHARES[kind]
    deviation = (share * (1 - share) * checked) ** 0.5
    return checked > 0 and abs(checked_ipv6 - share * checked) <= DEVIATIONS * deviation


def run(machine, binaries, flows, rounds, seconds):
    traffic = Traffic(flows=flows, families="both")
    with Families(machine, traffic, binaries) as point:
        point.start()
        found = point.rounds(rounds, seconds)
        proof = point.finish()
        memory = [line.strip() for line in open(point.lbd.log, errors="replace") if "memory:" in line]
    return {
        "name": traffic.name(), "flows": flows, "traffic": vars(traffic), "capacity": point.capacity,
        **judged(found), "rounds": found, "proof": proof, "memory": memory,
    }  # fmt: skip


def judged(rounds):
    """Spreads over the rounds, by program and kind. Ratios are of windows of one round: `to_ipv4` of rates, of the same
    program; `to_5tswap` of natlb's rates, on the same traffic; `net_cycles` are natlb's less io's on the same traffic."""
    of = lambda what, kind, key: [each[what][kind][key] for each in rounds]
    paired = lambda a, b: [one / other for one, other in zip(a, b)]
    mpps = lambda what, kind: of(what, kind, "mpps")
    every = lambda figure: {what: {kind: figure(what, kind) for kind in FAMILIES} for what in PROGRAMS}
    return {
        "to_ipv4": {what: {kind: spread(paired(mpps(what, kind), mpps(what, "ipv4"))) for kind in FAMILIES[1:]} for what in PROGRAMS},
        "to_5tswap": {kind: spread(paired(mpps("natlb", kind), mpps("5tswap", kind))) for kind in FAMILIES},
        "net_cycles": {
            kind: spread([natlb - io for natlb, io in zip(of("natlb", kind, "cycles"), of("io", kind, "cycles"))]) for kind in FAMILIES
        },
        **{key: every(lambda what, kind: spread(of(what, kind, key))) for key in ("mpps", "cycles")},
    }


def show(found):
    natlb, net = found["to_ipv4"]["natlb"], found["net_cycles"]
    print(f"{found['name']}, to IPv4's rate: " + ", ".join(f"{NAMES[kind]} {in_words(natlb[kind], 3)}" for kind in FAMILIES[1:]))
    for kind in FAMILIES:
        rates = ", ".join(f"{what} {found['mpps'][what][kind]['median']:.2f}" for what in PROGRAMS)
        lower, upper = middle_half(net[kind])
        print(
            f"    {NAMES[kind]:13} Mpps: {rates}; natlb : 5tswap {in_words(found['to_5tswap'][kind])}; "
            f"net cycles {net[kind]['median']:.1f} ({lower:.0f}-{upper:.0f})",
            flush=True,
        )
