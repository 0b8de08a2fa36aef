import { describe, expect, it } from "vitest";
import { RateLimit } from "../../../src/core/rate-limit.js";

const LIMITS = { messagesPerSecond: 10, messagesBurst: 20, bytesPerSecond: 1000, bytesBurst: 2000 };

/** How many frames of `bytes` pass at once. */
function passing(rate: RateLimit, bytes: number, nowMs: number, limits = LIMITS): number {
  let count = 0;
  while (count < 100_000 && rate.take(limits, bytes, nowMs) === undefined) count++;
  return count;
}

describe("rate limit", () => {
  it("lets a burst through and names the limit that stops it", () => {
    const rate = new RateLimit(LIMITS, 0);
    expect(passing(rate, 1, 0)).toBe(20);
    expect(rate.take(LIMITS, 1, 0)).toBe("messages");
  });

  it("counts bytes as well as messages", () => {
    const rate = new RateLimit(LIMITS, 0);
    expect(passing(rate, 600, 0)).toBe(3);
    expect(rate.take(LIMITS, 600, 0)).toBe("bytes");
    expect(rate.take(LIMITS, 200, 0)).toBeUndefined();
  });

  it("takes nothing for a frame that it refuses", () => {
    const rate = new RateLimit(LIMITS, 0);
    for (let i = 0; i < 100; i++) expect(rate.take(LIMITS, 2001, 0)).toBe("bytes");
    expect(passing(rate, 100, 0)).toBe(20);
  });

  it("refills at the sustained rate and never beyond the burst", () => {
    const rate = new RateLimit(LIMITS, 0);
    passing(rate, 1, 0);
    expect(passing(rate, 1, 1000)).toBe(10);
    expect(passing(rate, 1, 3_600_000)).toBe(20);
  });

  it("refills in full for frames that come each millisecond", () => {
    const limits = {
      ...LIMITS,
      messagesPerSecond: 1000,
      messagesBurst: 1000,
      bytesPerSecond: 128,
      bytesBurst: 128,
    };
    const rate = new RateLimit(limits, 0);
    let passed = 0;
    for (let nowMs = 0; nowMs <= 10_000; nowMs++) {
      if (rate.take(limits, 16, nowMs) === undefined) passed++;
    }
    // 128 bytes at once and 1280 in ten seconds.
    expect(passed).toBeGreaterThanOrEqual(86);
    expect(passed).toBeLessThanOrEqual(88);
  });

  it("stands still when the clock does", () => {
    const rate = new RateLimit(LIMITS, 5000.7);
    passing(rate, 1, 5000.9);
    expect(rate.take(LIMITS, 1, 4000)).toBe("messages");
    expect(rate.take(LIMITS, 1, 5100)).toBeUndefined();
  });
});
