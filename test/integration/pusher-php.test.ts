/** Requests of Pusher's SDK for PHP and of Laravel's broadcaster, on two nodes with a real Redis. */

import { once } from "node:events";
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { cleanUp, startFleet, startTestNode, until, type InProcessNode } from "../support/nodes.js";
import {
  APP,
  connectPusher,
  disconnectPusher,
  heardOn,
  pusherApps,
  subscribePusher,
  type PusherClient,
} from "../support/pusher-clients.js";
import { laravelBroadcast, phpJson, phpSdk, type PhpSdk } from "../support/pusher-php.js";
import { closeRawHttp, type RawResponse } from "../support/raw-http.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

let redis: RedisServer;
let one: InProcessNode;
let two: InProcessNode;
beforeAll(async () => {
  redis = await startRedis();
  [one, two] = (await startFleet(2, redis, pusherApps())) as unknown as [InProcessNode, InProcessNode];
});
afterEach(() => {
  disconnectPusher();
  closeRawHttp();
});
afterAll(async () => {
  await cleanUp();
  await redis.stop();
});

/** What its signatures are made by is what an application in PHP answers. */
function connect(node: InProcessNode, sdk: PhpSdk, id: string): Promise<PusherClient> {
  const info = { name: 'é/"\\', role: null };
  return connectPusher(node, {
    channelAuthorization: {
      customHandler({ socketId, channelName }, callback) {
        const answer = channelName.startsWith("presence-")
          ? sdk.authorizePresenceChannel(channelName, socketId, id, info)
          : sdk.authorizeChannel(channelName, socketId);
        callback(null, JSON.parse(answer) as never);
      },
    },
    userAuthentication: {
      customHandler({ socketId }, callback) {
        callback(null, JSON.parse(sdk.authenticateUser(socketId, { id, user_info: info })) as never);
      },
    },
  });
}

function expectDone(...answers: readonly RawResponse[]): void {
  // What Guzzle takes for success, and what is an object once decoded.
  for (const { status, body } of answers) expect([status, body]).toEqual([200, "{}"]);
}

it("json_encode() escapes as PHP does", () => {
  // What PHP 8.2 prints.
  expect(phpJson('é/\\"<&>\u2028😀\u007f\u0001\n')).toBe(
    String.raw`"\u00e9\/\\\"<&>\u2028\ud83d\ude00` + "\u007f" + String.raw`\u0001\n"`,
  );
  expect(phpJson({ a: 1, b: [], c: 1.5, d: null, e: true })).toBe('{"a":1,"b":[],"c":1.5,"d":null,"e":true}');
  expect(phpJson("App\\Events\\Said")).toBe(String.raw`"App\\Events\\Said"`);
});

describe.each([7, 4] as const)("the SDK for PHP, version %d", (version) => {
  const sdk = (port: "wsUrl" | "apiUrl" = "wsUrl"): PhpSdk => phpSdk(one[port], { version });
  const data = { text: 'é/\\"<&>\u2028😀', n: [1, null, 1.5] };

  it.each(["wsUrl", "apiUrl"] as const)("triggers events, on the port of %s", async (port) => {
    const php = sdk(port);
    const [room, secret] = [`php-${version}-${port}`, `private-php-${version}-${port}`];
    const ada = await connect(one, php, "ada");
    const bob = await connect(two, php, "bob");
    const lists = [];
    for (const client of [ada, bob]) {
      for (const name of [room, secret]) lists.push(heardOn(await subscribePusher(client, name)));
    }
    const { socket_id } = ada.connection;
    expectDone(
      await php.trigger(room, "App\\Events\\Said", data),
      await php.trigger([room, secret], "both", "text"),
      await php.trigger([room, secret], "not to ada", [], { socket_id }),
      await php.triggerBatch([
        { channel: room, name: "batch", data, socket_id },
        { channel: secret, name: "last", data },
      ]),
    );
    for (const heard of [lists[1]!, lists[3]!]) {
      await until("the last event", () => heard.some(({ event }) => event === "last"));
    }
    const [adasRoom, adasSecret, bobsRoom, bobsSecret] = lists.map((heard) =>
      heard.filter(({ event }) => !event.startsWith("pusher:")).map((each) => [each.event, each.data]),
    );
    const said = ["App\\Events\\Said", data];
    const both = ["both", "text"];
    expect(adasRoom).toEqual([said, both]);
    expect(adasSecret).toEqual([both, ["last", data]]);
    expect(bobsRoom).toEqual([said, both, ["not to ada", []], ["batch", data]]);
    expect(bobsSecret).toEqual([both, ["not to ada", []], ["last", data]]);
  });

  it("has its data passed on byte for byte", async () => {
    const socket = new WebSocket(`${two.wsUrl}/app/${APP.key}?protocol=7`);
    onTestFinished(() => socket.terminate());
    const frames: { event: string; data: string }[] = [];
    socket.on("message", (bytes: Buffer) => frames.push(JSON.parse(bytes.toString()) as (typeof frames)[0]));
    await once(socket, "open");
    const channel = `bytes-${version}`;
    socket.send(JSON.stringify({ event: "pusher:subscribe", data: { channel } }));
    await until("subscribed", () => frames.length === 2);
    expectDone(await sdk().trigger(channel, "said", data));
    const { data: text } = await until("the event", () => frames.find(({ event }) => event === "said"));
    expect(text).toBe(phpJson(data));
  });

  it("asks for channels and users", async () => {
    const php = sdk();
    const [room, presence] = [`asked-${version}`, `presence-asked-${version}`];
    const filter_by_prefix = presence;
    const get = async (asked: Promise<RawResponse>): Promise<unknown> => {
      const { status, body } = await asked;
      expect(status).toBe(200);
      return JSON.parse(body);
    };
    // An object, empty as it is: PHP takes it for one.
    expect(await get(php.getChannels({ filter_by_prefix }))).toEqual({ channels: {} });
    for (const [node, id] of [
      [one, "ada"],
      [two, "ada"],
      [two, "bob"],
    ] as const) {
      const client = await connect(node, php, id);
      await subscribePusher(client, room);
      await subscribePusher(client, presence);
    }
    const info = "user_count,subscription_count";
    const counts = { user_count: 2, subscription_count: 3 };
    await until("both users", async () => {
      const told = (await get(php.getChannelInfo(presence, { info }))) as { user_count: number };
      return told.user_count === 2;
    });
    expect(await get(php.getChannelInfo(presence, { info }))).toEqual({ occupied: true, ...counts });
    expect(await get(php.getChannelInfo(room))).toEqual({ occupied: true });
    expect(await get(php.getChannels({ filter_by_prefix, info }))).toEqual({
      channels: { [presence]: counts },
    });
    expect(await get(php.getPresenceUsers(presence))).toEqual({
      users: expect.arrayContaining([{ id: "ada" }, { id: "bob" }]) as unknown,
    });
    expect(await get(php.trigger([room, presence], "said", data, { info }))).toEqual({
      channels: { [room]: { subscription_count: 3 }, [presence]: counts },
    });
  });

  it("sends to a user, and ends the user's connections", async () => {
    const php = sdk();
    const clients = [
      await connect(one, php, "u1"),
      await connect(two, php, "u1"),
      await connect(two, php, "u2"),
    ];
    const notes: unknown[][] = clients.map(() => []);
    for (const [index, client] of clients.entries()) {
      client.user.bind("note", (note: unknown) => notes[index]!.push(note));
      client.signin();
      await client.user.signinDonePromise;
    }
    expectDone(await php.sendToUser("u1", "note", data), await php.sendToUser("u2", "note", data));
    await until("a note each", () => notes.every((list) => list.length === 1));
    expect(notes.flat()).toEqual([data, data, data]);
    expectDone(await php.terminateUserConnections("u1"));
    await until("sent away", () =>
      clients.every(({ connection }, index) => (connection.state === "disconnected") === index < 2),
    );
  });

  it("is told what is wrong, in plain text", async () => {
    const wrong = await phpSdk(one.wsUrl, { version, secret: "wrong" }).trigger("room", "said", data);
    expect(wrong).toMatchObject({ status: 401, body: expect.stringMatching(/^Invalid signature/) as string });
    expect(await phpSdk(one.wsUrl, { version, appId: "404" }).getChannels()).toMatchObject({ status: 404 });
    expect(await sdk().trigger("room", "said", "x".repeat(10_241))).toMatchObject({ status: 413 });
    expect(await sdk().getPresenceUsers("room")).toMatchObject({ status: 400 });
    for (const { headers } of [wrong]) expect(headers["content-type"]).toBe("text/plain; charset=utf-8");
  });

  it("signs without the prefix of the path", async () => {
    const node = await startTestNode({ ...pusherApps(), pusherPath: "/realtime" });
    onTestFinished(() => node.stop());
    const prefixed = await connectPusher(node, { wsPath: "/realtime" });
    const heard = heardOn(await subscribePusher(prefixed, "room"));
    expectDone(await phpSdk(node.wsUrl, { version, path: "/realtime" }).trigger("room", "said", data));
    await until("the event", () => heard.some(({ event }) => event === "said"));
  });
});

describe("Laravel's broadcaster", () => {
  it("reaches more channels than one event may go to, but not who caused it", async () => {
    const php = phpSdk(one.wsUrl, { version: 7 });
    const channels = Array.from({ length: 150 }, (_, i) => `private-orders.${i}`);
    const causing = await connect(two, php, "causing");
    const client = await connect(two, php, "other");
    const last = channels[149]!;
    const lists = [];
    for (const each of [causing, client]) lists.push(heardOn(await subscribePusher(each, last)));
    const event = "App\\Events\\OrderShipped";
    const payload = { order: { id: 1, note: "é/" } };
    expectDone(
      ...(await laravelBroadcast(php, channels, event, { ...payload, socket: causing.connection.socket_id })),
      ...(await laravelBroadcast(php, [last], event, {})),
    );
    for (const heard of lists) {
      await until("the event", () => heard.some(({ data }) => Array.isArray(data)));
    }
    expect(lists[0]).toEqual([{ event, data: [] }]);
    expect(lists[1]).toEqual([
      { event, data: payload },
      { event, data: [] },
    ]);
  });
});
