/** Pusher's clients on several nodes of a fleet. */

import { createHash } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { sign } from "../../src/protocols/pusher/signature.js";
import { APP_KEY, APP_SECRET, RawPusher, pusherOptions } from "../support/raw-pusher.js";
import { cleanUp, startFleet, until, type InProcessNode } from "../support/nodes.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(cleanUp);

const start = <N extends number>(
  size: N,
  pusher: Parameters<typeof pusherOptions>[0] = {},
  options: Parameters<typeof startFleet>[2] = {},
): Promise<InProcessNode[]> => startFleet(size, redis, { ...pusherOptions(pusher), ...options });

describe("Pusher's clients of several nodes", () => {
  it("are members of one channel, each told of the others once and never of itself", async () => {
    const nodes = await start(3, {}, { presenceGraceMs: 100 });
    const channel = "presence-room";
    const watcher = await RawPusher.open(nodes[0]!);
    await watcher.joinPresence(channel, { user_id: "watcher" });
    const clients = await Promise.all(
      Array.from({ length: 30 }, (_, index) => RawPusher.open(nodes[index % 3]!)),
    );
    const pages = await Promise.all(
      clients.map((client, index) => client.joinPresence(channel, { user_id: index, user_info: { index } })),
    );
    for (const [index, page] of pages.entries()) {
      expect(page.hash).toHaveProperty(String(index), { index });
      expect(page.ids).toHaveLength(page.count);
    }
    for (const [index, client] of clients.entries()) {
      const known = new Set(Object.keys(pages[index]!.hash));
      await until("all members", () => {
        return known.size + client.had("pusher_internal:member_added", channel).length >= 31;
      });
      for (const { data } of client.had("pusher_internal:member_added", channel)) {
        const { user_id } = JSON.parse(data as string) as { user_id: unknown };
        expect(known.has(String(user_id)), `${index} is told of ${String(user_id)} again`).toBe(false);
        known.add(String(user_id));
      }
      expect(known.size).toBe(31);
    }
    for (const client of clients) client.close();
    await until("all removals", () => watcher.had("pusher_internal:member_removed", channel).length === 30);
    // Who is there may have been told once more before, by a node that met a young record.
    await until("it is alone", async () => {
      return (await watcher.joinPresence(channel, { user_id: "watcher" })).count === 1;
    });
  });

  it("share a channel's room for members", async () => {
    const [one, two] = (await start(2, { maxPresenceMembers: 2 })) as [InProcessNode, InProcessNode];
    const clients = [
      await RawPusher.open(one),
      await RawPusher.open(one),
      await RawPusher.open(two),
    ] as const;
    await clients[0].joinPresence("presence-x", { user_id: "a" });
    await clients[1].joinPresence("presence-x", { user_id: "b" });
    clients[2].subscribe("presence-x", { user_id: "c" });
    expect((await clients[2].next("pusher:subscription_error"))["data"]).toMatchObject({
      type: "LimitReached",
    });
    await clients[2].joinPresence("presence-x", { user_id: "a" });
    await clients[0].settled();
    expect(clients[0].had("pusher_internal:member_added")).toHaveLength(1);
  });

  it("are told how many subscribe over all nodes, when one of these is gone too", async () => {
    const [one, two] = (await start(2, { subscriptionCount: true })) as [InProcessNode, InProcessNode];
    const here = await RawPusher.open(one);
    const count = (): unknown => here.had("pusher_internal:subscription_count").at(-1)?.["data"];
    await here.join("room");
    await (await RawPusher.open(two)).join("room");
    await (await RawPusher.open(two)).join("room");
    await until("three", () => count() === '{"subscription_count":3}');
    await two.stop();
    await until("one", () => count() === '{"subscription_count":1}');
  });

  it("are excluded by their socket_id wherever an event is sent, and hear what other nodes send", async () => {
    const [one, two] = (await start(2)) as [InProcessNode, InProcessNode];
    const [ann, ben] = [await RawPusher.open(one), await RawPusher.open(two)];
    for (const client of [ann, ben]) {
      await client.join("room");
      await client.join("cache-room");
    }
    for (const channel of ["room", "cache-room"]) {
      const body = JSON.stringify({ name: "e", channel, data: "1", socket_id: ann.socketId });
      await postSigned(two, "/apps/main/events", body);
      await ben.next("e", channel);
    }
    await ann.settled();
    ben.say("client-x", {}, "room");
    await ben.next("pusher:error");
    expect(ann.had("e")).toEqual([]);
  });
});

async function postSigned({ wsUrl }: InProcessNode, path: string, body: string): Promise<void> {
  const query = [
    `auth_key=${APP_KEY}`,
    `auth_timestamp=${Math.floor(Date.now() / 1000)}`,
    "auth_version=1.0",
    `body_md5=${createHash("md5").update(body).digest("hex")}`,
  ].join("&");
  const signature = sign(APP_SECRET, `POST\n${path}\n${query}`);
  const url = `${wsUrl.replace("ws", "http")}${path}?${query}&auth_signature=${signature}`;
  const response = await fetch(url, {
    method: "POST",
    body,
    headers: { "content-type": "application/json" },
  });
  expect([response.status, await response.text()]).toEqual([200, "{}"]);
}
