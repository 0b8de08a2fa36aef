import { describe, expect, it } from "vitest";
import { highestSustained, type SearchOptions } from "../../../bench/runner/search.js";

const options: SearchOptions = {
  startRate: 1000,
  step: 2,
  minRate: 100,
  maxRate: 1_000_000,
  probeSeconds: 2,
  confirmSeconds: 10,
  precision: 1.05,
};

function server(holds: (rate: number, seconds: number) => boolean) {
  const asked: { rate: number; seconds: number }[] = [];
  const probe = async (rate: number, seconds: number): Promise<boolean> => {
    asked.push({ rate, seconds });
    return Promise.resolve(holds(rate, seconds));
  };
  return { probe, asked };
}

describe("the search for the highest sustained rate", () => {
  it.each([137, 950, 1000, 5300, 77_777, 640_000])(
    "comes within its precision of a limit of %i",
    async (limit) => {
      const { probe, asked } = server((rate) => rate <= limit);
      const found = await highestSustained(probe, options);
      expect(found).toBeLessThanOrEqual(limit);
      expect(found).toBeGreaterThan(limit / options.precision - 1);
      expect(asked.at(-1)).toEqual({ rate: found, seconds: 10 });
      expect(asked.length).toBeLessThan(30);
    },
  );

  it.each([40_000, 48_000, 62_000])("needs few probes from a rate near a limit of %i", async (limit) => {
    const { probe, asked } = server((rate) => rate <= limit);
    const found = await highestSustained(probe, { ...options, startRate: 48_000, step: 1.25 });
    expect(found).toBeLessThanOrEqual(limit);
    expect(found).toBeGreaterThan(limit / options.precision - 1);
    expect(asked.length).toBeLessThan(12);
  });

  it("steps down from what holds for a moment to what holds", async () => {
    const { probe, asked } = server((rate, seconds) => rate <= (seconds === 10 ? 8000 : 10_000));
    const found = await highestSustained(probe, options);
    expect(found).toBeLessThanOrEqual(8000);
    expect(found).toBeGreaterThan(8000 * 0.9);
    expect(asked.at(-1)?.seconds).toBe(10);
  });

  it("says that nothing holds, without an end to asking", async () => {
    const { probe, asked } = server(() => false);
    expect(await highestSustained(probe, options)).toBeUndefined();
    expect(asked.at(-1)?.rate).toBe(options.minRate);
  });

  it("gives up where only moments hold", async () => {
    const { probe } = server((_, seconds) => seconds < 10);
    expect(await highestSustained(probe, { ...options, maxRate: 4000 })).toBeUndefined();
  });

  it("does not take one hiccup for a limit", async () => {
    let hiccups = 1;
    const { probe } = server((rate) => rate <= 50_000 && !(rate === 4000 && hiccups-- > 0));
    expect(await highestSustained(probe, options)).toBeGreaterThan(47_000);
  });

  it("stops at the highest rate that may be asked for", async () => {
    const { probe, asked } = server(() => true);
    expect(await highestSustained(probe, { ...options, maxRate: 3000 })).toBe(3000);
    expect(Math.max(...asked.map(({ rate }) => rate))).toBe(3000);
  });
});
