/** Rules by promtool, and every query against a real Prometheus that scraped a real fleet behind envoy. */

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { startFleet } from "../../grafana/check/fleet.js";
import { verify } from "../../grafana/check/verify.js";
import { root } from "../support/program.js";

/** @throws Error with what promtool said; where it is missing, how to get it */
function promtool(...args: string[]): string {
  const { error, status, stdout, stderr } = spawnSync("promtool", args, { encoding: "utf8" });
  if (error !== undefined) {
    throw new Error("promtool cannot be run: apt-get install prometheus", { cause: error });
  }
  if (status !== 0) throw new Error(`promtool ${args.join(" ")}:\n${stdout}${stderr}`);
  return stdout + stderr;
}

const files = (directory: string): string[] =>
  readdirSync(join(root, directory)).map((file) => join(root, directory, file));

describe("the rules", () => {
  it("are valid", () => {
    expect(promtool("check", "rules", ...files("prometheus/rules"))).toContain("SUCCESS");
  });

  it("fire when they should, and not before", () => {
    expect(promtool("test", "rules", ...files("prometheus/tests"))).toContain("SUCCESS");
  });
});

describe("a fleet under load and faults", () => {
  it("gives every query of the dashboards and rules something to show", { timeout: 400_000 }, async () => {
    const fleet = await startFleet();
    try {
      const log: string[] = [];
      const { results, faults, table } = await verify(fleet, {
        phaseMs: 3000,
        clients: 30,
        rateInterval: "10s",
        report: (line) => log.push(line),
      });
      expect(faults, `${log.join("\n")}\n${table}`).toEqual([]);
      expect(results.length).toBeGreaterThan(100);
      // What was done to the fleet is seen where whoever is on call looks. Not what a node says only in its
      // last second, which may fall between two scrapes: that it drains, and how many it sent away.
      const highest = (where: string, legend: string): number =>
        results.find((result) => result.where === where && result.legend === legend)?.highest ?? 0;
      const seen: readonly (readonly [string, string])[] = [
        ["State: Nodes not ready", "not ready"],
        ["State: Losses told, a minute", "losses"],
        ["State: Refusals, a second", "refusals"],
        ["State: Connections lost, a second", "lost"],
        ["Connection life cycle: Upgrades refused, by reason", "{{reason}}"],
        ["Connection life cycle: Sessions resumed, drained, taken over", "resumed"],
        ["Recovery and gaps: Recovery of those who came back", "recovered"],
        ["Recovery and gaps: Recovery of those who came back", "not recovered"],
        ["Bridge to Redis: Publications failed", "{{instance}}"],
        ["Bridge to Redis: Links made again, envelopes skipped", "envelopes skipped"],
        ["Backpressure and limits: Slow readers", "closed"],
        ["Backpressure and limits: Slow readers", "skipped"],
        ["Apps: Refusals by app", "{{app}} {{reason}}"],
        ["Apps: Publications by app", "{{app}} {{source}}"],
        ["Apps: Deliveries by app", "{{app}}"],
        ["Pusher: Frames from and to Pusher's clients", "in"],
        ["Pusher: Frames from and to Pusher's clients", "out"],
        ["Pusher: Signatures refused, by app", "{{app}}"],
        ["Pusher: Keys of no app, client events refused", "key of no app"],
        ["Pusher: Keys of no app, client events refused", "{{reason}}"],
        ["Pusher: Joins of presence channels", "{{instance}}"],
        ["Envoy: WebSockets through Envoy", "{{instance}}"],
      ];
      for (const [where, legend] of seen) {
        expect(highest(where, legend), `${where}: ${legend}\n${table}`).toBeGreaterThan(0);
      }
      expect(results.find(({ where }) => where === "State: Bus")?.last).toBe(1);
    } finally {
      await fleet.stop();
    }
  });
});
