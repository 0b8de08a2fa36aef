/**
 * V8's heap. V8 doubles its young generation whenever much outlives a collection, up to 16 MiB a half on Node 20 and
 * 64 MiB on Node 24, and hardly gives it back: a storm of connections would cost that memory for as long as the node
 * runs. The factor by which it grows is read at each collection, so growing can be stopped (cli/v8-flags.ts).
 */

import { runInNewContext } from "node:vm";
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";

const HALVES = 2;
const MIB = 1_048_576;
/** About a third of a MiB each: several fit between two sizes. */
const OBJECTS_AT_A_TIME = 10_000;
/** What it takes at most; V8 that does not grow by then is left as it is. */
const ROUNDS_PER_MIB = 24;

/**
 * Doubles it until it has this size, at once, and keeps it from growing further: of the whole process. What is larger
 * already stays.
 */
export function setYoungGeneration(halfBytes: number): void {
  setFlagsFromString("--semi-space-growth-factor=2");
  const rounds = (halfBytes / MIB) * ROUNDS_PER_MIB;
  let kept: object[] = [];
  for (let round = 0; sizeBytes() < halfBytes * HALVES && round < rounds; round++) {
    for (let i = 0; i < OBJECTS_AT_A_TIME; i++) kept.push({ i });
    // What stays for long would grow the rest of the heap.
    if (kept.length > OBJECTS_AT_A_TIME * ROUNDS_PER_MIB) kept = [];
  }
  setFlagsFromString("--semi-space-growth-factor=1");
}

/** Collects all garbage at once, which takes tens of milliseconds: before there are clients. */
export function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  setFlagsFromString("--no-expose-gc");
  collect();
}

function sizeBytes(): number {
  return (
    getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space")?.space_size ?? Infinity
  );
}
