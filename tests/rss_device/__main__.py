"""Boots the guest and runs the checks in it, first with a device that hashes, then with one that does not."""

import argparse
import signal
import sys

from tests.lab import runner
from tests.lab.testbed import Testbed, Unavailable

from . import test_plain, test_rss  # noqa: F401  (importing registers their checks)
from tests.guest.guest import Guest, Pair
from tests.guest.rig import Rig

# The script's exit code where something is missing.
UNAVAILABLE = 3
QUEUES = 4


def main():
    arguments = argparse.ArgumentParser(prog="scripts/try-rss-device", description=__doc__)
    arguments.add_argument("--kernel", required=True, help=argparse.SUPPRESS)
    arguments.add_argument("--initramfs", required=True, help=argparse.SUPPRESS)
    arguments.add_argument("names", nargs="*", help="run the checks whose names contain one of these")
    options = arguments.parse_args()
    checks = [t for t in runner.TESTS if not options.names or any(name in t.name for name in options.names)]
    if not checks:
        print("no check has such a name", file=sys.stderr)
        return 2
    # As after an exception: the guest and the lab go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        results = []
        for module, rss in (("rss.", True), ("plain.", False)):
            selected = [check for check in checks if check.name.startswith(module)]
            if selected:
                results += in_guest(options, selected, rss)
        return runner.finish(results, in_ci=True)
    except Unavailable as reason:
        print(f"try-rss-device: SKIPPED, nothing was shown: {reason}", file=sys.stderr)
        return UNAVAILABLE


def in_guest(options, checks, rss):
    bed = Testbed()
    on = "on" if rss else "off"
    pair = Pair("virtio", f"virtio-net-pci,mq=on,rss={on},vectors={2 * QUEUES + 2},disable-legacy=on", (0x10, 0x11), QUEUES)
    guest = Guest(bed, options.kernel, options.initramfs, [pair])
    try:
        seconds = guest.start()
        print(f"guest with rss={'on' if rss else 'off'}: up after {seconds:.0f} s", flush=True)
        # Without an IOMMU, and Debian's vfio does not do without; virtio needs no interrupts to be polled.
        guest.bind(pair, "uio_pci_generic")
        guest.plug(pair)
        rig = Rig(bed, guest)
        return [runner.run(check, rig) for check in checks]
    finally:
        guest.stop()
        bed.remove()


if __name__ == "__main__":
    sys.exit(main())
