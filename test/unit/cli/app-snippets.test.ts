import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { appSnippets } from "../../../src/cli/app-snippets.js";
import { appsOf, loadConfig, type AppConfig, type Config } from "../../../src/config.js";

const APP = { id: "1234567", key: "12345678901234567e12", secret: "5".repeat(64) };
const MAIN = { ...APP, id: "main" };
const HERE = { host: "127.0.0.1", port: 8000, tls: false };
const THERE = { host: "ws.example.com", port: 443, tls: true };

function snippet(title: RegExp, app = APP, address = HERE): string {
  const found = appSnippets(app, address).filter((one) => title.test(one.title));
  expect(found, String(title)).toHaveLength(1);
  return found[0]!.text;
}

/** `export A=1` and `A="1"`, as a shell or Laravel reads them. */
function variables(text: string): Record<string, string> {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return Object.fromEntries(
    lines.map((line) => /^(?:export )?(\w+)="?([^"]*)"?$/.exec(line)!.slice(1)) as [string, string][],
  );
}

/** What a line of JavaScript gives to `new Pusher`. */
function givenToPusher(text: string): unknown[] {
  let given: unknown[] = [];
  class Pusher {
    constructor(...values: unknown[]) {
      given = values;
    }
  }
  // eslint-disable-next-line @typescript-eslint/no-implied-eval
  (new Function("Pusher", text) as (pusher: unknown) => void)(Pusher);
  return given;
}

describe("what to write for a new app", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "starling-snippets-"));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  function fromFile(text: string): Config {
    const configFile = join(directory, "starling.yaml");
    writeFileSync(configFile, text);
    return loadConfig({ configFile }).config;
  }
  const pairOf = (config: Config, id: string): AppConfig["keys"] | undefined =>
    appsOf(config).find((app) => app.id === id)?.keys;

  it.each([APP, MAIN])("is taken by a node, from variables and from its file: $id", (app) => {
    const pair = [{ key: app.key, secret: app.secret }];
    expect(pairOf(loadConfig({ env: variables(snippet(/variables/, app)) }).config, app.id)).toEqual(pair);
    expect(pairOf(fromFile(snippet(/yaml/, app)), app.id)).toEqual(pair);
  });

  it("says how client events are turned on, by a variable and in the file", () => {
    const [, name = "", value = ""] = /^# export (\w+)='(.*)' for client events/m.exec(snippet(/variables/))!;
    expect(loadConfig({ env: { [name]: value } }).config.pusher.clientEvents).toBe(true);
    const [, line = ""] = /^# (pusher: .*) for client events/m.exec(snippet(/yaml/, MAIN))!;
    expect(fromFile(line).pusher.clientEvents).toBe(true);
  });

  it.each(["::1", "[::1]"])(
    "writes an address of IPv6 in brackets, as a port stands behind it: %s",
    (host) => {
      const there = { ...HERE, host };
      for (const title of [/\.env/, /^pusher-js$/, /Node/, /Python/, /Go/, /PHP/, /own SDK/]) {
        expect(snippet(title, APP, there)).toMatch(/(?<!\[)\[::1\](?!\])/);
      }
      expect(snippet(/Go/, APP, there)).toContain('"[::1]:8000"');
    },
  );

  it("names the app and where the nodes are, to Laravel", () => {
    expect(variables(snippet(/\.env/))).toMatchObject({
      BROADCAST_CONNECTION: "pusher",
      PUSHER_APP_ID: APP.id,
      PUSHER_APP_KEY: APP.key,
      PUSHER_APP_SECRET: APP.secret,
      PUSHER_HOST: "127.0.0.1",
      PUSHER_PORT: "8000",
      PUSHER_SCHEME: "http",
      VITE_PUSHER_APP_KEY: "\${PUSHER_APP_KEY}",
    });
    const there = variables(snippet(/\.env/, APP, THERE));
    expect(there).toMatchObject({
      PUSHER_HOST: "ws.example.com",
      PUSHER_PORT: "443",
      PUSHER_SCHEME: "https",
    });
    const echo = snippet(/Echo/);
    for (const [, name] of echo.matchAll(/import\.meta\.env\.(\w+)/g))
      expect(there, name).toHaveProperty(name!);
    // Pages get the key alone.
    expect(Object.keys(there).filter((name) => /^VITE.*(SECRET|ID)$/.test(name))).toEqual([]);
  });

  it("names the key and where the nodes are, to pusher-js, and no secret", () => {
    const options = { cluster: "", enabledTransports: ["ws", "wss"] };
    expect(givenToPusher(snippet(/^pusher-js$/))).toEqual([
      APP.key,
      { ...options, wsHost: "127.0.0.1", wsPort: 8000, wssPort: 8000, forceTLS: false },
    ]);
    expect(givenToPusher(snippet(/^pusher-js$/, APP, THERE))).toEqual([
      APP.key,
      { ...options, wsHost: "ws.example.com", wsPort: 443, wssPort: 443, forceTLS: true },
    ]);
  });

  it("names all of it to the SDKs of back ends", () => {
    const { id: appId, key, secret } = APP;
    expect(givenToPusher(snippet(/Node/))).toEqual([
      { appId, key, secret, host: "127.0.0.1", port: "8000", useTLS: false },
    ]);
    for (const sdk of [/Python/, /Go/, /PHP/]) {
      for (const part of [appId, key, secret, "127.0.0.1", "8000"]) expect(snippet(sdk)).toContain(part);
    }
    expect(snippet(/Python/, APP, THERE)).toContain("ssl=True,");
    expect(snippet(/Go/, APP, THERE)).toMatch(/Host: +"ws\.example\.com:443",\s+Secure: true,/);
    expect(snippet(/PHP/, APP, THERE)).toMatch(/"scheme" => "https",\s+"useTLS" => true,/);
  });

  it("says that Python's SDK takes ids of digits alone, where the id is another", () => {
    const titles = (app: typeof APP): string =>
      appSnippets(app, HERE)
        .map(({ title }) => title)
        .join();
    expect(titles(APP)).not.toContain("digits");
    expect(titles(MAIN)).toContain("Pusher's SDK for Python (takes ids of digits alone");
  });

  it("names the app to Starling's own SDK", () => {
    expect(snippet(/own SDK/)).toContain('connect("ws://127.0.0.1:8000/?app=1234567")');
    expect(snippet(/own SDK/, MAIN, THERE)).toContain('connect("wss://ws.example.com:443/")');
  });
});
