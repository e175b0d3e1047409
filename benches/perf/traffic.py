"""What traffic a run has, and the addresses that the source, the configuration and testpmd share."""

from dataclasses import dataclass

VIP = "10.0.0.100"
VIP_PORT = 8000
REALS = "10.2.0.1"
REAL_PORT = 80
CLIENTS = "16.0.0.0"
GATEWAY = "10.0.0.254"
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
    def frame_bytes(self):
        """What net_null delivers, without the frame check sequence: it knows one length only."""
        return 60 if self.sizes == "64" else 1514

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
        return [
            (protocol, f"{VIP}:{VIP_PORT + index}", f"{real}:{REAL_PORT}")
            for protocol in protocols
            for index, real in enumerate(self.reals())
        ]

    def environment(self, page):
        return {
            "TRAFFIC_PAGE": page,
            "TRAFFIC_FLOWS": str(self.flows),
            "TRAFFIC_PATTERN": self.pattern,
            "TRAFFIC_DIRECTION": self.direction,
            "TRAFFIC_PROTOCOLS": self.protocols,
            "TRAFFIC_SIZES": self.sizes,
            "TRAFFIC_SERVICES": str(self.services),
            "TRAFFIC_CLIENTS": CLIENTS,
            "TRAFFIC_VIP": VIP,
            "TRAFFIC_VIP_PORT": str(VIP_PORT),
            "TRAFFIC_REALS": REALS,
            "TRAFFIC_REAL_PORT": str(REAL_PORT),
            "TRAFFIC_GATEWAY_MAC": GATEWAY_MAC,
            "TRAFFIC_REAL_MAC": REAL_MAC,
        }

    def reals(self):
        first = [int(part) for part in REALS.split(".")]
        number = int.from_bytes(bytes(first), "big")
        return [".".join(str(b) for b in (number + i).to_bytes(4, "big")) for i in range(self.services)]

    def name(self):
        """As in a table's first column."""
        if self.trace:
            return f"{self.flows:,} frames repeated by net_pcap"
        if self.pattern == "new":
            words = ["every packet a new connection"]
        elif self.pattern == "connections":
            words = ["connections of 7 packets", human(self.flows) + " endpoints"]
        else:
            words = [human(self.flows) + " flows", *(["Zipf"] if self.pattern == "zipf" else [])]
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
