"""Runs the checks of the kits."""

import sys

from . import test_configurations, test_expect, test_ndr, test_pktgen, test_testpmd, test_trex
from ..suite import run

if __name__ == "__main__":
    sys.exit(run([test_configurations, test_expect, test_ndr, test_pktgen, test_testpmd, test_trex]))
