/** Laravel Echo, unchanged, by both of its names for Pusher's protocol, on two nodes with a real Redis. */

import Echo from "laravel-echo";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { cleanUp, startFleet, until, type InProcessNode } from "../support/nodes.js";
import { NOTIFICATION, startLaravel, type Laravel } from "../support/laravel.js";
import { APP, portOf, pusherApps, PusherJs, type PusherClient } from "../support/pusher-clients.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

let redis: RedisServer;
let laravel: Laravel;
let one: InProcessNode;
let two: InProcessNode;
beforeAll(async () => {
  [redis, laravel] = await Promise.all([startRedis(), startLaravel()]);
  [one, two] = (await startFleet(2, redis, pusherApps())) as unknown as [InProcessNode, InProcessNode];
});
afterAll(async () => {
  await cleanUp();
  await laravel.stop();
  await redis.stop();
});

describe.each(["pusher", "reverb"] as const)("the broadcaster %s", (broadcaster) => {
  const echoes: Echo<"pusher">[] = [];
  afterEach(() => {
    for (const echo of echoes.splice(0)) echo.disconnect();
  });

  async function connect(node: InProcessNode, user: string): Promise<Echo<"pusher">> {
    const echo = new Echo<"pusher">({
      broadcaster: broadcaster as "pusher",
      Pusher: PusherJs as never,
      key: APP.key,
      cluster: "mt1",
      wsHost: "127.0.0.1",
      wsPort: portOf(node),
      wssPort: portOf(node),
      forceTLS: false,
      enabledTransports: ["ws", "wss"],
      authEndpoint: `${laravel.url}/broadcasting/auth`,
      userAuthentication: { endpoint: `${laravel.url}/broadcasting/user-auth`, headers: {} } as never,
      bearerToken: user,
      // Of each: Echo puts the token into the object that it was given.
      auth: { headers: {} },
      withoutInterceptors: true,
    });
    echoes.push(echo);
    await until("connected", () => echo.connectionStatus() === "connected");
    return echo;
  }

  const broadcast = (
    node: InProcessNode,
    channel: string,
    event: string,
    payload: { readonly socket?: string; readonly [name: string]: unknown },
  ): Promise<void> => laravel.broadcast(node.wsUrl, [channel], event, payload);

  /** A channel's callback for its subscription. */
  async function subscribed(channel: { subscribed(callback: () => void): unknown }): Promise<void> {
    await new Promise<void>((resolve) => channel.subscribed(resolve));
  }

  it("listens to a namespace's events and to others by their names", async () => {
    const channel = (await connect(one, "ada")).channel(`orders-${broadcaster}`);
    const heard: unknown[] = [];
    const all: unknown[] = [];
    channel.listen("Shop.OrderShipped", (data: unknown) => heard.push(["shipped", data]));
    channel.listen(".order.paid", (data: unknown) => heard.push(["paid", data]));
    channel.listenToAll((event: string, data: unknown) => all.push([event, data]));
    await subscribed(channel);
    await broadcast(two, channel.name, "App\\Events\\Shop\\OrderShipped", { id: 1, note: "é/" });
    await broadcast(one, channel.name, "order.paid", {});
    await until("both", () => heard.length === 2);
    expect(heard).toEqual([
      ["shipped", { id: 1, note: "é/" }],
      ["paid", []],
    ]);
    expect(all).toEqual([
      ["Shop\\OrderShipped", { id: 1, note: "é/" }],
      [".order.paid", []],
    ]);
  });

  it("keeps what a client caused from it, and tells others (toOthers)", async () => {
    const clients = [await connect(one, "ada"), await connect(one, "bob"), await connect(two, "eve")];
    const heard: unknown[][] = [[], [], []];
    for (const [index, echo] of clients.entries()) {
      const channel = echo.private(`room.${broadcaster}`);
      channel.listen("Said", (data: unknown) => heard[index]!.push(data));
      await subscribed(channel);
    }
    const name = `private-room.${broadcaster}`;
    // As Laravel reads it from the header X-Socket-ID.
    const socket = clients[0]!.socketId()!;
    for (const node of [one, two]) await broadcast(node, name, "App\\Events\\Said", { to: "others", socket });
    await broadcast(two, name, "App\\Events\\Said", { to: "all" });
    await until("all", () => heard.every((list) => JSON.stringify(list.at(-1)) === '{"to":"all"}'));
    const others = [{ to: "others" }, { to: "others" }, { to: "all" }];
    expect(heard).toEqual([[{ to: "all" }], others, others]);
  });

  it("whispers in private and presence channels, both ways", async () => {
    const ada = await connect(one, "ada");
    const bob = await connect(two, "bob");
    for (const open of ["private", "join"] as const) {
      const [adas, bobs] = [ada, bob].map((echo) => echo[open](`whisper.${broadcaster}`));
      await Promise.all([subscribed(adas!), subscribed(bobs!)]);
      const heard: unknown[] = [];
      adas!.listenForWhisper("typing", (data: unknown) => heard.push(["ada", data]));
      bobs!.listenForWhisper("typing", (data: unknown) => heard.push(["bob", data]));
      adas!.whisper("typing", { name: "ada" });
      await until("bob's", () => heard.length === 1);
      bobs!.whisper("typing", { name: "bob" });
      await until("ada's", () => heard.length === 2);
      expect(heard).toEqual([
        ["bob", { name: "ada" }],
        ["ada", { name: "bob" }],
      ]);
    }
  });

  it("joins: who is here, who comes and who goes", async () => {
    const ada = await connect(one, "ada");
    const told: unknown[] = [];
    const room = ada.join(`room.${broadcaster}`);
    room.here((users: unknown) => told.push(["here", users]));
    room.joining((user: unknown) => told.push(["joining", user]));
    room.leaving((user: unknown) => told.push(["leaving", user]));
    await subscribed(room);
    const bob = await connect(two, "bob");
    const here = new Promise((resolve) => bob.join(`room.${broadcaster}`).here(resolve));
    expect(await here).toEqual(
      expect.arrayContaining([
        { id: "ada", name: "ADA" },
        { id: "bob", name: "BOB" },
      ]),
    );
    await until("bob come", () => told.length === 2);
    bob.leave(`room.${broadcaster}`);
    await until("bob gone", () => told.length === 3);
    expect(told).toEqual([
      ["here", [{ id: "ada", name: "ADA" }]],
      ["joining", { id: "bob", name: "BOB" }],
      ["leaving", { id: "bob", name: "BOB" }],
    ]);
  });

  it("is notified on its user's channel, until it leaves", async () => {
    const echo = await connect(one, "ada");
    const heard: unknown[] = [];
    const user = `App.Models.User.${broadcaster}`;
    const channel = echo.private(user);
    channel.notification((data: unknown) => heard.push(data));
    await subscribed(channel);
    const notification = { id: "8b0c", type: "App\\Notifications\\InvoicePaid", invoice: { id: 7 } };
    await broadcast(two, `private-${user}`, NOTIFICATION, notification);
    await until("notified", () => heard.length === 1);
    echo.leave(user);
    // In its turn on the same connection: the channel was left before this one was joined.
    const other = echo.channel(`other-${broadcaster}`);
    const others: unknown[] = [];
    other.listen(".marker", (data: unknown) => others.push(data));
    await subscribed(other);
    await broadcast(two, `private-${user}`, NOTIFICATION, notification);
    await broadcast(two, other.name, "marker", { n: 1 });
    await until("the marker", () => others.length === 1);
    expect(heard).toEqual([notification]);
  });

  it("is told where the application, or the server, does not let it in", async () => {
    const echo = await connect(one, "ada");
    const refused = await new Promise((resolve) => echo.private(`forbidden.${broadcaster}`).error(resolve));
    expect(refused).toMatchObject({ type: "AuthError", status: 403 });
    const tooLong = await new Promise((resolve) => echo.private("x".repeat(200)).error(resolve));
    expect(tooLong).toMatchObject({ type: "LimitReached", status: 413 });
    expect(echo.connectionStatus()).toBe("connected");
  });

  it("signs in, and hears what is sent to its user", async () => {
    const echo = await connect(one, "ada");
    const { pusher } = echo.connector as unknown as { readonly pusher: PusherClient };
    const heard: unknown[] = [];
    pusher.user.bind("note", (data: unknown) => heard.push(data));
    echo.connector.signin();
    await pusher.user.signinDonePromise;
    await broadcast(two, "#server-to-user-ada", "note", { n: 1 });
    await until("the note", () => heard.length === 1);
    expect(heard).toEqual([{ n: 1 }]);
  });
});
