"""Runs the checks of the package. Those for which Debian's packages could not be had may be skipped."""

import sys

from . import test_contents, test_life
from ..suite import run

if __name__ == "__main__":
    sys.exit(run([test_contents, test_life], may_be_skipped=lambda reason: reason.startswith(test_life.NO_DEBIAN)))
