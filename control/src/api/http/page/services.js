// The services: searched by lbd, which sends one page of them.

const wanted = {search: "", order: "address", size: 25, offset: 0, reals: true};

// What is wanted stands in the address of the page, so that it is the same after a reload.
function readWanted() {
  const given = new URLSearchParams(location.hash.slice(1));
  wanted.search = (given.get("search") || "").slice(0, 60);
  const orders = [...byId("order").options].map((option) => option.value);
  if (orders.includes(given.get("order"))) wanted.order = given.get("order");
  const sizes = [...byId("size").options].map((option) => Number(option.value));
  if (sizes.includes(Number(given.get("size")))) wanted.size = Number(given.get("size"));
  wanted.offset = Math.max(0, Math.floor(Number(given.get("offset"))) || 0);
  wanted.reals = given.get("reals") !== "no";
  byId("search").value = wanted.search;
  byId("order").value = wanted.order;
  byId("size").value = String(wanted.size);
  byId("reals").checked = wanted.reals;
}

function writeWanted() {
  const given = new URLSearchParams();
  if (wanted.search) given.set("search", wanted.search);
  if (wanted.order !== "address") given.set("order", wanted.order);
  if (wanted.size !== 25) given.set("size", wanted.size);
  if (wanted.offset) given.set("offset", wanted.offset);
  if (!wanted.reals) given.set("reals", "no");
  const text = given.toString();
  window.history.replaceState(null, "", text ? `#${text}` : location.pathname);
}

function servicesPath() {
  const asked = new URLSearchParams({order: wanted.order, offset: wanted.offset, count: wanted.size});
  if (wanted.search.trim()) asked.set("search", wanted.search);
  if (!wanted.reals) asked.set("reals", 0);
  return `services?${asked}`;
}

function addressOf({address, port, last_port: last}) {
  const host = address.includes(":") ? `[${address}]` : address;
  return `${host}:${last > port ? `${port}-${last}` : port}`;
}

const inkOf = (address) => address.includes("[") ? "address long" : "address";

function settingsOf(service) {
  const parts = [service.scheduler, ...service.flags];
  if (service.persistence_s) parts.push(`persistent ${duration(service.persistence_s)}`);
  if (service.one_packet) parts.push("one packet");
  return parts.join(", ");
}

// The columns of rates, of a service or a real.
function rateCells(row) {
  const rate = (number, className) => ({text: short(number), title: whole(number), className, ink: number ? "" : "none"});
  return [
    rate(row.conns, "n"),
    rate(row.in_packets, "n wide"),
    rate(row.out_packets, "n wide"),
    rate(8 * row.in_bytes, "n wider"),
    rate(8 * row.out_bytes, "n wider"),
  ];
}

function serviceRow(service, key) {
  const name = addressOf(service);
  return {
    key,
    className: "service",
    cells: [
      {head: "rowgroup", text: `${service.protocol} ${name}`, ink: inkOf(name), aside: settingsOf(service)},
      {text: whole(service.weight), className: "n", title: "the sum of its weights"},
      {text: whole(service.active), className: "n"},
      {text: whole(service.inactive), className: "n"},
      ...rateCells(service),
      {text: plural(service.real_count, "real", "reals"), className: "share", ink: service.real_count ? "none" : "hot"},
    ],
  };
}

function realRow(service, real, key) {
  const all = service.active + service.inactive;
  const share = all ? (real.active + real.inactive) / all : null;
  const name = addressOf(real);
  const limit = real.upper_threshold ? `at most ${whole(real.upper_threshold)} connections` : "";
  const aside = real.weight ? limit : "quiesced";
  return {
    key,
    className: real.weight ? "real" : "real idle",
    cells: [
      {head: "row", text: name, ink: inkOf(name), aside, title: real.weight ? "" : "takes no new connections"},
      {text: whole(real.weight), className: "n"},
      {text: whole(real.active), className: "n"},
      {text: whole(real.inactive), className: "n"},
      ...rateCells(real),
      {share, text: percent(share), className: "share", mark: service.weight ? real.weight / service.weight : undefined},
    ],
  };
}

function showServices(answer) {
  const rows = [];
  for (const service of answer.services) {
    const key = `${service.protocol} ${addressOf(service)}`;
    rows.push(serviceRow(service, key));
    for (const real of service.reals) rows.push(realRow(service, real, `${key} ${addressOf(real)}`));
    const more = service.matching_reals - service.reals.length;
    if (wanted.reals && more > 0) {
      const text = `${plural(more, "more real", "more reals")}: search for an address to see them`;
      rows.push({key: `${key} more`, className: "more", cells: [{text, span: 10}]});
    }
  }
  fillRows(byId("services-rows"), rows);
  byId("services-table").classList.toggle("plain", !wanted.reals);
  const {service_count: services, real_count: reals, matching, offset} = answer;
  const all = `${plural(services, "service", "services")}, ${plural(reals, "real", "reals")}`;
  setText(byId("services-count"), matching === services ? all : `${whole(matching)} of ${all}`);
  const none = byId("services-none");
  none.hidden = answer.services.length > 0;
  setText(none, services ? "None matches." : "None is configured: lbctl add-service adds one.");
  const first = answer.services.length ? offset + 1 : 0;
  setText(byId("place"), `${whole(first)} to ${whole(offset + answer.services.length)} of ${whole(matching)}`);
  byId("previous").disabled = offset === 0;
  byId("next").disabled = offset + answer.services.length >= matching;
  // Services were removed, or fewer match: back to the last page that there is.
  if (!answer.services.length && matching && offset) {
    wanted.offset = Math.floor((matching - 1) / wanted.size) * wanted.size;
    wantedChanged();
  }
}

// Asks anew at once; set in main.js.
let wantedChanged = () => {};

function listenForWanted(ask) {
  wantedChanged = () => {
    writeWanted();
    ask();
  };
  const change = (values) => {
    Object.assign(wanted, {offset: 0}, values);
    wantedChanged();
  };
  let typing = null;
  byId("search").addEventListener("input", (event) => {
    clearTimeout(typing);
    typing = setTimeout(() => change({search: event.target.value}), 200);
  });
  byId("order").addEventListener("change", (event) => change({order: event.target.value}));
  byId("size").addEventListener("change", (event) => change({size: Number(event.target.value)}));
  byId("reals").addEventListener("change", (event) => change({reals: event.target.checked, offset: wanted.offset}));
  byId("previous").addEventListener("click", () => change({offset: Math.max(0, wanted.offset - wanted.size)}));
  byId("next").addEventListener("click", () => change({offset: wanted.offset + wanted.size}));
  byId("find").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    const isTyping = ["INPUT", "SELECT", "TEXTAREA"].includes(document.activeElement.tagName);
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      byId("search").focus();
      event.preventDefault();
    }
  });
  window.addEventListener("hashchange", () => {
    readWanted();
    ask();
  });
}
