/** Pusher's clients that do whatever they may, in no order: when they are done, what they know is the truth, and nothing of them stays. */

import { setTimeout as delay } from "node:timers/promises";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { cleanUp, startFleet, startTestNode, until, type InProcessNode } from "../support/nodes.js";
import { RawPusher, pusherOptions, type Presence } from "../support/raw-pusher.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

const CHANNELS = ["presence-a", "presence-cache-b", "private-c", "cache-d", "plain"];
const USERS = ["ann", "bob", "cem", "dag"];
const STEPS = 800;
const CLIENTS = 12;

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(cleanUp);

const options = {
  ...pusherOptions({ subscriptionCount: true }),
  presenceGraceMs: 200,
  messagesPerSecond: 100_000,
  messagesBurst: 100_000,
};

interface Client {
  readonly raw: RawPusher;
  readonly node: InProcessNode;
  readonly user: string;
  /** What it asked for last. */
  readonly subscribes: Map<string, boolean>;
}

/** Of a member that came or went. */
interface Told {
  readonly user_id: string;
}

function isOpen({ raw }: Client): boolean {
  return raw.raw.closedWith === undefined;
}

/** As pusher-js keeps it. */
function rosterOf({ raw }: Client, channel: string): string[] {
  const roster = new Set<string>();
  for (const frame of raw.raw.frames.filter((frame) => frame["channel"] === channel)) {
    const data = <Data>(): Data => JSON.parse(frame["data"] as string) as Data;
    switch (frame["event"]) {
      case "pusher_internal:subscription_succeeded":
        roster.clear();
        for (const user of Object.keys(data<{ presence: Presence }>().presence.hash)) roster.add(user);
        break;
      case "pusher_internal:member_added":
        roster.add(data<Told>().user_id);
        break;
      case "pusher_internal:member_removed":
        roster.delete(data<Told>().user_id);
        break;
    }
  }
  return [...roster].sort();
}

/** The last that it was told, as JSON. */
function countOf({ raw }: Client, channel: string): unknown {
  return raw.had("pusher_internal:subscription_count", channel).at(-1)?.["data"];
}

async function storm(nodes: readonly InProcessNode[], seed: number): Promise<void> {
  const [random] = fc.sample(fc.infiniteStream(fc.nat()), { numRuns: 1, seed });
  const pick = <T>(items: readonly T[]): T => items[random!.next().value! % items.length]!;
  const chance = (percent: number): boolean => random!.next().value! % 100 < percent;
  const clients: Client[] = [];
  const open = async (): Promise<void> => {
    const node = pick(nodes);
    clients.push({ raw: await RawPusher.open(node), node, user: pick(USERS), subscribes: new Map() });
  };
  for (let step = 0; step < STEPS; step++) {
    while (clients.filter(isOpen).length < CLIENTS) await open();
    const client = pick(clients.filter(isOpen));
    const channel = pick(CHANNELS);
    if (chance(50)) {
      client.raw.subscribe(channel, channel.startsWith("presence-") ? { user_id: client.user } : undefined);
      client.subscribes.set(channel, true);
    } else if (chance(70)) {
      client.raw.unsubscribe(channel);
      client.subscribes.set(channel, false);
    } else if (chance(30)) client.raw.signIn({ id: client.user });
    else if (chance(30)) client.raw.say("client-x", { step }, channel);
    else if (chance(10)) client.raw.close();
    else if (chance(5)) await client.node.post(`/v1/users/${client.user}/disconnect`, {});
    else await delay(step % 8);
  }
  // Who was disconnected last may not know it yet.
  await Promise.all(clients.filter(isOpen).map(({ raw }) => Promise.race([raw.settled(), raw.closed()])));
  const left = clients.filter(isOpen);
  for (const channel of CHANNELS) {
    const subscribers = left.filter(({ subscribes }) => subscribes.get(channel));
    const isPresence = channel.startsWith("presence-");
    const known = (): unknown[] =>
      subscribers.map((client) => (isPresence ? rosterOf(client, channel) : countOf(client, channel)));
    const users = [...new Set(subscribers.map(({ user }) => user))].sort();
    const count = `{"subscription_count":${subscribers.length}}`;
    const truth = subscribers.map(() => (isPresence ? users : count));
    await until(`the truth about ${channel}`, () => JSON.stringify(known()) === JSON.stringify(truth)).catch(
      () => expect(known(), `${channel}, seed ${seed}`).toEqual(truth),
    );
  }
  for (const { raw } of clients) raw.close();
  for (const node of nodes) {
    await until("nothing is left", async () => {
      const metrics = await node.metrics();
      return ["channels", "connections", "subscriptions"].every(
        (what) => metrics.get(`starling_${what}`) === 0,
      );
    });
    expect(await node.metric("starling_session_faults_total")).toBe(0);
  }
}

it("on a node alone", async () => {
  await storm([await startTestNode(options)], Date.now() % 100_000);
});

it("on two nodes whose Redis is slow", async () => {
  const proxy = await startTcpProxy(redis.port);
  proxy.delay(15);
  try {
    const nodes = await startFleet(2, { ...redis, url: `redis://127.0.0.1:${proxy.port}` }, options);
    await storm(nodes, Date.now() % 100_000);
    const look = redis.client();
    await until("no member is left", async () => {
      const keys = await look.keys(`${nodes.prefix}presence:*`);
      const types = await Promise.all(keys.map((key) => look.type(key)));
      return !types.includes("zset");
    });
  } finally {
    await cleanUp();
    await proxy.close();
  }
});
