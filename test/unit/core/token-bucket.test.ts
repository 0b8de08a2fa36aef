import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TokenBucket } from "../../../src/core/token-bucket.js";

describe("a token bucket", () => {
  it("lets the burst through at once, and then what the rate fills in", () => {
    const bucket = new TokenBucket({ perSecond: 10, burst: 3, nowMs: 0 });
    const taken = (nowMs: number): boolean => bucket.take(nowMs);
    expect([taken(0), taken(0), taken(0), taken(0)]).toEqual([true, true, true, false]);
    expect([taken(99), taken(100), taken(100)]).toEqual([false, true, false]);
    // However long nothing came, no more than the burst.
    expect([1, 2, 3, 4].map(() => taken(3_600_000))).toEqual([true, true, true, false]);
  });

  it("adds up fractions: one a minute comes after a minute, however often it is asked", () => {
    const bucket = new TokenBucket({ perSecond: 1 / 60, burst: 1, nowMs: 0 });
    bucket.take(0);
    let first = 0;
    for (let nowMs = 100; first === 0 && nowMs < 120_000; nowMs += 100) if (bucket.take(nowMs)) first = nowMs;
    expect(first).toBeGreaterThanOrEqual(60_000);
    expect(first).toBeLessThanOrEqual(60_200);
  });

  it("takes nothing away where the clock does not move on", () => {
    const bucket = new TokenBucket({ perSecond: 1000, burst: 1, nowMs: 1000 });
    expect(bucket.take(500)).toBe(true);
    expect(bucket.take(500)).toBe(false);
    expect(bucket.take(1001)).toBe(true);
  });

  it("lets no more through in any stretch than the burst and the rate allow", () => {
    const steps = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: 1, max: 20 }),
        steps,
        (perSecond, burst, gaps) => {
          const bucket = new TokenBucket({ perSecond, burst, nowMs: 0 });
          const takenAtMs: number[] = [];
          let nowMs = 0;
          for (const gapMs of gaps) {
            nowMs += gapMs;
            for (let i = 0; i < 3; i++) if (bucket.take(nowMs)) takenAtMs.push(nowMs);
          }
          for (const [first, from] of takenAtMs.entries()) {
            for (let last = first; last < takenAtMs.length; last++) {
              const allowed = burst + ((takenAtMs[last]! - from) * perSecond) / 1000;
              expect(last - first + 1).toBeLessThanOrEqual(allowed + 1e-6);
            }
          }
        },
      ),
      { numRuns: 50 },
    );
  });
});
