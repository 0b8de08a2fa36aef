/** Centrifugo 6, by a binary that the user gives: it is neither installed nor downloaded here. */

import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { freePort } from "../../src/cli/ports.js";
import { startProgram } from "../../src/cli/programs/program.js";
import type { Peer, PeerStartOptions } from "../types.js";
import { MANY_NODES, startNodes, type StartedNode } from "./nodes.js";

const HOW_TO_GET =
  "https://github.com/centrifugal/centrifugo/releases, or go install github.com/centrifugal/centrifugo/v6@latest";
/** What the linker puts into a release, and `go install` does not. */
const UNSET_VERSION = "0.0.0";
const VERSION_MS = 20_000;

/** @param binary  its path; undefined where none is given */
export async function createCentrifugo(binary: string | undefined): Promise<Peer> {
  const found = binary === undefined ? undefined : await versionOf(resolve(binary));
  const version = found?.version;
  const unavailable =
    binary === undefined ? `give its binary with --centrifugo PATH; ${HOW_TO_GET}` : found?.failure;
  const known = { name: "centrifugo", maxNodes: MANY_NODES } as const;
  return {
    ...known,
    description: `Centrifugo ${version ?? ""}, memory engine; where there is a Redis, Redis engine`,
    protocol: "centrifugo",
    has: ["history", "presence"],
    ...(version !== undefined && { version }),
    ...(unavailable !== undefined && { unavailable }),
    async start(options) {
      if (unavailable !== undefined) throw new Error(`centrifugo is not available: ${unavailable}`);
      return startNodes(known, options, async (name) => startNode(name, resolve(binary!), options));
    },
  };
}

type Found =
  | { readonly version: string; readonly failure?: never }
  | { readonly version?: never; readonly failure: string };

async function versionOf(path: string): Promise<Found> {
  let said: string;
  try {
    said = (await promisify(execFile)(path, ["version"], { timeout: VERSION_MS })).stdout.trim();
  } catch (error) {
    return { failure: `${path} could not be run: ${error instanceof Error ? error.message : String(error)}` };
  }
  const version = /^Centrifugo v(\S+)/.exec(said)?.[1];
  if (version === undefined) {
    return { failure: `${path} is not Centrifugo: its answer to "version" is "${said}"; ${HOW_TO_GET}` };
  }
  return { version: version === UNSET_VERSION ? ((await moduleVersionIn(path)) ?? version) : version };
}

/** Go writes into each binary which version of its main module it was built from. */
async function moduleVersionIn(path: string): Promise<string | undefined> {
  const bytes = await readFile(path);
  const at = bytes.indexOf("\nmod\tgithub.com/centrifugal/centrifugo/");
  if (at === -1) return undefined;
  return /\tv(\d[^\t]*)\t/.exec(bytes.toString("latin1", at, at + 200))?.[1];
}

/** Anonymous clients, as those of the other peers are, each of which may subscribe and publish. */
const ALLOWED = {
  allow_subscribe_for_client: true,
  allow_subscribe_for_anonymous: true,
  allow_publish_for_client: true,
  allow_publish_for_anonymous: true,
};

/**
 * Everything else is as Centrifugo comes: pings each 25 s, no limits of connections or rates, a client's queue of at
 * most 1 MiB, which is Starling's `max-buffered-bytes` too, commands of one connection in their order
 * (`client.concurrency`), no admin, health, debug or metrics endpoint.
 */
export function configurationOf({ port, redisUrl }: { readonly port: number; readonly redisUrl?: string }) {
  return {
    http_server: { address: "127.0.0.1", port },
    engine: redisUrl === undefined ? { type: "memory" } : { type: "redis", redis: { address: redisUrl } },
    client: { allow_anonymous_connect_without_token: true },
    channel: {
      without_namespace: ALLOWED,
      namespaces: [
        { name: "history", ...ALLOWED, history_size: 100, history_ttl: "600s", force_recovery: true },
        {
          name: "presence",
          ...ALLOWED,
          presence: true,
          allow_presence_for_client: true,
          allow_presence_for_anonymous: true,
        },
      ],
    },
    // At "info" it writes a line for each command that fails.
    log: { level: "error" },
    http_api: { disabled: true },
    usage_stats: { disabled: true },
  };
}

async function startNode(
  name: string,
  binary: string,
  { redisUrl, cores }: PeerStartOptions,
): Promise<StartedNode> {
  const folder = await mkdtemp(join(tmpdir(), "starling-bench-centrifugo-"));
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    const port = await freePort();
    const file = join(folder, "config.json");
    await writeFile(
      file,
      JSON.stringify(configurationOf({ port, ...(redisUrl !== undefined && { redisUrl }) })),
    );
    const program = await startProgram({
      name,
      command: binary,
      args: ["--config", file],
      // It reads .env where it is started.
      cwd: folder,
      env: environmentFor(cores),
      isUp: () => accepts(port),
    });
    return {
      node: { url: `ws://127.0.0.1:${port}`, pid: program.pid },
      async stop() {
        await program.end("SIGKILL");
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Go asks at the start how many cores it has; it is bound to fewer after that. */
function environmentFor(cores: number | undefined): NodeJS.ProcessEnv {
  const others = Object.entries(process.env).filter(([name]) => !/^CENTRIFUGO_|^GO[A-Z]+$/.test(name));
  return { ...Object.fromEntries(others), ...(cores !== undefined && { GOMAXPROCS: String(cores) }) };
}

async function accepts(port: number): Promise<boolean> {
  return new Promise((answer) => {
    const socket = connect(port, "127.0.0.1");
    const tell = (accepted: boolean): void => {
      socket.destroy();
      answer(accepted);
    };
    socket.once("connect", () => tell(true));
    socket.once("error", () => tell(false));
  });
}
