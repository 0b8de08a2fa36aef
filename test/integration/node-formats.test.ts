/** What travels between the nodes of a fleet whose clients speak different protocols, and some of whose nodes are older. */

import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";

import { createProtocols } from "../../src/protocols/protocols.js";
import { echoProtocol } from "../support/echo/protocol.js";
import { eventually } from "../support/eventually.js";
import {
  CHAT_RULES,
  cleanUp,
  fleetOptions,
  startTestNode,
  until,
  type InProcessNode,
} from "../support/nodes.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

let redis: RedisServer;
const open: WebSocket[] = [];
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(async () => {
  for (const socket of open.splice(0)) socket.terminate();
  await cleanUp();
});

async function startTwo(options: Parameters<typeof startTestNode>[0] = {}) {
  const shared = { ...fleetOptions(redis), namespaces: { chat: CHAT_RULES }, leaseTtlMs: 600, ...options };
  const protocols = [echoProtocol, ...createProtocols({ pusherPath: "" })];
  const nodes = [await startTestNode(shared, { protocols }), await startTestNode(shared, { protocols })];
  return { here: nodes[0]!, there: nodes[1]!, prefix: shared.redisPrefix };
}

/** A client of a string protocol. */
async function echo({ wsUrl }: InProcessNode, channel: string) {
  const socket = new WebSocket(`${wsUrl}/echo`);
  open.push(socket);
  const texts: string[] = [];
  socket.on("message", (data: Buffer) => texts.push(data.toString()));
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  socket.send(channel);
  await until("subscribed", () => texts.includes(`+${channel}`));
  return {
    say: (text: string) => socket.send(`${channel} ${text}`),
    heard: () =>
      texts.filter((text) => text.startsWith(`${channel} `)).map((text) => text.slice(channel.length + 1)),
  };
}

const TEXTS = ["plain text", '{"a": [1, "ü"]}', '"a string"', "1.5e3", '{"broken":', "ü\t"];
/** What each is to who reads JSON. */
const VALUES = ["plain text", { a: [1, "ü"] }, "a string", 1500, '{"broken":', "ü\t"];

describe("text", () => {
  it.each(["room", "chat:1"])("passes byte for byte, and natives get its JSON value: %s", async (channel) => {
    const { here, there } = await startTwo();
    const [writer, reader] = [await echo(here, channel), await echo(there, channel)];
    const json = await there.client();
    const msgpack = await there.client({ subprotocol: "starling.v1.msgpack" });
    for (const client of [json, msgpack]) await client.do("subscribe", { channel });
    for (const text of TEXTS) writer.say(text);
    for (const { heard } of [writer, reader]) await eventually(() => expect(heard()).toEqual(TEXTS));
    for (const client of [json, msgpack]) {
      await client.contents(channel, TEXTS.length);
      expect(client.messages(channel).map(({ content }): unknown => content)).toEqual(VALUES);
    }
  });

  it("is in history and the API's answers as natives get it", async () => {
    const { here, there } = await startTwo();
    const writer = await echo(here, "chat:1");
    for (const text of TEXTS) writer.say(text);
    await eventually(() => expect(writer.heard()).toEqual(TEXTS));
    for (const subprotocol of ["starling.v1.json", "starling.v1.msgpack"]) {
      const client = await there.client({ subprotocol });
      await client.do("subscribe", { channel: "chat:1" });
      const { publications } = await client.do("history", { channel: "chat:1" });
      expect((publications as { content: unknown }[]).map(({ content }) => content)).toEqual(VALUES);
    }
    const { body } = await there.get<{ publications: { content: unknown }[] }>("/v1/channels/chat:1/history");
    expect(body.publications.map(({ content }) => content)).toEqual(VALUES);
  });

  it("is JSON while a node that reads no text is in the fleet, and text again once it has left", async () => {
    const { here, there, prefix } = await startTwo();
    const [writer, reader] = [await echo(here, "chat:1"), await echo(there, "chat:1")];
    const admin = redis.client();
    const lease = JSON.stringify({ startedAt: 1, incarnation: "old", registration: 1 });
    const key = `${prefix}node:{${prefix}connections:old}`;
    await admin.set(key, lease);
    await admin.zadd(`${prefix}nodes`, "99999999999999", "old");
    await eventually(() => {
      writer.say("x");
      expect(reader.heard().at(-1)).toBe('"x"');
    });
    await admin.zrem(`${prefix}nodes`, "old");
    await admin.del(key);
    await eventually(() => {
      writer.say("y");
      expect(reader.heard().at(-1)).toBe("y");
    });
    // Neither is lost to anybody.
    const native = await there.client();
    await native.do("subscribe", { channel: "chat:1" });
    const { publications } = await native.do("history", { channel: "chat:1", limit: 100 });
    const values = new Set((publications as { content: unknown }[]).map(({ content }) => content));
    expect([...values].sort()).toEqual(["x", "y"]);
  });
});

describe("an exclusion from a channel with history", () => {
  it("spares a client without offsets on whichever node, and leaves no hole in those of others", async () => {
    const { here, there } = await startTwo();
    const [writer, reader] = [await echo(here, "chat:1"), await echo(there, "chat:1")];
    const native = await there.client();
    await native.do("subscribe", { channel: "chat:1" });
    writer.say("-1");
    writer.say("2");
    await eventually(() => expect(reader.heard()).toEqual(["-1", "2"]));
    await eventually(() => expect(writer.heard()).toEqual(["2"]));
    await native.contents("chat:1", 2);
    expect(native.messages("chat:1").map(({ content, offset }): unknown => [content, offset])).toEqual([
      [-1, 1],
      [2, 2],
    ]);
    const refused = await native.ask("send", { channel: "chat:1", content: 1, echo: false });
    expect(refused).toMatchObject({ type: "error", code: "bad_request" });
  });
});
