/** Nodes that start before their Redis, or with one that will never do. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterEach, describe, expect, it } from "vitest";
import type { Config } from "../../src/config.js";
import { cleanUp, startTestNode, until, type InProcessNode } from "../support/nodes.js";
import { freePort, startRedis } from "../support/redis-server.js";

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await cleanUp();
  for (const end of ends.splice(0).reverse()) await end();
});

const FAST = { redisCommandTimeoutMs: 1000, redisStartTimeoutMs: 30_000 };

interface Starting {
  readonly node: Promise<InProcessNode>;
  readiness(): Promise<{ status: number; reasons: string } | undefined>;
  readonly api: string;
  readonly port: number;
}

async function starting(options: Partial<Config>): Promise<Starting> {
  const [port, apiPort] = [await freePort(), await freePort()];
  const node = startTestNode({ ...FAST, port, apiPort, ...options });
  node.catch(() => undefined);
  const api = `http://127.0.0.1:${apiPort}`;
  return {
    node,
    api,
    port,
    async readiness() {
      const response = await fetch(`${api}/readyz`).catch(() => undefined);
      if (response === undefined) return undefined;
      const { reasons } = (await response.json()) as { reasons: string[] };
      return { status: response.status, reasons: reasons.join() };
    },
  };
}

const waitsFor = (start: Starting, reason: RegExp): Promise<unknown> =>
  until(`waiting for ${reason}`, async () => {
    const readiness = await start.readiness();
    if (readiness === undefined || !reason.test(readiness.reasons)) return false;
    expect(readiness.status).toBe(503);
    return true;
  });

async function expectServing(start: Starting): Promise<void> {
  const node = await start.node;
  expect((await start.readiness())?.status).toBe(200);
  const client = await node.client();
  await client.do("subscribe", { channel: "a" });
  await client.do("send", { channel: "a", content: 1 });
  expect(await client.contents("a", 1)).toEqual([1]);
}

async function listening(answer: (socket: Socket) => void): Promise<number> {
  const sockets: Socket[] = [];
  const server: Server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    answer(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ends.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as { port: number }).port;
}

async function startSentinel(port: number): Promise<Redis> {
  const directory = await mkdtemp(join(tmpdir(), "starling-sentinel-"));
  ends.push(() => rm(directory, { recursive: true }));
  const file = join(directory, "sentinel.conf");
  await writeFile(file, `port ${port}\nbind 127.0.0.1\ndir ${directory}\n`);
  const child = spawn("redis-server", [file, "--sentinel"], { stdio: "ignore" });
  ends.push(async () => {
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  });
  const client = new Redis(port, "127.0.0.1", { retryStrategy: () => 50, maxRetriesPerRequest: null });
  client.on("error", () => undefined); // until it listens
  ends.push(() => Promise.resolve(client.disconnect()));
  await client.ping();
  return client;
}

describe("a node that starts before its Redis", { timeout: 60_000 }, () => {
  it("is alive and not ready, takes no clients, refuses by name, and serves once it is there", async () => {
    const redisPort = await freePort();
    const start = await starting({ redis: `redis://127.0.0.1:${redisPort}` });
    await waitsFor(start, /^waiting for Redis: connect ECONNREFUSED 127\.0\.0\.1:\d+$/);
    expect((await fetch(`${start.api}/healthz`)).status).toBe(200);
    expect(await (await fetch(`${start.api}/metrics`)).text()).toMatch(/^starling_bridge_up 0$/m);
    for (const [path, body] of [
      ["/v1/publish", { channel: "a", content: 1 }],
      ["/v1/users/42/disconnect", {}],
      ["/v1/totals", undefined],
      ["/v1/channels", undefined],
      ["/v1/channels/chat:a/history", undefined],
      ["/v1/channels/chat:a/presence", undefined],
    ] as const) {
      const response = await fetch(start.api + path, {
        ...(body !== undefined && {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(body),
        }),
      });
      expect([path, response.status]).toEqual([path, 503]);
      expect(await response.json()).toMatchObject({ error: { code: "unavailable", temporary: true } });
    }
    await expect(fetch(`http://127.0.0.1:${start.port}/`)).rejects.toThrow();
    const redis = await startRedis({ port: redisPort });
    ends.push(() => redis.stop());
    await expectServing(start);
  });

  it("gives up after redisStartTimeoutMs and says what it waited for", async () => {
    const start = await starting({ redis: "redis://127.0.0.1:1", redisStartTimeoutMs: 300 });
    await expect(start.node).rejects.toThrow(
      /cannot reach Redis at 127\.0\.0\.1:1: connect ECONNREFUSED.*; gave up after 300 ms \(redisStartTimeoutMs\)/,
    );
    expect(await start.readiness()).toBeUndefined();
  });

  it("waits until its data is loaded", async () => {
    // Each key takes 20 ms to load, and Redis answers in between.
    const redis = await startRedis({
      args: ["--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"],
    });
    ends.push(() => redis.stop());
    const fill = redis.client();
    const keys = Array.from({ length: 200 }, (_, i) => [`key:${i}`, "x".repeat(1000)]).flat();
    await fill.mset(...keys);
    await fill.save();
    fill.disconnect();
    const again = redis.restart();
    const start = await starting({ redis: redis.url });
    await waitsFor(start, /waiting for Redis: LOADING Redis is loading its data/);
    await again;
    await expectServing(start);
  });

  it("waits while it is a replica, with or without its master, and starts once it is promoted", async () => {
    const master = await startRedis();
    ends.push(() => master.stop());
    const replica = await startRedis({ args: ["--replicaof", "127.0.0.1", String(master.port)] });
    ends.push(() => replica.stop());
    const start = await starting({ redis: replica.url });
    await waitsFor(start, /(MASTERDOWN|READONLY)/);
    await waitsFor(start, /READONLY it is a replica/);
    await master.kill();
    await waitsFor(start, /MASTERDOWN it is a replica that has lost its master/);
    await replica.client().call("REPLICAOF", "NO", "ONE");
    await expectServing(start);
  });

  it("waits for Sentinels, for their knowing the master, and for the master", async () => {
    const [sentinelPort, masterPort] = [await freePort(), await freePort()];
    const start = await starting({ redis: `redis+sentinel://127.0.0.1:${sentinelPort}/mymaster` });
    await waitsFor(start, /waiting for Redis: .*ECONNREFUSED/);
    const sentinel = await startSentinel(sentinelPort);
    await waitsFor(start, /waiting for Redis: .*(invalid reply|No such master)/i);
    await sentinel.call("SENTINEL", "MONITOR", "mymaster", "127.0.0.1", String(masterPort), "1");
    await waitsFor(start, new RegExp(`waiting for Redis: .*ECONNREFUSED 127.0.0.1:${masterPort}`));
    const master = await startRedis({ port: masterPort });
    ends.push(() => master.stop());
    await expectServing(start);
  });

  it("waits for a Cluster whose slots nobody has", async () => {
    const node = await startRedis({
      args: ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"],
    });
    ends.push(() => node.stop());
    const start = await starting({ redis: node.url.replace("redis:", "redis+cluster:") });
    await waitsFor(start, /waiting for Redis: CLUSTERDOWN cluster_state is fail/);
    await node.client().call("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
    await expectServing(start);
  });

  it("over a Unix socket finds it there", async () => {
    const directory = await mkdtemp(join(tmpdir(), "starling-socket-"));
    ends.push(() => rm(directory, { recursive: true }));
    const path = join(directory, "redis.sock");
    const start = await starting({ redis: `unix://:hush@${path}?db=3` });
    await waitsFor(start, /waiting for Redis: connect ENOENT .*redis\.sock/);
    const redis = await startRedis({ args: ["--unixsocket", path, "--requirepass", "hush"] });
    ends.push(() => redis.stop());
    await expectServing(start);
    const look = new Redis(redis.port, "127.0.0.1", { password: "hush" });
    ends.push(() => Promise.resolve(look.disconnect()));
    expect(await look.info("keyspace")).toMatch(/^db3:/m);
  });
});

describe("a node whose Redis will never do", { timeout: 30_000 }, () => {
  const refusal = async (options: Partial<Config>): Promise<string> => {
    const start = await starting(options);
    return start.node.then(
      () => "it started",
      (error: unknown) => String(error),
    );
  };

  it("ends at once: another password, no password, a database that is not there", async () => {
    const redis = await startRedis({ args: ["--requirepass", "hush"] });
    ends.push(() => redis.stop());
    const at = `127.0.0.1:${redis.port}`;
    expect(await refusal({ redis: `redis://:guessed@${at}` })).toMatch(
      /cannot reach Redis at \S+: WRONGPASS(?!.*guessed).*docs\/redis\.md/,
    );
    expect(await refusal({ redis: redis.url })).toMatch(/cannot reach Redis at \S+: NOAUTH/);
    expect(await refusal({ redis: `redis://:hush@${at}/99` })).toMatch(
      /DB index is out of range; that server does not have the database that the URL names/,
    );
  });

  it("ends at once: what answers is no Redis", async () => {
    const port = await listening((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    expect(await refusal({ redis: `redis://127.0.0.1:${port}` })).toMatch(
      /Unknown RESP type.*; the server there is not Redis/s,
    );
  });

  it("ends at once: a Cluster that is none", async () => {
    const redis = await startRedis();
    ends.push(() => redis.stop());
    expect(await refusal({ redis: redis.url.replace("redis:", "redis+cluster:") })).toMatch(
      /cluster support disabled.*it is not a Cluster: use redis:/,
    );
  });
});
