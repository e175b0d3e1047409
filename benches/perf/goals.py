"""The goals, and what a run has reached of them. What was not run is not judged."""

import re

from peers import compare

FLOWS = {1_000: (0.93, 31), 64_000: (0.85, 39), 1_000_000: (0.76, 49), 10_000_000: (0.67, 63)}
TABLE_MIB = 384
# To IPv4's rate.
TO_IPV4 = {"ipv6": ("IPv6", 0.80), "half": ("half and half", 0.85)}
UNIFORM = {"pattern": "uniform", "direction": "mixed", "protocols": "mix", "sizes": "64"}


def is_uniform(point):
    """Whether a point is of the traffic that the goals are set for."""
    traffic = point["traffic"]
    return not traffic["trace"] and traffic.get("families", "ipv4") == "ipv4" and all(traffic[key] == value for key, value in UNIFORM.items())


def human(number):
    for unit, suffix in ((10**6, " M"), (10**3, " k")):
        if number >= unit:
            return f"{number / unit:g}{suffix}"
    return str(number)


def goal(name, wanted, reached, met, unit=""):
    return {"name": name, "goal": wanted, "reached": reached, "unit": unit, "met": bool(met)}


def at_least(name, wanted, reached, unit="", digits=2):
    return goal(name, f"≥\u00a0{wanted:g}", round(reached, digits), reached >= wanted, unit)


def at_most(name, wanted, reached, unit="", digits=2):
    return goal(name, f"≤\u00a0{wanted:g}", round(reached, digits), reached <= wanted, unit)


def judge(result):
    """Every goal that this run says something of."""
    uniform = {p["traffic"]["flows"]: p for p in result["points"] if is_uniform(p)}
    judged = []
    for flows, (ratio, net) in FLOWS.items():
        if flows in uniform:
            judged.append(at_least(f"natlb : 5tswap, {human(flows)} flows", ratio, uniform[flows]["ratio"]["median"]))
    for flows, (ratio, net) in FLOWS.items():
        if flows in uniform:
            found = uniform[flows]["net_cycles"]["natlb"]["median"]
            judged.append(at_most(f"net of io, {human(flows)} flows", net, found, "cycles a packet", 1))
    judged += table(uniform) + of_families(result) + skewed(result) + opened(result) + kept(result) + traced(result) + scaled(result)
    return judged


def table(uniform):
    lines = uniform.get(10_000_000, {}).get("memory", [])
    found = [int(mib) for line in lines for mib in re.findall(r"(\d+) MiB of connection table", line)]
    return [at_most("10 M connections, memory of the table", TABLE_MIB, found[0], "MiB", 0)] if found else []


def of_families(result):
    return [
        at_least(f"{name} : IPv4, {human(found['flows'])} flows", wanted, found["to_ipv4"]["natlb"][kind]["median"])
        for kind, (name, wanted) in TO_IPV4.items()
        for found in result.get("families", [])
    ]


def skewed(result):
    found = result.get("skew")
    return [at_least("Zipf over 10 M flows : uniform over 64 k, each to its 5tswap", 0.9, found["ratio"]["median"])] if found else []


def opened(result):
    judged = []
    for found in result["opening"]:
        rate = found["connections"]["median"] / 1e6
        is_new = found["traffic"]["pattern"] == "new"
        name = "every packet a new UDP connection" if is_new else "full TCP connections of 7 packets"
        judged.append(at_least(name, 8 if is_new else 2, rate, "M connections/s"))
    if cost := result.get("cost"):
        judged.append(at_most("a new connection's packet : an established one's, 10 M", 2, cost["ratio"]["median"]))
    return judged


def kept(result):
    judged = []
    if bounds := result.get("bounds"):
        for key, what in (("most_swept", "examined"), ("most_expired", "expired"), ("most_created", "made"), ("most_moved", "moved")):
            judged.append(at_most(f"entries {what} in one turn", bounds["bounds"][key], bounds["most"][key], digits=0))
    if full := result.get("full"):
        lost = len(full["proof"]["problems"])
        judged.append(at_most("a full table: refused or lost", 0, lost, "problems", 0))
    if changes := result.get("changes"):
        judged.append(at_least("changes of reals a second meanwhile", 950, changes["changes_per_second"]["median"], digits=0))
        judged.append(at_least("throughput with 1,000 changes of reals a second", 0.99, changes["ratio"]["median"], digits=3))
    for point in (result.get("scrapes") or {}).get("points", []):
        name = f"throughput with a scrape of {point['reals']:,} reals each second"
        judged.append(at_least(name, 1 - point["most_cost"], point["ratio"]["median"], digits=4))
    return judged


def traced(result):
    judged = []
    for found in result.get("traces", []):
        if (found["flows"], found["way"]) != (1_000_000, "one-way"):
            continue
        for name, times in (("VPP nat44-ed", 4), ("DPVS NAT", 15)):
            _, ratio = compare(found, result["peers"], name)
            line = at_least(f"1 M flows of a trace, natlb : {name}, each to its sitting’s 5tswap", times, ratio, digits=1)
            if not found["steady"]:
                line.update(met=False, unit="(the machine was not steady)")
            judged.append(line)
    return judged


def scaled(result):
    """Nothing without priority: two polling threads would share their cores with everything else."""
    if not result.get("priority"):
        return []
    return [
        at_least(f"two workers : one, to what io scales, {human(found['flows'])} flows each", 0.97, found["to_io"]["natlb"]["median"], digits=3)
        for found in result.get("scaling", [])
    ]


def show(judged):
    for line in judged:
        unit = f" {line['unit']}" if line["unit"] else ""
        print(f"{'met    ' if line['met'] else 'NOT MET'} {line['name']}: {line['reached']:g}{unit} (goal {line['goal']})", flush=True)
