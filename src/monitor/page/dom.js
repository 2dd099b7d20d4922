// Making elements. Lists, senders and relays' replies are anybody's text: they reach the page as text nodes and
// attribute values, and never as markup. Nothing here or elsewhere assigns innerHTML.

export const byId = (id) => document.getElementById(id);

// el("p", { class: "hint", "aria-label": "x", onclick: f }, "text", child, …)
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// Only what differs is written: a text node that is replaced by itself loses a selection and is read out again.
export function text(node, value) {
  const wanted = String(value);
  if (node.textContent !== wanted) node.textContent = wanted;
}

export function attribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

export function shown(node, is) {
  if (node.hidden === is) node.hidden = !is;
}

// For screen readers: said politely, and not more often than can be listened to. What happens by itself is said less often, and
// never in place of the answer to what the reader did.
const GAP = { own: 3000, other: 12000 };
let waiting = null;
let last = -Infinity;
export function say(sentence, kind = "own") {
  const gap = GAP[kind] - (performance.now() - last);
  if (gap <= 0 && waiting === null) return speak(sentence);
  if (waiting?.kind === "own" && kind === "other") return;
  clearTimeout(waiting?.timer);
  const timer = setTimeout(() => { waiting = null; speak(sentence); }, Math.max(0, gap));
  waiting = { kind, timer };
}

function speak(sentence) {
  last = performance.now();
  text(byId("say"), sentence);
}
