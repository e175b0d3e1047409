"""Pictures as SVG text, with nothing from outside."""

import math
from html import escape

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 62, 150, 18, 46
COLORS = {"natlb": "#d9480f", "5tswap": "#1c7ed6", "io": "#868e96"}


def text(x, y, content, anchor="middle", kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(str(content))}</text>'


def line(x1, y1, x2, y2, kind):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def svg(parts, title):
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
        + "".join(parts)
        + "</svg>"
    )


def throughput(points, rates):
    """Mpps over flows, both axes logarithmic; `points`: (flows, {program: spread}), `rates`: (name, Mpps)."""
    values = [spread[edge] for _, programs in points for spread in programs.values() for edge in ("least", "most")]
    values += [mpps for _, mpps in rates]
    low, high = math.log10(min(values) * 0.8), math.log10(max(values) * 1.2)
    first, last = (math.log10(points[index][0]) for index in (0, -1))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def across(flows):
        share = 0.5 if first == last else (math.log10(flows) - first) / (last - first)
        return LEFT + 20 + share * (right - LEFT - 40)

    def down(mpps):
        return bottom - (math.log10(mpps) - low) / (high - low) * (bottom - TOP)

    parts = [line(LEFT, bottom, right, bottom, "axis"), line(LEFT, TOP, LEFT, bottom, "axis")]
    for tick in (1, 2, 5, 10, 20, 50, 100, 200):
        if low <= math.log10(tick) <= high:
            parts += [line(LEFT, down(tick), right, down(tick), "grid"), text(LEFT - 8, down(tick) + 4, tick, "end")]
    for name, mpps in rates:
        parts += [line(LEFT, down(mpps), right, down(mpps), "rate"), text(right + 6, down(mpps) + 4, name, "start", "faint")]
    for flows, _ in points:
        parts.append(text(across(flows), bottom + 18, human(flows)))
    parts += [text((LEFT + right) / 2, HEIGHT - 8, "established connections"), text(LEFT, TOP - 5, "Mpps, one core", "start")]
    for program in ("io", "5tswap", "natlb"):
        color = COLORS[program]
        path = " ".join(f"{across(flows):.1f},{down(programs[program]['median']):.1f}" for flows, programs in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2.5"/>')
        for flows, programs in points:
            spread, x = programs[program], across(flows)
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{down(spread["least"]):.1f}" y2="{down(spread["most"]):.1f}" stroke="{color}" stroke-width="5" opacity=".35"/>')
            parts.append(f'<circle cx="{x:.1f}" cy="{down(spread["median"]):.1f}" r="4" fill="{color}"/>')
            if program == "natlb":
                parts.append(text(x, down(spread["median"]) + 18, f"{spread['median']:.1f}", kind="value"))
        flows, programs = points[-1]
        parts.append(f'<text x="{right - 14:.1f}" y="{down(programs[program]["median"]) - 9:.1f}" text-anchor="end" fill="{color}" class="name">{program}</text>')
    return svg(parts, "Throughput over the number of connections")


def cycles(points):
    """A bar for each number of flows: the packet's way in and out, then what natlb adds; 5tswap beside it."""
    top_value = max(spread["cycles"]["most"] for _, programs in points for spread in programs.values()) * 1.1
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    step = (right - LEFT) / len(points)

    def down(value):
        return bottom - value / top_value * (bottom - TOP)

    def bar(x, width, start, end, color, opacity=1.0):
        return f'<rect x="{x:.1f}" y="{down(end):.1f}" width="{width:.1f}" height="{max(0, down(start) - down(end)):.1f}" fill="{color}" opacity="{opacity}"/>'

    parts = [line(LEFT, bottom, right, bottom, "axis")]
    unit = 50 if top_value > 120 else 20
    for tick in range(0, int(top_value) + 1, unit):
        parts += [line(LEFT, down(tick), right, down(tick), "grid"), text(LEFT - 8, down(tick) + 4, tick, "end")]
    for index, (flows, programs) in enumerate(points):
        x, width = LEFT + index * step + step * 0.18, step * 0.3
        io, swap, natlb = (programs[name]["cycles"]["median"] for name in ("io", "5tswap", "natlb"))
        for at, total, name in ((x, swap, "5tswap"), (x + width + 4, natlb, "natlb")):
            parts += [bar(at, width, 0, io, COLORS["io"], 0.6), bar(at, width, io, total, COLORS[name])]
            parts.append(text(at + width / 2, down(total) - 5, f"+{total - io:.0f}", kind="value"))
        parts.append(text(x + width, bottom + 18, human(flows)))
    for number, (name, said) in enumerate((("io", "io: source and driver"), ("5tswap", "what 5tswap adds"), ("natlb", "what natlb adds"))):
        y = TOP + 16 + 20 * number
        parts += [f'<rect x="{right + 8}" y="{y - 10}" width="11" height="11" fill="{COLORS[name]}"/>', text(right + 24, y, said, "start", "faint")]
    parts += [text((LEFT + right) / 2, HEIGHT - 8, "established connections"), text(LEFT, TOP - 5, "cycles of the TSC per packet", "start")]
    return svg(parts, "Cycles per packet")


def human(number):
    for unit, suffix in ((10**6, " M"), (10**3, " k")):
        if number >= unit:
            return f"{number / unit:g}{suffix}"
    return str(number)
