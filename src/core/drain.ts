/** How a node sends its clients away before it stops, so that the rest of the fleet can take them. */

import type { Log } from "./log.js";
import type { Stats } from "./stats.js";

export interface DrainOptions {
  /** How long a load balancer has to see that this node is not ready, before the first client goes. */
  readonly drainNoticeMs: number;
  /**
   * Over which the clients are sent away, at least ten a second. Those that are back at once may take longer, where the
   * others take fewer in a second: drainMostMs says how long.
   */
  readonly drainMs: number;
  /** A client that comes back later than this finds its session gone. */
  readonly sessionTtlMs: number;
}

export interface DrainParts {
  /** Those that are open now. */
  connections(): Iterable<Leaving>;
  /**
   * Newcomers a second that the other ready nodes take together; 0: there is no other.
   * Rejects where the bus cannot tell.
   */
  acceptRate(): Promise<number>;
  readonly stats: Pick<Stats, "drained">;
  readonly log: Log;
  /** From 0 (included) to 1 (excluded); Math.random by default. */
  readonly random?: (() => number) | undefined;
}

/** A client's connection, as far as a drain goes. */
export interface Leaving {
  readonly isClosed: boolean;
  /** Whether its client stays away for as long as it is told; else it is back at once. */
  readonly obeysRetryAfter: boolean;
  close(name: "restart", options: { readonly retryAfterMs: number }): void;
}

/** The clients of one slice are closed in one turn. */
const SLICE_MS = 100;
/** There is no other node: clients come back to this one once it runs again, and not all in one moment. */
const ALONE_WINDOW_MS = 1000;

/** By how much those that are back at once may stretch a drain: what stops a node waits for a known time. */
const STRETCH_MOST = 2;

/** How long a drain takes at most, notice and all. */
export function drainMostMs({
  drainNoticeMs,
  drainMs,
}: Pick<DrainOptions, "drainNoticeMs" | "drainMs">): number {
  return drainNoticeMs + drainMs * STRETCH_MOST;
}

/** Clients that are closed evenly over some time. */
interface Wave {
  readonly clients: readonly Leaving[];
  readonly slices: number;
}

export class Drain {
  readonly #options: DrainOptions;
  readonly #parts: DrainParts;
  readonly #random: () => number;
  #stopped = false;
  #wake: (() => void) | undefined;

  constructor(options: DrainOptions, parts: DrainParts) {
    this.#options = options;
    this.#parts = parts;
    this.#random = parts.random ?? Math.random;
  }

  /** Resolves once everyone was sent away. The caller refuses newcomers before. */
  async run(): Promise<void> {
    const { drainMs, sessionTtlMs } = this.#options;
    const acceptRate = await this.#notice();
    const leaving = shuffled([...this.#parts.connections()], this.#random);
    const spreadMs = slicesOf(leaving.length, drainMs) * SLICE_MS;
    const windowMs = retryWindowMs({ clients: leaving.length, acceptRate, spreadMs, sessionTtlMs });
    // A delay means nothing to some clients: these are closed no faster than the others take them, within reason.
    const promptMs = clamp(neededMs(leaving.length, acceptRate), drainMs, drainMs * STRETCH_MOST);
    const waves = [
      waveOf(
        leaving.filter(({ obeysRetryAfter }) => obeysRetryAfter),
        drainMs,
      ),
      waveOf(
        leaving.filter(({ obeysRetryAfter }) => !obeysRetryAfter),
        promptMs,
      ),
    ];
    const slices = Math.max(...waves.map((wave) => wave.slices));
    this.#parts.log.info(
      {
        connections: leaving.length,
        spreadMs: slices * SLICE_MS,
        acceptRate,
        retryWindowMs: Math.round(windowMs),
      },
      "draining: disconnecting the clients",
    );
    for (let slice = 1; slice <= slices && !this.#stopped; slice++) {
      // A loop that stalled does not catch up: what comes back elsewhere in a second stays bounded.
      for (const client of waves.flatMap((wave) => partOf(wave, slice))) this.#sendAway(client, windowMs);
      if (slice < slices) await this.#wait(SLICE_MS);
    }
  }

  #sendAway(client: Leaving, windowMs: number): void {
    if (client.isClosed) return;
    this.#parts.stats.drained++;
    client.close("restart", { retryAfterMs: Math.floor(this.#random() * windowMs) });
  }

  /** Ends the waiting: who is still there is the caller's to close. */
  stop(): void {
    this.#stopped = true;
    this.#wake?.();
  }

  /**
   * Waits until load balancers have seen that this node is not ready. One without others skips that:
   * there is nowhere else to send anyone.
   * @returns what the others take; undefined where they cannot be asked
   */
  async #notice(): Promise<number | undefined> {
    const startedAtMs = performance.now();
    const first = await this.#acceptRate();
    if (first === 0 || this.#stopped) return first;
    const leftMs = this.#options.drainNoticeMs - (performance.now() - startedAtMs);
    if (leftMs <= 0) return first;
    await this.#wait(leftMs);
    // Asked again: of nodes that are stopped together each was still ready when the first was asked.
    return first === undefined || this.#stopped ? first : this.#acceptRate();
  }

  async #acceptRate(): Promise<number | undefined> {
    try {
      return await this.#parts.acceptRate();
    } catch (error) {
      this.#parts.log.warn(
        { err: error },
        "the other nodes could not be asked for their accept rate: clients get a default reconnect delay",
      );
      return undefined;
    }
  }

  #wait(ms: number): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), ms);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
    });
  }
}

/**
 * Each client is told to stay away for a random part of this. The slices alone spread the clients
 * over `spreadMs`: where the others can take them that fast, a delay on top would only keep people
 * offline, and the window is one slice. Else it is the time that the others need for all of them.
 */
export function retryWindowMs(given: {
  readonly clients: number;
  /** undefined: not known. */
  readonly acceptRate: number | undefined;
  readonly spreadMs: number;
  readonly sessionTtlMs: number;
}): number {
  const { clients, acceptRate, spreadMs, sessionTtlMs } = given;
  if (acceptRate === 0) return ALONE_WINDOW_MS;
  const allMs = neededMs(clients, acceptRate);
  // Half: a session also has to outlast the client's own backoff.
  return allMs <= spreadMs ? SLICE_MS : Math.max(SLICE_MS, Math.min(allMs, sessionTtlMs / 2));
}

/** What the others need to take so many; 0 where there are none, or it is not known. */
function neededMs(clients: number, acceptRate: number | undefined): number {
  return acceptRate === undefined || acceptRate === 0 ? 0 : (clients / acceptRate) * 1000;
}

function clamp(ms: number, leastMs: number, mostMs: number): number {
  return Math.min(Math.max(ms, leastMs), mostMs);
}

function waveOf(clients: readonly Leaving[], overMs: number): Wave {
  return { clients, slices: slicesOf(clients.length, overMs) };
}

/** At least one client a slice: a few of them do not keep a node up for the whole time. */
function slicesOf(clients: number, overMs: number): number {
  return Math.max(1, Math.min(Math.floor(overMs / SLICE_MS), clients));
}

/** @param slice  from 1 on */
function partOf({ clients, slices }: Wave, slice: number): readonly Leaving[] {
  const before = Math.floor((clients.length * (slice - 1)) / slices);
  return clients.slice(before, Math.floor((clients.length * slice) / slices));
}

/** In place; Fisher and Yates. */
function shuffled<T>(items: T[], random: () => number): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
  return items;
}
