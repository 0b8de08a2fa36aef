/** Publishes to channels without history, one after the other: what it is told of each is what the next one follows. */

import type { PassingPublication } from "./passing-checker.js";

export class PassingPublisher {
  readonly #name: string;
  readonly #send: (id: string, channel: string) => Promise<PassingPublication["outcome"]>;
  #sequence = 0;
  #generation = 0;
  #busy = false;

  /** @param send  settles with what happened; never rejects */
  constructor(name: string, send: (id: string, channel: string) => Promise<PassingPublication["outcome"]>) {
    this.#name = name;
    this.#send = send;
  }

  /** @returns undefined: the one before is not settled yet */
  async publish(channel: string): Promise<PassingPublication | undefined> {
    if (this.#busy) return undefined;
    this.#busy = true;
    const sequence = this.#sequence++;
    const publisher = `${this.#name}/${this.#generation}`;
    const id = `${publisher}:${sequence}`;
    const sentAtMs = Date.now();
    const outcome = await this.#send(id, channel);
    this.#busy = false;
    // Without an answer it may come after the next one, which goes another way.
    if (outcome === "maybe") this.#generation++;
    const settledAtMs = Date.now();
    return {
      kind: "passing-publication",
      ...{ id, channel, publisher, sequence, sentAtMs, settledAtMs, outcome },
    };
  }
}
