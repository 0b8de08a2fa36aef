import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { cleanUp, spawnNode, startFleet, startTestNode, until } from "../support/nodes.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(cleanUp);

const FAST = { heartbeatIntervalMs: 500, heartbeatTimeoutMs: 400 };

describe("a heartbeat", () => {
  it("ends a client that sends a frame byte by byte: it can answer no ping before the frame is whole", async () => {
    const node = await startTestNode(FAST);
    const { port } = new URL(node.wsUrl);
    const socket = connect(Number(port), "127.0.0.1");
    socket.on("error", () => undefined); // "close" follows
    const head = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Host: test"];
    socket.write(
      `GET / HTTP/1.1\r\n${head.join("\r\n")}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
    );
    await once(socket, "data");
    // A text frame of 64,000 bytes, masked with zeros.
    socket.write(Buffer.from([0x81, 0xfe, 0xfa, 0x00, 0, 0, 0, 0]));
    const drip = setInterval(() => socket.write("x"), 20);
    socket.resume();
    await once(socket, "close").finally(() => clearInterval(drip));
    expect(await node.metric("starling_heartbeat_timeouts_total")).toBe(1);
    expect(await node.metric("starling_connections")).toBe(0);
  });

  it("that is not answered closes with 4000, is counted apart, and the connection is gone from Redis", async () => {
    const nodes = await startFleet(1, redis, FAST);
    const node = nodes[0]!;
    const [dead, alive] = [await node.client({ autoPong: false }), await node.client()];
    const hash = `${nodes.prefix}connections:${node.id}`;
    const look = redis.client();
    await until("both in Redis", async () => (await look.hlen(hash)) === 2);
    expect(await dead.closed()).toEqual({ code: 4000, reason: "heartbeat_timeout" });
    expect(dead.frames.at(-1)).toMatchObject({ type: "closing", code: 4000, reconnect: true });
    await until(
      "gone from Redis",
      async () => (await look.hexists(hash, dead.welcome["connection"] as string)) === 0,
    );
    expect(await look.hkeys(hash)).toEqual([alive.welcome["connection"]]);
    const metrics = await node.metrics();
    expect(metrics.get("starling_heartbeat_timeouts_total")).toBe(1);
    expect(metrics.get('starling_disconnects_total{protocol="starling",reason="heartbeat_timeout"}')).toBe(1);
    expect(metrics.get("starling_connections")).toBe(1);
    await alive.do("ping");
  });

  it("that is answered keeps a silent client for many intervals", async () => {
    const node = await startTestNode(FAST);
    const client = await node.client();
    let pings = 0;
    client.onPing(() => pings++);
    await until("six pings", () => pings >= 6);
    expect(client.closedWith).toBeUndefined();
    await client.do("ping");
    expect(await node.metric("starling_heartbeat_timeouts_total")).toBe(0);
  });

  it("is answered by any frame, also where the client's library sends no pong", async () => {
    const node = await startTestNode(FAST);
    const client = await node.client({ autoPong: false });
    let pings = 0;
    client.onPing(() => {
      pings++;
      client.send({ action: "ping" });
    });
    await until("six pings", () => pings >= 6);
    expect(client.closedWith).toBeUndefined();
  });

  it("of clients that leave by themselves is not counted", async () => {
    const node = await startTestNode(FAST);
    const [closing, cut] = [await node.client(), await node.client()];
    closing.close(1000);
    cut.terminate();
    await until("both gone", async () => (await node.metric("starling_connections")) === 0);
    const metrics = await node.metrics();
    expect(metrics.get("starling_heartbeat_timeouts_total")).toBe(0);
    expect(metrics.get('starling_disconnects_total{protocol="starling",reason="client"}')).toBe(1);
    expect(metrics.get('starling_disconnects_total{protocol="starling",reason="lost"}')).toBe(1);
  });

  it("behind a backlog does not close a client that still reads", async () => {
    // Longer than it takes this process on a busy machine to read what the kernel holds, which no node knows of.
    const [heartbeatIntervalMs, heartbeatTimeoutMs, messages] = [13_000, 12_000, 1100];
    const readPerSecond = 22;
    // In a process of its own: how slowly this one reads must not slow it down.
    const node = await spawnNode({
      heartbeatIntervalMs,
      heartbeatTimeoutMs,
      maxBufferedBytes: 256 * 1024 * 1024,
      bytesBurst: 1024 * 1024 * 1024,
    });
    const [reader, sender] = [await node.client(), await node.client()];
    await reader.do("subscribe", { channel: "a" });
    const content = "x".repeat(60_000);
    // Far more than the kernel takes for a socket: the rest waits in the node, and pings behind it.
    for (let i = 0; i < messages; i++) sender.send({ action: "send", channel: "a", content });
    // A ping has fallen due by then, and the time for its answer is over.
    const slowSince = performance.now();
    const slowUntil = slowSince + heartbeatIntervalMs + heartbeatTimeoutMs + 1000;
    while (performance.now() < slowUntil) {
      reader.pause();
      // How slowly it reads: this is the fault, not a wait for something.
      await new Promise((resolve) => setTimeout(resolve, 1000));
      reader.resume();
      // Enough that the kernel takes more from the node, however late this process has its turn.
      await reader.contents("a", Math.floor(((performance.now() - slowSince) / 1000) * readPerSecond));
    }
    // The kernel holds some 10 MB of what is left, the node the rest.
    expect(reader.messages("a").length).toBeLessThan(messages - 200);
    // What the kernel holds by itself would be read too late, and nobody here could know.
    await reader.contents("a", messages, 20_000);
    expect(reader.closedWith).toBeUndefined();
    // On a busy machine this process may answer too late for the sender, which has no backlog.
    const timeouts = await node.metric("starling_heartbeat_timeouts_total");
    expect(timeouts).toBe(sender.closedWith === undefined ? 0 : 1);
    await reader.do("ping");
  }, 120_000);
});
