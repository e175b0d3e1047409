"""What traffic a run has, and the addresses that the source, the configuration and testpmd share."""

import ipaddress
from dataclasses import dataclass

VIP = "10.0.0.100"
VIP_PORT = 8000
REALS = "10.2.0.1"
REAL_PORT = 80
CLIENTS = "16.0.0.0"
GATEWAY = "10.0.0.254"
VIP6 = "2001:db8:a::100"
REALS6 = "2001:db8:b::1"
CLIENTS6 = "2001:db8:c::"
GATEWAY6 = "2001:db8:a::fe"
OWN = {"vip": ["10.0.0.1/24"], "dip": ["10.2.255.254/16"]}
OWN6 = {"vip": ["2001:db8:a::1/64"], "dip": ["2001:db8:b::ffff/64"]}
GATEWAY_MAC = "02:00:00:00:01:01"
REAL_MAC = "02:00:00:00:02:01"
# Addresses times ports that the source has for clients: MOST_FLOWS in traffic_source/frames.h.
MOST_ENDPOINTS = (65536 - 1024) << 16
BUFFERS = 4096  # in all; testpmd has one pool, lbd one for each port


@dataclass(frozen=True)
class Traffic:
    """One kind of traffic."""

    flows: int
    pattern: str = "uniform"  # uniform | zipf | new | connections
    direction: str = "mixed"  # mixed | forward | reverse
    protocols: str = "mix"  # mix | udp | tcp
    sizes: str = "64"  # 64 | imix
    services: int = 16  # of each protocol, with one real each
    families: str = "ipv4"  # ipv4 | both: so many flows of each, services of both
    new_rate: int = 0  # new connections a second among uniform traffic, of one packet each
    trace: str = ""  # a file that net_pcap repeats, instead of the plugin

    @property
    def opens(self):
        """Whether it opens connections all the time."""
        return self.pattern in ("new", "connections") or self.new_rate > 0

    @property
    def from_pools(self):
        """Whether the plugin makes the frames."""
        return not self.trace

    @property
    def has_both(self):
        """Whether there are both address families."""
        return self.families == "both"

    @property
    def established(self):
        """Connections that a table holds after the warm-up."""
        return self.flows * (2 if self.has_both else 1)

    @property
    def frame_bytes(self):
        """What net_null delivers, without the frame check sequence: it knows one length only. With both families the smallest
        packets are longer, so that they fill it in both."""
        if self.sizes != "64":
            return 1514
        return 80 if self.has_both else 60

    def devices(self):
        if self.trace:
            return [f"net_pcap0,rx_pcap={self.trace},infinite_rx=1", "net_null0,no-rx=1"]
        return [f"net_null{port},size={self.frame_bytes}" for port in (0, 1)]

    def buffers(self):
        """Of each pool: (count, cache, size). The plugin works without a cache; net_pcap keeps its trace in the pool."""
        return (4 * self.flows, 256, 2048) if self.trace else (BUFFERS, 0, 2048)

    def endpoints(self):
        """(protocol, the service's listening endpoint, its real's endpoint), of all services."""
        protocols = {"mix": ("tcp", "udp"), "tcp": ("tcp",), "udp": ("udp",)}[self.protocols]
        families = [(VIP, REALS), (f"[{VIP6}]", REALS6)]
        return [
            (protocol, f"{vip}:{VIP_PORT + index}", f"[{real}]:{REAL_PORT}" if real.version == 6 else f"{real}:{REAL_PORT}")
            for vip, first in families[: 1 + self.has_both]
            for protocol in protocols
            for index, real in enumerate(ipaddress.ip_address(first) + index for index in range(self.services))
        ]

    def gateways(self):
        return [GATEWAY, *([GATEWAY6] if self.has_both else [])]

    def own_addresses(self, side):
        """Of the port on this side, `vip` or `dip`, with their prefixes."""
        return OWN[side] + (OWN6[side] if self.has_both else [])

    def neighbours(self):
        """(address, MAC) of every next hop."""
        reals = dict.fromkeys(real.rpartition(":")[0].strip("[]") for _, _, real in self.endpoints())
        return [*((gateway, GATEWAY_MAC) for gateway in self.gateways()), *((real, REAL_MAC) for real in reals)]

    def environment(self, page):
        return {
            "TRAFFIC_PAGE": page,
            "TRAFFIC_FLOWS": str(self.flows),
            "TRAFFIC_PATTERN": self.pattern,
            "TRAFFIC_DIRECTION": self.direction,
            "TRAFFIC_PROTOCOLS": self.protocols,
            "TRAFFIC_SIZES": self.sizes,
            "TRAFFIC_FAMILIES": self.families,
            "TRAFFIC_SERVICES": str(self.services),
            "TRAFFIC_CLIENTS": CLIENTS,
            "TRAFFIC_VIP": VIP,
            "TRAFFIC_VIP_PORT": str(VIP_PORT),
            "TRAFFIC_REALS": REALS,
            "TRAFFIC_REAL_PORT": str(REAL_PORT),
            "TRAFFIC_CLIENTS6": CLIENTS6,
            "TRAFFIC_VIP6": VIP6,
            "TRAFFIC_REALS6": REALS6,
            "TRAFFIC_GATEWAY_MAC": GATEWAY_MAC,
            "TRAFFIC_REAL_MAC": REAL_MAC,
        }

    def name(self):
        """As in a table's first column."""
        if self.trace:
            return f"{self.flows:,} frames repeated by net_pcap"
        if self.pattern == "new":
            words = ["every packet a new connection"]
        elif self.pattern == "connections":
            words = ["connections of 7 packets", human(self.flows) + " endpoints"]
        else:
            of_each = " of each family" if self.has_both else ""
            words = [f"{human(self.flows)} flows{of_each}", *(["Zipf"] if self.pattern == "zipf" else [])]
        if self.direction != "mixed" and not self.opens:
            words.append(self.direction + " only")
        if self.new_rate:
            words.append(f"{human(self.new_rate)} new a second")
        if self.protocols != "mix":
            words.append(self.protocols.upper())
        if self.sizes != "64":
            words.append("IMIX")
        return ", ".join(words)


def human(number):
    for unit, suffix in ((10**6, " M"), (10**3, " k")):
        if number >= unit and number % unit == 0:
            return f"{number // unit}{suffix}"
    return str(number)


def parse_count(text):
    """`64k` is 64,000; `1M` a million."""
    factor = {"k": 10**3, "M": 10**6}.get(text[-1:], 1)
    number = int(text[:-1] if factor > 1 else text) * factor
    if number < 1:
        raise ValueError(text)
    return number
