"""LVS's own tools as the distribution ships them, driven by natlb-lvs: ipvsadm, keepalived and ldirectord."""

import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from .testbed import PATIENCE, binary, has_ipv6, wait_for

# Where checks come from: a host on the reals' network with an address of its own, beside lbd's.
CHECKER = "checker"
CHECKER_ADDRESS = {4: "10.0.0.200/24", 6: "fd00:20::200/64"}


def socket_of(bed):
    """The socket that lbd serves the kernel's protocol on, where the configuration names no other."""
    return bed.dir / "ipvs.sock"


def environment(bed, wait=PATIENCE):
    """For natlb-lvs: `wait` is how many seconds it may wait for the socket."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return {**os.environ, "PATH": path, "LC_ALL": "C", "NATLB_IPVS_SOCKET": str(socket_of(bed)), "NATLB_IPVS_WAIT": str(wait)}


def under(*words):
    """A command that natlb-lvs runs."""
    return [binary("natlb-lvs"), *words]


class Tools:
    """Runs tools to their end beside a daemon."""

    def __init__(self, bed, host="lb", wait=PATIENCE):
        self.bed, self.host, self.wait = bed, host, wait

    def run(self, *words, **options):
        """Runs a command and returns the finished process, whatever its exit code."""
        options.setdefault("env", environment(self.bed, self.wait))
        return self.bed.run(self.host, *under(*words), check=False, **options)

    def shell(self, line):
        """A line as it is typed, in the lab's folder."""
        return self.run("sh", "-c", line, cwd=self.bed.dir)

    def ipvsadm(self, line, **options):
        """Runs `ipvsadm` with the words of a line, which must succeed and say nothing on stderr; returns what it printed."""
        done = self.run("ipvsadm", *line.split(), **options)
        assert (done.returncode, done.stderr) == (0, ""), f"ipvsadm {line}: exit code {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def listed(self, line="-Ln"):
        """A table of ipvsadm as lbctl prints it: without its first line and trailing blanks."""
        lines = [row.rstrip() for row in self.ipvsadm(line).splitlines()]
        assert re.fullmatch(r"IP Virtual Server version 1\.2\.1 \(size=\d+\)|IPVS connection entries", lines[0]), lines
        return "".join(f"{row}\n" for row in lines[1:])


def checker(bed):
    """Makes the host for checks, once for a lab."""
    if os.path.exists(bed.namespace(CHECKER)):
        return
    with open(bed.dir / "hosts", "a") as hosts:
        hosts.write(f"{CHECKER}\n")
    name = lambda host: os.path.basename(bed.namespace(host))
    run = lambda *words: subprocess.run(words, check=True, timeout=PATIENCE)
    run("ip", "netns", "add", name(CHECKER))
    run("ip", "link", "add", "eth0", "address", "02:00:00:00:00:c8", "netns", name(CHECKER), "type", "veth",
        "peer", "name", "checks", "netns", name("sw"))
    bed.run("sw", "ip", "link", "set", "checks", "master", "br0")
    bed.run("sw", "ip", "link", "set", "checks", "up")
    bed.run(CHECKER, "ip", "link", "set", "lo", "up")
    bed.run(CHECKER, "ip", "link", "set", "eth0", "up")
    bed.run(CHECKER, "ip", "address", "add", CHECKER_ADDRESS[4], "dev", "eth0")
    if has_ipv6():
        bed.run(CHECKER, "ip", "address", "add", CHECKER_ADDRESS[6], "dev", "eth0", "nodad")


class Running:
    """A tool that goes on running on the host for checks; what it says is in a log of the lab."""

    def __init__(self, bed, name, words, wait=PATIENCE):
        checker(bed)
        self.bed, self.name, self.words, self.wait = bed, name, words, wait
        self.log_file = bed.dir / f"{name}.log"
        self.process = None

    def start(self):
        with open(self.log_file, "w") as log:
            self.process = self.bed.spawn(CHECKER, *under(*self.words), stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=subprocess.STDOUT, env=environment(self.bed, self.wait))
        return self

    def log(self):
        return self.log_file.read_text(errors="replace")

    def says(self, pattern):
        return re.search(pattern, self.log(), re.MULTILINE)

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def kill(self):
        """Ends whatever of it is left."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process:
            self.process.wait(PATIENCE)

    def pids(self):
        """It and all that it has started."""
        return descendants(self.process.pid) if self.process and self.process.poll() is None else []

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()


class Keepalived(Running):
    """keepalived with a configuration; `checks_only` leaves out VRRP."""

    def __init__(self, bed, text, program=("keepalived",), checks_only=True, wait=PATIENCE):
        self.file = bed.dir / "keepalived.conf"
        self.file.write_text(text)
        # Of one that was killed: by now its pid may be another process's, which this one would take for itself.
        files = {letter: bed.dir / f"keepalived-{name}.pid" for letter, name in (("-p", "all"), ("-c", "checks"), ("-r", "vrrp"))}
        for file in files.values():
            file.unlink(missing_ok=True)
        pids = [word for option in files.items() for word in option]
        super().__init__(bed, "keepalived", [*program, *(["-C"] if checks_only else []), "--dont-fork", "--log-console",
                                             "--log-detail", "-f", self.file, *pids], wait)

    def reload(self, text):
        self.file.write_text(text)
        self.process.send_signal(signal.SIGHUP)


def descendants(pid):
    """The process and all below it."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def ticks(pids):
    """The processor time that these have had, in the kernel's ticks."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total


def spins(pids, enough=60):
    """Whether these processes take as much of the processor as they can get. A loop is the measure: however busy the
    machine is, what spins gets about as much as that, and what waits hardly anything."""
    loop = subprocess.Popen(["python3", "-c", "while True: pass"])
    try:
        before = ticks(pids)
        assert wait_for(lambda: ticks([loop.pid]) >= enough), "the loop did not run"
        return ticks(pids) - before > enough / 3
    finally:
        loop.kill()
        loop.wait()


def memory(pid):
    """The memory that a process holds, in KiB."""
    return int(re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1])


def took(action):
    """What an action gives, and the seconds that it took."""
    began = time.monotonic()
    return action(), time.monotonic() - began
