/** Faults of delivery, as docs/faults.md lists them: what clients saw, and what the metrics said. */

import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { cleanUp, fleetOptions, spawnNode, startFleet, startTestNode, until } from "../support/nodes.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";
import { type Verdict } from "./checker.js";
import { chat, chatFlag, Crowd } from "./crowd.js";

/** The outages of the fault list in full; otherwise short ones. */
const LONG = process.env["LONG_FAULTS"] === "1";
const TIMEOUT_MS = LONG ? 180_000 : 60_000;

let redis: RedisServer;
const proxies: TcpProxy[] = [];
const crowds: Crowd[] = [];
beforeEach(async () => {
  redis = await startRedis();
});
afterEach(async () => {
  for (const crowd of crowds.splice(0)) crowd.end();
  await cleanUp();
  await Promise.all(proxies.splice(0).map((proxy) => proxy.close()));
  await redis.stop();
});

const CHANNELS = ["chat:a", "chat:b", "chat:c"];

function crowdOf(nodes: readonly { wsUrl: string }[], clients: number, channels = CHANNELS): Crowd {
  const crowd = new Crowd({ urls: nodes.map(({ wsUrl }) => wsUrl), clients, channels });
  crowds.push(crowd);
  return crowd;
}

/** A node whose link to Redis a test can break, and one whose link stands. */
async function proxiedAndOther(options: object = {}) {
  const proxy = await startTcpProxy(redis.port);
  proxies.push(proxy);
  const fleet = { ...fleetOptions(redis), ...chat(), ...options };
  const broken = await startTestNode({ ...fleet, redis: `redis://127.0.0.1:${proxy.port}` });
  const other = await startTestNode(fleet);
  return { proxy, broken, other };
}

const isReady = (node: { reasons(): Promise<readonly string[]> }): Promise<boolean> =>
  until("ready", async () => (await node.reasons()).length === 0, 20_000);

function expectWhole(verdict: Verdict): void {
  expect(verdict.details).toEqual([]);
  expect(verdict.ok).toBe(true);
  expect(verdict.notRecovered).toBe(0);
}

it(
  "kill -9 of a node under load: clients go on elsewhere, with no gap and nothing twice",
  { timeout: TIMEOUT_MS },
  async () => {
    const fleet = { ...fleetOptions(redis), leaseTtlMs: 1_500 };
    const [doomed, other] = [
      await spawnNode({ ...fleet, ...chatFlag() }),
      await startTestNode({ ...fleet, ...chat() }),
    ];
    const crowd = crowdOf([doomed, other], 20);
    await crowd.ready();
    const victims = await doomed.metric("starling_connections");
    expect(victims).toBeGreaterThan(0);
    await crowd.during(async () => {
      await until("traffic", () => crowd.received > 500);
      doomed.signal("SIGKILL");
      await doomed.ended;
      await until("everyone elsewhere", async () => (await other.metric("starling_connections")) === 20);
      await crowd.ready();
    });
    const verdict = await crowd.verdict();
    expectWhole(verdict);
    expect(verdict.endings).toBe(20 * CHANNELS.length);
    expect(await other.metric("starling_sessions_resumed_total")).toBe(victims);
    expect(await other.metric("starling_recoveries_total")).toBeGreaterThanOrEqual(victims * CHANNELS.length);
    expect(await other.metric("starling_recoveries_failed_total")).toBe(0);
  },
);

it(
  "a subscriber link that carries nothing is found within 10 s, and meanwhile positions are checked",
  { timeout: TIMEOUT_MS },
  async () => {
    const { proxy, broken, other } = await proxiedAndOther();
    const [deaf, sender] = [crowdOf([broken], 3), crowdOf([other], 1)];
    await Promise.all([deaf.ready(), sender.ready()]);
    proxy.blackhole((sent) => sent.includes("starling:subscribe"));
    for (let i = 0; i < 30; i++) expect((await sender.publish()).outcome).toBe("acked");
    // Nothing comes from the bus: the position check finds them in history.
    await until("all by history", () => deaf.received === 90);
    expect(await broken.metric("starling_history_reads_total")).toBeGreaterThan(0);
    await until("found", async () => (await broken.metric("starling_bridge_up")) === 0, 10_000);
    proxy.restore();
    proxy.cut();
    await isReady(broken);
    expect(await broken.metric("starling_bridge_reconnects_total")).toBeGreaterThan(0);
    deaf.evidence.push(...sender.evidence.filter(({ kind }) => kind === "publication"));
    expectWhole(await deaf.verdict());
    expect(await broken.metric("starling_gaps_total")).toBe(0);
  },
);

it(
  "a node that alone loses Redis is not ready, and its clients have all once it heals",
  { timeout: TIMEOUT_MS },
  async () => {
    const { proxy, broken, other } = await proxiedAndOther({
      busProbeIntervalMs: 300,
      busProbeTimeoutMs: 700,
    });
    const [cutOff, sender] = [crowdOf([broken], 3), crowdOf([other], 1)];
    await Promise.all([cutOff.ready(), sender.ready()]);
    proxy.blackhole();
    await until("not ready", async () => (await broken.reasons()).includes("the message bus is unreachable"));
    for (let i = 0; i < 30; i++) expect((await sender.publish()).outcome).toBe("acked");
    expect((await cutOff.publish()).outcome).toBe("refused");
    expect(cutOff.received).toBe(0);
    expect(await other.reasons()).toEqual([]);
    proxy.restore();
    proxy.cut();
    await isReady(broken);
    // Ready means caught up: nobody had to come back for it.
    await until("all", () => cutOff.received === 90);
    cutOff.evidence.push(...sender.evidence.filter(({ kind }) => kind === "publication"));
    expectWhole(await cutOff.verdict());
    expect(await broken.metric("starling_history_reads_total")).toBeGreaterThan(0);
    expect(await broken.metric("starling_gaps_total")).toBe(0);
  },
);

it("CLIENT KILL TYPE pubsub under load: caught up, no gap", { timeout: TIMEOUT_MS }, async () => {
  const nodes = await startFleet(2, redis, chat());
  const crowd = crowdOf(nodes, 10);
  await crowd.ready();
  const look = redis.client();
  await crowd.during(async () => {
    for (let round = 1; round <= 3; round++) {
      const had = crowd.received;
      await until("traffic", () => crowd.received > had + 200);
      await look.call("CLIENT", "KILL", "TYPE", "pubsub");
      for (const node of nodes) {
        await until(
          "made again",
          async () => (await node.metric("starling_bridge_reconnects_total")) >= round,
        );
        await isReady(node);
      }
    }
  });
  expectWhole(await crowd.verdict());
  for (const node of nodes) expect(await node.metric("starling_gaps_total")).toBe(0);
});

describe("history that was trimmed past the position", () => {
  it("is answered recovered: false, always: to subscribe and to a resumed session; up to there all comes", async () => {
    const size = 10;
    const nodes = await startFleet(1, redis, chat({ historySize: size }));
    const node = nodes[0]!;
    const sender = await node.client();
    const send = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) await sender.do("send", { channel: "chat:a", content: i });
    };
    const reader = await node.client();
    await send(1);
    const { offset, epoch } = await reader.do("subscribe", { channel: "chat:a" });
    expect(offset).toBe(1);
    const since = { offset: 1, epoch: epoch as string };
    const ask = async (): Promise<object> =>
      (await node.client()).do("subscribe", { channel: "chat:a", since });

    await send(size);
    expect(await ask()).toMatchObject({ recovered: true, missed: size, offset: size + 1 });
    reader.terminate();
    // MAXLEN is approximate: what Redis still has beyond the size must not make a difference.
    for (let more = 1; more <= 5; more++) {
      await send(1);
      expect(await ask()).toMatchObject({ recovered: false, offset: size + 1 + more, epoch });
    }
    const back = await node.client();
    const resume = reader.welcome["resume"] as string;
    const reply = await back.do("connect", { resume, positions: { "chat:a": since } });
    expect(reply).toMatchObject({ resumed: true, channels: ["chat:a"], recovering: ["chat:a"] });
    expect(await back.next("subscribed")).toMatchObject({ recovered: false, offset: size + 6, epoch });
    await send(1);
    await back.contents("chat:a", 1);
    expect(back.messages("chat:a").map(({ offset: at }) => at as number)).toEqual([size + 7]);
    expect(await node.metric("starling_recoveries_total")).toBe(1);
    expect(await node.metric("starling_recoveries_failed_total")).toBe(6);
  });
});

describe("a slow reader", () => {
  const filler = "x".repeat(60_000);

  async function slowReader() {
    const node = await startTestNode({
      ...fleetOptions(redis),
      ...chat({ slowReader: "repair" }),
      bytesPerSecond: 1_073_741_824,
      bytesBurst: 1_073_741_824,
      messagesBurst: 10_000,
    });
    const crowd = crowdOf([node], 4, ["chat:a"]);
    await crowd.ready();
    const [slow, sender] = [crowd.clients[0]!, crowd.clients[1]!];
    const neighbours = crowd.clients.slice(1);
    // Longer than the test: it is woken below.
    slow.pause(120_000);
    let published = 0;
    /** Each publication waits for the neighbours: that one client does not read must not hold them up. */
    const publish = async (): Promise<void> => {
      await crowd.publish(filler, sender);
      published++;
      await until("neighbours", () =>
        neighbours.every((one) => one.standsAt("chat:a")!.offset === published),
      );
    };
    for (let i = 0; i < 250 && (await node.metric("starling_slow_skips_total")) === 0; i++) await publish();
    expect(await node.metric("starling_slow_skips_total")).toBe(1);
    return { node, crowd, slow, publish };
  }

  it(
    "is repaired from history where the rules say so; its neighbours have everything meanwhile",
    async () => {
      const { node, crowd, slow, publish } = await slowReader();
      for (let i = 0; i < 8; i++) await publish();
      slow.wake();
      const verdict = await crowd.verdict();
      expect(crowd.evidence).toContainEqual(
        expect.objectContaining({ kind: "gap", client: slow.name, recovered: true }),
      );
      expectWhole(verdict);
      expect(await node.metric("starling_slow_closes_total")).toBe(0);
      expect(await node.metric("starling_connects_total")).toBe(4);
    },
    TIMEOUT_MS,
  );

  it(
    "that missed more than may wait for it has everything too, repaired or by coming back",
    async () => {
      const { node, crowd, slow, publish } = await slowReader();
      for (let i = 0; i < 60; i++) await publish();
      slow.wake();
      expectWhole(await crowd.verdict());
      expect(await node.metric("starling_gaps_total")).toBe(0);
    },
    TIMEOUT_MS,
  );
});

it(
  "a drop inside a batch of the native fan-out: the client is told the gap and has everything",
  { timeout: TIMEOUT_MS },
  async () => {
    const node = await startTestNode({
      ...fleetOptions(redis),
      // 54 MB in three tries: what history lets go is told as lost, and is not what this is about.
      ...chat({ slowReader: "repair", historyBytes: 2 ** 27 }),
      maxBufferedBytes: 65_536,
      busBatchBytes: 4_194_304,
      bytesPerSecond: 1_073_741_824,
      bytesBurst: 1_073_741_824,
      messagesBurst: 10_000,
    });
    const crowd = crowdOf([node], 3, ["chat:a"]);
    await crowd.ready();
    const [slow, sender] = [crowd.clients[0]!, crowd.clients[1]!];
    const filler = "x".repeat(60_000);
    const dropped = async (): Promise<boolean> => (await node.metric("starling_drop_reports_total")) > 0;
    // More in a batch than the socket may hold is dropped, unless the kernel takes all but the end of that batch
    // and the reader is skipped before the next: then it reads, and once more, within what history holds.
    for (let tries = 1; tries <= 3; tries++) {
      slow.pause(60_000);
      await Promise.all(Array.from({ length: 300 }, () => crowd.publish(filler, sender)));
      if (await dropped()) break;
      slow.wake();
      await new Promise((resolve) => setTimeout(resolve, 2_000));
    }
    expect(await dropped()).toBe(true);
    slow.wake();
    expectWhole(await crowd.verdict());
  },
);

it(
  "Redis is unreachable: publishing fails within 2 s, memory stays flat, then all heals",
  { timeout: TIMEOUT_MS },
  async () => {
    const outageMs = LONG ? 60_000 : 6_000;
    const limits = { messagesPerSecond: 100_000, messagesBurst: 100_000 };
    const bytes = { bytesPerSecond: 1_073_741_824, bytesBurst: 1_073_741_824 };
    const node = await spawnNode({ ...fleetOptions(redis), ...chatFlag(), ...limits, ...bytes });
    const crowd = crowdOf([node], 5);
    await crowd.ready();
    await crowd.during(() => until("traffic", () => crowd.received > 100));
    const sender = await node.client();
    const content = "x".repeat(1_000);
    const rssBytes = (): Promise<number> => node.metric("process_resident_memory_bytes");
    let refused = 0;
    let grownBytes = 0;
    await crowd.fault("redis away", true, async () => {
      await redis.kill();
      const answer = await sender.ask("send", { channel: "chat:a", content }, 2_000);
      expect(answer).toMatchObject({ type: "error", temporary: true });
      await until("away", async () => (await node.metric("starling_bridge_up")) === 0);
      const before = await rssBytes();
      const deadline = performance.now() + outageMs;
      // Until the outage is over, and as many were refused as would show in memory.
      while (performance.now() < deadline || refused <= 2_000) {
        const answers = await Promise.all(
          Array.from({ length: 200 }, () => sender.ask("send", { channel: "chat:a", content }, 2_000)),
        );
        refused += answers.filter(({ code }) => code === "unavailable").length;
        // Not so much that it is a load test.
        await delay(20);
      }
      grownBytes = (await rssBytes()) - before;
      await redis.restart();
      await isReady(node);
    });
    // They were refused, not queued: tens of megabytes would be there by now.
    expect(refused).toBeGreaterThan(2_000);
    expect(grownBytes).toBeLessThan(48 * 1024 * 1024);
    const verdict = await crowd.verdict();
    expect(verdict.details).toEqual([]);
    // The new Redis knows nothing: each subscriber was told so.
    expect(verdict.notRecovered).toBe(5 * CHANNELS.length);
    expect(await node.metric("starling_gaps_total")).toBe(CHANNELS.length);
  },
);

it(
  "Redis stops answering: the event loop does not notice, and all heals",
  { timeout: TIMEOUT_MS },
  async () => {
    const node = await spawnNode({ ...fleetOptions(redis), ...chatFlag() });
    const crowd = crowdOf([node], 10);
    await crowd.ready();
    await crowd.during(() => until("traffic", () => crowd.received > 100));
    const outageMs = LONG ? 10_000 : 4_000;
    /** The 99th percentile of some hundred answers, so that one stall of this machine does not decide. */
    const answerMs = async (): Promise<number> => {
      const answers: number[] = [];
      for (const endMs = performance.now() + outageMs; performance.now() < endMs; await delay(5)) {
        const askedMs = performance.now();
        await node.get("/healthz");
        answers.push(performance.now() - askedMs);
      }
      return answers.toSorted((a, b) => a - b)[Math.floor(answers.length * 0.99)]!;
    };
    // The same time with Redis tells what else this machine does.
    const controlMs = await crowd.during(answerMs);
    redis.pause();
    expect(await crowd.during(answerMs)).toBeLessThan(Math.max(50, controlMs * 3));
    redis.resume();
    await isReady(node);
    expectWhole(await crowd.verdict());
    expect(await node.metric("starling_gaps_total")).toBe(0);
  },
);
