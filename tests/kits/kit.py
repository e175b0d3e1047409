"""Where the kits are, and what their configurations say."""

import os
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NIC = ROOT / "scripts/nic"
KITS = ("trex", "pktgen", "testpmd")


def program(name):
    """lbd or lbctl."""
    path = Path(os.environ.get("NATLB_BIN", ROOT / "target/release")) / name
    if not path.exists():
        raise AssertionError(f"{path} is missing: cargo build --release, or set NATLB_BIN")
    return str(path)


class Addresses:
    """What a kit's lbd.toml says of addresses; each of its services has one real."""

    def __init__(self, kit):
        self.config = tomllib.loads((NIC / kit / "lbd.toml").read_text())
        vip, dip = self.config["port"]
        assert (vip["side"], dip["side"]) == ("vip", "dip")
        self.own = [port["addresses"][0].split("/")[0] for port in (vip, dip)]
        self.next_hops = [vip["gateway"], self.config["route"][0]["via"]]
        self.services = {}
        for service in self.config["service"]:
            protocol, endpoint = service["listen"].split("://")
            (real,) = service["real"]
            self.services[protocol] = (*split(endpoint), *split(real["address"]))


def split(endpoint):
    """("198.18.0.100", 80)"""
    address, port = endpoint.rsplit(":", 1)
    return address, int(port)


def ones_complement_sum(data):
    """0xffff where a checksum that covers `data` is right (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(data[i:i + 2], "big") for i in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


class Frame:
    """An Ethernet frame with IPv4 without options and UDP or TCP, taken apart; lengths are checked."""

    def __init__(self, data):
        self.data = data
        self.destination_mac, ip = data[:6].hex(":"), data[14:]
        assert data[12:14] == b"\x08\x00" and ip[0] == 0x45, data.hex()
        assert int.from_bytes(ip[2:4], "big") == len(ip), "the IPv4 length is the frame's"
        self.identification = int.from_bytes(ip[4:6], "big")
        self.protocol = {6: "tcp", 17: "udp"}[ip[9]]
        self.header_right = ones_complement_sum(ip[:20]) == 0xFFFF
        self.source, self.destination = ".".join(map(str, ip[12:16])), ".".join(map(str, ip[16:20]))
        self.transport = ip[20:]
        self.source_port, self.destination_port = (int.from_bytes(self.transport[i:i + 2], "big") for i in (0, 2))
        pseudo = ip[12:20] + bytes((0, ip[9])) + len(self.transport).to_bytes(2, "big")
        self.transport_right = ones_complement_sum(pseudo + self.transport) == 0xFFFF
        if self.protocol == "udp":
            assert int.from_bytes(self.transport[4:6], "big") == len(self.transport), "the UDP length is the frame's"
            self.checksum, self.payload = int.from_bytes(self.transport[6:8], "big"), self.transport[8:]
        else:
            self.flags, self.payload = self.transport[13], self.transport[20:]

    def ends(self):
        return self.source, self.source_port, self.destination, self.destination_port
