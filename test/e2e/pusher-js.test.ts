/** pusher-js in Chromium: a page that has its file as it is published, on two nodes with a real Redis. */

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, it, onTestFinished } from "vitest";
import { startBrowser, type TestBrowser } from "../support/browser.js";
import { cleanUp, startFleet, type InProcessNode } from "../support/nodes.js";
import {
  APP,
  portOf,
  pusherApps,
  sdkOf,
  type PusherChannel,
  type PusherClient,
} from "../support/pusher-clients.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

/** What the page keeps. */
declare const kept: {
  readonly pusher: PusherClient;
  readonly channels: Record<string, PusherChannel & { readonly members?: { readonly members: object } }>;
  readonly heard: [channel: string, event: string, data: unknown][];
  readonly states: string[];
};

/** As its own guide says; where the server is, and who the user is, comes by the page's address. */
const PAGE = `<!doctype html><title>page</title>
<link rel="icon" href="data:,">
<script src="/pusher.js"></script>
<script>
  const asked = new URLSearchParams(location.search);
  Pusher.logToConsole = true;
  const pusher = new Pusher(asked.get("key"), {
    cluster: "mt1",
    wsHost: "127.0.0.1",
    wsPort: Number(asked.get("port")),
    forceTLS: false,
    channelAuthorization: { endpoint: "/pusher/auth", params: { user: asked.get("user") } },
    userAuthentication: { endpoint: "/pusher/user-auth", params: { user: asked.get("user") } },
  });
  const kept = (globalThis.kept = { pusher, channels: {}, heard: [], states: [] });
  pusher.connection.bind("state_change", ({ current }) => kept.states.push(current));
  pusher.user.bind_global((event, data) => kept.heard.push(["user", event, data]));
  for (const name of ["room", "private-room", "presence-room", "private-encrypted-room", "cache-room"]) {
    kept.channels[name] = pusher.subscribe(name);
    kept.channels[name].bind_global((event, data) => {
      if (!event.startsWith("pusher:subscription_")) kept.heard.push([name, event, data]);
    });
  }
  pusher.signin();
</script>`;
const packageFolder = dirname(createRequire(import.meta.url).resolve("pusher-js/package.json"));
const SCRIPT = readFileSync(join(packageFolder, "dist/web/pusher-with-encryption.min.js"));

/** The application's server. */
const web = createServer((request, response) => {
  void textOf(request).then((text) => {
    const form = new URLSearchParams(text);
    const [id, socketId] = [form.get("user") ?? "", form.get("socket_id") ?? ""];
    const sdk = sdkOf({ wsUrl: "ws://127.0.0.1" });
    const say = (type: string, body: string | Buffer): unknown =>
      response.writeHead(200, { "content-type": type }).end(body);
    switch (new URL(request.url ?? "", "http://a").pathname) {
      case "/":
        return say("text/html", PAGE);
      case "/pusher.js":
        return say("text/javascript", SCRIPT);
      case "/pusher/user-auth":
        return say("application/json", JSON.stringify(sdk.authenticateUser(socketId, { id })));
      case "/pusher/auth": {
        const name = form.get("channel_name") ?? "";
        const member = name.startsWith("presence-") ? { user_id: id, user_info: { name: id } } : undefined;
        return say("application/json", JSON.stringify(sdk.authorizeChannel(socketId, name, member)));
      }
      default:
        return response.writeHead(404).end();
    }
  });
});

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return text;
}

let site = "";
let browser: TestBrowser;
let redis: RedisServer;
beforeAll(async () => {
  web.listen(0, "127.0.0.1");
  [browser, redis] = await Promise.all([startBrowser(), startRedis(), once(web, "listening")]);
  site = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
});
afterEach(cleanUp);
afterAll(async () => {
  await browser.close();
  web.close();
  web.closeAllConnections();
  await redis.stop();
});

const fleet = async (): Promise<[InProcessNode, InProcessNode]> =>
  (await startFleet(2, redis, pusherApps())) as unknown as [InProcessNode, InProcessNode];

interface Visit {
  readonly page: Page;
  /** What the console said of warnings and errors. */
  readonly complaints: readonly string[];
  /** Hosts that the page asked for something, besides its own. */
  readonly strangers: readonly string[];
}

async function visit(port: number, user: string, key = APP.key): Promise<Visit> {
  const { page, faults } = await browser.open("about:blank");
  onTestFinished(() => page.context().close());
  const strangers: string[] = [];
  page.on("console", (message) => {
    if (["warning", "error"].includes(message.type())) faults.push(message.text());
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(site)) strangers.push(request.url());
  });
  await page.goto(`${site}/?${new URLSearchParams({ port: `${port}`, user, key })}`);
  return { page, complaints: faults, strangers };
}

async function joined(
  { page }: Visit,
  states: readonly string[] = ["connecting", "connected"],
): Promise<void> {
  await page.waitForFunction(() => Object.values(kept.channels).every(({ subscribed }) => subscribed));
  await page.waitForFunction(() => kept.pusher.user.user_data !== null);
  expect(await page.evaluate(() => kept.states)).toEqual(expect.arrayContaining([...states]));
}

/** Resolves once the page heard the event, with all its data of that channel and name. */
async function heard({ page }: Visit, channel: string, event: string, times = 1): Promise<unknown[]> {
  const asked = { channel, event, times };
  const found = await page.waitForFunction(({ channel, event, times }) => {
    const data = kept.heard.filter(([a, b]) => a === channel && b === event).map((each) => each[2]);
    return data.length >= times ? data : undefined;
  }, asked);
  return (await found.jsonValue())!;
}

it("subscribes, hears, whispers and signs in, and the console has no complaint", async () => {
  const [one, two] = await fleet();
  const ada = await visit(portOf(one), "ada");
  await joined(ada);
  const bob = await visit(portOf(two), "bob");
  await joined(bob);
  const sdk = sdkOf(one);
  await sdk.trigger(["room", "private-room", "presence-room", "cache-room"], "said", { a: "é😀" });
  await sdk.trigger("private-encrypted-room", "said", { sealed: true });
  await sdk.sendToUser("bob", "note", { n: 1 });
  for (const visitor of [ada, bob]) {
    for (const name of ["room", "private-room", "presence-room", "cache-room"]) {
      expect(await heard(visitor, name, "said")).toEqual([{ a: "é😀" }]);
    }
    expect(await heard(visitor, "private-encrypted-room", "said")).toEqual([{ sealed: true }]);
    expect(await heard(visitor, "cache-room", "pusher:cache_miss")).toHaveLength(1);
    const members = await visitor.page.evaluate(() => kept.channels["presence-room"]!.members!.members);
    expect(members).toEqual({ ada: { name: "ada" }, bob: { name: "bob" } });
  }
  expect(await heard(bob, "user", "note")).toEqual([{ n: 1 }]);
  expect(await heard(ada, "presence-room", "pusher:member_added")).toEqual([
    { id: "bob", info: { name: "bob" } },
  ]);

  await ada.page.evaluate(() => kept.channels["private-room"]!.trigger("client-typing", { by: "ada" }));
  expect(await heard(bob, "private-room", "client-typing")).toEqual([{ by: "ada" }]);
  await bob.page.evaluate(() => kept.channels["presence-room"]!.trigger("client-typing", { by: "bob" }));
  expect(await heard(ada, "presence-room", "client-typing")).toEqual([{ by: "bob" }]);

  await bob.page.close();
  expect(await heard(ada, "presence-room", "pusher:member_removed")).toEqual([
    { id: "bob", info: { name: "bob" } },
  ]);
  expect([...ada.complaints, ...bob.complaints]).toEqual([]);
  // It asked nobody else: neither for another transport, nor to tell how it fares.
  expect([...ada.strangers, ...bob.strangers]).toEqual([]);
});

it("moves to another node when its own stops, and goes on where it was", async () => {
  const [one, two] = await fleet();
  const proxy = await startTcpProxy(portOf(one));
  onTestFinished(() => proxy.close());
  const ada = await visit(proxy.port, "ada");
  await joined(ada);
  const before = await ada.page.evaluate(() => kept.pusher.connection.socket_id);
  proxy.retarget(portOf(two));
  await one.stop();
  await ada.page.waitForFunction((id) => kept.pusher.connection.socket_id !== id, before);
  await joined(ada, ["connected", "connecting", "connected"]);
  await sdkOf(two).trigger("room", "said", { after: true });
  expect(await heard(ada, "room", "said")).toEqual([{ after: true }]);
  const members = await ada.page.evaluate(() => kept.channels["presence-room"]!.members!.members);
  expect(members).toEqual({ ada: { name: "ada" } });
  // pusher-js warns of every close that has a code.
  for (const text of ada.complaints) expect(text).toMatch(/"code":4200,/);
});

it("is told by the console why it is refused", async () => {
  const [one] = await fleet();
  const ada = await visit(portOf(one), "ada", "no-such-key");
  await ada.page.waitForFunction(() => kept.states.at(-1) === "disconnected");
  expect(ada.complaints.join("\n")).toMatch(
    /"code":4001,"message":"no app of this node has the key \\"no-such-key\\"/,
  );
});
