/** Starling as a Redis user that may do what docs/redis.md says, and nothing else. */

import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from "vitest";

import { configSchema, defaultConfig } from "../../src/config.js";
import { silentLog } from "../../src/core/log.js";
import { Stats } from "../../src/core/stats.js";
import { FORMAT } from "../../src/redis/link/fleet-format.js";
import { createRedisControl } from "../../src/redis/control/control.js";
import { createRedisLink } from "../../src/redis/link/link.js";
import { createRedisPresence } from "../../src/redis/presence/presence.js";
import { createRedisRegistry } from "../../src/redis/registry/registry.js";
import { describeBrokerContract } from "../contract/broker.js";
import { describeControlContract } from "../contract/control.js";
import { describeHistoryContract } from "../contract/history.js";
import { presenceContract } from "../contract/presence.js";
import { registryContract } from "../contract/registry.js";
import { eventually } from "../support/eventually.js";
import { CHAT_RULES, cleanUp, startTestNode, type InProcessNode } from "../support/nodes.js";
import { createRecorder, publish } from "../support/publications.js";
import { FakeCore } from "../support/fake-connection.js";
import { RULE, neededWhere, refusals, setUser, withUser } from "../support/redis-acl.js";
import { createRedisNode } from "../support/redis-node.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

const COMMANDS = RULE.filter((part) => part.startsWith("+")).map((part) => part.slice(1));
/** Names connections, and is not asked for; a URL's database; a Cluster; what nodes may come to use. */
const ELSEWHERE = [
  ...["client|setname", "asking", "cluster|slots", "cluster|info", "select", "spublish", "ssubscribe"],
  ...["unsubscribe", "sunsubscribe"],
];
const ONLY_HISTORY = neededWhere("keeps history");
const ONLY_PRESENCE = neededWhere("has presence");
/** Needs every command of the rule that one server is given. */
const NEITHER = { namespaces: {} };
const EVERYTHING = { namespaces: { chat: CHAT_RULES } };
const HISTORY = { namespaces: { chat: { ...CHAT_RULES, presence: false } } };
const PRESENCE = {
  namespaces: {
    chat: { ...CHAT_RULES, history: undefined, recovery: false, slowReader: "disconnect" as const },
  },
};

let redis: RedisServer;
let url = "";
let run = 0;

async function userOf(name: string, rule: readonly string[]): Promise<string> {
  await setUser(redis, name, rule);
  return withUser(redis.url, name);
}

beforeAll(async () => {
  redis = await startRedis();
  url = await userOf("starling", RULE);
});
afterAll(() => redis.stop());
afterEach(cleanUp);

const prefixOf = (what: string): string => `ws:${what}${run++}:`;

describeBrokerContract(
  "ACL user",
  (bounds) =>
    createRedisNode({ nodeId: "n1", url, prefix: prefixOf("broker"), broker: { ...bounds } }).broker,
);

describeHistoryContract("ACL user", {
  shared: true,
  create: (bus, options) =>
    createRedisNode({ nodeId: `n${run++}`, url, prefix: `ws:${bus}:`, broker: { shards: 4, ...options } })
      .broker,
});

describeControlContract("ACL user", () => {
  const { link, stats, log } = createRedisNode({ nodeId: "n1", url, prefix: prefixOf("control") });
  return createRedisControl({ link, askTimeoutMs: 2_000, nodes: () => Promise.resolve(["n1"]), stats, log });
});

presenceContract("ACL user", {
  create: (options) =>
    createRedisPresence({
      format: { oldest: FORMAT },
      ...options,
      nodeId: "a",
      link: createRedisLink({
        nodeId: "a",
        redis: { url, prefix: prefixOf("presence"), commandTimeoutMs: 2_000 },
        probeIntervalMs: 1_000,
        probeTimeoutMs: 1_000,
        stats: options.stats,
        log: silentLog,
      }),
      ttlMs: 300_000,
      shards: 1,
      log: silentLog,
    }),
});

registryContract("ACL user", {
  create: (options) =>
    createRedisRegistry({
      ...options,
      redis: { url, prefix: prefixOf("registry"), commandTimeoutMs: 2_000 },
      leaseTtlMs: 3_000,
      log: silentLog,
      notifySuperseded: (node, connection) => {
        throw new Error(`${connection} is on this node, not on ${node}`);
      },
    }),
});

it("clears up after a dead node with it", async () => {
  const prefix = prefixOf("reap");
  const admin = redis.client();
  await admin.zadd(`${prefix}nodes`, "1", "dead");
  const registry = createRedisRegistry({
    nodeId: "a",
    redis: { url, prefix, commandTimeoutMs: 2_000 },
    sessionTtlMs: 120_000,
    leaseTtlMs: 400,
    stats: new Stats(),
    log: silentLog,
    notifySuperseded: () => undefined,
  });
  await registry.start(new FakeCore());
  onTestFinished(() => registry.stop());
  await eventually(async () => expect(await admin.zrange(`${prefix}nodes`, "0", "-1")).toEqual(["a"]));
});

/** After the contracts: it looks at what they did. */
describe("the rule of docs/redis.md", () => {
  it("was enough for all of the contracts", async () => {
    expect(await refusals(redis)).toEqual([]);
  });

  it("allows no command that none of them uses", async () => {
    const used = new Set(
      [...(await redis.client().info("commandstats")).matchAll(/^cmdstat_([^:]+):calls=/gm)].map(
        ([, name]) => name!,
      ),
    );
    const idle = COMMANDS.filter((command) => !used.has(command) && !ELSEWHERE.includes(command));
    expect(idle).toEqual([]);
  });

  it("keeps other keys, channels and the server's own commands from Starling", async () => {
    const client = redis.client();
    const may = async (...command: string[]): Promise<boolean> =>
      (await client.call("ACL", "DRYRUN", "starling", ...command)) === "OK";
    expect(await may("SET", "ws:x", "1")).toBe(true);
    for (const command of ["UNSUBSCRIBE", "SUNSUBSCRIBE"])
      expect(await may(command, "ws:x"), command).toBe(true);
    expect(await may("SET", "other", "1")).toBe(false);
    expect(await may("PUBLISH", "other", "1")).toBe(false);
    for (const command of [
      ["FLUSHALL"],
      ["CONFIG", "GET", "*"],
      ["KEYS", "*"],
      ["SHUTDOWN"],
      ["ACL", "LIST"],
    ])
      expect(await may(...command), command.join(" ")).toBe(false);
  });
});

const without = (commands: readonly string[]): string[] => [
  ...RULE,
  ...commands.map((command) => `-${command}`),
];

async function startAs(rule: readonly string[], options: object): Promise<InProcessNode> {
  return startTestNode({ redis: await userOf("poor", rule), redisPrefix: prefixOf("poor"), ...options });
}

describe("a user that lacks a right", { timeout: 30_000 }, () => {
  const start = async (rule: readonly string[], options: object = EVERYTHING): Promise<void> => {
    const node = await startAs(rule, options);
    await node.stop();
  };

  it("is otherwise one that a node starts with", async () => {
    await start(RULE);
    await start(RULE, { redis: `${await userOf("poor", RULE)}/3` });
  });

  const told = COMMANDS.filter((command) => !ELSEWHERE.includes(command));
  it.each(told)("to %s is refused at the start, by the name of the command", async (command) => {
    const name = command.replace("|", "[ |]");
    await expect(start([...RULE, `-${command}`])).rejects.toThrow(
      new RegExp(`Redis at 127.*NOPERM.*\\b${name}\\b.*docs/redis\\.md`, "is"),
    );
  });

  it("to select the database that its URL names is refused at the start", async () => {
    const poor = await userOf("poor", [...RULE, "-select"]);
    await expect(start([...RULE, "-select"], { redis: `${poor}/3` })).rejects.toThrow(/NOPERM.*select/i);
  });

  it("to its keys is refused at the start", async () => {
    await expect(start([...RULE, "resetkeys", "~other:*"])).rejects.toThrow(
      /NOPERM: it may not use keys that begin with ws:.*docs\/redis\.md/,
    );
  });

  it("to its channels is refused at the start", async () => {
    await expect(start([...RULE, "resetchannels", "&other:*"])).rejects.toThrow(
      /NOPERM: it may not use channels that begin with ws:\S* \(PUBLISH and SUBSCRIBE\).*docs\/redis\.md/,
    );
  });

  it("to the ingest channel is refused at the start, and has it with one more pattern", async () => {
    await expect(start(RULE, { ingestChannel: "orders" })).rejects.toThrow(/NOPERM.*docs\/redis\.md/);
    await start([...RULE, "&orders"], { ingestChannel: "orders" });
  });

  it("is told what the right is for", async () => {
    await expect(start(without(["xadd", "xrange", "zcard", "zadd"]))).rejects.toThrow(
      "NOPERM: it may not use ZADD, XADD, XRANGE (for channels with history), ZCARD (for channels with presence); docs/redis.md",
    );
    await expect(start(RULE, { ingestChannel: "orders" })).rejects.toThrow(
      "NOPERM: it may not use SUBSCRIBE orders (for ingestChannel); docs/redis.md",
    );
  });

  it("and one with the wrong password are told apart, and the password is not repeated", async () => {
    await userOf("poor", RULE);
    const failure = await startTestNode({
      redis: `redis://poor:wr0ng@127.0.0.1:${redis.port}`,
      redisPrefix: prefixOf("poor"),
    }).catch(String);
    expect(failure).toMatch(/cannot reach Redis at 127\.0\.0\.1:\d+: .*WRONGPASS.*docs\/redis\.md/);
    expect(failure).not.toContain("wr0ng");
  });
});

describe("a user that lacks what no namespace needs", { timeout: 30_000 }, () => {
  /** Redis logs what it refuses, in scripts too. */
  const refusedSince = async (): Promise<() => Promise<unknown[]>> => {
    await redis.client().acl("LOG", "RESET");
    return () => refusals(redis);
  };

  const use = async (node: InProcessNode): Promise<void> => {
    const [reader, writer] = [await node.client(), await node.client()];
    for (const channel of ["chat:a", "plain"]) {
      await reader.do("subscribe", { channel });
      await writer.do("send", { channel, content: 1 });
      expect(await reader.contents(channel, 1)).toEqual([1]);
    }
    expect((await node.totals()).nodes).toBe(1);
  };

  it.each([
    ["neither history nor presence", NEITHER, [...ONLY_HISTORY, ...ONLY_PRESENCE]],
    ["no presence", HISTORY, ONLY_PRESENCE],
    ["no history", PRESENCE, ONLY_HISTORY],
  ])("is enough with %s", async (_with, options, lacking) => {
    const refused = await refusedSince();
    const dead = { leaseTtlMs: 500, presenceTtlMs: 1_000, presenceGraceMs: 100 };
    const node = await startAs(without(lacking), { ...dead, ...options });
    const { redisPrefix } = { redisPrefix: `ws:poor${run - 1}:` };
    // Somebody to clear up after.
    await redis.client().zadd(`${redisPrefix}nodes`, "1", "dead");
    await use(node);
    const nodes = (): Promise<string[]> => redis.client().zrange(`${redisPrefix}nodes`, "0", "-1");
    await eventually(async () => expect(await nodes()).toEqual([node.id]));
    await node.stop();
    expect(await refused()).toEqual([]);
  });

  it("is refused the reload that needs it, by the names of the commands, and has it once they are allowed", async () => {
    const refused = await refusedSince();
    const node = await startAs(without([...ONLY_HISTORY, ...ONLY_PRESENCE]), NEITHER);
    const before = await node.client();
    await expect(node.reload(HISTORY)).rejects.toThrow(
      "NOPERM: it may not use HMGET, MGET, XADD, XRANGE, XREVRANGE (for channels with history); docs/redis.md",
    );
    await expect(node.reload(PRESENCE)).rejects.toThrow(
      "NOPERM: it may not use ZCARD, ZLEXCOUNT, ZRANGEBYLEX, ZRANGEBYSCORE (for channels with presence); docs/redis.md",
    );
    // Pusher's cache and presence channels.
    const pair = { appKey: "key", appSecret: "a-secret-of-pusher" };
    await expect(node.reload({ ...NEITHER, ...pair })).rejects.toThrow(/HMGET, .*ZCARD, /);
    expect(await before.ask("history", { channel: "chat:a" })).toMatchObject({ code: "not_enabled" });
    await redis
      .client()
      .acl("SETUSER", "poor", ...[...ONLY_HISTORY, ...ONLY_PRESENCE].map((name) => `+${name}`));
    const [, last] = await Promise.all([node.reload(HISTORY), node.reload(EVERYTHING)]);
    expect(last.changed).toEqual([{ app: "main", changed: ["namespaces.chat"] }]);
    await use(node);
    const members = async (): Promise<unknown> =>
      (await before.do("presence", { channel: "chat:a" }))["connections"];
    await eventually(async () => expect(await members()).toBe(1));
    expect(await refused()).toEqual([]);
  });
});

describe("a user that lacks what Pusher's channels need", () => {
  it("is refused an app with keys: its channels have presence and history by their names", async () => {
    const keys = [{ key: "key-of-3", secret: "secret-of-3-in-tests" }];
    const { apps } = configSchema.parse({ ...defaultConfig, apps: [{ id: "3", allowOpen: true, keys }] });
    for (const [lacking, what] of [
      [ONLY_HISTORY, "for channels with history"],
      [ONLY_PRESENCE, "for channels with presence"],
    ] as const) {
      await expect(startAs(without(lacking), { ...NEITHER, apps })).rejects.toThrow(what);
    }
  });
});

describe("a right that is taken from a running node", () => {
  it("fails what needs it, says why, and is no more than that once it is back", async () => {
    const rich = await userOf("rich", RULE);
    const node = createRedisNode({ nodeId: "a", url: rich, prefix: prefixOf("rich") });
    const recorder = createRecorder();
    await node.broker.start(recorder);
    onTestFinished(() => node.broker.stop());
    const admin = redis.client();
    await admin.acl("SETUSER", "rich", "-publish");
    const outcomes = publish(node.broker, "lost");
    await eventually(() => expect(outcomes).toEqual(["unavailable"]));
    await eventually(() => expect(recorder.links.at(-1)).toBe(false));
    await admin.acl("SETUSER", "rich", "+publish");
    await eventually(() => expect(recorder.links.at(-1)).toBe(true));
    publish(node.broker, "heard");
    await eventually(() => expect(recorder.texts).toEqual(["heard"]));
  });
});
