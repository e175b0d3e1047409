"""Registers tests and runs each in a child process, so that a hanging one can be ended with all it started."""

import os
import select
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Callable

from .families import IPV4, Family

TESTS = []


class Skip(Exception):
    """Raised by a test that cannot run here; the text says why."""


@dataclass
class Test:
    name: str
    function: Callable
    timeout: float
    family: Family = IPV4
    may_be_skipped: bool = False


@dataclass
class Result:
    test: Test
    outcome: str
    detail: str = ""


def test(timeout=300, families=(IPV4,), may_be_skipped=False):
    """Registers the function below as a test that gets the testbed, once for each family, which is the testbed's `ip`
    meanwhile; `timeout` in seconds. `may_be_skipped`: in CI too."""

    def register(function):
        module = function.__module__.rsplit(".", 1)[-1].removeprefix("test_")
        for family in families:
            suffix = "" if family is families[0] else f"_over_{family.name.lower()}"
            TESTS.append(Test(f"{module}.{function.__name__}{suffix}", function, timeout, family, may_be_skipped))
        return function

    return register


def run(test, bed):
    """Runs one test and prints its line."""
    started = time.monotonic()
    read_end, write_end = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        in_child(test, bed, write_end)
    os.close(write_end)
    report, timed_out = collect(read_end, started + test.timeout)
    os.close(read_end)
    # The child is its session's leader: whatever it started goes with it.
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        pass
    os.waitpid(child, 0)
    bed.reset()
    outcome, _, detail = report.partition("\n")
    if timed_out:
        outcome, detail = "FAILED", f"{bed.logs()}no result after {test.timeout} s"
    elif outcome not in ("ok", "FAILED", "SKIPPED"):
        outcome, detail = "FAILED", "the test's process died\n" + report
    return announce(Result(test, outcome, detail), time.monotonic() - started)


def in_child(test, bed, write_end):
    os.setsid()
    try:
        bed.speak(test.family)
        test.function(bed)
        report = "ok\n"
    except Skip as reason:
        report = f"SKIPPED\n{reason}"
    except BaseException:
        report = f"FAILED\n{bed.logs()}{traceback.format_exc()}"
    with os.fdopen(write_end, "w") as pipe:
        pipe.write(report)
    # Without the interpreter's clean-up: a thread of the test may hang.
    os._exit(0)


def collect(read_end, deadline):
    """What the child wrote until it closed its end, and whether the time was up before."""
    chunks = []
    while True:
        readable, _, _ = select.select([read_end], [], [], max(0, deadline - time.monotonic()))
        if not readable:
            return "", True
        chunk = os.read(read_end, 65536)
        if not chunk:
            return b"".join(chunks).decode(errors="replace"), False
        chunks.append(chunk)


def skipped(test, reason):
    return announce(Result(test, "SKIPPED", reason), 0)


def announce(result, seconds):
    line = f"{result.outcome:7} {result.test.name}"
    if result.outcome == "SKIPPED":
        line += f": {result.detail}"
    else:
        line += f" ({seconds:.1f} s)"
    print(line, flush=True)
    if result.outcome == "FAILED":
        print("".join(f"        {line}\n" for line in result.detail.rstrip().splitlines()), flush=True)
    return result


def finish(results, in_ci):
    """Prints the count, and what failed once more: the end of a long log is what is read first.

    The exit code is 0 when all is well. In CI a test that was skipped is a failure, unless it may be.
    """
    for result in results:
        if result.outcome == "FAILED":
            print(f"{result.test.name}: {result.detail.rstrip().splitlines()[-1]}")
    count = {outcome: sum(r.outcome == outcome for r in results) for outcome in ("ok", "FAILED", "SKIPPED")}
    print(f"{count['ok']} passed, {count['FAILED']} failed, {count['SKIPPED']} skipped")
    skipped = [r for r in results if r.outcome == "SKIPPED" and not r.test.may_be_skipped]
    return 1 if count["FAILED"] or (in_ci and skipped) else 0
