/** Presence channels of Pusher's clients whose record Redis lost. */

import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { cleanUp, startFleet, until } from "../support/nodes.js";
import { RawPusher, pusherOptions, type Presence } from "../support/raw-pusher.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

const CHANNEL = "presence-full";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(cleanUp);

/** @returns once the subscription was answered, by its second frame */
async function subscribed(node: { readonly wsUrl: string }, user: string): Promise<RawPusher> {
  const client = await RawPusher.open(node);
  client.subscribe(CHANNEL, { user_id: user });
  await until("an answer", () => client.raw.frames.length > 1);
  return client;
}

it("a full channel takes back a member that reloads while the record is lost", async () => {
  const options = { presenceGraceMs: 20_000, ...pusherOptions({ maxPresenceMembers: 2 }) };
  const [node] = await startFleet(1, redis, options);
  await subscribed(node!, "ann");
  const bob = await subscribed(node!, "bob");
  const look = redis.client();
  bob.raw.close(1000);
  await until("bob is in the grace", async () => {
    const keys = await look.keys("*:due");
    return (await Promise.all(keys.map((key) => look.zcard(key)))).some((count) => count > 0);
  });
  await look.flushall();
  expect((await subscribed(node!, "bob")).raw.frames[1]).toMatchObject({
    event: "pusher_internal:subscription_succeeded",
  });
  expect((await subscribed(node!, "eve")).raw.frames[1]).toMatchObject({
    event: "pusher:subscription_error",
    data: { type: "LimitReached" },
  });
});

it("a list that is told anew has everybody, also where it is more than an answer of other protocols holds", async () => {
  const options = { presenceGraceMs: 500, maxBufferedBytes: 131_072, ...pusherOptions() };
  const [node] = await startFleet(1, redis, options);
  const info = "i".repeat(1_000);
  const users = Array.from({ length: 40 }, (_, at) => `user-${at}`);
  const clients: RawPusher[] = [];
  for (const user of users) {
    const client = await RawPusher.open(node!);
    client.subscribe(CHANNEL, { user_id: user, user_info: info });
    await until("an answer", () => client.raw.frames.length > 1);
    clients.push(client);
  }
  const lists = (): Presence[] =>
    clients[0]!.had("pusher_internal:subscription_succeeded").map((frame) => {
      return (JSON.parse(frame["data"] as string) as { presence: Presence }).presence;
    });
  const before = lists().length;
  await redis.client().flushall();
  await until("a list told anew", () => lists().length > before && lists().at(-1)!.count === users.length);
  expect([...lists().at(-1)!.ids].sort()).toEqual([...users].sort());
});
