"""testpmd's kit: the file of flows, and the whole kit at work over memif in place of NICs."""

import json
import os
import re
import signal
import struct
import subprocess
import tempfile
import time
import unittest
from contextlib import contextmanager
from pathlib import Path

from .kit import NIC, Addresses, Frame, program

KIT = NIC / "testpmd"
VIP_MAC, DIP_MAC = "02:00:00:00:10:64", "02:00:00:00:00:08"
CLIENTS, PORTS = 64, 8


def write_flows(file, *words):
    subprocess.run([KIT / "flows.py", file, "--mac", VIP_MAC, "--clients", str(CLIENTS), "--ports", str(PORTS), *words],
                   check=True, capture_output=True, timeout=120)


def frames(file):
    data = Path(file).read_bytes()
    assert struct.unpack("!I", data[:4])[0] == 0xA1B2C3D4 and struct.unpack("!I", data[20:24])[0] == 1
    position = 24
    while position < len(data):
        captured, length = struct.unpack("!II", data[position + 8:position + 16])
        assert captured == length
        yield Frame(data[position + 16:position + 16 + length])
        position += 16 + length


class Flows(unittest.TestCase):
    def test_each_connection_once_with_right_checksums(self):
        vip, vip_port, _, _ = Addresses("testpmd").services["udp"]
        with tempfile.TemporaryDirectory() as directory:
            for size in (64, 65, 1518):
                write_flows(f"{directory}/flows.pcap", "--size", str(size))
                seen = set()
                for frame in frames(f"{directory}/flows.pcap"):
                    self.assertEqual((len(frame.data), frame.destination_mac), (size - 4, VIP_MAC))
                    self.assertTrue(frame.header_right and frame.transport_right and frame.checksum)
                    self.assertEqual((frame.destination, frame.destination_port), (vip, vip_port))
                    self.assertGreaterEqual(frame.source_port, 1024)
                    seen.add((frame.source, frame.source_port))
                self.assertEqual(len(seen), CLIENTS * PORTS)


def eal(prefix, cores, *devices):
    words = ["--lcores", cores, "--no-huge", "-m", "256", "--no-pci", "--no-telemetry", "--file-prefix", prefix]
    return words + [word for device in devices for word in ("--vdev", device)]


def configuration(directory, name):
    """The kit's lbd.toml on memif, for a machine of any size: its addresses stay."""
    text = (KIT / "lbd.toml").read_text()
    for old, new in (
        ("main_lcore = 1\n", "main_lcore = 0\n"), ("workers    = [2]", "workers    = [0]"),
        ('"require"', '"never"'), ('"spin"', '"yield"'), ("memory_mb  = 1024", "memory_mb  = 128"),
        ("[buffers]", f'args = ["--no-pci", "--file-prefix", "{name}-lbd"]\n[buffers]'),
        ("count = 16384", "count = 4096"), ("capacity = 16777216", 'keep = "off"\ncapacity = 65536'), ("/run/natlb/lbd.sock", f"{directory}/lbd.sock"),
        ('"0000:3b:00.0"', f'"net_memif0,role=server,id=0,socket={directory}/vip,socket-abstract=no,mac={VIP_MAC}"'),
        ('"0000:3b:00.1"', f'"net_memif1,role=server,id=1,socket={directory}/dip,socket-abstract=no,mac={DIP_MAC}"'),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file = Path(directory, "lbd.toml")
    file.write_text(text)
    return file


@contextmanager
def running(log, *command):
    """A process of its own session, whose output goes to a file; it is ended with all it started."""
    with open(log, "w") as out:
        process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=subprocess.STDOUT, start_new_session=True,
                                   env={**os.environ, "BUFFERS": "16384"})
    try:
        yield process
    finally:
        for which, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
            if process.poll() is None:
                os.killpg(process.pid, which)
                try:
                    process.wait(seconds)
                except subprocess.TimeoutExpired:
                    continue


def until(what, seconds, done, logs):
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            tails = "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in logs)
            raise AssertionError(f"waited in vain: {what}\n{tails}")
        time.sleep(0.2)


class WholeKit(unittest.TestCase):
    def test_every_packet_comes_back_and_the_terminal_tells(self):
        if os.geteuid() != 0:
            self.skipTest("DPDK's runtime files need root")
        name = f"natlb-kit-{os.getpid()}"
        with tempfile.TemporaryDirectory(prefix=name) as directory:
            flows = f"{directory}/flows.pcap"
            write_flows(flows)
            logs = [Path(directory, f"{which}.log") for which in ("lbd", "reflector", "generator")]
            lbd_log, reflector_log, generator_log = logs

            def seen_above_zero(log, pattern):
                """Whether a process has printed such a rate above 0."""
                return any(int(rate) > 0 for rate in re.findall(pattern, log.read_text(errors="replace"), re.DOTALL))

            def status():
                done = subprocess.run([program("lbctl"), "--socket", f"{directory}/lbd.sock", "--output", "json",
                                       "status"], capture_output=True, text=True, timeout=120)
                return json.loads(done.stdout) if done.returncode == 0 else None

            lbd = running(lbd_log, program("lbd"), "--config", configuration(directory, name), "--stats-period", "1")
            reflector = running(reflector_log, KIT / "reflector", *eal(
                f"{name}-r", "0@0,1@0", f"net_memif0,role=client,id=1,socket={directory}/dip,socket-abstract=no"))
            generator = running(generator_log, KIT / "generator", flows, *eal(
                f"{name}-g", "0@1,1@1", f"net_memif0,role=client,id=0,socket={directory}/vip,socket-abstract=no"))
            with lbd as daemon:
                until("lbd is ready", 120, lambda: re.search("^ready$", lbd_log.read_text(), re.M), logs[:1])
                with reflector, generator:
                    # Port 0 of the generator is memif: what it receives are replies. Port 1 is the file.
                    replies = r"for port 0 .*?Rx-pps:\s+(\d+)"
                    until("replies come back", 120, lambda: seen_above_zero(generator_log, replies), logs)
                    until("all connections", 120, lambda: status()["workers"][0]["connections"] == CLIENTS * PORTS, logs)
                    # In and out on both ports.
                    for pattern in (r"vip0 +([1-9])\S*(?: [kMG])? +[1-9]", r"dip0 +([1-9])\S*(?: [kMG])? +[1-9]"):
                        until("lbd tells of it", 120, lambda: seen_above_zero(lbd_log, pattern), logs)
                    seen = status()  # before the peers go: memif counts anew then
                self.assertEqual(seen["workers"][0]["connections"], CLIENTS * PORTS)
                # Shared cores cannot keep up with each other: frames are lost at full rings, and nowhere else. 5tswap
                # also sends natlb's own announcements back.
                self.assertLessEqual(set(seen["drops"]), {"transmit_full", "no_buffer", "arp"}, seen["drops"])
                for port in seen["ports"]:
                    self.assertGreater(min(port["rx_packets"], port["tx_packets"]), CLIENTS * PORTS, port)
                daemon.terminate()
                self.assertEqual(daemon.wait(60), 0)
            said = lbd_log.read_text()
            for head in ("Rx-pps", "Tx-bps", "Rx-missed", "cycles/packet", "new/s"):
                self.assertIn(head, said)
