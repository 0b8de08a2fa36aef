import { describe, expect, it } from "vitest";
import { loadConfig, type Config } from "../../src/config.js";
import { AppLoader, type LoadedApps } from "../../src/node-apps.js";
import { PUSHER_DEFAULTS } from "../../src/protocols/pusher/settings.js";

const SECRET = "s".repeat(32);
const KEYS = [{ key: "k", secret: SECRET }];

const config = (flags: Readonly<Record<string, unknown>>): Config => loadConfig({ flags }).config;

function load(flags: Readonly<Record<string, unknown>>, production = false): LoadedApps {
  return new AppLoader({ production }).load(config(flags));
}

describe("the apps of a configuration", () => {
  it("have what is set for Pusher, their origins and whether they are enabled", () => {
    const shop = {
      id: "shop",
      keys: KEYS,
      enabled: false,
      origins: ["https://a.example"],
      pusher: { clientEvents: true },
    };
    const { settings } = load({
      appKey: "m",
      appSecret: SECRET,
      pusher: { maxBatchEvents: 2 },
      origins: "https://node.example",
      apps: [shop],
    });
    expect(settings).toMatchObject([
      // The node's origins are not the app's: they hold where it has none.
      {
        id: "main",
        enabled: true,
        origins: [],
        keys: [{ key: "m", secret: SECRET }],
        protocolSettings: { pusher: { ...PUSHER_DEFAULTS, maxBatchEvents: 2 } },
      },
      {
        id: "shop",
        enabled: false,
        origins: ["https://a.example"],
        keys: KEYS,
        protocolSettings: { pusher: { ...PUSHER_DEFAULTS, clientEvents: true } },
      },
    ]);
  });

  it("have rules by the kinds of channels where they have keys, and by prefix", () => {
    const namespaces = { "private-chat-*": { historySize: 5 } };
    const apps = [
      { id: "shop", keys: KEYS, namespaces },
      { id: "blog", namespaces },
    ];
    const [, shop, blog] = load({ apps }).settings;
    expect(shop!.rulesOf("presence-room")).toMatchObject({ presence: true, joinLeave: true });
    expect(shop!.rulesOf("cache-room")).toMatchObject({ replayLast: true, history: { size: 1 } });
    expect(blog!.rulesOf("presence-room")).toMatchObject({ presence: false, joinLeave: false });
    for (const { rulesOf } of [shop!, blog!]) {
      expect(rulesOf("private-chat-7").history).toMatchObject({ size: 5 });
      expect(rulesOf("private-7").history).toBeUndefined();
    }
  });

  it("without a key for tokens let anyone in, but in production only where allowOpen says so", () => {
    const required = (
      flags: Readonly<Record<string, unknown>>,
      production: boolean,
    ): (readonly [string, boolean])[] =>
      load(flags, production).settings.map(({ id, authorizer }) => [id, authorizer.required] as const);
    const flags = {
      apps: [
        { id: "a", keys: KEYS },
        { id: "b", keys: [{ key: "b", secret: SECRET }], allowOpen: true },
      ],
    };
    expect(required(flags, false)).toEqual([
      ["main", false],
      ["a", false],
      ["b", false],
    ]);
    expect(required(flags, true)).toEqual([
      ["main", true],
      ["a", true],
      ["b", false],
    ]);
    expect(required({ ...flags, allowOpen: true }, true)[0]).toEqual(["main", false]);
    expect(load(flags, true).newlyOpen).toEqual(["b"]);
  });

  it("tell what has changed by name, Pusher's settings one by one, and who newly is open", () => {
    const loader = new AppLoader({ production: true });
    const loadAgain = (flags: Readonly<Record<string, unknown>>): LoadedApps => {
      const loaded = loader.load(config(flags));
      loaded.accept();
      return loaded;
    };
    const shop = { id: "shop", keys: KEYS };
    loadAgain({ appKey: "m", appSecret: SECRET, apps: [shop] });
    const again = { ...shop, enabled: false, origins: ["https://a.example"], allowOpen: true };
    const { changes, newlyOpen } = loadAgain({
      ...{ appKey: "n", appSecret: SECRET, pusher: { clientEvents: true, maxBatchEvents: 2 } },
      apps: [{ ...again, namespaces: { "private-*": {} } }],
    });
    expect(changes).toEqual({
      added: [],
      removed: [],
      changed: [
        { app: "main", changed: ["keys", "pusher.clientEvents", "pusher.maxBatchEvents"] },
        { app: "shop", changed: ["enabled", "allowOpen", "origins", "namespaces.private-*"] },
      ],
    });
    expect(newlyOpen).toEqual(["shop"]);
    const { changes: other } = loadAgain({ appId: "123", appKey: "n", appSecret: SECRET, apps: [] });
    expect(other).toMatchObject({ added: ["123"], removed: ["shop"], changed: [{ app: "main" }] });
  });
});
