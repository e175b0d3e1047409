// Everything but the services, from lbd's status: notes, workers, ports, drops, kept connections.

// The last statuses with their times: rates are taken over some seconds.
const statuses = [];
const RATES_OVER_MS = 4000;
// Every reason for a drop: {name, text}.
let reasons = [];

function addStatus(status) {
  const last = statuses.length ? statuses[statuses.length - 1].status : null;
  const isOther = last && (status.uptime_s < last.uptime_s || status.ports.length !== last.ports.length);
  if (isOther) statuses.length = 0;
  const at = performance.now();
  statuses.push({at, status});
  while (statuses.length > 2 && statuses[1].at <= at - RATES_OVER_MS) statuses.shift();
}

// How much more a second there is than some seconds ago; null: that cannot be known.
function rateOf(of) {
  const [first, last] = [statuses[0], statuses[statuses.length - 1]];
  if (!first || first === last) return null;
  const passed = of(last.status) - of(first.status);
  return passed >= 0 ? (1000 * passed) / (last.at - first.at) : null;
}

const rateCell = (rate, className) =>
  ({text: short(rate === null ? null : Math.round(rate)), className, ink: rate ? "" : "none"});

function workerRow(worker, index) {
  const room = worker.capacity + worker.capacity_ipv6;
  const used = room ? worker.connections / room : 0;
  const rate = (name) => rateOf((status) => status.workers[index][name]);
  const packets = rateOf((status) => status.workers[index].rx_packets + status.workers[index].taken_over);
  return {
    key: String(worker.id),
    className: "worker",
    cells: [
      {head: "row", text: String(worker.id), aside: `core ${worker.core}`},
      {share: worker.busy_share, text: percent(worker.busy_share), className: "share", isFull: worker.busy_share > 0.9},
      rateCell(packets, "n"),
      {text: worker.cycles_per_packet ? whole(worker.cycles_per_packet) : NOT_KNOWN, className: "n"},
      rateCell(rate("created"), "n"),
      {share: used, text: whole(worker.connections), className: "share", isFull: used > 0.9,
       title: `${whole(worker.connections)} of ${whole(room)}`},
    ],
  };
}

function portRow(port, index) {
  const rate = (name) => rateOf((status) => status.ports[index][name]);
  // Some drivers leave bytes at 0.
  const bits = (name, packets) => {
    const bytes = rate(name);
    return bytes === 0 && rate(packets) > 0 ? null : bytes === null ? null : 8 * bytes;
  };
  const used = port.buffers ? port.buffers_in_use / port.buffers : 0;
  const on = (port.interface ? `${port.driver} on ${port.interface.name}` : port.driver).replaceAll(" ", "\u00a0");
  const faults = [["rx_nobuf", "without a buffer"], ["rx_errors", "received with errors"], ["tx_errors", "not sent"]];
  const known = faults.filter(([name]) => port[name] > 0).map(([name, what]) => `, ${whole(port[name])}\u00a0${what}`);
  return {
    key: port.name,
    className: "port",
    cells: [
      {head: "row", text: port.name, aside: port.side, sub: `${on}, MTU\u00a0${port.mtu}, ${port.mac}${known.join("")}`, title: `steering: ${port.steering}`},
      {text: port.link_up ? "● up" : "■ down", ink: port.link_up ? "up" : "down"},
      rateCell(rate("rx_packets"), "n"),
      rateCell(rate("tx_packets"), "n"),
      rateCell(bits("rx_bytes", "rx_packets"), "n wide"),
      rateCell(bits("tx_bytes", "tx_packets"), "n wide"),
      {text: port.rx_missed_known ? short(port.rx_missed) : NOT_KNOWN, className: "n",
       ink: port.rx_missed ? "hot" : "none", title: port.rx_missed_known ? whole(port.rx_missed) : "its driver does not count them"},
      {share: used, text: percent(used), className: "share", isFull: used > 0.9,
       title: `${whole(port.buffers_in_use)} of ${whole(port.buffers)}`},
    ],
  };
}

function showDrops(status) {
  const known = new Map(reasons.map(({name, text}) => [name, text]));
  const all = byId("all-drops").checked ? [...new Set([...known.keys(), ...Object.keys(status.drops)])] : Object.keys(status.drops);
  const counts = all.map((name) => [name, status.drops[name] || 0]);
  counts.sort(([one, many], [other, more]) => more - many || (one < other ? -1 : 1));
  const rows = counts.map(([name, count]) => {
    const rate = rateOf((status) => status.drops[name] || 0);
    return {
      key: name,
      className: "drop",
      cells: [
        {head: "row", text: name, ink: "address", sub: known.get(name) || ""},
        {text: whole(count), className: "n", ink: count ? "" : "none"},
        rateCell(rate, "n"),
      ],
    };
  });
  fillRows(byId("drops-rows"), rows);
  byId("drops-none").hidden = rows.length > 0;
  byId("drops-table").hidden = rows.length === 0;
  const sum = Object.values(status.drops).reduce((sum, count) => sum + count, 0);
  setText(byId("drops-count"), sum ? `${plural(sum, "packet", "packets")} since the start` : "");
}

function keptFacts(kept) {
  if (!kept) return [["Kept", "this lbd does not say"]];
  const facts = [["In", kept.where || "nowhere: connections end with lbd"], ["Memory", kept.backing]];
  if (kept.generation !== null) facts.push(["Generation", String(kept.generation)]);
  const inherited = kept.inherited;
  if (!inherited) return [...facts, ["Taken over", "nothing: there was no earlier lbd"]];
  const templates = inherited.templates ? `, ${plural(inherited.templates, "client's real", "clients' reals")}` : "";
  const progress = inherited.in_progress ? " so far" : "";
  facts.push(["Taken over", `${plural(inherited.connections, "connection", "connections")}${templates}${progress}`]);
  const given = Object.entries(inherited.given_up).filter(([, count]) => count > 0);
  if (given.length) facts.push(["Given up", given.map(([reason, count]) => `${whole(count)} ${reason}`).join(", ")]);
  facts.push(["Oldest", `${duration(inherited.oldest_s)} silent`]);
  if (inherited.gap_ms !== null) facts.push(["Gap", `${whole(inherited.gap_ms)} ms without forwarding`]);
  return facts;
}

function showStatus() {
  const {status} = statuses[statuses.length - 1];
  capacity = status.workers.reduce((sum, worker) => sum + worker.capacity + worker.capacity_ipv6, 0);
  fillFacts(byId("facts"), [
    ["version", status.version],
    ["DPDK", status.dpdk],
    ["up", duration(status.uptime_s)],
    ["configuration", String(status.config_version)],
  ]);
  byId("notes").hidden = status.notes.length === 0;
  setText(byId("notes-title"), plural(status.notes.length, "note", "notes"));
  fillList(byId("notes-list"), status.notes);
  fillRows(byId("workers-rows"), status.workers.map(workerRow));
  fillRows(byId("ports-rows"), status.ports.map(portRow));
  const down = status.ports.filter((port) => !port.link_up).length;
  setText(byId("ports-count"), down ? `${whole(down)} of ${whole(status.ports.length)} down` : "");
  showDrops(status);
  fillFacts(byId("kept"), keptFacts(status.kept));
}
