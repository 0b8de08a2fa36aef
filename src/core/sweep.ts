/**
 * Native fan-out does not tell who falls behind. But nobody can have fallen behind by more than its
 * channels published: so it is enough to look at everyone when that may be half of what a reader may
 * leave waiting, well before the transport's hard limit would drop.
 */

import type { Connection } from "./connection.js";
import * as smallSet from "./small-set.js";

/** A connection also hears what is sent to its user. */
const USER_CHANNEL = 1;

export class Sweep {
  readonly #connections: ReadonlyMap<string, Connection>;
  /** Those that lost frames: closed by the next look. */
  readonly #lossy = new Set<Connection>();
  #due: NodeJS.Immediate | undefined;
  #mostChannels = USER_CHANNEL;

  constructor(connections: ReadonlyMap<string, Connection>) {
    this.#connections = connections;
  }

  /** At least as many as any connection hears. */
  get mostChannels(): number {
    return this.#mostChannels;
  }

  /** A connection hears more channels than before. */
  note({ channels }: Connection): void {
    this.#mostChannels = Math.max(this.#mostChannels, smallSet.size(channels) + USER_CHANNEL);
  }

  /** Frames for it were dropped. */
  lost(connection: Connection): void {
    this.#lossy.add(connection);
    this.soon();
  }

  forget(connection: Connection): void {
    this.#lossy.delete(connection);
  }

  /** Everyone is looked at behind this turn. */
  soon(): void {
    this.#due ??= setImmediate(() => this.#look());
  }

  #look(): void {
    this.#due = undefined;
    for (const connection of this.#lossy) connection.closeSlow();
    this.#lossy.clear();
    this.#mostChannels = USER_CHANNEL;
    for (const connection of this.#connections.values()) {
      this.note(connection);
      connection.checkBuffered();
    }
  }
}
