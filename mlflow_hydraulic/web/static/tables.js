// Tables of the monitoring page: those of the API, and every chart as one, for keyboards and screen readers.

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = { // as of the macro level() in parts.html
  red: "M3.6.5h4.8l3.1 3.1v4.8l-3.1 3.1H3.6L.5 8.4V3.6z",
  orange: "M6 .8 11.6 11H.4z",
  green: "M6 .5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11z",
  grey: "M1 5h10v2H1z",
};

export function element(name, kind = "", text) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text !== undefined) made.textContent = text;
  return made;
}

function scrolling(table, label) {
  const box = element("div", "table-scroll");
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", label);
  box.append(table);
  return box;
}

function filled(headings, rows, cell = (text) => element("td", "", text)) {
  const table = element("table");
  const head = table.createTHead().insertRow();
  for (const text of headings) {
    const made = element("th", "", text);
    made.scope = "col";
    head.append(made);
  }
  const body = table.createTBody();
  for (const row of rows) body.insertRow().append(...row.map((text, at) => cell(text, headings[at])));
  return table;
}

/** A table of the API; cells under "level" are coloured, those under "input" lead to that input. */
export function tableOf(table, columnLink) {
  const made = filled(table.headings, table.rows, (text, heading) => {
    const cell = element("td");
    cell.dataset.label = heading;
    if (heading === "level" && text in SHAPES) cell.append(level(text));
    else if (heading === "input") cell.append(Object.assign(element("a", "", text), { href: columnLink(text) }));
    else cell.textContent = text;
    return cell;
  });
  made.className = "fold";
  return scrolling(made, table.title);
}

/** A word and a shape beside the colour. */
function level(colour) {
  const pill = element("span", `pill level level-${colour}`);
  const shape = document.createElementNS(SVG, "svg");
  for (const [name, value] of [["viewBox", "0 0 12 12"], ["class", "shape"], ["aria-hidden", "true"]]) shape.setAttribute(name, value);
  shape.append(document.createElementNS(SVG, "path"));
  shape.firstChild.setAttribute("d", SHAPES[colour]);
  pill.append(shape, colour);
  return pill;
}

/** A chart as a table that is made when somebody opens it. */
export function asTable(chart) {
  const box = element("details");
  box.append(element("summary", "", "Table"));
  let shown = chart;
  const fill = () => {
    if (!box.open) return;
    box.querySelector(".table-scroll")?.remove();
    box.append(scrolling(filled(...cellsOf(shown)), `${shown.title}, as a table`));
  };
  box.addEventListener("toggle", fill);
  box.update = (now) => {
    const other = JSON.stringify(now) !== JSON.stringify(shown);
    shown = now;
    if (other) fill();
  };
  return box;
}

function cellsOf(chart) {
  const x = chart.x.map((at) => (chart.x_kind === "time" || /^\d{4}-\d\d-\d\dT/.test(at) ? moment(at) : text(at)));
  if (chart.cells.length) {
    const rows = chart.rows.map((row, at) => [row, ...chart.cells[at].map((cell, to) => said(chart, at, to, cell))]);
    return [["", ...x], rows];
  }
  const first = chart.x_kind === "time" ? "time (UTC)" : chart.x_title || "value";
  const names = chart.series.flatMap((one) => [one.name, ...(one.low.length ? ["from", "to"] : []), ...(one.says.length ? ["of"] : [])]);
  const rows = x.map((at, to) => [at, ...chart.series.flatMap((one) => cells(one, to))]);
  return [[first, ...names], rows.filter((row) => row.slice(1).some((cell) => cell !== ""))];
}

function cells(one, at) {
  const interval = one.low.length ? [text(one.low[at]), text(one.high[at])] : [];
  return [text(one.y[at]), ...interval, ...(one.says.length ? [one.says[at]] : [])];
}

function said(chart, at, to, cell) {
  if (cell === null) return "";
  const number = chart.scale === "share" ? `${(100 * cell).toPrecision(3)} %` : text(cell);
  const words = chart.cell_says[at]?.[to];
  return chart.scale === "colour" ? words : words ? `${number} (${words})` : number;
}

const text = (value) => (value === null || value === undefined ? "" : typeof value === "number" ? String(Number(value.toPrecision(5))) : value);
const moment = (iso) => (/^\d{4}-/.test(iso) ? iso.slice(0, 19).replace("T", " ") : iso);
