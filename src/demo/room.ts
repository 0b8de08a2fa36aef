/** One channel's conversation, in the order in which the server delivered it, over every interruption. */

import type { Client, Message, Removal, StarlingError, Subscribed, Subscription } from "starling-edge/client";
import { makeBubble, setFate, setNode, setTime, type Bubble } from "./bubble.js";
import { plural } from "./dom.js";
import { whatFailed } from "./failure.js";
import type { OwnConnections } from "./own-connections.js";
import { retryWhileTemporary } from "./retry.js";
import { People } from "./people.js";
import { Timeline, type Note } from "./timeline.js";
import { readMessage, newId, type ChatMessage, type ChatContent } from "./chat-message.js";

export interface RoomOptions {
  readonly client: Client;
  readonly channel: string;
  readonly mine: OwnConnections;
  /** The name to tell the others; undefined: none. */
  readonly toldName: () => string | undefined;
  /** Something is there that was not before; `heard`: from someone else, and new. */
  readonly grown: (heard: boolean) => void;
  /** The server did not let this page in. */
  readonly refused: (why: Removal) => void;
  /** Who is here is another number, or other names. */
  readonly peopled: () => void;
  readonly failed: (error: StarlingError) => void;
}

/** Messages that are read from history when the channel is joined. */
const EARLIER_MAX = 50;
/** Offline, a message waits this long for a connection. */
const PUBLISH_TIMEOUT_MS = 60_000;

interface Own {
  readonly words: ChatContent;
  readonly bubble: Bubble;
}

/** The line that tells of an interruption. */
interface Return {
  readonly note: Note;
  readonly words: string;
  caughtUp: number;
}

export class Room {
  readonly channel: string;
  readonly people: People;
  /** joining: the server has not answered yet. removed: it took the subscription away. */
  standing: "joining" | "joined" | "removed" = "joining";
  /** Nobody can read later what is said here now. */
  keepsNothing = false;
  /** Messages seen here since it was joined. */
  count = 0;
  /** How many of them came while another channel was shown. */
  unread = 0;
  readonly #options: RoomOptions;
  readonly #timeline: Timeline;
  readonly #subscription: Subscription;
  /** What was sent here and has not come back from the server, oldest first. */
  readonly #outbox = new Map<string, Own>();
  /** Whether the channel keeps history; undefined until it answered. */
  #keeps: boolean | undefined;
  #loading = false;
  #gone = false;
  /** The server has not said yet what was missed. */
  #return: Return | undefined;
  /** What comes now was missed. */
  #catchingUp: Return | undefined;
  /** The newest line that tells of a loss. */
  #loss: Element | undefined;

  constructor(options: RoomOptions) {
    const { client, channel, mine, toldName, peopled } = options;
    this.#options = options;
    this.channel = channel;
    this.people = new People({ client, channel, isPast: mine.isPast, toldName, changed: peopled });
    this.#timeline = new Timeline({
      label: `Messages in ${channel}`,
      trimmed: ({ id }) => id !== undefined && this.#outbox.delete(id),
    });
    this.#subscription = client.subscribe(channel, (message) => this.#heard(message), {
      onSubscribed: (subscribed) => this.#subscribed(subscribed),
      onUnsubscribed: (removal) => this.#removed(removal),
      onGap: ({ recovered }) => {
        if (!recovered) this.#lost();
      },
    });
  }

  get list(): HTMLOListElement {
    return this.#timeline.list;
  }

  /** Shown dimmed until the server has acknowledged it. */
  say(name: string, text: string): void {
    const words: ChatContent = { name, text, id: newId(), at: Date.now() };
    const bubble = makeBubble({
      own: true,
      name,
      text,
      origin: "",
      node: undefined,
      id: words.id,
      position: undefined,
      at: new Date(words.at),
      fate: "pending",
    });
    const own = { words, bubble };
    this.#outbox.set(words.id, own);
    this.count++;
    this.#timeline.place(bubble, null);
    this.#publish(own);
    this.#options.grown(false);
  }

  /** The connection is there again. @param words what happened to it */
  back(words: string, resumed: boolean): void {
    const note = this.#timeline.note(words, resumed ? "good" : "bad", this.#firstPending());
    this.#return = { note, words, caughtUp: 0 };
    // Restored without a position: nothing more will be said about it.
    if (this.#subscription.subscribed) this.#settle(undefined);
    this.#options.grown(false);
  }

  leave(): void {
    this.#gone = true;
    this.people.stop();
    this.#subscription.unsubscribe();
    this.list.remove();
  }

  #removed(removal: Removal): void {
    // What was heard before stays to be read.
    if (this.standing === "joining") return this.#options.refused(removal);
    this.standing = "removed";
    this.#note(`Removed from this channel: ${removal.message}`);
  }

  #subscribed({ recovered }: Subscribed): void {
    const isNew = this.standing === "joining";
    this.standing = "joined";
    if (isNew) this.#options.grown(false);
    if (this.#keeps === undefined) void this.#load();
    this.#settle(recovered);
  }

  /** @param recovered what the server says of what was missed; undefined where it promises nothing */
  #settle(recovered: boolean | undefined): void {
    const back = this.#return;
    if (back === undefined) return;
    this.#return = undefined;
    if (recovered === true) this.#catchUp(back);
    else if (recovered === undefined && this.#keeps === false) {
      back.note.say(`${back.words}: what was said meanwhile is not kept`, "plain");
    } else this.#lost(back);
  }

  /** What was missed follows at once, so all of it is here when a ping that is sent now is answered. */
  #catchUp(back: Return): void {
    this.#catchingUp = back;
    const done = (whole: boolean): void => {
      if (this.#catchingUp === back) this.#catchingUp = undefined;
      const { note, words, caughtUp } = back;
      if (caughtUp > 0) note.say(`${words}: caught up on ${plural(caughtUp, "message", "messages")}`, "good");
      else if (whole) note.say(`${words}: nothing was missed`, "good");
    };
    this.#options.client.ping().then(
      () => done(true),
      () => done(false),
    );
  }

  /** Says so, and shows what the channel still has. */
  #lost(back?: Return): void {
    // Of one loss the client tells twice: with the subscription, and as a gap.
    const loss = this.#loss;
    const told = loss?.parentNode === this.list && this.#timeline.positionBelow(loss) === undefined;
    if (back === undefined && told) return;
    if (back === undefined) {
      this.#loss = this.#note("Some messages may be missing here").element;
    } else {
      back.note.say(`${back.words}: some messages may be missing`, "bad");
      this.#loss = back.note.element;
    }
    if (this.#keeps === true) void this.#load(this.#loss);
  }

  /** @param below where what the page does not have belongs; at the top without it */
  async #load(below?: Element): Promise<void> {
    if (this.#loading) return;
    this.#loading = true;
    const { client, grown } = this.#options;
    try {
      const wanted = (): boolean => !this.#gone && client.state === "connected";
      const ask = { limit: EARLIER_MAX, reverse: true };
      const { publications } = await retryWhileTemporary(() => client.history(this.channel, ask), wanted);
      this.#keeps = true;
      this.#timeline.quietly(() => this.#insert([...publications].reverse(), below));
      grown(false);
    } catch (error) {
      const { code, temporary } = error as StarlingError;
      // Where nothing is kept there is nothing to show; otherwise the next connection asks again.
      if (!temporary) this.#keeps = false;
      this.keepsNothing = code === "not_enabled";
      grown(false);
      console.debug("history", error);
    } finally {
      this.#loading = false;
    }
  }

  #insert(messages: readonly Message[], below: Element | undefined): void {
    const live = this.#timeline.positionBelow(below);
    const end = below === undefined ? this.list.firstElementChild : below.nextElementSibling;
    const divider = this.#timeline.note("Earlier messages above", "plain", end).element;
    let inserted = 0;
    for (const message of messages) {
      // From there on everything comes, or came, by itself.
      if (live !== undefined && (message.epoch !== live.epoch || message.offset! >= live.offset)) break;
      // The page is full.
      if (divider.parentNode !== this.list) break;
      const heard = readMessage(message);
      if (this.#take(message, heard, heard.saidAt, divider) !== undefined) inserted++;
    }
    if (below !== undefined || inserted === 0) this.#timeline.remove(divider);
  }

  #publish(own: Own): void {
    const { client } = this.#options;
    const { words, bubble } = own;
    setFate(bubble, "pending", client.state === "connected" ? "Sending…" : "Waits for the connection");
    const options = { timeoutMs: PUBLISH_TIMEOUT_MS, messageId: words.id };
    client.publish(this.channel, words, options).then(
      () => this.#sent(bubble),
      (error: StarlingError) => this.#refused(own, error),
    );
  }

  #sent(bubble: Bubble): void {
    if (bubble.fate === "sent") return;
    setFate(bubble, "sent");
    this.#timeline.regroup(bubble.element);
  }

  #refused(own: Own, error: StarlingError): void {
    // It came back from the server already: only the answer is missing.
    if (own.bubble.fate === "sent") return;
    setFate(own.bubble, "failed", `${whatFailed(error)}.`, () => this.#retry(own));
    this.#timeline.regroup(own.bubble.element.nextElementSibling);
    this.#options.failed(error);
    this.#options.grown(false);
  }

  /** With the same id: where the first try did arrive after all, this one is seen as a repetition. */
  #retry(own: Own): void {
    const { id } = own.words;
    this.#outbox.delete(id);
    this.#outbox.set(id, own);
    setTime(own.bubble, new Date());
    this.#timeline.place(own.bubble, null);
    this.#publish(own);
    this.#options.grown(false);
  }

  #heard(message: Message): void {
    const heard = readMessage(message);
    const missed = this.#catchingUp;
    const at = missed === undefined ? new Date() : (heard.saidAt ?? new Date());
    const whose = this.#take(message, heard, at, this.#firstPending());
    if (whose === undefined) return;
    if (missed !== undefined && whose === "other") missed.caughtUp++;
    this.#options.grown(whose === "other");
  }

  /** Shows a message that is not there yet. @returns whose it is; undefined: it was shown already */
  #take(
    message: Message,
    heard: ChatMessage,
    at: Date | undefined,
    before: Element | null,
  ): "own" | "other" | undefined {
    const { id, position } = heard;
    const sent = id === undefined ? undefined : this.#outbox.get(id);
    if (sent !== undefined) {
      this.#outbox.delete(sent.words.id);
      this.#sent(sent.bubble);
      setNode(sent.bubble, heard.node);
      setTime(sent.bubble, at);
      sent.bubble.position = position;
      this.#timeline.place(sent.bubble, before);
      return "own";
    }
    if (this.#timeline.has(id, position)) return undefined;
    const own = this.#options.mine.isOwn(message.from);
    if (heard.named) this.people.learn(message.from, heard.name);
    this.count++;
    this.#timeline.place(makeBubble({ own, ...heard, at, fate: "sent" }), before);
    return own ? "own" : "other";
  }

  #note(text: string): Note {
    const note = this.#timeline.note(text, "bad", this.#firstPending());
    this.#options.grown(false);
    return note;
  }

  /** What has no place in the channel's order yet stays below what has. */
  #firstPending(): Element | null {
    for (const { bubble } of this.#outbox.values()) if (bubble.fate === "pending") return bubble.element;
    return null;
  }
}
