/**
 * Lets `perSecond` through on average and `burst` at once. Fields are numbers and a take is a
 * comparison and a subtraction: it stands before every upgrade.
 */
export class TokenBucket {
  readonly perSecond: number;
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #atMs: number;

  constructor({ perSecond, burst, nowMs }: { perSecond: number; burst: number; nowMs: number }) {
    this.perSecond = perSecond;
    this.#perMs = perSecond / 1000;
    this.#burst = burst;
    this.#tokens = burst;
    this.#atMs = nowMs;
  }

  /** @returns how many could be taken now */
  level(nowMs: number): number {
    const elapsedMs = nowMs - this.#atMs;
    if (elapsedMs > 0) {
      this.#atMs = nowMs;
      this.#tokens = Math.min(this.#burst, this.#tokens + elapsedMs * this.#perMs);
    }
    return this.#tokens;
  }

  /** @returns whether one was there, and is taken */
  take(nowMs: number): boolean {
    if (this.level(nowMs) < 1) return false;
    this.#tokens--;
    return true;
  }
}
