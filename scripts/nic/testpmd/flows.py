#!/usr/bin/env python3
"""Writes a pcap file of UDP packets, one for each connection of many clients to one VIP, for testpmd to repeat."""

import argparse
import struct
from ipaddress import IPv4Address

LEAST_PORT = 1024
FRAME_CHECK = 4  # bytes that the NIC appends
PCAP_MAGIC, ETHERNET = 0xA1B2C3D4, 1


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--mac", required=True, help="natlb's MAC on the vip side (lbctl status)")
    parser.add_argument("--source-mac", default="02:00:00:00:00:02")
    parser.add_argument("--clients", type=int, default=1024, help="addresses, from --first-client on")
    parser.add_argument("--ports", type=int, default=16, help="source ports of each: clients x ports connections")
    parser.add_argument("--first-client", default="16.0.0.1")
    parser.add_argument("--vip", default="198.18.0.100")
    parser.add_argument("--vip-port", type=int, default=80)
    parser.add_argument("--size", type=int, default=64, help="bytes of a frame, frame check sequence included")
    options = parser.parse_args()
    if options.clients < 1 or not 1 <= options.ports <= 65536 - LEAST_PORT or not 64 <= options.size <= 1518:
        parser.error(f"--clients: at least 1; --ports: 1 to {65536 - LEAST_PORT}; --size: 64 to 1518")
    return options


def folded(data):
    """The ones' complement sum of RFC 1071, not complemented."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def mac(text):
    data = bytes.fromhex(text.replace(":", ""))
    if len(data) != 6:
        raise SystemExit(f"expected a MAC as 02:00:00:00:10:64, found {text}")
    return data


def frames(options):
    link = mac(options.mac) + mac(options.source_mac) + b"\x08\x00"
    payload = b"\x20" * (options.size - FRAME_CHECK - 14 - 20 - 8)
    length = 8 + len(payload)
    first, vip = int(IPv4Address(options.first_client)), IPv4Address(options.vip).packed
    for port in range(LEAST_PORT, LEAST_PORT + options.ports):
        for client in range(first, first + options.clients):
            ends = struct.pack("!I", client) + vip
            ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, 17, 0) + ends
            ip = ip[:10] + struct.pack("!H", 0xFFFF ^ folded(ip)) + ip[12:]
            udp = struct.pack("!HHHH", port, options.vip_port, length, 0) + payload
            check = 0xFFFF ^ folded(ends + struct.pack("!HH", 17, length) + udp)
            yield link + ip + udp[:6] + struct.pack("!H", check or 0xFFFF) + udp[8:]


def main():
    options = parse()
    with open(options.file, "wb") as out:
        out.write(struct.pack("!IHHiIII", PCAP_MAGIC, 2, 4, 0, 0, 65535, ETHERNET))
        for frame in frames(options):
            out.write(struct.pack("!IIII", 0, 0, len(frame), len(frame)) + frame)
    print(f"{options.file}: {options.clients * options.ports} connections")


if __name__ == "__main__":
    main()
