/** The presence run of docs/faults.md in a short form: real nodes, killed, stopped and without their record. */

import { join } from "node:path";
import { expect, it } from "vitest";
import { describePresence } from "./presence-checker.js";
import { HARMS, runPresence } from "./presence-run.js";

/** Repeats the schedule of a run that failed. */
const SEED = Number(process.env["PRESENCE_SEED"] ?? Math.floor(Math.random() * 1_000_000));

it(
  "Pusher's clients and native ones are told of each user's coming and going once",
  { timeout: 180_000 },
  async () => {
    const lines = [`seed ${SEED}: PRESENCE_SEED=${SEED} repeats the schedule`];
    const { verdict, harms, ok } = await runPresence({
      ...{ seconds: 20, nodes: 3, users: 60, rate: 10, paceSeconds: 1.5, seed: SEED },
      harms: ["flush", "kill", "stall", "evict", "cut"],
      // What takes 20 s by default takes 8 s here.
      ...{ leaseTtlMs: 2_000, presenceTtlMs: 6_000, presenceGraceMs: 1_000, killedLeaveMs: 8_000 },
      dist: join(import.meta.dirname, "../../dist"),
      print: (line) => lines.push(line),
    });
    const report = [...lines, ...describePresence(verdict)].join("\n");
    console.info(report);
    expect(ok, report).toBe(true);
    expect(Object.keys(harms).sort(), report).toEqual([...HARMS].sort());
    expect(verdict.added, report).toBeGreaterThan(500);
  },
);
