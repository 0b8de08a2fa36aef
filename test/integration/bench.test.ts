/** That the bench itself runs: nothing here says how fast anything is. */

import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BenchResult, ScenarioRun } from "../../bench/types.js";
import { root, serving, starling, url, type Program } from "../support/program.js";

const run = promisify(execFile);
/** For the many processes that a bench starts, one after the other, on a machine that does other things too. */
const TIMEOUT_MS = 300_000;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "starling-bench-test-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function bench(...argv: string[]): Promise<{ result: BenchResult; stdout: string }> {
  const file = join(folder, "result.json");
  const { stdout } = await run(
    process.execPath,
    ["--import", "tsx", "bench/main.ts", ...argv, "--quick", "--no-pin", "--json", file],
    { cwd: root },
  );
  return { result: JSON.parse(readFileSync(file, "utf8")) as BenchResult, stdout };
}

async function servingNode(...flags: string[]): Promise<Program> {
  const program = starling(["serve", "--port", "0", "--api-port", "0", "--no-demo", ...flags]);
  await serving(program);
  return program;
}

const value = (scenarioRun: ScenarioRun, name: string): number =>
  scenarioRun.figures.find((figure) => figure.name === name)?.value ?? NaN;

/** What depends on how busy this machine is, and is not what is tested. */
const isLimit = (problem: string): boolean => /^the (generator was the limit|machine was busy)/.test(problem);

describe("the bench", () => {
  it(
    "measures peers one beside the other, loses nothing, and says what it did",
    { timeout: TIMEOUT_MS },
    async () => {
      const { result, stdout } = await bench("fanout", "connect", "--peers", "starling,raw", "--runs", "2");
      expect(result.skipped).toEqual([]);
      expect(result.runs.map(({ scenario, peer, run: number }) => `${scenario} ${peer} ${number}`)).toEqual(
        ["fanout", "fanout", "fanout", "fanout", "connect"].flatMap((name) =>
          [1, 2].flatMap((number) => ["starling", "raw"].map((peer) => `${name} ${peer} ${number}`)),
        ),
      );
      for (const each of result.runs) {
        expect(each.problems.filter((problem) => !isLimit(problem))).toEqual([]);
        expect(each.cpu.wallSeconds).toBeGreaterThan(0);
        if (each.scenario === "fanout") {
          expect(value(each, "deliveriesPerSecond")).toBeGreaterThan(0);
          const fanOut = value(each, "deliveriesPerSecond") / value(each, "messagesPerSecond");
          expect(fanOut).toBeGreaterThan(1);
        } else {
          expect(value(each, "connectionsPerSecond")).toBeGreaterThan(0);
        }
      }
      const row = result.summary.find(({ figure }) => figure.name === "deliveriesPerSecond");
      expect(row?.peers.map(({ peer, runs }) => [peer, runs])).toEqual([
        ["starling", 2],
        ["raw", 2],
      ]);
      expect(row?.peers[0]?.ratio?.median).toBeGreaterThan(0);
      expect(result.reference).toBe("raw");
      expect(result.versions).toMatchObject({ node: process.version });
      expect(stdout).toContain("starling / ...");
      expect(stdout).toContain("npm run bench -- fanout connect --peers starling,raw --runs 2");
    },
  );

  it("finds a rate that two nodes sustain, and their latency", { timeout: TIMEOUT_MS }, async () => {
    const { result } = await bench(
      ...["bridge", "--peers", "starling,raw", "--subscribers", "2", "--sustain-p99", "60000"],
    );
    expect(result.skipped).toEqual([
      "bridge, 2 nodes, fan-out 2, 500/s: raw: not as 2 nodes",
      "bridge, 2 nodes, fan-out 2, sustained: raw: not as 2 nodes",
    ]);
    const [timed, sustained] = result.runs;
    expect(timed?.latency?.count).toBeGreaterThan(0);
    expect(timed?.latency?.percentiles.map(([p]) => p)).toContain(99);
    expect(value(sustained!, "sustainedMessagesPerSecond")).toBeGreaterThan(0);
    expect(sustained?.problems.filter((problem) => !isLimit(problem))).toEqual([]);
  });

  it(
    "attaches to a node that runs, in the other encoding and with acknowledgements",
    { timeout: TIMEOUT_MS },
    async () => {
      const program = await servingNode();
      const { result } = await bench(
        ...["ingest", "http", "reconnect"],
        ...["--attach", url(program, "websocket"), "--encoding", "msgpack", "--ack"],
        ...["--api-url", url(program, "api"), "--attach-pids", String(program.child.pid)],
      );
      expect(result.skipped).toEqual([]);
      expect(result.runs.map(({ scenario }) => scenario)).toEqual(["ingest", "http", "http", "reconnect"]);
      expect(result.runs[0]?.protocol).toBe("starling-msgpack");
      expect(result.runs[0]?.latency?.count).toBeGreaterThan(0);
      expect(value(result.runs[1]!, "requestsPerSecond")).toBeGreaterThan(0);
      expect(value(result.runs[3]!, "back")).toBe(200);
    },
  );

  it("tells a server that is not there as a failure", { timeout: TIMEOUT_MS }, async () => {
    const failed = await bench("ingest", "--attach", "ws://127.0.0.1:9").then(
      () => undefined,
      (error: unknown) => error as { code: number; stdout: string },
    );
    expect(failed?.code).toBe(1);
    expect(failed?.stdout).toMatch(/failed: .*ECONNREFUSED/);
  });

  it(
    "ends where a server stops taking connections while it is measured",
    { timeout: TIMEOUT_MS },
    async () => {
      const program = await servingNode("--max-connections-per-ip", "2");
      const failed = await bench("connect", "--connections", "8", "--attach", url(program, "websocket")).then(
        () => undefined,
        (error: unknown) => error as { code: number; stdout: string },
      );
      expect(failed?.code).toBe(1);
      expect(failed?.stdout).toMatch(/failed: none of 6 connections came in/);
    },
  );

  it(
    "measures the memory of a server that runs elsewhere, and leaves it running",
    { timeout: TIMEOUT_MS },
    async () => {
      const program = await servingNode();
      const { result } = await bench(
        ...["connect", "--connections", "20", "--attach", url(program, "websocket")],
        ...["--attach-pids", String(program.child.pid)],
      );
      expect(result.runs[0]?.figures.map(({ name }) => name)).toContain("rssBytesPerConnection");
      expect(program.child.exitCode ?? program.child.signalCode).toBe(null);
    },
  );
});
