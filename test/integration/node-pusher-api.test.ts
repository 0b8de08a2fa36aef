/** Pusher's HTTP API, asked by Pusher's own SDK for Node.js on both ports of real nodes. Subscribers are native. */

import Pusher from "pusher";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { configSchema, defaultConfig, type Config } from "../../src/config.js";
import { cleanUp, JWT_SECRET, startFleet, startTestNode, token, until } from "../support/nodes.js";
import type { InProcessNode } from "../support/nodes.js";
import { closeRawHttp, RawHttp } from "../support/raw-http.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(async () => {
  closeRawHttp();
  await cleanUp();
});

const PAIR = { key: "key-of-3", secret: "secret-of-3-in-tests" };
const OPTIONS: Partial<Config> = {
  apps: configSchema.parse({ ...defaultConfig, apps: [{ id: "3", jwtSecret: JWT_SECRET, keys: [PAIR] }] })
    .apps,
};
const RIGHTS = ["*", "private-*", "presence-*"];

async function connect(node: InProcessNode, user: string, ...channels: string[]) {
  const client = await node.client({ path: "/?app=3" });
  await client.do("connect", { token: await token({ sub: user, channels: RIGHTS }) });
  for (const channel of channels) await client.do("subscribe", { channel });
  return client;
}

type Port = "wsUrl" | "apiUrl";

function sdk(node: InProcessNode, port: Port, options: { appId?: string; secret?: string } = {}): Pusher {
  const { hostname, port: number } = new URL(node[port]);
  return new Pusher({ appId: "3", ...PAIR, host: hostname, port: number, useTLS: false, ...options });
}

const bodyOf = async (asked: Promise<{ json(): Promise<unknown> }>): Promise<unknown> => (await asked).json();
const textOf = async (asked: Promise<{ text(): Promise<string> }>): Promise<string> => (await asked).text();

async function refusal(asked: Promise<unknown>): Promise<{ status: number; body: string }> {
  const error: unknown = await asked.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error as { status: number; body: string };
}

describe.each(["in memory", "over Redis, with two nodes"])("Pusher's SDK, %s", (where) => {
  /** Twice the same, or two. */
  async function start(): Promise<[InProcessNode, InProcessNode]> {
    if (where === "in memory") {
      const node = await startTestNode(OPTIONS);
      return [node, node];
    }
    const [one, two] = await startFleet(2, redis, OPTIONS);
    return [one!, two!];
  }

  describe.each([
    ["the clients' port", "wsUrl"],
    ["the API port", "apiUrl"],
  ] as const)("on %s", (_, port) => {
    it("triggers events, which reach every node as the JSON value or the text that they are", async () => {
      const [one, two] = await start();
      const clients = [
        await connect(one, "1", "room", "cache-a"),
        await connect(two, "2", "room", "cache-a"),
      ];
      const pusher = sdk(one, port);
      const events: [string | string[], string, unknown][] = [
        [["room", "cache-a"], "said", { a: "é", n: [1] }],
        ["room", "note", "no JSON"],
        ["room", "empty", ""],
      ];
      for (const [channels, name, data] of events) {
        // A channel with history takes an exclusion too.
        const params = { socket_id: "123.456" };
        expect(await textOf(pusher.trigger(channels, name, data, params))).toBe("{}");
      }
      for (const client of clients) {
        expect(await client.contents("room", 3)).toEqual([{ a: "é", n: [1] }, "no JSON", ""]);
        expect(client.messages("room").map(({ event }): unknown => event)).toEqual(["said", "note", "empty"]);
        expect(await client.contents("cache-a", 1)).toEqual([{ a: "é", n: [1] }]);
      }
    });

    it("triggers batches of the largest size, in their order", async () => {
      const [one, two] = await start();
      const client = await connect(two, "1", "room");
      // Every character is escaped twice: as data, and in the body.
      const data = Array.from({ length: 10 }, (_, i) => `${i}${'"'.repeat(10 * 1024 - 1)}`);
      const batch = data.map((text) => ({ channel: "room", name: "said", data: text }));
      expect(await textOf(sdk(one, port).triggerBatch(batch))).toBe("{}");
      expect(await client.contents("room", 10)).toEqual(data);
    });

    it("learns how many there are, of channels and users, over all nodes", async () => {
      const [one, two] = await start();
      await connect(one, "1", "room", "presence-a", "chat:native");
      await connect(two, "1", "presence-a");
      await connect(two, "2", "room", "presence-a");
      const pusher = sdk(one, port);
      const get = (path: string, params: Record<string, string> = {}) => bodyOf(pusher.get({ path, params }));
      const info = "user_count,subscription_count";
      const presence = { user_count: 2, subscription_count: 3 };
      await until("the other node's members", async () => {
        const body = (await get("/channels/presence-a", { info })) as { user_count: number };
        return body.user_count === 2;
      });
      expect(await get("/channels/presence-a", { info })).toEqual({ occupied: true, ...presence });
      expect(await get("/channels/nobody", { info: "subscription_count" })).toEqual({
        occupied: false,
        subscription_count: 0,
      });
      expect(await get("/channels")).toEqual({ channels: { "presence-a": {}, room: {} } });
      expect(await get("/channels", { filter_by_prefix: "presence-", info: "user_count" })).toEqual({
        channels: { "presence-a": { user_count: 2 } },
      });
      const { users } = (await get("/channels/presence-a/users")) as { users: { id: string }[] };
      expect(users.map(({ id }) => id).sort()).toEqual(["1", "2"]);
      const asked = ["room", "presence-a", "presence-b", "#server-to-user-1"];
      expect(await bodyOf(pusher.trigger(asked.slice(0, 3), "said", {}, { info }))).toEqual({
        channels: {
          room: { subscription_count: 2 },
          "presence-a": presence,
          "presence-b": { user_count: 0, subscription_count: 0 },
        },
      });
      const batch = asked.map((channel) => ({ channel, name: "said", data: {}, info }));
      expect(await bodyOf(pusher.triggerBatch(batch))).toEqual({
        batch: [
          { subscription_count: 2 },
          presence,
          { user_count: 0, subscription_count: 0 },
          { subscription_count: 2 },
        ],
      });
    });

    it("learns what a cache channel holds", async () => {
      const [one, two] = await start();
      const [here, there] = [sdk(one, port), sdk(two, port)];
      const get = () => bodyOf(there.get({ path: "/channels/private-cache-a", params: { info: "cache" } }));
      expect(await get()).toEqual({ occupied: false, cache: null });
      await here.trigger("private-cache-a", "said", { a: 1 });
      const { cache } = (await get()) as { cache: { data: string; ttl: number } };
      expect(cache.data).toBe('{"a":1}');
      expect(cache.ttl).toBeGreaterThan(1_700);
      expect(cache.ttl).toBeLessThanOrEqual(1_800);
    });

    it("sends to a user, and ends the user's connections, on every node", async () => {
      const [one, two] = await start();
      const clients = [await connect(one, "42"), await connect(two, "42")];
      const other = await connect(two, "421");
      const pusher = sdk(one, port);
      expect(await textOf(pusher.sendToUser("42", "note", { a: 1 }))).toBe("{}");
      for (const client of clients) {
        expect(await client.next("message")).toMatchObject({
          channel: "#user:42",
          event: "note",
          content: { a: 1 },
        });
      }
      expect(await textOf(pusher.terminateUserConnections("42"))).toBe("{}");
      for (const client of clients) expect(await client.closed()).toMatchObject({ code: 4502 });
      expect(await other.do("ping")).toMatchObject({ type: "reply" });
    });

    it("is told in plain text what is wrong, which is counted", async () => {
      const [one] = await start();
      const wrong = await refusal(sdk(one, port, { secret: "wrong" }).trigger("room", "said", {}));
      expect(wrong.status).toBe(401);
      expect(wrong.body).toMatch(
        /^Invalid signature: you should have sent HmacSHA256Hex\("POST\\n\/apps\/3\/events\\n/,
      );
      const big = await refusal(sdk(one, port).trigger("room", "said", "x".repeat(10_241)));
      expect(big).toMatchObject({
        status: 413,
        body: '"data" has 10241 bytes, at most 10240 are allowed (pusher.maxDataBytes)\n',
      });
      expect((await refusal(sdk(one, port, { appId: "4" }).get({ path: "/channels" }))).status).toBe(404);
      expect(await one.metric('starling_api_errors_total{code="unauthorized"}')).toBe(1);
    });

    it("is served without the app in the path, as its Python sister asks", async () => {
      const [one, two] = await start();
      const client = await connect(two, "42");
      const path = "/users/42/terminate_connections";
      const query = sdk(one, port).createSignedQueryString({ method: "POST", path, body: "{}" });
      const url = `${one[port].replace("ws:", "http:")}${path}?${query}`;
      const response = await fetch(url, { method: "POST", body: "{}" });
      expect([response.status, await response.text()]).toEqual([200, "{}"]);
      expect(await client.closed()).toMatchObject({ code: 4502 });
    });
  });
});

it("an event is not acknowledged while the bus is away", async () => {
  const away = await startRedis();
  const [node] = await startFleet(1, away, { ...OPTIONS, redisCommandTimeoutMs: 200 });
  await sdk(node!, "wsUrl").trigger("room", "said", {});
  await away.stop();
  for (const asked of [
    sdk(node!, "wsUrl").trigger(["room", "other"], "said", {}),
    sdk(node!, "apiUrl").triggerBatch([{ channel: "room", name: "said", data: {} }]),
    sdk(node!, "apiUrl").get({ path: "/channels/room" }),
    sdk(node!, "apiUrl").terminateUserConnections("42"),
  ]) {
    expect([503, 504]).toContain((await refusal(asked)).status);
  }
});

describe("bodies on the clients' port", () => {
  const ask = async (signed: boolean, bytes: number, body: string) => {
    const node = await startTestNode(OPTIONS);
    const query = sdk(node, "wsUrl").createSignedQueryString({
      method: "POST",
      path: "/apps/3/events",
      body,
    });
    const path = `/apps/3/events?${signed ? query : ""}`;
    const head = `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${bytes}\r\n\r\n`;
    return RawHttp.ask(node.wsUrl.replace("ws:", "http:"), head, body);
  };

  it("are of a megabyte at most", async () => {
    expect(await ask(true, 1_048_577, "")).toMatchObject({ status: 413 });
    const body = JSON.stringify({ name: "said", channel: "room", data: "x" }).padEnd(1_048_576);
    expect(await ask(true, 1_048_576, body)).toMatchObject({ status: 200, body: "{}" });
  });

  it("of strangers are not waited for", async () => {
    expect(await ask(false, 1_048_576, "a beginning")).toMatchObject({ status: 401, closed: true });
  });
});
