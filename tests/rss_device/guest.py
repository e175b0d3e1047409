"""A guest in the lab's lb: QEMU's two virtio-net-pci, on taps that are bridged to the lab's cables."""

import base64
import re
import socket
import subprocess
import time

from tests.lab.testbed import MACS, wait_for

# In the lab's lb: the cable's end, and a MAC for it instead of its own, which the guest's NIC is to have.
CABLES = {"vip0": ("eth1", "02:00:00:00:02:01"), "dip0": ("eth0", "02:00:00:00:02:00")}
# PCI slots of the NICs in the guest.
DEVICES = {"vip0": "0000:00:10.0", "dip0": "0000:00:11.0"}
QUEUES = 4
CPUS = 4
MEMORY_MB = 1024
# Emulated, on a busy machine.
BOOT_SECONDS = 180
DONE = "-- done"


class Guest:
    """Runs from `start` to `stop`; commands are given to its shell one after the other."""

    def __init__(self, bed, kernel, initramfs, rss):
        self.bed, self.rss = bed, "on" if rss else "off"
        self.kernel, self.initramfs = kernel, initramfs
        self.console, self.qemu_log, self.shell_socket = (
            bed.dir / name for name in ("console.log", "qemu.log", "shell.sock"))
        self.process = self.line = None

    def start(self):
        for port in CABLES:
            self._wire(port)
        command = ["nice", "-n", "10", "qemu-system-x86_64", "-machine", "pc,accel=tcg", "-cpu", "max",
                   "-smp", CPUS, "-m", MEMORY_MB, "-nodefaults", "-no-reboot", "-display", "none",
                   "-kernel", self.kernel, "-initrd", self.initramfs, "-append", "console=ttyS0 quiet panic=-1",
                   "-serial", f"file:{self.console}", "-serial", f"unix:{self.shell_socket},server=on,wait=off"]
        for port in CABLES:
            slot = DEVICES[port].split(":")[2].split(".")[0]
            command += ["-netdev", f"tap,id={port},ifname=tap-{port},script=no,downscript=no,vhost=off,queues={QUEUES}",
                        "-device", f"virtio-net-pci,netdev={port},mac={MACS[port]},addr=0x{slot},mq=on,rss={self.rss},"
                        f"vectors={2 * QUEUES + 2},disable-legacy=on,romfile="]
        with open(self.qemu_log, "w") as log:
            self.process = self.bed.spawn("lb", *command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if not wait_for(lambda: self.shell_socket.exists() or self.process.poll() is not None, 20) or self.process.poll():
            raise AssertionError(f"qemu does not start\n{self.logs()}")
        self.line = socket.socket(socket.AF_UNIX)
        self.line.connect(str(self.shell_socket))
        began = time.monotonic()
        while time.monotonic() < began + BOOT_SECONDS and self.process.poll() is None:
            try:
                self.run("true", timeout=10)
                return time.monotonic() - began
            except TimeoutError:
                pass
        raise AssertionError(f"the guest does not come up\n{self.logs()}")

    def _wire(self, port):
        """Bridges a tap for the guest's NIC to the lab's cable."""
        (cable, mac), tap, bridge = CABLES[port], f"tap-{port}", f"br-{port}"
        link = ("ip", "link")
        self.bed.run("lb", *link, "set", cable, "address", mac)
        self.bed.run("lb", *link, "add", bridge, "type", "bridge", "stp_state", 0, "forward_delay", 0, "mcast_snooping", 0)
        self.bed.run("lb", "ip", "tuntap", "add", "dev", tap, "mode", "tap", "multi_queue")
        for device in (cable, tap):
            self.bed.run("lb", *link, "set", device, "master", bridge, "up")
        self.bed.run("lb", *link, "set", bridge, "up")

    def run(self, command, timeout=60, check=True):
        """Runs a shell command in the guest to its end; returns what it printed."""
        marker = f"{DONE} {time.monotonic_ns()}"
        self.line.settimeout(timeout)
        self.line.sendall(f"({command}) </dev/null 2>&1; code=$?; echo; echo {marker} $code\n".encode())
        deadline, text = time.monotonic() + timeout, ""
        while not (end := re.search(rf"\n{marker} (\d+)\r?\n", text)):
            self.line.settimeout(max(0.01, deadline - time.monotonic()))
            received = self.line.recv(65536)
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
