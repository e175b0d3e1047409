"""Runs the checks of the package; what is skipped is said, and a failure where CI=true,
unless Debian's packages could not be had."""

import os
import sys
import unittest

from . import test_contents, test_life

MODULES = (test_contents, test_life)


def main():
    loader = unittest.TestLoader()
    if sys.argv[1:]:
        loader.testNamePatterns = [f"*{name}*" for name in sys.argv[1:]]
    suite = unittest.TestSuite(loader.loadTestsFromModule(module) for module in MODULES)
    if suite.countTestCases() == 0:
        sys.exit("no test has such a name")
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    for test, reason in result.skipped:
        print(f"SKIPPED {test.id()}: {reason}")
    print(f"{result.testsRun} tests, {len(result.failures) + len(result.errors)} failed, {len(result.skipped)} skipped")
    missing = [reason for _, reason in result.skipped if not reason.startswith(test_life.NO_DEBIAN)]
    return 0 if result.wasSuccessful() and not (missing and os.environ.get("CI") == "true") else 1


if __name__ == "__main__":
    sys.exit(main())
