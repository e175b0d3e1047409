"""Boots a guest with pairs of network cards of several kinds, and runs the checks on each."""

import argparse
import re
import signal
import subprocess
import sys

from tests.guest.guest import Guest, Pair
from tests.guest.rig import Rig
from tests.lab import runner
from tests.lab.testbed import Testbed, Unavailable

from . import checks

UNAVAILABLE = 3
# Sixteen and seventeen slots on from an igb are its virtual functions'. It hashes by itself, virtio by QEMU's net
# layer: both for as many queues as the taps have.
PAIRS = [
    Pair("e1000", "e1000", (0x5, 0x6)),
    Pair("e1000e", "e1000e", (0x7, 0x8)),
    Pair("igb", "igb", (0x2, 0x4), queues=4),
    Pair("vmxnet3", "vmxnet3", (0x9, 0xa)),
    Pair("virtio", "virtio-net-pci,mq=on,rss=on,vectors=10,disable-legacy=on,iommu_platform=on", (0xb, 0xc), queues=4),
    Pair("packed", "virtio-net-pci,packed=on,disable-legacy=on,iommu_platform=on", (0xd, 0xe)),
    Pair("legacy", "virtio-net-pci,disable-modern=on", (0xf, 0x10)),
]
# An IOMMU for vfio; by its identity domain uio works as well. It remaps no interrupts: on a busy machine a kernel that
# waits for the timer's gives up.
MACHINE = ("q35,accel=tcg", "-device", "intel-iommu,device-iotlb=on,intremap=off")
KERNEL_ARGUMENTS = "intel_iommu=on iommu=pt no_timer_check"


def main():
    arguments = argparse.ArgumentParser(prog="scripts/try-pci-devices", description=__doc__)
    arguments.add_argument("--kernel", required=True, help=argparse.SUPPRESS)
    arguments.add_argument("--initramfs", required=True, help=argparse.SUPPRESS)
    arguments.add_argument("names", nargs="*", help="run the checks whose names contain one of these")
    options = arguments.parse_args()
    pairs = [pair for pair in PAIRS if is_known(pair)]
    missing = [pair.kind for pair in PAIRS if pair not in pairs]
    checks.register(pairs)
    selected = [t for t in runner.TESTS if not options.names or any(name in t.name for name in options.names)]
    if not selected:
        print("no check has such a name", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        results = in_guest(options, selected, [p for p in pairs if any(t.name.startswith(f"{p.kind}.") for t in selected)])
    except Unavailable as reason:
        print(f"try-pci-devices: SKIPPED, nothing was shown: {reason}", file=sys.stderr)
        return UNAVAILABLE
    code = runner.finish(results, in_ci=True)
    for kind in missing:
        print(f"NOT RUN: this QEMU has no {kind}; Debian 12: apt-get install -t bookworm-backports qemu-system-x86")
    return code


def is_known(pair):
    """Whether this QEMU emulates it."""
    listed = subprocess.run(["qemu-system-x86_64", "-device", "help"], capture_output=True, text=True, timeout=60)
    return re.search(rf'name "{re.escape(pair.model.split(",")[0])}"', listed.stdout + listed.stderr) is not None


def in_guest(options, selected, pairs):
    bed = Testbed()
    guest = Guest(bed, options.kernel, options.initramfs, pairs, MACHINE, KERNEL_ARGUMENTS)
    try:
        print(f"guest with {', '.join(pair.kind for pair in pairs)}: up after {guest.start():.0f} s", flush=True)
        guest.run("echo Y >/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts")
        rig = Rig(bed, guest)
        checks.widen(bed)
        return [runner.run(check, rig) for check in selected]
    finally:
        guest.stop()
        bed.remove()


if __name__ == "__main__":
    sys.exit(main())
