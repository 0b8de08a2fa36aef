/** What /metrics tells of apps that Pusher's clients and back ends use, after what they did. */

import { once } from "node:events";
import Pusher from "pusher";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { configSchema, defaultConfig, type Config } from "../../src/config.js";
import { sign } from "../../src/protocols/pusher/signature.js";
import { cleanUp, startFleet, startTestNode, until, type InProcessNode } from "../support/nodes.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(async () => {
  for (const { socket } of clients.splice(0)) socket.terminate();
  await cleanUp();
});

const PAIR = { key: "key-of-shop", secret: "secret-of-shop-in-tests" };
const OPTIONS: Partial<Config> = {
  apps: configSchema.parse({
    ...defaultConfig,
    apps: [
      {
        id: "shop",
        keys: [PAIR],
        maxConnections: 3,
        pusher: { clientEvents: true, clientEventsPerSecond: 2 },
      },
      { id: "closed", keys: [{ key: "key-of-closed", secret: "secret-of-closed-in-tests" }], enabled: false },
      {
        id: "own",
        keys: [{ key: "key-of-own", secret: "secret-of-own-in-tests" }],
        origins: ["https://own.example"],
      },
    ],
  }).apps,
};

interface PusherFrame {
  readonly event: string;
  readonly channel?: string;
  readonly data: unknown;
}

const clients: PusherClient[] = [];

/** A WebSocket that sends what it is told. */
class PusherClient {
  readonly socket: WebSocket;
  readonly #frames: PusherFrame[] = [];
  socketId = "";

  constructor(node: InProcessNode, key: string, headers: Record<string, string> = {}) {
    this.socket = new WebSocket(`${node.wsUrl}/app/${key}?protocol=7`, { headers });
    this.socket.on("message", (bytes: Buffer) => {
      this.#frames.push(JSON.parse(bytes.toString()) as PusherFrame);
    });
    clients.push(this);
  }

  static async connected(node: InProcessNode): Promise<PusherClient> {
    const client = new PusherClient(node, PAIR.key);
    const { data } = await client.next("pusher:connection_established");
    client.socketId = (JSON.parse(data as string) as { socket_id: string }).socket_id;
    return client;
  }

  send(event: string, data: unknown, channel?: string): void {
    this.socket.send(JSON.stringify({ event, channel, data }));
  }

  async next(event: string): Promise<PusherFrame> {
    let at = -1;
    await until(event, () => (at = this.#frames.findIndex((frame) => frame.event === event)) !== -1);
    return this.#frames.splice(at, 1)[0]!;
  }

  async join(channel: string, user?: string): Promise<void> {
    const channel_data = user === undefined ? undefined : JSON.stringify({ user_id: user });
    const signed = [this.socketId, channel, ...(channel_data === undefined ? [] : [channel_data])].join(":");
    const auth = channel.startsWith("p") ? `${PAIR.key}:${sign(PAIR.secret, signed)}` : undefined;
    this.send("pusher:subscribe", { channel, auth, channel_data });
    await this.next("pusher_internal:subscription_succeeded");
  }

  async refused(channel: string, auth?: string): Promise<void> {
    this.send("pusher:subscribe", { channel, auth });
    await this.next("pusher:subscription_error");
  }
}

async function refusedUpgrade(node: InProcessNode, key: string, headers = {}): Promise<void> {
  const { socket } = new PusherClient(node, key, headers);
  socket.on("error", () => undefined);
  await once(socket, "close");
}

function sdk(node: InProcessNode, port: "wsUrl" | "apiUrl", secret = PAIR.secret): Pusher {
  const { hostname, port: number } = new URL(node[port]);
  return new Pusher({ appId: "shop", key: PAIR.key, secret, host: hostname, port: number, useTLS: false });
}

const nodes = {
  "in memory": () => startTestNode(OPTIONS),
  "over Redis": async () => (await startFleet(1, redis, OPTIONS))[0]!,
};

describe.each(Object.entries(nodes))("%s", (_, start) => {
  it("/metrics tells what Pusher's clients did, by protocol and app", async () => {
    const node = await start();
    const native = await node.client();
    await native.do("subscribe", { channel: "room" });
    const [one, two] = [await PusherClient.connected(node), await PusherClient.connected(node)];
    for (const client of [one, two]) {
      await client.join("news");
      await client.join("private-room");
      await client.join("presence-room", client === one ? "1" : "2");
    }
    await two.join("private-room");
    await one.refused("private-other");
    await one.refused("private-other", `${PAIR.key}:${sign("wrong", `${one.socketId}:private-other`)}`);
    one.send("client-typing", { a: 1 }, "private-room");
    await two.next("client-typing");
    await sdk(node, "apiUrl").trigger("news", "said", {});
    for (const client of [one, two]) await client.next("said");
    // Not on a public channel, not without having joined, and not a third in a second.
    one.send("client-typing", {}, "news");
    one.send("client-typing", {}, "private-other");
    one.send("client-typing", {}, "private-room");
    await two.next("client-typing");
    for (let i = 0; i < 50; i++) one.send("client-typing", {}, "private-room");
    for (let i = 0; i < 3; i++) await one.next("pusher:error");
    const third = await PusherClient.connected(node);
    third.send("pusher:signin", { auth: `${PAIR.key}:wrong`, user_data: '{"id":"3"}' });
    await once(third.socket, "close");
    await until("gone", async () => (await node.metric('starling_app_connections{app="shop"}')) === 2);

    const metrics = await node.metrics();
    const expected: Record<string, number> = {
      starling_connections: 3,
      starling_subscriptions: 7,
      starling_presence_joins_total: 2,
      'starling_protocol_connections{protocol="pusher",codec="json"}': 2,
      'starling_protocol_connections{protocol="starling",codec="json"}': 1,
      'starling_protocol_connections{protocol="starling",codec="msgpack"}': 0,
      'starling_protocol_subscriptions{protocol="pusher",codec="json"}': 6,
      'starling_protocol_subscriptions{protocol="starling",codec="json"}': 1,
      'starling_disconnects_total{protocol="pusher",reason="token_invalid"}': 1,
      'starling_app_connections{app="shop"}': 2,
      'starling_app_connections{app="main"}': 1,
      'starling_app_subscriptions{app="shop"}': 6,
      'starling_app_subscriptions{app="main"}': 1,
      'starling_app_publications_total{app="shop",source="api"}': 1,
      // Subscriptions, one of them twice, and a request; missing, wrong, and of a sign-in.
      'starling_app_signatures_total{app="shop",result="valid"}': 5 + 1,
      'starling_app_signatures_total{app="shop",result="refused"}': 3,
      'starling_app_signatures_total{app="main",result="valid"}': 0,
      'starling_app_refusals_total{app="shop",reason="client_event"}': 2,
      'starling_app_refusals_total{app="shop",reason="app_full"}': 0,
    };
    const shown = Object.fromEntries(Object.keys(expected).map((series) => [series, metrics.get(series)]));
    expect(shown).toEqual(expected);
    // How many of the fifty were let through is a matter of time.
    const events = metrics.get('starling_app_publications_total{app="shop",source="client"}')!;
    const late = metrics.get('starling_app_refusals_total{app="shop",reason="client_event_rate"}')!;
    expect(events).toBeGreaterThanOrEqual(2);
    expect(late).toBeGreaterThanOrEqual(1);
    expect(events + late).toBe(2 + 50);
    // Those of clients reach one each, the sender not; the API's two.
    await until("delivered", async () => {
      return (await node.metric('starling_app_deliveries_total{app="shop"}')) === events + 2;
    });
  });

  it("/metrics tells whom an app did not take, and why", async () => {
    const node = await start();
    for (let i = 0; i < 3; i++) await PusherClient.connected(node);
    await refusedUpgrade(node, PAIR.key);
    await refusedUpgrade(node, "no-key");
    await refusedUpgrade(node, "no-key");
    await refusedUpgrade(node, "key-of-closed");
    await refusedUpgrade(node, "key-of-own", { origin: "https://evil.example" });
    const metrics = await node.metrics();
    const refusals = (app: string, reason: string) =>
      metrics.get(`starling_app_refusals_total{app="${app}",reason="${reason}"}`);
    expect(refusals("shop", "app_full")).toBe(1);
    expect(refusals("closed", "app_disabled")).toBe(1);
    expect(refusals("own", "origin")).toBe(1);
    expect(refusals("shop", "origin")).toBe(0);
    // Nobody's.
    expect(metrics.get('starling_rejects_total{reason="app_key"}')).toBe(2);
    expect(metrics.get('starling_rejects_total{reason="app"}')).toBe(0);
  });

  it.each([
    ["the clients' port", "wsUrl"],
    ["the API port", "apiUrl"],
  ] as const)("/metrics tells how requests on %s were answered, by route", async (_name, port) => {
    const node = await start();
    const pusher = sdk(node, port);
    await pusher.trigger(["a", "b"], "said", {});
    await pusher.triggerBatch([{ channel: "a", name: "said", data: {} }]);
    await pusher.get({ path: "/channels/a" });
    await pusher.get({ path: "/channels/b" });
    await expect(pusher.trigger("a", "said", "x".repeat(20_000))).rejects.toMatchObject({ status: 413 });
    await expect(sdk(node, port, "wrong").trigger("a", "said", {})).rejects.toMatchObject({ status: 401 });
    await expect(pusher.get({ path: "/nonsense" })).rejects.toMatchObject({ status: 404 });
    await node.post("/v1/publish", { channel: "a", content: 1 });

    const metrics = await node.metrics();
    const answered = [...metrics].filter(
      ([series, count]) => series.startsWith("starling_api_requests_total{") && count > 0,
    );
    expect(Object.fromEntries(answered)).toEqual({
      'starling_api_requests_total{api="pusher",route="/events",status="200"}': 1,
      'starling_api_requests_total{api="pusher",route="/events",status="401"}': 1,
      'starling_api_requests_total{api="pusher",route="/events",status="413"}': 1,
      'starling_api_requests_total{api="pusher",route="/batch_events",status="200"}': 1,
      'starling_api_requests_total{api="pusher",route="/channels/{channel}",status="200"}': 2,
      'starling_api_requests_total{api="pusher",route="unknown",status="404"}': 1,
      'starling_api_requests_total{api="starling",route="/v1/publish",status="200"}': 1,
    });
    const took = 'starling_api_request_seconds_count{api="pusher",route="/events"}';
    expect(metrics.get(took)).toBe(3);
    const sum = metrics.get('starling_api_request_seconds_sum{api="pusher",route="/events"}')!;
    expect(sum).toBeGreaterThan(0);
    expect(sum).toBeLessThan(60);
    expect(metrics.get('starling_app_publications_total{app="shop",source="api"}')).toBe(3);
    expect(metrics.get('starling_app_signatures_total{app="shop",result="refused"}')).toBe(1);
  });
});
