/**
 * V8's heap. V8 doubles its young generation whenever much outlives a collection, up to 16 MiB a half on Node 20 and
 * 64 MiB on Node 24, and hardly gives it back: a storm of connections would cost that memory for as long as the node
 * runs. The factor by which it grows is read at each collection, so growing can be stopped (cli/v8-flags.ts).
 */

import { runInNewContext } from "node:vm";
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";

const HALVES = 2;
/** About a third of a MiB: several fit between two sizes. */
const OBJECTS_AT_A_TIME = 10_000;
/** After so many without a larger size V8 has come to its own limit. */
const ROUNDS_MAX = 200;
/** V8 makes it smaller while little happens. */
const LOOK_INTERVAL_MS = 5_000;

/**
 * The young generation has this size from now on, of the whole process. What is larger already stays.
 * @returns false: V8 has a lower limit
 */
export function keepYoungGeneration(halfBytes: number): boolean {
  const reached = grow(halfBytes);
  if (reached) setInterval(() => void grow(halfBytes), LOOK_INTERVAL_MS).unref();
  return reached;
}

function grow(halfBytes: number): boolean {
  let size = sizeBytes();
  if (size >= halfBytes * HALVES) return true;
  setFlagsFromString("--semi-space-growth-factor=2");
  let kept: object[] = [];
  for (let round = 0; size < halfBytes * HALVES && round < ROUNDS_MAX; round++) {
    for (let i = 0; i < OBJECTS_AT_A_TIME; i++) kept.push({ i });
    const before = size;
    size = sizeBytes();
    if (size === before) continue;
    // What stays for long would grow the rest of the heap.
    kept = [];
    round = 0;
  }
  setFlagsFromString("--semi-space-growth-factor=1");
  return size >= halfBytes * HALVES;
}

/** Collects all garbage at once, which takes tens of milliseconds: before there are clients. */
export function collectGarbage(): void {
  const isExposed = "gc" in globalThis;
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  if (!isExposed) setFlagsFromString("--no-expose-gc");
  collect();
}

function sizeBytes(): number {
  return (
    getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space")?.space_size ?? Infinity
  );
}
