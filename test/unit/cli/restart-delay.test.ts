import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { restartDelay } from "../../../src/cli/restart-delay.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it("doubles up to 30 s, and begins again after a minute that the process stood", () => {
  const delay = restartDelay();
  const next = (stoodMs: number): number => {
    delay.started();
    vi.advanceTimersByTime(stoodMs);
    return delay.nextMs();
  };
  expect([0, 0, 0, 0, 0, 0, 59_999].map(next)).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  expect([60_000, 0].map(next)).toEqual([1000, 2000]);
});
