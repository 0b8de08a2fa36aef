import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { cleanUp, startFleet, startTestNode, until, type InProcessNode } from "../support/nodes.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

let redis: RedisServer;
beforeEach(async () => {
  redis = await startRedis();
});
afterEach(async () => {
  await cleanUp();
  await redis.stop();
});

const FAST = {
  redisCommandTimeoutMs: 1000,
  busProbeIntervalMs: 200,
  busProbeTimeoutMs: 1000,
  leaseTtlMs: 3000,
};

const notReady = (node: InProcessNode): Promise<boolean> =>
  until("not ready", async () => (await node.get("/readyz")).status === 503);
const ready = (node: InProcessNode): Promise<boolean> =>
  until("ready", async () => (await node.get("/readyz")).status === 200, 20_000);

describe("a node whose Redis went away", () => {
  it("answers sends at once by a temporary error, keeps its sockets, and says not ready", async () => {
    const [node] = await startFleet(1, redis, FAST);
    const client = await node!.client();
    await client.do("subscribe", { channel: "a" });
    await redis.kill();
    await notReady(node!);
    expect(await node!.reasons()).toContain("the message bus is unreachable");
    for (let i = 0; i < 20; i++) {
      const answer = await client.ask("send", { channel: "a", content: i }, 1000);
      expect(answer).toMatchObject({ type: "error", code: "unavailable", temporary: true });
    }
    // What needs no bus is served.
    await client.do("subscribe", { channel: "b" });
    await client.do("ping");
    const newcomer = await node!.client();
    await newcomer.do("ping");
    expect(await node!.post("/v1/publish", { channel: "a", content: 1 })).toMatchObject({
      status: 503,
      body: { error: { code: "unavailable", temporary: true } },
    });
    expect(client.closedWith).toBeUndefined();
    expect(client.messages("a")).toEqual([]);
    expect(await node!.metric("starling_bridge_up")).toBe(0);
    expect(await node!.metric("starling_publications_failed_total")).toBe(21);
  });

  it("is ready again once it is subscribed, and clients hear each other without doing anything", async () => {
    const nodes = await startFleet(2, redis, FAST);
    const [here, there] = [nodes[0]!, nodes[1]!];
    const [sender, near, far] = [await here.client(), await here.client(), await there.client()];
    for (const client of [near, far]) await client.do("subscribe", { channel: "a" });
    await redis.kill();
    for (const node of nodes) await notReady(node);
    // Connections come and go meanwhile.
    const late = await there.client();
    await late.do("subscribe", { channel: "a" });
    near.terminate();
    await redis.restart();
    for (const node of nodes) await ready(node);
    await sender.do("send", { channel: "a", content: "back" });
    for (const client of [far, late]) expect(await client.contents("a", 1)).toEqual(["back"]);
    // The new server knew nothing: everyone is written again, and who left is not.
    const look = redis.client();
    for (const [node, count] of [
      [here, 1],
      [there, 2],
    ] as const) {
      await until(
        "registry rebuilt",
        async () => (await look.hlen(`${nodes.prefix}connections:${node.id}`)) === count,
      );
    }
    await until("totals", async () => (await here.totals()).connections === 3);
    expect(await here.metric("starling_bridge_reconnects_total")).toBeGreaterThanOrEqual(1);
    // Sessions too: one that was made before the outage is resumed after it.
    const resume = far.welcome["resume"] as string;
    await until(
      "session written again",
      async () => (await look.keys(`*session:*${far.welcome["session"]}`)).length === 1,
    );
    far.terminate();
    const back = await here.client();
    expect(await back.do("connect", { resume })).toMatchObject({ resumed: true, channels: ["a"] });
  });

  it("for longer than its lease registers again before it is ready", async () => {
    const nodes = await startFleet(2, redis, { ...FAST, leaseTtlMs: 500 });
    const client = await nodes[0]!.client();
    await redis.kill();
    for (const node of nodes) {
      await until("lapsed", async () => (await node.reasons()).includes("the node is not registered"));
    }
    await client.do("ping");
    await redis.restart();
    for (const node of nodes) await ready(node);
    const look = redis.client();
    expect(await look.hlen(`${nodes.prefix}connections:${nodes[0]!.id}`)).toBe(1);
    expect((await nodes[1]!.get("/v1/totals")).body).toEqual({ nodes: 2, connections: 1 });
  });
});

describe("a node whose Redis stops answering", () => {
  it("settles every send as outcome_unknown or unavailable, in bounded time, and heals", async () => {
    const [node] = await startFleet(1, redis, FAST);
    const client = await node!.client();
    await client.do("subscribe", { channel: "a" });
    redis.pause();
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => client.ask("send", { channel: "a", content: i }, 10_000)),
    );
    for (const answer of answers) {
      expect(answer).toMatchObject({ type: "error", temporary: true });
      expect(["outcome_unknown", "unavailable"]).toContain(answer["code"]);
    }
    expect(answers[0]).toMatchObject({ code: "outcome_unknown" });
    await notReady(node!);
    expect(await client.ask("send", { channel: "a", content: "x" }, 1000)).toMatchObject({
      code: "unavailable",
    });
    redis.resume();
    await ready(node!);
    await client.do("send", { channel: "a", content: "healed" });
    await client.next(({ content }) => content === "healed");
    // What was outcome_unknown may have happened, once; what was unavailable did not.
    const contents = client.messages("a").map(({ content }) => content as unknown);
    expect(new Set(contents).size).toBe(contents.length);
    expect(contents).not.toContain("x");
  });

  it("through a half-open link finds out by its probe", async () => {
    const proxy = await startTcpProxy(redis.port);
    try {
      const node = await startTestNode({ ...FAST, redis: `redis://127.0.0.1:${proxy.port}` });
      const client = await node.client();
      await client.do("subscribe", { channel: "a" });
      proxy.blackhole((sent) => sent.includes("starling:subscribe"));
      await notReady(node);
      proxy.restore();
      proxy.cut();
      await ready(node);
      await client.do("send", { channel: "a", content: 1 });
      await client.next(({ content }) => content === 1);
    } finally {
      await proxy.close();
    }
  });
});

it("a node that cannot reach its Redis does not start, and says which", async () => {
  await redis.kill();
  await expect(startTestNode({ redis: redis.url })).rejects.toThrow(
    `cannot reach Redis at 127.0.0.1:${redis.port}`,
  );
});

it("a node with another number of bus shards than its fleet does not start, and names both", async () => {
  const nodes = await startFleet(1, redis, { busShards: 1 });
  await expect(startTestNode({ redis: redis.url, redisPrefix: nodes.prefix, busShards: 4 })).rejects.toThrow(
    /1.*4|4.*1/,
  );
});
