import { describe, expect, expectTypeOf, it } from "vitest";
import {
  ConfigError,
  appsOf,
  configSchema,
  defaultConfig,
  loadConfig,
  type Config,
} from "../../../src/config.js";
import { shown } from "../../../src/config/load.js";
import { pusherFieldNames, pusherFieldOf } from "../../../src/config/pusher.js";
import { PUSHER_DEFAULTS, type PusherSettings } from "../../../src/protocols/pusher/settings.js";

const SECRET = "hush".repeat(8);
const PAIR = { appKey: "key", appSecret: SECRET };
const production = { NODE_ENV: "production" };

function refusals(sources: Parameters<typeof loadConfig>[0]): string[] {
  try {
    loadConfig(sources);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message.split("\n");
  }
  throw new Error("it was accepted");
}

describe("settings of Pusher", () => {
  const load = (pusher: unknown): Config["pusher"] => loadConfig({ flags: { pusher } }).config.pusher;

  it("are those of the protocol, each with its default where it is not given", () => {
    expectTypeOf<Config["pusher"]>().toEqualTypeOf<PusherSettings>();
    expect([...pusherFieldNames].sort()).toEqual(Object.keys(PUSHER_DEFAULTS).sort());
    expect(load({})).toEqual(PUSHER_DEFAULTS);
    expect(load({ clientEvents: true })).toEqual({ ...PUSHER_DEFAULTS, clientEvents: true });
    for (const name of pusherFieldNames) {
      const { kind, default: value, description } = pusherFieldOf(name);
      expect(kind.schema.safeParse(value).success, name).toBe(true);
      expect(description.length, name).toBeGreaterThan(15);
    }
  });

  it("come as JSON from a flag or a variable, and are accepted again as a configuration has them", () => {
    const wanted = { ...PUSHER_DEFAULTS, maxBatchEvents: 20 };
    expect(load('{"maxBatchEvents":20}')).toEqual(wanted);
    const env = { STARLING_PUSHER: '{"maxBatchEvents":20}' };
    expect(loadConfig({ env }).config.pusher).toEqual(wanted);
    expect(configSchema.parse({ ...defaultConfig, pusher: wanted }).pusher).toEqual(wanted);
  });

  it.each<[unknown, string]>([
    ["[]", "[] is not allowed: an object with the settings of Pusher, as JSON"],
    [
      "{",
      "*** (1 bytes) is not allowed: an object with the settings of Pusher, as JSON in a flag or variable; it is no JSON",
    ],
    ['{"a":1}}', "as JSON in a flag or variable; it is no JSON from character 8 on"],
    [
      { clientEvent: true },
      "clientEvent *** is not allowed: there is no such setting of Pusher: did you mean clientEvents?",
    ],
    [{ constructor: 1 }, "constructor *** is not allowed: there is no such setting"],
    [{ clientEvents: "yes" }, 'clientEvents "yes" is not allowed: true or false'],
    [{ clientEvents: null }, "clientEvents null is not allowed"],
    [
      { clientEventsPerSecond: 0 },
      "clientEventsPerSecond 0 is not allowed: a whole number from 1 to 10000000",
    ],
    [{ authorizeWithinMs: -1 }, "authorizeWithinMs -1 is not allowed: a whole number from 0 to 600000"],
    [{ maxChannelNameBytes: 256 }, "maxChannelNameBytes 256 is not allowed: a whole number from 1 to 255"],
    [{ maxEventNameBytes: 201 }, "maxEventNameBytes 201 is not allowed: a whole number from 1 to 200"],
    [{ maxDataBytes: 0 }, "maxDataBytes 0 is not allowed: a whole number from 1 to 16777216"],
    [{ maxEventChannels: 1001 }, "maxEventChannels 1001 is not allowed: a whole number from 1 to 1000"],
    [{ maxBatchEvents: 1.5 }, "maxBatchEvents 1.5 is not allowed: a whole number from 1 to 1000"],
    [{ maxPresenceMembers: 1001 }, "maxPresenceMembers 1001 is not allowed: a whole number from 1 to 1000"],
    [
      { maxPresenceMemberBytes: 1025 },
      "maxPresenceMemberBytes 1025 is not allowed: a whole number from 1 to 1024",
    ],
  ])("%j are refused, saying which and why", (pusher, message) => {
    const lines = refusals({ flags: { pusher } });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(message);
    expect(lines[0]).toMatch(/^--pusher: /);
  });

  it("show what is set, and never what may be a secret in the wrong place", () => {
    expect(shown("pusher", load({ maxDataBytes: 7 }), JSON.stringify)).toContain('"maxDataBytes":7');
    expect(refusals({ flags: { pusher: { secret: "hush", key: { a: "hush" } } } }).join()).not.toContain(
      "hush",
    );
  });

  it("need frames that take the largest data, in each app that has keys", () => {
    const flags = { maxFrameBytes: "11263" };
    expect(() => loadConfig({ flags })).not.toThrow();
    expect(refusals({ flags: { ...flags, ...PAIR } })).toEqual([
      "pusher.maxDataBytes 10240 does not fit maxFrameBytes 11263 (--max-frame-bytes), as a frame has names too: set maxFrameBytes to at least 11264, or lower pusher.maxDataBytes",
    ]);
    expect(() => loadConfig({ flags: { ...PAIR, maxFrameBytes: "11264" } })).not.toThrow();
    const app = { id: "shop", keys: [{ key: "k", secret: SECRET }], pusher: { maxDataBytes: 70_000 } };
    expect(refusals({ flags: { apps: [app] } })[0]).toMatch(
      /^app shop: pusher\.maxDataBytes 70000 does not fit/,
    );
    expect(() => loadConfig({ flags: { apps: [{ ...app, keys: [] }] } })).not.toThrow();
  });

  it.each(["/", "/a/", "a", "/a//b", "/a b", "/a?b"])("have no path %j before them", (pusherPath) => {
    expect(refusals({ flags: { pusherPath } })[0]).toMatch(
      /^--pusher-path: .* begins with \/ and does not end with \/$/,
    );
  });

  it.each(["", "/realtime", "/a/b.c~d-e_f"])("may have the path %j before them", (pusherPath) => {
    expect(loadConfig({ flags: { pusherPath } }).config.pusherPath).toBe(pusherPath);
  });
});

describe("the app of appKey and appSecret", () => {
  const NAMESPACES = { "private-*": { historySize: 1 } };
  const ids = (flags: object): string[] =>
    appsOf(loadConfig({ flags: { ...flags } }).config).map(({ id }) => id);

  it("is main where no id is given", () => {
    const { config } = loadConfig({ flags: { ...PAIR, pusher: { clientEvents: true } } });
    expect(appsOf(config)).toMatchObject([
      { id: "main", keys: [{ key: "key", secret: SECRET }], pusher: { clientEvents: true } },
    ]);
    expect(appsOf(loadConfig({}).config)).toMatchObject([{ id: "main", keys: [] }]);
  });

  it("is what settings of Pusher at the top level are of: without it they are refused beside apps with keys", () => {
    const apps = [{ id: "shop", keys: [{ key: "k", secret: SECRET }] }];
    const pusher = { clientEvents: true };
    expect(refusals({ flags: { pusher, apps } })).toEqual([
      "pusher at the top level has no effect without appKey, as it is not that of apps: set pusher in the entries of apps",
    ]);
    // With a pair, before there is any, and where nothing is changed.
    for (const flags of [{ pusher, apps, ...PAIR }, { pusher }, { pusher: {}, apps }])
      expect(() => loadConfig({ flags })).not.toThrow();
  });

  it("is one more beside main and the others, with the namespaces and the settings of Pusher at the top level", () => {
    const flags = {
      ...PAIR,
      appId: "123",
      namespaces: NAMESPACES,
      pusher: { maxBatchEvents: 3 },
      apiKeys: "k",
      jwtSecret: SECRET,
    };
    const { config } = loadConfig({ flags: { ...flags, apps: [{ id: "shop" }] } });
    const [main, app, ...others] = appsOf(config);
    expect(main).toMatchObject({
      id: "main",
      keys: [],
      jwtSecret: SECRET,
      apiKeys: ["k"],
      enabled: true,
      origins: [],
    });
    const entry = {
      id: "123",
      keys: [{ key: "key", secret: SECRET }],
      namespaces: NAMESPACES,
      pusher: { maxBatchEvents: 3 },
    };
    // As an entry of `apps` would be.
    expect({ ...app, jwtSecret: undefined }).toEqual({
      ...loadConfig({ flags: { apps: [entry] } }).config.apps[0],
      ...{ jwtSecret: undefined, jwtPublicKeyFile: undefined, jwtJwksUrl: undefined },
      ...{ jwtAudience: undefined, jwtIssuer: undefined },
    });
    expect(others.map(({ id }) => id)).toEqual(["shop"]);
  });

  it("comes from three variables, or its secret from a file", () => {
    const env = { STARLING_APP_ID: "123", STARLING_APP_KEY: "key", STARLING_APP_SECRET: SECRET };
    expect(appsOf(loadConfig({ env }).config)[1]).toMatchObject({
      id: "123",
      keys: [{ key: "key", secret: SECRET }],
    });
    expect(shown("appSecret", SECRET)).toBe("***");
  });

  it.each<[object, RegExp]>([
    [{ appKey: "key" }, /^appKey and appSecret are a pair: set both or neither$/],
    [{ appSecret: SECRET }, /^appKey and appSecret are a pair: set both or neither$/],
    [{ appId: "123" }, /^appId "123" \(--app-id\) has no effect without appKey and appSecret: set both/],
    [{ ...PAIR, appId: "other" }, /^--app-id: "other" is not allowed: an id is .* and not other/],
    [{ ...PAIR, appKey: "a b" }, /^--app-key: "a b" is not allowed: a key is 1 to 128/],
    [
      { ...PAIR, appSecret: "hush" },
      /^--app-secret: \*\*\* \(4 bytes\) is not allowed: a secret is 16 to 256/,
    ],
    [
      { ...PAIR, appId: "shop", apps: [{ id: "shop" }] },
      /^appId "shop" \(--app-id\) is in apps too: add the pair to its keys/,
    ],
    [
      { ...PAIR, apps: [{ id: "shop", keys: [{ key: "key", secret: SECRET }] }] },
      /^appKey "key" \(--app-key\) is a key of app shop too: a key is of one app, once$/,
    ],
  ])("is refused where it does not go together: %j", (flags, message) => {
    const lines = refusals({ flags: { ...flags } });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(message);
    expect(lines[0]).not.toContain("hush");
  });

  it("needs no key for tokens in production, nor does main beside an app with keys", () => {
    expect(refusals({ env: production })[0]).toMatch(/^no token key is set and NODE_ENV is production/);
    for (const flags of [PAIR, { ...PAIR, appId: "123" }]) {
      expect(() => loadConfig({ env: production, flags })).not.toThrow();
    }
    expect(ids({ ...PAIR, appId: "123" })).toEqual(["main", "123"]);
  });

  it("is warned of where a key for tokens is empty in production, as then only signatures let clients in", () => {
    const env = { ...production, STARLING_JWT_SECRET: "" };
    expect(loadConfig({ env, flags: PAIR }).warnings).toEqual([
      "STARLING_JWT_SECRET is empty: clients without a signature are refused",
    ]);
    expect(loadConfig({ env, flags: { ...PAIR, allowOpen: true } }).warnings).toEqual([]);
    expect(loadConfig({ env: { STARLING_JWT_SECRET: "" }, flags: PAIR }).warnings).toEqual([]);
  });
});
