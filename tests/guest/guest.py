"""A guest in the lab's lb: pairs of network cards that QEMU emulates, on taps that are bridged to the lab's cables."""

import base64
import re
import socket
import subprocess
import time
from dataclasses import dataclass

from tests.lab.testbed import MACS, wait_for

# In the lab's lb: the cable's end, and a MAC for it instead of its own, which the guest's NIC is to have.
CABLES = {"vip0": ("eth1", "02:00:00:00:02:01"), "dip0": ("eth0", "02:00:00:00:02:00")}
CPUS = 4
MEMORY_MB = 1024
# Emulated, on a busy machine.
BOOT_SECONDS = 300
DONE = "-- done"


@dataclass
class Pair:
    """Two cards of a kind, one for either port, at these slots of PCI bus 0."""
    kind: str
    model: str
    slots: tuple
    queues: int = 1

    def address(self, port):
        return f"0000:00:{self.slots[list(CABLES).index(port)]:02x}.0"

    def tap(self, port):
        return f"{self.kind[:9]}-{port}"

    def arguments(self, port):
        queues = f",queues={self.queues}" if self.queues > 1 else ""
        slot = self.slots[list(CABLES).index(port)]
        return ["-netdev", f"tap,id={self.tap(port)},ifname={self.tap(port)},script=no,downscript=no,vhost=off{queues}",
                "-device", f"{self.model},netdev={self.tap(port)},mac={MACS[port]},addr=0x{slot:x},romfile="]


class Guest:
    """Runs from `start` to `stop`; commands are given to its shell one after the other."""

    def __init__(self, bed, kernel, initramfs, pairs, machine=("pc,accel=tcg",), kernel_arguments=""):
        self.bed, self.pairs, self.machine, self.kernel_arguments = bed, pairs, machine, kernel_arguments
        self.kernel, self.initramfs = kernel, initramfs
        self.console, self.qemu_log, self.shell_socket = (
            bed.dir / name for name in ("console.log", "qemu.log", "shell.sock"))
        self.process = self.line = self.plugged = None

    def start(self):
        for port in CABLES:
            self._bridge(port)
        machine, *more = self.machine
        command = ["nice", "-n", "10", "qemu-system-x86_64", "-machine", machine, *more, "-cpu", "max",
                   "-smp", CPUS, "-m", MEMORY_MB, "-nodefaults", "-no-reboot", "-display", "none",
                   "-kernel", self.kernel, "-initrd", self.initramfs,
                   "-append", f"console=ttyS0 quiet panic=-1 {self.kernel_arguments}",
                   "-serial", f"file:{self.console}", "-serial", f"unix:{self.shell_socket},server=on,wait=off"]
        for pair in self.pairs:
            for port in CABLES:
                self._tap(pair, port)
                command += pair.arguments(port)
        with open(self.qemu_log, "w") as log:
            self.process = self.bed.spawn("lb", *command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.line = socket.socket(socket.AF_UNIX)
        if not wait_for(lambda: self._connects() or self.process.poll() is not None, 20) or self.process.poll() is not None:
            raise AssertionError(f"qemu does not start\n{self.logs()}")
        began = time.monotonic()
        while time.monotonic() < began + BOOT_SECONDS and self.process.poll() is None:
            try:
                self.run("true", timeout=10)
                return time.monotonic() - began
            except TimeoutError:
                pass
        raise AssertionError(f"the guest does not come up\n{self.logs()}")

    def _connects(self):
        """Whether QEMU listens already; its socket's file is there a little before."""
        try:
            self.line.connect(str(self.shell_socket))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def _bridge(self, port):
        (cable, mac), bridge = CABLES[port], f"br-{port}"
        link = ("ip", "link")
        self.bed.run("lb", *link, "set", cable, "address", mac)
        self.bed.run("lb", *link, "add", bridge, "type", "bridge", "stp_state", 0, "forward_delay", 0, "mcast_snooping", 0)
        self.bed.run("lb", *link, "set", cable, "master", bridge, "up")
        self.bed.run("lb", *link, "set", bridge, "up")

    def _tap(self, pair, port):
        several = ("multi_queue",) if pair.queues > 1 else ()
        self.bed.run("lb", "ip", "tuntap", "add", "dev", pair.tap(port), "mode", "tap", *several)

    def plug(self, pair):
        """Bridges a pair's taps to the lab's cables, and no others."""
        for port in CABLES:
            if self.plugged:
                self.bed.run("lb", "ip", "link", "set", self.plugged.tap(port), "nomaster", "down")
            self.bed.run("lb", "ip", "link", "set", pair.tap(port), "master", f"br-{port}", "up")
        self.plugged = pair

    def bind(self, pair, driver):
        """Gives a pair's cards to a driver of the guest's kernel."""
        for port in CABLES:
            device = f"/sys/bus/pci/devices/{pair.address(port)}"
            self.run(f"[ ! -e {device}/driver ] || echo {pair.address(port)} >{device}/driver/unbind; "
                     f"echo {driver} >{device}/driver_override; echo {pair.address(port)} >/sys/bus/pci/drivers_probe; "
                     f"[ $(basename $(readlink {device}/driver)) = {driver} ]")

    def run(self, command, timeout=60, check=True):
        """Runs a shell command in the guest to its end; returns what it printed."""
        marker = f"{DONE} {time.monotonic_ns()}"
        self.line.settimeout(timeout)
        self.line.sendall(f"({command}) </dev/null 2>&1; code=$?; echo; echo {marker} $code\n".encode())
        deadline, text = time.monotonic() + timeout, ""
        while not (end := re.search(rf"\n{marker} (\d+)\r?\n", text)):
            self.line.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                received = self.line.recv(65536)
            except ConnectionResetError:
                received = b""
            if not received:
                raise AssertionError(f"the guest is gone\n{self.logs()}")
            text += received.decode(errors="replace")
        output = text[:end.start()].removesuffix("\n")
        assert not check or end[1] == "0", f"{command} in the guest: exit code {end[1]}\n{output}"
        return output

    def write(self, path, text):
        """Makes a small file in the guest."""
        self.run(f"echo {base64.b64encode(text.encode()).decode()} | base64 -d >{path}")

    def stop(self):
        if self.line:
            self.line.close()
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)

    def logs(self):
        files = [file for file in (self.qemu_log, self.console) if file.exists()]
        return "".join(f"--- {file.name}\n{file.read_text(errors='replace')[-4000:]}\n" for file in files)
