"""The package under test: built once for each version, and unpacked."""

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Two versions of the same files, the second one the higher. Neither is one of a release.
VERSIONS = ("0.0.1~test1-1", "0.0.1~test2-1")
# Seconds that a build of a package may take: what it needs of cargo may have to be built first.
BUILD = 1500


@functools.cache
def folder():
    """A folder of this run."""
    made = tempfile.mkdtemp(prefix="natlb-package-")
    atexit.register(shutil.rmtree, made)
    return Path(made)


@functools.cache
def built(version=VERSIONS[0], output="packages"):
    """The file of a version."""
    done = run(ROOT / "scripts/package/deb", "--version", version, "--output", folder() / output, timeout=BUILD)
    return Path(done.stdout.splitlines()[-1])


@functools.cache
def unpacked():
    """The first version's files."""
    run("dpkg-deb", "--extract", built(), folder() / "unpacked")
    return folder() / "unpacked"


def run(*words, timeout=300, check=True, **options):
    """Runs a command to its end; with `check`, anything but exit code 0 fails the test."""
    options.setdefault("input", "")
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=timeout, **options)
    assert not check or done.returncode == 0, f"{words}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def tool(name):
    """The path of a tool that is not the package's; without it the test is skipped."""
    path = shutil.which(name, path=f"{os.environ['PACKAGE_TOOLS']}:{os.environ['PATH']}:/usr/sbin:/sbin")
    if path is None:
        raise unittest.SkipTest(f"{name} is missing")
    return path
