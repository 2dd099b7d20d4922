// A message dragged to another priority: by its row or its grip, with a mouse, a pen or a finger. While it is dragged, a
// dock with the eleven priorities comes up, so that the target is there however far the page is scrolled.
//
// Pointer events and not HTML's drag and drop, which touch screens don't have.

import { byId, el, shown } from "./dom.js";
import { PRIORITIES } from "./format.js";
import { listOf } from "./side.js";

const FAR = 6;

// The click that ends a drag is not meant for what lies under it. It comes at once, or not at all: the next one that somebody
// begins, or that a key makes (it has no detail), is theirs, however late the timer is.
function swallowClick() {
  const swallow = (click) => {
    if (click.detail === 0) return;
    click.preventDefault();
    click.stopPropagation();
    done();
  };
  const done = () => {
    removeEventListener("click", swallow, true);
    removeEventListener("pointerdown", done, true);
  };
  addEventListener("click", swallow, true);
  addEventListener("pointerdown", done, true);
  setTimeout(done, 50);
}

export function build(drop) {
  const dock = byId("dock");
  byId("dock-slots").append(...PRIORITIES.map((p) => el("div", { class: "pri slot", "data-p": p, "data-drop": p }, p)));
  const rows = byId("rows");
  let drag = null;

  const end = () => {
    if (!drag) return;
    drag.ghost?.remove();
    drag.over?.classList.remove("over");
    document.body.classList.remove("dragging");
    shown(dock, false);
    removeEventListener("pointermove", move);
    removeEventListener("pointerup", up);
    removeEventListener("pointercancel", end);
    removeEventListener("keydown", key, true);
    drag = null;
  };
  const begin = () => {
    drag.ghost = el("div", { class: "ghost", "aria-hidden": "true" }, listOf(drag.id));
    document.body.append(drag.ghost);
    document.body.classList.add("dragging");
    getSelection()?.removeAllRanges();
    shown(dock, true);
  };
  const move = (event) => {
    if (event.pointerId !== drag.pointer) return;
    if (!drag.ghost) {
      if (Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < FAR) return;
      begin();
    }
    event.preventDefault();
    drag.ghost.style.transform = `translate(${event.clientX + 12}px, ${event.clientY + 12}px)`;
    const over = document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-drop]") ?? null;
    if (over !== drag.over) {
      drag.over?.classList.remove("over");
      over?.classList.add("over");
      drag.over = over;
    }
  };
  const up = (event) => {
    if (event.pointerId !== drag.pointer) return;
    const { id, over, ghost } = drag;
    if (ghost) swallowClick();
    end();
    if (ghost && over) drop(id, over.dataset.drop);
  };
  const key = (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    end();
  };

  rows.addEventListener("pointerdown", (event) => {
    const row = event.target.closest("[data-id]");
    if (!row || !event.isPrimary || event.button !== 0 || drag) return;
    // A finger on a row scrolls; on the grip it drags.
    if (event.pointerType === "touch" && !event.target.closest(".grip")) return;
    if (event.target.closest(".act")) return;
    drag = { id: row.dataset.id, pointer: event.pointerId, x: event.clientX, y: event.clientY, ghost: null, over: null };
    addEventListener("pointermove", move);
    addEventListener("pointerup", up);
    addEventListener("pointercancel", end);
    addEventListener("keydown", key, true);
  });
}
