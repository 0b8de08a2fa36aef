/**
 * Slow readers whose channels can all be repaired are skipped rather than closed:
 * taken off their topics where they stand, and once they have read what waited for
 * them, given what they missed by the rule by which everyone joins. So are those who
 * join and missed more than may wait for them: they get it in parts.
 */

import type { Position } from "./publication.js";
import type { LocalChannel } from "./channel.js";
import type { JoinOutcome } from "./channel-feed.js";
import type { Connection } from "./connection.js";
import * as smallSet from "./small-set.js";
import type { Hub } from "./hub.js";
import type { Log } from "./log.js";
import type { Stats } from "./stats.js";

export class SlowReaders {
  readonly #hub: Hub;
  readonly #stats: Stats;
  readonly #log: Log;
  readonly #maxBytes: number;
  /** With less than this waiting a reader has caught up. */
  readonly #drainedBytes: number;
  readonly #skipped = new Set<Connection>();
  readonly #rejoining = new Set<Connection>();

  constructor(options: { hub: Hub; stats: Stats; log: Log; maxBufferedBytes: number }) {
    this.#hub = options.hub;
    this.#stats = options.stats;
    this.#log = options.log;
    this.#maxBytes = options.maxBufferedBytes;
    this.#drainedBytes = Math.floor(options.maxBufferedBytes / 4);
  }

  /** Closes a client for whom more waits than allowed, while its close frame still gets through, or skips it. */
  check(connection: Connection): void {
    const buffered = connection.bufferedBytes();
    if (buffered <= this.#maxBytes) return;
    // A reader that is off all of its channels gets only answers: if those pile up too, it is not reading.
    const nothingLeft = connection.skipped?.size === smallSet.size(connection.channels);
    if (nothingLeft ? buffered > this.#maxBytes * 1.5 : !this.skip(connection)) connection.closeSlow();
  }

  /** @returns false: a channel of it has no way to repair, so it must be closed */
  skip(connection: Connection): boolean {
    if (connection.channels === undefined) return false;
    for (const { rules, feed } of smallSet.items(connection.channels)) {
      if (rules.slowReader === "disconnect" || feed?.position === undefined) return false;
    }
    connection.skipped ??= new Map();
    for (const channel of smallSet.items(connection.channels)) {
      if (connection.skipped.has(channel)) continue;
      // All up to here was handed to the transport, which still has room for it.
      connection.skipped.set(channel, channel.feed!.position);
      channel.skipped++;
      connection.leaveTopic(channel);
    }
    this.#skipped.add(connection);
    this.#stats.slowSkips++;
    return true;
  }

  /** A subscriber of a channel has had it up to `position` only: it is not on the topic. */
  behind(connection: Connection, channel: LocalChannel, position: Position): void {
    connection.skipped ??= new Map();
    if (!connection.skipped.has(channel)) channel.skipped++;
    connection.skipped.set(channel, position);
    this.#skipped.add(connection);
    this.#goOn(connection);
  }

  /** What was sent may be with the client already: no drain would tell. */
  #goOn(connection: Connection): void {
    setImmediate(() => this.drained(connection));
  }

  /** Bytes of a connection went out: is it time to join again? */
  drained(connection: Connection): void {
    if (connection.skipped === undefined || connection.isClosed) return;
    if (this.#rejoining.has(connection) || connection.bufferedBytes() > this.#drainedBytes) return;
    this.#rejoining.add(connection);
    void this.#rejoin(connection).then((more) => {
      this.#rejoining.delete(connection);
      if (more) this.#goOn(connection);
    });
  }

  /** Those whose history could not be read when they had drained. */
  retry(): void {
    for (const connection of this.#skipped) this.drained(connection);
  }

  forget(connection: Connection): void {
    this.#skipped.delete(connection);
  }

  /** @returns whether there is more that could be sent now */
  async #rejoin(connection: Connection): Promise<boolean> {
    let more = false;
    for (const [channel, since] of [...(connection.skipped ?? [])]) {
      if (connection.isClosed || connection.bufferedBytes() > this.#drainedBytes) break;
      try {
        await channel.feed?.join(since, (outcome) => {
          if (connection.isClosed || connection.skipped?.has(channel) !== true) return;
          // It subscribed again meanwhile, and goes on from where that brought it.
          const elsewhere = connection.skipped.get(channel) !== since;
          const partial = elsewhere || this.#repair(connection, channel, outcome);
          more ||= partial;
        });
      } catch (error) {
        // Kept off it until the next try.
        this.#log.warn(
          { err: error, connection: connection.id },
          "a slow reader could not be repaired from history yet: retrying",
        );
      }
      // History keeps no joins and leaves.
      if (channel.rules.joinLeave && connection.skipped?.has(channel) !== true) {
        await this.#tellPresence(connection, channel);
      }
    }
    connection.checkBuffered();
    return more && !connection.isClosed;
  }

  async #tellPresence(connection: Connection, channel: LocalChannel): Promise<void> {
    try {
      await this.#hub.members.tell(connection, channel);
    } catch (error) {
      this.#log.warn(
        { err: error, connection: connection.id },
        "a slow reader got no presence snapshot: it gets one after the next outage",
      );
    }
  }

  /** @returns whether this was but a part: the connection stays off the topic */
  #repair(connection: Connection, channel: LocalChannel, outcome: JoinOutcome): boolean {
    const latest = channel.rules.slowReader === "latest";
    const told = latest ? outcome : this.#hub.fitting(connection, outcome);
    const partial = told.partial === true;
    const missed = latest ? (partial ? [] : told.missed.slice(-1)) : told.missed;
    const recovered = told.recovered === true && missed.length === told.missed.length;
    if (partial) connection.skipped?.set(channel, told.position);
    connection.notify({
      kind: "repaired",
      channel: channel.name,
      outcome: { ...told, missed },
      recovered,
    });
    this.#hub.sendMissed(connection, channel, { ...told, missed });
    // Until here it counts as skipped, as what it was just sent may have had it closed or skipped anew.
    if (!partial && !connection.isClosed) {
      this.#back(connection, channel);
      connection.joinTopic(channel);
    }
    return partial;
  }

  #back(connection: Connection, channel: LocalChannel): void {
    connection.skipped?.delete(channel);
    channel.skipped--;
    if (connection.skipped?.size !== 0) return;
    connection.skipped = undefined;
    this.#skipped.delete(connection);
  }
}
