"""The same comparison with stock parts alone: a trace that net_pcap repeats, forward only, no plugin."""

import os
import random
import struct

from measure import Point, Proof, spread
from traffic import CLIENTS, GATEWAY_MAC, Traffic, VIP, VIP_PORT

FRAMES = 4096
PCAP_MAC = bytes.fromhex("027063617000")  # net_pcap's own, of its first port
SEED = 1


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def address(text):
    return bytes(int(part) for part in text.split("."))


def frame(flow, services):
    """60 bytes of UDP from client `flow` to one of the services, both checksums right."""
    client = (int.from_bytes(address(CLIENTS), "big") + flow % 1024 + 1).to_bytes(4, "big")
    payload = bytes(range(18))
    udp = struct.pack("!HHHH", 1024 + flow // 1024, VIP_PORT + flow % services, 8 + len(payload), 0) + payload
    pseudo = client + address(VIP) + struct.pack("!BBH", 0, 17, len(udp))
    udp = udp[:6] + struct.pack("!H", checksum(pseudo + udp) or 0xFFFF) + udp[8:]
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0) + client + address(VIP)
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return PCAP_MAC + bytes.fromhex(GATEWAY_MAC.replace(":", "")) + b"\x08\x00" + header + udp


def write_trace(path, count, services):
    flows = list(range(count))
    random.Random(SEED).shuffle(flows)
    with open(path, "wb") as file:
        file.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for flow in flows:
            data = frame(flow, services)
            file.write(struct.pack("=IIII", 0, 0, len(data), len(data)) + data)


class Stock(Point):
    """No page and no warm-up: UDP needs none, and the programs count for themselves."""

    def start(self):
        self.lbd = self.start_lbd("natlb", self.binaries)
        self.proof = Proof(self.lbd, self.traffic)
        self.lbd.pause()
        self.start_testpmd()


def run(machine, binaries, rounds, seconds):
    trace = os.path.join(machine.directory, "trace.pcap")
    traffic = Traffic(flows=FRAMES, protocols="udp", direction="forward", trace=trace)
    write_trace(trace, FRAMES, traffic.services)
    with Stock(machine, traffic, binaries) as point:
        point.start()
        found = point.rounds(rounds, seconds, lambda *_: None)
        point.lbd.run()
        status = point.lbd.status()
    connections = sum(worker["connections"] for worker in status["workers"])
    drops = {reason: count for reason, count in status["drops"].items() if count}
    problems = [] if connections == FRAMES else [f"the table holds {connections} connections of {FRAMES}"]
    problems += [f"frames were dropped: {drops}"] if drops else []
    return {
        "name": traffic.name(),
        "traffic": vars(traffic),
        "capacity": point.capacity,
        "ratio": spread([r["natlb"]["mpps"] / r["5tswap"]["mpps"] for r in found]),
        "net_cycles": {"natlb": spread([r["natlb"]["cycles"] - r["io"]["cycles"] for r in found])},
        **{
            what: {key: spread([r[what][key] for r in found]) for key in ("mpps", "cycles", "nanoseconds")}
            for what in ("io", "5tswap", "natlb")
        },
        "proof": {"connections_after": connections, "check_after": {"drops": drops}, "problems": problems},
    }
