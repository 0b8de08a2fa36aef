/** Faults of the life cycle, as docs/faults.md lists them: what clients saw, and what the metrics said. */

import { setTimeout as delay } from "node:timers/promises";
import { pack } from "msgpackr";
import { afterEach, beforeEach, expect, it } from "vitest";
import { defaultConfig } from "../../src/config.js";
import { cleanUp, fleetOptions, spawnNode, startFleet, startTestNode, until } from "../support/nodes.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { startTcpProxy } from "../support/tcp-proxy.js";
import { RawClient } from "../support/raw-client.js";
import { chat, chatFlag, Crowd } from "./crowd.js";

const LONG = process.env["LONG_FAULTS"] === "1";
const TIMEOUT_MS = LONG ? 180_000 : 60_000;
const CHANNELS = ["chat:a", "chat:b", "chat:c"];

let redis: RedisServer;
beforeEach(async () => {
  redis = await startRedis();
});
afterEach(async () => {
  await cleanUp();
  await redis.stop();
});

it(
  "SIGTERM under load: sent away in stages, and nobody misses anything",
  { timeout: TIMEOUT_MS },
  async () => {
    const fleet = fleetOptions(redis);
    const leaving = await spawnNode({ ...fleet, ...chatFlag(), drainMs: 5_000 });
    const other = await startTestNode({ ...fleet, ...chat() });
    const crowd = new Crowd({ urls: [leaving.wsUrl, other.wsUrl], clients: 20, channels: CHANNELS });
    await crowd.ready();
    const sentAway = await leaving.metric("starling_connections");
    expect(sentAway).toBeGreaterThan(0);
    const arrivals: number[] = [];
    await crowd.during(async () => {
      await until("traffic", () => crowd.received > 300);
      leaving.signal("SIGTERM");
      let had = 20 - sentAway;
      await until("everyone elsewhere", async () => {
        const now = await other.metric("starling_connections");
        if (now > had) arrivals.push(now - had);
        had = now;
        return now === 20;
      });
      expect(await leaving.ended).toEqual({ code: 0, signal: null });
    });
    // Not in one rush: they came in several looks, each a few milliseconds after the one before.
    expect(arrivals.length).toBeGreaterThan(2);
    const verdict = await crowd.verdict();
    expect(verdict.details).toEqual([]);
    expect(verdict).toMatchObject({ ok: true, notRecovered: 0 });
    expect(await other.metric("starling_sessions_resumed_total")).toBe(sentAway);
    expect(await other.metric("starling_recoveries_failed_total")).toBe(0);
  },
);

it(
  "a client that vanishes without FIN is closed by its heartbeat, and nothing of it stays",
  async () => {
    const { heartbeatIntervalMs, heartbeatTimeoutMs } = defaultConfig;
    expect(heartbeatIntervalMs + heartbeatTimeoutMs).toBeLessThanOrEqual(40_000);
    const times = LONG ? {} : { heartbeatIntervalMs: 300, heartbeatTimeoutMs: 200 };
    const nodes = await startFleet(1, redis, { ...chat(), ...times });
    const node = nodes[0]!;
    const proxy = await startTcpProxy(Number(new URL(node.wsUrl).port));
    try {
      const client = await RawClient.welcomed(`ws://127.0.0.1:${proxy.port}`);
      await client.do("subscribe", { channel: "chat:a" });
      expect(await node.metric("starling_subscriptions")).toBe(1);
      proxy.blackhole();
      await until(
        "closed",
        async () => (await node.metric("starling_connections")) === 0,
        LONG ? 42_000 : undefined,
      );
      const metrics = await node.metrics();
      expect(metrics.get("starling_heartbeat_timeouts_total")).toBe(1);
      expect(metrics.get('starling_disconnects_total{protocol="starling",reason="heartbeat_timeout"}')).toBe(
        1,
      );
      expect(metrics.get("starling_subscriptions")).toBe(0);
      expect(metrics.get("starling_channels")).toBe(0);
      const hash = `${nodes.prefix}connections:${node.id}`;
      await until("gone from Redis", async () => (await redis.client().exists(hash)) === 0);
      // It was never told: the first that it hears is a reset.
      expect(client.closedWith).toBeUndefined();
    } finally {
      await proxy.close();
    }
  },
  TIMEOUT_MS,
);

it(
  "clients that leave while a subscribe or a resume waits for Redis leave nothing behind",
  async () => {
    const node = await startTestNode({ ...fleetOptions(redis), ...chat({ presence: true }) });
    const [stays, ...leavers] = await Promise.all(Array.from({ length: 9 }, () => node.client()));
    const gone = await node.client();
    await gone.do("subscribe", { channel: "chat:z" });
    gone.terminate();
    await until("gone", async () => (await node.metric("starling_connections")) === 9);
    redis.pause();
    for (const [index, client] of leavers.entries()) {
      if (index % 4 === 3)
        client.send({ action: "connect", id: 1, resume: gone.welcome["resume"] as string });
      else client.send({ action: "subscribe", id: 1, channel: `chat:${index}` });
      client.send({ action: "subscribe", id: 2, channel: "chat:all", since: { offset: 0, epoch: "x" } });
    }
    // The node has read them when it answers what was sent after them, and not them.
    for (const client of leavers) client.send({ action: "nonsense", id: 3 });
    await stays!.do("ping");
    for (const [index, client] of leavers.entries()) {
      if (index % 2 === 0) client.terminate();
      else client.close(1000);
    }
    await until("left", async () => (await node.metric("starling_connections")) === 1);
    redis.resume();
    await until("ready", async () => (await node.reasons()).length === 0);
    await stays!.do("subscribe", { channel: "chat:all" });
    await until("only its own", async () => (await node.metric("starling_channels")) === 1);
    const metrics = await node.metrics();
    expect(metrics.get("starling_subscriptions")).toBe(1);
    expect(metrics.get("starling_session_faults_total")).toBe(0);
    expect(stays!.closedWith).toBeUndefined();
  },
  TIMEOUT_MS,
);

it(
  "an event loop that stalls for longer than a heartbeat closes nobody",
  async () => {
    const times = LONG
      ? { heartbeatIntervalMs: 5_000, heartbeatTimeoutMs: 2_000, leaseTtlMs: 30_000 }
      : { heartbeatIntervalMs: 2_000, heartbeatTimeoutMs: 1_500, leaseTtlMs: 30_000 };
    const fleet = { ...fleetOptions(redis), ...times };
    const stalled = await spawnNode({ ...fleet, ...chatFlag() });
    const other = await startTestNode({ ...fleet, ...chat() });
    const crowd = new Crowd({ urls: [stalled.wsUrl], clients: 20, channels: CHANNELS });
    const sender = new Crowd({ urls: [other.wsUrl], clients: 1, channels: CHANNELS });
    await Promise.all([crowd.ready(), sender.ready()]);
    const pings = await stalled.client();
    let count = 0;
    pings.onPing(() => count++);
    await until("a heartbeat", () => count > 0);
    stalled.signal("SIGSTOP");
    const stallMs = LONG ? 15_000 : 5_000;
    await sender.during(() => delay(stallMs));
    stalled.signal("SIGCONT");
    const after = count;
    await until("two more heartbeats", () => count >= after + 2, 20_000);
    expect(await stalled.metric("starling_heartbeat_timeouts_total")).toBe(0);
    expect(await stalled.metric("starling_connects_total")).toBe(21);
    expect(await stalled.metric("starling_connections")).toBe(21);
    const senders = await sender.verdict();
    expect(senders.details).toEqual([]);
    crowd.evidence.push(...sender.evidence.filter(({ kind }) => kind === "publication"));
    const verdict = await crowd.verdict();
    expect(verdict.details).toEqual([]);
    expect(verdict).toMatchObject({ ok: true, notRecovered: 0 });
  },
  TIMEOUT_MS,
);

it(
  "what cannot be read on the bus is counted and skipped, and costs nobody a message",
  async () => {
    const nodes = await startFleet(2, redis, chat());
    const crowd = new Crowd({ urls: nodes.map(({ wsUrl }) => wsUrl), clients: 6, channels: CHANNELS });
    await crowd.ready();
    const writer = redis.client();
    const junk = [
      Buffer.from("hello"),
      Buffer.alloc(0),
      // An array of 4 billion, a version that nobody knows, one that is cut off, one that is huge.
      Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff]),
      pack([99, "x", 1, []]),
      pack([2, "x", 1, ["main/chat:a", 0, Buffer.from('"a"')]]).subarray(0, -3),
      Buffer.alloc(2 * 1024 * 1024, 0x91),
    ];
    let written = 0;
    await crowd.during(async () => {
      await until("traffic", () => crowd.received > 100);
      for (const bytes of junk) {
        await writer.publish(`${nodes.prefix}bus:0`, bytes);
        written++;
      }
      const had = crowd.received;
      await until("more traffic", () => crowd.received > had + 100);
    });
    const verdict = await crowd.verdict();
    expect(verdict.details).toEqual([]);
    expect(verdict).toMatchObject({ ok: true, notRecovered: 0 });
    for (const node of nodes) {
      expect(await node.metric("starling_envelopes_skipped_total")).toBe(written);
      expect(await node.metric("starling_gaps_total")).toBe(0);
      expect(await node.metric("starling_bridge_reconnects_total")).toBe(0);
    }
  },
  TIMEOUT_MS,
);
