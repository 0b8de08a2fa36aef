/** The room: what is said goes by the back end, as Pusher's public channels have it, and is heard from the channel. */

import { makeBubble, setFate, setTime, type Bubble } from "../bubble.js";
import { newId, readMessage } from "../chat-message.js";
import { byId, plural } from "../dom.js";
import { followEnd } from "../end.js";
import { Timeline } from "../timeline.js";
import type { Pusher } from "./pusher-js.js";

export interface LobbyOptions {
  readonly pusher: Pusher;
  readonly channel: string;
  /** A message of this person came. */
  readonly heardFrom: (name: string) => void;
}

interface Own {
  readonly words: { readonly name: string; readonly text: string; readonly id: string };
  readonly bubble: Bubble;
}

/** What Starling's own clients publish without a name for it has this one. */
const EVENT = "message";
const POST_TIMEOUT_MS = 10_000;

export class Lobby {
  readonly #options: LobbyOptions;
  readonly #timeline: Timeline;
  readonly #end = followEnd();
  /** What was sent here and has not come back from the channel. */
  readonly #outbox = new Map<string, Own>();
  #count = 0;
  #wasConnected = false;

  constructor(options: LobbyOptions) {
    this.#options = options;
    const { pusher, channel } = options;
    byId("channel", HTMLElement).textContent = channel;
    this.#timeline = new Timeline({
      label: `Messages in ${channel}`,
      trimmed: ({ id }) => id !== undefined && this.#outbox.delete(id),
    });
    byId("conversation", HTMLElement).replaceChildren(this.#timeline.list);
    pusher.subscribe(channel).bind(EVENT, (data: unknown) => this.#heard(data));
    pusher.connection.bind("connected", () => this.#connected());
    this.#refresh();
  }

  /** Shown dimmed until the back end has taken it. */
  say(name: string, text: string): void {
    const words = { name, text, id: newId() };
    const bubble = makeBubble({
      ...{ own: true, name, text, origin: "", node: undefined },
      ...{ id: words.id, position: undefined, at: new Date(), fate: "pending" },
    });
    const own = { words, bubble };
    this.#outbox.set(words.id, own);
    this.#count++;
    this.#timeline.place(bubble, null);
    void this.#post(own);
    this.#end.toEnd();
    this.#refresh();
  }

  async #post(own: Own): Promise<void> {
    const { words, bubble } = own;
    setFate(bubble, "pending", "Sending…");
    try {
      const response = await fetch("/pusher/messages", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(words),
        signal: AbortSignal.timeout(POST_TIMEOUT_MS),
      });
      if (!response.ok) throw new Error((await response.text()).trim());
      this.#sent(bubble);
    } catch (error) {
      // It came back from the channel already: only the answer is missing.
      if (!this.#outbox.has(words.id)) return;
      setFate(bubble, "failed", `Not sent: ${(error as Error).message}.`, () => void this.#post(own));
      this.#timeline.regroup(bubble.element.nextElementSibling);
      this.#end.grown(false);
    }
  }

  #sent(bubble: Bubble): void {
    if (bubble.fate === "sent") return;
    setFate(bubble, "sent");
    this.#timeline.regroup(bubble.element);
  }

  #heard(data: unknown): void {
    const heard = readMessage({ content: data } as Parameters<typeof readMessage>[0]);
    const own = heard.id === undefined ? undefined : this.#outbox.get(heard.id);
    if (own !== undefined) {
      this.#outbox.delete(own.words.id);
      this.#sent(own.bubble);
      setTime(own.bubble, new Date());
      // In the order in which everyone hears it.
      this.#timeline.place(own.bubble, this.#firstPending());
      return;
    }
    if (this.#timeline.has(heard.id, undefined)) return;
    this.#options.heardFrom(heard.name);
    this.#count++;
    const bubble = makeBubble({ ...heard, own: false, at: new Date(), fate: "sent" });
    this.#timeline.place(bubble, this.#firstPending());
    this.#end.grown(true);
    this.#refresh();
  }

  #connected(): void {
    if (this.#wasConnected) {
      const words = "Connected again: what was said meanwhile is not kept here";
      this.#timeline.note(words, "plain", this.#firstPending());
      this.#end.grown(false);
      this.#refresh();
    }
    this.#wasConnected = true;
  }

  #firstPending(): Element | null {
    for (const { bubble } of this.#outbox.values()) if (bubble.fate === "pending") return bubble.element;
    return null;
  }

  #refresh(): void {
    byId("count", HTMLElement).textContent = plural(this.#count, "message", "messages");
    byId("empty", HTMLElement).hidden = this.#timeline.list.childElementCount > 0;
  }
}
