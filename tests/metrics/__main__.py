"""Runs the checks of the alert rules."""

import sys

from . import test_alerts
from ..suite import run

if __name__ == "__main__":
    sys.exit(run([test_alerts]))
