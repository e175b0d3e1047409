"""natlb against testpmd over the same traffic: see scripts/perf."""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time

import machine
import measure
import opening
import report
import stock
from programs import Failed, Machine
from traffic import Traffic, human, parse_count

GOAL_FLOWS = (1_000, 64_000, 1_000_000, 10_000_000)
# Bytes of table for each connection, with room for other programs' pages.
TABLE_BYTES = 40
DPDK_MB = 2 * 64 + 16


def arguments():
    parser = argparse.ArgumentParser(
        prog="scripts/perf",
        description="Compares natlb with testpmd's io and 5tswap over the same traffic, on one core, without a NIC.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="1k and 1M flows, 3 short rounds, nothing else")
    add("--only", default="flows,kinds,stock,opening,changes",
        help="what to run: flows, kinds (sides, protocols, sizes, Zipf), stock (net_pcap, no plugin), opening, changes")
    add("--flows", help="numbers of flows, as 1k,64k,1M,10M")
    add("--rounds", type=int, help="rounds of a point (7; quick: 3)")
    add("--seconds", type=float, help="length of one window (0.7; quick: 0.5)")
    add("--pattern", choices=("uniform", "zipf"), default="uniform")
    add("--direction", choices=("mixed", "forward", "reverse"), default="mixed")
    add("--protocols", choices=("mix", "udp", "tcp"), default="mix")
    add("--sizes", choices=("64", "imix"), default="64")
    add("--services", type=int, default=16, help="of each protocol, with one real each")
    add("--capacity", type=parse_count, help="of the connection table (the default's 1,048,576, or the flows if more)")
    add("--core", type=int, default=1, help="the polled core")
    add("--main-core", type=int, default=0)
    add("--against", metavar="DIR", help="lbd and lbctl of another build, to be compared with in the same rounds")
    add("--memory", choices=("auto", "huge", "ordinary"), default="auto", help="auto: reserves huge pages for the run if it may")
    add("--no-priority", action="store_true", help="no real-time priority for the polling threads")
    add("--binaries", required=True, help=argparse.SUPPRESS)
    add("--plugin", required=True, help=argparse.SUPPRESS)
    add("--output", help="folder for perf.json and perf.html")
    add("--page", metavar="JSON", help="only make the page anew from this file")
    return parser.parse_args()


def points(options):
    """What is compared, in order."""
    flows = [parse_count(text) for text in options.flows.split(",")] if options.flows else None
    flows = flows or ([1_000, 1_000_000] if options.quick else GOAL_FLOWS)
    only = ["flows"] if options.quick else options.only.split(",")
    base = {key: getattr(options, key) for key in ("pattern", "direction", "protocols", "sizes", "services")}
    chosen = [Traffic(flows=count, **base) for count in flows] if "flows" in only else []
    if "kinds" in only:
        million = {"flows": 1_000_000}
        chosen += [
            Traffic(**million, direction="forward"), Traffic(**million, direction="reverse"),
            Traffic(**million, protocols="udp"), Traffic(**million, protocols="tcp"),
            Traffic(**million, sizes="imix"), Traffic(flows=10_000_000, pattern="zipf"),
        ]  # fmt: skip
    return chosen, only


def row(name, cells):
    print(f"{name:34} " + " ".join(f"{cell:>11}" for cell in cells), flush=True)


def show(point):
    cells = [f"{point[what]['mpps']['median']:.2f}" for what in ("io", "5tswap", "natlb")]
    ratio, net = point["ratio"], point["net_cycles"]["natlb"]
    cells += [f"{ratio['median']:.3f}", f"{ratio['least']:.2f}-{ratio['most']:.2f}"]
    cells += [f"{point['natlb']['cycles']['median']:.1f}", f"{net['median']:.1f}", f"{net['least']:.0f}-{net['most']:.0f}"]
    row(point["name"], cells)
    if "natlb_to_other" in point:
        print("    natlb : the other build {median:.3f} ({least:.3f}-{most:.3f})".format(**point["natlb_to_other"]))
    show_proof(point["proof"])


def show_proof(proof):
    checks = [proof[when] for when in ("check_before", "check_after") if when in proof]
    drops = checks[-1]["drops"] if checks else {}
    said = ", ".join(f"{reason} {count}" for reason, count in drops.items()) or "none"
    connections = proof.get("connections_after", proof.get("connections_before"))
    print(f"    proof: {connections} connections, {checks[-1].get('checked', 'no') if checks else 0} frames verified, drops: {said}", flush=True)
    for problem in proof["problems"]:
        print(f"    PROBLEM: {problem}", flush=True)


def run(options, result, host):
    rounds = options.rounds or (3 if options.quick else 7)
    seconds = options.seconds or (0.5 if options.quick else 0.7)
    chosen, only = points(options)
    print(f"Mpps by the polling thread's CPU time, medians of {rounds} rounds of {seconds} s; cycles of the TSC, net of io\n")
    row("traffic", ["io", "5tswap", "natlb", "ratio", "spread", "cycles", "net", "spread"])
    for number, traffic in enumerate(chosen):
        # The kinds beside the goals get fewer rounds.
        count = rounds if traffic.flows in GOAL_FLOWS and number < len(GOAL_FLOWS) else min(rounds, 3)
        point = measure.run_point(host, traffic, options.binaries, count, seconds, lambda *_: None, capacity=options.capacity, against=options.against)
        result["points"].append(point)
        show(point)
    if "stock" in only:
        point = stock.run(host, options.binaries, rounds, seconds)
        result["points"].append(point)
        show(point)
    if "opening" in only:
        print()
        for traffic in opening.kinds():
            found = opening.run(host, traffic, options.binaries)
            result["opening"].append(found)
            opening.show(found)
            show_proof(found["proof"])
    if "changes" in only:
        print()
        found = opening.run_changes(host, options.binaries, max(rounds, 5), seconds)
        result["changes"] = found
        opening.show_changes(found)
        show_proof(found["proof"])


def main():
    options = arguments()
    output = options.output or os.path.dirname(options.plugin)
    if options.page:
        with open(options.page) as file:
            print(report.write(json.load(file), output))
        return 0
    for core in (options.core, options.main_core):
        if not os.path.isdir(f"/sys/devices/system/cpu/cpu{core}"):
            raise SystemExit(f"perf: there is no core {core}")
    if shutil.which("dpdk-testpmd") is None:
        raise SystemExit("perf: dpdk-testpmd is missing: apt install dpdk")
    chosen, only = points(options)
    most = max([options.capacity or 0, measure.DEFAULT_CAPACITY, *(traffic.flows for traffic in chosen)])
    if "opening" in only:
        most = max(most, opening.MOST_CAPACITY)
    pages = machine.HugePages(options.memory, DPDK_MB + TABLE_BYTES * most // 10**6 * (2 if options.against else 1) + 64)
    priority = 0 if options.no_priority else machine.real_time_priority()
    directory = tempfile.mkdtemp(prefix="natlb-perf-")
    host = Machine(options.core, options.main_core, options.plugin, pages.memory, directory, priority)
    began, steal = time.time(), machine.steal_seconds()
    result = {
        "machine": machine.describe(),
        "natlb": machine.version(os.path.join(options.binaries, "lbd")),
        "memory": pages.memory, "memory_note": pages.note, "priority": priority,
        "load_before": machine.load(), "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": sys.argv[1:], "points": [], "opening": [], "changes": None,
    }  # fmt: skip
    print(f"{result['natlb']}; {result['machine']['cpu']}, {pages.memory} pages ({pages.note}), "
          f"{'real-time priority' if priority else 'ORDINARY PRIORITY'}, load {result['load_before']}")  # fmt: skip
    code = 0
    # Ended from outside: everything that was started is ended, and the huge pages are given back.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    try:
        run(options, result, host)
    except Failed as failed:
        print(f"perf: {failed}\nperf: logs are in {directory}", file=sys.stderr)
        code = 1
    finally:
        pages.restore()
        if code == 0:
            shutil.rmtree(directory, ignore_errors=True)
    result.update(load_after=machine.load(), seconds=time.time() - began, steal_seconds=machine.steal_seconds() - steal)
    problems = [p for found in [*result["points"], *result["opening"], result["changes"] or {}] if found for p in found["proof"]["problems"]]
    os.makedirs(output, exist_ok=True)
    path = os.path.join(output, "perf.json")
    with open(path, "w") as file:
        json.dump(result, file, indent=1)
    print(f"\n{result['seconds']:.0f} s; load {result['load_after']}, the host took {result['steal_seconds']:.1f} s")
    print(f"figures: {path}\npage:    {report.write(result, output)}")
    if problems:
        print(f"perf: {len(problems)} problem(s): the figures above prove nothing until they are gone", file=sys.stderr)
    return code or (1 if problems else 0)


if __name__ == "__main__":
    sys.exit(main())
