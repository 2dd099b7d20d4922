// What the reader does to messages: asked for where it needs to be, ordered from the scheduler, told, and undone where
// the spool allows.

import * as api from "./api.js";
import * as dialogs from "./dialogs.js";
import { byId, el, say } from "./dom.js";
import { follow } from "./messages.js";
import { listOf } from "./side.js";

const SHOWN_FOR = 30000;

let model = null;
// The last thing that can be undone: { undo, toast }.
let last = null;

export function build(itsModel) {
  model = itsModel;
}

const row = (id) => model.messages.get(id);

// --- telling ---

function tell(words, { undo = null, state = "" } = {}) {
  const toast = el("div", { class: `toast ${state}`, role: state === "bad" ? "alert" : null }, el("p", {}, words));
  if (state !== "bad") say(undo ? `${words}. ${singleKeys() ? "u undoes it" : "It can be undone"}` : words);
  const close = () => {
    clearTimeout(timer);
    toast.remove();
    if (last?.toast === toast) last = null;
  };
  if (undo) {
    const back = async () => { close(); await undo(); };
    toast.append(el("button", { type: "button", class: "link", onclick: back }, "Undo"));
    last = { undo: back, toast };
  }
  toast.append(el("button", { type: "button", class: "link close", "aria-label": "Close", onclick: close }, "×"));
  // Whoever has the pointer or the focus on it is not done with it.
  let timer = null;
  const start = () => { clearTimeout(timer); timer = setTimeout(close, SHOWN_FOR); };
  toast.addEventListener("pointerenter", () => clearTimeout(timer));
  toast.addEventListener("pointerleave", start);
  toast.addEventListener("focusin", () => clearTimeout(timer));
  toast.addEventListener("focusout", start);
  start();
  const place = byId("toasts");
  place.prepend(toast);
  while (place.children.length > 4) place.lastElementChild.remove();
}

export function undo() {
  if (last) last.undo();
  else say("Nothing to undo");
}

// --- ordering ---

async function unlocked() {
  return api.isUnlocked() || dialogs.unlock();
}

// Carries out an order; null when it was refused, which was told then.
async function order(what, send) {
  if (!(await unlocked())) return null;
  for (;;) {
    try {
      return await send();
    } catch (error) {
      if (error.status === 401) {
        api.setToken(null);
        if (await dialogs.unlock(`The token was refused: ${error.message}`)) continue;
        return null;
      }
      tell(`${what}: ${error.message}`, { state: "bad" });
      return null;
    }
  }
}

export async function requeueTo(id, to) {
  const from = row(id)?.priority;
  if (from === to) return;
  if (to === "z") return hold(id);
  if (from === "z") return releaseTo(id, to);
  await move(id, to);
}

// Where it was is what the spool says, not what was on the screen.
async function move(id, to) {
  const answer = await order(`${listOf(id)} was not moved`, () => api.act(id, "requeue", { priority: to }));
  if (!answer) return;
  touched(id, to);
  if (answer.result === "already-there") tell(`${listOf(id)} was at ${to} already`);
  else tell(`${listOf(id)} moved from ${answer.from} to ${to}`, { undo: () => move(id, answer.from) });
}

function touched(id, priority) {
  model.touched(id, priority);
  follow(id);
}

export async function requeue(id) {
  const from = row(id)?.priority;
  if (from === undefined) return;
  const to = await dialogs.priority(id, from);
  if (to) await requeueTo(id, to);
}

export async function hold(id, reason = null) {
  const from = row(id)?.priority;
  if (from === "z" && reason === null) return;
  const why = reason ?? (await dialogs.hold(id));
  if (!why) return;
  const answer = await order(`${listOf(id)} is not held`, () => api.act(id, "hold", { reason: why }));
  if (!answer) return;
  touched(id, "z");
  tell(`${listOf(id)} is held`, { undo: () => releaseTo(id, answer.from ?? "") });
}

export async function release(id) {
  if (row(id)?.priority !== "z") return;
  const to = await dialogs.release(id, row(id));
  if (to !== null) await releaseTo(id, to);
}

async function releaseTo(id, to) {
  const note = row(id)?.held;
  const answer = await order(`${listOf(id)} is not released`, () => api.act(id, "release", to ? { priority: to } : {}));
  if (!answer) return;
  touched(id, answer.to ?? (to || null));
  tell(`${listOf(id)} is released${answer.to ? ` to ${answer.to}` : ""}`, { undo: () => hold(id, note?.why ?? "held again") });
}

export async function cancel(id) {
  const reason = await dialogs.cancel(id, row(id));
  if (!reason) return;
  const answer = await order(`${listOf(id)} is not cancelled`, () => api.act(id, "cancel", { reason }));
  if (!answer) return;
  model.gone(id);
  tell(`${listOf(id)} is cancelled; what is left of it is in bad/`, { undo: () => putBack(id, answer.entry) });
}

async function putBack(id, entry) {
  const answer = await order(`${listOf(id)} stays cancelled`, () => api.putBack(entry));
  if (!answer) return;
  touched(id, answer.to);
  tell(`${listOf(id)} is back at ${answer.to}`);
}

// --- pauses ---

export const named = (selector) => Object.entries(selector).map(([kind, name]) => `${kind} ${name}`)[0] ?? "everything";

// `selector`: what is proposed.
export async function pause(selector = {}) {
  const lists = [...new Set([...model.messages.values()].map((message) => message.list))].sort();
  const relays = (model.queue?.relays ?? []).map((relay) => relay.relay);
  const wanted = await dialogs.pause(selector, relays, lists);
  if (wanted) await pauseIt(wanted.selector, wanted.reason, wanted.seconds);
}

async function pauseIt(selector, reason, seconds) {
  const what = named(selector);
  const answer = await order(`${what} is not paused`, () => api.pause(selector, reason, seconds));
  if (!answer) return;
  model.refresh();
  tell(`Paused: ${what}`, { undo: () => resumeIt(selector, reason, seconds) });
}

// `paused`: as the queue tells of it.
export function resume(selector, paused) {
  const seconds = paused.until ? Math.max(1, Math.round(paused.until - model.now())) : 0;
  return resumeIt(selector, paused.why, seconds);
}

async function resumeIt(selector, reason, seconds) {
  const what = named(selector);
  const answer = await order(`Still paused: ${what}`, () => api.resume(selector));
  if (!answer) return;
  model.refresh();
  tell(`Resumed: ${what}`, { undo: () => pauseIt(selector, reason || "paused again", seconds) });
}

export async function details(id) {
  const held = row(id)?.priority === "z";
  const what = await dialogs.details(id, row(id), [["Requeue …", "requeue"], held ? ["Release …", "release"] : ["Hold …", "hold"], ["Cancel …", "cancel"], ["Pause its list …", "pauseList"]]);
  if (what) await BY_NAME[what](id);
}

const pauseList = (id) => pause({ list: listOf(id) });
const BY_NAME = { requeue, hold, release, cancel, pauseList };
const BY_KEY = { r: requeue, h: hold, l: release, c: cancel };

// Whether that key does something on a message.
export function key(name, id) {
  if (!(name in BY_KEY) || !singleKeys()) return false;
  BY_KEY[name](id);
  return true;
}

export function singleKeys() {
  try { return localStorage.getItem("single-keys") !== "off"; } catch { return true; }
}
