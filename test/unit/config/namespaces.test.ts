import { describe, expect, expectTypeOf, it } from "vitest";
import { ConfigError, configSchema, defaultConfig, loadConfig, type Config } from "../../../src/config.js";
import { ruleNames, rules, type Rule } from "../../../src/config/namespaces.js";
import { DEFAULT_RULES, rulesByNamespace, type ChannelRules } from "../../../src/core/channel-rules.js";

const load = (namespaces: unknown): Config["namespaces"] =>
  loadConfig({ flags: { namespaces } }).config.namespaces;

function refusals(namespaces: unknown): string[] {
  try {
    load(namespaces);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message.split("\n");
  }
  throw new Error("it was accepted");
}

const CHAT = {
  historySize: 100,
  historyTtlMs: 600_000,
  recovery: true,
  presence: true,
  joinLeave: true,
  slowReader: "repair",
};

describe("namespaces", () => {
  it("are what core takes as rules of channels", () => {
    expectTypeOf<Config["namespaces"]>().toExtend<Readonly<Record<string, ChannelRules>>>();
    expectTypeOf<ChannelRules>().toExtend<Config["namespaces"][string]>();
    const rulesOf = rulesByNamespace(load({ chat: CHAT }));
    expect(rulesOf("chat:lobby").history).toEqual({ size: 100, ttlMs: 600_000, bytes: 8_388_608 });
    expect(rulesOf("room")).toEqual(DEFAULT_RULES);
  });

  it("have the same defaults as channels in no namespace", () => {
    expect(load({ plain: {} })).toEqual({ plain: DEFAULT_RULES });
  });

  it("come as JSON from a flag or a variable, and as they are from a file", () => {
    const wanted = {
      chat: {
        history: { size: 100, ttlMs: 600_000, bytes: 8_388_608 },
        recovery: true,
        presence: true,
        joinLeave: true,
        publish: "anyone",
        replayLast: false,
        slowReader: "repair",
      },
    };
    const text = JSON.stringify({ chat: CHAT });
    expect(load(text)).toEqual(wanted);
    expect(loadConfig({ env: { STARLING_NAMESPACES: text } }).config.namespaces).toEqual(wanted);
    expect(load({ chat: CHAT })).toEqual(wanted);
    expect(load("{}")).toEqual({});
  });

  it("hold chat for the demo by default, and nothing in production", () => {
    expect(loadConfig({}).config.namespaces).toEqual(load({ chat: CHAT }));
    const env = { NODE_ENV: "production" };
    expect(loadConfig({ env, flags: { allowOpen: true } }).config.namespaces).toEqual({});
  });

  it("are accepted again as a configuration has them", () => {
    const namespaces = load({ chat: CHAT, plain: {}, price: { historySize: 1, replayLast: true } });
    expect(configSchema.parse({ ...defaultConfig, namespaces }).namespaces).toEqual(namespaces);
    const history = { size: 10_001, ttlMs: 1000 };
    expect(configSchema.safeParse({ ...defaultConfig, namespaces: { chat: { history } } }).success).toBe(
      false,
    );
  });

  it("keep history for ten minutes where only its size is given, and none where that is 0", () => {
    expect(load({ a: { historySize: 5 } })["a"]!.history).toEqual({
      size: 5,
      ttlMs: 600_000,
      bytes: 8_388_608,
    });
    expect(load({ a: { historySize: 0, historyTtlMs: 5000 } })["a"]!.history).toBeUndefined();
  });

  it.each<[unknown, string]>([
    ['{"chat"', '"{\\"chat\\"" is not allowed: an object with the rules of each namespace'],
    ["[]", "[] is not allowed: an object with"],
    [{ chat: 1 }, "chat 1 is not allowed: an object with the rules of the namespace"],
    [
      { chat: { historySise: 1 } },
      "chat.historySise 1 is not allowed: there is no such rule: did you mean historySize?",
    ],
    [{ chat: { constructor: 1 } }, "chat.constructor 1 is not allowed: there is no such rule"],
    [
      { chat: { historySize: 10_001 } },
      "chat.historySize 10001 is not allowed: a whole number from 0 to 10000",
    ],
    [{ chat: { historySize: -1 } }, "chat.historySize -1 is not allowed"],
    [{ chat: { historySize: null } }, "chat.historySize null is not allowed"],
    [
      { chat: { historyTtlMs: 999 } },
      "chat.historyTtlMs 999 is not allowed: a whole number from 1000 to 604800000",
    ],
    [{ chat: { historyTtlMs: 604_800_001 } }, "chat.historyTtlMs 604800001 is not allowed"],
    [{ chat: { recovery: "yes" } }, 'chat.recovery "yes" is not allowed: true or false'],
    [{ chat: { publish: "me" } }, 'chat.publish "me" is not allowed: anyone, subscribers or server'],
    [
      { chat: { recovery: true } },
      "chat.recovery true is not allowed: it needs history: set chat.historySize",
    ],
    [{ chat: { replayLast: true } }, "chat.replayLast true is not allowed: it needs history"],
    [{ chat: { slowReader: "repair" } }, 'chat.slowReader "repair" is not allowed: it needs history'],
    [{ chat: { slowReader: "latest" } }, 'chat.slowReader "latest" is not allowed: it needs history'],
    [{ chat: { joinLeave: true } }, "chat.joinLeave true is not allowed: it needs presence"],
    [{ "a:b": {} }, "a:b {} is not allowed: a namespace is 1 to 254 characters"],
    [{ "#user": {} }, "#user {} is not allowed: a namespace is"],
    [{ "": {} }, "is not allowed: a namespace is"],
    [{ "a b": {} }, "is not allowed: a namespace is"],
    [{ ["x".repeat(255)]: {} }, "is not allowed: a namespace is"],
    ['{"__proto__":{}}', "is not allowed: a namespace is"],
    [{ "a*b": {} }, 'a*b {} is not allowed: "*" stands at the end, behind a prefix of channel names'],
    [{ "*": {} }, '* {} is not allowed: "*" stands at the end, behind a prefix'],
    [{ "a**": {} }, '"*" stands at the end'],
    [{ "#user:*": {} }, '"*" stands at the end'],
    [{ "a b*": {} }, '"*" stands at the end'],
    [{ [`${"x".repeat(255)}*`]: {} }, '"*" stands at the end'],
    [
      { "private-*": { recovery: true } },
      "private-*.recovery true is not allowed: it needs history: set private-*.historySize",
    ],
  ])("%j are refused, saying where and why", (given, message) => {
    const lines = refusals(given);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(message);
    expect(lines[0]).toMatch(/^--namespaces: /);
  });

  it("are refused with all that is wrong at once", () => {
    expect(refusals({ chat: { historySise: 1, publish: "me" }, "a:b": {} })).toHaveLength(3);
  });

  it.each(["chat", "$private", "presence-room", "a/b", "!", "~", "x".repeat(254)])(
    "may be called %s",
    (name) => {
      expect(load({ [name]: {} })).toEqual({ [name]: DEFAULT_RULES });
    },
  );

  it.each(["private-chat-*", "chat:*", "$a/b*", "a#*", `${"x".repeat(254)}*`])(
    "may be a prefix of channels, %s",
    (name) => {
      expect(load({ [name]: {} })).toEqual({ [name]: DEFAULT_RULES });
    },
  );

  it("say of each rule what it does and why its default is one, which its schema allows", () => {
    for (const name of ruleNames) {
      const { kind, description, reason, default: value }: Rule = rules[name];
      expect(kind.schema.safeParse(value).success, name).toBe(true);
      expect(Math.min(description.length, reason.length), name).toBeGreaterThan(20);
    }
  });
});

describe("the options of channels", () => {
  it("refuse a grace that outlasts the member", () => {
    const flags = { presenceGraceMs: "60000" };
    expect(() => loadConfig({ flags })).toThrow(
      /presenceGraceMs 60000 .* must be at most a third of presenceTtlMs 60000/,
    );
    expect(() => loadConfig({ flags: { presenceGraceMs: "0" } })).not.toThrow();
  });
});
