/** The SDK where something that Node and browsers have is missing or stands between: React Native, and proxies of stores. */

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import vm from "node:vm";
import { build, type Plugin } from "esbuild";
import { makeAutoObservable, observable } from "mobx";
import { beforeAll, describe, expect, it } from "vitest";
import { isReactive, reactive, ref } from "vue";
import { WebSocket } from "ws";
import type { Client, ConnectOptions, Message } from "../../../src/client/index.js";
import { connected, setUp, startServer, until } from "./harness.js";

const require = createRequire(import.meta.url);
const ROOT = join(import.meta.dirname, "../../..");

/** Bundled as a global, as Metro does: without what a module loader of Node would add. */
async function bundled(entry: string, plugins: Plugin[] = []): Promise<string> {
  const { outputFiles } = await build({
    ...{ entryPoints: [entry], plugins, bundle: true, write: false, format: "iife", globalName: "bundle" },
    target: "es2020",
  });
  return outputFiles[0]!.text;
}

describe("React Native", () => {
  const VERSION = "0.88.1";
  const home = join(ROOT, "node_modules/.cache", `react-native-${VERSION}`);
  const blob = join(home, "package/Libraries/Blob");
  let sdk = "";
  let url = "";

  /** Its sources have Flow's types. The native module is missing, as where no blobs are used. */
  const flow: Plugin = {
    name: "flow",
    setup(builder) {
      const strip = require("flow-remove-types") as (
        source: string,
        options: object,
      ) => { toString: () => string };
      builder.onLoad({ filter: /Libraries.Blob.*\.js$/ }, ({ path }) => ({
        contents:
          basename(path) === "NativeBlobModule.js"
            ? "export default null"
            : strip(readFileSync(path, "utf8"), { all: true }).toString(),
      }));
    },
  };

  beforeAll(async () => {
    // Not a dependency: its own come by the hundred, and two files are wanted.
    if (!existsSync(join(blob, "URL.js"))) {
      mkdirSync(home, { recursive: true });
      const run = (command: string, ...args: string[]) => {
        const { status, stderr } = spawnSync(command, args, {
          ...{ cwd: home, encoding: "utf8", timeout: 60_000, killSignal: "SIGKILL" },
        });
        if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
      };
      run("npm", "pack", `react-native@${VERSION}`);
      run("tar", "-xzf", `react-native-${VERSION}.tgz`, "package/Libraries/Blob");
    }
    url = await bundled(join(blob, "URL.js"), [flow]);
    sdk = await bundled(join(ROOT, "src/client/index.ts"));
  });

  /** Its engine's globals, and those of its own that the SDK could use: no TextDecoder, TextEncoder, crypto, DOM or location. */
  function start(address: (ReactUrl: typeof URL) => string | URL, options: ConnectOptions) {
    const globals = {
      ...{ WebSocket, console, setTimeout, clearTimeout, btoa, atob },
      ...{ performance: { now: () => performance.now() }, navigator: { product: "ReactNative" } },
    };
    const context = vm.createContext({ ...globals });
    const run = (code: string) => vm.runInContext(code, context) as unknown;
    run("globalThis.window = globalThis");
    run(url);
    run("globalThis.URL = bundle.URL; globalThis.URLSearchParams = bundle.URLSearchParams");
    run(sdk);
    const ReactUrl = run("URL") as typeof URL;
    const { connect } = run("bundle") as { connect: (url: string | URL, options: object) => Client };
    return { client: connect(address(ReactUrl), options), ReactUrl };
  }

  it("has a URL that the SDK could not have changed", () => {
    const { client, ReactUrl } = start(() => "ws://127.0.0.1:1", { offline: { queue: 0 } });
    client.close();
    const strict = () => {
      (new ReactUrl("https://127.0.0.1") as { protocol: string }).protocol = "wss:";
    };
    expect(strict).toThrow(/only a getter/);
  });

  it.each<[string, (server: string, ReactUrl: typeof URL) => string | URL]>([
    ["a text", (server) => `${server}/path?app=shop#part`],
    ["http:", (server) => `${server.replace("ws:", "http:")}/path?app=shop`],
    ["a URL", (server, ReactUrl) => new ReactUrl(`${server}/path?app=shop`)],
  ])("connects, publishes, comes back and hears: by %s", async (_, address) => {
    const server = await startServer();
    const backoff = { baseMs: 1, capMs: 1 };
    const { client } = start((ReactUrl) => address(server.url, ReactUrl), { key: "room 1", backoff });
    const heard: unknown[] = [];
    await client.subscribe("room", ({ content }) => heard.push(content)).ready;
    expect(server.last.url).toBe("/path?app=shop&key=room+1");
    await client.publish("room", { text: "é".repeat(10_000) });
    await client.publish("room", Uint8Array.of(1, 2));
    expect(server.last.actions("send")[1]).toMatchObject({ contentBase64: "AQI=" });
    server.last.terminate();
    await until(() => server.connections.length === 2 && client.state === "connected");
    await until(() => server.last.channels("subscribe").length === 1);
    server.last.send({ type: "message", channel: "room", content: "after" });
    await until(() => heard.length === 1);
    client.reconnect();
    await until(() => server.connections.length === 3 && client.state === "connected");
    client.close();
    await until(() => server.last.closedWith === 1000);
  });

  it("tells what failed", async () => {
    const { client } = start(() => "ws://127.0.0.1:1", {});
    const messages: string[] = [];
    client.on("error", ({ message }) => messages.push(message));
    await until(() => messages.length === 1);
    client.close();
    expect(messages).toEqual(["could not connect to ws://127.0.0.1:1/: ECONNREFUSED"]);
  });
});

describe("a store that makes proxies", () => {
  class Store {
    client: Client;
    messages: unknown[] = [];
    constructor(client: Client) {
      this.client = client;
      makeAutoObservable(this);
    }
  }

  it.each<[string, (client: Client) => Client]>([
    ["Vue's reactive", (client) => reactive(client) as Client],
    ["Vue's ref, inside an object", (client) => ref({ client }).value.client as Client],
    ["MobX's makeAutoObservable", (client) => new Store(client).client],
    ["MobX's observable", (client) => observable({ client }).client],
    ["any other", (client) => new Proxy(client, {})],
  ])("holds a client that works: %s", async (name, hold) => {
    const setup = await setUp();
    const client = hold(setup.client);
    if (name.startsWith("Vue")) expect(isReactive(client)).toBe(true);
    await connected(setup);
    expect([client.state, client.connection?.session]).toEqual(["connected", "s1"]);
    const heard: Message[] = [];
    const states: string[] = [];
    client.on("state", ({ state }) => states.push(state));
    const subscription = client.subscribe("room", (message) => heard.push(message));
    await subscription.ready;
    expect(reactive(subscription).subscribed).toBe(true);
    await client.publish("room", reactive({ text: "hi", list: [1, { deep: true }] }));
    await client.channel("room").publish(observable({ text: "hi", list: [1, { deep: true }] }));
    const content = { text: "hi", list: [1, { deep: true }] };
    expect(setup.server.last.actions("send")).toMatchObject([{ content }, { content }]);
    setup.server.last.send({ type: "message", channel: "room", content: 1 });
    await until(() => heard.length === 1);
    // eslint-disable-next-line @typescript-eslint/unbound-method -- the client ties them to itself
    const { publish, ping } = client;
    await publish("room", 2);
    await ping();
    client.reconnect();
    await until(() => setup.server.connections.length === 2);
    await connected(setup);
    expect(states).toEqual(["waiting", "connecting", "connected"]);
    client.close();
    expect(setup.client.state).toBe("closed");
  });

  it("may give the options and where a channel stands", async () => {
    const store = reactive({
      options: { timeoutMs: 5_000, backoff: { baseMs: 7 } },
      since: { offset: 3, epoch: "e" },
    });
    const setup = await setUp(store.options);
    await setup.client.subscribe("room", () => undefined, { since: store.since }).ready;
    expect(setup.server.last.actions("subscribe")).toMatchObject([{ since: { offset: 3, epoch: "e" } }]);
  });
});
