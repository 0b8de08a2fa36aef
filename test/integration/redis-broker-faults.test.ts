/** What the broker says and does when Redis or the way to it fails. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";

import { eventually } from "../support/eventually.js";
import { createRecorder, publish, type Recorder } from "../support/publications.js";
import { createRedisNode, type RedisNode, type RedisNodeOptions } from "../support/redis-node.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";

let redis: RedisServer;
let prefix = "";
let tests = 0;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
// A test that failed while Redis was stopped must not fail the others.
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

/** Publishes until one was sent, then sees that it is delivered. */
async function worksAgain(node: Node, text: string): Promise<void> {
  await eventually(() => expect(node.recorder.links.at(-1)).toBe(true));
  const outcomes = publish(node.broker, text);
  await eventually(() => expect(outcomes).toEqual(["sent"]));
  await eventually(() => expect(node.recorder.texts).toContain(text));
}

describe("Redis away", { timeout: 40_000 }, () => {
  it("start says where Redis is not, and leaves nothing running", async () => {
    const lost = createRedisNode({ nodeId: "a", url: "redis://127.0.0.1:1" });
    await expect(lost.broker.start(createRecorder())).rejects.toThrow(
      "cannot reach Redis at 127.0.0.1:1: connect ECONNREFUSED 127.0.0.1:1; start one or omit --redis",
    );
    await lost.broker.stop();
    expect(publish(lost.broker, "x")).toEqual(["unavailable"]);
  });

  it("killed: publishing fails at once with unavailable; back: subscribed before it says so", async () => {
    const node = await startNode("a");
    publish(node.broker, "before");
    await eventually(() => expect(node.recorder.texts).toEqual(["before"]));

    await redis.kill();
    await eventually(() => expect(node.recorder.links).toEqual([true, false]));
    expect(publish(node.broker, "lost")).toEqual(["unavailable"]);
    expect(node.stats.bridgeReconnects).toBe(1);

    await redis.restart();
    await worksAgain(node, "after");
    expect(node.recorder.texts).toEqual(["before", "after"]);
    expect(node.recorder.links).toEqual([true, false, true]);
    // A Redis that lost everything knows the fleet's settings again.
    expect(await redis.client().hget(`${prefix}fleet`, "busShards")).toBe("1");
  });

  it("killed with publications unanswered: each is settled once, nothing is sent again", async () => {
    const node = await startNode("a");
    redis.pause();
    const outcomes = Array.from({ length: 100 }, (_, i) => publish(node.broker, `${i}`));
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    await redis.kill();
    await eventually(() => expect(outcomes.flat()).toEqual(Array<string>(100).fill("outcome_unknown")));
    await redis.restart();
    await worksAgain(node, "after");
    expect(node.recorder.texts).toEqual(["after"]);
    expect(outcomes.every((each) => each.length === 1)).toBe(true);
  });

  it("stopped by SIGSTOP: outcome_unknown for what was sent, then unavailable; goes on after SIGCONT", async () => {
    const node = await startNode("a");
    redis.pause();
    const sent = publish(node.broker, "in between");
    await eventually(() => expect(sent).toEqual(["outcome_unknown"]));
    await eventually(() => expect(node.recorder.links).toEqual([true, false]));
    expect(publish(node.broker, "lost")).toEqual(["unavailable"]);
    redis.resume();
    await worksAgain(node, "after");
    expect(node.recorder.texts).not.toContain("lost");
    expect(sent).toEqual(["outcome_unknown"]);
  });

  it("holds no more than its bound while Redis does not answer", async () => {
    const node = await startNode("a", {
      commandTimeoutMs: 1_000,
      broker: { maxQueuedItems: 50, batchItems: 10 },
    });
    redis.pause();
    const outcomes = Array.from({ length: 80 }, (_, i) => publish(node.broker, `${i}`));
    expect(outcomes.slice(50).flat()).toEqual(Array<string>(30).fill("unavailable"));
    expect(outcomes.slice(0, 50).flat()).toEqual([]);
    await eventually(() =>
      expect(outcomes.slice(0, 50).flat()).toEqual(Array<string>(50).fill("outcome_unknown")),
    );
    redis.resume();
    await worksAgain(node, "after");
  });

  it("stop does not wait for a Redis that is away", async () => {
    const node = await startNode("a");
    await redis.kill();
    await eventually(() => expect(node.recorder.links.at(-1)).toBe(false));
    await node.broker.stop();
    expect(publish(node.broker, "late")).toEqual(["unavailable"]);
    await redis.restart();
  });

  it("stop settles what a stopped Redis never answers", async () => {
    const node = await startNode("a");
    redis.pause();
    const outcomes = Array.from({ length: 10 }, (_, i) => publish(node.broker, `${i}`));
    await node.broker.stop();
    expect(outcomes.flat()).toEqual(Array<string>(10).fill("outcome_unknown"));
    redis.resume();
  });
});

describe("the link to Redis", { timeout: 40_000 }, () => {
  const isSubscriber = (sent: string): boolean => sent.includes("starling:subscribe");

  it("is down and made again when Redis kills the subscriber", async () => {
    const node = await startNode("a");
    await redis.client().call("CLIENT", "KILL", "TYPE", "pubsub");
    await eventually(() => expect(node.recorder.links).toEqual([true, false, true]));
    await worksAgain(node, "after");
    expect(node.stats.bridgeReconnects).toBe(1);
  });

  it("is down and made again when every connection is cut", async () => {
    const node = await startProxied("a");
    node.proxy.cut();
    await eventually(() => expect(node.recorder.links).toEqual([true, false, true]));
    await worksAgain(node, "after");
  });

  it("is found half open by a probe, where the subscriber hears nothing", async () => {
    const [node, other] = [await startProxied("a"), await startNode("b")];
    node.proxy.blackhole(isSubscriber);
    const lost = publish(other.broker, "lost at a");
    await eventually(() => expect(lost).toEqual(["sent"]));
    await eventually(() => expect(node.recorder.links).toEqual([true, false, true]));
    await worksAgain(node, "after");
    expect(node.recorder.texts).toEqual(["after"]);
    expect(node.stats.bridgeReconnects).toBe(1);
    // Only the side that failed was made again.
    expect(node.lines.filter(({ message }) => message.includes("down"))).toEqual([
      expect.objectContaining({
        fields: expect.objectContaining({ reason: "a probe did not come back in 1500 ms" }) as object,
      }),
    ]);
    await eventually(() => expect(other.recorder.texts).toEqual(["lost at a", "after"]));
  });

  it("is found half open by a probe, where publications get no answer", async () => {
    const node = await startProxied("a");
    node.proxy.blackhole((sent) => sent.includes("starling:publish"));
    const outcomes = publish(node.broker, "vanishes");
    await eventually(() => expect(outcomes).toEqual(["outcome_unknown"]));
    await eventually(() => expect(node.recorder.links).toEqual([true, false, true]));
    await worksAgain(node, "after");
    expect(node.recorder.texts).toEqual(["after"]);
  });

  it("stays down while nothing passes, and is up when it does", async () => {
    const node = await startProxied("a");
    node.proxy.blackhole();
    await eventually(() => expect(node.recorder.links).toEqual([true, false]));
    expect(publish(node.broker, "lost")).toEqual(["unavailable"]);
    node.proxy.restore();
    await worksAgain(node, "after");
  });

  it("is not given up for a bus that is late but alive", async () => {
    const node = await startProxied("a");
    const other = await startNode("b");
    const talk = setInterval(() => publish(other.broker, "talk"), 20);
    onTestFinished(() => clearInterval(talk));
    // In two steps, so that no pause is as long as a probe may take; then probes take longer.
    node.proxy.delay(1_000, isSubscriber);
    await eventually(() => expect(node.stats.bridgeRoundTripSeconds.sum).toBeGreaterThan(0.9));
    node.proxy.delay(1_900, isSubscriber);
    await eventually(() =>
      expect(node.lines.some(({ message }) => message === "the bus is slow")).toBe(true),
    );
    clearInterval(talk);
    node.proxy.delay(0);
    await worksAgain(node, "after");
    expect(node.recorder.links).toEqual([true]);
  });

  it("tries SUBSCRIBE again when Redis refuses it", async () => {
    const admin = redis.client();
    await admin.acl("SETUSER", "bus", "on", ">pass", "allkeys", "allchannels", "+@all");
    const node = await startNode("a", { url: `redis://bus:pass@127.0.0.1:${redis.port}` });
    await admin.acl("SETUSER", "bus", "-subscribe");
    await admin.call("CLIENT", "KILL", "TYPE", "pubsub");
    await eventually(() =>
      expect(node.lines.some(({ message }) => message.includes("subscribing"))).toBe(true),
    );
    expect(node.recorder.links).toEqual([true, false]);
    expect(publish(node.broker, "lost")).toEqual(["unavailable"]);
    await admin.acl("SETUSER", "bus", "+subscribe");
    await worksAgain(node, "after");
    expect(JSON.stringify(node.lines)).not.toContain("pass@");
  });
});
