/** Brokers of several nodes on one real Redis that works. */

import { pack, unpack } from "msgpackr";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";

import type { PublishRequest } from "../../src/core/broker.js";
import { Encoding, type Payload } from "../../src/encoding/payload.js";
import { encodeEnvelope } from "../../src/redis/bus/envelope.js";
import { FORMAT, FORMAT_BEFORE } from "../../src/redis/link/fleet-format.js";
import { eventually } from "../support/eventually.js";
import { createRecorder, publish, type Recorder } from "../support/publications.js";
import { createRedisNode, type RedisNode, type RedisNodeOptions } from "../support/redis-node.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

let redis: RedisServer;
let prefix = "";
let tests = 0;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
beforeEach(() => {
  prefix = `test${++tests}:`;
});

async function startNode(
  nodeId: string,
  options: Partial<RedisNodeOptions> = {},
): Promise<RedisNode & { recorder: Recorder }> {
  const node = createRedisNode({ nodeId, url: redis.url, prefix, ...options });
  const recorder = createRecorder();
  await node.broker.start(recorder);
  onTestFinished(() => node.broker.stop());
  return { ...node, recorder };
}

describe("two nodes on one Redis", () => {
  it("see each other's publications, all in the same order", async () => {
    const [a, b] = [await startNode("a"), await startNode("b")];
    const outcomes: string[][] = [];
    for (let round = 0; round < 50; round++) {
      for (let i = 0; i < 20; i++) {
        outcomes.push(publish(a.broker, `a${round * 20 + i}`), publish(b.broker, `b${round * 20 + i}`));
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    await eventually(() => expect(a.recorder.texts).toHaveLength(2_000));
    await eventually(() => expect(b.recorder.texts).toHaveLength(2_000));
    expect(b.recorder.texts).toEqual(a.recorder.texts);
    for (const from of ["a", "b"]) {
      const texts = a.recorder.texts.filter((text) => text.startsWith(from));
      expect(texts).toEqual(Array.from({ length: 1_000 }, (_, i) => `${from}${i}`));
    }
    await eventually(() => expect(outcomes.every(([outcome]) => outcome === "sent")).toBe(true));
  });

  it("leave out what nobody here hears, of channels with history, and count it", async () => {
    const { broker } = await startNode("a");
    const b = createRedisNode({ nodeId: "b", url: redis.url, prefix });
    const recorder = createRecorder();
    await b.broker.start({ ...recorder, hasSubscribers: (key) => key === "main/room" });
    onTestFinished(() => b.broker.stop());
    const history = { size: 10, ttlMs: 60_000 };
    publish(broker, "1", { history });
    publish(broker, "2", { history, key: "main/other" });
    publish(broker, "3", { history });
    await eventually(() => expect(recorder.texts).toEqual(["1", "3"]));
    expect(recorder.publications.map(({ position }) => position?.offset)).toEqual([1, 2]);
    expect(b.stats.publicationsUnheard).toBe(1);
  });

  it("send the publications of one loop turn as one envelope", async () => {
    const { broker, stats, recorder } = await startNode("a");
    for (let i = 0; i < 100; i++) {
      publish(broker, `${i}`);
      await Promise.resolve(); // as uWebSockets.js does after each of its callbacks
    }
    await eventually(() => expect(recorder.texts).toHaveLength(100));
    expect({ envelopes: stats.batchItems.count, items: stats.batchItems.sum }).toEqual({
      envelopes: 1,
      items: 100,
    });
  });

  it.each([
    ["items", { batchItems: 10 }, "x", 10],
    ["bytes", { batchBytes: 10_000 }, "x".repeat(990), 10],
  ])("send a batch at once when it is full by %s", async (_, broker, text, perEnvelope) => {
    const node = await startNode("a", { broker });
    for (let i = 0; i < 35; i++) publish(node.broker, text);
    expect(node.stats.batchItems.count).toBe(3);
    await eventually(() => expect(node.recorder.texts).toHaveLength(35));
    expect(node.stats.batchItems.counts[node.stats.batchItems.bounds.indexOf(perEnvelope)]).toBe(3);
    expect(node.stats.batchItems.count).toBe(4);
  });

  it("spread channels over the shards, each channel on one", async () => {
    const looking = redis.client();
    const shards = new Map<string, number>();
    await looking.psubscribe(`${prefix}bus:*`);
    looking.on("pmessage", (_, channel: string) => shards.set(channel, (shards.get(channel) ?? 0) + 1));
    const a = await startNode("a", { broker: { shards: 4 } });
    const b = await startNode("b", { broker: { shards: 4 } });
    for (let i = 0; i < 200; i++) publish(a.broker, `${i}`, { key: `main/room-${i % 50}` });
    await eventually(() => expect(b.recorder.texts).toHaveLength(200));
    await eventually(() =>
      expect([...shards.keys()].sort()).toEqual([0, 1, 2, 3].map((n) => `${prefix}bus:${n}`)),
    );
    expect([...shards.values()]).toEqual([1, 1, 1, 1]);
  });

  it("refuse a publication that is larger than the bus carries", async () => {
    const { broker, recorder } = await startNode("a");
    const payload = { bytes: Buffer.alloc(5 * 1024 * 1024), encoding: Encoding.binary };
    expect(publish(broker, "", { payload })).toEqual(["too_large"]);
    publish(broker, "next");
    await eventually(() => expect(recorder.texts).toEqual(["next"]));
  });

  it("measure the round trip of their probes", async () => {
    const { stats } = await startNode("a", { link: { probeIntervalMs: 10 } });
    await eventually(() => expect(stats.bridgeRoundTripSeconds.count).toBeGreaterThan(3));
    expect(stats.bridgeReconnects).toBe(0);
  });

  it("hold two connections each, named for their roles", async () => {
    await startNode("a");
    const list = String(await redis.client().client("LIST"));
    const names = [...list.matchAll(/ name=(starling:\S*)/g)].map(([, name]) => name);
    expect(names.sort()).toEqual(["starling:publish", "starling:subscribe"]);
  });
});

describe("the number of bus shards", () => {
  it("is recorded by the first node; one that differs refuses to start and names both", async () => {
    await startNode("a", { broker: { shards: 4 } });
    expect(await redis.client().hget(`${prefix}fleet`, "busShards")).toBe("4");
    const other = createRedisNode({ nodeId: "b", url: redis.url, prefix, broker: { shards: 2 } });
    await expect(other.broker.start(createRecorder())).rejects.toThrow(
      new RegExp(
        `this node has 2 bus shards, the fleet has 4 .*--bus-shards 4.*HDEL ${prefix}fleet busShards`,
      ),
    );
    await other.broker.stop();
    await startNode("c", { broker: { shards: 4 } });
  });
});

describe("what other programs write to the bus", () => {
  const request: PublishRequest = {
    key: "main/room",
    payload: { bytes: Buffer.from('"through"'), encoding: Encoding.json },
    from: undefined,
    event: undefined,
    tags: undefined,
    exclude: undefined,
    settle: () => undefined,
  };

  it("is counted and skipped where it cannot be read", async () => {
    const { recorder, stats, lines, link } = await startNode("a");
    const writer = redis.client();
    const channel = link.keys.bus(0);
    const good = encodeEnvelope("x", 1, [request], FORMAT);
    await writer.publish(channel, "hello");
    await writer.publish(channel, Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff]));
    await writer.publish(channel, good.subarray(0, -3));
    await writer.publish(channel, pack([99, "x", 1, []]));
    await writer.publish(channel, good);
    await eventually(() => expect(recorder.texts).toEqual(["through"]));
    expect(stats.envelopesSkipped).toBe(4);
    // At most once a second, with how many were left out.
    expect(lines.filter(({ level }) => level === "warn")).toHaveLength(1);
  });

  it("has what the oldest node of the fleet reads: no extras, and JSON for text", async () => {
    const format = { oldest: FORMAT_BEFORE };
    const a = await startNode("a", { broker: { format } });
    const b = await startNode("b");
    const raw: Buffer[] = [];
    const subscriber = redis.client();
    subscriber.on("messageBuffer", (_channel: Buffer, bytes: Buffer) => raw.push(bytes));
    await subscriber.subscribe(a.link.keys.bus(0));
    const extras = { sequence: 7, info: '{"name":"x"}' };
    const text = (value: string): Payload => ({ bytes: Buffer.from(value), encoding: Encoding.text });
    publish(a.broker, "", { payload: text("plain"), extras });
    publish(a.broker, "", { payload: text("[1]"), extras });
    await eventually(() => expect(b.recorder.publications).toHaveLength(2));
    expect(b.recorder.publications).toMatchObject([
      { payload: { bytes: Buffer.from('"plain"'), encoding: Encoding.json }, extras: undefined },
      { payload: { bytes: Buffer.from("[1]"), encoding: Encoding.json }, extras: undefined },
    ]);
    // As a node of the version before would write what has no extras.
    const flat = ["main/room", 0, Buffer.from('"plain"'), null, "main/room", 0, Buffer.from("[1]"), null];
    await eventually(() => expect(raw.map((bytes) => (unpack(bytes) as unknown[])[3])).toEqual([flat]));

    // The last of them has left.
    format.oldest = FORMAT;
    publish(a.broker, "", { payload: text("plain"), extras });
    await eventually(() => expect(b.recorder.publications).toHaveLength(3));
    expect(b.recorder.publications[2]).toMatchObject({ payload: text("plain"), extras });
  });

  it("reaches every node once as ingest lines, and is not published again", async () => {
    const ingest = { channel: `${prefix}chat:broadcast`, app: "main", maxBytes: 65_536 };
    const a = await startNode("a", { broker: { ingest } });
    const b = await startNode("b", { broker: { ingest } });
    const deaf = await startNode("c");
    const writer = redis.client();
    expect(await writer.publish(ingest.channel, '{"channel":"room","message":"from PHP"}')).toBe(2);
    await writer.publish(ingest.channel, '{"channel":"#admin","message":"no"}');
    await writer.publish(ingest.channel, "not JSON");
    publish(a.broker, "last");
    for (const { recorder, stats } of [a, b]) {
      await eventually(() => expect(recorder.texts).toContain("last"));
      await eventually(() => expect(stats.rejects.get("ingest")).toBe(2));
      expect([...recorder.texts].sort()).toEqual(["from PHP", "last"]);
      expect(recorder.publications.map(({ key }) => key)).toEqual(["main/room", "main/room"]);
    }
    await eventually(() => expect(deaf.recorder.texts).toEqual(["last"]));
    expect(a.stats.batchItems.sum + b.stats.batchItems.sum).toBe(1);
  });
});
