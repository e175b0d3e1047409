"""What scrapes of metrics cost the packet path: windows with one a second and without any, in pairs."""

import os
import socket
import threading
import time

from measure import Point, Proof, in_words, spread, window
from programs import Lbd
from traffic import REALS, Traffic, VIP

# Long enough for one scrape in each.
WINDOW_SECONDS = 1.0
LEAST_PAIRS = 15
# Services besides those of the traffic, each with so many reals: none; and so many that there are nearly as many reals
# as have metrics of their own unless the file says otherwise.
SERVICES, REALS_EACH = (0, 30), 64
FIRST_PORT = 20_000
MOST_COST = 0.005


class Shown(Lbd):
    """lbd with metrics, and with services besides those of the traffic. Their reals are one host, whose MAC is known."""

    def __init__(self, services, *arguments):
        self.services = services
        super().__init__(*arguments)

    def configuration(self):
        self.metrics = f"{self.socket}.metrics"
        lines = super().configuration().replace("[control]\n", f'[control]\nmetrics = "unix:{self.metrics}"\n', 1).splitlines()
        for service in range(self.services):
            lines += ["[[service]]", f'listen = "tcp://{VIP}:{FIRST_PORT + service}"']
            for real in range(REALS_EACH):
                lines += ["[[service.real]]", f'address = "{REALS}:{FIRST_PORT + real}"', "weight = 1"]
        return "\n".join(lines) + "\n"

    def other_cpu_seconds(self):
        """CPU time of all threads but the one that polls."""
        tasks, total = f"/proc/{self.process.pid}/task", 0
        for task in os.listdir(tasks):
            if int(task) != self.thread:
                with open(f"{tasks}/{task}/schedstat") as file:
                    total += int(file.read().split()[0])
        return total / 1e9


class Alone(Point):
    """Only this lbd."""

    def start(self, services):
        # Known before it has started: what fails on the way is ended too.
        self.lbd = Shown.__new__(Shown)
        self.programs.append(self.lbd)
        self.lbd.__init__(services, self.machine, self.traffic, self.binaries, self.capacity, self.timeouts)
        self.lbd.warm_up()
        self.proof = Proof(self.lbd, self.traffic)


class Scraper(threading.Thread):
    """Scrapes when it is told to, on the core that does not poll."""

    def __init__(self, path, core):
        super().__init__(daemon=True)
        self.path, self.core = path, core
        self.wanted, self.is_over = threading.Semaphore(0), False
        self.bytes, self.times, self.faults = [], [], []

    def run(self):
        os.sched_setaffinity(0, {self.core})
        while self.wanted.acquire() and not self.is_over:
            began = time.monotonic()
            try:
                text = self.scrape()
                if not text.startswith(b"HTTP/1.1 200 ") or not text.endswith(b"0\r\n\r\n"):
                    self.faults.append(text[:100])
            except OSError as fault:
                self.faults.append(repr(fault))
                continue
            self.bytes.append(len(text))
            self.times.append(time.monotonic() - began)

    def scrape(self):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(self.path)
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: lbd\r\n\r\n")
            return b"".join(iter(lambda: connection.recv(1 << 16), b""))

    def end(self):
        self.is_over = True
        self.wanted.release()
        self.join()


def run(machine, binaries, pairs):
    """The throughput with a scrape each second to that without, with few reals and with many."""
    points = [run_point(machine, binaries, max(pairs, LEAST_PAIRS), services) for services in SERVICES]
    problems = [problem for point in points for problem in point["proof"]["problems"]]
    return {"name": "scrapes meanwhile", "points": points, "proof": points[-1]["proof"] | {"problems": problems}}


def run_point(machine, binaries, pairs, services):
    traffic = Traffic(flows=1_000)
    with Alone(machine, traffic, binaries) as point:
        point.start(services)
        point.proof.frames("check_before")
        scraper = Scraper(point.lbd.metrics, machine.main_core)
        scraper.start()
        found, cpu = {True: [], False: []}, {True: [], False: []}
        for pair in range(pairs):
            # By turns in both orders: what gets slower all the time is no difference.
            for scrapes in (pair % 2 == 0, pair % 2 == 1):
                time.sleep(0.1)
                before = point.lbd.other_cpu_seconds()
                if scrapes:
                    scraper.wanted.release()
                found[scrapes].append(window(point.lbd, WINDOW_SECONDS))
                cpu[scrapes].append(point.lbd.other_cpu_seconds() - before)
        scraper.end()
        point.proof.frames("check_after")
        point.proof.connections("after")
        point.proof.expect(f"scrapes failed: {scraper.faults[:1]}", not scraper.faults)
        point.proof.expect(f"{len(scraper.bytes)} scrapes in {pairs} windows", len(scraper.bytes) == pairs)
    mpps = {scrapes: [each["mpps"] for each in windows] for scrapes, windows in found.items()}
    return {
        "traffic": vars(traffic),
        "reals": services * REALS_EACH + len(traffic.endpoints()),
        "bytes": spread(scraper.bytes),
        "seconds": spread(scraper.times),
        "control_seconds": spread([busy - idle for busy, idle in zip(cpu[True], cpu[False])]),
        "mpps_quiet": spread(mpps[False]),
        "mpps_scraping": spread(mpps[True]),
        "ratio": spread([with_it / without for with_it, without in zip(mpps[True], mpps[False])]),
        "most_cost": MOST_COST,
        "proof": point.proof.found,
    }


def show(found):
    for point in found["points"]:
        ratio, size, took = point["ratio"], point["bytes"]["median"], point["seconds"]["median"]
        print(
            f"a scrape each second of {point['reals']} reals ({size / 1e6:.2f} MB in {took * 1e3:.0f} ms, of which lbd computes for "
            f"{point['control_seconds']['median'] * 1e3:.1f} ms): {in_words(ratio, 4)} of the throughput without, {ratio['rounds']} pairs of "
            f"{WINDOW_SECONDS} s, from {ratio['least']:.4f} to {ratio['most']:.4f}",
            flush=True,
        )
