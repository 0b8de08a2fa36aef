/**
 * SIGTERM and SIGINT: the first stops in good order, the second at once. SIGHUP has the configuration read again, unless
 * it says that the terminal which shows this process's output was closed: that stops it too.
 */

import { closeSync, openSync } from "node:fs";
import { constants } from "node:os";

/**
 * npm passes a SIGINT on to its script, which the terminal has already given
 * one: one Ctrl-C arrives twice. Nobody presses it again this fast.
 */
const SAME_PRESS_MS = 300;

const PARENT_CHECK_MS = 250;

/** Calls `stop` once npm is gone, where npm runs this: it hands a SIGTERM to its shell alone, and a SIGKILL to nobody. */
export function onNpmGone(stop: () => void): void {
  if (process.env["npm_lifecycle_event"] === undefined) return;
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    stop();
  }, PARENT_CHECK_MS);
  timer.unref();
}

/**
 * @param stop called once, with the signal's name
 * @param reload  called on each SIGHUP that does not stop it
 * @returns does the same as a first signal, for other reasons to stop
 */
export function onStopSignals(stop: (reason: string) => void, reload: () => void): (reason: string) => void {
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
  // Under nohup there is a terminal too, and nothing of this process is shown on it.
  const shownOnTerminal = (process.stdout.isTTY || process.stderr.isTTY) && hasTerminal();
  process.on("SIGHUP", () => {
    if (shownOnTerminal && !hasTerminal()) first("the terminal was closed");
    else if (stoppedAtMs === undefined) reload();
  });
  return first;
}

/** A process's controlling terminal, once it is closed, cannot be opened any more. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync("/dev/tty", "r"));
    return true;
  } catch {
    return false;
  }
}
