import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";

import { peerByName } from "../../bench/peers/index.js";
import { STATE } from "../../bench/peers/servers/process.js";
import { protocolByName } from "../../bench/protocols/index.js";
import { PEER_NAMES, type PeerName, type ProtocolName, type RunningPeer } from "../../bench/types.js";
import { eventually } from "../support/eventually.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

/** Starling itself is the other tests' matter, and needs a built dist/; others have a test file of their own. */
const ELSEWHERE: readonly PeerName[] = ["starling", "centrifugo", "starling-pusher", "raw-pusher", "soketi"];
const names = PEER_NAMES.filter((name) => !ELSEWHERE.includes(name));
const peers = await Promise.all(names.map(async (name) => ({ name, peer: await peerByName(name) })));
const bridged = peers.filter(({ peer }) => peer.maxNodes > 1);
const alone = peers.filter(({ peer }) => peer.maxNodes === 1);

let redis: RedisServer;
const running = new Set<RunningPeer>();
const sockets = new Set<WebSocket>();

beforeAll(async () => {
  redis = await startRedis();
});
afterEach(async () => {
  for (const socket of sockets) socket.terminate();
  sockets.clear();
  await Promise.all(Array.from(running, (each) => each.stop()));
  running.clear();
});
afterAll(() => redis.stop());

async function start(name: PeerName, nodes: number, redisUrl?: string): Promise<RunningPeer> {
  const peer = await peerByName(name);
  const started = await peer.start({ nodes, features: {}, ...(redisUrl !== undefined && { redisUrl }) });
  running.add(started);
  return started;
}

/** A connection that speaks as the generator does: what it may send comes from the protocol, what it heard is kept. */
async function connect(url: string, protocolName: ProtocolName) {
  const protocol = protocolByName(protocolName);
  const socket = new WebSocket(url + protocol.path, { perMessageDeflate: false });
  sockets.add(socket);
  const frames: string[] = [];
  const count = { ready: 0, replies: 0, errors: 0 };
  socket.on("message", (data: Buffer) => {
    const text = data.toString();
    switch (protocol.classify(data)) {
      case "greeting":
        if (protocol.hello === undefined) count.ready++;
        else socket.send(protocol.hello.toString());
        return;
      case "ready":
        count.ready++;
        return;
      case "reply":
        count.replies++;
        return;
      case "error":
        count.errors++;
        return;
      case "ping":
        socket.send(protocol.pong!.toString());
        return;
      case "other":
        frames.push(text);
    }
  });
  await eventually(() => expect(count.ready).toBe(1));
  return {
    frames,
    count,
    socket,
    subscribe: async (channel: string): Promise<void> => {
      const replies = count.replies;
      socket.send(protocol.subscribe(channel).toString());
      await eventually(() => expect(count.replies).toBe(replies + 1));
    },
    publish: (channel: string, content: string, acknowledged = false) =>
      socket.send(protocol.publish(channel, content, acknowledged).toString()),
    heard: (content: string) =>
      eventually(() => expect(frames.filter((frame) => frame.includes(content))).toHaveLength(1)),
  };
}

describe.each(peers)("peer $name as one node", ({ name, peer }) => {
  test("delivers to the subscribers of the channel only, and acknowledges when asked to", async () => {
    const { nodes } = await start(name, 1);
    expect(nodes).toHaveLength(1);
    const url = nodes[0]!.url;
    const subscriber = await connect(url, peer.protocol);
    const other = await connect(url, peer.protocol);
    const publisher = await connect(url, peer.protocol);
    await subscriber.subscribe("news");
    await other.subscribe("sport");

    publisher.publish("news", "first of news");
    publisher.publish("news", "second of news", true);
    await subscriber.heard("second of news");
    await eventually(() => expect(publisher.count.replies).toBe(1));
    publisher.publish("sport", "last of sport");
    await other.heard("last of sport");

    expect(other.frames).toHaveLength(1);
    expect(subscriber.frames).toHaveLength(2);
    expect([subscriber, other, publisher].map(({ count }) => count.errors)).toEqual([0, 0, 0]);
  });

  test("names the process that serves, and ends it when stopped", async () => {
    const started = await start(name, 1);
    const { pid } = started.nodes[0]!;
    expect(pid).not.toBe(process.pid);
    expect(process.kill(pid, 0)).toBe(true);
    await started.stop();
    await started.stop();
    expect(() => process.kill(pid, 0)).toThrow("ESRCH");
  });
});

test("a peer writes a CPU profile of each node when it is stopped", async () => {
  const folder = await mkdtemp(join(tmpdir(), "starling-bench-profile-"));
  try {
    const peer = await peerByName("raw");
    const started = await peer.start({ nodes: 1, features: { profileFolder: folder } });
    await started.stop();
    const written = await readdir(folder);
    expect(written).toEqual([expect.stringMatching(/\.cpuprofile$/)]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

describe.each(bridged)("peer $name as two nodes", ({ name, peer }) => {
  test("a subscriber on one hears a publisher on the other once", async () => {
    const { nodes } = await start(name, 2, redis.url);
    const [first, second] = nodes as [{ url: string; pid: number }, { url: string; pid: number }];
    expect(first.pid).not.toBe(second.pid);
    const near = await connect(first.url, peer.protocol);
    const far = await connect(second.url, peer.protocol);
    const publisher = await connect(first.url, peer.protocol);
    await near.subscribe("news");
    await far.subscribe("news");

    publisher.publish("news", "hello-1", true);
    await Promise.all([near.heard("hello-1"), far.heard("hello-1")]);
    await eventually(() => expect(publisher.count.replies).toBe(1));
    // Behind it on every path: a second copy of the first would have come before.
    publisher.publish("news", "hello-2");
    await Promise.all([near.heard("hello-2"), far.heard("hello-2")]);
    expect([near.frames.length, far.frames.length]).toEqual([2, 2]);
  });

  test("refuses several nodes without a Redis", async () => {
    await expect(start(name, 2)).rejects.toThrow(/2 nodes without a Redis/);
  });
});

test("ws-state keeps in Redis who is connected and what each hears, and forgets who went", async () => {
  const state = new Redis(redis.url);
  try {
    // What servers of other tests could not take back before they were stopped.
    await state.flushall();
    const { nodes } = await start("ws-state", 1, redis.url);
    const channels = async (): Promise<string[]> => {
      const [key] = await state.keys(`${STATE}:*`);
      const held = key === undefined ? [] : await state.hvals(key);
      return held.flatMap((text) => (JSON.parse(text) as { channels: string[] }).channels);
    };
    const one = await connect(nodes[0]!.url, "starling-json");
    await one.subscribe("news");
    await eventually(async () => expect(await channels()).toEqual(["news"]));
    const other = await connect(nodes[0]!.url, "starling-json");
    await other.subscribe("sport");
    one.socket.close();
    await eventually(async () => expect(await channels()).toEqual(["sport"]));
  } finally {
    state.disconnect();
  }
});

test.each(alone)("peer $name refuses a second node", async ({ name }) => {
  await expect(start(name, 2, redis.url)).rejects.toThrow(`${name} cannot run as 2 nodes: 1 to 1`);
});

describe("frames of the peers that imitate Starling", () => {
  const imitators = peers.filter(({ peer }) => peer.protocol === "starling-json");

  test.each(imitators)("$name sends the bytes of PROTOCOL.md", async ({ name }) => {
    const { nodes } = await start(name, 1);
    const { frames, subscribe, publish, heard } = await connect(nodes[0]!.url, "starling-json");
    await subscribe("room");
    const contents = ["hi", 'quotes " and \\ and ,"id":7', "é 🐦", "x".repeat(70_000), "", "last"];
    for (const [at, content] of contents.entries()) publish("room", content, at % 2 === 1);
    await heard("last");
    const parsed = frames.map(
      (frame) => JSON.parse(frame) as { content: string; from: { connection: string } },
    );
    expect(parsed.map(({ content }) => content)).toEqual(contents);
    const sender = parsed[0]!.from.connection;
    expect(sender).toMatch(/^n-[0-9a-z]{6}\.[0-9a-z]{6}[0-9a-z]+$/);
    expect(frames).toEqual(
      contents.map((content) =>
        JSON.stringify({ type: "message", channel: "room", content, from: { connection: sender } }),
      ),
    );
  });

  test.each(imitators)("$name answers an unknown action with an error", async ({ name }) => {
    const { nodes } = await start(name, 1);
    const { socket, count } = await connect(nodes[0]!.url, "starling-json");
    socket.send('{"action":"dance","id":1}');
    await eventually(() => expect(count.errors).toBe(1));
  });
});
