import { describe, expect, it } from "vitest";
import {
  RATE_STATE,
  chargeRate,
  rateWaitMs,
  takeRate,
  type RateState,
} from "../../../src/core/rate-limit.js";

const LIMITS = { messagesPerSecond: 10, messagesBurst: 20, bytesPerSecond: 1000, bytesBurst: 2000 };

/** How many frames of `bytes` pass at once. */
function passing(rate: RateState, bytes: number, nowMs: number, limits = LIMITS): number {
  let count = 0;
  while (count < 100_000 && takeRate(rate, limits, bytes, nowMs) === undefined) count++;
  return count;
}

describe("rate limit", () => {
  it("lets a burst through and names the limit that stops it", () => {
    const rate = { ...RATE_STATE };
    expect(passing(rate, 1, 0)).toBe(20);
    expect(takeRate(rate, LIMITS, 1, 0)).toBe("messages");
  });

  it("counts bytes as well as messages", () => {
    const rate = { ...RATE_STATE };
    expect(passing(rate, 600, 0)).toBe(3);
    expect(takeRate(rate, LIMITS, 600, 0)).toBe("bytes");
    expect(takeRate(rate, LIMITS, 200, 0)).toBeUndefined();
  });

  it("takes nothing for a frame that it refuses", () => {
    const rate = { ...RATE_STATE };
    for (let i = 0; i < 100; i++) expect(takeRate(rate, LIMITS, 2001, 0)).toBe("bytes");
    expect(passing(rate, 100, 0)).toBe(20);
  });

  it("refills at the sustained rate and never beyond the burst", () => {
    const rate = { ...RATE_STATE };
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
    const rate = { ...RATE_STATE };
    let passed = 0;
    for (let nowMs = 0; nowMs <= 10_000; nowMs++) {
      if (takeRate(rate, limits, 16, nowMs) === undefined) passed++;
    }
    // 128 bytes at once and 1280 in ten seconds.
    expect(passed).toBeGreaterThanOrEqual(86);
    expect(passed).toBeLessThanOrEqual(88);
  });

  it("takes what an answer cost, into debt, but not deeper than the burst", () => {
    const rate = { ...RATE_STATE };
    expect(takeRate(rate, LIMITS, 1, 0)).toBeUndefined();
    chargeRate(rate, LIMITS, { items: 40, bytes: 0 });
    expect(passing(rate, 1, 0)).toBe(9);
    chargeRate(rate, LIMITS, { items: 0, bytes: 8000 });
    expect(takeRate(rate, LIMITS, 1, 0)).toBe("messages");
    expect(rateWaitMs(rate, "messages", LIMITS, 1)).toBe(300);
    chargeRate(rate, LIMITS, { items: 1_000_000, bytes: 1e9 });
    expect(rateWaitMs(rate, "messages", LIMITS, 1)).toBe(2100);
    expect(takeRate(rate, LIMITS, 1, 2100)).toBeUndefined();
  });

  it("stands still when the clock does", () => {
    const rate = { ...RATE_STATE };
    passing(rate, 1, 5000.9);
    expect(takeRate(rate, LIMITS, 1, 4000)).toBe("messages");
    expect(takeRate(rate, LIMITS, 1, 5100)).toBeUndefined();
  });
});
