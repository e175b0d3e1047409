"""Runs a folder's tests of unittest; what is skipped is said, and a failure where CI=true."""

import os
import sys
import unittest


def run(modules=(), cases=(), may_be_skipped=lambda reason: False):
    """Runs the tests of these modules and cases, in this order; with words on the command line, those whose names have
    one of them. `may_be_skipped`: whether one that is skipped for this reason is no failure, in CI too. Returns the
    exit code."""
    loader = unittest.TestLoader()
    if sys.argv[1:]:
        loader.testNamePatterns = [f"*{name}*" for name in sys.argv[1:]]
    of_modules, of_cases = map(loader.loadTestsFromModule, modules), map(loader.loadTestsFromTestCase, cases)
    suite = unittest.TestSuite([*of_modules, *of_cases])
    if suite.countTestCases() == 0:
        sys.exit("no test has such a name")
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    for test, reason in result.skipped:
        print(f"SKIPPED {test.id()}: {reason}")
    print(f"{result.testsRun} tests, {len(result.failures) + len(result.errors)} failed, {len(result.skipped)} skipped")
    missing = [reason for _, reason in result.skipped if not may_be_skipped(reason)]
    return 0 if result.wasSuccessful() and not (missing and os.environ.get("CI") == "true") else 1
