/** Real nodes for tests: in this process, or as `starling serve` in one of their own. */

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { SignJWT } from "jose";
import { configSchema, defaultConfig, type Config } from "../../src/config.js";
import { silentLog } from "../../src/core/log.js";
import type { Protocol } from "../../src/core/protocol.js";
import { startNode, type ReloadedApps } from "../../src/node.js";
import { closeClients, RawClient, type Frame, type RawClientOptions } from "./raw-client.js";
import type { RedisServer } from "./redis-server.js";

export { until } from "./eventually.js";

export interface Answer<Body = unknown> {
  readonly status: number;
  readonly body: Body;
}

export interface Totals {
  readonly nodes: number;
  readonly connections: number;
}

/** A node as a test talks to it. */
export interface TestNode {
  readonly id: string;
  readonly wsUrl: string;
  readonly apiUrl: string;
  client(options?: RawClientOptions): Promise<RawClient & { welcome: Frame }>;
  get<Body = unknown>(path: string): Promise<Answer<Body>>;
  totals(): Promise<Totals>;
  /** Why it is not ready; empty: it is. */
  reasons(): Promise<readonly string[]>;
  post(path: string, body?: unknown): Promise<Answer>;
  /** A series of /metrics, labels included. @throws Error where it is not there */
  metric(series: string): Promise<number>;
  metrics(): Promise<Map<string, number>>;
  stop(): Promise<void>;
}

export interface InProcessNode extends TestNode {
  drain(): Promise<void>;
  /** As on SIGHUP, with other options. */
  reload(options: Partial<Config>): Promise<ReloadedApps>;
}

const stops: (() => Promise<void>)[] = [];

/** For afterEach. */
export async function cleanUp(): Promise<void> {
  closeClients();
  await Promise.all(stops.splice(0).map((stop) => stop()));
}

let count = 0;

export async function startTestNode(
  options: Partial<Config> = {},
  parts: { readonly protocols?: readonly Protocol[] } = {},
): Promise<InProcessNode> {
  const config = configSchema.parse({
    ...defaultConfig,
    nodeId: `node-${count++}`,
    port: 0,
    apiPort: 0,
    demo: false,
    drainNoticeMs: 0,
    drainMs: 0,
    warmUpMs: 0,
    // A test that names a wrong Redis is told at once.
    redisStartTimeoutMs: 1,
    ...options,
  });
  const node = await startNode(config, silentLog, parts);
  stops.push(() => node.stop());
  return {
    ...talkTo(node),
    stop: () => node.stop(),
    drain: () => node.drain(),
    reload: (changed) => node.reload(configSchema.parse({ ...config, ...changed })),
  };
}

/** Rules of a namespace whose channels remember, and whose readers are repaired. */
export const CHAT_RULES: Config["namespaces"][string] = {
  history: { size: 100, ttlMs: 60_000 },
  recovery: true,
  presence: true,
  joinLeave: false,
  publish: "anyone",
  replayLast: false,
  slowReader: "repair",
};

export const JWT_SECRET = "a secret of the tests, 32 bytes long";

export function token(
  claims: { sub: string; channels?: string[]; publish?: string[]; nbf?: number; info?: unknown },
  { lifetimeSeconds = 60, secret = JWT_SECRET } = {},
): Promise<string> {
  return new SignJWT({ channels: ["*"], publish: ["*"], ...claims })
    .setProtectedHeader({ alg: "HS256" })
    .setExpirationTime(Math.floor(Date.now() / 1000) + lifetimeSeconds)
    .sign(new TextEncoder().encode(secret));
}

/** Options of nodes that share a Redis and nothing with the nodes of other tests. */
export function fleetOptions(redis: RedisServer): { redis: string; redisPrefix: string } {
  return { redis: redis.url, redisPrefix: `t${count++}:` };
}

/** Nodes of one fleet, each joined by the time that this resolves. */
export async function startFleet<N extends number>(
  size: N,
  redis: RedisServer,
  options: Partial<Config> = {},
): Promise<InProcessNode[] & { prefix: string }> {
  const shared = fleetOptions(redis);
  const nodes: InProcessNode[] = [];
  for (let i = 0; i < size; i++) nodes.push(await startTestNode({ ...shared, ...options }));
  return Object.assign(nodes, { prefix: options.redisPrefix ?? shared.redisPrefix });
}

function talkTo(node: { id: string; wsUrl: string; apiUrl: string }): Omit<TestNode, "stop"> {
  const { id, wsUrl, apiUrl } = node;
  const metrics = async (): Promise<Map<string, number>> => {
    const text = await (await fetch(`${apiUrl}/metrics`)).text();
    const series = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return new Map(
      series.map((line) => [
        line.slice(0, line.lastIndexOf(" ")),
        Number(line.slice(line.lastIndexOf(" ") + 1)),
      ]),
    );
  };
  async function get<Body>(path: string): Promise<Answer<Body>> {
    const response = await fetch(apiUrl + path);
    return { status: response.status, body: (await response.json()) as Body };
  }
  return {
    id,
    wsUrl,
    apiUrl,
    client: (options) => RawClient.welcomed(wsUrl, options),
    get,
    totals: async () => (await get<Totals>("/v1/totals")).body,
    reasons: async () => (await get<{ reasons: string[] }>("/readyz")).body.reasons,
    async post(path, body) {
      const response = await fetch(apiUrl + path, {
        method: "POST",
        ...(body === undefined
          ? {}
          : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
      });
      return { status: response.status, body: await response.json() };
    },
    metrics,
    async metric(series) {
      const value = (await metrics()).get(series);
      if (value === undefined) throw new Error(`${id} has no series ${series}`);
      return value;
    },
  };
}

export interface SpawnedNode extends TestNode {
  readonly pid: number;
  /** What it wrote to stderr. */
  readonly log: string;
  signal(signal: NodeJS.Signals): void;
  /** How it ended. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const START_TIMEOUT_MS = 30_000;

/**
 * `starling serve` with these options, from the sources.
 * @param fileLimit  most descriptors that the process may open
 */
export async function spawnNode(
  options: Partial<Config> = {},
  { fileLimit }: { readonly fileLimit?: number } = {},
): Promise<SpawnedNode> {
  const id = options.nodeId ?? `node-${count++}`;
  const flags = Object.entries({
    nodeId: id,
    port: 0,
    apiPort: 0,
    demo: false,
    drainNoticeMs: 0,
    warmUpMs: 0,
    ...options,
  }).map(([name, value]) => {
    const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    return typeof value === "boolean"
      ? `--${value ? "" : "no-"}${flag}`
      : `--${flag}=${typeof value === "object" ? JSON.stringify(value) : value}`;
  });
  const command = [process.execPath, "--import", "tsx", "src/cli.ts", "serve", ...flags];
  const limited = ["sh", "-c", 'ulimit -n "$0" && exec "$@"', String(fileLimit), ...command];
  const [program, ...args] = fileLimit === undefined ? command : limited;
  const child = spawn(program!, args, {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"], HOME: process.env["HOME"] },
  });
  let log = "";
  child.stderr.on("data", (chunk: Buffer) => {
    if (log.length < 100_000) log += chunk.toString();
  });
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await ended;
  };
  stops.push(kill);
  process.once("exit", () => void child.kill("SIGKILL"));
  const urls = await printedUrls(child, () => log);
  return {
    ...talkTo({ id, wsUrl: urls.get("websocket")!, apiUrl: urls.get("api")! }),
    pid: child.pid!,
    get log() {
      return log;
    },
    signal: (signal) => void child.kill(signal),
    ended,
    stop: kill,
  };
}

async function printedUrls(child: ChildProcess, log: () => string): Promise<Map<string, string>> {
  const urls = new Map<string, string>();
  const lines = createInterface({ input: child.stdout! });
  const timer = setTimeout(() => lines.close(), START_TIMEOUT_MS);
  const gone = once(child, "exit").then(() => lines.close());
  for await (const line of lines) {
    const [, name, url] = /^(\w+)\s+(\w+:\/\/\S+)$/.exec(line) ?? [];
    if (name !== undefined && url !== undefined) urls.set(name, url);
    if (name === "api") break;
  }
  clearTimeout(timer);
  gone.catch(() => undefined);
  if (!urls.has("api")) {
    child.kill("SIGKILL");
    throw new Error(`the node did not start:\n${log()}`);
  }
  return urls;
}
