/** What went wrong, for a moment, at the edge of the page. */

import { byId, make } from "./dom.js";

const SHOWN_MS = 8000;
/** Whoever points at one is reading it. */
const LINGER_MS = 1000;
const AT_ONCE = 3;

interface Toast {
  readonly element: HTMLElement;
  readonly text: HTMLElement;
  times: number;
  timer: number;
}

const shown = new Map<string, Toast>();

/** The same title again only counts up: what goes wrong again and again must not stay for ever. */
export function toast(title: string, detail: string): void {
  const before = shown.get(title);
  if (before !== undefined) {
    before.times++;
    before.text.textContent = `${detail} (${before.times} times)`;
    return;
  }
  const text = make("p", { className: "toast-text", text: detail });
  const away = make("button", { text: "×", attributes: { type: "button", "aria-label": "Dismiss" } });
  const element = make("div", { className: "toast" }, [
    make("div", {}, [make("p", { className: "toast-title", text: title }), text]),
    away,
  ]);
  away.addEventListener("click", () => remove(title));
  byId("toasts", HTMLElement).append(element);
  shown.set(title, { element, text, times: 1, timer: 0 });
  removeAfter(title, SHOWN_MS);
  const [oldest] = shown.keys();
  if (shown.size > AT_ONCE && oldest !== undefined) remove(oldest);
}

function removeAfter(title: string, ms: number): void {
  const toast = shown.get(title)!;
  toast.timer = window.setTimeout(() => {
    if (toast.element.matches(":hover, :focus-within")) removeAfter(title, LINGER_MS);
    else remove(title);
  }, ms);
}

function remove(title: string): void {
  const toast = shown.get(title);
  if (toast === undefined) return;
  window.clearTimeout(toast.timer);
  toast.element.remove();
  shown.delete(title);
}

document.addEventListener("keydown", (event) => {
  const newest = [...shown.keys()].at(-1);
  // Escape is first for what is open above the page.
  if (event.key !== "Escape" || document.querySelector(":modal, :popover-open") !== null) return;
  if (newest !== undefined) remove(newest);
});
