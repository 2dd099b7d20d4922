// The list of messages. Only the rows that can be seen, and a few around them, are in the document: 10,000 messages cost
// what thirty do. Rows keep their element while they are shown, so focus and selection survive what changes around them.

import { byId, el, text, attribute, shown } from "./dom.js";
import { count, dateTime, duration, localTimes, nearTime, percent, plural, rate, share, workerName } from "./format.js";
import { listOf } from "./side.js";

const AROUND = 6;
const BODY = byId("rows");
const SPACER = byId("spacer");

let model = null;
let acts = null;
let order = [];
// id → its place in `order`
let places = new Map();
let orderedFor = "";
let orderedAt = 0;
// id → row's element and its parts
const rows = new Map();
// The row that Tab goes to: an id.
let current = null;
const filter = { q: "", priority: "", state: "", sort: "priority" };

export const filters = () => ({ ...filter });
export const chosenPriority = () => filter.priority || null;
export const ids = () => order;

export function build(itsModel, itsActs) {
  model = itsModel;
  acts = itsActs;
  BODY.addEventListener("scroll", () => requestAnimationFrame(show), { passive: true });
  new ResizeObserver(() => show()).observe(BODY);
  BODY.addEventListener("keydown", onKey);
  BODY.addEventListener("focusin", (event) => {
    const row = event.target.closest("[data-id]");
    if (row) setCurrent(row.dataset.id);
  });
  // The skip link's target hands the focus on to a row.
  BODY.addEventListener("focus", () => focusRow());
}

export function setFilter(changes) {
  Object.assign(filter, changes);
  BODY.scrollTop = 0;
  orderedFor = "";
  show();
}

// --- which, in which order ---

const COMPARE = {
  priority: (a, b) => (a.priority < b.priority ? -1 : a.priority > b.priority ? 1 : a.arrival_time - b.arrival_time),
  age: (a, b) => a.arrival_time - b.arrival_time,
  recipients_left: (a, b) => b.recipients_left - a.recipients_left,
  list: (a, b) => a.list.localeCompare(b.list) || a.arrival_time - b.arrival_time,
};

// Its time has come, and something else than its turn is in the way. What waits for its date, for its next try or for whoever
// holds it says so in its state.
export const isStuck = (row) => row.state === "waiting" && Boolean(row.stuck);

function matches(row, words) {
  if (filter.priority && row.priority !== filter.priority) return false;
  if (filter.state === "stuck") { if (!isStuck(row)) return false; }
  else if (filter.state && row.state !== filter.state) return false;
  if (words.length === 0) return true;
  const text = `${row.queue_id} ${row.sender ?? ""}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

function arrange() {
  // By what is left the order changes all the time; once in two seconds is as much as an eye follows.
  const moving = filter.sort === "recipients_left" || filter.state === "stuck" || filter.state ? Math.floor(performance.now() / 2000) : 0;
  const key = `${model.edition} ${JSON.stringify(filter)} ${moving}`;
  if (key === orderedFor) return;
  // Under a hand that drags, nothing moves.
  if (orderedFor !== "" && document.body.classList.contains("dragging")) return;
  orderedFor = key;
  orderedAt++;
  const words = filter.q.toLowerCase().split(/\s+/).filter(Boolean);
  const found = [];
  for (const row of model.messages.values()) if (matches(row, words)) found.push(row);
  const compare = COMPARE[filter.sort] ?? COMPARE.priority;
  found.sort((a, b) => compare(a, b) || (a.queue_id < b.queue_id ? -1 : 1));
  // Who was at a message that is not in the list any more goes on at the one that has its place now.
  const place = current === null ? 0 : Math.max(0, order.indexOf(current));
  order = found.map((row) => row.queue_id);
  places = new Map(order.map((id, n) => [id, n]));
  if (current === null || !places.has(current)) current = order[Math.min(place, order.length - 1)] ?? null;
}

function describe() {
  const all = model.messages.size;
  const filtered = filter.q || filter.priority || filter.state;
  let words = plural(order.length, "message");
  if (filtered) words = `${count(order.length)} of ${plural(model.isPartial() ? model.total : all, "message")}`;
  else if (model.isPartial()) words = `the first ${count(all)} of ${count(model.total)} messages: search for others`;
  text(byId("count"), words);
  shown(byId("clear"), Boolean(filtered));
  shown(byId("empty"), order.length === 0 && model.queue !== null);
  shown(byId("grid"), order.length > 0);
  text(byId("empty"), filtered ? "No message matches." : "Nothing is queued.");
}

// --- the window ---

export function show() {
  if (model === null) return;
  arrange();
  describe();
  attribute(byId("grid"), "aria-rowcount", order.length + 1);
  const height = rowHeight();
  SPACER.style.height = `${order.length * height}px`;
  BODY.style.setProperty("--rows", order.length);
  const first = Math.max(0, Math.floor(BODY.scrollTop / height) - AROUND);
  const last = Math.min(order.length, Math.ceil((BODY.scrollTop + BODY.clientHeight) / height) + AROUND);
  const wanted = new Map();
  for (let n = first; n < last; n++) wanted.set(order[n], n);
  // The row that has the focus stays, or a scroll by wheel would throw the keyboard's user out.
  const focused = document.activeElement?.closest?.("#rows [data-id]")?.dataset.id;
  if (focused && !wanted.has(focused)) {
    const at = places.get(focused);
    if (at !== undefined) wanted.set(focused, at);
  }
  for (const [id, parts] of rows) {
    if (wanted.has(id)) continue;
    const had = parts.node.contains(document.activeElement);
    parts.node.remove();
    rows.delete(id);
    if (had) requestAnimationFrame(() => focusRow());
  }
  const now = model.now();
  const names = workersOf();
  const scrolled = [...wanted].sort((a, b) => a[1] - b[1]);
  let before = SPACER;
  for (const [id, n] of scrolled) {
    let parts = rows.get(id);
    if (!parts) rows.set(id, (parts = make(id)));
    // In the order of the list, for those who read it in that order.
    if (before.nextSibling !== parts.node && !parts.node.contains(document.activeElement)) before.after(parts.node);
    else if (!parts.node.isConnected) before.after(parts.node);
    before = parts.node;
    parts.node.style.transform = `translateY(${n * height}px)`;
    attribute(parts.node, "aria-rowindex", n + 2);
    parts.node.classList.toggle("odd", n % 2 === 1);
    fill(parts, model.messages.get(id), now, names.get(id));
  }
  if (current === null || !rows.has(current)) {
    const fallback = scrolled[0]?.[0] ?? null;
    for (const [id, parts] of rows) parts.node.tabIndex = id === (rows.has(current) ? current : fallback) ? 0 : -1;
  } else for (const [id, parts] of rows) parts.node.tabIndex = id === current ? 0 : -1;
}

function rowHeight() {
  return parseFloat(getComputedStyle(BODY).getPropertyValue("--row")) || 56;
}

function workersOf() {
  const names = new Map();
  for (const worker of model.queue?.workers ?? []) {
    if (!worker.message) continue;
    const others = names.get(worker.message);
    if (others) others.push(worker.worker);
    else names.set(worker.message, [worker.worker]);
  }
  return names;
}

function make(id) {
  const button = (name, what, label) => el("button", { type: "button", class: "act", "data-act": what, tabindex: "-1", "aria-label": `${label} ${id}`, onclick: () => acts[what](id) }, name);
  const parts = {
    pri: el("button", { type: "button", class: "pri", tabindex: "-1", title: "Move to another priority: choose, or drag", onclick: () => acts.requeue(id) }),
    list: el("b", { class: "list-name" }, listOf(id)),
    id: el("span", { class: "mono muted id" }, id.slice(listOf(id).length + 1)),
    state: el("span", { class: "pill" }),
    why: el("span", { class: "why" }),
    done: el("span", { class: "seg active" }), deferred: el("span", { class: "seg deferred" }), failed: el("span", { class: "seg failed" }),
    percent: el("span", { class: "percent", "aria-hidden": "true" }), figures: el("span", { class: "figures-of" }),
    rate: el("div", { role: "gridcell", class: "c-rate n" }),
    left: el("div", { role: "gridcell", class: "c-left n" }),
    age: el("div", { role: "gridcell", class: "c-age n" }),
    hold: button("Hold", "hold", "Hold"), release: button("Release", "release", "Release"), cancel: button("Cancel", "cancel", "Cancel"),
  };
  parts.bar = el("div", { class: "bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", "aria-label": "Distributed" }, parts.done, parts.deferred, parts.failed);
  parts.node = el("div", { role: "row", class: "row", "data-id": id, tabindex: "-1" },
    el("div", { role: "gridcell", class: "c-pri" }, el("span", { class: "grip", "aria-hidden": "true", title: "Drag to another priority" }), parts.pri),
    el("div", { role: "gridcell", class: "c-list", title: id }, parts.list, parts.id),
    el("div", { role: "gridcell", class: "c-state" }, parts.state, parts.why),
    el("div", { role: "gridcell", class: "c-progress" }, el("div", { class: "bar-line" }, parts.bar, parts.percent), parts.figures),
    parts.rate, parts.left, parts.age,
    el("div", { role: "gridcell", class: "c-acts" }, parts.hold, parts.release, parts.cancel));
  parts.node.addEventListener("dblclick", (event) => { if (!event.target.closest("button")) acts.details(id); });
  parts.list.addEventListener("click", () => acts.details(id));
  return parts;
}

function fill(parts, row, now, workers) {
  if (!row) return;
  text(parts.pri, row.priority);
  attribute(parts.pri, "data-p", row.priority);
  attribute(parts.pri, "aria-label", `Priority ${row.priority}. Move ${row.queue_id} to another`);
  text(parts.state, row.state);
  attribute(parts.state, "data-state", isStuck(row) ? "stuck" : row.state);
  const why = explain(row, now, workers);
  text(parts.why, why);
  attribute(parts.why, "title", why);
  parts.why.classList.toggle("stuck", isStuck(row));
  const total = row.recipients_total;
  parts.done.style.width = `${share(row.recipients_done, total) * 100}%`;
  parts.deferred.style.width = `${share(row.deferred, total) * 100}%`;
  parts.failed.style.width = `${share(row.failed, total) * 100}%`;
  attribute(parts.bar, "aria-valuenow", Math.floor(share(row.recipients_done, total) * 100));
  const part = percent(row.recipients_done, total);
  text(parts.percent, part);
  const parted = [`${count(row.recipients_done)} of ${count(total)}`];
  if (row.deferred) parted.push(`${count(row.deferred)} deferred`);
  if (row.failed) parted.push(`${count(row.failed)} failed`);
  text(parts.figures, parted.join(" · "));
  attribute(parts.figures, "title", parted.join(", "));
  attribute(parts.bar, "aria-valuetext", part);
  text(parts.rate, row.rate > 0 ? rate(row.rate) : "");
  text(parts.left, row.time_left !== null && row.time_left !== undefined && row.recipients_left > 0 ? duration(row.time_left) : "");
  text(parts.age, duration(now - row.arrival_time));
  attribute(parts.age, "title", `arrived ${dateTime(row.arrival_time)}`);
  const held = row.priority === "z";
  const unfit = held ? parts.hold : parts.release;
  // A button that is hidden drops the focus to nowhere.
  if (document.activeElement === unfit) parts.node.focus({ preventScroll: true });
  shown(parts.hold, !held);
  shown(parts.release, held);
}

// Who works on it; else why nobody does.
function explain(row, now, workers) {
  if (isStuck(row) || row.stuck_reason === "paused") return localTimes(row.stuck ?? "");
  if (workers) return `worker${workers.length === 1 ? "" : "s"} ${workers.map(workerName).join(", ")}`;
  if (row.workers > 0) return plural(row.workers, "worker");
  if (row.held) return [row.held.why ?? row.held.reason, row.held.by && `by ${row.held.by}`].filter(Boolean).join(", ");
  if (row.state === "scheduled" && row.not_before) {
    const at = nearTime(row.not_before, now);
    return row.not_before - now < 43200 ? `not before ${at}, in ${duration(row.not_before - now)}` : `not before ${at}`;
  }
  if (row.state === "deferred" && row.next_try) return row.next_try > now ? `next try ${nearTime(row.next_try, now)}, in ${duration(row.next_try - now)}` : "next try now";
  return localTimes(row.stuck ?? "");
}

// --- by keyboard ---

function setCurrent(id) {
  if (current === id) return;
  const old = rows.get(current);
  if (old) old.node.tabIndex = -1;
  current = id;
  const parts = rows.get(id);
  if (parts) parts.node.tabIndex = 0;
}

export function focusRow(id = current) {
  arrange();
  if (!places.has(id)) id = current;
  if (id === null) return;
  setCurrent(id);
  const height = rowHeight();
  const top = places.get(id) * height;
  if (top < BODY.scrollTop) BODY.scrollTop = top;
  else if (top + height > BODY.scrollTop + BODY.clientHeight) BODY.scrollTop = top + height - BODY.clientHeight;
  show();
  rows.get(id)?.node.focus({ preventScroll: true });
}

// A message that was moved keeps the focus. A keyboard's user is taken to its new place; a mouse's stays where the mouse is.
export function follow(id) {
  const focused = document.activeElement;
  if (focused?.closest("#rows [data-id]")?.dataset.id === id && focused.matches(":focus-visible")) focusRow(id);
}

function onKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const at = places.get(current) ?? 0;
  const page = Math.max(1, Math.floor(BODY.clientHeight / rowHeight()) - 1);
  const go = (n) => {
    event.preventDefault();
    focusRow(order[Math.max(0, Math.min(order.length - 1, n))]);
  };
  const inRow = event.target.closest("[data-id]");
  if (!inRow) return;
  const cells = [inRow, ...[...inRow.querySelectorAll("button")].filter((b) => !b.hidden)];
  const cell = cells.indexOf(event.target.closest("button") ?? inRow);
  const side = (n) => {
    event.preventDefault();
    cells[Math.max(0, Math.min(cells.length - 1, n))].focus({ preventScroll: true });
  };
  switch (event.key) {
    case "ArrowDown": return go(at + 1);
    case "ArrowUp": return go(at - 1);
    case "PageDown": return go(at + page);
    case "PageUp": return go(at - page);
    case "Home": return go(0);
    case "End": return go(order.length - 1);
    case "ArrowRight": return side(cell + 1);
    case "ArrowLeft": return side(cell - 1);
    case "Escape": return side(0);
    case "Enter":
      if (event.target === inRow) { event.preventDefault(); acts.details(current); }
      return;
    default:
  }
  if (acts.key(event.key.toLowerCase(), current)) event.preventDefault();
}
