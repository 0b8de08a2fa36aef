import { expect, it, vi } from "vitest";
import { systemClock } from "../../../src/client/clock.js";

const keepsUp = (timer: unknown) => (timer as NodeJS.Timeout).hasRef();

it("keeps a Node process up only for the timers that ask for it", () => {
  const idle = systemClock.setTimeout(() => undefined, 10_000);
  const needed = systemClock.setTimeout(() => undefined, 10_000, true);
  expect([keepsUp(idle), keepsUp(needed)]).toEqual([false, true]);
  systemClock.clearTimeout(idle);
  systemClock.clearTimeout(needed);
});

it("does not fire at once for delays that setTimeout cannot hold", () => {
  vi.useFakeTimers();
  try {
    const run = vi.fn();
    systemClock.setTimeout(run, 2 ** 32);
    vi.advanceTimersByTime(60_000);
    expect(run).not.toHaveBeenCalled();
    vi.advanceTimersByTime(2 ** 31);
    expect(run).toHaveBeenCalledOnce();
  } finally {
    vi.useRealTimers();
  }
});
