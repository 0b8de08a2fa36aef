/**
 * The roll between versions of docs/faults.md in a short form. The version before needs the history of the repository
 * and a build of its own: here it is this one, saying that it reads the format before.
 */

import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { buildOfFormatBefore } from "./builds.js";
import { describeVerdict } from "./checker.js";
import { describePassing } from "./passing-checker.js";
import { rollVersions } from "./roll-versions-run.js";

const DIST = join(import.meta.dirname, "../../dist");

it(
  "a fleet is rolled to another format and back, and no client misses anything",
  { timeout: 300_000 },
  async () => {
    const lines: string[] = [];
    const before = buildOfFormatBefore(DIST);
    onTestFinished(() => before.remove());
    const { verdict, registry, passing, checks, ok } = await rollVersions({
      before,
      now: { dist: DIST },
      passes: [
        { to: "now", by: "drain" },
        { to: "before", by: "kill" },
      ],
      ...{
        nodes: 3,
        clients: 40,
        processes: 2,
        channels: 8,
        channelsPerClient: 3,
        rate: 60,
        mixedSeconds: 1,
      },
      ...{ drainMs: 1_000, historySize: 2_000, historyTtlMs: 600_000, seed: 1 },
      // What takes a minute by default takes seconds here.
      nodeArgs: [
        ...[
          "--drain-notice-ms=200",
          "--lease-ttl-ms=3000",
          "--presence-ttl-ms=20000",
          "--presence-grace-ms=2000",
        ],
      ],
      print: (line) => lines.push(line),
    });
    const report = [
      ...[...lines, ...describeVerdict(verdict), ...describePassing(passing!), ...registry.details],
    ].join("\n");
    console.info(report);
    expect(ok, report).toBe(true);
    expect(checks).toBeGreaterThan(7 * 20);
    expect(verdict.deliveries, report).toBeGreaterThan(1_000);
    expect(passing!.deliveries, report).toBeGreaterThan(1_000);
  },
);
