/** A node that drains while Pusher's clients are connected, which come back as soon as they are closed. */

import { once } from "node:events";
import { WebSocket } from "ws";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { cleanUp, startFleet, until, type InProcessNode } from "../support/nodes.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

const APP = { appKey: "key-of-the-drain", appSecret: "secret-of-the-drain" };

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

interface Client {
  readonly told: { readonly event: string; readonly data: unknown }[];
  closed: { readonly code: number; readonly atMs: number } | undefined;
}

async function connect({ wsUrl }: InProcessNode): Promise<Client> {
  const socket = new WebSocket(`${wsUrl}/app/${APP.appKey}?protocol=7`);
  sockets.push(socket);
  const client: Client = { told: [], closed: undefined };
  socket.on("message", (data: Buffer) => client.told.push(JSON.parse(data.toString()) as Client["told"][0]));
  socket.on("close", (code) => (client.closed = { code, atMs: performance.now() }));
  await once(socket, "open");
  await until("a first frame", () => client.told.length > 0);
  return client;
}

it("closes them with 4200, as fast as the others take them", async () => {
  const [node, ...others] = await startFleet(3, redis, {
    ...APP,
    ...{ upgradeRate: 10, upgradeBurst: 1000, drainMs: 2000 },
  });
  const clients = await Promise.all(Array.from({ length: 60 }, () => connect(node!)));
  const startedAtMs = performance.now();
  await node!.drain();
  await until("all are closed", () => clients.every(({ closed }) => closed !== undefined));
  expect(clients.map(({ closed }) => closed!.code)).toEqual(clients.map(() => 4200));
  // 60 clients, two others that take 10 a second each: 3 s.
  const last = Math.max(...clients.map(({ closed }) => closed!.atMs));
  expect(last - startedAtMs).toBeGreaterThan(2800);
  for (const other of others)
    expect((await connect(other)).told[0]).toMatchObject({ event: "pusher:connection_established" });
});

it("refuses newcomers on a socket with 4100, which has them try again", async () => {
  const [node] = await startFleet(2, redis, { ...APP, drainNoticeMs: 600_000 });
  await connect(node!);
  void node!.drain();
  await until("it drains", async () => (await node!.get("/readyz")).status === 503);
  const refused = await connect(node!);
  expect(refused.told).toEqual([
    { event: "pusher:error", data: { code: 4100, message: "this node is draining: connect to another" } },
  ]);
  await until("it is closed", () => refused.closed !== undefined);
  expect(refused.closed!.code).toBe(4100);
  expect(await node!.metric("starling_connections")).toBe(1);
});
