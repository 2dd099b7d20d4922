// Where the parts of the page meet: the model is asked and told, and what it knows is shown, at most once a frame.

import * as actions from "./actions.js";
import * as api from "./api.js";
import * as charts from "./charts.js";
import * as dialogs from "./dialogs.js";
import * as drag from "./drag.js";
import * as levels from "./levels.js";
import * as messages from "./messages.js";
import * as side from "./side.js";
import { byId, el, text, attribute, shown, say } from "./dom.js";
import { count, duration, plural, time, PRIORITIES } from "./format.js";
import { LIMIT, Model } from "./model.js";
import { Stream } from "./stream.js";

const model = new Model();
// `open`: events come. `live`: and what happened before them is known, too. `asked`: without events, whether questions are
// answered; null: that is not known yet.
const connection = { open: false, live: false, asked: null, retryAt: null };
// Without events, how often everything is asked for: the stream may be refused where the rest is not.
const POLL = 4000;
// What is asked for again once a second while anything goes on is old when nothing came for that long.
const OLD = 25000;
const PATIENCE = 3000;

// --- showing ---

let planned = false;
function plan() {
  if (planned || document.hidden) return;
  planned = true;
  requestAnimationFrame(() => { planned = false; render(); });
}

function render() {
  const queue = model.queue;
  freshness();
  if (!queue) return;
  const now = model.now();
  text(byId("where"), `${queue.host} · process ${queue.pid} · ${queue.version}`);
  document.title = title(queue);
  levels.show(queue.levels, now, messages.chosenPriority(), model.activeLeft());
  levels.summary(queue);
  charts.show(queue.history, now, queue.rate);
  side.showPreemptions(now);
  side.showWorkers(queue.workers, now, actions.details);
  side.showRelays(queue.relays, now, actions.pause);
  side.showPauses(queue.pauses ?? [], actions.resume);
  trouble(queue);
  messages.show();
}

function title(queue) {
  const n = queue.levels.reduce((all, level) => (level.priority === "z" ? all : all + level.messages), 0);
  return `${isOld() ? "(old) " : ""}${n} queued – sympa-dist`;
}

let countedAt = performance.now();
function trouble(queue) {
  const words = [];
  // Of each message that comes there is nothing to be told for a moment.
  countedAt = queue.counted === false ? countedAt : performance.now();
  if (performance.now() - countedAt > PATIENCE) words.push("Folders are still being read: figures may grow.");
  const down = queue.relays.filter((relay) => relay.state === "open");
  // Most reasons name their relay.
  const why = down.map(({ relay, why }) => (!why ? relay : why.includes(relay) ? why : `${relay}: ${why}`)).join("; ");
  if (!connection.live && connection.asked) words.push(`Not live: no stream of events could be had (too many may listen already). Asked every ${POLL / 1000} s instead, until one can.`);
  if (down.length > 0) words.push(down.length === queue.relays.length ? `No relay is in use, nothing is sent. ${why}` : `${plural(down.length, "relay")} of ${count(queue.relays.length)} out of use. ${why}`);
  else if (queue.ready === false) words.push("The scheduler is not ready: see its log.");
  attribute(byId("trouble"), "data-state", down.length > 0 && down.length === queue.relays.length ? "bad" : null);
  shown(byId("trouble"), words.length > 0);
  text(byId("trouble"), words.join(" "));
}

const isCut = () => !connection.live && connection.asked === false;
const isOld = () => model.asOf !== null && (isCut() || Date.now() - model.asOf > OLD);

let toldOld = false;
function freshness() {
  const old = isOld() || isCut();
  const state = old ? "old" : !model.queue ? "connecting" : connection.live ? "live" : connection.asked ? "polled" : "connecting";
  attribute(byId("live"), "data-state", state);
  text(byId("live-text"), state === "polled" ? `not live, every ${POLL / 1000} s` : state);
  attribute(document.documentElement, "data-old", old);
  shown(byId("old"), old);
  if (old) {
    const age = model.asOf === null ? "" : `What you see is old: as of ${time(model.asOf / 1000)}, ${duration((Date.now() - model.asOf) / 1000)} ago. `;
    const wait = connection.retryAt === null ? 0 : Math.ceil((connection.retryAt - Date.now()) / 1000);
    const why = connection.open ? "Asking the scheduler." : `No connection to the scheduler; ${wait > 0 ? `trying again in ${wait} s` : "trying"}.`;
    // The countdown is for eyes: an alert that changes every second would be read out every second.
    if (!toldOld) byId("old").setAttribute("aria-live", "assertive");
    else byId("old").setAttribute("aria-live", "off");
    text(byId("old-text"), age + why);
  } else if (toldOld) say("Connected again; what you see is current");
  toldOld = old;
}

// --- asking ---

const stream = new Stream({
  hello: () => model.refresh(),
  beat: () => model.askQueue(),
  state: ({ live, retryAt = null }) => {
    connection.open = live;
    if (!live) connection.live = false;
    connection.retryAt = retryAt;
    // Whether only the stream has gone, the answer tells.
    if (!live) model.refresh();
    plan();
  },
  event: (kind, data) => {
    if (kind === "preempted") side.preempted(data);
    else if (kind === "resumed" || kind === "packet-taken") side.resumed(data);
    else if (["done", "gone", "held", "requeued", "set-aside"].includes(kind)) side.ended(data.message, data.at);
    model.apply(kind, data);
  },
});

model.addEventListener("changed", plan);
model.addEventListener("preemptions", ({ detail }) => side.known(detail));
model.addEventListener("answered", () => {
  connection.live = connection.open;
  connection.asked = connection.open ? null : true;
  plan();
});
model.addEventListener("unanswered", ({ detail }) => {
  if (detail.status === 0) stream.broken();
  if (!connection.open) connection.asked = false;
});
setInterval(() => { if (!connection.open && !document.hidden) model.refresh(); }, POLL);

// --- the reader's side ---

function filterBy(changes) {
  const all = { ...messages.filters(), ...changes };
  byId("q").value = all.q;
  byId("by-priority").value = all.priority;
  byId("by-state").value = all.state;
  byId("sort").value = all.sort;
  messages.setFilter(changes);
  // Where not everything fits, the server searches among all.
  const beyond = model.total > LIMIT || model.isPartial();
  const asked = {};
  if (beyond || searched) {
    // The server looks for one piece of text, the page for all words: it picks from what the longest one finds.
    if (all.q) asked.q = all.q.split(/\s+/).reduce((longest, word) => (word.length > longest.length ? word : longest), "");
    if (all.priority) asked.priority = all.priority;
    if (all.state) asked.state = all.state;
    asked.sort = all.sort === "list" ? "priority" : all.sort;
    searched = true;
    model.search(asked);
  }
  plan();
}
let searched = false;

byId("by-priority").append(el("option", { value: "" }, "All priorities"), ...PRIORITIES.map((p) => el("option", { value: p }, p === "z" ? "z (held)" : `Priority ${p}`)));
byId("by-state").append(el("option", { value: "" }, "All states"), ...["active", "waiting", "scheduled", "deferred", "held", "stuck"].map((s) => el("option", { value: s }, s)));

let typed = null;
byId("q").addEventListener("input", () => { clearTimeout(typed); typed = setTimeout(() => filterBy({ q: byId("q").value.trim() }), 120); });
for (const [id, name] of [["by-priority", "priority"], ["by-state", "state"], ["sort", "sort"]]) {
  byId(id).addEventListener("change", () => filterBy({ [name]: byId(id).value }));
}
const clear = () => filterBy({ q: "", priority: "", state: "" });
byId("clear").addEventListener("click", () => { clear(); byId("q").focus(); });
byId("filters").addEventListener("submit", (event) => { event.preventDefault(); messages.focusRow(); });

byId("retry").addEventListener("click", () => { stream.retryNow(); model.askQueue(); });

function showLock() {
  const open = api.isUnlocked();
  text(byId("unlock"), open ? "Lock" : "Unlock");
  attribute(byId("unlock"), "aria-pressed", open ? "true" : "false");
  byId("unlock").title = open ? "Actions are unlocked in this tab" : "Actions need a token";
}
const lock = () => { if (api.isUnlocked()) api.setToken(null); else dialogs.unlock(); };
byId("unlock").addEventListener("click", lock);
addEventListener("token", showLock);

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("appearance", theme); } catch { /* it holds for this page */ }
  byId("theme").value = theme;
  charts.redraw();
  plan();
}
byId("theme").value = document.documentElement.dataset.theme ?? "auto";
byId("theme").addEventListener("change", () => setTheme(byId("theme").value));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { charts.redraw(); plan(); });

// Whoever looks at one priority only means that one.
const pause = () => actions.pause(messages.chosenPriority() && messages.chosenPriority() !== "z" ? { priority: messages.chosenPriority() } : {});
byId("pause").addEventListener("click", pause);

async function showKeys() {
  const answer = await dialogs.keys(actions.singleKeys());
  if (answer) try { localStorage.setItem("single-keys", answer); } catch { /* they stay as they are */ }
}
byId("keys").addEventListener("click", showKeys);

const KEYS = {
  "/": () => byId("q").focus(),
  m: () => messages.focusRow(),
  u: () => actions.undo(),
  p: () => pause(),
  t: () => { const all = ["auto", "light", "dark"]; setTheme(all[(all.indexOf(byId("theme").value) + 1) % all.length]); },
  x: lock,
  "?": showKeys,
};
addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.closest("input, select, textarea, dialog") || document.querySelector("dialog[open]")) {
    if (event.key === "Escape" && event.target === byId("q")) { filterBy({ q: "" }); messages.focusRow(); }
    return;
  }
  const act = KEYS[event.key];
  // "?" opens the list that says so, also when single keys are off.
  if (!act || (!actions.singleKeys() && event.key !== "?")) return;
  event.preventDefault();
  act();
});

actions.build(model);
levels.build((priority) => filterBy({ priority: messages.chosenPriority() === priority ? "" : priority }));
charts.build();
messages.build(model, actions);
drag.build(actions.requeueTo);
showLock();
stream.open();
// Ages, waits and countdowns go on when nothing else does.
setInterval(plan, 1000);
document.addEventListener("visibilitychange", plan);
