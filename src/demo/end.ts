/** Where one looks in a conversation: at its newest message, until one scrolls away. */

import { byId } from "./dom.js";

export interface End {
  /** There is more; `heard`: from someone else. */
  grown(heard: boolean): void;
  toEnd(): void;
}

/** Closer to the end than this, new messages scroll into view by themselves. */
const NEAR_END_PX = 80;

export function followEnd(): End {
  const pane = byId("pane", HTMLElement);
  const newer = byId("newer", HTMLButtonElement);
  let atEnd = true;

  function toEnd(): void {
    atEnd = true;
    newer.hidden = true;
    pane.scrollTop = pane.scrollHeight;
  }

  pane.addEventListener("scroll", () => {
    atEnd = pane.scrollHeight - pane.scrollTop - pane.clientHeight < NEAR_END_PX;
    if (atEnd) newer.hidden = true;
  });
  newer.addEventListener("click", toEnd);
  new ResizeObserver(() => {
    if (atEnd) toEnd();
  }).observe(pane);
  return {
    grown(heard) {
      if (atEnd) toEnd();
      else if (heard) newer.hidden = false;
    },
    toEnd,
  };
}
