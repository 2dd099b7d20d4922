// Beside the messages: preemptions as they happen, workers, relays; and above everything what is paused.

import { byId, el, text, attribute, shown, say } from "./dom.js";
import { count, dateTime, duration, hourMinute, nearTime, percent, precise, share, time, workerName } from "./format.js";

export const listOf = (id) => id.replace(/\.\d+\.\d+$/, "");

// --- preemptions ---

const KEPT = 100;
// Seconds after which an answer knows of what an event has told.
const LATE = 10;
// Newest first. One entry for one message that gave way to one other, however many workers did.
const entries = [];
// All from then on are here.
let from = null;

const badge = (priority) => el("span", { class: "pri small", "data-p": priority }, priority);

function add(event) {
  const entry = { at: event.at, message: event.message, by: event.by, open: new Set(), packets: 0, latency: 0, longest: 0, lost: false };
  entry.time = el("time", { datetime: new Date(event.at * 1000).toISOString() });
  entry.duration = el("span", { class: "pre-for" });
  entry.latencyNote = el("span", { class: "muted" });
  entry.node = el("li", {}, entry.time,
    el("p", { title: event.message }, badge(event.priority), el("span", { class: "visually-hidden" }, "priority, "), el("b", {}, listOf(event.message)), " gave way"),
    el("p", { title: event.by }, "to ", badge(event.by_priority), el("b", {}, listOf(event.by))),
    el("p", { class: "pre-note" }, entry.duration, entry.latencyNote));
  const place = entries.findIndex((e) => e.at <= event.at);
  if (place < 0) byId("preemptions").append(entry.node);
  else entries[place].node.before(entry.node);
  entries.splice(place < 0 ? entries.length : place, 0, entry);
  while (entries.length > KEPT) {
    entries.pop().node.remove();
    from = entries.at(-1).at;
  }
  return entry;
}

export function preempted(event) {
  let entry = entries.find((e) => e.message === event.message && e.by === event.by && e.open.size > 0);
  if (!entry) {
    entry = add(event);
    say(`${listOf(event.message)}, priority ${event.priority}, gave way to ${listOf(event.by)}, priority ${event.by_priority}`, "other");
  }
  if (!entry.open.has(event.packet)) entry.packets++;
  entry.open.add(event.packet);
  entry.latency = Math.max(entry.latency, event.latency ?? 0);
}

export function resumed(event) {
  const entry = entries.find((e) => e.message === event.message && e.open.has(event.packet));
  if (!entry) return;
  entry.open.delete(event.packet);
  entry.longest = Math.max(entry.longest, event.lasted ?? event.at - entry.at);
}

// A message that has gone or was moved gives way to nobody any more.
export function ended(id, at) {
  for (const entry of entries) {
    if (entry.message !== id || entry.open.size === 0) continue;
    entry.longest = Math.max(entry.longest, at - entry.at);
    entry.open.clear();
  }
}

// What the scheduler remembers: from before the page was opened, or while it had no connection. Events may have told of
// some of it already, and of what came since.
export function known({ time: now, since, preemptions }) {
  from ??= since;
  const there = new Set();
  for (const row of preemptions.toReversed()) {
    const end = row.lasted === null ? now : row.at + row.lasted;
    const same = (e) => e.message === row.message && e.by === row.by && !there.has(e) && row.at <= e.at && e.at <= end;
    let entry = entries.findLast(same);
    // New here, or of which only a later part was told.
    if (entry?.at !== row.at) {
      entry ??= add(row);
      entry.at = row.at;
      row.waiting.forEach((packet) => entry.open.add(packet));
    }
    there.add(entry);
    entry.packets = Math.max(entry.packets, row.packets);
    entry.latency = Math.max(entry.latency, row.latency);
    if (row.lasted !== null) {
      entry.open.clear();
      entry.longest = row.lasted;
    }
  }
  // Another process, or too long ago: nobody will tell how it ended.
  for (const entry of entries) {
    if (there.has(entry) || entry.open.size === 0 || entry.at > now - LATE) continue;
    entry.open.clear();
    entry.lost = true;
  }
}

export function showPreemptions(now) {
  if (from !== null) text(byId("pre-since"), `since ${nearTime(from, now)}`);
  shown(byId("pre-empty"), entries.length === 0);
  for (const entry of entries) {
    text(entry.time, now - entry.at < 12 * 3600 ? time(entry.at) : nearTime(entry.at, now));
    const waits = entry.open.size > 0;
    const much = entry.packets > 1 ? ` (${count(entry.packets)} packets)` : "";
    const lasted = waits ? `for ${duration(now - entry.at)} so far` : entry.lost ? "its end was not seen" : `for ${precise(entry.longest)}`;
    text(entry.duration, lasted + much);
    text(entry.latencyNote, ` · it had waited ${precise(entry.latency)}`);
    entry.node.classList.toggle("open", waits);
  }
}

// --- workers ---

const workers = new Map();
// Numbers are a host's own.
const key = (worker) => `${worker.host ?? ""} ${worker.worker}`;

export function showWorkers(list, now, open) {
  const place = byId("workers");
  for (const worker of list) {
    let row = workers.get(key(worker));
    if (!row) {
      row = { name: el("button", { type: "button", class: "link" }), fill: el("span", { class: "seg active" }), note: el("span", { class: "muted" }), badge: badge("z") };
      row.name.addEventListener("click", () => row.message && open(row.message));
      row.bar = el("div", { class: "bar thin", "aria-hidden": "true" }, row.fill);
      row.node = el("li", { class: "worker" }, el("span", { class: "worker-n", title: "worker" }, workerName(worker.worker)), row.badge, row.name, row.note, row.bar);
      workers.set(key(worker), row);
      place.append(row.node);
    }
    row.message = worker.message;
    row.node.classList.toggle("idle", !worker.message);
    text(row.name, worker.message ? listOf(worker.message) : "idle");
    attribute(row.name, "disabled", !worker.message);
    attribute(row.name, "title", worker.message && `${worker.message} ${worker.packet}: ${count(worker.done)} of ${count(worker.recipients)}`);
    shown(row.badge, Boolean(worker.message));
    if (worker.message) {
      attribute(row.badge, "data-p", worker.priority);
      text(row.badge, worker.priority);
    }
    text(row.note, worker.message ? `${percent(worker.done, worker.recipients)}${worker.since ? ` · ${duration(now - worker.since)}` : ""}` : "");
    row.fill.style.width = worker.message ? `${share(worker.done, worker.recipients) * 100}%` : "0";
  }
  const there = new Set(list.map(key));
  for (const [which, row] of workers) {
    if (there.has(which)) continue;
    row.node.remove();
    workers.delete(which);
  }
  text(byId("work-sum"), `${count(list.filter((worker) => worker.message).length)} of ${count(list.length)} busy`);
}

// --- relays ---

const STATES = { closed: ["in use", "good"], open: ["out of use", "bad"], "half-open": ["being tried", "warn"] };
let relaysShown = "";

export function showRelays(relays, now, pause) {
  const place = byId("relays");
  const key = JSON.stringify(relays) + (relays.some((r) => r.next_try) ? Math.floor(now) : "");
  if (key === relaysShown) return;
  relaysShown = key;
  place.replaceChildren(...relays.map((relay) => {
    const [word, state] = STATES[relay.state] ?? [relay.state, "warn"];
    const notes = [];
    if (relay.state === "closed") notes.push(`${count(relay.connections)} of ${count(relay.allowed)} connections`);
    if (relay.since && relay.state !== "closed") notes.push(`since ${hourMinute(relay.since)} (${duration(now - relay.since)})`);
    if (relay.next_try) notes.push(relay.next_try > now ? `next try in ${duration(relay.next_try - now)}` : "next try now");
    return el("li", { class: "relay" },
      el("div", { class: "relay-head" }, el("span", { class: `pill ${state}` }, word), el("b", { class: "mono" }, relay.relay),
        el("button", { type: "button", class: "act", "aria-label": `Pause relay ${relay.relay}`, onclick: () => pause({ relay: relay.relay }) }, "Pause …")),
      el("p", { class: "muted" }, notes.join(" · ")),
      relay.why && relay.state !== "closed" ? el("p", { class: "why" }, relay.why) : null);
  }));
  if (relays.length === 0) place.append(el("li", { class: "muted" }, "none"));
}

// --- pauses ---

let pausesShown = "";

export function showPauses(pauses, resume) {
  shown(byId("pauses-panel"), pauses.length > 0);
  const key = JSON.stringify(pauses);
  if (key === pausesShown) return;
  pausesShown = key;
  byId("pauses").replaceChildren(...pauses.map((pause) => {
    // `everything`, `priority:5`, `list:news@my.dom`.
    const [, selector, name] = /^(relay|list|priority):(.*)$/s.exec(pause.what) ?? [];
    const what = selector ? `${selector} ${name}` : pause.what;
    const notes = [pause.by && `by ${pause.by}`, pause.since && `since ${dateTime(pause.since)}`, pause.until ? `until ${dateTime(pause.until)}` : "until it is resumed"];
    return el("li", {}, el("b", {}, what), pause.why ? el("span", { class: "said" }, pause.why) : null,
      el("span", { class: "muted" }, notes.filter(Boolean).join(" · ")),
      el("button", { type: "button", class: "quiet", "aria-label": `Resume ${what}`, onclick: () => resume(selector ? { [selector]: name } : {}, pause) }, "Resume"));
  }));
}
