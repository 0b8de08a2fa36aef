/** `starling serve` of the built dist/: the demo page is bundled there, which the sources alone do not have. */

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

export interface BuiltNode {
  readonly id: string;
  readonly pid: number;
  readonly port: number;
  readonly wsUrl: string;
  readonly demoUrl: string;
  readonly apiUrl: string;
  /** What it has written, its log too. */
  readonly output: string;
  /** Undefined while it runs; then its exit code or the signal that ended it. */
  readonly ended: number | NodeJS.Signals | undefined;
  /** Resolves when the process is gone. SIGKILL by default. */
  kill(signal?: NodeJS.Signals): Promise<void>;
}

export interface BuiltNodeOptions {
  readonly id: string;
  /** Without: a node of its own, in memory. */
  readonly redisUrl?: string;
  /** More flags of `starling serve`. */
  readonly args?: readonly string[];
  /** More of its environment. */
  readonly env?: Readonly<Record<string, string>>;
}

const CLI = join(import.meta.dirname, "../../dist/cli.js");
const START_TIMEOUT_MS = 60_000;
const OUTPUT_MAX_CHARS = 200_000;

/** @throws Error with what the process wrote, where it did not start */
export async function startBuiltNode(options: BuiltNodeOptions): Promise<BuiltNode> {
  if (!existsSync(CLI)) throw new Error("dist/cli.js is missing: npm run build");
  const { id, redisUrl, args = [], env = {} } = options;
  const redis = redisUrl === undefined ? [] : ["--redis", redisUrl];
  const child = spawn(
    process.execPath,
    [CLI, "serve", "--node-id", id, "--port", "0", "--api-port", "0", ...redis, ...args],
    {
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("STARLING_"))),
        ...env,
      },
    },
  );
  const onExit = (): void => void child.kill("SIGKILL");
  process.once("exit", onExit);
  let output = "";
  let ended: number | NodeJS.Signals | undefined;
  const gone = new Promise<void>((resolve) => {
    child.once("close", (code, signal) => {
      ended = signal ?? code ?? -1;
      process.off("exit", onExit);
      resolve();
    });
  });
  const url = (name: string): string | undefined =>
    new RegExp(`^${name}\\s+(\\w+://\\S+)$`, "m").exec(output)?.[1];

  await new Promise<void>((resolve, reject) => {
    const fail = (why: string): void => {
      clearTimeout(timer);
      child.kill("SIGKILL");
      reject(new Error(`node ${id} ${why}:\n${output}`));
    };
    const timer = setTimeout(() => fail(`was not ready after ${START_TIMEOUT_MS} ms`), START_TIMEOUT_MS);
    const read = (chunk: Buffer): void => {
      if (output.length < OUTPUT_MAX_CHARS) output += chunk.toString();
      // The last of the lines that say where it listens.
      if (url("api") === undefined) return;
      clearTimeout(timer);
      resolve();
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.once("error", (error) => fail(`could not be started: ${error.message}`));
    void gone.then(() => fail(`ended by ${String(ended)} before it was ready`));
  });

  const wsUrl = url("websocket") ?? "";
  return {
    id,
    pid: child.pid!,
    port: Number(new URL(wsUrl).port),
    wsUrl,
    demoUrl: url("demo") ?? "",
    apiUrl: url("api") ?? "",
    get output() {
      return output;
    },
    get ended() {
      return ended;
    },
    async kill(signal = "SIGKILL") {
      if (ended !== undefined) return;
      child.kill(signal);
      await gone;
    },
  };
}
