"""The lab's addresses in each family, and what sockets and tools call it."""

import socket
from dataclasses import dataclass, field
from ipaddress import ip_address


@dataclass(frozen=True)
class Family:
    """One of the two families that share every interface of the lab."""

    name: str
    domain: int  # of sockets
    ethertype: bytes
    header: int  # the bytes of its header without options
    icmp: str  # as tcpdump's filters and `ping` call its messages
    prefix: int  # of the lab's networks, in bits
    vip: str
    dip: str
    client: str
    reals: dict = field(hash=False)
    clients_network: str
    reals_network: str
    # Behind the client, which is the router there.
    far: str
    far_router: str
    far_network: str
    # `net.` of the kernel's switch for forwarding.
    forwarding: str
    flag: str  # of `ip`, `ping` and `traceroute`

    def host(self, address):
        """An address as it stands in a URL, or before a port."""
        return f"[{address}]" if ":" in address else address

    def at(self, address, port):
        return f"{self.host(address)}:{port}"

    def real(self, name, port):
        return self.at(self.reals[name], port)

    def pool(self, weights=(1, 1), port=80):
        """The first reals, with these weights."""
        return [(self.at(address, port), weight) for address, weight in zip(self.reals.values(), weights)]

    def largest(self, mtu=1500):
        """The bytes of the largest datagram that one packet has room for."""
        return mtu - self.header - 8

    @property
    def largest_cut(self):
        """The bytes of the largest datagram that there is, in fragments: IPv4 counts the header in."""
        return 65_535 - 8 - (self.header if self.domain == socket.AF_INET else 0)

    def url(self, path="/", address=None, port=None):
        host = self.host(address or self.vip)
        return f"http://{host}{f':{port}' if port else ''}{path}"

    def bytes(self, address):
        return socket.inet_pton(self.domain, address)

    def whole(self, address):
        """One address as a network."""
        return f"{address}/{ip_address(address).max_prefixlen}"


IPV4 = Family(
    name="IPv4", domain=socket.AF_INET, ethertype=b"\x08\x00", header=20, icmp="icmp", prefix=24,
    vip="192.168.10.100", dip="10.0.0.8", client="192.168.10.6",
    reals={"rs1": "10.0.0.7", "rs2": "10.0.0.17", "rs3": "10.0.0.27"},
    clients_network="192.168.10.0/24", reals_network="10.0.0.0/24",
    far="172.16.9.2", far_router="172.16.9.1", far_network="172.16.9.0/24", forwarding="ipv4/ip_forward", flag="-4")
IPV6 = Family(
    name="IPv6", domain=socket.AF_INET6, ethertype=b"\x86\xdd", header=40, icmp="icmp6", prefix=64,
    vip="fd00:10::100", dip="fd00:20::8", client="fd00:10::6",
    reals={"rs1": "fd00:20::7", "rs2": "fd00:20::17", "rs3": "fd00:20::27"},
    clients_network="fd00:10::/64", reals_network="fd00:20::/64",
    far="fd00:9::2", far_router="fd00:9::1", far_network="fd00:9::/64", forwarding="ipv6/conf/all/forwarding", flag="-6")
BOTH = (IPV4, IPV6)
