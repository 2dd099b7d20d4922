// What the page knows: the queue's figures and the messages' rows, asked for once and kept current by events.
//
// An event is a hint: it changes what is shown at once where it says enough, and makes the page ask for the rest. Bursts
// of events cost one question a second, not one each, and a list of thousands is asked for again only when single
// messages would be more.

import * as api from "./api.js";

// The most that the server gives at once. Beyond it the server searches, and not the page.
export const LIMIT = 10000;
const GAP = 1000;
// For what somebody waits to see.
const SOON = 150;
// The server reads a message's folder a little after its event: what was asked for at once is asked for once more.
const AGAIN = 1500;
const FEW = 12;
// How long an order of this page is believed without the scheduler's word for it.
const BELIEVED = 30000;

export class Model extends EventTarget {
  queue = null;
  // id → row
  messages = new Map();
  // How many there are, also those beyond LIMIT.
  total = 0;
  // Counts up when a row comes, goes or may have changed its place.
  edition = 0;
  // When all of this was true: the page's clock, milliseconds.
  asOf = null;
  #ahead = 0;
  // What is known by more than an answer that may be older: id → { to, at, until }, `to` a priority, or null for "it has gone".
  #known = new Map();
  #dirty = new Set();
  #again = new Set();
  #askAll = false;
  // Answers in a row that were given while folders were being read; the first question finds none read.
  #uncounted = 2;
  #timer = null;
  #due = 0;
  #asking = false;
  #asked = 0;
  #restAfterAll = 0;
  #parameters = {};

  // The scheduler's clock; the reader's may be wrong.
  now() {
    return Date.now() / 1000 + this.#ahead;
  }

  isPartial() {
    return this.total > this.messages.size;
  }

  // Priority → recipients that are left of its active messages: those that somebody works on are here, whatever else is.
  activeLeft() {
    const left = new Map();
    for (const row of this.messages.values()) {
      if (row.state === "active") left.set(row.priority, (left.get(row.priority) ?? 0) + row.recipients_left);
    }
    return left;
  }

  // What the server is to search for, where not everything fits.
  search(parameters) {
    if (JSON.stringify(parameters) === JSON.stringify(this.#parameters)) return;
    this.#parameters = parameters;
    this.#restAfterAll = 0;
    this.refresh();
  }

  refresh() {
    this.#askAll = true;
    this.#soon(0);
  }

  askQueue() {
    this.#soon(0);
  }

  apply(kind, data) {
    const id = data.message;
    const row = id === undefined ? undefined : this.messages.get(id);
    switch (kind) {
      case "progress":
        this.#progress(data);
        return;
      case "done":
        this.#remove(id);
        this.#know(id, null, 0);
        break;
      case "requeued":
        this.#know(id, data.to, 0);
        this.#move(row, data.to);
        this.#dirty.add(id);
        break;
      case "arrived": case "started":
        if (this.#known.get(id)?.to === null && data.at > this.#known.get(id).since) this.#known.delete(id);
        this.#dirty.add(id);
        break;
      // A pause, and a relay, is in the way of many.
      case "lost": case "scheduler-started": case "pauses-changed": case "relay-down": case "relay-up":
        this.#askAll = true;
        break;
      // "gone" is said a second later; whether it is so still, the answer to the question tells.
      default:
        if (id !== undefined && kind !== "packet-taken" && kind !== "packet-left") this.#dirty.add(id);
    }
    this.#changed();
    this.#soon(["arrived", "requeued", "started", "preempted", "done", "gone", "pauses-changed"].includes(kind) ? SOON : GAP);
  }

  // An order of this page was carried out: what is known of it is shown, and the rest asked for, at once. The server hears
  // of it from the spool, as of everything, and may still answer with how it was.
  touched(id, priority = null) {
    if (priority !== null) {
      this.#know(id, priority, BELIEVED);
      this.#move(this.messages.get(id), priority);
    }
    this.#dirty.add(id);
    this.#changed();
    this.#soon(0);
  }

  // It was cancelled: there is nothing to ask for.
  gone(id) {
    this.#remove(id);
    this.#know(id, null, BELIEVED);
    this.#changed();
    this.#soon(0);
  }

  #know(id, to, during) {
    const at = performance.now();
    this.#known.set(id, { to, at, since: this.now(), until: at + during });
  }

  // Nothing is waited for any more that could contradict it.
  #forget() {
    const now = performance.now();
    for (const [id, known] of this.#known) if (known.until < now - BELIEVED) this.#known.delete(id);
  }

  #move(row, to) {
    if (!row || row.priority === to) return;
    row.priority = to;
    row.state = to === "z" ? "held" : row.state === "held" ? "waiting" : row.state;
    row.stuck = null;
    this.edition++;
  }

  // The row of an answer to a question that was asked then; null when it has gone since.
  #current(row, asked) {
    const known = this.#known.get(row.queue_id);
    if (!known) return row;
    if (asked > known.at && (known.to === row.priority || performance.now() > known.until)) {
      this.#known.delete(row.queue_id);
      return row;
    }
    if (known.to === null) return null;
    this.#move(row, known.to);
    return row;
  }

  #progress(data) {
    for (const news of data.messages ?? []) {
      const row = this.messages.get(news.queue_id);
      if (!row) { this.#dirty.add(news.queue_id); continue; }
      const before = row.recipients_done;
      Object.assign(row, news);
      if (row.workers > 0 && row.state === "waiting") row.state = "active";
      if (before !== row.recipients_done) row.stuck = null;
    }
    // Who is not at work any more, and was not told of, is asked for.
    const busy = new Set((data.workers ?? []).map((worker) => worker.message));
    for (const row of this.messages.values()) {
      if (row.state === "active" && !busy.has(row.queue_id)) this.#dirty.add(row.queue_id);
    }
    if (this.queue) {
      this.queue.rate = data.rate;
      if (data.workers) this.queue.workers = data.workers;
    }
    this.asOf = Date.now();
    this.#changed();
    this.#soon(GAP);
  }

  #remove(id) {
    this.#dirty.delete(id);
    if (this.messages.delete(id)) {
      this.total = Math.max(0, this.total - 1);
      this.edition++;
    }
  }

  #soon(wait) {
    // Never more than a few questions a second, however much happens.
    const due = Math.max(performance.now() + wait, wait > 0 ? this.#asked + 2 * SOON : 0);
    if (this.#timer !== null && this.#due <= due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => { this.#timer = null; this.#ask(); }, Math.max(0, due - performance.now()));
  }

  async #ask() {
    if (this.#asking) return this.#soon(GAP / 4);
    this.#asking = true;
    this.#asked = performance.now();
    this.#forget();
    try {
      await this.#askForQueue();
      if (this.#dirty.size > FEW) this.#askAll = true;
      if (this.#askAll && performance.now() >= this.#restAfterAll) await this.#askForAll();
      else if (this.#askAll) this.#soon(GAP);
      else await this.#askForSome();
      if (this.#askAll) return;
      this.asOf = Date.now();
      this.dispatchEvent(new Event("answered"));
    } catch (error) {
      // What was to be asked is asked after the next connection.
      this.#askAll = true;
      this.dispatchEvent(new CustomEvent("unanswered", { detail: error }));
    } finally {
      this.#asking = false;
      this.#changed();
    }
  }

  async #askForQueue() {
    const queue = await api.queue();
    this.#ahead = queue.time - Date.now() / 1000;
    this.queue = queue;
    // While folders are still being read, figures of many messages come that no event tells of, the last ones with the answer
    // that all are read. A single one that has just come is read by the next question.
    if (this.#uncounted > 1) this.#askAll = true;
    this.#uncounted = queue.counted === false ? this.#uncounted + 1 : 0;
    if (this.#uncounted > 0) this.#soon(GAP);
  }

  async #askForAll() {
    const began = performance.now();
    this.#askAll = false;
    this.#dirty.clear();
    const [answer, preemptions] = await Promise.all([
      api.messages({ limit: LIMIT, sort: "priority", ...this.#parameters }),
      api.preemptions(),
    ]);
    this.dispatchEvent(new CustomEvent("preemptions", { detail: preemptions }));
    const rows = answer.messages.map((row) => this.#current(row, began)).filter((row) => row !== null);
    this.messages = new Map(rows.map((row) => [row.queue_id, row]));
    this.total = answer.total - answer.messages.length + rows.length;
    this.edition++;
    const now = performance.now();
    this.#restAfterAll = now + 4 * (now - began);
  }

  async #askForSome() {
    const ids = [...this.#dirty];
    this.#dirty.clear();
    this.#askOnceMore(ids);
    if (ids.length === 0) return;
    const asked = performance.now();
    const answer = await api.some(ids);
    const rows = new Map(answer.messages.map((row) => [row.queue_id, this.#current(row, asked)]));
    for (const id of ids) {
      const row = rows.get(id);
      if (row === null) continue;
      if (row === undefined) {
        // On its way to where this page has moved it, or not waiting any more.
        if (this.#known.get(id)?.until > asked) this.#dirty.add(id);
        else this.#remove(id);
        continue;
      }
      if (!this.messages.has(id)) this.total++;
      this.messages.set(id, row);
      this.edition++;
    }
    if (this.#dirty.size > 0) this.#soon(GAP);
  }

  #askOnceMore(ids) {
    const first = ids.filter((id) => !this.#again.has(id));
    ids.forEach((id) => this.#again.delete(id));
    if (first.length === 0) return;
    first.forEach((id) => this.#again.add(id));
    setTimeout(() => {
      const still = first.filter((id) => this.#again.has(id) && this.messages.has(id));
      first.forEach((id) => { if (!this.messages.has(id)) this.#again.delete(id); });
      still.forEach((id) => this.#dirty.add(id));
      if (still.length > 0) this.#soon(SOON);
    }, AGAIN);
  }

  #changed() {
    this.dispatchEvent(new Event("changed"));
  }
}
