/** Nodes of Starling as a user runs them: with metrics, heartbeats, registry, rate limits and slow-reader limits on. */

import { existsSync, readFileSync } from "node:fs";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Peer, PeerStartOptions, RunningPeer } from "../types.js";
import { execArgumentsOf } from "./exec-arguments.js";
import { ROOT } from "./installed.js";
import { startNodes, type StartedNode } from "./nodes.js";

const CLI = join(ROOT, "dist/cli.js");
const START_MS = 20_000;
const STOP_MS = 10_000;
const OUTPUT_LINES = 30;

/** One publisher here stands for hundreds of users, and all connections come at once from one address. */
const RAISED_LIMITS = {
  "messages-per-second": "1000000",
  "messages-burst": "2000000",
  "bytes-per-second": "1073741824",
  "bytes-burst": "1073741824",
  "upgrade-rate": "0",
  "max-unauthenticated": "0",
  "share-per-ip-percent": "100",
};

const NAMESPACES = {
  history: { historySize: 100, historyTtlMs: 600_000, recovery: true },
  presence: { presence: true },
};

/** Flags of `starling serve`, by name. */
type ServeFlags = Readonly<Record<string, string>>;

/** @throws Error where dist/ is not built; what the first node that failed threw, once the others have ended */
export async function startStarling(
  known: Pick<Peer, "name" | "maxNodes">,
  options: PeerStartOptions,
  flags: ServeFlags = {},
): Promise<RunningPeer> {
  if (!existsSync(CLI)) throw new Error("dist/cli.js is missing: npm run build");
  return startNodes(known, options, async (name) => startNode(name, options, flags));
}

function flagsOf({ redisUrl, features }: PeerStartOptions, flags: ServeFlags): string[] {
  const { workers = 1, settings = {} } = features;
  const values: Record<string, string> = {
    port: "0",
    "api-port": "0",
    ...RAISED_LIMITS,
    namespaces: JSON.stringify(NAMESPACES),
    "drain-ms": "0",
    "drain-notice-ms": "0",
    "log-level": "warn",
    "log-format": "json",
    ...(redisUrl !== undefined && { redis: redisUrl }),
    ...(workers > 1 && { workers: String(workers) }),
    ...flags,
    ...settings,
  };
  return ["serve", "--no-demo", ...Object.entries(values).flatMap(([name, value]) => [`--${name}`, value])];
}

async function startNode(name: string, options: PeerStartOptions, flags: ServeFlags): Promise<StartedNode> {
  const { workers = 1 } = options.features;
  const clean = Object.entries(process.env).filter(([name]) => !/^STARLING_|^NODE_|^npm_/.test(name));
  // The supervisor of workers ends them itself; a single node ends with its IPC channel, however the bench ended.
  const lifeline = workers > 1 ? [] : ["--exit-with-parent"];
  const child = spawn(
    options.features.nodePath ?? process.execPath,
    [...execArgumentsOf(options.features), CLI, ...flagsOf(options, flags), ...lifeline],
    {
      // Where no configuration file is found by accident.
      cwd: tmpdir(),
      env: Object.fromEntries(clean),
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    },
  );
  const heard: string[] = [];
  const urls = new Map<string, string>();
  child.on("message", () => undefined);
  try {
    await new Promise<void>((resolve, reject) => {
      const fail = (what: string): void => reject(new Error(`${name} ${what}:\n${heard.join("\n")}`));
      const timer = setTimeout(() => fail(`did not listen within ${START_MS} ms`), START_MS);
      child.once("error", (error) => fail(error.message));
      child.once("close", (code, signal) => {
        clearTimeout(timer);
        fail(`ended with ${code ?? signal}`);
      });
      const onLine = (line: string): void => {
        heard.push(line);
        if (heard.length > OUTPUT_LINES) heard.shift();
        const found = /^(\w+) +((?:ws|http)s?:\/\/\S+)$/.exec(line);
        if (found !== null) urls.set(found[1]!, found[2]!);
        if (!urls.has("websocket") || !urls.has("api")) return;
        clearTimeout(timer);
        resolve();
      };
      createInterface({ input: child.stdout! }).on("line", onLine);
      createInterface({ input: child.stderr! }).on("line", onLine);
    });
  } catch (error) {
    await end(child);
    throw error;
  }
  const pid = child.pid!;
  const serving = workers > 1 ? childrenOf(pid) : [pid];
  return {
    stop: () => end(child),
    node: {
      url: urls.get("websocket")!.replace(/\/$/, ""),
      pid: serving[0] ?? pid,
      pids: serving,
      apiUrl: urls.get("api")!,
      metricsUrl: urls.get("metrics") ?? `${urls.get("api")!}/metrics`,
    },
  };
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    .trim()
    .split(" ")
    .filter(Boolean)
    .map(Number);
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const killer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
  await exited;
  clearTimeout(killer);
}
