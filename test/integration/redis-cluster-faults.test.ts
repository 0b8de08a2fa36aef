/** What becomes of a fleet on a Cluster when a master, a way to it or a slot goes. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";

import type { Config } from "../../src/config.js";
import type { Position } from "../../src/core/publication.js";
import { shardOf } from "../../src/redis/link/keys.js";
import { slotOf } from "../../src/redis/link/slots.js";
import { RULE, keep } from "../contract/history.js";
import { eventually } from "../support/eventually.js";
import { CHAT_RULES, cleanUp, startTestNode, until } from "../support/nodes.js";
import { createRecorder, publish, type Recorder } from "../support/publications.js";
import { startCluster, type Member, type RedisCluster } from "../support/redis-cluster.js";
import { createRedisNode, type RedisNode, type RedisNodeOptions } from "../support/redis-node.js";

const SHARDS = 4;

let cluster: RedisCluster;
let prefix = "";
let tests = 0;

beforeAll(async () => {
  cluster = await startCluster({ replicas: 1, proxied: true });
});
afterAll(() => cluster.stop());
afterEach(cleanUp);
beforeEach(() => {
  prefix = `test${++tests}:`;
});

type Node = RedisNode & { recorder: Recorder };

async function startNode(nodeId: string, options: Partial<RedisNodeOptions> = {}): Promise<Node> {
  const node = createRedisNode({
    nodeId,
    url: cluster.url,
    prefix,
    commandTimeoutMs: 1_000,
    broker: { shards: SHARDS },
    ...options,
  });
  const recorder = createRecorder();
  await node.broker.start(recorder);
  onTestFinished(() => node.broker.stop());
  return { ...node, recorder };
}

const isUp = (node: Node): Promise<void> => eventually(() => expect(node.recorder.links.at(-1)).toBe(true));
const isDown = (node: Node): Promise<void> =>
  eventually(() => expect(node.recorder.links.at(-1)).toBe(false));

/** One channel in each shard. */
const KEYS = Array.from({ length: SHARDS }, (_, shard) => {
  let n = 0;
  while (shardOf(`main/room-${n}`, SHARDS) !== shard) n++;
  return `main/room-${n}`;
});
const slotOfShard = (shard: number): number => slotOf(`{h${shard}}`);

async function ownersOfShards(): Promise<Member[]> {
  return Promise.all(KEYS.map((_, shard) => cluster.ownerOf(slotOfShard(shard))));
}

/** A shard whose slot this server has. */
async function shardAt(member: Member): Promise<number> {
  const shard = (await ownersOfShards()).indexOf(member);
  expect(shard, "this master has no shard: the test needs another name").toBeGreaterThanOrEqual(0);
  return shard;
}

async function keepEverywhere(node: Node, text: string): Promise<(Position | string)[]> {
  return Promise.all(KEYS.map((key) => keep(node.broker, text, { key })));
}

/**
 * Masters may take what is published on the bus before they serve keys again: a probe passes, and
 * publications with history are refused for a moment.
 */
const servesKeys = (node: Node): Promise<void> =>
  eventually(async () => void (await node.broker.positions(KEYS.map((key) => ({ key, rule: RULE })))));

const epochs = (answers: readonly (Position | string)[]): string[] =>
  answers.map((answer) => (answer as Position).epoch);
const sent = (part: string) => (text: string) => text.includes(`starling:${part}`);
const reasons = (node: Node): unknown[] =>
  node.lines
    .filter(({ message }) => message === "the link to Redis is down")
    .map(({ fields }) => (fields as { reason: string }).reason);

describe("the link to a Cluster", { timeout: 60_000 }, () => {
  it("half open to one master is found by that master's probes, and only that connection is made again", async () => {
    const [node, other] = [await startNode("a"), await startNode("b")];
    const before = await keepEverywhere(other, "1");
    await eventually(() => expect(node.recorder.publications).toHaveLength(SHARDS));
    const owner = (await ownersOfShards())[0]!;
    const { proxy } = owner;
    const down = reasons(node).length;
    proxy!.blackhole(sent("subscribe"));
    await keepEverywhere(other, "2");
    // Both hear that master through the proxy.
    for (const each of [node, other]) {
      await eventually(() => expect(each.recorder.links).toContain(false));
      await isUp(each);
    }
    expect(reasons(node).slice(down)).toEqual(["a probe did not come back in 1500 ms"]);
    const tops = await node.broker.positions(KEYS.map((key) => ({ key, rule: RULE })));
    expect(tops).toEqual(before.map((at) => ({ ...(at as Position), offset: 2 })));
    await keepEverywhere(other, "3");
    await eventually(() => expect(node.recorder.texts.filter((text) => text === "3")).toHaveLength(SHARDS));
  });

  it("whose answers of one master vanish is down until the publish connection is another", async () => {
    const node = await startNode("a");
    await keepEverywhere(node, "1");
    const shard = 0;
    const owner = (await ownersOfShards())[shard]!;
    owner.proxy!.dropReplies(sent("publish"));
    expect(await keep(node.broker, "2", { key: KEYS[shard]!, messageId: "m" })).toBe("outcome_unknown");
    // It may be up again by now.
    await eventually(() => expect(node.recorder.links).toContain(false));
    await isUp(node);
    expect(reasons(node)).toEqual(["a probe was not accepted in 1500 ms"]);
    expect(await keep(node.broker, "2", { key: KEYS[shard]!, messageId: "m" })).toMatchObject({ offset: 2 });
    await eventually(() => expect(node.recorder.texts.filter((text) => text === "2")).toHaveLength(1));
  });

  it("follows a slot to another master, and says that it was away", async () => {
    const [node, other] = [await startNode("a"), await startNode("b")];
    const shard = 0;
    await keepEverywhere(node, "1");
    const from = (await ownersOfShards())[shard]!;
    const to = cluster.masters.find((master) => master !== from)!;
    onTestFinished(() => cluster.move(slotOfShard(shard), from));
    const links = node.recorder.links.length;
    await cluster.move(slotOfShard(shard), to);
    await eventually(() => expect(node.recorder.links.length).toBeGreaterThan(links + 1));
    await isUp(node);
    await isUp(other);
    const [after] = await keepEverywhere(other, "2");
    // Whose epoch was given on another server is not known to be whole.
    expect(after).toMatchObject({ offset: 1 });
    await eventually(() => expect(node.recorder.texts.filter((text) => text === "2")).toHaveLength(SHARDS));
    await eventually(() => expect(other.recorder.texts.filter((text) => text === "2")).toHaveLength(SHARDS));
  });

  it("knows a messageId again when the first answer came to nobody and the slot moved", async () => {
    const node = await startNode("a");
    const shard = 0;
    await keep(node.broker, "1", { key: KEYS[shard]!, messageId: "m" });
    const from = (await ownersOfShards())[shard]!;
    const to = cluster.masters.find((master) => master !== from)!;
    onTestFinished(() => cluster.move(slotOfShard(shard), from));
    await cluster.move(slotOfShard(shard), to);
    await eventually(() => expect(node.recorder.links.length).toBeGreaterThan(2));
    await isUp(node);
    await keep(node.broker, "1", { key: KEYS[shard]!, messageId: "m" });
    expect(node.recorder.texts).toEqual(["1"]);
  });
});

describe("a master that goes", { timeout: 60_000 }, () => {
  it("and comes back empty gives its channels a new epoch, and no other", async () => {
    const node = await startNode("a");
    const before = await keepEverywhere(node, "1");
    const [, , last] = cluster.masters;
    const lost = await shardAt(last!);
    const owners = await ownersOfShards();
    await last!.kill();
    await isDown(node);
    expect(await keep(node.broker, "x", { key: KEYS[lost]! })).toBe("unavailable");
    expect(publish(node.broker, "x")).toEqual(["unavailable"]);
    await last!.restart();
    await isUp(node);
    await servesKeys(node);
    const after = await keepEverywhere(node, "2");
    for (let shard = 0; shard < SHARDS; shard++) {
      const same = epochs(after)[shard] === epochs(before)[shard];
      expect(same, `shard ${shard}`).toBe(owners[shard] !== last);
    }
    await eventually(() => expect(node.recorder.texts.filter((text) => text === "2")).toHaveLength(SHARDS));
  });

  it("under a fleet: nodes are ready again, rooms go on, and each client is told of what it may have missed", async () => {
    const options: Partial<Config> = {
      redis: cluster.url,
      redisPrefix: prefix,
      redisCommandTimeoutMs: 1_000,
      busShards: SHARDS,
      busProbeIntervalMs: 100,
      busProbeTimeoutMs: 1_000,
      leaseTtlMs: 3_000,
      namespaces: { chat: CHAT_RULES },
    };
    const nodes = [await startTestNode(options), await startTestNode(options)];
    const [reader, writer] = [await nodes[0]!.client(), await nodes[1]!.client()];
    const rooms = Array.from({ length: 12 }, (_, n) => `chat:${n}`);
    const first = new Map<string, string>();
    for (const channel of rooms) {
      const reply = await reader.do("subscribe", { channel });
      first.set(channel, reply["epoch"] as string);
      await writer.do("send", { channel, content: "before" });
    }
    await until("all heard", () => rooms.every((channel) => reader.messages(channel).length === 1));

    const [, second] = cluster.masters;
    const isLost = new Map<string, boolean>();
    for (const channel of rooms) {
      const shard = shardOf(`main/${channel}`, SHARDS);
      isLost.set(channel, (await cluster.ownerOf(slotOfShard(shard))) === second);
    }
    expect(new Set(isLost.values())).toEqual(new Set([true, false]));
    await second!.kill();
    await until("not ready", async () => (await nodes[0]!.reasons()).length > 0);
    await second!.restart();
    for (const node of nodes) {
      await until("ready", async () => (await node.reasons()).length === 0);
    }
    for (const channel of rooms) {
      await until("readable", async () => (await writer.ask("history", { channel })).type !== "error");
    }
    for (const channel of rooms) await writer.do("send", { channel, content: "after" });
    await until("all heard", () => rooms.every((channel) => reader.messages(channel).length === 2));
    for (const channel of rooms) {
      const [, after] = reader.messages(channel);
      expect(after!["epoch"] === first.get(channel), channel).toBe(!isLost.get(channel));
      const told = reader.frames.some(
        (frame) => frame.type === "gap" && frame["channel"] === channel && frame["recovered"] === false,
      );
      expect(told, channel).toBe(isLost.get(channel));
    }
    const members = await reader.do("presence", { channel: rooms[0] });
    expect(members).toMatchObject({ connections: 1 });
    expect(await nodes[0]!.totals()).toEqual({ nodes: 2, connections: 2 });
  });

  it("for good is replaced by its replica: the link follows, with new epochs there", async () => {
    const node = await startNode("a");
    const [first] = cluster.masters;
    const lost = await shardAt(first!);
    const before = await keepEverywhere(node, "1");
    await first!.kill();
    await isDown(node);
    await isUp(node);
    await servesKeys(node);
    // Whoever is asked may hear of it later than we did.
    await eventually(async () =>
      expect((await cluster.ownerOf(slotOfShard(lost))).port).toBe(cluster.replicas[0]!.port),
    );
    const after = await keepEverywhere(node, "2");
    expect(epochs(after)[lost]).not.toBe(epochs(before)[lost]);
    expect(after.every((at) => typeof at === "object")).toBe(true);
    await eventually(() => expect(node.recorder.texts.filter((text) => text === "2")).toHaveLength(SHARDS));
  });
});
