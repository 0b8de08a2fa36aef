import { afterEach, describe, expect, it } from "vitest";
import type { Config } from "../../src/config.js";
import { matching } from "../support/matching.js";
import { cleanUp, JWT_SECRET, startTestNode, token, until, type TestNode } from "../support/nodes.js";
import type { Frame, RawClient } from "../support/raw-client.js";

afterEach(cleanUp);

const MSGPACK = { subprotocol: "starling.v1.msgpack" };
let node: TestNode;
async function connect(options: Partial<Config> = {}): Promise<RawClient & { welcome: Frame }> {
  node = await startTestNode(options);
  return node.client();
}

describe("a frame that cannot be served is answered, and the connection lives", () => {
  it.each<[string, string, object]>([
    ["no JSON", "hello", { code: "bad_frame" }],
    ["an empty frame", "", { code: "bad_frame" }],
    ["half a frame", '{"action":"ping"', { code: "bad_frame" }],
    ["two values", '{"action":"ping"}{"action":"ping"}', { code: "bad_frame" }],
    ["an array", '[{"action":"ping"}]', { code: "bad_frame" }],
    ["a number", "42", { code: "bad_frame" }],
    ["null", "null", { code: "bad_frame" }],
    ["deep nesting", `{"action":"send","channel":"a","content":${"[".repeat(30_000)}`, { code: "bad_frame" }],
    ["no action", '{"channel":"a","id":1}', { code: "bad_request", id: 1 }],
    ["an action that is no string", '{"action":5,"id":"b"}', { code: "bad_request", id: "b" }],
    ["a bad id", '{"action":"ping","id":{}}', { code: "bad_request" }],
    ["no channel", '{"action":"subscribe","id":1}', { code: "bad_request", id: 1 }],
    ["no content", '{"action":"send","channel":"a","id":1}', { code: "bad_request", id: 1 }],
    [
      "a channel that is no string",
      '{"action":"subscribe","channel":null,"id":1}',
      { code: "bad_request", id: 1 },
    ],
    ["an empty channel", '{"action":"subscribe","channel":"","id":1}', { code: "bad_channel", id: 1 }],
    [
      "a space in a channel",
      '{"action":"send","channel":"a b","content":1,"id":1}',
      { code: "bad_channel", id: 1 },
    ],
    [
      "a quote in a channel",
      '{"action":"subscribe","channel":"a\\"b","id":1}',
      { code: "bad_channel", id: 1 },
    ],
    [
      "a control character in a channel",
      '{"action":"subscribe","channel":"a\\u0000","id":1}',
      { code: "bad_channel" },
    ],
    [
      "a channel that is too long",
      `{"action":"subscribe","channel":"${"x".repeat(256)}","id":1}`,
      { code: "bad_channel" },
    ],
    [
      "a channel not subscribed",
      '{"action":"unsubscribe","channel":"a","id":1}',
      { code: "not_subscribed", id: 1 },
    ],
    [
      "a send to a server channel",
      '{"action":"send","channel":"#user:1","content":1,"id":1}',
      { code: "forbidden" },
    ],
    [
      "a subscription to one",
      '{"action":"subscribe","channel":"#user:1","id":1}',
      { code: "forbidden", id: 1 },
    ],
    [
      "both kinds of content",
      '{"action":"send","channel":"a","content":1,"contentBase64":"AA=="}',
      { code: "bad_request" },
    ],
    [
      "bad base64",
      '{"action":"send","channel":"a","contentBase64":"?","id":1}',
      { code: "bad_request", id: 1 },
    ],
    [
      "tags that are no strings",
      '{"action":"send","channel":"a","content":1,"tags":{"a":1}}',
      { code: "bad_request" },
    ],
    [
      "a token where none is checked",
      '{"action":"connect","token":"x","id":1}',
      { code: "token_invalid", id: 1 },
    ],
    ["a resume token of nobody", '{"action":"connect","resume":"x","id":1}', { code: "bad_request", id: 1 }],
    ["a refresh without a token", '{"action":"refresh","id":1}', { code: "bad_request", id: 1 }],
  ])("%s", async (_what, text, expected) => {
    const client = await connect();
    client.sendText(text);
    const error = await client.next("error");
    expect(error).toMatchObject({ temporary: false, ...expected });
    expect(error["message"]).not.toBe("");
    if (!("id" in expected)) expect([undefined, 1]).toContain(error["id"]);
    expect(await client.ask("ping")).toMatchObject({ type: "reply" });
    expect(client.frames.map(({ type }) => type)).toEqual(["welcome", "error", "reply"]);
  });

  it("an action with a slip gets a hint, others get the list", async () => {
    const client = await connect();
    expect(await client.ask("subscribed", { channel: "a" })).toMatchObject({
      code: "unknown_action",
      message: 'unknown action "subscribed": did you mean "subscribe"?',
    });
    const error = await client.ask("teleport\n");
    expect(error).toMatchObject({ code: "unknown_action" });
    expect(error["message"]).toBe(
      'unknown action "teleport\\n": allowed are connect, subscribe, unsubscribe, send, history, presence, presence_stats, refresh, ping',
    );
  });

  it("a binary frame on a JSON connection, and a text frame on a MessagePack one", async () => {
    const json = await connect();
    json.sendBinary(Buffer.from('{"action":"ping"}'));
    expect(await json.next("error")).toMatchObject({
      code: "bad_frame",
      message: matching(/starling\.v1\.json.*text/),
    });
    const packed = await node.client(MSGPACK);
    packed.sendText('{"action":"ping"}');
    expect(await packed.next("error")).toMatchObject({
      code: "bad_frame",
      message: matching(/starling\.v1\.msgpack.*binary/),
    });
    for (const client of [json, packed]) await client.do("ping");
  });

  it.each<[string, number[]]>([
    ["nothing", []],
    ["no map", [0xc0]],
    ["a length of 4 GiB", [0xdf, 0xff, 0xff, 0xff, 0xff]],
    ["a string that is cut off", [0x81, 0xa6, 0x61]],
    ["an array of 4 billion", [0x81, 0xa7, ...Buffer.from("content"), 0xdd, 0xff, 0xff, 0xff, 0xff]],
    ["more than one value", [0x80, 0x80]],
  ])("MessagePack: %s", async (_what, bytes) => {
    node = await startTestNode();
    const client = await node.client(MSGPACK);
    client.sendBinary(Buffer.from(bytes));
    expect(await client.next("error")).toMatchObject({ code: "bad_frame", temporary: false });
    await client.do("ping");
  });

  it("the channel after the last that a connection may hold", async () => {
    const named = await connect({ maxChannelsPerConnection: 100, maxChannelNameBytes: 600 });
    for (const name of ["a", "b"]) await named.do("subscribe", { channel: name.repeat(250) });
    expect(await named.ask("subscribe", { channel: "c".repeat(101) })).toMatchObject({
      type: "error",
      code: "channel_limit",
      message:
        "channel name limit reached (601 bytes of all names together, maxChannelNameBytes 600): unsubscribe from some",
    });
    await named.do("subscribe", { channel: "c".repeat(100) });
    const client = await connect({ maxChannelsPerConnection: 2 });
    for (const channel of ["a", "b", "a"]) await client.do("subscribe", { channel });
    expect(await client.ask("subscribe", { channel: "c" })).toMatchObject({
      code: "channel_limit",
      message: "channel limit reached (maxChannelsPerConnection 2): unsubscribe from some",
    });
    await client.do("unsubscribe", { channel: "a" });
    await client.do("subscribe", { channel: "c" });
  });

  it("a frame over the limit, up to a quarter larger", async () => {
    const client = await connect({ maxFrameBytes: 1000 });
    client.sendText(JSON.stringify({ action: "send", id: 7, channel: "a", content: "x".repeat(1190) }));
    expect(await client.next("error")).toMatchObject({
      id: 7,
      code: "too_large",
      message: matching(/has \d+ bytes, at most 1000 are allowed/),
    });
    await client.do("ping");
  });

  it("and where it is far too large, the socket is cut before it is read", async () => {
    const client = await connect({ maxFrameBytes: 1000 });
    const other = await node.client();
    client.sendText("x".repeat(1251));
    expect((await client.closed()).code).toBe(1006);
    await other.do("ping");
    expect(await node.metric('starling_disconnects_total{protocol="starling",reason="lost"}')).toBe(1);
    expect(await node.metric('starling_rejects_total{reason="frame_too_large"}')).toBe(1);
  });
});

describe("the rate limit", () => {
  it.each([{}, MSGPACK])(
    "tells of every message over it, and lets through what comes later: %o",
    async (codec) => {
      node = await startTestNode({ messagesPerSecond: 20, messagesBurst: 5 });
      const client = await node.client(codec);
      for (let id = 1; id <= 20; id++) client.send({ action: "ping", id });
      const first = await client.next("error");
      expect(first).toMatchObject({ code: "rate_limited", temporary: true, retryAfterMs: 250 });
      expect(first["message"]).toBe("message rate limit reached (messagesPerSecond 20, messagesBurst 5)");
      const rest = await client.next("error");
      expect(rest).toMatchObject({
        code: "rate_limited",
        dropped: { from: Number(first["id"]) + 1, to: 20 },
      });
      const replies = client.frames.filter(({ type }) => type === "reply").map(({ id }) => id as number);
      expect(replies).toEqual(Array.from({ length: Number(first["id"]) - 1 }, (_, i) => i + 1));
      await until("served again", async () => (await client.ask("ping")).type === "reply");
      expect(await node.metric('starling_rejects_total{reason="rate_limited"}')).toBeGreaterThanOrEqual(
        20 - replies.length,
      );
    },
  );

  it("counts bytes too", async () => {
    const client = await connect({ maxFrameBytes: 1000, bytesPerSecond: 1000, bytesBurst: 2000 });
    const content = "x".repeat(800);
    for (let i = 0; i < 4; i++) client.send({ action: "send", channel: "a", content });
    const error = await client.next("error");
    expect(error).toMatchObject({
      code: "rate_limited",
      message: "byte rate limit reached (bytesPerSecond 1000, bytesBurst 2000)",
    });
    expect(error["retryAfterMs"]).toBeGreaterThan(500);
  });
});

describe("frames behind a token that is being checked", () => {
  it("are served in their order once it is known", async () => {
    node = await startTestNode({ jwtSecret: JWT_SECRET });
    const client = await node.client();
    client.send({ action: "connect", id: 1, token: await token({ sub: "ann" }) });
    client.send({ action: "subscribe", id: 2, channel: "a" });
    client.send({ action: "send", id: 3, channel: "a", content: "hi" });
    client.sendText("nonsense");
    client.send({ action: "unsubscribe", id: 4, channel: "b" });
    await client.next(({ id }) => id === 4);
    const answers = client.frames.slice(1).filter(({ type, id }) => type !== "message" && id !== 3);
    expect(answers.map(({ id, code }) => [id, code] as unknown)).toEqual([
      [1, undefined],
      [2, undefined],
      [undefined, "bad_frame"],
      [4, "not_subscribed"],
    ]);
    expect(await client.contents("a", 1)).toEqual(["hi"]);
  });

  it("close the connection with 4004 once too many wait", async () => {
    node = await startTestNode({ jwtSecret: JWT_SECRET, maxPendingFrames: 10 });
    const client = await node.client();
    // They all come in one packet: the signature is checked in another thread.
    const connect = { action: "connect", token: await token({ sub: "ann" }) };
    for (let i = 0; i < 200; i++) client.send(i % 20 === 0 ? connect : { action: "history" });
    expect(await client.closed()).toEqual({ code: 4004, reason: "overloaded" });
    expect(client.frames.at(-1)).toMatchObject({ type: "closing", code: 4004, reconnect: true });
    expect(await node.metric('starling_rejects_total{reason="overloaded"}')).toBe(1);
    expect(await node.metric('starling_disconnects_total{protocol="starling",reason="overloaded"}')).toBe(1);
  });
});
