"""The page: the figures of perf.json as tables and pictures, in one file."""

import os
from html import escape

import goals
import measure
import pictures
from drawing import human
from families import NAMES, PROGRAMS
from peers import compare

# Frames of 64 bytes a second that fill an Ethernet link: 20 bytes of preamble and gap with each.
LINE_RATES = [(f"{gigabits} GbE", gigabits * 1e9 / 8 / 84 / 1e6) for gigabits in (10, 25, 40, 100)]
HEAD = ["traffic", "io", "5tswap", "natlb", "natlb : 5tswap", "ns", "net cycles"]


def table(head, rows):
    cells = lambda row, tag: "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in row) + "</tr>"
    return f'<div class="wide"><table>{cells(head, "th") if any(head) else ""}{"".join(cells(row, "td") for row in rows)}</table></div>'


def middle(spread, digits=1):
    lower, upper = measure.middle_half(spread)
    return f'{spread["median"]:.{digits}f} <span class="faint">{lower:.{digits}f}–{upper:.{digits}f}</span>'


def note(content):
    return f'<p class="faint">{content}</p>'


def point_row(point):
    return [
        escape(point["name"]),
        *(f"{point[what]['mpps']['median']:.1f}" for what in ("io", "5tswap", "natlb")),
        middle(point["ratio"], 2),
        f"{point['natlb']['nanoseconds']['median']:.1f}",
        middle(point["net_cycles"]["natlb"], 0),
    ]


def reached(result):
    """The goals that this run says something of."""
    mark = lambda met: '<span class="good">✓ met</span>' if met else '<span class="bad">✗ not met</span>'
    rows = [
        [escape(each["name"]), each["goal"], f'<b>{each["reached"]:g}</b> {escape(each["unit"])}', mark(each["met"])] for each in result["goals"]
    ]
    return ["<h2>Goals</h2>", table(["", "goal", "reached", ""], rows)] if rows else []


def throughput(points):
    if not points:
        return []
    series = [(p["traffic"]["flows"], {name: p[name]["mpps"] for name in pictures.PROGRAMS}) for p in points]
    return [
        "<h2>Throughput</h2>",
        note(
            "Every packet of another connection at random, both directions, half TCP and half UDP, 64-byte frames. <b>io</b> forwards without looking, "
            "<b>5tswap</b> swaps MACs, addresses and ports and keeps no table. The dotted lines: 64-byte frames a second that fill a link."
        ),
        pictures.throughput(series, LINE_RATES),
        table(HEAD, [point_row(point) for point in points]),
        "<h2>What forwarding adds</h2>",
        note("The polled core also makes each frame and takes it back: that is io’s part. What is above it is the program’s own: medians of the rounds’ differences."),
        pictures.net([
            (p["traffic"]["flows"], p["io"]["cycles"]["median"], {name: p["net_cycles"][name]["median"] for name in ("5tswap", "natlb")}) for p in points
        ]),
    ]


def stages(result):
    found = result.get("stages")
    if not found:
        return []
    ends = [str(at) for at, _ in found[0]["turn_ns"]["percentiles"]]
    micro = lambda nanoseconds: f"{nanoseconds / 1000:.1f}"
    rows = [
        [human(each["flows"]), f"{each['packets_a_turn']:.0f}", *(micro(ns) for _, ns in each["turn_ns"]["percentiles"]), micro(each["turn_ns"]["most"])]
        for each in found
    ]
    return [
        "<h2>Where the cycles go</h2>",
        note(
            "Of a build of lbd that reads the time stamp counter at the end of every stage, five to eight times in a turn of 64 packets; the plain build is a "
            "little faster. Prefetches are issued in <b>decode</b>; what of a cache miss is left is waited for in <b>resolve</b>."
        ),
        pictures.stages(found),
        "<h2>How long a turn takes</h2>",
        note(
            "A turn takes what both ports have, 64 packets here, and a slice of the sweep. By an HDR histogram with three digits. The far right is not the program’s "
            "work, which is bounded, but what the machine takes: timer ticks, the host, and the 50 ms in each second that the kernel keeps from real-time threads."
        ),
        pictures.turns(found),
        table(["flows", "packets", *(f"p{at.removesuffix('.0')}, µs" for at in ends), "most, µs"], rows),
    ]


def peers(result):
    traces = result.get("traces")
    if not traces:
        return []
    others = result["peers"]
    parts = ["<h2>On the traces that other balancers were measured on</h2>", note(escape(others["source"]))]
    for way in ("one-way", "two-way"):
        mine = {each["flows"]: each for each in traces if each["way"] == way}
        if not mine:
            continue
        if len(mine) > 1:
            parts.append(pictures.peers(traces, others, way))
        flows = sorted(mine)
        shown = lambda range_: "" if range_ is None else f"{range_[0]:g}" if range_[0] == range_[1] else f"{range_[0]:g}–{range_[1]:g}"
        for unit, digits in (("mpps", 1), ("cycles", 0)):
            rows = [[f"<b>{name}</b>", *(middle(mine[count][name][unit], digits) for count in flows)] for name in ("natlb", "5tswap", "io")]
            if unit == "mpps":
                # The same program, when the others were measured: how fast the machine was then.
                rows.append(["5tswap, then", *(shown(others["5tswap"].get(str(count))) for count in flows)])
            rows += [[name, *(shown(others[way].get(name, {}).get(unit, {}).get(str(count))) for count in flows)] for name in others["names"] if name in others[way]]
            head = {"mpps": "Mpps", "cycles": "cycles a packet"}[unit]
            parts.append(table([f"{way}, {head}", *(f"{human(count)} flows" for count in flows)], rows))
        ratios = [[name, *(compare(mine[count], others, name) for count in flows)] for name in others["names"] if name in others[way]]
        rows = [[name, *("" if r is None else f"{r[1]:.1f}" for r in found)] for name, *found in ratios]
        parts.append(table([f"{way}, natlb is so many times", *(f"{human(count)} flows" for count in flows)], rows))
    parts.append(note("How many times: " + escape(others["5tswap_note"]) + " Two-way, their 5tswap is the one-way’s."))
    parts.append(note("Mpps per second of the polling thread’s CPU time; cycles of natlb and testpmd with the source. Others’: " + escape(others["cycles_note"])))
    return parts


def opening(result):
    if not result["opening"]:
        return []
    millions = lambda spread: {key: value / 1e6 for key, value in spread.items()}
    rows = [
        [escape(f["name"]), middle(millions(f["connections"]), 2), middle(f["mpps"]), middle(f["cycles"], 0), f"{f['live'][-1] / 1e6:.1f} M"]
        for f in result["opening"]
    ]
    return ["<h2>New connections</h2>", table(["traffic", "M connections/s", "Mpps", "cycles a packet", "live"], rows)]


def families(result):
    found = result.get("families")
    if not found:
        return []
    rows = [
        [
            f"{human(each['flows'])} flows" if kind == "ipv4" else "", name, *(middle(each["mpps"][what][kind]) for what in PROGRAMS),
            middle(each["to_5tswap"][kind], 2), middle(each["net_cycles"][kind], 0),
            "" if kind == "ipv4" else f'<b>{middle(each["to_ipv4"]["natlb"][kind], 3)}</b>',
            "" if kind == "ipv4" else middle(each["to_ipv4"]["io"][kind], 3),
        ]
        for each in found
        for kind, name in NAMES.items()
    ]  # fmt: skip
    return [
        "<h2>IPv6</h2>",
        note(
            "One lbd that serves both families, in turns over IPv4 alone, IPv6 alone, and both in every burst; as many connections each. Half and half: the family "
            "of each packet is drawn, which no processor foresees; alternating: they come in turn. Frames of 84 bytes in all, about the least that holds TCP over IPv6. To IPv4’s: rates of one round, of the same program."
        ),
        pictures.families(found),
        table(["", "", *(f"{what}, Mpps" for what in PROGRAMS), "natlb : 5tswap", "net cycles", "natlb to IPv4’s", "io to IPv4’s"], rows),
    ]


def scaling(result):
    found = result.get("scaling")
    if not found:
        return []
    rows = []
    for each in found:
        for name in ("io", "5tswap", "natlb", "software"):
            more = " software" if name == "software" else ""
            program = "natlb" if more else name
            rows.append([
                f"{human(each['flows'])} flows each", "natlb, software steers" if more else name, middle(each["mpps"][f"{program} 1"]),
                middle(each["mpps"][f"{program} 2{more}"]), middle(each["scaling"][name], 2), middle(each["to_io"][name], 3) if name in each["to_io"] else "",
            ])  # fmt: skip
    costs = []
    for each in found:
        software = each["workers"]["natlb-2-software"]
        if each["hand_over_cycles"]:
            costs.append(
                f"{human(each['flows'])} flows: {middle(each['hand_over_cycles'], 0)} cycles, {software['handed_over_share']:.0%} of packets handed over, "
                f"{software['ring_full_share']:.1%} lost in full rings"
            )
    return [
        "<h2>Two workers</h2>",
        note(
            "Over a simulated NIC with RSS (two ports, a queue of each and a source for every thread, nothing shared), which leads flows to queues by the hash "
            "key and the table that the program has set: natlb’s zero-window keys. Medians over windows of the medians of stretches of 128 turns, with their "
            "quartiles. <b>Software steers</b>: the NIC spreads by a key of its own, and workers hand packets to their owner; its rate is of frames taken, lost ones "
            "included."
        ),
        pictures.scaling(found),
        table(["", "", "one thread, Mpps", "two, Mpps", "times", "to io’s"], rows),
        note("What a hand-over costs, on both cores together: " + "; ".join(costs) + ".") if costs else "",
    ]


def sentences(result):
    """What is one figure each."""
    said = []
    if skew := result.get("skew"):
        to = {kind: f"{skew['to_5tswap'][kind]['median']:.2f}" for kind in ("zipf", "uniform")}
        said.append(
            f"Zipf(1.0) over 10 M connections: {to['zipf']} of 5tswap, uniform traffic over 64 k in turns with it: {to['uniform']}; the one is "
            f"{middle(skew['ratio'], 2)} of the other."
        )
    if cost := result.get("cost"):
        cycles = {what: cost["cycles"][what]["median"] for what in cost["cycles"]}
        said.append(
            f"A packet that opens a UDP connection, while another times out: {cycles['new']:.0f} cycles, against {cycles['established']:.0f} of a packet of "
            f"10 M established ones: {middle(cost['ratio'], 2)} times (net of io’s {cycles['io']:.0f}: {middle(cost['net_ratio'], 2)} times)."
        )
    if bounds := result.get("bounds"):
        most, per_second = bounds["most"], bounds["per_second"]
        said.append(
            f"The most work of any turn, with {bounds['live'][-1] / 1e6:.1f} M connections of which {per_second['expired'] / 1e6:.2f} M a second time out: "
            + ", ".join(f"{most[key]} entries {what} (bound {bounds['bounds'][key]})" for key, what in (("most_swept", "examined"), ("most_expired", "expired"), ("most_created", "made"), ("most_moved", "moved")))
            + "."
        )
    if full := result.get("full"):
        said.append(
            f"A table of {full['capacity']:,} places with {full['traffic']['flows']:,} established connections, kept full by {full['opened']:,} short ones of which "
            f"{full['evicted']:,} gave way: none was refused, no established one was lost ({full['verified']:,} frames verified)."
            if not full["proof"]["problems"]
            else "A table kept full: see the problems below."
        )
    if changes := result.get("changes"):
        said.append(
            f"A real added or removed {changes['changes_per_second']['median']:.0f} times a second, 1 M connections: {middle(changes['ratio'], 3)} of the "
            "throughput without, and every connection keeps its real."
        )
    for point in (result.get("scrapes") or {}).get("points", []):
        said.append(
            f"A scrape of {point['reals']:,} reals each second ({point['bytes']['median'] / 1e6:.2f} MB, for which the control thread computes "
            f"{point['control_seconds']['median'] * 1e3:.1f} ms): {middle(point['ratio'], 4)} of the throughput without."
        )
    return ["<h2>Under strain</h2><ul>", *(f"<li>{each}</li>" for each in said), "</ul>"] if said else []


def proof(result):
    named = [(each["name"], each["proof"]) for each in result["points"] + result.get("families", []) + result["opening"] + result.get("traces", []) + result.get("stages", []) + result.get("scaling", [])]
    named += [(result[part]["name"], result[part]["proof"]) for part in ("skew", "cost", "changes", "scrapes", "bounds", "full") if result.get(part)]
    rows = []
    for name, found in named:
        check = found.get("check_after") or found.get("check_before") or {}
        drops = ", ".join(f"{reason} {count:,}" for reason, count in check.get("drops", {}).items()) or "none"
        problems = "; ".join(found["problems"])
        verified = f"{check['checked']:,}" if "checked" in check else "–"
        rows.append([
            escape(name), f"{found.get('connections_after', 0):,}", verified, check.get("faulty", "–"), escape(drops),
            f'<span class="bad">{escape(problems)}</span>' if problems else "none",
        ])  # fmt: skip
    return [
        "<h2>Proof</h2>",
        note(
            "Connections by the table’s own count at the end; frames that came back and were verified in full (addresses, ports, MACs, TTL, both checksums "
            "summed anew, the same real for the same connection); what was dropped, by reason. Frames of net_pcap are counted, not verified."
        ),
        table(["traffic", "connections", "verified", "wrong", "drops", "problems"], rows),
    ]


def machine(result):
    what = {
        **result["machine"], "pages": result["memory_note"], "real-time priority": result["priority"],
        "load before, after": f"{result['load_before']}, {result.get('load_after')}",
        "taken by the host": f"{result.get('steal_seconds', 0):.1f} s of {result.get('seconds', 0):.0f} s", "scripts/perf": " ".join(result["command"]),
    }  # fmt: skip
    skipped = [note(f'<span class="bad">Skipped: {escape(each)}</span>') for each in result.get("skipped", [])]
    return ["<h2>Machine</h2>", *skipped, table(["", ""], [[escape(key), escape(str(value))] for key, value in what.items()])]


def write(result, output):
    uniform = sorted((point for point in result["points"] if goals.is_uniform(point)), key=lambda point: point["traffic"]["flows"])
    others = [point for point in result["points"] if not goals.is_uniform(point)]
    parts = [
        "<h1>natlb on one core, against testpmd</h1>",
        f'<p>{escape(result["natlb"])} · {escape(str(result["machine"]["cpu"]))} · {escape(result["memory"])} pages · {escape(result["began"])}</p>',
        note(
            "One polled core, no NIC: it also makes the frames and takes them back. Programs run in turns under the same conditions; Mpps are per second of the "
            "polling thread’s CPU time; medians of the rounds, with their quartiles. Net cycles are natlb’s less those of io."
        ),
        *reached(result), *throughput(uniform), *families(result), *stages(result),
        *(["<h2>Other kinds of traffic</h2>", table(HEAD, [point_row(point) for point in others])] if others else []),
        *([note("IMIX: IPv4 lengths of 46, 576 and 1500 bytes as 7 : 4 : 1, in frames of 1514 bytes: net_null delivers one length only.")] if others else []),
        *opening(result), *scaling(result), *sentences(result), *peers(result), *proof(result), *machine(result),
    ]  # fmt: skip
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "page.css")) as file:
        style = file.read()
    path = os.path.join(output, "perf.html")
    with open(path, "w") as file:
        file.write(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>natlb: performance</title>'
            f"<style>{style}</style><body>{''.join(parts)}</body></html>\n"
        )
    return path
