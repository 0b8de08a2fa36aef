/** Pusher's protocol on real nodes, frame by frame; real clients are in tests of their own. */

import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { sign } from "../../src/protocols/pusher/signature.js";
import { RawClient } from "../support/raw-client.js";
import { APP_KEY, APP_SECRET, RawPusher, pusherOptions } from "../support/raw-pusher.js";
import { cleanUp, startTestNode, token, until, JWT_SECRET, type InProcessNode } from "../support/nodes.js";

afterEach(cleanUp);

const start = (
  options: Parameters<typeof startTestNode>[0] = {},
  pusher: Parameters<typeof pusherOptions>[0] = {},
): Promise<InProcessNode> => startTestNode({ ...pusherOptions(pusher), ...options });

/** How a client is told that it is not taken. */
async function refused(node: InProcessNode, path: string, origin?: string): Promise<[number, number]> {
  const client = await RawClient.open(node.wsUrl, { path, ...(origin === undefined ? {} : { origin }) });
  const error = await client.next((frame) => frame["event"] === "pusher:error");
  const { code } = await client.closed();
  return [(error["data"] as { code: number }).code, code];
}

describe("connections", () => {
  it("are greeted with an id of two numbers, which no other has", async () => {
    const node = await start();
    const clients = await Promise.all([RawPusher.open(node), RawPusher.open(node), RawPusher.open(node)]);
    const ids = clients.map(({ socketId }) => socketId);
    for (const id of ids) expect(id).toMatch(/^\d+\.\d+$/);
    expect(new Set(ids).size).toBe(3);
    expect(clients[0].raw.texts[0]).toMatch(
      /^\{"event":"pusher:connection_established","data":"\{\\"socket_id\\":\\"\d+\.\d+\\",\\"activity_timeout\\":30\}"\}$/,
    );
  });

  it("are refused on their socket, by error and close", async () => {
    const node = await start({ maxConnections: 1 });
    expect(await refused(node, "/app/unknown?protocol=7")).toEqual([4001, 4001]);
    expect(await refused(node, `/app/${APP_KEY}?protocol=8`)).toEqual([4007, 4007]);
    expect(await refused(node, `/app/${APP_KEY}?protocol=4`)).toEqual([4007, 4007]);
    expect(await refused(node, `/app/${APP_KEY}?protocol=x`)).toEqual([4006, 4006]);
    // Their page has a wsPath that the node does not know.
    expect(await refused(node, `/ws/app/${APP_KEY}?protocol=7&client=js`)).toEqual([4005, 4005]);
    await RawPusher.open(node, { query: "" });
    expect(await refused(node, `/app/${APP_KEY}?protocol=5`)).toEqual([4100, 4100]);
    expect(await node.metric('starling_rejects_total{reason="node_full"}')).toBe(1);
  });

  it("come by the path prefix, with it or where a proxy took it off", async () => {
    const node = await start({ pusherPath: "/realtime" });
    for (const path of [`/realtime/app/${APP_KEY}`, `/app/${APP_KEY}`, `/app/${APP_KEY}/`]) {
      const client = await RawClient.open(node.wsUrl, { path: `${path}?protocol=7` });
      await client.next((frame) => frame["event"] === "pusher:connection_established");
    }
    for (const path of ["/realtime/app", "/realtime/app/", "/app", "/app/"])
      expect(await refused(node, `${path}?protocol=7`), path).toEqual([4005, 4005]);
    await RawClient.welcomed(node.wsUrl, { path: "/apple" });
  });

  it("are refused by what their app says: off, full, other origins", async () => {
    const app = { keys: [{ key: "key-of-shop", secret: APP_SECRET }], maxConnections: 1 };
    const apps = [
      { id: "shop", ...app, origins: ["https://shop.example"] },
      { id: "off", ...app, keys: [{ key: "key-of-off", secret: APP_SECRET }], enabled: false },
    ] as unknown as never;
    const node = await start({ apps });
    expect(await refused(node, "/app/key-of-off")).toEqual([4003, 4003]);
    expect(await refused(node, "/app/key-of-shop", "https://evil.example")).toEqual([4009, 4009]);
    await RawPusher.open(node, { key: "key-of-shop", origin: "https://shop.example" });
    expect(await refused(node, "/app/key-of-shop", "https://shop.example")).toEqual([4004, 4004]);
  });

  it("are closed with what a newcomer is refused with, where new settings disable their app or leave it out", async () => {
    const ids = ["shop", "blog"];
    const appOf = (id: string, more: object) => ({
      id,
      keys: [{ key: `key-of-${id}`, secret: APP_SECRET }],
      ...more,
    });
    const apps = (...all: object[]) => all as unknown as never;
    const node = await start({ apps: apps(...ids.map((id) => appOf(id, {}))) });
    const [shop, blog] = await Promise.all(ids.map((id) => RawPusher.open(node, { key: `key-of-${id}` })));
    await node.reload({ ...pusherOptions(), apps: apps(appOf("shop", { enabled: false })) });
    expect(await shop!.closed()).toEqual({ code: 4003, reason: `app "shop" is disabled` });
    expect(await blog!.closed()).toEqual({ code: 4001, reason: `app "blog" is served no more` });
    expect(await refused(node, "/app/key-of-shop")).toEqual([4003, 4003]);
    expect(await refused(node, "/app/key-of-blog")).toEqual([4001, 4001]);
  });

  it("answer pings, are pinged when silent, and closed without a pong", async () => {
    const node = await start({ heartbeatIntervalMs: 400, heartbeatTimeoutMs: 300 });
    const client = await RawPusher.open(node);
    await client.settled();
    expect(client.had("pusher:pong")[0]).toEqual({ event: "pusher:pong", data: "{}" });
    expect(await client.next("pusher:ping")).toEqual({ event: "pusher:ping", data: "{}" });
    client.say("pusher:pong", {});
    expect((await client.closed()).code).toBe(4201);
  });

  it("are closed with 1003 for a binary frame", async () => {
    const client = await RawPusher.open(await start());
    client.raw.sendBinary(Buffer.from("{}"));
    expect((await client.closed()).code).toBe(1003);
  });

  it("are closed with 4009 where they must prove who they are and do not", async () => {
    const node = await start({}, { authorizeWithinMs: 1000 });
    const [silent, signs, signsIn] = [
      await RawPusher.open(node),
      await RawPusher.open(node),
      await RawPusher.open(node),
    ];
    await silent.join("plain");
    await signs.join("private-x");
    signsIn.signIn({ id: "ann" });
    expect((await silent.closed()).code).toBe(4009);
    await signs.settled();
    await signsIn.settled();
  });

  it("go to another node with 4200 when theirs drains", async () => {
    const node = await start();
    const client = await RawPusher.open(node);
    void node.drain();
    expect((await client.closed()).code).toBe(4200);
  });
});

describe("malformed frames", () => {
  it("are answered with an error each, and the socket stays", async () => {
    const client = await RawPusher.open(await start());
    const frames = [
      "",
      "{",
      "[]",
      "null",
      "7",
      '"x"',
      "{}",
      '{"event":1}',
      '{"event":"pusher:subscribe"}',
      '{"event":"pusher:subscribe","data":[]}',
      '{"event":"pusher:subscribe","data":"x"}',
      '{"event":"pusher:subscribe","data":{}}',
      '{"event":"pusher:subscribe","data":{"channel":1}}',
      '{"event":"pusher:unsubscribe","data":{"channel":null}}',
      '{"event":"pusher:signin","data":{"auth":"a"}}',
      '{"event":"other","data":{}}',
      '{"event":"client-x","data":{}}',
    ];
    for (const frame of frames) client.raw.sendText(frame);
    await client.settled();
    const errors = client.had("pusher:error");
    expect(errors).toHaveLength(frames.length);
    for (const { data } of errors) {
      expect(data).toEqual({
        code: expect.toSatisfy((code) => code === null || code === 4301),
        message: expect.any(String),
      });
    }
    client.say("pusher:subscribe", { channel: "a", auth: {} });
    await client.next("pusher:subscription_error", "a");
    client.say("pusher:nonsense", {});
    await client.settled();
    expect(client.had("pusher:error")).toHaveLength(frames.length);
  });

  it("of any kind cost nobody else anything", async () => {
    const node = await start({ messagesPerSecond: 100_000, messagesBurst: 100_000 });
    const [bystander, client] = [await RawPusher.open(node), await RawPusher.open(node)];
    const words = fc.constantFrom(
      ...["event", "data", "channel", "auth", "channel_data", "user_data", "__proto__", "pusher:subscribe"],
      ...[
        "pusher:signin",
        "client-x",
        "presence-x",
        "private-x",
        "#server-to-user-1",
        "cache-x",
        "pusher:unsubscribe",
      ],
    );
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 4 },
        words,
        fc.string({ unit: "binary" }),
        fc.double(),
        fc.constant(null),
        fc.boolean(),
        fc.array(tie("any"), { maxLength: 4 }),
        fc.dictionary(fc.oneof(words, fc.string()), tie("any"), { maxKeys: 5 }),
      ),
    })).any;
    const command = fc.record({ event: words, channel: value, data: value });
    const frames = fc.oneof(
      value.map((any) => JSON.stringify(any)),
      command.map((any) => JSON.stringify(any)),
      fc.string({ unit: "binary" }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(frames, { minLength: 1, maxLength: 20 }), async (texts) => {
        for (const text of texts) client.raw.sendText(text);
        await client.settled();
      }),
      { numRuns: 150 },
    );
    await bystander.settled();
    expect(await node.metric("starling_session_faults_total")).toBe(0);
  });
});

describe("channels", () => {
  it("succeed, again too, and tell what was published", async () => {
    const node = await start();
    const [client, native] = [await RawPusher.open(node), await node.client()];
    expect(await client.join("room")).toEqual({
      event: "pusher_internal:subscription_succeeded",
      channel: "room",
      data: "{}",
    });
    await client.join("room");
    await native.do("send", { channel: "room", content: { a: 1 } });
    expect(await client.next("message")).toEqual({ event: "message", channel: "room", data: '{"a":1}' });
    await native.do("send", { channel: "room", event: "said", content: "hi" });
    expect(await client.next("said")).toEqual({ event: "said", channel: "room", data: '"hi"' });
    client.unsubscribe("room");
    client.unsubscribe("room");
    await client.settled();
    await native.do("send", { channel: "room", content: 2 });
    await client.settled();
    expect(client.had("message")).toHaveLength(1);
    expect(client.had("pusher:error")).toEqual([]);
  });

  it("that are private need a signature by any key of the app; the answer says of what", async () => {
    const node = await start();
    const client = await RawPusher.open(node);
    await client.join("private-a");
    const stranger = await RawPusher.open(node, { secret: "another-secret-of-16" });
    stranger.subscribe("private-a");
    const error = await stranger.next("pusher:subscription_error", "private-a");
    expect(error["data"]).toMatchObject({ type: "AuthError", status: 401 });
    expect((error["data"] as { error: string }).error).toContain(`${stranger.socketId}:private-a`);
    expect(JSON.stringify(error)).not.toContain(APP_SECRET);
    for (const data of [{}, { auth: "" }, { auth: "x" }, { auth: `${APP_KEY}:` }, { auth: "other:00" }]) {
      stranger.say("pusher:subscribe", { channel: "private-b", ...data });
      await stranger.next("pusher:subscription_error", "private-b");
    }
    await stranger.settled();
  });

  it("have names of Pusher's characters, as long as the app says", async () => {
    const client = await RawPusher.open(await start());
    await client.join("a".repeat(200));
    for (const name of ["a".repeat(201), "", "a b", "a:b", "ä", "#x", "#user:1", "#server-to-user-1"]) {
      client.subscribe(name);
      await client.next("pusher:subscription_error", name);
    }
  });

  it("of a cache give their last event, or say that there is none; client events are not kept", async () => {
    const node = await start();
    const [first, second] = [await RawPusher.open(node), await RawPusher.open(node)];
    for (const channel of ["cache-a", "private-cache-a", "private-encrypted-cache-a"]) {
      await first.join(channel);
      expect(await first.next("pusher:cache_miss")).toEqual({ event: "pusher:cache_miss", channel });
    }
    await first.joinPresence("presence-cache-a", { user_id: "ann" });
    await first.next("pusher:cache_miss", "presence-cache-a");
    await node.post("/v1/publish", { channel: "private-cache-a", event: "price", content: 7 });
    await first.next("price");
    first.say("client-x", { a: 1 }, "private-cache-a");
    await first.settled();
    await second.join("private-cache-a");
    expect(await second.next("price")).toEqual({ event: "price", channel: "private-cache-a", data: "7" });
    await second.settled();
    expect(second.had("pusher:cache_miss")).toEqual([]);
    expect(second.had("client-x")).toEqual([]);
  });

  it("tell how many subscribe, where the app says so", async () => {
    const node = await start({}, { subscriptionCount: true });
    const [first, second] = [await RawPusher.open(node), await RawPusher.open(node)];
    const count = (): unknown => first.had("pusher_internal:subscription_count", "room").at(-1)?.["data"];
    await first.join("room");
    await until("one", () => count() === '{"subscription_count":1}');
    await second.join("room");
    await until("two", () => count() === '{"subscription_count":2}');
    second.close();
    await until("one again", () => count() === '{"subscription_count":1}');
    await first.joinPresence("presence-room", { user_id: "a" });
    await first.settled();
    expect(first.had("pusher_internal:subscription_count", "presence-room")).toEqual([]);
  });
});

describe("presence channels", () => {
  it("give the whole hash with the new member in it, and tell of first and last connections alone", async () => {
    const node = await start({ presenceGraceMs: 50 });
    const [ann, ben, tab] = [
      await RawPusher.open(node),
      await RawPusher.open(node),
      await RawPusher.open(node),
    ];
    const channel = "presence-room";
    expect(await ann.joinPresence(channel, { user_id: "ann", user_info: { name: "Ann", n: 1 } })).toEqual({
      ids: ["ann"],
      hash: { ann: { name: "Ann", n: 1 } },
      count: 1,
    });
    const both = await ben.joinPresence(channel, { user_id: 7 });
    expect(both).toEqual({
      ids: expect.arrayContaining(["ann", 7]),
      hash: { ann: { name: "Ann", n: 1 }, 7: null },
      count: 2,
    });
    expect(await ann.data("pusher_internal:member_added", channel)).toEqual({ user_id: 7, user_info: null });
    await tab.joinPresence(channel, { user_id: 7, user_info: "other" });
    ben.close();
    await tab.joinPresence(channel, { user_id: 7, user_info: "other" });
    tab.unsubscribe(channel);
    expect(await ann.data("pusher_internal:member_removed", channel)).toEqual({ user_id: 7 });
    await ann.settled();
    expect(ann.had("pusher_internal:member_added", channel)).toHaveLength(1);
    expect(ann.had("pusher_internal:member_removed", channel)).toHaveLength(1);
    expect(tab.had("pusher_internal:member_added", channel)).toEqual([]);
  });

  it("take any legal id and any JSON as info, as they came", async () => {
    const client = await RawPusher.open(await start());
    const infos = [
      "null",
      "false",
      '"x"',
      "[1, 2]",
      '{"big":12345678901234567890,"f":1.0}',
      '{"a":"\\n\\ud800"}',
    ];
    for (const [index, info] of infos.entries()) {
      const channel = `presence-${index}`;
      const channelData = `{"user_info":${info},"user_id":"__proto__"}`;
      const { auth } = client.authOf(channel);
      const key = auth.slice(0, auth.indexOf(":"));
      client.say("pusher:subscribe", {
        channel,
        auth: `${key}:${sign(APP_SECRET, `${client.socketId}:${channel}:${channelData}`)}`,
        channel_data: channelData,
      });
      const { data } = await client.next("pusher_internal:subscription_succeeded", channel);
      expect(data).toBe(`{"presence":{"ids":["__proto__"],"hash":{"__proto__":${info}},"count":1}}`);
    }
  });

  it("refuse what is no member, and one too many; a second tab of a member fits", async () => {
    const node = await start({}, { maxPresenceMembers: 2, maxPresenceMemberBytes: 20 });
    const clients = await Promise.all(Array.from({ length: 4 }, () => RawPusher.open(node)));
    const [a, b, c, d] = clients as [RawPusher, RawPusher, RawPusher, RawPusher];
    for (const member of [
      { user_id: "" },
      { user_id: "a b" },
      { user_id: null },
      { user_id: "x", user_info: "y".repeat(30) },
      {},
    ]) {
      a.subscribe("presence-x", member as never);
      await a.next("pusher:subscription_error", "presence-x");
    }
    for (const channelData of ["x", "[]", "7"]) {
      const auth = `${APP_KEY}:${sign(APP_SECRET, `${a.socketId}:presence-x:${channelData}`)}`;
      a.say("pusher:subscribe", { channel: "presence-x", auth, channel_data: channelData });
      await a.next("pusher:subscription_error", "presence-x");
    }
    await a.joinPresence("presence-x", { user_id: "a" });
    await b.joinPresence("presence-x", { user_id: "b" });
    c.subscribe("presence-x", { user_id: "c" });
    expect((await c.next("pusher:subscription_error"))["data"]).toMatchObject({ type: "LimitReached" });
    await d.joinPresence("presence-x", { user_id: "b" });
    expect(a.had("pusher_internal:member_added").map(({ data }) => data as string)).toEqual([
      '{"user_id":"b","user_info":null}',
    ]);
  });

  it("keep no ghost of who subscribes and leaves in one go", async () => {
    const node = await start({ presenceGraceMs: 20 });
    const [watcher, client] = [await RawPusher.open(node), await RawPusher.open(node)];
    await watcher.joinPresence("presence-x", { user_id: "w" });
    for (let i = 0; i < 20; i++) {
      client.subscribe("presence-x", { user_id: "c" });
      client.unsubscribe("presence-x");
    }
    client.subscribe("presence-x", { user_id: "c" });
    client.close();
    await client.closed();
    const probe = await RawPusher.open(node);
    await until("the last one", async () => {
      const { count } = await probe.joinPresence("presence-x", { user_id: "w" });
      return count === 1;
    });
    await watcher.settled();
    const told = watcher.raw.frames
      .filter(({ event }) => /member_/.test(event as string))
      .map(({ event }) => event as string);
    for (const [index, event] of told.entries()) {
      expect(event).toBe(`pusher_internal:member_${index % 2 === 0 ? "added" : "removed"}`);
    }
    expect(told.length % 2).toBe(0);
  });
});

describe("client events", () => {
  it("reach the others in private and presence channels, with who sent them", async () => {
    const node = await start();
    const [ann, ben] = [await RawPusher.open(node), await RawPusher.open(node)];
    await ann.joinPresence("presence-x", { user_id: 5 });
    await ben.joinPresence("presence-x", { user_id: "ben" });
    ann.raw.sendText(
      '{"event":"client-a","channel":"presence-x","user_id":"forged","data":{ "n": 1.0, "big":12345678901234567890 }}',
    );
    expect(await ben.next("client-a")).toEqual({
      event: "client-a",
      channel: "presence-x",
      data: '{ "n": 1.0, "big":12345678901234567890 }',
      user_id: "5",
    });
    for (const text of ["", "plain", '{"a":"\\u00e9"}', "ä€😀", '"', "\u2028\\n"]) {
      ann.say("client-b", text, "presence-x");
      expect((await ben.next("client-b"))["data"]).toBe(text);
    }
    await ann.settled();
    expect(ann.had("client-a")).toEqual([]);
  });

  it("are refused where they may not be, and the socket stays", async () => {
    const node = await start({}, { clientEventsPerSecond: 3, maxDataBytes: 100 });
    const [client, other] = [await RawPusher.open(node), await RawPusher.open(node)];
    for (const channel of ["plain", "private-x", "private-encrypted-x"]) {
      await client.join(channel);
      await other.join(channel);
    }
    const code = async (event: string, channel: string, data: unknown = {}): Promise<unknown> => {
      client.say(event, data, channel);
      return ((await client.next("pusher:error"))["data"] as { code: unknown }).code;
    };
    expect(await code("client-x", "plain")).toBe(4301);
    expect(await code("client-x", "private-encrypted-x")).toBe(4301);
    expect(await code("client-x", "private-other")).toBe(4009);
    expect(await code(`client-${"x".repeat(200)}`, "private-x")).toBe(4301);
    expect(await code("client-x", "private-x", "y".repeat(101))).toBe(4301);
    expect(await code("client-x", "private-x", "\ud800")).toBe(4301);
    expect(await code("pusher_internal:member_added", "private-x")).toBe(null);
    for (let i = 0; i < 3; i++) client.say("client-ok", i, "private-x");
    await client.settled();
    expect(await code("client-ok", "private-x")).toBe(4301);
    await other.settled();
    expect(other.had("client-ok")).toHaveLength(3);
    expect(other.had("client-x")).toEqual([]);
  });

  it("go by what the app's settings are now", async () => {
    const node = await start({}, { clientEventsPerSecond: 1 });
    const [client, other] = [await RawPusher.open(node), await RawPusher.open(node)];
    for (const each of [client, other]) await each.join("private-x");
    const send = async (count: number): Promise<number> => {
      for (let i = 0; i < count; i++) client.say("client-x", i, "private-x");
      await client.settled();
      return client.had("pusher:error").length;
    };
    expect(await send(20)).toBeGreaterThan(0);
    const before = client.had("pusher:error").length;
    await node.reload(pusherOptions({ clientEventsPerSecond: 1000 }));
    expect(await send(20)).toBe(before);
  });

  it("are refused where the app's settings do not enable them", async () => {
    const client = await RawPusher.open(await start({}, { clientEvents: false }));
    await client.join("private-x");
    client.say("client-x", {}, "private-x");
    await client.next("pusher:error");
  });
});

describe("users", () => {
  it("sign in, hear their own channel and no other's, and are ended", async () => {
    const node = await start();
    const [ann, ben] = [await RawPusher.open(node), await RawPusher.open(node)];
    ann.signIn({ id: "ann", user_info: { name: "Ann" }, watchlist: ["ben"] });
    expect(JSON.parse((await ann.next("pusher:signin_success"))["data"] as string)).toEqual({
      user_data: '{"id":"ann","user_info":{"name":"Ann"},"watchlist":["ben"]}',
    });
    await ann.join("#server-to-user-ann");
    ann.subscribe("#server-to-user-ben");
    await ann.next("pusher:subscription_error", "#server-to-user-ben");
    ann.signIn({ id: "ann", user_info: { name: "Ann" } });
    await ann.next("pusher:signin_success");
    ann.signIn({ id: "ben" });
    await ann.next("pusher:error");
    await node.post("/v1/publish", { channel: "#user:ann", event: "note", content: { x: 1 } });
    expect(await ann.next("note")).toEqual({
      event: "note",
      channel: "#server-to-user-ann",
      data: '{"x":1}',
    });
    expect(await ann.joinPresence("presence-x", undefined as never)).toMatchObject({
      hash: { ann: { name: "Ann" } },
    });
    await ben.settled();
    expect(ben.had("note")).toEqual([]);
    await node.post("/v1/users/ann/disconnect", {});
    expect((await ann.closed()).code).toBe(4009);
  });

  it("with a wrong signature are closed with 4009, and told what had to be signed", async () => {
    const node = await start();
    const client = await RawPusher.open(node, { secret: "another-secret-of-16" });
    client.signIn({ id: "ann" });
    const { data } = await client.next("pusher:error");
    expect(data).toMatchObject({ code: 4009 });
    expect((data as { message: string }).message).toContain("::user::");
    expect((await client.closed()).code).toBe(4009);
  });
});

describe("one channel in all protocols", () => {
  it("gives natives values, and Pusher's clients the texts that they send", async () => {
    const node = await start({ jwtSecret: JWT_SECRET });
    const [pusher, json, msgpack] = [
      await RawPusher.open(node),
      await node.client(),
      await node.client({ subprotocol: "starling.v1.msgpack" }),
    ];
    for (const native of [json, msgpack]) {
      await native.do("connect", {
        token: await token({ sub: "nat", channels: ["private-*"], publish: ["private-*"] }),
      });
      await native.do("subscribe", { channel: "private-x" });
    }
    await pusher.join("private-x");
    pusher.say("client-a", '{"k":[1]}', "private-x");
    pusher.say("client-b", "no json", "private-x");
    pusher.say("client-c", { k: 2 }, "private-x");
    for (const native of [json, msgpack]) {
      expect(await native.contents("private-x", 3)).toEqual([{ k: [1] }, "no json", { k: 2 }]);
      expect(native.messages("private-x").map(({ event }) => event as string)).toEqual([
        "client-a",
        "client-b",
        "client-c",
      ]);
    }
    await msgpack.do("send", { channel: "private-x", event: "e", content: { k: 'ä"' } });
    expect(await pusher.next("e")).toEqual({ event: "e", channel: "private-x", data: '{"k":"ä\\""}' });
  });

  it("lets no client name an event as Pusher's servers do", async () => {
    const node = await start();
    const [pusher, native] = [await RawPusher.open(node), await node.client()];
    await pusher.join("room");
    for (const event of ["pusher:error", "pusher_internal:member_added"]) {
      expect(await native.ask("send", { channel: "room", event, content: 1 })).toMatchObject({
        type: "error",
        code: "forbidden",
      });
    }
    await pusher.settled();
    expect(pusher.raw.frames.filter(({ channel }) => channel === "room")).toHaveLength(1);
  });

  it("keeps natives without a claim off private and presence channels, in open mode too", async () => {
    const native = await (await start()).client();
    for (const channel of ["private-x", "presence-x", "private-cache-x"]) {
      expect(await native.ask("subscribe", { channel })).toMatchObject({ type: "error", code: "forbidden" });
      expect(await native.ask("send", { channel, content: 1 })).toMatchObject({
        type: "error",
        code: "forbidden",
      });
    }
  });

  it("has natives and Pusher's clients see each other in a presence channel", async () => {
    const node = await start({ jwtSecret: JWT_SECRET, presenceGraceMs: 50 });
    const [pusher, native] = [await RawPusher.open(node), await node.client()];
    await native.do("connect", { token: await token({ sub: "nat", channels: ["*"], info: { n: 1 } }) });
    await native.do("subscribe", { channel: "presence-x" });
    expect(await pusher.joinPresence("presence-x", { user_id: "pat", user_info: { p: 1 } })).toMatchObject({
      hash: { nat: { n: 1 }, pat: { p: 1 } },
      count: 2,
    });
    expect(await native.next((frame) => frame.type === "join" && frame["user"] === "pat")).toMatchObject({
      info: { p: 1 },
    });
    await native.do("unsubscribe", { channel: "presence-x" });
    expect(await pusher.data("pusher_internal:member_removed")).toEqual({ user_id: "nat" });
  });
});
