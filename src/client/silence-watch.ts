import type { Clock, Timer } from "./clock.js";

export interface WatchOptions {
  readonly clock: Clock;
  /** From the welcome: the server pings this often, but a browser does not show pings. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Asks the server for a frame. */
  readonly probe: () => void;
  /** Nothing came, not even an answer to the probe. */
  readonly dead: (silentMs: number) => void;
}

/** Notices a connection on which nothing arrives any more, as after a network change. */
export class SilenceWatch {
  readonly #options: WatchOptions;
  #heardAt: number;
  #probing = false;
  /** How long nothing will have come when the answer is due. */
  #silentMs = 0;
  #timer: Timer;
  /** When it fires. */
  #dueAt = 0;

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

  /** The network may be another: asks now, unless it has asked, and waits for a frame no longer than this. */
  askNow(withinMs: number): void {
    const answerMs = Math.min(withinMs, this.#options.timeoutMs);
    // It was asked already: the answer may be due earlier now.
    if (this.#probing && this.#dueAt <= this.#options.clock.now() + answerMs) return;
    this.stop();
    if (this.#probing) this.#arm(answerMs);
    else this.#ask(answerMs, answerMs);
  }

  stop(): void {
    this.#options.clock.clearTimeout(this.#timer);
  }

  #arm(delayMs: number): void {
    this.#dueAt = this.#options.clock.now() + delayMs;
    this.#timer = this.#options.clock.setTimeout(() => this.#check(), delayMs);
  }

  #check(): void {
    const { clock, intervalMs, timeoutMs, dead } = this.#options;
    if (this.#probing) return dead(this.#silentMs);
    const leftMs = this.#heardAt + intervalMs + timeoutMs - clock.now();
    if (leftMs > 0) return this.#arm(leftMs);
    this.#ask(timeoutMs, intervalMs + timeoutMs * 2);
  }

  #ask(withinMs: number, silentMs: number): void {
    this.#probing = true;
    this.#silentMs = silentMs;
    this.#arm(withinMs);
    this.#options.probe();
  }
}
