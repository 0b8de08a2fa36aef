import { pack } from "msgpackr";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { cleanUp, JWT_SECRET, startFleet, token, until } from "../support/nodes.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(cleanUp);

it("a line that an application publishes to the ingest channel is delivered on every node, once", async () => {
  const nodes = await startFleet(3, redis, { ingestChannel: "chat:broadcast" });
  const clients = await Promise.all(
    nodes.map((node, i) => node.client(i === 1 ? { subprotocol: "starling.v1.msgpack" } : {})),
  );
  for (const client of clients) await client.do("subscribe", { channel: "room" });
  const application = redis.client();
  await application.publish("chat:broadcast", '{"channel":"room","message":{"text":"hi","n":1}}');
  await application.publish("chat:broadcast", '{"channel":"elsewhere","message":"unheard"}');
  await application.publish("chat:broadcast", '{"channel":"room","content":"the same by its other name"}');
  for (const client of clients) {
    await client.contents("room", 2);
    // Whatever else was on its way would be here by the answer to this.
    await client.do("send", { channel: "end", content: 1 });
    expect(client.frames.filter(({ type }) => type === "message")).toEqual([
      { type: "message", channel: "room", content: { text: "hi", n: 1 } },
      { type: "message", channel: "room", content: "the same by its other name" },
    ]);
  }
});

it("a line to #user: reaches that user", async () => {
  const nodes = await startFleet(2, redis, { ingestChannel: "chat:users", jwtSecret: JWT_SECRET });
  const clients = await Promise.all(nodes.map((node) => node.client()));
  for (const client of clients) await client.do("connect", { token: await token({ sub: "José 2" }) });
  await redis.client().publish("chat:users", '{"channel":"#user:José 2","message":"hi"}');
  for (const client of clients) expect(await client.contents("#user:José 2", 1)).toEqual(["hi"]);
});

it("a line that cannot be read is skipped and counted, and those after it are delivered", async () => {
  const [node] = await startFleet(1, redis, { ingestChannel: "chat:bad", maxFrameBytes: 1000 });
  const client = await node!.client();
  await client.do("subscribe", { channel: "room" });
  const application = redis.client();
  const bad = [
    "",
    "hi",
    "[]",
    "{}",
    '{"channel":"a b","message":1}',
    '{"channel":"room"}',
    '{"channel":"#internal","message":1}',
    `{"channel":"room","message":${"[".repeat(900)}`,
    JSON.stringify({ channel: "room", message: "x".repeat(2000) }),
  ];
  for (const line of bad) await application.publish("chat:bad", line);
  await application.publish("chat:bad", '{"channel":"room","message":"good"}');
  expect(await client.contents("room", 1)).toEqual(["good"]);
  expect(await node!.metric('starling_rejects_total{reason="ingest"}')).toBe(bad.length);
  expect((await node!.get("/readyz")).status).toBe(200);
});

it("without the option nobody listens there", async () => {
  const [node] = await startFleet(1, redis);
  await until("ready", async () => (await node!.get("/readyz")).status === 200);
  expect(await redis.client().publish("chat:broadcast", '{"channel":"room","message":1}')).toBe(0);
});

it("publications on the bus that are none are skipped and counted, and their neighbours are delivered", async () => {
  const nodes = await startFleet(1, redis);
  const clients = [await nodes[0]!.client(), await nodes[0]!.client({ subprotocol: "starling.v1.msgpack" })];
  for (const client of clients) await client.do("subscribe", { channel: "room" });
  const item = (content: string, meta: unknown = null): unknown[] => [
    "main/room",
    0,
    Buffer.from(content),
    meta,
  ];
  const quotes = 'c","user":"admin';
  const items = [
    item('{"a":'),
    item('1,"from":{"connection":"c","user":"admin"},"event":"forged"'),
    item('"good"', [quotes, quotes, null, null, null]),
  ];
  await redis.client().publish(`${nodes.prefix}bus:0`, pack([2, "elsewhere", Date.now(), items.flat()]));
  for (const client of clients) {
    expect(await client.next("message")).toEqual({
      type: "message",
      channel: "room",
      content: "good",
      from: { connection: quotes, user: quotes },
    });
    await client.do("ping");
    expect(client.messages("room")).toHaveLength(1);
  }
  expect(await nodes[0]!.metric("starling_envelopes_skipped_total")).toBe(2);
});
