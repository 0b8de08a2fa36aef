import { describe, expect, it } from "vitest";
import { UpgradeRate } from "../../../src/core/upgrade-rate.js";

const client = (address: string) => ({ address });

describe("the rate of newcomers", () => {
  it("is all for one address while nobody else wants it", () => {
    const rate = new UpgradeRate({ perSecond: 100, burst: 20, sharePercent: 10 }, 0);
    let taken = 0;
    for (let nowMs = 0; nowMs <= 10_000; nowMs++) if (rate.take(client("a"), nowMs) === undefined) taken++;
    expect(taken).toBeGreaterThan(1000);
    expect(taken).toBeLessThanOrEqual(1020);
  });

  it("leaves an address that floods its share, and the others the rest", () => {
    const rate = new UpgradeRate({ perSecond: 50, burst: 30, sharePercent: 10 }, 0);
    let flood = 0;
    let refused = 0;
    for (let nowMs = 0; nowMs < 10_000; nowMs++) {
      for (let i = 0; i < 3; i++) if (rate.take(client("flood"), nowMs) === undefined) flood++;
      // 40 a second, each from an address of its own.
      if (nowMs % 25 === 0 && rate.take(client(`honest ${nowMs}`), nowMs) !== undefined) refused++;
    }
    expect(refused).toBe(0);
    // What the others left over, and half of the burst.
    expect(flood).toBeLessThanOrEqual(30 + 100 + 30);
  });

  it("says which of both is used up", () => {
    const rate = new UpgradeRate({ perSecond: 1, burst: 4, sharePercent: 25 }, 0);
    const take = (address: string) => rate.take(client(address), 0);
    expect([take("a"), take("a"), take("a"), take("a")]).toEqual([undefined, undefined, undefined, "share"]);
    expect([take("b"), take("c")]).toEqual([undefined, "rate"]);
  });

  it("reads no address while more than half of the burst is left, nor where there is no share", () => {
    const unread = {
      get address(): string {
        throw new Error("read");
      },
    };
    const rate = new UpgradeRate({ perSecond: 1, burst: 10, sharePercent: 10 }, 0);
    for (let i = 0; i < 5; i++) expect(rate.take(unread, 0)).toBeUndefined();
    expect(() => rate.take(unread, 0)).toThrow("read");
    const unshared = new UpgradeRate({ perSecond: 1, burst: 10, sharePercent: 100 }, 0);
    for (let i = 0; i < 10; i++) expect(unshared.take(unread, 0)).toBeUndefined();
    expect(unshared.take(unread, 0)).toBe("rate");
    expect([rate.addresses, unshared.addresses]).toEqual([0, 0]);
  });
});
