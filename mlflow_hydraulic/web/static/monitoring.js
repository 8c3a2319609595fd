// The monitoring page: fetches the series of the chosen part and range, draws them, and shows each as a table too.
import { api } from "./api.js";
import { drawn, themed } from "./charts.js";
import { element, tableOf, asTable } from "./tables.js";

const form = document.getElementById("monitoring");
const place = document.getElementById("panel");
const fresh = document.getElementById("fresh");
const WIDE = ["shift", "heat", "looks-drift", "looks-accuracy", "looks-anomaly", "measured", "odd", "agreement", "course"];
let panel = null;
let timer = 0;
let asked = 0;

/** What the form says, as the API's query. */
function query() {
  const given = Object.fromEntries(new FormData(form));
  const custom = given.last === "custom";
  const said = { predictor: given.predictor, name: given.name, other: given.other };
  if (custom) Object.assign(said, { since: given.since, until: given.until });
  else said.last = given.last;
  return new URLSearchParams(Object.entries(said).filter(([, value]) => value));
}

/** The page's address says the same, so that it can be sent to somebody, and other parts keep it. */
function keep() {
  const kept = query();
  if (form.elements.refresh.value !== "0") kept.set("refresh", form.elements.refresh.value);
  for (const link of document.querySelectorAll(".tabs a")) {
    const other = new URLSearchParams(kept);
    other.delete("name");
    other.set("tab", new URL(link.href).searchParams.get("tab"));
    link.href = `?${other}`;
  }
  kept.set("tab", form.dataset.tab);
  history.replaceState(null, "", `?${kept}`);
}

async function load() {
  clearTimeout(timer);
  const mine = ++asked;
  place.setAttribute("aria-busy", "true");
  try {
    const found = await api("GET", `${form.dataset.source}?${query()}`);
    if (mine !== asked) return; // something else was chosen meanwhile
    panel = found;
    show();
    fresh.textContent = `As of ${new Date().toISOString().slice(11, 19)} UTC`;
  } catch (error) {
    if (mine !== asked) return;
    if (panel) fresh.textContent = `Not fresh: ${error.message}`;
    else place.replaceChildren(element("p", "note bad", error.message));
  }
  place.setAttribute("aria-busy", "false");
  again();
}

function again() {
  clearTimeout(timer);
  const seconds = Number(form.elements.refresh.value);
  if (seconds) timer = setTimeout(() => (document.visibilityState === "visible" ? load() : again()), seconds * 1000);
}

/** Draw what changed; what is there already stays, with its zoom, its open table and its focus. */
function show() {
  const parts = [];
  if (panel.notes.length) parts.push(notes());
  for (const chart of panel.charts) parts.push(card(`chart-${chart.name}`, chart, WIDE.includes(chart.name), drawChart));
  for (const table of panel.tables) parts.push(card(`table-${table.name}`, table, true, drawTable));
  if (parts.length === 0) parts.push(element("p", "muted", "There is nothing to show."));
  for (const old of [...place.children]) if (!parts.includes(old)) old.remove();
  parts.forEach((part, index) => place.children[index] === part || place.insertBefore(part, place.children[index] ?? null));
  for (const part of parts) part.draw?.();
}

function notes() {
  const box = document.getElementById("notes") ?? Object.assign(element("div", "note notes"), { id: "notes" });
  box.replaceChildren(...panel.notes.map((note) => element("p", "", note)));
  return box;
}

function card(id, shown, wide, draw) {
  let box = document.getElementById(id);
  if (!box) {
    box = element("section", "card");
    box.id = id;
    box.append(element("h2", "", ""), element("p", "says", ""), element("div", "body"));
  }
  box.classList.toggle("wide", wide);
  box.children[0].textContent = shown.title;
  box.children[1].textContent = shown.says;
  box.children[1].hidden = !shown.says;
  box.draw = () => draw(box.children[2], shown);
  return box;
}

function drawChart(body, chart) {
  if (chart.missing) return empty(body, chart.missing);
  let plot = body.querySelector(".chart");
  if (!plot) {
    plot = element("div", "chart");
    body.replaceChildren(plot, asTable(chart));
  }
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", `${chart.title}. ${chart.says} The table below says the same.`);
  drawn(plot, chart, [panel.since, panel.until]);
  body.querySelector("details").update(chart);
}

function drawTable(body, table) {
  if (table.missing) return empty(body, table.missing);
  body.replaceChildren(tableOf(table, columnLink));
}

function empty(body, text) {
  body.querySelectorAll(".chart").forEach((plot) => window.Plotly.purge(plot));
  body.replaceChildren(element("p", "empty", text));
}

/** The address at which one input is looked at. */
function columnLink(name) {
  const to = query();
  to.set("tab", "column");
  to.set("name", name);
  return `?${to}`;
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("change", (event) => {
  document.getElementById("custom").hidden = form.elements.last.value !== "custom";
  keep();
  if (event.target.name === "refresh") again();
  else if (event.target.validity.valid) load();
});
document.querySelector(".tabs [aria-current]").scrollIntoView({ block: "nearest", inline: "center" });
themed(() => panel && show());
load();
