// What the reader does to messages: asked for where it needs to be, ordered from the scheduler, told, and undone where
// the spool allows.

import * as api from "./api.js";
import * as dialogs from "./dialogs.js";
import { byId, el, say } from "./dom.js";
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
  const toast = el("div", { class: `toast ${state}`, role: state === "bad" ? "alert" : "status" }, el("p", {}, words));
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
  const answer = await order(`${listOf(id)} was not moved`, () => api.act(id, "requeue", { priority: to }));
  if (!answer) return;
  model.touched(id, to);
  const back = from === undefined ? null : () => requeueTo(id, from);
  tell(answer.result === "already-there" ? `${listOf(id)} was at ${to} already` : `${listOf(id)} moved from ${from ?? "?"} to ${to}`, { undo: back });
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
  model.touched(id, "z");
  tell(`${listOf(id)} is held`, { undo: () => releaseTo(id, from ?? "") });
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
  model.touched(id, to || null);
  const why = note?.why ?? note?.reason ?? "held again";
  tell(`${listOf(id)} is released${to ? ` to ${to}` : ""}`, { undo: () => hold(id, why) });
}

export async function cancel(id) {
  const reason = await dialogs.cancel(id, row(id));
  if (!reason) return;
  const answer = await order(`${listOf(id)} is not cancelled`, () => api.act(id, "cancel", { reason }));
  if (!answer) return;
  model.gone(id);
  const where = answer.rest;
  tell(`${listOf(id)} is cancelled${typeof where === "string" ? `; the rest is in ${where}` : ""}`);
}

export async function resume(selector, what) {
  const answer = await order(`${what} is still paused`, () => api.resume(selector));
  if (!answer) return;
  model.askQueue();
  tell(`${what} is resumed`);
}

export async function details(id) {
  const held = row(id)?.priority === "z";
  const what = await dialogs.details(id, row(id), [["Requeue …", "requeue"], held ? ["Release …", "release"] : ["Hold …", "hold"], ["Cancel …", "cancel"]]);
  if (what) await BY_NAME[what](id);
}

const BY_NAME = { requeue, hold, release, cancel };
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
