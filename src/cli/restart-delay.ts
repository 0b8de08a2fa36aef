/** When a process that ended is started again: after 1, 2, 4 ... 30 s, and from 1 s again if it stood for a minute. */

const FIRST_MS = 1000;
const MOST_MS = 30_000;
const STABLE_MS = 60_000;

export interface RestartDelay {
  /** To be called at each start. */
  started(): void;
  /** To be called at each end. @returns how long to wait */
  nextMs(): number;
}

export function restartDelay(): RestartDelay {
  let startedAtMs = 0;
  let nextMs = FIRST_MS;
  return {
    started() {
      startedAtMs = performance.now();
    },
    nextMs() {
      if (performance.now() - startedAtMs >= STABLE_MS) nextMs = FIRST_MS;
      const delayMs = nextMs;
      nextMs = Math.min(MOST_MS, nextMs * 2);
      return delayMs;
    },
  };
}
