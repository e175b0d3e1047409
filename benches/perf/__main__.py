"""natlb against testpmd over the same traffic: see scripts/perf."""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time

import churn
import families
import goals
import machine
import measure
import opening
import peers
import report
import scaling
import scrapes
import skew
import stages
import stock
from programs import Failed, Machine, dpdk_mb
from traffic import Traffic, human, parse_count

GOAL_FLOWS = (1_000, 64_000, 1_000_000, 10_000_000)
# Bytes of table for each connection, with room for other programs' pages; of IPv6.
TABLE_BYTES = 40
TABLE_BYTES_IPV6 = 80
DPDK_MB = 2 * 112 + 16
PARTS = ("flows", "families", "kinds", "skew", "stock", "opening", "cost", "changes", "scrapes", "bounds", "full", "traces", "stages", "scaling")
# Points of "kinds".
KINDS = 5
QUICK_ROUNDS = 9
# Those that are one run each.
SINGLE = ("skew", "cost", "changes", "scrapes", "bounds", "full")


def arguments():
    parser = argparse.ArgumentParser(
        prog="scripts/perf",
        description="Compares natlb with testpmd's io and 5tswap over the same traffic, on one core, without a NIC.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help=f"1k and 1M flows, {QUICK_ROUNDS} rounds, nothing else")
    add("--smoke", action="store_true", help="only whether the instrument works: 1k flows, one short round, ordinary pages and priority")
    add("--only", default=",".join(PARTS),
        help="what to run: flows; families (IPv6, and both at once, against IPv4); kinds (sides, protocols, sizes); skew (Zipf, against 64k); stock (4,096 frames of net_pcap, no plugin); opening (connections a second); "
        "cost (of a new connection's packet); changes (of reals meanwhile); scrapes (of metrics meanwhile); bounds (work in one turn); full (a table kept full); traces (those that other "
        "balancers were measured on); stages (cycles by stage, times of turns); scaling (workers on both cores, over a simulated NIC with RSS)")
    add("--flows", help="numbers of flows, as 1k,64k,1M,10M; traces are of 1k,32k,64k,1M")
    add("--rounds", type=int, help=f"rounds of a point ({measure.ROUNDS}; quick: {QUICK_ROUNDS})")
    add("--seconds", type=float, help=f"length of one window ({measure.WINDOW_SECONDS}; of a trace {peers.WINDOW_SECONDS})")
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
    add("--measuring", help=argparse.SUPPRESS)
    add("--output", help="folder for perf.json and perf.html")
    add("--page", metavar="JSON", nargs="+", help="only make the page anew, from one file or from those of several runs on one machine")
    return parser.parse_args()


def points(options):
    """What is compared, in order."""
    flows = [parse_count(text) for text in options.flows.split(",")] if options.flows else None
    flows = flows or ([1_000] if options.smoke else [1_000, 1_000_000] if options.quick else GOAL_FLOWS)
    only = ["flows"] if options.quick else ["flows", "families", "traces"] if options.smoke else options.only.split(",")
    if unknown := set(only) - set(PARTS):
        raise SystemExit(f"perf: --only: {', '.join(sorted(unknown))}: expected some of {', '.join(PARTS)}")
    base = {key: getattr(options, key) for key in ("pattern", "direction", "protocols", "sizes", "services")}
    chosen = [Traffic(flows=count, **base) for count in flows] if "flows" in only else []
    if "kinds" in only:
        million = {"flows": 1_000_000}
        chosen += [
            Traffic(**million, direction="forward"), Traffic(**million, direction="reverse"),
            Traffic(**million, protocols="udp"), Traffic(**million, protocols="tcp"),
            Traffic(**million, sizes="imix"),
        ]  # fmt: skip
    return chosen, only


def row(name, cells):
    print(f"{name:34} " + " ".join(f"{cell:>11}" for cell in cells), flush=True)


def show(point):
    cells = [f"{point[what]['mpps']['median']:.2f}" for what in ("io", "5tswap", "natlb")]
    ratio, net = point["ratio"], point["net_cycles"]["natlb"]
    cells += [f"{ratio['median']:.3f}", "{:.2f}-{:.2f}".format(*measure.middle_half(ratio))]
    cells += [f"{point['natlb']['cycles']['median']:.1f}", f"{net['median']:.1f}", "{:.0f}-{:.0f}".format(*measure.middle_half(net))]
    row(point["name"], cells)
    if "natlb_to_other" in point:
        print(f"    natlb : the other build {measure.in_words(point['natlb_to_other'], 3)}")
    show_proof(point["proof"])


def show_proof(proof):
    checks = [proof[when] for when in ("check_before", "check_after") if when in proof]
    drops = checks[-1]["drops"] if checks else {}
    said = ", ".join(f"{reason} {count}" for reason, count in drops.items()) or "none"
    connections = proof.get("connections_after", proof.get("connections_before"))
    print(f"    proof: {connections} connections, {checks[-1].get('checked', 'no') if checks else 0} frames verified, drops: {said}", flush=True)
    for problem in proof["problems"]:
        print(f"    PROBLEM: {problem}", flush=True)


def trace_flows(options):
    if options.smoke:
        return [1_000]
    if not options.flows:
        return peers.FLOWS
    return [count for count in map(parse_count, options.flows.split(",")) if count <= max(peers.FLOWS)] or [max(peers.FLOWS)]


def run(options, result, host):
    rounds = options.rounds or (1 if options.smoke else QUICK_ROUNDS if options.quick else measure.ROUNDS)
    seconds = options.seconds or (0.1 if options.smoke else measure.WINDOW_SECONDS)
    chosen, only = points(options)
    if only != ["scaling"]:
        print(f"Mpps by the polling thread's CPU time, medians and quartiles of {rounds} rounds of {seconds} s; cycles of the TSC, net of io\n")
    if chosen or "stock" in only:
        row("traffic", ["io", "5tswap", "natlb", "ratio", "spread", "cycles", "net", "spread"])
    for number, traffic in enumerate(chosen):
        # The kinds beside the goals get fewer rounds, if not asked for more.
        is_kind = "kinds" in only and number >= len(chosen) - KINDS
        count = min(rounds, QUICK_ROUNDS) if is_kind and not options.rounds else rounds
        point = measure.run_point(host, traffic, options.binaries, count, seconds, lambda *_: None, capacity=options.capacity, against=options.against)
        result["points"].append(point)
        show(point)
    if "families" in only:
        print()
        for flows in family_flows(options):
            found = families.run(host, options.binaries, flows, rounds, seconds)
            result["families"].append(found)
            families.show(found)
            show_proof(found["proof"])
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
    single = {
        "skew": (lambda: skew.run(host, options.binaries, rounds, seconds), skew.show),
        "cost": (lambda: opening.run_cost(host, options.binaries), opening.show_cost),
        "changes": (lambda: opening.run_changes(host, options.binaries, max(rounds, 5), seconds), opening.show_changes),
        "scrapes": (lambda: scrapes.run(host, options.binaries, rounds), scrapes.show),
        "bounds": (lambda: churn.run_bounds(host, options.binaries), churn.show_bounds),
        "full": (lambda: churn.run_full(host, options.binaries), churn.show_full),
    }
    for part, (measure_it, show_it) in single.items():
        if part in only:
            print()
            result[part] = measure_it()
            show_it(result[part])
            show_proof(result[part]["proof"])
    if "traces" in only:
        result["peers"] = peers.data()
        print(f"\nthe same traces for all; others' figures: {result['peers']['source']}")
        for way in peers.WAYS[: 1 if options.smoke else 2]:
            for flows in trace_flows(options):
                found = peers.run(host, options.binaries, flows, way, options.seconds or (0.1 if options.smoke else peers.WINDOW_SECONDS))
                result["traces"].append(found)
                peers.show(found)
                show_proof(found["proof"])
    if "stages" in only:
        print()
        if not options.measuring:
            result["skipped"].append("stages: there is no measuring build of lbd")
        for traffic in stage_traffic(options) if options.measuring else []:
            found = stages.run(host, traffic, options.measuring, options.capacity)
            result["stages"].append(found)
            stages.show(found)
            show_proof(found["proof"])
    if "scaling" in only:
        print()
        for flows in scaling_flows(options, result):
            found = scaling.run(host, options.binaries, flows, options.rounds or scaling.ROUNDS, options.seconds or scaling.SECONDS)
            result["scaling"].append(found)
            scaling.show(found)
            show_proof(found["proof"])
    for skipped in result["skipped"]:
        print(f"SKIPPED: {skipped}", flush=True)


def family_flows(options):
    if options.smoke and not options.flows:
        return [1_000]
    return [parse_count(text) for text in options.flows.split(",")] if options.flows else families.FLOWS


def stage_traffic(options):
    counts = [parse_count(text) for text in options.flows.split(",")] if options.flows else GOAL_FLOWS
    return [Traffic(flows=count, services=options.services) for count in counts]


def scaling_flows(options, result):
    """Of each of two threads; none where they would share a core."""
    if options.core == options.main_core:
        result["skipped"].append("scaling: --core and --main-core are the same")
        return []
    return [parse_count(text) for text in options.flows.split(",")] if options.flows else scaling.FLOWS


def all_proofs(result):
    found = [*result["points"], *result["families"], *result["opening"], *(result[part] for part in SINGLE if result[part]), *result["traces"], *result["stages"], *result["scaling"]]
    return [(each["name"], each["proof"]) for each in found]


def merged(paths):
    """The figures of several runs as those of one, judged together."""
    results = []
    for path in paths:
        with open(path) as file:
            results.append(json.load(file))
    first, *others = results
    for other in others:
        for key in ("points", "families", "opening", "traces", "stages", "scaling", "skipped"):
            first[key] = first.get(key, []) + other.get(key, [])
        for key in (*SINGLE, "peers"):
            first[key] = first.get(key) or other.get(key)
        for key in ("seconds", "steal_seconds"):
            first[key] += other[key]
        first["load_after"] = other["load_after"]
        first["command"] += ["and", *other["command"]]
    first["goals"] = goals.judge(first)
    return first


def pages_needed(options):
    """MiB of huge pages for the largest of what is to run."""
    chosen, only = points(options)
    most = max([options.capacity or 0, measure.DEFAULT_CAPACITY, *(traffic.flows for traffic in chosen)])
    if "bounds" in only:
        most = max(most, churn.BOUNDS_CAPACITY)
    if "opening" in only:
        most = max(most, opening.MOST_CAPACITY)
    if "stages" in only and not options.flows:
        most = max(most, GOAL_FLOWS[-1])
    needed = DPDK_MB + TABLE_BYTES * most // 10**6 * (2 if options.against else 1) + 64
    if "families" in only:
        of_families = max(measure.DEFAULT_CAPACITY, *family_flows(options))
        needed = max(needed, DPDK_MB + (TABLE_BYTES + TABLE_BYTES_IPV6) * of_families // 10**6 + 64)
    if "skew" in only:
        needed = max(needed, 2 * DPDK_MB + TABLE_BYTES * (GOAL_FLOWS[-1] + measure.DEFAULT_CAPACITY) // 10**6 + 64)
    if "cost" in only:
        needed = max(needed, DPDK_MB + 64 + TABLE_BYTES * (opening.MOST_CAPACITY + opening.ESTABLISHED_FLOWS) // 10**6 + 64)
    if "traces" in only:
        trace = peers.Trace(max(trace_flows(options)), trace="a file")
        needed = max(needed, dpdk_mb(trace) + 16 + TABLE_BYTES * max(trace.flows, measure.DEFAULT_CAPACITY) // 10**6 + 64)
    if "scaling" in only:
        # Two lbd with two workers, one with one, four testpmd.
        needed = max(needed, 7 * (DPDK_MB // 2 + 64) + 5 * TABLE_BYTES * measure.DEFAULT_CAPACITY // 10**6 + 64)
    return needed


def main():
    options = arguments()
    output = options.output or os.path.dirname(options.plugin)
    if options.page:
        os.makedirs(output, exist_ok=True)
        print(report.write(merged(options.page), output))
        return 0
    for core in (options.core, options.main_core):
        if not os.path.isdir(f"/sys/devices/system/cpu/cpu{core}"):
            raise SystemExit(f"perf: there is no core {core}")
    if shutil.which("dpdk-testpmd") is None:
        raise SystemExit("perf: dpdk-testpmd is missing: scripts/setup test")
    pages = machine.HugePages("ordinary" if options.smoke else options.memory, pages_needed(options))
    priority = 0 if options.no_priority or options.smoke else machine.real_time_priority()
    directory = tempfile.mkdtemp(prefix="natlb-perf-")
    host = Machine(options.core, options.main_core, options.plugin, pages.memory, directory, priority, pages.folder)
    began, steal = time.time(), machine.steal_seconds()
    result = {
        "machine": machine.describe(),
        "natlb": machine.version(os.path.join(options.binaries, "lbd")),
        "memory": pages.memory, "memory_note": pages.note, "priority": priority,
        "load_before": machine.load(), "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": sys.argv[1:], "points": [], "families": [], "opening": [], "traces": [], "stages": [], "scaling": [], "skipped": [],
        **dict.fromkeys(SINGLE),
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
    problems = [problem for _, proof in all_proofs(result) for problem in proof["problems"]]
    result["goals"] = goals.judge(result)
    os.makedirs(output, exist_ok=True)
    path = os.path.join(output, "perf.json")
    with open(path, "w") as file:
        json.dump(result, file, indent=1)
    print()
    if not options.smoke:
        goals.show(result["goals"])
    print(f"\n{result['seconds']:.0f} s; load {result['load_after']}, the host took {result['steal_seconds']:.1f} s")
    print(f"figures: {path}\npage:    {report.write(result, output)}")
    if problems:
        print(f"perf: {len(problems)} problem(s): the figures above prove nothing until they are gone", file=sys.stderr)
    return code or (1 if problems else 0)


if __name__ == "__main__":
    sys.exit(main())
