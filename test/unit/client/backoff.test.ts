import { describe, expect, it } from "vitest";
import { Backoff, hintOf } from "../../../src/client/backoff.js";

const options = { baseMs: 1000, capMs: 30_000 };

describe("Backoff", () => {
  it("doubles its ceiling from 1 s up to 30 s", () => {
    const backoff = new Backoff({ ...options, random: () => 1 });
    const delays = Array.from({ length: 7 }, () => backoff.next());
    expect(delays).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  });

  it("spreads a delay over all from 0 to the ceiling", () => {
    const values = [0, 0.25, 0.5];
    const backoff = new Backoff({ ...options, random: () => values.shift()! });
    expect([backoff.next(), backoff.next(), backoff.next()]).toEqual([0, 500, 2000]);
  });

  it("stays within its bounds however often it is asked", () => {
    const backoff = new Backoff({ ...options, random: Math.random });
    for (let attempt = 0; attempt < 2000; attempt++) {
      const delay = backoff.next();
      expect(delay).toBeGreaterThanOrEqual(0);
      expect(delay).toBeLessThanOrEqual(Math.min(30_000, 1000 * 2 ** attempt));
    }
  });

  it("takes a hint as the least delay and adds its jitter", () => {
    const backoff = new Backoff({ ...options, random: () => 0.5 });
    expect(backoff.next(5000)).toBe(5500);
  });

  it("does not sleep for more than ten minutes on a hint", () => {
    const backoff = new Backoff({ ...options, random: () => 0 });
    expect(backoff.next(1e15)).toBe(600_000);
  });

  it("starts again after a reset", () => {
    const backoff = new Backoff({ ...options, random: () => 1 });
    backoff.next();
    backoff.next();
    backoff.reset();
    expect(backoff.next()).toBe(1000);
  });
});

describe("hintOf", () => {
  it.each([-1, NaN, "5", null, undefined, {}])("ignores %s", (value) => {
    expect(hintOf(value)).toBeUndefined();
  });

  it("takes milliseconds", () => {
    expect(hintOf(0)).toBe(0);
    expect(hintOf(1500)).toBe(1500);
  });
});
