// A chart of the API drawn by Plotly, in the page's own colours, light and dark. Plotly comes from our server.

const TONES = { baseline: "--muted", window: "--chart-1", odd: "--chart-2", green: "--green", orange: "--orange", red: "--red" };
const MARKS = ["–", "●", "▲", "■"]; // of grey, green, orange, red: never colour alone
const CONFIG = { responsive: true, displayModeBar: false, displaylogo: false, doubleClick: "reset" };

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const tone = (one, index) => colour(TONES[one.tone] ?? `--chart-${(index % 6) + 1}`);

/** Call `redraw` when the theme changes. */
export function themed(redraw) {
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

/** Draw `chart` into `place`, or change what is drawn there; a zoom stays. */
export function drawn(place, chart, ends) {
  const heat = chart.cells.length > 0;
  const traces = heat ? [heatmap(place, chart)] : chart.series.flatMap((one, index) => lines(chart, one, index));
  place.style.height = `${heat ? chart.scale === "share" ? Math.max(220, 90 + chart.rows.length * 18) : 90 + chart.rows.length * 18 : 260}px`;
  window.Plotly.react(place, traces, layout(place, chart, heat, ends), CONFIG);
}

function lines(chart, one, index) {
  const base = { x: chart.x, y: one.y, name: one.name, hovertext: one.says.length ? one.says : undefined, legendgroup: one.name };
  const made = tone(one, index);
  if (one.kind === "bars") {
    return [{ ...base, type: "bar", marker: { color: made, opacity: one.tone === "baseline" ? 0.45 : 1 } }];
  }
  if (one.kind === "points") {
    const symbol = one.tone === "odd" ? "x" : "circle";
    return [{ ...base, type: "scatter", mode: "markers", marker: { color: made, size: one.tone === "odd" ? 7 : 4, symbol } }];
  }
  const dash = one.tone === "baseline" ? "dash" : one.tone === "red" ? "dot" : ["solid", "dash", "dot", "dashdot"][index % 4];
  const shape = one.kind === "step" ? "hvh" : "linear";
  const line = { ...base, type: "scatter", mode: "lines+markers", line: { color: made, width: 2, dash, shape }, marker: { size: 4 } };
  if (chart.x.length > 40 && one.y.filter((y) => y !== null).length > 40) line.mode = "lines";
  if (one.low.length) {
    const above = one.high.map((high, at) => (high === null ? null : high - one.y[at]));
    const below = one.low.map((low, at) => (low === null ? null : one.y[at] - low));
    line.error_y = { type: "data", symmetric: false, array: above, arrayminus: below, color: made, thickness: 1 };
    line.mode = "lines+markers";
  }
  return [line];
}

function heatmap(place, chart) {
  const shown = { type: "heatmap", x: labels(chart), y: chart.rows, z: chart.cells, hoverongaps: false, xgap: 1, ygap: 1 };
  const words = chart.cell_says.length ? { text: chart.cell_says, hovertemplate: "%{y}<br>%{x}<br>%{text}<extra></extra>" } : {};
  if (chart.scale === "colour") {
    const steps = ["--grey-back", "--green", "--orange", "--red"].map(colour);
    const scale = steps.flatMap((one, at) => [[at / 4, one], [(at + 1) / 4, one]]);
    const room = place.clientWidth / Math.max(chart.x.length, 1) > 14;
    const marks = chart.cells.map((row) => row.map((cell) => (cell === null ? "" : MARKS[cell])));
    const inked = room ? { text: marks, texttemplate: "%{text}", textfont: { size: 9, color: colour("--panel") } } : {};
    return { ...shown, ...words, ...inked, customdata: chart.cell_says, colorscale: scale, zmin: -0.5, zmax: 3.5, showscale: false,
      hovertemplate: "%{y}<br>%{x}<br>%{customdata}<extra></extra>" };
  }
  const bar = { thickness: 10, outlinewidth: 0, tickfont: { color: colour("--muted"), size: 10 } };
  if (chart.scale === "shift") {
    const scale = [[0, colour("--chart-1")], [0.5, colour("--panel")], [1, colour("--chart-2")]];
    return { ...shown, colorscale: scale, zmin: -4, zmax: 4, colorbar: { ...bar, title: { text: "sd", font: { size: 10 } } } };
  }
  const most = Math.max(0.01, ...chart.cells.flat().filter((cell) => cell !== null));
  const scale = [[0, colour("--raised")], [1, colour("--chart-1")]];
  if (chart.x.length <= 8) {
    const shares = chart.cells.map((row) => row.map((cell) => (cell === null ? "" : `${(100 * cell).toPrecision(3)} %`)));
    Object.assign(words, { text: shares, customdata: chart.cell_says, texttemplate: "%{text}",
      hovertemplate: "%{y}<br>%{x}<br>%{text}, %{customdata}<extra></extra>" });
  }
  return { ...shown, ...words, colorscale: scale, zmin: 0, zmax: most, colorbar: { ...bar, tickformat: ".0%" } };
}

/** Times beside names ("training") are short names; all others are as they are. */
function labels(chart) {
  if (chart.x_kind !== "name") return chart.x;
  return chart.x.map((at) => (/^\d{4}-\d\d-\d\dT/.test(at) ? at.slice(5, 19).replace("T", " ") : at));
}

function layout(place, chart, heat, ends) {
  const narrow = place.clientWidth < 480;
  const ink = colour("--text");
  const axis = { gridcolor: colour("--line"), linecolor: colour("--border"), zerolinecolor: colour("--border"), automargin: true };
  const type = { time: "date", number: "linear", name: "category" }[chart.x_kind];
  const title = (text) => ({ text, font: { size: 11, color: colour("--muted") } });
  const made = {
    font: { family: getComputedStyle(document.body).fontFamily, size: 11, color: ink },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: narrow ? 40 : 56, r: 12, t: 8, b: 40 },
    xaxis: { ...axis, type, title: title(chart.x_kind === "time" ? "time (UTC)" : chart.x_title), nticks: narrow ? 4 : 8 },
    yaxis: { ...axis, title: narrow && heat ? undefined : title(chart.y_title), ...(heat ? {} : { rangemode: "tozero" }) },
    barmode: chart.stacked ? "stack" : chart.x_kind === "name" ? "group" : "overlay",
    bargap: chart.x_kind === "name" ? 0.3 : 0.05,
    showlegend: !heat && chart.series.length > 1,
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    hoverlabel: { bgcolor: colour("--raised"), font: { color: ink }, bordercolor: colour("--border") },
    hovermode: heat || chart.series[0]?.kind === "points" ? "closest" : "x unified",
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    uirevision: chart.name,
  };
  if (!heat && chart.series.some((one) => one.kind === "points" || one.low.length)) made.yaxis.rangemode = "normal";
  if (type === "date" && !chart.name.startsWith("looks")) made.xaxis.range = ends;
  if (heat) Object.assign(made.yaxis, { autorange: ["heat"].includes(chart.name) ? true : "reversed", type: "category", showgrid: false });
  if (chart.x_kind === "name" && heat) made.xaxis.tickangle = chart.x.length > 8 ? 40 : 0;
  if (chart.band) banded(made, chart.band);
  return made;
}

function banded(made, band) {
  const there = { type: "rect", xref: "paper", x0: 0, x1: 1, y0: band.low, y1: band.high, layer: "below", line: { width: 0 } };
  made.shapes = [{ ...there, fillcolor: colour("--muted"), opacity: 0.15 }];
  made.annotations = [{ text: band.name, xref: "paper", x: 1, xanchor: "right", y: band.high, yanchor: "bottom", showarrow: false,
    font: { size: 10, color: colour("--muted") } }];
}
