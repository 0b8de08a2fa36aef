/** Rights that are asked for: given at once, later, in another order, never, or in a form that is not valid. */

import { afterEach, describe, expect, it, vi } from "vitest";
import { publish } from "../../../src/core/actions/publish.js";
import { ANSWER_TIMEOUT_MS } from "../../../src/core/actions/rights.js";
import { renew, subscribe } from "../../../src/core/actions/subscribe.js";
import { RIGHTS_BY_IDENTITY, type Rights } from "../../../src/core/authorizer.js";
import { DEFAULT_RULES, type ChannelRules } from "../../../src/core/channel-rules.js";
import { StarlingError } from "../../../src/core/errors.js";
import { GRANT_BY_IDENTITY, Grant, type GrantFields } from "../../../src/core/grant.js";
import type { PresenceMember } from "../../../src/core/presence.js";
import { Encoding } from "../../../src/encoding/payload.js";
import {
  authorizer,
  deferred,
  identity,
  noPresence,
  startEdge,
  taken,
  turn,
  type FakeSocket,
  type TestEdge,
} from "./harness.js";

let test: TestEdge;
afterEach(async () => {
  vi.useRealTimers();
  await test.stop();
});

interface Asked {
  readonly verb: "subscribe" | "publish";
  readonly channel: string;
  readonly proof: unknown;
  readonly user: string | null;
  readonly answer: (grant: unknown) => void;
  readonly refuse: (error: unknown) => void;
}

/** Answers when the test does. */
function asking(): { rights: Rights; asked: Asked[] } {
  const asked: Asked[] = [];
  const ask =
    (verb: Asked["verb"]): Rights["publish"] =>
    ({ userId }, channel, proof) => {
      const { promise, resolve, reject } = deferred<Grant>();
      asked.push({
        verb,
        channel,
        proof,
        user: userId,
        answer: (grant) => resolve(grant as Grant),
        refuse: reject,
      });
      return promise;
    };
  return {
    asked,
    rights: {
      subscribe: (client, channel, proof) => ask("subscribe")(client, channel, proof, undefined as never),
      publish: ask("publish"),
    },
  };
}

async function startAsking(parts: Parameters<typeof startEdge>[0] = {}): Promise<Asked[]> {
  const { rights, asked } = asking();
  test = await startEdge({ ...parts, authorizer: authorizer(rights) });
  return asked;
}

const startWith = async (
  rights: Partial<Rights>,
  parts: Parameters<typeof startEdge>[0] = {},
): Promise<void> => {
  test = await startEdge({ ...parts, authorizer: authorizer(rights) });
};

const codes = (socket: FakeSocket): unknown[] =>
  socket.received.slice(1).map(({ id, code, type }) => [id, code ?? type]);
const waitsOf = (socket: { readonly handler: unknown }): number =>
  (socket.handler as { waits: number }).waits;
const withRules = (rules: Partial<ChannelRules>) => ({ rulesOf: () => ({ ...DEFAULT_RULES, ...rules }) });
/** Nobody answers pings where the clock is faked. */
const NO_HEARTBEAT = { options: { heartbeatTimeoutMs: 3_600_000 } };
const FORBIDDEN = new StarlingError("forbidden", "the application says no");
const LATER = (): number => Math.floor(Date.now() / 1000) + 60;

describe("a right that is asked for", () => {
  it("lets the client subscribe and publish once it is given, and later frames wait in order", async () => {
    const asked = await startAsking();
    const socket = test.connect();
    socket.type({ action: "subscribe", id: 1, channel: "a" });
    socket.type({ action: "send", id: 2, channel: "a", content: "x" });
    socket.type({ action: "unsubscribe", id: 3, channel: "a" });
    expect(asked).toMatchObject([{ verb: "subscribe", channel: "a", proof: undefined, user: null }]);
    expect(socket.received).toHaveLength(1);
    asked[0]!.answer(new Grant());
    await turn();
    expect(codes(socket)).toEqual([[1, "reply"]]);
    expect(asked[1]).toMatchObject({ verb: "publish", channel: "a" });
    expect(test.broker.published).toHaveLength(0);
    asked[1]!.answer(new Grant());
    await turn();
    expect(test.broker.published).toHaveLength(1);
    expect(Buffer.from(test.broker.published[0]!.payload.bytes).toString()).toBe('"x"');
    expect(codes(socket)).toEqual([
      [1, "reply"],
      [3, "reply"],
    ]);
    expect([waitsOf(socket), test.edge.hub.channels.size]).toEqual([0, 0]);
  });

  it("is refused by the authorizer's own words", async () => {
    const asked = await startAsking();
    const socket = test.connect();
    socket.type({ action: "subscribe", id: 1, channel: "a" });
    asked[0]!.refuse(FORBIDDEN);
    await turn();
    expect(socket.last).toMatchObject({ id: 1, code: "forbidden", message: "the application says no" });
    expect([test.edge.hub.channels.size, test.stats.rejects.get("forbidden")]).toEqual([0, 1]);
    socket.type({ action: "send", id: 2, channel: "a", content: 1 });
    asked[1]!.refuse(FORBIDDEN);
    await turn();
    expect(socket.last).toMatchObject({ id: 2, code: "forbidden" });
    expect(test.broker.published).toHaveLength(0);
  });

  it.each([
    ["nothing", undefined],
    ["null", null],
    ["an object", {}],
    ["a text", "yes"],
  ])("ends the session where the answer is %s, at once or later: a fault of ours", async (_name, garbage) => {
    for (const answer of [garbage, Promise.resolve(garbage)]) {
      await startWith({ subscribe: () => answer as Grant });
      const socket = test.connect();
      socket.type({ action: "subscribe", id: 1, channel: "a" });
      await turn();
      expect(socket.closedWith).toMatchObject({ code: 4005 });
      expect([test.stats.sessionFaults, test.edge.hub.channels.size]).toEqual([1, 0]);
      await test.stop();
    }
  });

  it("ends the session where the authorizer fails with what is no StarlingError", async () => {
    const asked = await startAsking();
    const socket = test.connect();
    socket.type({ action: "send", id: 1, channel: "a", content: 1 });
    asked[0]!.refuse(new Error("connection reset"));
    await turn();
    expect(socket.closedWith).toMatchObject({ code: 4005 });
    expect(test.stats.sessionFaults).toBe(1);
  });

  it.each([
    [
      "is too long",
      { info: JSON.stringify("é".repeat(512)) },
      "its info has 1026 bytes as compact JSON, at most 1024 are allowed",
    ],
    ["has two lines", { info: "[\n]" }, "its info has a line end"],
    ["is no JSON", { info: "{" }, "its info is no JSON"],
    ["is no text", { info: 7 as unknown as string }, "its info is a number"],
    [
      "expires in milliseconds",
      { expiresAt: 1.8e12 },
      "its expiry 1800000000000 is not a time in unix seconds",
    ],
    ["expires at no time", { expiresAt: NaN }, "its expiry NaN is not a time"],
  ] as [string, GrantFields, string][])(
    "is refused, and counted, where what it says %s",
    async (_name, fields, message) => {
      await startWith({ subscribe: () => new Grant(fields) });
      const socket = test.connect();
      socket.type({ action: "subscribe", id: 1, channel: "a" });
      expect(socket.last).toMatchObject({ id: 1, code: "internal", temporary: true });
      expect(socket.last!["message"]).toContain(message);
      expect([socket.open, test.stats.rejects.get("internal")]).toEqual([true, 1]);
    },
  );

  it("is given up when it is not decided in time, and what comes too late is nothing any more", async () => {
    vi.useFakeTimers();
    const asked = await startAsking(NO_HEARTBEAT);
    const socket = test.connect();
    socket.type({ action: "subscribe", id: 1, channel: "a" });
    socket.type({ action: "send", id: 2, channel: "b", content: 1 });
    await vi.advanceTimersByTimeAsync(ANSWER_TIMEOUT_MS - 1);
    expect(socket.received).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(socket.last).toMatchObject({
      ...{ id: 1, code: "unavailable", temporary: true },
      message: 'the right to subscribe to channel "a" was not decided within 5000 ms: try again',
    });
    await vi.advanceTimersByTimeAsync(ANSWER_TIMEOUT_MS);
    expect(socket.last).toMatchObject({ id: 2, code: "unavailable" });
    expect(test.stats.rejects.get("unavailable")).toBe(2);
    asked[0]!.answer(new Grant());
    asked[1]!.refuse(new Error("late"));
    await vi.advanceTimersByTimeAsync(1);
    expect([waitsOf(socket), test.edge.hub.channels.size, test.stats.sessionFaults]).toEqual([0, 0, 0]);
  });

  it("holds back no more frames than may wait", async () => {
    await startAsking();
    const socket = test.connect();
    socket.type({ action: "subscribe", channel: "a" });
    for (let i = 0; i < 5; i++) socket.type({ action: "subscribe", channel: "b" });
    expect(socket.closedWith).toMatchObject({ code: 4004 });
  });

  it("is not asked for the server's channels, nor where a rule forbids it anyway", async () => {
    const asked = await startAsking(withRules({ publish: "server" }));
    const socket = test.connect();
    socket.type({ action: "subscribe", id: 1, channel: "#user:7" });
    socket.type({ action: "send", id: 2, channel: "a", content: 1 });
    expect(codes(socket)).toEqual([
      [1, "forbidden"],
      [2, "forbidden"],
    ]);
    expect(asked).toHaveLength(0);
  });

  it("goes with the proof that the protocol brought, or is the Grant that it gives", async () => {
    const asked = await startAsking();
    const { handler } = test.connect();
    const joined = vi.fn();
    void subscribe(test.edge, handler, "a", { joined, proof: "a token" });
    expect(asked[0]).toMatchObject({ channel: "a", proof: "a token" });
    expect(subscribe(test.edge, handler, "b", { joined, proof: new Grant() })).toBeUndefined();
    expect(joined).toHaveBeenCalledOnce();
    const publication = { content: { bytes: Buffer.from("1"), encoding: Encoding.json }, event: undefined };
    const whole = { ...publication, tags: undefined, echo: undefined, messageId: undefined };
    expect(publish(test.edge, handler, "b", whole, 1, new Grant())).toBeUndefined();
    expect(asked).toHaveLength(1);
    expect(test.broker.published).toHaveLength(1);
    const publishing = { narrowed: { publish: false } } as const;
    expect(() => publish(test.edge, handler, "c", whole, 1, new Grant(publishing))).toThrow(
      "does not include publishing",
    );
  });

  it("is asked for once at a time for one channel, and the last answer counts", async () => {
    const asked = await startAsking();
    const socket = test.connect();
    const order: number[] = [];
    const ask = (n: number) => subscribe(test.edge, socket.handler, "a", { joined: () => order.push(n) })!;
    const all = [ask(1), ask(2), ask(3)];
    expect(asked).toHaveLength(1);
    asked[0]!.answer(new Grant({ info: "1" }));
    await turn();
    expect(asked).toHaveLength(2);
    asked[1]!.answer(new Grant({ info: "2" }));
    await turn();
    asked[2]!.answer(new Grant({ info: "3" }));
    await Promise.all(all);
    expect(order).toEqual([1, 2, 3]);
    expect([...socket.handler.grants!.values()].map(({ info }) => info)).toEqual(["3"]);
  });

  it("given to more channels at once than the connection may have is no room for them", async () => {
    const asked = await startAsking();
    const socket = test.connect();
    const joins = ["a", "b", "c", "d"].map((channel) =>
      subscribe(test.edge, socket.handler, channel, { joined: () => undefined })!,
    );
    const outcomes = Promise.allSettled(joins);
    for (const { answer } of asked) answer(new Grant());
    expect((await outcomes).map(({ status }) => status)).toEqual([
      "fulfilled",
      "fulfilled",
      "fulfilled",
      "rejected",
    ]);
    expect(socket.handler.channelNames()).toEqual(["a", "b", "c"]);
  });
});

describe("a client that leaves while it is asked about", () => {
  it("subscribes to nothing, and what it sent before is published in order", async () => {
    const asked = await startAsking(withRules({ publish: "subscribers" }));
    const socket = test.connect();
    socket.type({ action: "subscribe", id: 1, channel: "a" });
    asked[0]!.answer(new Grant());
    await turn();
    socket.type({ action: "send", channel: "a", content: 1 });
    socket.type({ action: "subscribe", channel: "b" });
    socket.type({ action: "send", channel: "a", content: 2 });
    socket.leave(1001);
    expect([test.stats.connections, test.stats.subscriptions, test.registry.held.size]).toEqual([0, 0, 0]);
    asked[1]!.answer(new Grant());
    await turn();
    asked[2]!.answer(new Grant());
    await turn();
    expect(asked.map(({ verb, channel }) => `${verb} ${channel}`)).toEqual([
      "subscribe a",
      "publish a",
      "publish a",
    ]);
    expect(test.broker.published.map(({ payload }) => Buffer.from(payload.bytes).toString())).toEqual([
      "1",
      "2",
    ]);
    expect([waitsOf(socket), test.edge.frameTurns.waiting.bytes]).toEqual([0, 0]);
  });

  it("leaves nothing behind, whatever the answer", async () => {
    const asked = await startAsking();
    for (const answer of [0, 1, 2]) {
      const socket = test.connect();
      socket.type({ action: "subscribe", id: 1, channel: "a" });
      socket.leave(1006);
      const { answer: give, refuse } = asked.at(-1)!;
      if (answer === 0) give(new Grant({ expiresAt: LATER(), info: "1" }));
      else refuse(answer === 1 ? FORBIDDEN : new StarlingError("unavailable", "away"));
      await turn();
      expect([waitsOf(socket), socket.handler.grants]).toEqual([0, undefined]);
    }
    expect(test.edge.hub.channels.size).toBe(0);
    expect(test.stats).toMatchObject({ connections: 0, subscriptions: 0, sessionFaults: 0 });
    expect(test.broker.subscribed).toEqual([]);
  });

  it("forgets what waits where the node closed it", async () => {
    const asked = await startAsking();
    const socket = test.connect();
    socket.type({ action: "send", channel: "a", content: 1 });
    socket.type({ action: "send", channel: "a", content: 2 });
    socket.handler.close("disconnected");
    asked[0]!.answer(new Grant());
    await turn();
    expect(asked).toHaveLength(1);
    expect(test.broker.published).toHaveLength(1);
  });
});

describe("a ping", () => {
  it.each([{ action: "ping" }, { action: "ping", id: "x".repeat(64) }])(
    "is answered while earlier commands wait: %j",
    async (ping) => {
      const asked = await startAsking();
      const socket = test.connect();
      socket.type({ action: "subscribe", id: 1, channel: "a" });
      socket.type({ action: "send", id: 2, channel: "ping", content: "ping" });
      socket.type("ping");
      socket.type(ping);
      expect(socket.received.slice(1)).toEqual(
        ping.id === undefined ? [{ type: "pong" }] : [{ type: "reply", id: ping.id }],
      );
      for (const expected of [1, 2]) {
        asked[expected - 1]!.answer(new Grant());
        await turn();
      }
      expect(codes(socket).slice(1)).toEqual([
        [1, "reply"],
        [undefined, "bad_frame"],
      ]);
      expect(test.broker.published).toHaveLength(1);
    },
  );

  it("counts towards the rate limit all the same", async () => {
    await startAsking({
      options: { rate: { messagesPerSecond: 1, messagesBurst: 3, bytesPerSecond: 1e6, bytesBurst: 1e6 } },
    });
    const socket = test.connect();
    socket.type({ action: "subscribe", id: 1, channel: "a" });
    for (let id = 2; id <= 4; id++) socket.type({ action: "ping", id });
    expect(codes(socket)).toEqual([
      [2, "reply"],
      [3, "reply"],
      [4, "rate_limited"],
    ]);
  });

  it("waits like any other frame where it is long, or the protocol has no word for it", async () => {
    const asked = await startAsking();
    const socket = test.connect();
    socket.type({ action: "subscribe", id: 1, channel: "a" });
    socket.type({ action: "ping", id: 2, note: "x".repeat(500) });
    expect(codes(socket)).toEqual([]);
    asked[0]!.answer(new Grant());
    await turn();
    expect(codes(socket)).toEqual([
      [1, "reply"],
      [2, "reply"],
    ]);
  });
});

describe("a grant", () => {
  /** Remembers who was told to be where. */
  function members(): { log: [string, PresenceMember][] } {
    const log: [string, PresenceMember][] = [];
    const { presence } = test.edge;
    const note =
      (kind: string) =>
      (_key: string, member: PresenceMember): void =>
        void log.push([kind, member]);
    Object.assign(presence, { join: note("join"), leave: note("leave") });
    return { log };
  }
  const infos = ({ log }: { log: [string, PresenceMember][] }) => log.map(([kind, { info }]) => [kind, info]);
  afterEach(() => Object.assign(noPresence, { join: () => undefined, leave: () => undefined }));

  it("has info that the member shows, and a new one when it subscribes again", async () => {
    let grant = new Grant({ info: '{"n":1}' });
    await startWith({ subscribe: () => grant }, withRules({ presence: true }));
    const log = members();
    const socket = test.connect();
    const join = (): void => socket.type({ action: "subscribe", id: 1, channel: "a" });
    join();
    join();
    grant = new Grant({ info: '{"n":2}' });
    join();
    grant = GRANT_BY_IDENTITY;
    join();
    socket.type({ action: "unsubscribe", channel: "a" });
    expect(infos(log)).toEqual([
      ["join", '{"n":1}'],
      ["join", '{"n":2}'],
      ["join", undefined],
      ["leave", undefined],
    ]);
    expect(socket.handler.grants).toBeUndefined();
  });

  it("may make of a member who only listens, and back", async () => {
    let narrowed: GrantFields["narrowed"] = { presence: false };
    await startWith({ subscribe: () => new Grant({ info: "1", narrowed }) }, withRules({ presence: true }));
    const log = members();
    const socket = test.connect();
    const join = (): void => socket.type({ action: "subscribe", id: 1, channel: "a" });
    join();
    expect(log.log).toEqual([]);
    narrowed = undefined;
    join();
    narrowed = { presence: false };
    join();
    socket.leave(1000);
    expect(infos(log)).toEqual([
      ["join", "1"],
      ["leave", "1"],
    ]);
  });

  it("may take publishing away for as long as the subscription lasts", async () => {
    await startWith({ subscribe: () => new Grant({ narrowed: { publish: false } }) });
    const socket = test.connect();
    socket.type({ action: "subscribe", channel: "a" });
    socket.type({ action: "send", id: 1, channel: "a", content: 1 });
    expect(socket.last).toMatchObject({ id: 1, code: "forbidden" });
    socket.type({ action: "send", id: 2, channel: "b", content: 1 });
    socket.type({ action: "unsubscribe", channel: "a" });
    socket.type({ action: "send", id: 3, channel: "a", content: 1 });
    expect(test.broker.published).toHaveLength(2);
  });

  it.each([
    ["recovery", { recovery: true }, { since: { offset: 0, epoch: "e" } }, { recovered: false }],
    ["the last publication", { replayLast: true }, {}, { recovered: undefined }],
  ] as const)("may take %s away", async (_name, rules, asked, told) => {
    const history = { size: 10, ttlMs: 1000 };
    const narrowed = { recovery: false, replayLast: false } as const;
    await startWith({ subscribe: () => new Grant({ narrowed }) }, withRules({ ...rules, history }));
    const reads = vi.spyOn(test.broker, "history");
    const socket = test.connect();
    socket.type({ action: "subscribe", id: 1, channel: "a", ...asked });
    await turn();
    const { recovered } = socket.last as unknown as { recovered?: boolean };
    expect({ recovered }).toEqual(told);
    expect(socket.last).not.toHaveProperty("missed", 1);
    expect(reads.mock.calls.filter(([, { limit }]) => limit !== 0)).toEqual([]);
  });

  it("ends its subscription when it expires, by the clock and its tolerance, and is renewed by a later one", async () => {
    vi.useFakeTimers();
    const begin = Math.floor(Date.now() / 1000);
    let expiresAt = begin + 5;
    test = await startEdge({
      ...NO_HEARTBEAT,
      authorizer: authorizer({ clockToleranceSeconds: 2, subscribe: () => new Grant({ expiresAt }) }),
    });
    const [renews, ends] = [test.connect(), test.connect()];
    for (const socket of [renews, ends]) socket.type({ action: "subscribe", id: 1, channel: "a" });
    expiresAt = begin + 15;
    renews.type({ action: "subscribe", id: 2, channel: "a" });
    ends.type({ action: "subscribe", id: 2, channel: "b" });
    vi.advanceTimersByTime(6000);
    expect(ends.of("unsubscribed")).toEqual([]);
    vi.advanceTimersByTime(2000);
    expect(ends.of("unsubscribed")).toEqual([
      {
        ...{ type: "unsubscribed", channel: "a", code: "token_expired" },
        message: "the right to this channel expired: get a fresh one",
      },
    ]);
    expect([ends.handler.channelNames(), renews.handler.channelNames()]).toEqual([["b"], ["a"]]);
    vi.advanceTimersByTime(10_000);
    expect([ends.handler.grants, renews.handler.grants]).toEqual([undefined, undefined]);
    expect(test.edge.hub.channels.size).toBe(0);
    expect([ends.open, renews.open]).toEqual([true, true]);
  });

  it("is renewed without a word to the client, by a proof and for a subscriber only", async () => {
    vi.useFakeTimers();
    const { rights, asked } = asking();
    test = await startEdge({
      ...NO_HEARTBEAT,
      ...withRules({ presence: true }),
      authorizer: authorizer(rights),
    });
    const log = members();
    const socket = test.connect();
    const { handler } = socket;
    expect(() => renew(test.edge, handler, "a", "t")).toThrow('not subscribed to "a"');
    const granted: Grant[] = [];
    const expiresAt = LATER();
    const short = new Grant({ expiresAt: expiresAt - 55, info: "1" });
    void subscribe(test.edge, handler, "a", {
      joined: (_outcome, grant) => granted.push(grant),
      proof: short,
    });
    expect(granted).toEqual([short]);
    const count = socket.received.length;
    const renewed = renew(test.edge, handler, "a", "token");
    expect(asked).toMatchObject([{ channel: "a", proof: "token" }]);
    const longer = new Grant({ expiresAt: expiresAt - 50, info: "2" });
    asked[0]!.answer(longer);
    expect(await renewed).toBe(longer);
    expect(renew(test.edge, handler, "a", longer)).toBe(longer);
    const refused = renew(test.edge, handler, "a", "other") as Promise<Grant>;
    asked[1]!.refuse(FORBIDDEN);
    await expect(refused).rejects.toThrow("the application says no");
    vi.advanceTimersByTime(7000);
    expect([socket.received.length, handler.channelNames()]).toEqual([count, ["a"]]);
    // Over as it is by then, it is no renewal.
    expect(() => renew(test.edge, handler, "a", short)).toThrow("expired at");
    vi.advanceTimersByTime(5000);
    expect(socket.last).toMatchObject({ type: "unsubscribed", code: "token_expired" });
    expect(infos(log)).toEqual([
      ["join", "1"],
      ["join", "2"],
      ["leave", "2"],
    ]);
    void subscribe(test.edge, handler, "a", { joined: () => undefined, proof: new Grant() });
    const late = renew(test.edge, handler, "a", "token") as Promise<Grant>;
    socket.leave(1006);
    asked[2]!.answer(longer);
    await late;
    expect([handler.grants, infos(log).length]).toEqual([undefined, 5]);
  });

  it("that is over already is refused, also where it expires while the bus is awaited", async () => {
    vi.useFakeTimers();
    const expiresAt = Math.floor(Date.now() / 1000);
    await startWith({ subscribe: () => new Grant({ expiresAt: expiresAt + 1 }) });
    const joining = deferred();
    test.broker.subscribing = () => joining.promise;
    const socket = test.connect();
    socket.type({ action: "subscribe", id: 1, channel: "a" });
    vi.advanceTimersByTime(2000);
    joining.resolve();
    await vi.advanceTimersByTimeAsync(0);
    expect(socket.last).toMatchObject({ id: 1, code: "token_expired" });
    expect(socket.last!["message"]).toContain('the right to channel "a" expired at ');
    test.broker.subscribing = undefined;
    socket.type({ action: "subscribe", id: 2, channel: "a" });
    expect(socket.last).toMatchObject({ id: 2, code: "token_expired" });
    expect(test.edge.hub.channels.size).toBe(0);
  });

  it("does not outlive its connection in the clock", async () => {
    vi.useFakeTimers();
    const expiresAt = LATER();
    test = await startEdge({
      authorizer: authorizer({
        anonymous: identity({ userId: null, expiresAt }),
        subscribe: () => new Grant({ expiresAt }),
      }),
    });
    const socket = test.connect();
    socket.type({ action: "subscribe", channel: "a" });
    socket.type({ action: "unsubscribe", channel: "a" });
    socket.type({ action: "subscribe", channel: "a" });
    socket.leave(1000);
    expect(vi.getTimerCount()).toBeGreaterThan(0);
    const { expiry } = test.edge;
    const due = vi.spyOn(socket.handler, "expired");
    vi.advanceTimersByTime(120_000);
    expiry.check();
    expect(due).not.toHaveBeenCalled();
  });

  it("by its own proof outlasts another identity, and one by identity does not", async () => {
    const granted: Record<string, Grant> = {
      own: new Grant(),
      ids: new Grant({ byIdentity: true, info: "1" }),
    };
    test = await startEdge({
      authorizer: authorizer({
        subscribe: (client, channel) =>
          granted[channel] ?? RIGHTS_BY_IDENTITY.subscribe(client, channel, undefined),
        permit: () => identity({ userId: null, maySubscribe: () => false }),
      }),
    });
    const socket = test.connect();
    for (const channel of ["own", "ids", "plain"]) socket.type({ action: "subscribe", channel });
    const target = { connection: socket.handler.id };
    test.control.handlers!.command({ kind: "permit", app: "main", target, channels: [] });
    expect(socket.of("unsubscribed").map(({ channel, code }) => [channel, code])).toEqual([
      ["ids", "forbidden"],
      ["plain", "forbidden"],
    ]);
    expect(socket.handler.channelNames()).toEqual(["own"]);
    test.control.handlers!.command({ kind: "unsubscribe", app: "main", target, channel: "own" });
    expect([socket.handler.channelNames(), socket.handler.grants]).toEqual([[], undefined]);
  });

  it("is not joined by where the application took the channel away while it was asked for", async () => {
    const asked = await startAsking();
    const socket = test.connect();
    socket.type({ action: "subscribe", id: 1, channel: "a" });
    const target = { connection: socket.handler.id };
    test.control.handlers!.command({ kind: "unsubscribe", app: "main", target, channel: "a" });
    asked[0]!.answer(new Grant());
    await turn();
    expect(socket.last).toMatchObject({ type: "error", id: 1, code: "forbidden" });
    expect(socket.handler.channelNames()).toEqual([]);
  });

  it("by identity is looked at again after it was asked for", async () => {
    const { rights, asked } = asking();
    test = await startEdge({
      authorizer: authorizer({
        ...rights,
        permit: () => identity({ userId: null, maySubscribe: () => false, mayPublish: () => false }),
      }),
    });
    const socket = test.connect();
    const permit = (): void =>
      test.control.handlers!.command({
        ...{ kind: "permit", app: "main", target: { connection: socket.handler.id }, channels: [] },
      });
    socket.type({ action: "subscribe", id: 1, channel: "a" });
    permit();
    asked[0]!.answer(GRANT_BY_IDENTITY);
    await turn();
    socket.type({ action: "send", id: 2, channel: "a", content: 1 });
    asked[1]!.answer(GRANT_BY_IDENTITY);
    await turn();
    expect(codes(socket)).toEqual([
      [1, "forbidden"],
      [2, "forbidden"],
    ]);
    socket.type({ action: "subscribe", id: 3, channel: "a" });
    asked[2]!.answer(new Grant());
    await turn();
    expect(codes(socket).at(-1)).toEqual([3, "reply"]);
  });

  it("costs a connection with rights by its identity alone nothing", async () => {
    test = await startEdge();
    const socket = test.connect();
    socket.type({ action: "subscribe", channel: "a" });
    expect((socket.handler as unknown as { rare: unknown }).rare).toBeUndefined();
    const publishing = RIGHTS_BY_IDENTITY.publish(socket.handler, "a", undefined, undefined as never);
    expect([RIGHTS_BY_IDENTITY.subscribe(socket.handler, "a", undefined), publishing]).toEqual([
      GRANT_BY_IDENTITY,
      GRANT_BY_IDENTITY,
    ]);
    expect(Object.isFrozen(GRANT_BY_IDENTITY)).toBe(true);
  });
});

describe("reading a channel", () => {
  const HISTORY = withRules({ history: { size: 10, ttlMs: 1000 }, presence: true });

  it("is asked for by whoever does not subscribe to it, and each time", async () => {
    const asked = await startAsking(HISTORY);
    const socket = test.connect();
    for (const [index, action] of ["history", "presence_stats"].entries()) {
      socket.type({ action, id: 2 * index, channel: "a" });
      asked.at(-1)!.answer(new Grant());
      await turn();
      expect(socket.last).toMatchObject({ type: "reply", id: 2 * index });
      socket.type({ action, id: 2 * index + 1, channel: "a" });
      asked.at(-1)!.refuse(FORBIDDEN);
      await turn();
      expect(socket.last).toMatchObject({ code: "forbidden", id: 2 * index + 1 });
    }
    socket.type({ action: "presence", id: "p", channel: "a" });
    asked.at(-1)!.refuse(FORBIDDEN);
    await turn();
    expect(socket.last).toMatchObject({ code: "forbidden", id: "p" });
    expect(asked).toHaveLength(5);
    socket.type({ action: "subscribe", channel: "a" });
    asked.at(-1)!.answer(new Grant());
    await turn();
    socket.type({ action: "history", id: "h", channel: "a" });
    await turn();
    expect(socket.last).toMatchObject({ type: "reply", id: "h" });
    expect(asked).toHaveLength(6);
  });
});

describe("a session whose rights are asked for", () => {
  it("gets back what is granted, by its grants, and asks for a bounded number at a time", async () => {
    const asked = await startAsking({ options: { maxChannelsPerConnection: 100 } });
    const channels = Array.from({ length: 40 }, (_, index) => `c${index}`);
    test.registry.taking = () => Promise.resolve(taken({ channels }));
    const socket = test.connect();
    socket.type({ action: "connect", id: 1, resume: "test.old.s3cret" });
    await turn();
    expect(asked).toHaveLength(16);
    // Meanwhile nothing of the session is lost.
    expect(socket.handler.session().channels).toEqual(channels);
    for (let index = 0; index < asked.length; index++) {
      const { channel, answer, refuse } = asked[index]!;
      if (channel === "c3") refuse(FORBIDDEN);
      else if (channel === "c4") refuse(new StarlingError("unavailable", "away"));
      else answer(new Grant({ info: JSON.stringify(channel) }));
      await turn();
    }
    expect(asked).toHaveLength(40);
    expect(socket.last).toMatchObject({
      ...{ type: "reply", id: 1, resumed: true, refused: ["c3"] },
      channels: channels.filter((channel) => !["c3", "c4"].includes(channel)),
    });
    expect(socket.handler.grants?.size).toBe(38);
    expect([waitsOf(socket), socket.handler.restoring]).toEqual([0, []]);
  });

  it("is answered in bounded time where nobody decides, and what was not decided is not refused", async () => {
    vi.useFakeTimers();
    const asked = await startAsking({ options: { maxChannelsPerConnection: 100 } });
    test.registry.taking = () =>
      Promise.resolve(taken({ channels: Array.from({ length: 100 }, (_, index) => `c${index}`) }));
    const socket = test.connect();
    socket.type({ action: "connect", id: 1, resume: "test.old.s3cret" });
    await vi.advanceTimersByTimeAsync(ANSWER_TIMEOUT_MS);
    expect(socket.last).toMatchObject({ type: "reply", id: 1, resumed: true, channels: [] });
    expect(socket.last).not.toHaveProperty("refused");
    expect([asked.length, test.stats.rejects.get("unavailable")]).toEqual([16, 16]);
  });

  it("recovers by the grant that it was given", async () => {
    const history = { size: 10, ttlMs: 1000 };
    const asked = await startAsking(withRules({ history, recovery: true }));
    test.registry.taking = () => Promise.resolve(taken({ channels: ["a", "b"] }));
    const socket = test.connect();
    socket.type({ action: "connect", id: 1, resume: "test.old.s3cret" });
    await turn();
    asked[0]!.answer(new Grant({ info: "1" }));
    asked[1]!.answer(new Grant({ narrowed: { recovery: false } }));
    await turn();
    expect(socket.of("reply")[0]).toMatchObject({ recovering: ["a", "b"] });
    expect(socket.of("subscribed")).toHaveLength(2);
    expect(asked).toHaveLength(2);
    expect(socket.handler.grants?.size).toBe(2);
  });

  it("is given to nobody who left meanwhile", async () => {
    const asked = await startAsking();
    test.registry.taking = () => Promise.resolve(taken({ channels: ["a", "b"] }));
    const socket = test.connect();
    socket.type({ action: "connect", id: 1, resume: "test.old.s3cret" });
    await turn();
    socket.leave(1006);
    for (const { answer } of asked) answer(new Grant());
    await turn();
    expect([test.edge.hub.channels.size, test.stats.resumed]).toEqual([0, 0]);
    expect(waitsOf(socket)).toBe(0);
  });
});
