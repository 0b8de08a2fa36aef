/**
 * Slow readers whose channels can all be repaired are skipped rather than closed:
 * taken off their topics where they stand, and once they have read what waited for
 * them, given what they missed by the rule by which everyone joins.
 */

import type { LocalChannel } from "./channel.js";
import type { Connection } from "./connection.js";
import * as few from "./few.js";
import type { Hub } from "./hub.js";
import type { Log } from "./log.js";
import { standingOf } from "./standing.js";
import type { Stats } from "./stats.js";

export class SlowReaders {
  readonly #hub: Hub;
  readonly #stats: Stats;
  readonly #log: Log;
  /** With less than this waiting a reader has caught up. */
  readonly #drainedBytes: number;
  readonly #skipped = new Set<Connection>();
  readonly #rejoining = new Set<Connection>();

  constructor(options: { hub: Hub; stats: Stats; log: Log; maxBufferedBytes: number }) {
    this.#hub = options.hub;
    this.#stats = options.stats;
    this.#log = options.log;
    this.#drainedBytes = Math.floor(options.maxBufferedBytes / 4);
  }

  /** @returns false: a channel of it has no way to repair, so it must be closed */
  skip(connection: Connection): boolean {
    if (connection.channels === undefined) return false;
    for (const { rules, feed } of few.items(connection.channels)) {
      if (rules.slowReader === "disconnect" || feed?.position === undefined) return false;
    }
    connection.skipped ??= new Map();
    for (const channel of few.items(connection.channels)) {
      if (connection.skipped.has(channel)) continue;
      // All up to here was handed to the transport, which still has room for it.
      connection.skipped.set(channel, channel.feed!.position);
      channel.joining++;
      connection.unhear(channel);
    }
    this.#skipped.add(connection);
    this.#stats.slowSkips++;
    return true;
  }

  /** Bytes of a connection went out: is it time to join again? */
  drained(connection: Connection): void {
    if (connection.skipped === undefined || connection.isClosed) return;
    if (this.#rejoining.has(connection) || connection.bufferedBytes() > this.#drainedBytes) return;
    this.#rejoining.add(connection);
    void this.#rejoin(connection).finally(() => this.#rejoining.delete(connection));
  }

  /** Those whose history could not be read when they had drained. */
  retry(): void {
    for (const connection of this.#skipped) this.drained(connection);
  }

  forget(connection: Connection): void {
    this.#skipped.delete(connection);
  }

  async #rejoin(connection: Connection): Promise<void> {
    for (const [channel, since] of [...(connection.skipped ?? [])]) {
      try {
        await channel.feed?.join(since, (outcome) => {
          if (connection.isClosed || connection.skipped?.has(channel) !== true) return;
          this.#back(connection, channel);
          const latest = channel.rules.slowReader === "latest";
          const missed = latest ? outcome.missed.slice(-1) : outcome.missed;
          const recovered = outcome.recovered === true && missed.length === outcome.missed.length;
          connection.sendFrame(
            connection.codec.encode({
              type: "gap",
              channel: channel.name,
              ...standingOf({ ...outcome, missed }),
              recovered,
            }),
          );
          this.#hub.sendMissed(connection, channel, missed);
          if (!connection.isClosed) connection.hear(channel);
        });
        // History keeps no joins and leaves.
        if (channel.rules.joinLeave && connection.skipped?.has(channel) !== true) {
          await this.#hub.tellPresenceTo(connection, channel);
        }
      } catch (error) {
        // Kept off it until the next try.
        this.#log.warn(
          { err: error, connection: connection.id },
          "a skipped reader could not be repaired yet",
        );
      }
    }
    connection.checkBuffered();
  }

  #back(connection: Connection, channel: LocalChannel): void {
    connection.skipped?.delete(channel);
    channel.joining--;
    if (connection.skipped?.size !== 0) return;
    connection.skipped = undefined;
    this.#skipped.delete(connection);
  }
}
