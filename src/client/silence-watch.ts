import type { Clock, Timer } from "./clock.js";

export interface WatchOptions {
  readonly clock: Clock;
  /** From the welcome: the server pings this often, but a browser does not show pings. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Asks the server for a frame. */
  readonly probe: () => void;
  /** Nothing came, not even an answer to the probe. */
  readonly dead: () => void;
}

/** Notices a connection on which nothing arrives any more, as after a network change. */
export class SilenceWatch {
  readonly #options: WatchOptions;
  #heardAt: number;
  #probing = false;
  #timer: Timer;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#heardAt = options.clock.now();
    this.#arm(options.intervalMs + options.timeoutMs);
  }

  /** Any frame. Costs no timer: the running one looks at the time when it fires. */
  heard(): void {
    this.#heardAt = this.#options.clock.now();
    this.#probing = false;
  }

  stop(): void {
    this.#options.clock.clearTimeout(this.#timer);
  }

  #arm(delayMs: number): void {
    this.#timer = this.#options.clock.setTimeout(() => this.#check(), delayMs);
  }

  #check(): void {
    const { clock, intervalMs, timeoutMs, probe, dead } = this.#options;
    if (this.#probing) return dead();
    const leftMs = this.#heardAt + intervalMs + timeoutMs - clock.now();
    if (leftMs > 0) return this.#arm(leftMs);
    this.#probing = true;
    this.#arm(timeoutMs);
    probe();
  }
}
