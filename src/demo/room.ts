/** One channel's conversation: a bounded list in the order in which the server delivered it. */

import type { Client, Message, StarlingError, Subscription } from "starling-edge/client";
import { joinBlock, makeBubble, setFate, setNode, setTime, type Bubble } from "./bubble.js";
import { make } from "./dom.js";
import { hear, newId, type Words } from "./words.js";

export interface RoomOptions {
  readonly client: Client;
  readonly channel: string;
  /** Something is there that was not before; `heard`: from someone else. */
  readonly grown: (heard: boolean) => void;
  readonly failed: (error: StarlingError) => void;
}

/** Older ones leave the page. */
const SHOWN_MAX = 500;
/** Offline, a message waits this long for a connection. */
const PUBLISH_TIMEOUT_MS = 60_000;

interface Own {
  readonly words: Words;
  readonly bubble: Bubble;
}

export class Room {
  readonly channel: string;
  readonly list: HTMLOListElement;
  /** Messages said here since it was joined. */
  count = 0;
  /** How many of them came while another channel was shown. */
  unread = 0;
  readonly #options: RoomOptions;
  readonly #subscription: Subscription;
  readonly #bubbles = new Map<Element, Bubble>();
  /** Ids of what is shown: the same again is a repetition, not a message. */
  readonly #ids = new Map<string, Bubble>();
  /** What was sent here and has not come back from the server, oldest first. */
  readonly #outbox = new Map<string, Own>();

  constructor(options: RoomOptions) {
    this.#options = options;
    this.channel = options.channel;
    this.list = make("ol", {
      className: "messages",
      attributes: { role: "log", "aria-label": `Messages in ${options.channel}` },
    });
    this.#subscription = options.client.subscribe(options.channel, (message) => this.#heard(message), {
      onUnsubscribed: ({ code, message }) => this.note(`Not in this channel: ${message} (${code})`, "bad"),
    });
  }

  /** Shown dimmed until the server has acknowledged it. */
  say(name: string, text: string): void {
    const words: Words = { name, text, id: newId() };
    const bubble = makeBubble({ own: true, name, text, origin: "", node: undefined, fate: "pending" });
    this.#outbox.set(words.id, { words, bubble });
    this.#ids.set(words.id, bubble);
    this.count++;
    this.#place(bubble, null);
    this.#publish({ words, bubble });
    this.#options.grown(false);
  }

  /** A line between the messages, about the connection. */
  note(text: string, kind: "good" | "bad"): void {
    const element = make("li", { className: "note", attributes: { "data-kind": kind } }, [
      make("span", { text }),
    ]);
    this.list.insertBefore(element, this.#firstPending());
    this.#regroup(element.nextElementSibling);
    this.#trim();
    this.#options.grown(false);
  }

  leave(): void {
    this.#subscription.unsubscribe();
    this.list.remove();
  }

  #publish(own: Own): void {
    const { client } = this.#options;
    const { words, bubble } = own;
    setFate(bubble, "pending", client.state === "connected" ? "Sending…" : "Waits for the connection");
    client.publish(this.channel, words, { timeoutMs: PUBLISH_TIMEOUT_MS }).then(
      () => this.#sent(bubble),
      (error: StarlingError) => this.#refused(own, error),
    );
  }

  #sent(bubble: Bubble): void {
    if (bubble.fate === "sent") return;
    setFate(bubble, "sent");
    this.#regroup(bubble.element);
  }

  #refused(own: Own, error: StarlingError): void {
    // It came back from the server already: only the answer is missing.
    if (own.bubble.fate === "sent") return;
    setFate(own.bubble, "failed", `${whatFailed(error)}.`, () => this.#retry(own));
    this.#regroup(own.bubble.element.nextElementSibling);
    this.#options.failed(error);
    this.#options.grown(false);
  }

  /** With the same id: where the first try did arrive after all, this one is seen as a repetition. */
  #retry(own: Own): void {
    const { id } = own.words;
    this.#outbox.delete(id);
    this.#outbox.set(id, own);
    setTime(own.bubble, new Date());
    this.#place(own.bubble, null);
    this.#publish(own);
    this.#options.grown(false);
  }

  #heard(message: Message): void {
    const heard = hear(message);
    const own = heard.id === undefined ? undefined : this.#outbox.get(heard.id);
    if (heard.id !== undefined && own !== undefined) {
      this.#outbox.delete(heard.id);
      this.#sent(own.bubble);
      setNode(own.bubble, heard.node);
      setTime(own.bubble, new Date());
      this.#place(own.bubble, this.#firstPending());
      this.#options.grown(false);
      return;
    }
    if (heard.id !== undefined && this.#ids.has(heard.id)) return;
    const bubble = makeBubble({ own: false, ...heard, fate: "sent" });
    if (heard.id !== undefined) this.#ids.set(heard.id, bubble);
    this.count++;
    this.#place(bubble, this.#firstPending());
    this.#options.grown(true);
  }

  /** What has no place in the channel's order yet stays below what has. */
  #firstPending(): Element | null {
    for (const { bubble } of this.#outbox.values()) if (bubble.fate === "pending") return bubble.element;
    return null;
  }

  #place(bubble: Bubble, before: Element | null): void {
    const { element } = bubble;
    if (before !== element && (element.nextElementSibling !== before || !element.isConnected)) {
      const after = element.nextElementSibling;
      this.#bubbles.set(element, bubble);
      this.list.insertBefore(element, before);
      this.#regroup(after);
    }
    this.#regroup(element);
    this.#regroup(element.nextElementSibling);
    this.#trim();
  }

  #regroup(element: Element | null): void {
    const bubble = element === null ? undefined : this.#bubbles.get(element);
    if (bubble === undefined) return;
    const before = bubble.element.previousElementSibling;
    joinBlock(bubble, before === null ? undefined : this.#bubbles.get(before));
  }

  #trim(): void {
    while (this.list.childElementCount > SHOWN_MAX) {
      const oldest = this.list.firstElementChild!;
      const bubble = this.#bubbles.get(oldest);
      oldest.remove();
      this.#bubbles.delete(oldest);
      for (const [id, other] of this.#ids) {
        if (other !== bubble) continue;
        this.#ids.delete(id);
        this.#outbox.delete(id);
        break;
      }
      this.#regroup(this.list.firstElementChild);
    }
  }
}

function whatFailed(error: StarlingError): string {
  switch (error.code) {
    case "rate_limited":
      return "Not sent: too fast for this node";
    case "unknown":
      return "The connection broke: perhaps it was sent";
    case "timeout":
      return error.sent ? "No answer: perhaps it was sent" : "Not sent: there was no connection";
    case "unavailable":
      return "Not sent: the node cannot reach the others";
    default:
      return `Not sent: ${error.message}`;
  }
}
