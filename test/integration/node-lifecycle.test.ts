import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { cleanUp, fleetOptions, spawnNode, startTestNode, until } from "../support/nodes.js";
import { refusal } from "../support/raw-client.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(cleanUp);

describe("SIGTERM", () => {
  it("drains: not ready, no newcomers, everyone sent away with 1012 over the drain time, nothing left, exit 0", async () => {
    const fleet = fleetOptions(redis);
    const node = await spawnNode({ ...fleet, drainMs: 3000 });
    const clients = await Promise.all(Array.from({ length: 30 }, () => node.client()));
    for (const client of clients) await client.do("subscribe", { channel: "a" });
    const look = redis.client();
    const hash = `${fleet.redisPrefix}connections:${node.id}`;
    await until("all in Redis", async () => (await look.hlen(hash)) === 30);

    const closings: number[] = [];
    for (const client of clients) void client.closed(20_000).then(() => closings.push(performance.now()));
    node.signal("SIGTERM");
    await until("not ready", async () => (await node.get("/readyz")).status === 503);
    expect(await refusal(node.wsUrl)).toMatchObject({ status: 429 });
    for (const client of clients) {
      expect((await client.closed(20_000)).code).toBe(1012);
      expect(client.frames.at(-1)).toMatchObject({
        type: "closing",
        code: 1012,
        reason: "restart",
        reconnect: true,
      });
    }
    // Spread: thirty in slices of a tenth of a second, not all in one.
    expect(closings.at(-1)! - closings[0]!).toBeGreaterThan(1000);
    expect(await node.ended).toEqual({ code: 0, signal: null });
    // The fleet's settings belong to no node; what else is left is about to go by itself.
    const left = (await look.keys(`${fleet.redisPrefix}*`)).filter(
      (key) => key !== `${fleet.redisPrefix}fleet`,
    );
    for (const key of left) {
      expect(key).toMatch(/:session:|:presence:\{p0\}:2:epoch$/);
      expect(await look.pttl(key), key).toBeGreaterThan(0);
    }
  });

  it("leaves sessions that are resumed elsewhere", async () => {
    const fleet = fleetOptions(redis);
    const [node, other] = [await spawnNode({ ...fleet, drainMs: 0 }), await startTestNode(fleet)];
    const client = await node.client();
    await client.do("subscribe", { channel: "a" });
    node.signal("SIGTERM");
    await client.closed();
    expect((await node.ended).code).toBe(0);
    const back = await other.client();
    expect(await back.do("connect", { resume: client.welcome["resume"] as string })).toMatchObject({
      resumed: true,
      channels: ["a"],
    });
  });

  it("twice ends the node at once", async () => {
    const node = await spawnNode({ drainMs: 3_600_000 });
    const clients = [await node.client(), await node.client(), await node.client()];
    for (const client of clients) await client.do("ping");
    node.signal("SIGTERM");
    await until("draining", async () => (await node.get("/readyz")).status === 503);
    node.signal("SIGTERM");
    expect((await node.ended).code).toBe(128 + 15);
  });

  it("while Redis is unreachable still ends the node, with 0", async () => {
    const own = await startRedis();
    try {
      const node = await spawnNode({ redis: own.url, drainMs: 0, redisCommandTimeoutMs: 500 });
      const client = await node.client();
      await own.kill();
      node.signal("SIGTERM");
      expect((await client.closed()).code).toBe(1012);
      expect((await node.ended).code).toBe(0);
    } finally {
      await own.stop();
    }
  });
});

describe("SIGKILL", () => {
  it("leaves nothing of the node: survivors reap its hash, and its sessions are resumed", async () => {
    const fleet = { ...fleetOptions(redis), leaseTtlMs: 1000 };
    const [node, other] = [await spawnNode(fleet), await startTestNode(fleet)];
    const client = await node.client();
    await client.do("subscribe", { channel: "a" });
    const look = redis.client();
    const hash = `${fleet.redisPrefix}connections:${node.id}`;
    await until("written", async () => (await look.keys(`${fleet.redisPrefix}session:*`)).length === 1);
    node.signal("SIGKILL");
    expect((await client.closed()).code).toBe(1006);
    const back = await other.client();
    expect(await back.do("connect", { resume: client.welcome["resume"] as string })).toMatchObject({
      resumed: true,
      channels: ["a"],
    });
    await until("reaped", async () => (await look.exists(hash)) === 0);
    await until("totals", async () => {
      const { nodes, connections } = await other.totals();
      return nodes === 1 && connections === 1;
    });
  });
});

describe("a node that is stopped for longer than its lease", () => {
  it.each([
    ["its links to Redis stand", false],
    ["it lost its links to Redis meanwhile", true],
  ])(
    "is reaped; awake it registers again, closes what was taken over, and serves the others: %s",
    async (_how, cut) => {
      const fleet = { ...fleetOptions(redis), leaseTtlMs: 1000, sessionTtlMs: 60_000 };
      const clientIds = async (): Promise<string[]> => {
        const list = (await look.client("LIST")) as string;
        return [...list.matchAll(/^id=(\d+) .* name=starling:/gm)].map(([, id]) => id!);
      };
      const look = redis.client();
      const before = new Set(await clientIds());
      const sleeper = await spawnNode(fleet);
      const links = (await clientIds()).filter((id) => !before.has(id));
      expect(links).toHaveLength(3);
      const other = await startTestNode(fleet);
      const [taken, stays] = [await sleeper.client(), await sleeper.client()];
      for (const client of [taken, stays]) await client.do("subscribe", { channel: "a" });
      const hash = `${fleet.redisPrefix}connections:${sleeper.id}`;
      await until("written", async () => (await look.keys(`${fleet.redisPrefix}session:*`)).length === 2);

      sleeper.signal("SIGSTOP");
      await until("reaped", async () => (await look.exists(hash)) === 0);
      await until("not counted", async () => (await other.totals()).nodes === 1);
      const back = await other.client();
      expect(await back.do("connect", { resume: taken.welcome["resume"] as string })).toMatchObject({
        resumed: true,
        channels: ["a"],
      });

      if (cut) for (const id of links) await look.client("KILL", "ID", id);
      // Both send into the stopped node: it must look at its registration before it serves them.
      const answers = [taken, stays].map((client) => client.ask("ping", {}, 20_000));
      sleeper.signal("SIGCONT");
      await expect(answers[0]).rejects.toThrow("the socket closed with 4006 superseded");
      expect(await answers[1]).toMatchObject({ type: "reply" });
      expect(await look.hkeys(hash)).toEqual([stays.welcome["connection"]]);
      await until("ready", async () => (await sleeper.get("/readyz")).status === 200);

      await until(
        "sent",
        async () => (await back.ask("send", { channel: "a", content: "awake" })).type === "reply",
      );
      for (const client of [back, stays]) expect(await client.contents("a", 1)).toEqual(["awake"]);
      expect(stays.closedWith).toBeUndefined();
      await until("totals", async () => {
        const { nodes, connections } = await other.totals();
        return nodes === 2 && connections === 2;
      });
    },
  );
});
