/** The built command as a child process, for tests of what a user sees on a terminal. */

import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll } from "vitest";

export const root = fileURLToPath(new URL("../../", import.meta.url));
/** Built, as the demo page is bundled by the build; `npm test` builds first. */
export const command = join(root, "dist/cli.js");

let cwd: string;
const started: Program[] = [];
beforeAll(() => {
  // A directory without a config file.
  cwd = mkdtempSync(join(tmpdir(), "starling-cli-"));
});
afterAll(() => rmSync(cwd, { recursive: true, force: true }));
afterEach(() => {
  for (const program of started.splice(0)) program.child.kill("SIGKILL");
});

export interface Program {
  readonly child: ChildProcess;
  stdout: string;
  stderr: string;
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

export function starling(args: readonly string[], env: Record<string, string> = {}): Program {
  const clean = Object.entries(process.env).filter(([name]) => !/^STARLING_|^NODE_ENV$|^npm_/.test(name));
  const child = spawn(process.execPath, [command, ...args], {
    cwd,
    env: { ...Object.fromEntries(clean), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const program: Program = {
    child,
    stdout: "",
    stderr: "",
    // close, not exit: what it wrote last has then been read.
    ended: new Promise((resolve) => child.once("close", (code, signal) => resolve({ code, signal }))),
  };
  child.stdout.on("data", (chunk: Buffer) => (program.stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (program.stderr += chunk.toString()));
  started.push(program);
  return program;
}

export async function until(program: Program, seen: () => boolean): Promise<void> {
  let over = false;
  void program.ended.then(() => (over = true));
  const deadline = Date.now() + 25_000;
  while (!seen()) {
    if (over || Date.now() > deadline) throw new Error(`not seen: ${program.stdout}\n${program.stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export const url = (program: Program, name: string): string =>
  new RegExp(`^${name} +(\\S+)$`, "m").exec(program.stdout)?.[1] ?? "";

export const serving = async (program: Program): Promise<void> =>
  until(program, () => url(program, "api") !== "");

/** A PATH that has what a cluster needs, and no Envoy, though it may be in the same directory. */
export function pathWithoutEnvoy(): string {
  const bin = mkdtempSync(join(cwd, "bin-"));
  const directories = (process.env["PATH"] ?? "").split(delimiter);
  for (const name of ["redis-server", "rm"]) {
    const found = directories.map((directory) => join(directory, name)).find((path) => existsSync(path));
    if (found === undefined) throw new Error(`${name} is not on the PATH`);
    symlinkSync(found, join(bin, name));
  }
  return bin;
}

/** A node as `starling cluster` names it. */
export interface ClusterNode {
  readonly id: string;
  readonly wsUrl: string;
  readonly pid: number;
}

/** Every node that it has started, oldest first. */
export const clusterNodes = ({ stdout }: Program): ClusterNode[] =>
  [...stdout.matchAll(/^cluster \| (node-\S+) {2}websocket (\S+) {2}api \S+ {2}pid (\d+)$/gm)].map(
    ([, id = "", wsUrl = "", pid]) => ({ id, wsUrl, pid: Number(pid) }),
  );

/** The process ids that `starling cluster` said to kill, oldest first. */
export const pidsToKill = ({ stdout }: Program): number[] =>
  [...stdout.matchAll(/now kill -9 (\d+) and watch/g)].map(([, pid]) => Number(pid));

/** An address that `starling cluster` has in front. */
export const clusterUrl = ({ stdout }: Program, name: string): string =>
  new RegExp(`^cluster \\| ${name} +(\\S+)$`, "m").exec(stdout)?.[1] ?? "";

export async function output(args: readonly string[], env?: Record<string, string>) {
  const program = starling(args, env);
  const { code } = await program.ended;
  return { code, stdout: program.stdout, stderr: program.stderr };
}

export interface ProcessEntry {
  readonly pid: number;
  readonly command: string;
}

/** From /proc: the tests run where redis-server and Chromium are, on Linux. */
export function childrenOf(parent: number | undefined): ProcessEntry[] {
  const pids = readFileSync(`/proc/${parent}/task/${parent}/children`, "utf8")
    .trim()
    .split(" ")
    .filter(Boolean);
  return pids.map((pid) => ({ pid: Number(pid), command: readFileSync(`/proc/${pid}/cmdline`, "utf8") }));
}

/** Zombies, which wait for an init to collect them, do not count. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw error;
  }
}
