/** The SDK against real nodes: what its unit tests script, a node does here. */

import { once } from "node:events";
import { createServer, request as askOver } from "node:http";
import type { AddressInfo } from "node:net";
import { SignJWT } from "jose";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import {
  connect,
  type Client,
  type ConnectOptions,
  type Message,
  type Removal,
  type StateChange,
  type StarlingError,
  type Urls,
} from "../../src/client/index.js";
import { msgpack } from "../../src/client/codec-msgpack.js";
import { defaultConfig, type Config } from "../../src/config.js";
import type { NamespaceRules } from "../../src/config/namespaces.js";
import { silentLog } from "../../src/core/log.js";
import { startNode, type StarlingNode } from "../../src/node.js";
import { eventually, until as named } from "../support/eventually.js";
import { Mute } from "../support/mute-websocket.js";
import { startRedis } from "../support/redis-server.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

let nodes = 0;

async function node(config: Partial<Config> = {}): Promise<StarlingNode> {
  const nodeId = `node${++nodes}`;
  const started = await startNode(
    { ...defaultConfig, port: 0, apiPort: 0, demo: false, nodeId, ...config },
    silentLog,
  );
  cleanups.push(() => started.stop());
  return started;
}

interface Watched {
  client: Client;
  changes: StateChange[];
  errors: StarlingError[];
}

function open(urls: Urls, options: ConnectOptions = {}): Watched {
  const client = connect(urls, { WebSocket, backoff: { baseMs: 50, capMs: 200 }, ...options });
  cleanups.push(() => client.close());
  const changes: StateChange[] = [];
  const errors: StarlingError[] = [];
  client.on("state", (change) => changes.push(change));
  client.on("error", (error) => errors.push(error));
  return { client, changes, errors };
}

const until = (condition: () => boolean): Promise<boolean> => named(condition.toString(), condition);

const key = "a-key-for-tests-of-at-least-32-bytes";

function jwt(claims: Record<string, unknown>, lifeSeconds = 60): Promise<string> {
  return new SignJWT(claims)
    .setProtectedHeader({ alg: "HS256" })
    .setExpirationTime(Math.floor(Date.now() / 1000) + lifeSeconds)
    .sign(new TextEncoder().encode(key));
}

describe("the SDK on one node", () => {
  it("exchanges messages, and bytes, between JSON and MessagePack", async () => {
    const { wsUrl } = await node();
    const [texts, packs] = [open(wsUrl), open(wsUrl, { codec: msgpack })];
    const heard = new Map<Client, Message[]>();
    for (const { client } of [texts, packs]) {
      const messages: Message[] = [];
      heard.set(client, messages);
      await client.subscribe("room", (message) => messages.push(message)).ready;
    }
    const content = { text: "é \u{1f426}", n: [1, 2.5, null, true], deep: { a: {} } };
    const bytes = new Uint8Array([0, 128, 255]);
    await texts.client.publish("room", content, { event: "said", tags: { lang: "en" } });
    await packs.client.publish("room", content, { event: "said", tags: { lang: "en" } });
    await texts.client.publish("room", bytes);
    await packs.client.publish("room", bytes);
    for (const { client } of [texts, packs]) {
      await until(() => heard.get(client)!.length === 4);
      expect(heard.get(client)!.map((message) => message.content)).toEqual([content, content, bytes, bytes]);
      expect(heard.get(client)![0]).toMatchObject({
        event: "said",
        tags: { lang: "en" },
        from: { connection: texts.client.connection!.connection },
      });
    }
    expect([...texts.errors, ...packs.errors]).toEqual([]);
  });

  it("does not hear its own message where it asked not to", async () => {
    const { wsUrl } = await node();
    const { client } = open(wsUrl);
    const heard: unknown[] = [];
    await client.subscribe("room", ({ content }) => heard.push(content)).ready;
    await client.publish("room", "unheard", { echo: false });
    await client.publish("room", "heard");
    await until(() => heard.length > 0);
    expect(heard).toEqual(["heard"]);
  });

  it("sends what was queued before it was connected, in order, and hears it", async () => {
    const { wsUrl } = await node();
    const { client } = open(wsUrl);
    const heard: unknown[] = [];
    client.subscribe("room", ({ content }) => heard.push(content));
    await Promise.all(Array.from({ length: 50 }, (_, n) => client.publish("room", n)));
    await until(() => heard.length === 50);
    expect(heard).toEqual(Array.from({ length: 50 }, (_, n) => n));
  });

  it("measures a round trip and gets the server's refusals", async () => {
    const { wsUrl } = await node({ maxChannelsPerConnection: 1 });
    const { client } = open(wsUrl);
    await client.subscribe("one", () => undefined).ready;
    expect(await client.ping()).toBeGreaterThan(0);
    await expect(client.subscribe("two", () => undefined).ready).rejects.toMatchObject({
      code: "channel_limit",
      temporary: false,
    });
    await expect(client.subscribe("a b", () => undefined).ready).rejects.toMatchObject({
      code: "bad_channel",
    });
    await expect(client.publish("#user:1", 1)).rejects.toMatchObject({ code: "forbidden" });
    await expect(client.publish("room", "x".repeat(70_000))).rejects.toMatchObject({ code: "too_large" });
    expect(client.state).toBe("connected");
  });

  it("stays connected where the node sends nothing but pings, by asking for an answer", async () => {
    const { wsUrl } = await node({ heartbeatIntervalMs: 500, heartbeatTimeoutMs: 500 });
    let sent = 0;
    class Counting extends WebSocket {
      override send(data: string): void {
        sent++;
        super.send(data);
      }
    }
    const { client, changes } = open(wsUrl, { WebSocket: Counting });
    // The third is only sent where the second was answered.
    await until(() => sent === 3);
    expect(changes.map(({ state }) => state)).toEqual(["connected"]);
    expect(client.state).toBe("connected");
  });

  it("makes its subscriptions again on a node that has forgotten everything", async () => {
    const first = await node();
    const port = Number(new URL(first.wsUrl).port);
    const { client, changes } = open(first.wsUrl);
    const heard: unknown[] = [];
    await client.subscribe("room", ({ content }) => heard.push(content)).ready;
    await first.stop();
    await until(() => client.state === "waiting");
    const queued = client.publish("room", "while away");
    await node({ port });
    await queued;
    await until(() => heard.length === 1);
    expect(heard).toEqual(["while away"]);
    expect(changes.findLast(({ state }) => state === "connected")).toMatchObject({ resumed: false });
  });
});

describe("the SDK with tokens", () => {
  it("authenticates, and is told what its token does not cover", async () => {
    const { wsUrl } = await node({ jwtSecret: key });
    const token = await jwt({ sub: "42", channels: ["room"], publish: ["room"] });
    const { client } = open(wsUrl, { token });
    const removals: Removal[] = [];
    client.on("unsubscribed", (removal) => removals.push(removal));
    await client.subscribe("room", () => undefined).ready;
    expect(client.connection).toMatchObject({ user: "42", resumed: false });
    await expect(client.subscribe("secret", () => undefined).ready).rejects.toMatchObject({
      code: "forbidden",
    });
    expect(removals).toMatchObject([{ channel: "secret", code: "forbidden" }]);
    await expect(client.publish("secret", 1)).rejects.toMatchObject({ code: "forbidden" });
  });

  it("takes a token from the URL too", async () => {
    const { wsUrl } = await node({ jwtSecret: key });
    const { client } = open(`${wsUrl}/?token=${await jwt({ sub: "42", channels: ["room"] })}`);
    await client.subscribe("room", () => undefined).ready;
    expect(client.connection).toMatchObject({ user: "42" });
  });

  it("closes for good without a token, and with one that is refused", async () => {
    const { wsUrl } = await node({ jwtSecret: key });
    for (const token of [undefined, "not a token"]) {
      const { client } = open(wsUrl, token === undefined ? {} : { token });
      await until(() => client.state === "closed");
    }
  });

  it("stays connected beyond its token's life by refreshing it", async () => {
    const { wsUrl } = await node({ jwtSecret: key });
    const expiries: number[] = [];
    const token = () => {
      expiries.push(Date.now() + 6_000);
      return jwt({ sub: "42", channels: ["room"] }, 6);
    };
    const { client, changes, errors } = open(wsUrl, { token });
    await client.subscribe("room", () => undefined).ready;
    await until(() => Date.now() > expiries[0]! + 1_500);
    expect(expiries).toHaveLength(2);
    expect(changes.map(({ state }) => state)).toEqual(["connected"]);
    expect(errors).toEqual([]);
  });

  it("comes back with a fresh token when the old one ran out", async () => {
    const { wsUrl } = await node({ jwtSecret: key, jwtClockToleranceMs: 0 });
    const token = () => jwt({ sub: "42", channels: ["room"] }, 2);
    const { client, changes } = open(wsUrl, { token });
    const { ready } = client.subscribe("room", () => undefined);
    await ready;
    await until(() => changes.some((change) => change.state === "waiting" && change.reason.code === 4002));
    await until(() => client.state === "connected");
    expect(changes.at(-1)).toMatchObject({ state: "connected", resumed: true, user: "42" });
  });
});

describe("the SDK on two nodes", () => {
  it("resumes on the other node when its connection is cut, its subscriptions restored", async () => {
    const redis = await startRedis();
    cleanups.push(() => redis.stop());
    const [first, second] = [await node({ redis: redis.url }), await node({ redis: redis.url })];
    const proxy = await startTcpProxy(Number(new URL(first.wsUrl).port));
    let proxyOpen = true;
    cleanups.push(() => proxyOpen && proxy.close());

    const roaming = open([`ws://127.0.0.1:${proxy.port}`, second.wsUrl]);
    const other = open(second.wsUrl, { codec: msgpack });
    const heard: unknown[] = [];
    await roaming.client.subscribe("room", ({ content }) => heard.push(content)).ready;
    await until(() => other.client.state === "connected");
    await other.client.publish("room", "before");
    await until(() => heard.length === 1);
    const { session } = roaming.client.connection!;
    expect(roaming.client.connection!.node).toBe(first.id);
    // What a session holds is in Redis some 20 ms after it changed: only then another node can give it back.
    const look = redis.client();
    await expect
      .poll(async () => {
        const [key] = await look.keys(`*session:*${session}`);
        return key === undefined ? null : await look.get(key);
      })
      .toContain('"room"');

    await proxy.close();
    proxyOpen = false;
    await until(() => roaming.client.connection?.node === second.id);
    expect(roaming.client.connection).toMatchObject({ session, resumed: true });
    await other.client.publish("room", "after");
    await until(() => heard.length === 2);
    expect(heard).toEqual(["before", "after"]);
    expect(roaming.errors).toEqual([]);
  });

  it("leaves a connection on which nothing arrives any more, and resumes on the other node", async () => {
    const redis = await startRedis();
    cleanups.push(() => redis.stop());
    const heartbeat = { heartbeatIntervalMs: 500, heartbeatTimeoutMs: 500 };
    const first = await node({ redis: redis.url, ...heartbeat });
    const second = await node({ redis: redis.url, ...heartbeat });
    const proxy = await startTcpProxy(Number(new URL(first.wsUrl).port));
    cleanups.push(() => proxy.close());
    const { client, changes } = open([`ws://127.0.0.1:${proxy.port}`, second.wsUrl]);
    await client.subscribe("room", () => undefined).ready;
    proxy.blackhole();
    const lost = client.publish("room", "into the hole").catch((error: StarlingError) => error);
    await until(() => client.connection?.node === second.id);
    expect(await lost).toMatchObject({ code: "outcome_unknown", sent: true });
    expect(changes.find(({ state }) => state === "waiting")).toMatchObject({
      reason: { message: "no data was received for 1500 ms" },
    });
    expect(client.connection).toMatchObject({ resumed: true });
  });

  it("gets a session of its own where a copy of it took the session, and misses nothing", async () => {
    const redis = await startRedis();
    cleanups.push(() => redis.stop());
    const history = { size: 100, ttlMs: 60_000 };
    const rules: NamespaceRules = {
      ...{ history, recovery: true, presence: false, joinLeave: false },
      ...{ publish: "anyone", replayLast: false, slowReader: "disconnect" },
    };
    const here = await node({ redis: redis.url, namespaces: { chat: rules } });
    // As a duplicated tab has it: what the server said to the first one.
    let resume = "";
    class Copied extends WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols);
        this.once("message", (data: Buffer) => {
          resume ||= (JSON.parse(data.toString()) as { resume: string }).resume;
        });
      }
    }
    const { client, changes, errors } = open(here.wsUrl, { WebSocket: Copied });
    const heard: unknown[] = [];
    const gaps: unknown[] = [];
    client.on("gap", (gap) => gaps.push(gap));
    await client.subscribe("chat:1", ({ content }) => heard.push(content)).ready;
    const writer = open(here.wsUrl).client;
    await writer.publish("chat:1", 0);
    // It is in Redis: a session without subscriptions is not kept.
    await eventually(async () => expect(await redis.client().keys("*session:*")).toHaveLength(1));
    const copy = new WebSocket(here.wsUrl);
    cleanups.push(() => copy.terminate());
    const replies: { resumed?: boolean }[] = [];
    copy.on("message", (data: Buffer) => {
      const frame = JSON.parse(data.toString()) as { type: string; resumed?: boolean };
      if (frame.type === "welcome") copy.send(JSON.stringify({ action: "connect", id: 1, resume }));
      if (frame.type === "reply") replies.push(frame);
    });
    // Not a look at the state: the wait may be over before the look.
    await until(() => changes.some(({ state }) => state === "waiting"));
    await writer.publish("chat:1", 1);
    await until(() => client.state === "connected");
    await writer.publish("chat:1", 2);
    await until(() => heard.length === 3);
    expect(heard).toEqual([0, 1, 2]);
    expect(replies).toMatchObject([{ resumed: true }]);
    expect(copy.readyState).toBe(WebSocket.OPEN);
    expect(changes.find(({ state }) => state === "waiting")).toMatchObject({ reason: { code: 4006 } });
    expect(client.connection).toMatchObject({ resumed: false });
    expect([errors, gaps]).toEqual([[], []]);
  });

  it("goes over to the other node while its own drains", async () => {
    const redis = await startRedis();
    cleanups.push(() => redis.stop());
    const [first, second] = [
      await node({ redis: redis.url, drainMs: 100 }),
      await node({ redis: redis.url }),
    ];
    const { client, changes } = open([first.wsUrl, second.wsUrl]);
    await client.subscribe("room", () => undefined).ready;
    await first.drain();
    await until(() => client.connection?.node === second.id);
    expect(changes.find(({ state }) => state === "waiting")).toMatchObject({ reason: { code: 1012 } });
    expect(client.connection).toMatchObject({ resumed: true });
  });
});

it("a proxy that passes no Upgrade on is told as such", async () => {
  const { wsUrl } = await node();
  const target = new URL(wsUrl);
  const proxy = createServer(({ url, method, headers }, response) => {
    const { upgrade: _, ...passed } = headers;
    const { hostname, port } = target;
    const options = { hostname, port, path: url, method, headers: { ...passed, connection: "close" } };
    const asked = askOver(options, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    asked.end();
  });
  await once(proxy.listen(0, "127.0.0.1"), "listening");
  cleanups.push(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  const { errors } = open(`ws://127.0.0.1:${(proxy.address() as AddressInfo).port}`, { WebSocket: Mute });
  await until(() => errors.length === 1);
  expect(errors[0]).toMatchObject({ code: "connect_failed", status: 426 });
  expect(errors[0]!.message).toContain(
    ": HTTP 426: WebSockets are served here (the URL is right: does each proxy pass Upgrade and Connection on?)",
  );
});
