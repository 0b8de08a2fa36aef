import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { cleanUp, JWT_SECRET, startFleet, token, until, type InProcessNode } from "../support/nodes.js";
import type { Frame, RawClient, RawClientOptions } from "../support/raw-client.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(cleanUp);

const MSGPACK = { subprotocol: "starling.v1.msgpack" };
type Client = RawClient & { welcome: Frame };

async function known(node: InProcessNode, user: string, options: RawClientOptions = {}): Promise<Client> {
  const client = await node.client(options);
  await client.do("connect", { token: await token({ sub: user }) });
  return client;
}

const WITH_KEY = { jwtSecret: JWT_SECRET };
const pair = async (options = {}): Promise<[InProcessNode, InProcessNode]> => {
  const [here, there] = await startFleet(2, redis, options);
  return [here!, there!];
};

describe("publishing by the API", () => {
  it("reaches subscribers of either codec on every node, without a sender", async () => {
    const [here, there] = await pair();
    const clients = [
      await here.client(),
      await here.client(MSGPACK),
      await there.client(),
      await there.client(MSGPACK),
    ];
    for (const client of clients) await client.do("subscribe", { channel: "room" });
    const publication = { channel: "room", content: { n: 1.5, s: "é" }, event: "said", tags: { a: "b" } };
    expect(await here.post("/v1/publish", publication)).toEqual({ status: 200, body: { channel: "room" } });
    for (const client of clients) {
      expect(await client.next("message")).toEqual({ type: "message", ...publication });
    }
    const many = ["a", "b", "c"].map((content) => ({ channel: "room", content }));
    expect((await there.post("/v1/publish-many", { publications: many })).status).toBe(200);
    for (const client of clients) {
      expect((await client.contents("room", 4)).slice(1)).toEqual(["a", "b", "c"]);
    }
  });

  it("leaves out the connection that it names, on whichever node that is", async () => {
    const [here, there] = await pair();
    const [left, other] = [await there.client(), await there.client()];
    for (const client of [left, other]) await client.do("subscribe", { channel: "room" });
    const exclude = left.welcome["connection"] as string;
    await here.post("/v1/publish", { channel: "room", content: 1, exclude });
    await here.post("/v1/publish", { channel: "room", content: 2 });
    expect(await left.contents("room", 1)).toEqual([2]);
    expect(await other.contents("room", 2)).toEqual([1, 2]);
  });

  it("to #user: reaches the user's connections on every node and codec, and nobody else", async () => {
    const [here, there] = await pair(WITH_KEY);
    const users = [
      await known(here, "42"),
      await known(here, "42", MSGPACK),
      await known(there, "42", MSGPACK),
      await known(there, "42"),
    ];
    const others = [await known(here, "4"), await known(there, "421"), await here.client()];
    await here.post("/v1/publish", { channel: "#user:42", content: "hi", event: "note" });
    for (const client of users) {
      expect(await client.next("message")).toEqual({
        type: "message",
        channel: "#user:42",
        content: "hi",
        event: "note",
      });
    }
    for (const client of others) {
      await client.do("ping");
      expect(client.frames.filter(({ type }) => type === "message")).toEqual([]);
    }
  });

  it.each(["José", "Jose\u0301", "a b", "用户1", '"q" \\ {x}', "😀/%2F?#", "x".repeat(128), "é".repeat(128)])(
    "knows the user %j by one name: in tokens, channels, paths, on every node and codec",
    async (user) => {
      const [here, there] = await pair(WITH_KEY);
      const clients = [await known(here, user), await known(there, user, MSGPACK)];
      const others = [await known(here, "José 2"), await known(there, "Jose")];
      const channel = `#user:${user}`;
      expect((await here.post("/v1/publish", { channel, content: "hi" })).body).toEqual({ channel });
      for (const client of clients) {
        expect(await client.next("message")).toEqual({ type: "message", channel, content: "hi" });
      }
      for (const client of others) {
        await client.do("ping");
        expect(client.frames.filter(({ type }) => type === "message")).toEqual([]);
      }
      const path = `/v1/users/${encodeURIComponent(user)}`;
      const { body } = await here.get<{ connections: { userId: string }[] }>(`${path}/connections`);
      expect(body.connections.map(({ userId }) => userId)).toEqual([user, user]);
      await here.post(`${path}/disconnect`);
      for (const client of clients) expect(await client.closed()).toMatchObject({ code: 4502 });
    },
  );

  it("refuses #user: before what is no user id, in the words of the grammar", async () => {
    const [node] = await pair();
    for (const [user, problem] of [
      ["", "is empty"],
      ["a\n", "has a control character at 1"],
      ["a\ud800", "has a lone surrogate at 1"],
      ["x".repeat(129), "has 129 characters, at most 128 are allowed"],
    ] as const) {
      const answer = await node.post("/v1/publish", { channel: `#user:${user}`, content: 1 });
      expect(answer).toMatchObject({ status: 400, body: { error: { code: "bad_channel" } } });
      expect((answer.body as { error: { message: string } }).error.message).toContain(problem);
    }
  });
});

describe("asking the API", () => {
  it("lists channels and counts subscribers over all nodes", async () => {
    const [here, there] = await pair();
    const clients = [await here.client(), await here.client(MSGPACK), await there.client()];
    for (const client of clients) await client.do("subscribe", { channel: "room:1" });
    await clients[0]!.do("subscribe", { channel: "room:2" });
    await clients[2]!.do("subscribe", { channel: "hall" });
    for (const node of [here, there]) {
      expect((await node.get("/v1/channels")).body).toEqual({
        channels: [
          { channel: "hall", subscribers: 1 },
          { channel: "room:1", subscribers: 3 },
          { channel: "room:2", subscribers: 1 },
        ],
        missing: [],
      });
      expect((await node.get("/v1/channels?prefix=room:&limit=1")).body).toEqual({
        channels: [{ channel: "room:1", subscribers: 3 }],
        missing: [],
      });
      expect((await node.get("/v1/channels/room:1")).body).toEqual({
        channel: "room:1",
        subscribers: 3,
        missing: [],
      });
      expect((await node.get("/v1/channels/nobody")).body).toMatchObject({ subscribers: 0 });
    }
    clients[1]!.terminate();
    await until(
      "one less",
      async () => (await there.get<{ subscribers: number }>("/v1/channels/room:1")).body.subscribers === 2,
    );
  });

  it("lists a user's connections on all nodes, with what they hold", async () => {
    const [here, there] = await pair(WITH_KEY);
    const [first, second] = [await known(here, "ann"), await known(there, "ann", MSGPACK)];
    await known(there, "bob");
    await first.do("subscribe", { channel: "a" });
    const { body } = await there.get<{
      connections: { connection: string; connectedAt: number }[];
      missing: string[];
    }>("/v1/users/ann/connections");
    const { connections } = body;
    connections.sort((a, b) => (a.connection < b.connection ? -1 : 1));
    expect(body.missing).toEqual([]);
    expect(connections).toEqual(
      [
        { node: here.id, connection: first.welcome["connection"] as string, channels: ["a"] },
        { node: there.id, connection: second.welcome["connection"] as string, channels: [] },
      ].map((record) => expect.objectContaining({ ...record, userId: "ann" }) as unknown),
    );
    for (const { connectedAt } of connections)
      expect(Math.abs(connectedAt - Date.now() / 1000)).toBeLessThan(30);
  });

  it("totals the connections of all nodes as they truly are", async () => {
    const [here, there] = await pair();
    const clients = await Promise.all(
      Array.from({ length: 30 }, (_, i) => (i % 3 === 0 ? there : here).client()),
    );
    const total = async (node: InProcessNode, connections: number): Promise<void> => {
      await until(`${connections} in total`, async () => {
        const totals = await node.totals();
        return totals.nodes === 2 && totals.connections === connections;
      });
    };
    for (const node of [here, there]) await total(node, 30);
    const own = await Promise.all([here, there].map((node) => node.metric("starling_connections")));
    expect(own).toEqual([20, 10]);
    for (const client of clients.slice(0, 12)) client.terminate();
    for (const node of [here, there]) await total(node, 18);
  });

  it("writes each connection into the node's hash with the names that readers know", async () => {
    const nodes = await startFleet(1, redis, WITH_KEY);
    const client = await known(nodes[0]!, "ann");
    await client.do("subscribe", { channel: "a" });
    const look = redis.client();
    const record = await until("the record", async () => {
      const json = await look.hget(
        `${nodes.prefix}connections:${nodes[0]!.id}`,
        client.welcome["connection"] as string,
      );
      const value = JSON.parse(json ?? "{}") as { channels?: string[] };
      return value.channels?.length === 1 ? value : undefined;
    });
    expect(record).toMatchObject({ userId: "ann", channels: ["a"] });
    for (const name of ["connectedAt", "lastActivity"] as const) {
      const seconds = (record as Record<string, unknown>)[name] as number;
      expect(Number.isInteger(seconds) && Math.abs(seconds - Date.now() / 1000) < 30).toBe(true);
    }
    expect(await look.ttl(`${nodes.prefix}connections:${nodes[0]!.id}`)).toBeGreaterThan(0);
  });
});

describe("commanding by the API", () => {
  it("disconnects a user on all nodes with 4502, and nobody else", async () => {
    const [here, there] = await pair(WITH_KEY);
    const users = [await known(here, "ann"), await known(there, "ann", MSGPACK), await known(there, "ann")];
    const bob = await known(there, "bob");
    expect(await here.post("/v1/users/ann/disconnect", { reason: "banni, José" })).toEqual({
      status: 202,
      body: { user: "ann", missing: [] },
    });
    for (const client of users) {
      expect(await client.closed()).toEqual({ code: 4502, reason: "banni, José" });
      expect(client.frames.at(-1)).toEqual({
        type: "closing",
        code: 4502,
        reason: "banni, José",
        reconnect: false,
      });
    }
    await bob.do("ping");
    expect(await there.metric('starling_disconnects_total{protocol="starling",reason="disconnected"}')).toBe(
      2,
    );
    // The session went with it: no way back by the resume token.
    const back = await known(here, "ann");
    const resume = users[1]!.welcome["resume"] as string;
    const look = redis.client();
    const session = users[1]!.welcome["session"] as string;
    await until("ended in Redis", async () => (await look.keys(`*session:*${session}`)).length === 0);
    expect(await back.do("connect", { resume })).toMatchObject({ resumed: false, reason: "unknown_session" });
    expect((await here.post("/v1/users/bob/disconnect")).status).toBe(202);
    expect(await bob.closed()).toEqual({ code: 4502, reason: "disconnected" });
  });

  it("takes a channel from a user on all nodes", async () => {
    const [here, there] = await pair(WITH_KEY);
    const users = [await known(here, "ann"), await known(there, "ann")];
    for (const client of users) for (const channel of ["a", "b"]) await client.do("subscribe", { channel });
    expect((await there.post("/v1/users/ann/unsubscribe", { channel: "a" })).status).toBe(202);
    for (const client of users)
      expect(await client.next("unsubscribed")).toMatchObject({ channel: "a", code: "forbidden" });
    for (const channel of ["a", "b"]) await here.post("/v1/publish", { channel, content: 1 });
    for (const client of users) {
      await client.contents("b", 1);
      expect(client.messages("a")).toEqual([]);
      // It was the application's wish for now, no loss of the right.
      await client.do("subscribe", { channel: "a" });
    }
  });

  it("changes what a user may do from now on, on all nodes", async () => {
    const [here, there] = await pair(WITH_KEY);
    const users = [await known(here, "ann"), await known(there, "ann")];
    for (const client of users) for (const channel of ["a", "b"]) await client.do("subscribe", { channel });
    await here.post("/v1/users/ann/permit", { channels: ["a"], publish: [] });
    for (const client of users) {
      expect(await client.next("unsubscribed")).toMatchObject({ channel: "b" });
      expect(await client.ask("subscribe", { channel: "b" })).toMatchObject({ code: "forbidden" });
      expect(await client.ask("send", { channel: "a", content: 1 })).toMatchObject({ code: "forbidden" });
    }
    await here.post("/v1/users/ann/permit", { publish: ["a"] });
    for (const client of users) {
      await until(
        "permitted",
        async () => (await client.ask("send", { channel: "a", content: 1 })).type === "reply",
      );
      expect(await client.ask("subscribe", { channel: "b" })).toMatchObject({ code: "forbidden" });
    }
  });
});

it("readyz and healthz tell a node that serves", async () => {
  const [here] = await pair();
  expect(await here.get("/readyz")).toEqual({ status: 200, body: { ready: true, reasons: [] } });
  expect(await here.get("/healthz")).toEqual({ status: 200, body: { status: "ok" } });
});
