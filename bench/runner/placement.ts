/** Servers on some cores, load and Redis on the others: measured without it, the scheduler decides the result. */

import { availableParallelism } from "node:os";
import { spawnSync } from "node:child_process";

export interface Placement {
  readonly serverCores: readonly number[];
  readonly loadCores: readonly number[];
  readonly words: string;
}

/** @returns undefined where there is nothing to share out, or no taskset */
export function placeOn(cores: number, nodes: number): Placement | undefined {
  if (cores < 2) return undefined;
  const forServers = Math.max(1, Math.min(nodes, Math.floor(cores / 2)));
  const all = Array.from({ length: cores }, (_, core) => core);
  const serverCores = all.slice(0, forServers);
  const loadCores = all.slice(forServers);
  return {
    serverCores,
    loadCores,
    words: `servers on core ${serverCores.join(", ")}; load processes and Redis on core ${loadCores.join(", ")}`,
  };
}

export function placementFor(nodes: number): Placement | undefined {
  return hasTaskset() ? placeOn(availableParallelism(), nodes) : undefined;
}

let found: boolean | undefined;
function hasTaskset(): boolean {
  found ??= spawnSync("taskset", ["--version"], { stdio: "ignore" }).status === 0;
  return found;
}
