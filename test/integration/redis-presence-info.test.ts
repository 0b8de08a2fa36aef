/** What members show, in Redis: what is stored of it, what nodes tell each other, and what is left after losses. */

import type { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";

import { FORMAT, FORMAT_BEFORE, LearnedFormat } from "../../src/redis/link/fleet-format.js";
import { createKeys } from "../../src/redis/link/keys.js";
import {
  eventually,
  KEY,
  member,
  startPresenceChild,
  startPresenceNode,
  type PresenceNode,
  type PresenceNodeOptions,
} from "../support/presence-nodes.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

let server: RedisServer;
let redis: Redis;
let prefix = "";
let tests = 0;

beforeAll(async () => {
  server = await startRedis({ args: ["--dbfilename", "presence-info.rdb"] });
  redis = server.client();
});
afterAll(() => server.stop());
afterEach(() => server.resume());
beforeEach(() => {
  prefix = `t${++tests}:`;
});

const LONG = { ttlMs: 300_000, graceMs: 60_000 };
const kilobyte = (name: string): string => JSON.stringify(name.padEnd(1_022, "."));

const startNode = (nodeId: string, options: Partial<PresenceNodeOptions> = LONG): Promise<PresenceNode> =>
  startPresenceNode(nodeId, { url: server.url, prefix, ...options });

const keysOf = () => {
  const [members, expiries, users, due, epoch, infos] = createKeys(prefix).presence(0) as [
    ...[string, string, string, string, string, string],
  ];
  return { members, expiries, users, due, epoch, infos };
};

/** Infos in the record, without the mark of which record it is. */
const held = async (): Promise<string[]> =>
  (await redis.zrange(keysOf().infos, "0", "-1")).filter((each) => !each.startsWith("\n"));

async function heardBy(): Promise<string[]> {
  const heard: string[] = [];
  const ear = server.client();
  onTestFinished(() => ear.disconnect());
  await ear.subscribe(createKeys(prefix).presenceEvents(0));
  ear.on("message", (_channel: string, text: string) => heard.push(text.replace(/^(\d) \S+ \S+/, "$1")));
  return heard;
}

const listed = async (node: PresenceNode): Promise<Record<string, string | undefined>> => {
  const { members } = await node.store.members(KEY, 1_000);
  return Object.fromEntries(members.map(({ connection, info }) => [connection, info]));
};

/** Nothing more is told: what this causes comes after whatever was still on its way. */
async function settled(node: PresenceNode): Promise<void> {
  const last = `last.${node.told.length}`;
  node.store.join(KEY, member(last, last));
  await eventually(() => expect(node.told.at(-1)).toBe(`join ${last}`));
  node.store.leave(KEY, member(last, last));
  node.told.pop();
}

describe("what nodes of before know", () => {
  it("is all there is where nobody shows info: the same keys and bytes", async () => {
    const heard = await heardBy();
    const node = await startNode("a", { ttlMs: 300_000, graceMs: 50 });
    node.store.join(KEY, member("a.1", "ann"));
    node.store.join(KEY, member("a.2"));
    await node.store.counts(KEY);
    node.store.leave(KEY, member("a.1", "ann"));
    await eventually(() => expect(node.told).toHaveLength(3));
    expect(heard).toEqual([`2 1\n+${KEY}\n=ann\na.1\n+${KEY}\n-a.2\n`, `2 3\n-${KEY}\n=ann\na.1`]);
    expect(await redis.exists(keysOf().infos)).toBe(0);
  });

  it("stays as it is where members show info, which stands beside it", async () => {
    const heard = await heardBy();
    const node = await startNode("a", { ttlMs: 300_000, graceMs: 50 });
    node.store.join(KEY, member("a.1", "ann", '{"a":1}'));
    await node.store.counts(KEY);
    node.store.join(KEY, member("a.2"));
    node.store.join(KEY, member("a.1", "ann", "2"));
    await node.store.counts(KEY);
    const { members, expiries, users, infos } = keysOf();
    expect(await redis.zrange(members, "0", "-1")).toEqual([`${KEY}\n-a.2\n`, `${KEY}\n=ann\na.1`]);
    expect((await redis.zrange(expiries, "0", "-1")).sort()).toEqual([`${KEY}\n-a.2\n`, `${KEY}\n=ann\na.1`]);
    expect(await redis.zrange(users, "0", "-1")).toEqual([`${KEY}\n-a.2`, `${KEY}\n=ann`]);
    expect(await held()).toEqual([`${KEY}\n=ann\na.1\n2`]);
    expect(await redis.pttl(infos)).toBeGreaterThan(300_000);
    node.store.leave(KEY, member("a.1", "ann"));
    await eventually(() => expect(node.told).toHaveLength(4));
    expect(heard).toEqual([
      `3 1\n+${KEY}\n=ann\na.1\n{"a":1}`,
      // In the order in which they were written.
      `3 2\n+${KEY}\n-a.2\n\n\n=${KEY}\n=ann\na.1\n2`,
      `2 4\n-${KEY}\n=ann\na.1`,
    ]);
    expect(await redis.exists(infos)).toBe(0);
  });

  it("is all that is told while one of them is in the fleet; a page has the infos nevertheless", async () => {
    const heard = await heardBy();
    const format = { oldest: FORMAT_BEFORE };
    const [a, b] = await Promise.all([
      startNode("a", { ...LONG, format }),
      startNode("b", { ...LONG, format }),
    ]);
    a.store.join(KEY, member("a.1", "ann", "1"));
    b.store.join(KEY, member("b.1", "bob", "1"));
    await a.store.counts(KEY);
    a.store.join(KEY, member("a.1", "ann", "2"));
    await settled(b);
    expect(a.told.filter((each) => !each.includes("last")).sort()).toEqual(["join a.1", "join b.1"]);
    expect(await listed(b)).toMatchObject({ "a.1": "2", "b.1": "1" });
    expect(heard.every((each) => each.startsWith("2 "))).toBe(true);
    format.oldest = FORMAT;
    a.store.join(KEY, member("a.1", "ann", "3"));
    await eventually(() => expect(b.told.at(-1)).toBe("update a.1 3"));
  });

  it("is followed by a snapshot for all once the last of them has gone", async () => {
    const format = new LearnedFormat();
    const node = await startNode("a", { ...LONG, graceMs: 100, format });
    const { missed } = node;
    format.learn([["a", JSON.stringify({ reads: FORMAT })]], 0, 1_000);
    await eventually(() => expect(node.missed).toBe(missed + 1));
  });

  it("leaves the infos of whom a node of before took out: they go bit by bit, once it shows in numbers", async () => {
    const node = await startNode("a");
    for (let at = 0; at < 300; at++) node.store.join(KEY, member(`a.${at}`, `user ${at}`, String(at)));
    await node.store.counts(KEY);
    const { members, expiries, users } = keysOf();
    for (let at = 0; at < 290; at++) {
      await redis.zrem(members, `${KEY}\n=user ${at}\na.${at}`);
      await redis.zrem(expiries, `${KEY}\n=user ${at}\na.${at}`);
      await redis.zrem(users, `${KEY}\n=user ${at}`);
    }
    await eventually(async () => {
      node.store.join(KEY, member("a.x", "x"));
      await node.store.counts(KEY);
      node.store.leave(KEY, member("a.x", "x"));
      expect((await held()).length).toBeLessThanOrEqual(11);
    });
    expect(Object.values(await listed(node)).filter((info) => info !== undefined)).toHaveLength(10);
    // One that is left is no other's.
    node.store.join(KEY, member("a.0", "user 0"));
    expect((await listed(node))["a.0"]).toBeUndefined();
  });
});

describe("what a step costs", () => {
  it("is no info that was written already: members are refreshed without it", async () => {
    const node = await startNode("a", { ttlMs: 1_500, graceMs: 100 });
    for (let at = 0; at < 100; at++)
      node.store.join(KEY, member(`a.${at}`, `user ${at}`, kilobyte(String(at))));
    await eventually(() => expect(node.told).toHaveLength(100));
    const inputBytes = async (): Promise<number> =>
      Number(/total_net_input_bytes:(\d+)/.exec(await redis.info("stats"))![1]);
    const before = await inputBytes();
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    // At least three times each: with the infos it were 300 kB.
    expect((await inputBytes()) - before).toBeLessThan(200_000);
    expect(Object.keys(await listed(node))).toHaveLength(100);
    expect(node.told).toHaveLength(100);
  });

  it("is bounded where very much is shown: 1,000 members of a kilobyte come in several replies", async () => {
    const [a, b] = await Promise.all([startNode("a"), startNode("b")]);
    for (let at = 0; at < 1_000; at++) {
      a.store.join(KEY, member(`a.${at}`, `user ${at}`, kilobyte(String(at))));
    }
    await a.store.counts(KEY);
    const replies = async (): Promise<number> => {
      const calls = /cmdstat_evalsha:calls=(\d+)/.exec(await redis.info("commandstats"));
      return Number(calls?.[1] ?? 0);
    };
    const before = await replies();
    const infos = Object.values(await listed(b));
    expect((await replies()) - before).toBeGreaterThanOrEqual(2);
    // Up to the last that is listed, be it one that shows nothing.
    a.store.join(KEY, member("a.0", "user 0"));
    a.store.join(KEY, member("a.600", "user 600"));
    const all = await a.store.members(KEY, 1_000);
    const at = all.members.findIndex(({ connection }) => connection === "a.600");
    expect((await b.store.members(KEY, at + 1)).members).toEqual(all.members.slice(0, at + 1));
    expect(new Set(infos).size).toBe(1_000);
    expect(infos.every((info) => info!.length === 1_024)).toBe(true);
  });
});

describe("after a loss", { timeout: 60_000 }, () => {
  it("the infos alone, as by eviction: every node writes its own again, and nobody is told", async () => {
    const [a, b] = await Promise.all([startNode("a"), startNode("b")]);
    const expected: Record<string, string> = {};
    for (let at = 0; at < 300; at++) {
      const [node, connection] = at % 2 === 0 ? [a, `a.${at}`] : [b, `b.${at}`];
      expected[connection] = kilobyte(String(at));
      node.store.join(KEY, member(connection, `user ${at}`, kilobyte(String(at))));
    }
    for (const { told } of [a, b]) await eventually(() => expect(told).toHaveLength(300));
    for (let time = 0; time < 2; time++) {
      expect(await redis.del(keysOf().infos)).toBe(1);
      await eventually(async () => expect(await listed(b)).toMatchObject(expected));
    }
    expect([a.told.length, b.told.length, a.missed, b.missed]).toEqual([300, 300, 0, 0]);
  });

  it("all of the record: it is written again with what everybody shows, and nobody is told", async () => {
    const options = { ttlMs: 60_000, graceMs: 3_000 };
    const [a, b] = await Promise.all([startNode("a", options), startNode("b", options)]);
    const expected: Record<string, string> = {};
    for (let at = 0; at < 200; at++) {
      const [node, connection] = at % 2 === 0 ? [a, `a.${at}`] : [b, `b.${at}`];
      expected[connection] = kilobyte(String(at));
      node.store.join(KEY, member(connection, `user ${at}`, kilobyte(String(at))));
    }
    for (const { told } of [a, b]) await eventually(() => expect(told).toHaveLength(200));
    let missed = 0;
    for (const lose of [
      () => redis.flushall(),
      () => redis.del(keysOf().members),
      () => redis.del(keysOf().epoch),
    ]) {
      await lose();
      missed++;
      for (const node of [a, b]) await eventually(() => expect(node.missed).toBe(missed));
      for (const node of [a, b]) expect(await listed(node)).toEqual(expected);
    }
    expect([a.told.length, b.told.length]).toEqual([200, 200]);
    a.store.join(KEY, member("a.0", "user 0", "0"));
    for (const { told } of [a, b]) await eventually(() => expect(told.slice(200)).toEqual(["update a.0 0"]));
  });

  it("the newest writes, by a restart: what a member showed last is written again", async () => {
    const options = { ttlMs: 60_000, graceMs: 3_000 };
    const [a, b] = await Promise.all([startNode("a", options), startNode("b", options)]);
    a.store.join(KEY, member("a.1", "ann", "1"));
    await eventually(() => expect(b.told).toEqual(["join a.1 1"]));
    await redis.save();
    a.store.join(KEY, member("a.1", "ann", "2"));
    await eventually(() => expect(b.told.at(-1)).toBe("update a.1 2"));
    await server.restart();
    for (const node of [a, b]) await eventually(() => expect(node.missed).toBe(1));
    expect(await listed(b)).toEqual({ "a.1": "2" });
    expect(b.told.slice(2)).toEqual([]);
  });

  it("the link: what was shown stays, and what is shown meanwhile is told once it is back", async () => {
    const proxy = await startTcpProxy(server.port);
    onTestFinished(() => proxy.close());
    const options = { ttlMs: 60_000, graceMs: 3_000 };
    const [a, b] = await Promise.all([
      startNode("a", { ...options, url: `redis://127.0.0.1:${proxy.port}` }),
      startNode("b", options),
    ]);
    for (let at = 0; at < 20; at++) a.store.join(KEY, member(`a.${at}`, `user ${at}`, String(at)));
    await eventually(() => expect(b.told).toHaveLength(20));
    proxy.blackhole();
    await eventually(() => expect(a.link.down).toBeDefined());
    a.store.join(KEY, member("a.0", "user 0", "100"));
    a.store.join(KEY, member("a.1", "user 1"));
    for (let at = 0; at < 5; at++) a.store.join(KEY, member("a.2", "user 2", String(at)));
    a.store.leave(KEY, member("a.3", "user 3"));
    a.store.join(KEY, member("a.3", "user 3", "300"));
    a.store.leave(KEY, member("a.4", "user 4"));
    a.store.join(KEY, member("a.4", "user 4"));
    proxy.restore();
    proxy.cut();
    await eventually(() => expect(b.told).toHaveLength(25));
    expect(b.told.slice(20).sort()).toEqual([
      "update a.0 100",
      "update a.1",
      "update a.2 4",
      "update a.3 300",
      "update a.4",
    ]);
    expect(await listed(b)).toMatchObject({ "a.0": "100", "a.1": undefined, "a.2": "4", "a.5": "5" });
  });

  it("a node that stalled past its members' lives: they leave, and join again with what they show", async () => {
    const options = { ttlMs: 1_500, graceMs: 300 };
    const b = await startNode("b", options);
    const sleeper = await startPresenceChild({ nodeId: "s", url: server.url, prefix, skewMs: 0, ...options });
    sleeper.order({ kind: "join", key: KEY, member: member("s.1", "ann", '{"n":1}') });
    await eventually(() => expect(b.told).toEqual(['join s.1 {"n":1}']));
    sleeper.process.kill("SIGSTOP");
    await eventually(() => expect(b.told.slice(1)).toEqual(["leave s.1"]));
    expect(await held()).toEqual([]);
    sleeper.process.kill("SIGCONT");
    await eventually(() => expect(b.told.slice(2)).toEqual(['join s.1 {"n":1}']));
    expect(await listed(b)).toEqual({ "s.1": '{"n":1}' });
  });

  it("a node taken for dead: its members are written again with what they show", async () => {
    const options = { ttlMs: 600_000, graceMs: 200 };
    const [a, stalled] = await Promise.all([startNode("a", options), startNode("s", options)]);
    for (let at = 0; at < 3; at++) stalled.store.join(KEY, member(`s.${at}`, `user ${at}`, String(at)));
    await eventually(() => expect(a.told).toHaveLength(3));
    // In time, so that nobody is told.
    await a.store.takeOut!("s", () => Promise.resolve(true));
    stalled.store.writeAgain!();
    await eventually(async () => expect(await redis.zcard(keysOf().due)).toBe(0));
    expect(await listed(a)).toEqual({ "s.0": "0", "s.1": "1", "s.2": "2" });
    expect(a.told).toHaveLength(3);
    // Too late.
    await a.store.takeOut!("s", () => Promise.resolve(true));
    await eventually(() => expect(a.told).toHaveLength(6));
    stalled.store.writeAgain!();
    await eventually(() =>
      expect(a.told.slice(6).sort()).toEqual(["join s.0 0", "join s.1 1", "join s.2 2"]),
    );
    expect(await listed(a)).toEqual({ "s.0": "0", "s.1": "1", "s.2": "2" });
  });
});

it("what stands in the record and is no info is left out, and its member is listed", async () => {
  const node = await startNode("a");
  for (let at = 0; at < 5; at++) node.store.join(KEY, member(`a.${at}`, "ann", String(at)));
  await node.store.counts(KEY);
  const bad = ["{", "1 2", `"${"x".repeat(2_000)}"`, "null"];
  for (const [at, info] of bad.entries()) {
    await redis.zrem(keysOf().infos, `${KEY}\n=ann\na.${at}\n${at}`);
    await redis.zadd(keysOf().infos, 0, `${KEY}\n=ann\na.${at}\n${info}`);
  }
  await redis.zadd(keysOf().infos, 0, `${KEY}\n?`);
  await redis.zadd(keysOf().infos, 0, KEY);
  expect(await listed(node)).toEqual({
    ...{ "a.0": undefined, "a.1": undefined, "a.2": undefined, "a.3": undefined },
    "a.4": "4",
  });
  expect(node.stats.envelopesSkipped).toBe(bad.length);
});
