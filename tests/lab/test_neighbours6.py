"""Neighbour discovery: answers, announcements, and next hops of IPv6 that change, are absent, or are ours."""

import contextlib
import json
import os
import socket
import struct
import threading

from .capture import Capture, mac
from .runner import Skip, test
from .testbed import MACS, PATIENCE, background, wait_for

VIP, DIP, SECOND_VIP = "fd00:10::100", "fd00:20::8", "fd00:10::101"
CLIENT = "fd00:10::6"
REALS = {"rs1": "fd00:20::7", "rs2": "fd00:20::17", "rs3": "fd00:20::27"}
PORT = 53
SERVICE = ("udp", f"[{VIP}]:{PORT}", [(f"[{REALS['rs2']}]:{PORT}", 1)])
ALL_NODES = "ff02::1"
HEADERS, ICMP = 14 + 40, 58
KERNEL = "/proc/sys/net/ipv6/conf/eth0"
SOLICITATION, ADVERTISEMENT, REPORT_V1, REPORT, LISTENED = 135, 136, 131, 143, 2
ROUTER, SOLICITED, OVERRIDE = 0x80, 0x40, 0x20
# Seconds after which a silent change has been found: an answer is trusted for half a minute.
FOUND = 150


def link_local(address):
    """That of the interface with this MAC."""
    first, *rest = mac(address)
    words = bytes([first ^ 2, *rest[:2], 0xFF, 0xFE, *rest[2:]]).hex(":", 2)
    return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, f"fe80::{words}"))


def solicited_node(address):
    return socket.inet_ntop(socket.AF_INET6, b"\xff\x02" + bytes(9) + b"\x01\xff" + packed(address)[13:])


def packed(address):
    return socket.inet_pton(socket.AF_INET6, address)


def message(frame):
    """(source, destination, hop limit, ICMPv6 message), or None where the frame is no ICMPv6 without other headers."""
    if frame[12:14] != b"\x86\xdd" or frame[20] != ICMP:
        return None
    source, destination = (socket.inet_ntop(socket.AF_INET6, frame[at:at + 16]) for at in (22, 38))
    return source, destination, frame[21], frame[HEADERS:]


def discovery(kind, **wanted):
    """Whether a frame is such a message; `wanted`: source, destination, target, flags, from_mac."""

    def matches(frame):
        found = message(frame)
        if not found or found[3][0] != kind:
            return False
        source, destination, hop_limit, body = found
        assert hop_limit == 255, found
        seen = {"source": source, "destination": destination, "flags": body[4], "from_mac": frame[6:12],
                "target": socket.inet_ntop(socket.AF_INET6, body[8:24])}
        return all(seen[name] == value for name, value in wanted.items())

    return matches


def announces(address, port_mac):
    """Whether a frame tells all nodes that the address is at this MAC."""
    return discovery(ADVERTISEMENT, source=address, destination=ALL_NODES, target=address, flags=ROUTER | OVERRIDE,
                     from_mac=mac(port_mac))


def reports(address, port_mac, kind=REPORT):
    """Whether a frame is a report that the address's group is listened to (behind hop-by-hop options)."""

    def matches(frame):
        if frame[12:14] != b"\x86\xdd" or frame[20] != 0 or frame[HEADERS] != ICMP:
            return False
        report = frame[HEADERS + 8:]
        return report[0] == kind and frame[6:12] == mac(port_mac) and packed(solicited_node(address)) in report

    return matches


def advertise(bed, host, address, host_mac, flags=OVERRIDE):
    """Sends an unsolicited advertisement from `host`."""
    source, destination = packed(address), packed(ALL_NODES)
    body = struct.pack("!BBHB3x16sBB6s", ADVERTISEMENT, 0, 0, flags, source, 2, 1, mac(host_mac))
    pseudo = source + destination + struct.pack("!II", len(body), ICMP) + body
    total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    body = body[:2] + struct.pack("!H", ~total & 0xFFFF) + body[4:]
    header = struct.pack("!IHBB16s16s", 6 << 28, len(body), ICMP, 255, source, destination)
    frame = b"\x33\x33\0\0\0\x01" + mac(host_mac) + b"\x86\xdd" + header + body
    with bed.inside(host), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("eth0", 0))
        raw.send(frame)


def set_kernel(bed, host, name, value):
    bed.run(host, "sh", "-c", f"echo {value} >{KERNEL}/{name}")


@contextlib.contextmanager
def hosts(bed):
    """The client and the reals have addresses of IPv6 meanwhile, and their kernels' link-local ones."""
    if not os.path.exists("/proc/sys/net/ipv6"):
        raise Skip("this kernel has no IPv6")
    addresses = {"client": CLIENT, **REALS}
    before = {host: bed.run(host, "cat", f"{KERNEL}/disable_ipv6").stdout.strip() for host in addresses}
    try:
        for host, address in addresses.items():
            set_kernel(bed, host, "accept_ra", 0)
            set_kernel(bed, host, "disable_ipv6", 0)
            bed.run(host, "ip", "-6", "address", "replace", f"{address}/64", "dev", "eth0", "nodad")
            if host != "client":
                bed.run(host, "ip", "-6", "route", "replace", "default", "via", DIP)
        for host in addresses:
            assert wait_for(lambda: "tentative" not in bed.run(host, "ip", "-6", "address", "show", "eth0").stdout)
        yield
    finally:
        for host, disabled in before.items():
            set_kernel(bed, host, "disable_ipv6", disabled)


def config_of(bed):
    """The lab's configuration with both families on each port."""
    config = bed.config()
    for port, address in zip(config["port"], (VIP, DIP)):
        if f"{address}/64" not in port["addresses"]:
            port["addresses"].append(f"{address}/64")
    return config


@contextlib.contextmanager
def both_families(bed, services=()):
    with hosts(bed), echoes(bed, "rs2"), bed.lbd(config_of(bed), services=services) as lbd:
        yield lbd


def udp_socket(bed, host, address):
    """An open socket there."""
    with bed.inside(host):
        opened = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    opened.settimeout(1)
    opened.bind(address)
    return opened


@contextlib.contextmanager
def echoes(bed, host):
    """Datagrams to this real are sent back meanwhile."""
    end = threading.Event()

    def serve():
        while not end.is_set():
            with contextlib.suppress(TimeoutError):
                server.sendto(*server.recvfrom(2000))

    with udp_socket(bed, host, (REALS[host], PORT)) as server:
        thread = background(serve)
        try:
            yield
        finally:
            end.set()
            thread.join(PATIENCE)


def entry(bed, host, address):
    """What `host` knows of a neighbour."""
    shown = json.loads(bed.run(host, "ip", "-6", "-json", "neigh", "show", address, "dev", "eth0").stdout or "[]")
    return shown[0] if shown else {}


def is_answered(bed, vip):
    """Whether a datagram to the VIP comes back now."""
    with udp_socket(bed, "client", ("::", 0)) as client:
        # An ICMPv6 error is an answer, too, but not that one.
        with contextlib.suppress(TimeoutError, OSError):
            client.sendto(b"?", (vip, PORT))
            return client.recvfrom(100)[0] == b"?"
    return False


def reach(bed, seconds=PATIENCE, vip=VIP):
    assert wait_for(lambda: is_answered(bed, vip), seconds), f"nobody answers at {vip}"


@contextlib.contextmanager
def other_mac(bed, host, new_mac):
    bed.run(host, "ip", "link", "set", "eth0", "address", new_mac)
    try:
        yield
    finally:
        bed.run(host, "ip", "link", "set", "eth0", "address", MACS[host])


def notes(lbd):
    return "\n".join(lbd.json("status")["notes"])


@test()
def hosts_of_the_link_find_own_addresses(bed):
    with both_families(bed, [SERVICE]):
        for address in (VIP, f"{link_local(MACS['vip0'])}%eth0"):
            bed.run("client", "ping", "-6", "-c", 1, "-W", PATIENCE, address)
            known = entry(bed, "client", address.split("%")[0])
            assert known["lladdr"] == MACS["vip0"] and "router" in known, known
        port = json.loads(bed.run("lb", "ip", "-details", "-json", "link", "show", "eth1").stdout)[0]
        assert port.get("allmulti", 1) == 1, f"a NIC would not let all groups through: {port}"
        assert bed.run("client", "ping", "-6", "-c", 1, "-W", 1, "fd00:10::77", check=False).returncode == 1
        reach(bed)


@test()
def all_nodes_are_pinged_and_natlb_is_one_of_them(bed):
    own = link_local(MACS["vip0"])
    with both_families(bed):
        answered = bed.run("client", "ping", "-6", "-c", 2, "-W", PATIENCE, f"{ALL_NODES}%eth0", check=False).stdout
        assert f"from {own}" in answered, answered
        group = f"{solicited_node(VIP)}%eth0"
        answered = bed.run("client", "ping", "-6", "-c", 1, "-W", PATIENCE, group, check=False).stdout
        assert f"from {own}" in answered, answered


def asked_by_ndisc6(bed, host, address, *options):
    """The link-layer address that a host says is that address's, as ndisc6 finds it, which checks what it reads."""
    return bed.run(host, "ndisc6", "-1", "-q", *options, address, "eth0", check=False).stdout.strip().lower()


@test()
def own_addresses_answer_ndisc6_as_a_host_does(bed):
    with both_families(bed):
        for host, address, own in (("client", VIP, "vip0"), ("rs1", DIP, "dip0"), ("rs2", DIP, "dip0"),
                                   ("client", link_local(MACS["vip0"]), "vip0"), ("rs1", link_local(MACS["dip0"]), "dip0"),
                                   # A kernel, whose answer is read in the same way.
                                   ("rs1", REALS["rs2"], "rs2")):
            found = asked_by_ndisc6(bed, host, address, "-r", 3, "-w", 1000 * PATIENCE)
            assert found == MACS[own], f"{address}: {found}"
        for host, address in (("client", "fd00:10::77"), ("client", DIP), ("rs1", VIP)):
            assert not asked_by_ndisc6(bed, host, address, "-r", 1, "-w", 1000), f"somebody is {address}"


@test()
def a_cached_entry_turns_stale_and_is_confirmed(bed):
    with both_families(bed, [SERVICE]), Capture(bed, "client", "eth0", "icmp6") as seen:
        reach(bed)
        bed.run("client", "ip", "-6", "neigh", "replace", VIP, "lladdr", MACS["vip0"], "dev", "eth0", "nud", "stale")
        asks_alone = discovery(SOLICITATION, destination=VIP, target=VIP)

        def confirmed():
            # An answer of UDP confirms nothing: the kernel has to ask.
            is_answered(bed, VIP)
            return seen.wait(asks_alone, 0.5) and entry(bed, "client", VIP).get("state") == ["REACHABLE"]

        assert wait_for(confirmed), entry(bed, "client", VIP)
    answer = discovery(ADVERTISEMENT, source=VIP, target=VIP, flags=ROUTER | SOLICITED | OVERRIDE)
    assert any(answer(frame) for frame in seen.frames), "no advertisement that answers"


@test()
def a_next_hop_is_asked_again_alone(bed):
    with Capture(bed, "sw", "p0", "icmp6") as inside, both_families(bed, [SERVICE]):
        to_group = discovery(SOLICITATION, destination=solicited_node(REALS["rs2"]), target=REALS["rs2"],
                             from_mac=mac(MACS["dip0"]), source=DIP)
        assert inside.wait(to_group), "the real is not asked for through its group"
        reach(bed)
        alone = discovery(SOLICITATION, destination=REALS["rs2"], target=REALS["rs2"], from_mac=mac(MACS["dip0"]))
        assert inside.wait(alone, FOUND), "the real's answer is trusted for ever"
        reach(bed)


@test()
def addresses_of_ipv6_are_announced_when_they_appear(bed):
    with hosts(bed), Capture(bed, "client", "eth0", "ip6") as outside, Capture(bed, "sw", "p0", "ip6") as inside:
        with bed.lbd(config_of(bed), services=[SERVICE]) as lbd:
            for capture, address, port_mac in ((outside, VIP, MACS["vip0"]), (inside, DIP, MACS["dip0"])):
                for own in (address, link_local(port_mac)):
                    probe = discovery(SOLICITATION, source="::", destination=solicited_node(own), target=own,
                                      from_mac=mac(port_mac))
                    assert capture.wait(reports(own, port_mac)), f"the group of {own} was not reported"
                    assert capture.wait(probe), f"nobody was asked whether {own} is in use"
                    assert capture.wait(announces(own, port_mac)), f"{own} was not announced"
            lbd.add_service("udp", f"[{SECOND_VIP}]:{PORT}", [(f"[{REALS['rs2']}]:{PORT}", 1)])
            assert outside.wait(announces(SECOND_VIP, MACS["vip0"])), "a new service's VIP was not announced"
            with echoes(bed, "rs2"):
                reach(bed, vip=SECOND_VIP)


@test()
def an_advertised_new_mac_is_followed(bed):
    new = "02:00:00:00:0a:02"
    with both_families(bed, [SERVICE]):
        reach(bed)
        with other_mac(bed, "rs2", new):
            advertise(bed, "rs2", REALS["rs2"], new)
            reach(bed)
        advertise(bed, "rs2", REALS["rs2"], MACS["rs2"])
        reach(bed)


@test()
def a_silently_changed_mac_of_ipv6_is_found_by_asking_again(bed):
    with both_families(bed, [SERVICE]):
        reach(bed)
        set_kernel(bed, "rs2", "ndisc_notify", 0)
        with other_mac(bed, "rs2", "02:00:00:00:0b:02"):
            reach(bed, FOUND)


@test()
def a_duplicate_of_an_own_address_is_refused_to_the_other_and_noted(bed):
    with both_families(bed) as lbd:
        for name in ("accept_dad", "dad_transmits"):
            set_kernel(bed, "rs2", name, 1)
        bed.run("rs2", "ip", "-6", "address", "add", f"{DIP}/64", "dev", "eth0")
        try:
            refused = wait_for(lambda: "dadfailed" in bed.run("rs2", "ip", "-6", "address", "show", "eth0").stdout)
            assert refused, "the other has the address now"
            assert wait_for(lambda: MACS["rs2"] in notes(lbd)), notes(lbd)
            said = f"{MACS['rs2']} says by neighbour discovery that {DIP} is its, too"
            assert said in notes(lbd), notes(lbd)
            assert lbd.says(f"{DIP} is ours, but {MACS['rs2']}"), lbd.log()
        finally:
            for name in ("accept_dad", "dad_transmits"):
                set_kernel(bed, "rs2", name, 0)
            bed.run("rs2", "ip", "-6", "address", "del", f"{DIP}/64", "dev", "eth0")


@test()
def an_own_address_that_another_has_already_is_noted(bed):
    with hosts(bed):
        bed.run("rs2", "ip", "-6", "address", "add", f"{DIP}/64", "dev", "eth0", "nodad")
        try:
            with bed.lbd(config_of(bed)) as lbd:
                assert wait_for(lambda: MACS["rs2"] in notes(lbd)), notes(lbd)
        finally:
            bed.run("rs2", "ip", "-6", "address", "del", f"{DIP}/64", "dev", "eth0")


def set_bridge(bed, **options):
    words = [word for name, value in options.items() for word in (name, value)]
    bed.run("sw", "ip", "link", "set", "br0", "type", "bridge", *words)


@contextlib.contextmanager
def snooping(bed):
    """The switch passes a group's frames on only to where somebody listens, and asks who does, meanwhile."""
    kernel = "/proc/sys/net/ipv6/conf/br0/disable_ipv6"

    def has_address():
        shown = bed.run("sw", "ip", "-6", "address", "show", "br0").stdout
        return "fe80:" in shown and "tentative" not in shown

    try:
        # It asks from a link-local address of its own.
        bed.run("sw", "sh", "-c", f"echo 0 >{kernel}")
        assert wait_for(has_address), "the bridge has no link-local address"
        set_bridge(bed, mcast_snooping=1, mcast_querier=1)
        yield
    finally:
        set_bridge(bed, mcast_snooping=0, mcast_querier=0, mcast_mld_version=1)
        bed.run("sw", "sh", "-c", f"echo 1 >{kernel}")


@test()
def a_switch_that_passes_groups_on_selectively_knows_ours(bed):
    def listeners():
        shown = json.loads(bed.run("sw", "bridge", "-json", "mdb", "show", "dev", "br0").stdout)
        return {(entry["port"], entry["grp"]) for table in shown for entry in table["mdb"]}

    def answers(version):
        # In the second version a record that a group is listened to is said only when somebody asks.
        kind, record = {1: (REPORT_V1, None), 2: (REPORT, LISTENED)}[version]

        def matches(frame):
            return reports(DIP, MACS["dip0"], kind)(frame) and record in (None, frame[HEADERS + 8 + 8])

        return matches

    with hosts(bed), snooping(bed), Capture(bed, "sw", "p0", "ip6") as seen:
        with bed.lbd(config_of(bed)):
            for own in (DIP, link_local(MACS["dip0"])):
                assert wait_for(lambda own=own: ("p0", solicited_node(own)) in listeners()), listeners()
            bed.run("rs1", "ip", "-6", "neigh", "flush", "dev", "eth0")
            bed.run("rs1", "ping", "-6", "-c", 1, "-W", PATIENCE, DIP)
            # The second first: once one of the first version has asked, answers are of that for minutes.
            for version in (2, 1):
                set_bridge(bed, mcast_snooping=0)
                set_bridge(bed, mcast_mld_version=version, mcast_snooping=1)
                assert seen.wait(answers(version)), f"a query of version {version} was not answered"
