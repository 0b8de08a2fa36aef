/** Publications of one batch share an entry of their channel's stream: nobody who reads may notice. */

import { pack } from "msgpackr";
import type { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";

import type { HistoryRule } from "../../src/core/broker.js";
import type { Position } from "../../src/core/publication.js";
import { RULE, keep, keepAll, numbered, read } from "../contract/history.js";
import { createRecorder, type RequestFields } from "../support/publications.js";
import { createRedisNode, type RedisNode } from "../support/redis-node.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

const KEY = "main/room";
/** As history holds one. */
const ITEM = pack([1, Buffer.from("1"), null, 1.5]);

let redis: RedisServer;
let admin: Redis;
let prefix = "";
let tests = 0;

beforeAll(async () => {
  redis = await startRedis();
  admin = redis.client();
});
afterAll(() => redis.stop());
beforeEach(() => {
  prefix = `test${++tests}:`;
});

async function startNode(): Promise<RedisNode> {
  const node = createRedisNode({ nodeId: "a", url: redis.url, prefix });
  await node.broker.start(createRecorder());
  onTestFinished(() => node.broker.stop());
  return node;
}

const stream = (key = KEY): string => `${prefix}history:{h0}:${key}`;

async function position(node: RedisNode, text: string, fields: RequestFields = {}): Promise<Position> {
  return (await keep(node.broker, text, fields)) as Position;
}

describe("entries of several publications", () => {
  it("are read from any position, up to any limit, in both directions", async () => {
    const node = await startNode();
    // Entries of 1, 4, 2, 1 and 5.
    let at = 1;
    for (const count of [1, 4, 2, 1, 5]) {
      await keepAll(node.broker, numbered(count, at));
      at += count;
    }
    expect(await admin.xlen(stream())).toBe(5);
    const top = at - 1;
    const { epoch } = (await read(node.broker)).top;
    const all = numbered(top).map(Number);
    for (let limit = 1; limit <= top + 1; limit++) {
      expect((await read(node.broker, { limit })).offsets).toEqual(all.slice(0, limit));
      expect((await read(node.broker, { limit, reverse: true })).offsets).toEqual(
        all.toReversed().slice(0, limit),
      );
      for (let offset = 0; offset <= top + 1; offset++) {
        const since = { offset, epoch };
        const page = await read(node.broker, { since, limit });
        const after = all.filter((each) => each > offset).slice(0, limit);
        expect([page.offsets, page.texts]).toEqual([after, after.map(String)]);
        const before = all
          .filter((each) => each < offset)
          .toReversed()
          .slice(0, limit);
        expect((await read(node.broker, { since, limit, reverse: true })).offsets).toEqual(before);
      }
    }
  });

  it("keep the order of publications that stand between those of other channels", async () => {
    const node = await startNode();
    const keys = ["main/x", "main/y", "main/z"];
    const positions = await Promise.all(
      numbered(30).map((text, i) => position(node, text, { key: keys[(i * i) % 3]! })),
    );
    for (const [k, key] of keys.entries()) {
      const mine = numbered(30).filter((_, i) => (i * i) % 3 === k);
      const page = await read(node.broker, {}, key);
      expect(page.texts).toEqual(mine);
      expect(positions.filter((_, i) => (i * i) % 3 === k).map(({ offset }) => offset)).toEqual(page.offsets);
    }
  });

  it("hold a repetition once, within a batch and after it", async () => {
    const node = await startNode();
    const publish = (text: string, messageId?: string): Promise<Position> =>
      position(node, text, messageId === undefined ? {} : { messageId });
    const first = await Promise.all([publish("1", "m"), publish("2"), publish("1", "m"), publish("3", "n")]);
    expect(first.map(({ offset }) => offset)).toEqual([1, 2, 1, 3]);
    const again = await Promise.all([publish("3", "n"), publish("4"), publish("1", "m")]);
    expect(again.map(({ offset }) => offset)).toEqual([3, 4, 1]);
    expect((await read(node.broker)).texts).toEqual(["1", "2", "3", "4"]);
  });

  it("are trimmed by what they hold, and nothing beyond the size is told", async () => {
    const node = await startNode();
    const rule: HistoryRule = { ...RULE, size: 10 };
    for (let at = 1; at <= 2000; at += 20) await keepAll(node.broker, numbered(20, at), { history: rule });
    expect((await read(node.broker, { rule })).texts).toEqual(numbered(10, 1991));
    // Redis trims by whole nodes of a stream, of 100 entries or 4 kB.
    expect(await admin.xlen(stream())).toBeLessThan(100);
  });

  it("of a large batch are cut, so that a read stays short", async () => {
    const node = await startNode();
    await keepAll(node.broker, numbered(100));
    expect(await admin.xlen(stream())).toBe(2);
    expect((await read(node.broker)).texts).toEqual(numbered(100));
  });

  it("of batches that a node has on their way are of at most 256 publications", async () => {
    const node = await startNode();
    await keepAll(node.broker, numbered(600));
    expect(node.stats.batchItems).toMatchObject({ count: 3, sum: 600 });
    expect((await read(node.broker)).offsets).toEqual(numbered(600).map(Number).slice(-RULE.size));
  });

  it("are read where they are as history holds them", async () => {
    const node = await startNode();
    const { epoch } = await position(node, "1");
    await admin.xadd(stream(), "0-3", "n", "2", "d", Buffer.concat([ITEM, ITEM]));
    await admin.hset(`${prefix}meta:{h0}:${KEY}`, "top", 3);
    expect((await read(node.broker, { since: { offset: 1, epoch } })).texts).toEqual([1, 1]);
  });

  it.each([
    ["holds fewer than it says", ["n", "3", "d", ITEM], 3],
    ["holds more than it says", ["d", Buffer.concat([ITEM, ITEM])], 1],
    ["ends within an item", ["n", "1", "d", ITEM.subarray(0, 9)], 1],
    ["holds nothing", ["n", "2", "d", ""], 2],
    ["has no field for them", ["n", "1"], 1],
    ["says more than there can be", ["n", "4294967295", "d", ITEM], 1],
    ["says less than one", ["n", "-7", "d", ITEM.subarray(1)], 1],
    ["says no number", ["n", "some", "d", Buffer.from("no item")], 1],
  ])("are skipped and counted where one %s", async (_, fields, offsets) => {
    const node = await startNode();
    const { epoch } = await position(node, "1");
    await admin.xadd(stream(), `0-${1 + offsets}`, ...fields);
    await admin.hset(`${prefix}meta:{h0}:${KEY}`, "top", 1 + offsets);
    await keep(node.broker, "last");
    const page = await read(node.broker, { since: { offset: 1, epoch } });
    expect(page.texts).toEqual(["last"]);
    expect(node.stats.envelopesSkipped).toBe(1);
  });
});
