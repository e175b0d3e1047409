"""Traces for net_pcap: one UDP packet of 60 bytes for each flow, in an order that is shuffled once.

python3 benches/perf/traces.py FLOWS FILE [--replies]

Flow f is client 10.1.0.0 + f mod 1024 + 1 with port 1024 + f div 1024, at 10.0.0.100:80; its replies come from
10.2.0.2:80. Checksums of IPv4 and UDP are right, destination MACs are those that net_pcap gives its ports.
"""

import argparse
import random
import struct

VIP, REAL, CLIENTS, PORT = "10.0.0.100", "10.2.0.2", "10.1.0.0", 80
PCAP_MACS = (bytes.fromhex("027063617000"), bytes.fromhex("027063617001"))
GATEWAY_MAC = bytes.fromhex("020000000101")
REAL_MAC = bytes.fromhex("020000000201")
CLIENTS_AT_MOST = 1024
FIRST_PORT = 1024
MOST_FLOWS = (65536 - FIRST_PORT) * CLIENTS_AT_MOST
SEED = 1
PAYLOAD = bytes(range(18))
LINK_ETHERNET = 1


def checksum(data):
    """RFC 1071, of bytes."""
    if len(data) % 2:
        data += b"\0"
    return folded(sum(struct.unpack(f"!{len(data) // 2}H", data)))


def folded(total):
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def address(text):
    return bytes(int(part) for part in text.split("."))


class Frames:
    """Frames of one direction. What flows have in common is made, and summed, once."""

    def __init__(self, replies=False, vip=VIP, clients=CLIENTS, port=PORT, services=1):
        self.replies, self.port, self.services = replies, port, services
        self.clients = int.from_bytes(address(clients), "big")
        self.server = address(REAL if replies else vip)
        self.link = PCAP_MACS[replies] + (REAL_MAC if replies else GATEWAY_MAC) + b"\x08\x00"
        self.length = 8 + len(PAYLOAD)
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + self.length, 0, 0x4000, 64, 17, 0) + self.server
        self.header_sum = sum(struct.unpack("!8H", header))
        pseudo = self.server + struct.pack("!BBHH", 0, 17, self.length, self.length) + PAYLOAD
        self.udp_sum = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))

    def frame(self, flow):
        client = self.clients + flow % CLIENTS_AT_MOST + 1
        client_port = FIRST_PORT + flow // CLIENTS_AT_MOST
        server_port = self.port + flow % self.services
        words = (client >> 16) + (client & 0xFFFF)
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + self.length, 0, 0x4000, 64, 17, folded(self.header_sum + words))
        udp = folded(self.udp_sum + words + client_port + server_port) or 0xFFFF
        client = client.to_bytes(4, "big")
        if self.replies:
            ends, ports = self.server + client, (server_port, client_port)
        else:
            ends, ports = client + self.server, (client_port, server_port)
        return self.link + header + ends + struct.pack("!HHHH", *ports, self.length, udp) + PAYLOAD


def write(path, count, frames, seed=SEED):
    """A pcap file of `count` flows, each once."""
    if not 0 < count <= MOST_FLOWS:
        raise ValueError(f"{count} flows: from 1 to {MOST_FLOWS}")
    flows = list(range(count))
    random.Random(seed).shuffle(flows)
    with open(path, "wb", buffering=1 << 20) as file:
        file.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, LINK_ETHERNET))
        for flow in flows:
            data = frames.frame(flow)
            file.write(struct.pack("=IIII", 0, 0, len(data), len(data)))
            file.write(data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Writes a trace that net_pcap can repeat.")
    parser.add_argument("flows", type=int)
    parser.add_argument("file")
    parser.add_argument("--replies", action="store_true", help="from the real to the clients")
    chosen = parser.parse_args()
    write(chosen.file, chosen.flows, Frames(chosen.replies))
