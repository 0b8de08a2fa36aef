import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ConfigError, configSchema, defaultConfig, loadConfig, type Config } from "../../../src/config.js";
import { fieldNames, fieldOf } from "../../../src/config/apps.js";
import { shown } from "../../../src/config/load.js";
import { PUSHER_DEFAULTS } from "../../../src/protocols/pusher/settings.js";

const SECRET = "hush".repeat(8);

const load = (apps: unknown): Config["apps"] => loadConfig({ flags: { apps } }).config.apps;

function refusals(apps: unknown, sources: Parameters<typeof loadConfig>[0] = {}): string[] {
  try {
    loadConfig({ ...sources, flags: { ...sources.flags, apps } });
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message.split("\n");
  }
  throw new Error("it was accepted");
}

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "starling-apps-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function file(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

describe("apps", () => {
  it("have the defaults of the options at the top level, but open no API and keep nothing", () => {
    expect(load([{ id: "shop" }])).toEqual([
      {
        id: "shop",
        enabled: true,
        jwtAlgorithm: defaultConfig.jwtAlgorithm,
        jwtClockToleranceMs: defaultConfig.jwtClockToleranceMs,
        allowOpen: false,
        origins: [],
        namespaces: {},
        apiKeys: [],
        keys: [],
        pusher: PUSHER_DEFAULTS,
        maxConnections: 0,
      },
    ]);
    expect(loadConfig({}).config.apps).toEqual([]);
  });

  it("take over nothing from the top level", () => {
    const { apps } = loadConfig({
      flags: { jwtIssuer: "us", apps: [{ id: "shop", jwtSecret: SECRET }] },
    }).config;
    expect(apps[0]?.jwtIssuer).toBeUndefined();
  });

  it("come from a file, a variable, a file that a variable names and a flag alike", () => {
    const entries = [
      {
        id: "shop",
        jwtSecret: SECRET,
        apiKeys: ["k1", "k2"],
        keys: [
          { key: "new", secret: "a secret".repeat(2).replaceAll(" ", "-") },
          { key: "old", secret: "b secret".repeat(2).replaceAll(" ", "-") },
        ],
        namespaces: { chat: { historySize: 10, recovery: true } },
        maxConnections: 7,
        enabled: false,
        origins: ["https://shop.example", "https://*.shop.example"],
        pusher: { clientEvents: true, maxPresenceMembers: 7 },
      },
      { id: "Blog_2-x" },
    ];
    const text = JSON.stringify(entries);
    const wanted = load(entries);
    expect(wanted[0]).toMatchObject({
      apiKeys: ["k1", "k2"],
      namespaces: { chat: { history: { size: 10 }, recovery: true } },
      enabled: false,
      origins: ["https://shop.example", "https://*.shop.example"],
      pusher: { ...PUSHER_DEFAULTS, clientEvents: true, maxPresenceMembers: 7 },
    });
    expect(load(text)).toEqual(wanted);
    expect(loadConfig({ env: { STARLING_APPS: text } }).config.apps).toEqual(wanted);
    expect(loadConfig({ env: { STARLING_APPS_FILE: file("apps.json", text) } }).config.apps).toEqual(wanted);
    expect(loadConfig({ configFile: file("apps.yaml", `apps: ${text}`) }).config.apps).toEqual(wanted);
    expect(load([{ id: "shop", apiKeys: "k1, k2" }])[0]?.apiKeys).toEqual(["k1", "k2"]);
    expect(load([{ id: "shop", origins: "https://a.example, null" }])[0]?.origins).toEqual([
      "https://a.example",
      "null",
    ]);
    // As a command hands them to the nodes that it starts.
    expect(configSchema.parse({ ...defaultConfig, apps: wanted }).apps).toEqual(wanted);
    expect(load(JSON.stringify(wanted))).toEqual(wanted);
  });

  it.each<[unknown, string]>([
    ["[{", "*** (2 bytes) is not allowed: a list with the settings of each app"],
    ['[{"id":"a",}]', "as JSON in a flag or variable; it is no JSON from character 12 on"],
    [{ shop: {} }, '{"shop":{}} is not allowed: a list with'],
    [[1], "*** is not allowed: the settings of an app are an object with an id"],
    [[{}], "0.id none is not allowed: an id is 1 to 64 of A-Z a-z 0-9 _ -"],
    [[{ id: "a/b" }], '0.id "a/b" is not allowed: an id is 1 to 64'],
    [[{ id: "" }], '0.id "" is not allowed'],
    [[{ id: "x".repeat(65) }], "is not allowed: an id is 1 to 64"],
    [[{ id: 5 }], "0.id 5 is not allowed: an id is 1 to 64 of A-Z a-z 0-9 _ -, and not other, which"],
    [[{ id: 5 }], ": write it in quotes"],
    [
      [{ id: "a", keys: [{ key: 12, secret: SECRET }] }],
      "a.keys.0.key 12 is not allowed: a key is 1 to 128 of A-Z a-z 0-9 _ -: write it in quotes",
    ],
    [[{ id: "a", enabled: 1 }], "a.enabled 1 is not allowed: true or false"],
    [[{ id: "a", enabled: null }], "a.enabled null is not allowed: true or false"],
    [
      [{ id: "a", origins: ["*"] }],
      'a.origins.0 "*" is not allowed: to allow any origin, leave the list empty',
    ],
    [
      [{ id: "a", origins: "https://a.example/" }],
      'a.origins "https://a.example/" is not allowed: an origin is',
    ],
    [[{ id: "a", pusher: true }], "a.pusher *** is not allowed: an object with the settings of Pusher"],
    [
      [{ id: "a", pusher: { maxPresenceMembers: 1001 } }],
      "a.pusher.maxPresenceMembers 1001 is not allowed: a whole number from 1 to 1000",
    ],
    [
      [{ id: "a", pusher: { maxPresenceMember: 1 } }],
      "a.pusher.maxPresenceMember *** is not allowed: there is no such setting of Pusher: did you mean maxPresenceMembers?",
    ],
    [
      [{ id: "main" }],
      'main.id "main" is not allowed: the options at the top level are those of the app main',
    ],
    [
      [{ id: "other" }],
      'other.id "other" is not allowed: an id is 1 to 64 of A-Z a-z 0-9 _ -, and not other',
    ],
    [[{ id: "a" }, { id: "a" }], 'a.id "a" is not allowed: another app has this id too'],
    [
      [{ id: "a", maxConnection: 1 }],
      "a.maxConnection *** is not allowed: there is no such setting of an app: did you mean maxConnections?",
    ],
    [[{ id: "a", constructor: 1 }], "a.constructor *** is not allowed: there is no such setting"],
    [
      [{ id: "a", maxConnections: -1 }],
      "a.maxConnections -1 is not allowed: a whole number from 0 to 10000000",
    ],
    [[{ id: "a", jwtIssuer: null }], "a.jwtIssuer null is not allowed: any text but the empty one"],
    [[{ id: "a", jwtAlgorithm: "none" }], 'a.jwtAlgorithm "none" is not allowed: HS256, RS256 or ES256'],
    [[{ id: "a", jwtSecret: "short" }], "a.jwtSecret *** (5 bytes) is not allowed: at least 32 bytes"],
    [[{ id: "a", apiKeys: ["a b"] }], "a.apiKeys.0 *** (3 bytes) is not allowed: a key is printable ASCII"],
    [[{ id: "a", apiKeys: "a b" }], "a.apiKeys *** (3 bytes) is not allowed: a key is printable ASCII"],
    [[{ id: "a", keys: {} }], "a.keys {} is not allowed: a list of pairs { key, secret }"],
    [[{ id: "a", keys: [{ key: "k" }] }], "a.keys.0.secret none is not allowed: a secret is 16 to 256"],
    [
      [{ id: "a", keys: [{ key: "k k", secret: SECRET }] }],
      'a.keys.0.key "k k" is not allowed: a key is 1 to 128',
    ],
    [[{ id: "a", keys: [{ key: "k", secret: "short" }] }], "a.keys.0.secret *** (5 bytes) is not allowed"],
    [
      [{ id: "a", keys: [{ key: "k", secret: SECRET, more: 1 }] }],
      "a.keys.0.more *** is not allowed: a pair is { key, secret } and nothing else: leave it out",
    ],
    [
      [{ id: "a", keys: [{ key: "k", secrt: SECRET }] }],
      "a.keys.0.secrt *** (32 bytes) is not allowed: a pair is { key, secret } and nothing else: did you mean secret?",
    ],
    [
      [{ id: "a", keys: ["k"] }],
      "a.keys.0 *** (1 bytes) is not allowed: a pair is { key, secret } and nothing else",
    ],
    [
      [{ id: "a", namespaces: { chat: { historySize: -1 } } }],
      "a.namespaces.chat.historySize -1 is not allowed: a whole number from 0 to 10000",
    ],
    [
      [
        { id: "a", keys: [{ key: "k", secret: SECRET }] },
        { id: "b", keys: [{ key: "k", secret: SECRET }] },
      ],
      'b.keys.0.key "k" is not allowed: app a has this key too: a key is of one app, once',
    ],
    [
      [
        {
          id: "a",
          keys: [
            { key: "k", secret: SECRET },
            { key: "k", secret: SECRET },
          ],
        },
      ],
      'a.keys.1.key "k" is not allowed: app a has this key too',
    ],
  ])("%j are refused, saying which app, where and why", (given, message) => {
    const lines = refusals(given);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(message);
    expect(lines[0]).toMatch(/^--apps: /);
  });

  it("are refused with all that is wrong at once", () => {
    expect(refusals([{ id: "a", maxConnections: -1, jwtAlgorithm: "x" }, { id: "main" }])).toHaveLength(3);
  });

  it.each<[object, RegExp]>([
    [
      { jwtSecret: SECRET, jwtJwksUrl: "https://k.example" },
      /^app a: at most one of .* may be set, not jwtSecret \*\*\* and jwtJwksUrl "https:\/\/k.example"$/,
    ],
    [
      { jwtSecret: SECRET, jwtAlgorithm: "RS256" },
      /^app a: jwtSecret \*\*\* does not fit jwtAlgorithm "RS256": set/,
    ],
    [{ jwtJwksUrl: "https://k.example" }, /^app a: jwtJwksUrl .* set jwtAlgorithm to RS256 or ES256$/],
  ])("with token settings that do not go together are refused: %j", (settings, message) => {
    expect(refusals([{ id: "a", ...settings }])[0]).toMatch(message);
  });

  it("without a key for tokens are refused in production unless each says allowOpen itself", () => {
    const sources = { env: { NODE_ENV: "production" }, flags: { allowOpen: true } };
    expect(refusals([{ id: "a" }], sources)[0]).toMatch(
      /^app a: NODE_ENV=production and no key for tokens: .* or its allowOpen if that is meant$/,
    );
    const apps = [
      { id: "a", allowOpen: true },
      { id: "b", jwtSecret: SECRET },
      // For Pusher's clients.
      { id: "c", keys: [{ key: "k", secret: SECRET }] },
    ];
    expect(() => loadConfig({ ...sources, flags: { ...sources.flags, apps } })).not.toThrow();
    expect(() => load([{ id: "a" }])).not.toThrow();
  });

  it("have API keys of their own, which guard an API beyond loopback as main's do", () => {
    const apps = [{ id: "a", apiKeys: ["hush"] }];
    const [line] = refusals(apps, { flags: { apiKeys: "k,hush" } });
    expect(line).toBe("app a: apiKeys 1 of 1 (***) is one of app main too: a key opens one app");
    expect(() => loadConfig({ flags: { apiHost: "0.0.0.0", apps } })).not.toThrow();
    expect(refusals([{ id: "a" }], { flags: { apiHost: "0.0.0.0" } })[0]).toMatch(/without an API key/);
  });

  it("that would take each other's tokens are warned of", () => {
    const warnings = (...apps: object[]): readonly string[] =>
      loadConfig({ flags: { jwtSecret: SECRET, apps } }).warnings;
    expect(warnings({ id: "a", jwtSecret: SECRET })).toEqual([
      "apps main and a verify tokens with the same key, audience and issuer: a token of one opens the other too",
    ]);
    expect(warnings({ id: "a", jwtSecret: SECRET, jwtAudience: "a" })).toEqual([]);
    expect(warnings({ id: "a" }, { id: "b" })).toEqual([]);
    expect(warnings({ id: "a", jwtAlgorithm: "RS256", jwtJwksUrl: "http://k.example" })).toEqual([
      "app a: jwtJwksUrl is not https: anyone on the network path can replace the keys that verify tokens",
    ]);
  });

  it("show no secret, wherever it stands", () => {
    const apps = load([
      { id: "a", jwtSecret: SECRET, apiKeys: ["hush"], keys: [{ key: "open-key", secret: SECRET }] },
    ]);
    const text = shown("apps", apps, JSON.stringify);
    expect(text).not.toContain("hush");
    expect(text).toContain('"keys":[{"key":"open-key","secret":"***"}]');
    for (const wrong of [
      ["hush"],
      [{ id: "a", jwtSecrt: "hush" }],
      [{ id: "a", jwtSecret: ["hush"] }],
      [{ id: "a", keys: ["hush"] }],
      [{ id: "a", keys: "hush" }],
      [{ id: "a", pusher: { secret: "hush", key: "hush" } }],
      [{ id: "a", pusher: "hush" }],
      [{ id: "a", keys: [{ key: "k", secret: { a: "hush" }, more: "hush" }] }],
      [{ id: "a", apiKeys: { a: "hush hush" } }],
      { a: { jwtSecret: "hush", other: { deep: "hush" } } },
      '[{"jwtSecret":"hush"',
    ]) {
      expect(refusals(wrong).join(), JSON.stringify(wrong)).not.toContain("hush");
    }
  });

  it("say of each setting what it does", () => {
    for (const name of fieldNames) expect(fieldOf(name).description.length, name).toBeGreaterThan(20);
  });
});
