/** A message that a node publishes to itself: whether what goes out comes back, and how fast. */

import { randomUUID } from "node:crypto";

import type { Log } from "../core/log.js";

export interface ProbeOptions {
  readonly timeoutMs: number;
  readonly log: Log;
  /** Resolves when the bus accepted it. */
  send(text: string): Promise<void>;
  /** It did not come back in time; `accepted` is whether it went out. */
  missing(accepted: boolean): void;
}

interface Flight {
  readonly text: string;
  readonly sentAtMs: number;
  accepted: boolean;
  /** Anything came from the bus since it was sent, or last looked at. */
  heard: boolean;
  timer: NodeJS.Timeout;
}

/** At most one is under way. */
export class Probe {
  readonly #options: ProbeOptions;
  #flight: Flight | undefined;

  constructor(options: ProbeOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#flight !== undefined) return;
    const flight: Flight = {
      text: randomUUID(),
      sentAtMs: performance.now(),
      accepted: false,
      heard: false,
      timer: this.#timer(),
    };
    this.#flight = flight;
    this.#options.send(flight.text).then(
      () => {
        flight.accepted = true;
      },
      // The time-out judges it.
      (error: unknown) => this.#options.log.debug({ err: error }, "a probe was not accepted"),
    );
  }

  drop(): void {
    clearTimeout(this.#flight?.timer);
    this.#flight = undefined;
  }

  /** Any message came from the bus. */
  heard(): void {
    if (this.#flight !== undefined) this.#flight.heard = true;
  }

  /** @returns milliseconds that it took; undefined for a probe that is not ours or was given up */
  came(text: string): number | undefined {
    const flight = this.#flight;
    if (flight === undefined || flight.text !== text) return undefined;
    this.drop();
    return performance.now() - flight.sentAtMs;
  }

  #timer(): NodeJS.Timeout {
    // Timers run before sockets are read: after a stall of this process the probe
    // may be waiting in its socket, and setImmediate comes after reading it.
    return setTimeout(() => setImmediate(() => this.#judge()), this.#options.timeoutMs);
  }

  #judge(): void {
    const flight = this.#flight;
    if (flight === undefined) return;
    if (flight.accepted && flight.heard) {
      // Late but alive: a reconnect would lose what is on its way.
      flight.heard = false;
      flight.timer = this.#timer();
      this.#options.log.warn(
        { waitedMs: Math.round(performance.now() - flight.sentAtMs) },
        "the bus is slow",
      );
      return;
    }
    this.drop();
    this.#options.missing(flight.accepted);
  }
}
