/** What the Redis registry leaves in Redis, and what it does when that is lost. */

import { fork, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";

import type { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";

import type { Log } from "../../src/core/log.js";
import type { ConnectionRegistry } from "../../src/core/registry.js";
import { Stats } from "../../src/core/stats.js";
import { FORMAT, FORMAT_BEFORE, LearnedFormat } from "../../src/redis/link/fleet-format.js";
import { createKeys } from "../../src/redis/link/keys.js";
import { Outbox } from "../../src/redis/registry/outbox.js";
import { createRedisRegistry } from "../../src/redis/registry/registry.js";
import { loadScript, runScript } from "../../src/redis/link/scripts.js";
import { createSessionStore } from "../../src/redis/registry/sessions.js";
import { eventually } from "../support/eventually.js";
import { FakeConnection, FakeCore } from "../support/fake-connection.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

const LEASE_TTL_MS = 1_500;
const SESSION_TTL_MS = 60_000;
const COMMAND_TIMEOUT_MS = 1_000;

let server: RedisServer;
let redis: Redis;
let prefix = "";
let keys = createKeys(prefix);
let run = 0;
const nodes: TestNode[] = [];
const children: ChildProcess[] = [];

interface TestNode {
  readonly registry: ConnectionRegistry;
  readonly core: FakeCore;
  readonly log: Log;
  readonly logs: string[];
  readonly notified: string[];
  put(id: string, channels?: string[]): FakeConnection;
  remove(connection: FakeConnection, resumable: boolean): void;
}

interface NodeOptions {
  readonly format?: LearnedFormat;
  readonly sessionTtlMs?: number;
  readonly leaseTtlMs?: number;
}

function createNode(nodeId: string, options: NodeOptions = {}): TestNode {
  const core = new FakeCore();
  const logs: string[] = [];
  const notified: string[] = [];
  const write = (fields: object, message: string): void =>
    void logs.push(`${message} ${JSON.stringify(fields)}`);
  const log: Log = { debug: write, info: write, warn: write, error: write };
  const registry = createRedisRegistry({
    nodeId,
    redis: { url: server.url, prefix, commandTimeoutMs: COMMAND_TIMEOUT_MS },
    sessionTtlMs: SESSION_TTL_MS,
    leaseTtlMs: LEASE_TTL_MS,
    stats: new Stats(),
    log,
    notifySuperseded: (node, connection) => void notified.push(`${node} ${connection}`),
    ...options,
  });
  const node: TestNode = {
    registry,
    core,
    log,
    logs,
    notified,
    put(id, channels = ["room"]) {
      const connection = new FakeConnection(id, channels);
      core.live.set(id, connection);
      registry.put(connection);
      return connection;
    },
    remove(connection, resumable) {
      core.live.delete(connection.id);
      registry.remove(connection, resumable);
    },
  };
  nodes.push(node);
  return node;
}

async function startNode(nodeId: string, options?: NodeOptions): Promise<TestNode> {
  const node = createNode(nodeId, options);
  await node.registry.start(node.core);
  return node;
}

interface ChildNode {
  readonly process: ChildProcess;
  readonly events: string[];
}

/** A node in a process of its own with `count` connections, `<id>.0` on. */
async function startChild(nodeId: string, count: number): Promise<ChildNode> {
  const options = {
    nodeId,
    redis: { url: server.url, prefix, commandTimeoutMs: COMMAND_TIMEOUT_MS },
    leaseTtlMs: LEASE_TTL_MS,
  };
  const child = fork(
    new URL("./redis-registry-node.ts", import.meta.url),
    [JSON.stringify(options), String(count)],
    { execArgv: ["--import", "tsx"] },
  );
  children.push(child);
  const events: string[] = [];
  child.on("message", (message: { event: string }) => void events.push(message.event));
  await eventually(() => expect(events).toContain("registered true"));
  await eventually(async () => expect(await redis.hlen(keys.connections(nodeId))).toBe(count));
  await eventually(async () => expect(await sessionKeys()).toHaveLength(count));
  return { process: child, events };
}

const held = (nodeId: string): Promise<string[]> =>
  redis.hkeys(keys.connections(nodeId)).then((ids) => ids.sort());

const allKeys = (): Promise<string[]> => redis.keys(`${prefix}*`);
const sessionKeys = (): Promise<string[]> => redis.keys(`${prefix}session:*`);

beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server.stop());
beforeEach(() => {
  prefix = `ws${run++}:`;
  keys = createKeys(prefix);
});
afterEach(async () => {
  server.resume();
  for (const child of children.splice(0)) child.kill("SIGKILL");
  await Promise.all(nodes.splice(0).map((node) => node.registry.stop()));
});

describe("what nodes read", () => {
  it("stands in their leases, and is known of all before a node is registered", async () => {
    const [a, b] = [new LearnedFormat(), new LearnedFormat()];
    const { logs: logsOfA } = await startNode("a", { format: a });
    expect(JSON.parse((await redis.get(keys.node("a")))!)).toMatchObject({ reads: FORMAT, registration: 1 });
    expect(a.oldest).toBe(FORMAT);
    // As a node of the version before has it.
    await redis.set(keys.node("old"), JSON.stringify({ startedAt: 1, incarnation: "i", registration: 1 }));
    await redis.zadd(keys.nodes, String(Date.now() + 60_000), "old");
    const { logs } = await startNode("b", { format: b });
    expect(b.oldest).toBe(FORMAT_BEFORE);
    await eventually(() => expect(a.oldest).toBe(FORMAT_BEFORE));
    // It stops as nodes do: nothing of it is left.
    await redis.zrem(keys.nodes, "old");
    await redis.del(keys.node("old"));
    await eventually(() => expect([a.oldest, b.oldest]).toEqual([FORMAT, FORMAT]));
    const changes = (lines: readonly string[]): readonly string[] =>
      lines.filter((line) => line.includes("the format that all nodes"));
    // What a node finds at its start is no change.
    expect([changes(logsOfA).length, changes(logs).length]).toEqual([2, 1]);
  });
});

describe("what is in Redis", () => {
  it("is one hash a node, with the fields that its readers know", async () => {
    const a = await startNode("a");
    a.put("a.1", ["room", "news"]).userId = "42";
    a.put("a.2", []);
    await eventually(async () => expect(await held("a")).toEqual(["a.1", "a.2"]));
    const fields = await redis.hgetall(`${prefix}connections:a`);
    expect(JSON.parse(fields["a.1"]!)).toEqual({
      userId: "42",
      channels: ["room", "news"],
      connectedAt: 1700000000,
      lastActivity: 1700000060,
      session: "s-a.1",
      app: "main",
    });
    expect(JSON.parse(fields["a.2"]!)).toMatchObject({ userId: null, channels: [] });
  });

  it("holds the hash of a session's secret, not the secret", async () => {
    const a = await startNode("a");
    const connection = a.put("a.1");
    const key = keys.session("s-a.1");
    const digest = createHash("sha256").update(connection.resumeSecret).digest("base64url");
    await eventually(async () =>
      expect(await redis.get(key)).toBe(`a.1 0 ${digest} {"app":"main","userId":null,"channels":["room"]}`),
    );
  });

  it("has a time-to-live on every key: the hash's outlasts the lease", async () => {
    const a = await startNode("a");
    a.remove(a.put("a.1"), true);
    a.put("a.2");
    await eventually(async () => expect(await allKeys()).toHaveLength(5));
    const ttls = new Map<string, number>();
    for (const key of await allKeys()) ttls.set(key, await redis.pttl(key));
    for (const [key, ttl] of ttls) expect([key, ttl > 0]).toEqual([key, true]);
    expect(ttls.get(keys.node("a"))).toBeLessThanOrEqual(LEASE_TTL_MS);
    expect(ttls.get(keys.connections("a"))).toBeGreaterThan(LEASE_TTL_MS);
    expect(ttls.get(keys.session("s-a.1"))).toBeLessThanOrEqual(SESSION_TTL_MS);
    expect(ttls.get(keys.session("s-a.2"))).toBeGreaterThan(SESSION_TTL_MS);
  });

  it("keeps its hash alive past the hash's own time-to-live", async () => {
    const a = await startNode("a", { leaseTtlMs: 600 });
    a.put("a.1");
    await eventually(async () => expect(await held("a")).toEqual(["a.1"]));
    const startedMs = performance.now();
    await eventually(() => expect(performance.now() - startedMs).toBeGreaterThan(4500));
    expect(await held("a")).toEqual(["a.1"]);
    expect(a.core.registrations).toEqual([true]);
  });

  it("takes tens of round trips for ten thousand connections, not ten thousand", async () => {
    const a = await startNode("a", { leaseTtlMs: 10_000 });
    const calls = async (): Promise<Record<string, number>> => {
      const stats = await redis.info("commandstats");
      return Object.fromEntries(
        [...stats.matchAll(/cmdstat_([a-z|]+):calls=(\d+)/g)].map(
          ([, name, count]) => [name!, Number(count)] as const,
        ),
      );
    };
    await redis.config("RESETSTAT");
    const connections = Array.from({ length: 10_000 }, (_, at) => a.put(`a.${at}`, ["room", `own-${at}`]));
    await eventually(async () => expect(await redis.hlen(keys.connections("a"))).toBe(10_000));
    await eventually(async () => expect(await redis.dbsize()).toBeGreaterThanOrEqual(10_000));
    const put = await calls();
    expect(put["hset"]).toBeLessThanOrEqual(40);
    expect((put["evalsha"] ?? 0) + (put["eval"] ?? 0)).toBeLessThan(400);

    await redis.config("RESETSTAT");
    for (const connection of connections) a.remove(connection, false);
    await eventually(async () => expect(await redis.exists(keys.connections("a"))).toBe(0));
    await eventually(async () => expect(await sessionKeys()).toEqual([]));
    const removed = await calls();
    expect(removed["hdel"]).toBeLessThanOrEqual(40);
    expect((removed["evalsha"] ?? 0) + (removed["eval"] ?? 0)).toBeLessThan(400);
  });

  it("is nothing but sessions with a time-to-live after a clean stop", async () => {
    const a = await startNode("a");
    a.put("a.1");
    a.remove(a.put("a.2"), true);
    a.put("a.3", []);
    await a.registry.stop();
    expect((await allKeys()).sort()).toEqual([keys.session("s-a.1"), keys.session("s-a.2")].sort());
    for (const key of await allKeys()) expect(await redis.pttl(key)).toBeGreaterThan(0);
  });
});

describe("two nodes", () => {
  it("sum their connections", async () => {
    const [a, b] = await Promise.all([startNode("a"), startNode("b")]);
    a.put("a.1");
    b.put("b.1");
    b.put("b.2", []);
    await eventually(async () => expect(await a.registry.totals()).toEqual({ nodes: 2, connections: 3 }));
    expect([...(await b.registry.nodes())].sort()).toEqual(["a", "b"]);
  });

  it("pass a session on: the former node is told, and its late writes change nothing", async () => {
    const [a, b] = await Promise.all([startNode("a"), startNode("b")]);
    const old = a.put("a.1", ["room"]);
    await eventually(async () => expect(await sessionKeys()).toHaveLength(1));
    const by = b.put("b.1", []);
    expect(await by.resume(b.registry, "s-a.1", old.resumeSecret)).toEqual(["room"]);
    expect(b.notified).toEqual(["a a.1"]);

    old.channels = ["stolen back"];
    a.registry.put(old);
    await eventually(() => expect(a.core.supersededIds).toEqual(["a.1"]));
    await eventually(async () => expect(await held("a")).toEqual([]));
    expect(await redis.get(keys.session("s-a.1"))).toMatch(/^b\.1 1 .*"channels":\["room"\]/);
  });

  it("pass a session on: a former node that writes nothing finds out when it refreshes", async () => {
    const [a, b] = await Promise.all([startNode("a", { sessionTtlMs: 1_000 }), startNode("b")]);
    const old = a.put("a.1", ["room"]);
    await eventually(async () => expect(await sessionKeys()).toHaveLength(1));
    await b.put("b.1", []).resume(b.registry, "s-a.1", old.resumeSecret);
    await eventually(() => expect(a.core.supersededIds).toEqual(["a.1"]));
  });

  it("pass a session on: its release and its end by the former owner are ignored", async () => {
    const [a, b] = await Promise.all([startNode("a"), startNode("b")]);
    const kept = a.put("a.1", ["room"]);
    const ended = a.put("a.2", ["room"]);
    await eventually(async () => expect(await sessionKeys()).toHaveLength(2));
    await b.put("b.1", []).resume(b.registry, "s-a.1", kept.resumeSecret);
    await b.put("b.2", []).resume(b.registry, "s-a.2", ended.resumeSecret);
    a.remove(kept, true);
    a.remove(ended, false);
    await eventually(async () => expect(await held("a")).toEqual([]));
    await a.registry.stop();
    expect(await redis.get(keys.session("s-a.1"))).toMatch(/^b\.1 1 /);
    expect(await redis.get(keys.session("s-a.2"))).toMatch(/^b\.2 1 /);
  });

  it("refuse a late write of a connection that had the session, lost it and has it again", async () => {
    const [a, b] = await Promise.all([startNode("a"), startNode("b")]);
    const first = a.put("a.1", ["room"]);
    const second = b.put("b.1", []);
    await eventually(async () => expect(await sessionKeys()).toHaveLength(1));
    await second.resume(b.registry, "s-a.1", first.resumeSecret);
    await eventually(() => expect(a.core.supersededIds).toEqual(["a.1"]));
    // With nothing of its own to keep, or its late save would be refused while it takes.
    Object.assign(first, { sessionId: "s-other", channels: [] });
    await first.resume(a.registry, "s-a.1", second.resumeSecret);
    const store = createSessionStore(redis, keys, SESSION_TTL_MS);
    const late = { session: "s-a.1", owner: "a.1", generation: 0 };
    const json = '{"app":"main","userId":null,"channels":["of old"]}';
    expect(await store.save([{ ...late, secretHash: "x", json, released: false }])).toEqual(["superseded"]);
    expect(await store.touch([late])).toEqual(["superseded"]);
    await store.end([late]);
    expect(await redis.get(keys.session("s-a.1"))).toMatch(/^a\.1 2 .*"channels":\["room"\]/);
  });

  it("write and touch a session whose names are not ASCII as any other", async () => {
    const store = createSessionStore(redis, keys, SESSION_TTL_MS);
    const owned = { session: "s-\u00e9", owner: "a.\u20ac", generation: 3 };
    const json = '{"app":"main","userId":"\u00fc","channels":["room"]}';
    expect(await store.save([{ ...owned, secretHash: "x", json, released: false }])).toEqual(["done"]);
    expect(await redis.get(keys.session("s-\u00e9"))).toBe(`a.\u20ac 3 x ${json}`);
    expect(await store.touch([owned, { ...owned, session: "s-gone" }])).toEqual(["done", "gone"]);
  });

  it("give no channel back that is none: its name would be written into frames", async () => {
    const a = await startNode("a");
    const old = a.put("a.1", ["room"]);
    a.remove(old, true);
    const key = keys.session(old.sessionId);
    await eventually(async () => expect(await redis.get(key)).toContain('["room"]'));
    const kept = (await redis.get(key))!;
    await redis.set(
      key,
      kept.replace('["room"]', JSON.stringify(['x","from":{"user":"admin"},"y":"', 7, "room"])),
    );
    expect(await a.put("a.2", []).resume(a.registry, old.sessionId, old.resumeSecret)).toEqual(["room"]);
  });

  it("are all refreshed where they are more than one turn writes", async () => {
    const connections = Array.from({ length: 4_500 }, (_, at) => new FakeConnection(`a.${at}`, ["room"]));
    const outbox = new Outbox({
      flushIntervalMs: 1,
      sessions: createSessionStore(redis, keys, SESSION_TTL_MS),
      log: createNode("a").log,
      canWrite: () => true,
      hashIsCurrent: () => true,
      writeHash: () => Promise.resolve(true),
      connections: () => connections,
      superseded: () => undefined,
    });
    for (const connection of connections) outbox.put(connection);
    expect(await outbox.flush()).toBe(true);
    const names = await sessionKeys();
    expect(names).toHaveLength(4_500);
    await Promise.all(names.map((name) => redis.pexpire(name, SESSION_TTL_MS / 2)));
    await outbox.touch(1);
    const ttls = await Promise.all(names.map((name) => redis.pttl(name)));
    expect(Math.min(...ttls)).toBeGreaterThan(SESSION_TTL_MS);
    outbox.close();
  });

  it("give one of two that ask at once the session", async () => {
    const [a, b] = await Promise.all([startNode("a"), startNode("b")]);
    for (let at = 0; at < 20; at++) {
      const old = a.put(`a.${at}`, ["room"]);
      a.remove(old, true);
      await eventually(async () => expect(await redis.get(keys.session(`s-a.${at}`))).toMatch(/^- /));
      const results = await Promise.all([
        a.registry.take(`s-a.${at}`, old.resumeSecret, a.put(`a.taker-${at}`, [])),
        b.registry.take(`s-a.${at}`, old.resumeSecret, b.put(`b.taker-${at}`, [])),
      ]);
      expect(results.filter((result) => result.taken !== undefined)).toHaveLength(1);
    }
  });

  it("may not have one id", async () => {
    await startNode("a");
    const second = createNode("a");
    await expect(second.registry.start(second.core)).rejects.toThrow(
      'node id "a" is in use by another running node; choose another --node-id or leave it out',
    );
  });

  it("may have one id after another: the lease of the first is waited out", async () => {
    await redis.set(
      keys.node("a"),
      JSON.stringify({ startedAt: 1, incarnation: "dead", registration: 1 }),
      "PX",
      500,
    );
    await redis.hset(keys.connections("a"), "a.ghost", "{}");
    const a = await startNode("a");
    a.put("a.1");
    await eventually(async () => expect(await held("a")).toEqual(["a.1"]));
  });
});

describe("a node that was killed", () => {
  it("is reaped once by two survivors, and its sessions can be resumed", async () => {
    const [b, c] = await Promise.all([startNode("b"), startNode("c")]);
    const child = await startChild("a", 3);
    expect((await b.registry.totals()).nodes).toBe(3);
    child.process.kill("SIGKILL");
    await eventually(async () => expect(await redis.exists(keys.connections("a"))).toBe(0));
    expect([...(await b.registry.nodes())].sort()).toEqual(["b", "c"]);
    const reaped = (): string[] => [...b.logs, ...c.logs].filter((line) => line.startsWith("reaped"));
    await eventually(() => expect(reaped()).toEqual(['reaped a dead node {"deadNode":"a","connections":3}']));

    const channels = await b.put("b.1", []).resume(b.registry, "s-a.2", "secret of a.2");
    expect(channels).toEqual(["room-2"]);
    // Both looked again meanwhile.
    const zcard = await redis.zcard(keys.nodes);
    expect([zcard, reaped()]).toEqual([2, reaped().slice(0, 1)]);
  });

  it("is not reaped if it registered again since it was seen dead", async () => {
    const a = await startNode("a");
    a.put("a.1");
    await eventually(async () => expect(await held("a")).toEqual(["a.1"]));
    const names = [keys.node("a"), keys.connections("a")];
    expect(await runScript(redis, loadScript("nodes-claim"), [keys.nodes], ["a", "12345"])).toBe(0);
    expect(await runScript(redis, loadScript("connections-reap"), names, [])).toBe(-1);
    expect(await held("a")).toEqual(["a.1"]);
    expect(await redis.zscore(keys.nodes, "a")).not.toBeNull();
  });
});

describe("a lapse", () => {
  it("is seen by the clock alone, before anything is served", async () => {
    const a = await startNode("a");
    a.put("a.1");
    const later = performance.now() + LEASE_TTL_MS + 1_000;
    expect(a.registry.checkLease(performance.now())).toBe(true);
    expect(a.registry.checkLease(later)).toBe(false);
    expect(a.core.registrations).toEqual([true, false]);
    await eventually(() => expect(a.core.registrations).toEqual([true, false, true]));
    expect(a.registry.checkLease(performance.now())).toBe(true);
    await eventually(async () => expect(await held("a")).toEqual(["a.1"]));
  });

  it("after FLUSHALL ends in a complete registration", async () => {
    const a = await startNode("a");
    const connections = ["a.1", "a.2", "a.3"].map((id) => a.put(id));
    await eventually(async () => expect(await sessionKeys()).toHaveLength(3));
    await redis.flushall();
    await eventually(() => expect(a.core.registrations).toEqual([true, false, true]));
    await eventually(async () => expect(await held("a")).toEqual(["a.1", "a.2", "a.3"]));
    expect(await sessionKeys()).toHaveLength(3);
    expect(await a.registry.totals()).toEqual({ nodes: 1, connections: 3 });
    a.remove(connections[0]!, false);
    await eventually(async () => expect(await held("a")).toEqual(["a.2", "a.3"]));
  });

  it("after a restart of Redis that lost everything ends in a registration with what changed meanwhile", async () => {
    const a = await startNode("a");
    const gone = a.put("a.1");
    const resumable = a.put("a.2");
    a.put("a.3");
    await eventually(async () => expect(await sessionKeys()).toHaveLength(3));
    await server.kill();
    await eventually(() => expect(a.core.registrations).toEqual([true, false]));
    a.remove(gone, false);
    a.remove(resumable, true);
    a.put("a.4");
    await expect(a.registry.totals()).rejects.toMatchObject({ code: "unavailable" });
    await expect(a.registry.take("s-a.9", "secret", a.put("a.5"))).rejects.toMatchObject({
      code: "unavailable",
    });
    await server.restart();
    await eventually(() => expect(a.core.registrations).toEqual([true, false, true]));
    await eventually(async () => expect(await held("a")).toEqual(["a.3", "a.4", "a.5"]));
    const b = await startNode("b");
    await eventually(async () => {
      expect(await b.put("b.1", []).resume(b.registry, "s-a.2", resumable.resumeSecret)).toEqual(["room"]);
    });
  });

  it("after a restart that kept the lease and lost the tail ends in a complete registration", async () => {
    const a = await startNode("a", { leaseTtlMs: 10_000 });
    a.put("a.1");
    const left = a.put("a.2");
    await eventually(async () => expect(await held("a")).toEqual(["a.1", "a.2"]));
    await redis.save();
    a.remove(left, false);
    a.put("a.3");
    await eventually(async () => expect(await held("a")).toEqual(["a.1", "a.3"]));
    await server.restart();
    await eventually(() => expect(a.core.registrations).toEqual([true, false, true]));
    await eventually(async () => expect(await held("a")).toEqual(["a.1", "a.3"]));
    expect(a.logs.join("\n")).toContain("Redis restarted, or another server took over");
  });

  it("keeps what could not be written while Redis hung for less than the lease", async () => {
    const a = await startNode("a", { leaseTtlMs: 10_000 });
    const gone = a.put("a.1");
    await eventually(async () => expect(await sessionKeys()).toHaveLength(1));
    server.pause();
    a.put("a.2");
    a.remove(gone, false);
    await eventually(() =>
      expect(a.logs.join("\n")).toContain("connection state could not be written to Redis: retrying"),
    );
    server.resume();
    await eventually(async () => expect(await held("a")).toEqual(["a.2"]));
    await eventually(async () => expect(await sessionKeys()).toEqual([keys.session("s-a.2")]));
    expect(a.core.registrations).toEqual([true]);
  });

  it("does not say that it recorded what Redis has not taken, and says so once it has", async () => {
    const a = await startNode("a", { leaseTtlMs: 10_000 });
    const old = a.put("a.1", ["room", "left"]);
    await a.registry.recorded();
    expect(await redis.get(keys.session("s-a.1"))).toContain('["room","left"]');
    server.pause();
    old.channels = ["room"];
    a.registry.put(old);
    await expect(a.registry.recorded()).rejects.toMatchObject({
      code: "outcome_unknown",
      message: `done on this node, but not recorded in Redis within ${COMMAND_TIMEOUT_MS} ms: a resumed session may not know of it`,
    });
    server.resume();
    await eventually(() => a.registry.recorded());
    expect(await redis.get(keys.session("s-a.1"))).toContain('["room"]');
  });

  it("keeps what Redis refused, and writes it once Redis takes it", async () => {
    const a = await startNode("a", { leaseTtlMs: 10_000 });
    const released = a.put("a.1");
    await eventually(async () => expect(await sessionKeys()).toHaveLength(1));
    await redis.config("SET", "maxmemory", "1");
    try {
      a.put("a.2");
      a.put("a.3", []); // has no session whose refresh could bring it back
      await eventually(() => expect(a.logs.join("\n")).toContain("OOM"));
      a.remove(released, true);
      await eventually(async () => expect(await held("a")).not.toContain("a.1"));
      expect(await redis.get(keys.session("s-a.1"))).toMatch(/^a\.1 /);
    } finally {
      await redis.config("SET", "maxmemory", "0");
    }
    await eventually(async () => expect(await held("a")).toEqual(["a.2", "a.3"]));
    await eventually(async () => expect(await redis.get(keys.session("s-a.1"))).toMatch(/^- /));
    await eventually(async () => expect(await redis.get(keys.session("s-a.2"))).toMatch(/^a\.2 /));
  });

  it("of a process that was stopped is mended before it is registered, without what others took", async () => {
    const b = await startNode("b");
    const child = await startChild("a", 3);
    child.process.kill("SIGSTOP");
    await eventually(async () => expect(await redis.exists(keys.connections("a"))).toBe(0));
    const by = b.put("b.1", []);
    expect(await by.resume(b.registry, "s-a.1", "secret of a.1")).toEqual(["room-1"]);
    expect(b.notified).toEqual(["a a.1"]);
    child.process.kill("SIGCONT");
    await eventually(() =>
      expect(child.events).toEqual([
        "registered true",
        "registered false",
        "superseded a.1",
        "registered true",
      ]),
    );
    await eventually(async () => expect(await held("a")).toEqual(["a.0", "a.2"]));
    expect(await redis.get(keys.session("s-a.1"))).toMatch(/^b\.1 1 /);
    await eventually(async () => expect((await b.registry.totals()).nodes).toBe(2));
  });

  it("is not undone by a claim that Redis sees late", async () => {
    const a = await startNode("a");
    a.put("a.1");
    await eventually(async () => expect(await held("a")).toEqual(["a.1"]));
    const names = [keys.node("a"), keys.connections("a")];
    const lease = JSON.parse((await redis.get(keys.node("a")))!) as { registration: number };
    const late = JSON.stringify({ ...lease, registration: lease.registration - 1 });
    const reply = await runScript(redis, loadScript("lease-claim"), names, [late, LEASE_TTL_MS]);
    expect((reply as [number, string])[0]).toBeGreaterThan(0);
    const args = [late, 1_000, 1, "a.1"];
    expect(await runScript(redis, loadScript("connections-write"), names, args)).toBe(0);
    expect(await held("a")).toEqual(["a.1"]);
  });
});

describe("Redis that does not answer", () => {
  it("leaves a take unknown, and asking again finds it done", async () => {
    const [a, b] = await Promise.all([
      startNode("a", { leaseTtlMs: 10_000 }),
      startNode("b", { leaseTtlMs: 10_000 }),
    ]);
    const old = a.put("a.1");
    const by = b.put("b.1", []);
    await eventually(async () => expect(await held("b")).toEqual(["b.1"]));
    await eventually(async () => expect(await sessionKeys()).toHaveLength(1));
    server.pause();
    await expect(by.resume(b.registry, "s-a.1", old.resumeSecret)).rejects.toMatchObject({
      code: "outcome_unknown",
    });
    server.resume();
    await eventually(async () => expect(await redis.get(keys.session("s-a.1"))).toMatch(/^b\.1 1 /));
    expect(await by.resume(b.registry, "s-a.1", old.resumeSecret)).toEqual(["room"]);
    await expect(b.put("b.2", []).resume(b.registry, "s-a.1", old.resumeSecret)).rejects.toThrow(
      "wrong_secret",
    );
  });

  it("does not hold up a stop", async () => {
    const a = await startNode("a");
    a.put("a.1");
    server.pause();
    await a.registry.stop();
    expect(a.registry.checkLease(performance.now())).toBe(false);
  });

  it("is said at the start when it cannot be reached at all", async () => {
    await server.kill();
    try {
      const a = createNode("a");
      await expect(a.registry.start(a.core)).rejects.toThrow("cannot reach Redis at 127.0.0.1");
    } finally {
      await server.restart();
    }
  });
});
