/** Soketi from npm, in a folder that the user installed it in: it is no dependency here, as its uWebSockets.js is on GitHub. */

import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { freePort } from "../../src/cli/ports.js";
import { answers, startProgram } from "../../src/cli/programs/program.js";
import type { Peer, PeerStartOptions } from "../types.js";
import { execArgumentsOf } from "./exec-arguments.js";
import { MANY_NODES, startNodes, type StartedNode } from "./nodes.js";
import { EVENT_KILOBYTES_MAX, PRESENCE_MEMBERS_MAX, PUSHER_APP, withPusherApp } from "./pusher-app.js";

const HOW_TO_GET = "npm install @soketi/soketi node@18 in an empty folder (bench/README.md)";
const PROBE_MS = 20_000;
/** Prints Node's version and what is loaded for its uWebSockets.js: not every package of this name is native everywhere. */
const PROBE = `
  require(require.resolve("uWebSockets.js", { paths: [process.argv[1]] }));
  const native = Object.keys(require.cache).some((path) => path.endsWith(".node"));
  console.log(JSON.stringify({ node: process.version, native }));`;

interface Installed {
  /** Of Soketi, the Node that runs it, and its uWebSockets.js. */
  readonly version: string;
  readonly node: string;
  readonly program: string;
}

/** @param folder  the one above its node_modules; undefined where none is given */
export async function createSoketi(folder: string | undefined): Promise<Peer> {
  const found =
    folder === undefined
      ? { failure: `give the folder that it is installed in with --soketi FOLDER; ${HOW_TO_GET}` }
      : await installedIn(resolve(folder));
  const known = { name: "soketi", maxNodes: MANY_NODES } as const;
  const installed = "failure" in found ? undefined : found;
  const unavailable = "failure" in found ? found.failure : undefined;
  return {
    ...known,
    description: `Soketi ${installed?.version ?? ""}, local adapter; where there is a Redis, Redis adapter`,
    protocol: "pusher",
    has: ["presence", "events"],
    ...(installed !== undefined && { version: installed.version }),
    ...(unavailable !== undefined && { unavailable }),
    async start(options) {
      if (installed === undefined) throw new Error(`soketi is not available: ${unavailable}`);
      return withPusherApp(
        await startNodes(known, options, async (name) => startNode(name, installed, options)),
      );
    },
  };
}

async function installedIn(folder: string): Promise<Installed | { readonly failure: string }> {
  const packages = join(folder, "node_modules");
  const home = join(packages, "@soketi/soketi");
  const versionIn = (directory: string): string =>
    (JSON.parse(readFileSync(join(directory, "package.json"), "utf8")) as { version: string }).version;
  if (!existsSync(join(home, "package.json")))
    return { failure: `${folder} has no node_modules/@soketi/soketi: ${HOW_TO_GET}` };
  // Its uWebSockets.js has binaries for few versions of Node: one that is installed beside it was meant for it.
  const own = join(packages, ".bin/node");
  const node = existsSync(own) ? own : process.execPath;
  try {
    const { stdout } = await promisify(execFile)(node, ["-e", PROBE, home], { timeout: PROBE_MS });
    const { node: nodeVersion, native } = JSON.parse(stdout.trim().split("\n").at(-1)!) as {
      node: string;
      native: boolean;
    };
    if (!native)
      return { failure: `its uWebSockets.js has no binary for Node ${nodeVersion}: ${HOW_TO_GET}` };
    const sockets = versionIn(join(packages, "uWebSockets.js"));
    return {
      version: `${versionIn(home)} (Node ${nodeVersion}, uWebSockets.js ${sockets})`,
      node,
      program: join(home, "bin/server.js"),
    };
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    return { failure: `${node} could not load its uWebSockets.js: ${said}; ${HOW_TO_GET}` };
  }
}

/**
 * Everything else is as Soketi comes: no limits of connections or rates, metrics and webhooks off. An answer of its
 * API closes the connection, which is no setting.
 */
export function configurationOf({
  port,
  statusPort,
  discoveryPort,
  redisUrl,
}: {
  readonly port: number;
  /** Of /usage, which it serves with metrics off too. */
  readonly statusPort: number;
  readonly discoveryPort: number;
  readonly redisUrl?: string;
}) {
  const redis = redisUrl === undefined ? undefined : new URL(redisUrl);
  return {
    host: "127.0.0.1",
    port,
    "metrics.host": "127.0.0.1",
    "metrics.port": statusPort,
    // By which its nodes look for each other; only its cluster adapter needs that. Else it asks the whole network.
    "cluster.hostname": "127.0.0.1",
    "cluster.port": discoveryPort,
    "cluster.unicast": "127.0.0.1",
    ...(redis !== undefined && {
      "adapter.driver": "redis",
      "database.redis.host": redis.hostname,
      "database.redis.port": Number(redis.port),
    }),
    "appManager.array.apps": [
      {
        ...PUSHER_APP,
        enabled: true,
        enableClientMessages: true,
        maxConnections: -1,
        maxBackendEventsPerSecond: -1,
        maxClientEventsPerSecond: -1,
        maxReadRequestsPerSecond: -1,
        webhooks: [],
      },
    ],
    "presence.maxMembersPerChannel": PRESENCE_MEMBERS_MAX,
    "eventLimits.maxPayloadInKb": EVENT_KILOBYTES_MAX,
    // Nobody waits for what it says to clients when it is stopped.
    shutdownGracePeriod: 0,
  };
}

async function startNode(
  name: string,
  { node, program }: Installed,
  { redisUrl, features }: PeerStartOptions,
): Promise<StartedNode> {
  const folder = await mkdtemp(join(tmpdir(), "starling-bench-soketi-"));
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    const [port, statusPort, discoveryPort] = [await freePort(), await freePort(), await freePort()];
    const file = join(folder, "config.json");
    const configuration = configurationOf({
      ...{ port, statusPort, discoveryPort },
      ...(redisUrl !== undefined && { redisUrl }),
    });
    await writeFile(file, JSON.stringify(configuration));
    const others = Object.entries(process.env).filter(([key]) => !/^SOKETI_|^NODE_|^npm_/.test(key));
    const running = await startProgram({
      name,
      command: node,
      args: [...execArgumentsOf(features), program, "start", "--config", file],
      // It reads .env where it is started.
      cwd: folder,
      env: Object.fromEntries(others),
      isUp: () => answers(`http://127.0.0.1:${port}/`),
    });
    return {
      node: { url: `ws://127.0.0.1:${port}`, pid: running.pid },
      async stop() {
        // A plain exit writes the CPU profile.
        await running.end(features.profileFolder === undefined ? "SIGKILL" : "SIGTERM");
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
