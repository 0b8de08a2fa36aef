/**
 * The bench with Centrifugo beside it. Its binary is given by CENTRIFUGO_PATH; nothing downloads one, and without it
 * what needs it is told as skipped. Nothing here says how fast anything is. The bench starts a redis-server.
 */

import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { peerByName } from "../../bench/peers/index.js";
import type { BenchResult } from "../../bench/types.js";
import { root } from "../support/program.js";

const run = promisify(execFile);
const TIMEOUT_MS = 300_000;
const binary = process.env["CENTRIFUGO_PATH"];
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "starling-bench-centrifugo-test-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function bench(
  env: NodeJS.ProcessEnv,
  ...argv: string[]
): Promise<{ result: BenchResult; stdout: string }> {
  const file = join(folder, "result.json");
  const flags = ["--quick", "--seconds", "0.5", "--json", file];
  const { stdout } = await run(process.execPath, ["--import", "tsx", "bench/main.ts", ...argv, ...flags], {
    cwd: root,
    env,
  });
  return { result: JSON.parse(readFileSync(file, "utf8")) as BenchResult, stdout };
}

/** What depends on how busy this machine is, and is not what is tested. */
const isLimit = (problem: string): boolean =>
  /^(with(out)?( history)?: )?the (generator was the limit|machine was busy)/.test(problem);

it(
  "without its binary the others are measured, and how to get it is said",
  { timeout: TIMEOUT_MS },
  async () => {
    const { CENTRIFUGO_PATH: _, ...env } = process.env;
    const { result, stdout } = await bench(env, "ingest", "--peers", "raw,centrifugo", "--no-pin");
    expect(result.runs.map(({ peer }) => peer)).toEqual(["raw"]);
    expect(result.skipped).toEqual([
      expect.stringMatching(/^centrifugo is not available: .*--centrifugo PATH/),
    ]);
    // Before the run, with the plan, and after it.
    expect(stdout.split(result.skipped[0]!)).toHaveLength(3);
  },
);

const given = describe.skipIf(binary === undefined);
given(`Centrifugo${binary === undefined ? ", not run: CENTRIFUGO_PATH names no binary" : ""}`, () => {
  it("is measured in every scenario that it can, and loses nothing", { timeout: TIMEOUT_MS }, async () => {
    const named = ["connect", "fanout", "ingest", "history", "presence", "reconnect", "idle"];
    const { result, stdout } = await bench(process.env, ...named, "--peers", "centrifugo");
    expect(result.skipped).toEqual([]);
    expect([...new Set(result.runs.map(({ scenario }) => scenario))]).toEqual(named);
    for (const { scenario, protocol, problems, figures } of result.runs) {
      expect(protocol).toBe("centrifugo");
      expect([scenario, problems.filter((problem) => !isLimit(problem))]).toEqual([scenario, []]);
      expect(figures.length).toBeGreaterThan(0);
    }
    expect(result.versions["centrifugo"]).toMatch(/^\d+\.\d+\.\d+/);
    expect(stdout).toContain(`centrifugo ${result.versions["centrifugo"]}`);
  });

  it("joins two nodes by Redis", { timeout: TIMEOUT_MS }, async () => {
    const { result } = await bench(
      process.env,
      ...["bridge", "--peers", "centrifugo", "--subscribers", "2", "--sustain-p99", "60000"],
    );
    expect(result.skipped).toEqual([]);
    expect(result.runs).toHaveLength(2);
    for (const { problems } of result.runs)
      expect(problems.filter((problem) => !isLimit(problem))).toEqual([]);
  });

  it("has as many threads for Go as cores, and is gone when stopped", async () => {
    const peer = await peerByName("centrifugo", { centrifugo: binary! });
    const running = await peer.start({ nodes: 1, features: {}, cores: 1 });
    const { pid } = running.nodes[0]!;
    const environment = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
    expect(environment.filter((each) => /^(GO|CENTRIFUGO)/.test(each))).toEqual(["GOMAXPROCS=1"]);
    await running.stop();
    await running.stop();
    expect(() => process.kill(pid, 0)).toThrow("ESRCH");
  });

  it("tells what it said where it does not start", async () => {
    const peer = await peerByName("centrifugo", { centrifugo: binary! });
    // Nobody listens there.
    const redisUrl = "redis://127.0.0.1:1";
    await expect(peer.start({ nodes: 1, redisUrl, features: {} })).rejects.toThrow(
      /centrifugo did not start:[^]*127\.0\.0\.1:1/,
    );
  });
});
