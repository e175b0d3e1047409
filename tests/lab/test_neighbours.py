"""ARP: answers, announcements, and next hops that change or are absent."""

import contextlib
import socket
import struct

from .capture import Capture, mac
from .runner import test
from .testbed import CLIENT, MACS, PATIENCE, REALS, VIP, wait_for

DIP, SECOND_VIP = "10.0.0.8", "192.168.10.101"
RS2 = REALS["rs2"]
SERVICE = ("tcp", f"{VIP}:80", [(f"{RS2}:80", 1)])
BROADCAST = b"\xff" * 6


def arp(frame):
    """(operation, sender's MAC, sender's address, target's address), or None where the frame is no ARP."""
    if frame[12:14] != b"\x08\x06":
        return None
    operation, sender_mac, sender, _, target = struct.unpack_from("!H6s4s6s4s", frame, 20)
    return operation, sender_mac, socket.inet_ntoa(sender), socket.inet_ntoa(target)


def announces(address, port_mac):
    """Whether a frame is a gratuitous ARP for the address."""

    def matches(frame):
        message = arp(frame)
        return message and frame[:6] == BROADCAST and message[1:] == (mac(port_mac), address, address)

    return matches


def announce(bed, host, address, host_mac):
    """Sends a gratuitous ARP from `host`."""
    hardware, protocol = mac(host_mac), socket.inet_aton(address)
    frame = BROADCAST + hardware + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    frame += hardware + protocol + bytes(6) + protocol
    with bed.inside(host), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("eth0", 0))
        raw.send(frame.ljust(60, b"\0"))


@contextlib.contextmanager
def other_mac(bed, host, address, new_mac):
    bed.run(host, "ip", "link", "set", "eth0", "address", new_mac)
    try:
        yield
    finally:
        bed.run(host, "ip", "link", "set", "eth0", "address", MACS[host])
        announce(bed, host, address, MACS[host])


@test()
def addresses_are_announced_when_they_appear(bed):
    with Capture(bed, "client", "eth0", "arp") as outside, Capture(bed, "sw", "p0", "arp") as inside:
        with bed.lbd(services=[SERVICE]) as lbd:
            assert outside.wait(announces(VIP, MACS["vip0"])), "the VIP was not announced at start"
            assert inside.wait(announces(DIP, MACS["dip0"])), "10.0.0.8 was not announced at start"
            assert not outside.wait(announces(SECOND_VIP, MACS["vip0"]), 0.2)
            lbd.add_service("tcp", f"{SECOND_VIP}:80", [(f"{RS2}:80", 1)])
            assert outside.wait(announces(SECOND_VIP, MACS["vip0"])), "a new service's VIP was not announced"
            assert bed.curl(f"http://{SECOND_VIP}/") == f"{RS2} rs2\n"
            bed.run("client", "ping", "-c", 1, "-W", PATIENCE, SECOND_VIP)
    for frames, address, port_mac in ((outside.frames, VIP, MACS["vip0"]), (inside.frames, DIP, MACS["dip0"])):
        forms = {arp(frame)[0] for frame in frames if announces(address, port_mac)(frame)}
        assert forms == {1, 2}, f"{address} was not announced both by request and by reply: {forms}"


@test()
def arp_is_answered_for_own_addresses_only(bed):
    with bed.lbd(services=[SERVICE]):
        bed.run("client", "ip", "neigh", "flush", "dev", "eth0")
        bed.run("client", "ping", "-c", 1, "-W", PATIENCE, VIP)
        neighbours = bed.run("client", "ip", "neigh", "show", VIP).stdout
        assert MACS["vip0"] in neighbours, neighbours
        assert bed.run("client", "ping", "-c", 1, "-W", 1, "192.168.10.77", check=False).returncode == 1


@test()
def an_announced_new_mac_is_followed(bed):
    with bed.lbd(services=[SERVICE]):
        bed.expect(["rs2"])
        with other_mac(bed, "rs2", RS2, "02:00:00:00:0a:02"):
            announce(bed, "rs2", RS2, "02:00:00:00:0a:02")
            bed.expect(["rs2"])
        bed.expect(["rs2"])


@test()
def a_silently_changed_mac_is_found_by_asking_again(bed):
    with bed.lbd(services=[SERVICE]):
        bed.expect(["rs2"])
        # No announcement, and the real's own packets would give it away: it is only a receiver until asked.
        with other_mac(bed, "rs2", RS2, "02:00:00:00:0b:02"):
            answered = wait_for(lambda: bed.run("client", "curl", "-s", "--max-time", 3, f"http://{VIP}/",
                                                check=False).returncode == 0, 150)
            assert answered, "the old MAC is still in use after 150 s"


@test()
def a_clients_new_mac_is_followed(bed):
    with bed.lbd(services=[SERVICE]):
        bed.expect(["rs2"])
        with other_mac(bed, "client", CLIENT, "02:00:00:00:0a:06"):
            announce(bed, "client", CLIENT, "02:00:00:00:0a:06")
            bed.expect(["rs2"])


@test()
def a_claimed_own_address_is_defended_and_noted(bed):
    other = "02:00:00:00:0c:02"
    with bed.lbd(services=[("tcp", f"{VIP}:80", [(f"{REALS['rs1']}:80", 1)])]) as lbd:
        bed.expect(["rs1"])
        announce(bed, "rs2", DIP, other)
        noted = wait_for(lambda: any(other in note for note in lbd.json("status")["notes"]))
        assert noted, lbd.json("status")["notes"]
        assert lbd.says(f"{DIP} is ours"), lbd.log()
        # rs1 has heard the claim, and then that the address is still at its old MAC.
        bed.expect(["rs1"])


@test()
def a_real_that_comes_later_is_found(bed):
    with bed.lbd(services=[("tcp", f"{VIP}:80", [("10.0.0.27:80", 1)])]):
        bed.run("sw", "ip", "link", "set", "p3", "down")
        try:
            assert bed.run("client", "curl", "-s", "--max-time", 2, f"http://{VIP}/", check=False).returncode != 0
        finally:
            bed.run("sw", "ip", "link", "set", "p3", "up")
        found = wait_for(lambda: bed.run("client", "curl", "-s", "--max-time", 3, f"http://{VIP}/", check=False).returncode == 0)
        assert found, "the real is not asked for again"


@test()
def a_fixed_neighbour_is_never_asked_for(bed):
    config = bed.config()
    config["neighbour"] = [{"address": RS2, "mac": MACS["rs2"]}]
    with Capture(bed, "sw", "p0", "arp") as inside:
        with bed.lbd(config, services=[SERVICE]):
            bed.expect(["rs2"] * 2)
    asked = [arp(frame) for frame in inside.frames if arp(frame)[0] == 1 and arp(frame)[1] == mac(MACS["dip0"])]
    assert RS2 not in [target for *_, target in asked], asked
