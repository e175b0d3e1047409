"""Short connections among established ones: how much work a turn does at most, and a table that is kept full."""

import time

from measure import Point, Proof, spread, window
from traffic import Traffic

# A quarter of the connections are long, the others live 15 s: half a million a second expire. Few enough are long that
# none of them is without a packet for so long, on a slow machine either.
BOUNDS_LIVE = 10_000_000
BOUNDS_FLOWS = 2_500_000
BOUNDS_RATE = 500_000
BOUNDS_TIMEOUT = 15
BOUNDS_CAPACITY = 16_000_000
BOUNDS_SECONDS = 10
# A pass of the sweep over so large a table takes four seconds.
BOUNDS_FILL_SECONDS = BOUNDS_TIMEOUT + 5
# By docs/bounds.md: buckets examined in a turn that has packets, ways of a bucket; frames of a turn, and of the
# burst before it that waited. What is dead in a new connection's home bucket may go beside.
SWEEP_BUCKETS, WAYS = 64, 4
MOST_SWEPT = SWEEP_BUCKETS * WAYS
MOST_CREATED = 3 * 32
MOST_EXPIRED = MOST_SWEPT + MOST_CREATED * WAYS
# Regions of 16 buckets: one, and one for each eight connections made in the turn before.
MOST_MOVED = (1 + MOST_CREATED // 8) * 16 * WAYS

FULL_FLOWS = 200_000
FULL_CAPACITY = 400_000
FULL_RATE = 400_000
FULL_SECONDS = 10
CHECK_ALL_SECONDS = 6
ANSWER_SECONDS = 3


class Busy(Point):
    """Only lbd, every established connection answered before short ones come."""

    def start(self):
        self.lbd = self.start_lbd("natlb", self.binaries)
        self.proof = Proof(self.lbd, self.traffic)
        self.lbd.wait_for(lambda: self.lbd.page.given > 2 * self.traffic.flows, "the warm-up's end")
        time.sleep(ANSWER_SECONDS)
        held = self.lbd.worker()["connections"]
        self.proof.expect(f"before: the table holds {held} connections of {self.traffic.flows}", held == self.traffic.flows)

    def windows(self, seconds):
        found, live = [], []
        for _ in range(seconds):
            found.append(window(self.lbd, 1.0))
            live.append(self.lbd.worker()["connections"])
        return found, live


def run_bounds(machine, binaries):
    """10 M connections, of which half a million a second expire: the most work of any turn, by the worker's counters."""
    traffic = Traffic(flows=BOUNDS_FLOWS, protocols="udp", new_rate=BOUNDS_RATE)
    timeouts = {"tcp": 900, "tcp_fin": 120, "udp": BOUNDS_TIMEOUT}
    with Busy(machine, traffic, binaries, BOUNDS_CAPACITY, timeouts) as point:
        point.start()
        page, proof = point.lbd.page, point.proof
        page.open(BOUNDS_RATE)
        time.sleep(BOUNDS_FILL_SECONDS)
        before, began = point.lbd.worker(), time.monotonic()
        found, live = point.windows(BOUNDS_SECONDS)
        after, passed = point.lbd.worker(), time.monotonic() - began
        rates = {key: (after[key] - before[key]) / passed for key in ("created", "expired", "evicted")}
        # Since the start: the warm-up, which opens connections alone, is in it.
        most = {key: after[key] for key in ("most_swept", "most_expired", "most_created", "most_moved")}
        page.open(0)
        proof.frames("check_after")
        proof.connections("after")
    drops = proof.found["check_after"]["drops"]
    proof.expect(f"dropped: {drops}", not drops)
    proof.expect(f"{rates['expired']:.0f} connections expired a second", rates["expired"] > 0.9 * BOUNDS_RATE)
    proof.expect(f"{min(live)} connections were live at least", min(live) >= BOUNDS_LIVE)
    proof.expect(f"{rates['evicted']:.0f} connections a second had to give way", rates["evicted"] == 0)
    bounds = {"most_swept": MOST_SWEPT, "most_expired": MOST_EXPIRED, "most_created": MOST_CREATED, "most_moved": MOST_MOVED}
    for key, bound in bounds.items():
        proof.expect(f"{key}: {most[key]} in one turn, at most {bound} are allowed", 0 < most[key] <= bound)
    return {
        "name": "work in one turn", "traffic": vars(traffic), "capacity": point.capacity, "live": live, "per_second": rates,
        "most": most, "bounds": bounds,
        **{key: spread([w[key] for w in found]) for key in ("mpps", "cycles")}, "proof": proof.found,
    }  # fmt: skip


def show_bounds(found):
    most, rates = found["most"], found["per_second"]
    print(
        f"{found['name']}: {found['live'][-1] / 1e6:.1f} M live, {rates['expired'] / 1e6:.2f} M expired and {rates['created'] / 1e6:.2f} M made a "
        f"second; the most of any turn: {most['most_swept']} examined, {most['most_expired']} expired, {most['most_created']} made, "
        f"{most['most_moved']} moved "
        f"(bounds {', '.join(str(bound) for bound in found['bounds'].values())})",
        flush=True,
    )


def run_full(machine, binaries):
    """A table that short connections keep full: none is refused, and no established one gives way."""
    traffic = Traffic(flows=FULL_FLOWS, new_rate=FULL_RATE)
    with Busy(machine, traffic, binaries, FULL_CAPACITY) as point:
        point.start()
        lbd, page, proof = point.lbd, point.lbd.page, point.proof
        page.open(FULL_RATE)
        time.sleep(2)
        found, live = point.windows(FULL_SECONDS)
        # Every frame verified, for so long that each established connection is seen in both directions many times.
        page.check(1)
        short = page.connections
        time.sleep(CHECK_ALL_SECONDS)
        page.open(0)
        page.hold(True)
        time.sleep(0.2)
        worker, opened, checks = lbd.worker(), page.connections, page.checks()
        seen = (checks["checked"] - (opened - short)) / FULL_FLOWS
        page.hold(False)
        proof.frames("check_after")
        proof.connections("after")
    drops = proof.found["check_after"]["drops"]
    proof.found["table"] = {"opened": opened, **{key: worker[key] for key in ("created", "expired", "evicted", "connections")}}
    proof.expect(f"dropped: {drops}", not drops)
    proof.expect(f"the table held {min(live)} of {FULL_CAPACITY}", min(live) >= 0.99 * FULL_CAPACITY)
    proof.expect(f"{worker['evicted']} gave way", worker["evicted"] > FULL_CAPACITY)
    # One that had been lost would be made again by its next packet (UDP), or its packets be dropped (TCP).
    proof.expect(
        f"{FULL_FLOWS} and {opened} connections were opened, {worker['created']} made", worker["created"] == FULL_FLOWS + opened
    )
    proof.expect(f"each established connection was verified {seen:.0f} times only", seen > 10)
    return {
        "name": "a table kept full", "traffic": vars(traffic), "capacity": point.capacity, "live": live, "opened": opened,
        "evicted": worker["evicted"], "verified": checks["checked"], "verified_each": seen,
        **{key: spread([w[key] for w in found]) for key in ("mpps", "cycles")}, "proof": proof.found,
    }  # fmt: skip


def show_full(found):
    print(
        f"{found['name']}: {FULL_FLOWS:,} established of {found['capacity']:,} places, {found['opened']:,} short ones opened, {found['evicted']:,} "
        f"of them gave way; {found['verified']:,} frames verified, {found['mpps']['median']:.2f} Mpps",
        flush=True,
    )
