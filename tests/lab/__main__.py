"""Runs the tests one after the other, each in a process of its own with a time limit."""

import argparse
import os
import sys

from . import runner
from .testbed import Testbed, Unavailable

# Importing a module registers its tests.
from . import test_scheduling, test_listing, test_connections, test_transfer, test_wire  # noqa: F401
from . import test_changes, test_gateway, test_icmp, test_path_mtu, test_neighbours, test_neighbours6  # noqa: F401
from . import test_fragments, test_lifecycle, test_devices, test_interfaces, test_offloads, test_noise  # noqa: F401
from . import test_persistence, test_one_packet, test_thresholds, test_removal, test_ports  # noqa: F401
from . import test_take_over, test_restart, test_workers, test_both_families, test_readme, test_habits  # noqa: F401
from . import test_metrics, test_ipvsadm, test_keepalived, test_ldirectord, test_reload, test_rights  # noqa: F401


def main():
    arguments = argparse.ArgumentParser(prog="tests/lab/run", description=__doc__)
    arguments.add_argument("--list", action="store_true", help="only print the tests' names")
    arguments.add_argument("--workers", type=int, default=1, help="run lbd with so many (default: 1)")
    arguments.add_argument("names", nargs="*", help="run the tests whose names contain one of these")
    arguments.add_argument("--except", action="append", default=[], dest="others", metavar="NAME",
                           help="do not run the tests whose names contain this")
    options = arguments.parse_args()
    named = lambda test, names: any(name in test.name for name in names)
    tests = [t for t in runner.TESTS if not options.names or named(t, options.names)]
    tests = [t for t in tests if not named(t, options.others)]
    if options.list:
        print("\n".join(test.name for test in tests))
        return 0
    if not tests:
        print("no test has such a name: see --list", file=sys.stderr)
        return 2
    try:
        bed = Testbed(options.workers)
    except Unavailable as reason:
        return runner.finish([runner.skipped(test, str(reason)) for test in tests], in_ci())
    try:
        return runner.finish([runner.run(test, bed) for test in tests], in_ci())
    finally:
        bed.remove()


def in_ci():
    return os.environ.get("CI") == "true"


if __name__ == "__main__":
    sys.exit(main())
