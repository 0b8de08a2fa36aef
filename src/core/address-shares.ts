/** What each address may take of something that is short. */

import type { AddressKey } from "./client-address.js";
import { TokenBucket } from "./token-bucket.js";

/** Addresses that are remembered at a time are at most twice as many. */
const MAX_ADDRESSES = 65_536;

/**
 * A token bucket for each address that took something lately. One that is full again is as good as none, so
 * that buckets vanish by themselves. A flood of addresses makes them vanish early, which gives those who
 * were held to their share a new one: nothing to whoever has addresses enough for that, and nobody is refused for it.
 */
export class AddressShares {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #fillMs: number;
  #recent = new Map<AddressKey, TokenBucket>();
  #older = new Map<AddressKey, TokenBucket>();
  #turnedAtMs: number;

  /** @param burst  at least 1 */
  constructor({ perSecond, burst, nowMs }: { perSecond: number; burst: number; nowMs: number }) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#fillMs = (burst / perSecond) * 1000;
    this.#turnedAtMs = nowMs;
  }

  get size(): number {
    return this.#recent.size + this.#older.size;
  }

  /** @returns whether this address had some of its share left, and took it */
  take(address: AddressKey, nowMs: number): boolean {
    this.#forget(nowMs);
    let bucket = this.#recent.get(address);
    if (bucket === undefined) {
      bucket = this.#older.get(address);
      if (bucket === undefined) {
        bucket = new TokenBucket({ perSecond: this.#perSecond, burst: this.#burst, nowMs });
      } else {
        this.#older.delete(address);
      }
      this.#recent.set(address, bucket);
    }
    return bucket.take(nowMs);
  }

  /** Drops the buckets that nobody took from for as long as it takes to fill one. */
  #forget(nowMs: number): void {
    const elapsedMs = nowMs - this.#turnedAtMs;
    if (elapsedMs < this.#fillMs && this.#recent.size < MAX_ADDRESSES) return;
    this.#older = elapsedMs < this.#fillMs * 2 ? this.#recent : new Map<AddressKey, TokenBucket>();
    this.#recent = new Map();
    this.#turnedAtMs = nowMs;
  }
}
