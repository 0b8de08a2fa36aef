/** The SDK's browser build in Chromium: a page without anything else, a worker, and a network that goes and comes. */

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Page } from "playwright-core";
import type { Client, ConnectOptions, StateChange } from "../../src/client/index.js";
import type { Config } from "../../src/config.js";
import { startBrowser, type TestBrowser } from "../support/browser.js";
import { cleanUp, startTestNode } from "../support/nodes.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";

type Timed = StateChange & { readonly atMs: number };

/** What the page keeps. */
interface Kept {
  client: Client;
  changes: Timed[];
  errors: string[];
  heard: unknown[];
  onlineAtMs: number;
  start(urls: string | string[], options?: ConnectOptions): void;
}
declare const kept: Kept;

const SCRIPT = `
import { connect } from "/starling.js";
globalThis.kept = { changes: [], errors: [], heard: [] };
kept.start = (urls, options) => {
  const client = (kept.client = connect(urls, options));
  client.on("state", (change) => kept.changes.push({ ...change, atMs: performance.now() }));
  client.on("error", ({ message }) => kept.errors.push(message));
  client.subscribe("room", ({ content }) => kept.heard.push(content));
};
`;
const WORKER = `
import { connect } from "/starling.js";
onmessage = ({ data }) => {
  const client = connect(data, { backoff: { baseMs: 1, capMs: 1 } });
  client.on("state", ({ state }) => postMessage({ state }));
  client.subscribe("room", ({ content }) => postMessage({ content }), {
    onSubscribed: () => void client.publish("room", "by the worker"),
  });
};
`;
const FILES: Record<string, [type: string, body: string]> = {
  "/": ["text/html", `<!doctype html><title>page</title><script type="module" src="/page.js"></script>`],
  "/page.js": ["text/javascript", SCRIPT],
  "/worker.js": ["text/javascript", WORKER],
};

let browser: TestBrowser;
let site = "";
const web = createServer(({ url = "" }, response) => {
  const [type, body] = FILES[url] ?? ["text/plain", ""];
  response.writeHead(FILES[url] === undefined ? 404 : 200, { "content-type": type }).end(body);
});
beforeAll(async () => {
  const build = join(import.meta.dirname, "../../dist/browser/starling.js");
  FILES["/starling.js"] = ["text/javascript", readFileSync(build, "utf8")];
  browser = await startBrowser();
  await once(web.listen(0, "127.0.0.1"), "listening");
  site = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
});
afterAll(async () => {
  await browser.close();
  web.closeAllConnections();
  web.close();
});

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  await cleanUp();
});

async function proxyTo(wsUrl: string): Promise<TcpProxy> {
  const proxy = await startTcpProxy(Number(new URL(wsUrl).port));
  cleanups.push(() => proxy.close());
  return proxy;
}

async function open(): Promise<Page> {
  const { page } = await browser.open(site);
  cleanups.push(() => page.context().close());
  await page.waitForFunction(() => "kept" in globalThis);
  return page;
}

const connected = (page: Page) => page.waitForFunction(() => kept.client.state === "connected");
const changesOf = (page: Page): Promise<Timed[]> => page.evaluate(() => kept.changes);

describe("in Chromium", () => {
  it("is back as soon as the network is, with a backoff of 16 s to go", { timeout: 120_000 }, async () => {
    const { wsUrl } = await startTestNode();
    const port = Number(new URL(wsUrl).port);
    const proxy = await proxyTo(wsUrl);
    const page = await open();
    // The fifth delay is the first of 16 s: it begins 19.5 s after the connection was lost.
    const options = { backoff: { baseMs: 1_300, capMs: 16_000 } };
    await page.evaluate(([url, given]) => kept.start(url, { ...given, random: () => 1 }), [
      `ws://127.0.0.1:${proxy.port}`,
      options,
    ] as const);
    await connected(page);
    await page.evaluate(() => addEventListener("online", () => (kept.onlineAtMs = performance.now())));
    await page.context().setOffline(true);
    // Chromium's own sockets to this machine may go on: nothing answers either.
    proxy.retarget(1);
    proxy.cut();
    await page.waitForFunction(
      () => kept.changes.some((change) => change.state === "waiting" && change.retryInMs === 16_000),
      undefined,
      { timeout: 60_000 },
    );
    proxy.retarget(port);
    await page.context().setOffline(false);
    await connected(page);
    const tookMs = (await changesOf(page)).at(-1)!.atMs - (await page.evaluate(() => kept.onlineAtMs));
    console.info(`online: connected ${tookMs.toFixed(0)} ms later`);
    // A second is meant: half of what was left is what no busy machine makes of it.
    expect(tookMs).toBeLessThan(8_000);
  });

  it("finds a network that changed without a word once the page is looked at", async () => {
    const { wsUrl } = await startTestNode();
    const proxy = await proxyTo(wsUrl);
    const page = await open();
    await page.evaluate((url) => kept.start(url), `ws://127.0.0.1:${proxy.port}`);
    await connected(page);
    // Those that are there: a new one goes another way, as by another network.
    proxy.blackhole(() => true);
    const lookedAtMs = await page.evaluate(() => {
      document.dispatchEvent(new Event("visibilitychange"));
      return performance.now();
    });
    await page.waitForFunction(() => kept.changes.filter(({ state }) => state === "connected").length === 2);
    const changes = await changesOf(page);
    const lost = changes.find(({ state }) => state === "waiting");
    expect(lost).toMatchObject({ reason: { message: "no data was received for 5000 ms" } });
    console.info(`looked at: connected ${(changes.at(-1)!.atMs - lookedAtMs).toFixed(0)} ms later`);
    expect(changes.at(-1)).toMatchObject({ state: "connected", resumed: true });
  });

  it("works in a worker, and comes back there", async () => {
    const { wsUrl } = await startTestNode();
    const proxy = await proxyTo(wsUrl);
    const page = await open();
    await page.evaluate((url) => {
      const worker = new Worker("/worker.js", { type: "module" });
      worker.onmessage = ({ data }) => kept.heard.push(data);
      worker.postMessage(url);
    }, `ws://127.0.0.1:${proxy.port}`);
    const heardTimes = (times: number) =>
      page.waitForFunction(
        (wanted) =>
          (kept.heard as { content?: string }[]).filter(({ content }) => content === "by the worker")
            .length >= wanted,
        times,
      );
    await heardTimes(1);
    proxy.cut();
    await heardTimes(2);
    expect(await page.evaluate(() => kept.heard)).toContainEqual({ state: "waiting" });
  });

  it.each<[string, (wsUrl: string) => string, string]>([
    ["an unknown app", (wsUrl) => `${wsUrl}/?app=shpo`, 'HTTP 404: unknown app "shpo"'],
    ["nobody there", () => "ws://127.0.0.1:1/", "nothing answers there"],
    ["a server of other things", () => `${site.replace("http", "ws")}/other`, "HTTP 404"],
    ["TLS to plain", (wsUrl) => `${wsUrl.replace("ws", "wss")}/`, "nothing answers there"],
  ])("tells as much of a failed connection as there is: %s", async (_, urlOf, cause) => {
    const { wsUrl } = await startTestNode();
    const page = await open();
    const url = urlOf(wsUrl);
    await page.evaluate((given) => kept.start(given), url);
    await page.waitForFunction(() => kept.errors.length === 1);
    const [message] = await page.evaluate(() => kept.errors);
    expect(message).toContain(`could not connect to ${url}: ${cause}`);
  });

  it("tells of an origin that the node does not let in", async () => {
    const { wsUrl } = await startTestNode({ origins: ["https://example.com"] });
    const page = await open();
    await page.evaluate((given) => kept.start(given), wsUrl);
    await page.waitForFunction(() => kept.errors.length === 1);
    const [message] = await page.evaluate(() => kept.errors);
    expect(message).toContain(`HTTP 403: origin "${site}" is not allowed`);
  });

  it.each<[string, string, Partial<Config>, (origin: string) => string]>([
    [
      "an origin that is not let in",
      "/",
      { origins: ["https://example.com"], originRequired: true },
      (origin) => `HTTP 403: origin "${origin}" is not allowed`,
    ],
    ["an unknown app", "/?app=shpo", { originRequired: true }, () => 'HTTP 404: unknown app "shpo"'],
  ])("tells a page of the node's own origin what is: %s", async (_, path, config, cause) => {
    const { wsUrl } = await startTestNode(config);
    const origin = wsUrl.replace("ws", "http");
    const { page } = await browser.open(`${origin}/page`);
    cleanups.push(() => page.context().close());
    // As a text: a module's import() in a function would be vitest's.
    const sdk = `data:text/javascript,${encodeURIComponent(FILES["/starling.js"]![1])}`;
    const message = await page.evaluate<string>(`import(${JSON.stringify(sdk)}).then(({ connect }) =>
      new Promise((resolve) => connect("${path}").on("error", ({ message }) => resolve(message))))`);
    expect(message).toContain(cause(origin));
  });
});
