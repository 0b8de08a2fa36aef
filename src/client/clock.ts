export type Timer = unknown;

/** Where the client gets its time from; tests pass one that they move by hand. */
export interface Clock {
  /** Milliseconds that only ever go forward. */
  now(): number;
  /** `keepAlive`: a Node process stays up for this timer. */
  setTimeout(run: () => void, delayMs: number, keepAlive?: boolean): Timer;
  clearTimeout(timer: Timer): void;
}

/** Longer delays overflow setTimeout, which then fires at once. */
const DELAY_MAX_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => performance.now(),
  setTimeout(run, delayMs, keepAlive = false) {
    const timer: unknown = setTimeout(run, Math.min(delayMs, DELAY_MAX_MS));
    if (!keepAlive && typeof timer === "object") (timer as { unref?: () => void }).unref?.();
    return timer;
  },
  clearTimeout: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
};
