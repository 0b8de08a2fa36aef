/** Rosters that clients build from joins, leaves and presence, while users come, go and change nodes. */

import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Config } from "../../src/config.js";
import {
  CHAT_RULES,
  cleanUp,
  fleetOptions,
  JWT_SECRET,
  spawnNode,
  startFleet,
  startTestNode,
  token,
  until,
  type InProcessNode,
  type TestNode,
} from "../support/nodes.js";
import type { Frame, RawClient } from "../support/raw-client.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

const CHANNEL = "chat:1";
const OPTIONS: Partial<Config> = {
  namespaces: { chat: { ...CHAT_RULES, joinLeave: true } },
  jwtSecret: JWT_SECRET,
  presenceGraceMs: 1_000,
};

/** As a flag has them. */
const RULES_AS_TEXT = {
  chat: { historySize: 100, historyTtlMs: 60_000, recovery: true, presence: true, joinLeave: true },
} as unknown as Config["namespaces"];

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(cleanUp);

type Client = RawClient & { welcome: Frame };

async function userOf(node: TestNode, user: string): Promise<Client> {
  const client = await node.client({ path: `/?token=${await token({ sub: user })}` });
  await client.do("subscribe", { channel: CHANNEL });
  return client;
}

interface Roster {
  readonly users: readonly string[];
  /** Joins of who was there, leaves of who was not. */
  readonly wrong: readonly string[];
}

/** What a client knows that goes by its frames alone, in their order. */
function rosterOf(client: RawClient): Roster {
  let users: Set<string> | undefined;
  const wrong: string[] = [];
  for (const frame of client.frames) {
    if (Array.isArray(frame["members"])) {
      users = new Set((frame["members"] as Frame[]).map((member) => String(member["user"])));
    } else if ((frame.type === "join" || frame.type === "leave") && users !== undefined) {
      const user = String(frame["user"]);
      if (users.has(user) === (frame.type === "join")) wrong.push(`${frame.type} of ${user}`);
      if (frame.type === "join") users.add(user);
      else users.delete(user);
    }
  }
  return { users: [...(users ?? [])].sort(), wrong };
}

describe.each([
  ["in memory", () => Promise.all([startTestNode(OPTIONS)])],
  ["over Redis", () => startFleet(3, redis, OPTIONS)],
])("a roster from snapshot, joins and leaves, %s", (_where, start) => {
  it("holds who was in the grace when it was asked for, and is back unnoticed", async () => {
    const nodes: InProcessNode[] = await start();
    const [here, there] = [nodes[0]!, nodes.at(-1)!];
    const [watcher, ann] = [await userOf(here, "watcher"), await userOf(there, "ann")];
    await watcher.next((frame) => frame.type === "join" && frame["user"] === "ann");
    const before = await there.metric("starling_connections");
    ann.terminate();
    await until("ann gone", async () => (await there.metric("starling_connections")) < before);
    // What a node is asked comes after its own leaves.
    await there.get(`/v1/channels/${CHANNEL}/presence-stats`);
    const asked = await watcher.do("presence", { channel: CHANNEL });
    expect(asked).toMatchObject({ users: 2 });
    expect(await watcher.do("presence_stats", { channel: CHANNEL })).toMatchObject({ users: 2 });
    expect((await here.get(`/v1/channels/${CHANNEL}/presence-stats`)).body).toMatchObject({ users: 2 });
    await userOf(there, "ann");
    await userOf(there, "bob");
    await watcher.next((frame) => frame.type === "join" && frame["user"] === "bob");
    expect(rosterOf(watcher)).toEqual({ users: ["ann", "bob", "watcher"], wrong: [] });
  });

  it("is right for everybody when twenty change nodes at once and ask again", async () => {
    const nodes: InProcessNode[] = await start();
    const users = Array.from({ length: 20 }, (_, at) => `user-${String(at).padStart(2, "0")}`);
    let clients = await Promise.all(users.map((user, at) => userOf(nodes[at % nodes.length]!, user)));
    for (let round = 1; round <= 3; round++) {
      clients = await Promise.all(
        clients.map(async (client, at) => {
          await new Promise((resolve) => setTimeout(resolve, ((at * 7) % 20) * 20));
          client.terminate();
          // Some ask while others are gone.
          await new Promise((resolve) => setTimeout(resolve, 50 + ((at * 11) % 20) * 15));
          const next = await userOf(nodes[(at + round) % nodes.length]!, users[at]!);
          await next.do("presence", { channel: CHANNEL });
          return next;
        }),
      );
    }
    await userOf(nodes[0]!, "zoe");
    for (const client of clients) {
      await client.next((frame) => frame.type === "join" && frame["user"] === "zoe");
      expect(rosterOf(client)).toEqual({ users: [...users, "zoe"], wrong: [] });
    }
  });
});

describe("over a slow link to Redis", () => {
  it("a snapshot that comes late undoes no join, and none is told twice", async () => {
    const proxy = await startTcpProxy(redis.port);
    try {
      const shared = {
        ...OPTIONS,
        ...fleetOptions(redis),
        redisCommandTimeoutMs: 5_000,
        busProbeTimeoutMs: 10_000,
      };
      const there = await startTestNode(shared);
      const here = await startTestNode({ ...shared, redis: `redis://127.0.0.1:${proxy.port}` });
      const watcher = await userOf(here, "watcher");
      await watcher.next("join");
      const everybody = ["watcher"];
      for (const [late, what] of [
        ["starling:publish", "replies"],
        ["starling:subscribe", "events"],
      ] as const) {
        proxy.delay(60, (sent) => sent.includes(late));
        const asking: Promise<Frame>[] = [];
        const users = Array.from({ length: 20 }, (_, at) => `${what}-${at}`);
        for (const user of users) {
          asking.push(watcher.ask("presence", { channel: CHANNEL }));
          await userOf(there, user);
        }
        await Promise.all(asking);
        await watcher.next((frame) => frame.type === "join" && frame["user"] === users.at(-1));
        everybody.push(...users);
        expect(rosterOf(watcher)).toEqual({ users: [...everybody].sort(), wrong: [] });
        proxy.delay(0, () => true);
      }
    } finally {
      await proxy.close();
    }
  });
});

describe("a slow reader", () => {
  it("is told who is there after its gap: who came and went while it was skipped", async () => {
    const bytes = { bytesPerSecond: 1_073_741_824, bytesBurst: 1_073_741_824, messagesBurst: 10_000 };
    const node = await startTestNode({
      ...OPTIONS,
      ...bytes,
      presenceGraceMs: 50,
      maxBufferedBytes: 1_048_576,
    });
    const [slow, sender, gone] = [
      await userOf(node, "slow"),
      await userOf(node, "sender"),
      await userOf(node, "gone"),
    ];
    await slow.do("presence", { channel: CHANNEL });
    slow.pause();
    const content = "x".repeat(60_000);
    await until("the reader skipped", async () => {
      for (let sent = 0; sent < 10; sent++) await sender.do("send", { channel: CHANNEL, content });
      return (await node.metric("starling_slow_skips_total")) > 0;
    });
    gone.terminate();
    await sender.next((frame) => frame.type === "leave" && frame["user"] === "gone");
    await userOf(node, "came");
    await sender.next((frame) => frame.type === "join" && frame["user"] === "came");
    slow.resume();
    await slow.next((frame) => frame.type === "gap" && frame["recovered"] === true, 20_000);
    await slow.next("presence");
    expect(rosterOf(slow)).toEqual({ users: ["came", "sender", "slow"], wrong: [] });
  });
});

describe("a node that is killed", () => {
  it(
    "has its members leave soon after its lease, whatever presenceTtlMs says",
    { timeout: 60_000 },
    async () => {
      const shared = { ...OPTIONS, ...fleetOptions(redis) };
      const [here, other] = [await startTestNode(shared), await startTestNode(shared)];
      const victim = await spawnNode({ ...shared, namespaces: RULES_AS_TEXT });
      const watcher = await userOf(here, "watcher");
      await userOf(victim, "ann");
      await userOf(victim, "bob");
      await userOf(other, "bob");
      await watcher.next((frame) => frame.type === "join" && frame["user"] === "ann");
      await watcher.do("presence", { channel: CHANNEL });
      victim.signal("SIGKILL");
      const left = await watcher.next("leave", 25_000);
      expect(left["user"]).toBe("ann");
      await userOf(other, "cid");
      await watcher.next((frame) => frame.type === "join" && frame["user"] === "cid");
      expect(rosterOf(watcher)).toEqual({ users: ["bob", "cid", "watcher"], wrong: [] });
    },
  );
});
