"""Runs the checks of the alert rules; what is skipped is said, and a failure where CI=true."""

import os
import sys
import unittest

from . import test_alerts


def main():
    loader = unittest.TestLoader()
    if sys.argv[1:]:
        loader.testNamePatterns = [f"*{name}*" for name in sys.argv[1:]]
    suite = loader.loadTestsFromModule(test_alerts)
    if suite.countTestCases() == 0:
        sys.exit("no test has such a name")
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    for test, reason in result.skipped:
        print(f"SKIPPED {test.id()}: {reason}")
    print(f"{result.testsRun} tests, {len(result.failures) + len(result.errors)} failed, {len(result.skipped)} skipped")
    return 0 if result.wasSuccessful() and not (result.skipped and os.environ.get("CI") == "true") else 1


if __name__ == "__main__":
    sys.exit(main())
