/** Several apps on the same nodes: what is one's is not another's. Each test runs in memory and over Redis with two nodes. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { configSchema, defaultConfig, type Config } from "../../src/config.js";
import {
  CHAT_RULES,
  cleanUp,
  JWT_SECRET,
  spawnNode,
  startFleet,
  startTestNode,
  token,
  until,
} from "../support/nodes.js";
import type { InProcessNode } from "../support/nodes.js";
import { RawClient, refusal } from "../support/raw-client.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(cleanUp);

const SECRETS = { shop: "s".repeat(32), blog: "b".repeat(32) };
const KEYS = { main: "key-of-main", shop: "key-of-the-shop", blog: "key-of-the-blog" };
type AppId = keyof typeof KEYS;

type Entry = { readonly id: string } & Partial<Config["apps"][number]>;
const entries = (...apps: Entry[]): Config["apps"] => configSchema.parse({ ...defaultConfig, apps }).apps;

const SHOP: Entry = {
  id: "shop",
  jwtSecret: SECRETS.shop,
  apiKeys: [KEYS.shop],
  namespaces: { chat: CHAT_RULES },
};
const BLOG: Entry = { ...SHOP, id: "blog", jwtSecret: SECRETS.blog, apiKeys: [KEYS.blog] };

const OPTIONS: Partial<Config> = {
  jwtSecret: JWT_SECRET,
  apiKeys: [KEYS.main],
  namespaces: { chat: CHAT_RULES },
  apps: entries(SHOP, BLOG),
};

const secretOf = (app: AppId): string => (app === "main" ? JWT_SECRET : SECRETS[app]);
const pathOf = (app: AppId): string => (app === "main" ? "/" : `/?app=${app}`);

async function connect(node: InProcessNode, app: AppId, user: string, resume?: string) {
  const client = await node.client({ path: pathOf(app) });
  const answer = await client.do("connect", {
    token: await token({ sub: user }, { secret: secretOf(app) }),
    ...(resume === undefined ? {} : { resume }),
  });
  return Object.assign(client, { answer });
}

async function api(node: InProcessNode, app: AppId | undefined, path: string, body?: object) {
  const response = await fetch(node.apiUrl + path, {
    method: body === undefined ? "GET" : "POST",
    headers: {
      ...(app === undefined ? {} : { authorization: `Bearer ${KEYS[app]}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text.startsWith("{") ? (JSON.parse(text) as object) : text };
}

describe.each(["in memory", "over Redis, with two nodes"])("apps %s", (where) => {
  /** Twice the same, or two. */
  async function start(options: Partial<Config> = {}): Promise<[InProcessNode, InProcessNode]> {
    if (where === "in memory") {
      const node = await startTestNode({ ...OPTIONS, ...options });
      return [node, node];
    }
    const [one, two] = await startFleet(2, redis, { ...OPTIONS, ...options });
    return [one!, two!];
  }

  it("have channels of the same name apart: live, in history and for the API", async () => {
    const [one, two] = await start();
    const shop = await connect(one, "shop", "1");
    const [blog, main] = [await connect(two, "blog", "1"), await connect(one, "main", "1")];
    for (const client of [shop, blog, main]) await client.do("subscribe", { channel: "chat:a" });
    await api(two, "shop", "/v1/publish", { channel: "chat:a", content: "from the shop" });
    await blog.do("send", { channel: "chat:a", content: "from the blog" });
    await api(one, undefined, "/v1/publish", { channel: "chat:a", content: "from nobody" });
    await main.do("send", { channel: "chat:a", content: "from main" });
    expect(await shop.contents("chat:a", 1)).toEqual(["from the shop"]);
    expect(await blog.contents("chat:a", 1)).toEqual(["from the blog"]);
    expect(await main.contents("chat:a", 1)).toEqual(["from main"]);
    for (const app of ["shop", "blog", "main"] as const) {
      const { body } = await api(one, app, "/v1/channels/chat%3Aa/history");
      expect(body).toMatchObject({
        publications: [{ content: `from ${app === "main" ? app : `the ${app}`}` }],
      });
      expect((await api(two, app, "/v1/channels")).body).toMatchObject({
        channels: [{ channel: "chat:a", subscribers: 1 }],
      });
    }
    expect([shop, blog, main].map((client) => client.messages("chat:a").length)).toEqual([1, 1, 1]);
  });

  it("have users, their channels and their connections apart", async () => {
    const [one, two] = await start();
    const [shop, blog] = [await connect(one, "shop", "42"), await connect(two, "blog", "42")];
    await api(one, "shop", "/v1/publish", { channel: "#user:42", content: "yours" });
    expect(await shop.contents("#user:42", 1)).toEqual(["yours"]);
    const listed = await api(two, "blog", "/v1/users/42/connections");
    expect(listed.body).toMatchObject({
      connections: [{ connection: blog.welcome["connection"] as string }],
    });
    await blog.do("subscribe", { channel: "room" });
    expect((await api(one, "shop", "/v1/users/42/unsubscribe", { channel: "room" })).status).toBe(202);
    expect((await api(one, "shop", "/v1/users/42/permit", { publish: [] })).status).toBe(202);
    expect((await api(one, "shop", "/v1/users/42/disconnect", {})).status).toBe(202);
    expect((await shop.closed()).code).toBe(4502);
    // Whatever the shop's key does to its user 42, the blog's 42 has and may all that it had.
    await blog.do("send", { channel: "room", content: "here" });
    expect(await blog.contents("room", 1)).toEqual(["here"]);
    expect(blog.messages("#user:42")).toEqual([]);
  });

  it("have presence apart", async () => {
    const [one, two] = await start();
    const [shop, blog] = [await connect(one, "shop", "a"), await connect(two, "blog", "b")];
    await shop.do("subscribe", { channel: "chat:a" });
    await blog.do("subscribe", { channel: "chat:a" });
    const users = async (client: typeof shop): Promise<unknown> => {
      const { members } = await client.do("presence", { channel: "chat:a" });
      return (members as { user: string }[]).map(({ user }) => user);
    };
    await until("the shop's", async () => JSON.stringify(await users(shop)) === '["a"]');
    await until("the blog's", async () => JSON.stringify(await users(blog)) === '["b"]');
    const { body } = await api(one, "blog", "/v1/channels/chat%3Aa/presence-stats");
    expect(body).toMatchObject({ connections: 1, users: 1 });
    expect((await api(one, "main", "/v1/channels/chat%3Aa/presence-stats")).body).toMatchObject({ users: 0 });
  });

  it("refuse each other's resume tokens, and leave the session as it was", async () => {
    const [one, two] = await start();
    const shop = await connect(one, "shop", "42");
    await shop.do("subscribe", { channel: "room" });
    const resume = shop.answer["resume"] as string;
    const recorded = { status: 200, body: { nodes: one === two ? 1 : 2, connections: 1 } };
    await until("recorded", async () => isDeepStrictEqual(await api(one, "main", "/v1/totals"), recorded));
    shop.terminate();
    const thief = await connect(two, "blog", "42", resume);
    expect(thief.answer).toMatchObject({ resumed: false, reason: "another_user", channels: [] });
    const back = await connect(two, "shop", "42", resume);
    expect(back.answer).toMatchObject({ resumed: true, channels: ["room"] });
  });

  it("take no tokens and no keys of each other", async () => {
    const [one] = await start();
    for (const [app, other] of [
      ["shop", "blog"],
      ["blog", "main"],
      ["main", "shop"],
    ] as const) {
      const wrong = await token({ sub: "1" }, { secret: secretOf(other) });
      const client = await one.client({ path: pathOf(app) });
      expect(await client.ask("connect", { token: wrong })).toMatchObject({ code: "token_invalid" });
      expect(await client.ask("subscribe", { channel: "room" })).toMatchObject({ code: "unauthorized" });
    }
    expect((await api(one, undefined, "/v1/channels")).status).toBe(401);
    const response = await fetch(`${one.apiUrl}/v1/channels`, { headers: { "x-api-key": "wrong" } });
    expect(response.status).toBe(401);
    const unknown = await refusal(one.wsUrl, { path: "/?app=other" });
    expect([unknown.status, unknown.body]).toEqual([404, expect.stringContaining('unknown app "other"')]);
  });

  it("tell what is of the whole node to holders of main's keys alone", async () => {
    const [one] = await start();
    await connect(one, "shop", "1");
    for (const path of ["/v1/totals", "/metrics"]) {
      expect((await api(one, "main", path)).status, path).toBe(200);
      expect((await api(one, "shop", path)).status, path).toBe(403);
      expect((await api(one, undefined, path)).status, path).toBe(401);
    }
    const { body } = await api(one, "main", "/metrics");
    expect(body).toMatch(/^starling_app_connections\{app="shop"\} 1$/m);
    expect(body).toMatch(/^starling_app_connections\{app="main"\} 0$/m);
  });

  it("have limits of their own", async () => {
    const [one] = await start({ apps: entries({ ...SHOP, maxConnections: 1 }, BLOG) });
    const first = await connect(one, "shop", "1");
    const full = await refusal(one.wsUrl, { path: "/?app=shop" });
    expect([full.status, full.body]).toEqual([
      503,
      expect.stringContaining('connection limit of app "shop" on this node reached (its maxConnections 1)'),
    ]);
    await connect(one, "blog", "1");
    await connect(one, "main", "1");
    first.close(1000);
    await until("room", async () => {
      try {
        await connect(one, "shop", "1");
        return true;
      } catch {
        return false;
      }
    });
  });
});

describe("apps that are read again", () => {
  it("come, change and go without a connection dropped of those that stay", async () => {
    const node = await startTestNode(OPTIONS);
    const [shop, blog, main] = [
      await connect(node, "shop", "1"),
      await connect(node, "blog", "1"),
      await connect(node, "main", "1"),
    ];
    const rotated = { ...SHOP, jwtSecret: "r".repeat(32), apiKeys: ["another-key"] };
    const apps = entries(rotated, { ...BLOG, id: "news", apiKeys: [] });
    expect(await node.reload({ apps })).toEqual({
      added: ["news"],
      changed: [{ app: "shop", changed: ["jwtSecret", "apiKeys"] }],
      removed: ["blog"],
      closed: 1,
    });
    expect((await blog.closed()).code).toBe(4502);
    expect((await refusal(node.wsUrl, { path: "/?app=blog" })).status).toBe(404);
    expect((await api(node, "blog", "/v1/channels")).status).toBe(401);
    for (const client of [shop, main]) await client.do("subscribe", { channel: "room" });

    expect(
      await shop.ask("refresh", { token: await token({ sub: "1" }, { secret: SECRETS.shop }) }),
    ).toMatchObject({
      code: "token_invalid",
    });
    await shop.do("refresh", { token: await token({ sub: "1" }, { secret: rotated.jwtSecret }) });
    expect((await api(node, "shop", "/v1/channels")).status).toBe(401);
    const headers = { "x-api-key": "another-key" };
    expect((await fetch(`${node.apiUrl}/v1/channels`, { headers })).status).toBe(200);
    const news = await node.client({ path: "/?app=news" });
    await news.do("connect", { token: await token({ sub: "1" }, { secret: SECRETS.blog }) });
    expect(await node.reload({ apps })).toEqual({ added: [], changed: [], removed: [], closed: 0 });
    expect(shop.closedWith ?? main.closedWith).toBeUndefined();
  });

  it("send away who is connected to an app that is disabled, and keep who is connected to another", async () => {
    const node = await startTestNode(OPTIONS);
    const [shop, blog] = [await connect(node, "shop", "1"), await connect(node, "blog", "1")];
    const apps = entries({ ...SHOP, enabled: false, pusher: { maxBatchEvents: 2 } as never }, BLOG);
    expect(await node.reload({ apps })).toEqual({
      added: [],
      changed: [{ app: "shop", changed: ["enabled", "pusher.maxBatchEvents"] }],
      removed: [],
      closed: 1,
    });
    expect(await shop.closed()).toMatchObject({ code: 4502, reason: `app "shop" is disabled` });
    await blog.do("subscribe", { channel: "room" });
  });

  it("leave channels that are alive their rules, and what is published to them its history", async () => {
    const node = await startTestNode(OPTIONS);
    const main = await connect(node, "main", "1");
    const joined = await main.do("subscribe", { channel: "chat:a" });
    await node.reload({ ...OPTIONS, namespaces: {} });
    expect(await main.ask("history", { channel: "chat:b" })).toMatchObject({ code: "not_enabled" });
    await main.do("send", { channel: "chat:a", content: 1 });
    await api(node, "main", "/v1/publish", { channel: "chat:a", content: 2 });
    await main.contents("chat:a", 2);
    expect(main.messages("chat:a").map((frame) => frame["offset"] as number)).toEqual([1, 2]);
    const other = await connect(node, "main", "2");
    const { offset, epoch } = joined as unknown as { offset: number; epoch: string };
    const again = await other.do("subscribe", { channel: "chat:a", since: { offset, epoch } });
    expect(again).toMatchObject({ recovered: true });
    expect(await other.contents("chat:a", 2)).toEqual([1, 2]);

    for (const client of [main, other]) await client.do("unsubscribe", { channel: "chat:a" });
    expect(await main.ask("history", { channel: "chat:a" })).toMatchObject({ code: "not_enabled" });
  });

  it("are refused where a key cannot be read, and nothing is changed", async () => {
    const node = await startTestNode(OPTIONS);
    const apps = entries(SHOP, { id: "x", jwtAlgorithm: "RS256", jwtPublicKeyFile: "/none" });
    await expect(node.reload({ apps, apiKeys: [] })).rejects.toThrow(
      /^app x: jwtPublicKeyFile cannot be read: ENOENT/,
    );
    await connect(node, "blog", "1");
    expect((await api(node, "main", "/v1/totals")).status).toBe(200);
  });

  it("are so on SIGHUP, which tells what it does not take over", async () => {
    const directory = mkdtempSync(join(tmpdir(), "starling-apps-"));
    try {
      const file = join(directory, "starling.yaml");
      const write = (content: object): void => writeFileSync(file, JSON.stringify(content));
      const shop = { id: "shop", jwtSecret: SECRETS.shop };
      write({ jwtSecret: JWT_SECRET, maxFrameBytes: 1000, apps: [shop] });
      const node = await spawnNode({ config: file, logFormat: "json" } as Partial<Config>);
      const client = await RawClient.welcomed(node.wsUrl, { path: "/?app=shop" });
      await client.do("connect", { token: await token({ sub: "1" }, { secret: SECRETS.shop }) });

      write({
        jwtSecret: JWT_SECRET,
        maxFrameBytes: 2000,
        apps: [shop, { id: "blog", jwtSecret: SECRETS.blog }],
      });
      node.signal("SIGHUP");
      await until("read", () => node.log.includes("apps and namespaces were read again"));
      expect(node.log).toMatch(/"options":\["maxFrameBytes"\].*are read at the start only/);
      expect(node.log).toMatch(/"added":\["blog"\],"changed":\[\],"removed":\[\],"closed":0/);
      await RawClient.welcomed(node.wsUrl, { path: "/?app=blog" });

      write({ jwtSecret: JWT_SECRET, apps: [{ ...shop, jwtSecret: "short" }] });
      node.signal("SIGHUP");
      await until("refused", () => node.log.includes("the configuration is refused"));
      expect(node.log).toMatch(/shop\.jwtSecret \*\*\* \(5 bytes\) is not allowed/);
      await client.do("ping");
      for (const secret of [JWT_SECRET, ...Object.values(SECRETS)]) expect(node.log).not.toContain(secret);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
