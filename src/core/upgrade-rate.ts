/** How fast newcomers are taken, and that no address takes what others need. */

import type { AddressKey } from "./client-address.js";
import { AddressShares } from "./address-shares.js";
import { TokenBucket } from "./token-bucket.js";

export interface UpgradeRateOptions {
  /** Newcomers a second, sustained; more than 0. */
  readonly perSecond: number;
  /** Newcomers at once. */
  readonly burst: number;
  /** Percent of both that one address may take of what is kept for all; 100: all of it. */
  readonly sharePercent: number;
}

/**
 * The upper half of the burst is for whoever comes first, so that one address may use the whole rate while
 * nobody else wants it. The lower half is for everybody: each address has a share of it. Addresses are
 * read, and remembered, only there.
 */
export class UpgradeRate {
  readonly #all: TokenBucket;
  readonly #shares: AddressShares | undefined;
  readonly #kept: number;
  readonly perSecondEach: number;
  readonly burstEach: number;

  constructor({ perSecond, burst, sharePercent }: UpgradeRateOptions, nowMs: number) {
    this.#all = new TokenBucket({ perSecond, burst, nowMs });
    this.#kept = burst / 2;
    this.perSecondEach = (perSecond * sharePercent) / 100;
    this.burstEach = Math.max(1, Math.floor((burst * sharePercent) / 100));
    if (sharePercent < 100) {
      this.#shares = new AddressShares({ perSecond: this.perSecondEach, burst: this.burstEach, nowMs });
    }
  }

  /** Addresses that are remembered. */
  get addresses(): number {
    return this.#shares?.size ?? 0;
  }

  /** Takes a place. @returns what was used up, or undefined */
  take(client: { readonly address: AddressKey }, nowMs: number): "rate" | "share" | undefined {
    const level = this.#all.level(nowMs);
    if (level < 1) return "rate";
    if (level - 1 < this.#kept && this.#shares?.take(client.address, nowMs) === false) return "share";
    this.#all.take(nowMs);
    return undefined;
  }
}
