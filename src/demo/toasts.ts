/** What went wrong, for a moment, at the edge of the page. */

import { byId, make } from "./dom.js";

const SHOWN_MS = 8000;
const AT_ONCE = 3;

interface Toast {
  readonly element: HTMLElement;
  readonly text: HTMLElement;
  times: number;
  timer: number;
}

const shown = new Map<string, Toast>();

/** The same title again only counts up. */
export function toast(title: string, detail: string): void {
  const before = shown.get(title);
  if (before !== undefined) {
    window.clearTimeout(before.timer);
    before.times++;
    before.text.textContent = `${detail} (${before.times} times)`;
    before.timer = window.setTimeout(() => remove(title), SHOWN_MS);
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
  shown.set(title, { element, text, times: 1, timer: window.setTimeout(() => remove(title), SHOWN_MS) });
  const [oldest] = shown.keys();
  if (shown.size > AT_ONCE && oldest !== undefined) remove(oldest);
}

function remove(title: string): void {
  const toast = shown.get(title);
  if (toast === undefined) return;
  window.clearTimeout(toast.timer);
  toast.element.remove();
  shown.delete(title);
}
