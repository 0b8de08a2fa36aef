/** Waits for what happens in time. One deadline for all: long enough that it tells a fault, not a busy machine. */

import { setTimeout as delay } from "node:timers/promises";

export const DEADLINE_MS = 45_000;
const INTERVAL_MS = 10;

/**
 * Looks until it does not throw.
 * @throws what the last look threw
 */
export async function eventually<T>(look: () => T | Promise<T>, deadlineMs = DEADLINE_MS): Promise<T> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    // Taken before the look: one that could not run for long still gets its last look.
    const isLast = performance.now() > deadline;
    try {
      return await look();
    } catch (error) {
      if (isLast) throw error;
    }
    await delay(INTERVAL_MS);
  }
}

/**
 * Checks until it gives something true. What the check throws ends the wait.
 * @throws Error naming what was waited for
 */
export async function until<T>(
  what: string,
  check: () => T | Promise<T>,
  deadlineMs = DEADLINE_MS,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    const isLast = performance.now() > deadline;
    const result = await check();
    if (result !== undefined && result !== null && result !== false) return result;
    if (isLast) throw new Error(`after ${deadlineMs} ms: not ${what}`);
    await delay(INTERVAL_MS);
  }
}
