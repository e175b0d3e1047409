"""Runs the tests of the page in their order."""

import sys

from . import test_page
from ..suite import run

if __name__ == "__main__":
    sys.exit(run(cases=test_page.CASES))
