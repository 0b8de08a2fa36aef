import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { PeerFeatures } from "../types.js";
import { ROOT } from "./installed.js";

const COLLECTOR = pathToFileURL(join(ROOT, "bench/peers/collector.mjs")).href;

/** What Node.js itself is given to run a server. */
export function execArgumentsOf({ profileFolder, collects = false }: PeerFeatures): string[] {
  return [
    ...(profileFolder === undefined ? [] : ["--cpu-prof", "--cpu-prof-dir", profileFolder]),
    ...(collects ? ["--import", COLLECTOR] : []),
  ];
}
