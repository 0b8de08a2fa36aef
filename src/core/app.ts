/** Applications: all that belongs to one (channels, users, sessions, presence, limits) is apart from all of another. */

import type { Authorizer } from "./authorizer.js";
import { setBounded } from "./bounded-map.js";
import type { ChannelKey } from "./broker.js";
import type { RulesOf } from "./channel-rules.js";

/** The one that the top-level options describe, and that a client has which names none. */
export const DEFAULT_APP = "main";

/** A text's hash is computed once: a key that is kept costs a look-up, a new one its whole length again and again. */
const KEYS_KEPT = 4_096;

export class App {
  readonly id: string;
  readonly authorizer: Authorizer;
  /** Of a channel by its whole name. */
  readonly rulesOf: RulesOf;
  readonly #keys = new Map<string, ChannelKey>();

  constructor({ id, authorizer, rulesOf }: Pick<App, "id" | "authorizer" | "rulesOf">) {
    this.id = id;
    this.authorizer = authorizer;
    this.rulesOf = rulesOf;
  }

  /** A channel's name on the bus. */
  keyOf(channel: string): ChannelKey {
    return this.#keys.get(channel) ?? setBounded(this.#keys, KEYS_KEPT, channel, `${this.id}/${channel}`);
  }
}

export class Apps implements Iterable<App> {
  readonly #byId: ReadonlyMap<string, App>;
  readonly main: App;

  /** @throws Error where there is no `main`, or two have one id */
  constructor(apps: readonly App[]) {
    this.#byId = new Map(apps.map((app) => [app.id, app]));
    const main = this.#byId.get(DEFAULT_APP);
    if (main === undefined || this.#byId.size < apps.length) {
      throw new Error(`app ids must be unique, and one must be ${DEFAULT_APP}`);
    }
    this.main = main;
  }

  get(id: string): App | undefined {
    return this.#byId.get(id);
  }

  [Symbol.iterator](): Iterator<App> {
    return this.#byId.values();
  }
}
