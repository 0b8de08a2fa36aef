/** Presence over several nodes, what it leaves in Redis, and what it costs there. */

import type { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";

import { FORMAT } from "../../src/redis/link/fleet-format.js";
import { createKeys } from "../../src/redis/link/keys.js";
import { createRedisPresence } from "../../src/redis/presence/presence.js";
import {
  eventually,
  KEY,
  member,
  startPresenceNode,
  type PresenceNode,
  type PresenceNodeOptions,
} from "../support/presence-nodes.js";
import { createRedisNode } from "../support/redis-node.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

let server: RedisServer;
let redis: Redis;
let prefix = "";
let tests = 0;

beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server.stop());
beforeEach(() => {
  prefix = `t${++tests}:`;
});

const LONG = { ttlMs: 300_000, graceMs: 60_000 };

const startNode = (nodeId: string, options: Partial<PresenceNodeOptions> = LONG): Promise<PresenceNode> =>
  startPresenceNode(nodeId, { url: server.url, prefix, ...options });

const recordKeys = (): Promise<string[]> => redis.keys(`${prefix}presence:*`).then((keys) => keys.sort());

/** How many scripts Redis ran since it was last asked. */
async function scriptCalls(): Promise<number> {
  const stats = await redis.info("commandstats");
  await redis.config("RESETSTAT");
  return [...stats.matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)].reduce((sum, [, n]) => sum + Number(n), 0);
}

describe("presence over nodes", () => {
  it("has one list of members and one order of events, on whichever node one asks", async () => {
    const [a, b] = await Promise.all([startNode("a"), startNode("b")]);
    for (let at = 0; at < 50; at++) {
      a.store.join(KEY, member(`a.${at}`, `user ${at}`));
      b.store.join(KEY, member(`b.${at}`, `user ${at + 25}`));
    }
    await eventually(async () => {
      for (const { store } of [a, b])
        expect(await store.counts(KEY)).toEqual({ connections: 100, users: 75 });
    });
    const page = await a.store.members(KEY, 1_000);
    expect(await b.store.members(KEY, 1_000)).toEqual(page);
    expect(page.members).toHaveLength(100);
    await eventually(() => expect([a.told.length, b.told.length]).toEqual([75, 75]));
    expect(a.told).toEqual(b.told);
    expect([a.missed, b.missed]).toEqual([0, 0]);
  });

  it("tells a leave only when the user's last connection on any node is gone", async () => {
    const options = { ttlMs: 300_000, graceMs: 50 };
    const [a, b] = await Promise.all([startNode("a", options), startNode("b", options)]);
    a.store.join(KEY, member("a.1", "ann"));
    await eventually(() => expect(b.told).toEqual(["join a.1"]));
    b.store.join(KEY, member("b.1", "ann"));
    await eventually(async () => expect((await b.store.counts(KEY)).connections).toBe(2));
    a.store.leave(KEY, member("a.1", "ann"));
    a.store.join(KEY, member("a.2", "bob"));
    await eventually(() => expect(b.told).toEqual(["join a.1", "join a.2"]));
    b.store.leave(KEY, member("b.1", "ann"));
    await eventually(() => expect(a.told).toEqual(["join a.1", "join a.2", "leave b.1"]));
    expect(b.told).toEqual(a.told);
  });

  it("writes 1,000 joins, and 1,000 leaves, with a few scripts", async () => {
    const node = await startNode("a");
    await scriptCalls();
    for (let at = 0; at < 1_000; at++) node.store.join(KEY, member(`a.${at}`, `user ${at}`));
    await eventually(() => expect(node.told).toHaveLength(1_000));
    // Four batches; the rest is room for sweeps, one a second.
    expect(await scriptCalls()).toBeLessThan(15);
    for (let at = 0; at < 1_000; at++) node.store.leave(KEY, member(`a.${at}`, `user ${at}`));
    // All of them are in their grace.
    expect((await node.store.counts(KEY)).users).toBe(1_000);
    expect(await redis.zcard(createKeys(prefix).presence(0)[3]!)).toBe(1_000);
    expect(await scriptCalls()).toBeLessThan(15);
  });

  it("serves those who ask the same in the same turn with one read", async () => {
    const node = await startNode("a");
    node.store.join(KEY, member("a.1", "ann"));
    await node.store.counts(KEY);
    await scriptCalls();
    const pages = await Promise.all(Array.from({ length: 100 }, () => node.store.members(KEY, 10)));
    expect(pages.every(({ connections }) => connections === 1)).toBe(true);
    expect(await scriptCalls()).toBeLessThan(10);
  });

  it("keeps a member that is refreshed longer than its time-to-live, and refreshes in batches", async () => {
    const ttlMs = 2_000;
    const a = await startNode("a", { ttlMs, graceMs: 100 });
    const b = await startNode("b", { ttlMs, graceMs: 100 });
    for (let at = 0; at < 300; at++) a.store.join(KEY, member(`a.${at}`, `user ${at}`));
    await eventually(() => expect(b.told).toHaveLength(300));
    await scriptCalls();
    const untilMs = performance.now() + ttlMs * 3;
    await eventually(async () => {
      expect(await b.store.counts(KEY)).toEqual({ connections: 300, users: 300 });
      expect(performance.now()).toBeGreaterThan(untilMs);
    });
    expect(b.told).toHaveLength(300);
    // Each of 300 was refreshed six times.
    expect(await scriptCalls()).toBeLessThan(1_200);
  });

  it("sweeps a record that nobody is in far less, until somebody joins", async () => {
    const node = await startNode("a", { ttlMs: 300_000, graceMs: 150 });
    const sweeps = async (): Promise<number> => {
      await scriptCalls();
      await new Promise((resolve) => setTimeout(resolve, 1500));
      return scriptCalls();
    };
    // The first finds out that nobody is there.
    await eventually(async () => expect(await scriptCalls()).toBeGreaterThan(0));
    const vacant = await sweeps();
    node.store.join(KEY, member("a.1", "ann"));
    await eventually(() => expect(node.told).toHaveLength(1));
    const inhabited = await sweeps();
    expect(inhabited).toBeGreaterThan(vacant * 3);
  });

  it("leaves nothing but its epoch when all have left, and that with a time-to-live", async () => {
    const node = await startNode("a", { ttlMs: 300_000, graceMs: 30 });
    for (let at = 0; at < 10; at++)
      node.store.join(`main/c${at}`, member("a.1", at % 2 === 0 ? "ann" : null));
    await eventually(() => expect(node.told).toHaveLength(10));
    const names = createKeys(prefix).presence(0);
    expect(await recordKeys()).toEqual(names.filter((name) => !/due$|infos$/.test(name)).sort());
    for (let at = 0; at < 10; at++) node.store.leave(`main/c${at}`, member("a.1"));
    await eventually(() => expect(node.told).toHaveLength(20));
    const epoch = names[4]!;
    expect(await recordKeys()).toEqual([epoch]);
    expect(await redis.pttl(epoch)).toBeGreaterThan(0);
  });

  it("gives each key of the record a time-to-live, for when no node survives", async () => {
    const node = await startNode("a");
    node.store.join(KEY, member("a.1", "ann"));
    node.store.join(KEY, { ...member("a.2", "bob"), info: "2" });
    await node.store.counts(KEY);
    node.store.leave(KEY, member("a.2", "bob"));
    await node.store.counts(KEY);
    const names = await recordKeys();
    expect(names).toEqual([...createKeys(prefix).presence(0)].sort());
    for (const name of names) expect(await redis.pttl(name)).toBeGreaterThan(LONG.ttlMs);
  });

  it("keeps a shard's keys and its channel of events in one slot", () => {
    const keys = createKeys(prefix);
    for (const name of [...keys.presence(3), keys.presenceEvents(3)]) expect(name).toContain("{p3}");
  });

  it("takes its members out when it stops, and others tell it after the grace", async () => {
    const options = { ttlMs: 300_000, graceMs: 60 };
    const [a, b] = await Promise.all([startNode("a", options), startNode("b", options)]);
    a.store.join(KEY, member("a.1", "ann"));
    a.store.join(KEY, member("a.2", "bob"));
    b.store.join(KEY, member("b.1", "bob"));
    await eventually(async () => expect((await b.store.counts(KEY)).connections).toBe(3));
    await a.store.stop();
    await eventually(() => expect(b.told.at(-1)).toBe("leave a.1"));
    expect(await b.store.members(KEY, 10)).toEqual({
      members: [member("b.1", "bob")],
      connections: 1,
      users: 1,
    });
    expect(b.told.filter((each) => each.startsWith("leave"))).toEqual(["leave a.1"]);
  });

  it("refuses a time-to-live that leaves no room for the grace", () => {
    const { link, stats, log } = createRedisNode({ nodeId: "a", url: server.url, prefix });
    expect(() =>
      createRedisPresence({
        nodeId: "a",
        link,
        format: { oldest: FORMAT },
        ttlMs: 5_000,
        graceMs: 2_000,
        shards: 1,
        stats,
        log,
      }),
    ).toThrow("presence: a time-to-live of 5000 ms is too short for a grace of 2000 ms: at least 6000 ms");
  });

  it("counts and skips whatever else is published on its channel", async () => {
    const node = await startNode("a", { ...LONG, shards: 2 });
    const at = createKeys(prefix).presenceEvents(0);
    const hostile: (string | Buffer)[] = [
      "",
      "2 r e 1",
      "2 r e 1\n",
      "1\n+main/a\n=ann\na.1",
      "2\n+main/a\n=ann\na.1",
      "2 r 1\n+main/a\n=ann\na.1",
      "2 r e 0\n+main/a\n=ann\na.1",
      "2 r e x\n+main/a\n=ann\na.1",
      "2 r e 12345678901234567\n+main/a\n=ann\na.1",
      "3 r e 1\n+main/a\n=ann\na.1",
      "2 r e 1\n+main/a\n=ann",
      "2 r e 1\n+main/a\n=ann\na.1\n+main/b",
      "2 r e 1\n*main/a\n=ann\na.1",
      "2 r e 1\n+main/a\n=ann\n",
      "2 r e 1\n+main/a\n-a.1\na.2",
      "2 r e 1\n+main/a\n?a.1\na.1",
      "2 r e 1\n+main/a\n-\n",
      "2 r e 1\n+\n=ann\na.1",
      "2 r e 1\n+noslash\n=ann\na.1",
      "2 r e 1\n+/a\n=ann\na.1",
      "2 r e 1\n+main/\n=ann\na.1",
      "2 r e 1\n+main/a b\n=ann\na.1",
      `2 r e 1\n+main/${"x".repeat(300)}\n=ann\na.1`,
      '2 r e 1\n+main/a\n="\na.1',
      "2 r e 1\n+main/a\n=\\\na.1",
      "2 r e 1\n+main/a\n=\\u12\na.1",
      "2 r e 1\n+main/a\n=a\tb\na.1",
      Buffer.from([0x31, 0x0a, 0xff, 0xfe, 0x0a, 0x0a]),
      Buffer.alloc(17 * 1024 * 1024, "2 r e 1\n+main/a\n=ann\na.1\n"),
      // One of these is of the other shard.
      "2 r e 1\n+main/1\n=ann\na.1\n+main/2\n=ann\na.1",
    ];
    for (const text of hostile) await redis.publish(at, text);
    await eventually(() => expect(node.stats.envelopesSkipped).toBe(hostile.length));
    expect(node.told).toEqual([]);
    node.store.join("main/1", member("a.1", "ann"));
    node.store.join("main/2", member("a.2", "ann"));
    await eventually(() => expect([...node.told].sort()).toEqual(["join a.1", "join a.2"]));
    expect(node.stats.sessionFaults).toBe(0);
  });

  it("skips entries of the record that it cannot have written, and lists the rest", async () => {
    const node = await startNode("a", { ttlMs: 300_000, graceMs: 60 });
    node.store.join(KEY, member("a.1", "ann"));
    await node.store.counts(KEY);
    const [members, expiries] = createKeys(prefix).presence(0);
    for (const entry of [`${KEY}\n?`, `${KEY}\n="\nx`, `${KEY}\n=x\n\\\n\n`]) {
      await redis.zadd(members!, 0, entry);
      await redis.zadd(expiries!, Date.now() + 1e6, entry);
    }
    const { members: listed } = await node.store.members(KEY, 10);
    expect(listed).toEqual([member("a.1", "ann")]);
    expect(node.stats.envelopesSkipped).toBe(3);
    // Nor do they stop the sweep.
    for (const entry of await redis.zrange(expiries!, "0", "-1")) {
      await redis.zadd(expiries!, "XX", 1, String(entry));
    }
    await eventually(async () => expect((await node.store.members(KEY, 10)).connections).toBe(0));
  });
});
