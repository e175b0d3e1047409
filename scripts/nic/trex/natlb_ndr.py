#!/usr/bin/env python3
"""Searches the rate without loss (RFC 2544, 26.1) of natlb with a TRex that runs as `t-rex-64 -i`.

Opens the connections of natlb_stl.py once (test phase 1 of RFC 9693), then halves the interval of rates, both ports
sending. What follows `--` are tunables of natlb_stl.py, but for --load. Run it where TRex's Python client is:
    PYTHONPATH=/opt/trex/automation/trex_control_plane/interactive ./natlb_ndr.py --highest 14.88e6 -- --size 64
"""

import argparse
import sys
from pathlib import Path

PROFILE = str(Path(__file__).resolve().with_name("natlb_stl.py"))
CLIENT_PORT, REAL_PORT = PORTS = (0, 1)
REST = 2000  # ms for frames that are under way (RFC 2544, 23)


def parse(words):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="127.0.0.1", help="where TRex runs")
    parser.add_argument("--highest", type=float, required=True, metavar="PPS", help="of each port: the line's rate")
    parser.add_argument("--seconds", type=float, default=60, help="of a trial (60)")
    parser.add_argument("--precision", type=float, default=0.5, help="of the result, per cent of --highest (0.5)")
    parser.add_argument("--loss", type=float, default=0, help="per cent that may be lost: 0 is RFC 2544's (0)")
    parser.add_argument("tunables", nargs="*", metavar="-- TUNABLE")
    options = parser.parse_args(words)
    if min(options.highest, options.seconds, options.precision) <= 0 or not 0 <= options.loss < 100:
        parser.error("expected numbers above 0; --loss: from 0 to less than 100")
    return options


def search(passes, highest, step):
    """The highest rate, to within `step`, at which `passes(rate)`; 0 if even the lowest does not."""
    if passes(highest):
        return highest
    good, bad = 0.0, highest
    while bad - good > step:
        rate = (good + bad) / 2
        if passes(rate):
            good = rate
        else:
            bad = rate
    return good


class Measurement:
    """`client` is TRex's STLClient; `load(port, tunables)` gives the streams of the profile."""

    def __init__(self, client, load, options):
        self.client, self.load, self.options = client, load, options

    def open_connections(self):
        """From the clients, then, for TCP's SYN+ACK, from the real: every frame must arrive."""
        for port in PORTS:
            sent, lost = self.run((port,), "open", mult="1")
            if sent == 0 or lost > 0:
                raise SystemExit(f"opening: {lost} of {sent} frames of port {port} were lost; lower --pps, or see "
                                 "natlb's drops")
            print(f"opened from port {port}: {sent}", flush=True)

    def passes(self, rate):
        sent, lost = self.run(PORTS, "run", mult=f"{rate:.0f}pps", duration=self.options.seconds)
        # A generator that does not reach the rate proves nothing.
        asked = rate * self.options.seconds * len(PORTS)
        if sent < 0.99 * asked:
            raise SystemExit(f"TRex sent {sent} instead of {asked:.0f} frames: give it more cores, or a lower --highest")
        good = lost <= sent * self.options.loss / 100
        print(f"{rate / 1e6:8.3f} Mpps a port: {lost} of {sent} lost{'' if good else ', too many'}", flush=True)
        return good

    def run(self, ports, kind, **start):
        """Frames sent by these ports, and how many of them the other one did not receive. A foreign frame, as ARP,
        makes up for a lost one: keep the wire quiet."""
        self.client.reset(ports=list(PORTS))
        for port in ports:
            self.client.add_streams(self.load(port, ["--load", kind, *self.options.tunables]), ports=[port])
        self.client.clear_stats(ports=list(PORTS))
        self.client.start(ports=list(ports), force=True, **start)
        self.client.wait_on_traffic(ports=list(ports), rx_delay_ms=REST)
        stats = self.client.get_stats()
        sent = {port: stats[port]["opackets"] for port in ports}
        return sum(sent.values()), sum(max(0, sent[port] - stats[1 - port]["ipackets"]) for port in ports)

    def result(self):
        self.open_connections()
        return search(self.passes, self.options.highest, self.options.highest * self.options.precision / 100)


def main():
    options = parse(sys.argv[1:])
    try:
        from trex.stl.api import STLClient, STLProfile
    except ImportError:
        raise SystemExit("TRex's Python client is not found: set PYTHONPATH, as at the head of this file") from None

    def load(port, tunables):
        profile = STLProfile.load_py(PROFILE, direction=port, port_id=port, tunables=tunables)
        if profile is None:
            raise SystemExit(2)  # it has said why
        return profile.get_streams()

    client = STLClient(server=options.server)
    client.connect()
    try:
        client.acquire(ports=list(PORTS), force=True)
        rate = Measurement(client, load, options).result()
    finally:
        client.disconnect()
    name = "without loss" if options.loss == 0 else f"with at most {options.loss} % lost"
    print(f"{name}: {2 * rate / 1e6:.3f} Mpps, both directions together")


if __name__ == "__main__":
    main()
