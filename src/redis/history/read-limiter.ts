/** Runs at most so many reads of history concurrently. Others wait in line, and more than fit there are refused. */

import { StarlingError } from "../../core/errors.js";

export class ReadLimiter {
  readonly #mostRunning: number;
  readonly #mostWaiting: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(mostRunning: number, mostWaiting: number) {
    this.#mostRunning = mostRunning;
    this.#mostWaiting = mostWaiting;
  }

  /** @throws StarlingError unavailable where too many wait; what the job throws */
  async run<T>(job: () => Promise<T>): Promise<T> {
    if (this.#running < this.#mostRunning) {
      this.#running++;
    } else {
      if (this.#waiting.length >= this.#mostWaiting) {
        throw new StarlingError(
          "unavailable",
          `limit of waiting history reads reached (${this.#mostWaiting})`,
        );
      }
      // A job that ends hands its place to the next.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    try {
      return await job();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}
