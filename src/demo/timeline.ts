/** What is shown of one channel: a bounded list of messages, and of lines between them. */

import type { Position } from "starling-edge/client";
import { joinBlock, type Bubble } from "./bubble.js";
import { make } from "./dom.js";

/** good, bad: how the connection fared. plain: a divider. */
export type NoteKind = "good" | "bad" | "plain";

export interface Note {
  readonly element: HTMLLIElement;
  say(text: string, kind: NoteKind): void;
}

export interface TimelineOptions {
  readonly label: string;
  /** A message left the page to make room. */
  readonly trimmed: (bubble: Bubble) => void;
}

/** Older ones leave the page. */
const SHOWN_MAX = 500;
/** Longer than a screen reader takes to see what changed. */
const QUIET_MS = 1000;

export class Timeline {
  readonly list: HTMLOListElement;
  readonly #options: TimelineOptions;
  readonly #bubbles = new Map<Element, Bubble>();
  /** Ids of what is shown: the same again is a repetition, not a message. */
  readonly #ids = new Map<string, Bubble>();
  /** Positions of what is shown: history and what comes live overlap. */
  readonly #positions = new Set<string>();

  constructor(options: TimelineOptions) {
    this.#options = options;
    this.list = make("ol", {
      className: "messages",
      attributes: { role: "log", "aria-label": options.label },
    });
  }

  has(id: string | undefined, position: Position | undefined): boolean {
    return (
      (id !== undefined && this.#ids.has(id)) ||
      (position !== undefined && this.#positions.has(show(position)))
    );
  }

  /** Where the first message below `anchor` stands in history; below the top without one. */
  positionBelow(anchor: Element | undefined): Position | undefined {
    let element = anchor === undefined ? this.list.firstElementChild : anchor.nextElementSibling;
    for (; element !== null; element = element.nextElementSibling) {
      const position = this.#bubbles.get(element)?.position;
      if (position !== undefined) return position;
    }
    return undefined;
  }

  /** Puts a message, new or moved, before another element; null: at the end. */
  place(bubble: Bubble, before: Element | null): void {
    const { element, id, position } = bubble;
    if (id !== undefined) this.#ids.set(id, bubble);
    if (position !== undefined) this.#positions.add(show(position));
    if (before !== element && (element.nextElementSibling !== before || element.parentNode !== this.list)) {
      const after = element.nextElementSibling;
      this.#bubbles.set(element, bubble);
      this.list.insertBefore(element, before);
      this.regroup(after);
    }
    this.regroup(element);
    this.regroup(element.nextElementSibling);
    this.#trim();
  }

  note(text: string, kind: NoteKind, before: Element | null): Note {
    const words = make("span");
    const element = make("li", { className: "note" }, [words]);
    const say: Note["say"] = (newText, newKind) => {
      words.textContent = newText;
      element.dataset["kind"] = newKind;
    };
    say(text, kind);
    this.list.insertBefore(element, before);
    this.regroup(element.nextElementSibling);
    this.#trim();
    return { element, say };
  }

  /** Takes a line out again. */
  remove(element: Element): void {
    const after = element.nextElementSibling;
    element.remove();
    this.regroup(after);
  }

  /** Whether an element goes on with the block of the one above it. */
  regroup(element: Element | null): void {
    const bubble = element === null ? undefined : this.#bubbles.get(element);
    if (bubble === undefined) return;
    const before = bubble.element.previousElementSibling;
    joinBlock(bubble, before === null ? undefined : this.#bubbles.get(before));
  }

  /** What `change` adds is old: a screen reader must not read it all out. */
  quietly(change: () => void): void {
    this.list.setAttribute("aria-live", "off");
    change();
    window.setTimeout(() => this.list.removeAttribute("aria-live"), QUIET_MS);
  }

  #trim(): void {
    while (this.list.childElementCount > SHOWN_MAX) {
      const oldest = this.list.firstElementChild!;
      const bubble = this.#bubbles.get(oldest);
      oldest.remove();
      if (bubble !== undefined) this.#forget(bubble);
      this.regroup(this.list.firstElementChild);
    }
  }

  #forget(bubble: Bubble): void {
    this.#bubbles.delete(bubble.element);
    if (bubble.id !== undefined && this.#ids.get(bubble.id) === bubble) this.#ids.delete(bubble.id);
    if (bubble.position !== undefined) this.#positions.delete(show(bubble.position));
    this.#options.trimmed(bubble);
  }
}

function show({ offset, epoch }: Position): string {
  return `${offset} ${epoch}`;
}
