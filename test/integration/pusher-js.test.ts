/** pusher-js, unchanged, on two nodes with a real Redis. */

import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { cleanUp, startFleet, startTestNode, until, type InProcessNode } from "../support/nodes.js";
import {
  APP,
  bodyOf,
  connectPusher,
  disconnectPusher,
  errorsOf,
  framesOf,
  heardOn,
  portOf,
  pusherApps,
  pusherClient,
  sdkOf,
  subscribePusher,
  type PusherChannel,
} from "../support/pusher-clients.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

const SILENT = { key: "key-of-silent", secret: "secret-of-silent-in-tests" };
const OFF = { key: "key-of-off", secret: "secret-of-off-in-tests" };
const SMALL = { key: "key-of-small", secret: "secret-of-small-in-tests" };
const COUNTED = { key: "key-of-counted", secret: "secret-of-counted-in-tests" };
const OPTIONS = pusherApps(
  { id: "counted", keys: [COUNTED], pusher: { subscriptionCount: true } },
  { id: "silent", keys: [SILENT] },
  { id: "off", keys: [OFF], enabled: false },
  { id: "small", keys: [SMALL], maxConnections: 1 },
);

let redis: RedisServer;
let one: InProcessNode;
let two: InProcessNode;
beforeAll(async () => {
  redis = await startRedis();
  [one, two] = (await startFleet(2, redis, OPTIONS)) as unknown as [InProcessNode, InProcessNode];
});
afterEach(disconnectPusher);
afterAll(async () => {
  await cleanUp();
  await redis.stop();
});

/** By which a test sees that nothing else came before it. */
async function marked(channel: string, ...lists: (readonly { event: string }[])[]): Promise<void> {
  await sdkOf(two).trigger(channel, "marker", {});
  for (const list of lists) await until("the marker", () => list.some(({ event }) => event === "marker"));
}

const dataOf = (heard: readonly { event: string; data: unknown }[], event: string): unknown[] =>
  heard.filter((each) => each.event === event).map(({ data }) => data);

interface Members {
  readonly count: number;
  readonly myID: string;
  readonly me: { readonly id: string; readonly info: unknown } | null;
  readonly members: Record<string, unknown>;
}
const membersOf = (channel: PusherChannel): Members => (channel as unknown as { members: Members }).members;

describe("connections", () => {
  it("have a socket_id that no other of the fleet has", async () => {
    const clients = await Promise.all([one, one, two, two].map((node) => connectPusher(node)));
    const ids = clients.map(({ connection }) => connection.socket_id);
    for (const id of ids) expect(id).toMatch(/^\d+\.\d+$/);
    expect(new Set(ids).size).toBe(4);
  });

  it("are refused for good, with a code that says why", async () => {
    await connectPusher(one, SMALL);
    for (const [options, code] of [
      [{ key: "no-such-key" }, 4001],
      [OFF, 4003],
      [SMALL, 4004],
    ] as const) {
      const client = pusherClient(portOf(one), options);
      const errors = errorsOf(client);
      await until("refused", () => client.connection.state === "disconnected");
      expect(errors.map((error) => error.code)).toEqual([code]);
    }
  });

  it("of another version of the protocol get an error as event and as close code", async () => {
    for (const [query, code] of [
      ["protocol=4&client=js&version=2.0.0", 4007],
      ["protocol=8", 4007],
      ["protocol=x", 4006],
    ] as const) {
      const socket = new WebSocket(`${one.wsUrl}/app/${APP.key}?${query}`);
      const frames: { event: string; data: { code: number } }[] = [];
      socket.on("message", (data: Buffer) => frames.push(JSON.parse(data.toString()) as (typeof frames)[0]));
      const closed = await new Promise((resolve) => socket.once("close", resolve));
      expect(closed).toBe(code);
      expect(frames).toMatchObject([{ event: "pusher:error", data: { code } }]);
    }
  });

  it("go on after a frame that is none, which they are told of", async () => {
    const client = await connectPusher(one);
    const errors = errorsOf(client);
    for (const frame of ["{", "[]", '{"event":1}', '{"event":"pusher:subscribe","data":{"channel":[]}}']) {
      client.connection.connection.transport.send(frame);
    }
    await until("four errors", () => errors.length === 4);
    await subscribePusher(client, "after-errors");
    expect(client.connection.state).toBe("connected");
  });

  it("are asked for a sign of life by either side, and live on", async () => {
    const node = await startTestNode({ ...OPTIONS, heartbeatIntervalMs: 1_000, heartbeatTimeoutMs: 999 });
    onTestFinished(() => node.stop());
    const pinged = await connectPusher(node);
    // As a client that does not heed what the server says of its time-out.
    pinged.connection.activityTimeout = 60_000;
    const pinging = await connectPusher(node, { activityTimeout: 100 });
    const ids = [pinged, pinging].map(({ connection }) => connection.socket_id);
    const lists = [framesOf(pinged), framesOf(pinging)] as const;
    await until("pings of the server", () => dataOf(lists[0] as never, "pusher:ping").length >= 2);
    await until("answers of the server", () => dataOf(lists[1] as never, "pusher:pong").length >= 4);
    expect([pinged, pinging].map(({ connection }) => connection.socket_id)).toEqual(ids);
  });

  it("move to another node when theirs stops, with their channels, and leave no ghost", async () => {
    const [first, second] = (await startFleet(2, redis, OPTIONS)) as unknown as [
      InProcessNode,
      InProcessNode,
    ];
    const proxy = await startTcpProxy(portOf(first));
    onTestFinished(() => proxy.close());
    const moving = await connectPusher({ wsUrl: `ws://127.0.0.1:${proxy.port}` }, { user: { id: "moves" } });
    const staying = await connectPusher(second, { user: { id: "stays" } });
    const heard = heardOn(await subscribePusher(moving, "public"));
    const mine = await subscribePusher(moving, "presence-moving");
    const theirs = await subscribePusher(staying, "presence-moving");
    expect(membersOf(theirs).count).toBe(2);
    proxy.retarget(portOf(second));
    await first.stop();
    await until("connected again", () => mine.subscribed && moving.connection.state === "connected");
    await until("subscribed again", () => dataOf(heard, "pusher:subscription_succeeded").length === 1);
    await sdkOf(second).trigger("public", "said", { after: true });
    await until("the event", () => dataOf(heard, "said").length === 1);
    expect(Object.keys(membersOf(mine).members).sort()).toEqual(["moves", "stays"]);
    expect(await bodyOf(sdkOf(second).get({ path: "/channels/presence-moving/users" }))).toEqual({
      users: expect.arrayContaining([{ id: "moves" }, { id: "stays" }]) as unknown,
    });
    moving.disconnect();
    await until("the other gone", () => membersOf(theirs).count === 1);
    await until("gone for the API", async () => {
      const body = await bodyOf(sdkOf(second).get({ path: "/channels/presence-moving/users" }));
      return JSON.stringify(body) === '{"users":[{"id":"stays"}]}';
    });
  });
});

describe("public and private channels", () => {
  it("hear what a back end triggers, on every node, as it was given", async () => {
    const given = [{ a: "é", n: [1, 2.5, null] }, "no JSON", "", [], { big: "😀".repeat(2_000) }];
    for (const name of ["public-1", "private-1", "private-with=@,.;chars"]) {
      const lists = [];
      for (const node of [one, two]) {
        lists.push(heardOn(await subscribePusher(await connectPusher(node), name)));
      }
      for (const data of given) await sdkOf(one).trigger(name, "App\\Events\\Said", data);
      await marked(name, ...lists);
      for (const heard of lists) expect(dataOf(heard, "App\\Events\\Said")).toEqual(given);
    }
  });

  it("are left, and joined again, in one go or one by one", async () => {
    const client = await connectPusher(one, { user: { id: "quick" } });
    const watching = await connectPusher(two);
    for (const name of ["public-2", "private-2", "presence-2"]) {
      client.subscribe(name);
      client.unsubscribe(name);
      const heard = heardOn(await subscribePusher(client, name));
      await marked(name, heard);
      client.unsubscribe(name);
      const again = heardOn(client.subscribe(name));
      await until("subscribed again", () => dataOf(again, "pusher:subscription_succeeded").length === 1);
      client.unsubscribe(name);
      const end = heardOn(await subscribePusher(watching, "public-end"));
      await marked("public-end", end);
      await until(`nobody in ${name}`, async () => {
        const body = await bodyOf(sdkOf(two).get({ path: `/channels/${name}` }));
        return (body as { occupied: boolean }).occupied === false;
      });
    }
    await until("no ghost", async () => {
      const body = await bodyOf(sdkOf(two).get({ path: "/channels/presence-2/users" }));
      return JSON.stringify(body) === '{"users":[]}';
    });
  });

  it("are all joined when a page subscribes to many at once, and again after it lost its connection", async () => {
    const limits = { maxChannelsPerConnection: 300, maxChannelNameBytes: 10_000 };
    const [node] = await startFleet(1, redis, { ...OPTIONS, ...limits });
    const proxy = await startTcpProxy(portOf(node!));
    onTestFinished(() => proxy.close());
    const client = await connectPusher({ wsUrl: `ws://127.0.0.1:${proxy.port}` }, { user: { id: "many" } });
    const kinds = ["", "private-", "presence-", "cache-", "private-encrypted-", "presence-cache-"];
    const names = kinds.flatMap((kind) => Array.from({ length: 50 }, (_, i) => `${kind}many-${i}`));
    const channels = names.map((name) => client.subscribe(name));
    const all = (): boolean => channels.every(({ subscribed }) => subscribed);
    await until("all joined", all);
    proxy.cut();
    await until("cut", () => channels.every(({ subscribed }) => !subscribed));
    await until("all joined again", all);
    for (const name of names.slice(0, 100)) client.unsubscribe(name);
    await until("some of them left", async () => {
      const body = await bodyOf(sdkOf(node!).get({ path: "/channels" }));
      return Object.keys((body as { channels: object }).channels).length === 200;
    });
    const again = names.slice(0, 100).map((name) => client.subscribe(name));
    await until("all joined once more", () => again.every(({ subscribed }) => subscribed));
    const tooMany = heardOn(client.subscribe("one-too-many"));
    await until("refused", () => tooMany.length > 0);
    expect(tooMany).toMatchObject([
      { event: "pusher:subscription_error", data: { type: "LimitReached", status: 403 } },
    ]);
  });

  it("are refused where the signature is wrong, saying what should be signed; the connection stays", async () => {
    const client = await connectPusher(one, { secret: "not the secret of the app", user: { id: "x" } });
    for (const name of ["private-3", "presence-3", "private-encrypted-3", "private-cache-3"]) {
      const channel = client.subscribe(name);
      const heard = heardOn(channel);
      await until("an error", () => heard.length > 0);
      expect(heard).toEqual([
        {
          event: "pusher:subscription_error",
          data: { type: "AuthError", status: 401, error: expect.stringContaining(`:${name}`) as string },
        },
      ]);
      expect(JSON.stringify(heard)).not.toContain(APP.secret);
    }
    await subscribePusher(client, "public-3");
    expect(client.connection.state).toBe("connected");
  });

  it("do not hear what excludes their socket_id, whichever node took it", async () => {
    const sender = await connectPusher(one);
    const other = await connectPusher(one);
    const far = await connectPusher(two);
    for (const name of ["public-4", "private-4", "cache-4"]) {
      const lists = [];
      for (const client of [sender, other, far]) {
        lists.push(heardOn(await subscribePusher(client, name)));
      }
      const { socket_id } = sender.connection;
      await sdkOf(one).trigger(name, "said", 1, { socket_id });
      await sdkOf(two).trigger([name], "said", 2, { socket_id });
      await sdkOf(two).triggerBatch([{ channel: name, name: "said", data: 3, socket_id }]);
      await marked(name, ...lists);
      const said = lists.map((heard) => dataOf(heard, "said"));
      expect(said).toEqual([[], [1, 2, 3], [1, 2, 3]]);
    }
  });
});

it("subscribers are told how many they are over all nodes, where the app says so", async () => {
  const first = await connectPusher(one, COUNTED);
  for (const name of ["counted", "private-counted", "cache-counted"]) {
    const channel = await subscribePusher(first, name);
    const counts = (): unknown => (channel as unknown as { subscriptionCount: unknown }).subscriptionCount;
    await until("one", () => counts() === 1);
    const others = await Promise.all([one, two].map((node) => connectPusher(node, COUNTED)));
    const theirs = await Promise.all(others.map((client) => subscribePusher(client, name)));
    for (const each of [channel, ...theirs]) {
      await until("three", () => (each as unknown as { subscriptionCount: unknown }).subscriptionCount === 3);
    }
    others[1]!.disconnect();
    others[0]!.unsubscribe(name);
    await until("one again", () => counts() === 1);
  }
  const presence = heardOn(
    await subscribePusher(await connectPusher(two, { ...COUNTED, user: { id: "a" } }), "presence-counted"),
  );
  const ends = heardOn(await subscribePusher(first, "ends"));
  await until("a count", () => ends.some(({ event }) => event === "pusher:subscription_count"));
  expect(presence).toEqual([]);
});

describe("encrypted channels", () => {
  it("carry what only their subscribers can read", async () => {
    for (const name of ["private-encrypted-1", "private-encrypted-cache-1"]) {
      const client = await connectPusher(two);
      const frames = framesOf(client);
      const heard = heardOn(await subscribePusher(client, name));
      await sdkOf(one).trigger(name, "said", { secret: "of two" });
      await until("the event", () => dataOf(heard, "said").length === 1);
      expect(dataOf(heard, "said")).toEqual([{ secret: "of two" }]);
      expect(frames.find(({ event }) => event === "said")?.data).toEqual({
        nonce: expect.any(String) as string,
        ciphertext: expect.any(String) as string,
      });
    }
    const late = await connectPusher(one);
    const heard = heardOn(late.subscribe("private-encrypted-cache-1"));
    await until("the last event", () => dataOf(heard, "said").length === 1);
    expect(dataOf(heard, "said")).toEqual([{ secret: "of two" }]);
  });
});

describe.each(["cache-", "private-cache-", "presence-cache-", "private-encrypted-cache-"])("%s", (kind) => {
  it("tells new subscribers the last event, or that there is none", async () => {
    const name = `${kind}5`;
    const early = heardOn((await connectPusher(one, { user: { id: "a" } })).subscribe(name));
    await until("a miss", () => early.some(({ event }) => event === "pusher:cache_miss"));
    for (const data of [{ n: 1 }, { n: 2 }]) await sdkOf(one).trigger(name, "said", data);
    await until("the events", () => dataOf(early, "said").length === 2);
    for (const [index, node] of [two, one, two].entries()) {
      const late = heardOn((await connectPusher(node, { user: { id: `late-${index}` } })).subscribe(name));
      await marked("public-5", heardOn(await subscribePusher(await connectPusher(node), "public-5")));
      await until("the last event", () => dataOf(late, "said").length > 0);
      const events = late.map(({ event }) => event).filter((event) => !event.includes("member"));
      expect(events).toEqual(["pusher:subscription_succeeded", "said"]);
      expect(dataOf(late, "said")).toEqual([{ n: 2 }]);
    }
    expect(early.map(({ event }) => event).filter((event) => !event.includes("member"))).toEqual([
      "pusher:subscription_succeeded",
      "pusher:cache_miss",
      "said",
      "said",
    ]);
  });
});

describe("presence channels", () => {
  it("know who is there over all nodes, each user once", async () => {
    const name = "presence-6";
    const info = { name: "Ada", ä: [1] };
    const first = await subscribePusher(await connectPusher(one, { user: { id: "ada", info } }), name);
    expect(membersOf(first)).toMatchObject({ count: 1, myID: "ada", me: { id: "ada", info } });
    const heard = heardOn(first);
    const bob = await connectPusher(two, { user: { id: "bob", info: { name: "Bob" } } });
    const bobs = await subscribePusher(bob, name);
    const secondTab = await connectPusher(two, { user: { id: "ada", info: { name: "not shown" } } });
    await subscribePusher(secondTab, name);
    await marked(name, heard);
    expect(membersOf(bobs).members).toEqual({ ada: info, bob: { name: "Bob" } });
    secondTab.disconnect();
    bob.unsubscribe(name);
    await until("bob gone", () => heard.some(({ event }) => event === "pusher:member_removed"));
    await connectPusher(one, { user: { id: 7 } }).then((client) => subscribePusher(client, name));
    await until("another one", () => dataOf(heard, "pusher:member_added").length === 2);
    expect(heard.filter(({ event }) => event !== "marker")).toEqual([
      { event: "pusher:member_added", data: { id: "bob", info: { name: "Bob" } } },
      { event: "pusher:member_removed", data: { id: "bob", info: { name: "Bob" } } },
      { event: "pusher:member_added", data: { id: 7, info: null } },
    ]);
    expect(membersOf(first).count).toBe(2);
  });

  it("take who signed in without more", async () => {
    const user = { id: "signed-in", info: { name: "S" } };
    const application = sdkOf(one);
    const client = await connectPusher(one, {
      user,
      channelAuthorization: {
        customHandler: ({ socketId, channelName }, callback) =>
          callback(null, application.authorizeChannel(socketId, channelName)),
      },
    });
    client.signin();
    await client.user.signinDonePromise;
    const channel = await subscribePusher(client, "presence-7");
    expect(membersOf(channel).me).toEqual({ id: "signed-in", info: { name: "S" } });
  });
});

describe("client events", () => {
  it("go to all others, over nodes, and say who sent them where it is known", async () => {
    for (const [name, userId] of [
      ["private-8", undefined],
      ["presence-8", "sends"],
    ] as const) {
      const sender = await subscribePusher(await connectPusher(one, { user: { id: "sends" } }), name);
      const own = heardOn(sender);
      const receivers = [];
      for (const node of [one, two]) {
        const client = await connectPusher(node, { user: { id: `hears-${node.id}` } });
        const heard: unknown[] = [];
        const channel = await subscribePusher(client, name);
        channel.bind("client-said", (data: unknown, metadata: unknown) => heard.push([data, metadata]));
        receivers.push({ heard, all: heardOn(channel), channel });
      }
      for (const data of [{ a: "é" }, "text", 1, null]) sender.trigger("client-said", data);
      for (const { heard } of receivers) await until("all", () => heard.length === 4);
      await marked(name, own);
      const metadata = userId === undefined ? {} : { user_id: userId };
      for (const { heard } of receivers)
        expect(heard).toEqual([{ a: "é" }, "text", 1, null].map((data) => [data, metadata]));
      receivers[1]!.channel.trigger("client-back", {});
      await until("the answer", () => dataOf(own, "client-back").length === 1);
      expect(dataOf(own, "client-said")).toEqual([]);
    }
  });

  it("are refused by a code where they are not allowed", async () => {
    const refusals = async (options: object, name: string, count = 1): Promise<(number | null)[]> => {
      const client = await connectPusher(one, options);
      const errors = errorsOf(client);
      const channel = await subscribePusher(client, name);
      // Its own method would refuse some of them.
      for (let i = 0; i < count; i++) client.send_event("client-said", {}, channel.name);
      await until("refused", () => errors.length > 0);
      await subscribePusher(client, "public-9");
      return errors.map(({ code }) => code);
    };
    expect(await refusals({}, "public-8")).toEqual([4301]);
    expect(await refusals({}, "private-encrypted-8")).toEqual([4301]);
    expect(await refusals(SILENT, "private-8")).toEqual([4301]);
    expect((await refusals({}, "private-9", 40))[0]).toBe(4301);
    const stranger = await connectPusher(one);
    const errors = errorsOf(stranger);
    stranger.send_event("client-said", {}, "private-8");
    await until("refused", () => errors.length === 1);
    expect(errors[0]!.code).toBe(4009);
  });
});

describe("users", () => {
  it("hear what is sent to them on every node, and go when they are terminated", async () => {
    const heard: unknown[] = [];
    const clients = [];
    for (const [node, id] of [
      [one, "42"],
      [two, "42"],
      [two, "421"],
    ] as const) {
      const client = await connectPusher(node, { user: { id, info: { name: "U" } } });
      client.user.bind("note", (data: unknown) => heard.push([id, data]));
      client.signin();
      await client.user.signinDonePromise;
      expect(client.user.user_data).toEqual({ id, user_info: { name: "U" } });
      clients.push(client);
    }
    await sdkOf(one).sendToUser("42", "note", { n: 1 });
    await sdkOf(two).sendToUser("421", "note", { n: 2 });
    await until("three notes", () => heard.length === 3);
    expect(heard).toEqual(
      expect.arrayContaining([
        ["42", { n: 1 }],
        ["42", { n: 1 }],
        ["421", { n: 2 }],
      ]),
    );
    const errors = clients.map((client) => errorsOf(client));
    await sdkOf(one).terminateUserConnections("42");
    for (const client of clients.slice(0, 2)) {
      await until("sent away for good", () => client.connection.state === "disconnected");
    }
    // pusher-js says of one close twice what it is.
    expect(errors.map((told) => [...new Set(told.map(({ code }) => code))])).toEqual([[4009], [4009], []]);
    expect(clients[2]!.connection.state).toBe("connected");
  });

  it("have no way to another's events, nor in by a wrong signature", async () => {
    const client = await connectPusher(one, { user: { id: "curious" } });
    client.signin();
    await client.user.signinDonePromise;
    for (const name of ["#server-to-user-42", "#server-to-user-", "#user:42", "#else"]) {
      const frames = framesOf(client);
      // Its own method refuses such names.
      client.send_event("pusher:subscribe", { channel: name, auth: "" });
      const answer = await until("an answer", () => frames.find(({ channel }) => channel === name));
      expect(answer).toMatchObject({ event: "pusher:subscription_error", data: { status: 401 } });
    }
    const forger = await connectPusher(one, { user: { id: "42" }, secret: "not the secret of the app" });
    const errors = errorsOf(forger);
    forger.signin();
    await until("sent away for good", () => forger.connection.state === "disconnected");
    expect(errors.map(({ code }) => code)).toContain(4009);
  });
});
