// Depth by priority: a bar and its figures for each of the eleven. A click shows that priority's messages only; a message
// that is dropped on one goes there.

import { byId, el, text, attribute } from "./dom.js";
import { compact, count, duration, plural, rate, PRIORITIES } from "./format.js";

const BODY = byId("levels");
const rows = new Map();

export function build(choose) {
  for (const priority of PRIORITIES) {
    const button = el("button", { type: "button", class: "pri", title: "Show its messages only", "data-p": priority, "aria-pressed": "false", onclick: () => choose(priority) }, priority);
    button.setAttribute("aria-label", priority === "z" ? "z, held: show its messages only" : `Priority ${priority}: show its messages only`);
    const bar = { active: el("span", { class: "seg active" }), waiting: el("span", { class: "seg waiting" }), deferred: el("span", { class: "seg deferred" }) };
    const cell = (...classes) => el("td", { class: ["n", ...classes].join(" ") });
    const row = {
      button, bar,
      messages: cell("v-messages"), left: cell("v-left"), rate: cell("wide"), oldest: cell("wide"), time: cell("wide"),
    };
    row.tr = el("tr", { "data-drop": priority },
      el("th", { scope: "row" }, button),
      el("td", { class: "bar-cell" }, el("div", { class: "bar", "aria-hidden": "true" }, bar.active, bar.waiting, bar.deferred)),
      row.messages, row.left, row.rate, row.oldest, row.time);
    rows.set(priority, row);
    BODY.append(row.tr);
  }
}

// `activeLeft`: of those that are being sent, by priority, how many recipients are left.
export function show(levels, now, chosen, activeLeft) {
  // All bars have one scale, the fullest level's, so that they can be compared.
  const most = Math.max(1, ...levels.map((level) => level.recipients_left + level.deferred));
  for (const level of levels) {
    const row = rows.get(level.priority);
    if (!row) continue;
    const active = Math.min(level.recipients_left, activeLeft.get(level.priority) ?? 0);
    width(row.bar.active, active, most);
    width(row.bar.waiting, level.recipients_left - active, most);
    width(row.bar.deferred, level.deferred, most);
    text(row.messages, count(level.messages));
    text(row.left, count(level.recipients_left));
    row.left.title = `${count(level.recipients_left)} left to be tried, ${count(active)} of them of active messages; beside them ${count(level.deferred)} deferred, ${count(level.failed)} failed`;
    row.messages.title = `${count(level.active)} active, ${count(level.waiting)} waiting, ${count(level.scheduled)} scheduled, ${count(level.deferred_messages)} deferred`;
    text(row.rate, rate(level.rate));
    text(row.oldest, level.oldest_arrival_time ? duration(now - level.oldest_arrival_time) : "");
    text(row.time, level.recipients_left > 0 && level.time_left !== null ? duration(level.time_left) : "");
    if (level.messages === 0) text(row.rate, "");
    row.tr.classList.toggle("none", level.messages === 0);
    attribute(row.button, "aria-pressed", chosen === level.priority);
    row.tr.classList.toggle("chosen", chosen === level.priority);
  }
}

function width(bar, part, most) {
  // What is there is seen, however small beside the fullest.
  bar.style.width = part > 0 ? `max(3px, ${((part / most) * 100).toFixed(2)}%)` : "0";
}

// The figures at the top.
const figures = new Map();
export function summary(queue) {
  const list = byId("figures");
  const set = (name, value, note = "", state = "") => {
    let figure = figures.get(name);
    if (!figure) {
      figure = { value: el("dd", {}), note: el("dd", { class: "note" }) };
      figure.box = el("div", {}, el("dt", {}, name), figure.value, figure.note);
      figures.set(name, figure);
      list.append(figure.box);
    }
    text(figure.value, value);
    text(figure.note, note);
    attribute(figure.box, "data-state", state || null);
  };
  const levels = queue.levels;
  const sum = (name, among = levels) => among.reduce((all, level) => all + (level[name] ?? 0), 0);
  const open = levels.filter((level) => level.priority !== "z");
  const held = levels.find((level) => level.priority === "z");
  const toSend = sum("recipients_left", open);
  const busy = queue.workers.filter((worker) => worker.message).length;
  const down = queue.relays.filter((relay) => relay.state !== "closed");
  const deferred = sum("deferred");
  const failed = sum("failed");
  // Of all messages, also those that the page has no row of.
  const stuck = sum("stuck");
  set("Messages", count(sum("messages", open)), held?.messages ? `and ${count(held.messages)} held` : `${count(sum("active"))} active`);
  const left = [toSend >= 10000 && count(toSend), held?.recipients_left && `and ${count(held.recipients_left)} held`];
  set("Recipients left", compact(toSend), left.filter(Boolean).join(" "));
  set("Rate", rate(queue.rate), "last minute");
  set("Time left", queue.time_left === null ? "–" : duration(queue.time_left), "at this rate");
  // The others are active, or have recipients left beside.
  const waiting = sum("deferred_messages");
  set("Deferred", compact(deferred), waiting > 0 ? `${plural(waiting, "message")} waiting for it` : "recipients", deferred > 0 ? "warn" : "");
  set("Failed", compact(failed), "of those queued", failed > 0 ? "bad" : "");
  set("Stuck", count(stuck), stuck > 0 ? "paused, no relay" : "messages", stuck > 0 ? "warn" : "");
  set("Workers", `${busy} / ${queue.workers.length}`, "busy");
  set("Relays", `${queue.relays.length - down.length} / ${queue.relays.length}`, "in use", down.length === 0 ? "" : down.length === queue.relays.length ? "bad" : "warn");
}
