"""The traps of a veth: checksums that are not filled in, and merged segments. `status` is to name them."""

import contextlib

from .runner import test
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

    return wait_for(says, 5)


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
def merged_segments_are_recognised(bed):
    payload = bed.dir / "payload"
    payload.write_bytes(bytes(3_000_000))
    with bed.lbd(services=[SERVICE]) as lbd, offload(bed, "lb", "eth1", "gro"):
        bed.run("client", "curl", "-s", "--max-time", 3, "-T", payload, f"http://{VIP}/files/put", check=False)
        assert status_says(lbd, "gro"), lbd.ctl("status")
