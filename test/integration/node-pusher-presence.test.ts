/** Presence channels of Pusher's clients whose record Redis lost. */

import { createHmac } from "node:crypto";
import { WebSocket } from "ws";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { cleanUp, startFleet, until, type InProcessNode } from "../support/nodes.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

const KEY = "key-of-presence";
const SECRET = "secret-of-presence-in-tests";
const CHANNEL = "presence-full";

interface Event {
  readonly event: string;
  readonly data: string;
}

let redis: RedisServer;
const sockets: WebSocket[] = [];
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.terminate();
  await cleanUp();
});

/** @returns what the user is told once its subscription was answered */
async function subscribed(node: InProcessNode, user: string): Promise<{ socket: WebSocket; told: Event[] }> {
  const socket = new WebSocket(`${node.wsUrl}/app/${KEY}?protocol=7`);
  sockets.push(socket);
  const told: Event[] = [];
  socket.on("message", (data: Buffer) => told.push(JSON.parse(data.toString()) as Event));
  await until("a greeting", () => told.length > 0);
  const { socket_id: socketId } = JSON.parse(told.shift()!.data) as { socket_id: string };
  const channelData = JSON.stringify({ user_id: user });
  const signature = createHmac("sha256", SECRET)
    .update(`${socketId}:${CHANNEL}:${channelData}`)
    .digest("hex");
  const data = { channel: CHANNEL, auth: `${KEY}:${signature}`, channel_data: channelData };
  socket.send(JSON.stringify({ event: "pusher:subscribe", data }));
  await until("an answer", () => told.length > 0);
  return { socket, told };
}

it("a full channel takes back a member that reloads while the record is lost", async () => {
  const options = { presenceGraceMs: 20_000 };
  const app = { appKey: KEY, appSecret: SECRET, pusher: { maxPresenceMembers: 2 } };
  const [node] = await startFleet(1, redis, { ...options, ...app } as object);
  await subscribed(node!, "ann");
  const { socket } = await subscribed(node!, "bob");
  const look = redis.client();
  socket.close(1000);
  await until("bob is in the grace", async () => {
    const keys = await look.keys("*:due");
    return (await Promise.all(keys.map((key) => look.zcard(key)))).some((count) => count > 0);
  });
  await look.flushall();
  const { told } = await subscribed(node!, "bob");
  expect(told[0]).toMatchObject({ event: "pusher_internal:subscription_succeeded" });
  expect((await subscribed(node!, "eve")).told[0]).toMatchObject({
    event: "pusher:subscription_error",
    data: { type: "LimitReached" },
  });
});
