/** What presence says and does when nodes die, stop or wake, and when Redis or the way to it fails. */

import type { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";

import { createKeys } from "../../src/redis/link/keys.js";
import {
  eventually,
  hearEvents,
  KEY,
  member,
  startPresenceChild,
  startPresenceNode,
  type PresenceChild,
  type PresenceNode,
  type PresenceNodeOptions,
} from "../support/presence-nodes.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";

let server: RedisServer;
let redis: Redis;
let prefix = "";
let tests = 0;

beforeAll(async () => {
  server = await startRedis({ args: ["--dbfilename", "presence.rdb"] });
  redis = server.client();
});
afterAll(() => server.stop());
// A test that failed while Redis was stopped must not fail the others.
afterEach(() => server.resume());
beforeEach(() => {
  prefix = `t${++tests}:`;
});

const SHORT = { ttlMs: 1_500, graceMs: 300 };
const LONG = { ttlMs: 300_000, graceMs: 60_000 };
const MINUTE_MS = 60_000;

const startNode = (nodeId: string, options: Partial<PresenceNodeOptions> = SHORT): Promise<PresenceNode> =>
  startPresenceNode(nodeId, { url: server.url, prefix, ...options });

const startChild = (
  nodeId: string,
  options: { ttlMs?: number; graceMs?: number; skewMs?: number } = {},
): Promise<PresenceChild> =>
  startPresenceChild({ nodeId, url: server.url, prefix, skewMs: 0, ...SHORT, ...options });

async function startProxied(
  nodeId: string,
  options: Partial<PresenceNodeOptions> = LONG,
): Promise<PresenceNode & { proxy: TcpProxy }> {
  const proxy = await startTcpProxy(server.port);
  onTestFinished(() => proxy.close());
  const node = await startNode(nodeId, { ...options, url: `redis://127.0.0.1:${proxy.port}` });
  return Object.assign(node, { proxy });
}

/** Ann is on a, which is cut off from now on, and bob on b; both were told. */
async function startCutOff(
  graceMs: number,
): Promise<{ a: PresenceNode & { proxy: TcpProxy }; b: PresenceNode }> {
  const options = { ttlMs: 60_000, graceMs };
  const a = await startProxied("a", options);
  const b = await startNode("b", options);
  a.store.join(KEY, member("a.1", "ann"));
  b.store.join(KEY, member("b.1", "bob"));
  await eventually(() => expect(b.told).toHaveLength(2));
  a.proxy.blackhole();
  return { a, b };
}

const join = (child: PresenceChild, connection: string, user: string | null): void =>
  child.order({ kind: "join", key: KEY, member: member(connection, user) });
const leave = (child: PresenceChild, connection: string, user: string | null): void =>
  child.order({ kind: "leave", key: KEY, member: member(connection, user) });

const counted = (node: PresenceNode, connections: number): Promise<void> =>
  eventually(async () => expect((await node.store.counts(KEY)).connections).toBe(connections));

/** So many are in their grace, as the record says. */
const leaving = (count: number): Promise<void> =>
  eventually(async () => expect(await redis.zcard(createKeys(prefix).presence(0)[3]!)).toBe(count));

const leaves = (told: readonly string[]): string[] => told.filter((each) => each.startsWith("leave")).sort();

/** Nothing more is told: what this causes comes after whatever was still on its way. */
async function settled(node: PresenceNode): Promise<void> {
  const last = `last.${node.told.length}`;
  node.store.join(KEY, member(last, last));
  await eventually(() => expect(node.told.at(-1)).toBe(`join ${last}`));
  node.told.pop();
}

describe("a node dies", { timeout: 60_000 }, () => {
  it("after kill -9 each member leaves once, and no ghost stays", async () => {
    const heard = await hearEvents(server, prefix);
    const [a, b] = await Promise.all([startNode("a"), startNode("b")]);
    const victim = await startChild("v");
    const connections = Array.from({ length: 100 }, (_, at) => `v.${at}`);
    for (const connection of connections) join(victim, connection, connection);
    // One user is on a living node too, and stays.
    join(victim, "v.also", "ann");
    a.store.join(KEY, member("a.1", "ann"));
    await counted(b, 102);
    await eventually(() => expect(b.told).toHaveLength(101));

    await victim.kill();
    const expected = connections.map((connection) => `leave ${connection}`).sort();
    for (const { told } of [a, b]) await eventually(() => expect(leaves(told)).toEqual(expected));
    expect(await b.store.members(KEY, 1_000)).toEqual({
      members: [member("a.1", "ann")],
      connections: 1,
      users: 1,
    });
    const [, expiries, , due] = createKeys(prefix).presence(0);
    expect([await redis.zcard(expiries!), await redis.zcard(due!)]).toEqual([1, 0]);
    await settled(a);
    expect(leaves(heard)).toEqual(expected);
    expect(a.told).toEqual(heard.slice(0, -1));
  });

  it("no ghost is listed past its time-to-live, even by a node that starts later", async () => {
    const victim = await startChild("v");
    join(victim, "v.1", "ann");
    await eventually(() => expect(victim.told).toEqual(["join v.1"]));
    await victim.kill();
    const [, expiries] = createKeys(prefix).presence(0);
    const score = Number(await redis.zscore(expiries!, `${KEY}\n=ann\nv.1`));
    const nowMs = async (): Promise<number> => {
      const [seconds, micros] = await redis.time();
      return Number(seconds) * 1_000 + Number(micros) / 1_000;
    };
    expect(score - (await nowMs())).toBeLessThanOrEqual(SHORT.ttlMs);
    const late = await startNode("late");
    let ghosts = 0;
    let lapsedByMs = Infinity;
    await eventually(async () => {
      const askedAtMs = await nowMs();
      const { connections } = await late.store.counts(KEY);
      if (askedAtMs > score) lapsedByMs = Math.min(lapsedByMs, await nowMs());
      const graceIsOver = askedAtMs > lapsedByMs + SHORT.graceMs;
      if (graceIsOver) ghosts += connections;
      expect(graceIsOver).toBe(true);
    });
    expect(ghosts).toBe(0);
    await eventually(() => expect(late.told).toEqual(["leave v.1"]));
  });

  it("leaves no key behind when the whole fleet died", async () => {
    const victim = await startChild("v", { ttlMs: 600, graceMs: 100 });
    join(victim, "v.1", "ann");
    await eventually(() => expect(victim.told).toEqual(["join v.1"]));
    expect(await redis.keys(`${prefix}presence:*`)).toHaveLength(4);
    await victim.kill();
    await eventually(async () => expect(await redis.keys(`${prefix}presence:*`)).toEqual([]));
  });

  it("tells a leave whose grace began on a node that died meanwhile", async () => {
    const b = await startNode("b");
    const victim = await startChild("v");
    join(victim, "v.1", "ann");
    await eventually(() => expect(b.told).toEqual(["join v.1"]));
    leave(victim, "v.1", "ann");
    await leaving(1);
    await victim.kill();
    await eventually(() => expect(b.told).toEqual(["join v.1", "leave v.1"]));
  });

  it("a quick reconnect to another node does not flap, be it after a leave or a kill -9", async () => {
    const b = await startNode("b", { ttlMs: 6_000, graceMs: 2_000 });
    const victim = await startChild("v", { ttlMs: 6_000, graceMs: 2_000 });
    join(victim, "v.1", "ann");
    join(victim, "v.2", "bob");
    await eventually(() => expect(b.told).toEqual(["join v.1", "join v.2"]));
    leave(victim, "v.1", "ann");
    await leaving(1);
    b.store.join(KEY, member("b.1", "ann"));
    await victim.kill();
    b.store.join(KEY, member("b.2", "bob"));
    // The dead node's entry lapses and both are still there.
    await counted(b, 3);
    await counted(b, 2);
    const [, , , due] = createKeys(prefix).presence(0);
    expect(await redis.zcard(due!)).toBe(0);
    await settled(b);
    expect(b.told).toEqual(["join v.1", "join v.2"]);
  });

  it("reapers race, one is paused, their clocks differ by 60 s: each leaves once", async () => {
    const heard = await hearEvents(server, prefix);
    const reapers = await Promise.all([
      startChild("ahead", { skewMs: MINUTE_MS }),
      startChild("behind", { skewMs: -MINUTE_MS }),
      startChild("paused"),
      startChild("dying"),
    ]);
    const [, , paused, dying] = reapers;
    const victim = await startChild("v");
    const connections = Array.from({ length: 500 }, (_, at) => `v.${at}`);
    for (const connection of connections) join(victim, connection, connection);
    for (const { told } of reapers) await eventually(() => expect(told).toHaveLength(500));
    // Members of nodes whose clocks are off neither lapse early nor stay late.
    join(reapers[0], "ahead.1", "ann");
    join(reapers[1], "behind.1", "bob");
    await eventually(() => expect(heard).toHaveLength(502));

    await victim.kill();
    paused.process.kill("SIGSTOP");
    // In the midst of the leaves: the first were told, or all.
    await eventually(() => expect(leaves(heard).length).toBeGreaterThan(0));
    await dying.kill();
    paused.process.kill("SIGCONT");
    const expected = connections.map((connection) => `leave ${connection}`).sort();
    await eventually(() => expect(leaves(heard)).toEqual(expected));
    for (const { told } of reapers.slice(0, 2)) {
      await eventually(() => expect(leaves(told)).toEqual(expected));
    }
    const looker = await startNode("looker");
    expect((await looker.store.members(KEY, 10)).members).toEqual([
      member("ahead.1", "ann"),
      member("behind.1", "bob"),
    ]);
    await settled(looker);
    expect(leaves(heard)).toEqual(expected);
  });

  it("steps of ten reapers at one and the same moment tell one leave", async () => {
    const heard = await hearEvents(server, prefix);
    const nodes = await Promise.all(Array.from({ length: 10 }, (_, at) => startNode(`n${at}`, LONG)));
    nodes[0]!.store.join(KEY, member("a.1", "ann"));
    await counted(nodes[1]!, 1);
    nodes[0]!.store.leave(KEY, member("a.1", "ann"));
    await leaving(1);
    const [, , , due] = createKeys(prefix).presence(0);
    await redis.zadd(due!, "XX", 1, `${KEY}\n=ann`);
    await Promise.all(nodes.map(({ store }) => store.counts(KEY)));
    for (const { told } of nodes) await eventually(() => expect(told).toEqual(["join a.1", "leave a.1"]));
    expect(heard).toEqual(["join a.1", "leave a.1"]);
  });

  it("a dead node's members leave once its lease lapsed, long before their time-to-live", async () => {
    const heard = await hearEvents(server, prefix);
    const options = { ttlMs: 600_000, graceMs: 200 };
    const [a, b] = await Promise.all([startNode("a", options), startNode("b", options)]);
    const victim = await startChild("v", options);
    const connections = Array.from({ length: 1_200 }, (_, at) => `v.${at}`);
    for (const connection of connections) join(victim, connection, connection);
    // One user is on a living node too, and stays; so does whoever is on a node of a similar name.
    join(victim, "v.also", "ann");
    a.store.join(KEY, member("a.1", "ann"));
    a.store.join(KEY, member("v-2.1", "bob"));
    await counted(b, 1_203);
    await victim.kill();
    const dead = (): Promise<boolean> => Promise.resolve(true);
    // Reapers race.
    await Promise.all([a.store.takeOut!("v", dead), b.store.takeOut!("v", dead)]);
    const expected = connections.map((connection) => `leave ${connection}`).sort();
    await eventually(() => expect(leaves(heard)).toEqual(expected));
    expect((await b.store.members(KEY, 10)).members).toEqual([member("a.1", "ann"), member("v-2.1", "bob")]);
    await settled(a);
    expect(leaves(heard)).toEqual(expected);
  });

  it("a node that was only stalled and lives again by now keeps its members", async () => {
    const options = { ttlMs: 600_000, graceMs: 200 };
    const [a, stalled] = await Promise.all([startNode("a", options), startNode("s", options)]);
    for (let at = 0; at < 3; at++) stalled.store.join(KEY, member(`s.${at}`, `user ${at}`));
    await counted(a, 3);
    // It registered again.
    await a.store.takeOut!("s", () => Promise.resolve(false));
    await leaving(0);
    // It registers just after that was asked, and writes its members before they are taken out, and after.
    const [, expiries] = createKeys(prefix).presence(0);
    await a.store.takeOut!("s", async () => {
      const before = await redis.zrange(expiries!, "0", "-1", "WITHSCORES");
      stalled.store.writeAgain!();
      await eventually(async () => {
        const after = await redis.zrange(expiries!, "0", "-1", "WITHSCORES");
        expect(after.filter((each, index) => each !== before[index])).toHaveLength(3);
      });
      return true;
    });
    await leaving(0);
    await a.store.takeOut!("s", () => Promise.resolve(true));
    stalled.store.writeAgain!();
    await leaving(0);
    // So late that they have left.
    await a.store.takeOut!("s", () => Promise.resolve(true));
    await eventually(() => expect(leaves(a.told)).toHaveLength(3));
    stalled.store.writeAgain!();
    await counted(a, 3);
    await eventually(() => expect(a.told.slice(6)).toEqual(["join s.0", "join s.1", "join s.2"]));
    expect(a.told.slice(0, 6).filter((each) => each.startsWith("join"))).toHaveLength(3);
  });

  it("a node that starts anew with its former id takes out whom it had before", async () => {
    const options = { ttlMs: 600_000, graceMs: 200 };
    const b = await startNode("b", options);
    const victim = await startChild("v", options);
    join(victim, "v.1", "ann");
    join(victim, "v.2", "bob");
    await counted(b, 2);
    await victim.kill();
    const again = await startNode("v", options);
    again.store.join(KEY, member("v.3", "bob"));
    await eventually(() => expect(b.told).toEqual(["join v.1", "join v.2", "leave v.1"]));
    expect((await b.store.members(KEY, 10)).members).toEqual([member("v.3", "bob")]);
  });

  it("a node stopped past its time-to-live is taken out, and back when it wakes", async () => {
    const b = await startNode("b");
    const sleeper = await startChild("s");
    join(sleeper, "s.1", "ann");
    await eventually(() => expect(b.told).toEqual(["join s.1"]));
    sleeper.process.kill("SIGSTOP");
    await eventually(() => expect(b.told).toEqual(["join s.1", "leave s.1"]));
    expect((await b.store.counts(KEY)).connections).toBe(0);
    sleeper.process.kill("SIGCONT");
    await eventually(() => expect(b.told).toEqual(["join s.1", "leave s.1", "join s.1"]));
    expect((await b.store.members(KEY, 10)).members).toEqual([member("s.1", "ann")]);
  });
});

describe("Redis or the way to it fails", { timeout: 60_000 }, () => {
  it("a link that was cut: nobody leaves, what happened meanwhile is written, and one is told so", async () => {
    const a = await startProxied("a", { ttlMs: 60_000, graceMs: 3_000 });
    const b = await startNode("b", { ttlMs: 60_000, graceMs: 3_000 });
    for (let at = 0; at < 20; at++) a.store.join(KEY, member(`a.${at}`, `user ${at}`));
    await eventually(() => expect(b.told).toHaveLength(20));

    a.proxy.blackhole();
    await eventually(() => expect(a.link.down).toBeDefined());
    await expect(a.store.members(KEY, 10)).rejects.toMatchObject({ code: "unavailable" });
    await expect(a.store.counts(KEY)).rejects.toMatchObject({ code: "unavailable" });
    a.store.leave(KEY, member("a.0", "user 0"));
    a.store.join(KEY, member("a.new", "new"));
    // Who comes and goes meanwhile costs nothing.
    for (let at = 0; at < 1_000; at++) {
      a.store.join(KEY, member("a.brief", `brief ${at}`));
      a.store.leave(KEY, member("a.brief"));
    }
    expect(await b.store.counts(KEY)).toEqual({ connections: 20, users: 20 });

    a.proxy.restore();
    await eventually(() => expect(a.missed).toBe(1));
    await eventually(() => expect(b.told.slice(20)).toEqual(["join a.new", "leave a.0"]));
    expect(await a.store.counts(KEY)).toEqual({ connections: 20, users: 20 });
    expect(b.missed).toBe(0);
  });

  it("a batch that was on its way when the link was cut is written after", async () => {
    const [a, b] = [await startProxied("a"), await startNode("b", LONG)];
    a.store.join(KEY, member("a.1", "ann"));
    a.store.join(KEY, member("a.2", "bob"));
    await counted(b, 2);
    a.proxy.blackhole();
    a.store.leave(KEY, member("a.1", "ann"));
    a.store.join(KEY, member("a.3", "cid"));
    await eventually(() => {
      expect(a.lines.map(({ message }) => message)).toContain("presence could not be written");
    });
    // Redis may have it, as far as this node knows.
    a.store.leave(KEY, member("a.3", "cid"));
    a.proxy.restore();
    const [, expiries] = createKeys(prefix).presence(0);
    await eventually(async () =>
      expect(await redis.zrange(expiries!, "0", "-1")).toEqual([`${KEY}\n=bob\na.2`]),
    );
  });

  it("Redis stopped and going on: reads fail with a code, nobody flaps", async () => {
    const a = await startNode("a", { ttlMs: 60_000, graceMs: 3_000 });
    a.store.join(KEY, member("a.1", "ann"));
    await counted(a, 1);
    server.pause();
    a.store.join(KEY, member("a.2", "bob"));
    await expect(a.store.counts(KEY)).rejects.toMatchObject({
      code: expect.stringMatching(/^(unavailable|outcome_unknown)$/),
    });
    a.store.leave(KEY, member("a.2", "bob"));
    await eventually(() => expect(a.link.down).toBeDefined());
    server.resume();
    await eventually(() => expect(a.missed).toBe(1));
    await eventually(async () =>
      expect((await a.store.members(KEY, 10)).members).toEqual([member("a.1", "ann")]),
    );
    await settled(a);
    // Whether Redis had seen bob is open; whoever was told to join was told to leave.
    await eventually(() => expect(a.told.filter((each) => each.endsWith("a.2")).length % 2).toBe(0));
    expect(a.told.filter((each) => each.endsWith("a.1"))).toEqual(["join a.1"]);
  });

  it("members that lapsed while their node was cut off are back within the grace: nobody flaps", async () => {
    // So long that it is not the next refresh which brings them back.
    const options = { ttlMs: 6_000_000, graceMs: 8_000 };
    const a = await startProxied("a", options);
    const b = await startNode("b", options);
    a.store.join(KEY, member("a.1", "ann"));
    await eventually(() => expect(b.told).toEqual(["join a.1"]));
    a.proxy.blackhole();
    const [, expiries] = createKeys(prefix).presence(0);
    await redis.zadd(expiries!, "XX", 1, `${KEY}\n=ann\na.1`);
    await leaving(1);
    a.proxy.restore();
    a.proxy.cut();
    await leaving(0);
    await settled(b);
    expect(b.told).toEqual(["join a.1"]);
  });

  it("FLUSHALL: every node writes its members again, nobody is told to join or leave", async () => {
    const options = { ttlMs: 60_000, graceMs: 3_000 };
    const [a, b] = await Promise.all([startNode("a", options), startNode("b", options)]);
    for (let at = 0; at < 300; at++) a.store.join(KEY, member(`a.${at}`, `user ${at}`));
    b.store.join(KEY, member("b.1", "user 1"));
    b.store.join(KEY, member("b.2", "bob"));
    for (const { told } of [a, b]) await eventually(() => expect(told).toHaveLength(301));
    await redis.flushall();
    for (const node of [a, b]) await eventually(() => expect(node.missed).toBe(1));
    for (const { store } of [a, b]) {
      expect(await store.counts(KEY)).toEqual({ connections: 302, users: 301 });
    }
    expect([a.told.length, b.told.length]).toEqual([301, 301]);
    b.store.leave(KEY, member("b.2", "bob"));
    for (const { told } of [a, b]) await eventually(() => expect(told.slice(301)).toEqual(["leave b.2"]));
  });

  it("the members of a node that was cut off meanwhile are told to join once it is back", async () => {
    const { a, b } = await startCutOff(600);
    await redis.flushall();
    // Its clients are told who is there, and ann is not.
    await eventually(() => expect(b.missed).toBe(1));
    expect((await b.store.members(KEY, 10)).members).toEqual([member("b.1", "bob")]);
    a.proxy.restore();
    a.proxy.cut();
    await eventually(() => expect(b.told.slice(2)).toEqual(["join a.1"]));
  });

  it("who left a node that was cut off meanwhile, and comes back elsewhere, is told to join", async () => {
    const { a, b } = await startCutOff(2_000);
    a.store.leave(KEY, member("a.1", "ann"));
    const missed = b.missed;
    await redis.flushall();
    // Its clients are told who is there, and ann is not.
    await eventually(() => expect(b.missed).toBeGreaterThan(missed));
    a.proxy.restore();
    a.proxy.cut();
    await eventually(() =>
      expect(a.lines.some(({ message }) => message.includes("lost the record"))).toBe(true),
    );
    b.store.join(KEY, member("b.2", "ann"));
    await eventually(() => expect(b.told.slice(2)).toEqual(["join b.2"]));
  });

  it("a node that starts while a lost record is written again finds out who was written later", async () => {
    const options = { ttlMs: 60_000, graceMs: 3_000 };
    const a = await startProxied("a", options);
    a.store.join(KEY, member("a.1", "ann"));
    await counted(a, 1);
    a.proxy.blackhole();
    await redis.flushall();
    const b = await startNode("b", options);
    expect(await b.store.members(KEY, 10, () => undefined)).toMatchObject({ users: 0 });
    a.proxy.restore();
    a.proxy.cut();
    await counted(b, 1);
    // Within the grace it is not told; behind that the node tells its clients anew who is there.
    await eventually(() => expect(b.told.includes("join a.1") || b.missed > 0).toBe(true));
  });

  it("a node that meets a new record, where nobody is written without being told, tells its clients nothing anew", async () => {
    const [a, b] = await Promise.all([startNode("a"), startNode("b")]);
    a.store.join(KEY, member("a.1", "ann"));
    for (const { store } of [a, b]) await store.members(KEY, 10, () => undefined);
    b.store.join(KEY, member("b.1", "bob"));
    await eventually(() => expect(a.told).toEqual(["join a.1", "join b.1"]));
    // It is told after a grace that began later than that in which the record was new.
    b.store.leave(KEY, member("b.1", "bob"));
    for (const node of [a, b]) {
      await eventually(() => expect(node.told).toContain("leave b.1"));
      await settled(node);
      expect(node.missed).toBe(0);
    }
  });

  it("who leaves right after FLUSHALL is told to have left, unless there elsewhere", async () => {
    const options = { ttlMs: 60_000, graceMs: 3_000 };
    const [a, b] = await Promise.all([startNode("a", options), startNode("b", options)]);
    a.store.join(KEY, member("a.1", "ann"));
    a.store.join(KEY, member("a.2", "bob"));
    b.store.join(KEY, member("b.2", "bob"));
    await counted(a, 3);
    await redis.flushall();
    a.store.leave(KEY, member("a.1", "ann"));
    a.store.leave(KEY, member("a.2", "bob"));
    for (const { told } of [a, b]) await eventually(() => expect(told.at(-1)).toBe("leave a.1"));
    await settled(b);
    expect(leaves(b.told)).toEqual(["leave a.1"]);
    expect(await b.store.members(KEY, 1)).toMatchObject({ members: [member("b.2", "bob")] });
  });

  it("any key of the record evicted: the record is whole again, nobody flaps", async () => {
    const options = { ttlMs: 60_000, graceMs: 3_000 };
    const [a, b] = await Promise.all([startNode("a", options), startNode("b", options)]);
    const held = ["members", "expiries", "users", "epoch"];
    a.store.join(KEY, member("a.1", "ann"));
    b.store.join(KEY, member("b.1", "ann"));
    b.store.join(KEY, member("b.2", "bob"));
    await counted(a, 3);
    for (const [at, name] of held.entries()) {
      expect(await redis.del(`${prefix}presence:{p0}:2:${name}`)).toBe(1);
      for (const node of [a, b]) await eventually(() => expect(node.missed).toBe(at + 1));
      expect(await a.store.counts(KEY)).toEqual({ connections: 3, users: 2 });
    }
    await settled(a);
    expect(leaves(a.told)).toEqual([]);
    expect(a.told).toHaveLength(2);
  });

  it("a restart that lost the tail: no ghost of the old record, nobody flaps", async () => {
    const options = { ttlMs: 60_000, graceMs: 3_000 };
    const [a, b] = await Promise.all([startNode("a", options), startNode("b", options)]);
    a.store.join(KEY, member("a.old", "ann"));
    a.store.join(KEY, member("a.1", "bob"));
    await counted(a, 2);
    await redis.save();
    a.store.leave(KEY, member("a.old", "ann"));
    await eventually(() => expect(b.told.at(-1)).toBe("leave a.old"));
    b.store.join(KEY, member("b.1", "cid"));
    await eventually(() => expect(a.told.at(-1)).toBe("join b.1"));
    const before = [...a.told];
    await server.restart();
    for (const node of [a, b]) await eventually(() => expect(node.missed).toBe(1));
    expect((await b.store.members(KEY, 10)).members).toEqual([member("a.1", "bob"), member("b.1", "cid")]);
    await settled(a);
    expect(a.told).toEqual(before);
    expect(b.told.slice(0, before.length)).toEqual(before);
  });

  it("stops at once when Redis is unreachable", async () => {
    const a = await startProxied("a", LONG);
    a.store.join(KEY, member("a.1", "ann"));
    await counted(a, 1);
    a.proxy.blackhole();
    await eventually(() => expect(a.link.down).toBeDefined());
    await a.store.stop();
    // The record keeps the member until its time-to-live ends.
    expect(await redis.zcard(createKeys(prefix).presence(0)[0]!)).toBe(1);
  });
});
