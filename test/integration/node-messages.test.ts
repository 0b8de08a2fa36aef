import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { cleanUp, startFleet, startTestNode, type InProcessNode } from "../support/nodes.js";
import { RawClient } from "../support/raw-client.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(cleanUp);

const MSGPACK = { subprotocol: "starling.v1.msgpack" };
const pair = async (): Promise<[InProcessNode, InProcessNode]> => {
  const [here, there] = await startFleet(2, redis);
  return [here!, there!];
};

describe("frames of action, channel and content alone, typed into a bare client", () => {
  it("are welcomed first and delivered as quoted, on a node alone", async () => {
    const node = await startTestNode();
    const client = await RawClient.open(node.wsUrl);
    expect(client.subprotocol).toBe("");
    client.sendText('{"action":"subscribe","channel":"room"}');
    client.sendText('{"action":"send","channel":"room","content":"hi"}');
    const message = await client.next("message");
    expect(message).toMatchObject({ type: "message", channel: "room", content: "hi" });
    expect(client.frames.map(({ type }) => type)).toEqual(["welcome", "message"]);
    expect(client.frames[0]).toMatchObject({
      node: node.id,
      heartbeat: { intervalMs: 30_000, timeoutMs: 10_000 },
      limits: { frameBytes: 65_536, channels: 100, messagesPerSecond: 500, bytesPerSecond: 1_048_576 },
      authenticate: false,
    });
  });

  it("reach subscribers on the same node and on another, byte for byte as documented", async () => {
    const [here, there] = await pair();
    const [sender, near, far] = [await here.client(), await here.client(), await there.client()];
    for (const client of [near, far]) await client.do("subscribe", { channel: "room" });
    sender.sendText('{"action":"send","channel":"room","content":"hi"}');
    for (const client of [near, far]) {
      const message = await client.next("message");
      expect(JSON.stringify(message)).toMatch(/^\{"type":"message","channel":"room","content":"hi"/);
      expect(message["from"]).toEqual({ connection: sender.welcome["connection"] });
    }
  });

  it("end a subscription: what is sent afterwards is not heard", async () => {
    const node = await startTestNode();
    const client = await node.client();
    for (const channel of ["room", "hall"]) await client.do("subscribe", { channel });
    client.sendText('{"action":"unsubscribe","channel":"room"}');
    client.sendText('{"action":"send","channel":"room","content":"unheard"}');
    client.sendText('{"action":"send","channel":"hall","content":"heard"}');
    await client.contents("hall", 1);
    expect(client.messages("room")).toEqual([]);
  });
});

describe("a thousand sends of one connection", () => {
  const texts = Array.from({ length: 1000 }, (_, i) => `message ${i}`);
  const frame = (content: string): string => JSON.stringify({ action: "send", channel: "room", content });

  it("arrive on the other node in their order", async () => {
    const [here, there] = await pair();
    const [sender, far] = [await here.client(), await there.client()];
    await far.do("subscribe", { channel: "room" });
    for (const text of texts) sender.sendText(frame(text));
    expect(await far.contents("room", 1000, 15_000)).toEqual(texts);
    await sender.do("ping");
    expect(sender.frames.filter(({ type }) => type === "error")).toEqual([]);
  });

  it("or are answered by errors that name the limit, and what passed arrives in order", async () => {
    const [here, there] = await startFleet(2, redis, { messagesPerSecond: 10, messagesBurst: 600 });
    const [sender, far] = [await here!.client(), await there!.client()];
    await far.do("subscribe", { channel: "room" });
    for (const text of texts) sender.sendText(frame(text));
    const dropped = new Set<number>();
    for (let number = 0; number < 1000;) {
      const error = await sender.next("error");
      expect(error).toMatchObject({ code: "rate_limited", temporary: true });
      const { from, to } = error["dropped"] as { from: number; to: number };
      for (number = from; number <= to; number++) dropped.add(number);
    }
    expect(dropped.size).toBeGreaterThan(300);
    // Frames are numbered from 1.
    const passed = texts.filter((_, i) => !dropped.has(i + 1));
    expect(await far.contents("room", passed.length)).toEqual(passed);
    expect(passed.slice(0, 600)).toEqual(texts.slice(0, 600));
  });
});

describe("JSON and MessagePack clients", () => {
  it("share a channel in both directions, over nodes", async () => {
    const [here, there] = await pair();
    const clients = [
      await here.client(),
      await here.client(MSGPACK),
      await there.client({ subprotocol: "starling.v1.json" }),
      await there.client(MSGPACK),
    ];
    expect(clients.map(({ subprotocol }) => subprotocol)).toEqual([
      "",
      "starling.v1.msgpack",
      "starling.v1.json",
      "starling.v1.msgpack",
    ]);
    for (const client of clients) await client.do("subscribe", { channel: "room" });
    const contents = [{ a: [1, -2.5, "é\u0000\u{1f600}", null, true] }, "text", 42, [], ""];
    for (const [i, content] of contents.entries()) {
      await clients[i % 4]!.do("send", { channel: "room", content, event: "said", tags: { n: String(i) } });
      for (const client of clients) await client.contents("room", i + 1);
    }
    for (const client of clients) {
      expect(client.messages("room").map(({ content }) => content as unknown)).toEqual(contents);
      expect(client.messages("room")[3]).toMatchObject({ event: "said", tags: { n: "3" } });
    }
  });

  it("share bytes: MessagePack as they are, JSON as contentBase64", async () => {
    const [here, there] = await pair();
    const bytes = Buffer.from([0, 1, 2, 254, 255]);
    const [json, packed] = [await here.client(), await there.client(MSGPACK)];
    for (const client of [json, packed]) await client.do("subscribe", { channel: "room" });
    packed.send({ action: "send", channel: "room", content: bytes });
    for (const client of [json, packed]) await client.contents("room", 1);
    json.send({ action: "send", channel: "room", contentBase64: bytes.toString("base64") });
    for (const client of [json, packed]) await client.contents("room", 2);
    for (const message of json.messages("room")) {
      expect(message["contentBase64"]).toBe("AAEC/v8=");
      expect(message).not.toHaveProperty("content");
    }
    for (const message of packed.messages("room")) {
      expect(Buffer.from(message["content"] as Uint8Array)).toEqual(bytes);
    }
  });
});

describe("echo: false", () => {
  it.each([
    ["on one node", 1],
    ["on two nodes", 2],
  ])("leaves out the sender and nobody else, whatever codec each speaks, %s", async (_where, size) => {
    const nodes = await startFleet(size, redis);
    const there = nodes.at(-1)!;
    const here = nodes[0]!;
    const clients = [
      await here.client(),
      await here.client(MSGPACK),
      await here.client(),
      await there.client(MSGPACK),
      await there.client(),
    ];
    for (const client of clients) await client.do("subscribe", { channel: "room" });
    for (const sender of clients)
      await sender.do("send", { channel: "room", content: clients.indexOf(sender), echo: false });
    await clients[0]!.do("send", { channel: "room", content: "all" });
    for (const [own, client] of clients.entries()) {
      await client.next(({ content }) => content === "all");
      expect(client.messages("room").map(({ content }) => content as unknown)).toEqual([
        ...[0, 1, 2, 3, 4].filter((sender) => sender !== own),
        "all",
      ]);
    }
  });

  it("reaches subscribers also where the sender is none itself", async () => {
    const [here, there] = await pair();
    const [sender, near, far] = [await here.client(), await here.client(), await there.client()];
    for (const client of [near, far]) await client.do("subscribe", { channel: "room" });
    await sender.do("send", { channel: "room", content: 1, echo: false });
    for (const client of [near, far]) expect(await client.contents("room", 1)).toEqual([1]);
  });
});

it("a message larger than a cork buffer reaches all, in the order of the sends", async () => {
  const [here, there] = await pair();
  const [sender, near, far] = [await here.client(), await here.client(), await there.client(MSGPACK)];
  for (const client of [near, far]) await client.do("subscribe", { channel: "room" });
  const contents = ["a", "b".repeat(60_000), "c", "d".repeat(20_000), "e"];
  for (const content of contents) sender.send({ action: "send", channel: "room", content });
  for (const client of [near, far]) expect(await client.contents("room", 5)).toEqual(contents);
});
