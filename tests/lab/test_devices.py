"""Kinds of devices: each becomes ready, is named in `status` and stops cleanly; what can carry traffic does."""

import contextlib
import socket

from .runner import Skip, test
from .testbed import PATIENCE, REALS, VIP, Daemon, wait_for

AF_XDP = 44
SERVICE = ("tcp", f"{VIP}:80", [(f"{REALS['rs1']}:80", 1), (f"{REALS['rs2']}:80", 1)])


def on(bed, vip_device, dip_device):
    config = bed.config()
    config["port"][0]["device"], config["port"][1]["device"] = vip_device, dip_device
    return config


def comes_and_goes(bed, driver, *devices):
    with bed.lbd(on(bed, *devices), services=[SERVICE]) as lbd:
        ports = lbd.json("status")["ports"]
        assert all(driver in port["driver"] for port in ports), ports
        lbd.ctl("status")


@test()
def null(bed):
    comes_and_goes(bed, "null", "net_null0", "net_null1")


@test()
def ring(bed):
    comes_and_goes(bed, "ring", "net_ring0", "net_ring1")


@test()
def memif(bed):
    path = bed.dir / "memif.sock"
    comes_and_goes(bed, "memif", f"net_memif0,role=server,id=0,socket={path},socket-abstract=no",
                   f"net_memif1,role=server,id=1,socket={path},socket-abstract=no")


@test()
def a_second_lbd_on_the_same_interface_is_refused(bed):
    with bed.lbd(services=[SERVICE]) as first:
        config = bed.config()
        config["control"]["socket"] = str(bed.dir / "second.sock")
        config["connections"]["keep"] = "off"  # the lab's folder is the first one's
        config["eal"]["args"] = ["--no-pci", f"--file-prefix={bed.dir.name}-second"]
        # Whatever driver it would be by.
        config["port"][0]["device"], config["port"][1]["device"] = "net_pcap0,iface=eth1", "net_null0"
        second = Daemon(bed, config, "second")
        second.spawn()
        try:
            assert second.process.wait(PATIENCE) == 1
        finally:
            second.kill()
        line = second.log().strip().splitlines()[-1]
        assert f"port vip0: process {first.process.pid} (lbd) has interface eth1" in line, second.log()
        bed.expect(["rs2", "rs1"])


@test()
def a_start_that_hangs_in_a_driver_ends_when_told_to(bed):
    """A vhost-user backend that says nothing: net_virtio_user waits for its answer for ever."""
    path = bed.dir / "mute.sock"
    config = on(bed, f"net_virtio_user0,path={path}", "net_null0")
    daemon = Daemon(bed, config)
    with socket.socket(socket.AF_UNIX) as backend:
        backend.bind(str(path))
        backend.listen()
        backend.settimeout(PATIENCE)
        daemon.spawn()
        try:
            with backend.accept()[0]:
                assert daemon.stop() == 0, daemon.log()
                assert "stopped while this hung: starting DPDK, which looks for net_virtio_user0" in daemon.log(), daemon.log()
        finally:
            daemon.kill()


@test()
def pcap(bed):
    with bed.lbd(on(bed, "net_pcap0,iface=eth1", "net_pcap1,iface=eth0"), services=[SERVICE]) as lbd:
        assert "pcap" in lbd.json("status")["ports"][0]["driver"]
        bed.expect(["rs2", "rs1"] * 2)


@contextlib.contextmanager
def on_taps(bed, services):
    """lbd on two taps. The kernel of lb is the client, 192.168.10.7 on dtap0; dtap1 is plugged into the reals' bridge
    in place of eth0."""
    with bed.lbd(on(bed, "net_tap0,iface=dtap0", "net_tap1,iface=dtap1"), services=services) as lbd:
        bed.run("sw", "ip", "link", "set", "p0", "nomaster")
        try:
            # A tap's kernel side starts with the MAC of lbd's side; here it is another host.
            for number in (0, 1):
                bed.run("lb", "ip", "link", "set", f"dtap{number}", "address", f"02:00:00:00:0c:0{number}")
            bed.run("lb", "ip", "address", "add", "192.168.10.7/24", "dev", "dtap0")
            bed.run("lb", "ip", "link", "set", "dtap0", "up")
            bed.run("lb", "ip", "link", "set", "dtap1", "netns", bed.dir.name + "-sw")
            bed.run("sw", "ip", "link", "set", "dtap1", "master", "br0", "up")
            yield lbd
        finally:
            bed.run("sw", "ip", "link", "set", "p0", "master", "br0")


@test()
def tap(bed):
    with on_taps(bed, [SERVICE]) as lbd:
        assert "tap" in lbd.json("status")["ports"][0]["driver"]
        bed.expect(["rs2", "rs1"] * 2, host="lb")


@test()
def af_packet_with_queues_and_ring_sizes_of_its_own(bed):
    sizes = "framesz=2048,blocksz=1048576,framecnt=1024"
    with bed.lbd(on(bed, f"net_af_packet0,iface=eth1,{sizes}", f"net_af_packet1,iface=eth0,{sizes}"), services=[SERVICE]):
        bed.expect(["rs2", "rs1"] * 2)


@test()
def af_xdp(bed):
    try:
        socket.socket(AF_XDP, socket.SOCK_RAW).close()
    except OSError:
        raise Skip("this kernel has no AF_XDP sockets") from None
    try:
        with bed.lbd(on(bed, "net_af_xdp0,iface=eth1", "net_af_xdp1,iface=eth0"), services=[SERVICE]) as lbd:
            assert "xdp" in lbd.json("status")["ports"][0]["driver"]
            bed.expect(["rs2", "rs1"] * 2)
    finally:
        # A daemon that was killed leaves its program attached, which would take the next test's packets.
        for device in ("eth0", "eth1"):
            bed.run("lb", "ip", "link", "set", device, "xdp", "off", check=False)


@test()
def a_link_that_comes_up_late(bed):
    bed.run("client", "ip", "link", "set", "eth0", "down")
    try:
        with bed.lbd(services=[SERVICE]):
            bed.run("client", "ip", "link", "set", "eth0", "up")
            assert wait_for(lambda: bed.run("client", "curl", "-s", "--max-time", 3, f"http://{VIP}/", check=False).returncode == 0)
    finally:
        bed.run("client", "ip", "link", "set", "eth0", "up")
