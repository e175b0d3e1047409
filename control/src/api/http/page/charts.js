// Pictures of the last ten minutes, drawn from what lbd remembers of each second.

const WINDOW_MS = 600_000;
// Two seconds that lie further apart than this, besides their own length, have a gap between them.
const GAP_MS = 1500;
const SVG = "http://www.w3.org/2000/svg";
// Above the plot, and below it, in pixels.
const [ABOVE, BELOW] = [6, 16];

function svg(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// The seconds that are known, oldest first: {at, span, rx_packets, …}; null where something is not known.
const recent = {seconds: [], next: 0, began: null, last: null, received: 0};

// Adds what lbd says of the seconds since the last time. Those of an earlier lbd stay.
function addRecent(answer) {
  const last = recent.seconds.length ? recent.seconds[recent.seconds.length - 1].at : 0;
  const {at_ms, span_ms, connections, busy_share} = answer;
  at_ms.forEach((at, index) => {
    if (at <= last) return;
    const second = {at, span: span_ms[index], connections: connections[index]};
    for (const name of ["rx_packets", "tx_packets", "rx_bits", "tx_bits", "rx_missed", "conns", "drops"]) {
      second[name] = answer[name][index];
    }
    const busy = busy_share.map((worker) => worker[index]);
    second.busiest = busy.length ? Math.max(...busy) : null;
    second.busy = busy.length > 1 ? busy.reduce((sum, share) => sum + share, 0) / busy.length : null;
    recent.seconds.push(second);
  });
  recent.next = answer.next;
  recent.began = answer.began_ms;
  if (at_ms.length) {
    recent.last = at_ms[at_ms.length - 1];
    recent.received = performance.now();
  }
  const oldest = now() - WINDOW_MS - 10_000;
  const first = recent.seconds.findIndex((second) => second.at >= oldest);
  if (first > 0) recent.seconds.splice(0, first);
}

// By lbd's clock, which goes on while it is away.
function now() {
  return recent.last === null ? 0 : recent.last + (performance.now() - recent.received);
}

// Where the pointer, or the keys, point: milliseconds before now; null: nowhere.
let pointed = null;

// The second that was then; null: none is known.
function secondAt(ago) {
  const at = now() - ago;
  const found = recent.seconds.find((second) => second.at >= at);
  return found && found.at - found.span - GAP_MS <= at ? found : null;
}

// The round number at or above this one that an axis ends at.
function axisEnd(highest, least) {
  const value = Math.max(highest, least);
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999) || 10 * power;
}

// A picture with its numbers. `series`: [{of, name, className}], isOptional: not shown where it is not known; `unit` stands behind a number; `least` is the lowest
// end of the axis; `end`: it is always this.
class Picture {
  constructor(parent, {name, unit, series, format, least, end, note}) {
    Object.assign(this, {name, unit, series, least, end, note, format: format || short});
    this.figure = element("figure", "picture");
    const caption = element("figcaption");
    this.when = element("span", "when");
    this.values = element("span", "values");
    this.shown = series.map(({className, name: of}) => {
      const value = element("span", `value ${className}`);
      const key = element("span", "key");
      const [number, small, label] = [element("span"), element("small"), element("span")];
      small.append(key, label);
      value.append(number, small);
      value.title = of;
      this.values.append(value);
      return {value, key, number, label};
    });
    caption.append(element("span", "name", name), this.when, this.values);
    this.svg = svg("svg", {role: "img", tabindex: "0"});
    this.figure.append(caption, this.svg);
    parent.append(this.figure);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => pointAt(null));
    this.svg.addEventListener("keydown", (event) => this.key(event));
    this.svg.addEventListener("focus", () => this.label(true));
    this.svg.addEventListener("blur", () => pointAt(null));
    this.labelled = 0;
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    pointAt(Math.min(WINDOW_MS, Math.max(0, (1 - share) * WINDOW_MS)));
  }

  key(event) {
    const steps = {ArrowLeft: 10_000, ArrowRight: -10_000, PageUp: 60_000, PageDown: -60_000};
    if (event.key in steps) {
      pointAt(Math.min(WINDOW_MS, Math.max(0, (pointed || 0) + steps[event.key])));
      this.label(true);
      event.preventDefault();
    } else if (event.key === "Escape") {
      pointAt(null);
    }
  }

  // What it says of the present, or of where somebody points.
  write() {
    const seconds = recent.seconds;
    const last = seconds.length ? seconds[seconds.length - 1] : null;
    const isStale = !last || now() - last.at > 5000;
    const second = pointed === null ? (isStale ? null : last) : secondAt(pointed);
    this.series.forEach(({of, name, isOptional}, index) => {
      const {value: shown, number, label} = this.shown[index];
      const value = second ? second[of] : null;
      shown.hidden = Boolean(isOptional) && value === null;
      setText(number, this.format(value));
      setText(label, [this.unit, this.series.length > 1 ? name : ""].join(" ").trim());
    });
    const isOne = this.shown.filter(({value}) => !value.hidden).length === 1;
    for (const {key} of this.shown) key.hidden = isOne;
    const note = this.note && pointed === null && second ? this.note(second) : "";
    setText(this.when, pointed === null ? note : `${duration(Math.round(pointed / 1000))} ago`);
  }

  draw() {
    const [width, height] = [this.svg.clientWidth || 280, this.svg.clientHeight || 92];
    const bottom = height - BELOW;
    const end = now();
    const x = (at) => width * (1 - (end - at) / WINDOW_MS);
    const seconds = recent.seconds.filter((second) => second.at >= end - WINDOW_MS);
    let highest = 0;
    for (const {of} of this.series) for (const second of seconds) highest = Math.max(highest, second[of] || 0);
    const top = this.end || axisEnd(highest, this.least);
    const y = (value) => bottom - (bottom - ABOVE) * Math.min(1, value / top);
    const parts = [];
    for (const share of [1, 0.5]) {
      const at = Math.round(y(top * share)) + 0.5;
      parts.push(svg("line", {class: "grid", x1: 0, x2: width, y1: at, y2: at}));
    }
    for (const minutes of [2, 4, 6, 8]) {
      const at = Math.round(width * (minutes / 10)) + 0.5;
      parts.push(svg("line", {class: "grid", x1: at, x2: at, y1: ABOVE, y2: bottom}));
    }
    parts.push(svg("line", {class: "base", x1: 0, x2: width, y1: bottom + 0.5, y2: bottom + 0.5}));
    for (const {of, className} of [...this.series].reverse()) {
      for (const run of runsOf(seconds, of)) {
        const points = run.map((second) => `${x(second.at).toFixed(1)} ${y(second[of]).toFixed(1)}`);
        if (points.length === 1) points.unshift(`${x(run[0].at - run[0].span).toFixed(1)} ${y(run[0][of]).toFixed(1)}`);
        const line = `M${points.join("L")}`;
        const [left, right] = [points[0], points[points.length - 1]].map((point) => point.split(" ")[0]);
        parts.push(svg("path", {class: `area ${className}`, d: `${line}L${right} ${bottom}L${left} ${bottom}Z`}));
        parts.push(svg("path", {class: `line ${className}`, d: line}));
      }
    }
    if (pointed !== null) {
      const at = x(end - pointed).toFixed(1);
      parts.push(svg("line", {class: "cursor", x1: at, x2: at, y1: ABOVE, y2: bottom}));
    }
    const text = (attributes, content) => {
      const made = svg("text", attributes);
      made.textContent = content;
      parts.push(made);
    };
    text({x: 1, y: ABOVE + 9}, this.format(top));
    text({x: 0, y: height - 3}, "10 min ago");
    text({x: width / 2, y: height - 3, "text-anchor": "middle"}, "5");
    text({x: width, y: height - 3, "text-anchor": "end"}, "now");
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren(...parts);
    this.write();
    this.label(false);
  }

  // In words, for those who do not see it; not oftener than they can hear it.
  label(isAtOnce) {
    if (!isAtOnce && performance.now() < this.labelled) return;
    this.labelled = performance.now() + 10_000;
    const parts = this.series.map(({of, name}, index) => {
      if (this.shown[index].value.hidden) return "";
      const known = recent.seconds.map((second) => second[of]).filter((value) => value !== null);
      const present = this.shown[index].number.textContent;
      if (!known.length) return `${name}: nothing is known`;
      const [lowest, highest] = [Math.min(...known), Math.max(...known)].map(this.format);
      return `${name}: ${pointed === null ? "now" : this.when.textContent} ${present}, lowest ${lowest}, highest ${highest}`;
    });
    this.svg.setAttribute("aria-label", `${this.name} in ${this.unit || "shares"}, the last ten minutes. ${parts.filter(Boolean).join("; ")}.`);
  }
}

// Seconds that follow each other and are known: a gap ends a line.
function runsOf(seconds, of) {
  const runs = [];
  let before = null;
  for (const second of seconds) {
    if (second[of] === null) {
      before = null;
      continue;
    }
    const follows = before && second.at - second.span - before.at < GAP_MS;
    if (!follows) runs.push([]);
    runs[runs.length - 1].push(second);
    before = second;
  }
  return runs;
}

const pictures = [];

function pointAt(ago) {
  if (pointed === ago) return;
  pointed = ago;
  drawPictures();
}

function drawPictures() {
  for (const picture of pictures) picture.draw();
}

// What the tables hold in all; 0: not known yet.
let capacity = 0;

function makePictures(parent) {
  const both = (incoming, outgoing) => [
    {of: incoming, name: "in", className: "in"},
    {of: outgoing, name: "out", className: "out"},
  ];
  const all = [
    {name: "Packets", unit: "pps", least: 10, series: both("rx_packets", "tx_packets")},
    {name: "Bits", unit: "bps", least: 1000, series: both("rx_bits", "tx_bits")},
    {name: "New connections", unit: "/s", least: 10, series: [{of: "conns", name: "new", className: "in"}]},
    {
      name: "Connections", unit: "in use", least: 10, format: (value) => value !== null && value < 1e5 ? whole(value) : short(value),
      series: [{of: "connections", name: "in use", className: "in"}],
      note: (second) => capacity ? `${percent(second.connections / capacity)} of ${short(capacity)}` : "",
    },
    {
      name: "Workers busy", unit: "", end: 1, format: percent,
      series: [{of: "busiest", name: "busiest", className: "in"}, {of: "busy", name: "mean", className: "out", isOptional: true}],
    },
    {
      name: "Drops", unit: "/s", least: 10,
      series: [
        {of: "drops", name: "dropped", className: "bad-ink"},
        {of: "rx_missed", name: "missed", className: "in", isOptional: true},
      ],
    },
  ];
  for (const options of all) pictures.push(new Picture(parent, options));
  if (window.ResizeObserver) new ResizeObserver(drawPictures).observe(parent);
}
