"""Restarts lbd again and again under load, and prints what it cost: the time without forwarding, and what was lost.

Not among the tests that `tests/lab/run` runs: how long a gap is depends on what else the machine does; test_restart.py has
what does not. See scripts/restarts.
"""

import argparse
import os
import signal
import statistics
import sys
import time
from dataclasses import replace

from .restarting import WAYS, config
from .testbed import Testbed, Unavailable
from .traffic.load import WHOLE, Load, services

# Seconds without a restart before the first one, whose gaps are the machine's and the instrument's.
QUIET = 5
# What else the machine does is not to be seen in the gaps: a balancer has cores of its own.
BEFORE_OTHERS = ("nice", "-n", "-15")
# Held connections that are lost, flows of datagrams that have another real, downloads that are not whole; of new
# connections those that were made, those that were not while nothing was forwarded, and those that failed otherwise.
HEAD = (f"{'workers':>7} {'way':10} {'times':>5} {'gap: median':>11} {'worst':>7} {'quiet':>7} {'longest wait':>12} "
        f"{'lost':>9} {'astray':>7} {'cut off':>9} {'new ones made':>15} {'not: gap':>8} {'otherwise':>9}")


def measure(bed, workers, way, times, size):
    """Prints one row; returns what must not have happened, in words."""
    with bed.lbd(config(bed, workers), services(), BEFORE_OTHERS) as daemon:
        with Load(bed, size) as load:
            began = time.monotonic()
            time.sleep(QUIET)
            quiet = load.gap(began)
            load.gaps.clear()
            gaps, waits = [], []
            for _ in range(times):
                began = time.monotonic()
                WAYS[way](daemon)
                load.settle(time.monotonic())
                gaps.append(load.gap(began))
                waits.append(load.longest_wait(began))
            outcome = load.finish()
    milliseconds = lambda seconds: f"{seconds * 1000:.0f} ms"
    of = lambda part, whole: f"{part}/{whole}"
    print(f"{workers:7} {way:10} {times:5} {milliseconds(statistics.median(gaps)):>11} {milliseconds(max(gaps)):>7} "
          f"{milliseconds(quiet):>7} {milliseconds(max(waits)):>12} {of(len(outcome.lost), size.connections):>9} "
          f"{len(outcome.wrong):>7} {of(len(outcome.broken), outcome.whole + len(outcome.broken)):>9} "
          f"{of(outcome.made, outcome.begun):>15} {len(outcome.in_gap):>8} {len(outcome.failed):>9}", flush=True)
    return outcome.losses()


def main():
    arguments = argparse.ArgumentParser(prog="scripts/restarts", description=__doc__.split("\n")[0])
    arguments.add_argument("--times", type=int, default=20, help="restarts of each kind (default: 20)")
    arguments.add_argument("--connections", type=int, default=WHOLE.connections, help=f"held meanwhile (default: {WHOLE.connections})")
    arguments.add_argument("--openings", type=float, default=WHOLE.openings, help=f"new ones a second (default: {WHOLE.openings})")
    arguments.add_argument("--workers", type=int, action="append", help="this number of workers (default: 1 and 2)")
    arguments.add_argument("ways", nargs="*", metavar="WAY", help=f"{', '.join(WAYS)} (default: all)")
    options = arguments.parse_args()
    if unknown := set(options.ways) - set(WAYS):
        arguments.error(f"unknown: {', '.join(unknown)}")
    size = replace(WHOLE, connections=options.connections, lines=options.connections / 2, openings=options.openings)
    try:
        bed = Testbed()
    except Unavailable as reason:
        sys.exit(f"no lab here: {reason}")
    # So that what was started is stopped, too.
    for end in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(end, lambda number, _: sys.exit(128 + number))
    faults = []
    try:
        print(HEAD)
        for workers in options.workers or (1, 2):
            for way in options.ways or WAYS:
                if fault := measure(bed, workers, way, options.times, size):
                    faults.append(f"{workers} worker(s), {way}:\n{fault}")
                bed.reset()
    finally:
        bed.remove()
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    os.setpgrp()
    main()
