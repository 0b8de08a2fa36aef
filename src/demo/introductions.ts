/**
 * The names of those who have not written yet. The server knows connections only, so each page says its name on a channel
 * beside the room's, and who comes later reads what that channel keeps.
 */

import type { Client, Message, Sender, Subscription } from "starling-edge/client";
import { retryWhileTemporary } from "./retry.js";

export interface IntroductionsOptions {
  readonly client: Client;
  /** The room's. */
  readonly channel: string;
  /** Undefined: one has none to tell. */
  readonly toldName: () => string | undefined;
  /** How many are in the room. */
  readonly count: () => number;
  readonly learn: (member: Sender | undefined, name: string) => void;
}

const SUFFIX = ":names";
const READ_MAX = 100;
/** What was said longer ago may not be kept any more: it is said again when someone comes. */
const FRESH_MS = 240_000;
/** Each name goes to everyone: in a larger crowd only what people write names them. */
const CROWD_MAX = 50;
/** Those who come, or come back, at once speak one after the other: so long for each. */
const TURN_MS = 40;

export class Introductions {
  readonly #options: IntroductionsOptions;
  readonly #channel: string;
  readonly #subscription: Subscription;
  #saidAt = -Infinity;
  #timer: number | undefined;
  #gone = false;

  constructor(options: IntroductionsOptions) {
    const { client, channel } = options;
    this.#options = options;
    this.#channel = channel + SUFFIX;
    this.#subscription = client.subscribe(this.#channel, (message) => this.#heard(message), {
      // Also after each reconnect: the connection is another, and it is the connection that has the name.
      onSubscribed: () => {
        this.say();
        void this.#read();
      },
      onJoin: () => {
        if (performance.now() - this.#saidAt > FRESH_MS) this.say();
      },
      // Where it is not allowed, what people write names them.
      onUnsubscribed: ({ message }) => console.debug("names", message),
    });
  }

  /** Tells one's name soon. */
  say(): void {
    const delayMs = Math.random() * this.#options.count() * TURN_MS;
    this.#timer ??= window.setTimeout(() => {
      this.#timer = undefined;
      this.#sayNow();
    }, delayMs);
  }

  stop(): void {
    this.#gone = true;
    window.clearTimeout(this.#timer);
    this.#subscription.unsubscribe();
  }

  #sayNow(): void {
    const { client, toldName, count } = this.#options;
    const name = toldName();
    if (name === undefined || count() > CROWD_MAX || !this.#subscription.subscribed) return;
    this.#saidAt = performance.now();
    void this.#try(() => client.publish(this.#channel, { name }));
  }

  async #read(): Promise<void> {
    const ask = { limit: READ_MAX, reverse: true };
    const page = await this.#try(() => this.#options.client.history(this.#channel, ask));
    for (const message of [...(page?.publications ?? [])].reverse()) this.#heard(message);
  }

  #heard({ content, from }: Message): void {
    const { name } = (content ?? {}) as { name?: unknown };
    if (typeof name === "string") this.#options.learn(from, name);
  }

  async #try<Answer>(ask: () => Promise<Answer>): Promise<Answer | undefined> {
    try {
      return await retryWhileTemporary(ask, () => !this.#gone && this.#subscription.subscribed);
    } catch (error) {
      console.debug("names", error);
      return undefined;
    }
  }
}
