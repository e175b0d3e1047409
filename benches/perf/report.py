"""The page: the figures of perf.json as tables and pictures, in one file."""

import os
from html import escape

import drawing

# Frames of 64 bytes a second that fill an Ethernet link: 20 bytes of preamble and gap with each.
LINE_RATES = [(f"{gigabits} GbE", gigabits * 1e9 / 8 / 84 / 1e6) for gigabits in (10, 25, 40, 100)]
GOALS = {1_000: (0.93, 31), 64_000: (0.85, 39), 1_000_000: (0.76, 49), 10_000_000: (0.67, 63)}
STYLE = """
:root { color-scheme: light dark; --text: #212529; --faint: #868e96; --paper: #fff; --grid: #e9ecef; --bad: #c92a2a }
@media (prefers-color-scheme: dark) { :root { --text: #e9ecef; --faint: #909296; --paper: #1a1b1e; --grid: #2c2e33; --bad: #ff8787 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--paper); max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem } .faint { color: var(--faint); fill: var(--faint) }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } td, th { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid var(--grid) }
td:first-child, th:first-child { text-align: left; padding-left: 0 } .wide { overflow-x: auto } .bad { color: var(--bad) }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif } svg text { fill: var(--text) } svg text.faint { fill: var(--faint) }
svg .value { font-weight: 600 } svg .name { font-weight: 600; font-size: 13px } .axis { stroke: var(--faint) } .grid { stroke: var(--grid) }
.rate { stroke: var(--faint); stroke-dasharray: 4 4 } code { font-size: .85em; overflow-wrap: anywhere }
"""


def table(head, rows):
    cells = lambda row, tag: "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in row) + "</tr>"
    return f'<div class="wide"><table>{cells(head, "th")}{"".join(cells(row, "td") for row in rows)}</table></div>'


def middle(spread, digits=1):
    return f'{spread["median"]:.{digits}f} <span class="faint">{spread["least"]:.{digits}f}–{spread["most"]:.{digits}f}</span>'


def point_row(point):
    return [
        escape(point["name"]),
        *(f"{point[what]['mpps']['median']:.1f}" for what in ("io", "5tswap", "natlb")),
        middle(point["ratio"], 2),
        f"{point['natlb']['nanoseconds']['median']:.1f}",
        middle(point["net_cycles"]["natlb"], 0),
    ]


def is_goal(point):
    traffic = point["traffic"]
    plain = {"pattern": "uniform", "direction": "mixed", "protocols": "mix", "sizes": "64"}
    return not traffic["trace"] and all(traffic[key] == value for key, value in plain.items())


def goal_cells(point):
    ratio, net = GOALS.get(point["traffic"]["flows"], (None, None))
    return ["", ""] if ratio is None else [f"≥ {ratio}", f"≤ {net}"]


def proof_rows(result):
    rows = []
    for found in [*result["points"], *result["opening"], *([result["changes"]] if result["changes"] else [])]:
        proof = found["proof"]
        check = proof.get("check_after") or proof.get("check_before") or {}
        drops = ", ".join(f"{reason} {count:,}" for reason, count in check.get("drops", {}).items()) or "none"
        problems = "; ".join(proof["problems"])
        rows.append([
            escape(found["name"]), f"{proof.get('connections_after', 0):,}", f"{check.get('checked', 0):,}", check.get("faulty", ""),
            escape(drops), f'<span class="bad">{escape(problems)}</span>' if problems else "none",
        ])  # fmt: skip
    return rows


def write(result, output):
    machine = result["machine"]
    head = ["traffic", "io", "5tswap", "natlb", "natlb : 5tswap", "ns", "net cycles"]
    goals = sorted((point for point in result["points"] if is_goal(point)), key=lambda point: point["traffic"]["flows"])
    others = [point for point in result["points"] if not is_goal(point)]
    parts = [
        "<h1>natlb on one core, against testpmd</h1>",
        f'<p>{escape(result["natlb"])} · {escape(str(machine["cpu"]))} · {escape(result["memory"])} pages · {escape(result["began"])}</p>',
        '<p class="faint">Every packet of another connection at random, both directions, half TCP and half UDP, 64-byte frames, one polled core that also makes '
        "and takes back the frames. <b>io</b> forwards without looking, <b>5tswap</b> swaps MACs, addresses and ports without any table. "
        "Mpps are per second of the polling thread’s CPU time; medians, with the least and most of the rounds. Net cycles are natlb’s less those of io.</p>",
    ]
    if goals:
        series = [(p["traffic"]["flows"], {name: p[name]["mpps"] for name in ("io", "5tswap", "natlb")}) for p in goals]
        parts += ["<h2>Throughput</h2>", drawing.throughput(series, LINE_RATES)]
        parts += ["<h2>Where the cycles go</h2>", drawing.cycles([(p["traffic"]["flows"], {name: p[name] for name in drawing.COLORS}) for p in goals])]
        rows = [point_row(point) + goal_cells(point) for point in goals]
        parts.append(table([*head, "goal", "goal, net"], rows))
    if others:
        parts += ["<h2>Other kinds of traffic</h2>", table(head, [point_row(point) for point in others])]
        parts.append('<p class="faint">IMIX: IPv4 lengths of 46, 576 and 1500 bytes as 7 : 4 : 1, in frames of 1514 bytes: net_null delivers one length only.</p>')
    if result["opening"]:
        rows = [
            [escape(f["name"]), middle({k: v / 1e6 for k, v in f["connections"].items()}, 2), middle(f["mpps"]), middle(f["cycles"], 0), f"{f['live'][-1]:,}"]
            for f in result["opening"]
        ]
        parts += ["<h2>New connections</h2>", table(["traffic", "M connections/s", "Mpps", "cycles a packet", "live"], rows)]
    if result["changes"]:
        changes = result["changes"]
        parts.append("<h2>Changes meanwhile</h2>")
        parts.append(
            f"<p>A real added or removed {changes['changes_per_second']['median']:.0f} times a second, 1 M connections: "
            f"{middle(changes['ratio'], 3)} of the throughput without.</p>"
        )
    parts += [
        "<h2>Proof</h2>",
        '<p class="faint">Connections by the table’s own count at the end; frames that came back and were verified in full (addresses, ports, MACs, TTL, '
        "both checksums summed anew, the same real for the same connection); what was dropped, by reason.</p>",
        table(["traffic", "connections", "verified", "wrong", "drops", "problems"], proof_rows(result)),
        "<h2>Machine</h2>",
        table(["", ""], [[escape(key), escape(str(value))] for key, value in {
            **machine, "pages": result["memory_note"], "real-time priority": result["priority"], "load before, after": f"{result['load_before']}, {result.get('load_after')}",
            "taken by the host": f"{result.get('steal_seconds', 0):.1f} s of {result.get('seconds', 0):.0f} s", "scripts/perf": " ".join(result["command"]),
        }.items()]),
    ]  # fmt: skip
    path = os.path.join(output, "perf.html")
    with open(path, "w") as file:
        file.write(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>natlb: performance</title>'
            f"<style>{STYLE}</style><body>{''.join(parts)}</body></html>\n"
        )
    return path
