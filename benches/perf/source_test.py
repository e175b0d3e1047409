"""Test of the traffic source under a program of its own: what it says that it has given is what comes."""

import glob
import os
import shlex
import subprocess
import tempfile
import unittest

from page import Page
from traffic import Traffic

SOURCES = os.path.join(os.path.dirname(__file__), "..", "traffic_source")


def words(*command):
    return shlex.split(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


class Rooms(unittest.TestCase):
    def test_each_frame_is_fresh_and_counted_whatever_room_there_is(self):
        cpu = min(os.sched_getaffinity(0))
        with tempfile.TemporaryDirectory() as directory:
            program, page = os.path.join(directory, "rooms"), Page(os.path.join(directory, "page"))
            files = [*glob.glob(os.path.join(SOURCES, "*.c")), os.path.join(SOURCES, "tests", "rooms.c")]
            build = ["cc", "-O1", "-std=gnu11", "-Wall", "-Wextra", "-Werror", *words("pkg-config", "--cflags", "libdpdk"), *files, "-o", program]
            subprocess.run([*build, *words("pkg-config", "--libs", "libdpdk"), "-lm"], check=True)
            # Both threads on one processor: there may be no other.
            eal = ["--no-huge", "-m", "64", "--no-shconf", "--no-pci", "--no-telemetry", "--lcores", f"0@{cpu},1@{cpu}"]
            devices = [word for port in range(2) for word in ("--vdev", f"net_null{port},size=60")]
            environment = {**os.environ, **Traffic(flows=1).environment(page.path)}
            found = subprocess.run([program, *eal, *devices], env=environment, capture_output=True, text=True, timeout=120)
            self.assertEqual(found.returncode, 0, found.stderr)
            *received, old, own = map(int, found.stdout.splitlines()[-1].split())
            self.assertEqual((received, old, own), (list(page.given_by_direction), 0, page.own))
            self.assertGreater(min(received), 0)


if __name__ == "__main__":
    unittest.main()
