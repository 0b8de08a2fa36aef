/** SIGTERM and SIGINT: the first stops in good order, the second at once. */

import { constants } from "node:os";

/**
 * npm passes a SIGINT on to its script, which the terminal has already given
 * one: one Ctrl-C arrives twice. Nobody presses it again this fast.
 */
const SAME_PRESS_MS = 300;

/**
 * @param stop called once, with the signal's name
 * @returns does the same as a first signal, for other reasons to stop
 */
export function onStopSignals(stop: (reason: string) => void): (reason: string) => void {
  let stoppedAtMs: number | undefined;
  const first = (reason: string): void => {
    if (stoppedAtMs !== undefined) return;
    stoppedAtMs = performance.now();
    stop(reason);
  };
  const signalled = (signal: "SIGTERM" | "SIGINT"): void => {
    if (stoppedAtMs === undefined) return first(signal);
    const samePress =
      signal === "SIGINT" &&
      process.env["npm_lifecycle_event"] !== undefined &&
      performance.now() - stoppedAtMs < SAME_PRESS_MS;
    if (!samePress) process.exit(128 + constants.signals[signal]);
  };
  process.on("SIGTERM", signalled);
  process.on("SIGINT", signalled);
  return first;
}
