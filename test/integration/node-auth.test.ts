import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { matching } from "../support/matching.js";
import { cleanUp, JWT_SECRET, startFleet, startTestNode, token, until } from "../support/nodes.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(cleanUp);

const WITH_KEY = { jwtSecret: JWT_SECRET, jwtClockToleranceMs: 0 };

describe("a node with a key", () => {
  it("says so in its welcome and serves nobody before a token", async () => {
    const node = await startTestNode(WITH_KEY);
    const client = await node.client();
    expect(client.welcome["authenticate"]).toBe(true);
    for (const action of ["subscribe", "unsubscribe", "send", "connect", "refresh"]) {
      expect(await client.ask(action, { channel: "a", content: 1 })).toMatchObject({
        type: "error",
        code: "unauthorized",
        temporary: false,
      });
    }
  });

  it("checks few tokens of a client whose tokens are bad, and one that is good costs nothing", async () => {
    // None is given back while this runs.
    const node = await startTestNode({ ...WITH_KEY, messagesPerSecond: 1, messagesBurst: 100 });
    const guesser = await node.client();
    const codes: unknown[] = [];
    const bad = await token({ sub: "ann" }, { secret: "another secret, which is 32 bytes long" });
    for (let i = 0; i < 6; i++) codes.push((await guesser.ask("connect", { token: bad }))["code"]);
    expect(codes.slice(0, 4)).toEqual(Array(4).fill("token_invalid"));
    expect(codes.at(-1)).toBe("rate_limited");

    const ann = await node.client();
    await ann.do("connect", { token: await token({ sub: "ann" }) });
    for (let i = 0; i < 99; i++) await ann.do("ping");
    const bob = await node.client();
    await bob.do("connect", { token: await token({ sub: "bob" }) });
    const fresh = await token({ sub: "bob" });
    for (let i = 0; i < 4; i++) await bob.do("refresh", { token: fresh });
    for (let i = 0; i < 12; i++) await bob.do("ping");
    await expect(
      (async () => {
        for (let i = 0; i < 12; i++) await bob.do("ping");
      })(),
    ).rejects.toThrow("rate_limited");
  });

  it("takes a token in connect and shows who sent what", async () => {
    const node = await startTestNode(WITH_KEY);
    const [ann, bob] = [await node.client(), await node.client({ subprotocol: "starling.v1.msgpack" })];
    const answer = await ann.do("connect", { token: await token({ sub: "ann" }) });
    expect(answer).toMatchObject({
      user: "ann",
      resumed: false,
      channels: [],
      session: ann.welcome["session"] as string,
    });
    expect(answer["expiresAt"]).toBeGreaterThan(Date.now() / 1000);
    await bob.do("connect", { token: await token({ sub: "bob" }) });
    for (const client of [ann, bob]) await client.do("subscribe", { channel: "a" });
    await ann.do("send", { channel: "a", content: "hi" });
    for (const client of [ann, bob]) {
      expect((await client.next("message"))["from"]).toEqual({
        connection: ann.welcome["connection"] as string,
        user: "ann",
      });
    }
  });

  it("takes a token with the upgrade, and serves frames that come right behind", async () => {
    const node = await startTestNode(WITH_KEY);
    const client = await node.client({ path: `/?token=${await token({ sub: "ann" })}` });
    await client.do("subscribe", { channel: "a" });
    await client.do("send", { channel: "a", content: 1 });
    expect((await client.next("message"))["from"]).toMatchObject({ user: "ann" });
  });

  it("takes a token with the upgrade that is longer than most", async () => {
    const node = await startTestNode(WITH_KEY);
    const channels = Array.from({ length: 300 }, (_, i) => `a-channel-with-a-long-name-${i}`);
    const long = await token({ sub: "ann", channels });
    expect(long.length).toBeGreaterThan(8000);
    const client = await node.client({ path: `/?token=${long}` });
    await client.next("error");
    const fitting = await token({ sub: "ann", channels: channels.slice(0, 150) });
    expect(fitting.length).toBeGreaterThan(5000);
    const other = await node.client({ path: `/?token=${fitting}` });
    await other.do("subscribe", { channel: channels[0] });
  });

  it.each<[string, () => Promise<string>, string]>([
    [
      "of another key",
      () => token({ sub: "ann" }, { secret: "another secret of at least 32 bytes" }),
      "token_invalid",
    ],
    ["that has expired", () => token({ sub: "ann" }, { lifetimeSeconds: -10 }), "token_expired"],
    ["that is none", () => Promise.resolve("x.y.z"), "token_invalid"],
    [
      "that is signed by nobody",
      () => Promise.resolve("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDB9."),
      "token_invalid",
    ],
  ])(
    "refuses a token %s: in connect a good one may follow, with the upgrade it is the end",
    async (_what, make, code) => {
      const node = await startTestNode(WITH_KEY);
      const bad = await make();
      const [client, early] = [await node.client(), await node.client({ path: `/?token=${bad}` })];
      const error = await client.ask("connect", { token: bad });
      expect(error).toMatchObject({ type: "error", code, temporary: false });
      expect(error["message"]).not.toContain(bad);
      expect(await early.next("error")).toMatchObject({ code });
      expect(await early.closed()).toMatchObject({ code: code === "token_expired" ? 4002 : 4500 });
      expect(await client.ask("subscribe", { channel: "a" })).toMatchObject({ code: "unauthorized" });
      await client.do("connect", { token: await token({ sub: "ann" }) });
    },
  );

  it("lets a client wait for a token's time, given with the upgrade or in connect", async () => {
    const node = await startTestNode(WITH_KEY);
    const early = await token({ sub: "ann", nbf: Math.floor(Date.now() / 1000) + 2 });
    const client = await node.client({ path: `/?token=${early}` });
    expect(await client.next("error")).toMatchObject({ code: "token_not_active", temporary: true });
    await until("its time", async () => {
      const answer = await client.ask("connect", { token: early });
      if (answer.type === "reply") return true;
      expect(answer["retryAfterMs"]).toBeGreaterThan(0);
      // As clients do: tokens that are refused count towards the rate limit.
      await new Promise((resolve) => setTimeout(resolve, answer["retryAfterMs"] as number));
      return false;
    });
  });

  it("holds each to the claims: what may be subscribed, what may be sent to", async () => {
    const node = await startTestNode(WITH_KEY);
    const client = await node.client();
    await client.do("connect", {
      token: await token({ sub: "ann", channels: ["news", "chat:*"], publish: ["chat:ann"] }),
    });
    for (const channel of ["news", "chat:bob"]) await client.do("subscribe", { channel });
    expect(await client.ask("subscribe", { channel: "other" })).toMatchObject({
      code: "forbidden",
      message: matching(/"channels" claim.*"other"/),
    });
    await client.do("send", { channel: "chat:ann", content: 1 });
    expect(await client.ask("send", { channel: "news", content: 1 })).toMatchObject({
      code: "forbidden",
      message: matching(/"publish" claim.*"news"/),
    });
  });

  it("does not let a connection become another user", async () => {
    const node = await startTestNode(WITH_KEY);
    const client = await node.client();
    await client.do("connect", { token: await token({ sub: "ann" }) });
    for (const action of ["refresh", "connect"]) {
      expect(await client.ask(action, { token: await token({ sub: "bob" }) })).toMatchObject({
        code: "token_invalid",
      });
    }
    await client.do("refresh", { token: await token({ sub: "ann" }) });
  });

  it("closes with 4003 who does not authenticate in time", async () => {
    const node = await startTestNode({ ...WITH_KEY, connectTimeoutMs: 500 });
    const [silent, trying, known] = [await node.client(), await node.client(), await node.client()];
    await known.do("connect", { token: await token({ sub: "ann" }) });
    await trying.ask("connect", { token: "nonsense" });
    for (const client of [silent, trying]) {
      expect(await client.closed()).toEqual({ code: 4003, reason: "connect_timeout" });
      expect(client.frames.at(-1)).toMatchObject({ type: "closing", code: 4003, reconnect: true });
    }
    await known.do("ping");
    expect(
      await node.metric('starling_disconnects_total{protocol="starling",reason="connect_timeout"}'),
    ).toBe(2);
  });
});

describe("a node without a key", () => {
  it("keeps guarded channels from its clients, which the server reaches all the same", async () => {
    const node = await startTestNode();
    const client = await node.client();
    for (const channel of ["private-chat", "presence-chat"]) {
      const message = matching(/not open to anonymous clients.* it needs a token whose .* or a signature$/);
      const refusal = { code: "forbidden", temporary: false, message };
      expect(await client.ask("subscribe", { channel })).toMatchObject(refusal);
      expect(await client.ask("send", { channel, content: 1 })).toMatchObject(refusal);
      expect(await client.ask("history", { channel })).toMatchObject(refusal);
      const response = await fetch(`${node.apiUrl}/v1/publish`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ channel, content: 1 }),
      });
      expect(response.status).toBe(200);
    }
    await client.do("subscribe", { channel: "chat" });
  });
});

describe("a token that runs out", () => {
  it("closes the connection with 4002, unless it was refreshed", async () => {
    const node = await startTestNode(WITH_KEY);
    const [ends, stays] = [await node.client(), await node.client()];
    for (const client of [ends, stays]) {
      await client.do("connect", { token: await token({ sub: "ann" }, { lifetimeSeconds: 2 }) });
    }
    const refreshed = await stays.do("refresh", {
      token: await token({ sub: "ann" }, { lifetimeSeconds: 600 }),
    });
    expect(refreshed["expiresAt"]).toBeGreaterThan(Date.now() / 1000 + 500);
    expect(refreshed["expiresInMs"]).toBeGreaterThan(500_000);
    expect(refreshed["expiresInMs"]).toBeLessThanOrEqual(600_000);
    expect(await ends.closed()).toEqual({ code: 4002, reason: "token_expired" });
    expect(ends.frames.at(-1)).toMatchObject({ type: "closing", code: 4002, reconnect: true });
    await stays.do("ping");
    expect(await node.metric('starling_disconnects_total{protocol="starling",reason="token_expired"}')).toBe(
      1,
    );
  });

  it("is good for as much longer as the clocks may differ", async () => {
    const node = await startTestNode({ ...WITH_KEY, jwtClockToleranceMs: 3000 });
    const client = await node.client();
    const reply = await client.do("connect", { token: await token({ sub: "ann" }, { lifetimeSeconds: -1 }) });
    expect(reply["expiresInMs"]).toBe(0);
    expect(await client.closed()).toEqual({ code: 4002, reason: "token_expired" });
    expect(Date.now() / 1000).toBeGreaterThanOrEqual((reply["expiresAt"] as number) + 3);
  });

  it("and is followed by one with fewer rights takes the channels away", async () => {
    const node = await startTestNode(WITH_KEY);
    const client = await node.client();
    await client.do("connect", { token: await token({ sub: "ann" }) });
    for (const channel of ["a", "b"]) await client.do("subscribe", { channel });
    await client.do("refresh", { token: await token({ sub: "ann", channels: ["a"] }) });
    expect(await client.next("unsubscribed")).toMatchObject({ channel: "b", code: "forbidden" });
    for (const channel of ["b", "a"]) await client.do("send", { channel, content: 1 });
    await client.contents("a", 1);
    expect(client.messages("b")).toEqual([]);
  });
});

it("clients that leave while their token is checked leave nothing behind", async () => {
  const nodes = await startFleet(1, redis, WITH_KEY);
  const node = nodes[0]!;
  const good = await token({ sub: "ann" });
  const hash = `${nodes.prefix}connections:${node.id}`;
  for (let round = 0; round < 10; round++) {
    await Promise.all(
      Array.from({ length: 10 }, async () => {
        const client = await node.client({ path: `/?token=${good}` });
        client.send({ action: "connect", token: good });
        client.send({ action: "subscribe", channel: "a" });
        client.terminate();
      }),
    );
  }
  await until("all gone", async () => (await node.metric("starling_connections")) === 0);
  const look = redis.client();
  await until("an empty hash", async () => (await look.hlen(hash)) === 0);
  const metrics = await node.metrics();
  expect(metrics.get("starling_subscriptions")).toBe(0);
  expect(metrics.get("starling_channels")).toBe(0);
  expect(metrics.get("starling_registry_size")).toBe(0);
  expect(metrics.get("starling_session_faults_total")).toBe(0);
  expect((await node.get("/v1/users/ann/connections")).body).toEqual({ connections: [], missing: [] });
});

describe("the file of a public key", () => {
  it("that cannot be read is named with its option", async () => {
    await expect(
      startTestNode({ jwtAlgorithm: "RS256", jwtPublicKeyFile: "/nowhere/key.pem" }),
    ).rejects.toThrow(/^jwtPublicKeyFile cannot be read: ENOENT.*\/nowhere\/key\.pem/);
  });

  it("may hold a JWK", async () => {
    const directory = await mkdtemp(join(tmpdir(), "starling-key-"));
    const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const jwtPublicKeyFile = join(directory, "key.json");
    await writeFile(jwtPublicKeyFile, JSON.stringify(publicKey.export({ format: "jwk" })));
    try {
      const node = await startTestNode({ jwtAlgorithm: "ES256", jwtPublicKeyFile });
      expect((await node.client()).welcome["authenticate"]).toBe(true);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
