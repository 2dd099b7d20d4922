// The last hour as lines: queued by priority, sending rate, deferred, failed. One cursor for all four.

/* global uPlot */
import { byId, el, text } from "./dom.js";
import { compact, hourMinute, rate, PRIORITIES } from "./format.js";

const HEIGHT = 126;
const MINUTE = 60;
const charts = [];
let shownUntil = null;
let shown = "";

// A colour of the page's, as a canvas needs it.
function colour(name) {
  const probe = byId("charts").appendChild(el("i", { class: `ink ${name}` }));
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

// The server samples only while something goes on: in between, what waits goes on waiting and nothing is sent.
export function filled(history, now) {
  const points = [];
  const empty = (time, queued) => ({ time, queued, sent: 0, deferred: 0, failed: 0 });
  for (const point of history) {
    const before = points.at(-1);
    if (before && point.time - before.time > 1.5 * MINUTE) {
      points.push(empty(before.time + MINUTE, before.queued));
      if (point.time - before.time > 2.5 * MINUTE) points.push(empty(point.time - MINUTE, before.queued));
    }
    points.push(point);
  }
  const last = points.at(-1);
  if (last && now - last.time > 1.5 * MINUTE) {
    points.push(empty(last.time + MINUTE, last.queued));
    if (now - last.time > 2.5 * MINUTE) points.push(empty(now, last.queued));
  }
  return points;
}

// A minute that is not over has not all that it will have; the line would fall at its end. In its place stands the last whole
// minute up to now: what it has, and of the one before as much as it lacks. The rate's is known better.
function upToNow(points, now, rate) {
  const last = points.at(-1);
  const before = points.at(-2);
  if (!last || last.time + MINUTE <= now) return points;
  const lacks = Math.max(0, 1 - (now - last.time) / MINUTE);
  const sliding = (name) => Math.round(last[name] + (before && last.time - before.time < 1.5 * MINUTE ? before[name] : 0) * lacks);
  const current = { ...last, time: now, sent: rate * MINUTE, deferred: sliding("deferred"), failed: sliding("failed") };
  return before ? [...points.slice(0, -1), current] : [last, current];
}

function options(chart, width) {
  const line = colour("line");
  const ink = colour("muted");
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
  return {
    width, height: HEIGHT, padding: [8, 16, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: "hour" }, drag: { x: false, y: false }, points: { size: 6 }, y: false },
    scales: {
      x: { range: () => [shownUntil - 60 * MINUTE, shownUntil] },
      y: { range: (_, low, high) => [0, Math.max(1, (high ?? 0) * 1.08)] },
    },
    axes: [
      { ...axis, space: 60, size: 22, gap: 4, grid: { show: false }, values: (_, at) => at.map(hourMinute) },
      // Nothing here comes in halves.
      { ...axis, space: 30, size: 46, gap: 6, incrs: [1, 2, 5].concat(...[1, 2, 3, 4, 5, 6, 7].map((n) => [1, 2, 2.5, 5].map((m) => m * 10 ** n))), values: (_, all) => all.map((v) => compact(v)) },
    ],
    series: [{}, ...chart.lines.map((one) => ({
      stroke: colour(one.ink), width: 1.5, points: { show: false },
      fill: chart.key === "queued" ? undefined : colour(`${one.ink}-soft`),
    }))],
    hooks: { setCursor: [(plot) => legend(chart, plot.cursor.idx)] },
  };
}

// What the cursor points at, or what is now: in words, beside the chart's name.
function legend(chart, index) {
  const points = chart.points;
  if (!points.length) return text(chart.value, "");
  const at = index ?? points.length - 1;
  const point = points[at];
  const when = index === null || index === undefined ? "now" : hourMinute(point.time);
  text(chart.value, `${when}: ${chart.words(point)}`);
}

const CHARTS = [
  {
    name: "Queued messages", key: "queued",
    words: (point) => compact(point.queued.reduce((all, n) => all + n, 0)),
    lines: (points) => PRIORITIES.map((priority, n) => ({ priority, ink: `p${priority}`, of: (point) => point.queued[n] ?? 0 }))
      .filter((line) => points.some((point) => line.of(point) > 0)),
  },
  { name: "Sending rate", key: "sent", words: (p) => rate(p.sent / MINUTE), lines: () => [{ ink: "good", of: (p) => p.sent / MINUTE }] },
  { name: "Deferred", key: "deferred", words: (p) => `${compact(p.deferred)} a minute`, lines: () => [{ ink: "warn", of: (p) => p.deferred }] },
  { name: "Failed", key: "failed", words: (p) => `${compact(p.failed)} a minute`, lines: () => [{ ink: "bad", of: (p) => p.failed }] },
];

export function build() {
  for (const kind of CHARTS) {
    const value = el("span", { class: "chart-value" });
    const legendOf = el("span", { class: "chart-legend", "aria-hidden": "true" });
    const place = el("div", { class: "plot", role: "img" });
    byId("charts").append(el("figure", { "data-chart": kind.key }, el("figcaption", {}, el("b", {}, kind.name), legendOf, value), place));
    charts.push({ ...kind, linesOf: kind.lines, lines: [], points: [], value, legendOf, place, plot: null });
  }
  // Also what a change of the window's width, of the theme or of the zoom does.
  new ResizeObserver(() => charts.forEach((chart) => {
    const width = chart.place.clientWidth;
    if (chart.plot && width > 0 && width !== chart.plot.width) chart.plot.setSize({ width, height: HEIGHT });
  })).observe(byId("charts"));
}

export function redraw() {
  shown = "";
  for (const chart of charts) {
    chart.plot?.destroy();
    chart.plot = null;
  }
}

export function show(history, now, rate) {
  const key = `${history.length} ${JSON.stringify(history.at(-1) ?? null)} ${Math.floor(now / 2)}`;
  if (key === shown) return;
  shown = key;
  shownUntil = now;
  const points = upToNow(filled(history, now), now, rate);
  for (const chart of charts) {
    const lines = chart.linesOf(points);
    const same = chart.plot && lines.map((l) => l.ink).join() === chart.lines.map((l) => l.ink).join();
    chart.lines = lines;
    chart.points = points;
    const data = [points.map((p) => p.time), ...lines.map((line) => points.map(line.of))];
    if (same) chart.plot.setData(data);
    else {
      chart.plot?.destroy();
      chart.place.replaceChildren();
      chart.plot = new uPlot(options(chart, Math.max(160, chart.place.clientWidth)), data, chart.place);
    }
    legend(chart, chart.plot.cursor.idx);
    if (chart.key === "queued") {
      chart.legendOf.replaceChildren(...lines.map((line) => el("i", { class: `ink ${line.ink}` }, line.priority)));
    }
    const most = points.reduce((best, p) => (p[chart.key] > best[chart.key] ? p : best), points[0] ?? null);
    const words = points.length === 0 ? "nothing yet" : chart.key === "queued"
      ? `now ${chart.words(points.at(-1))}`
      : `now ${chart.words(points.at(-1))}, at most ${chart.words(most)} at ${hourMinute(most.time)}`;
    chart.place.setAttribute("aria-label", `${chart.name} over the last hour: ${words}`);
  }
}
