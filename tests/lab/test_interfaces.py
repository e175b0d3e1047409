"""The host's interfaces below the ports: left as they are, and followed while lbd runs."""

import contextlib
import json
import re
import signal

from .capture import Capture, packets
from .runner import test
from .sockets import udp_echo, udp_socket
from .test_neighbours import announces
from .test_path_mtu import forget_path_mtu, udp_path_mtu
from .testbed import MACS, PATIENCE, REALS, VIP, Daemon, wait_for

SERVICE = ("tcp", f"{VIP}:80", [(f"{REALS['rs1']}:80", 1)])
OTHER_MAC = "02:00:00:00:0d:65"


def interface(bed, name):
    """The line of `ip link` about an interface of lb, without counters, and without how many want all of its multicast
    frames, as lbd does while it runs."""
    return re.sub(r" allmulti \d+", "", bed.run("lb", "ip", "-details", "link", "show", name).stdout)


def mtu(bed, name):
    return int(re.search(r" mtu (\d+) ", interface(bed, name))[1])


def port(lbd, name):
    return next(port for port in lbd.json("status")["ports"] if port["name"] == name)


def notes(lbd):
    return "\n".join(lbd.json("status")["notes"])


@contextlib.contextmanager
def with_mtu(bed, host, name, value):
    bed.run(host, "ip", "link", "set", name, "mtu", value)
    try:
        yield
    finally:
        bed.run(host, "ip", "link", "set", name, "mtu", 1500)


def reaches(bed, *options):
    return bed.run("client", "curl", "-s", "--max-time", 3, *options, f"http://{VIP}/", check=False).returncode == 0


@test()
def the_mtu_of_an_interface_is_taken_over(bed):
    with with_mtu(bed, "lb", "eth1", 1400), with_mtu(bed, "lb", "eth0", 1300):
        before = {name: interface(bed, name) for name in ("eth0", "eth1")}
        forget_path_mtu(bed)
        udp = ("udp", f"{VIP}:5000", [(f"{REALS['rs1']}:5000", 1)])
        with udp_echo(bed, "rs1", 5000), bed.lbd(services=[SERVICE, udp]) as lbd:
            assert [port["mtu"] for port in lbd.json("status")["ports"]] == [1400, 1300]
            assert {name: interface(bed, name) for name in before} == before, "lbd changed an interface"
            with udp_socket(bed, "client") as client:
                # As large as may come in, too large to go out.
                assert udp_path_mtu(bed, client, (VIP, 5000), 1400) == 1300, "ICMP did not say it"
            bed.expect(["rs1"])
        forget_path_mtu(bed)
        assert {name: interface(bed, name) for name in before} == before, "lbd left an interface changed"


@test()
def more_than_an_interface_or_its_device_can_is_refused(bed):
    for on_interface, words in ((1500, "mtu = 1600, but interface eth1 has 1500: ip link set eth1 mtu 1600"),
                                (9000, "an MTU of 1600 is not possible")):
        config = bed.config()
        config["port"][0]["mtu"] = 1600
        with with_mtu(bed, "lb", "eth1", on_interface):
            daemon = Daemon(bed, config)
            daemon.spawn()
            try:
                assert daemon.process.wait(PATIENCE) == 1, daemon.log()
                assert words in daemon.log().splitlines()[-1], daemon.log()
            finally:
                daemon.kill()
            assert mtu(bed, "eth1") == on_interface, "the interface was changed"


@test()
def what_else_was_set_on_an_interface_stays(bed):
    bed.run("lb", "ip", "link", "set", "eth1", "promisc", "on")
    try:
        before = interface(bed, "eth1")
        with bed.lbd(services=[SERVICE]):
            assert interface(bed, "eth1") == before, "lbd changed an interface"
            bed.expect(["rs1"])
        assert interface(bed, "eth1") == before, "lbd left an interface changed"
    finally:
        bed.run("lb", "ip", "link", "set", "eth1", "promisc", "off")


@test()
def an_mtu_that_changes_is_followed(bed):
    with bed.lbd(services=[SERVICE]) as lbd, with_mtu(bed, "lb", "eth0", 1400):
        assert wait_for(lambda: port(lbd, "dip0")["mtu"] == 1400), port(lbd, "dip0")
        assert lbd.says(r"port dip0: MTU 1500 became 1400")
        bed.run("lb", "ip", "link", "set", "eth0", "mtu", 1450)
        assert wait_for(lambda: port(lbd, "dip0")["mtu"] == 1450), port(lbd, "dip0")
        bed.run("lb", "ip", "link", "set", "eth0", "mtu", 9000)
        assert wait_for(lambda: port(lbd, "dip0")["mtu"] == 1500), "more than the device can"


@test()
def a_large_packet_is_told_of_the_new_mtu(bed):
    bed.run("client", "ip", "route", "flush", "cache")
    bed.run("client", "ip", "route", "add", REALS["rs1"], "via", VIP)
    try:
        with bed.lbd(services=[SERVICE]) as lbd, with_mtu(bed, "lb", "eth0", 1400):
            assert wait_for(lambda: port(lbd, "dip0")["mtu"] == 1400)
            with Capture(bed, "client", "eth0", "icmp") as capture:
                bed.run("client", "ping", "-c", 1, "-W", 2, "-M", "do", "-s", 1400, REALS["rs1"], check=False)
            assert (3, 4) in [packet.icmp for packet in packets(capture.frames)]
    finally:
        bed.run("client", "ip", "route", "del", REALS["rs1"])
        bed.run("client", "ip", "route", "flush", "cache")


@test()
def a_link_that_goes_and_comes_is_said_and_announced(bed):
    with bed.lbd(services=[SERVICE]) as lbd:
        assert port(lbd, "vip0")["link_up"] and lbd.says(r"port vip0: link up, MTU 1500")
        try:
            bed.run("lb", "ip", "link", "set", "eth1", "down")
            assert wait_for(lambda: not port(lbd, "vip0")["link_up"])
            assert "port vip0: link down: ip link set eth1 up" in notes(lbd)
            assert wait_for(lambda: lbd.says(r"port vip0: link down: ip link set eth1 up"))
        finally:
            with Capture(bed, "client", "eth0", "arp") as outside:
                bed.run("lb", "ip", "link", "set", "eth1", "up")
                assert outside.wait(announces(VIP, MACS["vip0"])), "the VIP was not announced again"
        assert port(lbd, "vip0")["link_up"] and "link down" not in notes(lbd)
        bed.run("client", "ip", "link", "set", "eth0", "down")
        try:
            assert wait_for(lambda: not port(lbd, "vip0")["link_up"])
            assert "port vip0: link down: interface eth1 has no carrier" in notes(lbd)
        finally:
            bed.run("client", "ip", "link", "set", "eth0", "up")
        assert wait_for(lambda: reaches(bed))


@test()
def a_new_mac_of_an_interface_is_followed(bed):
    with bed.lbd(services=[SERVICE]) as lbd:
        bed.expect(["rs1"])
        try:
            with Capture(bed, "client", "eth0", "arp") as outside:
                bed.run("lb", "ip", "link", "set", "eth1", "address", OTHER_MAC)
                assert outside.wait(announces(VIP, OTHER_MAC)), "the new MAC was not announced"
            assert port(lbd, "vip0")["mac"] == OTHER_MAC
            assert lbd.says(f"port vip0: MAC {MACS['vip0']} became {OTHER_MAC}")
            bed.run("client", "ip", "neigh", "replace", VIP, "lladdr", OTHER_MAC, "dev", "eth0")
            bed.expect(["rs1"])
            with Capture(bed, "client", "eth0", "tcp") as outside:
                bed.expect(["rs1"])
            sources = {frame[6:12].hex(":") for frame in outside.frames if frame[:6].hex(":") == MACS["client"]}
            assert sources == {OTHER_MAC}, sources
        finally:
            bed.run("lb", "ip", "link", "set", "eth1", "address", MACS["vip0"])
            bed.run("client", "ip", "neigh", "del", VIP, "dev", "eth0", check=False)
        assert wait_for(lambda: reaches(bed)), "and back"


@test()
def the_end_of_an_interface_is_the_end_of_lbd(bed):
    config = bed.config()
    config["control"]["state"] = str(bed.dir / "state")
    extra = ["ip", "link", "add", "x1", "type", "veth", "peer", "name", "x2"]
    for remove in (["ip", "link", "del", "x1"], ["ip", "link", "set", "x1", "netns", bed.dir.name + "-client"]):
        bed.run("lb", *extra)
        bed.run("lb", "ip", "link", "set", "x1", "up")
        bed.run("lb", "ip", "link", "set", "x2", "up")
        config["port"][0]["device"] = "net_af_packet0,iface=x1"
        with bed.lbd(config) as lbd:
            if not lbd.json("list")["services"]:
                lbd.add_service(*SERVICE)
            bed.run("lb", *remove)
            assert lbd.process.wait(PATIENCE) == 1, lbd.log()
            last = lbd.log().splitlines()[-1]
            assert last.startswith("lbd: port vip0: interface x1 is gone"), last
            assert not (bed.dir / "lbd.sock").exists(), "the socket is left"
            assert f"-A -t {VIP}:80" in (bed.dir / "state").read_text(), "the state is kept"
        bed.run("client", "ip", "link", "del", "x1", check=False)


@test()
def what_the_ring_of_a_device_loses_is_noted(bed):
    config = bed.config()
    # A ring of 512 frames, for each worker.
    config["port"][0]["device"] += ",framesz=2048,blocksz=1048576,framecnt=512"
    sent = 512 * bed.workers + 2000

    def received():
        shown = json.loads(bed.run("lb", "ip", "-json", "-statistics", "link", "show", "eth1").stdout)
        return shown[0]["stats64"]["rx"]["packets"]

    with bed.lbd(config, services=[SERVICE]) as lbd:
        bed.expect(["rs1"])
        assert "does not count what it loses" not in notes(lbd)
        lbd.process.send_signal(signal.SIGSTOP)
        try:
            with udp_socket(bed, "client") as client:
                before = received()
                for _ in range(100):
                    for _ in range(500):
                        client.sendto(b"", (VIP, 9))
                    if received() - before >= sent:
                        break
        finally:
            lbd.process.send_signal(signal.SIGCONT)
        vip0 = port(lbd, "vip0")
        assert (vip0["rx_missed_known"], vip0["interface"]["name"]) == (False, "eth1"), vip0
        assert vip0["interface"]["rx_packets"] >= sent, vip0
        assert vip0["interface"]["rx_packets"] - vip0["rx_packets"] > 1000, vip0
        assert re.search(r"port vip0: net_af_packet does not count what it loses, but interface eth1 has received", notes(lbd))
        assert re.search(r"^  vip0 .* unknown +", lbd.ctl("status"), re.MULTILINE), "a 0 that is none"
