/**
 * Until when a script may run. A server that was stopped runs on waking what waited in its sockets, perhaps after another
 * took over: what it answers then is lost. So such calls carry a deadline by the server's own clock, which goes on while
 * it is stopped, and do nothing after it (lua/history-channel.lua).
 */

import type { Redis } from "ioredis";

import type { Log } from "../../core/log.js";
import { StarlingError } from "../../core/errors.js";

export interface DeadlinesOptions {
  /** A call may wait for half of it, so that whoever called still hears that it was late. */
  readonly commandTimeoutMs: number;
  masters(): readonly Redis[];
  readonly log: Log;
}

/** A master of a Cluster that wakes hears from the others within a fraction of this that they replaced it. */
const AFTER_STOP_MS = 500;

export class Deadlines {
  readonly #options: DeadlinesOptions;
  /** The server's clock less performance.now(): at least what it is. Of several servers that of the latest. */
  #aheadMs = 0;
  /** How many calls came too late. */
  #expired = 0;
  #expiredAtMs = -Infinity;
  /** One for all that is refused: a stack each would cost most when there is least time. */
  readonly #stopped = new StarlingError(
    "unavailable",
    `Redis was stopped for a while and may have been replaced: nothing is sent for ${AFTER_STOP_MS} ms`,
    { retryAfterMs: AFTER_STOP_MS },
  );

  constructor(options: DeadlinesOptions) {
    this.#options = options;
  }

  /** Of a call made now: ms since 1970 by the server's clock. */
  get nextMs(): number {
    return Math.ceil(performance.now() + this.#aheadMs + this.#options.commandTimeoutMs / 2);
  }

  /** Reads the servers' clocks. Rejects as the client does. */
  async readClocks(): Promise<void> {
    const askedMs = performance.now();
    const times = await Promise.all(this.#options.masters().map((master) => master.time()));
    if (times.length === 0) return;
    this.#aheadMs = Math.max(...times.map(([s, us]) => Number(s) * 1000 + Number(us) / 1000)) - askedMs;
  }

  /** Clocks are set, and drift. What cannot be asked now is asked again later. */
  rereadClocks(): void {
    this.readClocks().catch((error: unknown) => {
      this.#options.log.debug({ err: error }, "Redis's clock could not be read");
    });
  }

  /**
   * Once one has expired, the outcome of earlier calls is unknown, though they are answered, and for a moment nothing is called.
   * @param call  of a script that checks `nextMs`
   * @throws StarlingError unavailable, outcome_unknown; what the call throws
   */
  async run<T>(call: () => Promise<T>): Promise<T> {
    if (performance.now() - this.#expiredAtMs < AFTER_STOP_MS) throw this.#stopped;
    const expired = this.#expired;
    let reply: T;
    try {
      reply = await call();
    } catch (error) {
      if (error instanceof Error && error.message.startsWith("EXPIRED")) this.#noteExpired(error.message);
      throw error;
    }
    if (expired === this.#expired) return reply;
    throw new StarlingError(
      "outcome_unknown",
      "Redis was stopped for a while and may have been replaced: the outcome is unknown",
    );
  }

  #noteExpired(message: string): void {
    if (performance.now() - this.#expiredAtMs > AFTER_STOP_MS) {
      this.#options.log.warn({ reason: message }, "Redis was stopped for a while, or its clock was set");
    }
    this.#expired++;
    this.#expiredAtMs = performance.now();
    this.rereadClocks();
  }
}
