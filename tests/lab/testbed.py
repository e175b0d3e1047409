"""The lab of scripts/lab from Python: namespaces, commands in them, and the daemon under test."""

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import tomllib
from pathlib import Path

from .families import IPV4, IPV6
from .runner import Skip

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "scripts" / "lab"
VIP, CLIENT, REALS = IPV4.vip, IPV4.client, IPV4.reals
MACS = {"client": "02:00:00:00:10:06", "vip0": "02:00:00:00:10:64", "dip0": "02:00:00:00:00:08",
        "rs1": "02:00:00:00:00:01", "rs2": "02:00:00:00:00:02", "rs3": "02:00:00:00:00:03"}

# Seconds that anything may take that comes by itself: the machine may be so busy that a process does not run for some.
PATIENCE = 60
# The exit code of `scripts/lab up` where there are none.
NO_NAMESPACES = 3
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


class Unavailable(Exception):
    """The lab cannot be built here; the text says why."""


def binary(name):
    """The path of a program under test: where scripts/environment.sh looks for it."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return str(Path(os.environ.get("NATLB_BIN", target / "release")) / name)


class Testbed:
    """Namespaces and web servers, shared by all tests; each test starts its own lbd."""

    def __init__(self, workers=1):
        self.workers = workers
        self.ip = IPV4
        if os.geteuid() != 0:
            raise Unavailable("namespaces need root")
        for name in ("lbd", "lbctl"):
            if not shutil.which(binary(name)):
                raise SystemExit(f"{binary(name)} is missing: cargo build --release")
        up = subprocess.run([LAB, "up", "--reals", str(len(REALS)), "--owner", str(os.getpid())],
                            capture_output=True, text=True, timeout=2 * PATIENCE)
        if up.returncode == NO_NAMESPACES:
            raise Unavailable(up.stderr.strip().replace("\n", "; "))
        if up.returncode != 0:
            raise SystemExit(up.stderr)
        self.dir = Path(up.stdout.strip())

    def speak(self, family):
        """Makes this the family of `ip`, of sockets, and of requests that name no address."""
        if family is IPV6 and not has_ipv6():
            raise Skip("this kernel has no IPv6")
        self.ip = family

    def remove(self):
        subprocess.run([LAB, "down", self.dir], check=True, timeout=2 * PATIENCE)

    def namespace(self, host):
        return f"/run/netns/{self.dir.name}-{host}"

    @contextlib.contextmanager
    def inside(self, host):
        """The current thread is on `host` meanwhile; sockets made there stay there."""
        with open("/proc/thread-self/ns/net") as home, open(self.namespace(host)) as there:
            setns(there)
            try:
                yield
            finally:
                setns(home)

    def command(self, host, *words):
        return ["nsenter", f"--net={self.namespace(host)}", "--", *map(str, words)]

    def run(self, host, *words, timeout=2 * PATIENCE, check=True, **options):
        """Runs a command on `host` to its end; with `check`, anything but exit code 0 fails the test."""
        done = subprocess.run(self.command(host, *words), capture_output=True, text=True, timeout=timeout, **options)
        assert not check or done.returncode == 0, f"{words} on {host}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def spawn(self, host, *words, **options):
        return subprocess.Popen(self.command(host, *words), text=True, **options)

    def curl(self, url=None, *options, host="client"):
        """One request over a connection of its own, to the VIP's port 80 where no other URL is given; returns the body."""
        return self.run(host, "curl", "-sS", "--max-time", PATIENCE, *options, url or self.ip.url()).stdout

    def curls(self, count, url=None):
        """The names of the reals that answer `count` requests, one after the other."""
        return [self.curl(url).split()[1] for _ in range(count)]

    def expect(self, names, host="client"):
        """As many requests as `names` are answered by these reals: with one worker in this order. Several have a
        position each, so that which of them a client's port belongs to decides; the shares are the same."""
        answers = [self.curl(host=host).split()[1] for _ in names]
        if self.workers == 1:
            assert answers == names, answers
            return
        shares = {name: (answers.count(name), names.count(name)) for name in {*answers, *names}}
        off = {name: share for name, share in shares.items() if abs(share[0] - share[1]) > 2 * self.workers}
        assert set(answers) <= set(names) and not off, answers

    def config(self, workers=None):
        """The lab's configuration as a dictionary, to be changed and given to `lbd`."""
        config = tomllib.loads((self.dir / "lbd.toml").read_text())
        workers = workers or self.workers
        if workers > 1:
            cores = sorted(os.sched_getaffinity(0))[:workers]
            if len(cores) < workers:
                raise Skip(f"{workers} workers need as many cores, this machine has {len(cores)}")
            config["eal"]["workers"] = cores
            config["eal"]["memory_mb"] *= workers
            for port in config["port"]:
                port["device"] += f",qpairs={workers}"
        return config

    @contextlib.contextmanager
    def lbd(self, config=None, services=(), wrapper=()):
        """A daemon that is ready, with `services` added by lbctl; it must stop cleanly at the end. `wrapper`
        is a command that runs the words behind it.

        A service is ("tcp" or "udp", "VIP:PORT", [("RIP:PORT", weight), ...]).
        """
        daemon = Daemon(self, config or self.config(), wrapper=wrapper)
        daemon.start()
        try:
            for protocol, listen, reals in services:
                daemon.add_service(protocol, listen, reals)
            yield daemon
            if daemon.process.poll() is None:
                assert daemon.stop() == 0, "lbd's exit code after SIGTERM is not 0"
        except Exception:
            daemon.note_counters()
            raise
        finally:
            daemon.kill()

    def reset(self):
        """Removes what a test's daemon may have left: its files, and the connections that it keeps for its successor."""
        shutil.rmtree(f"/dev/shm/{self.dir.name}", ignore_errors=True)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for folder in [folder for folder in mounts if folder.startswith(f"{self.dir}/")]:
            subprocess.run(["umount", "--lazy", folder], check=True)
        for file in [self.dir / "lbd.sock", self.dir / "state", self.dir / "state.history", *self.dir.glob("*.log")]:
            file.unlink(missing_ok=True)

    def logs(self):
        """The end of the last daemon's log, for the report of a failed test."""
        parts = []
        for log in sorted(self.dir.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-40:]
            parts.append(f"--- {log.name}\n" + "\n".join(lines) + "\n")
        return "".join(parts)


def has_ipv6():
    return os.path.exists("/proc/sys/net/ipv6")


class Daemon:
    """lbd in the lab's lb, and lbctl with its socket."""

    def __init__(self, bed, config, name="lbd", wrapper=()):
        self.bed, self.name, self.wrapper = bed, name, wrapper
        self.file = bed.dir / f"{name}-test.toml"
        self.log_file = bed.dir / f"{name}.log"
        self.configure(config)
        self.process = None
        self.successors = 0

    def configure(self, config):
        """What it reads at its next start."""
        self.file.write_text(to_toml(config))
        self.socket = config["control"]["socket"]

    def spawn(self, *options):
        """Starts it without waiting."""
        with open(self.log_file, "w") as log:
            self.process = self.bed.spawn("lb", *self.wrapper, binary("lbd"), "--config", self.file, *options,
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def start(self, *options):
        self.spawn(*options)
        ready = wait_for(lambda: self.says(r"(^|\s)ready$") or self.process.poll() is not None)
        if not ready or self.process.poll() is not None:
            self.kill()
            raise AssertionError(f"lbd did not become ready (exit code {self.process.poll()})")

    def take_over(self):
        """Starts another one that takes over from this one, which then ends by itself."""
        predecessor, log_file = self.process, self.log_file
        self.successors += 1
        self.log_file = self.bed.dir / f"{self.name}-successor-{self.successors}.log"
        try:
            self.start("--take-over")
            assert predecessor.wait(PATIENCE) == 0, "the exit code of the one before is not 0"
        except BaseException:
            self.kill()
            self.process, self.log_file = predecessor, log_file
            raise

    def log(self):
        return self.log_file.read_text(errors="replace")

    def says(self, pattern):
        return re.search(pattern, self.log(), re.MULTILINE)

    def note_counters(self):
        """Leaves what it has counted for the report of a failed test: what was dropped, and why."""
        if self.process.poll() is None:
            status = self.lbctl("status")
            (self.bed.dir / "counters.log").write_text(status.stdout + status.stderr)

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE)

    def lbctl(self, *words, **options):
        """Runs lbctl and returns the finished process, whatever its exit code."""
        return subprocess.run([binary("lbctl"), "--socket", self.socket, "--timeout", str(PATIENCE), *map(str, words)],
                              capture_output=True, text=True, timeout=2 * PATIENCE, **options)

    def ctl(self, *words, **options):
        """Runs lbctl, which must succeed; returns what it printed."""
        done = self.lbctl(*words, **options)
        assert done.returncode == 0, f"lbctl {words}: exit code {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *words):
        return json.loads(self.ctl("--output", "json", *words))

    def buffers(self):
        """Buffers in use, by port."""
        return [port["buffers_in_use"] for port in self.json("status")["ports"]]

    def has_its_buffers_back(self):
        """Whether all are free again: those of frames under way are soon, and one that is lost never is."""
        return wait_for(lambda: set(self.buffers()) == {0}, pause=0.1)

    def add_service(self, protocol, listen, reals, *options):
        letter = {"tcp": "-t", "udp": "-u"}[protocol]
        self.ctl("add-service", letter, listen, *options)
        for real, weight in reals:
            self.ctl("add-real", letter, listen, "-r", real, "-m", "-w", weight)

    def connection(self, client_port):
        """The entry of a connection by the client's port, or None."""
        entries = self.json("connections")["connections"]
        return next((e for e in entries if e["client"].endswith(f":{client_port}")), None)

    def service(self, command="list", index=0):
        return self.json(command)["services"][index]


def setns(file):
    if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def wait_for(condition, seconds=PATIENCE, pause=0.02):
    """Polls until the condition holds; returns its last value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(pause)
    return value


def background(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def to_toml(config):
    """Writes what `config` holds: tables, arrays of tables, and their plain values."""
    lines = []

    def visit(name, table):
        for key, value in table.items():
            if not isinstance(value, dict) and not is_array_of_tables(value):
                lines.append(f"{key} = {json.dumps(value)}")
        for key, value in table.items():
            path = f"{name}.{key}" if name else key
            if isinstance(value, dict):
                lines.append(f"[{path}]")
                visit(path, value)
            elif is_array_of_tables(value):
                for element in value:
                    lines.append(f"[[{path}]]")
                    visit(path, element)

    visit("", config)
    return "\n".join(lines) + "\n"


def is_array_of_tables(value):
    return isinstance(value, list) and value != [] and isinstance(value[0], dict)
