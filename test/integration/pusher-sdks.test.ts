/** Pusher's SDKs for Node.js, Python and Go, each method of them, on two nodes with a real Redis. */

import { rmSync } from "node:fs";
import { dirname } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { cleanUp, startFleet, until, type InProcessNode } from "../support/nodes.js";
import {
  connectPusher,
  disconnectPusher,
  heardOn,
  pusherApps,
  subscribePusher,
  type ConnectOptions,
  type PusherClient,
} from "../support/pusher-clients.js";
import { buildGoDriver, goSdk, nodeSdk, pythonSdk, type Call, type Sdk } from "../support/pusher-sdks.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

const go = buildGoDriver();
const goPath = "path" in go ? go.path : undefined;

let redis: RedisServer;
let one: InProcessNode;
let two: InProcessNode;
beforeAll(async () => {
  redis = await startRedis();
  [one, two] = (await startFleet(2, redis, pusherApps())) as unknown as [InProcessNode, InProcessNode];
});
afterEach(disconnectPusher);
afterAll(async () => {
  if (goPath !== undefined) rmSync(dirname(goPath), { recursive: true });
  await cleanUp();
  await redis.stop();
});

interface Named {
  readonly name: string;
  readonly start: (node: InProcessNode) => Promise<Sdk>;
  /** What this SDK has no word for. */
  readonly lacks: readonly string[];
}
const SDKS: readonly Named[] = [
  { name: "Node.js", start: nodeSdk, lacks: [] },
  { name: "Python", start: pythonSdk, lacks: ["info of a trigger"] },
  { name: "Go", start: (node) => goSdk(goPath!, node), lacks: ["terminate"] },
];

describe.each(SDKS)("the SDK for $name", ({ name, start, lacks }) => {
  const missing = name === "Go" && "missing" in go ? go.missing : undefined;
  const test = missing === undefined ? it : it.skip;
  const says = (what: string): string => (missing === undefined ? what : `${what}, not run: ${missing}`);
  const prefix = `${name.replace(/\W/g, "")}-`;

  let sdk: Sdk | undefined;
  beforeAll(async () => {
    if (missing === undefined) sdk = await start(one);
  });
  afterAll(() => sdk?.end());

  const call = (asked: Call): Promise<unknown> => sdk!.call(asked);

  /** What the client's application answers is made by the SDK. */
  function connect(node: InProcessNode, id: string): Promise<PusherClient> {
    const user = { id, user_info: { name: id.toUpperCase(), note: "é/\\" } };
    const options: ConnectOptions = {
      channelAuthorization: {
        customHandler({ socketId, channelName: channel }, callback) {
          const member = { user_id: id, user_info: user.user_info };
          call({
            call: "authorize",
            channel,
            socketId,
            ...(channel.startsWith("presence-") ? { member } : {}),
          }).then(
            (answer) => callback(null, answer as never),
            (error: Error) => callback(error, null),
          );
        },
      },
      userAuthentication: {
        customHandler({ socketId }, callback) {
          call({ call: "authenticate", socketId, user }).then(
            (answer) => callback(null, answer as never),
            (error: Error) => callback(error, null),
          );
        },
      },
    };
    return connectPusher(node, options);
  }

  test(says("signs for clients, and what it triggers reaches them on every node"), async () => {
    const clients = [await connect(one, "ada"), await connect(two, "bob")];
    const [room, secret, presence] = [`${prefix}room`, `private-${prefix}a`, `presence-${prefix}a`];
    const encrypted = `private-encrypted-${prefix}a`;
    const lists = [];
    for (const client of clients) {
      const heard = [];
      for (const channel of [room, secret, presence, encrypted]) {
        heard.push(heardOn(await subscribePusher(client, channel)));
      }
      lists.push(heard);
    }
    const { socket_id: socketId } = clients[0]!.connection;
    const data = { text: 'é/\\"<&>\u2028', n: [1, null, 1.5] };
    const trigger = (channels: string[], event: string, more: { socketId?: string } = {}) =>
      call({ call: "trigger", channels, event, data, ...more });
    await trigger([room], "one");
    await trigger([room, secret, presence], "several");
    await trigger([room, secret], "not to ada", { socketId });
    await trigger([encrypted], "sealed");
    await call({ call: "trigger", channels: [room], event: "text", data: "no JSON: é" });
    await call({
      call: "batch",
      events: [
        { channel: room, name: "batch", data: "text" },
        { channel: secret, name: "batch", data, socket_id: socketId },
        { channel: encrypted, name: "batch", data },
        { channel: secret, name: "last", data },
      ],
    });
    for (const heard of lists) {
      await until("the last event", () => heard[1]!.some(({ event }) => event === "last"));
      await until("the sealed ones", () => heard[3]!.length === 2);
    }
    const [adas, bobs] = lists.map((heard) =>
      heard.map((list) =>
        list.filter(({ event }) => !event.startsWith("pusher:")).map((each) => [each.event, each.data]),
      ),
    );
    const texts = [
      ["text", "no JSON: é"],
      ["batch", "text"],
    ];
    const sealed = [
      ["sealed", data],
      ["batch", data],
    ];
    expect(bobs).toEqual([
      [["one", data], ["several", data], ["not to ada", data], ...texts],
      [
        ["several", data],
        ["not to ada", data],
        ["batch", data],
        ["last", data],
      ],
      [["several", data]],
      sealed,
    ]);
    expect(adas).toEqual([
      [["one", data], ["several", data], ...texts],
      [
        ["several", data],
        ["last", data],
      ],
      [["several", data]],
      sealed,
    ]);
  });

  test(says("is told of channels and users over all nodes"), async () => {
    const [room, presence] = [`${prefix}b`, `presence-${prefix}b`];
    for (const [node, id] of [
      [one, "ada"],
      [two, "ada"],
      [two, "bob"],
    ] as const) {
      const client = await connect(node, id);
      await subscribePusher(client, room);
      await subscribePusher(client, presence);
    }
    const info = "user_count,subscription_count";
    await until("both users", async () => {
      const told = (await call({ call: "channel", channel: presence, info })) as { user_count: number };
      return told.user_count === 2;
    });
    expect(await call({ call: "channel", channel: presence, info })).toMatchObject({
      occupied: true,
      user_count: 2,
      subscription_count: 3,
    });
    const nobody = await call({ call: "channel", channel: `${prefix}nobody` });
    expect((nobody as { occupied?: boolean }).occupied ?? false).toBe(false);
    const names = async (asked: Omit<Extract<Call, { call: "channels" }>, "call">): Promise<string[]> =>
      Object.keys(((await call({ call: "channels", ...asked })) as { channels: object }).channels).sort();
    expect(await names({})).toEqual(expect.arrayContaining([room, presence]));
    expect(await names({ prefix: `presence-${prefix}b` })).toEqual([presence]);
    expect(await call({ call: "channels", prefix: `presence-${prefix}b`, info: "user_count" })).toEqual({
      channels: { [presence]: { user_count: 2 } },
    });
    const { users } = (await call({ call: "users", channel: presence })) as { users: { id: string }[] };
    expect(users.map(({ id }) => id).sort()).toEqual(["ada", "bob"]);
    if (!lacks.includes("info of a trigger")) {
      const asked = { call: "trigger", channels: [room, presence], event: "said", data: {}, info } as const;
      expect(await call(asked)).toEqual({
        channels: {
          [room]: { subscription_count: 3 },
          [presence]: { user_count: 2, subscription_count: 3 },
        },
      });
    }
    const events = [
      { channel: presence, name: "said", data: "{}", info },
      { channel: room, name: "said", data: "{}" },
    ];
    expect(await call({ call: "batch", events })).toEqual({
      batch: [{ user_count: 2, subscription_count: 3 }, {}],
    });
  });

  test(says("sends to a user, and ends the user's connections"), async () => {
    const clients = [await connect(one, "u1"), await connect(two, "u1"), await connect(two, "u2")];
    const notes: unknown[][] = clients.map(() => []);
    for (const [index, client] of clients.entries()) {
      client.user.bind("note", (data: unknown) => notes[index]!.push(data));
      client.signin();
      await client.user.signinDonePromise;
    }
    for (const user of ["u1", "u2"]) await call({ call: "sendToUser", user, event: "note", data: { user } });
    await until("a note each", () => notes.every((list) => list.length === 1));
    expect(notes).toEqual([[{ user: "u1" }], [{ user: "u1" }], [{ user: "u2" }]]);
    if (lacks.includes("terminate")) return;
    expect(await call({ call: "terminate", user: "u1" })).toEqual({});
    await until("sent away", () =>
      clients.every(({ connection }, i) => (connection.state === "disconnected") === i < 2),
    );
  });

  test(says("is told what is wrong with a call"), async () => {
    const refused = async (asked: Call): Promise<string> =>
      call(asked).then(
        () => "not refused",
        ({ message }: Error) => message,
      );
    const trigger = { call: "trigger", channels: [`${prefix}c`], event: "said", data: {} } as const;
    expect(await refused({ ...trigger, secret: "not the secret of the app" })).toMatch(
      /(401|PusherBadAuth).*Invalid signature: you should have sent HmacSHA256Hex/,
    );
    expect(await refused({ call: "channels", secret: "not the secret of the app" })).toMatch(
      /(401|PusherBadAuth).*Invalid signature/,
    );
    expect(await refused({ ...trigger, appId: "404" })).toMatch(/404.*there is no app "404"/);
    expect(await refused({ call: "channels", info: "user_count" })).toMatch(
      /(400|PusherBadRequest).*"filter_by_prefix" must begin with presence-/,
    );
    expect(await refused({ call: "users", channel: `${prefix}c` })).toMatch(
      /(400|PusherBadRequest).*only known of presence channels/,
    );
    expect(await refused({ ...trigger, event: "pusher:mine" })).toMatch(
      /(400|PusherBadRequest).*the server's own/,
    );
    const batch = Array.from({ length: 11 }, () => ({ channel: "room", name: "said", data: "x" }));
    expect(await refused({ call: "batch", events: batch })).toMatch(
      /(400|PusherBadRequest).*"batch" has 11 items, 1 to 10 are allowed/,
    );
  });
});
