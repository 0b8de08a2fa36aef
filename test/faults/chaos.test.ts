/** The long run of docs/faults.md in a short form: the built package, real processes, random faults. */

import { expect, it } from "vitest";
import { runChaos, type ChaosOptions, type ChaosResult } from "./chaos-run.js";
import { describeVerdict } from "./checker.js";
import { FAULT_NAMES, FAULTS } from "./repertoire.js";

const LOSSLESS = FAULT_NAMES.filter((name) => !FAULTS[name].losesData);
/** Repeats the schedule of a run that failed. */
const SEED = Number(process.env["CHAOS_SEED"] ?? Math.floor(Math.random() * 1_000_000));
const TIMEOUT_MS = 150_000;

async function run(options: Partial<ChaosOptions>): Promise<ChaosResult & { report: string }> {
  const lines = [`seed ${SEED}: CHAOS_SEED=${SEED} repeats the faults`];
  const result = await runChaos({
    ...{ seconds: 12, nodes: 3, clients: 40, channels: 10, channelsPerClient: 4, rate: 60, processes: 2 },
    ...{ seed: SEED, faults: FAULT_NAMES, paceSeconds: 1.2, scale: 0.25, withSdk: true },
    ...{ historySize: 2_000, historyTtlMs: 600_000, catchUpSeconds: 30 },
    // What takes a minute by default takes seconds here.
    nodeArgs: [
      ...["--lease-ttl-ms=2000", "--presence-ttl-ms=4000", "--presence-grace-ms=500"],
      ...["--bus-probe-interval-ms=500", "--bus-probe-timeout-ms=1000", "--position-check-interval-ms=1000"],
    ],
    print: (line) => lines.push(line),
    ...options,
  });
  return { ...result, report: [...lines, ...describeVerdict(result.verdict)].join("\n") };
}

it("fleets under random faults lose nothing in silence", { timeout: TIMEOUT_MS }, async () => {
  const { ok, verdict, report } = await run({});
  expect(ok, report).toBe(true);
  expect(verdict.deliveries, report).toBeGreaterThan(1_000);
});

it("every client recovers where Redis loses no data", { timeout: TIMEOUT_MS }, async () => {
  const { ok, verdict, report } = await run({ faults: LOSSLESS, first: ["client-drop", "kill"] });
  expect(ok, report).toBe(true);
  expect(verdict.notRecovered, report).toBe(0);
  expect(verdict.recoveries, report).toBeGreaterThan(0);
});

it("nodes that do not repair are caught", { timeout: TIMEOUT_MS }, async () => {
  const { verdict, troubles, report } = await run({
    ...{ seconds: 8, catchUpSeconds: 2, sabotage: "repair", faults: ["deaf", "pubsub-kill", "blackhole"] },
    first: ["deaf"],
  });
  expect(troubles, report).toEqual([]);
  expect(verdict.failures.silentLosses, report).toBeGreaterThan(0);
});
