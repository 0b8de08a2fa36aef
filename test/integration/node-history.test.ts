import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Config } from "../../src/config.js";
import { cleanUp, startFleet, startTestNode, until, type InProcessNode } from "../support/nodes.js";
import type { Frame, RawClient } from "../support/raw-client.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { sessionSaved } from "../support/sessions.js";

const RULES = {
  history: { size: 20, ttlMs: 60_000 },
  recovery: true,
  presence: true,
  joinLeave: true,
  publish: "anyone",
  replayLast: false,
  slowReader: "repair",
} as const;
const OPTIONS: Partial<Config> = {
  namespaces: {
    chat: RULES,
    last: { ...RULES, replayLast: true, joinLeave: false },
    server: { ...RULES, publish: "server" },
    members: { ...RULES, publish: "subscribers" },
  },
  presenceGraceMs: 100,
};

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(cleanUp);

type Client = RawClient & { welcome: Frame };
interface Position {
  readonly offset: number;
  readonly epoch: string;
}
const positionOf = (frame: Frame): Position => ({
  offset: frame["offset"] as number,
  epoch: frame["epoch"] as string,
});

async function publish(client: Client, channel: string, count: number, from = 1): Promise<Frame[]> {
  const replies: Frame[] = [];
  for (let i = from; i < from + count; i++) replies.push(await client.do("send", { channel, content: i }));
  return replies;
}

function without(frame: object, name: string): object {
  return Object.fromEntries(Object.entries(frame).filter(([key]) => key !== name));
}

describe.each([
  ["in memory", () => Promise.all([startTestNode(OPTIONS)])],
  ["over Redis", () => startFleet(2, redis, OPTIONS)],
])("a channel with history, %s", (_where, start) => {
  let here: InProcessNode;
  let there: InProcessNode;
  async function nodes(): Promise<void> {
    const started: InProcessNode[] = await start();
    [here, there] = [started[0]!, started.at(-1)!];
  }

  it("numbers what is published from 1, and the acknowledgement and the delivery say so", async () => {
    await nodes();
    const [sender, reader] = [await here.client(), await there.client()];
    const standing = await reader.do("subscribe", { channel: "chat:1" });
    expect(standing).toMatchObject({ offset: 0, epoch: expect.any(String) as string });
    const replies = await publish(sender, "chat:1", 3);
    expect(replies.map(positionOf)).toEqual(
      [1, 2, 3].map((offset) => ({ offset, epoch: standing["epoch"] })),
    );
    await reader.contents("chat:1", 3);
    expect(reader.messages("chat:1").map(positionOf)).toEqual(replies.map(positionOf));
  });

  it("gives a subscriber what it missed since its position, then what comes, each once", async () => {
    await nodes();
    const [sender, reader] = [await here.client(), await there.client()];
    const [first] = await publish(sender, "chat:1", 5);
    const reply = await reader.do("subscribe", { channel: "chat:1", since: positionOf(first!) });
    expect(reply).toMatchObject({ recovered: true, offset: 5, missed: 4 });
    await publish(sender, "chat:1", 2, 6);
    expect(await reader.contents("chat:1", 6)).toEqual([2, 3, 4, 5, 6, 7]);
  });

  it("answers who subscribes again as who subscribes: with a position, a verdict, and what follows it once more", async () => {
    await nodes();
    const [sender, reader] = [await here.client(), await there.client()];
    await reader.do("subscribe", { channel: "chat:1" });
    const [first, , last] = await publish(sender, "chat:1", 3);
    await reader.contents("chat:1", 3);
    const standing = { channel: "chat:1", ...positionOf(last!) };
    const plain = await reader.do("subscribe", { channel: "chat:1" });
    expect(plain).toMatchObject(standing);
    expect(plain).not.toHaveProperty("recovered");
    const again = await reader.do("subscribe", { channel: "chat:1", since: positionOf(first!) });
    expect(again).toMatchObject({ ...standing, recovered: true, missed: 2 });
    const whole = await reader.do("subscribe", { channel: "chat:1", since: positionOf(last!) });
    expect(whole).toMatchObject({ ...standing, recovered: true, missed: 0 });
    const since = { offset: 1, epoch: "another" };
    expect(await reader.do("subscribe", { channel: "chat:1", since })).toMatchObject({
      ...standing,
      recovered: false,
    });
    await publish(sender, "chat:1", 1, 4);
    // Subscribed once, whatever it asked for: the next comes once.
    expect(await reader.contents("chat:1", 6)).toEqual([1, 2, 3, 2, 3, 4]);
    await reader.do("unsubscribe", { channel: "chat:1" });
    expect(await reader.ask("unsubscribe", { channel: "chat:1" })).toMatchObject({ code: "not_subscribed" });
    expect(await there.metric("starling_subscriptions")).toBe(0);
  });

  it("says recovered false where history does not reach back, or the epoch is another", async () => {
    await nodes();
    const [sender, reader] = [await here.client(), await there.client()];
    const [first] = await publish(sender, "chat:1", 30);
    const trimmed = await reader.do("subscribe", { channel: "chat:1", since: positionOf(first!) });
    expect(trimmed).toMatchObject({ recovered: false, offset: 30, missed: 0 });
    await reader.do("unsubscribe", { channel: "chat:1" });
    const since = { offset: 30, epoch: "another" };
    expect(await reader.do("subscribe", { channel: "chat:1", since })).toMatchObject({ recovered: false });
    expect(await here.metric("starling_recoveries_failed_total")).toBe(here === there ? 2 : 0);
  });

  it("gives a resumed session its channels back with what they missed, before anything newer", async () => {
    await nodes();
    const [sender, lost] = [await here.client(), await there.client()];
    const at = positionOf(await lost.do("subscribe", { channel: "chat:1" }));
    await lost.do("subscribe", { channel: "plain" });
    await publish(sender, "chat:1", 1);
    await lost.contents("chat:1", 1);
    if (here !== there) await sessionSaved(redis, lost, "chat:1", "plain");
    lost.terminate();
    await publish(sender, "chat:1", 2, 2);
    const back = await here.client();
    const reply = await back.do("connect", {
      resume: lost.welcome["resume"],
      positions: { "chat:1": { ...at, offset: 1 } },
    });
    expect(reply).toMatchObject({ resumed: true, channels: ["plain", "chat:1"], recovering: ["chat:1"] });
    expect(await back.next("subscribed")).toMatchObject({ channel: "chat:1", recovered: true, missed: 2 });
    await publish(sender, "chat:1", 1, 4);
    expect(await back.contents("chat:1", 3)).toEqual([2, 3, 4]);
  });

  it("makes a repetition with the same messageId once, and answers with the first's position", async () => {
    await nodes();
    const sender = await here.client();
    const once = { channel: "chat:1", content: "x", messageId: "m1" };
    const first = await sender.do("send", once);
    expect(positionOf(await sender.do("send", once))).toEqual(positionOf(first));
    const other = await there.client();
    expect(positionOf(await other.do("send", once)).offset).toBe(2);
    const body = { channel: "chat:1", content: 1, messageId: "m1" };
    expect((await here.post("/v1/publish", body)).body).toMatchObject({ offset: 3 });
    expect((await there.post("/v1/publish", body)).body).toMatchObject({ offset: 3 });
  });

  it("refuses to leave out the sender, as that would be a hole", async () => {
    await nodes();
    const sender = await here.client();
    expect(await sender.ask("send", { channel: "chat:1", content: 1, echo: false })).toMatchObject({
      type: "error",
      code: "bad_request",
    });
    const exclude = sender.welcome["connection"];
    expect(await here.post("/v1/publish", { channel: "chat:1", content: 1, exclude })).toMatchObject({
      status: 400,
    });
  });

  it("is read by clients and by the API: since, limit, reverse", async () => {
    await nodes();
    const [sender, reader] = [await here.client(), await there.client()];
    const [first] = await publish(sender, "chat:1", 4);
    const page = await reader.do("history", { channel: "chat:1", since: positionOf(first!), limit: 2 });
    expect(page).toMatchObject({ offset: 4, publications: [{ content: 2 }, { content: 3 }] });
    const newest = await reader.do("history", { channel: "chat:1", limit: 1, reverse: true });
    expect(newest["publications"]).toMatchObject([{ content: 4, offset: 4 }]);
    expect((await there.get("/v1/channels/chat:1/history?limit=1")).body).toMatchObject({
      publications: [{ content: 1, offset: 1 }],
    });
    expect(await reader.ask("history", { channel: "plain" })).toMatchObject({ code: "not_enabled" });
  });

  it.each([
    ["JSON", "starling.v1.json"],
    ["MessagePack", "starling.v1.msgpack"],
  ])("gives a %s client content as live delivery does, whoever sent it", async (_name, subprotocol) => {
    await nodes();
    const sender = await here.client();
    const packed = await here.client({ subprotocol: "starling.v1.msgpack" });
    const reader = await there.client({ subprotocol });
    await reader.do("subscribe", { channel: "chat:1" });
    const contents = ["12345678901234567890", "1e400", "-0", '{"a":[1.5,"x\\u0000",null,true]}', "[]"];
    for (const [i, content] of contents.entries()) {
      sender.sendText(
        `{"action":"send","id":${i},"channel":"chat:1","content":${content},"event":"e","tags":{"a":"b"}}`,
      );
      await sender.next(({ id }) => id === i);
    }
    await packed.do("send", { channel: "chat:1", content: { a: -0, b: [1, "two"] } });
    await packed.do("send", { channel: "chat:1", content: Buffer.from([0, 1, 2]) });
    await reader.contents("chat:1", 7);
    await reader.do("history", { channel: "chat:1" });
    // As they came: what a parser makes of them is not what is compared.
    const live = reader.messages("chat:1").map(({ type: _, channel: __, ...rest }) => rest);
    // Behind it may be who joined.
    const at = reader.frames.findLastIndex(({ type }) => type === "reply");
    const { publications, ...rest } = reader.frames[at]!;
    expect(rest).toMatchObject({ offset: 7, more: false });
    if (subprotocol.endsWith("msgpack")) live[6] = { ...without(live[6]!, "content"), contentBase64: "AAEC" };
    expect(publications).toStrictEqual(live);
    if (subprotocol.endsWith("json")) expect(reader.texts[at]).toContain('{"content":12345678901234567890,');
    expect(Object.is((publications as Frame[])[2]!["content"], -0)).toBe(true);
  });

  it("bounds a page in bytes, says more, and goes on from there", async () => {
    await nodes();
    const [sender, reader] = [await here.client(), await there.client()];
    const text = "x".repeat(50_000);
    for (let i = 0; i < 12; i++) await sender.do("send", { channel: "chat:1", content: text });
    const first = await reader.do("history", { channel: "chat:1" });
    const publications = first["publications"] as Frame[];
    expect(publications.length).toBe(5);
    expect(first).toMatchObject({ offset: 12, more: true });
    const since = positionOf(publications.at(-1)!);
    const second = await reader.do("history", { channel: "chat:1", since });
    expect((second["publications"] as Frame[])[0]).toMatchObject({ offset: 6 });
    const last = await reader.do("history", { channel: "chat:1", since: { ...since, offset: 10 } });
    expect(last).toMatchObject({ more: false });
  });

  it("gives what was missed in parts where it is more than may wait for a client", async () => {
    await nodes();
    const [sender, reader] = [await here.client(), await there.client()];
    const text = "x".repeat(60_000);
    for (let i = 1; i <= 20; i++) await sender.do("send", { channel: "chat:1", content: `${i} ${text}` });
    const { epoch } = await reader.do("history", { channel: "chat:1", limit: 0 });
    const reply = await reader.do("subscribe", { channel: "chat:1", since: { offset: 0, epoch } });
    expect(reply).toMatchObject({ recovered: true });
    expect(reply["missed"]).toBeLessThan(10);
    expect(reply["offset"]).toBe(reply["missed"]);
    await sender.do("send", { channel: "chat:1", content: "21" });
    const all = (await reader.contents("chat:1", 21)) as string[];
    expect(all.map((content) => Number.parseInt(content, 10))).toEqual(
      Array.from({ length: 21 }, (_, i) => i + 1),
    );
    const parts = reader.frames.filter(({ type }) => type === "gap");
    expect(parts.length).toBeGreaterThan(1);
    for (const part of parts) expect(part).toMatchObject({ recovered: true });
  });

  it("replays its last publication to a new subscriber where the rules say so", async () => {
    await nodes();
    const [sender, reader] = [await here.client(), await there.client()];
    expect(await reader.do("subscribe", { channel: "last:1" })).toMatchObject({ offset: 0 });
    await publish(sender, "last:1", 3);
    const late = await there.client();
    expect(await late.do("subscribe", { channel: "last:1" })).toMatchObject({ offset: 3, missed: 1 });
    expect(await late.contents("last:1", 1)).toEqual([3]);
  });

  it("lets only those publish whom its rules name", async () => {
    await nodes();
    const client = await here.client();
    const send = (channel: string): Promise<Frame> => client.ask("send", { channel, content: 1 });
    expect(await send("server:1")).toMatchObject({ code: "forbidden" });
    expect(await send("members:1")).toMatchObject({ code: "forbidden" });
    await client.do("subscribe", { channel: "members:1" });
    expect(await send("members:1")).toMatchObject({ type: "reply", offset: 1 });
    expect((await here.post("/v1/publish", { channel: "server:1", content: 1 })).status).toBe(200);
  });

  it("knows who is there, and tells who comes and goes", async () => {
    await nodes();
    const [watcher, other] = [await here.client(), await there.client()];
    await watcher.do("subscribe", { channel: "chat:1" });
    await watcher.next(
      (frame) => frame.type === "join" && frame["connection"] === watcher.welcome["connection"],
    );
    await other.do("subscribe", { channel: "chat:1" });
    const connection = other.welcome["connection"];
    expect(
      await watcher.next((frame) => frame.type === "join" && frame["connection"] === connection),
    ).toEqual({
      type: "join",
      channel: "chat:1",
      connection,
    });
    expect(await watcher.do("presence", { channel: "chat:1" })).toMatchObject({ connections: 2, users: 2 });
    expect(await other.do("presence_stats", { channel: "chat:1" })).toMatchObject({ connections: 2 });
    other.terminate();
    expect(await watcher.next("leave")).toMatchObject({ channel: "chat:1", connection });
    const members = await until("one left", async () => {
      const { members } = await watcher.do("presence", { channel: "chat:1" });
      const list = members as Frame[];
      return list.length === 1 ? list : undefined;
    });
    expect(members).toEqual([{ connection: watcher.welcome["connection"] }]);
  });
});

describe("after an outage of the bus", () => {
  it("channels with history have all that was published, the others are told gap", async () => {
    const own = await startRedis({ args: ["--save", "", "--appendonly", "no"] });
    try {
      const fast = { ...OPTIONS, busProbeIntervalMs: 200, busProbeTimeoutMs: 1000 };
      const nodes = await startFleet(2, own, fast);
      const [a, b] = [nodes[0]!, nodes[1]!];
      const [sender, reader] = [await a.client(), await b.client()];
      await reader.do("subscribe", { channel: "chat:1" });
      await reader.do("subscribe", { channel: "plain" });
      await publish(sender, "chat:1", 1);
      await own.client().call("CLIENT", "KILL", "TYPE", "pubsub");
      await publish(sender, "chat:1", 1, 2).catch(() => undefined);
      await until("ready", async () => (await b.reasons()).length + (await a.reasons()).length === 0);
      expect(await reader.next("gap")).toMatchObject({ channel: "plain", recovered: false });
      await publish(sender, "chat:1", 1, 3);
      const seen = (await reader.contents("chat:1", 2)) as number[];
      await until("the last", () => reader.messages("chat:1").some((frame) => frame["content"] === 3));
      expect(seen[0]).toBe(1);
      const offsets = reader.messages("chat:1").map((frame) => positionOf(frame).offset);
      expect(offsets).toEqual(Array.from(offsets, (_, i) => i + 1));
    } finally {
      await cleanUp();
      await own.stop();
    }
  });
});
