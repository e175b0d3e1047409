"""What pictures are made of: SVG text, with nothing from outside. Colours are classes of the page's style."""

import math
from html import escape

WIDTH = 800


def text(x, y, content, anchor="middle", kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(str(content))}</text>'


def line(x1, y1, x2, y2, kind):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def bar(x, y, width, height, kind, title=""):
    title = f"<title>{escape(title)}</title>" if title else ""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0, width):.1f}" height="{max(0, height):.1f}" class="{kind}">{title}</rect>'


def svg(parts, title, height):
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>' + "".join(parts) + "</svg>"
    )


def legend(entries, x, y):
    """`entries`: (class of the colour, name); one row."""
    parts = []
    for kind, name in entries:
        parts += [bar(x, y - 9, 11, 11, f"fill {kind}"), text(x + 16, y + 1, name, "start")]
        x += 34 + 6.6 * len(name)
    return parts


def human(number):
    for unit, suffix in ((10**6, " M"), (10**3, " k")):
        if number >= unit:
            return f"{number / unit:g}{suffix}"
    return f"{number:g}"


def round_steps(low, high):
    """1, 2, 5, 10 … between the two."""
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for first in (1, 2, 5):
            if low <= first * 10.0**power <= high:
                yield first * 10.0**power


class Plot:
    """Axes that are both logarithmic."""

    def __init__(self, across, down, height=420, left=58, right=120, top=44, bottom=48):
        self.low_x, self.high_x = (math.log10(end) for end in across)
        self.low_y, self.high_y = (math.log10(end) for end in down)
        self.left, self.right, self.top, self.bottom = left, WIDTH - right, top, height - bottom
        self.height = height
        self.parts = []

    def x(self, value):
        return self.left + (math.log10(value) - self.low_x) / (self.high_x - self.low_x) * (self.right - self.left)

    def y(self, value):
        return self.bottom - (math.log10(value) - self.low_y) / (self.high_y - self.low_y) * (self.bottom - self.top)

    def axes(self, ticks_x, ticks_y, name_x, name_y, format_x=human, format_y=human):
        for tick in ticks_y:
            self.parts += [line(self.left, self.y(tick), self.right, self.y(tick), "grid"), text(self.left - 8, self.y(tick) + 4, format_y(tick), "end", "faint")]
        for tick in ticks_x:
            self.parts += [line(self.x(tick), self.bottom, self.x(tick), self.bottom + 5, "axis"), text(self.x(tick), self.bottom + 19, format_x(tick))]
        self.parts += [line(self.left, self.bottom, self.right, self.bottom, "axis")]
        self.parts += [text((self.left + self.right) / 2, self.height - 8, name_x, kind="faint"), text(self.left, self.top - 8, name_y, "start", "faint")]

    def curve(self, points, kind, dashed=False):
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" class="curve {kind}{" dashed" if dashed else ""}"/>')

    def spread(self, x, lower, upper, kind):
        """The middle half of the rounds."""
        self.parts.append(line(self.x(x), self.y(lower), self.x(x), self.y(upper), f"spread {kind}"))

    def dot(self, x, y, kind, title=""):
        title = f"<title>{escape(title)}</title>" if title else ""
        self.parts.append(f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="4" class="fill {kind}">{title}</circle>')

    def value(self, x, y, content, below=False):
        self.parts.append(text(self.x(x), self.y(y) + (20 if below else -10), content, kind="value"))

    def names_at_end(self, names, gap=15):
        """`names`: (y value, class, text), beside the right edge, moved apart where they would meet."""
        lowest = -math.inf
        for value, kind, name in sorted(names, key=lambda each: -each[0]):
            y = max(self.y(value) + 4, lowest + gap)
            lowest = y
            self.parts.append(text(self.right + 8, y, name, "start", f"name {kind}"))

    def svg(self, title):
        return svg(self.parts, title, self.height)
