// Questions to the reader, each a native dialog: focus stays inside, Escape closes, and goes back to where it was.

import { el } from "./dom.js";
import { count, dateTime, localTimes, percent, size, workerName, PRIORITIES } from "./format.js";
import { one, setToken } from "./api.js";
import { focusRow } from "./messages.js";
import { listOf } from "./side.js";

// Opens a dialog and answers with what `take` makes of it, or null when it was closed.
function ask({ title, body, go, danger = false, take, wide = false }) {
  return new Promise((resolve) => {
    const back = document.activeElement;
    const backRow = back?.closest?.("[data-id]")?.dataset.id;
    let answer = null;
    const heading = el("h2", { id: "dialog-h" }, title);
    const form = el("form", { class: "dialog-form" }, heading, ...body,
      el("div", { class: "dialog-buttons" },
        el("button", { type: "button", class: "quiet", "data-close": true, onclick: () => dialog.close() }, go ? "Back" : "Close"),
        go ? el("button", { type: "submit", class: danger ? "go danger" : "go" }, go) : null));
    const dialog = el("dialog", { "aria-labelledby": "dialog-h", class: wide ? "wide" : null }, form);
    // The browsers differ in what Enter does on a closed list: here it is the answer, as in a line of text.
    form.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.target.tagName !== "SELECT") return;
      event.preventDefault();
      form.requestSubmit();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      answer = take(form);
      dialog.close();
    });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("close", () => {
      dialog.remove();
      // Its row may be another element by now, or gone, and the button hidden.
      back?.focus({ preventScroll: true });
      if (backRow && document.activeElement !== back) focusRow(backRow);
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
    (form.querySelector("[autofocus]") ?? form.querySelector("button"))?.focus();
  });
}

const about = (id) => el("p", { class: "about" }, el("b", {}, listOf(id)), el("span", { class: "mono muted" }, id.slice(listOf(id).length + 1)));
const reasonField = (hint) => [
  el("label", { for: "reason" }, "Reason"),
  el("input", { id: "reason", name: "reason", maxlength: "500", autocomplete: "off", autofocus: true, placeholder: hint, required: true }),
];

export function priority(id, from, title = "Move to another priority") {
  const tiles = PRIORITIES.map((p) => el("label", { class: "tile" },
    el("input", { type: "radio", name: "priority", value: p, checked: p === from, autofocus: p === from, "aria-label": p === "z" ? "z, held" : p }),
    el("span", { class: "pri", "data-p": p, "aria-hidden": "true" }, p)));
  const group = el("fieldset", { class: "tiles" }, el("legend", {}, `Now at ${from}. 0 goes first; z is held.`), ...tiles);
  group.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const radio = group.querySelector(`input[value="${CSS.escape(event.key.toLowerCase())}"]`);
    if (!radio) return;
    event.preventDefault();
    radio.checked = true;
    radio.focus();
  });
  return ask({ title, body: [about(id), group], go: "Move", take: (form) => new FormData(form).get("priority") });
}

export function hold(id) {
  return ask({
    title: "Hold this message", go: "Hold",
    body: [about(id), el("p", {}, "It stops at the next boundary and waits until it is released."), ...reasonField("why it has to wait")],
    take: (form) => new FormData(form).get("reason").trim(),
  });
}

export function release(id, row) {
  const note = row?.held;
  const from = note?.from ?? note?.priority;
  const choices = PRIORITIES.slice(0, -1).map((p) => el("option", { value: p }, p));
  return ask({
    title: "Release this message", go: "Release",
    body: [about(id),
      note ? el("p", {}, `Held${note.since ? ` since ${dateTime(note.since)}` : ""}${note.by ? ` by ${note.by}` : ""}: ${note.why ?? note.reason ?? "no reason given"}`) : null,
      el("label", { for: "to" }, "To priority"),
      el("select", { id: "to", name: "to", autofocus: true }, el("option", { value: "" }, from ? `where it came from (${from})` : "where it came from"), ...choices)],
    take: (form) => new FormData(form).get("to"),
  });
}

export function cancel(id, row) {
  const rest = row ? row.recipients_left + row.deferred : null;
  return ask({
    title: "Cancel this message", go: "Cancel the message", danger: true,
    body: [about(id),
      el("p", {}, rest === null ? "Whoever has not got it won't get it." : `${count(rest)} of ${count(row.recipients_total)} recipients have not got it, and won't.`),
      el("p", { class: "muted" }, "What is left of it is kept in bad/, from where ", el("code", {}, "sympa-dist bad retry"), " puts it back."),
      ...reasonField("for whoever finds the rest in bad/")],
    take: (form) => new FormData(form).get("reason").trim(),
  });
}

const TIMES = [["", "until it is resumed"], ["900", "15 minutes"], ["3600", "1 hour"], ["14400", "4 hours"], ["43200", "12 hours"]];

// Answers with { selector, reason, seconds }; `proposed` is such a selector.
export function pause(proposed, relays, lists) {
  const choice = (selector, name) => el("option", { value: JSON.stringify(selector), selected: JSON.stringify(selector) === JSON.stringify(proposed) }, name);
  const what = el("select", { id: "what", name: "what", autofocus: true },
    choice({}, "Everything"),
    el("option", { value: "list", selected: "list" in proposed }, "A list"),
    el("optgroup", { label: "A priority" }, ...PRIORITIES.slice(0, -1).map((p) => choice({ priority: p }, `Priority ${p}`))),
    el("optgroup", { label: "A relay" }, ...relays.map((relay) => choice({ relay }, relay))));
  const input = el("input", { id: "list", name: "list", list: "lists", maxlength: "320", autocomplete: "off", spellcheck: "false", placeholder: "list@domain", value: proposed.list });
  const listField = el("div", { class: "field" }, el("label", { for: "list" }, "List"), input, el("datalist", { id: "lists" }, ...lists.map((list) => el("option", { value: list }))));
  const fit = () => {
    listField.hidden = what.value !== "list";
    input.required = what.value === "list";
  };
  what.addEventListener("change", fit);
  fit();
  return ask({
    title: "Pause", go: "Pause",
    body: [
      el("p", {}, "Transactions that are under way end; from the next boundary on nothing of it is sent, by any process on any host. Messages go on arriving."),
      el("label", { for: "what" }, "What"), what, listField,
      el("label", { for: "for" }, "For how long"), el("select", { id: "for", name: "for" }, ...TIMES.map(([value, name]) => el("option", { value }, name))),
      ...reasonField("for whoever looks at the queue next").map((node) => { node.removeAttribute("autofocus"); return node; }),
    ],
    take: (form) => {
      const given = new FormData(form);
      const chosen = given.get("what");
      return {
        selector: chosen === "list" ? { list: given.get("list").trim() } : JSON.parse(chosen),
        reason: given.get("reason").trim(), seconds: Number(given.get("for")),
      };
    },
  });
}

export async function unlock(why = "") {
  const token = await ask({
    title: "Unlock actions", go: "Unlock",
    body: [
      why ? el("p", { class: "why", role: "alert" }, why) : null,
      el("p", {}, "Looking needs nothing; moving, holding, releasing and cancelling need the token that is in the file ", el("code", {}, "http.token_file"), " names."),
      el("label", { for: "token" }, "Token"),
      el("input", { id: "token", name: "token", type: "password", autocomplete: "off", autofocus: true, required: true, maxlength: "4096" }),
      el("p", { class: "muted" }, "It is kept in this tab until you lock it or close the tab."),
    ],
    take: (form) => new FormData(form).get("token").trim(),
  });
  if (token) setToken(token);
  return Boolean(token);
}

export const keys = (isOn) => ask({
  title: "Keyboard", wide: true, go: "Keep",
  body: [
    el("dl", { class: "keys" }, ...[
      ["/", "search"], ["m", "to the messages"], ["u", "undo what was done last"], ["p", "pause"], ["t", "appearance"], ["x", "lock or unlock"], ["?", "this list"],
    ].flatMap(([key, what]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)])),
    el("h3", {}, "On a message"),
    el("dl", { class: "keys" }, ...[
      ["↑ ↓", "the one before, after"], ["Home End", "first, last"], ["PgUp PgDn", "a page"], ["← →", "its buttons"], ["Enter", "details"],
      ["r", "requeue: then 0–9 or z, Enter"], ["h", "hold"], ["l", "release"], ["c", "cancel"],
    ].flatMap(([key, what]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)])),
    el("label", { class: "check" }, el("input", { type: "checkbox", name: "on", checked: isOn, autofocus: true }), " Single keys act (switch off for voice input)"),
  ],
  take: (form) => (new FormData(form).has("on") ? "on" : "off"),
});

const MOST_PACKETS = 200;

export function details(id, row, buttons) {
  const facts = el("dl", { class: "facts" });
  const fact = (name, value) => { if (value !== null && value !== undefined && value !== "") facts.append(el("dt", {}, name), el("dd", {}, String(value))); };
  if (row) {
    fact("Message id", id);
    fact("Sender", row.sender);
    fact("Priority", row.priority);
    fact("State", row.stuck ? `${row.state}: ${localTimes(row.stuck)}` : row.state);
    fact("Arrived", dateTime(row.arrival_time));
    fact("Size", size(row.message_size));
    fact("Not before", row.not_before && dateTime(row.not_before));
    fact("Next try", row.next_try && dateTime(row.next_try));
    fact("Recipients", `${count(row.recipients_done)} of ${count(row.recipients_total)} done (${percent(row.recipients_done, row.recipients_total)}), ${count(row.recipients_left)} left, ${count(row.deferred)} deferred, ${count(row.failed)} failed`);
    fact("Packets", `${count(row.packets_done)} of ${count(row.packets_total)} done`);
    if (row.held) fact("Held", [row.held.why ?? row.held.reason, row.held.by && `by ${row.held.by}`, row.held.since && `since ${dateTime(row.held.since)}`].filter(Boolean).join(", "));
  }
  const packets = el("div", { class: "packets" }, el("p", { class: "muted" }, "Asking for its packets …"));
  one(id).then((full) => {
    const all = full.packets ?? [];
    packets.replaceChildren(el("h3", {}, `Packets (${count(all.length)})`), el("table", {},
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Packet"), el("th", { scope: "col", class: "n" }, "Done"), el("th", { scope: "col", class: "n" }, "Recipients"), el("th", { scope: "col", class: "n" }, "Worker"))),
      el("tbody", {}, ...all.slice(0, MOST_PACKETS).map((p) => el("tr", {}, el("td", { class: "mono" }, p.packet), el("td", { class: "n" }, count(p.done)), el("td", { class: "n" }, count(p.recipients)), el("td", { class: "n" }, typeof p.worker === "number" ? workerName(p.worker) : ""))))),
      all.length > MOST_PACKETS ? el("p", { class: "muted" }, `and ${count(all.length - MOST_PACKETS)} more`) : "");
  }, (error) => packets.replaceChildren(el("p", { class: "why" }, error.status === 404 ? "It is not waiting any more." : error.message)));
  const wanted = { what: null };
  const bar = el("div", { class: "detail-acts" }, ...buttons.map(([name, what]) => el("button", {
    type: "button", class: "quiet",
    onclick: (event) => { wanted.what = what; event.target.closest("dialog").close(); },
  }, name)));
  return ask({ title: listOf(id), wide: true, body: [facts, bar, packets], take: () => null }).then(() => wanted.what);
}
