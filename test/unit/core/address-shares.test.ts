import { describe, expect, it } from "vitest";
import { AddressShares } from "../../../src/core/address-shares.js";

describe("shares of addresses", () => {
  it("are each address's own", () => {
    const shares = new AddressShares({ perSecond: 1, burst: 2, nowMs: 0 });
    expect([0, 1, 2].map(() => shares.take("a", 0))).toEqual([true, true, false]);
    expect(shares.take("b", 0)).toBe(true);
    expect(shares.take("a", 1000)).toBe(true);
    expect(shares.take("a", 1000)).toBe(false);
  });

  it("vanish once they are full again, and not before", () => {
    const shares = new AddressShares({ perSecond: 1, burst: 2, nowMs: 0 });
    for (const address of ["a", "a", "b"]) shares.take(address, 1900);
    // Twice what a bucket takes to fill is over for none of them.
    expect(shares.take("a", 2100)).toBe(false);
    expect(shares.size).toBe(2);
    shares.take("c", 4200);
    expect(shares.take("a", 4200)).toBe(true);
    shares.take("c", 9000);
    expect(shares.size).toBe(1);
  });

  it("take bounded memory whatever comes, and nobody is refused for it", () => {
    const shares = new AddressShares({ perSecond: 1, burst: 100, nowMs: 0 });
    for (let i = 0; i < 400_000; i++) {
      if (!shares.take(String.fromCharCode(0x2001, i >> 16, i & 0xffff, 0), 0)) throw new Error(String(i));
    }
    expect(shares.size).toBeLessThanOrEqual(131_072);
  });
});
