"""The two programs: starting them over the traffic source, pausing them, asking them, stopping them."""

import ctypes
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time

import machine
from page import Page
from traffic import BUFFERS

BURST = 32
DPDK_MB = 64
# What a buffer takes beside its data: its mbuf, the pool's header and trailer, the headroom.
BUFFER_OVERHEAD = 128 + 64 + 64 + 128
HEADROOM = 128
START_SECONDS = 60


def end_with_parent():
    """In a child: it does not outlive us, not even paused."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def dpdk_mb(traffic):
    """MiB for a program's pools: half of the buffers are those of each port."""
    count, _, size = traffic.buffers()
    return DPDK_MB if count <= BUFFERS else DPDK_MB + (count * (size + BUFFER_OVERHEAD) >> 20)


def kept_in(socket_path):
    """The folder where an lbd with this control socket keeps its connections if it is not told: named after it by FNV-1a."""
    name = 0x811C9DC5
    for byte in socket_path.encode():
        name = (name ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"/dev/shm/natlb-{name:08x}"


def knows_keep(lbd):
    """Whether a build of lbd has a key for where connections are kept: those of before refuse it."""
    text = '[connections]\nkeep = "off"\n'
    checked = subprocess.run([lbd, "--check", "--config", "/dev/stdin"], input=text, capture_output=True, text=True)
    return "keep" not in checked.stdout + checked.stderr


class Failed(Exception):
    """A program did not do what it has to."""


class Machine:
    """Where programs run."""

    def __init__(self, core, main_core, plugin, memory, directory, priority, pages_folder=None):
        self.pages_folder = pages_folder  # huge pages are mounted here
        self.core, self.main_core, self.plugin = core, main_core, plugin
        self.rss_source = os.path.join(os.path.dirname(plugin), "librss_source.so")
        self.memory = memory  # "huge" or "ordinary"
        self.directory = directory
        self.priority = priority  # real-time priority of the polling thread; 0: none

    def eal(self, prefix, traffic):
        """Arguments that both programs get, but for cores and devices."""
        pages = ["--in-memory"] if self.memory == "huge" else ["--no-huge"]
        source = [] if not traffic.from_pools else ["-d", self.plugin, "--mbuf-pool-ops-name=traffic_source"]
        return [*pages, f"--file-prefix=perf-{prefix}-{os.getpid()}", *source]


class Program:
    """A running program. `thread` is the one that polls."""

    def __init__(self, machine, traffic, name, cores=None):
        self.machine, self.traffic, self.name = machine, traffic, name
        self.cores = cores or [machine.core]
        self.page = Page(os.path.join(machine.directory, f"{name}.page"))
        self.buffers, self.cache, self.size = traffic.buffers()
        self.log = os.path.join(machine.directory, f"{name}.log")
        self.process = None
        self.thread = None

    def _start(self, command, environment=None, **more):
        self.command = command
        environment = {**os.environ, **self.traffic.environment(self.page.path), **(environment or {})}
        self.process = subprocess.Popen(command, env=environment, preexec_fn=end_with_parent, **more)

    def _fail(self, what):
        with open(self.log, errors="replace") as log:
            tail = "".join(log.readlines()[-12:])
        raise Failed(f"{self.name}: {what}\n{' '.join(self.command)}\n{tail}")

    def wait_for(self, condition, what, seconds=START_SECONDS):
        deadline = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None:
                self._fail(f"ended with {self.process.returncode} while waiting for {what}")
            if time.monotonic() > deadline:
                self._fail(f"no {what} after {seconds} s")
            time.sleep(0.005)

    def find_thread(self):
        """The thread that is bound to the polled core alone, and gives it real-time priority."""
        tasks = f"/proc/{self.process.pid}/task"
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/comm") as file:
                # As "lcore-worker-1", "rte-worker-1" or "dpdk-worker1", by release.
                is_worker = "worker" in file.read()
            if is_worker and os.sched_getaffinity(int(task)) == {self.machine.core}:
                self.thread = int(task)
        if self.thread is None:
            self._fail("no polling thread was found")
        if self.machine.priority:
            # Round robin: with FIFO a thread that is to end never runs while another one polls on its core.
            os.sched_setscheduler(self.thread, os.SCHED_RR, os.sched_param(self.machine.priority))

    def tsc_hz(self):
        """Of the source; where there is none, of the kernel's word for it."""
        return self.page.tsc_hz or machine.tsc_hz()

    def frames_at(self):
        """Frames received, and the moment when that was: by the source, or else by the program's own count."""
        if not self.traffic.trace:
            return self.page.given_at()
        before = time.monotonic()
        return self.own_count(), (before + time.monotonic()) / 2

    def cpu_seconds(self):
        """CPU time of the polling thread."""
        with open(f"/proc/{self.process.pid}/task/{self.thread}/schedstat") as file:
            return int(file.read().split()[0]) / 1e9

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGCONT)
        self._ask_to_end()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _ask_to_end(self):
        self.process.terminate()


class Testpmd(Program):
    """dpdk-testpmd, driven by its prompt."""

    def __init__(self, machine, traffic, name="testpmd", cores=None):
        super().__init__(machine, traffic, name, cores)
        lcores = ",".join(f"{number}@{core}" for number, core in enumerate([machine.main_core, *self.cores]))
        count = len(self.cores)
        queues = [f"--rxq={count}", f"--txq={count}", f"--nb-cores={count}"] if count > 1 else []
        devices = [argument for device in traffic.devices() for argument in ("--vdev", device)]
        command = [
            "stdbuf", "-oL", "dpdk-testpmd", "--lcores", lcores, "--main-lcore=0",
            "-m", str(dpdk_mb(traffic)), "--no-pci", *machine.eal(name, traffic), *devices, "--", "-i", f"--burst={BURST}", f"--mbcache={self.cache}",
            f"--total-num-mbufs={self.buffers}", f"--mbuf-size={self.size + HEADROOM}", "--no-flush-rx", *queues,
        ]  # fmt: skip
        with open(self.log, "wb") as log:
            self._start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        self._output = b""
        self._await_prompt()
        self.find_thread()
        self.mode = None

    def _await_prompt(self):
        deadline = time.monotonic() + START_SECONDS
        while not self._output.endswith(b"testpmd> "):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not data:
                self._fail("ended, or does not answer")
            self._output += data
        answer, self._output = self._output.decode(errors="replace"), b""
        return answer

    def ask(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        return self._await_prompt()

    def run(self, mode):
        """Forwards in this mode until `pause`."""
        self.ask(f"set fwd {mode}")
        self.ask("start")

    def pause(self):
        self.ask("stop")

    def own_count(self):
        """Frames received by its own count."""
        return sum(int(count) for count in re.findall(r"RX-packets: *(\d+)", self.ask("show port stats all")))

    def _ask_to_end(self):
        self.process.stdin.write(b"quit\n")
        self.process.stdin.flush()


class Lbd(Program):
    """lbd and its lbctl."""

    def __init__(self, machine, traffic, binaries, capacity, timeouts, name="natlb", environment=None, cores=None, steering="auto"):
        super().__init__(machine, traffic, name, cores)
        self.steering = steering
        self.socket = os.path.join(machine.directory, f"{name}.sock")
        self.capacity = capacity
        self.timeouts = timeouts
        # Where operators of many connections have them.
        has_folder = machine.pages_folder is not None and knows_keep(os.path.join(binaries, "lbd"))
        self.keep = os.path.join(machine.pages_folder, name) if has_folder else None
        path = os.path.join(machine.directory, f"{name}.toml")
        with open(path, "w") as file:
            file.write(self.configuration())
        with open(self.log, "wb") as log:
            self._start([os.path.join(binaries, "lbd"), "--config", path], environment, stdout=log, stderr=log)
        self.wait_for(self._is_ready, "\"ready\" in its log")
        self.find_thread()

    def configuration(self):
        machine, traffic = self.machine, self.traffic
        arguments = ", ".join(json.dumps(argument) for argument in machine.eal(self.name, traffic))
        vip, dip = traffic.devices()
        addresses = {side: json.dumps(traffic.own_addresses(side)) for side in ("vip", "dip")}
        gateways = traffic.gateways()
        hugepages = "auto" if machine.memory == "huge" else "never"
        lines = [
            "[eal]", f"main_lcore = {machine.main_core}", f"workers = {self.cores}", f'hugepages = "{hugepages}"',
            f"memory_mb = {dpdk_mb(traffic)}", 'idle = "spin"', f"args = [{arguments}]",
            "[buffers]", f"count = {self.buffers // 2}", f"cache = {self.cache}", f"size = {self.size}",
            "[control]", f'socket = "{self.socket}"',
            "[[port]]", 'name = "vip0"', 'side = "vip"', f'device = "{vip}"', f"addresses = {addresses['vip']}",
            f"gateway = {json.dumps(gateways if len(gateways) > 1 else gateways[0])}",
            "[[port]]", 'name = "dip0"', 'side = "dip"', f'device = "{dip}"', f"addresses = {addresses['dip']}",
            "[connections]", f"capacity = {self.capacity}", *([f'keep = "{self.keep}"'] if self.keep else []),
            "[timeouts]", *(f"{name} = {seconds}" for name, seconds in self.timeouts.items()),
        ]  # fmt: skip
        # Builds of before know no such section.
        lines += ["[steering]", f'mode = "{self.steering}"'] if self.steering != "auto" else []
        for address, mac in traffic.neighbours():
            lines += ["[[neighbour]]", f'address = "{address}"', f'mac = "{mac}"']
        for protocol, listen, real in traffic.endpoints():
            lines += ["[[service]]", f'listen = "{protocol}://{listen}"']
            lines += ["[[service.real]]", f'address = "{real}"', "weight = 1"]
        return "\n".join(lines) + "\n"

    def _is_ready(self):
        with open(self.log, errors="replace") as log:
            return any(line.strip() == "ready" for line in log)

    def stop(self):
        """Its connections end with it: the next one begins with none, and has the memory."""
        super().stop()
        for folder in filter(None, [self.keep, kept_in(self.socket)]):
            shutil.rmtree(folder, ignore_errors=True)

    def status(self):
        """As `lbctl --output json status` prints it."""
        with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rw") as lines:
            connection.settimeout(30)
            connection.connect(self.socket)
            lines.write('{"v":1,"command":"status"}\n')
            lines.flush()
            answer = json.loads(lines.readline())
        if "ok" not in answer:
            self._fail(f"status: {answer}")
        return answer["ok"]

    def worker(self):
        """Its one worker's part of the status."""
        return self.status()["workers"][0]

    def warm_up(self):
        """Waits until the source has shown every flow."""
        self.wait_for(lambda: self.page.warm, "end of the warm-up", 60 + self.traffic.flows // 10**5)

    def run(self, _mode=None):
        self.process.send_signal(signal.SIGCONT)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)
        # Stopped only when all its threads are.
        state = ""
        while state not in ("T", "t"):
            with open(f"/proc/{self.process.pid}/task/{self.thread}/stat") as file:
                state = file.read().rsplit(")", 1)[1].split()[0]

    def own_count(self):
        return sum(port["rx_packets"] for port in self.status()["ports"])
