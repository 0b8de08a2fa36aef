/** A real master, its replica and three Sentinels that watch them, on loopback. */

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Redis } from "ioredis";

import { eventually } from "./eventually.js";
import { NAME, tlsArgs, type Certificates } from "./redis-certificates.js";
import { freePort, startRedis, type RedisServer } from "./redis-server.js";

export const MASTER_NAME = "mymaster";
const SENTINELS = 3;
const DOWN_AFTER_MS = 500;
const FAILOVER_TIMEOUT_MS = 3_000;
const START_TIMEOUT_MS = 30_000;

export interface SentinelSetup {
  /** For `--redis`. */
  readonly url: string;
  /** The first was the master at first. */
  readonly servers: readonly [Server, Server];
  /** Resolves when the Sentinels name this one and it is a master. */
  promoted(server: Server): Promise<void>;
  /** Resolves when this one follows the other, and the Sentinels know of it. */
  following(server: Server): Promise<void>;
  /** From now on the replica gets nothing more of what the master writes. */
  lag(): Promise<void>;
  /** What an operator does: the replica takes over from a living master. */
  failover(): Promise<void>;
  stop(): Promise<void>;
}

export interface SentinelOptions {
  /** Of the Sentinels themselves. */
  readonly password?: string;
  /** Sentinels and servers speak nothing else among each other and to a fleet. */
  readonly tls?: Certificates;
}

type Server = RedisServer & {
  /** By which Sentinels and replicas know it. */
  readonly knownPort: number;
};

async function startServer(tls: Certificates | undefined): Promise<Server> {
  const args = ["--repl-diskless-sync-delay", "0"];
  if (tls === undefined) {
    const server = await startRedis({ args });
    return Object.assign(server, { knownPort: server.port });
  }
  const knownPort = await freePort();
  args.push(...tlsArgs(knownPort, tls, tls.byName), "--tls-replication", "yes");
  return Object.assign(await startRedis({ args }), { knownPort });
}

export async function startSentinels({ password, tls }: SentinelOptions = {}): Promise<SentinelSetup> {
  const [first, second] = await Promise.all([startServer(tls), startServer(tls)]);
  const servers = [first, second] as const;
  const directory = await mkdtemp(join(tmpdir(), "starling-sentinel-"));
  const children: ChildProcess[] = [];
  const asking: Redis[] = [];
  const onExit = (): void => children.forEach((child) => void child.kill("SIGKILL"));
  process.once("exit", onExit);

  async function stop(): Promise<void> {
    for (const client of asking) client.disconnect();
    await Promise.all(
      children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        child.kill("SIGKILL");
        await once(child, "exit");
      }),
    );
    process.off("exit", onExit);
    await Promise.all([first.stop(), second.stop(), rm(directory, { recursive: true, force: true })]);
  }

  const replication = async (server: RedisServer): Promise<string> => {
    const client = server.client();
    try {
      return await client.info("replication");
    } finally {
      client.disconnect();
    }
  };
  const sentinels = (): Redis[] => asking;
  async function named(sentinel: Redis): Promise<number> {
    const [, port] = (await sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME)) as string[];
    return Number(port);
  }
  async function following(server: Server): Promise<void> {
    await eventually(async () => {
      const info = await replication(server);
      if (!/role:slave[^]*master_link_status:up/.test(info)) throw new Error(`it does not follow:\n${info}`);
      for (const sentinel of sentinels()) {
        const replicas = JSON.stringify(await sentinel.call("SENTINEL", "REPLICAS", MASTER_NAME));
        const healthy =
          replicas.includes(`"port","${server.knownPort}"`) &&
          replicas.includes('"flags","slave"') &&
          replicas.includes('"master-link-status","ok"');
        if (!healthy) throw new Error(`a Sentinel does not know it: ${replicas}`);
      }
    }, START_TIMEOUT_MS);
  }

  try {
    const client = second.client();
    await client.call("REPLICAOF", "127.0.0.1", first.knownPort);
    client.disconnect();
    await eventually(async () => {
      if (!(await replication(second)).includes("master_link_status:up")) throw new Error("no replica yet");
    }, START_TIMEOUT_MS);
    const ports: number[] = [];
    for (let at = 0; at < SENTINELS; at++) {
      const port = await freePort();
      ports.push(port);
      const file = join(directory, `${at}.conf`);
      await writeFile(
        file,
        [
          ...(tls === undefined ? [`port ${port}`] : ["port 0", ...tlsLines(port, tls)]),
          "bind 127.0.0.1",
          `dir ${directory}`,
          `sentinel monitor ${MASTER_NAME} 127.0.0.1 ${first.knownPort} 2`,
          `sentinel down-after-milliseconds ${MASTER_NAME} ${DOWN_AFTER_MS}`,
          `sentinel failover-timeout ${MASTER_NAME} ${FAILOVER_TIMEOUT_MS}`,
          ...(password === undefined ? [] : [`requirepass ${password}`]),
          "",
        ].join("\n"),
      );
      children.push(spawn("redis-server", [file, "--sentinel"], { stdio: "ignore" }));
      const sentinel = new Redis(port, "127.0.0.1", {
        retryStrategy: () => 50,
        ...(password === undefined ? {} : { password }),
        ...(tls === undefined ? {} : { tls: { ca: readFileSync(tls.ca), servername: NAME } }),
      });
      sentinel.on("error", () => undefined); // until it listens
      asking.push(sentinel);
    }
    await eventually(async () => {
      for (const sentinel of asking) {
        const others = (await sentinel.call("SENTINEL", "SENTINELS", MASTER_NAME)) as unknown[];
        if (others.length !== SENTINELS - 1) throw new Error(`a Sentinel knows ${others.length} others`);
      }
    }, START_TIMEOUT_MS);
    await following(second);

    const scheme = tls === undefined ? "redis+sentinel" : "rediss+sentinel";
    return {
      url: `${scheme}://${ports.map((port) => `127.0.0.1:${port}`).join(",")}/${MASTER_NAME}`,
      servers,
      async promoted(server) {
        await eventually(async () => {
          for (const sentinel of asking) {
            const port = await named(sentinel);
            if (port !== server.knownPort)
              throw new Error(`a Sentinel names ${port}, not ${server.knownPort}`);
          }
          if (!(await replication(server)).includes("role:master")) throw new Error("it is no master");
        }, START_TIMEOUT_MS);
      },
      following,
      async lag() {
        const port = await named(asking[0]!);
        const client = servers.find((server) => server.knownPort === port)!.client();
        await client.acl("SETUSER", "default", "-psync", "-sync");
        await client.call("CLIENT", "KILL", "TYPE", "replica");
        client.disconnect();
      },
      async failover() {
        await eventually(() => asking[0]!.call("SENTINEL", "FAILOVER", MASTER_NAME), START_TIMEOUT_MS);
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** As tlsArgs, of a file. */
function tlsLines(port: number, tls: Certificates): string[] {
  const args = [...tlsArgs(port, tls, tls.byName), "--tls-replication", "yes"];
  return args.flatMap((arg, at) => (at % 2 === 0 ? [`${arg.slice(2)} ${args[at + 1]}`] : []));
}
