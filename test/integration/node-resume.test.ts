import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { cleanUp, JWT_SECRET, startFleet, token, until } from "../support/nodes.js";
import type { Frame, RawClient } from "../support/raw-client.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { channelsInRedis, sessionSaved } from "../support/sessions.js";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(cleanUp);

type Client = RawClient & { welcome: Frame };

async function subscribed(client: Client, ...channels: string[]): Promise<Client> {
  for (const channel of channels) await client.do("subscribe", { channel });
  await sessionSaved(redis, client, ...channels);
  return client;
}

const sessionOf = (client: Client): string => client.welcome["session"] as string;
const resumeOf = (client: Client): string => client.welcome["resume"] as string;

describe("a session whose socket was lost", () => {
  it.each([
    ["on another node", 2],
    ["on the same node", 1],
  ])("is resumed %s: the reply lists its channels, and messages flow unasked", async (_where, size) => {
    const nodes = await startFleet(size, redis);
    const [here, there] = [nodes[0]!, nodes.at(-1)!];
    const lost = await subscribed(await here.client(), "a", "b", "c");
    await lost.do("unsubscribe", { channel: "b" });
    await sessionSaved(redis, lost, "a", "c");
    lost.terminate();
    await until("noticed", async () => (await here.metric("starling_connections")) === 0);

    const client = await there.client({ subprotocol: "starling.v1.msgpack" });
    expect(sessionOf(client)).not.toBe(sessionOf(lost));
    const answer = await client.do("connect", { resume: resumeOf(lost) });
    expect(answer).toMatchObject({ session: sessionOf(lost), resumed: true, channels: ["a", "c"] });
    expect(answer).not.toHaveProperty("refused");
    const sender = await here.client();
    for (const channel of ["b", "a", "c"]) await sender.do("send", { channel, content: channel });
    await client.contents("c", 1);
    expect(client.messages("a")).toHaveLength(1);
    expect(client.messages("b")).toHaveLength(0);
    expect(await there.metric("starling_sessions_resumed_total")).toBe(1);
  });

  it("does not have a channel any more once leaving it was acknowledged, and never lost the others", async () => {
    const [node] = await startFleet(1, redis);
    const client = await subscribed(await node!.client(), "a", "b", "c");
    await client.do("unsubscribe", { channel: "b" });
    // What a node killed now would leave behind.
    expect(await channelsInRedis(redis, client)).toEqual(["a", "c"]);
    const replies = [
      client.do("unsubscribe", { channel: "a" }),
      client.do("subscribe", { channel: "a" }),
      client.do("subscribe", { channel: "c" }),
    ];
    await Promise.all(replies);
    const order = client.frames.filter(({ type }) => type === "reply").slice(-3);
    expect(order.map(({ channel }) => channel as unknown)).toEqual(["a", "a", "c"]);
    await sessionSaved(redis, client, "c", "a");
  });

  it("does not have what the application took away, once that was acknowledged", async () => {
    const nodes = await startFleet(2, redis, { jwtSecret: JWT_SECRET });
    const client = await nodes[0]!.client();
    await client.do("connect", { token: await token({ sub: "ann" }) });
    await subscribed(client, "a", "b");
    const answer = await nodes[1]!.post("/v1/users/ann/unsubscribe", { channel: "a" });
    expect(answer).toEqual({ status: 202, body: { user: "ann", missing: [] } });
    expect(await channelsInRedis(redis, client)).toEqual(["b"]);
    await nodes[1]!.post("/v1/users/ann/disconnect");
    expect(await channelsInRedis(redis, client)).toBeUndefined();
  });

  it("can be resumed again and again, each time with the token of the last reply", async () => {
    const [here, there] = await startFleet(2, redis);
    let last = await subscribed(await here!.client(), "a");
    let resume = resumeOf(last);
    for (const node of [there!, here!, here!, there!]) {
      last.terminate();
      last = await node.client();
      const answer = await last.do("connect", { resume });
      expect(answer).toMatchObject({ resumed: true, channels: ["a"] });
      expect(answer["resume"]).not.toBe(resume);
      resume = answer["resume"] as string;
    }
  });

  it("is given once: a token used twice, or guessed, restores nothing and says why", async () => {
    const [here, there] = await startFleet(2, redis);
    const lost = await subscribed(await here!.client(), "a");
    lost.terminate();
    const [first, second, third] = [await there!.client(), await there!.client(), await there!.client()];
    expect(await first.do("connect", { resume: resumeOf(lost) })).toMatchObject({ resumed: true });
    expect(await second.do("connect", { resume: resumeOf(lost) })).toMatchObject({
      resumed: false,
      reason: "wrong_secret",
      session: sessionOf(second),
      channels: [],
    });
    expect(await third.do("connect", { resume: `${sessionOf(lost)}.AAAAAAAAAAAAAAAAAAAAAA` })).toMatchObject({
      resumed: false,
      reason: "wrong_secret",
    });
    expect(await third.do("connect", { resume: "nobody.AAAAAAAAAAAAAAAAAAAAAA" })).toMatchObject({
      resumed: false,
      reason: "unknown_session",
    });
    // Nothing of this took it from who has it.
    await second.do("send", { channel: "a", content: 1 });
    await first.contents("a", 1);
  });

  it("is given to one of many that ask at once, on two nodes", async () => {
    const [here, there] = await startFleet(2, redis);
    const lost = await subscribed(await here!.client(), "a");
    lost.terminate();
    const clients = await Promise.all(
      Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? here! : there!).client()),
    );
    const answers = await Promise.all(
      clients.map((client) => client.do("connect", { resume: resumeOf(lost) })),
    );
    expect(answers.filter(({ resumed }) => resumed === true)).toHaveLength(1);
  });

  it("is kept for its time-to-live and no longer", async () => {
    const [here] = await startFleet(1, redis, { sessionTtlMs: 2000 });
    const [lost, late] = [
      await subscribed(await here!.client(), "a"),
      await subscribed(await here!.client(), "a"),
    ];
    lost.terminate();
    const client = await here!.client();
    expect(await client.do("connect", { resume: resumeOf(lost) })).toMatchObject({ resumed: true });
    late.terminate();
    const look = redis.client();
    await until("over", async () => {
      return (
        (await look.keys(`*session:*${sessionOf(late)}`)).length === 0 &&
        (await here!.metric("starling_connections")) === 1
      );
    });
    const other = await here!.client();
    expect(await other.do("connect", { resume: resumeOf(late) })).toMatchObject({
      resumed: false,
      reason: "unknown_session",
    });
  });
});

describe("a session that its client ended", () => {
  it("by close code 1000 is not kept, by any other it is", async () => {
    const [here, there] = await startFleet(2, redis);
    const [done, gone] = [
      await subscribed(await here!.client(), "a"),
      await subscribed(await here!.client(), "a"),
    ];
    done.close(1000);
    gone.close(1001);
    for (const client of [done, gone]) await client.closed();
    await until("noticed", async () => (await here!.metric("starling_registry_size")) === 0);
    const look = redis.client();
    await until("ended in Redis", async () => (await look.keys(`*session:*${sessionOf(done)}`)).length === 0);
    const client = await there!.client();
    expect(await client.do("connect", { resume: resumeOf(done) })).toMatchObject({
      resumed: false,
      reason: "unknown_session",
    });
    expect(await client.do("connect", { resume: resumeOf(gone) })).toMatchObject({
      resumed: true,
      channels: ["a"],
    });
  });
});

describe("a session that is resumed while its old socket stands", () => {
  it.each([
    ["on another node", 2],
    ["on the same node", 1],
  ])("closes that one with 4006, %s", async (_where, size) => {
    const nodes = await startFleet(size, redis);
    const [here, there] = [nodes[0]!, nodes.at(-1)!];
    const old = await subscribed(await here.client(), "a");
    const client = await there.client();
    expect(await client.do("connect", { resume: resumeOf(old) })).toMatchObject({
      resumed: true,
      channels: ["a"],
    });
    expect(await old.closed()).toEqual({ code: 4006, reason: "superseded" });
    expect(old.frames.at(-1)).toMatchObject({ type: "closing", code: 4006, reconnect: true });
    expect(await here.metric("starling_sessions_superseded_total")).toBe(1);
    expect(await here.metric('starling_disconnects_total{protocol="starling",reason="superseded"}')).toBe(1);
    // The old one's end did not end the session that is another's now.
    await client.do("send", { channel: "a", content: 1 });
    await client.contents("a", 1);
    client.terminate();
    const next = await here.client();
    const resume = (client.frames.find(({ type }) => type === "reply") as Frame)["resume"] as string;
    expect(await next.do("connect", { resume })).toMatchObject({ resumed: true, channels: ["a"] });
  });
});

describe("the rights of a resumed session", () => {
  it("are those of the new token: what it does not cover is refused, and listed", async () => {
    const [here, there] = await startFleet(2, redis, { jwtSecret: JWT_SECRET });
    const lost = await here!.client();
    await lost.do("connect", { token: await token({ sub: "ann" }) });
    await subscribed(lost, "a", "b", "c");
    lost.terminate();
    const client = await there!.client();
    const answer = await client.do("connect", {
      token: await token({ sub: "ann", channels: ["a", "c"] }),
      resume: resumeOf(lost),
    });
    expect(answer).toMatchObject({ resumed: true, user: "ann", channels: ["a", "c"], refused: ["b"] });
    for (const channel of ["b", "a"]) await client.do("send", { channel, content: 1 });
    await client.contents("a", 1);
    expect(client.messages("b")).toEqual([]);
  });

  it("are not another user's: that one gets nothing, and the session stays for its own", async () => {
    const [here, there] = await startFleet(2, redis, { jwtSecret: JWT_SECRET });
    const lost = await here!.client();
    await lost.do("connect", { token: await token({ sub: "ann" }) });
    await subscribed(lost, "a");
    lost.terminate();
    const [thief, owner] = [await there!.client(), await there!.client()];
    expect(
      await thief.do("connect", { token: await token({ sub: "bob" }), resume: resumeOf(lost) }),
    ).toMatchObject({
      resumed: false,
      reason: "another_user",
      user: "bob",
      channels: [],
    });
    const connect = { token: await token({ sub: "ann" }), resume: resumeOf(lost) };
    expect(await owner.do("connect", connect)).toMatchObject({ resumed: true, channels: ["a"] });
  });

  it("need a token where one is asked for: the resume token alone proves nobody", async () => {
    const [node] = await startFleet(1, redis, { jwtSecret: JWT_SECRET });
    const lost = await node!.client();
    await lost.do("connect", { token: await token({ sub: "ann" }) });
    await subscribed(lost, "a");
    lost.terminate();
    const client = await node!.client();
    expect(await client.ask("connect", { resume: resumeOf(lost) })).toMatchObject({ code: "unauthorized" });
    expect(
      await client.do("connect", { token: await token({ sub: "ann" }), resume: resumeOf(lost) }),
    ).toMatchObject({ resumed: true, channels: ["a"] });
  });

  it("never give more channels than a connection may hold", async () => {
    const prefix = { redisPrefix: "many:" };
    const [wide] = await startFleet(1, redis, prefix);
    const [narrow] = await startFleet(1, redis, { ...prefix, maxChannelsPerConnection: 2 });
    const lost = await subscribed(await wide!.client(), "a", "b", "c");
    lost.terminate();
    const client = await narrow!.client();
    expect(await client.do("connect", { resume: resumeOf(lost) })).toMatchObject({
      resumed: true,
      channels: ["a", "b"],
      refused: ["c"],
    });
  });
});
