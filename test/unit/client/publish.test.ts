import { describe, expect, it } from "vitest";
import { succeed } from "../../support/fake-server.js";
import { connected, rejection, setUp, startClient, until } from "./harness.js";

describe("publish", () => {
  it("sends what was asked and resolves with the acknowledgement", async () => {
    const setup = await setUp({}, { respond: () => ({ offset: 7, epoch: "e1" }) });
    await connected(setup);
    const options = { event: "said", tags: { lang: "en" }, echo: false };
    expect(await setup.client.publish("room", { text: "hi" }, options)).toEqual({ offset: 7, epoch: "e1" });
    expect(setup.server.last.commands).toEqual([
      {
        action: "send",
        id: 1,
        channel: "room",
        content: { text: "hi" },
        messageId: expect.any(String),
        ...options,
      },
    ]);
    await setup.client.publish("room", null);
    expect(setup.server.last.commands[1]).toEqual({
      action: "send",
      id: 2,
      channel: "room",
      content: null,
      messageId: expect.any(String),
    });
  });

  it("gives every message an id of its own, or the one that is given", async () => {
    const setup = await setUp();
    await connected(setup);
    for (let n = 0; n < 100; n++) await setup.client.publish("room", n);
    await setup.client.publish("room", 1, { messageId: "mine" });
    const ids = setup.server.last.commands.map(({ messageId }) => messageId as string);
    expect(new Set(ids).size).toBe(101);
    expect(ids.pop()).toBe("mine");
    for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9+/]{22}$/);
  });

  it("can be repeated with the id that its error carries", async () => {
    const setup = await setUp({}, { respond: () => undefined });
    await connected(setup);
    const lost = rejection(setup.client.publish("room", "lost"));
    await until(() => setup.server.last.commands.length === 1);
    const { messageId: sent } = setup.server.last.commands[0]!;
    setup.server.options.respond = succeed;
    setup.server.last.terminate();
    const { code, messageId } = await lost;
    expect([code, messageId]).toEqual(["outcome_unknown", sent]);
    setup.clock.advance(1000);
    await setup.client.publish("room", "lost", { messageId: messageId! });
    expect(setup.server.last.actions("send")).toMatchObject([{ content: "lost", messageId: sent }]);
  });

  it("carries the id in the errors of the server, and in those of a message that was not sent", async () => {
    const setup = await setUp({}, { respond: () => ({ code: "unavailable", message: "", temporary: true }) });
    await connected(setup);
    const refused = await rejection(setup.client.publish("room", 1));
    expect(refused.messageId).toBe(setup.server.last.commands[0]!["messageId"]);
    const offline = startClient("ws://127.0.0.1:1", { offline: { queue: 0 } });
    const error = await rejection(offline.client.publish("room", 1, { messageId: "mine" }));
    expect(error).toMatchObject({ sent: false, messageId: "mine" });
  });

  it("rejects with the server's error", async () => {
    const answer = { code: "rate_limited", message: "slow down", temporary: true, retryAfterMs: 20 };
    const setup = await setUp({}, { respond: () => answer });
    await connected(setup);
    const error = await rejection(setup.client.publish("room", 1));
    expect(error).toMatchObject({ name: "StarlingError", ...answer });
  });

  it("rejects what the server dropped unread for its rate, and nothing else", async () => {
    const setup = await setUp({}, { respond: () => undefined });
    await connected(setup);
    const { last } = setup.server;
    const sent = [1, 2, 3, 4].map((n) => setup.client.publish("room", n));
    const outcomes = Promise.allSettled(sent);
    await until(() => last.commands.length === 4);
    const error = {
      type: "error",
      code: "rate_limited",
      message: "too fast",
      temporary: true,
      retryAfterMs: 250,
    };
    last.send({ ...error, id: last.commands[1]!.id, dropped: { from: 2, to: 2 } });
    last.send({ ...error, dropped: { from: 3, to: 3 } });
    for (const n of [0, 3]) last.send({ type: "reply", id: last.commands[n]!.id });
    const told = await outcomes;
    expect(told.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected", "fulfilled"]);
    for (const n of [1, 2]) {
      expect((told[n] as PromiseRejectedResult).reason).toMatchObject({
        code: "rate_limited",
        temporary: true,
        retryAfterMs: 250,
      });
    }
    // Told by the promises: no news for "error" listeners.
    expect(setup.errors).toEqual([]);
  });

  it("rejects at its deadline, and lets a late answer be", async () => {
    const setup = await setUp({}, { respond: () => undefined });
    await connected(setup);
    const first = rejection(setup.client.publish("room", 1, { timeoutMs: 500 }));
    const second = setup.client.publish("room", 2);
    await until(() => setup.server.last.commands.length === 2);
    setup.clock.advance(500);
    const error = await first;
    expect(error).toMatchObject({ code: "timeout", temporary: true, sent: true });
    expect(error.message).toBe('publish to "room": no answer within 500 ms: the outcome is unknown');
    for (const id of [1, 2]) setup.server.last.send({ type: "reply", id });
    await second;
    expect(setup.errors).toEqual([]);
  });

  it("rejects what was in flight as unknown when the connection breaks, and does not send it again", async () => {
    const setup = await setUp({}, { respond: () => undefined });
    await connected(setup);
    const lost = rejection(setup.client.publish("room", "lost"));
    await until(() => setup.server.last.commands.length === 1);
    setup.server.options.respond = succeed;
    setup.server.last.terminate();
    expect(await lost).toMatchObject({ code: "outcome_unknown", temporary: true, sent: true });
    setup.clock.advance(1000);
    await connected(setup);
    await setup.client.publish("room", "next");
    expect(setup.server.last.actions("send").map(({ content }) => content)).toEqual(["next"]);
  });

  it("answers each of many in flight with its own reply, in any order", async () => {
    const setup = await setUp({}, { respond: () => undefined });
    await connected(setup);
    const many = Array.from({ length: 20 }, (_, n) => setup.client.publish("room", n));
    await until(() => setup.server.last.commands.length === 20);
    for (const { id, content } of setup.server.last.commands.toReversed()) {
      setup.server.last.send({ type: "reply", id, offset: content, epoch: "e" });
    }
    expect((await Promise.all(many)).map(({ offset }) => offset)).toEqual(
      Array.from({ length: 20 }, (_, n) => n),
    );
  });

  it("rejects where the content itself throws, and takes the next", async () => {
    const setup = await setUp();
    await connected(setup);
    const content = {
      toJSON(): never {
        throw new Error("not yet loaded");
      },
    };
    expect(await rejection(setup.client.publish("room", content, { messageId: "mine" }))).toMatchObject({
      code: "bad_request",
      sent: false,
      message: 'publish to "room": not yet loaded',
      messageId: "mine",
    });
    expect(await setup.client.publish("room", 1)).toEqual({});
  });

  it("refuses a frame that the node would cut the connection for, counting bytes", async () => {
    const limits = { frameBytes: 200 };
    const setup = await setUp({}, { welcome: { limits } });
    await connected(setup);
    // 80 characters: within the limit in UTF-16 units, over it in UTF-8.
    const error = await rejection(setup.client.publish("room", "é".repeat(80)));
    expect(error).toMatchObject({ code: "too_large", sent: false });
    expect(error.message).toContain("200 bytes");
    await setup.client.publish("room", "e".repeat(80));
    expect(setup.server.last.commands).toHaveLength(1);
  });

  it("rejects what waits when the client is closed: unknown if it was sent, else closed", async () => {
    const setup = await setUp({}, { respond: () => undefined });
    await connected(setup);
    const sent = rejection(setup.client.publish("room", 1));
    setup.client.close();
    expect(await sent).toMatchObject({ code: "outcome_unknown", sent: true });
    const other = startClient("ws://127.0.0.1:1");
    const queued = rejection(other.client.publish("room", 1));
    other.client.close();
    expect(await queued).toMatchObject({ code: "closed", sent: false, temporary: false });
  });
});

describe("publish while offline", () => {
  it("sends what was queued once connected, in order, as it was when it was published", async () => {
    const setup = await setUp();
    const content = { n: 0 };
    const queued: Promise<unknown>[] = [];
    for (content.n = 1; content.n <= 3; content.n++) queued.push(setup.client.publish("room", content));
    await Promise.all(queued);
    expect(setup.server.last.actions("send").map((command) => command["content"])).toEqual([
      { n: 1 },
      { n: 2 },
      { n: 3 },
    ]);
  });

  it("refuses what is over the bound, naming it, and takes more once there is room", async () => {
    const setup = await setUp({ offline: { queue: 2 } }, { welcome: false });
    const first = rejection(setup.client.publish("room", 1, { timeoutMs: 100 }));
    const second = setup.client.publish("room", 2);
    const error = await rejection(setup.client.publish("room", 3));
    expect(error).toMatchObject({ code: "unavailable", temporary: true, sent: false });
    expect(error.message).toBe(
      'publish to "room": there is no connection and the offline queue is full (2 commands)',
    );
    setup.clock.advance(100);
    expect(await first).toMatchObject({ code: "timeout", sent: false });
    const fourth = setup.client.publish("room", 4);
    await until(() => setup.server.connections.length === 1);
    setup.server.options.welcome = {};
    setup.server.last.terminate();
    await until(() => setup.client.state === "waiting");
    setup.clock.advance(1000);
    await Promise.all([second, fourth]);
    expect(setup.server.last.actions("send").map((command) => command["content"])).toEqual([2, 4]);
  });

  it("refuses everything where the bound is 0", async () => {
    const { client } = startClient("ws://127.0.0.1:1", { offline: { queue: 0 } });
    const error = await rejection(client.publish("room", 1));
    expect(error).toMatchObject({ code: "unavailable" });
    expect(error.message).toContain("offline.queue is 0");
  });

  it("queues a hundred by default", async () => {
    const { client } = startClient("ws://127.0.0.1:1");
    const outcomes = Array.from({ length: 101 }, (_, n) => rejection(client.publish("room", n)));
    expect(await outcomes[100]).toMatchObject({ code: "unavailable" });
    client.close();
    expect(await outcomes[99]).toMatchObject({ code: "closed" });
  });

  it("counts the deadline while it waits in the queue", async () => {
    const { client, clock } = startClient("ws://127.0.0.1:1");
    const outcome = rejection(client.publish("room", 1));
    clock.advance(10_000);
    expect(await outcome).toMatchObject({ code: "timeout", sent: false });
    expect((await outcome).message).toContain("it was not sent");
  });
});

describe("ping", () => {
  it("measures the way to the node and back", async () => {
    const setup = await setUp({}, { respond: () => undefined });
    await connected(setup);
    const ping = setup.client.ping();
    await until(() => setup.server.last.commands.length === 1);
    setup.clock.advance(17);
    setup.server.last.send({ type: "reply", id: 1 });
    expect(await ping).toBe(17);
  });

  it("is refused without a connection", async () => {
    const { client } = startClient("ws://127.0.0.1:1");
    expect(await rejection(client.ping())).toMatchObject({ code: "unavailable" });
  });
});
