/** What becomes of channel history when Redis loses, mixes up or refuses something. Numbers are those of the fault list. */

import { Redis } from "ioredis";
import { pack } from "msgpackr";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";

import type { Position } from "../../src/core/publication.js";
import { APPEND } from "../../src/redis/history/history-scripts.js";
import { runScript } from "../../src/redis/link/scripts.js";
import { RULE, keep, keepAll, numbered, read } from "../contract/history.js";
import { eventually } from "../support/eventually.js";
import { createRecorder, type Recorder } from "../support/publications.js";
import { createRedisNode, type RedisNode, type RedisNodeOptions } from "../support/redis-node.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";

const KEY = "main/room";
const QUICK_SYNC = ["--repl-diskless-sync-delay", "0"];

let redis: RedisServer;
let admin: Redis;
let prefix = "";
let tests = 0;

beforeAll(async () => {
  redis = await startRedis({ args: QUICK_SYNC });
  admin = redis.client();
});
afterAll(() => redis.stop());
afterEach(() => redis.resume());
beforeEach(() => {
  prefix = `test${++tests}:`;
});

type Node = RedisNode & { recorder: Recorder };

async function startNode(nodeId: string, options: Partial<RedisNodeOptions> = {}): Promise<Node> {
  const node = createRedisNode({ nodeId, url: redis.url, prefix, commandTimeoutMs: 1_000, ...options });
  const recorder = createRecorder();
  await node.broker.start(recorder);
  onTestFinished(() => node.broker.stop());
  return { ...node, recorder };
}

async function startProxied(nodeId: string): Promise<Node & { proxy: TcpProxy }> {
  const proxy = await startTcpProxy(redis.port);
  onTestFinished(() => proxy.close());
  const node = await startNode(nodeId, { url: `redis://127.0.0.1:${proxy.port}` });
  return { ...node, proxy };
}

const isUp = (node: Node): Promise<void> => eventually(() => expect(node.recorder.links.at(-1)).toBe(true));
const isDown = (node: Node): Promise<void> =>
  eventually(() => expect(node.recorder.links.at(-1)).toBe(false));

async function topOf(node: Node, key = KEY): Promise<Position> {
  return (await node.broker.positions([{ key, rule: RULE }]))[0]!;
}

/** Offsets follow each other within each epoch, as this node heard them. */
function expectDense({ recorder }: Node): void {
  const last = new Map<string, number>();
  for (const { key, position } of recorder.publications) {
    const { offset, epoch } = position!;
    expect(offset).toBe((last.get(`${key} ${epoch}`) ?? 0) + 1);
    last.set(`${key} ${epoch}`, offset);
  }
}

describe("Redis restarts having lost its tail", { timeout: 40_000 }, () => {
  it.each(["a read", "a publication", "a look at the top"])("gives a new epoch at %s", async (what) => {
    const node = await startNode("a");
    const [{ epoch }] = (await keepAll(node.broker, numbered(5))) as [Position];
    await admin.save();
    const lost = (await keepAll(node.broker, numbered(3, 6)))[2]!;
    expect(lost).toEqual({ offset: 8, epoch });
    await eventually(() => expect(node.recorder.publications).toHaveLength(8));
    await redis.kill();
    await isDown(node);
    await redis.restart();
    await isUp(node);
    // The server has the channel again as it was at offset 5.
    expect(await admin.hgetall(`${prefix}meta:{h0}:${KEY}`)).toMatchObject({ top: "5", epoch });

    if (what === "a read") {
      const page = await read(node.broker, { since: { offset: 5, epoch } });
      expect(page).toMatchObject({ texts: [], top: { offset: 0 } });
      expect(page.top.epoch).not.toBe(epoch);
    } else if (what === "a look at the top") {
      const top = await topOf(node);
      expect(top.offset).toBe(0);
      expect(top.epoch).not.toBe(epoch);
    }
    const after = await keepAll(node.broker, numbered(5, 100));
    expect(after.map(({ offset }) => offset)).toEqual([1, 2, 3, 4, 5]);
    expect(after[0]!.epoch).not.toBe(epoch);
    // Whoever stands at 8 is not told that nothing is missing.
    expect(await read(node.broker, { since: lost })).toMatchObject({ texts: [], top: after[4] });
    expect((await read(node.broker)).texts).toEqual(numbered(5, 100));
    await eventually(() => expect(node.recorder.publications).toHaveLength(13));
    expectDense(node);
  });

  it("keeps the epoch over a lost link, when the server went on", async () => {
    const node = await startProxied("a");
    const before = (await keepAll(node.broker, numbered(5)))[4]!;
    node.proxy.cut();
    await isDown(node);
    await isUp(node);
    expect(await topOf(node)).toEqual(before);
    expect(await keep(node.broker, "6")).toEqual({ offset: 6, epoch: before.epoch });
  });
});

describe("failover and failback", { timeout: 60_000 }, () => {
  it("each gives a new epoch, though the first server is what it was before", async () => {
    const other = await startRedis({ args: QUICK_SYNC });
    onTestFinished(() => other.stop());
    const second = other.client();
    const node = await startProxied("a");
    const follows = async (replica: Redis, port: number): Promise<void> => {
      await replica.call("REPLICAOF", "127.0.0.1", port);
      await eventually(async () =>
        expect(await replica.info("replication")).toContain("master_link_status:up"),
      );
    };
    const promote = async (replica: Redis, port: number): Promise<void> => {
      await replica.call("REPLICAOF", "NO", "ONE");
      node.proxy.retarget(port);
      const { length } = node.recorder.links;
      node.proxy.cut();
      await eventually(() => expect(node.recorder.links.length).toBeGreaterThan(length));
      await isUp(node);
    };

    await follows(second, redis.port);
    const [{ epoch: first }] = (await keepAll(node.broker, numbered(3))) as [Position];
    await eventually(async () => expect(await second.exists(`${prefix}history:{h0}:${KEY}`)).toBe(1));
    await promote(second, other.port);
    const over = await topOf(node);
    expect(over).toMatchObject({ offset: 0 });
    expect(await keepAll(node.broker, numbered(2))).toEqual([
      { offset: 1, epoch: over.epoch },
      { offset: 2, epoch: over.epoch },
    ]);

    await follows(admin, other.port);
    await promote(admin, redis.port);
    const third = await topOf(node);
    expect(third.offset).toBe(0);
    expect(new Set([first, over.epoch, third.epoch]).size).toBe(3);
    await eventually(() => expect(node.recorder.publications).toHaveLength(5));
    expectDense(node);
  });
});

describe("FLUSHALL", () => {
  it("gives a new epoch at the next look, read or publication", async () => {
    const node = await startNode("a");
    const [{ epoch }] = (await keepAll(node.broker, numbered(3))) as [Position];
    await admin.flushall();
    const top = await topOf(node);
    expect(top.offset).toBe(0);
    expect(top.epoch).not.toBe(epoch);
    expect(await read(node.broker, { since: { offset: 2, epoch } })).toMatchObject({ texts: [], top });
    expect(await keep(node.broker, "4")).toEqual({ offset: 1, epoch: top.epoch });

    await admin.flushall();
    const next = (await keep(node.broker, "5")) as Position;
    expect(next.offset).toBe(1);
    expect([epoch, top.epoch]).not.toContain(next.epoch);
    expect(await read(node.broker)).toMatchObject({ texts: ["5"], top: next });
  });
});

describe("a part of a channel is evicted", () => {
  const meta = (): string => `${prefix}meta:{h0}:${KEY}`;
  const stream = (): string => `${prefix}history:{h0}:${KEY}`;

  it("meta gone, stream kept: a new epoch, and nothing of the old one is replayed", async () => {
    const node = await startNode("a");
    const [{ epoch }] = (await keepAll(node.broker, numbered(3))) as [Position];
    await admin.del(meta());
    const next = (await keep(node.broker, "new")) as Position;
    expect(next.offset).toBe(1);
    expect(next.epoch).not.toBe(epoch);
    expect(await read(node.broker)).toMatchObject({ texts: ["new"], top: next });

    await admin.del(meta());
    const page = await read(node.broker);
    expect(page).toMatchObject({ texts: [], top: { offset: 0 } });
    expect([epoch, next.epoch]).not.toContain(page.top.epoch);
  });

  it("stream gone, meta kept: no offset comes twice, and what is gone is missing to whoever lacks it", async () => {
    const node = await startNode("a");
    const before = (await keepAll(node.broker, numbered(3)))[2]!;
    await admin.del(stream());
    expect(await read(node.broker, { since: { offset: 1, epoch: before.epoch } })).toMatchObject({
      texts: [],
      top: before,
    });
    expect(await keep(node.broker, "4")).toEqual({ offset: 4, epoch: before.epoch });
    expect((await read(node.broker, { since: { offset: 1, epoch: before.epoch } })).offsets).toEqual([4]);
    await eventually(() => expect(node.recorder.publications).toHaveLength(4));
    expectDense(node);
  });

  it("meta older than the stream: a new epoch", async () => {
    const node = await startNode("a");
    const before = (await keepAll(node.broker, numbered(3)))[2]!;
    await admin.hset(meta(), "top", 1);
    const after = await keepAll(node.broker, numbered(2, 10));
    expect(after.map(({ offset }) => offset)).toEqual([1, 2]);
    expect(after[0]!.epoch).not.toBe(before.epoch);
    expect((await read(node.broker)).texts).toEqual(["10", "11"]);
  });

  it("the standing outlives the history, and a channel that is looked at keeps it", async () => {
    const node = await startNode("a");
    const rule = { size: 10, ttlMs: 20_000 };
    await keep(node.broker, "x", { history: rule });
    expect(await admin.pttl(meta())).toBeGreaterThan(await admin.pttl(stream()));
    await admin.pexpire(meta(), 5_000);
    await node.broker.positions([{ key: KEY, rule }]);
    expect(await admin.pttl(meta())).toBeGreaterThan(20_000);
    await admin.pexpire(meta(), 5_000);
    await read(node.broker, { rule });
    expect(await admin.pttl(meta())).toBeGreaterThan(20_000);
    // Reading does not prolong history itself.
    expect(await admin.pttl(stream())).toBeLessThanOrEqual(20_000);
  });
});

describe("the reply to a publication is lost", { timeout: 40_000 }, () => {
  it("is outcome_unknown; the repetition is made once, with the position of the first", async () => {
    const node = await startProxied("a");
    const other = await startNode("b");
    await keep(node.broker, "before");
    node.proxy.dropReplies((sent) => sent.includes("starling:publish"));
    const lost = await keep(node.broker, "paid", { messageId: "order-1" });
    expect(lost).toBe("outcome_unknown");
    // A stream does not lose a stretch and go on: this connection ends, and another is made.
    node.proxy.restore();
    node.proxy.cut();
    await isDown(node);
    await isUp(node);
    const again = await keep(node.broker, "paid", { messageId: "order-1" });
    expect(again).toMatchObject({ offset: 2 });
    // On another node it is the same message, too.
    expect(await keep(other.broker, "paid", { messageId: "order-1" })).toEqual(again);
    await keep(node.broker, "after");
    await eventually(() => expect(other.recorder.texts).toEqual(["before", "paid", "after"]));
    expect((await read(node.broker)).texts).toEqual(["before", "paid", "after"]);
    expectDense(other);
  });
});

describe("an item that Redis refuses", () => {
  it("fails alone: the others of its batch are appended and published, and only they", async () => {
    const node = await startNode("a");
    const keys = ["main/a", "main/bad", "main/b", "main/worse"];
    for (const key of keys) await keep(node.broker, "first", { key });
    await admin.set(`${prefix}history:{h0}:main/bad`, "of somebody else");
    await admin.del(`${prefix}meta:{h0}:main/worse`);
    await admin.set(`${prefix}meta:{h0}:main/worse`, "of somebody else");
    const envelopes = node.stats.batchItems.count;
    const answers = await Promise.all(
      numbered(20).map((text, i) => keep(node.broker, text, { key: keys[i % 4]!, messageId: text })),
    );
    expect(node.stats.batchItems.count).toBe(envelopes + 1);
    expect(answers.filter((_, i) => i % 2 === 1)).toEqual(Array<string>(10).fill("unavailable"));
    const positions = answers.filter((_, i) => i % 2 === 0) as Position[];
    expect(positions.map(({ offset }) => offset)).toEqual([2, 2, 3, 3, 4, 4, 5, 5, 6, 6]);
    await eventually(() => expect(node.recorder.publications).toHaveLength(14));
    const delivered = node.recorder.publications.slice(4);
    expect(delivered.map(({ position }) => position)).toEqual(positions);
    expect(new Set(delivered.map(({ key }) => key))).toEqual(new Set(["main/a", "main/b"]));

    // What was refused was not remembered as made: it goes through once it can.
    await admin.del(`${prefix}history:{h0}:main/bad`);
    expect(await keep(node.broker, "2", { key: "main/bad", messageId: "2" })).toMatchObject({ offset: 2 });
  });

  it("because its memory is full: nothing is appended or published, reads go on, and later it works", async () => {
    const node = await startNode("a");
    const before = (await keepAll(node.broker, numbered(3)))[2]!;
    await admin.config("SET", "maxmemory", "1");
    onTestFinished(async () => void (await admin.config("SET", "maxmemory", "0")));
    const jobs = numbered(6).map((text, i) =>
      keep(node.broker, text, { messageId: text, ...(i % 2 === 0 ? {} : { key: "main/new" }) }),
    );
    expect(await Promise.all(jobs)).toEqual(Array<string>(6).fill("unavailable"));
    expect(await read(node.broker)).toMatchObject({ texts: numbered(3), top: before });
    expect(await admin.exists(`${prefix}history:{h0}:main/new`, `${prefix}meta:{h0}:main/new`)).toBe(0);

    await admin.config("SET", "maxmemory", "0");
    expect(await keep(node.broker, "1", { messageId: "1" })).toEqual({ offset: 4, epoch: before.epoch });
    await eventually(() => expect(node.recorder.publications).toHaveLength(4));
    expectDense(node);
  });

  it("because the user may not publish: nothing is appended", async () => {
    await admin.acl("SETUSER", "mute", "on", ">pass", "allkeys", "resetchannels", "+@all");
    const mute = new Redis(redis.port, "127.0.0.1", { username: "mute", password: "pass" });
    onTestFinished(() => mute.disconnect());
    const names = ["stream", "meta"].map((name) => `${prefix}${name}`);
    const args = [
      `${prefix}bus:0`,
      "",
      "x",
      pack([[10, 1_000, 1_000], [1, 1], []]),
      "e",
      1_000,
      "PUBLISH",
      Date.now() + 60_000,
    ];
    await expect(runScript(mute, APPEND, names, args)).rejects.toThrow(`NOPERM this user may not PUBLISH`);
    expect(await admin.exists(...names)).toBe(0);
  });
});

describe("a server that may evict keys", { timeout: 40_000 }, () => {
  it("is warned of at the start, and what an evicted message id costs is a second message", async () => {
    await admin.config("SET", "maxmemory-policy", "volatile-lru");
    onTestFinished(async () => void (await admin.config("SET", "maxmemory-policy", "noeviction")));
    const node = await startNode("a");
    expect(node.lines.filter(({ level }) => level === "warn")).toEqual([
      {
        level: "warn",
        fields: { redis: `127.0.0.1:${redis.port}`, policy: "volatile-lru" },
        message:
          "Redis may evict keys: messages may be made twice, sessions and history lost; set maxmemory-policy to noeviction",
      },
    ]);
    const first = (await keep(node.broker, "x", { messageId: "m" })) as Position;
    expect(await keep(node.broker, "x", { messageId: "m" })).toEqual(first);
    await admin.unlink(`${prefix}once:{h0}:${KEY}:m`);
    expect(await keep(node.broker, "x", { messageId: "m" })).toMatchObject({ offset: first.offset + 1 });
    await admin.config("SET", "maxmemory-policy", "noeviction");
    const quiet = await startNode("b");
    expect(quiet.lines.filter(({ level }) => level === "warn")).toEqual([]);
  });
});

describe("history while the link fails", { timeout: 40_000 }, () => {
  it("killed: reads fail with unavailable at once", async () => {
    const node = await startNode("a");
    await redis.kill();
    await isDown(node);
    await expect(read(node.broker)).rejects.toMatchObject({ code: "unavailable" });
    await expect(topOf(node)).rejects.toMatchObject({ code: "unavailable" });
    expect(await keep(node.broker, "x")).toBe("unavailable");
    await redis.restart();
    await isUp(node);
    expect(await keep(node.broker, "x")).toMatchObject({ offset: 1 });
  });

  it("stopped: what waited in it for too long does nothing when it wakes, and says so", async () => {
    const patient = { commandTimeoutMs: 5_000, link: { probeIntervalMs: 60_000, probeTimeoutMs: 60_000 } };
    const node = await startNode("a", patient);
    const before = (await keep(node.broker, "before")) as Position;
    redis.pause();
    const late = keep(node.broker, "late");
    const lateRead = read(node.broker).catch((error: { code: string }) => error.code);
    // By Redis's clock, which goes on while it is stopped.
    await new Promise((resolve) => setTimeout(resolve, 2_800));
    const recent = keep(node.broker, "recent");
    // Sent with the end of this turn.
    await new Promise((resolve) => setTimeout(resolve, 20));
    redis.resume();
    expect(await late).toBe("unavailable");
    expect(await lateRead).toBe("unavailable");
    // It ran, but by then another server might have had the channel.
    expect(await recent).toBe("outcome_unknown");
    expect(await keep(node.broker, "at once")).toBe("unavailable");
    await eventually(async () => expect(await keep(node.broker, "after")).toMatchObject({ offset: 3 }));
    expect(await read(node.broker)).toMatchObject({
      texts: ["before", "recent", "after"],
      top: { offset: 3, epoch: before.epoch },
    });
    expect(node.recorder.links).toEqual([true]);
  });

  it("stopped: reads and publications under way fail with outcome_unknown, those that wait with unavailable", async () => {
    const node = await startNode("a");
    redis.pause();
    const reads = Array.from({ length: 200 }, () =>
      read(node.broker).then(
        () => "read",
        (error: { code: string }) => error.code,
      ),
    );
    const published = keep(node.broker, "x");
    const codes = await Promise.all(reads);
    expect(new Set(codes)).toEqual(new Set(["outcome_unknown", "unavailable"]));
    expect(codes.filter((code) => code === "outcome_unknown").length).toBeLessThan(50);
    expect(await published).toBe("outcome_unknown");
    redis.resume();
    await isUp(node);
    await read(node.broker);
  });

  it("publishes in order when the server has forgotten the scripts", async () => {
    const node = await startNode("a");
    await keep(node.broker, "0");
    await admin.script("FLUSH");
    await keepAll(node.broker, numbered(50));
    await eventually(() => expect(node.recorder.texts).toEqual(["0", ...numbered(50)]));
    await admin.script("FLUSH");
    expect((await read(node.broker)).texts).toHaveLength(51);
    await admin.script("FLUSH");
    expect((await topOf(node)).offset).toBe(51);
  });

  it("knows the scripts again before the link is up after a restart", async () => {
    const node = await startNode("a");
    await redis.kill();
    await isDown(node);
    await redis.restart();
    await isUp(node);
    expect(await admin.script("EXISTS", APPEND.sha1)).toEqual([1]);
  });
});

describe("a positioned envelope that cannot be read", () => {
  it("is counted and skipped, and so is such an entry of history", async () => {
    const node = await startNode("a");
    await admin.publish(`${prefix}bus:0`, pack([3, "x", 1, [["e"], [1, 1]], ["no item"]]));
    await eventually(() => expect(node.stats.envelopesSkipped).toBe(1));
    const [{ epoch }] = (await keepAll(node.broker, numbered(2))) as [Position];
    await admin.xadd(`${prefix}history:{h0}:${KEY}`, "0-3", "d", "no item");
    await admin.hset(`${prefix}meta:{h0}:${KEY}`, "top", 3);
    await keep(node.broker, "4");
    expect(await read(node.broker, { since: { offset: 1, epoch } })).toMatchObject({
      offsets: [2, 4],
      top: { offset: 4, epoch },
    });
    expect(node.stats.envelopesSkipped).toBe(2);
    await eventually(() => expect(node.recorder.texts).toEqual(["1", "2", "4"]));
  });
});

describe("a batch of many channels", () => {
  it("leaves in script calls of at most 256, whatever a batch may hold", async () => {
    const node = await startNode("a", {
      broker: { batchItems: 20_000, batchBytes: 4 * 1024 * 1024 },
      // So many keep Redis busy for longer than the probe of other tests waits.
      commandTimeoutMs: 10_000,
      link: { probeIntervalMs: 10_000, probeTimeoutMs: 10_000 },
    });
    await admin.config("RESETSTAT");
    const positions = await Promise.all(
      numbered(12_000).map((text, i) =>
        keep(node.broker, text, { key: `main/${i % 6_000}`, messageId: text }),
      ),
    );
    expect(positions.filter((at, i) => (at as Position).offset !== (i < 6_000 ? 1 : 2))).toEqual([]);
    await eventually(() => expect(node.recorder.publications).toHaveLength(12_000));
    const calls = (await admin.info("commandstats")).match(/cmdstat_evalsha:calls=(\d+)/);
    expect(calls?.[1]).toBe(String(Math.ceil(12_000 / 256)));
  });
});
