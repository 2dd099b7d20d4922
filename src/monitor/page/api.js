// Questions and orders to the scheduler's HTTP. What it answers is JSON; a refusal is a problem (RFC 9457) whose text is
// for people, and becomes the error's message.

const PATIENCE = 20000;
const TOKEN = "token";

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// The token stays in this tab: nobody who opens the browser tomorrow can act.
let token = null;
try { token = sessionStorage.getItem(TOKEN); } catch { /* storage is off: kept in memory only */ }

export const isUnlocked = () => token !== null;

export function setToken(value) {
  token = value || null;
  try {
    if (token === null) sessionStorage.removeItem(TOKEN);
    else sessionStorage.setItem(TOKEN, token);
  } catch { /* as above */ }
  dispatchEvent(new Event("token"));
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", credentials: "omit", redirect: "error", ...options, signal: AbortSignal.timeout(PATIENCE) });
  } catch (error) {
    const why = error.name === "TimeoutError" ? "it did not answer in time" : "it can't be reached";
    throw new Refused(0, `no answer from the scheduler: ${why}`);
  }
  let body = null;
  try { body = await answer.json(); } catch { /* an empty or foreign answer: the status says what there is to say */ }
  if (answer.ok && body !== null) return body;
  const told = body && (body.detail || body.title);
  throw new Refused(answer.status, told || `the scheduler answered ${answer.status} ${answer.statusText}`);
}

const message = (id) => `/api/v1/messages/${encodeURIComponent(id)}`;

export const queue = () => ask("/api/v1/queue");
export const messages = (parameters) => ask(`/api/v1/messages?${new URLSearchParams(parameters)}`);
// Of several by their ids; one that is not waiting any more is just not among them.
export const some = (ids) => messages({ ids: ids.join() });
export const one = (id) => ask(message(id));
export const preemptions = () => ask("/api/v1/preemptions");

export function act(id, what, body) {
  return order(`${message(id)}/${what}`, body);
}

export function order(path, body) {
  return ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${token ?? ""}` },
    body: JSON.stringify(body),
  });
}

// What a cancel left, back to where it was.
export const putBack = (entry) => order(`/api/v1/bad/${encodeURIComponent(entry)}/retry`, {});

// `selector`: { priority }, { list } or { relay }; {} is everything.
export const pause = (selector, reason, seconds) => order("/api/v1/pause", { ...selector, reason, ...(seconds ? { for: seconds } : {}) });
export const resume = (selector) => order("/api/v1/resume", selector);
