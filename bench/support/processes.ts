/** Real nodes as processes of their own, for benchmarks. */

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const CLI = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));
const START_MS = 20_000;

export interface NodeProcess {
  readonly pid: number;
  readonly wsUrl: string;
  readonly apiUrl: string;
  kill(signal: NodeJS.Signals): void;
  stop(): Promise<void>;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill(signal);
  await exit;
}

export interface NodeProcessOptions {
  /** The command of another checkout. */
  readonly cli?: string;
  /** Path of another Node.js. */
  readonly node?: string;
  /** Of descriptors; undefined leaves the one that there is. */
  readonly fileLimit?: number | undefined;
}

/**
 * Runs the built `starling serve`.
 * @throws Error with its last words if it does not come up
 */
export async function startNodeProcess(
  flags: readonly string[],
  { cli = CLI, node = process.execPath, fileLimit }: NodeProcessOptions = {},
): Promise<NodeProcess> {
  const command = [node, cli, "serve", ...flags];
  if (fileLimit !== undefined) command.unshift("prlimit", `--nofile=${fileLimit}`);
  const child = spawn(command[0]!, command.slice(1), { stdio: ["ignore", "pipe", "pipe"] });
  const heard: string[] = [];
  const found = new Map<string, string>();
  const pid = child.pid!;
  createInterface({ input: child.stderr }).on("line", (line) => {
    heard.push(line);
    if (heard.length > 20) heard.shift();
  });
  await new Promise<void>((resolve, reject) => {
    const fail = (): void =>
      reject(new Error(`the node did not start (is dist/ built?): ${heard.join("\n")}`));
    const timer = setTimeout(fail, START_MS);
    child.once("exit", fail);
    createInterface({ input: child.stdout }).on("line", (line) => {
      const [name, url] = line.trim().split(/\s+/);
      if (name !== undefined && url !== undefined) found.set(name, url);
      if (!found.has("websocket") || !found.has("api")) return;
      clearTimeout(timer);
      child.off("exit", fail);
      resolve();
    });
  });
  return {
    pid,
    wsUrl: found.get("websocket")!,
    apiUrl: found.get("api")!,
    kill: (signal) => child.kill(signal),
    stop: () => end(child, "SIGKILL"),
  };
}
