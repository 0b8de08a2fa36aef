import { WebSocket } from "ws";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { connect, type Client } from "../../src/client/index.js";
import { cleanUp, fleetOptions, spawnNode, startFleet, startTestNode, until } from "../support/nodes.js";
import { refusal } from "../support/raw-client.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
const clients: Client[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await cleanUp();
});

describe("a node of a fleet that gets SIGTERM", () => {
  it("is not ready at once and refuses newcomers, but lets its clients be while load balancers take notice", async () => {
    const fleet = fleetOptions(redis);
    const [node, other] = [
      await spawnNode({ ...fleet, drainNoticeMs: 5000, drainMs: 0 }),
      await startTestNode(fleet),
    ];
    const here = await Promise.all(Array.from({ length: 5 }, () => node.client()));
    for (const client of here) await client.do("subscribe", { channel: "a" });
    expect(await node.metric("starling_draining")).toBe(0);
    const signalledAtMs = performance.now();
    const closedAtMs = here[0]!.closed().then(() => performance.now());
    node.signal("SIGTERM");
    await until("not ready", async () => (await node.get("/readyz")).status === 503);
    expect(await refusal(node.wsUrl)).toMatchObject({ status: 429, headers: { "retry-after": "1" } });
    expect(await node.metric("starling_draining")).toBe(1);
    expect(await node.metric("starling_drained_total")).toBe(0);
    // They are served as before, from this node and the others.
    await (await other.client()).do("send", { channel: "a", content: "still here" });
    for (const client of here) expect(await client.contents("a", 1)).toEqual(["still here"]);
    expect((await closedAtMs) - signalledAtMs).toBeGreaterThanOrEqual(4900);
    for (const client of here) {
      expect(await client.closed(10_000)).toEqual({ code: 1012, reason: "restart" });
      const hint = client.frames.at(-1)!;
      expect(hint).toMatchObject({ type: "closing", code: 1012, reason: "restart", reconnect: true });
      // Little for the other node: no more than a slice of the drain.
      expect(hint["retryAfterMs"]).toBeLessThan(100);
    }
    expect(await node.ended).toEqual({ code: 0, signal: null });
  });

  it("spreads its clients over the time that the others need to take them", async () => {
    const [node] = await startFleet(3, redis, { upgradeRate: 10, upgradeBurst: 1000 });
    const here = await Promise.all(Array.from({ length: 60 }, () => node!.client()));
    const drained = node!.drain();
    await Promise.all(here.map((client) => client.closed()));
    await drained;
    // 60 clients, two others that take 10 a second each: 3 s.
    const hints = here.map((client) => Number(client.frames.at(-1)!["retryAfterMs"]));
    expect(Math.max(...hints)).toBeLessThan(3000);
    expect(Math.max(...hints)).toBeGreaterThan(2000);
    expect(Math.min(...hints)).toBeLessThan(1000);
    expect(new Set(hints).size).toBeGreaterThan(40);
  });

  it("does not count nodes that drain themselves", async () => {
    const fleet = { ...fleetOptions(redis), upgradeRate: 10, upgradeBurst: 1000 };
    const [node, going, stays] = [
      await startTestNode(fleet),
      await startTestNode({ ...fleet, drainNoticeMs: 600_000 }),
      await startTestNode(fleet),
    ];
    const here = await Promise.all(Array.from({ length: 40 }, () => node.client()));
    await going.client();
    void going.drain();
    await until("it drains", async () => (await going.get("/readyz")).status === 503);
    await Promise.all([node.drain(), ...here.map((client) => client.closed())]);
    expect(await going.metric("starling_connections")).toBe(1);
    expect((await stays.get("/readyz")).status).toBe(200);
    const hints = here.map((client) => Number(client.frames.at(-1)!["retryAfterMs"]));
    // 40 clients and one other that takes them: 4 s, not 2.
    expect(Math.max(...hints)).toBeGreaterThan(2000);
  });

  it("gives its clients to the others: the SDK's resume there, miss nothing and hear nothing twice", async () => {
    const rules = { historySize: 1000, historyTtlMs: 60_000, recovery: true } as const;
    const nodes = await startFleet(3, redis, {
      drainMs: 500,
      namespaces: {
        room: {
          history: { size: rules.historySize, ttlMs: rules.historyTtlMs },
          recovery: true,
          presence: true,
          joinLeave: false,
          publish: "anyone",
          replayLast: false,
          slowReader: "disconnect",
        },
      },
    });
    const urls = nodes.map(({ wsUrl }) => wsUrl);
    const received: number[][] = [];
    const losses: unknown[] = [];
    for (let i = 0; i < 30; i++) {
      const own: number[] = [];
      received.push(own);
      // Each begins at another node.
      const order = [...urls.slice(i % 3), ...urls.slice(0, i % 3)];
      const client = connect(order, { WebSocket, backoff: { baseMs: 50, capMs: 500 } });
      clients.push(client);
      client.on("gap", (gap) => gap.recovered || losses.push(gap));
      await client.subscribe("room:1", ({ content }) => own.push(content as number)).ready;
    }
    let count = 0;
    const api = nodes.at(-1)!;
    const publishing = setInterval(() => {
      void api.post("/v1/publish", { channel: "room:1", content: count++ });
    }, 10);
    try {
      await nodes[0]!.drain();
      await nodes[1]!.drain();
      await until("all at the last", () => clients.every(({ connection }) => connection?.node === api.id));
    } finally {
      clearInterval(publishing);
    }
    await until("all heard", () => received.every((own) => own.length >= count), 15_000);
    const all = Array.from({ length: count }, (_, index) => index);
    for (const own of received) expect(own.toSorted((a, b) => a - b)).toEqual(all);
    expect(losses).toEqual([]);
    expect(clients.filter(({ connection }) => connection?.resumed === true).length).toBeGreaterThanOrEqual(
      20,
    );
    expect(await api.get("/v1/totals")).toMatchObject({ body: { nodes: 1, connections: 30 } });
  });
});

describe("a node alone", () => {
  it("waits for nobody to notice", async () => {
    const node = await startTestNode({ drainNoticeMs: 600_000, drainMs: 0 });
    const client = await node.client();
    await node.drain();
    expect(await client.closed()).toEqual({ code: 1012, reason: "restart" });
    expect(client.frames.at(-1)!["retryAfterMs"]).toBeLessThan(1000);
  });
});
