// Making and changing elements. Whatever lbd says becomes text, never HTML.

const byId = (id) => document.getElementById(id);

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setClass(node, className) {
  if (node.className !== className) node.className = className;
}

// What stands in a cell of a table:
//   {text, sub, aside, title, className, head}   text, with smaller text below it or beside it; head: it names its row
//   {share, mark, text, isFull, …}               a bar from 0 to 1, with a mark, and its value as text
function cellOf(content) {
  const cell = element(content.head ? "th" : "td");
  // Said once more, because a browser may forget that it is a table where it is shown as none.
  cell.setAttribute("role", content.head ? "rowheader" : "cell");
  if (content.head) cell.scope = content.head;
  if ("share" in content) {
    const gauge = element("div", "gauge");
    const track = element("div", "track");
    track.append(element("div", "fill"), element("div", "mark"));
    gauge.append(track, element("span", "figure"));
    cell.append(gauge);
  } else {
    cell.append(element("span"), element("span", "aside"), element("span", "sub"));
  }
  return cell;
}

function fillCell(cell, content) {
  setClass(cell, content.className || "");
  if (cell.title !== (content.title || "")) cell.title = content.title || "";
  if (content.span && cell.colSpan !== content.span) cell.colSpan = content.span;
  if ("share" in content) {
    const gauge = cell.firstChild;
    setClass(gauge, content.isFull ? "gauge full" : "gauge");
    const [track, figure] = gauge.children;
    const [fill, mark] = track.children;
    const share = Math.min(1, Math.max(0, content.share || 0));
    fill.style.width = `${(100 * share).toFixed(1)}%`;
    mark.hidden = content.mark === undefined;
    if (!mark.hidden) mark.style.left = `${(100 * content.mark).toFixed(1)}%`;
    setText(figure, content.text);
  } else {
    const [text, aside, sub] = cell.children;
    setClass(text, content.ink || "");
    setText(text, content.text);
    setText(aside, content.aside || "");
    aside.hidden = !content.aside;
    setText(sub, content.sub || "");
    sub.hidden = !content.sub;
  }
}

// Makes the rows of a table these: [{key, className, cells}]. Rows that there are already are kept and changed, so that
// nothing flickers and what is selected stays so.
function fillRows(body, rows) {
  const known = new Map();
  for (const row of body.rows) known.set(row.dataset.key, row);
  rows.forEach(({key, className, cells}, index) => {
    let row = known.get(key);
    const isOther = row && (row.cells.length !== cells.length || row.dataset.kind !== className.split(" ")[0]);
    if (isOther) row.remove();
    if (!row || isOther) {
      row = element("tr");
      row.setAttribute("role", "row");
      row.dataset.key = key;
      row.dataset.kind = className.split(" ")[0];
      row.append(...cells.map(cellOf));
    }
    known.delete(key);
    setClass(row, className);
    cells.forEach((content, at) => fillCell(row.cells[at], content));
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] || null);
  });
  for (const row of known.values()) row.remove();
  while (body.rows.length > rows.length) body.lastChild.remove();
}

// Names with their values: [[name, value]].
function fillFacts(list, facts) {
  while (list.children.length > facts.length) list.lastChild.remove();
  facts.forEach(([name, value], index) => {
    let pair = list.children[index];
    if (!pair) {
      pair = element("div");
      pair.append(element("dt"), element("dd"));
      list.append(pair);
    }
    setText(pair.children[0], name);
    setText(pair.children[1], value);
  });
}

function fillList(list, texts) {
  while (list.children.length > texts.length) list.lastChild.remove();
  texts.forEach((text, index) => {
    if (!list.children[index]) list.append(element("li"));
    setText(list.children[index], text);
  });
}
