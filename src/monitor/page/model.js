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
  #dirty = new Set();
  #again = new Set();
  #askAll = false;
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
      case "done": case "gone": case "set-aside":
        // A packet of it may have been set aside, and not all of it: the answer to the question tells.
        if (kind === "set-aside") this.#dirty.add(id);
        else this.#remove(id);
        break;
      case "requeued":
        if (row) {
          row.priority = data.to;
          row.state = data.to === "z" ? "held" : row.state === "held" ? "waiting" : row.state;
          this.edition++;
        }
        this.#dirty.add(id);
        break;
      case "lost": case "scheduler-started":
        this.#askAll = true;
        break;
      default:
        if (id !== undefined && kind !== "packet-taken" && kind !== "packet-left") this.#dirty.add(id);
    }
    this.#changed();
    this.#soon(["arrived", "requeued", "started", "preempted", "done", "gone"].includes(kind) ? SOON : GAP);
  }

  // An order of this page was carried out: what is known of it is shown, and the rest asked for, at once.
  touched(id, priority = null) {
    if (priority !== null) this.apply("requeued", { message: id, to: priority });
    this.#dirty.add(id);
    this.#soon(0);
  }

  // It has gone: there is nothing to ask for.
  gone(id) {
    this.apply("gone", { message: id });
    this.#soon(0);
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
      if (data.workers) this.queue.workers = data.workers;
      if (typeof data.rate === "number") this.queue.rate = data.rate;
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
    // While folders are still being read, figures of many messages come that no event tells of.
    if (queue.counted === false) {
      this.#askAll = true;
      this.#soon(GAP);
    }
  }

  async #askForAll() {
    const began = performance.now();
    this.#askAll = false;
    this.#dirty.clear();
    const answer = await api.messages({ limit: LIMIT, sort: "priority", ...this.#parameters });
    this.messages = new Map(answer.messages.map((row) => [row.queue_id, row]));
    this.total = answer.total;
    this.edition++;
    const now = performance.now();
    this.#restAfterAll = now + 4 * (now - began);
  }

  async #askForSome() {
    const ids = [...this.#dirty];
    this.#dirty.clear();
    this.#askOnceMore(ids);
    await Promise.all(ids.map(async (id) => {
      try {
        const row = await api.one(id);
        if (!this.messages.has(id)) this.total++;
        this.messages.set(id, row);
        this.edition++;
      } catch (error) {
        if (error.status === 404) this.#remove(id);
        else throw error;
      }
    }));
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
