/** The rolling restart of docs/faults.md in a short form. */

import { join } from "node:path";
import { expect, it } from "vitest";
import { describeVerdict } from "./checker.js";
import { describePassing } from "./passing-checker.js";
import { isBounded, runRollingRestart } from "./rolling-restart-run.js";

it(
  "three nodes behind Envoy restart one after the other, and no client misses anything",
  { timeout: 180_000 },
  async () => {
    const lines: string[] = [];
    const { verdict, restarts, peakConnectsPerSecond, ok } = await runRollingRestart({
      ...{ nodes: 3, clients: 200, processes: 2, channels: 20, channelsPerClient: 2, rate: 40 },
      ...{ drainNoticeMs: 2_000, drainMs: 3_000, historySize: 2_000, historyTtlMs: 600_000, seed: 1 },
      dist: join(import.meta.dirname, "../../dist"),
      print: (line) => lines.push(line),
    });
    const report = [...lines, ...describeVerdict(verdict), `peak ${peakConnectsPerSecond} connects/s`].join(
      "\n",
    );
    console.info(report);
    expect(ok, report).toBe(true);
    expect(restarts.length).toBe(3);
    for (const restart of restarts) {
      expect(restart.clients).toBeGreaterThan(20);
      expect(isBounded(restart), report).toBe(true);
    }
    expect(verdict.deliveries, report).toBeGreaterThan(2_000);
  },
);

it(
  "clients and a page of unchanged pusher-js go from node to node, and miss nothing while they are subscribed",
  { timeout: 180_000 },
  async () => {
    const lines: string[] = [];
    const { passing, restarts, ok } = await runRollingRestart({
      ...{ nodes: 3, clients: 150, processes: 2, channels: 20, channelsPerClient: 2, rate: 40 },
      ...{ drainNoticeMs: 2_000, drainMs: 3_000, historySize: 2_000, historyTtlMs: 600_000, seed: 1 },
      pusher: true,
      dist: join(import.meta.dirname, "../../dist"),
      print: (line) => lines.push(line),
    });
    const report = [...lines, ...describePassing(passing!)].join("\n");
    console.info(report);
    expect(ok, report).toBe(true);
    expect(restarts.length).toBe(3);
    for (const restart of restarts) expect(isBounded(restart), report).toBe(true);
    // It was on one of them at the least.
    expect(
      restarts.reduce((sum, { pageAwayMs }) => sum + pageAwayMs!, 0),
      report,
    ).toBeGreaterThan(0);
    expect(passing!.deliveries, report).toBeGreaterThan(1_000);
  },
);
