/** A message that a node publishes to itself: whether what goes out comes back, and how fast. */

import { randomUUID } from "node:crypto";

import type { Log } from "../../core/log.js";

export interface ProbeOptions {
  /** Where it comes back. */
  readonly channel: string;
  readonly timeoutMs: number;
  readonly log: Log;
  /** Resolves when the bus accepted it. */
  send(text: string): Promise<void>;
  /** It was accepted and came back, after this many milliseconds. */
  passed(tookMs: number): void;
  /** The bus refused it: the time-out, too, will say that it is missing. */
  refused(error: unknown): void;
  /** It was not accepted in time, or it was and did not come back. */
  missing(accepted: boolean): void;
}

interface Flight {
  readonly text: string;
  readonly sentAtMs: number;
  accepted: boolean;
  /** When it came back. */
  cameAtMs: number | undefined;
  /** Anything came from the bus since it was sent, or last looked at. */
  heard: boolean;
  timer: NodeJS.Timeout;
}

/** At most one is under way. */
export class Probe {
  readonly channel: string;
  readonly #options: ProbeOptions;
  #flight: Flight | undefined;
  #fine = false;

  constructor(options: ProbeOptions) {
    this.channel = options.channel;
    this.#options = options;
  }

  /** One passed since the last drop. */
  get fine(): boolean {
    return this.#fine;
  }

  start(): void {
    if (this.#flight !== undefined) return;
    const flight: Flight = {
      text: randomUUID(),
      sentAtMs: performance.now(),
      accepted: false,
      cameAtMs: undefined,
      heard: false,
      timer: this.#timer(),
    };
    this.#flight = flight;
    this.#options.send(flight.text).then(
      () => {
        flight.accepted = true;
        this.#look(flight);
      },
      (error: unknown) => {
        this.#options.log.debug({ err: error }, "a probe was not accepted");
        this.#options.refused(error);
      },
    );
  }

  /** Gives up what is under way, and what is known. */
  drop(): void {
    this.#land();
    this.#fine = false;
  }

  #land(): void {
    clearTimeout(this.#flight?.timer);
    this.#flight = undefined;
  }

  /** Any message came from the bus. */
  heard(): void {
    if (this.#flight !== undefined) this.#flight.heard = true;
  }

  /** Something came on the channel: another's, ours, or one that was given up. */
  receive(text: string): void {
    const flight = this.#flight;
    if (flight === undefined || flight.text !== text) return;
    flight.cameAtMs = performance.now();
    this.#look(flight);
  }

  /** Where answers vanish it comes back and is not accepted: every publication would be unknown. */
  #look(flight: Flight): void {
    if (flight !== this.#flight || !flight.accepted || flight.cameAtMs === undefined) return;
    this.#land();
    this.#fine = true;
    this.#options.passed(flight.cameAtMs - flight.sentAtMs);
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
