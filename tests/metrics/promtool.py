"""promtool, with which Prometheus judges metrics and alert rules."""

import functools
import subprocess
from pathlib import Path

FETCH = Path(__file__).with_name("fetch-promtool")
# Seconds that fetching it may take, and one run of it.
FETCHING = 240
RUN = 60


class Missing(Exception):
    """It cannot be had; what was printed before says why."""

    def __init__(self):
        super().__init__("promtool cannot be had (above)")


@functools.cache
def path():
    done = subprocess.run([FETCH], stdout=subprocess.PIPE, text=True, timeout=FETCHING)
    if done.returncode != 0:
        raise Missing
    return done.stdout.strip()


def run(*words, text=None):
    """Its exit code, and what it prints."""
    done = subprocess.run([path(), *map(str, words)], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=RUN)
    return done.returncode, done.stdout


def complaints_of_metrics(text):
    """What it has against a scrape in Prometheus' text format, which is the only one that it reads."""
    code, printed = run("check", "metrics", text=text)
    return f"exit code {code}: {printed}".rstrip() if code or printed else ""
