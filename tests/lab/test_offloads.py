"""The traps of a veth: checksums that are not filled in, and merged segments. `status` is to name them."""

import contextlib

from .runner import test
from .sockets import udp_echo, udp_socket
from .testbed import REALS, VIP, wait_for

RS1 = REALS["rs1"]
SERVICE = ("tcp", f"{VIP}:80", [(f"{RS1}:80", 1)])


@contextlib.contextmanager
def offload(bed, host, device, feature):
    bed.run(host, "ethtool", "-K", device, feature, "on")
    try:
        yield
    finally:
        bed.run(host, "ethtool", "-K", device, feature, "off")


def status_says(lbd, *words):
    def says():
        text = lbd.ctl("status").lower()
        return all(word in text for word in words)

    return wait_for(says)


@test()
def unfilled_checksums_are_recognised(bed):
    with bed.lbd(services=[SERVICE]) as lbd:
        bed.curls(4)
        assert "ethtool" not in lbd.ctl("status")
        with offload(bed, "client", "eth0", "tx"):
            bed.run("client", "curl", "-s", "--parallel", "--parallel-immediate", "--parallel-max", 20, "--max-time", 1,
                    f"http://{VIP}/?[1-20]", check=False)
            assert status_says(lbd, "ethtool", "tx off", "checksum"), lbd.ctl("status")
        bed.expect(["rs1"] * 2)


@test()
def unfilled_checksums_are_recognised_of_datagrams_and_of_reals(bed):
    services = [SERVICE, ("udp", f"{VIP}:5000", [(f"{RS1}:5000", 1)])]
    with udp_echo(bed, "rs1", 5000), bed.lbd(services=services) as lbd, udp_socket(bed, "client") as client:
        with offload(bed, "client", "eth0", "tx"):
            for _ in range(20):
                client.sendto(b"unfilled", (VIP, 5000))
            assert status_says(lbd, "port vip0", "ethtool", "tx off"), lbd.ctl("status")
            assert "port dip0" not in lbd.ctl("status")
    # The switch's port fills checksums in, unless it leaves that to its own device.
    with bed.lbd(services=services) as lbd, offload(bed, "rs1", "eth0", "tx"), offload(bed, "sw", "p0", "tx"):
        bed.run("client", "curl", "-s", "--parallel", "--parallel-immediate", "--parallel-max", 5, "--max-time", 1,
                f"http://{VIP}/?[1-5]", check=False)
        assert status_says(lbd, "port dip0", "ethtool", "tx off"), lbd.ctl("status")
        assert "port vip0" not in lbd.ctl("status")


@test()
def merged_segments_are_recognised(bed):
    payload = bed.dir / "payload"
    payload.write_bytes(bytes(3_000_000))
    with bed.lbd(services=[SERVICE]) as lbd, offload(bed, "lb", "eth1", "gro"):
        bed.run("client", "curl", "-s", "--max-time", 3, "-T", payload, f"http://{VIP}/files/put", check=False)
        assert status_says(lbd, "gro"), lbd.ctl("status")
