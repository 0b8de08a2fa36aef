import { createClosedAuthorizer } from "../../../src/auth/open.js";
import { afterEach, describe, expect, it, vi } from "vitest";
import { setIdentity } from "../../../src/core/actions/authenticate.js";
import type { TakeResult } from "../../../src/core/registry.js";
import { StarlingError } from "../../../src/core/errors.js";
import { codecOf } from "../../../src/protocols/starling/framing.js";
import {
  AWAY,
  OPTIONS,
  authorizer,
  deferred,
  identity,
  startEdge,
  taken,
  turn,
  type TestEdge,
} from "./harness.js";

let test: TestEdge;
afterEach(() => test.stop());

const mustAuthenticate = (fields: Parameters<typeof authorizer>[0] = {}) =>
  authorizer({ required: true, anonymous: undefined, ...fields });

describe("a connection", () => {
  it("is welcomed before anything else", async () => {
    test = await startEdge();
    const socket = test.connect();
    socket.type({ action: "ping" });
    expect(socket.received.map(({ type }) => type)).toEqual(["welcome", "pong"]);
    const [welcome] = socket.received;
    expect(welcome).toMatchObject({ node: "test", connection: welcome!["session"], authenticate: false });
    expect(welcome!["resume"]).toBe(`${String(welcome!["session"])}.${socket.handler.resumeSecret}`);
  });

  it("copies the content that it publishes, as the frame's bytes are another's afterwards", async () => {
    test = await startEdge();
    const socket = test.connect();
    const frame = Buffer.from('{"action":"send","channel":"room","content":"hi"}');
    socket.handler.message(frame, false);
    frame.fill(0x20);
    expect(Buffer.from(test.broker.published[0]!.payload.bytes).toString()).toBe('"hi"');
  });

  it("answers with the id of the frame, also where the frame is refused", async () => {
    test = await startEdge();
    const socket = test.connect();
    socket.type({ action: "subscribe", id: 7 });
    expect(socket.last).toMatchObject({ type: "error", id: 7, code: "bad_request" });
    socket.type({ action: "subscribe", id: "x", channel: 5 });
    expect(socket.last).toMatchObject({ type: "error", id: "x", code: "bad_request" });
    socket.type({ action: "subscribe", id: 8, channel: "room" });
    expect(socket.last).toEqual({ type: "reply", id: 8, channel: "room" });
    socket.type("{");
    expect(socket.last).toMatchObject({ type: "error", code: "bad_frame" });
    expect(socket.last).not.toHaveProperty("id");
  });

  it("tells a sender that asked when its publication failed, and says nothing to one that is gone", async () => {
    test = await startEdge();
    const socket = test.connect();
    socket.type({ action: "send", id: 1, channel: "room", content: 1 });
    socket.type({ action: "send", channel: "room", content: 2 });
    socket.type({ action: "send", id: 3, channel: "room", content: 3 });
    const [first, second, third] = test.broker.published;
    first!.settle(undefined, undefined);
    expect(socket.last).toEqual({ type: "reply", id: 1 });
    second!.settle(AWAY, undefined);
    expect(socket.last).toMatchObject({ type: "error", code: "unavailable", temporary: true });
    const count = socket.received.length;
    socket.leave(1006);
    third!.settle(AWAY, undefined);
    expect(socket.received).toHaveLength(count);
  });

  it("is ended by a fault of ours, which is counted, and the node goes on", async () => {
    test = await startEdge({
      authorizer: authorizer({
        anonymous: identity({
          userId: null,
          maySubscribe: () => {
            throw new TypeError("our bug");
          },
        }),
      }),
    });
    const socket = test.connect();
    socket.type({ action: "subscribe", channel: "room" });
    expect(socket.closedWith).toMatchObject({ code: 4005 });
    expect(socket.received.at(-1)).toMatchObject({ type: "closing", code: 4005, reconnect: true });
    expect(test.stats.sessionFaults).toBe(1);
    expect(test.connect().received).toHaveLength(1);
  });
});

describe("frames behind a command that waits", () => {
  it("wait in order, and are answered in order", async () => {
    const checking = deferred<ReturnType<typeof identity>>();
    test = await startEdge({ authorizer: mustAuthenticate({ authenticate: () => checking.promise }) });
    const socket = test.connect();
    socket.type({ action: "connect", id: 1, token: "t" });
    socket.type({ action: "subscribe", id: 2, channel: "a" });
    socket.type("not json");
    socket.type({ action: "send", channel: "a", content: "x", id: 4 });
    expect(socket.received).toHaveLength(1);
    checking.resolve(identity());
    await turn();
    expect(socket.received.slice(1).map(({ id, code }) => id ?? code)).toEqual([1, 2, "bad_frame"]);
    expect(test.broker.published).toHaveLength(1);
  });

  it("wait again for the next command that does", async () => {
    const joins = [deferred(), deferred()];
    test = await startEdge();
    let next = 0;
    test.broker.subscribing = () => joins[next++]!.promise;
    const socket = test.connect();
    socket.type({ action: "subscribe", id: 1, channel: "a" });
    socket.type({ action: "subscribe", id: 2, channel: "b" });
    socket.type({ action: "send", id: 3, channel: "a", content: 1 });
    joins[0]!.resolve();
    await turn();
    expect(socket.received.slice(1).map(({ id }) => id)).toEqual([1]);
    expect(test.broker.subscribed).toEqual(["main/a", "main/b"]);
    socket.type({ action: "unsubscribe", id: 4, channel: "a" });
    expect(test.broker.published).toHaveLength(0);
    joins[1]!.resolve();
    await turn();
    expect(socket.received.slice(1).map(({ id }) => id)).toEqual([1, 2, 4]);
    expect(test.broker.published).toHaveLength(1);
  });

  it("close the connection with 4004 once more of them wait than may", async () => {
    test = await startEdge({
      authorizer: mustAuthenticate({ authenticate: () => new Promise(() => undefined) }),
    });
    const socket = test.connect();
    socket.type({ action: "connect", token: "t" });
    for (let i = 0; i < 4; i++) socket.type({ action: "unsubscribe", channel: "a" });
    expect(socket.open).toBe(true);
    socket.type({ action: "unsubscribe", channel: "a" });
    expect(socket.closedWith).toMatchObject({ code: 4004 });
    expect(test.stats.rejects.get("overloaded")).toBe(1);
  });

  it("close it also once their bytes are more than may wait", async () => {
    test = await startEdge({
      authorizer: mustAuthenticate({ authenticate: () => new Promise(() => undefined) }),
    });
    const socket = test.connect();
    socket.type({ action: "connect", token: "t" });
    const frame = { action: "send", channel: "a", content: "x".repeat(900) };
    socket.type(frame);
    socket.type(frame);
    expect(socket.open).toBe(true);
    socket.type(frame);
    expect(socket.closedWith).toMatchObject({ code: 4004 });
  });

  it("wait for a registration that lapsed, and are served once it stands", async () => {
    test = await startEdge();
    const socket = test.connect();
    test.registry.leaseStands = false;
    test.registry.handlers!.registered(false);
    socket.type({ action: "ping", id: 1 });
    socket.type({ action: "ping", id: 2 });
    await turn();
    expect(socket.received).toHaveLength(1);
    expect(test.edge.notReadyReasons()).toEqual(["the node is not registered"]);
    test.registry.leaseStands = true;
    test.registry.handlers!.registered(true);
    await turn();
    expect(socket.received.slice(1).map(({ id }) => id)).toEqual([1, 2]);
    expect(test.edge.notReadyReasons()).toEqual([]);
  });

  it.each(["lapse first", "link first"])(
    "wait also where the node lost its link while it slept: %s",
    async (order) => {
      test = await startEdge();
      const socket = test.connect();
      test.registry.leaseStands = false;
      if (order === "link first") test.broker.handlers!.link(false);
      test.registry.handlers!.registered(false);
      test.broker.handlers!.link(false);
      socket.type({ action: "ping", id: 1 });
      await turn();
      expect(socket.received).toHaveLength(1);
      test.broker.handlers!.link(true);
      await turn();
      expect(socket.received).toHaveLength(1);
      test.registry.leaseStands = true;
      test.registry.handlers!.registered(true);
      await turn();
      expect(socket.last).toEqual({ type: "reply", id: 1 });
    },
  );

  it("do not wait where the bus has been away for long: they get their own errors", async () => {
    vi.useFakeTimers({ toFake: ["performance", "setTimeout", "clearTimeout"] });
    try {
      test = await startEdge();
      const socket = test.connect();
      test.broker.handlers!.link(false);
      vi.advanceTimersByTime(1001);
      test.registry.leaseStands = false;
      test.registry.handlers!.registered(false);
      socket.type({ action: "ping", id: 1 });
      expect(socket.last).toEqual({ type: "reply", id: 1 });
      // Back again: until the registration stands, but not without end.
      test.broker.handlers!.link(true);
      socket.type({ action: "ping", id: 2 });
      expect(socket.last).toEqual({ type: "reply", id: 1 });
      await vi.advanceTimersByTimeAsync(1000);
      expect(socket.last).toEqual({ type: "reply", id: 2 });
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("a connection that closes while it waits", () => {
  /** Nothing of any connection is left anywhere. */
  function expectNothingLeft(): void {
    expect(test.edge.hub.connections.size).toBe(0);
    expect(test.edge.hub.channels.size).toBe(0);
    expect(test.edge.hub.users.connections("main", "ann")).toEqual([]);
    expect(test.registry.held.size).toBe(0);
    expect(test.stats).toMatchObject({ connections: 0, subscriptions: 0, sessionFaults: 0 });
  }

  it.each(["resolves", "rejects"])("leaves nothing behind when its authentication %s", async (how) => {
    const checking = deferred<ReturnType<typeof identity>>();
    test = await startEdge({ authorizer: mustAuthenticate({ authenticate: () => checking.promise }) });
    const socket = test.connect();
    socket.type({ action: "connect", token: "t", resume: "other.secret" });
    socket.type({ action: "subscribe", channel: "a" });
    socket.leave(1006);
    if (how === "resolves") checking.resolve(identity());
    else checking.reject(new StarlingError("token_invalid", "no"));
    await turn();
    expectNothingLeft();
  });

  it("leaves nothing behind when its token came with the upgrade", async () => {
    const checking = deferred<ReturnType<typeof identity>>();
    test = await startEdge({ authorizer: mustAuthenticate({ authenticate: () => checking.promise }) });
    const socket = test.connect({ query: "token=t" });
    socket.leave(1006);
    checking.resolve(identity());
    await turn();
    expectNothingLeft();
  });

  it("leaves nothing behind when it was known already and refreshes", async () => {
    let checking = Promise.resolve(identity());
    test = await startEdge({ authorizer: mustAuthenticate({ authenticate: () => checking }) });
    const socket = test.connect();
    socket.type({ action: "connect", token: "t" });
    await turn();
    const later = deferred<ReturnType<typeof identity>>();
    checking = later.promise;
    socket.type({ action: "refresh", token: "t2" });
    socket.leave(1001);
    later.resolve(identity());
    await turn();
    expectNothingLeft();
  });

  it("leaves nothing behind when it was known already and connects anew with a resume token", async () => {
    let checking = Promise.resolve(identity());
    test = await startEdge({ authorizer: mustAuthenticate({ authenticate: () => checking }) });
    const socket = test.connect();
    socket.type({ action: "connect", token: "t" });
    await turn();
    const later = deferred<ReturnType<typeof identity>>();
    checking = later.promise;
    let takes = 0;
    test.registry.taking = () => {
      takes++;
      return Promise.resolve(taken({ userId: "ann", channels: ["a"] }));
    };
    socket.type({ action: "connect", token: "t2", resume: "test.old.secret" });
    socket.leave(1001);
    later.resolve(identity());
    await turn();
    expectNothingLeft();
    // A session that a closed connection took would be lost to the one that comes next.
    expect(takes).toBe(0);
  });

  it("leaves nothing behind when its session was being taken", async () => {
    test = await startEdge();
    const taking = deferred<ReturnType<typeof taken>>();
    test.registry.taking = () => taking.promise;
    const socket = test.connect();
    socket.type({ action: "connect", resume: "test.old.secret" });
    socket.leave(1006);
    taking.resolve(taken({ channels: ["a", "b"] }));
    await turn();
    expectNothingLeft();
  });

  it("leaves nothing behind when its subscription was awaited", async () => {
    test = await startEdge();
    const joining = deferred();
    test.broker.subscribing = () => joining.promise;
    const socket = test.connect();
    socket.type({ action: "subscribe", channel: "a" });
    socket.leave(1006);
    joining.resolve();
    await turn();
    expectNothingLeft();
    expect(test.broker.unsubscribed).toEqual(["main/a"]);
  });
});

describe("a connection's end", () => {
  it.each([
    ["by the client with 1000", 1000, false],
    ["by the client with 1001", 1001, true],
    ["by the network", 1006, true],
  ])("%s leaves a session to resume or does not", async (_how, code, resumable) => {
    test = await startEdge();
    const socket = test.connect();
    socket.leave(code);
    expect(test.registry.removed).toEqual([{ id: socket.handler.id, resumable }]);
    expect(test.stats.disconnects.get("starling")).toEqual(new Map([[code === 1006 ? "lost" : "client", 1]]));
  });

  it("by the node leaves a session unless the reason says not to come back", async () => {
    test = await startEdge();
    const kept = test.connect();
    const ended = test.connect();
    kept.handler.close("restart");
    ended.handler.close("disconnected");
    expect(test.registry.removed.map(({ resumable }) => resumable)).toEqual([true, false]);
    expect(kept.last).toMatchObject({ type: "closing", code: 1012, reconnect: true });
    expect(ended.last).toMatchObject({ type: "closing", code: 4502, reconnect: false });
  });
});

describe("the rate limit of a connection", () => {
  const rate = { messagesPerSecond: 1, messagesBurst: 3, bytesPerSecond: 1000, bytesBurst: 2000 };
  const INTERVAL_MS = 250;
  afterEach(() => vi.useRealTimers());

  it("is named by the error that answers a frame over it, with the frame's id and a time to wait", async () => {
    test = await startEdge({ options: { rate } });
    const socket = test.connect();
    for (let id = 1; id <= 4; id++) socket.type({ action: "ping", id });
    expect(socket.last).toMatchObject({
      type: "error",
      id: 4,
      code: "rate_limited",
      temporary: true,
      dropped: { from: 4, to: 4 },
    });
    expect(socket.last!["retryAfterMs"]).toBeGreaterThan(900);
    expect(socket.last!["retryAfterMs"]).toBeLessThanOrEqual(1000);
    expect(socket.last!["message"]).toMatch(
      /message rate limit reached \(messagesPerSecond 1, messagesBurst 3\)/,
    );
  });

  it("is told of bytes with the time until the frame would fit", async () => {
    test = await startEdge({ options: { rate: { ...rate, messagesPerSecond: 1000, messagesBurst: 1000 } } });
    const socket = test.connect();
    const frame = { action: "send", id: 1, channel: "a", content: "x".repeat(900) };
    for (let i = 0; i < 3; i++) socket.type(frame);
    expect(socket.last).toMatchObject({ type: "error", id: 1, code: "rate_limited" });
    expect(socket.last!["message"]).toMatch(/byte rate limit reached \(bytesPerSecond 1000/);
    expect(socket.last!["retryAfterMs"]).toBeGreaterThan(100);
    expect(socket.last!["retryAfterMs"]).toBeLessThanOrEqual(1000);
    expect(test.broker.published).toHaveLength(2);
  });

  it("counts frames that cannot be read too", async () => {
    test = await startEdge({ options: { rate } });
    const socket = test.connect();
    for (let i = 0; i < 3; i++) socket.type("nonsense");
    socket.type({ action: "ping", id: 1 });
    expect(socket.last).toMatchObject({ type: "error", id: 1, code: "rate_limited" });
  });

  it("leaves frames that follow one over it unread for an interval, then tells which they were", async () => {
    vi.useFakeTimers();
    test = await startEdge({ options: { rate: { ...rate, messagesPerSecond: 100, bytesBurst: 10_000 } } });
    const socket = test.connect();
    const decode = vi.spyOn(codecOf(socket.handler), "decode");
    for (let id = 1; id <= 104; id++) socket.type({ action: "ping", id });
    expect(decode).toHaveBeenCalledTimes(4);
    decode.mockRestore();
    expect(socket.of("error")).toHaveLength(1);
    vi.advanceTimersByTime(INTERVAL_MS);
    expect(socket.last).toMatchObject({
      code: "rate_limited",
      temporary: true,
      dropped: { from: 5, to: 104 },
    });
    expect(socket.last).not.toHaveProperty("id");
    expect(socket.of("error")).toHaveLength(2);
    expect(test.stats.rejects.get("rate_limited")).toBe(101);
    // What the bucket gained meanwhile is there: 25, of which 3 fit.
    for (let id = 201; id <= 203; id++) socket.type({ action: "ping", id });
    expect(socket.of("reply").map(({ id }) => id)).toEqual([1, 2, 3, 201, 202, 203]);
  });

  it("names the right frames also where they waited for a command before them", async () => {
    vi.useFakeTimers();
    const checking = deferred<ReturnType<typeof identity>>();
    test = await startEdge({
      options: { rate, maxPendingFrames: 10 },
      authorizer: mustAuthenticate({ authenticate: () => checking.promise }),
    });
    const socket = test.connect();
    socket.type({ action: "connect", id: 1, token: "t" });
    for (let id = 2; id <= 7; id++) socket.type({ action: "ping", id });
    checking.resolve(identity());
    await vi.advanceTimersByTimeAsync(0);
    socket.type({ action: "ping", id: 8 });
    expect(socket.of("error")).toMatchObject([{ id: 4, dropped: { from: 4, to: 4 } }]);
    vi.advanceTimersByTime(INTERVAL_MS);
    expect(socket.last).toMatchObject({ code: "rate_limited", dropped: { from: 5, to: 8 } });
  });

  it("closes with 4007 whoever goes on, having told of every frame", async () => {
    test = await startEdge({ options: { rate: { ...rate, bytesBurst: 1_000_000 } } });
    const socket = test.connect();
    let sent = 0;
    while (socket.open && sent < 100_000) {
      sent++;
      socket.type("");
    }
    expect(sent).toBe(3 + 1001);
    expect(socket.closedWith).toMatchObject({ code: 4007 });
    expect(socket.of("error").slice(3)).toMatchObject([
      { code: "rate_limited", dropped: { from: 4, to: 4 } },
      { code: "rate_limited", dropped: { from: 5, to: sent } },
    ]);
    expect(socket.last).toMatchObject({ type: "closing", code: 4007, reconnect: true, retryAfterMs: 5000 });
  });

  it("closes for bytes too, and for pings and pongs", async () => {
    test = await startEdge({ options: { rate: { ...rate, bytesBurst: 2000 } } });
    const socket = test.connect();
    for (let i = 0; i < 5 && socket.open; i++) socket.type("x".repeat(990));
    expect(socket.closedWith).toMatchObject({ code: 4007 });
    const pinging = test.connect();
    for (let i = 0; i < 1003; i++) pinging.handler.control(0);
    expect(pinging.open).toBe(true);
    expect(pinging.received).toHaveLength(1);
    pinging.handler.control(0);
    expect(pinging.closedWith).toMatchObject({ code: 4007 });
  });

  it("never closes a client that sends twice as much, for as long as it likes", async () => {
    vi.useFakeTimers();
    const limits = { messagesPerSecond: 500, messagesBurst: 1000, bytesPerSecond: 1e6, bytesBurst: 1e6 };
    test = await startEdge({ options: { rate: limits } });
    const socket = test.connect();
    let told = 0;
    for (let id = 1; id <= 60_000; id++) {
      socket.type({ action: "ping", id });
      vi.advanceTimersByTime(1);
    }
    vi.advanceTimersByTime(INTERVAL_MS);
    expect(socket.open).toBe(true);
    const answered = new Set(socket.of("reply").map(({ id }) => id));
    for (const { dropped } of socket.of("error") as unknown as { dropped: { from: number; to: number } }[]) {
      for (let id = dropped.from; id <= dropped.to; id++) expect(answered.has(id)).toBe(false);
      told += dropped.to - dropped.from + 1;
    }
    expect(answered.size + told).toBe(60_000);
    // The interval takes nothing from what the limit lets through.
    expect(answered.size).toBeGreaterThan(0.97 * 30_000);
  });
});

describe("a slow reader", () => {
  it("whose last notice would close it once more is closed once", async () => {
    test = await startEdge();
    const socket = test.connect();
    socket.type({ action: "subscribe", channel: "a" });
    socket.sendResult = "buffered";
    socket.buffered = OPTIONS.maxBufferedBytes + 1;
    socket.handler.close("heartbeat_timeout");
    expect(socket.closedWith).toMatchObject({ code: 4000 });
    expect(test.stats.slowCloses).toBe(0);
    expect(test.stats.disconnects.get("starling")).toEqual(new Map([["heartbeat_timeout", 1]]));
  });

  it("is closed with 4001 once more waits for it than may, by whatever it was sent", async () => {
    test = await startEdge();
    const socket = test.connect();
    socket.sendResult = "buffered";
    socket.buffered = 10_000;
    socket.type({ action: "ping", id: 1 });
    expect(socket.open).toBe(true);
    socket.buffered = 10_001;
    socket.type({ action: "ping", id: 2 });
    expect(socket.closedWith).toMatchObject({ code: 4001 });
    expect(test.stats.slowCloses).toBe(1);
  });

  it("is found among the subscribers by what was published, and the others stay", async () => {
    test = await startEdge();
    const slow = test.connect();
    const fast = test.connect();
    for (const socket of [slow, fast]) socket.type({ action: "subscribe", channel: "a" });
    slow.buffered = 10_001;
    for (let i = 0; i < 30; i++) test.broker.deliver({ key: "main/a", text: "x".repeat(300) });
    await turn();
    expect(slow.closedWith).toMatchObject({ code: 4001 });
    expect(fast.open).toBe(true);
    expect(fast.of("message")).toHaveLength(30);
  });

  it("is found by what all its channels were sent together", async () => {
    test = await startEdge();
    const slow = test.connect();
    for (const channel of ["a", "b", "c"]) slow.type({ action: "subscribe", channel });
    slow.buffered = 10_001;
    for (let i = 0; i < 30; i++) test.broker.deliver({ key: `main/${"abc"[i % 3]}`, text: "x".repeat(300) });
    await turn();
    expect(slow.closedWith).toMatchObject({ code: 4001 });
  });

  it("is not looked for while no channel was sent enough, however much all were", async () => {
    test = await startEdge();
    const sockets = Array.from({ length: 30 }, (_, at) => {
      const socket = test.connect();
      socket.type({ action: "subscribe", channel: `room-${at}` });
      return socket;
    });
    // Not so: it shows that nobody looked.
    for (const socket of sockets) socket.buffered = 10_001;
    for (let at = 0; at < 30; at++) test.broker.deliver({ key: `main/room-${at}`, text: "x".repeat(300) });
    await turn();
    expect(sockets.every(({ open }) => open)).toBe(true);
  });

  it("is found when it goes from channel to channel without asking for an answer", async () => {
    test = await startEdge();
    const slow = test.connect();
    slow.type({ action: "subscribe", channel: "a" });
    slow.buffered = 10_001;
    slow.type({ action: "unsubscribe", channel: "a" });
    expect(slow.closedWith).toMatchObject({ code: 4001 });
  });

  it("that lost frames is closed after the turn, not amid the fan-out that reports it", async () => {
    test = await startEdge();
    const socket = test.connect();
    socket.handler.dropped();
    socket.handler.dropped();
    // uWebSockets.js is still iterating over the topic's subscribers.
    expect(socket.open).toBe(true);
    await turn();
    expect(socket.closedWith).toMatchObject({ code: 4001 });
    expect(test.stats).toMatchObject({ dropReports: 2, slowCloses: 1 });
  });

  it("is not counted again when it is gone by then", async () => {
    test = await startEdge();
    const socket = test.connect();
    socket.handler.dropped();
    socket.leave(1006);
    await turn();
    expect(test.stats).toMatchObject({ dropReports: 1, slowCloses: 0 });
  });
});

describe("a heartbeat that is not answered", () => {
  it("closes with 4000 and is counted apart", async () => {
    test = await startEdge();
    const socket = test.connect();
    socket.handler.beat();
    socket.handler.heartbeatMissed();
    expect(socket.closedWith).toMatchObject({ code: 4000 });
    expect(test.stats.heartbeatTimeouts).toBe(1);
    expect(test.registry.removed[0]).toMatchObject({ resumable: true });
  });

  it("does not close a client whose backlog shrank meanwhile", async () => {
    test = await startEdge();
    const socket = test.connect();
    socket.buffered = 5000;
    socket.handler.beat();
    socket.buffered = 4000;
    socket.handler.heartbeatMissed();
    expect(socket.open).toBe(true);
    socket.handler.beat();
    socket.handler.heartbeatMissed();
    expect(socket.closedWith).toMatchObject({ code: 4000 });
  });

  it("is forgotten when the client is heard from in any way", async () => {
    test = await startEdge();
    const socket = test.connect();
    const { handler } = socket;
    for (const heard of [
      () => handler.control(0),
      () => handler.drained(),
      () => socket.type({ action: "ping" }),
    ]) {
      handler.awaitingPong = true;
      heard();
      expect(handler.awaitingPong).toBe(false);
    }
  });
});

describe("a session that is resumed", () => {
  it("brings its channels, and the reply lists what is restored and what is refused", async () => {
    test = await startEdge({
      authorizer: authorizer({ anonymous: identity({ userId: null, maySubscribe: (name) => name !== "b" }) }),
    });
    test.registry.taking = (session, secret) =>
      Promise.resolve(
        session === "test.old" && secret === "s3cret"
          ? taken({ channels: ["a", "b", "c"] })
          : { taken: undefined, reason: "wrong_secret" },
      );
    const socket = test.connect();
    socket.type({ action: "connect", id: 1, resume: "test.old.s3cret" });
    await turn();
    expect(socket.last).toEqual({
      type: "reply",
      id: 1,
      session: "test.old",
      resume: `test.old.${socket.handler.resumeSecret}`,
      resumed: true,
      channels: ["a", "c"],
      refused: ["b"],
    });
    test.broker.deliver({ key: "main/c" });
    expect(socket.last).toMatchObject({ type: "message", channel: "c" });
  });

  it("brings no more bytes of names than a connection may have, which may have channels already", async () => {
    test = await startEdge({ options: { maxChannelsPerConnection: 100, maxChannelNameBytes: 600 } });
    const [held, first, second] = ["h", "f", "s"].map((letter) => letter.repeat(250));
    test.registry.taking = () => Promise.resolve(taken({ channels: [held!, first!, second!, "short"] }));
    const socket = test.connect();
    socket.type({ action: "subscribe", channel: held });
    socket.type({ action: "connect", id: 1, resume: "test.old.s3cret" });
    await turn();
    expect(socket.last).toMatchObject({ channels: [held, first, "short"], refused: [second] });
  });

  it("does not bring back what was taken away while it was taken, or while its channels were joined", async () => {
    test = await startEdge();
    let answer: (result: TakeResult) => void = () => undefined;
    test.registry.taking = () => new Promise((resolve) => (answer = resolve));
    let joined: () => void = () => undefined;
    test.broker.subscribing = () => new Promise((resolve) => (joined = resolve));
    const socket = test.connect();
    const target = { connection: socket.handler.id };
    const end = (channel: string): void =>
      test.control.handlers!.command({ kind: "unsubscribe", app: "main", target, channel });
    socket.type({ action: "connect", id: 1, resume: "test.old.s3cret" });
    await turn();
    end("early");
    answer(taken({ channels: ["early", "late"] }));
    await turn();
    end("late");
    expect(socket.last).toMatchObject({ type: "unsubscribed", channel: "late" });
    joined();
    await turn();
    expect(socket.last).toMatchObject({ type: "reply", resumed: true, channels: [] });
    for (const channel of ["early", "late"]) test.broker.deliver({ key: `main/${channel}` });
    expect(socket.of("message")).toEqual([]);
  });

  it("is judged by the identity that the connection has once it is taken", async () => {
    test = await startEdge({ authorizer: authorizer({ anonymous: identity({ userId: "ann" }) }) });
    let answer: (result: TakeResult) => void = () => undefined;
    test.registry.taking = () => new Promise((resolve) => (answer = resolve));
    const socket = test.connect();
    socket.type({ action: "connect", id: 1, resume: "test.old.s3cret" });
    await turn();
    setIdentity(test.edge, socket.handler, identity({ userId: "ann", maySubscribe: (name) => name === "b" }));
    answer(taken({ channels: ["a", "b"] }));
    await turn();
    expect(socket.last).toMatchObject({ resumed: true, channels: ["b"], refused: ["a"] });
  });

  it("of another user is not gone on with", async () => {
    test = await startEdge({ authorizer: mustAuthenticate() });
    test.registry.taking = () => Promise.resolve({ taken: undefined, reason: "another_user" });
    const socket = test.connect();
    socket.type({ action: "connect", id: 1, token: "t", resume: "test.old.s3cret" });
    await turn();
    expect(socket.last).toMatchObject({ resumed: false, reason: "another_user", channels: [] });
    expect(socket.handler.sessionId).toBe(socket.handler.id);
  });

  it("is refused by a temporary error when the registry is away", async () => {
    test = await startEdge();
    test.registry.taking = () => Promise.reject(AWAY);
    const socket = test.connect();
    socket.type({ action: "connect", id: 1, resume: "test.old.s3cret" });
    await turn();
    expect(socket.last).toMatchObject({ type: "error", id: 1, code: "unavailable", temporary: true });
  });

  it.each(["nodot", ".secret", ""])("is not asked for with a token like %j", async (resume) => {
    test = await startEdge();
    const socket = test.connect();
    socket.type({ action: "connect", id: 1, resume });
    await turn();
    expect(socket.last).toMatchObject({ type: "error", id: 1, code: "bad_request" });
  });
});

describe("a connection that must authenticate", () => {
  it("may do nothing but connect before", async () => {
    test = await startEdge({ authorizer: mustAuthenticate() });
    const socket = test.connect();
    for (const action of ["subscribe", "send", "unsubscribe", "refresh", "connect"]) {
      socket.type({ action, id: action, channel: "a", content: 1 });
      await turn();
      expect(socket.last).toMatchObject({ type: "error", id: action, code: "unauthorized" });
    }
    socket.type({ action: "ping", id: 1 });
    expect(socket.last).toEqual({ type: "reply", id: 1 });
  });

  it("is told what to set where no token lets anybody in, also when it brings none", async () => {
    const closed = createClosedAuthorizer();
    test = await startEdge({ authorizer: closed });
    const socket = test.connect();
    for (const token of [undefined, "x.y.z"]) {
      socket.type({ action: "connect", id: 1, token });
      await turn();
      expect(socket.last).toMatchObject({ type: "error", id: 1, message: closed.closed });
    }
  });

  it("keeps its user: a token of another is refused", async () => {
    let next = identity();
    test = await startEdge({ authorizer: mustAuthenticate({ authenticate: () => Promise.resolve(next) }) });
    const socket = test.connect();
    socket.type({ action: "connect", token: "t" });
    await turn();
    next = identity({ userId: "bob" });
    for (const action of ["connect", "refresh"]) {
      socket.type({ action, id: action, token: "t" });
      await turn();
      expect(socket.last).toMatchObject({ type: "error", id: action, code: "token_invalid" });
    }
    expect(socket.handler.userId).toBe("ann");
  });

  it("loses the channels that its fresh token does not cover, and is told", async () => {
    let next = identity();
    test = await startEdge({ authorizer: mustAuthenticate({ authenticate: () => Promise.resolve(next) }) });
    const socket = test.connect();
    socket.type({ action: "connect", token: "t" });
    for (const channel of ["a", "b"]) socket.type({ action: "subscribe", channel });
    await turn();
    next = identity({ maySubscribe: (name) => name === "a" });
    socket.type({ action: "refresh", id: 1, token: "t" });
    await turn();
    expect(socket.of("unsubscribed")).toEqual([
      expect.objectContaining({ channel: "b", code: "forbidden" }) as unknown,
    ]);
    expect(socket.handler.channelNames()).toEqual(["a"]);
  });

  it("is not subscribed where the right went while the bus was awaited", async () => {
    test = await startEdge({
      authorizer: authorizer({ permit: () => identity({ userId: null, maySubscribe: () => false }) }),
    });
    const joining = deferred();
    test.broker.subscribing = () => joining.promise;
    const socket = test.connect();
    socket.type({ action: "subscribe", id: 1, channel: "a" });
    test.control.handlers!.command({
      kind: "permit",
      app: "main",
      target: { connection: socket.handler.id },
      channels: [],
    });
    joining.resolve();
    await turn();
    expect(socket.last).toMatchObject({ type: "error", id: 1, code: "forbidden" });
    expect(test.edge.hub.channels.size).toBe(0);
  });
});
