/** One message as it is shown. */

import type { Position } from "starling-edge/client";
import { make, paintAvatar } from "./dom.js";

/** pending: not acknowledged yet. failed: it may be tried again. */
export type Fate = "pending" | "sent" | "failed";

export interface Bubble {
  readonly element: HTMLLIElement;
  /** Messages with the same key, one after the other, are shown as one block. */
  readonly key: string;
  readonly id: string | undefined;
  /** Where it stands in the channel's history, once it came from the server. */
  position: Position | undefined;
  /** Undefined: nobody knows. */
  at: Date | undefined;
  fate: Fate;
}

export interface BubbleParts {
  readonly own: boolean;
  readonly name: string;
  readonly text: string;
  readonly origin: string;
  readonly node: string | undefined;
  readonly id: string | undefined;
  readonly position: Position | undefined;
  readonly at: Date | undefined;
  readonly fate: Fate;
}

/** A block ends after such a pause. */
const BLOCK_MS = 120_000;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});

export function makeBubble(parts: BubbleParts): Bubble {
  const { own, name, text, origin, node, id, position, at, fate } = parts;
  const avatar = make("span", { className: "avatar", attributes: { "aria-hidden": "true" } });
  paintAvatar(avatar, name);
  const author = own
    ? make("span", { className: "name", text: "You" })
    : make("bdi", { className: "name", text: name, title: origin });
  const head = make("p", { className: "by" }, [
    author,
    ...(node === undefined
      ? []
      : [make("span", { className: "via", text: node, title: "The node that took this message" })]),
    make("time", { className: "at" }),
  ]);
  const body = make("p", { className: "words", text, attributes: { dir: "auto" } });
  const note = make("p", { className: "fate" });
  const element = make("li", { className: "message" }, [
    ...(own ? [] : [avatar]),
    make("div", { className: "message-body" }, [head, body, note]),
  ]);
  if (own) element.dataset["own"] = "";
  const bubble: Bubble = { element, key: own ? "own" : `${origin}\n${name}`, id, position, at, fate };
  setTime(bubble, at);
  setFate(bubble, fate);
  return bubble;
}

export function setTime(bubble: Bubble, at: Date | undefined): void {
  bubble.at = at;
  const time = bubble.element.querySelector("time");
  if (time === null || at === undefined) return;
  time.dateTime = at.toISOString();
  const today = at.toDateString() === new Date().toDateString();
  time.textContent = (today ? clock : calendar).format(at);
  time.title = at.toLocaleString();
}

export function setNode(bubble: Bubble, node: string | undefined): void {
  if (node === undefined || bubble.element.querySelector(".via") !== null) return;
  const via = make("span", { className: "via", text: node, title: "The node that took this message" });
  bubble.element.querySelector(".name")?.after(via);
}

export function setFate(bubble: Bubble, fate: Fate, note = "", retry?: () => void): void {
  bubble.fate = fate;
  bubble.element.dataset["fate"] = fate;
  const line = bubble.element.querySelector(".fate");
  if (line === null) return;
  line.textContent = note;
  if (retry === undefined) return;
  const button = make("button", { className: "retry", text: "Send again", attributes: { type: "button" } });
  button.addEventListener("click", retry);
  line.append(" ", button);
}

/** Whether `bubble` goes on with the block of the one before it. */
export function joinBlock(bubble: Bubble, before: Bubble | undefined): void {
  const joined =
    before !== undefined &&
    before.key === bubble.key &&
    before.fate !== "failed" &&
    (bubble.at?.getTime() ?? 0) - (before.at?.getTime() ?? 0) < BLOCK_MS;
  bubble.element.toggleAttribute("data-joined", joined);
}
