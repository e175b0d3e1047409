"""The machine: what it is, huge pages for the time of a run, where a plugin may lie."""

import os
import platform
import re
import subprocess
import tempfile

HUGE_PAGE_MB = 2
HUGE_PAGES = "/sys/kernel/mm/hugepages/hugepages-2048kB"


def describe():
    """What a figure has to be read with."""
    cpu = {}
    with open("/proc/cpuinfo") as file:
        for line in file:
            key, _, value = line.partition(":")
            cpu.setdefault(key.strip(), value.strip())
    return {
        "cpu": cpu.get("model name"),
        "family_model": f"{cpu.get('cpu family')}/{cpu.get('model')}",
        "virtual": "hypervisor" in cpu.get("flags", "").split(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "testpmd": first_line(["pkg-config", "--modversion", "libdpdk"]),
        "compiler": first_line(["cc", "--version"]),
        "rustc": first_line(["rustc", "--version"]),
    }


def first_line(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout else None


def tsc_hz():
    """The time stamp counter's rate: half of the BogoMIPS."""
    with open("/proc/cpuinfo") as file:
        return float(re.search(r"bogomips\s*: ([\d.]+)", file.read()).group(1)) / 2 * 1e6


def load():
    with open("/proc/loadavg") as file:
        return [float(number) for number in file.read().split()[:3]]


def steal_seconds():
    """What the host took from this machine since its start, all cores together."""
    with open("/proc/stat") as file:
        return int(file.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


def real_time_priority():
    """A priority that this process may give away; 0 where it may not."""
    try:
        before = os.sched_getscheduler(0), os.sched_getparam(0)
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(20))
        os.sched_setscheduler(0, *before)
        return 20
    except PermissionError:
        return 0


class HugePages:
    """Reserves huge pages, as far as they can be had, and gives them back. `folder`: where they are mounted for files in
    them; None where that is not allowed."""

    def __init__(self, wish, needed_mb):
        self.memory, self.note, self.folder, self._before = "ordinary", "as asked for", None, None
        if wish == "ordinary":
            return
        try:
            self._reserve(-(-needed_mb // HUGE_PAGE_MB))
        except OSError as error:
            self.note = f"no huge pages: {error}"
        if self.memory != "huge" and wish == "huge":
            raise SystemExit(f"perf: {self.note}; as root: sysctl vm.nr_hugepages={needed_mb // HUGE_PAGE_MB}")

    def _reserve(self, pages):
        free = self._read("free_hugepages")
        if free < pages:
            before = self._read("nr_hugepages")
            self._before = before
            self._write(before + pages - free)
            free = self._read("free_hugepages")
        if free >= pages:
            self.memory, self.note = "huge", f"{pages} pages of {HUGE_PAGE_MB} MiB"
            self._mount()
        else:
            self.note = f"{free} of {pages} huge pages could be had"
            self.restore()

    def _mount(self):
        folder = tempfile.mkdtemp(prefix="natlb-perf-pages-")
        command = ["mount", "-t", "hugetlbfs", "-o", f"pagesize={HUGE_PAGE_MB}M,mode=0700", "none", folder]
        if subprocess.run(command, capture_output=True).returncode == 0:
            self.folder = folder
        else:
            os.rmdir(folder)

    def restore(self):
        if self.folder is not None:
            subprocess.run(["umount", self.folder], check=True)
            os.rmdir(self.folder)
            self.folder = None
        if self._before is not None:
            self._write(self._before)
            self._before = None

    @staticmethod
    def _read(name):
        with open(f"{HUGE_PAGES}/{name}") as file:
            return int(file.read())

    @staticmethod
    def _write(pages):
        with open(f"{HUGE_PAGES}/nr_hugepages", "w") as file:
            file.write(str(pages))


def version(binary):
    found = first_line([binary, "--version"]) or ""
    return re.sub(r"\s+", " ", found)
