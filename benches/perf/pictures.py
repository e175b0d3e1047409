"""The page's pictures, from the figures of perf.json."""

import drawing
import goals
from drawing import Plot, bar, human, legend, line, round_steps, svg, text
from families import NAMES
from measure import middle_half

PROGRAMS = ("io", "5tswap", "natlb")
KINDS = {"io": "io", "5tswap": "swap", "natlb": "natlb"}
STAGES = (
    ("receive", "stage1", "receive, source included"), ("decode", "stage2", "decode, prefetch"), ("resolve", "stage3", "resolve, rewrite"),
    ("transmit", "stage4", "transmit"), ("rest", "stage5", "sweep, loop"),
)  # fmt: skip
PEERS = {"DPVS NAT": "peer1", "VPP nat44-ed": "peer2", "VPP cnat": "peer3", "VPP lb nat4": "peer4"}
LEFT = 58


def ends(values, room=1.15):
    return min(values) / room, max(values) * room


def throughput(points, rates):
    """`points`: (flows, {program: spread of Mpps}); `rates`: (name, Mpps) of links."""
    values = [edge for _, programs in points for spread in programs.values() for edge in middle_half(spread)]
    flows = [count for count, _ in points]
    across, down = ends(flows, 1.6), ends([*values, *(mpps for _, mpps in rates)], 1.3)
    plot = Plot(across, down)
    plot.axes(flows, round_steps(*down), "established connections", "Mpps on one core")
    for name, mpps in rates:
        plot.parts += [line(plot.left, plot.y(mpps), plot.right, plot.y(mpps), "rate"), text(plot.right + 8, plot.y(mpps) + 4, name, "start", "faint")]
    for program in PROGRAMS:
        kind = KINDS[program]
        plot.curve([(count, programs[program]["median"]) for count, programs in points], kind)
        for count, programs in points:
            spread = programs[program]
            lower, upper = middle_half(spread)
            plot.spread(count, lower, upper, kind)
            plot.dot(count, spread["median"], kind, f"{program}, {human(count)} flows: {spread['median']:.1f} Mpps ({lower:.1f} to {upper:.1f})")
    # Last, so that no curve runs over them.
    for program in PROGRAMS[1:]:
        for count, programs in points:
            plot.value(count, programs[program]["median"], f"{programs[program]['median']:.1f}", below=program == "natlb")
    plot.parts += legend([(KINDS[program], program) for program in reversed(PROGRAMS)], plot.left, 14)
    return plot.svg("Throughput over the number of connections")


def net(points):
    """Two bars for each number of flows: what 5tswap and what natlb add to io. `points`: (flows, cycles of io, {program: more than io})."""
    most = max(io + max(more.values()) for _, io, more in points) * 1.12
    height, right, top = 360, drawing.WIDTH - 20, 44
    bottom = height - 48
    step = (right - LEFT) / len(points)
    y = lambda cycles: bottom - cycles / most * (bottom - top)
    parts = []
    for tick in range(0, int(most) + 1, 50 if most > 150 else 20):
        parts += [line(LEFT, y(tick), right, y(tick), "grid"), text(LEFT - 8, y(tick) + 4, tick, "end", "faint")]
    for index, (flows, io, more) in enumerate(points):
        width = min(step * 0.3, 70)
        x = LEFT + (index + 0.5) * step - width - 3
        for at, name in ((x, "5tswap"), (x + width + 6, "natlb")):
            total = io + more[name]
            said = f"{name}, {human(flows)} flows: {more[name]:.1f} cycles more than io, which takes {io:.1f}"
            parts += [bar(at, y(io), width, bottom - y(io), "fill io pale", said), bar(at, y(total), width, y(io) - y(total), f"fill {KINDS[name]}", said)]
            parts.append(text(at + width / 2, y(total) - 6, f"+{more[name]:.0f}", kind="value"))
        parts.append(text(x + width + 3, bottom + 19, human(flows)))
    parts += [line(LEFT, bottom, right, bottom, "axis"), text((LEFT + right) / 2, height - 8, "established connections", kind="faint")]
    parts += [text(LEFT, top - 8, "TSC cycles a packet", "start", "faint")]
    parts += legend([("io pale", "io: source and driver"), ("swap", "what 5tswap adds"), ("natlb", "what natlb adds")], LEFT, 14)
    return svg(parts, "Cycles of a packet, over those of io", height)


def stages(found):
    """A row for each number of flows, with the cycles of each stage one after the other."""
    row, top, right = 46, 44, drawing.WIDTH - 60
    height = top + row * len(found) + 44
    left = 84
    most = max(sum(each["cycles"].values()) for each in found)
    x = lambda cycles: left + cycles / most * (right - left)
    parts = []
    for tick in range(0, int(most) + 1, 20 if most < 150 else 50):
        parts += [line(x(tick), top, x(tick), height - 40, "grid"), text(x(tick), height - 24, tick, kind="faint")]
    for index, each in enumerate(found):
        y, at = top + row * index + 7, 0.0
        parts.append(text(left - 10, y + 21, human(each["flows"]), "end"))
        for stage, kind, name in STAGES:
            cycles = each["cycles"][stage]
            parts.append(bar(x(at), y, x(at + cycles) - x(at) - 1, row - 14, f"fill {kind}", f"{name}: {cycles:.1f} cycles"))
            if x(at + cycles) - x(at) > 26:
                parts.append(text((x(at) + x(at + cycles)) / 2, y + 21, f"{cycles:.0f}", kind="inside"))
            at += cycles
        parts.append(text(x(at) + 6, y + 21, f"{at:.0f}", "start", "value"))
    parts += [text((left + right) / 2, height - 6, "TSC cycles a packet", kind="faint"), text(left - 10, top - 6, "connections", "end", "faint")]
    parts += legend([(kind, name) for _, kind, name in STAGES], left, 14)
    return svg(parts, "Cycles of a packet by stage", height)


def turns(found):
    """How often turns took how long: shares of each number of flows, both axes logarithmic."""
    kinds = ("io", "swap", "natlb", "stage4")
    shares = []
    for each in found:
        steps = [(start, end, count) for start, end, count in each["turn_ns"]["histogram"] if count]
        shares.append([((max(start, 1) * end) ** 0.5 / 1000, count / each["turns"]) for start, end, count in steps])
    times = [at for points in shares for at, _ in points]
    across, down = ends(times, 1.3), (min(share for points in shares for _, share in points) / 1.5, 1.0)
    plot = Plot(across, down, right=30)
    percent = lambda share: f"{100 * share:g} %"
    ticks_y = [10.0**power for power in range(-8, 1) if down[0] <= 10.0**power <= 1]
    plot.axes(round_steps(*across), ticks_y, "time of a turn, microseconds", "share of turns", format_y=percent)
    for each, points, kind in zip(found, shares, kinds):
        plot.curve(points, kind)
    plot.parts += legend([(kind, f"{human(each['flows'])} flows") for each, kind in zip(found, kinds)], plot.left, 14)
    return plot.svg("Times of turns")


def peers(traces, others, way):
    """Mpps over flows: natlb and 5tswap of this run, and what others reached in another sitting."""
    mine = sorted((each for each in traces if each["way"] == way), key=lambda each: each["flows"])
    curves = {}
    for name in others["names"]:
        figures = others[way].get(name, {}).get("mpps", {})
        if figures:
            curves[name] = sorted((int(flows), sum(range_) / 2) for flows, range_ in figures.items())
    # Last, so that it is on top.
    curves |= {name: [(t["flows"], t[name]["mpps"]["median"]) for t in mine] for name in PROGRAMS[1:]}
    flows = sorted({count for points in curves.values() for count, _ in points})
    values = [mpps for points in curves.values() for _, mpps in points]
    plot = Plot(ends(flows, 1.4), ends(values, 1.25), height=400)
    plot.axes(flows, round_steps(*ends(values, 1.25)), "established connections", f"Mpps on one core, {way}")
    for name, points in curves.items():
        kind = KINDS.get(name) or PEERS[name]
        plot.curve(points, kind, dashed=name in PEERS)
        for count, mpps in points:
            plot.dot(count, mpps, kind, f"{name}, {human(count)} flows: {mpps:.1f} Mpps")
            if name == "natlb":
                plot.value(count, mpps, f"{mpps:.1f}", below=True)
    plot.names_at_end([(points[-1][1], KINDS.get(name) or PEERS[name], name) for name, points in curves.items()])
    return plot.svg(f"Traces that other balancers were measured on, {way}")


FAMILIES = {"ipv6": "natlb", "half": "stage4", "alternating": "swap"}


def families(found):
    """For each number of flows, natlb's rates over IPv6 and over both families, as parts of its rate over IPv4: with the quartiles, and the goals."""
    height, right, top = 320, drawing.WIDTH - 20, 44
    bottom = height - 48
    ratios = [(each, each["to_ipv4"]["natlb"]) for each in found]
    most = max(1.1, max(spread["upper"] for _, ratio in ratios for spread in ratio.values()) * 1.1)
    step = (right - LEFT) / len(found)
    y = lambda ratio: bottom - ratio / most * (bottom - top)
    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts += [line(LEFT, y(tick), right, y(tick), "grid"), text(LEFT - 8, y(tick) + 4, f"{tick:g}", "end", "faint")]
    for index, (each, ratio) in enumerate(ratios):
        width = min(step / (len(FAMILIES) + 1), 90)
        middle = LEFT + (index + 0.5) * step
        for number, (kind, colour) in enumerate(FAMILIES.items()):
            spread, at = ratio[kind], middle + (number - len(FAMILIES) / 2) * width
            lower, upper = middle_half(spread)
            said = f"{NAMES[kind]}, {human(each['flows'])} flows: {spread['median']:.3f} of IPv4's rate ({lower:.3f} to {upper:.3f})"
            parts.append(bar(at + 3, y(spread["median"]), width - 6, bottom - y(spread["median"]), f"fill {colour}", said))
            parts.append(line(at + width / 2, y(lower), at + width / 2, y(upper), "axis"))
            if kind in goals.TO_IPV4:
                goal = y(goals.TO_IPV4[kind][1])
                parts.append(line(at + 3, goal, at + width - 3, goal, "rate"))
            parts.append(text(at + width / 2, y(upper) - 6, f"{spread['median']:.2f}", kind="value"))
        parts.append(text(middle, bottom + 19, f"{human(each['flows'])} flows"))
    parts += [line(LEFT, bottom, right, bottom, "axis"), text(LEFT, top - 8, "times IPv4's rate; dotted: the goals", "start", "faint")]
    parts += legend([(colour, f"natlb, {NAMES[kind]}") for kind, colour in FAMILIES.items()], LEFT, 14)
    return svg(parts, "Rates over IPv6 and both families, against IPv4's", height)


SCALED = {"io": "io", "5tswap": "swap", "natlb": "natlb", "software": "stage5"}


def scaling(found):
    """For each number of flows, how many times one thread's rate two have: a bar for each program, with the quartiles."""
    height, right, top = 320, drawing.WIDTH - 20, 44
    bottom = height - 48
    most = max(2.2, max(spread["upper"] for each in found for spread in each["scaling"].values()) * 1.1)
    step = (right - LEFT) / len(found)
    y = lambda times: bottom - times / most * (bottom - top)
    parts = []
    for tick in range(int(most) + 1):
        parts += [line(LEFT, y(tick), right, y(tick), "grid"), text(LEFT - 8, y(tick) + 4, tick, "end", "faint")]
    for index, each in enumerate(found):
        width = min(step / 6, 60)
        x = LEFT + (index + 0.5) * step - 2 * width
        for number, (name, kind) in enumerate(SCALED.items()):
            spread, at = each["scaling"][name], x + number * width
            said = f"{name}, {human(each['flows'])} flows each: {spread['median']:.2f} times ({spread['lower']:.2f} to {spread['upper']:.2f})"
            parts.append(bar(at + 2, y(spread["median"]), width - 4, bottom - y(spread["median"]), f"fill {kind}", said))
            parts.append(line(at + width / 2, y(spread["lower"]), at + width / 2, y(spread["upper"]), "axis"))
            parts.append(text(at + width / 2, y(spread["upper"]) - 6, f"{spread['median']:.2f}", kind="value"))
        parts.append(text(LEFT + (index + 0.5) * step, bottom + 19, f"{human(each['flows'])} flows each"))
    parts += [line(LEFT, bottom, right, bottom, "axis"), text(LEFT, top - 8, "two threads, times one", "start", "faint")]
    names = {"software": "natlb, software steers"}
    parts += legend([(kind, names.get(name, name)) for name, kind in SCALED.items()], LEFT, 14)
    return svg(parts, "Two threads against one", height)
