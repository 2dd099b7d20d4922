// The stream of events, and whether what the page shows is current.
//
// Promises: a lost connection is noticed, shown and mended without a hand, and so is one that was refused (the server lets so
// many listen at once), which a script can't tell from it; after each new connection everything is asked
// for again, since events between two connections are lost. The stream's keep-alives are comments, which a browser does
// not show to a script, so a connection that died silently (a laptop that slept) is noticed by the question that is
// asked every HEARTBEAT.

const FIRST = 500;
const LONGEST = 15000;
const HEARTBEAT = 10000;

const KINDS = [
  "scheduler-started", "scheduler-stopped", "reloaded", "scanned", "arrived", "requeued", "rescheduled", "started",
  "packet-taken", "packet-left", "preempted", "resumed", "deferred", "failed", "uncertain", "held", "set-aside", "gone",
  "done", "relay-down", "relay-up", "progress", "lost", "pauses-changed",
];

export class Stream {
  #source = null;
  #backoff = FIRST;
  #timer = null;
  #heart = null;

  // `on`: hello(), event(kind, data), beat(), state({ live, retryAt })
  constructor(on) {
    this.on = on;
    addEventListener("online", () => this.retryNow());
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return;
      if (this.#source === null) this.retryNow();
      else this.on.beat();
    });
  }

  open() {
    clearTimeout(this.#timer);
    this.#source?.close();
    const source = new EventSource("/api/v1/events");
    this.#source = source;
    source.addEventListener("hello", () => {
      this.#backoff = FIRST;
      this.on.state({ live: true });
      this.on.hello();
    });
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        let data;
        try { data = JSON.parse(event.data); } catch { return; }
        this.on.event(kind, data);
      });
    }
    // The browser's own retry neither backs off nor says when it tries.
    source.onerror = () => this.broken(source);
    clearInterval(this.#heart);
    this.#heart = setInterval(() => { if (!document.hidden && this.#source) this.on.beat(); }, HEARTBEAT);
  }

  // Also called when the heartbeat's question found nobody.
  broken(source = this.#source) {
    if (source === null || source !== this.#source) return;
    source.close();
    this.#source = null;
    const wait = this.#backoff * (0.75 + Math.random() / 2);
    this.#backoff = Math.min(LONGEST, this.#backoff * 2);
    this.#timer = setTimeout(() => this.open(), wait);
    this.on.state({ live: false, retryAt: Date.now() + wait });
  }

  retryNow() {
    if (this.#source !== null) return;
    this.#backoff = FIRST;
    this.open();
  }
}
